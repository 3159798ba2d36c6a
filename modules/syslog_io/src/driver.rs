//! The driver of `syslog`: for writing only. Opening connects to nothing, so that a log service which is down keeps no
//! configuration from loading.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use io_wrapper::{Driver, Flags, Stream};
use scheduler::Clock;

use crate::address::Address;
use crate::stream::SyslogStream;

/// How lines are labelled when the name does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The tag.
    pub ident: String,
    /// The facility's word.
    pub facility: String,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { ident: "ecelerity".to_owned(), facility: "mail".to_owned() }
    }
}

/// The driver. Cloning shares its defaults, which count for streams opened after a change.
#[derive(Clone)]
pub struct SyslogDriver {
    defaults: Arc<RwLock<Defaults>>,
    clock: Clock,
}

impl SyslogDriver {
    /// A driver with the documented defaults.
    pub fn new(clock: Clock) -> Self {
        Self { defaults: Arc::default(), clock }
    }

    /// Changes the defaults.
    pub fn configure(&self, defaults: Defaults) {
        *self.defaults.write().unwrap_or_else(PoisonError::into_inner) = defaults;
    }

    fn address(&self, rest: &str, flags: Flags) -> io::Result<Address> {
        if flags.read {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the system log can only be written"));
        }
        Address::parse(rest, &self.defaults.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Driver for SyslogDriver {
    fn scheme(&self) -> &str {
        "syslog"
    }

    fn check(&self, rest: &str, flags: Flags) -> io::Result<()> {
        self.address(rest, flags).map(drop)
    }

    fn open(&self, rest: &str, flags: Flags, _mode: u32) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(SyslogStream::new(self.address(rest, flags)?, self.clock)))
    }
}
