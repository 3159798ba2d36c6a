//! TLS: its options, the contexts of a generation, and the socket under it.
//!
//! In: what the configuration says along the scopes of a session, and the operator's PEM files. Out: contexts ready to shake hands
//! with ([`TlsContexts`]), and streams. A session keeps the context that it began with. Knows no SMTP and no queue, and never opens
//! a socket. The cryptography is aws-lc-rs, nothing else.

mod ciphers;
mod contexts;
mod error;
mod files;
mod options;
mod protocols;
mod server;
mod stream;

pub use ciphers::{Ciphers, Ciphersuites};
pub use contexts::TlsContexts;
pub use error::TlsError;
pub use options::{
    OPTIONS, TLS_CERTIFICATE, TLS_CIPHERS, TLS_CLIENT_CA, TLS_KEY, TLS_PROTOCOLS, TLS_VERIFY_MODE, TLSV13_CIPHERSUITES,
    VerifyMode,
};
pub use protocols::Protocols;
pub use server::{ServerContext, ServerSetup};
pub use stream::{Facts, ServerStream, Socket};
