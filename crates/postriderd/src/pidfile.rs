//! The file that names the daemon's process, for as long as it runs.

use io_wrapper::{Flags, IoWrappers};

use crate::exit::Failure;

/// Removes the file when dropped.
pub struct Pidfile(Option<String>);

impl Pidfile {
    /// Writes the process id; an empty path writes nothing.
    pub fn write(path: &str, files: &IoWrappers) -> Result<Self, Failure> {
        if path.is_empty() {
            return Ok(Self(None));
        }
        let failed = |error: &dyn std::fmt::Display| {
            Failure::System(format!("cannot write pidfile {path}: {error}; set pidfile to a place this user may write"))
        };
        let mut file = files.mkpath_and_open(path, Flags::REPLACE, 0o644).map_err(|error| failed(&error))?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(|error| failed(&error))?;
        file.close().map_err(|error| failed(&error))?;
        Ok(Self(Some(path.to_owned())))
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Gone already is as good.
            let _ = rustix::fs::unlink(path);
        }
    }
}
