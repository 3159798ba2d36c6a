//! The summary: the records of a sealed segment without their payloads, so that a start reads no bodies.
//!
//! A file `NNNNNNNN.summary` beside `NNNNNNNN.segment`, written by upkeep when the segment has been read from end to end
//! and everything in it was good: every record, every checksum, every group whole. It says nothing the segment does not say:
//! a cache. It counts only if it bears the segment's mark and sequence number and both its checksums are right; one that is
//! missing, torn, of an earlier use of the file or at odds with a known end is passed over, and the segment is read instead.
//! So it may be deleted at any time, and nothing waits for it: it is synced, with its directory, only so that a start after
//! a power loss finds it.
//!
//! What it gives up: a bit that flips in the segment after that is found when the record is read, not at the next start.
//!
//! Layout, little-endian. Head of 64 octets: magic 8 | format 4 | sequence 4 | mark 8 | end of records 4 | entries 4 |
//! last commit 8 | closed 4 | checksum of the entries 4 | epoch 4, zero before format 4 of the journal | zero 8 | checksum of the head 4. Entries of 24 octets: id 8 |
//! link 8 | offset of the record 4 (its low three bits are the kind) | octets of payload 4.

use std::io::{self, IoSlice};
use std::path::Path;

use super::groups::Groups;
use super::record::{ALIGN, Kind, Record, u32_at, u64_at};
use super::scan::{Found, Scanner};
use super::segment::{DATA, Use};
use crate::disk::{Disk, DiskFile};

/// What the records of one segment are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The segment.
    pub sequence: u32,
    /// What its records bear.
    pub mark: u64,
    /// Where they end.
    pub end: u32,
    /// The number of its last commit.
    pub last_commit: u64,
    /// Its last record says that the spool was closed in order.
    pub closed: bool,
    entries: Vec<u8>,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it says.
    pub kind: Kind,
    /// What it is about.
    pub id: u64,
    /// What it belongs to.
    pub link: u64,
    /// Where it stands.
    pub offset: u32,
    /// Octets of its payload.
    pub payload: u32,
}

impl Summary {
    /// The summary of a segment with nothing in it.
    pub fn empty(sequence: u32, mark: u64) -> Self {
        Self { sequence, mark, end: DATA, last_commit: 0, closed: false, entries: Vec::new() }
    }

    /// Reads a segment up to `end`, checksums and all. Nothing if anything in it is not as it should be.
    pub fn of(file: &dyn DiskFile, sequence: u32, mark: u64, end: u32) -> io::Result<Option<Self>> {
        let mut summary = Self { end, ..Self::empty(sequence, mark) };
        let mut scanner = Scanner::new(file, mark, Some(end))?;
        let mut groups = Groups::default();
        while let Some(found) = scanner.step()? {
            let Found::Record(offset, record) = found else { return Ok(None) };
            groups.take(0, sequence, &record);
            summary.push(offset, &record);
        }
        Ok((groups.broken().is_empty() && !scanner.met_unreadable()).then_some(summary))
    }

    fn push(&mut self, offset: u32, record: &Record) {
        self.last_commit = self.last_commit.max(record.commit);
        self.closed |= record.kind == Kind::Close;
        self.entries.extend_from_slice(&record.id.to_le_bytes());
        self.entries.extend_from_slice(&record.link.to_le_bytes());
        self.entries.extend_from_slice(&(offset | u32::from(record.kind.code())).to_le_bytes());
        self.entries.extend_from_slice(&record.payload.to_le_bytes());
    }

    /// Records.
    pub fn len(&self) -> usize {
        self.entries.len() / ENTRY
    }

    /// The records, in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.entries.chunks_exact(ENTRY).filter_map(|octets| {
            let place = u32_at(octets, 16);
            let kind = Kind::from_code((place % ALIGN as u32) as u8)?;
            let offset = place / ALIGN as u32 * ALIGN as u32;
            Some(Entry { kind, id: u64_at(octets, 0), link: u64_at(octets, 8), offset, payload: u32_at(octets, 20) })
        })
    }

    /// Octets of its file.
    pub fn file_bytes(&self) -> u64 {
        (HEAD + self.entries.len()) as u64
    }

    fn head(&self, epoch: u32) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(MAGIC);
        head[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        head[12..16].copy_from_slice(&self.sequence.to_le_bytes());
        head[16..24].copy_from_slice(&self.mark.to_le_bytes());
        head[24..28].copy_from_slice(&self.end.to_le_bytes());
        head[28..32].copy_from_slice(&(self.len() as u32).to_le_bytes());
        head[32..40].copy_from_slice(&self.last_commit.to_le_bytes());
        head[40..44].copy_from_slice(&u32::from(self.closed).to_le_bytes());
        head[44..48].copy_from_slice(&crc32c::crc32c(&self.entries).to_le_bytes());
        head[48..52].copy_from_slice(&epoch.to_le_bytes());
        let crc = crc32c::crc32c(&head[..HEAD - 4]);
        head[HEAD - 4..].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// Writes it to `path`, in the place of what is there, durably. It gets its name when it is whole: one that does not check
    /// out is damaged, not unfinished.
    pub fn write(&self, disk: &dyn Disk, path: &Path, epoch: u32, mode: u32) -> io::Result<()> {
        let new = path.with_extension(NEW_SUMMARY);
        match disk.remove(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(&new, mode)?;
        let written = file
            .write_all(&mut [IoSlice::new(&self.head(epoch)), IoSlice::new(&self.entries)], 0)
            .and_then(|()| file.fdatasync())
            .and_then(|()| disk.rename(&new, path));
        if written.is_err() {
            let _ = disk.remove(&new);
        }
        written.and_then(|()| disk.sync_dir(path.parent().unwrap_or(path)))
    }

    /// Whether the one at `path`, which is not to be had for the segment with that mark, is nothing that was ever written.
    pub fn is_damaged(disk: &dyn Disk, path: &Path, mark: u64) -> bool {
        disk.open(path).is_ok() && Self::subject(disk, path, 0).is_none_or(|(of, _)| of.mark == mark)
    }

    /// Which segment the summary in `path` is of, and where that one's records end. Nothing if its head does not check out.
    pub fn subject(disk: &dyn Disk, path: &Path, slot: u32) -> Option<(Use, u32)> {
        let file = disk.open(path).ok()?;
        let mut head = [0; HEAD];
        let whole = file.read_full(&mut head, 0).ok()? == HEAD;
        if !whole || !checks_out(&head) {
            return None;
        }
        let (sequence, epoch, mark) = (u32_at(&head, 12), u32_at(&head, 48), u64_at(&head, 16));
        Some((Use { sequence, epoch, slot, mark }, u32_at(&head, 24)))
    }

    /// Reads the one at `path`, if it is there, whole, and of the segment with that number and mark.
    pub fn read(disk: &dyn Disk, path: &Path, sequence: u32, mark: u64) -> Option<Self> {
        let file = disk.open(path).ok()?;
        let mut head = [0; HEAD];
        if file.read_full(&mut head, 0).ok()? != HEAD {
            return None;
        }
        let ours = u32_at(&head, 12) == sequence && u64_at(&head, 16) == mark;
        if !ours || !checks_out(&head) {
            return None;
        }
        let mut entries = vec![0; u32_at(&head, 28) as usize * ENTRY];
        let read = file.read_full(&mut entries, HEAD as u64).ok()?;
        if read != entries.len() || crc32c::crc32c(&entries) != u32_at(&head, 44) {
            return None;
        }
        let (end, last_commit) = (u32_at(&head, 24), u64_at(&head, 32));
        Some(Self { sequence, mark, end, last_commit, closed: u32_at(&head, 40) != 0, entries })
    }
}

fn checks_out(head: &[u8; HEAD]) -> bool {
    let known = &head[..8] == MAGIC && u32_at(head, 8) == FORMAT;
    known && u32_at(head, HEAD - 4) == crc32c::crc32c(&head[..HEAD - 4])
}

/// The name of a segment file's summary.
pub fn name_of(slot: u32) -> String {
    format!("{slot:08}.summary")
}

/// The number in the name of a summary.
pub fn slot_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".summary")?;
    digits.parse().ok().filter(|&slot| name_of(slot) == name)
}

/// What a summary is called until it is whole.
pub const NEW_SUMMARY: &str = "summary.new";
const MAGIC: &[u8; 8] = b"PRSUMRY\n";
const FORMAT: u32 = 1;
const HEAD: usize = 64;
const ENTRY: usize = 24;
