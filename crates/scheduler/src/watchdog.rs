//! The watchdog: names the loop that something blocks.
//!
//! Every loop's heart beats a few times within the limit; a thread of our own looks at all hearts. A loop silent for
//! longer than the limit is reported once, and once more when it beats again. The reports go to a callback, which
//! runs on the watchdog's thread, and to the counter `scheduler.loop.{name}.blocked`.
//!
//! Invariant: a loop that is reported blocked is reported recovered before it can be reported blocked again.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::{Clock, Counter, Doing, Meters};

/// What the watchdog saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The loop has not beaten for longer than the limit: something blocks it.
    Blocked {
        /// The loop, for example `default/0`.
        name: String,
        /// Since its last beat.
        silent_for: Duration,
        /// What it is marked with ([`crate::Doing`]); zero if with nothing.
        doing: u64,
    },
    /// It beats again.
    Recovered {
        /// The loop.
        name: String,
        /// From its last beat before the silence to the first one after.
        blocked_for: Duration,
    },
}

/// Watches every loop that is started with it. Cloning shares it; the last clone ends its thread.
#[derive(Clone)]
pub struct Watchdog(Option<Arc<Shared>>);

struct Shared {
    clock: Clock,
    /// Beats are stored as milliseconds since this.
    start: Instant,
    limit_millis: AtomicU64,
    hearts: Mutex<Vec<Weak<Heart>>>,
    last_look: AtomicU64,
    meters: Meters,
    stop: Arc<Stop>,
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Watchdog {
    /// Starts the watchdog's thread. `clock` is the machine's; `limit` is how long a loop may be silent.
    pub fn start(
        clock: Clock,
        limit: Duration,
        meters: &Meters,
        report: impl FnMut(Report) + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(Stop::default());
        let shared = Arc::new(Shared {
            clock,
            start: clock.now(),
            limit_millis: AtomicU64::new(millis(limit)),
            hearts: Mutex::default(),
            last_look: AtomicU64::new(0),
            meters: meters.clone(),
            stop: stop.clone(),
        });
        let watched = Arc::downgrade(&shared);
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || look(&watched, &stop, report))?;
        Ok(Self(Some(shared)))
    }

    /// A watchdog that sees nothing: for tools, and for tests that do not care.
    pub fn off() -> Self {
        Self(None)
    }

    /// Changes the limit; takes effect with the next look.
    pub fn set_limit(&self, limit: Duration) {
        if let Some(shared) = &self.0 {
            shared.limit_millis.store(millis(limit), Ordering::Relaxed);
        }
    }

    /// A heart for the loop of that name, which is the calling thread's. The loop is forgotten when its heart is dropped.
    pub(crate) fn watch(&self, name: &str) -> Beating {
        Beating(self.0.as_ref().map(|shared| shared.watch(name)))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        *lock(&self.stop.stopped) = true;
        self.stop.changed.notify_all();
    }
}

impl Shared {
    fn watch(self: &Arc<Self>, name: &str) -> (Weak<Self>, Arc<Heart>) {
        let heart = Arc::new(Heart {
            name: name.to_owned(),
            last_beat: AtomicU64::new(self.millis_now()),
            silent_since: AtomicU64::new(NEVER),
            blocked: self.meters.counter(&format!("scheduler.loop.{name}.blocked")),
            doing: Doing::of_this_thread(),
        });
        lock(&self.hearts).push(Arc::downgrade(&heart));
        (Arc::downgrade(self), heart)
    }

    fn millis_now(&self) -> u64 {
        millis(self.clock.now().saturating_duration_since(self.start))
    }

    /// Looks at every heart once. Reports are handed out after the lock is released.
    fn look(&self) -> Vec<Report> {
        let limit = self.limit_millis.load(Ordering::Relaxed);
        let now = self.millis_now();
        let since_last_look = now.saturating_sub(self.last_look.swap(now, Ordering::Relaxed));
        if limit.saturating_add(millis(self.interval())) < since_last_look {
            // The machine stood still, not the loops: give them a round to beat.
            return Vec::new();
        }
        let mut hearts = lock(&self.hearts);
        hearts.retain(|heart| heart.strong_count() != 0);
        hearts.iter().filter_map(Weak::upgrade).filter_map(|heart| heart.examine(now, limit)).collect()
    }

    /// How often to look, and how often to beat.
    fn interval(&self) -> Duration {
        Duration::from_millis((self.limit_millis.load(Ordering::Relaxed) / 4).clamp(1, BEAT_MILLIS_MAX))
    }
}

/// One loop's heart, as the watchdog sees it.
struct Heart {
    name: String,
    /// Milliseconds since the watchdog's start.
    last_beat: AtomicU64,
    /// The last beat before a reported silence, else `NEVER`. Written by the watchdog's thread only.
    silent_since: AtomicU64,
    blocked: Counter,
    /// Written by the loop's thread.
    doing: Arc<AtomicU64>,
}

impl Heart {
    fn examine(&self, now: u64, limit: u64) -> Option<Report> {
        let (beat, silent_since) = (self.last_beat.load(Ordering::Relaxed), self.silent_since.load(Ordering::Relaxed));
        if silent_since != NEVER && silent_since != beat {
            self.silent_since.store(NEVER, Ordering::Relaxed);
            let blocked_for = Duration::from_millis(beat.saturating_sub(silent_since));
            return Some(Report::Recovered { name: self.name.clone(), blocked_for });
        }
        let silent_for = now.saturating_sub(beat);
        if silent_since == NEVER && limit < silent_for {
            self.silent_since.store(beat, Ordering::Relaxed);
            self.blocked.add(1);
            let (silent_for, doing) = (Duration::from_millis(silent_for), self.doing.load(Ordering::Relaxed));
            return Some(Report::Blocked { name: self.name.clone(), silent_for, doing });
        }
        None
    }
}

/// The loop's side of its heart. Empty under [`Watchdog::off`].
pub(crate) struct Beating(Option<(Weak<Shared>, Arc<Heart>)>);

impl Beating {
    /// Beats as long as the loop lives and somebody watches.
    pub(crate) async fn beat_forever(self) {
        let Some((watchdog, heart)) = &self.0 else { return };
        while let Some(interval) = watchdog.upgrade().map(|shared| {
            heart.last_beat.store(shared.millis_now(), Ordering::Relaxed);
            shared.interval()
        }) {
            tokio::time::sleep(interval).await;
        }
    }
}

/// The watchdog's thread.
fn look(watched: &Weak<Shared>, stop: &Stop, mut report: impl FnMut(Report)) {
    let mut stopped = lock(&stop.stopped);
    while !*stopped {
        // Held only while looking, so that the last Watchdog clone can go.
        let Some(shared) = watched.upgrade() else { return };
        let (interval, reports) = (shared.interval(), shared.look());
        drop(stopped);
        drop(shared);
        reports.into_iter().for_each(&mut report);
        stopped = lock(&stop.stopped);
        if !*stopped {
            stopped = stop.changed.wait_timeout(stopped, interval).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const NEVER: u64 = u64::MAX;
/// An idle loop wakes at most twice a second for its heart.
const BEAT_MILLIS_MAX: u64 = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoopPool;
    use std::sync::mpsc;

    #[test]
    fn a_blocked_loop_is_named_and_named_again_when_it_recovers() {
        let meters = Meters::new();
        let (reports, reported) = mpsc::channel();
        let limit = Duration::from_millis(20);
        let watchdog =
            Watchdog::start(Clock::system(), limit, &meters, move |report| drop(reports.send(report))).unwrap();
        let pool = LoopPool::start("default", 2, &watchdog, &meters).unwrap();
        let (release, released) = mpsc::channel::<()>();
        pool.loops()[1].post(move || assert!(released.recv().is_err(), "nothing is sent"));

        // A loaded test machine may make the other loop late too: only ours is asked about.
        let mut of_ours = reported.iter().filter(|report| match report {
            Report::Blocked { name, .. } | Report::Recovered { name, .. } => name == "default/1",
        });
        loop {
            // Not yet blocked by us, but late all the same, would recover by itself.
            match of_ours.next().unwrap() {
                Report::Blocked { silent_for, .. } => assert!(limit < silent_for),
                Report::Recovered { .. } => continue,
            }
            break;
        }
        drop(release);
        assert!(matches!(of_ours.next().unwrap(), Report::Recovered { .. }));
        assert_ne!(meters.get("scheduler.loop.default/1.blocked"), 0);
        pool.shutdown();
    }

    #[test]
    fn a_heart_is_reported_once_per_silence_and_forgotten_when_its_loop_ends() {
        let watchdog = Watchdog::start(Clock::system(), Duration::from_secs(3_600), &Meters::new(), |_| ()).unwrap();
        let shared = watchdog.0.as_ref().unwrap();
        let (_, heart) = shared.watch("default/0");
        heart.last_beat.store(1_000, Ordering::Relaxed);
        assert_eq!(heart.examine(3_000, 2_000), None, "at the limit is in time");
        let doing = Doing::begin(7);
        assert!(
            matches!(heart.examine(3_001, 2_000), Some(Report::Blocked { doing: 7, .. })),
            "this thread is its loop's"
        );
        drop(doing);
        assert_eq!(heart.examine(9_000, 2_000), None);
        heart.last_beat.store(9_500, Ordering::Relaxed);
        let blocked_for = Duration::from_millis(8_500);
        assert_eq!(heart.examine(9_600, 2_000), Some(Report::Recovered { name: "default/0".to_owned(), blocked_for }));
        assert_eq!(heart.blocked.get(), 1);
        drop(heart);
        assert_eq!(shared.look(), []);
        assert!(lock(&shared.hearts).is_empty());
    }
}
