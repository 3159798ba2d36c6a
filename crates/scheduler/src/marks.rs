//! What all owners of memory are charged with together, and the marks that are not to be passed.
//!
//! A charge that takes the sum over a mark raises the pressure itself, before it returns, and wakes whoever watches; nothing
//! waits for the next look. Only the watcher lowers the pressure.
//!
//! Any thread; a charge costs an addition and a comparison.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use crate::pressure::{MemoryPressure, Pressure};

/// The sum of all charges and its marks. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct MemoryMarks(Arc<Sum>);

#[derive(Debug)]
struct Sum {
    octets: AtomicU64,
    goal: AtomicU64,
    high_water: AtomicU64,
    pressure: MemoryPressure,
    watcher: OnceLock<Thread>,
}

impl Default for Sum {
    fn default() -> Self {
        let none = || AtomicU64::new(u64::MAX);
        let pressure = MemoryPressure::default();
        Self { octets: AtomicU64::new(0), goal: none(), high_water: none(), pressure, watcher: OnceLock::new() }
    }
}

impl MemoryMarks {
    /// What all owners are charged with.
    pub fn accounted(&self) -> u64 {
        self.0.octets.load(Ordering::Relaxed)
    }

    /// The marks from now on, in octets. The pressure rises if one of them is passed already.
    pub fn set(&self, goal: u64, high_water: u64) {
        self.0.goal.store(goal, Ordering::Relaxed);
        self.0.high_water.store(high_water, Ordering::Relaxed);
        self.raise(0);
    }

    /// The gauge that passing a mark raises.
    pub fn pressure(&self) -> MemoryPressure {
        self.0.pressure.clone()
    }

    /// The thread that is woken when the pressure has risen. The first one told counts.
    pub fn woken(&self, watcher: Thread) {
        let _ = self.0.watcher.set(watcher);
    }

    /// Has the watcher look now.
    pub(crate) fn wake(&self) {
        if let Some(watcher) = self.0.watcher.get() {
            watcher.unpark();
        }
    }

    pub(crate) fn has_room_below_goal(&self, octets: u64) -> bool {
        self.accounted().saturating_add(octets) <= self.0.goal.load(Ordering::Relaxed)
    }

    pub(crate) fn has_room_below_high_water(&self, octets: u64) -> bool {
        self.accounted().saturating_add(octets) <= self.0.high_water.load(Ordering::Relaxed)
    }

    pub(crate) fn raise(&self, octets: u64) {
        let now = self.0.octets.fetch_add(octets, Ordering::Relaxed) + octets;
        if now <= self.0.goal.load(Ordering::Relaxed) {
            return;
        }
        let high = self.0.high_water.load(Ordering::Relaxed) < now;
        if self.0.pressure.rise(if high { Pressure::HighWater } else { Pressure::Goal }) {
            self.wake();
        }
    }

    pub(crate) fn lower(&self, octets: u64) {
        self.0.octets.fetch_sub(octets, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use crate::{Meters, Pressure};

    #[test]
    fn the_charge_that_passes_a_mark_raises_the_pressure_itself() {
        let meters = Meters::new();
        let (marks, owner, other) = (meters.memory_marks(), meters.memory("one"), meters.memory("other"));
        marks.set(100, 200);
        let pressure = marks.pressure();
        let _small = other.charge(60);
        let mut charge = owner.charge(40);
        assert_eq!(pressure.get(), Pressure::None);
        charge.set(41);
        assert_eq!(pressure.get(), Pressure::Goal);
        let above = other.charge(100);
        assert_eq!((pressure.get(), marks.accounted()), (Pressure::HighWater, 201));
        drop(above);
        assert_eq!(pressure.get(), Pressure::HighWater, "whoever watches lowers it");
    }

    #[test]
    fn whoever_watches_is_woken_by_the_charge() {
        let meters = Meters::new();
        let marks = meters.memory_marks();
        marks.set(10, 20);
        marks.woken(std::thread::current());
        let charging = std::thread::spawn({
            let owner = meters.memory("one");
            move || drop(owner.charge(11))
        });
        while marks.pressure().get() != Pressure::Goal {
            std::thread::park();
        }
        charging.join().expect("it only charges");
    }
}
