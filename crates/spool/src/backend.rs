//! Which store a spool directory has: the choice in the configuration, and the mark in the directory that keeps a daemon
//! from passing over mail that another back end holds.
//!
//! The mark is the file `backend` in the spool's directory; a directory with a `journal` folder and no mark has a journal.

use std::fmt;
use std::io::IoSlice;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use message::MessageId;
use scheduler::{Clock, Meters};

use crate::chain::IoModule;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::file::{self, FileStore};
use crate::journal::{Journal, JournalOptions};
use crate::memory::Memory;
use crate::sqlite::SqliteStore;
use crate::stats::SpoolStats;

/// The kinds of store. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Segments in one log.
    Journal,
    /// Two files a message.
    File,
    /// Headers in a database, bodies in files.
    Sqlite,
    /// Nothing on disk.
    Memory,
}

impl Kind {
    /// Every kind, the default first.
    pub const ALL: [Self; 4] = [Self::Journal, Self::File, Self::Sqlite, Self::Memory];

    /// The word of the configuration, the tools and the mark.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::File => "file",
            Self::Sqlite => "sqlite",
            Self::Memory => "memory",
        }
    }

    /// What `base` is marked as; `None` for a directory that no store has used.
    pub fn of_directory(disk: &dyn Disk, base: &Path) -> Result<Option<Self>, OpenError> {
        let path = base.join(MARK);
        let failed = |source| OpenError::Io { doing: "read", path: path.clone(), source };
        let octets = match file::read_file(disk, &path) {
            Ok(octets) => octets,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let journal = disk.list(base).is_ok_and(|names| names.iter().any(|name| name == "journal"));
                return Ok(journal.then_some(Self::Journal));
            }
            Err(error) => return Err(failed(error)),
        };
        let word = String::from_utf8_lossy(&octets);
        word.trim().parse().map(Some).map_err(|problem: String| failed(std::io::Error::other(problem)))
    }

    /// Marks `base`, durably. Only by whoever has the spool's lock.
    pub fn mark(self, disk: &dyn Disk, base: &Path, mode: u32) -> Result<(), OpenError> {
        let (path, new) = (base.join(MARK), base.join(NEW_MARK));
        let write = || {
            let _ = disk.remove(&new);
            let file = disk.create(&new, mode)?;
            file.write_all(&mut [IoSlice::new(format!("{self}\n").as_bytes())], 0)?;
            file.fdatasync()?;
            disk.rename(&new, &path)?;
            disk.sync_dir(base)
        };
        write().map_err(|source| OpenError::Io { doing: "write", path: path.clone(), source })
    }

    /// Takes the mark of `base` away.
    pub(crate) fn unmark(disk: &dyn Disk, base: &Path) -> Result<(), OpenError> {
        let path = base.join(MARK);
        match disk.remove(&path).and_then(|()| disk.sync_dir(base)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(OpenError::Io { doing: "remove", path, source })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        known.ok_or_else(|| {
            format!("{word:?} is no spool back end; known are {}", Self::ALL.map(Self::as_str).join(", "))
        })
    }
}

/// An open store of any kind: the last module of a chain.
#[derive(Clone)]
pub enum Store {
    /// Segments in one log.
    Journal(Arc<Journal>),
    /// Two files a message.
    File(Arc<FileStore>),
    /// Headers in a database, bodies in files.
    Sqlite(Arc<SqliteStore>),
    /// Nothing on disk.
    Memory(Arc<Memory>),
}

impl Store {
    /// Opens a store in `options.base`, and refuses if another kind has been used there.
    pub fn open(
        kind: Kind,
        options: JournalOptions,
        disk: Arc<dyn Disk>,
        clock: Clock,
        meters: &Meters,
    ) -> Result<Self, OpenError> {
        let (base, mode) = (options.base.clone(), options.mode);
        let found = Kind::of_directory(disk.as_ref(), &base)?;
        if let Some(found) = found.filter(|&found| found != kind) {
            return Err(OpenError::OtherKind { base, found, asked: kind });
        }
        if kind == Kind::Memory {
            // An error, so that no choice of debug_flags hides it.
            tracing::error!(
                target: "SPOOL",
                "spool_backend is memory: NOTHING IS WRITTEN TO DISK, and every stop of this process, also an orderly one, loses \
                 all mail it has acknowledged and not delivered"
            );
            return Ok(Self::Memory(Arc::new(Memory::new())));
        }
        make_base(disk.as_ref(), &base)?;
        let store = match kind {
            Kind::Journal => Self::Journal(Arc::new(Journal::open(options, disk.clone(), clock, meters)?)),
            Kind::Sqlite => Self::Sqlite(Arc::new(SqliteStore::open(&options, disk.clone(), clock, meters)?)),
            _ => Self::File(Arc::new(FileStore::open(&options, disk.clone(), clock, meters)?)),
        };
        if found != Some(kind) {
            kind.mark(disk.as_ref(), &base, mode)?;
        }
        Ok(store)
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Journal(_) => Kind::Journal,
            Self::File(_) => Kind::File,
            Self::Sqlite(_) => Kind::Sqlite,
            Self::Memory(_) => Kind::Memory,
        }
    }

    /// Its place in a chain.
    pub fn module(&self) -> Arc<dyn IoModule> {
        match self {
            Self::Journal(journal) => journal.clone(),
            Self::File(files) => files.clone(),
            Self::Sqlite(store) => store.clone(),
            Self::Memory(memory) => memory.clone(),
        }
    }

    /// The newest id known to have been stored, before the disk queue is read. Ids made by this run must be later.
    pub fn newest(&self) -> Option<MessageId> {
        match self {
            Self::Journal(journal) => journal.newest(),
            Self::File(files) => files.newest(),
            Self::Sqlite(store) => store.newest(),
            Self::Memory(_) => None,
        }
    }

    /// How the store is doing; what its kind does not have is zero.
    pub fn stats(&self) -> SpoolStats {
        match self {
            Self::Journal(journal) => journal.stats(),
            Self::File(files) => files.stats(),
            Self::Sqlite(store) => store.stats(),
            Self::Memory(memory) => SpoolStats { messages: memory.len().0 as u64, ..SpoolStats::default() },
        }
    }
}

/// Makes the spool's directory, if it is missing, durable with its name: all that follows is below it. One that an earlier
/// run made and did not live to sync looks like any other, so the directories above are synced at each start; those that are
/// not ours to open were not made by us.
fn make_base(disk: &dyn Disk, base: &Path) -> Result<(), OpenError> {
    let is_missing = |path: &&Path| disk.list(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    let made: Vec<&Path> = base.ancestors().take_while(is_missing).collect();
    disk.create_dir(base).map_err(file::opening::failed("create", base))?;
    for path in base.ancestors() {
        let Some(above) = path.parent() else { break };
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        let synced = disk.sync_dir(above);
        if made.contains(&path) {
            synced.map_err(file::opening::failed("sync", above))?;
        }
    }
    Ok(())
}

const MARK: &str = "backend";
const NEW_MARK: &str = "backend.new";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::faulty::FaultyDisk;

    fn open(disk: &FaultyDisk, kind: Kind) -> Result<Store, OpenError> {
        let options = JournalOptions { segment_bytes: 64 << 10, ..JournalOptions::new("/spool") };
        Store::open(kind, options, Arc::new(disk.clone()), Clock::system(), &Meters::new())
    }

    #[test]
    fn a_directory_keeps_its_kind() {
        for (kind, other) in [(Kind::Journal, Kind::File), (Kind::File, Kind::Journal)] {
            let disk = FaultyDisk::seeded(1);
            drop(open(&disk, kind).unwrap());
            let Err(refused) = open(&disk, other) else { panic!("{other} opened a {kind} store") };
            let expected = format!(
                "spool /spool holds a {kind} store and spool_backend is {other}: mail in it would be passed over; convert it \
                 with ec_spool_convert --from {kind}:/spool --to {other}:NEWDIR, or set spool_backend = \"{kind}\""
            );
            assert_eq!(refused.to_string(), expected);
            drop(open(&disk, kind).unwrap());
        }
    }

    #[test]
    fn a_journal_from_before_there_were_marks_is_known() {
        let disk = FaultyDisk::seeded(1);
        let options = JournalOptions { segment_bytes: 64 << 10, ..JournalOptions::new("/spool") };
        drop(Journal::open(options, Arc::new(disk.clone()), Clock::system(), &Meters::new()).unwrap());
        assert!(open(&disk, Kind::File).is_err());
        drop(open(&disk, Kind::Journal).unwrap());
    }
}
