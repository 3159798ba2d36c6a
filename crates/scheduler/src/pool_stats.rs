//! What a thread pool has done so far, in the shape of the console's `threads stats`.

use std::fmt;
use std::time::Duration;

/// One pool's figures at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolStats {
    /// The pool, as configured.
    pub name: String,
    /// Its configured concurrency.
    pub concurrency: usize,
    /// Jobs taken so far, inline ones among them.
    pub invocations: u64,
    /// Jobs running when one started, itself among them, averaged over all starts.
    pub average_concurrency: f64,
    /// Share of the starts, 0 to 1, that made the last thread busy.
    pub saturation: f64,
    /// Average time a job ran.
    pub average_wallclock: Duration,
    /// Threads with a job.
    pub threads_active: usize,
    /// Threads without one.
    pub threads_inactive: usize,
    /// Jobs waiting for a thread.
    pub queued: usize,
    /// Submitters that found the backlog full and had to wait.
    pub waited: u64,
    /// Jobs and callbacks that panicked.
    pub panics: u64,
}

impl PoolStats {
    /// Threads that exist.
    pub fn threads(&self) -> usize {
        self.threads_active + self.threads_inactive
    }
}

/// Prints the pool's paragraph of `threads stats` (reference: console-commands.md section 4.7), ending in a line feed.
impl fmt::Display for PoolStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} thread pool: concurrency {}", self.name.to_uppercase(), self.concurrency)?;
        if self.invocations == 0 {
            return Ok(());
        }
        let millis = self.average_wallclock.as_secs_f64() * 1_000.0;
        writeln!(f, "{:>32}: {}", "Total invocations", self.invocations)?;
        writeln!(f, "{:>32}: {:.2}", "Observed average concurrency", self.average_concurrency)?;
        writeln!(f, "{:>32}: {:.2}%", "Thread pool saturation", self.saturation * 100.0)?;
        writeln!(f, "{:>32}: {millis:.2}ms", "Average wallclock time per op")?;
        writeln!(f, "{:>32}: {}", "Current thread count", self.threads_active)?;
        writeln!(f, "  [inactive threads]")?;
        writeln!(f, "{:>32}: {}", "Current thread count", self.threads_inactive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_print_in_the_documented_shape() {
        let unused = PoolStats {
            name: "SwapOut".to_owned(),
            concurrency: 5,
            invocations: 0,
            average_concurrency: 0.0,
            saturation: 0.0,
            average_wallclock: Duration::ZERO,
            threads_active: 0,
            threads_inactive: 0,
            queued: 0,
            waited: 0,
            panics: 0,
        };
        assert_eq!(unused.to_string(), "SWAPOUT thread pool: concurrency 5\n");
        let used = PoolStats {
            invocations: 5_120,
            average_concurrency: 2.1,
            saturation: 0.3107,
            average_wallclock: Duration::from_micros(12_400),
            threads_inactive: 5,
            ..unused
        };
        let expected = [
            "SWAPOUT thread pool: concurrency 5",
            "               Total invocations: 5120",
            "    Observed average concurrency: 2.10",
            "          Thread pool saturation: 31.07%",
            "   Average wallclock time per op: 12.40ms",
            "            Current thread count: 0",
            "  [inactive threads]",
            "            Current thread count: 5",
        ];
        assert_eq!(used.to_string().lines().collect::<Vec<_>>(), expected);
    }
}
