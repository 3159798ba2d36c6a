//! `syslog://`: lines sent to the system log, on this host or on another.
//!
//! `message` says what a datagram looks like, `stream` sends it and never waits; the module brings the options.

mod address;
mod driver;
mod message;
mod module;
mod stream;

pub use driver::{Defaults, SyslogDriver};
pub use module::{DEFAULT_FACILITY, ECM, IDENT, OPTIONS, SyslogIo};
