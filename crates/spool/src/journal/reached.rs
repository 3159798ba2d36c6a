//! How far the last run got: which segment it was writing, and up to where everything was synced when it paused.
//!
//! A file beside the segments, of which two pages are written in turn: when a segment is begun, before anything in it is acknowledged;
//! when no mail has come for a moment; and at the close. It is the witness for the end of the journal: nothing that stands
//! there could show that a commit which is gone was ever made. It also says that the spares of this spool are marked, so
//! that a page of zeros is damage.
//!
//! A third page is written behind every commit, and not synced: what it says is true whenever it is found, and a process that
//! is killed leaves it. One that is lost with the power is no damage.
//!
//! And it is the roster: how many segments there are before the one being written, and the sum of their numbers. What is on it
//! and not in the directory was removed by somebody else. So a segment leaves it before its file is scrubbed (see
//! [`Witness::call`]). Written by the committer and by upkeep, one at a time.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{PAGE, u32_at, u64_at};
use super::segment::{Cut, DATA, Use};
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
    /// The segments before this one; nothing if an earlier release wrote it.
    pub roster: Option<Roster>,
}

/// Which segments there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// How many.
    pub segments: u32,
    /// The sum of their numbers, as far as it fits.
    pub sum: u32,
    /// One that is about to be scrubbed, or was: it is not counted, and may be there. Zero for none.
    pub leaving: u32,
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
    /// Which of the first two pages was written last: the other is the next.
    page: u64,
    /// Synced.
    last: Reached,
    /// Written, synced or not.
    latest: Reached,
}

impl Roster {
    /// Of segments with these numbers.
    pub fn of(sequences: impl Iterator<Item = u32>, leaving: u32) -> Self {
        let none = Self { leaving, ..Self::default() };
        sequences.filter(|&sequence| sequence != leaving).fold(none, |roster, sequence| Self {
            segments: roster.segments + 1,
            sum: roster.sum.wrapping_add(sequence),
            ..roster
        })
    }
}

impl Reached {
    /// How many segments are missing, if `found` are there besides `unread` of which nothing is known; and the number of a
    /// single one. The one that was written last is missing if nothing at all is there from it on, for it is scrubbed only
    /// when a later one is there.
    pub fn missing(&self, found: &[u32], unread: usize) -> Option<(usize, Option<u32>)> {
        let own = self.of.sequence;
        let last = usize::from(own != 0 && DATA < self.end && found.iter().all(|&sequence| sequence < own));
        let roster = self.roster.unwrap_or_default();
        let before = Roster::of(found.iter().copied().filter(|&sequence| sequence < own), roster.leaving);
        let gone = if self.roster.is_some() { roster.segments.saturating_sub(before.segments) as usize } else { 0 };
        let which = match (gone, last) {
            (1, 0) => Some(roster.sum.wrapping_sub(before.sum)),
            (0, 1) => Some(own),
            _ => None,
        };
        let missing = (gone + last).saturating_sub(unread);
        (missing != 0).then(|| (missing, which.filter(|_| unread == 0)))
    }

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
        Ok(newest_of(file.as_ref())?.map_or(Self::Damaged, |(_, reached)| Self::Found(reached)))
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
        let copies = [copy_in(file.as_ref(), 0)?, copy_in(file.as_ref(), 1)?];
        let (serial, last) = newest_of(file.as_ref())?.unwrap_or_default();
        let serial_of = |copy: &Option<(u64, Reached)>| copy.map_or(0, |(serial, _)| serial);
        let page = u64::from(serial_of(&copies[0]) < serial_of(&copies[1]));
        Ok(Self { file, serial, page, last, latest: last })
    }

    /// Writes it down, durably, unless it stands there already.
    pub fn note(&mut self, reached: Reached) -> io::Result<()> {
        let reached = self.with_roster(reached);
        if reached == self.last {
            return Ok(());
        }
        self.serial += 1;
        let page = page_of(self.serial, &reached);
        let place = 1 - self.page;
        self.file.write_all(&mut [IoSlice::new(&page)], place * PAGE as u64)?;
        self.file.fdatasync()?;
        self.page = place;
        (self.last, self.latest) = (reached, reached);
        Ok(())
    }

    /// Writes it down for the case that the process is killed. Nothing waits for it, and nothing is lost if it fails.
    pub fn note_in_passing(&mut self, reached: Reached) {
        self.serial += 1;
        self.latest = self.with_roster(reached);
        let page = page_of(self.serial, &self.latest);
        let _ = self.file.write_all(&mut [IoSlice::new(&page)], 2 * PAGE as u64);
    }

    /// These are all segments there are, but for one that is about to be scrubbed, if one is: from now on nobody misses it.
    pub fn call(&mut self, sequences: impl Iterator<Item = u32>, leaving: u32) -> io::Result<()> {
        let before = sequences.filter(|&other| other < self.latest.of.sequence);
        self.note(Reached { roster: Some(Roster::of(before, leaving)), ..self.latest })
    }

    /// From now on nobody looks whether segments are missing.
    pub fn forget_roster(&mut self) -> io::Result<()> {
        self.latest.roster = None;
        self.note(self.latest)
    }

    /// The one being scrubbed, or scrubbed last.
    pub fn leaving(&self) -> u32 {
        self.latest.roster.unwrap_or_default().leaving
    }

    /// While the same segment is being written the roster stays as it is.
    fn with_roster(&self, reached: Reached) -> Reached {
        let same = self.latest.of.sequence == reached.of.sequence;
        Reached { roster: reached.roster.or(self.latest.roster.filter(|_| same)), ..reached }
    }

    /// What was synced last.
    pub fn last(&self) -> &Reached {
        &self.last
    }
}

/// All pages are there from the start, so that no later writing needs room.
fn make(disk: &dyn Disk, directory: &Path, path: &Path, mode: u32) -> io::Result<Arc<dyn DiskFile>> {
    let new = path.with_extension(NEW);
    let _ = disk.remove(&new);
    let file = disk.create(&new, mode)?;
    let page = page_of(0, &Reached::default());
    file.write_all(&mut [IoSlice::new(&page), IoSlice::new(&page), IoSlice::new(&page)], 0)?;
    file.fdatasync()?;
    disk.rename(&new, path)?;
    disk.sync_dir(directory)?;
    Ok(file)
}

fn newest_of(file: &dyn DiskFile) -> io::Result<Option<(u64, Reached)>> {
    let mut found: Option<(u64, Reached)> = None;
    for page in 0..3 {
        found = found.into_iter().chain(copy_in(file, page)?).max_by_key(|(serial, _)| *serial);
    }
    Ok(found)
}

fn copy_in(file: &dyn DiskFile, page: u64) -> io::Result<Option<(u64, Reached)>> {
    let mut octets = [0; LENGTH + ROSTER];
    let read = file.read_full(&mut octets, page * PAGE as u64)?;
    Ok(parse(&octets[..read]))
}

fn page_of(serial: u64, reached: &Reached) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    page[..8].copy_from_slice(MAGIC);
    page[8..16].copy_from_slice(&serial.to_le_bytes());
    let Reached { of, end, commit, closed, before, roster } = reached;
    let before = before.unwrap_or(Cut { sequence: 0, end: 0 });
    let words = [of.sequence, of.epoch, of.slot, *end, u32::from(*closed)];
    for (at, word) in (16..).step_by(4).zip(words).chain([(56, before.sequence), (60, before.end)]) {
        page[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    page[40..48].copy_from_slice(&of.mark.to_le_bytes());
    page[48..56].copy_from_slice(&commit.to_le_bytes());
    let crc = crc32c::crc32c(&page[..LENGTH - 4]);
    page[LENGTH - 4..LENGTH].copy_from_slice(&crc.to_le_bytes());
    if let Some(Roster { segments, sum, leaving }) = roster {
        for (at, word) in (LENGTH..).step_by(4).zip([*segments, *sum, *leaving]) {
            page[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        let end = LENGTH + ROSTER;
        let crc = crc32c::crc32c(&page[..end - 4]);
        page[end - 4..end].copy_from_slice(&crc.to_le_bytes());
    }
    page
}

fn parse(octets: &[u8]) -> Option<(u64, Reached)> {
    if octets.len() < LENGTH
        || &octets[..8] != MAGIC
        || u32_at(octets, LENGTH - 4) != crc32c::crc32c(&octets[..LENGTH - 4])
    {
        return None;
    }
    let (sequence, epoch, slot) = (u32_at(octets, 16), u32_at(octets, 20), u32_at(octets, 24));
    let of = Use { sequence, epoch, slot, mark: u64_at(octets, 40) };
    let (end, closed) = (u32_at(octets, 28), u32_at(octets, 32) != 0);
    let before = Some(Cut { sequence: u32_at(octets, 56), end: u32_at(octets, 60) }).filter(|cut| cut.sequence != 0);
    let whole = LENGTH + ROSTER;
    let has_roster = octets.len() == whole && u32_at(octets, whole - 4) == crc32c::crc32c(&octets[..whole - 4]);
    let word = |place: usize| u32_at(octets, LENGTH + 4 * place);
    let roster = has_roster.then(|| Roster { segments: word(0), sum: word(1), leaving: word(2) });
    Some((u64_at(octets, 8), Reached { of, end, commit: u64_at(octets, 48), closed, before, roster }))
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
/// Behind it, with a checksum of its own: earlier releases neither write nor read it.
const ROSTER: usize = 16;
