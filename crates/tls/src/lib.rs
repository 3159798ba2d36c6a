//! TLS contexts for both directions, with reload.
//!
//! In: the operator's PEM files. Out: rustls configurations, ready to share ([`TlsContexts`]). A session takes one at its
//! handshake and keeps it; a reload swaps all of them at once, and a file that is wrong changes nothing. Knows no SMTP and
//! no queue, and never opens a socket. The cryptography is aws-lc-rs, nothing else.

mod contexts;
mod error;
mod files;
mod server_names;
mod unverified;

pub use contexts::{Identity, TlsContexts, TlsSetup};
pub use error::TlsError;
