//! Whether waiting a moment pays: while many store at once, a batch that gathers as long as the sync before it took halves
//! the syncs and delays nobody by more than that one sync. A lone message never waits.
//!
//! Known to work for PostgreSQL as commit_siblings; here the siblings are counted from what the commits carried.

use std::time::Duration;

/// How many stores commits carry of late.
#[derive(Debug, Default)]
pub struct Crowd {
    /// A moving average over about eight commits, in stores.
    average: f64,
}

impl Crowd {
    /// Notes a commit of `stores` messages that took `took`, and says how long the next batch may gather.
    pub fn gather(&mut self, stores: usize, took: Duration) -> Duration {
        if stores != 0 {
            self.average += (stores as f64 - self.average) / 8.0;
        }
        if self.average < STORES_THAT_MAKE_A_CROWD { Duration::ZERO } else { took.min(GATHER_MAX) }
    }
}

/// Below this, most commits carried one message: nobody is likely to join.
const STORES_THAT_MAKE_A_CROWD: f64 = 1.25;
/// A slow device gathers enough by being slow.
const GATHER_MAX: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_messages_never_wait_and_crowds_wait_no_longer_than_their_sync() {
        let mut crowd = Crowd::default();
        let took = Duration::from_micros(300);
        assert!((0..100).all(|_| crowd.gather(1, took).is_zero()));
        let gathers: Vec<_> = (0..20).map(|_| crowd.gather(10, took)).collect();
        assert_eq!(gathers.last(), Some(&took));
        assert_eq!(crowd.gather(10, Duration::from_millis(50)), GATHER_MAX);
        let calm: Vec<_> = (0..40).map(|_| crowd.gather(1, took)).collect();
        assert_eq!(calm.last(), Some(&Duration::ZERO), "a crowd is forgotten");
    }
}
