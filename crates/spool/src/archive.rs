//! A spool directory seen from outside, whatever its back end: for tools that check, show, export and convert.
//!
//! [`Archive::open`] takes the spool's lock, so that no daemon works meanwhile, and writes nothing else. Octets are given as
//! they are stored; as the chain's last module ([`IoModule`]) an archive lets other modules undo what they did to them.
//! Blocks; one thread.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use message::MessageId;

use crate::backend::Kind;
use crate::chain::{BodyIn, HeadersIn, IoCaller, IoModule, IoResult};
use crate::disk::Disk;
use crate::error::{OpenError, SpoolError};
use crate::file::opening::Marked;
use crate::file::{self, Listing, Meta};
use crate::journal::inspect::{InspectedMessage, Inspection, SummaryState};
use crate::sqlite::{self, Reader};

/// A store that nobody else uses while this lives.
pub struct Archive {
    kind: Kind,
    base: PathBuf,
    disk: Arc<dyn Disk>,
    entries: Vec<Entry>,
    places: HashMap<MessageId, usize>,
    inside: Inside,
    _lock: Box<dyn Send + Sync>,
}

enum Inside {
    Journal(Box<Inspection>),
    File(Listing),
    Sqlite(Reader),
}

/// A message of an archive.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its id.
    pub id: MessageId,
    journal: Option<InspectedMessage>,
    /// Known where it costs nothing.
    batch: Option<MessageId>,
}

/// What is not as it should be, apart from single messages that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A message whose metadata is there and whose body is not.
    Bodiless(MessageId),
    /// Mail may be missing: what, where.
    Damage(String),
    /// Nothing is missing; worth knowing.
    Notice(String),
}

impl Archive {
    /// Opens the spool in `base`; its kind is read from its mark unless it is given.
    pub fn open(kind: Option<Kind>, base: &Path, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let failed = file::opening::failed("open", base);
        disk.list(base).map_err(failed)?;
        let found = Kind::of_directory(disk.as_ref(), base)?;
        let Some(kind) = kind.or(found) else {
            return Err(file::opening::failed("tell the back end of", base)(std::io::Error::other(
                "it has neither a mark nor a journal; is it the spool's directory?",
            )));
        };
        if let Some(found) = found.filter(|&found| found != kind) {
            return Err(OpenError::OtherKind { base: base.to_owned(), found, asked: kind });
        }
        let lock = file::opening::take_lock(disk.as_ref(), base, LOCK_MODE)?;
        let (inside, entries) = match kind {
            Kind::Journal => {
                let journal = Inspection::open(base, &disk)?;
                let entry = |message: &InspectedMessage| Entry {
                    id: message.id,
                    journal: Some(*message),
                    batch: Some(message.batch),
                };
                let entries = journal.messages().iter().map(entry).collect();
                (Inside::Journal(Box::new(journal)), entries)
            }
            Kind::File => {
                let mut listing = file::list(disk.as_ref(), base)?;
                listing.messages.sort();
                let entries = listing.messages.iter().map(|&id| Entry { id, journal: None, batch: None }).collect();
                (Inside::File(listing), entries)
            }
            Kind::Sqlite => {
                let reader = Reader::look(base, disk.clone())?;
                let ids =
                    reader.ids().map_err(|error| file::opening::failed("read", base)(std::io::Error::other(error)))?;
                let entries =
                    ids.into_iter().map(|(id, batch)| Entry { id, journal: None, batch: Some(batch) }).collect();
                (Inside::Sqlite(reader), entries)
            }
            Kind::Memory => {
                return Err(file::opening::failed("open", base)(std::io::Error::other(
                    "a memory store leaves nothing",
                )));
            }
        };
        let entries: Vec<Entry> = entries;
        let places = entries.iter().enumerate().map(|(place, entry)| (entry.id, place)).collect();
        Ok(Self { kind, base: base.to_owned(), disk, entries, places, inside, _lock: lock })
    }

    /// Its back end.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its messages; in the order they stand on disk where there is one.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// One message.
    pub fn entry(&self, id: MessageId) -> Option<&Entry> {
        self.entries.get(*self.places.get(&id)?)
    }

    /// The id a message's body is stored under.
    pub fn batch(&self, entry: &Entry) -> Result<MessageId, SpoolError> {
        match entry.batch {
            Some(batch) => Ok(batch),
            None => Ok(self.meta(entry.id)?.batch),
        }
    }

    /// A message's encoded headers, as they are stored.
    pub fn headers(&self, entry: &Entry) -> Result<Vec<u8>, SpoolError> {
        match (&self.inside, entry.journal) {
            (Inside::Journal(journal), Some(message)) => journal.headers(&message),
            (Inside::Sqlite(reader), _) => reader.record(entry.id),
            _ => Ok(self.meta(entry.id)?.encoded),
        }
    }

    /// A message's body, as it is stored; its checksum has been verified.
    pub fn body(&self, entry: &Entry) -> Result<Vec<u8>, SpoolError> {
        match (&self.inside, entry.journal) {
            (Inside::Journal(journal), Some(message)) => journal.body(&message),
            (Inside::Sqlite(reader), _) => reader.read(entry.id),
            _ => file::read_body(self.disk.as_ref(), &self.base, entry.id, self.meta(entry.id)?.body),
        }
    }

    /// What else there is to say.
    pub fn faults(&self) -> Vec<Fault> {
        match &self.inside {
            Inside::Journal(journal) => journal_faults(journal),
            Inside::File(listing) => file_faults(self.disk.as_ref(), listing),
            Inside::Sqlite(reader) => self.sqlite_faults(reader),
        }
    }

    /// Removes one message, if its back end can do so from outside: two files can go, a journal's record cannot.
    pub fn remove(&self, id: MessageId) -> Result<(), SpoolError> {
        match self.inside {
            Inside::File(_) => file::remove_files(self.disk.as_ref(), &self.base, id),
            Inside::Journal(_) | Inside::Sqlite(_) => Ok(()),
        }
    }

    /// Removes everything, so that the directory is as if no store had used it. The lock stays until the archive goes.
    pub fn remove_all(&self) -> Result<(), OpenError> {
        let parts: Vec<PathBuf> = match self.kind {
            Kind::Journal => vec![self.base.join("journal")],
            Kind::Sqlite => vec![self.base.join(sqlite::DIRECTORY)],
            _ => {
                let names = self.disk.list(&self.base).map_err(file::opening::failed("list", &self.base))?;
                names.iter().filter(|name| file::is_window(name)).map(|name| self.base.join(name)).collect()
            }
        };
        parts.iter().try_for_each(|part| remove_tree(self.disk.as_ref(), part))?;
        Kind::unmark(self.disk.as_ref(), &self.base)
    }

    /// Bodies that no row wants are what a crash leaves of mail that was not acknowledged, or was finished.
    fn sqlite_faults(&self, reader: &Reader) -> Vec<Fault> {
        let listing = match reader.bodies() {
            Ok(listing) => listing,
            Err(error) => return vec![Fault::Damage(error.to_string())],
        };
        let wanted: HashSet<MessageId> = self.entries.iter().filter_map(|entry| entry.batch).collect();
        let unwanted = listing.orphans.iter().filter(|batch| !wanted.contains(batch));
        let line = |batch: &MessageId| match reader.doubt() {
            Some(_) => Fault::Damage(format!("{batch}: a body without a message: the next start sets it aside")),
            None => Fault::Notice(format!("{batch}: a body that no message wants: the next start removes it")),
        };
        let doubt = reader.doubt().map(|why| {
            Fault::Damage(format!("{why}: messages stored last may be missing, finished ones may be there again"))
        });
        let begun = listing.temporaries.iter();
        let begun = begun.map(|path| Fault::Notice(format!("{}: was being written when a run ended", path.display())));
        doubt.into_iter().chain(unwanted.map(line)).chain(begun).collect()
    }

    fn meta(&self, id: MessageId) -> Result<Meta, SpoolError> {
        file::read_meta(self.disk.as_ref(), &self.base, id)
    }

    fn found(&self, id: MessageId) -> Result<&Entry, SpoolError> {
        self.entry(id).ok_or(SpoolError::Missing { id })
    }
}

impl IoModule for Archive {
    fn name(&self) -> &str {
        "archive"
    }

    fn read_headers(&self, _: IoCaller, headers: &mut HeadersIn) -> IoResult {
        match self.found(headers.id).and_then(|entry| self.headers(entry)) {
            Ok(encoded) => headers.encoded = Some(encoded),
            Err(error) => return IoResult::Fail(error),
        }
        IoResult::Done
    }

    fn read_body(&self, _: IoCaller, body: &mut BodyIn) -> IoResult {
        match self.found(body.id).and_then(|entry| self.body(entry)) {
            Ok(octets) => body.octets = Some(octets),
            Err(error) => return IoResult::Fail(error),
        }
        IoResult::Done
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bodiless(id) => write!(f, "{id}: its body is missing"),
            Self::Damage(text) | Self::Notice(text) => f.write_str(text),
        }
    }
}

fn journal_faults(journal: &Inspection) -> Vec<Fault> {
    let mut faults: Vec<Fault> = journal.without_body().iter().copied().map(Fault::Bodiless).collect();
    let unreadable = journal.unreadable().iter().map(|path| format!("{}: the device cannot read it", path.display()));
    faults.extend(unreadable.map(Fault::Damage));
    for damage in journal.damage() {
        let place = format!("{}, octets {} to {}", damage.path.display(), damage.range.start, damage.range.end);
        faults.push(match damage.torn {
            true => Fault::Notice(format!("{place}: was being written when the last run ended; nothing is missing")),
            false => Fault::Damage(format!("{place}: these are no records")),
        });
    }
    faults.extend(journal.heads().iter().map(|head| Fault::Damage(head.to_string())));
    let unnoted = journal
        .unnoted()
        .map(|path| format!("{}: cannot be read: whether the last commits are all there is not known", path.display()));
    faults.extend(unnoted.map(Fault::Damage));
    faults.extend(journal.missing().map(|text| Fault::Damage(text.to_owned())));
    for segment in journal.segments() {
        let path = segment.path.display();
        let Some(used) = &segment.used else { continue };
        if let Some(why) = &used.unread {
            faults.push(Fault::Damage(format!("{path}: cannot be read to its end: {why}")));
        }
        if used.summary == SummaryState::Damaged {
            let why = "its summary does not check out; the next start reads the segment instead";
            faults.push(Fault::Damage(format!("{path}: {why}")));
        }
        if used.summary == SummaryState::Wrong {
            faults.push(Fault::Damage(format!("{path}: its summary says something else; delete the summary")));
        }
    }
    faults.extend(journal.doubles().iter().map(|id| Fault::Damage(format!("{id}: two messages bear this id"))));
    let torn =
        journal.torn().iter().map(|id| format!("{id}: was being stored when the last run ended, never acknowledged"));
    faults.extend(torn.map(Fault::Notice));
    faults
}

fn file_faults(disk: &dyn Disk, listing: &Listing) -> Vec<Fault> {
    let half = listing.uncommitted.iter();
    let half =
        half.map(|id| Fault::Notice(format!("{id}: metadata without a body, never acknowledged or half removed")));
    let orphans = listing.orphans.iter().map(|id| Fault::Notice(format!("{id}: a body without metadata, left alone")));
    let named = |what: &'static str, paths: &[PathBuf]| {
        let line = |path: &PathBuf| Fault::Notice(format!("{}: {what}", path.display()));
        paths.iter().map(line).collect::<Vec<_>>()
    };
    let mut faults: Vec<Fault> = half.chain(orphans).collect();
    for marker in &listing.markers {
        let path = marker.display();
        faults.push(match listing.marked(disk, marker) {
            Ok(Marked::Damaged) => Fault::Damage(format!(
                "{path}: which messages were being stored together cannot be read; the next start keeps them all"
            )),
            Err(error) => Fault::Damage(error.to_string()),
            Ok(_) => Fault::Notice(format!("{path}: a transaction that was being stored when the last run ended")),
        });
    }
    faults.extend(named("was being written when the last run ended", &listing.temporaries));
    faults.extend(named("is nothing of the spool's", &listing.strange));
    faults
}

fn remove_tree(disk: &dyn Disk, path: &Path) -> Result<(), OpenError> {
    let failed = || file::opening::failed("remove", path);
    for name in disk.list(path).map_err(failed())? {
        let inner = path.join(name);
        // Only a directory can be listed.
        if disk.list(&inner).is_ok_and(|names| !names.is_empty()) || disk.remove(&inner).is_err() {
            remove_tree(disk, &inner)?;
        }
    }
    disk.remove_dir(path).map_err(failed())
}

/// The lock file's, if a tool is the first to use the directory.
const LOCK_MODE: u32 = 0o640;
