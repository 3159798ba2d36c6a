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
use crate::journal::hold::Void;
use crate::journal::inbox::{Claim, Op};
use crate::journal::index::{Index, Segment, Summarised};
use crate::journal::reached::{Reached, Roster};
use crate::journal::record::{HEADER, PAGE};
use crate::journal::segment::{CUTS_MAX, Cut, DATA, FORMAT, SegmentHeader, Use};
use crate::journal::spares::{HEADROOMS, Role, Spare};

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
    /// This use of its file, in that run.
    pub(super) fn use_of(&self, epoch: u32) -> Use {
        Use { sequence: self.sequence, epoch, slot: self.spare.slot, mark: self.mark }
    }

    /// Where its records end, if it has any.
    fn cut(&self) -> Option<Cut> {
        self.first_page.is_none().then_some(Cut { sequence: self.sequence, end: self.offset })
    }

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
    /// Sees to it that the current segment has room for what comes first. What is moved goes before the unlinks that are owed:
    /// it may have room that they have not, and makes room for them.
    pub(super) fn make_room(&mut self, ops: &VecDeque<Op>) -> Result<(), SpoolError> {
        self.open_to_mail();
        let owed = self.owes() && !matches!(ops.front(), Some(Op::Copies(..)));
        let front = ops.front().filter(|_| !owed);
        let of_front = |op: &Op| (size_of_store(op), op.claim(self.shared.few_bytes()));
        let (wanted, claim) = front.map_or((HEADER as u64, Claim::Unlink), of_front);
        let fits = self.current.as_ref().is_some_and(|current| {
            let index = self.shared.index();
            let accepted = front.is_none_or(|op| self.accepts(&index, current.role, op));
            accepted && u64::from(current.offset) + wanted <= u64::from(current.spare.capacity)
        });
        if fits || (matches!(front, Some(Op::Close(_))) && self.current.is_none()) {
            return Ok(());
        }
        self.rotate(wanted, claim)
    }

    /// Where the headroom is complete again, what survivors have left of the one before is for mail as well. A device without
    /// inodes has no other room for it.
    fn open_to_mail(&mut self) {
        let Some(current) = self.current.as_mut().filter(|current| current.role == Role::Headroom) else { return };
        if self.shared.spares.count().headrooms < HEADROOMS {
            return;
        }
        current.role = Role::Ordinary;
        if let Some(segment) = self.shared.index().segments.get_mut(&current.sequence) {
            segment.role = Role::Ordinary;
        }
    }

    /// Whether an operation may be written to a segment of that role.
    pub(super) fn accepts(&self, index: &Index, role: Role, op: &Op) -> bool {
        let claim = op.claim(self.shared.few_bytes());
        match role {
            Role::Ordinary => true,
            Role::Headroom => !matches!(claim, Claim::Mail | Claim::Rewrite),
            Role::Reserve => match claim {
                Claim::Unlink | Claim::Merge => true,
                Claim::Few | Claim::Rewrite => self.shared.reserves(index).spare(size_of_store(op)),
                Claim::Mail | Claim::Move => false,
            },
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
        let sequence = self.next_sequence;
        let of = Use { sequence, epoch: self.epoch, slot: spare.slot, mark };
        let before = self.current.as_ref().and_then(Current::cut).or(self.previous);
        // Before anything in it is acknowledged: otherwise a page that is lost may leave what the file held before.
        let segments = shared.index().durable_segments();
        let roster = Some(Roster::of(segments.into_iter(), shared.leaving()));
        let reached = Reached { of, end: 0, commit: self.commit, closed: false, before, roster };
        if let Err(error) = self.note_down(reached) {
            shared.spares.put(spare, role);
            shared.hold.void(Void::Failed);
            return Err(self.device_failed("begin a segment", error));
        }
        let mut index = shared.index();
        if let Some(old) = self.current.take() {
            self.previous = seal(&mut index, &old, false).or(self.previous);
        }
        self.next_sequence += 1;
        let (epoch, newest, previous) = (self.epoch, self.newest, self.previous);
        let ends = index.ends(epoch);
        let header = SegmentHeader { sequence, epoch, format: FORMAT, mark, newest, previous, cuts, ends };
        index.segments.insert(sequence, new_segment(&spare, mark, epoch, role));
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
        let shared = &self.shared;
        let spares = &shared.spares;
        if let Some(spare) = spares.take(wanted) {
            return Ok((spare, Role::Ordinary));
        }
        let full = match self.grow(wanted, claim) {
            Ok(spare) => return Ok((spare, Role::Ordinary)),
            Err(error) => error,
        };
        let spared = || shared.reserves(&shared.index()).spare(wanted);
        let reserve = |kept| spares.take_reserve(wanted, kept).map(|spare| (spare, Role::Reserve));
        let headroom = || spares.take_headroom(wanted).map(|spare| (spare, Role::Headroom));
        let found = match claim {
            Claim::Mail => None,
            Claim::Move => headroom(),
            Claim::Few => spared().then(|| reserve(KEPT_FOR_MERGING)).flatten().or_else(headroom),
            Claim::Rewrite => spared().then(|| reserve(KEPT_FOR_MERGING)).flatten(),
            Claim::Unlink => reserve(KEPT_FOR_MERGING),
            Claim::Merge => reserve(0),
        };
        found.ok_or(full)
    }

    /// A file that grows as it is written, for when none is prepared. New mail leaves room for what is to be prepared for a
    /// full device, and gets a whole segment or none: a short one, when it is dead, is nothing in which the survivors of
    /// others could be gathered, and a full device would stay full.
    fn grow(&self, wanted: u64, claim: Claim) -> Result<Spare, SpoolError> {
        let shared = &self.shared;
        let free = shared.free_bytes();
        let (room, files) = if claim == Claim::Mail {
            let reserves = shared.reserves(&shared.index());
            shared.left(&reserves, reserves.ahead())
        } else {
            (free.saturating_sub(shared.margin()), 1)
        };
        let capacity = wanted.max(shared.segment_bytes.min(room) / PAGE as u64 * PAGE as u64);
        if room < wanted || files == 0 || (claim == Claim::Mail && room < shared.segment_bytes) {
            return Err(SpoolError::Full { wanted_bytes: wanted, free_bytes: free });
        }
        let created = shared.spares.create(u32::try_from(capacity).unwrap_or(u32::MAX - PAGE as u32 + 1));
        created
            .map_err(|error| SpoolError::from_io("begin a segment", shared.spares.directory(), error, (wanted, free)))
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

fn new_segment(spare: &Spare, mark: u64, epoch: u32, role: Role) -> Segment {
    Segment {
        file: Arc::clone(&spare.file),
        slot: spare.slot,
        mark,
        epoch,
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

/// Free reserves that unlinks leave to merging, which makes more of them.
const KEPT_FOR_MERGING: usize = 1;
/// Zeros written at once: 255 of 256 commits of 4 KiB then leave the file's length as it is.
const FILL_AHEAD: u64 = 1 << 20;
