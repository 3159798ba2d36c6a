//! Throttles: at most N events in any S seconds, counted in buckets that loops and generations share.
//!
//! A stanza that sets a throttle owns one bucket; whatever falls back to the value draws from it (reference: config-syntax.md
//! section 4.5). The quota of a window may be spent at once, and no window of S seconds ever holds more than N events, by the
//! clock of whoever sees them: from its taking until it is spent, when its end is known here, an event counts as happening all
//! the while. The bucket remembers when events ended, exactly for up to [`GROUPS`] of them and within S / [`GROUPS`] for more.
//! Locks are held for a few steps of arithmetic; a queue without a throttle never comes here.
//!
//! A bucket whose spent part is noted for the next start (`notes`) gives no more places than the note on disk admits: it may
//! lag behind, but never by more than the allowance that it grants.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use config::Throttle;
use tokio::sync::Notify;

use crate::limits::LimitName;

/// A bucket, at the rate that one generation gives it.
#[derive(Clone, Debug)]
pub(crate) struct RateLimit {
    bucket: Arc<Bucket>,
    count: u64,
    period: Duration,
    name: Option<Arc<LimitName>>,
}

/// The events of one throttle.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    window: Mutex<Window>,
    /// Queues that wait for it.
    waiting: AtomicU32,
    /// A place was given back unspent, or a note admits more.
    returned: Notify,
    /// Told when it wants to be noted; `None` if nobody takes notes.
    notes: Option<Arc<Notify>>,
}

/// The spent part of a bucket, as a note has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    /// The window.
    pub(crate) period: Duration,
    /// Events that may happen at any moment before the next note: those under way, and those it admits.
    pub(crate) open: u64,
    /// How many events ended when, in order.
    pub(crate) ended: Vec<(Instant, u64)>,
}

/// One event's place in the window. Dropped unspent, the place is free again.
#[derive(Debug)]
pub(crate) struct Token {
    limit: Option<RateLimit>,
    /// When it was kept for an event that may not come: then it is free again after a window.
    reserved: Option<Instant>,
}

/// Held by a queue that waits for a bucket.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Bucket>);

impl RateLimit {
    /// The bucket at a rate; `None` if the rate limits nothing.
    pub(crate) fn new(throttle: Throttle, bucket: impl FnOnce() -> Arc<Bucket>) -> Option<Self> {
        let period = Duration::from_secs(throttle.per_seconds.max(1));
        (!throttle.is_unlimited()).then(|| Self { bucket: bucket(), count: throttle.count, period, name: None })
    }

    /// The same under a name.
    pub(crate) fn named(self, name: LimitName) -> Self {
        Self { name: Some(Arc::new(name)), ..self }
    }

    pub(crate) fn name(&self) -> Option<&LimitName> {
        self.name.as_deref()
    }

    /// An event begins, or this is when the next one may.
    pub(crate) fn take(&self, now: Instant) -> Result<Token, Instant> {
        let mut window = self.bucket.lock();
        self.room_in(&mut window, now)?;
        window.in_flight += 1;
        Ok(Token { limit: Some(self.clone()), reserved: None })
    }

    /// Keeps a place for an event that may begin soon: for a window at most, for nobody knows how long that takes.
    pub(crate) fn reserve(&self, now: Instant) -> Result<Token, Instant> {
        let mut window = self.bucket.lock();
        self.room_in(&mut window, now)?;
        window.reserved.push_back(now);
        Ok(Token { limit: Some(self.clone()), reserved: Some(now) })
    }

    fn room_in(&self, window: &mut Window, now: Instant) -> Result<(), Instant> {
        self.busy_in(window, now).map_or(Ok(()), Err)?;
        window.admitted = window.admitted.saturating_sub(1);
        window.promised = window.promised.map(|promised| promised.saturating_sub(1));
        Ok(())
    }

    /// When an event may be, if it may not be now.
    pub(crate) fn busy_until(&self, now: Instant) -> Option<Instant> {
        self.busy_in(&mut self.bucket.lock(), now)
    }

    fn busy_in(&self, window: &mut Window, now: Instant) -> Option<Instant> {
        if let Some(until) = window.busy_until(self.count, self.period, now) {
            return Some(until);
        }
        let notes = self.bucket.notes.as_ref()?;
        window.rate = (self.count, self.period);
        window.is_asked = true;
        if window.admitted <= allowance(self.count) / 2 {
            window.wants_note = true;
            notes.notify_one();
        }
        (window.admitted == 0).then_some(now + NOTE_WAIT)
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
    /// The event that it was kept for begins, or this is when it may.
    pub(crate) fn begin(mut self, now: Instant) -> Result<Self, Instant> {
        let (Some(limit), Some(at)) = (&self.limit, self.reserved) else { return Ok(self) };
        let mut window = limit.bucket.lock();
        if window.unreserve(at) {
            window.in_flight += 1;
            drop(window);
            self.reserved = None;
            return Ok(self);
        }
        drop(window);
        limit.take(now)
    }

    /// The event is over: whoever was to see it has.
    pub(crate) fn spend(mut self, now: Instant) {
        let Some(limit) = self.limit.take() else { return };
        let mut window = limit.bucket.lock();
        match self.reserved {
            Some(at) => drop(window.unreserve(at)),
            None => window.in_flight -= 1,
        }
        window.ended(limit.count, limit.period, now);
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let Some(limit) = self.limit.take() else { return };
        let mut window = limit.bucket.lock();
        match self.reserved {
            Some(at) => drop(window.unreserve(at)),
            None => window.in_flight -= 1,
        }
        window.admitted += 1;
        window.promised = window.promised.map(|promised| promised + 1);
        drop(window);
        if limit.bucket.waiting.load(Ordering::Relaxed) != 0 {
            limit.bucket.returned.notify_one();
        }
    }
}

impl Waiting {
    /// Resolves when a place came back unspent.
    pub(crate) async fn returned(&self) {
        self.0.returned.notified().await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Bucket {
    /// One whose spent part is noted. It begins as the last note has it; if that could not be read, it counts as spent for a
    /// window since then, and no longer than [`UNKNOWN_MAX`].
    pub(crate) fn noted(
        notes: Arc<Notify>,
        spent: Option<Spent>,
        unknown_since: Option<Instant>,
        now: Instant,
    ) -> Self {
        let mut window = Window { unknown_since, ..Window::default() };
        if let Some(Spent { period, open, ended }) = spent {
            window.rate.1 = period;
            // Whatever was open may have happened as late as now.
            let open = (open != 0).then_some((now, open));
            for (at, events) in ended.into_iter().chain(open) {
                window.groups.push_back(Group { first: at, last: at, events });
                window.total += events;
            }
        }
        Self { window: Mutex::new(window), notes: Some(notes), ..Self::default() }
    }

    /// What a note has to say of it; `None` if there is nothing. With `more`, the note admits further events, once
    /// [`Bucket::written`] says that it stands.
    pub(crate) fn spent(&self, now: Instant, more: bool) -> Option<Spent> {
        let mut window = self.lock();
        let (count, period) = window.rate;
        window.busy_until(count, period, now);
        let under_way = window.in_flight + window.reserved.len() as u64;
        // One that was asked since the last note may be half of what its queue waits for: what it gave stays given.
        let was_asked = std::mem::take(&mut window.is_asked);
        let in_use = under_way != 0 || !window.groups.is_empty() || window.wants_note || was_asked;
        if more && in_use && count != 0 {
            window.promised = Some(allowance(count).max(window.admitted));
        } else {
            (window.admitted, window.promised) = (0, None);
        }
        let open = under_way + window.promised.unwrap_or(0);
        let groups: Vec<&Group> = window.groups.iter().collect();
        let together = groups.len().div_ceil(GROUPS_NOTED).max(1);
        let ended = groups.chunks(together).filter_map(|run| {
            let events = run.iter().map(|group| group.events).sum();
            run.last().map(|group| (group.last, events))
        });
        in_use.then(|| Spent { period, open, ended: ended.collect() })
    }

    /// The last note stands, or cannot be written, which is no reason to hold mail up.
    pub(crate) fn written(&self) {
        let mut window = self.lock();
        let Some(promised) = window.promised.take() else { return };
        (window.admitted, window.wants_note) = (promised, false);
        drop(window);
        for _ in 0..promised.min(self.waiting.load(Ordering::Relaxed).into()) {
            self.returned.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events that count.
#[derive(Debug, Default)]
struct Window {
    /// Begun, and not over.
    in_flight: u64,
    /// When places were kept.
    reserved: VecDeque<Instant>,
    /// When those of the last window ended.
    groups: VecDeque<Group>,
    total: u64,
    /// Nothing is known of the time before: all events of the window before count as spent.
    unknown_since: Option<Instant>,
    /// The rate it was last asked at, if it is noted.
    rate: (u64, Duration),
    /// Events that the note on disk admits beyond those it knows.
    admitted: u64,
    /// Those that the note under way will, less what has begun since.
    promised: Option<u64>,
    /// Somebody waits for the next note, or will soon.
    wants_note: bool,
    /// Somebody has asked for a place since the last note.
    is_asked: bool,
}

/// Events that leave the window together.
#[derive(Debug)]
struct Group {
    first: Instant,
    last: Instant,
    events: u64,
}

impl Window {
    fn ended(&mut self, count: u64, period: Duration, now: Instant) {
        let (most, span) = ((count / GROUPS).max(1), period / GROUPS as u32);
        match self.groups.back_mut() {
            Some(group) if group.events < most && now.saturating_duration_since(group.first) <= span => {
                group.events += 1;
                group.last = group.last.max(now);
            }
            _ => self.groups.push_back(Group { first: now, last: now, events: 1 }),
        }
        self.total += 1;
    }

    /// Whether it was still kept.
    fn unreserve(&mut self, at: Instant) -> bool {
        let place = self.reserved.iter().position(|reserved| *reserved == at);
        place.and_then(|place| self.reserved.remove(place)).is_some()
    }

    fn busy_until(&mut self, count: u64, period: Duration, now: Instant) -> Option<Instant> {
        while let Some(oldest) = self.groups.front().filter(|group| group.last + period <= now) {
            self.total -= oldest.events;
            self.groups.pop_front();
        }
        self.reserved.retain(|at| now < *at + period);
        match self.unknown_since.map(|since| since + period.min(UNKNOWN_MAX)) {
            Some(until) if now < until => return Some(until),
            _ => self.unknown_since = None,
        }
        let taken = self.in_flight + self.reserved.len() as u64 + self.total;
        // A rate that was lowered leaves more events than it allows: several must go first.
        let mut too_many = (taken + 1).saturating_sub(count);
        if too_many == 0 {
            return None;
        }
        let ended = self.groups.iter().map(|group| (group.last, group.events));
        let mut leaving: Vec<(Instant, u64)> = ended.chain(self.reserved.iter().map(|at| (*at, 1))).collect();
        leaving.sort_unstable();
        for (at, events) in leaving {
            too_many = too_many.saturating_sub(events);
            if too_many == 0 {
                return Some(at + period);
            }
        }
        // What is in flight ends now at the earliest.
        Some(now + period)
    }
}

/// Events that a note admits beyond those it knows: an eighth of the rate is what a killed process may forfeit.
fn allowance(count: u64) -> u64 {
    count.div_ceil(8).max(1)
}

/// Groups the events of one window are remembered in.
const GROUPS: u64 = 64;
/// Groups of a note.
const GROUPS_NOTED: usize = 8;
/// A bucket that waits for its note looks again after so long, should nobody have told it.
const NOTE_WAIT: Duration = Duration::from_millis(50);
/// The longest time for which nothing goes because what was spent is unknown.
pub(crate) const UNKNOWN_MAX: Duration = Duration::from_secs(3600);
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
                    token.spend(now);
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
                limit.take(start).unwrap().spend(start);
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
            let at = now + Duration::from_secs(second);
            high.take(at).unwrap().spend(at);
        }
        let low = RateLimit { count: 3, ..high };
        let later = now + Duration::from_secs(30);
        assert_eq!(low.busy_until(later), Some(now + Duration::from_secs(67)), "when three are left, one of them goes");
    }

    #[test]
    fn an_event_counts_from_its_beginning_until_a_window_after_its_end() {
        let (limit, start) = (limit(2, 10), origin());
        let at = |seconds| start + Duration::from_secs(seconds);
        let (slow, quick) = (limit.take(start).unwrap(), limit.take(start).unwrap());
        quick.spend(start);
        assert_eq!(limit.busy_until(at(1)), Some(at(10)));
        let third = limit.take(at(10)).unwrap();
        assert!(limit.take(at(30)).is_err(), "two are under way, and may be seen at any moment");
        slow.spend(at(30));
        third.spend(at(31));
        assert_eq!(limit.busy_until(at(35)), Some(at(40)));
    }

    #[test]
    fn a_place_is_kept_for_a_window_and_used_or_given_back() {
        let (limit, start) = (limit(1, 10), origin());
        let at = |seconds| start + Duration::from_secs(seconds);
        let kept = limit.reserve(start).unwrap();
        assert!(limit.take(at(5)).is_err());
        let begun = kept.begin(at(9)).unwrap();
        assert!(limit.take(at(25)).is_err(), "it is under way");
        begun.spend(at(25));
        let kept = limit.reserve(at(35)).unwrap();
        let other = limit.take(at(45)).unwrap();
        assert!(kept.begin(at(46)).is_err(), "kept too long: it is another's");
        drop(other);
        assert!(limit.take(at(46)).is_ok());
    }

    /// Whoever sees the events at any moment between their beginning and their end never sees too many.
    #[test]
    fn no_receiver_sees_more_than_the_rate_however_long_events_are_under_way() {
        for seed in 0..50 {
            let random = scheduler::Random::seeded(seed);
            let (count, per_seconds) = (1 + random.below(20), 1 + random.below(5));
            let (limit, start, period) = (limit(count, per_seconds), origin(), Duration::from_secs(per_seconds));
            let (mut now, mut seen, mut under_way) = (start, Vec::new(), VecDeque::<(Instant, Token)>::new());
            for _ in 0..2000 {
                now += Duration::from_millis(random.below(1 + 2000 * per_seconds / count));
                while under_way.front().is_some_and(|(end, _)| *end <= now) {
                    let (end, token) = under_way.pop_front().unwrap();
                    token.spend(end.max(now));
                }
                if let Ok(token) = limit.take(now) {
                    let takes = Duration::from_millis(random.below(3000));
                    seen.push(now + takes.mul_f64(random.below(101) as f64 / 100.0));
                    under_way.push_back((now + takes, token));
                    under_way.make_contiguous().sort_by_key(|(end, _)| *end);
                }
            }
            seen.sort();
            let crowded = seen.windows(count as usize + 1).filter(|run| run[run.len() - 1] - run[0] < period).count();
            assert_eq!(crowded, 0, "seed {seed}: {count}/{per_seconds}");
            assert!(count < seen.len() as u64);
        }
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

    /// A queue that needs places of several idle buckets gets them after as many notes, whichever it asks first.
    #[test]
    fn places_of_idle_buckets_can_be_had_together() {
        let now = origin();
        let noted = |count| {
            let throttle = Throttle { count, per_seconds: 10, ..Throttle::default() };
            RateLimit::new(throttle, || Arc::new(Bucket::noted(Arc::default(), None, None, now))).unwrap()
        };
        let limits = [noted(5), noted(20), noted(100)];
        for note in 0..=limits.len() {
            if limits.iter().map(|limit| limit.take(now)).collect::<Result<Vec<_>, _>>().is_ok() {
                return;
            }
            assert!(note < limits.len(), "one takes back what the other gave");
            for limit in &limits {
                limit.bucket.spent(now, true);
                limit.bucket.written();
            }
        }
    }

    #[test]
    fn a_bucket_that_nobody_asks_any_more_leaves_the_note() {
        let throttle = Throttle { count: 8, per_seconds: 10, ..Throttle::default() };
        let limit = RateLimit::new(throttle, || Arc::new(Bucket::noted(Arc::default(), None, None, origin()))).unwrap();
        assert!(limit.take(origin()).is_err());
        assert!(limit.bucket.spent(origin(), true).is_some());
        limit.bucket.written();
        assert!(limit.bucket.spent(origin(), true).is_none());
        assert!(limit.take(origin()).is_err(), "what was given is taken back");
    }
}
