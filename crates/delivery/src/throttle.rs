//! Throttles: at most N events in any S seconds, counted in buckets that loops and generations share.
//!
//! A stanza that sets a throttle owns one bucket; whatever falls back to the value draws from it (reference: config-syntax.md
//! section 4.5). The quota of a window may be spent at once, and no window of S seconds ever holds more than N events: the
//! bucket remembers when its events were, exactly for up to [`GROUPS`] of them and within S / [`GROUPS`] for more.
//! Locks are held for a few steps of arithmetic; a queue without a throttle never comes here.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use config::Throttle;

/// A bucket, at the rate that one generation gives it.
#[derive(Clone, Debug)]
pub(crate) struct RateLimit {
    bucket: Arc<Bucket>,
    count: u64,
    period: Duration,
}

/// The events of one throttle.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    window: Mutex<Window>,
    /// Queues that wait for it.
    waiting: AtomicU32,
}

/// One event's place in the window. Dropped unspent, the place is free again.
#[derive(Debug)]
pub(crate) struct Token(Option<Arc<Bucket>>);

/// Held by a queue that waits for a bucket.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Bucket>);

impl RateLimit {
    /// The bucket at a rate; `None` if the rate limits nothing.
    pub(crate) fn new(throttle: Throttle, bucket: impl FnOnce() -> Arc<Bucket>) -> Option<Self> {
        let period = Duration::from_secs(throttle.per_seconds.max(1));
        (!throttle.is_unlimited()).then(|| Self { bucket: bucket(), count: throttle.count, period })
    }

    /// Counts an event, or says when the next one may be.
    pub(crate) fn take(&self, now: Instant) -> Result<Token, Instant> {
        self.bucket.lock().take(self.count, self.period, now).map(|()| Token(Some(self.bucket.clone())))
    }

    /// When an event may be, if it may not be now.
    pub(crate) fn busy_until(&self, now: Instant) -> Option<Instant> {
        self.bucket.lock().busy_until(self.count, self.period, now)
    }

    /// Joins those who wait for the bucket: when to try, of the moment it has a place again and the places of those who
    /// wait already, a millisecond each or what the rate takes for each if that is less. So a crowd of queues behind one
    /// throttle does not wake as one for every event.
    pub(crate) fn join(&self, free_at: Instant) -> (Waiting, Instant) {
        let before = self.bucket.waiting.fetch_add(1, Ordering::Relaxed);
        let apart = self.period / u32::try_from(self.count).unwrap_or(u32::MAX);
        let turn = free_at + apart.min(APART_MAX).saturating_mul(before).min(TURN_MAX);
        (Waiting(self.bucket.clone()), turn)
    }
}

impl Token {
    /// The event has happened.
    pub(crate) fn spend(mut self) {
        self.0 = None;
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if let Some(bucket) = self.0.take() {
            bucket.lock().give_back();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Bucket {
    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the events of the last window were.
#[derive(Debug, Default)]
struct Window {
    groups: VecDeque<Group>,
    total: u64,
}

/// Events that leave the window together.
#[derive(Debug)]
struct Group {
    first: Instant,
    last: Instant,
    events: u64,
}

impl Window {
    fn take(&mut self, count: u64, period: Duration, now: Instant) -> Result<(), Instant> {
        if let Some(until) = self.busy_until(count, period, now) {
            return Err(until);
        }
        let (most, span) = ((count / GROUPS).max(1), period / GROUPS as u32);
        match self.groups.back_mut() {
            Some(group) if group.events < most && now.saturating_duration_since(group.first) <= span => {
                group.events += 1;
                group.last = now;
            }
            _ => self.groups.push_back(Group { first: now, last: now, events: 1 }),
        }
        self.total += 1;
        Ok(())
    }

    fn busy_until(&mut self, count: u64, period: Duration, now: Instant) -> Option<Instant> {
        while let Some(oldest) = self.groups.front().filter(|group| group.last + period <= now) {
            self.total -= oldest.events;
            self.groups.pop_front();
        }
        // A rate that was lowered leaves more events than it allows: several groups must go first.
        let mut left = self.total;
        let enough = self.groups.iter().take_while(|group| {
            let busy = count <= left;
            left -= group.events;
            busy
        });
        enough.last().map(|group| group.last + period)
    }

    fn give_back(&mut self) {
        let Some(latest) = self.groups.back_mut() else { return };
        latest.events -= 1;
        self.total -= 1;
        if latest.events == 0 {
            self.groups.pop_back();
        }
    }
}

/// Groups the events of one window are remembered in.
const GROUPS: u64 = 64;
/// The longest wait for one of those who wait already.
const APART_MAX: Duration = Duration::from_millis(1);
/// The longest wait for all of them: things may have changed.
const TURN_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(count: u64, per_seconds: u64) -> RateLimit {
        let throttle = Throttle { count, per_seconds, ..Throttle::default() };
        RateLimit::new(throttle, Arc::<Bucket>::default).unwrap()
    }

    #[allow(clippy::disallowed_methods)] // an origin; nothing is measured
    fn origin() -> Instant {
        Instant::now()
    }

    /// Takes whenever it may until `seconds` are over: the seconds at which it did.
    fn events(limit: &RateLimit, start: Instant, seconds: u64) -> Vec<Duration> {
        let (mut now, mut taken) = (start, Vec::new());
        while now < start + Duration::from_secs(seconds) {
            match limit.take(now) {
                Ok(token) => {
                    token.spend();
                    taken.push(now - start);
                }
                Err(until) => now = until,
            }
        }
        taken
    }

    #[test]
    fn a_quota_may_be_spent_at_once_and_returns_after_its_window() {
        let seconds: Vec<u64> = events(&limit(2, 10), origin(), 25).iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [0, 0, 10, 10, 20, 20]);
        assert!(RateLimit::new(Throttle::default(), Arc::<Bucket>::default).is_none(), "0 limits nothing");
    }

    #[test]
    fn no_window_ever_holds_more_than_the_rate_and_the_rate_is_reached() {
        for (count, per_seconds) in [(1, 10), (10, 1), (100, 60), (1000, 7), (20_000, 1)] {
            let (limit, start, period) = (limit(count, per_seconds), origin(), Duration::from_secs(per_seconds));
            // Not at a boundary: a third of the quota is used before the others come.
            for _ in 0..count / 3 {
                limit.take(start).unwrap().spend();
            }
            let times = events(&limit, start + period / 2, per_seconds * 10);
            let crowded = times.windows(count as usize + 1).filter(|run| run[run.len() - 1] - run[0] < period).count();
            assert_eq!(crowded, 0, "{count}/{per_seconds}");
            assert!(count * 9 <= times.len() as u64, "{} of {} at {count}/{per_seconds}", times.len(), count * 10);
        }
    }

    #[test]
    fn what_is_not_spent_is_free_again() {
        let (limit, now) = (limit(1, 60), origin());
        let token = limit.take(now).unwrap();
        assert_eq!(limit.busy_until(now), Some(now + Duration::from_secs(60)));
        drop(token);
        assert_eq!(limit.busy_until(now), None);
    }

    #[test]
    fn a_lower_rate_counts_what_was_done_under_the_higher_one() {
        let (high, now) = (limit(10, 60), origin());
        for second in 0..10 {
            high.take(now + Duration::from_secs(second)).unwrap().spend();
        }
        let low = RateLimit { count: 3, ..high };
        let later = now + Duration::from_secs(30);
        assert_eq!(low.busy_until(later), Some(now + Duration::from_secs(67)), "when three are left, one of them goes");
    }

    #[test]
    fn those_who_wait_get_turns_one_after_the_other() {
        let (limit, now) = (limit(10, 1), origin());
        let (first, at) = limit.join(now);
        let (_second, later) = limit.join(now);
        assert_eq!((at, later), (now, now + APART_MAX));
        drop(first);
        assert_eq!(limit.join(now).1, later, "a place is free again");
    }
}
