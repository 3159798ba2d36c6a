//! The clock seam: the only place where the house reads the time.
//!
//! Everything that waits or stamps takes a [`Clock`]. The real one reads the system; the simulated one follows tokio's
//! paused time, so that a test in simulated time sees monotonic time, wall time and timers move together.

use std::time::{Duration, Instant, SystemTime};

/// A source of monotonic and wall time. Cheap to copy; usable on any thread.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Source);

#[derive(Clone, Copy, Debug)]
enum Source {
    System,
    /// Wall time is `epoch` plus what tokio's (paused) clock has advanced since `start`.
    Simulated {
        start: tokio::time::Instant,
        epoch: SystemTime,
    },
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `epoch` now and moves with tokio's time (see `tokio::time::pause`).
    /// Must be called inside a tokio runtime.
    pub fn simulated(epoch: SystemTime) -> Self {
        Self(Source::Simulated { start: tokio::time::Instant::now(), epoch })
    }

    /// Monotonic time, for timeouts and intervals.
    #[allow(clippy::disallowed_methods)] // the seam itself
    pub fn now(&self) -> Instant {
        match self.0 {
            Source::System => Instant::now(),
            Source::Simulated { .. } => tokio::time::Instant::now().into_std(),
        }
    }

    /// Wall time, for stamps in logs, trace fields and the spool. May jump either way.
    #[allow(clippy::disallowed_methods)] // the seam itself
    pub fn wall(&self) -> SystemTime {
        match self.0 {
            Source::System => SystemTime::now(),
            Source::Simulated { start, epoch } => epoch + start.elapsed(),
        }
    }

    /// Wall time as a duration since 1970-01-01T00:00:00Z; zero for a clock set before that.
    pub fn unix(&self) -> Duration {
        self.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn simulated_wall_and_monotonic_time_move_together() {
        let clock = Clock::simulated(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
        let before = clock.now();
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(clock.now() - before, Duration::from_secs(3_600));
        assert_eq!(clock.unix(), Duration::from_secs(4_600));
    }
}
