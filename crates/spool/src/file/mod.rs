//! The `file` backend: two files for each message, in directories an operator can walk.
//!
//! [`FileStore`] is a chain's last module. Behind it: `writer` gathers, `committer` (one thread, with helpers for large
//! batches) writes, `layout` says where, `meta` what a metadata file holds, `opening` what an earlier run left. Siblings
//! share one body by hard links. Slower than the journal by a few syncs a message; chosen for `ls`, `cat` and rsync.

mod committer;
pub(crate) mod counts;
mod files;
mod layout;
mod meta;
pub(crate) mod opening;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use message::MessageId;
use scheduler::{Clock, Meters};

use crate::chain::{BodyIn, BodyOut, CommitSet, HeadersIn, HeadersOut, IoCaller, IoModule, IoResult};
use crate::disk::Disk;
use crate::error::{OpenError, SpoolError};
use crate::journal::JournalOptions;
use crate::stats::SpoolStats;
use crate::ticket::Ticket;
use crate::writer::Writer;
use committer::Committer;
use counts::Counts;
use files::Files;
use opening::{failed, take_lock};

pub(crate) use files::{read_body, read_file, read_meta, remove_files, sweep};
pub(crate) use layout::{BODY, directory as body_directory, is_window, window};
pub(crate) use meta::{BodyMark, Meta};
pub(crate) use opening::{Listing, list};

/// A store of files that runs.
pub struct FileStore {
    files: Arc<Files>,
    writer: Arc<Writer>,
    /// What an earlier run left, until it is handed over.
    old: Mutex<Vec<MessageId>>,
    newest: Option<MessageId>,
    thread: Mutex<Option<JoinHandle<()>>>,
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

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
        let writer = Arc::new(Writer::new(options.waiting_bytes, options.unlink_backlog));
        let source = Arc::clone(&writer);
        let work = move || {
            while let Some(ops) = source.take() {
                if committer.commit(ops) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("spool-file".to_owned()).spawn(work);
        let thread = thread.map_err(failed("start a thread for", &options.base))?;
        let newest = listing.messages.iter().chain(&listing.orphans).max().copied();
        Ok(Self {
            files,
            writer,
            newest,
            old: Mutex::new(listing.messages),
            thread: Mutex::new(Some(thread)),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// The newest id found. Ids made by this run must be later.
    pub fn newest(&self) -> Option<MessageId> {
        self.newest
    }

    /// How the store is doing.
    pub fn stats(&self) -> SpoolStats {
        let (waiting_bytes, unlinks_waiting) = self.writer.depth();
        let free_bytes = self.files.disk.space(&self.files.base).map_or(0, |space| space.free_bytes);
        SpoolStats { waiting_bytes, unlinks_waiting, free_bytes, ..self.files.counts.stats() }
    }

    /// Whether there is such a message.
    pub fn contains(&self, id: MessageId) -> bool {
        self.files.exists(id)
    }

    /// A message whose files cannot be understood goes to `damaged`, for the operator.
    fn set_aside(&self, id: MessageId, why: &SpoolError) {
        let aside = self.files.base.join("damaged");
        self.files.counts.damaged.add(1);
        let moved = self.files.disk.create_dir(&aside).and_then(|()| {
            let directory = self.files.directory(id);
            for suffix in [layout::BODY, layout::META] {
                let from = self.files.path(id, suffix);
                let name = format!("{}{suffix}", id.to_string().replace('/', "-"));
                self.files.disk.rename(&from, &aside.join(name))?;
            }
            self.files.disk.sync_dir(&aside)?;
            self.files.disk.sync_dir(&directory)
        });
        match moved {
            Ok(()) => tracing::error!(target: "SPOOL", critical = true, "{why}; set aside in {}", aside.display()),
            Err(error) => {
                tracing::error!(target: "SPOOL", critical = true, "{why}; it cannot be set aside either: {error}");
            }
        }
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
    let files = Arc::new(Files {
        disk,
        base: PathBuf::from(&options.base),
        mode: options.mode,
        force_fsync: options.force_fsync,
        unlink_backlog: options.unlink_backlog,
        threads,
        clock,
        crash: options.crash_points.clone(),
        counts: Counts::new(meters, "file"),
        swept: Mutex::default(),
    });
    let listing = files.recover()?;
    files.counts.messages.set(listing.messages.len() as u64);
    files.counts.recovered.set(listing.messages.len() as u64);
    Ok(Opened { committer: Committer::new(Arc::clone(&files)), files, listing, lock })
}

impl IoModule for FileStore {
    fn name(&self) -> &str {
        "file"
    }

    fn owns_disk_queue(&self) -> bool {
        true
    }

    fn process_disk_queue(&self, each: &mut dyn FnMut(MessageId, Vec<u8>)) -> Result<(), SpoolError> {
        let old = std::mem::take(&mut *self.old.lock().unwrap_or_else(PoisonError::into_inner));
        for id in old {
            match self.files.meta(id) {
                Ok(meta) => each(id, meta.encoded),
                Err(SpoolError::Missing { .. }) => {}
                Err(error @ SpoolError::Damaged { .. }) => self.set_aside(id, &error),
                // A device that fails may read it at the next start.
                Err(error) => tracing::error!(target: "SPOOL", "left in the spool, not delivered: {error}"),
            }
            self.files.counts.handed_over.add(1);
        }
        Ok(())
    }

    fn write_headers(&self, _: IoCaller, set: &mut CommitSet, headers: &mut HeadersOut<'_>, _: bool) -> IoResult {
        set.staged(self).push_headers(headers);
        IoResult::Done
    }

    fn read_headers(&self, _: IoCaller, headers: &mut HeadersIn) -> IoResult {
        match self.files.meta(headers.id) {
            Ok(meta) => headers.encoded = Some(meta.encoded),
            Err(error) => return IoResult::Fail(error),
        }
        IoResult::Done
    }

    fn unlink_headers(&self, _: IoCaller, set: &mut CommitSet, id: MessageId) -> IoResult {
        set.staged(self).unlinked.push(id);
        IoResult::Cont
    }

    fn write_body(&self, _: IoCaller, set: &mut CommitSet, body: &mut BodyOut<'_>, _: bool) -> IoResult {
        set.staged(self).body = Some((body.batch, body.octets.clone()));
        IoResult::Done
    }

    fn read_body(&self, _: IoCaller, body: &mut BodyIn) -> IoResult {
        match self.files.meta(body.id).and_then(|meta| self.files.body(body.id, meta.body)) {
            Ok(octets) => body.octets = Some(octets),
            Err(error) => return IoResult::Fail(error),
        }
        IoResult::Done
    }

    fn commit(&self, set: &mut CommitSet) {
        let Some(staged) = set.take(self) else { return };
        self.writer.push(staged, set);
    }

    fn close(&self) {
        let (promise, ticket) = Ticket::new();
        self.writer.close(promise);
        let _ = ticket.wait();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(panic)) = thread.map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// Writers of one batch's files: more do not help one device.
const THREADS: usize = 8;
