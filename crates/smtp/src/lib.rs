//! The SMTP protocol, pure: grammar, replies, framing and both session state machines.
//!
//! Bytes in, events and bytes out. Never opens a socket, never reads a clock (time is an argument), knows no
//! configuration.

pub mod address;
pub mod reply;

pub use address::{AddressError, ForwardPath, Mailbox, ReversePath};
pub use reply::Reply;
