//! The control listener: protocol, command registry and help.
