//! The control listener: wire protocol, command registry, help, and the output shapes of the commands.
//!
//! In come accepted streams (from a netlistener) and commands registered by whoever can carry them out; out go replies.
//! The console knows the words of a command and how an answer looks. It never knows how a command is carried out.
//! Connections may be accepted on any event loop ([`ControlListener`]); everything else runs on the master scheduler and is
//! `!Send`. A handler that has to wait does so in its future.
//!
//! # Wire protocol, version 1
//!
//! Both directions carry frames. Integers are big-endian; text is UTF-8; a *field* is a 32-bit length and that many bytes.
//!
//! ```text
//! frame    "PR"  version u8  kind u8  length u32  payload (length bytes)
//! hello    kind 1, server to client, once, first:   field product, field version
//! request  kind 2, client to server:                flags u8 (bit 0: JSON wanted), field user, field text
//! reply    kind 3, server to client, one a request: status u8, format u8 (0 text, 1 JSON), field body
//! status   0 COMPLETED   2 FAILED   3 NOT_AUTHZ   7 BAD_REQUEST (the server closes after it)
//! ```
//!
//! Replies come in the order of the requests; a second request may be sent before the first is answered, and is read only
//! then. A request is at most [`wire::REQUEST_BYTES_MAX`], a reply at most [`wire::REPLY_BYTES_MAX`]. Flag bits that are not
//! named must be zero. A frame that does not begin with `PR` is not ours: the server closes the connection, writes a log
//! record and counts `console.garbage`. A frame of another version is answered with BAD_REQUEST, so that an old client
//! reads a sentence and not silence. `user` is what the client says of itself, only ever logged as such: who the peer is
//! comes from the socket ([`Peer`]).
//!
//! A connection that sends no complete request for the idle timeout (60 s by default) is closed.
//!
//! # Counters
//!
//! `console.connections` (accepted), `console.connections.left` (ended), `console.commands.completed`,
//! `console.commands.failed`, `console.garbage` (connections closed for bytes that are no request).

mod accounting;
pub mod arguments;
mod bulk;
mod commands;
mod help;
mod line;
mod listener;
mod peer;
mod serve;
mod session;
pub mod shapes;
pub mod wire;

pub use accounting::{Account, AccountEvent, Accounting};
pub use commands::{
    Command, CommandError, Commands, Completer, Duplicate, Guard, Handler, Invocation, LocalBoxFuture, Outcome, Reply,
};
pub use listener::{Arrivals, ControlListener, OPTIONS, TIMEOUT};
pub use peer::{Peer, UserNames};
pub use serve::MEASURES;
pub use serve::{Caller, Console, Limits};
pub use session::SessionState;
