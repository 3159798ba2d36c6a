//! Bodies that no row wants: what a crash leaves between a body and its row, and how a start gets rid of them.
//!
//! While the store runs there is a mark beside the database; a close that leaves nothing takes it away. A start that finds it
//! looks at every body, before anything new is stored: so a body without a row is never one whose row is still to come. The
//! rows are made durable first: a removal that a killed run had not synced may be undone by a power loss, and then its row
//! must find its body.
//!
//! Where the database's log is damaged, or is empty although the mark says that there were commits in it, rows may be gone that
//! were acknowledged. Then no body is removed: those without a row are set aside, with the log.

use std::cell::Cell;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::table::Table;
use super::{DATABASE, log};
use crate::disk::{Disk, DiskFile};
use crate::error::{OpenError, SpoolError};
use crate::file::opening::{failed, for_each_name};
use crate::file::{self, BODY, read_file};
use crate::ledger::Ledger;

/// The mark.
pub struct Running {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    mode: u32,
    file: Arc<dyn DiskFile>,
    says: Cell<u8>,
    /// The last run did not take it away.
    was_there: bool,
    /// Why rows may be gone.
    doubt: Option<String>,
    leaves: Cell<bool>,
}

impl Running {
    /// Marks the store in `base` as running. Before the database is opened, which may change its log.
    pub fn begin(disk: Arc<dyn Disk>, base: &Path, mode: u32) -> Result<Self, OpenError> {
        let path = base.join(MARK);
        let doubt = doubt(disk.as_ref(), base)?;
        let (file, was_there) = match disk.create(&path, mode) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                (disk.open(&path).map_err(failed("open", &path))?, true)
            }
            Err(error) => return Err(failed("mark as running", &path)(error)),
        };
        disk.sync_dir(base).map_err(failed("sync", base))?;
        let says = Cell::new(said(file.as_ref()).map_err(failed("read", &path))?);
        let this = Self { disk, path, mode, file, says, was_there, doubt, leaves: Cell::new(false) };
        if this.doubt.is_some() {
            this.say(IN_DOUBT).map_err(failed("write", &this.path))?;
        } else if !was_there {
            // So that what is said later needs no room; there may be none now.
            let _ = this.say(LOG_IS_EMPTY);
        }
        Ok(this)
    }

    /// Clears up if the last run did not, and tells what may be gone.
    pub fn clear_up(&self, base: &Path, table: &Table, ledger: &Ledger) -> Result<(), OpenError> {
        if let Some(why) = &self.doubt {
            self.set_log_aside(base, ledger, why);
        }
        if !self.was_there && self.doubt.is_none() {
            return Ok(());
        }
        if let Err(error) = table.make_durable() {
            tracing::warn!(target: "SPOOL", "bodies that no message wants stay until the next start: {error}");
            self.leave_orphan();
            return Ok(());
        }
        if self.doubt.is_none() {
            self.log_is_empty();
        }
        self.remove_orphans(base, table, ledger)?;
        if self.doubt.is_some() {
            self.say(LOG_IS_EMPTY).map_err(failed("write", &self.path))?;
        }
        Ok(())
    }

    /// Something stays for the next start.
    pub fn leave_orphan(&self) {
        self.leaves.set(true);
    }

    /// A commit goes to the log next: from then on an empty one is damage. If that cannot be noted, there is one witness less.
    pub fn log_is_used(&self) {
        if self.says.get() == LOG_IS_EMPTY {
            let _ = self.say(LOG_IS_USED);
        }
    }

    /// All there was in the log has been copied into the database, and the log was cut.
    pub fn log_is_empty(&self) {
        if self.says.get() == LOG_IS_USED
            && let Err(error) = self.say(LOG_IS_EMPTY)
        {
            tracing::warn!(target: "SPOOL", "cannot write to {}: {error}", self.path.display());
        }
    }

    /// The store is closed: nothing is left, unless it was said.
    pub fn end(&self) {
        if !self.leaves.get()
            && let Err(error) = self.disk.remove(&self.path)
        {
            tracing::warn!(target: "SPOOL", "cannot remove {}; the next start takes longer: {error}", self.path.display());
        }
    }

    fn say(&self, what: u8) -> std::io::Result<()> {
        self.file.write_all(&mut [IoSlice::new(&[what])], 0)?;
        self.file.fdatasync()?;
        self.says.set(what);
        Ok(())
    }

    /// A copy: SQLite writes over it.
    fn set_log_aside(&self, base: &Path, ledger: &Ledger, why: &str) {
        ledger.gauges.damaged.add(1);
        let log = log_path(base);
        let told =
            format!("{why}: messages that were stored last may be missing, and finished ones may be delivered again");
        let octets = read_file(self.disk.as_ref(), &log).unwrap_or_default();
        if octets.is_empty() {
            tracing::error!(target: "SPOOL", critical = true, "{told}");
            return;
        }
        match ledger.copy_aside(&format!("{DATABASE}-wal"), &octets, self.mode) {
            Ok(copy) => {
                ledger.gauges.set_aside.add(1);
                tracing::error!(target: "SPOOL", critical = true, "{told}; a copy is set aside as {}", copy.display());
            }
            Err(error) => tracing::error!(target: "SPOOL", critical = true, "{told}; it cannot be set aside: {error}"),
        }
    }

    fn remove_orphans(&self, base: &Path, table: &Table, ledger: &Ledger) -> Result<(), OpenError> {
        let (mut bodies, mut unfinished) = (0, 0);
        for_each_name(self.disk.as_ref(), base, &mut |directory, pair, name| {
            let path = directory.join(name);
            let id = name.strip_suffix(BODY).and_then(|stem| file::id_of(pair, stem));
            let is_unwanted = match id {
                Some(batch) => {
                    !table.wants(batch).map_err(|error| failed("read", base)(std::io::Error::other(error)))?
                }
                None => name.ends_with(file::TEMPORARY),
            };
            if !is_unwanted {
                return Ok(());
            }
            if let (Some(id), Some(_)) = (id, &self.doubt) {
                let why = format!("{DATABASE} has no row for its body, and may have lost it");
                if !ledger.set_aside(id, &path, &SpoolError::Damaged { id, why }) {
                    self.leave_orphan();
                    return Ok(());
                }
            } else {
                *(if id.is_some() { &mut bodies } else { &mut unfinished }) += 1;
            }
            self.disk.remove(&path).map_err(failed("remove", &path))
        })?;
        if bodies + unfinished != 0 {
            tracing::warn!(
                target: "SPOOL",
                "{bodies} bodies that no message wants and {unfinished} unfinished ones were left by the last run; removed"
            );
        }
        Ok(())
    }
}

/// Why rows that were committed may be gone from the database in `base`, which nobody has opened yet; nothing if none is.
pub fn doubt(disk: &dyn Disk, base: &Path) -> Result<Option<String>, OpenError> {
    let (path, mark) = (log_path(base), base.join(MARK));
    let says = match disk.open(&mark) {
        Ok(file) => said(file.as_ref()).map_err(failed("read", &mark))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => LOG_IS_EMPTY,
        Err(error) => return Err(failed("open", &mark)(error)),
    };
    let log = match disk.open(&path) {
        Ok(log) => Some(log),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed("open", &path)(error)),
    };
    let octets = log.as_ref().map_or(Ok(0), |log| log.len()).map_err(failed("measure", &path))?;
    let fault = log.map_or(Ok(None), |log| log::fault(log.as_ref())).map_err(failed("read", &path))?;
    Ok(match (fault, says) {
        (Some(fault), _) => Some(format!("{} is damaged, {fault}", path.display())),
        (None, LOG_IS_USED) if octets == 0 => {
            Some(format!("{} is empty or gone, and the last run had written to it", path.display()))
        }
        (None, LOG_IS_USED | LOG_IS_EMPTY) => None,
        (None, IN_DOUBT) => Some(format!("{} was found damaged before", path.display())),
        (None, _) => Some(format!("{} is damaged, which tells whether {} is whole", mark.display(), path.display())),
    })
}

/// The log of the database in `base`.
pub fn log_path(base: &Path) -> PathBuf {
    base.join(format!("{DATABASE}-wal"))
}

fn said(file: &dyn DiskFile) -> std::io::Result<u8> {
    let mut octet = [LOG_IS_EMPTY];
    file.read_full(&mut octet, 0)?;
    Ok(octet[0])
}

const MARK: &str = "running";
/// What the mark says, in its one octet; an earlier release wrote none.
const LOG_IS_EMPTY: u8 = b'-';
const LOG_IS_USED: u8 = b'+';
const IN_DOUBT: u8 = b'?';
