//! Whether waiting a moment pays: while many store at once, a batch that gathers for a moment, the longer the more of them
//! there are, saves most of the syncs and delays nobody by more than a millisecond. A lone message never waits.
//!
//! Known to work for PostgreSQL as commit_siblings; here the siblings are counted from what the commits carried. Tried:
//! gathering for one, two and four times the last sync, which on a fast device was too short to reach one sync in four
//! messages when each message came by a connection of its own.

use std::time::Duration;

/// How many stores commits carry of late.
#[derive(Debug, Default)]
pub struct Crowd {
    /// A moving average over about eight commits, in stores.
    average: f64,
}

impl Crowd {
    /// Notes a commit of `stores` messages that took `took`, and says how long the next batch may gather, and how many
    /// stores end its patience before: when nearly all who were in the last ones are back, waiting gains nothing more.
    pub fn gather(&mut self, stores: usize, took: Duration) -> (Duration, usize) {
        if stores != 0 {
            self.average += (stores as f64 - self.average) / 8.0;
        }
        if self.average < STORES_THAT_MAKE_A_CROWD {
            return (Duration::ZERO, 0);
        }
        let patience = took.max(GATHER_PER_STORE.mul_f64(self.average)).min(GATHER_MAX);
        (patience, (self.average * NEARLY_ALL) as usize + 1)
    }
}

/// Of the stores that commits carry on average.
const NEARLY_ALL: f64 = 0.9;
/// Below this, most commits carried one message: nobody is likely to join.
const STORES_THAT_MAKE_A_CROWD: f64 = 1.25;
/// Two clients at once wait a fifth of a millisecond, ten wait the whole one.
const GATHER_PER_STORE: Duration = Duration::from_micros(100);
/// A slow device gathers enough by being slow.
const GATHER_MAX: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_messages_never_wait_and_crowds_wait_a_millisecond_at_most() {
        let mut crowd = Crowd::default();
        let took = Duration::from_micros(300);
        assert!((0..100).all(|_| crowd.gather(1, took).0.is_zero()));
        let pairs: Vec<_> = (0..40).map(|_| crowd.gather(2, took)).collect();
        assert_eq!(pairs.last(), Some(&(took, 2)), "as long as the sync, if that is longer");
        let crowds: Vec<_> = (0..60).map(|_| crowd.gather(50, took)).collect();
        assert_eq!(crowds.last(), Some(&(GATHER_MAX, 45)), "until nine in ten are back");
        let calm: Vec<_> = (0..60).map(|_| crowd.gather(1, took)).collect();
        assert_eq!(calm.last(), Some(&(Duration::ZERO, 0)), "a crowd is forgotten");
    }
}
