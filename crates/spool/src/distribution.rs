//! Distributions: how often a figure was how large, to within an eighth, in fixed memory.
//!
//! One thread adds, any thread reads; no lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of figures by size.
pub struct Distribution {
    slots: Vec<AtomicU64>,
}

/// What a distribution says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// Half are no larger.
    pub p50: u64,
    /// Ninety-nine in a hundred are no larger.
    pub p99: u64,
    /// Nine hundred and ninety-nine in a thousand are no larger.
    pub p999: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Distribution {
    /// Counts a figure.
    pub fn add(&self, figure: u64) {
        self.slots[slot_of(figure)].fetch_add(1, Ordering::Relaxed);
    }

    /// The sizes below which most figures are; zeros of none.
    pub fn quantiles(&self) -> Quantiles {
        let counts: Vec<u64> = self.slots.iter().map(|slot| slot.load(Ordering::Relaxed)).collect();
        let all: u64 = counts.iter().sum();
        let below = |thousandths: u64| {
            let wanted = (all * thousandths).div_ceil(1000);
            let mut seen = 0;
            let slot = counts.iter().position(|&count| {
                seen += count;
                wanted <= seen
            });
            slot.filter(|_| all != 0).map_or(0, largest_in)
        };
        Quantiles { p50: below(500), p99: below(990), p999: below(999) }
    }
}

/// Small figures have a slot each; from eight on, eight slots share a power of two.
fn slot_of(figure: u64) -> usize {
    if figure < 8 {
        return figure as usize;
    }
    let power = figure.ilog2();
    ((power as usize - 2) * 8 + (figure >> (power - 3)) as usize % 8).min(SLOTS - 1)
}

fn largest_in(slot: usize) -> u64 {
    if slot < 8 {
        return slot as u64;
    }
    (((8 + slot % 8 + 1) as u64) << (slot / 8 - 1)) - 1
}

/// Up to 2^40.
const SLOTS: usize = 39 * 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_in_a_slot_that_ends_less_than_an_eighth_above_it() {
        for figure in (0..5000).chain([1 << 20, (1 << 30) + 12_345]) {
            let end = largest_in(slot_of(figure));
            assert!(figure <= end && end - figure <= figure / 8, "{figure} is said to be {end}");
        }
    }

    #[test]
    fn quantiles_are_of_all_figures() {
        let distribution = Distribution::default();
        assert_eq!(distribution.quantiles(), Quantiles::default());
        (0..1000).for_each(|_| distribution.add(4));
        (0..5).for_each(|_| distribution.add(100));
        distribution.add(1 << 50);
        let Quantiles { p50, p99, p999 } = distribution.quantiles();
        assert_eq!((p50, p99), (4, 4));
        assert!((100..112).contains(&p999), "{p999}");
    }
}
