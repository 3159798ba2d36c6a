//! The `sqlite` backend: headers in a table that answers questions, bodies in files beside it.
//!
//! The part of Momentum's header cache: a start reads headers from the table and opens no other file, and operators may ask
//! `headers.db` with SQL while the daemon runs. [`SqliteStore`] is a chain's last module; `writer` is its one thread, `table`
//! the database. The database does its own input and output, past the disk seam: power loss cannot be simulated under it,
//! `kill -9` is tested instead.

mod table;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use message::MessageId;
use scheduler::{Clock, Meters};

use crate::chain::{BodyIn, BodyOut, CommitSet, HeadersIn, HeadersOut, IoCaller, IoModule, IoResult};
use crate::disk::Disk;
use crate::error::{OpenError, SpoolError};
use crate::file::counts::Counts;
use crate::file::opening::{failed, take_lock};
use crate::file::{Listing, list, read_body};
use crate::journal::JournalOptions;
use crate::stats::SpoolStats;
use crate::ticket::Ticket;
use crate::writer::Writer;
use table::Table;
use writer::SqliteWriter;

/// A store that runs.
pub struct SqliteStore {
    reader: Reader,
    writer: Arc<Writer>,
    counts: Arc<Counts>,
    old: Mutex<Vec<MessageId>>,
    newest: Option<MessageId>,
    thread: Mutex<Option<JoinHandle<()>>>,
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

/// What is stored, for whoever reads.
pub(crate) struct Reader {
    table: Mutex<Table>,
    disk: Arc<dyn Disk>,
    base: PathBuf,
}

impl Reader {
    /// Opens the store below the spool directory `base`; takes no lock.
    pub fn open(base: &Path, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let base = base.join(DIRECTORY);
        let table = Mutex::new(Table::open(&base.join(DATABASE), true)?);
        Ok(Self { table, disk, base })
    }

    /// Every message's id and its batch.
    pub fn ids(&self) -> Result<Vec<(MessageId, MessageId)>, SpoolError> {
        self.table().ids()
    }

    /// The names of the bodies and of what is beside them. No file is opened.
    pub fn bodies(&self) -> Result<Listing, OpenError> {
        list(self.disk.as_ref(), &self.base)
    }

    /// A message's encoded headers.
    pub fn headers(&self, id: MessageId) -> Result<Vec<u8>, SpoolError> {
        Ok(self.table().row(id)?.headers)
    }

    /// A message's body.
    pub fn body(&self, id: MessageId) -> Result<Vec<u8>, SpoolError> {
        let row = self.table().row(id)?;
        read_body(self.disk.as_ref(), &self.base, row.batch, row.body).map_err(|error| match error {
            SpoolError::Missing { .. } => SpoolError::Damaged { id, why: "its body is missing".to_owned() },
            SpoolError::Damaged { why, .. } => SpoolError::Damaged { id, why },
            other => other,
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SqliteStore {
    /// Takes the spool's lock, opens the database, and starts the writer.
    pub fn open(
        options: &JournalOptions,
        disk: Arc<dyn Disk>,
        clock: Clock,
        meters: &Meters,
    ) -> Result<Self, OpenError> {
        let base = options.base.join(DIRECTORY);
        disk.create_dir(&base).map_err(failed("create", &base))?;
        disk.sync_dir(&options.base).map_err(failed("sync", &options.base))?;
        let lock = take_lock(disk.as_ref(), &options.base, options.mode)?;
        let table = Table::open(&base.join(DATABASE), options.force_fsync)?;
        let ids = table.ids().map_err(|error| failed("read", &base)(std::io::Error::other(error)))?;
        let counts = Arc::new(Counts::new(meters, "sqlite"));
        counts.recovered.set(ids.len() as u64);
        let writer = Arc::new(Writer::new(options.waiting_bytes, options.unlink_backlog));
        let mut committer = SqliteWriter {
            table,
            disk: disk.clone(),
            base,
            mode: options.mode,
            force_fsync: options.force_fsync,
            clock,
            crash: options.crash_points.clone(),
            counts: counts.clone(),
            newest_window: String::new(),
        };
        let reader = Reader::open(&options.base, disk)?;
        let source = Arc::clone(&writer);
        let work = move || while source.take().is_some_and(|ops| !committer.commit(ops)) {};
        let thread = std::thread::Builder::new().name("spool-sqlite".to_owned()).spawn(work);
        let thread = thread.map_err(failed("start a thread for", &options.base))?;
        Ok(Self {
            reader,
            writer,
            counts,
            newest: ids.iter().map(|&(id, _)| id).max(),
            old: Mutex::new(ids.into_iter().map(|(id, _)| id).collect()),
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
        SpoolStats { waiting_bytes, unlinks_waiting, ..self.counts.stats() }
    }
}

impl IoModule for SqliteStore {
    fn name(&self) -> &str {
        "sqlite"
    }

    fn owns_disk_queue(&self) -> bool {
        true
    }

    fn process_disk_queue(&self, each: &mut dyn FnMut(MessageId, Vec<u8>)) -> Result<(), SpoolError> {
        let old = std::mem::take(&mut *self.old.lock().unwrap_or_else(PoisonError::into_inner));
        for id in old {
            match self.reader.headers(id) {
                Ok(headers) => each(id, headers),
                Err(SpoolError::Missing { .. }) => {}
                Err(error) => tracing::error!(target: "SPOOL", "left in the spool, not delivered: {error}"),
            }
            self.counts.handed_over.add(1);
        }
        Ok(())
    }

    fn write_headers(&self, _: IoCaller, set: &mut CommitSet, headers: &mut HeadersOut<'_>, _: bool) -> IoResult {
        set.staged(self).push_headers(headers);
        IoResult::Done
    }

    fn read_headers(&self, _: IoCaller, headers: &mut HeadersIn) -> IoResult {
        match self.reader.headers(headers.id) {
            Ok(encoded) => headers.encoded = Some(encoded),
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
        match self.reader.body(body.id) {
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

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// Below the spool's directory.
pub(crate) const DIRECTORY: &str = "sqlite";
const DATABASE: &str = "headers.db";
