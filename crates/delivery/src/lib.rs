//! Routing, connections, the SMTP client shell, Maildir and other transports.
