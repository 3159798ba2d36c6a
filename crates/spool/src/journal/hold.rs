//! The hold: while it lasts nothing that is on disk is moved, scrubbed or summarised, so that the files can be copied one
//! after the other, in any order, while mail comes and goes.
//!
//! The console asks for one and gives it back; upkeep asks before each piece of work that reclaims. A hold ends by itself
//! when its time is over, when the device has no room for a further segment, and when a write fails: an abandoned segment may
//! be copied before the header that says where it ends. A copy made under such a hold is void, and whoever gives the hold
//! back is told so. Called from any thread.
//!
//! Invariant: between a [`Hold::begin`] that has returned and the [`Hold::end`] that says the copy is good, no record that
//! was on disk has left its place.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Whether the journal is held.
#[derive(Default)]
pub struct Hold {
    state: Mutex<State>,
    /// Locked for the time of one piece of upkeep.
    work: Mutex<()>,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Free,
    Held {
        since: Instant,
        until: Instant,
    },
    Void(Void),
}

/// Why a copy is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Void {
    /// Nobody asked for a hold in this run, or it was given back.
    NotHeld,
    /// The time it was asked for was over.
    Late,
    /// Room had to be made.
    Short,
    /// A write or sync failed.
    Failed,
}

impl Hold {
    /// Holds for at most `lasting`. Waits for the piece of upkeep that is being done. A hold there is already is prolonged,
    /// never cut short.
    pub fn begin(&self, now: Instant, lasting: Duration) {
        let _work = self.work();
        let mut state = self.state();
        let (since, former) = match *state {
            State::Held { since, until } if now < until => (since, until),
            _ => (now, now),
        };
        *state = State::Held { since, until: former.max(now + lasting) };
    }

    /// Gives it back; how long it was held. An error says why nothing copied meanwhile can be relied on.
    pub fn end(&self, now: Instant) -> Result<Duration, Void> {
        match std::mem::take(&mut *self.state()) {
            State::Held { since, until } if now < until => Ok(now - since),
            State::Held { .. } => Err(Void::Late),
            State::Void(void) => Err(void),
            State::Free => Err(Void::NotHeld),
        }
    }

    /// Whether nothing may be reclaimed now.
    pub fn is_in_effect(&self, now: Instant) -> bool {
        let mut state = self.state();
        if let State::Held { until, .. } = *state
            && until <= now
        {
            tracing::error!(target: "SPOOL", "the spool was held for its full time and not released: a backup that is still being copied is void");
            *state = State::Void(Void::Late);
        }
        matches!(*state, State::Held { .. })
    }

    /// Ends it, if there is one: what was copied cannot be relied on.
    pub fn void(&self, why: Void) {
        let mut state = self.state();
        if matches!(*state, State::Held { .. }) {
            tracing::error!(target: "SPOOL", "the hold of the spool has ended, {why}: a backup that is being copied is void");
            *state = State::Void(why);
        }
    }

    /// Whoever does a piece of upkeep has this meanwhile.
    pub fn work(&self) -> MutexGuard<'_, ()> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Void {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHeld => "there is no hold: none was asked for since the daemon started, or it was released",
            Self::Late => "its time is over: ask for more seconds",
            Self::Short => "the device had no room for another segment without reclaiming some",
            Self::Failed => "a write or sync failed",
        })
    }
}
