//! Why a name could not be opened.

use std::fmt;
use std::io;

/// Says which name, what was tried, and why it failed.
#[derive(Debug)]
pub enum Error {
    /// Nobody provides the scheme.
    UnknownScheme {
        /// The whole name.
        url: String,
        /// The schemes there are, in order.
        known: Vec<String>,
    },
    /// The scheme is registered already.
    SchemeTaken(String),
    /// The driver failed.
    Io {
        /// What was tried.
        doing: &'static str,
        /// The whole name.
        url: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownScheme { url, known } => {
                write!(f, "{url}: no such kind of stream; known are a plain path and {}", known.join(", "))
            }
            Self::SchemeTaken(scheme) => write!(f, "the scheme {scheme}:// is registered already"),
            Self::Io { doing, url, source } => write!(f, "{doing} {url}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::UnknownScheme { .. } | Self::SchemeTaken(_) => None,
        }
    }
}
