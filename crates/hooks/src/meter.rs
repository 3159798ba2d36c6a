//! What is counted of each provider of each hook, for the life of the process.
//!
//! Calls are counted by the thread that makes them: its own cache line, nothing shared with other loops. What is rare
//! (suspensions, refusals, errors) goes to the counters `hooks.suspensions{hook,module}` and so on at once. One poll in
//! `SAMPLED` is timed. While a provider runs its thread is marked with the meter's number, so that the watchdog can
//! name it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use scheduler::{Clock, Counter, Doing, Measure, Meters};

/// The meter of one provider.
pub struct ProviderMeter {
    pub(crate) hook: String,
    pub(crate) module: Arc<str>,
    number: u64,
    clock: Clock,
    shards: [Shard; SHARDS],
    suspensions: Counter,
    refusals: Counter,
    errors: Counter,
}

/// The figures of one thread, on a line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Shard {
    polls: AtomicU64,
    /// Of those, polls of a call that had been suspended.
    again: AtomicU64,
    timed: AtomicU64,
    nanos: AtomicU64,
    longest: AtomicU64,
}

/// What is told of a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Calls.
    pub calls: u64,
    /// Calls that it suspended.
    pub suspensions: u64,
    /// Times it suspended where it may not.
    pub refusals: u64,
    /// Times it failed, or gave an answer that means nothing.
    pub errors: u64,
    /// Polls that were timed, one of every 64.
    pub timed: u64,
    /// The time that these took together.
    pub time: Duration,
    /// The longest of them.
    pub longest: Duration,
}

impl ProviderMeter {
    /// `number` is its own, and not zero.
    pub(crate) fn new(hook: &str, module: &str, number: u64, clock: Clock, meters: &Meters) -> Self {
        let counter = |what: &str| meters.counter(&format!("hooks.{what}{{{hook},{module}}}"));
        Self {
            hook: hook.to_owned(),
            module: module.into(),
            number,
            clock,
            shards: Default::default(),
            suspensions: counter("suspensions"),
            refusals: counter("refusals"),
            errors: counter("errors"),
        }
    }

    /// The next poll is no new call.
    pub(crate) fn goes_on(&self) {
        self.shard().again.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs one poll under the thread's mark.
    pub(crate) fn poll<T>(&self, poll: impl FnOnce() -> T) -> T {
        let _doing = Doing::begin(self.number);
        let shard = self.shard();
        if !shard.polls.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLED) {
            return poll();
        }
        let before = self.clock.now();
        let polled = poll();
        let took = self.clock.now().saturating_duration_since(before);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        shard.timed.fetch_add(1, Ordering::Relaxed);
        shard.nanos.fetch_add(nanos, Ordering::Relaxed);
        shard.longest.fetch_max(nanos, Ordering::Relaxed);
        polled
    }

    pub(crate) fn suspended(&self) {
        self.suspensions.add(1);
    }

    /// Counts a suspension that is not allowed, and says so now and then.
    pub(crate) fn refused(&self) {
        self.refusals.add(1);
        self.say(self.refusals.get(), "suspended a call that may not be suspended");
    }

    /// Counts a failure, and says so now and then.
    pub(crate) fn failed(&self, why: &str) {
        self.errors.add(1);
        self.say(self.errors.get(), why);
    }

    /// Said the first time, the second, the fourth and so on: a provider that fails each time floods no log.
    fn say(&self, times: u64, what: &str) {
        if !times.is_power_of_two() {
            return;
        }
        let (hook, module) = (&self.hook, &self.module);
        // What is said is a call of core_log_error: a provider of that which fails is said once and not for ever.
        SAYING.with(|saying| {
            if !saying.replace(true) {
                tracing::error!(target: "MOD", "hook {hook}: module {module} {what} ({times} times so far)");
                saying.set(false);
            }
        });
    }

    pub(crate) fn figures(&self) -> Figures {
        let sum = |of: fn(&Shard) -> &AtomicU64| {
            self.shards.iter().map(|shard| of(shard).load(Ordering::Relaxed)).sum::<u64>()
        };
        let longest = self.shards.iter().map(|shard| shard.longest.load(Ordering::Relaxed)).max().unwrap_or(0);
        Figures {
            calls: sum(|shard| &shard.polls).saturating_sub(sum(|shard| &shard.again)),
            suspensions: self.suspensions.get(),
            refusals: self.refusals.get(),
            errors: self.errors.get(),
            timed: sum(|shard| &shard.timed),
            time: Duration::from_nanos(sum(|shard| &shard.nanos)),
            longest: Duration::from_nanos(longest),
        }
    }

    fn shard(&self) -> &Shard {
        &self.shards[THREAD.with(|thread| *thread) % SHARDS]
    }
}

thread_local! {
    /// Which shard is this thread's; threads share one only when there are more of them than shards.
    static THREAD: usize = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
    static SAYING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Process-wide, because threads are: it only tells them apart.
static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);
const SHARDS: usize = 8;
/// One poll in so many is timed.
const SAMPLED: u64 = 64;

/// What is counted of every provider.
pub const MEASURES: &[Measure] = &[
    Measure::counter("hooks.suspensions{*,*}", "calls", "Calls that a provider suspended, by hook and module.")
        .by(LABELS),
    Measure::counter(
        "hooks.refusals{*,*}",
        "calls",
        "Times a provider suspended a call that may not be suspended, by hook and module.",
    )
    .by(LABELS),
    Measure::counter(
        "hooks.errors{*,*}",
        "calls",
        "Times a provider failed, or returned what means nothing, by hook and module.",
    )
    .by(LABELS),
];
const LABELS: &[&str] = &["hook", "module"];
