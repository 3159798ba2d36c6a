//! One attempt at delivery, as the hooks around it see it.

use std::net::SocketAddr;
use std::time::Duration;

use message::MessageId;
use smtp::Reply;
use smtp::client::Stage;

use crate::session::Tls;

/// An attempt that is under way, or over.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// The outbound connection; null if none was needed or made.
    pub connection: MessageId,
    /// Whom it talks to.
    pub remote: Option<Remote<'a>>,
    /// Where it stands, or ended.
    pub stage: Stage,
    /// The reply that decided it, remote or ours.
    pub reply: Option<&'a Reply>,
    /// TLS of the connection.
    pub tls: Option<&'a Tls>,
    /// When it began and when it ended, since 1970.
    pub times: (Duration, Option<Duration>),
    /// Transient failures of the message before it.
    pub retries: u32,
}

/// The host an attempt talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote<'a> {
    /// Its name in the route.
    pub host: &'a str,
    /// The address.
    pub address: SocketAddr,
}
