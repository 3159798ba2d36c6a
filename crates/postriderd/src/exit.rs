//! How the process ends: codes a service manager can act on (sysexits.h), each with a sentence.

use std::fmt;
use std::process::ExitCode;

/// Why the daemon did not start, or stopped other than as asked.
#[derive(Debug)]
pub enum Failure {
    /// The configuration was refused; the text is the diagnostics.
    Configuration(String),
    /// The spool is owned by another daemon, unreadable, or of a newer version.
    Spool(String),
    /// The system refused something: an address, a thread, a file.
    System(String),
    /// A defect here.
    Internal(String),
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Configuration(_) => 78,
            Self::Spool(_) => 69,
            Self::System(_) => 71,
            Self::Internal(_) => 70,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(text) => write!(f, "{text}\nReconfigure failed."),
            Self::Spool(text) | Self::System(text) => f.write_str(text),
            Self::Internal(text) => write!(f, "internal error: {text}"),
        }
    }
}
