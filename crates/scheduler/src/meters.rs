//! Counters under one naming scheme, read by the console, the metrics endpoint and the logs alike.
//!
//! A meter is taken in the constructor of what it counts. Names read `room.thing.event`, lower case, for example
//! `reception.messages.accepted`; a labelled one ends in `{label}`. Reading never walks a queue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One monotonically growing number. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes `n` back: for depths only (`entered - left` kept as one number). Saturates at zero in practice because every
    /// `sub` follows its `add`.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Replaces the value: for gauges that are measured, not counted.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The registry of every counter of the process. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Meters(Arc<Mutex<BTreeMap<String, Counter>>>);

impl Meters {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counter of that name; the same one for the same name.
    pub fn counter(&self, name: &str) -> Counter {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = counters.get(name) {
            return counter.clone();
        }
        counters.entry(name.to_owned()).or_default().clone()
    }

    /// The value of a counter, zero if nothing has taken it.
    pub fn get(&self, name: &str) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).map_or(0, Counter::get)
    }

    /// All counters in name order.
    pub fn snapshot(&self) -> Vec<(String, u64)> {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counters.iter().map(|(name, counter)| (name.clone(), counter.get())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_the_same_counter() {
        let meters = Meters::new();
        meters.counter("queue.active.entered").add(2);
        meters.counter("queue.active.entered").add(3);
        assert_eq!(meters.get("queue.active.entered"), 5);
        assert_eq!(meters.snapshot(), vec![("queue.active.entered".to_owned(), 5)]);
    }
}
