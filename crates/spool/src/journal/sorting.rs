//! What each file of a journal is: in use, a spare, or damaged at its head.
//!
//! Reads the first page of each file, the header of the first record, the mark of a spare in the last page, the heads of the
//! summaries and the [`super::reached`] note, and holds them against each other. A file whose first page is gone, or is
//! that of an earlier use, is known again by what others say of it: the headers of later segments, its summary, the note, or
//! its first record. Changes nothing; a start and the offline tools see the same.
//!
//! Invariant: a file that was in use is never taken for a spare, and one whose use is over never for in use, as long as one
//! witness is left that says so; with none it is set aside whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::reached::{self, Note, Reached};
use super::record::{HEADER, Record};
use super::segment::{DATA, FORMAT, FirstPage, Retired, SegmentHeader, Use};
use super::spares::{Spare, slot_of};
use super::summary::{self, Summary};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::file::opening::failed;

/// Segments in use, by sequence number.
pub type Used = BTreeMap<u32, (SegmentHeader, Spare)>;

/// The files of a journal.
pub struct Sorted {
    /// Those in use. Where the header is gone, one that says what is known of it.
    pub used: Used,
    /// Those with nothing in them.
    pub free: Vec<Spare>,
    /// Heads that are not what they should be.
    pub heads: Vec<Head>,
    /// Files of which nothing says what they are.
    pub unknown: Vec<Spare>,
    /// Slots of files that could not be read.
    pub unreadable: BTreeSet<u32>,
    /// Slots that have a summary.
    pub summaries: BTreeSet<u32>,
    /// Files that were being made.
    pub unfinished: Vec<String>,
    /// What the last run said of itself.
    pub note: Note,
    /// The note is missing although this release has used the spool.
    pub note_is_missing: bool,
    /// No file has had this number.
    pub next_slot: u32,
}

/// A file whose first page is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The file.
    pub slot: u32,
    /// The segment it is; none of a spare.
    pub sequence: Option<u32>,
    /// What stands there.
    pub what: What,
    /// Where that it is in use is known from.
    pub known_from: &'static str,
}

/// What stands in the place of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Zeros, or the file is shorter than a header.
    Zeros,
    /// A page of an earlier use of the file.
    Stale,
    /// Neither copy checks out.
    Damaged,
}

struct Looked {
    spare: Spare,
    page: FirstPage,
    tail: Option<Retired>,
    first: Option<(u64, Record)>,
}

/// That a file is in use, from somewhere else than its header.
#[derive(Clone, Copy)]
struct Claim {
    of: Use,
    from: &'static str,
    /// It may have been begun and nothing stored.
    begun: bool,
}

impl Sorted {
    /// Looks at all files.
    pub fn look(disk: &dyn Disk, directory: &Path) -> Result<Self, OpenError> {
        // One that the device cannot read says no more than one that is damaged, and keeps no spool shut.
        let note = Note::read(disk, directory).unwrap_or(Note::Damaged);
        let mut this = Self {
            used: Used::new(),
            free: Vec::new(),
            heads: Vec::new(),
            unknown: Vec::new(),
            unreadable: BTreeSet::new(),
            summaries: BTreeSet::new(),
            unfinished: Vec::new(),
            note,
            note_is_missing: false,
            next_slot: 0,
        };
        let files = this.read_files(disk, directory)?;
        let newer = files.values().find_map(|file| match file.page {
            FirstPage::Newer(found) => Some((file.spare.slot, found)),
            _ => None,
        });
        if let Some((slot, found)) = newer {
            let path = directory.join(super::spares::name_of(slot));
            return Err(OpenError::Version { path, found, known: FORMAT });
        }
        let claims = this.claims(disk, directory, &files);
        let slots = claims.keys().chain(files.keys()).chain(&this.unreadable);
        this.next_slot = slots.max().map_or(0, |slot| slot + 1);
        let marked = |file: &Looked| matches!(&file.page, FirstPage::Header(header) if 4 <= header.format);
        let is_marked = files.values().any(marked);
        this.note_is_missing = note == Note::Absent && is_marked;
        for (slot, file) in files {
            let best = claims.get(&slot).copied();
            this.sort(file, best, note != Note::Absent || is_marked);
        }
        Ok(this)
    }

    /// Segments whose header is gone.
    pub fn headless(&self) -> impl Iterator<Item = u32> {
        self.heads.iter().filter_map(|head| head.sequence)
    }

    /// How many segments are missing that the last run had, and the number of a single one. Those that could not be read, or of
    /// which nothing is known, may be they.
    pub fn missing(&self) -> Option<(usize, Option<u32>)> {
        let found: Vec<u32> = self.used.keys().copied().collect();
        self.note.found()?.missing(&found, self.unreadable.len() + self.unknown.len())
    }

    fn read_files(&mut self, disk: &dyn Disk, directory: &Path) -> Result<BTreeMap<u32, Looked>, OpenError> {
        let mut files = BTreeMap::new();
        for name in disk.list(directory).map_err(failed("list", directory))? {
            let path = directory.join(&name);
            if name == reached::NAME {
                continue;
            }
            if path.extension().is_some_and(|extension| extension == reached::NEW) {
                self.unfinished.push(name);
                continue;
            }
            if let Some(slot) = summary::slot_of(&name) {
                self.summaries.insert(slot);
                continue;
            }
            let Some(slot) = slot_of(&name) else {
                tracing::warn!(target: "SPOOL", "{} is not a segment; left alone", path.display());
                continue;
            };
            let file = disk.open(&path).map_err(failed("open", &path))?;
            let capacity = file.len().map_err(failed("measure", &path))?.min(CAPACITY_MAX) as u32;
            let spare = Spare { slot, file, capacity, retired: Retired::default() };
            match look(spare) {
                Ok(looked) => drop(files.insert(slot, looked)),
                Err(error) => {
                    tracing::error!(target: "SPOOL", "cannot read {}: {error}; left for the next start, everything else is kept", path.display());
                    self.unreadable.insert(slot);
                }
            }
        }
        Ok(files)
    }

    /// The latest use of each file that anything but its header knows of.
    fn claims(&self, disk: &dyn Disk, directory: &Path, files: &BTreeMap<u32, Looked>) -> BTreeMap<u32, Claim> {
        let mut claims = Vec::new();
        let headers = || {
            files.values().filter_map(|file| match &file.page {
                FirstPage::Header(header) => Some((header, file)),
                _ => None,
            })
        };
        let highest = headers().map(|(header, _)| header.epoch).max().unwrap_or(0);
        let highest = highest.max(self.note.found().map_or(0, |reached| reached.of.epoch));
        for (header, _) in headers() {
            let of = |&(of, _): &(Use, u32)| Claim { of, from: "the header of a later segment", begun: false };
            claims.extend(header.ends.iter().map(of));
        }
        for &slot in &self.summaries {
            let path = directory.join(summary::name_of(slot));
            let subject = Summary::subject(disk, &path, slot).filter(|(of, _)| of.epoch != 0);
            claims.extend(subject.map(|(of, _)| Claim { of, from: "its summary", begun: false }));
        }
        if let Some(Reached { of, end, .. }) = self.note.found().filter(|reached| reached.of.sequence != 0) {
            claims.push(Claim { of, from: "what the last run noted", begun: end <= DATA });
        }
        for (&slot, file) in files {
            let Some((mark, record)) = file.first.filter(|(_, record)| record.segment != 0) else { continue };
            let of = Use { sequence: record.segment, epoch: whole_epoch(record.epoch, highest), slot, mark };
            claims.push(Claim { of, from: "its first record", begun: false });
        }
        // A number is given to one use of one file: where a file has it in its header, no other has it.
        let owners: BTreeMap<u32, u32> = headers().map(|(header, file)| (header.sequence, file.spare.slot)).collect();
        let mut latest: BTreeMap<u32, Claim> = BTreeMap::new();
        for claim in claims {
            if owners.get(&claim.of.sequence).is_some_and(|&owner| owner != claim.of.slot) {
                continue;
            }
            let known = latest.entry(claim.of.slot).or_insert(claim);
            // Of two for the same use the one that knows of records.
            if (known.of.sequence, !known.begun) < (claim.of.sequence, !claim.begun) {
                *known = claim;
            }
        }
        latest
    }

    /// Decides about one file. `marked` says that spares of this spool bear a mark.
    fn sort(&mut self, file: Looked, claim: Option<Claim>, marked: bool) {
        let Looked { spare, page, tail, .. } = file;
        let claimed = claim.map_or(0, |claim| claim.of.sequence);
        // What the tail says counts only with the mark of the use that it says is over: no sender of mail knows that.
        let is_over = |sequence, mark| tail == Some(Retired { sequence, mark });
        let what = match &page {
            FirstPage::Header(header) if header.sequence < claimed => What::Stale,
            FirstPage::Header(header) if is_over(header.sequence, header.mark) => {
                // It was being scrubbed when a run ended, or its head is that of the use that is over.
                let retired = Retired { sequence: header.sequence, mark: header.mark };
                self.free.push(Spare { retired, ..spare });
                return;
            }
            FirstPage::Header(header) => return self.in_use(header.clone(), spare),
            FirstPage::Spare(retired) if retired.sequence < claimed => {
                if claim.is_some_and(|claim| claim.begun) {
                    // The last run had begun to use it and noted nothing in it.
                    self.free.push(Spare { retired: *retired, ..spare });
                    return;
                }
                What::Stale
            }
            FirstPage::Spare(retired) => {
                self.free.push(Spare { retired: *retired, ..spare });
                return;
            }
            FirstPage::Blank if !marked => {
                self.free.push(spare);
                return;
            }
            FirstPage::Blank => What::Zeros,
            FirstPage::Damaged | FirstPage::Newer(_) => What::Damaged,
        };
        let slot = spare.slot;
        match claim {
            Some(Claim { of, .. }) if is_over(of.sequence, of.mark) => {
                let retired = Retired { sequence: of.sequence, mark: of.mark };
                self.heads.push(Head { slot, sequence: None, what, known_from: "its last page" });
                self.free.push(Spare { retired, ..spare });
            }
            Some(Claim { of, from, .. }) if !self.used.contains_key(&of.sequence) => {
                self.heads.push(Head { slot, sequence: Some(of.sequence), what, known_from: from });
                let (sequence, epoch, mark) = (of.sequence, of.epoch, of.mark);
                let header = SegmentHeader { sequence, epoch, mark, format: FORMAT, ..SegmentHeader::default() };
                self.in_use(header, spare);
            }
            _ => {
                self.heads.push(Head { slot, sequence: None, what, known_from: "nothing" });
                self.unknown.push(spare);
            }
        }
    }

    fn in_use(&mut self, header: SegmentHeader, spare: Spare) {
        self.used.insert(header.sequence, (header, spare));
    }
}

fn look(spare: Spare) -> io::Result<Looked> {
    let page = SegmentHeader::read(spare.file.as_ref())?;
    // What cannot be read here is no witness; recovery reports it where it is in use.
    let tail = Spare::retired_at_end(spare.file.as_ref()).unwrap_or(None);
    let mut octets = [0; HEADER];
    let first = spare.file.read_full(&mut octets, DATA.into()).ok().and_then(|_| Record::parse_any(&octets));
    Ok(Looked { spare, page, tail, first })
}

/// The epoch whose low half is given, of those up to the one after `highest`.
fn whole_epoch(low: u16, highest: u32) -> u32 {
    let near = highest & !0xFFFF | u32::from(low);
    if highest.saturating_add(1) < near { near.saturating_sub(0x1_0000) } else { near }
}

impl Sorted {
    /// Where the records of segments end, as others say; and whether they were abandoned there.
    pub fn known_ends(&self) -> BTreeMap<u32, (u32, bool)> {
        let mut ends = BTreeMap::new();
        for (header, _) in self.used.values() {
            let former = header.previous.iter().map(|cut| (cut.sequence, (cut.end, false)));
            let listed = header.ends.iter().map(|&(of, end)| (of.sequence, (end, false)));
            let cuts = header.cuts.iter().map(|cut| (cut.sequence, (cut.end, true)));
            for (sequence, end) in former.chain(listed).chain(cuts) {
                let known = ends.entry(sequence).or_insert(end);
                known.1 |= end.1;
            }
        }
        ends
    }
}

/// Says of segments that are missing what [`Sorted::missing`] found.
pub fn missing_text((how_many, which): (usize, Option<u32>)) -> String {
    let what = match which {
        Some(sequence) => format!("segment {sequence} is"),
        None => format!("{how_many} segments are"),
    };
    format!(
        "{what} missing, and not by this daemon's doing: mail may be lost; put what was removed back before the next start"
    )
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Zeros => "zeros",
            Self::Stale => "a page of an earlier use of the file",
            Self::Damaged => "no header that checks out",
        })
    }
}

const CAPACITY_MAX: u64 = u32::MAX as u64 / super::record::PAGE as u64 * super::record::PAGE as u64;
