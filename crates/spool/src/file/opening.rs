//! Opening a `file` store: lists what is there, and clears away what was never acknowledged.
//!
//! Reads names only, and the markers, and makes the names durable before anything rests on them. Metadata without a body, the messages a marker names, and temporary files go; a body
//! without metadata is left alone. A device that cannot be read keeps the store from opening; nothing is removed then. A marker
//! that cannot be read although its transaction was begun is damage: what it named is kept, and told.

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

/// What a marker says.
pub enum Marked {
    /// These messages were being stored together, and do not count.
    Names(Vec<MessageId>),
    /// Nothing: it was being written itself, and nothing that it was to name had been begun.
    Nothing,
    /// It is damaged: it was synced before anything of its transaction had a name, and that is there.
    Damaged,
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
    /// What one of the markers says.
    pub fn marked(&self, disk: &dyn Disk, marker: &Path) -> Result<Marked, OpenError> {
        let contents = read_file(disk, marker).map_err(failed("read", marker))?;
        let pair = marker.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let stem = marker.file_stem().and_then(|name| name.to_str());
        let first = pair.zip(stem).and_then(|(pair, stem)| layout::id_of(pair, stem));
        // Each line ends, and the first is the message that it is called after.
        let lines = std::str::from_utf8(&contents).ok().and_then(|text| text.strip_suffix('\n'));
        let named: Option<Vec<MessageId>> =
            lines.and_then(|lines| lines.split('\n').map(|line| line.parse().ok()).collect());
        Ok(match named.filter(|named| named.first().copied() == first) {
            Some(named) => Marked::Names(named),
            // Its body is the first to get its name.
            None if first.is_some_and(|id| self.messages.contains(&id) || self.orphans.contains(&id)) => {
                Marked::Damaged
            }
            None => Marked::Nothing,
        })
    }

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
            match listing.marked(self.disk.as_ref(), marker)? {
                Marked::Names(named) => unacknowledged.extend(named),
                Marked::Nothing => {}
                Marked::Damaged => self.tell_damaged_marker(marker)?,
            }
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
            remove(self.disk.as_ref(), &marker)?;
        }
        listing.messages.retain(|id| !unacknowledged.contains(id));
        listing.messages.sort();
        if !listing.orphans.is_empty() {
            tracing::warn!(target: "SPOOL", "{} bodies without metadata are left alone", listing.orphans.len());
        }
        Ok(listing)
    }
}

impl Files {
    /// Sets a damaged marker aside, durably.
    fn tell_damaged_marker(&self, marker: &Path) -> Result<(), OpenError> {
        let aside = self.base.join("damaged");
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let to = aside.join(format!("{}-{}", marker.parent().map(name).unwrap_or_default(), name(marker)));
        self.disk.create_dir(&aside).map_err(failed("create", &aside))?;
        self.disk.sync_dir(&self.base).map_err(failed("sync", &self.base))?;
        self.disk.rename(marker, &to).map_err(failed("set aside", marker))?;
        let directories = [Some(aside.as_path()), marker.parent()];
        for directory in directories.into_iter().flatten() {
            self.disk.sync_dir(directory).map_err(failed("sync", directory))?;
        }
        self.ledger.gauges.damaged.add(1);
        self.ledger.gauges.set_aside.add(1);
        tracing::error!(target: "SPOOL", "{} is damaged: which messages were being stored with it is not known, so all are kept; one or some of its recipients may get mail that was not acknowledged; set aside in {}", marker.display(), to.display());
        Ok(())
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
