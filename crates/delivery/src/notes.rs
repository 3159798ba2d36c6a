//! What throttles have spent, noted beside the spool, so that a restart opens no new window.
//!
//! A bucket gives no more places than the note on disk admits, so a killed process leaves a note that is behind the truth by
//! what it admitted at most; the next start takes all of that for spent. A note is written when a bucket wants one, in the IO
//! pool, and takes at most a twentieth of one thread's time. Times are noted by the wall clock: one that was set back makes
//! events look as if they were just over, so that they count for one window more and never longer.
//!
//! A note that cannot be written holds no mail up; one that cannot be read is taken for windows that are spent.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::SplitWhitespace;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::ScopeId;
use scheduler::{Clock, ThreadPools};
use spool::StateFile;
use tokio::sync::{Mutex, Notify};

use crate::limits::{BucketKey, Event, Limits};
use crate::throttle::{Spent, UNKNOWN_MAX};

/// Takes the notes of the buckets of a [`Limits`].
pub(crate) struct Notes {
    file: StateFile,
    limits: Arc<Limits>,
    wanted: Arc<Notify>,
    clock: Clock,
    pools: ThreadPools,
    unknown_since: Option<Instant>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last one is written: nothing begins any more.
    is_closed: bool,
    /// The last attempt failed.
    is_failing: bool,
    /// There is an older note, which may say more than is true now.
    is_there: bool,
    /// When one was last written that outlives a loss of power.
    durable_at: Option<Instant>,
}

impl Notes {
    /// Reads the last note, and makes the limits that begin with it. Blocks.
    pub(crate) fn open(file: StateFile, clock: Clock, pools: ThreadPools) -> (Arc<Limits>, Arc<Self>) {
        let wanted = Arc::<Notify>::default();
        let now = Moments { now: clock.now(), unix: clock.unix() };
        let read = file.read().map_err(|error| error.to_string());
        let is_there = !matches!(read, Ok(None));
        let note =
            read.and_then(|octets| octets.map_or_else(|| Ok(Note::default()), |octets| Note::parse(&octets, now)));
        let note = note.unwrap_or_else(|problem| {
            tracing::error!(
                target: "SPOOL",
                "what throttles have spent is unknown, for {} cannot be read: {problem}; each counts as spent for one window from \
                 now, for an hour at most",
                file.path().display()
            );
            // Noted at once, so that a further start does not begin to count again.
            wanted.notify_one();
            Note { unknown_since: Some(now.now), ..Note::default() }
        });
        let spent = note.spent.into_iter().collect();
        let limits = Arc::new(Limits::noted(wanted.clone(), spent, note.unknown_since, now.now));
        let state = Mutex::new(State { is_there, ..State::default() });
        let notes =
            Self { file, limits: limits.clone(), wanted, clock, pools, unknown_since: note.unknown_since, state };
        (limits, Arc::new(notes))
    }

    /// Writes a note whenever a bucket wants one. Never ends.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.wanted.notified().await;
            let begun = self.clock.now();
            self.take(true).await;
            let took = self.clock.now().saturating_duration_since(begun);
            tokio::time::sleep((took * SHARE).clamp(PAUSE_MIN, PAUSE_MAX)).await;
        }
    }

    /// Writes the last note: no event begins after it.
    pub(crate) async fn close(&self) {
        self.take(false).await;
    }

    async fn take(&self, more: bool) {
        let mut state = self.state.lock().await;
        if state.is_closed {
            return;
        }
        state.is_closed = !more;
        let moments = Moments { now: self.clock.now(), unix: self.clock.unix() };
        let buckets = self.limits.buckets();
        let spent = buckets.iter().filter_map(|(key, bucket)| Some((*key, bucket.spent(moments.now, more)?)));
        let note = Note { unknown_since: self.unknown_since, spent: spent.collect() };
        if note == Note::default() && !state.is_there {
            // Who has no throttle has no file either.
            return;
        }
        let text = note.text(moments);
        state.is_there = true;
        let is_old = |at: Instant| DURABLE_EVERY <= moments.now.saturating_duration_since(at);
        let durably = !more || state.durable_at.is_none_or(is_old);
        let file = self.file.clone();
        let written = self.pools.get("IO").run(move || file.write(text.as_bytes(), durably)).await;
        let problem = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(rejected) => Some(format!("{rejected:?}")),
        };
        buckets.iter().for_each(|(_, bucket)| bucket.written());
        if durably && problem.is_none() {
            state.durable_at = Some(moments.now);
        }
        let was_failing = std::mem::replace(&mut state.is_failing, problem.is_some());
        if let Some(problem) = problem.filter(|_| !was_failing) {
            tracing::error!(
                target: "SPOOL",
                "what throttles have spent cannot be noted in {}: {problem}; mail goes on, and a restart may open new windows",
                self.file.path().display()
            );
        }
    }
}

/// One moment by both clocks.
#[derive(Clone, Copy, Debug)]
struct Moments {
    now: Instant,
    unix: Duration,
}

impl Moments {
    /// An earlier instant as milliseconds since 1970, rounded up.
    fn stamp(self, at: Instant) -> u128 {
        self.unix.saturating_sub(self.now.saturating_duration_since(at)).as_micros().div_ceil(1000)
    }

    /// The instant of a stamp; now, for one of the future or of before the machine started.
    fn instant(self, stamp: u64) -> Instant {
        let age = self.unix.saturating_sub(Duration::from_millis(stamp));
        self.now.checked_sub(age).unwrap_or(self.now)
    }
}

/// What stands in a note.
#[derive(Debug, Default, PartialEq, Eq)]
struct Note {
    unknown_since: Option<Instant>,
    spent: BTreeMap<BucketKey, Spent>,
}

impl Note {
    /// One line for each bucket: what it counts, its scope, the window in milliseconds, what is open, and `stamp:events`.
    fn text(&self, moments: Moments) -> String {
        let mut text = format!("{HEAD}\n");
        if let Some(since) = self.unknown_since.filter(|since| moments.now < *since + UNKNOWN_MAX) {
            let _ = writeln!(text, "unknown {}", moments.stamp(since));
        }
        for ((event, scope), Spent { period, open, ended }) in &self.spent {
            let _ = write!(text, "{} {:016x} {} {open}", word(*event), scope.0, period.as_millis());
            for (at, events) in ended {
                let _ = write!(text, " {}:{events}", moments.stamp(*at));
            }
            text.push('\n');
        }
        text
    }

    fn parse(octets: &[u8], moments: Moments) -> Result<Self, String> {
        let text = std::str::from_utf8(octets).map_err(|error| error.to_string())?;
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default();
        if head != HEAD {
            return Err(format!("it begins with {head:?} and not with {HEAD:?}"));
        }
        let mut note = Self::default();
        for line in lines {
            let unclear = || format!("{line:?} is no line of such a note");
            let mut words = line.split_whitespace();
            match words.next() {
                Some("unknown") => {
                    let since = moments.instant(number(&mut words).ok_or_else(unclear)?);
                    note.unknown_since = Some(since).filter(|since| moments.now < *since + UNKNOWN_MAX);
                }
                Some(event) => {
                    let event = EVENTS.into_iter().find(|known| word(*known) == event).ok_or_else(unclear)?;
                    let (scope, spent) = bucket(&mut words, moments).ok_or_else(unclear)?;
                    note.spent.insert((event, scope), spent);
                }
                None => return Err(unclear()),
            }
        }
        Ok(note)
    }
}

fn bucket(words: &mut SplitWhitespace<'_>, moments: Moments) -> Option<(ScopeId, Spent)> {
    let scope = ScopeId(u64::from_str_radix(words.next()?, 16).ok()?);
    let (period, open) = (Duration::from_millis(number(words)?), number(words)?);
    let mut ended = Vec::new();
    for group in words {
        let (stamp, events) = group.split_once(':')?;
        ended.push((moments.instant(stamp.parse().ok()?), events.parse().ok()?));
    }
    ended.sort_unstable();
    Some((scope, Spent { period, open, ended }))
}

fn number(words: &mut SplitWhitespace<'_>) -> Option<u64> {
    words.next()?.parse().ok()
}

fn word(event: Event) -> &'static str {
    match event {
        Event::Message => "message",
        Event::Connection => "connection",
    }
}

const EVENTS: [Event; 2] = [Event::Message, Event::Connection];
const HEAD: &str = "postrider throttles 1";
/// After a note so many times as long as it took passes before the next.
const SHARE: u32 = 20;
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// However slow the disk is: those who wait for a note wait no longer.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often one is written that outlives a loss of power, while notes are wanted.
const DURABLE_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
