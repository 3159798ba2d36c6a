//! Throttles of reception: at most so many messages in any window of so many seconds.
//!
//! A throttle belongs to the scope that declares it; whatever falls back to that scope draws from one window, on every
//! event loop and over every reload. The window is counted in slots, so that its memory does not grow with the rate: a
//! message leaves the count up to a 64th of the window late, never early.
//!
//! Invariant: in no window of `per_seconds` are more messages allowed than the throttle says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use config::{ScopeId, Throttle};

/// Parts of a window.
const SLOTS: usize = 64;

/// The windows of the process, by the scope that declares each and its length.
#[derive(Default)]
pub(crate) struct Throttles(Mutex<HashMap<(ScopeId, u64), Arc<Window>>>);

impl Throttles {
    /// The throttle of a session; none if it limits nothing.
    pub(crate) fn of(&self, declared: Throttle, now: Instant) -> Option<SharedThrottle> {
        if declared.is_unlimited() {
            return None;
        }
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Windows of scopes that no generation knows any more, and that nothing is counted in.
        windows.retain(|_, window| 1 < Arc::strong_count(window) || 0 < window.lock().count(now));
        let length = Duration::from_secs(declared.per_seconds);
        let window = windows.entry((declared.scope_id, declared.per_seconds));
        let window = window.or_insert_with(|| Arc::new(Window(Mutex::new(Slots::new(length, now)))));
        Some(SharedThrottle { declared, window: window.clone() })
    }
}

/// A throttle, as one session draws from it.
#[derive(Clone, Debug)]
pub struct SharedThrottle {
    declared: Throttle,
    window: Arc<Window>,
}

impl SharedThrottle {
    /// Whether a message would be allowed.
    pub(crate) fn has_room(&self, now: Instant) -> bool {
        self.window.lock().count(now) < self.declared.count
    }

    /// Counts a message; false if it is not allowed.
    pub(crate) fn take(&self, now: Instant) -> bool {
        let mut slots = self.window.lock();
        let room = slots.count(now) < self.declared.count;
        if room {
            slots.add();
        }
        room
    }
}

impl PartialEq for SharedThrottle {
    fn eq(&self, other: &Self) -> bool {
        self.declared == other.declared
    }
}

#[derive(Debug)]
struct Window(Mutex<Slots>);

impl Window {
    fn lock(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Slots {
    length: Duration,
    began: Instant,
    /// The slot of the last look, counted from `began`.
    newest: u64,
    /// One more than make a window: the oldest has not wholly left it.
    counts: [u64; SLOTS + 1],
    sum: u64,
}

impl Slots {
    fn new(length: Duration, began: Instant) -> Self {
        Self { length, began, newest: 0, counts: [0; SLOTS + 1], sum: 0 }
    }

    /// Messages in the window that ends now.
    fn count(&mut self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.began).as_nanos();
        let slot = (elapsed * SLOTS as u128 / self.length.as_nanos().max(1)) as u64;
        if slot.saturating_sub(self.newest) <= SLOTS as u64 {
            for passed in self.newest + 1..=slot {
                self.sum -= std::mem::take(&mut self.counts[index(passed)]);
            }
        } else {
            (self.counts, self.sum) = ([0; SLOTS + 1], 0);
        }
        self.newest = self.newest.max(slot);
        self.sum
    }

    /// Counts one in the slot of the last look.
    fn add(&mut self) {
        self.counts[index(self.newest)] += 1;
        self.sum += 1;
    }
}

fn index(slot: u64) -> usize {
    (slot % (SLOTS as u64 + 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn throttle(count: u64, per_seconds: u64, scope: u64) -> Throttle {
        Throttle { count, per_seconds, scope_id: ScopeId(scope) }
    }

    #[allow(clippy::disallowed_methods)] // an origin to count from; nothing is measured
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn what_falls_back_to_a_scope_shares_its_window_and_a_reload_keeps_it() {
        let (throttles, now) = (Throttles::default(), origin());
        let first = throttles.of(throttle(2, 10, 1), now).unwrap();
        let second = throttles.of(throttle(2, 10, 1), now).unwrap();
        let other = throttles.of(throttle(2, 10, 2), now).unwrap();
        assert!(first.take(now) && second.take(now) && !first.take(now) && other.take(now));
        drop((first, second));
        let after_reload = throttles.of(throttle(3, 10, 1), now).unwrap();
        assert!(after_reload.take(now) && !after_reload.take(now), "two are counted already");
        assert!(throttles.of(throttle(0, 1, 1), now).is_none());
        let later = now + Duration::from_secs(11);
        drop((after_reload, other));
        throttles.of(throttle(1, 1, 3), later);
        assert_eq!(throttles.0.lock().unwrap().len(), 1, "windows of forgotten scopes go");
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_the_throttle_allows(
            count in 1u64..5,
            per_seconds in 1u64..20,
            pauses in proptest::collection::vec(0u64..4000, 1..200),
        ) {
            let begin = origin();
            let shared = Throttles::default().of(throttle(count, per_seconds, 1), begin).unwrap();
            let (mut now, mut allowed) = (begin, Vec::new());
            for pause in pauses {
                now += Duration::from_millis(pause);
                let oldest_of_a_full_window = allowed.iter().rev().nth(count as usize - 1).copied();
                if shared.take(now) {
                    allowed.push(now);
                    if let Some(oldest) = oldest_of_a_full_window {
                        prop_assert!(Duration::from_secs(per_seconds) <= now - oldest);
                    }
                } else {
                    // Refused a little late at most.
                    let oldest: Instant = oldest_of_a_full_window.expect("the window is full");
                    prop_assert!(now - oldest <= Duration::from_secs(per_seconds) * 66 / 64);
                }
            }
        }
    }
}
