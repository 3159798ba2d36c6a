//! Why a lookup gave no addresses, told apart by what the caller does next.
//!
//! The mapping to SMTP replies is delivery's; the sentences here are for the operator.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use scheduler::Lack;

/// A lookup that yielded nothing to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsError {
    /// The name does not exist (NXDOMAIN), or cannot be a domain name at all.
    NoSuchDomain {
        /// What was asked for.
        name: Arc<str>,
        /// Until when this is kept as the answer; none if it is asked anew each time, or was never asked.
        until: Option<Instant>,
    },
    /// The name exists, but has neither MX nor address records, or none that lead to an address.
    NoRecords {
        /// What was asked for.
        name: Arc<str>,
        /// As of [`DnsError::NoSuchDomain`].
        until: Option<Instant>,
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

    /// Until when this very answer is given again without a question to a server.
    pub fn kept_until(&self) -> Option<Instant> {
        match self {
            Self::NoSuchDomain { until, .. } | Self::NoRecords { until, .. } => *until,
            Self::NullMx { .. } | Self::Temporary { .. } | Self::Local { .. } | Self::Timeout { .. } => None,
        }
    }

    /// The same, to be kept until then.
    pub(crate) fn kept(mut self, kept_until: Instant) -> Self {
        if let Self::NoSuchDomain { until, .. } | Self::NoRecords { until, .. } = &mut self {
            *until = Some(kept_until);
        }
        self
    }

    /// The sentence without the nameserver, for the eyes of strangers.
    pub fn reason(&self) -> String {
        match self {
            Self::Temporary { name, what, .. } => format!("lookup of {name} failed: {what}"),
            Self::Timeout { name, .. } => format!("lookup of {name}: no answer in time"),
            Self::NoSuchDomain { name, .. } => format!("domain {name} does not exist"),
            Self::NoRecords { name, .. } => format!("no MX and no address leads to {name}"),
            Self::NullMx { name } => format!("domain {name} has a null MX: it accepts no mail"),
            Self::Local { name, lack } => format!("lookup of {name} not begun: {lack}"),
        }
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason())?;
        match self {
            Self::Temporary { server: Some(server), .. } | Self::Timeout { server: Some(server), .. } => {
                write!(f, " (nameserver {server})")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for DnsError {}
