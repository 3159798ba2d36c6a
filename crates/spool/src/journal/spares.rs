//! Spare segment files: prepared in advance or scrubbed after use, so that a commit never waits for the file system to
//! find room.
//!
//! Upkeep puts them in, the committer takes them out. Some are touched only when the device is full, so that space can come
//! back: two small reserves, in which unlinks and rewrites are still recorded (two, so that the sparse unlinks of one can be
//! moved together into the other), and the headroom, a whole segment into which the survivors of others can be copied.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::record::PAGE;
use super::summary;
use crate::disk::{Disk, DiskFile};

/// A segment file with nothing in it.
#[derive(Clone)]
pub struct Spare {
    /// Its number.
    pub slot: u32,
    /// The file.
    pub file: Arc<dyn DiskFile>,
    /// Octets it may hold.
    pub capacity: u32,
}

impl Spare {
    /// Makes sure that nothing in the file can be found again.
    pub fn scrub(&self) -> io::Result<()> {
        self.file.write_all(&mut [IoSlice::new(&[0; PAGE])], 0)?;
        self.file.fdatasync()
    }
}

/// What a segment may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Ordinary,
    /// Everything but new mail.
    Headroom,
    /// Unlinks and rewrites.
    Reserve,
}

/// How many spares there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// For everything.
    pub ordinary: usize,
    /// Octets of the headroom, if it is there.
    pub headroom: Option<u32>,
    /// Reserves.
    pub reserves: usize,
}

/// The spares of one spool.
pub struct Spares {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    mode: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ordinary: Vec<Spare>,
    headroom: Option<Spare>,
    reserves: Vec<Spare>,
    next_slot: u32,
}

impl Spares {
    /// No spares yet; files made from now on are numbered from `next_slot`.
    pub fn new(disk: Arc<dyn Disk>, directory: PathBuf, mode: u32, next_slot: u32) -> Self {
        Self { disk, directory, mode, state: Mutex::new(State { next_slot, ..State::default() }) }
    }

    /// A prepared file that holds at least `octets`, if there is one.
    pub fn take(&self, octets: u64) -> Option<Spare> {
        let mut state = self.lock();
        let position = state.ordinary.iter().position(|spare| octets <= u64::from(spare.capacity))?;
        Some(state.ordinary.swap_remove(position))
    }

    /// The headroom, if it is there and holds at least `octets`.
    pub fn take_headroom(&self, octets: u64) -> Option<Spare> {
        self.lock().headroom.take_if(|spare| octets <= u64::from(spare.capacity))
    }

    /// A reserve that holds at least `octets`, if there is one.
    pub fn take_reserve(&self, octets: u64) -> Option<Spare> {
        let mut state = self.lock();
        let position = state.reserves.iter().position(|spare| octets <= u64::from(spare.capacity))?;
        Some(state.reserves.swap_remove(position))
    }

    /// Keeps a free file for a use; the file that is not wanted any more, if there is one.
    pub fn put(&self, spare: Spare, role: Role) -> Option<Spare> {
        let mut state = self.lock();
        match role {
            Role::Ordinary => state.ordinary.push(spare),
            Role::Headroom => return state.headroom.replace(spare),
            Role::Reserve if state.reserves.len() < RESERVES => state.reserves.push(spare),
            Role::Reserve => return Some(spare),
        }
        None
    }

    /// Makes an ordinary spare the headroom, if that is missing. False if nothing changed.
    pub fn promote(&self) -> bool {
        let mut state = self.lock();
        if state.headroom.is_none() {
            state.headroom = state.ordinary.pop();
            return state.headroom.is_some();
        }
        false
    }

    /// Makes the headroom a reserve, when there is nothing it could help to copy. False if it is missing.
    pub fn release_headroom(&self) -> bool {
        let mut state = self.lock();
        let released = state.headroom.take();
        let any = released.is_some();
        state.reserves.extend(released);
        any
    }

    /// How many there are.
    pub fn count(&self) -> Counts {
        let state = self.lock();
        let headroom = state.headroom.as_ref().map(|spare| spare.capacity);
        Counts { ordinary: state.ordinary.len(), headroom, reserves: state.reserves.len() }
    }

    /// A new file that grows as it is written. Its name is durable when this returns.
    pub fn create(&self, capacity: u32) -> io::Result<Spare> {
        let slot = {
            let mut state = self.lock();
            state.next_slot += 1;
            state.next_slot - 1
        };
        let file = self.disk.create(&self.path(slot), self.mode)?;
        if let Err(error) = self.disk.sync_dir(&self.directory) {
            let _ = self.disk.remove(&self.path(slot));
            return Err(error);
        }
        Ok(Spare { slot, file, capacity })
    }

    /// Takes a file off the disk.
    pub fn remove(&self, slot: u32) -> io::Result<()> {
        match self.disk.remove(&self.path(slot)) {
            // Removed before, but perhaps not durably.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.disk.sync_dir(&self.directory)
    }

    /// Where a file is.
    pub fn path(&self, slot: u32) -> PathBuf {
        self.directory.join(name_of(slot))
    }

    /// Where a file's summary is.
    pub fn summary_path(&self, slot: u32) -> PathBuf {
        self.directory.join(summary::name_of(slot))
    }

    /// The directory of all of them.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The disk they are on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many reserves are kept.
pub const RESERVES: usize = 2;

/// The name of a segment file.
pub fn name_of(slot: u32) -> String {
    format!("{slot:08}.segment")
}

/// The number in the name of a segment file.
pub fn slot_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".segment")?;
    digits.parse().ok().filter(|&slot| name_of(slot) == name)
}
