//! Outlets: where a log stream's bytes go. Used on the writer's thread, and by whoever reopens or flushes; may block.

use std::io::{self, Write as _};

/// An open outlet.
#[derive(Debug)]
pub(crate) enum Outlet {
    /// What a path or URL named.
    Url(Box<dyn io_wrapper::Stream>),
    /// The standard error stream.
    Stderr,
}

impl Outlet {
    /// Opens the name again, so that a renamed file is left behind. On failure the old one stays in use.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        match self {
            Self::Url(stream) => stream.reopen(),
            Self::Stderr => Ok(()),
        }
    }

    /// Writes some of `bytes`; how many.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Url(stream) => stream.write(bytes),
            Self::Stderr => io::stderr().write(bytes),
        }
    }

    /// Hands on what the outlet keeps of what was written. `WouldBlock` if it must be asked again.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Url(stream) => stream.flush(),
            Self::Stderr => Ok(()),
        }
    }
}
