//! The file that names the daemon's process, for as long as it runs. Written when the daemon listens, so that a start which
//! fails leaves another daemon's as it is; and one that names another daemon that runs is not written at all.

use io_wrapper::{Flags, IoWrappers};
use rustix::fs::{Mode, OFlags};

use crate::exit::Failure;

/// Removes the file when dropped.
pub struct Pidfile(Option<(String, IoWrappers)>);

impl Pidfile {
    /// Writes the process id; an empty path writes nothing.
    pub fn write(path: &str, files: &IoWrappers) -> Result<Self, Failure> {
        if path.is_empty() {
            return Ok(Self(None));
        }
        check(path, files)?;
        let failed = |error: &dyn std::fmt::Display| {
            Failure::System(format!("cannot write pidfile {path}: {error}; set pidfile to a place this user may write"))
        };
        let mut file = files.mkpath_and_open(path, Flags::REPLACE, 0o644).map_err(|error| failed(&error))?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(|error| failed(&error))?;
        file.close().map_err(|error| failed(&error))?;
        Ok(Self(Some((path.to_owned(), files.clone()))))
    }
}

/// Refuses a file that names another daemon that runs: whoever stops or watches that one by its file would meet this one. What
/// a daemon that was killed has left is none.
pub fn check(path: &str, files: &IoWrappers) -> Result<(), Failure> {
    let named = if path.is_empty() { None } else { files.read_text(path, TEXT_OCTETS_MAX).ok() };
    let named = named.and_then(|text| text.trim().parse::<u32>().ok());
    match named.filter(|named| *named != std::process::id() && is_daemon(*named, files)) {
        None => Ok(()),
        Some(named) => Err(Failure::System(format!(
            "pidfile {path} names process {named}, a postriderd that runs: each daemon needs a pidfile of its own; set pidfile to \
             another name, or stop that one with `kill {named}` if this is to take its place"
        ))),
    }
}

/// Whether a process is this program. Its number may be another's by now.
fn is_daemon(process: u32, files: &IoWrappers) -> bool {
    let name = |of: &str| files.read_text(&format!("/proc/{of}/comm"), TEXT_OCTETS_MAX).ok();
    name(&process.to_string()).is_some_and(|other| other.trim() == "postriderd" || Some(other) == name("self"))
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if let Some((path, files)) = &self.0 {
            let is_ours =
                files.read_text(path, TEXT_OCTETS_MAX).is_ok_and(|text| text.trim() == std::process::id().to_string());
            // Gone already is as good. In a folder that is not ours to write it is emptied: no other process is meant then.
            if is_ours && rustix::fs::unlink(path).is_err() {
                let _ = rustix::fs::open(path, OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC, Mode::empty());
            }
        }
    }
}

/// Longest text read back: a number.
const TEXT_OCTETS_MAX: usize = 64;
