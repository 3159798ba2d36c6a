//! A batch: the records of one commit, laid out for one gathered write, and what they change once they are durable.
//!
//! Bodies come first, the headers of all new messages after them. Headers and small payloads are laid into one buffer; bodies
//! are referred to, never copied. A batch touches a message at
//! most once, so the order of its effects does not matter.

use std::collections::HashSet;
use std::io::IoSlice;

use bytes::Bytes;

use super::inbox::Op;
use super::index::{Killed, Place};
use super::record::{ALIGN, CommitEnd, HEADER, Kind, Record};
use super::segment::Use;
use crate::ticket::Promise;

/// The records of one commit.
#[derive(Default)]
pub struct Batch {
    /// What they change.
    pub effects: Vec<Effect>,
    /// Unlinks written with them.
    pub killed: Vec<Killed>,
    /// How many of those came from the inbox in this batch or before.
    pub promises: Vec<Promise<()>>,
    /// Octets of memory the operations held.
    pub octets: u64,
    /// Messages it touches.
    pub touched: HashSet<u64>,
    /// Records that only move.
    pub copies: bool,
    /// Nothing follows.
    pub closes: bool,
    scratch: Vec<u8>,
    pieces: Vec<Piece>,
    /// Headers that are to stand behind all bodies, with the number of their body; and their payloads.
    deferred: Vec<(Record, u32)>,
    deferred_payloads: Vec<u8>,
    /// Octets they will take.
    deferred_bytes: u64,
    bodies: u32,
    /// Where the last record's header stands in `scratch`.
    last: Option<usize>,
    /// Where the batch begins, and where the next record goes.
    start: u32,
    offset: u32,
    segment: u32,
    epoch: u16,
    mark: u64,
    commit: u64,
}

enum Piece {
    Scratch(usize),
    Payload(Bytes),
}

/// What changes in the index when a batch is durable.
pub enum Effect {
    /// A body.
    Body(Place),
    /// A new message of that body of the batch, counted from zero.
    New(u64, Place, u32),
    /// Headers of a message that is there.
    Moved(u64, Place),
    /// A body that is there.
    MovedBody(u32, Place),
    /// An unlink record, copied from a segment or made by recovery.
    Tomb((u32, u32), Option<u32>),
}

impl Batch {
    /// An empty batch at `offset` of a segment. `first_page` is written before it if the segment is new.
    pub fn begin(&mut self, of: Use, offset: u32, commit: u64, first_page: Option<Vec<u8>>) {
        self.effects.clear();
        self.killed.clear();
        self.promises.clear();
        self.touched.clear();
        self.scratch.clear();
        self.pieces.clear();
        self.deferred.clear();
        self.deferred_payloads.clear();
        (self.deferred_bytes, self.bodies) = (0, 0);
        self.last = None;
        self.octets = 0;
        (self.copies, self.closes) = (false, false);
        (self.segment, self.epoch, self.mark, self.commit) = (of.sequence, of.epoch as u16, of.mark, commit);
        (self.start, self.offset) = (offset, offset);
        if let Some(page) = first_page {
            self.scratch.extend_from_slice(&page);
            self.start -= page.len() as u32;
        }
    }

    /// Nothing to write.
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// Where the next record goes.
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// Where what is laid out so far will end, with what is deferred.
    pub fn end(&self) -> u64 {
        u64::from(self.offset) + self.deferred_bytes
    }

    /// Octets of the records so far.
    pub fn len(&self) -> u64 {
        self.end() - u64::from(self.start)
    }

    /// Lays out a new body; its number in the batch.
    pub fn push_body(&mut self, record: Record, octets: &Bytes) -> u32 {
        let place = self.push(record, &Payload::Shared(octets));
        self.effects.push(Effect::Body(place));
        self.bodies += 1;
        self.bodies - 1
    }

    /// New headers, to be laid out behind the bodies of the batch.
    pub fn defer(&mut self, record: Record, payload: &[u8], body: u32) {
        self.deferred_bytes += record.stored() as u64;
        self.deferred.push((record, body));
        self.deferred_payloads.extend_from_slice(payload);
    }

    fn push_deferred(&mut self) {
        let (deferred, payloads) = (std::mem::take(&mut self.deferred), std::mem::take(&mut self.deferred_payloads));
        let mut from = 0;
        for &(record, body) in &deferred {
            let to = from + record.payload as usize;
            let place = self.push(record, &Payload::Small(&payloads[from..to]));
            self.effects.push(Effect::New(record.id, place, body));
            from = to;
        }
        // Kept for their room.
        (self.deferred, self.deferred_payloads, self.deferred_bytes) = (deferred, payloads, 0);
        self.deferred.clear();
    }

    /// Lays out a record; where it will stand.
    pub fn push(&mut self, mut record: Record, payload: &Payload<'_>) -> Place {
        let place = Place { segment: self.segment, offset: self.offset, payload: record.payload };
        if record.group_size == 1 {
            record.group_start = self.offset;
        }
        (record.commit, record.segment, record.epoch) = (self.commit, self.segment, self.epoch);
        self.last = Some(self.scratch.len());
        let mut header = [0; HEADER];
        record.put(self.mark, &mut header);
        self.scratch.extend_from_slice(&header);
        match payload {
            Payload::Small(octets) => self.scratch.extend_from_slice(octets),
            Payload::Shared(octets) if octets.len() < COPY_BELOW => self.scratch.extend_from_slice(octets),
            Payload::Shared(octets) => {
                self.pieces.push(Piece::Scratch(self.scratch.len()));
                self.pieces.push(Piece::Payload(Bytes::clone(octets)));
            }
        }
        let padding = (record.payload as usize).next_multiple_of(ALIGN) - record.payload as usize;
        self.scratch.extend_from_slice(&[0; ALIGN][..padding]);
        self.offset += record.stored() as u32;
        place
    }

    /// Ends the commit: lays out what was deferred, marks its last record and fills up to where the next begins.
    pub fn seal(&mut self, ends_commit: CommitEnd) {
        self.push_deferred();
        if let Some(at) = self.last
            && let Some(header) = self.scratch.get_mut(at..at + HEADER)
            && let Some(record) = Record::parse(header, self.mark)
            && let Ok(header) = header.try_into()
        {
            Record { ends_commit, ..record }.put(self.mark, header);
        }
        let end = ends_commit.next(u64::from(self.offset)) as usize;
        self.scratch.resize(self.scratch.len() + end - self.offset as usize, 0);
        self.offset = end as u32;
        self.pieces.push(Piece::Scratch(self.scratch.len()));
    }

    /// Where the write begins, and what is written.
    pub fn slices(&self) -> (u64, Vec<IoSlice<'_>>) {
        let mut from = 0;
        let slices = self.pieces.iter().map(|piece| match piece {
            Piece::Scratch(to) => {
                let slice = IoSlice::new(&self.scratch[from..*to]);
                from = *to;
                slice
            }
            Piece::Payload(octets) => IoSlice::new(octets),
        });
        (u64::from(self.start), slices.filter(|slice| !slice.is_empty()).collect())
    }

    /// Frees what one large batch left allocated.
    pub fn shrink(&mut self) {
        self.pieces.clear();
        if SCRATCH_KEPT < self.scratch.capacity() {
            self.scratch = Vec::new();
            self.effects = Vec::new();
            self.deferred = Vec::new();
            self.deferred_payloads = Vec::new();
            self.touched = HashSet::new();
        }
    }
}

/// A record's payload, copied or shared.
pub enum Payload<'a> {
    /// Copied into the buffer.
    Small(&'a [u8]),
    /// Written from where it is.
    Shared(&'a Bytes),
}

/// Octets a store takes in a segment.
pub fn size_of_store(op: &Op) -> u64 {
    let stored = |payload: usize| (HEADER + payload.next_multiple_of(ALIGN)) as u64;
    match op {
        Op::Store(staged, _) => {
            let body: u64 = staged.bodies.iter().map(|(_, octets)| stored(octets.len())).sum();
            let padding = (ALIGN * staged.headers.len()) as u64;
            body + staged.encoded.len() as u64 + padding + (HEADER * staged.headers.len()) as u64
        }
        Op::Copies(copies, _) => copies.iter().map(|copy| stored(copy.payload_len())).sum(),
        Op::Unlink(_) | Op::Close(_) => HEADER as u64,
    }
}

impl super::inbox::Copied {
    fn payload_len(&self) -> usize {
        match self {
            Self::Headers { payload, .. } | Self::Body { payload, .. } => payload.len(),
            Self::Unlink { .. } => 0,
        }
    }
}

/// The kind of record an unlink makes.
pub fn unlink_record(id: u64, (first, last): (u32, u32)) -> Record {
    Record::alone(Kind::Unlink, id, u64::from(first) << 32 | u64::from(last), &[])
}

/// Bodies below this are cheaper to copy than to gather.
const COPY_BELOW: usize = 512;
const SCRATCH_KEPT: usize = 4 << 20;
