//! Spare segment files: prepared in advance or scrubbed after use, so that a commit never waits for the file system to
//! find room.
//!
//! Upkeep puts them in, the committer takes them out. Some are touched only when the device is full, so that deliveries go on
//! and space can come back: the reserves, small ones in which every unlink that is owed can be recorded (see
//! [`super::owed`]), and the headroom, whole segments into which the survivors of others can
//! be copied: two, because a run that ends leaves the one it was writing part filled, and that one must be moved too.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::reached::NEW;
use super::record::PAGE;
use super::segment::{DATA, FirstPage, Retired, SegmentHeader};
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
    /// The use of it that is over.
    pub retired: Retired,
}

impl Spare {
    /// Marks the file as a spare, durably, so that nothing in it can be found again. The mark stands in the last page as
    /// well: where the first one is damaged, it shows that what else the file holds is over. It comes second: there may be
    /// unlinks in that page, and as long as the first one may be found as it was they count.
    pub fn scrub(&self) -> io::Result<()> {
        let page = self.retired.page();
        self.file.write_all(&mut [IoSlice::new(&page)], 0)?;
        self.file.fdatasync()?;
        if let Some(at) = last_page(self.file.as_ref())? {
            self.file.write_all(&mut [IoSlice::new(&page)], at)?;
            self.file.fdatasync()?;
        }
        Ok(())
    }

    /// The use that is over, as the last page of the file has it. A segment in use may have written over it.
    pub fn retired_at_end(file: &dyn DiskFile) -> io::Result<Option<Retired>> {
        let Some(at) = last_page(file)? else { return Ok(None) };
        let mut page = [0; PAGE];
        let read = file.read_full(&mut page, at)?;
        Ok(match SegmentHeader::of_page(&page[..read]) {
            FirstPage::Spare(retired) => Some(retired),
            _ => None,
        })
    }
}

/// Where the last whole page of a file begins, if it has at least three.
fn last_page(file: &dyn DiskFile) -> io::Result<Option<u64>> {
    let page = PAGE as u64;
    let pages = file.len()? / page;
    Ok((3 <= pages).then(|| (pages - 1) * page))
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
    /// Octets of the largest headroom, if there is some.
    pub headroom: Option<u32>,
    /// How many of them.
    pub headrooms: usize,
    /// Reserves.
    pub reserves: usize,
    /// Octets of records they hold.
    pub reserve_bytes: u64,
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
    headrooms: Vec<Spare>,
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

    /// Headroom that holds at least `octets`, if there is some.
    pub fn take_headroom(&self, octets: u64) -> Option<Spare> {
        let mut state = self.lock();
        let position = state.headrooms.iter().position(|spare| octets <= u64::from(spare.capacity))?;
        Some(state.headrooms.swap_remove(position))
    }

    /// A reserve that holds at least `octets`, if more than `kept` are there.
    pub fn take_reserve(&self, octets: u64, kept: usize) -> Option<Spare> {
        let mut state = self.lock();
        if state.reserves.len() <= kept {
            return None;
        }
        let position = state.reserves.iter().position(|spare| octets <= u64::from(spare.capacity))?;
        Some(state.reserves.swap_remove(position))
    }

    /// Keeps a free file for a use. Headroom that is not wanted is an ordinary spare.
    pub fn put(&self, spare: Spare, role: Role) {
        let mut state = self.lock();
        match role {
            Role::Headroom if state.headrooms.len() < HEADROOMS => state.headrooms.push(spare),
            Role::Ordinary | Role::Headroom => state.ordinary.push(spare),
            Role::Reserve => state.reserves.push(spare),
        }
    }

    /// Makes an ordinary spare headroom, if some is missing. False if nothing changed.
    pub fn promote(&self) -> bool {
        let mut state = self.lock();
        if state.headrooms.len() < HEADROOMS
            && let Some(spare) = state.ordinary.pop()
        {
            state.headrooms.push(spare);
            return true;
        }
        false
    }

    /// Makes headroom of at least `octets` an ordinary spare, if there is none. False if nothing changed.
    pub fn lend(&self, octets: u64) -> bool {
        let mut state = self.lock();
        let whole = state.headrooms.iter().position(|spare| octets <= u64::from(spare.capacity));
        match whole {
            Some(position) if state.ordinary.is_empty() => {
                let spare = state.headrooms.swap_remove(position);
                state.ordinary.push(spare);
                true
            }
            _ => false,
        }
    }

    /// Makes headroom a reserve, when there is nothing it could help to copy. False if there is none.
    pub fn release_headroom(&self) -> bool {
        let mut state = self.lock();
        let released = state.headrooms.pop();
        let any = released.is_some();
        state.reserves.extend(released);
        any
    }

    /// How many there are.
    pub fn count(&self) -> Counts {
        let state = self.lock();
        let headroom = state.headrooms.iter().map(|spare| spare.capacity).max();
        let headrooms = state.headrooms.len();
        let inside = |spare: &Spare| u64::from(spare.capacity.saturating_sub(DATA));
        let reserve_bytes = state.reserves.iter().map(inside).sum();
        Counts { ordinary: state.ordinary.len(), headroom, headrooms, reserves: state.reserves.len(), reserve_bytes }
    }

    /// A new file that grows as it is written. It is a spare, durably, when this returns.
    pub fn create(&self, capacity: u32) -> io::Result<Spare> {
        self.make(capacity, |_| Ok(()))
    }

    /// A new file, marked as a spare once `fill` is done with it. Until then it bears another name: what a crash leaves of it
    /// is no segment.
    pub fn make(&self, capacity: u32, fill: impl FnOnce(&dyn DiskFile) -> io::Result<()>) -> io::Result<Spare> {
        let slot = {
            let mut state = self.lock();
            state.next_slot += 1;
            state.next_slot - 1
        };
        let (path, new) = (self.path(slot), self.path(slot).with_extension(NEW));
        let file = self.disk.create(&new, self.mode)?;
        let spare = Spare { slot, file, capacity, retired: Retired::default() };
        let made = fill(spare.file.as_ref())
            .and_then(|()| spare.scrub())
            .and_then(|()| self.disk.rename(&new, &path))
            .and_then(|()| self.disk.sync_dir(&self.directory));
        if let Err(error) = made {
            let _ = self.disk.remove(&new);
            let _ = self.disk.remove(&path);
            return Err(error);
        }
        Ok(spare)
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

/// How many segments are kept for survivors.
pub const HEADROOMS: usize = 2;

/// The name of a segment file.
pub fn name_of(slot: u32) -> String {
    format!("{slot:08}.segment")
}

/// The number in the name of a segment file.
pub fn slot_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".segment")?;
    digits.parse().ok().filter(|&slot| name_of(slot) == name)
}
