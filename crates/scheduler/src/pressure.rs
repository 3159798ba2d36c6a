//! How short of memory the process is: one word that whoever measures it sets, a charge that
//! passes a mark raises (`marks`), and whoever holds memory reads.
//!
//! Any thread; a read costs a load. Measuring is not done here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How short of memory the process is. Closed; in rising order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Below every mark.
    #[default]
    None,
    /// Above memory_goal: what can be had again from disk is to be let go.
    Goal,
    /// Above memory_hwm: all of it is, and no more work is taken in.
    HighWater,
}

/// The gauge. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct MemoryPressure(Arc<AtomicU8>);

impl MemoryPressure {
    /// The last word.
    pub fn get(&self) -> Pressure {
        match self.0.load(Ordering::Relaxed) {
            0 => Pressure::None,
            1 => Pressure::Goal,
            _ => Pressure::HighWater,
        }
    }

    /// Raises it to at least that; whether it was lower.
    pub(crate) fn rise(&self, pressure: Pressure) -> bool {
        self.0.load(Ordering::Relaxed) < pressure as u8
            && self.0.fetch_max(pressure as u8, Ordering::Relaxed) < pressure as u8
    }

    /// Tells all that share the gauge.
    pub fn set(&self, pressure: Pressure) {
        self.0.store(pressure as u8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shares_the_gauge_sees_what_was_set() {
        let gauge = MemoryPressure::default();
        let other = gauge.clone();
        for pressure in [Pressure::HighWater, Pressure::Goal, Pressure::None] {
            gauge.set(pressure);
            assert_eq!(other.get(), pressure);
        }
        assert!(Pressure::Goal < Pressure::HighWater);
    }
}
