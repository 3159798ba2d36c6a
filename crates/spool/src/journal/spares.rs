//! Spare segment files: prepared in advance or scrubbed after use, so that a commit never waits for the file system to
//! find room.
//!
//! Upkeep puts them in, the committer takes them out. One small file is the reserve: it is touched only when the device is
//! full, so that unlinks and rewrites can still be recorded and space can come back.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    reserve: Option<Spare>,
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

    /// The reserve, if it is there and holds at least `octets`.
    pub fn take_reserve(&self, octets: u64) -> Option<Spare> {
        let mut state = self.lock();
        state.reserve.take_if(|spare| octets <= u64::from(spare.capacity))
    }

    /// Keeps a free file.
    pub fn put(&self, spare: Spare) {
        self.lock().ordinary.push(spare);
    }

    /// Keeps a free file as the reserve; the file again if there is one already.
    pub fn put_reserve(&self, spare: Spare) -> Option<Spare> {
        let mut state = self.lock();
        if state.reserve.is_some() {
            return Some(spare);
        }
        state.reserve = Some(spare);
        None
    }

    /// Ordinary spares, and whether the reserve is there.
    pub fn count(&self) -> (usize, bool) {
        let state = self.lock();
        (state.ordinary.len(), state.reserve.is_some())
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
        self.disk.remove(&self.path(slot))?;
        self.disk.sync_dir(&self.directory)
    }

    /// Where a file is.
    pub fn path(&self, slot: u32) -> PathBuf {
        self.directory.join(name_of(slot))
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

/// The name of a segment file.
pub fn name_of(slot: u32) -> String {
    format!("{slot:08}.segment")
}

/// The number in the name of a segment file.
pub fn slot_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".segment")?;
    digits.parse().ok().filter(|&slot| name_of(slot) == name)
}
