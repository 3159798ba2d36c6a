//! Why a lookup gave no addresses, told apart by what the caller does next.
//!
//! The mapping to SMTP replies is delivery's; the sentences here are for the operator.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use scheduler::Lack;

/// A lookup that yielded nothing to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsError {
    /// The name does not exist (NXDOMAIN), or cannot be a domain name at all.
    NoSuchDomain {
        /// What was asked for.
        name: Arc<str>,
    },
    /// The name exists, but has neither MX nor address records, or none that lead to an address.
    NoRecords {
        /// What was asked for.
        name: Arc<str>,
    },
    /// The domain says that it takes no mail (RFC 7505).
    NullMx {
        /// The domain.
        name: Arc<str>,
    },
    /// The servers answered, but with a failure: another time may do better.
    Temporary {
        /// The name and type of the question that failed.
        name: Arc<str>,
        /// What went wrong, in words.
        what: String,
        /// The server that failed last.
        server: Option<SocketAddr>,
    },
    /// No question could be asked: this machine lacks something for that.
    Local {
        /// The name and type of the question that was not asked.
        name: Arc<str>,
        /// What is lacking.
        lack: Lack,
    },
    /// No server answered in time.
    Timeout {
        /// The name and type of the question that was not answered.
        name: Arc<str>,
        /// The server asked last.
        server: Option<SocketAddr>,
    },
}

impl DnsError {
    /// Whether asking again later may help: failures do pass, while answers stand until their TTL is over.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Temporary { .. } | Self::Local { .. } | Self::Timeout { .. })
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |f: &mut fmt::Formatter<'_>, server: &Option<SocketAddr>| match server {
            Some(server) => write!(f, " (nameserver {server})"),
            None => Ok(()),
        };
        match self {
            Self::NoSuchDomain { name } => write!(f, "domain {name} does not exist"),
            Self::NoRecords { name } => write!(f, "no MX and no address leads to {name}"),
            Self::NullMx { name } => write!(f, "domain {name} has a null MX: it accepts no mail"),
            Self::Temporary { name, what, server } => {
                write!(f, "lookup of {name} failed: {what}")?;
                by(f, server)
            }
            Self::Local { name, lack } => write!(f, "lookup of {name} not begun: {lack}"),
            Self::Timeout { name, server } => {
                write!(f, "lookup of {name}: no answer in time")?;
                by(f, server)
            }
        }
    }
}

impl std::error::Error for DnsError {}
