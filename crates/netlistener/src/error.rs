//! Why an address cannot be listened on, for the operator.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use config::ListenAddress;

use crate::options::ListenSpec;

/// A Listen stanza that could not be made to listen.
#[derive(Debug)]
pub struct ListenError {
    /// The listener's word.
    pub word: &'static str,
    /// The name of the Listen stanza.
    pub listen: String,
    /// What went wrong.
    pub problem: Problem,
}

/// What went wrong.
#[derive(Debug)]
pub enum Problem {
    /// The name of the stanza is no address.
    Address(String),
    /// The event loop pool it asks for does not exist.
    NoSuchPool(String),
    /// Something else listens there.
    InUse(ListenAddress),
    /// This daemon does, on an address that takes the port of that one.
    Own {
        /// What was to be listened on.
        wanted: SocketAddr,
        /// What is.
        running: SocketAddr,
    },
    /// Another stanza of the same configuration asks for the same port, or path.
    Twice {
        /// The other one, as `word listen "name"`.
        other: String,
    },
    /// The operating system refused.
    Io(ListenAddress, io::Error),
}

impl ListenError {
    /// Whose port it is, when it is our own: one that the running configuration listens on.
    pub(crate) fn unless_own(self, spec: &ListenSpec, running: impl IntoIterator<Item = SocketAddr>) -> Self {
        let (Problem::InUse(_), ListenAddress::Ip(wanted)) = (&self.problem, &spec.address) else { return self };
        match running.into_iter().find(|running| collide(*running, *wanted)) {
            Some(running) => Self { problem: Problem::Own { wanted: *wanted, running }, ..self },
            None => self,
        }
    }

    /// Whether another host, or the same one at another time, might not have it.
    pub fn is_of_the_host(&self) -> bool {
        matches!(self.problem, Problem::InUse(_) | Problem::Io(..))
    }
}

/// Whether two sockets cannot be listened on beside each other: a wildcard takes the port of every address of its family.
pub(crate) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_family = one.is_ipv4() == other.is_ipv4();
    let same_place = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && same_family && same_place
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listen \"{}\": ", self.word, self.listen)?;
        match &self.problem {
            Problem::Address(why) => f.write_str(why),
            Problem::NoSuchPool(pool) => {
                write!(f, "there is no eventloop \"{pool}\"; declare it or take event_loop out of the stanza")
            }
            Problem::InUse(ListenAddress::Ip(address)) => write!(
                f,
                "another process listens on {address}; see which with `ss -ltnp 'sport = :{}'`, stop it or choose another port",
                address.port()
            ),
            Problem::Own { wanted, running } => write!(
                f,
                "this daemon itself listens on {running} until the new configuration is in effect, so {wanted} is not free yet: \
                 take the stanza of {running} out first and load, then add this one and load again, or restart"
            ),
            Problem::Twice { other } => write!(
                f,
                "{other} has the same port or path, and only one of the two can be listened on: take one out, or give it another"
            ),
            Problem::InUse(ListenAddress::Unix(path)) => {
                write!(f, "another process listens on {}; stop it or choose another path", path.display())
            }
            Problem::Io(address, error) => {
                write!(f, "cannot listen on {address}: {error}{}", advice(address, error.kind()))
            }
        }
    }
}

fn advice(address: &ListenAddress, kind: io::ErrorKind) -> &'static str {
    match (address, kind) {
        (ListenAddress::Ip(_), io::ErrorKind::PermissionDenied) => {
            "; ports below 1024 need to be bound as root or with CAP_NET_BIND_SERVICE"
        }
        (ListenAddress::Ip(_), io::ErrorKind::AddrNotAvailable) => "; this host has no such address",
        (ListenAddress::Unix(_), io::ErrorKind::PermissionDenied) => "; its directory must be writable for the daemon",
        (ListenAddress::Unix(_), io::ErrorKind::NotFound) => "; its directory does not exist",
        _ => "",
    }
}

impl std::error::Error for ListenError {}
