//! A bounded table of answers with an end to each: positive and negative ones alike.
//!
//! A plain value, time as an argument. When full, the hand goes round (the clock algorithm): an entry used since the last
//! round gets another, the first unused one leaves. Invariant: every key of the table is in the ring exactly once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

pub(crate) struct Cache<V> {
    entries: HashMap<Arc<str>, Entry<V>>,
    ring: VecDeque<Arc<str>>,
    max: usize,
    evicted: u64,
}

struct Entry<V> {
    value: V,
    expires: Instant,
    used: bool,
}

impl<V: Clone> Cache<V> {
    pub(crate) fn new(max: usize) -> Self {
        Self { entries: HashMap::new(), ring: VecDeque::new(), max: max.max(1), evicted: 0 }
    }

    /// The value, unless its time is over.
    pub(crate) fn get(&mut self, key: &str, now: Instant) -> Option<V> {
        let entry = self.entries.get_mut(key).filter(|entry| now < entry.expires)?;
        entry.used = true;
        Some(entry.value.clone())
    }

    pub(crate) fn insert(&mut self, key: Arc<str>, value: V, expires: Instant) {
        let entry = Entry { value, expires, used: false };
        if self.entries.insert(key.clone(), entry).is_none() {
            self.ring.push_back(key);
            if self.max < self.entries.len() {
                self.evict();
            }
        }
    }

    /// Ends an entry's time now. It keeps its place until the hand comes round.
    pub(crate) fn expire(&mut self, key: &str, now: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.expires = now;
        }
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
                    self.entries.remove(&key);
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
        let mut cache = Cache::new(10);
        cache.insert("a".into(), 1, now + Duration::from_secs(5));
        assert_eq!(cache.get("a", now + Duration::from_secs(4)), Some(1));
        assert_eq!(cache.get("a", now + Duration::from_secs(5)), None);
        cache.insert("a".into(), 2, now + Duration::from_secs(9));
        cache.expire("a", now);
        assert_eq!(cache.get("a", now), None);
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn the_unused_leave_first() {
        let now = Clock::system().now();
        let later = now + Duration::from_secs(60);
        let mut cache = Cache::new(2);
        cache.insert("used".into(), 1, later);
        cache.insert("idle".into(), 2, later);
        cache.get("used", now);
        cache.insert("new".into(), 3, later);
        assert_eq!((cache.get("used", now), cache.get("idle", now), cache.get("new", now)), (Some(1), None, Some(3)));
        for n in 0..100 {
            cache.insert(n.to_string().into(), n, later);
        }
        assert_eq!((cache.len(), cache.evicted()), (2, 101));
    }
}
