//! Looking at a journal from outside: for offline tools that check, list, show and copy.
//!
//! [`Inspection::open`] takes no lock and writes nothing: whoever must keep a daemon away takes the lock itself
//! ([`crate::disk::Disk::lock`] on `BASE/lock`). On the spool of a running daemon it sees a moment that is already past;
//! what is recycled under its eyes it reports as damage.
//!
//! Every record is read and every checksum verified, bodies included; summaries are not believed but compared. Memory: 56
//! octets a message. Blocks; one thread.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use message::MessageId;

use super::index::Place;
use super::reached::{self, Note};
use super::reading::{Unread, read_record};
use super::record::Kind;
use super::recovery::{Certainty, scan_into};
use super::segment::{DATA, SegmentHeader};
use super::sorting::{Head, Sorted, missing_text};
use super::spares::name_of;
use super::summary::{self, Summary};
use super::tally::{Correction, Standing, Tally};
use crate::disk::{Disk, DiskFile};
use crate::error::{OpenError, SpoolError};

/// A journal that has been read from end to end.
pub struct Inspection {
    files: BTreeMap<u32, (Arc<dyn DiskFile>, u64, PathBuf)>,
    segments: Vec<SegmentReport>,
    messages: Vec<InspectedMessage>,
    damage: Vec<DamageReport>,
    bodiless: Vec<MessageId>,
    doubles: Vec<MessageId>,
    torn: Vec<MessageId>,
    unreadable: Vec<PathBuf>,
    heads: Vec<HeadReport>,
    unnoted: Option<PathBuf>,
    missing: Option<String>,
}

/// A file whose first page is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadReport {
    /// The file.
    pub path: PathBuf,
    head: Head,
}

/// One segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its file.
    pub path: PathBuf,
    /// Octets of the file.
    pub file_bytes: u64,
    /// What is in it; nothing if it is a spare.
    pub used: Option<UsedSegment>,
}

/// A segment with records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedSegment {
    /// Counts uses of segment files, over all runs.
    pub sequence: u32,
    /// The run of the daemon that wrote it.
    pub epoch: u32,
    /// The format it was written in.
    pub format: u32,
    /// Where its records end.
    pub end: u32,
    /// It was abandoned there after a failed write or sync.
    pub abandoned: bool,
    /// Its summary.
    pub summary: SummaryState,
    /// Why not all of it could be read, if so.
    pub unread: Option<String>,
}

/// How a segment's summary compares with the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SummaryState {
    /// There is none: the next start reads the segment.
    None,
    /// It says what the segment says.
    Good,
    /// Of an earlier use of the file: the next start passes it over.
    Useless,
    /// It does not check out: the next start passes it over, and reads the segment.
    Damaged,
    /// It checks out and says something else than the segment. It should be deleted.
    Wrong,
}

/// A live message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InspectedMessage {
    /// Its id.
    pub id: MessageId,
    /// The id its body is stored under.
    pub batch: MessageId,
    /// Octets of its encoded headers (see [`message::Envelope::decode`]).
    pub headers_bytes: u32,
    /// Octets of its body in wire form.
    pub body_bytes: u32,
    headers: Place,
    body: Place,
}

/// Octets that should be records and are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamageReport {
    /// The file.
    pub path: PathBuf,
    /// The octets.
    pub range: Range<u32>,
    /// They were being written when a run ended: nothing in them was acknowledged, and nothing is lost.
    pub torn: bool,
}

impl Inspection {
    /// Reads the journal below the spool directory `base`.
    ///
    /// # Errors
    /// The directory cannot be read, or holds segments of a later format.
    pub fn open(base: &Path, disk: &Arc<dyn Disk>) -> Result<Self, OpenError> {
        let directory = base.join("journal");
        let sorted = Sorted::look(disk.as_ref(), &directory)?;
        let mut this = Self::nothing();
        this.missing = sorted.missing().map(|missing| format!("{}: {}", directory.display(), missing_text(missing)));
        let file = |slot: u32| directory.join(name_of(slot));
        this.unreadable = sorted.unreadable.iter().map(|&slot| file(slot)).collect();
        this.heads = sorted.heads.iter().map(|head| HeadReport { path: file(head.slot), head: *head }).collect();
        if sorted.note == Note::Damaged || sorted.note_is_missing {
            this.unnoted = Some(reached::path_in(&directory));
        }
        for spare in sorted.free.iter().chain(&sorted.unknown) {
            let (path, file_bytes) = (file(spare.slot), u64::from(spare.capacity));
            this.segments.push(SegmentReport { path, file_bytes, used: None });
        }
        let (ends, noted, mut tally) = (sorted.known_ends(), sorted.note.found(), Tally::default());
        if let Some(reached) = noted {
            tally.synced(reached.of.epoch, reached.commit, reached.closed);
        }
        for (&sequence, (header, spare)) in &sorted.used {
            let (slot, known) = (spare.slot, ends.get(&sequence));
            let path = file(slot);
            let certainty = Certainty::of(sequence, known.map(|known| known.0), noted.as_ref());
            let (end, unread) = scan(spare.file.as_ref(), header, certainty, &mut tally);
            let summary = directory.join(summary::name_of(slot));
            let segment = UsedSegment {
                sequence,
                epoch: header.epoch,
                format: header.format,
                end,
                abandoned: known.is_some_and(|known| known.1),
                summary: compare(disk.as_ref(), &summary, spare.file.as_ref(), header, end),
                unread,
            };
            let file_bytes = u64::from(spare.capacity);
            this.files.insert(sequence, (Arc::clone(&spare.file), header.mark, path.clone()));
            this.segments.push(SegmentReport { path, file_bytes, used: Some(segment) });
        }
        this.decide(tally);
        Ok(this)
    }

    fn nothing() -> Self {
        Self {
            files: BTreeMap::new(),
            segments: Vec::new(),
            messages: Vec::new(),
            damage: Vec::new(),
            bodiless: Vec::new(),
            doubles: Vec::new(),
            torn: Vec::new(),
            unreadable: Vec::new(),
            heads: Vec::new(),
            unnoted: None,
            missing: None,
        }
    }

    fn decide(&mut self, tally: Tally) {
        let mut decided = tally.decide();
        let bodies = &mut decided.bodies;
        let message = |standing: &Standing| {
            let (_, body) = bodies.find(standing.batch)?;
            Some(InspectedMessage {
                id: MessageId::from_bits(standing.id),
                batch: MessageId::from_bits(standing.batch),
                headers_bytes: standing.headers.payload,
                body_bytes: body.payload,
                headers: standing.headers,
                body,
            })
        };
        self.messages = decided.alive.iter().filter_map(message).collect();
        let path = |segment: u32| self.files.get(&segment).map_or_else(PathBuf::new, |(.., path)| path.clone());
        let damage = decided.damage.into_iter();
        self.damage =
            damage.map(|one| DamageReport { path: path(one.segment), range: one.range, torn: one.torn }).collect();
        self.bodiless = decided.lost.iter().map(|lost| MessageId::from_bits(lost.id)).collect();
        self.doubles = decided.doubles.iter().map(|(id, ..)| MessageId::from_bits(*id)).collect();
        let torn = decided.corrections.iter().filter_map(|correction| match correction {
            Correction::Torn(standing) => Some(MessageId::from_bits(standing.id)),
            Correction::Left(_) => None,
        });
        self.torn = torn.collect();
    }

    /// All segment files, spares included.
    pub fn segments(&self) -> &[SegmentReport] {
        &self.segments
    }

    /// Segment files whose first page the device cannot read.
    pub fn unreadable(&self) -> &[PathBuf] {
        &self.unreadable
    }

    /// Files whose first page is damaged.
    pub fn heads(&self) -> &[HeadReport] {
        &self.heads
    }

    /// The note of how far the last run got, if it cannot be read: then nothing shows that the end of the journal is there.
    pub fn unnoted(&self) -> Option<&Path> {
        self.unnoted.as_deref()
    }

    /// What is to be said of segments that are not there although the last run had them.
    pub fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// The live messages, in the order their headers stand on disk: read in this order, the device reads sequentially.
    pub fn messages(&self) -> &[InspectedMessage] {
        &self.messages
    }

    /// What could not be read as records.
    pub fn damage(&self) -> &[DamageReport] {
        &self.damage
    }

    /// Messages whose body is damaged or gone: a start sets their envelopes aside.
    pub fn without_body(&self) -> &[MessageId] {
        &self.bodiless
    }

    /// Ids that two messages bear: the older is set aside by a start.
    pub fn doubles(&self) -> &[MessageId] {
        &self.doubles
    }

    /// Messages that were being stored when a run ended. They were never acknowledged and do not exist.
    pub fn torn(&self) -> &[MessageId] {
        &self.torn
    }

    /// A message's encoded headers.
    ///
    /// # Errors
    /// The device cannot read them, or they have changed since the journal was opened.
    pub fn headers(&self, message: &InspectedMessage) -> Result<Vec<u8>, SpoolError> {
        self.read(message.headers, message.id, Kind::Headers)
    }

    /// A message's body in wire form.
    ///
    /// # Errors
    /// As [`Inspection::headers`].
    pub fn body(&self, message: &InspectedMessage) -> Result<Vec<u8>, SpoolError> {
        self.read(message.body, message.batch, Kind::Body)
    }

    fn read(&self, place: Place, id: MessageId, kind: Kind) -> Result<Vec<u8>, SpoolError> {
        let (file, mark, path) = self.files.get(&place.segment).ok_or(SpoolError::Missing { id })?;
        match read_record(file.as_ref(), *mark, place, kind) {
            Ok((record, payload)) if record.id == id.to_bits() => Ok(payload),
            Ok(_) => Err(SpoolError::Damaged { id, why: "another message's record stands in its place".to_owned() }),
            Err(Unread::Io(error)) => Err(SpoolError::from_io("read", path, error, (0, 0))),
            Err(Unread::Damaged(why)) => Err(SpoolError::Damaged { id, why: why.to_owned() }),
        }
    }
}

/// Where a segment's records end, and why not all could be read, if so.
fn scan(file: &dyn DiskFile, header: &SegmentHeader, certainty: Certainty, tally: &mut Tally) -> (u32, Option<String>) {
    let mut reached = DATA;
    let failure = match certainty.scanner(file, header.mark) {
        Ok(scanner) => scan_into(tally, scanner, certainty, header.use_of(0), &mut reached),
        Err(error) => Some(error),
    };
    if failure.is_some() {
        tally.unreadable(header.sequence, header.epoch);
    }
    let reached = reached.max(certainty.synced);
    (certainty.end.unwrap_or(reached), failure.map(|error| error.to_string()))
}

impl std::fmt::Display for HeadReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, head } = self;
        write!(f, "{}, octets 0 to {DATA}: {} in the place of its header; ", path.display(), head.what)?;
        match head.sequence {
            Some(sequence) => write!(f, "it is segment {sequence}, known from {}", head.known_from),
            None => write!(f, "known of it: {}", head.known_from),
        }
    }
}

fn compare(disk: &dyn Disk, path: &Path, file: &dyn DiskFile, header: &SegmentHeader, end: u32) -> SummaryState {
    if disk.open(path).is_err() {
        return SummaryState::None;
    }
    let Some(summary) = Summary::read(disk, path, header.sequence, header.mark) else {
        let is_damaged = Summary::is_damaged(disk, path, header.mark);
        return if is_damaged { SummaryState::Damaged } else { SummaryState::Useless };
    };
    match Summary::of(file, header.sequence, header.mark, end) {
        Ok(Some(found)) if found == summary => SummaryState::Good,
        // Damaged since: what the summary says is what was.
        Ok(None) | Err(_) => SummaryState::Good,
        Ok(Some(_)) => SummaryState::Wrong,
    }
}
