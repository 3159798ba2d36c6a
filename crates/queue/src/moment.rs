//! One reading of the clock, in the two forms the queue needs.

use std::time::{Duration, Instant};

use scheduler::Clock;

/// A moment: monotonic seconds for everything that waits, wall time only for what is written down. A wall clock that
/// jumps changes neither when a message is due nor how old it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic seconds since an origin that the owner of the queues chose once.
    pub seconds: u64,
    /// Since 1970.
    pub unix: Duration,
}

impl Moment {
    /// The seconds before the origin that can still be told apart: a restart must know how old recovered mail is.
    pub const ORIGIN: u64 = 1 << 31;

    /// Now, for an owner whose origin was read at `start`.
    pub fn of(clock: &Clock, start: Instant) -> Self {
        let seconds = Self::ORIGIN + clock.now().saturating_duration_since(start).as_secs();
        Self { seconds, unix: clock.unix() }
    }

    /// The monotonic second of a wall time, as the wall clock now tells it: a wall time written under another reading of it
    /// may come out far off, so whoever waits for the result bounds the wait.
    pub fn seconds_at(&self, unix: Duration) -> u64 {
        self.seconds.saturating_add(unix.as_secs()).saturating_sub(self.unix.as_secs())
    }

    /// The wall time of a monotonic second, as far as it can be told now.
    pub fn unix_at(&self, seconds: u64) -> Duration {
        Duration::from_secs((self.unix.as_secs() + seconds).saturating_sub(self.seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_wall_time_convert_both_ways() {
        let now = Moment { seconds: Moment::ORIGIN + 50, unix: Duration::from_secs(1_790_000_000) };
        assert_eq!(now.seconds_at(Duration::from_secs(1_790_000_100)), Moment::ORIGIN + 150);
        assert_eq!(now.unix_at(Moment::ORIGIN + 150), Duration::from_secs(1_790_000_100));
        assert_eq!(now.seconds_at(Duration::from_secs(1_789_000_000)), Moment::ORIGIN + 50 - 1_000_000);
    }
}
