//! Words to the operator about what may come in crowds: one a second, with how many were left out before it.

use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(crate) struct Telling {
    told_at: Option<Instant>,
    untold: usize,
}

impl Telling {
    /// How many others there were since somebody was last told; `None` if nobody is to be told now.
    pub(crate) fn tell(&mut self, now: Instant) -> Option<usize> {
        if self.told_at.is_some_and(|told_at| now < told_at + TOLD_EVERY) {
            self.untold += 1;
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// The least time between two words.
const TOLD_EVERY: Duration = Duration::from_secs(1);
