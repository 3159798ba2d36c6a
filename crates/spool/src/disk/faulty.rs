//! A disk in memory that keeps only what it must: the stricter twin of the real one.
//!
//! Until `fdatasync`, each 512-octet sector written may, after [`FaultyDisk::crash`], be found old, new, or as any write in
//! between left it, independently of its neighbours; so may the file's length. With [`FaultyDisk::lose_pages`] whole pages of
//! what was not synced may also be found full of zeros, or with what they held before the last sync but one, as file systems
//! leave them that have lost the way to what they wrote. Until `sync_dir`, each making, removing or
//! renaming of an entry may or may not have happened; of a renaming the two halves are separate, so that the file may be found
//! under both names or under none; a directory whose parent was not synced may be gone with all that is in it. A sync that is
//! told to fail drops its sectors: later syncs do not bring them back. All choices come from one seed.
//!
//! Invariant: a file handle from before a crash is dead, and so is the lock; using the handle panics.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, Lock, Space};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The n-th write from now (1 is the next) fails with EIO.
    WriteError(u64),
    /// The n-th write from now fails with ENOSPC.
    WriteFull(u64),
    /// The n-th write from now fails with EDQUOT.
    WriteQuota(u64),
    /// The n-th write from now takes only part of its octets.
    WriteShort(u64),
    /// The n-th fdatasync from now fails with EIO, and what it should have made durable may be lost.
    SyncError(u64),
    /// From the n-th opening or making of a file from now, this many fail with EMFILE.
    NoDescriptors(u64, u64),
    /// Power is lost at the n-th write, sync or change of an entry from now: from then on every call fails, until
    /// [`FaultyDisk::crash`] or, if it was the process that died, [`FaultyDisk::kill`].
    PowerLoss(u64),
}

/// The disk. Cloning shares it, as machines share a disk across restarts.
#[derive(Clone)]
pub struct FaultyDisk(Arc<Mutex<State>>);

struct State {
    seed: u64,
    /// Counts crashes; handles of an earlier boot are dead.
    boot: u64,
    files: Vec<FileState>,
    entries: BTreeMap<PathBuf, usize>,
    durable_entries: BTreeMap<PathBuf, usize>,
    unsynced_entries: Vec<EntryChange>,
    directories: BTreeSet<PathBuf>,
    unsynced_directories: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    faults: Vec<Fault>,
    capacity: u64,
    /// Octets of the capacity that others have.
    of_others: u64,
    files_max: u64,
    loses_pages: bool,
    writes: u64,
    syncs: u64,
    power_lost: bool,
    read_only: bool,
    unreadable: Vec<(usize, Range<u64>)>,
}

#[derive(Clone)]
enum EntryChange {
    Add(PathBuf, usize),
    Remove(PathBuf),
}

#[derive(Default)]
struct FileState {
    live: Vec<u8>,
    /// What unsynced sectors held at the last sync and after each write since, oldest first.
    versions: BTreeMap<usize, Vec<Sector>>,
    /// Sectors a failed sync dropped: no sync covers them until they are written again.
    dropped: BTreeSet<usize>,
    durable_len: usize,
    /// What sectors held before what they hold durably, where the disk may lose pages.
    former: BTreeMap<usize, Sector>,
}

type Sector = [u8; SECTOR];
const SECTOR: usize = 512;
const PAGE_SECTORS: usize = 8;

impl FaultyDisk {
    /// An empty disk whose choices follow from `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            seed: seed ^ 0x9E37_79B9_7F4A_7C15,
            boot: 0,
            files: Vec::new(),
            entries: BTreeMap::new(),
            durable_entries: BTreeMap::new(),
            unsynced_entries: Vec::new(),
            directories: BTreeSet::new(),
            unsynced_directories: BTreeSet::new(),
            locked: BTreeSet::new(),
            faults: Vec::new(),
            capacity: u64::MAX / 4,
            of_others: 0,
            files_max: u64::MAX,
            loses_pages: false,
            writes: 0,
            syncs: 0,
            power_lost: false,
            read_only: false,
            unreadable: Vec::new(),
        })))
    }

    /// Power is lost and returns.
    pub fn crash(&self) {
        self.state().crash();
    }

    /// The process dies and the machine stays: nothing is lost, but handles and lock are gone. After [`Fault::PowerLoss`] it
    /// died at that very call; what it had not synced is seen by the next run, and still lost when power is.
    pub fn kill(&self) {
        let mut state = self.state();
        state.boot += 1;
        state.locked.clear();
        state.faults.clear();
        state.power_lost = false;
    }

    /// Arms a fault.
    pub fn arm(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// The disk holds this many octets from now on.
    pub fn set_capacity(&self, octets: u64) {
        self.state().capacity = octets;
    }

    /// The disk has inodes for so many files from now on.
    pub fn set_files(&self, files: u64) {
        self.state().files_max = files;
    }

    /// Others take the octets and the inodes that are free now, and keep them.
    pub fn others_take_the_rest(&self) {
        let mut state = self.state();
        let (free, files) = (state.capacity.saturating_sub(state.used_by_us()), state.entries.len() as u64);
        (state.of_others, state.files_max) = (free, files);
    }

    /// A power loss may leave pages of zeros and of former contents from now on.
    pub fn lose_pages(&self) {
        self.state().loses_pages = true;
    }

    /// Writes and syncs so far.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.writes, state.syncs)
    }

    /// The names and contents of all files below `directory`, as a reader sees them now.
    pub fn files(&self, directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.state();
        let below = state.entries.iter().filter(|(path, _)| path.starts_with(directory));
        below.map(|(path, &file)| (path.clone(), state.files[file].live.clone())).collect()
    }

    /// Replaces a file's contents, durably: for tests that cut and flip.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn overwrite(&self, path: &Path, contents: Vec<u8>) {
        let mut state = self.state();
        let file = state.entries.get(path).copied().unwrap_or_else(|| panic!("no file {}", path.display()));
        state.files[file] = FileState { durable_len: contents.len(), live: contents, ..FileState::default() };
    }

    /// Every call that changes something, and drawing at random, fails with EIO while this is on.
    pub fn outage(&self, on: bool) {
        self.state().power_lost = on;
    }

    /// The file system is mounted read-only, or writable again: every call that changes something fails with EROFS.
    pub fn read_only(&self, on: bool) {
        self.state().read_only = on;
    }

    /// Reads of these octets of a file fail with EIO from now on; an empty range makes the whole disk readable again.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn spoil(&self, path: &Path, octets: Range<u64>) {
        let mut state = self.state();
        if octets.is_empty() {
            state.unreadable.clear();
            return;
        }
        let file = state.entries.get(path).copied().unwrap_or_else(|| panic!("no file {}", path.display()));
        state.unreadable.push((file, octets));
    }

    /// A copy of the disk as it is now, with nothing left unsynced and nobody using it.
    pub fn duplicate(&self, seed: u64) -> Self {
        let copy = Self::seeded(seed);
        {
            let (from, mut to) = (self.state(), copy.state());
            to.directories = from.directories.clone();
            to.entries = from.entries.clone();
            to.durable_entries = from.entries.clone();
            to.files = from.files.iter().map(|file| FileState::durable(file.live.clone())).collect();
        }
        copy
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn crash(&mut self) {
        self.boot += 1;
        self.locked.clear();
        self.faults.clear();
        self.power_lost = false;
        for index in 0..self.files.len() {
            let mut file = std::mem::take(&mut self.files[index]);
            let mut page = (usize::MAX, 0);
            for (sector, versions) in std::mem::take(&mut file.versions) {
                let chosen = self.next() as usize % versions.len();
                file.put(sector, &versions[chosen]);
                if !self.loses_pages {
                    continue;
                }
                if page.0 != sector / PAGE_SECTORS {
                    page = (sector / PAGE_SECTORS, self.next() % 8);
                }
                match page.1 {
                    0 => file.put(sector, &[0; SECTOR]),
                    1 => file.put(sector, &file.former.get(&sector).copied().unwrap_or([0; SECTOR])),
                    _ => {}
                }
            }
            if file.durable_len != file.live.len() && self.next() & 1 == 0 {
                file.live.resize(file.durable_len, 0);
            }
            let former = std::mem::take(&mut file.former);
            self.files[index] = FileState { former, ..FileState::durable(file.live) };
        }
        let changes = std::mem::take(&mut self.unsynced_entries);
        let mut entries = self.durable_entries.clone();
        for change in changes {
            if self.next() & 1 == 0 {
                change.apply(&mut entries);
            }
        }
        for lost in std::mem::take(&mut self.unsynced_directories) {
            if self.next() & 1 == 0 {
                self.directories.retain(|directory| !directory.starts_with(&lost));
                entries.retain(|path, _| !path.starts_with(&lost));
            }
        }
        self.entries = entries.clone();
        self.durable_entries = entries;
    }

    fn change(&mut self, change: EntryChange) {
        change.apply(&mut self.entries);
        self.unsynced_entries.push(change);
    }

    fn used(&self) -> u64 {
        self.used_by_us() + self.of_others
    }

    fn used_by_us(&self) -> u64 {
        self.entries.values().map(|&file| self.files[file].live.len() as u64).sum()
    }

    fn free_files(&self) -> u64 {
        self.files_max.saturating_sub(self.entries.len() as u64)
    }

    /// Counts one operation of a kind; the fault armed for it, if its turn has come.
    fn fault(&mut self, sync: bool) -> Option<Fault> {
        let mut due = None;
        self.faults.retain_mut(|fault| {
            let armed = *fault;
            let left = match fault {
                Fault::SyncError(left) if sync => left,
                Fault::WriteError(left)
                | Fault::WriteFull(left)
                | Fault::WriteQuota(left)
                | Fault::WriteShort(left)
                    if !sync =>
                {
                    left
                }
                _ => return !matches!(fault, Fault::PowerLoss(0)),
            };
            *left = left.saturating_sub(1);
            let now = *left == 0;
            if now {
                due = Some(armed);
            }
            !now
        });
        due
    }

    /// Every call that changes something comes through here first.
    fn power(&mut self) -> io::Result<()> {
        for fault in &mut self.faults {
            if let Fault::PowerLoss(left) = fault {
                *left = left.saturating_sub(1);
                self.power_lost |= *left == 0;
            }
        }
        match (self.power_lost, self.read_only) {
            (true, _) => Err(io::Error::from_raw_os_error(EIO)),
            (false, true) => Err(io::Error::from_raw_os_error(EROFS)),
            (false, false) => Ok(()),
        }
    }

    /// Every call that takes a descriptor comes through here first.
    fn descriptor(&mut self) -> io::Result<()> {
        for fault in &mut self.faults {
            if let Fault::NoDescriptors(before, failing) = fault {
                match (*before, *failing) {
                    (2.., _) => *before -= 1,
                    (_, 0) => {}
                    (_, left) => {
                        *failing = left - 1;
                        return Err(io::Error::from_raw_os_error(EMFILE));
                    }
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, file: usize, octets: &[u8], offset: usize) -> io::Result<usize> {
        let powered = !self.power_lost && !self.read_only;
        if let Err(error) = self.power() {
            // The write at which power goes may have reached some sectors.
            if powered {
                self.files[file].write(octets, offset);
            }
            return Err(error);
        }
        self.writes += 1;
        let mut take = octets.len();
        match self.fault(false) {
            Some(Fault::WriteError(_)) => return Err(io::Error::from_raw_os_error(EIO)),
            Some(Fault::WriteFull(_)) => return Err(io::Error::from_raw_os_error(ENOSPC)),
            Some(Fault::WriteQuota(_)) => return Err(io::Error::from_raw_os_error(EDQUOT)),
            Some(Fault::WriteShort(_)) => take = take.div_ceil(2),
            _ => {}
        }
        let grown = (offset + take).saturating_sub(self.files[file].live.len()) as u64;
        let free = self.capacity.saturating_sub(self.used());
        if free < grown {
            take = take.saturating_sub((grown - free) as usize);
            if take == 0 {
                return Err(io::Error::from_raw_os_error(ENOSPC));
            }
        }
        self.files[file].write(&octets[..take], offset);
        Ok(take)
    }

    fn sync(&mut self, file: usize) -> io::Result<()> {
        self.power()?;
        self.syncs += 1;
        let failed = self.fault(true).is_some();
        let file = &mut self.files[file];
        if failed {
            file.dropped.extend(file.versions.keys());
            return Err(io::Error::from_raw_os_error(EIO));
        }
        if self.loses_pages {
            let replaced = file.versions.iter().filter(|(sector, _)| !file.dropped.contains(sector));
            let replaced: Vec<(usize, Sector)> = replaced.map(|(&sector, versions)| (sector, versions[0])).collect();
            file.former.extend(replaced);
        }
        let dropped = &file.dropped;
        file.versions.retain(|sector, _| dropped.contains(sector));
        file.durable_len = file.live.len();
        Ok(())
    }
}

impl EntryChange {
    fn apply(&self, entries: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Add(path, file) => {
                entries.insert(path.clone(), *file);
            }
            Self::Remove(path) => {
                entries.remove(path);
            }
        }
    }
}

impl FileState {
    fn durable(contents: Vec<u8>) -> Self {
        Self { durable_len: contents.len(), live: contents, ..Self::default() }
    }

    fn write(&mut self, octets: &[u8], offset: usize) {
        let end = offset + octets.len();
        if octets.is_empty() {
            return;
        }
        let before: Vec<Sector> = (offset / SECTOR..end.div_ceil(SECTOR)).map(|sector| self.get(sector)).collect();
        if self.live.len() < end {
            self.live.resize(end, 0);
        }
        self.live[offset..end].copy_from_slice(octets);
        for (sector, before) in (offset / SECTOR..).zip(before) {
            let after = self.get(sector);
            self.dropped.remove(&sector);
            match self.versions.entry(sector) {
                // Nothing to choose from.
                Entry::Vacant(_) if after == before => {}
                Entry::Vacant(versions) => drop(versions.insert(vec![before, after])),
                Entry::Occupied(mut versions) => versions.get_mut().push(after),
            }
        }
    }

    fn get(&self, sector: usize) -> Sector {
        let mut octets = [0; SECTOR];
        let start = (sector * SECTOR).min(self.live.len());
        let found = &self.live[start..self.live.len().min(start + SECTOR)];
        octets[..found.len()].copy_from_slice(found);
        octets
    }

    fn put(&mut self, sector: usize, octets: &Sector) {
        let start = (sector * SECTOR).min(self.live.len());
        let end = self.live.len().min(start + SECTOR);
        self.live[start..end].copy_from_slice(&octets[..end - start]);
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let within =
            |state: &State, path: &Path| path.parent().is_some_and(|parent| state.directories.contains(parent));
        let mut new: Vec<&Path> = path.ancestors().take_while(|path| !state.directories.contains(*path)).collect();
        // What lies above the first directory ever made is not the disk's: it is always there.
        let known = new.last().is_some_and(|top| within(&state, top));
        if !known {
            new.truncate(1);
        }
        for path in new {
            state.power()?;
            state.directories.insert(path.to_owned());
            if known {
                state.unsynced_directories.insert(path.to_owned());
            }
        }
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let &file = state.entries.get(path).ok_or(io::ErrorKind::NotFound)?;
        state.descriptor()?;
        // A file is opened for writing as well.
        if state.read_only {
            return Err(io::Error::from_raw_os_error(EROFS));
        }
        Ok(Arc::new(FaultyFile { disk: self.clone(), file, boot: state.boot }))
    }

    fn create(&self, path: &Path, _: u32) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        if state.entries.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.descriptor()?;
        state.power()?;
        if state.free_files() == 0 {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        assert!(path.parent().is_some_and(|parent| state.directories.contains(parent)), "no directory for {path:?}");
        state.files.push(FileState::default());
        let file = state.files.len() - 1;
        state.change(EntryChange::Add(path.to_owned(), file));
        Ok(Arc::new(FaultyFile { disk: self.clone(), file, boot: state.boot }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.entries.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.power()?;
        state.change(EntryChange::Remove(path.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let &file = state.entries.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.power()?;
        state.change(EntryChange::Add(to.to_owned(), file));
        state.change(EntryChange::Remove(from.to_owned()));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let &file = state.entries.get(from).ok_or(io::ErrorKind::NotFound)?;
        if state.entries.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.power()?;
        state.change(EntryChange::Add(to.to_owned(), file));
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inside = |other: &PathBuf| other.parent() == Some(path);
        if state.entries.keys().any(inside) || state.directories.iter().any(inside) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.power()?;
        if !state.directories.remove(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        let both = state.entries.keys().chain(&state.directories);
        let inside = both.filter(|entry| entry.parent() == Some(path));
        let mut names: Vec<_> = inside.filter_map(|entry| Some(entry.file_name()?.to_str()?.to_owned())).collect();
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.power()?;
        let of_other = |change: &EntryChange| match change {
            EntryChange::Add(entry, _) | EntryChange::Remove(entry) => entry.parent() != Some(path),
        };
        let (kept, synced) = std::mem::take(&mut state.unsynced_entries).into_iter().partition(of_other);
        state.unsynced_entries = kept;
        for change in synced {
            EntryChange::apply(&change, &mut state.durable_entries);
        }
        state.unsynced_directories.retain(|directory| directory.parent() != Some(path));
        Ok(())
    }

    fn lock(&self, path: &Path, _: u32) -> io::Result<Lock> {
        let mut state = self.state();
        if state.read_only {
            return Err(io::Error::from_raw_os_error(EROFS));
        }
        if !state.locked.insert(path.to_owned()) {
            return Ok(Lock::Taken(Some(std::process::id())));
        }
        Ok(Lock::Held(Box::new(Held { disk: self.clone(), path: path.to_owned(), boot: state.boot })))
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        let state = self.state();
        let (free_bytes, total_bytes) = (state.capacity.saturating_sub(state.used()), state.capacity);
        Ok(Space { free_bytes, total_bytes, free_files: state.free_files() })
    }

    fn random(&self) -> io::Result<u64> {
        let mut state = self.state();
        if state.power_lost { Err(io::Error::from_raw_os_error(EIO)) } else { Ok(state.next()) }
    }
}

struct Held {
    disk: FaultyDisk,
    path: PathBuf,
    boot: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.boot == self.boot {
            state.locked.remove(&self.path);
        }
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    file: usize,
    boot: u64,
}

impl FaultyFile {
    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.disk.state();
        assert_eq!(state.boot, self.boot, "a file handle used across a crash");
        state
    }
}

impl DiskFile for FaultyFile {
    fn pwritev(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let slices: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
        let octets = slices.concat();
        self.state().write(self.file, &octets, offset as usize)
    }

    fn pread(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.state();
        let wanted = offset..offset + buffer.len() as u64;
        let hit = |octets: &Range<u64>| octets.start < wanted.end && wanted.start < octets.end;
        if state.unreadable.iter().any(|(file, octets)| *file == self.file && hit(octets)) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let live = &state.files[self.file].live;
        let start = (offset as usize).min(live.len());
        let taken = buffer.len().min(live.len() - start);
        buffer[..taken].copy_from_slice(&live[start..start + taken]);
        Ok(taken)
    }

    fn fdatasync(&self) -> io::Result<()> {
        self.state().sync(self.file)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state().files[self.file].live.len() as u64)
    }
}

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const EDQUOT: i32 = 122;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(disk: &FaultyDisk) -> Arc<dyn DiskFile> {
        disk.create_dir(Path::new("/s")).unwrap();
        let file = disk.create(Path::new("/s/a"), 0o640).unwrap();
        file.write_all(&mut [IoSlice::new(&[1; 4 * SECTOR])], 0).unwrap();
        file
    }

    #[test]
    fn what_was_synced_survives_and_what_was_not_may_be_old_or_new_sector_by_sector() {
        let mut mixed = 0;
        for seed in 0..64 {
            let disk = FaultyDisk::seeded(seed);
            let file = written(&disk);
            file.fdatasync().unwrap();
            disk.sync_dir(Path::new("/s")).unwrap();
            file.write_all(&mut [IoSlice::new(&[2; 2 * SECTOR])], 0).unwrap();
            disk.crash();
            let (_, contents) = disk.files(Path::new("/s")).remove(0);
            assert_eq!(contents[2 * SECTOR..], [1; 2 * SECTOR], "seed {seed}");
            for sector in contents.chunks(SECTOR) {
                assert!(sector.iter().all(|&octet| octet == sector[0]), "seed {seed}: a torn sector");
            }
            mixed += usize::from(contents[0] != contents[SECTOR]);
        }
        assert!(mixed != 0, "sectors are never reordered");
    }

    #[test]
    fn an_entry_that_was_not_synced_may_vanish() {
        let kept = |seed| {
            let disk = FaultyDisk::seeded(seed);
            written(&disk).fdatasync().unwrap();
            disk.crash();
            disk.files(Path::new("/s")).len()
        };
        let outcomes: BTreeSet<usize> = (0..64).map(kept).collect();
        assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn of_a_renaming_that_was_not_synced_each_half_may_be_missing() {
        let names = |seed| {
            let disk = FaultyDisk::seeded(seed);
            written(&disk).fdatasync().unwrap();
            disk.sync_dir(Path::new("/s")).unwrap();
            disk.rename(Path::new("/s/a"), Path::new("/s/b")).unwrap();
            disk.crash();
            disk.files(Path::new("/s")).into_iter().map(|(path, _)| path.display().to_string()).collect::<Vec<_>>()
        };
        let outcomes: BTreeSet<Vec<String>> = (0..64).map(names).collect();
        let expected: [&[&str]; 4] = [&[], &["/s/a"], &["/s/a", "/s/b"], &["/s/b"]];
        assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_failed_sync_is_not_made_good_by_the_next() {
        let lost = |seed| {
            let disk = FaultyDisk::seeded(seed);
            let file = written(&disk);
            disk.sync_dir(Path::new("/s")).unwrap();
            disk.arm(Fault::SyncError(1));
            assert!(file.fdatasync().is_err());
            file.fdatasync().unwrap();
            disk.crash();
            disk.files(Path::new("/s"))[0].1.contains(&0)
        };
        assert!((0..64).any(lost));
    }
}
