//! The SMTP protocol, pure: grammar, replies, framing and both session state machines.
//!
//! Bytes in, events and bytes out. Never opens a socket, never reads a clock (time is an argument), knows no
//! configuration.

pub mod address;
pub mod client;
pub mod command;
pub mod data;
pub mod limits;
pub mod lines;
mod pieces;
pub mod replies;
pub mod reply;
pub mod server;
pub mod text;

pub use address::{AddressError, AddressRules, ForwardPath, Mailbox, ReversePath};
pub use command::Blanks;
pub use limits::{Extensions, Injection, Limits, ServerOptions, Timeouts};
pub use lines::{LineRules, Lone, LongLines};
pub use pieces::Pieces;
pub use reply::Reply;
pub use server::{About, Phase, Received, Refusal, Refused, ServerSession, Step, Transaction, Verdict};
