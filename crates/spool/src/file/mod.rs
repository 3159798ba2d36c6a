//! The `file` backend: two files for each message, in directories an operator can walk.
//!
//! [`FileStore`] is a chain's last module. Behind it: `writer` gathers, `committer` (one thread, with helpers for large
//! batches) writes, `layout` says where, `meta` what a metadata file holds, `opening` what an earlier run left. Siblings
//! share one body by hard links. Slower than the journal by a few syncs a message; chosen for `ls`, `cat` and rsync.

mod committer;
mod files;
mod layout;
mod meta;
pub(crate) mod opening;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use message::MessageId;
use scheduler::{Clock, Meters};

use crate::disk::Disk;
use crate::error::{OpenError, SpoolError};
use crate::journal::JournalOptions;
use crate::ledger::Ledger;
use crate::shelf::{Backing, Shelf, Shelved};
use committer::Committer;
use files::Files;
use opening::{failed, take_lock};

pub(crate) use files::{read_body, read_file, read_meta, remove_files, sweep};
pub(crate) use layout::{BODY, TEMPORARY, directory as body_directory, id_of, is_window, window};
pub(crate) use meta::{BodyMark, Meta};
pub(crate) use opening::{Listing, list};

/// A store of files that runs.
pub type FileStore = Shelf<Files>;

/// An opened store whose writer does not run yet.
pub(crate) struct Opened {
    pub files: Arc<Files>,
    pub committer: Committer,
    pub listing: Listing,
    pub lock: Box<dyn Send + Sync>,
}

impl FileStore {
    /// Takes the spool's lock, lists what is there, clears away what was never acknowledged, and starts the writer.
    pub fn open(
        options: &JournalOptions,
        disk: Arc<dyn Disk>,
        clock: Clock,
        meters: &Meters,
    ) -> Result<Self, OpenError> {
        let Opened { files, mut committer, listing, lock } = open(options, disk, clock, meters, THREADS)?;
        let newest = listing.messages.iter().chain(&listing.orphans).max().copied();
        let ledger = files.ledger.clone();
        ledger.adopt(listing.messages.into_iter());
        Self::start(files, ledger, newest, lock, clock, move |ops| committer.commit(ops))
    }
}

impl Backing for Files {
    const KIND: &'static str = "file";

    fn headers(&self, id: MessageId) -> Result<Shelved, SpoolError> {
        let Meta { batch, body, encoded, .. } = self.meta(id)?;
        Ok(Shelved { batch, body, encoded })
    }

    fn body(&self, id: MessageId) -> Result<Vec<u8>, SpoolError> {
        self.body_of(id, self.meta(id)?.body)
    }

    fn body_file(&self, id: MessageId) -> Result<PathBuf, SpoolError> {
        Ok(self.path(id, BODY))
    }

    /// A message whose files cannot be understood goes to `damaged` as a whole.
    fn set_headers_aside(&self, id: MessageId, why: &SpoolError) {
        let aside = self.base.join("damaged");
        self.ledger.gauges.damaged.add(1);
        let moved = self.disk.create_dir(&aside).and_then(|()| {
            for suffix in [BODY, layout::META] {
                let name = format!("{}{suffix}", id.to_string().replace('/', "-"));
                self.disk.rename(&self.path(id, suffix), &aside.join(name))?;
            }
            self.disk.sync_dir(&aside)?;
            self.disk.sync_dir(&self.directory(id))
        });
        match moved {
            Ok(()) => {
                self.ledger.gauges.set_aside.add(1);
                tracing::error!(target: "SPOOL", critical = true, "{why}; set aside in {}", aside.display());
            }
            Err(error) => {
                tracing::error!(target: "SPOOL", critical = true, "{why}; it cannot be set aside either: {error}");
            }
        }
    }

    /// Files go with their messages.
    fn dead_bytes(&self) -> u64 {
        0
    }
}

/// The file a body is in.
pub(crate) fn body_path(base: &std::path::Path, id: MessageId) -> PathBuf {
    layout::path(base, id, BODY)
}

/// Everything but the thread.
pub(crate) fn open(
    options: &JournalOptions,
    disk: Arc<dyn Disk>,
    clock: Clock,
    meters: &Meters,
    threads: usize,
) -> Result<Opened, OpenError> {
    disk.create_dir(&options.base).map_err(failed("create", &options.base))?;
    let lock = take_lock(disk.as_ref(), &options.base, options.mode)?;
    let ledger = Arc::new(Ledger::new(meters, "file", options, disk.clone()));
    let files = Arc::new(Files {
        disk,
        base: PathBuf::from(&options.base),
        mode: options.mode,
        force_fsync: options.force_fsync,
        unlink_backlog: options.unlink_backlog,
        threads,
        clock,
        crash: options.crash_points.clone(),
        ledger,
        swept: Mutex::default(),
    });
    let listing = files.recover()?;
    Ok(Opened { committer: Committer::new(Arc::clone(&files)), files, listing, lock })
}

/// Writers of one batch's files: more do not help one device.
const THREADS: usize = 8;
