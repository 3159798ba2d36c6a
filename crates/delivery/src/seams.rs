//! The seams of delivery: the network, what this process is in it, the resolver and the notification of senders. Each has an in-memory twin in tests.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;

use config::Generation;
use dns::{DnsError, MxPlan};
use message::{Body, Envelope};
use scheduler::{Descriptors, Lack, Step};
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

/// Why none was opened.
#[derive(Debug)]
pub struct ConnectError {
    /// What was being done.
    pub step: Step,
    /// What went wrong.
    pub error: io::Error,
}

impl ConnectError {
    /// What this machine lacks, if it is its fault.
    pub fn lack(&self) -> Option<Lack> {
        Lack::of(self.step, &self.error)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// An error in reaching the other host.
impl From<io::ErrorKind> for ConnectError {
    fn from(kind: io::ErrorKind) -> Self {
        Self { step: Step::Connect, error: kind.into() }
    }
}

/// Opens connections. The caller limits the time and drops the future when it is over.
pub trait Connector: Send + Sync {
    /// Connects from `local` (any address if none) to `remote`.
    fn connect(&self, local: Option<IpAddr>, remote: SocketAddr) -> Local<'_, Result<Connected, ConnectError>>;
}

/// The real network.
#[derive(Clone, Debug, Default)]
pub struct Tcp {
    descriptors: Descriptors,
}

impl Tcp {
    /// Takes no descriptor beyond the share of connections.
    pub fn within(descriptors: &Descriptors) -> Self {
        Self { descriptors: descriptors.clone() }
    }
}

impl Connector for Tcp {
    fn connect(&self, local: Option<IpAddr>, remote: SocketAddr) -> Local<'_, Result<Connected, ConnectError>> {
        Box::pin(async move {
            let at = |step| move |error| ConnectError { step, error };
            let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
            let socket = socket.map_err(at(Step::Socket))?;
            if !self.descriptors.admit(&socket) {
                return Err(at(Step::Socket)(io::Error::from_raw_os_error(EMFILE)));
            }
            let local = local.filter(|local| local.is_ipv4() == remote.is_ipv4());
            if let Some(local) = local {
                socket.bind(SocketAddr::new(local, 0)).map_err(at(Step::Bind))?;
            }
            // A group of commands leaves in one write: waiting to fill a segment would only delay it.
            socket.set_nodelay(true).map_err(at(Step::Socket))?;
            let stream = socket.connect(remote).await.map_err(|error| {
                let step =
                    if is_unreachable(&error) && !has_route(local, remote) { Step::Route } else { Step::Connect };
                ConnectError { step, error }
            })?;
            let descriptor = std::os::fd::AsRawFd::as_raw_fd(&stream);
            Ok(Connected { stream: Box::new(stream), descriptor: Some(descriptor) })
        })
    }
}

fn is_unreachable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable)
}

/// Whether the kernel knows a way to an address. A router says "unreachable" in the same words as a kernel that knows none;
/// a datagram socket can be connected in the first case, and no packet leaves for it.
fn has_route(local: Option<IpAddr>, remote: SocketAddr) -> bool {
    let any: IpAddr = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(local.unwrap_or(any), 0));
    !socket.and_then(|socket| socket.connect(remote)).is_err_and(|error| is_unreachable(&error))
}

/// Knows where this process itself takes mail.
pub trait Itself: Send + Sync {
    /// Whether a connection to that address and port would come to this process.
    fn is_at(&self, remote: SocketAddr) -> bool;
    /// Whether it listens on that port, at whatever address.
    fn listens_on(&self, port: u16) -> bool;
}

/// Finds mail hosts and addresses.
pub trait Names: Send + Sync {
    /// Where mail for `domain` goes (RFC 5321 5.1).
    fn mx<'a>(&'a self, domain: &'a str) -> Local<'a, Result<MxPlan, DnsError>>;
    /// The same as soon as one host has an address; the plan says whether it is partial.
    fn mx_soon<'a>(&'a self, domain: &'a str) -> Local<'a, Result<MxPlan, DnsError>>;
    /// The addresses of one host.
    fn addresses<'a>(&'a self, host: &'a str) -> Local<'a, Result<Vec<IpAddr>, DnsError>>;
    /// That `domain` has no mail hosts is to be asked anew.
    fn forget_failure(&self, domain: &str);
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

    fn forget_failure(&self, domain: &str) {
        dns::Resolver::forget_failure(self, domain);
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

/// Too many open files: the number is one of Linux.
const EMFILE: i32 = 24;
