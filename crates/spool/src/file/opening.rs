//! Opening a `file` store: lists what is there, and clears away what was never acknowledged.
//!
//! Reads names only, and the markers, and makes the names durable before anything rests on them. Metadata without a body, the messages a marker names, and temporary files go; a body
//! without metadata is left alone. A device that cannot be read keeps the store from opening; nothing is removed then.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use message::MessageId;

use super::files::{Files, read_file};
use super::layout::{self, BODY, MARKER, META, TEMPORARY};
use crate::disk::{Disk, Lock};
use crate::error::OpenError;

/// The names in a store.
#[derive(Default)]
pub struct Listing {
    /// Messages: metadata with a body.
    pub messages: Vec<MessageId>,
    /// Metadata without a body.
    pub uncommitted: Vec<MessageId>,
    /// Bodies without metadata.
    pub orphans: Vec<MessageId>,
    /// Transactions that were being stored.
    pub markers: Vec<PathBuf>,
    /// Files that were being written.
    pub temporaries: Vec<PathBuf>,
    /// Files and directories that are nothing of ours.
    pub strange: Vec<PathBuf>,
    /// The directories themselves.
    pub directories: Vec<PathBuf>,
}

/// Takes the lock of a spool directory.
pub fn take_lock(disk: &dyn Disk, base: &Path, mode: u32) -> Result<Box<dyn Send + Sync>, OpenError> {
    let path = base.join("lock");
    match disk.lock(&path, mode).map_err(failed("lock", &path))? {
        Lock::Held(guard) => Ok(guard),
        Lock::Taken(owner) => Err(OpenError::Locked { base: base.to_owned(), owner }),
    }
}

/// Reads every directory.
pub fn list(disk: &dyn Disk, base: &Path) -> Result<Listing, OpenError> {
    let mut listing = Listing::default();
    for window in names(disk, base)?.into_iter().filter(|name| layout::is_window(name)) {
        let window = base.join(window);
        listing.directories.push(window.clone());
        for pair in names(disk, &window)? {
            let directory = window.join(&pair);
            if layout::is_pair(&pair) {
                listing.directory(&directory, &pair, names(disk, &directory)?);
                listing.directories.push(directory);
            } else {
                listing.strange.push(directory);
            }
        }
    }
    Ok(listing)
}

/// What is told of a name: its directory, that one's own name, and the name.
type Each<'a> = &'a mut dyn FnMut(&Path, &str, &str) -> Result<(), OpenError>;

/// Gives every name in the directories of messages, one directory in memory at a time.
pub fn for_each_name(disk: &dyn Disk, base: &Path, each: Each<'_>) -> Result<(), OpenError> {
    for window in names(disk, base)?.into_iter().filter(|name| layout::is_window(name)) {
        let window = base.join(window);
        for pair in names(disk, &window)?.into_iter().filter(|name| layout::is_pair(name)) {
            let directory = window.join(&pair);
            names(disk, &directory)?.iter().try_for_each(|name| each(&directory, &pair, name))?;
        }
    }
    Ok(())
}

impl Listing {
    fn directory(&mut self, directory: &Path, pair: &str, names: Vec<String>) {
        let (mut metas, mut bodies) = (BTreeSet::new(), HashSet::new());
        for name in names {
            let id = |suffix| name.strip_suffix(suffix).and_then(|stem| layout::id_of(pair, stem));
            if name.contains(TEMPORARY) {
                self.temporaries.push(directory.join(name));
            } else if let Some(id) = id(META) {
                metas.insert(id);
            } else if let Some(id) = id(BODY) {
                bodies.insert(id);
            } else if id(MARKER).is_some() {
                self.markers.push(directory.join(name));
            } else {
                self.strange.push(directory.join(name));
            }
        }
        self.orphans.extend(bodies.iter().filter(|id| !metas.contains(id)));
        let (whole, half): (Vec<_>, Vec<_>) = metas.into_iter().partition(|id| bodies.contains(id));
        self.messages.extend(whole);
        self.uncommitted.extend(half);
    }
}

impl Files {
    /// What an earlier run left, after clearing away what it had not acknowledged.
    pub fn recover(&self) -> Result<Listing, OpenError> {
        let mut listing = list(self.disk.as_ref(), &self.base)?;
        // What a killed run named, renamed or removed and did not sync is seen by this run, in memory, and undone when power
        // is lost. Nothing may rest on it before it is durable. What files hold was synced before they got their names.
        for directory in std::iter::once(&self.base).chain(&listing.directories) {
            self.disk.sync_dir(directory).map_err(failed("sync", directory))?;
        }
        for path in std::mem::take(&mut listing.temporaries) {
            self.disk.remove(&path).map_err(failed("remove", &path))?;
        }
        let mut unacknowledged: BTreeSet<MessageId> = listing.uncommitted.drain(..).collect();
        let markers = std::mem::take(&mut listing.markers);
        for marker in &markers {
            let contents = read_file(self.disk.as_ref(), marker).map_err(failed("read", marker))?;
            // A marker that is not whole was not synced, and then nothing it names was begun.
            let text = String::from_utf8_lossy(&contents);
            unacknowledged.extend(text.lines().filter_map(|line| line.parse::<MessageId>().ok()));
        }
        if !unacknowledged.is_empty() {
            tracing::warn!(
                target: "SPOOL",
                "{} messages were half stored, not acknowledged, or half removed when the last run ended; cleared away",
                unacknowledged.len()
            );
        }
        let mut touched = BTreeSet::new();
        for &id in &unacknowledged {
            for path in [self.path(id, BODY), self.path(id, META)] {
                remove(self.disk.as_ref(), &path)?;
            }
            touched.insert(self.directory(id));
        }
        for directory in touched {
            match self.disk.sync_dir(&directory) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("sync", &directory)(error));
                }
                _ => {}
            }
        }
        for marker in markers {
            self.disk.remove(&marker).map_err(failed("remove", &marker))?;
        }
        listing.messages.retain(|id| !unacknowledged.contains(id));
        listing.messages.sort();
        if !listing.orphans.is_empty() {
            tracing::warn!(target: "SPOOL", "{} bodies without metadata are left alone", listing.orphans.len());
        }
        Ok(listing)
    }
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<(), OpenError> {
    match disk.remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn names(disk: &dyn Disk, directory: &Path) -> Result<Vec<String>, OpenError> {
    disk.list(directory).map_err(failed("list", directory))
}

pub fn failed(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |source| OpenError::Io { doing, path, source }
}
