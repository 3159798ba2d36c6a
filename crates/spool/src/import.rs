//! Taking in messages of another spool, or exported ones, while the daemon runs.
//!
//! A [`Source`] is a directory of exported messages, or the spool directory of a stopped daemon, whose lock it takes. It is
//! read one transaction at a time; the caller stores what it was given, and has the source forget it then. Blocks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use message::{Body, Envelope, MessageId};

use crate::archive::Archive;
use crate::backend::Kind;
use crate::chain::IoModule;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::export;
use crate::file::opening::failed;
use crate::spool::{Job, ReadPool, Spool};

/// Where messages come from.
pub struct Source {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    inside: Inside,
}

enum Inside {
    Spool(Arc<Archive>, Spool),
    Exported,
}

/// One transaction's messages, or one exported message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Messages that share a body.
    Batch(Vec<MessageId>),
    /// The name of an exported message's files.
    Named(String),
}

/// What of a unit cannot be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// An envelope, or an exported message as a whole.
    Envelope(String),
    /// The body.
    Body(String),
}

impl Source {
    /// The directory it was opened with.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Opens `directory`. `modules` are the chain's links before its store: they undo what such links of the other daemon
    /// did.
    pub fn open(directory: &Path, mut modules: Vec<Arc<dyn IoModule>>, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        disk.list(directory).map_err(failed("read", directory))?;
        let inside = match Kind::of_directory(disk.as_ref(), directory)? {
            None => Inside::Exported,
            kind => {
                let archive = Arc::new(Archive::open(kind, directory, disk.clone())?);
                modules.push(archive.clone());
                Inside::Spool(archive, Spool::new(modules, Arc::new(Inline)))
            }
        };
        Ok(Self { disk, directory: directory.to_owned(), inside })
    }

    /// Whether it is a spool, or a folder in which nothing is but what an export writes: then no message means that there is none.
    pub fn is_known(&self) -> bool {
        let is_export = |name: &String| name.ends_with(export::ENVELOPE);
        match self.inside {
            Inside::Spool(..) => true,
            Inside::Exported => self.disk.list(&self.directory).is_ok_and(|names| names.iter().all(is_export)),
        }
    }

    /// Everything there is, and how many messages; messages of which not even the transaction can be read are left out.
    pub fn units(&self) -> Result<(Vec<Unit>, usize), OpenError> {
        let Inside::Spool(archive, _) = &self.inside else {
            let names = self.disk.list(&self.directory).map_err(failed("read", &self.directory))?;
            let named = names.iter().filter_map(|name| name.strip_suffix(export::ENVELOPE));
            let units: Vec<Unit> = named.map(|name| Unit::Named(name.to_owned())).collect();
            let total = units.len();
            return Ok((units, total));
        };
        let mut batches: BTreeMap<MessageId, Vec<MessageId>> = BTreeMap::new();
        for entry in archive.entries() {
            match archive.batch(entry) {
                Ok(batch) => batches.entry(batch).or_default().push(entry.id),
                Err(error) => tracing::error!(target: "SPOOL", "cannot be imported: {error}"),
            }
        }
        Ok((batches.into_values().map(Unit::Batch).collect(), archive.entries().len()))
    }

    /// The messages of a unit with their body; why not, otherwise.
    pub fn read(&self, unit: &Unit) -> Result<(Vec<Envelope>, Body), Unread> {
        match (&self.inside, unit) {
            (Inside::Spool(_, chain), Unit::Batch(ids)) => {
                let mut envelopes = Vec::new();
                let mut body = Body::new();
                for &id in ids {
                    let envelope =
                        chain.read_headers(id).wait().map_err(|error| Unread::Envelope(error.to_string()))?;
                    let (_, octets) = chain.read(id).wait().map_err(|error| Unread::Body(error.to_string()))?;
                    envelopes.push(envelope);
                    body = octets;
                }
                Ok((envelopes, body))
            }
            (_, Unit::Named(name)) => {
                let read = export::read(self.disk.as_ref(), &self.directory, name);
                let (mut envelope, body) = read.map_err(|error| Unread::Envelope(format!("{name}: {error}")))?;
                envelope.batch = envelope.id;
                Ok((vec![envelope], body))
            }
            (Inside::Exported, Unit::Batch(ids)) => Err(Unread::Envelope(format!("{ids:?} are not of this source"))),
        }
    }

    /// The unit is safe elsewhere. A store that cannot forget single messages keeps it until [`Source::finish`].
    pub fn forget(&self, unit: &Unit) -> Result<(), String> {
        match (&self.inside, unit) {
            (Inside::Spool(archive, _), Unit::Batch(ids)) => {
                ids.iter().try_for_each(|&id| archive.remove(id)).map_err(|error| error.to_string())
            }
            (_, Unit::Named(name)) => {
                for suffix in [export::ENVELOPE, export::MESSAGE] {
                    let path = self.directory.join(format!("{name}{suffix}"));
                    self.disk.remove(&path).map_err(|error| format!("cannot remove {}: {error}", path.display()))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Everything is safe elsewhere.
    pub fn finish(&self) -> Result<(), String> {
        match &self.inside {
            Inside::Spool(archive, _) => archive.remove_all().map_err(|error| error.to_string()),
            Inside::Exported => Ok(()),
        }
    }
}

struct Inline;

impl ReadPool for Inline {
    fn submit(&self, job: Job) {
        job();
    }
}
