//! The `sqlite` backend: headers in a table that answers questions, bodies in files beside it.
//!
//! The part of Momentum's header cache: a start reads headers from the table and opens no other file, and operators may ask
//! `headers.db` with SQL while the daemon runs. [`SqliteStore`] is a chain's last module; `writer` is its one thread, `table`
//! the database, `log` sees where its log is damaged, `orphans` clears up after a crash, `reserve` is room for what must be
//! written on a full device. The database does its own input and output, past the disk seam: power loss is simulated under the
//! whole process instead (`tests/power_loss`).

mod log;
mod orphans;
mod reserve;
mod table;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use message::MessageId;
use scheduler::{Clock, Meters};

use crate::disk::Disk;
use crate::error::{OpenError, SpoolError};
use crate::file::opening::{failed, take_lock};
use crate::file::{Listing, body_path, list, read_body};
use crate::journal::JournalOptions;
use crate::ledger::Ledger;
use crate::shelf::{Backing, Shelf, Shelved};
use orphans::Running;
use reserve::Reserve;
use table::Table;
use writer::SqliteWriter;

/// A store that runs.
pub type SqliteStore = Shelf<Reader>;

/// What is stored, for whoever reads.
pub struct Reader {
    table: Mutex<Table>,
    disk: Arc<dyn Disk>,
    base: PathBuf,
    doubt: Option<String>,
}

impl Reader {
    /// Opens the store below the spool directory `base`, in which no daemon works; takes no lock.
    pub(crate) fn look(base: &Path, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let base = base.join(DIRECTORY);
        refuse_emptied(disk.as_ref(), &base)?;
        let doubt = orphans::doubt(disk.as_ref(), &base)?;
        match (Self::open(base, disk), doubt) {
            (Ok(reader), doubt) => Ok(Self { doubt, ..reader }),
            (Err(OpenError::Io { doing, path, source }), Some(why)) => {
                Err(OpenError::Io { doing, path, source: std::io::Error::other(format!("{source}; {why}")) })
            }
            (Err(error), _) => Err(error),
        }
    }

    fn open(base: PathBuf, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let table = Mutex::new(Table::look(&base.join(DATABASE))?);
        Ok(Self { table, disk, base, doubt: None })
    }

    /// Why rows may be missing; seen before the database was opened.
    pub(crate) fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// Every message's id and its batch.
    pub(crate) fn ids(&self) -> Result<Vec<(MessageId, MessageId)>, SpoolError> {
        self.table().ids()
    }

    /// The names of the bodies and of what is beside them. No file is opened.
    pub(crate) fn bodies(&self) -> Result<Listing, OpenError> {
        list(self.disk.as_ref(), &self.base)
    }

    /// A message's encoded headers.
    pub(crate) fn record(&self, id: MessageId) -> Result<Vec<u8>, SpoolError> {
        Ok(self.table().row(id)?.headers)
    }

    /// A message's body.
    pub(crate) fn read(&self, id: MessageId) -> Result<Vec<u8>, SpoolError> {
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
    /// Takes the spool's lock, opens the database, clears away what a crash left, and starts the writer.
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
        let reserve = Reserve::new(disk.clone(), &base, options.mode);
        refuse_emptied(disk.as_ref(), &base)?;
        let running = reserve.with_room(|| Running::begin(disk.clone(), &base, options.mode))?;
        let table = reserve.with_room(|| Table::open(&base.join(DATABASE), options.force_fsync))?;
        let ledger = Arc::new(Ledger::new(meters, Reader::KIND, options, disk.clone()));
        running.clear_up(&base, &table, &ledger)?;
        let mut ids = Vec::new();
        let each = &mut |id| ids.push(id);
        table.each_id(each).map_err(|error| failed("read", &base)(std::io::Error::other(error)))?;
        let newest = ids.iter().max().copied();
        ledger.adopt(ids.into_iter());
        let backing = Arc::new(reserve.with_room(|| Reader::open(base.clone(), disk.clone()))?);
        let reserve_is_due = !reserve.take();
        let mut writer = SqliteWriter {
            table,
            disk,
            base,
            mode: options.mode,
            force_fsync: options.force_fsync,
            clock,
            crash: options.crash_points.clone(),
            ledger: ledger.clone(),
            running,
            reserve,
            newest_window: String::new(),
            unremoved: Vec::new(),
            reserve_is_due,
        };
        Self::start(backing, ledger, newest, lock, clock, move |ops| writer.commit(ops))
    }
}

/// An empty database is a new one to SQLite, which removes its log then; where there is a log, or there are bodies, it was one
/// that held mail. Nothing is done to them.
fn refuse_emptied(disk: &dyn Disk, base: &Path) -> Result<(), OpenError> {
    let path = base.join(DATABASE);
    let octets = |path: &Path| match disk.open(path).and_then(|file| file.len()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        other => other.map_err(failed("measure", path)),
    };
    if octets(&path)? != 0 {
        return Ok(());
    }
    let log = octets(&orphans::log_path(base))?;
    let bodies = list(disk, base)?.orphans.len();
    if bodies == 0 && log == 0 {
        return Ok(());
    }
    let why = format!(
        "it is empty or gone, and there are {bodies} bodies of messages and {log} octets of its log: put a copy of it back, or move {} away to begin anew",
        base.display()
    );
    Err(failed("use", &path)(std::io::Error::other(why)))
}

impl Backing for Reader {
    const KIND: &'static str = "sqlite";

    fn headers(&self, id: MessageId) -> Result<Shelved, SpoolError> {
        let row = self.table().row(id)?;
        Ok(Shelved { batch: row.batch, body: row.body, encoded: row.headers })
    }

    fn body(&self, id: MessageId) -> Result<Vec<u8>, SpoolError> {
        self.read(id)
    }

    fn body_file(&self, id: MessageId) -> Result<PathBuf, SpoolError> {
        Ok(body_path(&self.base, self.table().row(id)?.batch))
    }

    /// SQLite knows no damaged row, only a damaged page: that is an error of the device and stays where it is.
    fn set_headers_aside(&self, _: MessageId, why: &SpoolError) {
        tracing::error!(target: "SPOOL", critical = true, "{why}");
    }

    /// Free pages of the database, and its write-ahead log.
    fn dead_bytes(&self) -> u64 {
        let log = self.disk.open(&orphans::log_path(&self.base)).and_then(|log| log.len());
        self.table().free_bytes() + log.unwrap_or(0)
    }
}

/// Below the spool's directory.
pub(crate) const DIRECTORY: &str = "sqlite";
const DATABASE: &str = "headers.db";
