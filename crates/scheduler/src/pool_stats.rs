//! What a thread pool has done so far: the figures of the console's `threads stats`.

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
