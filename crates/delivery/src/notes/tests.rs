//! Kills at any moment, damaged notes, clocks that were set, and disks that take nothing.

use std::path::Path;

use config::Throttle;
use scheduler::{Meters, Random};
use spool::disk::Disk as _;
use spool::disk::faulty::FaultyDisk;

use super::*;
use crate::throttle::RateLimit;

const KEY: BucketKey = (Event::Message, ScopeId(7));

#[allow(clippy::disallowed_methods)] // an origin; nothing is measured
fn origin() -> Moments {
    Moments { now: Instant::now(), unix: Duration::from_secs(1_800_000_000) }
}

impl Moments {
    fn later(self, by: Duration) -> Self {
        Self { now: self.now + by, unix: self.unix + by }
    }
}

fn rate(limits: &Limits, count: u64, per_seconds: u64) -> RateLimit {
    let throttle = Throttle { count, per_seconds, ..Throttle::default() };
    RateLimit::new(throttle, || limits.bucket(KEY)).unwrap()
}

/// Limits that begin with a note, and the note itself.
fn begin(text: Option<&str>, moments: Moments) -> Limits {
    let note = text.map_or_else(Note::default, |text| Note::parse(text.as_bytes(), moments).unwrap());
    Limits::noted(Arc::default(), note.spent.into_iter().collect(), note.unknown_since, moments.now)
}

/// The note of now; it does not stand yet.
fn text(limits: &Limits, moments: Moments, more: bool) -> String {
    let spent = limits.buckets().into_iter().filter_map(|(key, bucket)| Some((key, bucket.spent(moments.now, more)?)));
    Note { unknown_since: None, spent: spent.collect() }.text(moments)
}

fn written(limits: &Limits) {
    limits.buckets().iter().for_each(|(_, bucket)| bucket.written());
}

/// As many events as may be at one moment, with notes as they are wanted.
fn spend(limits: &Limits, rate: &RateLimit, moments: Moments, most: u64) -> u64 {
    let mut spent = 0;
    for _ in 0..most * 4 {
        match rate.take(moments.now) {
            Ok(token) => {
                token.spend(moments.now);
                spent += 1;
            }
            Err(_) => {
                text(limits, moments, true);
                written(limits);
            }
        }
        if spent == most {
            break;
        }
    }
    spent
}

#[test]
fn an_orderly_stop_loses_nothing_of_the_window_and_forfeits_nothing() {
    let (start, limits) = (origin(), begin(None, origin()));
    let limit = rate(&limits, 10, 100);
    assert_eq!(spend(&limits, &limit, start, 4), 4);
    let note = text(&limits, start.later(Duration::from_secs(5)), false);
    let again = start.later(Duration::from_secs(20));
    let limits = begin(Some(&note), again);
    let limit = rate(&limits, 10, 100);
    assert_eq!(spend(&limits, &limit, again, 10), 6);
    let over = start.later(Duration::from_secs(101));
    assert_eq!(spend(&limits, &limit, over, 10), 4, "those of the first run have left the window");
}

#[test]
fn a_process_killed_at_any_moment_never_lets_a_receiver_see_more_than_the_rate() {
    for seed in 0..200 {
        let random = Random::seeded(seed);
        let (count, per_seconds) = (1 + random.below(20), 1 + random.below(5));
        let period = Duration::from_secs(per_seconds);
        let mut moments = origin();
        let (mut stands, mut limits, mut seen) = (None, begin(None, moments), Vec::new());
        let mut limit = rate(&limits, count, per_seconds);
        let (mut under_way, mut note): (Vec<_>, Option<String>) = (Vec::new(), None);
        for _ in 0..2000 {
            moments = moments.later(Duration::from_millis(random.below(1 + 1000 * per_seconds / count)));
            match random.below(100) {
                0..70 => {
                    if let Ok(token) = limit.take(moments.now) {
                        under_way.push((moments.now, token));
                    }
                }
                70..80 if note.is_none() => note = Some(text(&limits, moments, true)),
                80..90 => {
                    if let Some(text) = note.take() {
                        stands = Some(text);
                        written(&limits);
                    }
                }
                99 => {
                    // Whatever was under way has been seen, and perhaps only now.
                    seen.extend(under_way.drain(..).map(|_| moments.now));
                    note = None;
                    moments = moments.later(Duration::from_millis(random.below(2000)));
                    limits = begin(stands.as_deref(), moments);
                    limit = rate(&limits, count, per_seconds);
                }
                _ => {}
            }
            if random.below(2) == 0 && !under_way.is_empty() {
                let (began, token) = under_way.swap_remove(random.below(under_way.len() as u64) as usize);
                seen.push(began + (moments.now - began).mul_f64(random.below(101) as f64 / 100.0));
                token.spend(moments.now);
            }
        }
        seen.sort();
        let crowded = seen.windows(count as usize + 1).filter(|run| run[run.len() - 1] - run[0] < period).count();
        assert_eq!(crowded, 0, "seed {seed}: {count}/{per_seconds}");
        assert!(count < seen.len() as u64, "mail goes after each start");
    }
}

#[test]
fn a_killed_process_forfeits_an_eighth_of_the_rate_and_a_bucket_out_of_use_nothing() {
    let (start, limits) = (origin(), begin(None, origin()));
    let limit = rate(&limits, 80, 3600);
    assert_eq!(spend(&limits, &limit, start, 20), 20);
    let note = text(&limits, start, true);
    let again = start.later(Duration::from_secs(10));
    let limits = begin(Some(&note), again);
    assert_eq!(spend(&limits, &rate(&limits, 80, 3600), again, 80), 50);
    let other = RateLimit::new(Throttle { count: 3, per_seconds: 60, ..Throttle::default() }, || {
        limits.bucket((Event::Connection, ScopeId(7)))
    });
    assert_eq!(spend(&limits, &other.unwrap(), again, 3), 3);
}

#[test]
fn a_clock_that_was_set_holds_mail_up_for_one_window_at_most() {
    let (start, limits) = (origin(), begin(None, origin()));
    assert_eq!(spend(&limits, &rate(&limits, 5, 60), start, 5), 5);
    let note = text(&limits, start, false);
    let back = Moments { unix: Duration::from_secs(1), ..start.later(Duration::from_secs(30)) };
    let limits = begin(Some(&note), back);
    let limit = rate(&limits, 5, 60);
    assert_eq!(limit.busy_until(back.now), Some(back.now + Duration::from_secs(60)));
    let ahead = Moments { unix: start.unix * 2, ..start };
    assert_eq!(
        spend(&begin(Some(&note), ahead), &rate(&begin(Some(&note), ahead), 5, 60), ahead, 1),
        0,
        "not noted yet"
    );
    let limits = begin(Some(&note), ahead);
    assert_eq!(spend(&limits, &rate(&limits, 5, 60), ahead, 5), 5);
}

#[test]
fn what_is_no_note_is_refused() {
    let moments = origin();
    let good = "postrider throttles 1\nunknown 1800000000000\nmessage 0000000000000007 60000 2 1799999990000:3\n";
    let note = Note::parse(good.as_bytes(), moments).unwrap();
    assert_eq!(note.text(moments), good);
    for bad in [
        "",
        "postrider throttles 2\n",
        "postrider throttles 1\nmail 7 60000 2\n",
        "postrider throttles 1\nmessage 7 60000\n",
        "postrider throttles 1\nmessage 7 60000 2 5\n",
        "postrider throttles 1\nunknown\n",
        "postrider throttles 1\n\n",
    ] {
        assert!(Note::parse(bad.as_bytes(), moments).is_err(), "{bad:?}");
    }
}

/// A real pool and a disk in memory.
fn with_disk<F: Future<Output = ()>>(scenario: impl FnOnce(FaultyDisk, Clock, ThreadPools) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
    runtime.block_on(async {
        let (disk, clock) = (FaultyDisk::seeded(1), Clock::simulated(testkit::sim::epoch()));
        disk.create_dir(Path::new("/spool")).unwrap();
        scenario(disk, clock, ThreadPools::new(clock, &Meters::new())).await;
    });
}

fn open(disk: &FaultyDisk, clock: Clock, pools: &ThreadPools) -> (Arc<Limits>, Arc<Notes>) {
    let file = StateFile::new(Arc::new(disk.clone()), Path::new("/spool"), "throttles", 0o600);
    Notes::open(file, clock, pools.clone())
}

#[test]
fn a_note_that_cannot_be_read_counts_as_a_window_that_is_spent_and_a_further_start_goes_on_counting() {
    with_disk(async |disk, clock, pools| {
        disk.create(Path::new("/spool/throttles"), 0o600).unwrap();
        let (limits, notes) = open(&disk, clock, &pools);
        let now = clock.now();
        let minute = rate(&limits, 5, 60).busy_until(now).unwrap();
        assert!(now + Duration::from_secs(1) < minute && minute <= now + Duration::from_secs(60));
        let day = rate(&limits, 5, 86_400).busy_until(now).unwrap();
        assert!(day <= now + UNKNOWN_MAX);
        notes.take(true).await;
        let (limits, _) = open(&disk, clock, &pools);
        let until = rate(&limits, 5, 86_400).busy_until(clock.now()).unwrap();
        assert!(until <= day + Duration::from_millis(1), "not an hour from this start");
    });
}

#[test]
fn a_disk_that_takes_no_note_holds_no_mail_up() {
    with_disk(async |disk, clock, pools| {
        let (limits, notes) = open(&disk, clock, &pools);
        let limit = rate(&limits, 1, 60);
        assert!(limit.take(clock.now()).is_err(), "it is not noted");
        disk.read_only(true);
        notes.take(true).await;
        limit.take(clock.now()).unwrap().spend(clock.now());
        disk.read_only(false);
        notes.close().await;
        let (limits, _) = open(&disk, clock, &pools);
        assert!(rate(&limits, 1, 60).busy_until(clock.now()).is_some());
    });
}

#[test]
fn without_throttles_there_is_no_file() {
    with_disk(async |disk, clock, pools| {
        let (_, notes) = open(&disk, clock, &pools);
        notes.close().await;
        assert_eq!(disk.list(Path::new("/spool")).unwrap(), Vec::<String>::new());
    });
}

#[test]
fn after_the_last_note_none_is_written() {
    with_disk(async |disk, clock, pools| {
        let (limits, notes) = open(&disk, clock, &pools);
        let limit = rate(&limits, 16, 60);
        assert!(limit.take(clock.now()).is_err());
        notes.take(true).await;
        let token = limit.take(clock.now()).unwrap();
        token.spend(clock.now());
        notes.close().await;
        notes.take(true).await;
        let (limits, _) = open(&disk, clock, &pools);
        let buckets = limits.buckets();
        let spent = buckets[0].1.spent(clock.now(), false).unwrap();
        assert_eq!((spent.open, spent.ended.len()), (0, 1));
    });
}
