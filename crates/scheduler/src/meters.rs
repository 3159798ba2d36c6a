//! Counters under one naming scheme, read by the console, the metrics endpoint and the logs alike.
//!
//! A meter is taken in the constructor of what it counts. Names read `room.thing.event`, lower case, for example
//! `reception.messages.accepted`; a labelled one ends in `{label}`. Reading never walks a queue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::marks::MemoryMarks;
use crate::memory::MemoryOwner;

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

    /// Adds `n`; the sum.
    pub(crate) fn raise(&self, n: u64) -> u64 {
        self.0.fetch_add(n, Ordering::Relaxed) + n
    }

    pub(crate) fn set_at_least(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
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

/// The registry of every counter of the process, and of every owner of memory. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Meters(Arc<Mutex<Registry>>);

#[derive(Debug, Default)]
struct Registry {
    counters: BTreeMap<String, Counter>,
    owners: BTreeMap<String, MemoryOwner>,
    marks: MemoryMarks,
}

impl Registry {
    fn counter(&mut self, name: &str) -> Counter {
        match self.counters.get(name) {
            Some(counter) => counter.clone(),
            None => self.counters.entry(name.to_owned()).or_default().clone(),
        }
    }
}

impl Meters {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counter of that name; the same one for the same name.
    pub fn counter(&self, name: &str) -> Counter {
        self.lock().counter(name)
    }

    /// The owner of memory of that name; the same one for the same name. Its octets are the counters `memory.octets{name}`
    /// and `memory.peak_octets{name}`.
    pub fn memory(&self, name: &str) -> MemoryOwner {
        let mut registry = self.lock();
        if let Some(owner) = registry.owners.get(name) {
            return owner.clone();
        }
        let counter = |registry: &mut Registry, what: &str| registry.counter(&format!("memory.{what}{{{name}}}"));
        let owner = MemoryOwner::new(
            counter(&mut registry, "octets"),
            counter(&mut registry, "peak_octets"),
            registry.marks.clone(),
        );
        registry.owners.insert(name.to_owned(), owner.clone());
        owner
    }

    /// The sum of what all owners are charged with, and its marks.
    pub fn memory_marks(&self) -> MemoryMarks {
        self.lock().marks.clone()
    }

    /// Every owner of memory, in name order.
    pub fn memory_owners(&self) -> Vec<(String, MemoryOwner)> {
        self.lock().owners.iter().map(|(name, owner)| (name.clone(), owner.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a counter, zero if nothing has taken it.
    pub fn get(&self, name: &str) -> u64 {
        self.lock().counters.get(name).map_or(0, Counter::get)
    }

    /// The sum of a counter over all its labels.
    pub fn total(&self, name: &str) -> u64 {
        let is_its = |rest: &str| rest.is_empty() || rest.starts_with('{');
        let registry = self.lock();
        let named = registry.counters.range(name.to_owned()..).take_while(|(other, _)| other.starts_with(name));
        named.filter(|(other, _)| is_its(&other[name.len()..])).map(|(_, counter)| counter.get()).sum()
    }

    /// All counters in name order.
    pub fn snapshot(&self) -> Vec<(String, u64)> {
        self.lock().counters.iter().map(|(name, counter)| (name.clone(), counter.get())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_one_name_add_up() {
        let meters = Meters::new();
        for (name, value) in [("a.b{1}", 1), ("a.b{2}", 2), ("a.b.c{1}", 4), ("a.bc", 8), ("a", 16)] {
            meters.counter(name).add(value);
        }
        assert_eq!((meters.total("a.b"), meters.total("a"), meters.total("x")), (3, 16, 0));
    }

    #[test]
    fn the_same_name_is_the_same_counter() {
        let meters = Meters::new();
        meters.counter("queue.active.entered").add(2);
        meters.counter("queue.active.entered").add(3);
        assert_eq!(meters.get("queue.active.entered"), 5);
        assert_eq!(meters.total("queue.active.entered"), 5);
        assert_eq!(meters.snapshot(), vec![("queue.active.entered".to_owned(), 5)]);
    }
}
