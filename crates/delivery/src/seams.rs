//! The seams of delivery: the network, the resolver and the notification of senders. Each has an in-memory twin in tests.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use config::Generation;
use dns::{DnsError, MxPlan};
use message::{Body, Envelope};
use smtp::Reply;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;

/// A future that stays on the loop that made it.
pub type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// An open connection, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// What a connector opened.
pub struct Connected {
    /// The octets.
    pub stream: Box<dyn Stream>,
    /// The file descriptor, for the operator's eyes.
    pub descriptor: Option<i32>,
}

/// Opens connections. The caller limits the time and drops the future when it is over.
pub trait Connector: Send + Sync {
    /// Connects from `local` (any address if none) to `remote`.
    fn connect(&self, local: Option<IpAddr>, remote: SocketAddr) -> Local<'_, io::Result<Connected>>;
}

/// The real network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Connector for Tcp {
    fn connect(&self, local: Option<IpAddr>, remote: SocketAddr) -> Local<'_, io::Result<Connected>> {
        Box::pin(async move {
            let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            if let Some(local) = local.filter(|local| local.is_ipv4() == remote.is_ipv4()) {
                socket.bind(SocketAddr::new(local, 0))?;
            }
            // A group of commands leaves in one write: waiting to fill a segment would only delay it.
            socket.set_nodelay(true)?;
            let stream = socket.connect(remote).await?;
            let descriptor = std::os::fd::AsRawFd::as_raw_fd(&stream);
            Ok(Connected { stream: Box::new(stream), descriptor: Some(descriptor) })
        })
    }
}

/// Finds mail hosts and addresses.
pub trait Names: Send + Sync {
    /// Where mail for `domain` goes (RFC 5321 5.1).
    fn mx<'a>(&'a self, domain: &'a str) -> Local<'a, Result<MxPlan, DnsError>>;
    /// The same as soon as one host has an address; the plan says whether it is partial.
    fn mx_soon<'a>(&'a self, domain: &'a str) -> Local<'a, Result<MxPlan, DnsError>>;
    /// The addresses of one host.
    fn addresses<'a>(&'a self, host: &'a str) -> Local<'a, Result<Vec<IpAddr>, DnsError>>;
}

impl Names for dns::Resolver {
    fn mx<'a>(&'a self, domain: &'a str) -> Local<'a, Result<MxPlan, DnsError>> {
        Box::pin(dns::Resolver::mx(self, domain))
    }

    fn mx_soon<'a>(&'a self, domain: &'a str) -> Local<'a, Result<MxPlan, DnsError>> {
        Box::pin(dns::Resolver::mx_soon(self, domain))
    }

    fn addresses<'a>(&'a self, host: &'a str) -> Local<'a, Result<Vec<IpAddr>, DnsError>> {
        Box::pin(dns::Resolver::addresses(self, host))
    }
}

/// A message that failed for good, as its notification needs it.
#[derive(Clone, Debug)]
pub struct FailedMessage {
    /// The message.
    pub envelope: Envelope,
    /// Its body, unless that could not be read.
    pub body: Option<Body>,
    /// Why: the remote host's reply, or one of ours.
    pub reply: Reply,
    /// Where the connection stood.
    pub stage: logging::Stage,
    /// The host that refused it, by name and address, if one did.
    pub remote: Option<(Arc<str>, IpAddr)>,
    /// The generation the attempt ran under.
    pub generation: Arc<Generation>,
}

/// The notification of a failed message could not be made safe; the message stays queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotStored(pub String);

/// Tells senders of failures. Whether one is due at all (null reverse-path, options) is the bouncer's business.
pub trait Bouncer: Send + Sync {
    /// Resolves when the notification is as safe as an accepted message, or when none is due. `stored` is called once it is
    /// safe and before a log speaks of it, so that the failure that caused it stands there first.
    fn bounce<'a>(&'a self, failed: &'a FailedMessage, stored: &'a dyn Fn()) -> Local<'a, Result<(), NotStored>>;
}
