//! Why an address cannot be listened on, for the operator.

use std::fmt;
use std::io;

use config::ListenAddress;

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
    /// The operating system refused.
    Io(ListenAddress, io::Error),
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
