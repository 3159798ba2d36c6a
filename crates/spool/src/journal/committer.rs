//! The committer: the one writer of a spool device.
//!
//! Takes operations from the inbox, lays as many as there are into one gathered write, syncs once, and only then changes
//! the index and keeps the promises. While it waits for the device, the next batch gathers in the inbox, so batches grow
//! with the load and a lone message waits for exactly one sync. Runs on a thread of its own; tests drive it directly.
//!
//! Invariants: nothing is answered before it is synced. After a failed write or sync the segment is abandoned: its end is
//! what was synced before, and every later segment header says so.

mod layout;
mod rotation;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::batch::{Batch, Effect};
use super::hold::Void;
use super::inbox::Op;
use super::index::{Index, Killed};
use super::reached::Reached;
use super::record::CommitEnd;
use super::segment::Cut;
use super::shared::Shared;
use super::spares::Role;
use crate::error::{SpoolError, is_full};
use rotation::{Current, seal};

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
    /// The commit that was noted last, or could not be.
    tried: u64,
    /// So many messages may be alive before the reserves need be looked at again.
    messages_max: u64,
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
            tried: 0,
            messages_max: 0,
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

    /// Whether more has been synced than is noted.
    pub fn unnoted(&self) -> bool {
        let noted = self.shared.witness().as_ref().map(|witness| (witness.last().of.sequence, witness.last().commit));
        let here = self.current.as_ref().filter(|current| current.first_page.is_none());
        let unsaid = here.is_some_and(|current| noted != Some((current.sequence, self.commit)));
        noted.is_some() && unsaid && self.tried != self.commit
    }

    /// Notes how far everything has been synced.
    pub fn note(&mut self) {
        self.tried = self.commit;
        self.note_end(false);
    }

    fn note_end(&mut self, closed: bool) {
        let Some(reached) = self.reached(closed) else { return };
        if let Err(error) = self.note_down(reached) {
            tracing::warn!(target: "SPOOL", "cannot note how far the journal is written: {error}; until it can be, its end has no witness");
        }
    }

    fn reached(&self, closed: bool) -> Option<Reached> {
        let current = self.current.as_ref()?;
        let (of, end, before) = (current.use_of(self.epoch), current.offset, self.previous);
        Some(Reached { of, end, commit: self.commit, closed, before, roster: None })
    }

    fn note_down(&self, reached: Reached) -> std::io::Result<()> {
        match self.shared.witness().as_mut() {
            Some(witness) if self.shared.options.force_fsync => witness.note(reached),
            _ => Ok(()),
        }
    }

    /// Before anything is answered: a process that is killed now leaves a witness of this commit.
    fn note_in_passing(&self) {
        if let Some(reached) = self.reached(false)
            && let Some(witness) = self.shared.witness().as_mut().filter(|_| self.shared.options.force_fsync)
        {
            witness.note_in_passing(reached);
        }
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

    /// Writes and syncs the batch. False if it failed.
    fn write(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let Some(current) = &mut self.current else { return false };
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
        if written.is_ok() {
            current.fill_beyond(self.batch.offset().into());
        }
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
        if self.batch.closes {
            self.note_end(true);
        } else {
            self.note_in_passing();
        }
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
        shared.hold.void(Void::Failed);
        if full {
            shared.gauges.full.add(self.batch.promises.len() as u64);
        } else {
            shared.gauges.failures.add(1);
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
        self.shared.gauges.failures.add(u64::from(!matches!(error, SpoolError::Full { .. })));
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
    let mut bodies = Vec::new();
    for effect in effects {
        match effect {
            Effect::Body(place) => bodies.push(index.add_body(place)),
            Effect::New(id, place, body) => {
                if let Some(&body) = bodies.get(body as usize) {
                    index.add_message(id, place, sequence, body);
                }
            }
            Effect::Moved(id, place) => index.move_headers(id, place),
            Effect::MovedBody(number, place) => index.move_body(number, place),
            Effect::Tomb(range, Some(from)) => index.move_tomb(range, from, sequence),
            Effect::Tomb(range, None) => index.add_tomb(range, sequence),
        }
    }
    bodies.into_iter().for_each(|body| index.drop_unwanted_body(body));
}

const KICK_EVERY: u64 = 64;
