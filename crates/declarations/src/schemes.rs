//! The kinds of names this build can open, and the modules that set them up.
//!
//! Made before the configuration is read, which may itself include a URL.

use std::io;
use std::sync::Arc;

use gzipio::{GzipDriver, GzipIo};
use http_io::{HttpDriver, HttpIo, Limits, Roots};
use io_wrapper::{Driver, Error, Flags, IoWrappers, Stream};
use jlog::{Jlog, JlogDriver};
use module::Module;
use persist_io::{PersistDriver, PersistIo, Place};
use pipe_io::{PipeDriver, PipeIo};
use scheduler::Clock;
use syslog_io::{SyslogDriver, SyslogIo};

/// Every scheme, with its driver registered.
pub struct Schemes {
    /// Opens them.
    pub files: IoWrappers,
    persist: PersistDriver,
    pipe: PipeDriver,
    syslog: SyslogDriver,
}

impl Schemes {
    /// Registers the drivers of this build.
    pub fn register(clock: Clock) -> Result<Self, Error> {
        let files = IoWrappers::new();
        let place = Place { folder: Place::FOLDER.into(), folder_mode: 0o700, file_mode: 0o600 };
        let persist = PersistDriver::new(files.clone(), place);
        let (pipe, syslog) = (PipeDriver::new(clock), SyslogDriver::new(clock));
        for driver in HttpDriver::both(Limits::default(), &Roots::System) {
            files.register(Arc::new(driver))?;
        }
        for driver in JlogDriver::both() {
            files.register(Arc::new(driver))?;
        }
        files.register(Arc::new(GzipDriver::new(files.clone())))?;
        files.register(Arc::new(persist.clone()))?;
        files.register(Arc::new(pipe.clone()))?;
        files.register(Arc::new(syslog.clone()))?;
        Ok(Self { files, persist, pipe, syslog })
    }

    /// Only the files, for a program that configures no module.
    pub fn files() -> Result<IoWrappers, Error> {
        Self::register(Clock::system()).map(|schemes| schemes.files)
    }

    /// What an offline tool reads included URLs through: as the daemon does, but `persist` is its origin alone. A copy left
    /// by whoever runs the tool would stand in the daemon's folder under an owner that the daemon is not.
    pub fn for_includes() -> Result<IoWrappers, Error> {
        let files = IoWrappers::new();
        for driver in HttpDriver::both(Limits::default(), &Roots::System) {
            files.register(Arc::new(driver))?;
        }
        files.register(Arc::new(GzipDriver::new(files.clone())))?;
        files.register(Arc::new(Origin(files.clone())))?;
        Ok(files)
    }

    /// The `.ecm` files of the modules behind the schemes.
    pub const DESCRIBED: [(&str, &str); 6] = [
        ("gzipio.ecm", gzipio::ECM),
        ("http_io.ecm", http_io::ECM),
        ("jlog.ecm", jlog::ECM),
        ("persist_io.ecm", persist_io::ECM),
        ("pipe_io.ecm", pipe_io::ECM),
        ("syslog_io.ecm", syslog_io::ECM),
    ];

    /// The modules behind the schemes.
    pub fn modules(&self) -> Vec<Arc<dyn Module>> {
        vec![
            Arc::new(GzipIo),
            Arc::new(HttpIo),
            Arc::new(Jlog),
            Arc::new(PersistIo::new(self.persist.clone())),
            Arc::new(PipeIo::new(self.pipe.clone())),
            Arc::new(SyslogIo::new(self.syslog.clone())),
        ]
    }
}

/// `persist://` without a copy: whatever its origin is.
struct Origin(IoWrappers);

impl Driver for Origin {
    fn scheme(&self) -> &str {
        "persist"
    }

    fn open(&self, rest: &str, flags: Flags, mode: u32) -> io::Result<Box<dyn Stream>> {
        self.0.open(rest, flags, mode).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_a_module_describes_is_there_from_the_start_and_the_other_way_round() {
        let schemes = Schemes::register(Clock::system()).unwrap();
        let mut described: Vec<String> = Schemes::DESCRIBED
            .iter()
            .flat_map(|(_, text)| text.lines())
            .filter_map(|line| Some(line.strip_prefix("msys.provides = iowrapper.")?.to_owned()))
            .chain(["file".to_owned()])
            .collect();
        described.sort();
        assert_eq!(schemes.files.schemes(), described);
    }

    #[test]
    fn every_module_behind_a_scheme_has_its_description() {
        let schemes = Schemes::register(Clock::system()).unwrap();
        let mut names: Vec<String> = schemes.modules().iter().map(|module| format!("{}.ecm", module.name())).collect();
        names.sort();
        let mut described: Vec<&str> = Schemes::DESCRIBED.iter().map(|&(file, _)| file).collect();
        described.sort_unstable();
        assert_eq!(names, described);
    }
}
