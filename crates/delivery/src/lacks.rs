//! What this machine lacks for connections: told to the operator once while it lasts, counted each time.
//!
//! Shared by the loops. The mail waits meanwhile, and no host is held to account; see [`Lack`].

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use scheduler::{Counter, Lack, Meters};

/// What is lacking, and since when nobody was told of it.
pub(crate) struct Lacks {
    /// `delivery.lacks.…`
    counters: HashMap<Lack, Counter>,
    seen: Mutex<HashMap<Lack, Instant>>,
}

impl Lacks {
    pub(crate) fn new(meters: &Meters) -> Self {
        let counter = |lack: Lack| (lack, meters.counter(&format!("delivery.lacks.{}", lack.word())));
        Self { counters: Lack::ALL.map(counter).into(), seen: Mutex::default() }
    }

    /// A connection did not come about for that. The first time in a while the operator is told, with `what` it was for.
    pub(crate) fn note(&self, lack: Lack, now: Instant, what: &dyn std::fmt::Display) {
        if let Some(counter) = self.counters.get(&lack) {
            counter.add(1);
        }
        let before = self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(lack, now);
        if before.is_none_or(|before| QUIET < now.saturating_duration_since(before)) {
            tracing::error!(target: "NET", "no connection to {what}: {lack}; the mail waits, and the host is not held to account");
        }
    }
}

/// After so long without it, what is lacking again is news.
const QUIET: Duration = Duration::from_secs(60);
/// How long mail waits before what was lacking is tried for again.
pub(crate) const LACK_PAUSE: Duration = Duration::from_secs(1);
