//! A bounded table of answers with an end to each: positive and negative ones alike.
//!
//! A plain value, time as an argument. When full, the hand goes round (the clock algorithm): an entry used since the last
//! round gets another, the first unused one leaves. Invariant: every key of the table is in the ring exactly once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use scheduler::{MemoryCharge, MemoryOwner};

pub(crate) struct Cache<V> {
    entries: HashMap<Arc<str>, Entry<V>>,
    ring: VecDeque<Arc<str>>,
    max: usize,
    evicted: u64,
    /// Octets of memory that hang on a value.
    held_by: fn(&V) -> usize,
    held: usize,
    charge: MemoryCharge,
}

struct Entry<V> {
    value: V,
    expires: Instant,
    used: bool,
}

impl<V: Clone> Cache<V> {
    /// `held_by` says how many octets of memory hang on a value; all of them are charged to `owner`.
    pub(crate) fn new(max: usize, held_by: fn(&V) -> usize, owner: &MemoryOwner) -> Self {
        let (entries, ring, charge) = (HashMap::new(), VecDeque::new(), owner.charge(0));
        Self { entries, ring, max: max.max(1), evicted: 0, held_by, held: 0, charge }
    }

    /// The value, unless its time is over.
    pub(crate) fn get(&mut self, key: &str, now: Instant) -> Option<V> {
        let entry = self.entries.get_mut(key).filter(|entry| now < entry.expires)?;
        entry.used = true;
        Some(entry.value.clone())
    }

    /// The same for somebody who only looks: it is not used.
    pub(crate) fn peek(&self, key: &str, now: Instant) -> Option<V> {
        self.entries.get(key).filter(|entry| now < entry.expires).map(|entry| entry.value.clone())
    }

    pub(crate) fn insert(&mut self, key: Arc<str>, value: V, expires: Instant) {
        self.held += self.held_with(&key, &value);
        let entry = Entry { value, expires, used: false };
        match self.entries.insert(key.clone(), entry) {
            Some(old) => self.held -= self.held_with(&key, &old.value),
            None => {
                self.ring.push_back(key);
                if self.max < self.entries.len() {
                    self.evict();
                }
            }
        }
        self.charge.set(self.held);
    }

    /// An entry with its key in table and ring.
    fn held_with(&self, key: &str, value: &V) -> usize {
        size_of::<Entry<V>>() + 2 * size_of::<Arc<str>>() + key.len() + (self.held_by)(value)
    }

    /// Ends an entry's time now. It keeps its place until the hand comes round.
    pub(crate) fn expire(&mut self, key: &str, now: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.expires = now;
        }
    }

    /// Takes out all entries whose time is over, each with whether it was used since it was put in.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<(Arc<str>, V, bool)> {
        let expired: Vec<_> = self.entries.extract_if(|_, entry| entry.expires <= now).collect();
        if !expired.is_empty() {
            self.ring.retain(|key| self.entries.contains_key(key));
            self.held -= expired.iter().map(|(key, entry)| self.held_with(key, &entry.value)).sum::<usize>();
            self.charge.set(self.held);
        }
        expired.into_iter().map(|(key, entry)| (key, entry.value, entry.used)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    fn evict(&mut self) {
        while let Some(key) = self.ring.pop_front() {
            match self.entries.get_mut(&key) {
                Some(entry) if entry.used => {
                    entry.used = false;
                    self.ring.push_back(key);
                }
                _ => {
                    if let Some(gone) = self.entries.remove(&key) {
                        self.held -= self.held_with(&key, &gone.value);
                    }
                    self.evicted += 1;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use scheduler::Clock;

    use super::*;

    #[test]
    fn an_entry_ends_with_its_time() {
        let now = Clock::system().now();
        let mut cache = Cache::new(10, |_| 0, &MemoryOwner::default());
        cache.insert("a".into(), 1, now + Duration::from_secs(5));
        assert_eq!(cache.get("a", now + Duration::from_secs(4)), Some(1));
        assert_eq!(cache.get("a", now + Duration::from_secs(5)), None);
        cache.insert("a".into(), 2, now + Duration::from_secs(9));
        cache.expire("a", now);
        assert_eq!(cache.get("a", now), None);
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn what_is_over_is_taken_out_and_says_whether_it_was_used() {
        let now = Clock::system().now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let owner = MemoryOwner::default();
        let mut cache = Cache::new(10, |_| 0, &owner);
        for (key, seconds) in [("used", 5), ("idle", 5), ("young", 9)] {
            cache.insert(key.into(), seconds, at(seconds));
        }
        cache.get("used", now);
        assert!(cache.take_expired(at(4)).is_empty());
        let three = owner.octets();
        let mut expired = cache.take_expired(at(5));
        assert!(owner.octets() < three / 2, "{} of {three}", owner.octets());
        expired.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        assert_eq!(expired, [("idle".into(), 5, false), ("used".into(), 5, true)]);
        assert_eq!((cache.len(), cache.ring.len(), cache.get("young", at(5))), (1, 1, Some(9)));
    }

    #[test]
    fn the_unused_leave_first() {
        let now = Clock::system().now();
        let later = now + Duration::from_secs(60);
        let owner = MemoryOwner::default();
        let mut cache = Cache::new(2, |_| 100, &owner);
        cache.insert("used".into(), 1, later);
        cache.insert("idle".into(), 2, later);
        cache.get("used", now);
        cache.insert("new".into(), 3, later);
        assert_eq!((cache.get("used", now), cache.get("idle", now), cache.get("new", now)), (Some(1), None, Some(3)));
        for n in 0..100 {
            cache.insert(n.to_string().into(), n, later);
        }
        assert_eq!((cache.len(), cache.evicted()), (2, 101));
        let two = owner.octets();
        assert!(2 * 100 < two && two < 2 * 250, "{two}");
        cache.insert("99".into(), 99, later);
        assert_eq!(owner.octets(), two, "one answer in the place of another");
        drop(cache);
        assert_eq!(owner.octets(), 0);
    }
}
