//! Layout: what of the operations that wait becomes the next batch, and the records it is made of.
//!
//! Holds the index while it lays a batch out, because what an operation may become depends on what is alive.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Committer;
use crate::chain::Staged;
use crate::error::SpoolError;
use crate::journal::batch::{Effect, Payload, size_of_store, unlink_record};
use crate::journal::inbox::{Copied, Op};
use crate::journal::index::{Index, Killed};
use crate::journal::record::{HEADER, Kind, Record};
use crate::journal::spares::Role;
use crate::ticket::Promise;

impl Committer {
    /// Lays out a batch from what comes first. False if there is nothing to write.
    pub(super) fn stage(&mut self, ops: &mut VecDeque<Op>) -> bool {
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
        self.batch.begin(current.use_of(self.epoch), current.offset, self.commit + 1, page);
        let moves = matches!(ops.front(), Some(Op::Copies(..)));
        // What makes room goes before what wants it.
        while !moves && let Some(killed) = self.owed.pop() {
            if capacity < u64::from(self.batch.offset()) + HEADER as u64 {
                self.owed.push(killed);
                return true;
            }
            self.lay_unlink(killed);
        }
        while let Some(op) = ops.front() {
            let fits = self.batch.end() + size_of_store(op) <= capacity;
            if !fits || BATCH_BYTES <= self.batch.len() || self.conflicts(&index, op, role) {
                break;
            }
            let Some(op) = ops.pop_front() else { break };
            match self.bound(&index, &op) {
                Ok(()) => self.lay(&mut index, op),
                Err(error) => {
                    self.batch.octets += op.octets();
                    shared.gauges.full.add(1);
                    op.refuse(error);
                }
            }
        }
        if self.batch.is_empty() {
            shared.inbox.settled(self.batch.octets);
        }
        !self.batch.is_empty()
    }

    /// Refuses mail whose end could not be recorded on a full device (see [`super::owed`]).
    fn bound(&mut self, index: &Index, op: &Op) -> Result<(), SpoolError> {
        let Op::Store(staged, _) = op else { return Ok(()) };
        if staged.bodies.is_empty() {
            return Ok(());
        }
        let more = self.batch.touched.len() as u64 + staged.headers.len() as u64;
        if index.len() as u64 + more <= self.messages_max {
            return Ok(());
        }
        let reserves = self.shared.reserves(index);
        self.messages_max = if reserves.in_use { 0 } else { reserves.messages_max() };
        if reserves.cover(more) {
            return Ok(());
        }
        // There is room to make them of.
        self.shared.kick();
        let (octets, files) = self.shared.left(&reserves, more);
        if octets != 0 && files != 0 {
            return Ok(());
        }
        Err(SpoolError::Full { wanted_bytes: op.octets(), free_bytes: self.shared.free_bytes() })
    }

    /// Whether `op` must wait for the next batch: it touches what this one touches, or moves records, or may not be
    /// written to this segment.
    fn conflicts(&self, index: &Index, op: &Op, role: Role) -> bool {
        let touched = &self.batch.touched;
        match op {
            _ if self.batch.copies || !self.accepts(index, role, op) => true,
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
            Op::Store(staged, promise) if !staged.bodies.is_empty() => self.lay_new(index, &staged, promise),
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
                self.batch.closes = true;
                self.batch.promises.push(promise);
            }
        }
    }

    /// New messages, of one body or several: one group. The headers of all new mail of a commit stand behind its bodies, so that a
    /// start reads them without the bodies.
    fn lay_new(&mut self, index: &Index, staged: &Staged, promise: Promise<()>) {
        if let Some(taken) = staged.headers.iter().find(|headers| index.contains(headers.id.to_bits())) {
            // Never this envelope with that body.
            let taken = std::io::Error::other(format!("message {} is in the spool already", taken.id));
            promise.keep(Err(self.device_failed("store", taken)));
            return;
        }
        if let Some(lost) = staged.headers.iter().find(|headers| staged.body(headers.batch).is_none()) {
            return promise.keep(Err(SpoolError::Missing { id: lost.batch }));
        }
        let (group_start, mut group_place) = (self.batch.offset(), 0);
        let group_size = (staged.bodies.len() + staged.headers.len()) as u32;
        let mut numbers = SmallVec::<[u32; 1]>::new();
        for (id, body) in &staged.bodies {
            let id = id.to_bits();
            let record = Record { group_start, group_place, group_size, ..Record::alone(Kind::Body, id, id, body) };
            numbers.push(self.batch.push_body(record, body));
            group_place += 1;
        }
        let mut from = 0;
        for headers in &staged.headers {
            let Some((body, _)) = staged.body(headers.batch) else { continue };
            let payload = &staged.encoded[from..headers.end];
            from = headers.end;
            let id = headers.id.to_bits();
            let record = Record::alone(Kind::Headers, id, headers.batch.to_bits(), payload);
            self.batch.defer(Record { group_start, group_place, group_size, ..record }, payload, numbers[body]);
            group_place += 1;
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
            Copied::Headers { id, batch, from, payload, .. } => {
                if index.find(*id).is_some_and(|(place, _)| place == *from) {
                    let record = Record::alone(Kind::Headers, *id, *batch, payload);
                    let place = self.batch.push(record, &Payload::Shared(payload));
                    self.batch.effects.push(Effect::Moved(*id, place));
                }
            }
            Copied::Body { number, batch, from, payload, .. } => {
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
}

/// A batch is closed when it is this large.
const BATCH_BYTES: u64 = 8 << 20;
