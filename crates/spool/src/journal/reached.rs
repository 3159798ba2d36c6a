//! How far the last run got: which segment it was writing, and up to where everything was synced when it paused.
//!
//! A file of two pages beside the segments, written in turn: when a segment is begun, before anything in it is acknowledged;
//! when no mail has come for a moment; and at the close. It is the witness for the end of the journal: nothing that stands
//! there could show that a commit which is gone was ever made. It also says that the spares of this spool are marked, so
//! that a page of zeros is damage. Only the committer writes it.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{PAGE, u32_at, u64_at};
use super::segment::{Cut, Use};
use crate::disk::{Disk, DiskFile};

/// What a run says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The segment it was writing.
    pub of: Use,
    /// Up to here everything had been synced; zero if that was not noted.
    pub end: u32,
    /// The number of the last commit before that.
    pub commit: u64,
    /// The spool was closed in order after it.
    pub closed: bool,
    /// The segment before, and up to where it had been synced: until the header of this one is there, nothing else says so.
    /// It may have been written on after that, if this one could not be begun.
    pub before: Option<Cut>,
}

/// What was found of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// There is no such file.
    Absent,
    /// Neither copy can be read.
    Damaged,
    /// The later copy that can be read.
    Found(Reached),
}

/// The file.
pub struct Witness {
    file: Arc<dyn DiskFile>,
    /// Counts what was written.
    serial: u64,
    last: Reached,
}

impl Reached {
    /// Up to where that segment is known to have been synced; zero if nothing is.
    pub fn synced_in(&self, sequence: u32) -> u32 {
        match self.before {
            _ if self.of.sequence == sequence => self.end,
            Some(before) if before.sequence == sequence => before.end,
            _ => 0,
        }
    }
}

impl Note {
    /// What the last run said, if it can be read.
    pub fn found(self) -> Option<Reached> {
        match self {
            Self::Found(reached) => Some(reached),
            Self::Absent | Self::Damaged => None,
        }
    }

    /// Reads it.
    pub fn read(disk: &dyn Disk, directory: &Path) -> io::Result<Self> {
        let file = match disk.open(&directory.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Absent),
            other => other?,
        };
        Ok(newer_of(file.as_ref())?.map_or(Self::Damaged, |(_, reached)| Self::Found(reached)))
    }
}

impl Witness {
    /// Opens the file, or makes it. It is durable when this returns.
    pub fn open(disk: &dyn Disk, directory: &Path, mode: u32) -> io::Result<Self> {
        let path = directory.join(NAME);
        let file = match disk.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(disk, directory, &path, mode)?,
            other => other?,
        };
        let (serial, last) = newer_of(file.as_ref())?.unwrap_or_default();
        Ok(Self { file, serial, last })
    }

    /// Writes it down, durably, unless it stands there already.
    pub fn note(&mut self, reached: Reached) -> io::Result<()> {
        if reached == self.last {
            return Ok(());
        }
        self.serial += 1;
        let page = page_of(self.serial, &reached);
        self.file.write_all(&mut [IoSlice::new(&page)], self.serial % 2 * PAGE as u64)?;
        self.file.fdatasync()?;
        self.last = reached;
        Ok(())
    }

    /// What was written last.
    pub fn last(&self) -> &Reached {
        &self.last
    }
}

/// Both pages are there from the start, so that no later writing needs room.
fn make(disk: &dyn Disk, directory: &Path, path: &Path, mode: u32) -> io::Result<Arc<dyn DiskFile>> {
    let new = path.with_extension(NEW);
    let _ = disk.remove(&new);
    let file = disk.create(&new, mode)?;
    let page = page_of(0, &Reached::default());
    file.write_all(&mut [IoSlice::new(&page), IoSlice::new(&page)], 0)?;
    file.fdatasync()?;
    disk.rename(&new, path)?;
    disk.sync_dir(directory)?;
    Ok(file)
}

fn newer_of(file: &dyn DiskFile) -> io::Result<Option<(u64, Reached)>> {
    let mut found: Option<(u64, Reached)> = None;
    for at in [0, PAGE as u64] {
        let mut octets = [0; LENGTH];
        let read = file.read_full(&mut octets, at)?;
        let copy = parse(&octets[..read]);
        found = found.into_iter().chain(copy).max_by_key(|(serial, _)| *serial);
    }
    Ok(found)
}

fn page_of(serial: u64, reached: &Reached) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    page[..8].copy_from_slice(MAGIC);
    page[8..16].copy_from_slice(&serial.to_le_bytes());
    let Reached { of, end, commit, closed, before } = reached;
    let before = before.unwrap_or(Cut { sequence: 0, end: 0 });
    let words = [of.sequence, of.epoch, of.slot, *end, u32::from(*closed)];
    for (at, word) in (16..).step_by(4).zip(words).chain([(56, before.sequence), (60, before.end)]) {
        page[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    page[40..48].copy_from_slice(&of.mark.to_le_bytes());
    page[48..56].copy_from_slice(&commit.to_le_bytes());
    let crc = crc32c::crc32c(&page[..LENGTH - 4]);
    page[LENGTH - 4..LENGTH].copy_from_slice(&crc.to_le_bytes());
    page
}

fn parse(octets: &[u8]) -> Option<(u64, Reached)> {
    if octets.len() != LENGTH
        || &octets[..8] != MAGIC
        || u32_at(octets, LENGTH - 4) != crc32c::crc32c(&octets[..LENGTH - 4])
    {
        return None;
    }
    let (sequence, epoch, slot) = (u32_at(octets, 16), u32_at(octets, 20), u32_at(octets, 24));
    let of = Use { sequence, epoch, slot, mark: u64_at(octets, 40) };
    let (end, closed) = (u32_at(octets, 28), u32_at(octets, 32) != 0);
    let before = Some(Cut { sequence: u32_at(octets, 56), end: u32_at(octets, 60) }).filter(|cut| cut.sequence != 0);
    Some((u64_at(octets, 8), Reached { of, end, commit: u64_at(octets, 48), closed, before }))
}

/// Where it is.
pub fn path_in(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

/// Its name.
pub const NAME: &str = "reached";
/// What a file is called until it is whole.
pub const NEW: &str = "new";
const MAGIC: &[u8; 8] = b"PRREACH\n";
const LENGTH: usize = 72;
