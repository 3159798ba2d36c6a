//! The census of a store without an index of its own: which messages are alive, how old, and how much room they take.
//!
//! Some 24 octets of memory a message. Of mail that an earlier run left, the octets are known only when it is handed over;
//! until then its entry says so, which is also how the hand-over finds it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use message::MessageId;

/// The messages.
#[derive(Default)]
pub struct Census(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    /// Octets of metadata and a share of the body.
    messages: BTreeMap<MessageId, u32>,
    octets: u64,
}

/// Entries of an earlier run that were not handed over yet.
const OLD: u32 = u32::MAX;

impl Census {
    /// What an earlier run left. Once, before anything else.
    pub fn adopt(&self, ids: impl IntoIterator<Item = MessageId>) {
        self.lock().messages = ids.into_iter().map(|id| (id, OLD)).collect();
    }

    /// A message is there, with so many octets that are its own.
    pub fn add(&self, id: MessageId, octets: u64) {
        let octets = octets.min(u64::from(OLD - 1)) as u32;
        let mut counted = self.lock();
        let before = counted.messages.insert(id, octets);
        counted.octets += u64::from(octets);
        counted.forget(before);
    }

    /// It is gone; whether it was there.
    pub fn remove(&self, id: MessageId) -> bool {
        let mut counted = self.lock();
        let before = counted.messages.remove(&id);
        counted.forget(before);
        before.is_some()
    }

    /// The next message that was not handed over, after this one.
    pub fn next_old(&self, after: Option<MessageId>) -> Option<MessageId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let counted = self.lock();
        counted.messages.range((from, Bound::Unbounded)).find(|(_, octets)| **octets == OLD).map(|(id, _)| *id)
    }

    /// How many there are, since when the oldest, octets of all.
    pub fn count(&self) -> (u64, Option<MessageId>, u64) {
        let counted = self.lock();
        (counted.messages.len() as u64, counted.messages.keys().next().copied(), counted.octets)
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn forget(&mut self, octets: Option<u32>) {
        self.octets -= octets.filter(|octets| *octets != OLD).map_or(0, u64::from);
    }
}

/// What an entry takes in memory, about.
pub const ENTRY_BYTES: u64 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(bits: u64) -> MessageId {
        MessageId::from_bits(bits)
    }

    #[test]
    fn what_an_earlier_run_left_is_found_once_beside_what_is_new() {
        let census = Census::default();
        census.adopt([2, 5, 9].map(id));
        census.add(id(7), 100);
        assert_eq!(census.next_old(None), Some(id(2)));
        census.add(id(2), 50);
        assert_eq!(census.next_old(Some(id(2))), Some(id(5)));
        assert!(census.remove(id(9)) && !census.remove(id(9)));
        assert_eq!(census.next_old(Some(id(5))), None);
        assert_eq!(census.count(), (3, Some(id(2)), 150));
        assert!(census.remove(id(2)));
        assert_eq!(census.count(), (2, Some(id(5)), 100));
    }
}
