//! The random seam: seeded in tests and simulations, from the operating system otherwise.
//!
//! For shuffling MX hosts of one preference, jitter and connection choice. Not for secrets: the sequence can be guessed
//! from its output. Keys, nonces and tokens come from the TLS library's generator.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A stream of random numbers (splitmix64). Cloning shares the stream; usable on any thread without a lock.
#[derive(Clone, Debug)]
pub struct Random(Arc<AtomicU64>);

impl Random {
    /// A stream nobody can foresee. The seed is the key that the standard library draws from the operating system for
    /// its hash maps: it cannot fail and opens no file.
    pub fn system() -> Self {
        Self::seeded(RandomState::new().hash_one(0_u64))
    }

    /// The same stream for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// A stream of its own, for another loop: what is drawn there does not change what is drawn here.
    pub fn fork(&self) -> Self {
        Self::seeded(self.u64())
    }

    /// Any number.
    pub fn u64(&self) -> u64 {
        let state = self.0.fetch_add(GOLDEN_GAMMA, Ordering::Relaxed).wrapping_add(GOLDEN_GAMMA);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `bound - 1`, all equally likely; 0 for a bound of 0.
    pub fn below(&self, bound: u64) -> u64 {
        // Lemire's multiply-and-shift: the low half tells the few draws that would favour small numbers.
        let biased = if bound == 0 { 0 } else { bound.wrapping_neg() % bound };
        loop {
            let wide = u128::from(self.u64()) * u128::from(bound);
            if biased <= wide as u64 {
                return (wide >> 64) as u64;
            }
        }
    }

    /// Puts a slice in random order.
    pub fn shuffle<T>(&self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_splitmix64_stream() {
        let random = Random::seeded(1_234_567);
        let drawn: Vec<u64> = (0..3).map(|_| random.u64()).collect();
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn below_stays_below_and_reaches_every_number() {
        let random = Random::seeded(7);
        let mut seen = [0; 6];
        (0..600).for_each(|_| seen[random.below(6) as usize] += 1);
        assert!(seen.iter().all(|&times| 50 < times), "{seen:?}");
        assert_eq!((random.below(0), random.below(1)), (0, 0));
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..50).collect();
        Random::seeded(1).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn two_system_streams_differ() {
        assert_ne!(Random::system().u64(), Random::system().u64());
    }
}
