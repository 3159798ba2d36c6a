//! The driver of `pipe`: for writing only. Opening starts the program and does not wait for it.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use io_wrapper::{Driver, Flags, Stream};
use scheduler::Clock;

use crate::address::Address;
use crate::program::Settings;
use crate::stream::PipeStream;

/// The driver. Cloning shares its settings, which count for programs started after a change.
#[derive(Clone)]
pub struct PipeDriver {
    settings: Arc<RwLock<Settings>>,
    clock: Clock,
}

impl PipeDriver {
    /// A driver with the default settings.
    pub fn new(clock: Clock) -> Self {
        Self { settings: Arc::default(), clock }
    }

    /// Changes the settings.
    pub fn configure(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }
}

impl Driver for PipeDriver {
    fn scheme(&self) -> &str {
        "pipe"
    }

    fn check(&self, rest: &str, flags: Flags) -> io::Result<()> {
        address(rest, flags).map(drop)
    }

    fn open(&self, rest: &str, flags: Flags, _mode: u32) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(PipeStream::open(address(rest, flags)?, self.settings.clone(), self.clock)?))
    }
}

fn address(rest: &str, flags: Flags) -> io::Result<Address> {
    if flags.read {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "a pipe is for writing to a program only"));
    }
    Address::parse(rest)
}
