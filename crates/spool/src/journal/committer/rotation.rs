//! Rotation: the segment that is being written, and the one that follows when it is full or was abandoned.
//!
//! A new segment's header is written with its first commit; until then nothing of it counts. Where the files come from
//! depends on what is to be written: new mail may take neither the headroom nor the reserves.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use super::Committer;
use crate::error::SpoolError;
use crate::journal::batch::size_of_store;
use crate::journal::inbox::{Claim, Op};
use crate::journal::index::{Index, Segment, Summarised};
use crate::journal::record::{HEADER, PAGE};
use crate::journal::segment::{CUTS_MAX, Cut, DATA, FORMAT, SegmentHeader};
use crate::journal::spares::{Role, Spare};

/// The segment being written.
pub(super) struct Current {
    pub sequence: u32,
    pub mark: u64,
    pub spare: Spare,
    /// Where the next commit goes.
    pub offset: u32,
    /// The header is still to be written.
    pub first_page: Option<Vec<u8>>,
    /// What may be written to it.
    pub role: Role,
    /// The file is written through up to here.
    pub filled: u64,
}

impl Current {
    /// Fills the file with zeros for some way beyond `end`, where the records end, if it is about to grow: a commit that
    /// changes a file's length costs the file system a commit of its own. What does not go is left: the records are written.
    pub(super) fn fill_beyond(&mut self, end: u64) {
        if end <= self.filled {
            return;
        }
        let target = (end + FILL_AHEAD).min(self.spare.capacity.into());
        let zeros = vec![0; target.saturating_sub(end) as usize];
        let filled = zeros.is_empty() || self.spare.file.write_all(&mut [IoSlice::new(&zeros)], end).is_ok();
        self.filled = if filled { target } else { u64::MAX };
    }
}

impl Committer {
    /// Sees to it that the current segment has room for what comes first.
    pub(super) fn make_room(&mut self, ops: &VecDeque<Op>) -> Result<(), SpoolError> {
        let front = ops.front();
        let of_front = front.map_or((0, Claim::Small), |op| (size_of_store(op), op.claim(self.shared.few_bytes())));
        let (wanted, claim) = if self.owes() { (HEADER as u64, Claim::Small) } else { of_front };
        let fits = self.current.as_ref().is_some_and(|current| {
            u64::from(current.offset) + wanted <= u64::from(current.spare.capacity) && accepts(current.role, claim)
        });
        if fits || (matches!(front, Some(Op::Close(_))) && !self.owes() && self.current.is_none()) {
            return Ok(());
        }
        match self.rotate(wanted, claim) {
            // What is to be moved may have room that unlinks have not, and makes room for them.
            Err(_) if self.owes() && of_front.1 == Claim::Move => {
                self.rotate(of_front.0 + (self.owed.len() * HEADER + PAGE) as u64, Claim::Move)
            }
            rotated => rotated,
        }
    }

    /// Begins a new segment that holds `wanted` octets.
    fn rotate(&mut self, wanted: u64, claim: Claim) -> Result<(), SpoolError> {
        let shared = Arc::clone(&self.shared);
        let wanted = (wanted + u64::from(DATA)).next_multiple_of(PAGE as u64);
        if u64::from(u32::MAX) <= wanted {
            return Err(SpoolError::Full { wanted_bytes: wanted, free_bytes: 0 });
        }
        let cuts = shared.index().cuts();
        if CUTS_MAX <= cuts.len() {
            // Upkeep scrubs them, if the device lets it by now.
            shared.index().retry_scrubs();
            shared.kick();
            return Err(self.device_failed("begin a segment", std::io::Error::other("too many abandoned segments")));
        }
        let mark = shared.disk().random().map_err(|error| self.device_failed("draw a mark", error))?;
        let (spare, role) = self.spare(wanted, claim)?;
        let mut index = shared.index();
        if let Some(old) = self.current.take() {
            self.previous = seal(&mut index, &old, false).or(self.previous);
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let (epoch, newest, previous) = (self.epoch, self.newest, self.previous);
        let header = SegmentHeader { sequence, epoch, format: FORMAT, mark, newest, previous, cuts };
        index.segments.insert(sequence, new_segment(&spare, mark, role));
        drop(index);
        // One that cannot be measured is taken for written through: then it grows commit by commit.
        let filled = spare.file.len().unwrap_or(u64::MAX);
        self.current =
            Some(Current { sequence, mark, spare, offset: DATA, first_page: Some(header.page()), role, filled });
        shared.crash.pass("segment");
        shared.kick();
        Ok(())
    }

    /// A file that holds `wanted` octets, from what the claim may take.
    fn spare(&self, wanted: u64, claim: Claim) -> Result<(Spare, Role), SpoolError> {
        let spares = &self.shared.spares;
        if let Some(spare) = spares.take(wanted) {
            return Ok((spare, Role::Ordinary));
        }
        let full = match self.grow(wanted, claim) {
            Ok(spare) => return Ok((spare, Role::Ordinary)),
            Err(error) => error,
        };
        match claim {
            Claim::Mail => Err(full),
            Claim::Move => spares.take_headroom(wanted).map(|spare| (spare, Role::Headroom)).ok_or(full),
            Claim::Small => spares.take_reserve(wanted).map(|spare| (spare, Role::Reserve)).ok_or(full),
        }
    }

    /// A file that grows as it is written, for when none is prepared. New mail leaves room for what is to be prepared for a
    /// full device, and gets a whole segment or none: a short one, when it is dead, is nothing in which the survivors of
    /// others could be gathered, and a full device would stay full.
    fn grow(&self, wanted: u64, claim: Claim) -> Result<Spare, SpoolError> {
        let shared = &self.shared;
        let free = shared.free_bytes();
        let kept = if claim == Claim::Mail { shared.margin() + shared.missing_bytes() } else { shared.margin() };
        let room = free.saturating_sub(kept);
        let capacity = wanted.max(shared.segment_bytes.min(room) / PAGE as u64 * PAGE as u64);
        if room < wanted || (claim == Claim::Mail && room < shared.segment_bytes) {
            return Err(SpoolError::Full { wanted_bytes: wanted, free_bytes: free });
        }
        let created = shared.spares.create(u32::try_from(capacity).unwrap_or(u32::MAX - PAGE as u32 + 1));
        created
            .map_err(|error| SpoolError::from_io("begin a segment", shared.spares.directory(), error, (wanted, free)))
    }
}

/// Whether an operation may be written to a segment.
pub(super) const fn accepts(role: Role, claim: Claim) -> bool {
    match role {
        Role::Ordinary => true,
        Role::Headroom => !matches!(claim, Claim::Mail),
        Role::Reserve => matches!(claim, Claim::Small),
    }
}

/// Ends a segment; where it ends, if anything in it counts.
pub(super) fn seal(index: &mut Index, current: &Current, abandoned: bool) -> Option<Cut> {
    let segment = index.segments.get_mut(&current.sequence)?;
    segment.sealed = true;
    segment.abandoned = abandoned;
    segment.end = current.offset;
    segment.durable.then_some(Cut { sequence: current.sequence, end: current.offset })
}

fn new_segment(spare: &Spare, mark: u64, role: Role) -> Segment {
    Segment {
        file: Arc::clone(&spare.file),
        slot: spare.slot,
        mark,
        capacity: spare.capacity,
        end: DATA,
        live: 0,
        durable: false,
        sealed: false,
        counted: true,
        stuck: false,
        abandoned: false,
        open_ended: false,
        unscrubbed: false,
        summarised: Summarised::No,
        role,
    }
}

/// Zeros written at once: 255 of 256 commits of 4 KiB then leave the file's length as it is.
const FILL_AHEAD: u64 = 1 << 20;
