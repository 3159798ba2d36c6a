//! The committer: the one writer of a spool device.
//!
//! Takes operations from the inbox, lays as many as there are into one gathered write, syncs once, and only then changes
//! the index and keeps the promises. While it waits for the device, the next batch gathers in the inbox, so batches grow
//! with the load and a lone message waits for exactly one sync. Runs on a thread of its own; tests drive it directly.
//!
//! Invariants: nothing is answered before it is synced. After a failed write or sync the segment is abandoned: its end is
//! what was synced before, and every later segment header says so.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::batch::{Batch, Effect, Payload, size_of_store, unlink_record};
use super::inbox::{Claim, Copied, Op};
use super::index::{Index, Killed, Segment, Summarised};
use super::record::{CommitEnd, HEADER, Kind, PAGE, Record};
use super::segment::{CUTS_MAX, Cut, DATA, FORMAT, SegmentHeader};
use super::shared::Shared;
use super::spares::{Role, Spare};
use crate::chain::Staged;
use crate::error::{SpoolError, is_full};
use crate::ticket::Promise;

/// Writes batches, one after the other.
pub struct Committer {
    shared: Arc<Shared>,
    epoch: u32,
    next_sequence: u32,
    /// Number of the commit written last.
    commit: u64,
    current: Option<Current>,
    /// The segment before the current one.
    previous: Option<Cut>,
    /// Unlinks whose commit failed: to be written with the next.
    owed: Vec<Killed>,
    batch: Batch,
    newest: u64,
    /// Writes and syncs that failed since one succeeded.
    failures: u32,
}

/// The segment being written.
struct Current {
    sequence: u32,
    mark: u64,
    spare: Spare,
    /// Where the next commit goes.
    offset: u32,
    /// The header is still to be written.
    first_page: Option<Vec<u8>>,
    /// What may be written to it.
    role: Role,
}

impl Committer {
    /// A committer of a new epoch; its first segment is `next_sequence`.
    pub(super) fn new(shared: Arc<Shared>, epoch: u32, next_sequence: u32, newest: u64) -> Self {
        Self {
            shared,
            epoch,
            next_sequence,
            commit: 0,
            current: None,
            previous: None,
            owed: Vec::new(),
            batch: Batch::default(),
            newest,
            failures: 0,
        }
    }

    /// What it shares with the other threads.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Whether unlinks are still to be written.
    pub fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Writes and syncs that failed since one succeeded.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether it writes to what is kept for a full device.
    pub fn is_short(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.role != Role::Ordinary)
    }

    /// Commits all of `ops`, in order, in as few batches as fit.
    pub fn commit(&mut self, ops: &mut VecDeque<Op>) {
        while self.owes() || !ops.is_empty() {
            if let Err(error) = self.make_room(ops) {
                self.refuse(ops, &error);
                if ops.is_empty() {
                    return;
                }
                continue;
            }
            if self.stage(ops) && !self.write() && ops.is_empty() {
                return;
            }
        }
    }

    /// Sees to it that the current segment has room for what comes first.
    fn make_room(&mut self, ops: &VecDeque<Op>) -> Result<(), SpoolError> {
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
        self.current = Some(Current { sequence, mark, spare, offset: DATA, first_page: Some(header.page()), role });
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
    /// full device.
    fn grow(&self, wanted: u64, claim: Claim) -> Result<Spare, SpoolError> {
        let shared = &self.shared;
        let free = shared.free_bytes();
        let kept = if claim == Claim::Mail { shared.margin() + shared.missing_bytes() } else { shared.margin() };
        let room = free.saturating_sub(kept);
        let capacity = wanted.max(shared.segment_bytes.min(room) / PAGE as u64 * PAGE as u64);
        if room < wanted {
            return Err(SpoolError::Full { wanted_bytes: wanted, free_bytes: free });
        }
        let created = shared.spares.create(u32::try_from(capacity).unwrap_or(u32::MAX - PAGE as u32 + 1));
        created
            .map_err(|error| SpoolError::from_io("begin a segment", shared.spares.directory(), error, (wanted, free)))
    }

    /// Lays out a batch from what comes first. False if there is nothing to write.
    fn stage(&mut self, ops: &mut VecDeque<Op>) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut index = shared.index();
        let Some(current) = &mut self.current else {
            // Closing a spool nothing was written to.
            if let Some(Op::Close(promise)) = ops.pop_front() {
                promise.keep(Ok(()));
            }
            return false;
        };
        let (capacity, role) = (u64::from(current.spare.capacity), current.role);
        let page = current.first_page.clone();
        self.batch.begin(current.sequence, current.mark, current.offset, self.commit + 1, page);
        while let Some(killed) = self.owed.pop() {
            if capacity < u64::from(self.batch.offset()) + HEADER as u64 {
                self.owed.push(killed);
                return true;
            }
            self.lay_unlink(killed);
        }
        while let Some(op) = ops.front() {
            let fits = u64::from(self.batch.offset()) + size_of_store(op) <= capacity;
            if !fits || BATCH_BYTES <= self.batch.len() || self.conflicts(op, role) {
                break;
            }
            if let Some(op) = ops.pop_front() {
                self.lay(&mut index, op);
            }
        }
        if self.batch.is_empty() {
            shared.inbox.settled(self.batch.octets);
        }
        !self.batch.is_empty()
    }

    /// Whether `op` must wait for the next batch: it touches what this one touches, or moves records, or may not be
    /// written to this segment.
    fn conflicts(&self, op: &Op, role: Role) -> bool {
        let touched = &self.batch.touched;
        match op {
            _ if self.batch.copies || !accepts(role, op.claim(self.shared.few_bytes())) => true,
            Op::Store(staged, _) => {
                !touched.is_empty() && staged.headers.iter().any(|headers| touched.contains(&headers.id.to_bits()))
            }
            Op::Unlink(id) => touched.contains(id),
            Op::Copies(..) | Op::Close(_) => !self.batch.is_empty(),
        }
    }

    fn lay(&mut self, index: &mut Index, op: Op) {
        self.batch.octets += op.octets();
        match op {
            Op::Store(staged, promise) if staged.headers.is_empty() => promise.keep(Ok(())),
            Op::Store(staged, promise) if staged.body.is_some() => self.lay_new(index, &staged, promise),
            Op::Store(staged, promise) => self.lay_changed(index, &staged, promise),
            Op::Unlink(id) => match index.kill(id) {
                Some(killed) => self.lay_unlink(killed),
                None => self.shared.inbox.unlinked(1),
            },
            Op::Copies(copies, promise) => {
                for copy in &copies {
                    self.lay_copy(index, copy);
                }
                self.batch.copies = true;
                if self.batch.is_empty() { promise.keep(Ok(())) } else { self.batch.promises.push(promise) }
            }
            Op::Close(promise) => {
                self.batch.push(Record::alone(Kind::Close, 0, 0, &[]), &Payload::Small(&[]));
                self.batch.promises.push(promise);
            }
        }
    }

    /// One body with all its headers: one group.
    fn lay_new(&mut self, index: &Index, staged: &Staged, promise: Promise<()>) {
        let Some((batch_id, body)) = &staged.body else { return };
        if let Some(taken) = staged.headers.iter().find(|headers| index.contains(headers.id.to_bits())) {
            // Never this envelope with that body.
            let taken = std::io::Error::other(format!("message {} is in the spool already", taken.id));
            promise.keep(Err(self.device_failed("store", taken)));
            return;
        }
        let batch = batch_id.to_bits();
        let (group_start, group_size) = (self.batch.offset(), staged.headers.len() as u32 + 1);
        let record = Record { group_start, group_size, ..Record::alone(Kind::Body, batch, batch, body) };
        let place = self.batch.push(record, &Payload::Shared(body));
        self.batch.effects.push(Effect::Body(place));
        let mut from = 0;
        for (number, headers) in (1..).zip(&staged.headers) {
            let payload = &staged.encoded[from..headers.end];
            from = headers.end;
            let id = headers.id.to_bits();
            let record = Record::alone(Kind::Headers, id, batch, payload);
            let record = Record { group_start, group_place: number, group_size, ..record };
            let place = self.batch.push(record, &Payload::Small(payload));
            self.batch.effects.push(Effect::New(id, place));
            self.batch.touched.insert(id);
            self.newest = self.newest.max(id);
        }
        self.batch.promises.push(promise);
    }

    /// Changed headers of messages that are there.
    fn lay_changed(&mut self, index: &Index, staged: &Staged, promise: Promise<()>) {
        if let Some(gone) = staged.headers.iter().find(|headers| !index.contains(headers.id.to_bits())) {
            promise.keep(Err(SpoolError::Missing { id: gone.id }));
            return;
        }
        let mut from = 0;
        for headers in &staged.headers {
            let payload = &staged.encoded[from..headers.end];
            from = headers.end;
            let id = headers.id.to_bits();
            let record = Record::alone(Kind::Headers, id, headers.batch.to_bits(), payload);
            let place = self.batch.push(record, &Payload::Small(payload));
            self.batch.effects.push(Effect::Moved(id, place));
            self.batch.touched.insert(id);
        }
        self.batch.promises.push(promise);
    }

    fn lay_unlink(&mut self, killed: Killed) {
        self.batch.push(unlink_record(killed.id, (killed.first, killed.last)), &Payload::Small(&[]));
        self.batch.touched.insert(killed.id);
        self.batch.killed.push(killed);
    }

    /// A record of a segment that is to be freed, if it is still what counts.
    fn lay_copy(&mut self, index: &Index, copy: &Copied) {
        match copy {
            Copied::Headers { id, batch, from, payload } => {
                if index.find(*id).is_some_and(|(place, _)| place == *from) {
                    let record = Record::alone(Kind::Headers, *id, *batch, payload);
                    let place = self.batch.push(record, &Payload::Shared(payload));
                    self.batch.effects.push(Effect::Moved(*id, place));
                }
            }
            Copied::Body { number, batch, from, payload } => {
                if index.body_is_at(*number, *from) {
                    let record = Record::alone(Kind::Body, *batch, *batch, payload);
                    let place = self.batch.push(record, &Payload::Shared(payload));
                    self.batch.effects.push(Effect::MovedBody(*number, place));
                }
            }
            Copied::Unlink { id, range, from, .. } => {
                if index.tomb_is_needed(*range, from.unwrap_or(0)) {
                    self.batch.push(unlink_record(*id, *range), &Payload::Small(&[]));
                    self.batch.effects.push(Effect::Tomb(*range, *from));
                }
            }
        }
    }

    /// Writes and syncs the batch. False if it failed.
    fn write(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let Some(current) = &self.current else { return false };
        self.batch.seal(match current.role {
            Role::Reserve => CommitEnd::Sector,
            Role::Headroom if !self.batch.copies => CommitEnd::Sector,
            _ => CommitEnd::Page,
        });
        let file = Arc::clone(&current.spare.file);
        let (offset, mut slices) = self.batch.slices();
        let began = shared.clock.now();
        shared.crash.pass("write");
        let written = file.write_all(&mut slices, offset);
        drop(slices);
        shared.crash.pass("written");
        let result = written.map_err(|error| ("write", error)).and_then(|()| {
            shared.crash.pass("sync");
            if shared.options.force_fsync { file.fdatasync().map_err(|error| ("sync", error)) } else { Ok(()) }
        });
        shared.inbox.settled(self.batch.octets);
        if let Err((doing, error)) = result {
            self.fail(doing, error);
            return false;
        }
        shared.crash.pass("synced");
        shared.gauges.committed(shared.clock.now() - began, self.batch.promises.len() as u64, self.batch.len());
        self.apply();
        true
    }

    /// The batch is durable: what it says counts.
    fn apply(&mut self) {
        let shared = Arc::clone(&self.shared);
        let Some(current) = &mut self.current else { return };
        self.commit += 1;
        let recovered = std::mem::take(&mut self.failures) != 0;
        current.offset = self.batch.offset();
        current.first_page = None;
        let sequence = current.sequence;
        let mut index = shared.index();
        if let Some(segment) = index.segments.get_mut(&sequence) {
            segment.durable = true;
            segment.end = self.batch.offset();
        }
        apply_effects(&mut index, self.batch.effects.drain(..), sequence);
        for killed in &self.batch.killed {
            index.bury(killed, sequence);
        }
        if recovered {
            index.retry_scrubs();
        }
        let dead = index.take_dead();
        drop(index);
        let unlinked = self.batch.killed.len();
        if unlinked != 0 {
            shared.crash.pass("unlink");
            shared.inbox.unlinked(unlinked);
            shared.gauges.unlinked.add(unlinked as u64);
        }
        for promise in self.batch.promises.drain(..) {
            promise.keep(Ok(()));
        }
        self.batch.shrink();
        if dead || recovered || self.commit.is_multiple_of(KICK_EVERY) {
            shared.kick();
        }
    }

    /// A write or sync failed: the batch is refused and its segment abandoned.
    fn fail(&mut self, doing: &'static str, error: std::io::Error) {
        let shared = Arc::clone(&self.shared);
        self.failures += 1;
        let path = self.current.as_ref().map_or_else(PathBuf::new, |current| shared.spares.path(current.spare.slot));
        let full = is_full(&error);
        let refusal = SpoolError::from_io(doing, &path, error, (self.batch.len(), shared.free_bytes()));
        tracing::error!(target: "SPOOL", "{refusal}; {} operations refused, segment abandoned", self.batch.promises.len());
        shared.gauges.failures.add(1);
        if full {
            shared.gauges.full.add(1);
        }
        if let Some(current) = self.current.take() {
            self.previous = seal(&mut shared.index(), &current, true).or(self.previous);
        }
        self.owed.append(&mut self.batch.killed);
        self.batch.effects.clear();
        for promise in self.batch.promises.drain(..) {
            promise.keep(Err(refusal.clone()));
        }
        shared.kick();
    }

    /// There is no segment to write to. Mail is refused; unlinks are remembered.
    fn refuse(&mut self, ops: &mut VecDeque<Op>, error: &SpoolError) {
        self.shared.kick();
        let mut index = self.shared.index();
        let Some(op) = ops.pop_front() else { return };
        self.shared.inbox.settled(op.octets());
        match op {
            Op::Unlink(id) => match index.kill(id) {
                Some(killed) => self.owed.push(killed),
                None => self.shared.inbox.unlinked(1),
            },
            op => {
                self.shared.gauges.full.add(u64::from(matches!(error, SpoolError::Full { .. })));
                drop(index);
                op.refuse(error.clone());
            }
        }
    }

    fn device_failed(&self, doing: &'static str, error: std::io::Error) -> SpoolError {
        SpoolError::from_io(doing, self.shared.spares.directory(), error, (0, 0))
    }
}

fn apply_effects(index: &mut Index, effects: impl Iterator<Item = Effect>, sequence: u32) {
    let mut body = None;
    for effect in effects {
        match effect {
            Effect::Body(place) => {
                let former = body.replace(index.add_body(place));
                former.into_iter().for_each(|former| index.drop_unwanted_body(former));
            }
            Effect::New(id, place) => {
                if let Some(body) = body {
                    index.add_message(id, place, sequence, body);
                }
            }
            Effect::Moved(id, place) => index.move_headers(id, place),
            Effect::MovedBody(number, place) => index.move_body(number, place),
            Effect::Tomb(range, Some(from)) => index.move_tomb(range, from, sequence),
            Effect::Tomb(range, None) => index.add_tomb(range, sequence),
        }
    }
    body.into_iter().for_each(|body| index.drop_unwanted_body(body));
}

/// Whether an operation may be written to a segment.
const fn accepts(role: Role, claim: Claim) -> bool {
    match role {
        Role::Ordinary => true,
        Role::Headroom => !matches!(claim, Claim::Mail),
        Role::Reserve => matches!(claim, Claim::Small),
    }
}

/// Ends a segment; where it ends, if anything in it counts.
fn seal(index: &mut Index, current: &Current, abandoned: bool) -> Option<Cut> {
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
        unscrubbed: false,
        summarised: Summarised::No,
        role,
    }
}

/// A batch is closed when it is this large.
const BATCH_BYTES: u64 = 8 << 20;
const KICK_EVERY: u64 = 64;
