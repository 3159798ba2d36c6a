//! Totals since the last `summary reset`: the difference of the counters now and then.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use scheduler::{Clock, Meters};

/// The counters as they stood at the last reset.
pub struct Baseline(RefCell<Taken>);

struct Taken {
    at: Instant,
    values: HashMap<String, u64>,
}

impl Baseline {
    /// Everything counts from now.
    pub fn new(clock: Clock) -> Self {
        Self(RefCell::new(Taken { at: clock.now(), values: HashMap::new() }))
    }

    /// `summary reset`.
    pub fn reset(&self, clock: Clock, meters: &Meters) {
        *self.0.borrow_mut() = Taken { at: clock.now(), values: meters.snapshot().into_iter().collect() };
    }

    /// What a counter has grown by since.
    pub fn since(&self, meters: &Meters, name: &str) -> u64 {
        let before = self.0.borrow().values.get(name).copied().unwrap_or(0);
        meters.get(name).saturating_sub(before)
    }

    /// How long ago that was.
    pub fn age(&self, clock: Clock) -> Duration {
        clock.now().saturating_duration_since(self.0.borrow().at)
    }
}
