//! Bodies that no row wants: what a crash leaves between a body and its row, and how a start gets rid of them.
//!
//! While the store runs there is a mark beside the database; a close that leaves nothing takes it away. A start that finds it
//! looks at every body, before anything new is stored: so a body without a row is never one whose row is still to come. The
//! rows are made durable first: a removal that a killed run had not synced may be undone by a power loss, and then its row
//! must find its body.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::table::Table;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::file::opening::{failed, for_each_name};
use crate::file::{self, BODY};

/// The mark.
pub struct Running {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    leaves: Cell<bool>,
}

impl Running {
    /// Marks the store in `base` as running, and clears up if it was marked already.
    pub fn begin(disk: Arc<dyn Disk>, base: &Path, mode: u32, table: &Table) -> Result<Self, OpenError> {
        let path = base.join(MARK);
        let running = Self { disk, path, leaves: Cell::new(false) };
        let disk = running.disk.as_ref();
        match disk.create(&running.path, mode) {
            Ok(_) => disk.sync_dir(base).map_err(failed("sync", base))?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if let Err(error) = table.make_durable() {
                    tracing::warn!(target: "SPOOL", "bodies that no message wants stay until the next start: {error}");
                    running.leave_orphan();
                } else {
                    running.remove_orphans(base, table)?;
                }
            }
            Err(error) => return Err(failed("mark as running", &running.path)(error)),
        }
        Ok(running)
    }

    /// Something stays for the next start.
    pub fn leave_orphan(&self) {
        self.leaves.set(true);
    }

    /// The store is closed: nothing is left, unless it was said.
    pub fn end(&self) {
        if !self.leaves.get()
            && let Err(error) = self.disk.remove(&self.path)
        {
            tracing::warn!(target: "SPOOL", "cannot remove {}; the next start takes longer: {error}", self.path.display());
        }
    }

    fn remove_orphans(&self, base: &Path, table: &Table) -> Result<(), OpenError> {
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
            if is_unwanted {
                *(if id.is_some() { &mut bodies } else { &mut unfinished }) += 1;
                self.disk.remove(&path).map_err(failed("remove", &path))?;
            }
            Ok(())
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

const MARK: &str = "running";
