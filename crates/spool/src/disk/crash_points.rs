//! Named moments at which a process under test kills itself, so that a test can prove what survives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every moment there is, in the order a message meets them.
pub const POINTS: &[&str] = &[
    "write",
    "written",
    "sync",
    "synced",
    "segment",
    "prewrite",
    "unlink",
    "compact",
    "recycle",
    "summary",
    "recovered",
];

/// The environment variable that arms a daemon. Only crash tests set it.
pub const ENVIRONMENT: &str = "POSTRIDER_CRASH_POINT";

/// Where to die; nowhere by default. Cloning shares the count.
#[derive(Clone, Debug, Default)]
pub struct CrashPoints(Option<Arc<Armed>>);

#[derive(Debug)]
struct Armed {
    point: String,
    left: AtomicU64,
}

impl CrashPoints {
    /// Never dies.
    pub fn none() -> Self {
        Self(None)
    }

    /// As [`ENVIRONMENT`] says: a point, or `point:n` for its n-th passing. What is no point is reported and passed over.
    pub fn from_environment() -> Self {
        let Ok(text) = std::env::var(ENVIRONMENT) else { return Self::none() };
        let (point, occurrence) = text.split_once(':').unwrap_or((&text, "1"));
        match occurrence.parse() {
            Ok(occurrence) if POINTS.contains(&point) => {
                tracing::error!(target: "SPOOL", "{ENVIRONMENT} is set: this process will kill itself at `{text}`");
                Self::at(point, occurrence)
            }
            _ => {
                tracing::error!(target: "SPOOL", "{ENVIRONMENT} names no point of the spool: `{text}`");
                Self::none()
            }
        }
    }

    /// Dies at the `occurrence`-th (from 1) passing of `point`, one of [`POINTS`].
    pub fn at(point: &str, occurrence: u64) -> Self {
        Self(Some(Arc::new(Armed { point: point.to_owned(), left: AtomicU64::new(occurrence.max(1)) })))
    }

    /// The process is at `point` now.
    pub fn pass(&self, point: &str) {
        let Some(armed) = &self.0 else { return };
        if armed.point == point && armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // SIGKILL, so that nothing is flushed, dropped or unwound.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            std::process::abort();
        }
    }
}
