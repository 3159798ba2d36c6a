//! Why TLS cannot be set up, in words for the operator. No peer ever sees these.

use std::fmt;

/// A set of TLS files that cannot be used.
#[derive(Debug)]
pub enum TlsError {
    /// A file cannot be read.
    Read(io_wrapper::Error),
    /// A file is readable, but not the PEM it should be.
    Pem {
        /// Which file, by path or URL.
        file: String,
        /// What is wrong, as a sentence without its full stop.
        problem: String,
    },
    /// A private key that everyone on the machine can read.
    OpenKey {
        /// Which file.
        file: String,
    },
    /// Clients are to be asked for certificates, and nothing says which are good.
    NoClientCa,
    /// The machine gives no random numbers.
    NoRandom,
    /// Certificate and key do not go together, or rustls refuses them.
    Refused {
        /// What was being set up.
        doing: String,
        /// Why not.
        source: rustls::Error,
    },
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(source) => write!(f, "cannot read a TLS file: {source}"),
            Self::Pem { file, problem } => write!(f, "{file}: {problem}"),
            Self::OpenKey { file } => {
                write!(f, "{file}: this private key can be read by everyone on this machine; run: chmod o-rwx {file}")
            }
            Self::NoClientCa => f.write_str(
                "tls_verify_mode asks clients for certificates and tls_client_ca is not set: name the PEM file of the CAs that \
                 they have to lead to",
            ),
            Self::NoRandom => f.write_str("no random numbers for the keys of TLS tickets"),
            Self::Refused { doing, source } => write!(f, "{doing}: {source}"),
        }
    }
}

impl std::error::Error for TlsError {}
