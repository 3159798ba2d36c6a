//! Mail that a short-cut module has kept from the store: it lives here, and only here, until it is unlinked or written.
//!
//! In: batches whose writes were all answered with `hold`. Out: bodies and envelopes for reads, and whole batches that
//! leave for the store. Any thread; costs one atomic load while nothing is held, which is the rule.
//!
//! Invariant: a message is in here until it is unlinked or its write is durable; a failed write keeps it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use message::{Body, Envelope, MessageId};

/// The messages in memory only.
#[derive(Default)]
pub struct Held {
    batches: AtomicUsize,
    kept: Mutex<Kept>,
}

/// What the lock guards.
#[derive(Default)]
pub struct Kept {
    batches: HashMap<MessageId, Batch>,
    batch_of: HashMap<MessageId, MessageId>,
    octets: usize,
}

/// A body and the messages that still want it.
pub struct Batch {
    /// The body.
    pub body: Body,
    /// Its messages, as they stand now.
    pub envelopes: Vec<Envelope>,
    /// Being written: changes must reach the store too.
    pub leaving: bool,
}

impl Held {
    /// Everything held, or `None` if that is nothing.
    pub fn some(&self) -> Option<MutexGuard<'_, Kept>> {
        (self.batches.load(Ordering::Acquire) != 0).then(|| self.lock())
    }

    /// Whether one more body of so many octets has to go to the store.
    pub fn is_full(&self, octets: usize) -> bool {
        self.some().is_some_and(|kept| HELD_OCTETS_MAX < kept.octets + octets)
    }

    /// Takes a body and its messages in.
    pub fn hold(&self, body: &Body, envelopes: &[Envelope]) {
        let Some(id) = envelopes.first().map(Envelope::body_id) else { return };
        let mut kept = self.lock();
        kept.octets += body.len();
        kept.batch_of.extend(envelopes.iter().map(|envelope| (envelope.id, id)));
        let batch = Batch { body: body.clone(), envelopes: envelopes.to_vec(), leaving: false };
        kept.batches.insert(id, batch);
        self.count(&kept);
    }

    /// The message is finished: whether it was in memory only.
    pub fn unlink(&self, id: MessageId) -> bool {
        let Some(mut kept) = self.some() else { return false };
        let Some(batch) = kept.batch_of.remove(&id) else { return false };
        let Some(held) = kept.batches.get_mut(&batch) else { return false };
        held.envelopes.retain(|envelope| envelope.id != id);
        let (leaving, empty) = (held.leaving, held.envelopes.is_empty());
        if empty {
            kept.forget(batch);
            self.count(&kept);
        }
        !leaving
    }

    /// What became of a batch that was leaving.
    pub fn left(&self, batch: MessageId, stored: bool) {
        let mut kept = self.lock();
        if stored {
            kept.forget(batch);
            self.count(&kept);
        } else if let Some(held) = kept.batches.get_mut(&batch) {
            held.leaving = false;
        }
    }

    fn count(&self, kept: &Kept) {
        self.batches.store(kept.batches.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The batch a message is held in.
    pub fn batch_with(&mut self, id: MessageId) -> Option<&mut Batch> {
        let batch = self.batch_of.get(&id)?;
        self.batches.get_mut(batch)
    }

    /// The batches, by id.
    pub fn batches(&self) -> Vec<MessageId> {
        self.batches.keys().copied().collect()
    }

    /// One batch.
    pub fn batch(&mut self, batch: MessageId) -> Option<&mut Batch> {
        self.batches.get_mut(&batch)
    }

    fn forget(&mut self, batch: MessageId) {
        let Some(held) = self.batches.remove(&batch) else { return };
        self.octets = self.octets.saturating_sub(held.body.len());
        for envelope in held.envelopes {
            self.batch_of.remove(&envelope.id);
        }
    }
}

impl Batch {
    /// One message of it.
    pub fn envelope(&mut self, id: MessageId) -> Option<&mut Envelope> {
        self.envelopes.iter_mut().find(|envelope| envelope.id == id)
    }
}

/// Past this, mail is written whatever a module would rather do.
const HELD_OCTETS_MAX: usize = 64 << 20;
