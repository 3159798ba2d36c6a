//! The load: writers that store, wait and delete, and what came of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use scheduler::Clock;

use crate::machine;

/// What a writer needs.
pub trait Store: Send + Sync {
    /// Stores a message durably; its number. Blocks.
    fn put(&self) -> u64;
    /// Forgets a message; durable with a later commit.
    fn delete(&self, number: u64);
    /// Syncs so far.
    fn syncs(&self) -> u64;
    /// Octets it says it has written.
    fn written(&self) -> Option<u64> {
        None
    }
    /// Ends it.
    fn close(&self) {}
}

/// How much of what.
#[derive(Clone, Copy)]
pub struct Load {
    /// Threads.
    pub writers: usize,
    /// Messages each keeps alive.
    pub kept: usize,
    /// Whether any of them is deleted, or the oldest.
    pub random: bool,
    /// How long.
    pub seconds: u64,
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Messages a second.
    pub rate: f64,
    cpu_micros: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    syncs: f64,
    /// Octets the device wrote for each octet of mail, if that can be measured.
    amplification: Option<f64>,
    /// The same by the store's own count.
    own: Option<f64>,
}

impl Outcome {
    /// The table's first line.
    pub fn heading() -> String {
        format!(
            "{:>8} {:>9} {:>11} {:>8} {:>8} {:>8} {:>10} {:>6} {:>6}",
            "store", "msg/s", "CPU us/msg", "p50 ms", "p99 ms", "p99.9 ms", "syncs/msg", "WA", "own WA"
        )
    }

    /// One line of it.
    pub fn line(&self, store: &str) -> String {
        let shown = |found: Option<f64>| found.map_or("n/a".to_owned(), |found| format!("{found:.2}"));
        let (amplification, own) = (shown(self.amplification), shown(self.own));
        format!(
            "{store:>8} {:>9.0} {:>11.1} {:>8.2} {:>8.2} {:>8.2} {:>10.3} {amplification:>6} {own:>6}",
            self.rate, self.cpu_micros, self.p50, self.p99, self.p999, self.syncs
        )
    }

    /// The median of each figure.
    pub fn median(outcomes: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(outcomes.iter().map(figure).collect());
        Self {
            rate: of(|outcome| outcome.rate),
            cpu_micros: of(|outcome| outcome.cpu_micros),
            p50: of(|outcome| outcome.p50),
            p99: of(|outcome| outcome.p99),
            p999: of(|outcome| outcome.p999),
            syncs: of(|outcome| outcome.syncs),
            amplification: of_some(outcomes, |outcome| outcome.amplification),
            own: of_some(outcomes, |outcome| outcome.own),
        }
    }
}

/// The one in the middle; zero of none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

fn of_some(outcomes: &[Outcome], figure: fn(&Outcome) -> Option<f64>) -> Option<f64> {
    outcomes.iter().map(figure).collect::<Option<Vec<f64>>>().map(median)
}

/// Latencies in microseconds, to within an eighth.
struct Latencies(Vec<AtomicU64>);

impl Latencies {
    fn new() -> Self {
        Self((0..40 * 8).map(|_| AtomicU64::new(0)).collect())
    }

    fn add(&self, took: Duration) {
        let micros = (took.as_micros() as u64).max(8);
        let power = micros.ilog2();
        let slot = power as usize * 8 + (micros >> (power - 3)) as usize % 8;
        self.0[slot.min(self.0.len() - 1)].fetch_add(1, Ordering::Relaxed);
    }

    fn millis(&self, share: f64) -> f64 {
        let counts: Vec<u64> = self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let wanted = counts.iter().sum::<u64>() as f64 * share;
        let mut seen = 0.0;
        let slot = counts.iter().position(|&count| {
            seen += count as f64;
            wanted <= seen
        });
        slot.map_or(0.0, |slot| ((8 + slot % 8 + 1) << (slot / 8)) as f64 / 8000.0)
    }
}

/// Puts `load` on a store, first for a while to fill it and let it prepare itself.
pub fn run(store: &Arc<dyn Store>, load: &Load, directory: &Path) -> Outcome {
    let clock = Clock::system();
    let (stop, measure) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (latencies, stored, full) =
        (Arc::new(Latencies::new()), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..load.writers)
        .map(|number| {
            let (store, stop, measure, load) = (Arc::clone(store), Arc::clone(&stop), Arc::clone(&measure), *load);
            let (latencies, stored, full) = (Arc::clone(&latencies), Arc::clone(&stored), Arc::clone(&full));
            std::thread::spawn(move || {
                let mut random = number as u64 + 1;
                let mut alive = std::collections::VecDeque::new();
                let mut filled = false;
                while !stop.load(Ordering::Relaxed) {
                    let began = clock.now();
                    alive.push_back(store.put());
                    if measure.load(Ordering::Relaxed) {
                        latencies.add(clock.now() - began);
                        stored.fetch_add(1, Ordering::Relaxed);
                    }
                    if load.kept < alive.len() {
                        if !std::mem::replace(&mut filled, true) {
                            full.fetch_add(1, Ordering::Relaxed);
                        }
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        let last = alive.len() - 1;
                        if load.random {
                            alive.swap((random >> 33) as usize % (last + 1), 0);
                        }
                        alive.pop_front().into_iter().for_each(|number| store.delete(number));
                    }
                }
            })
        })
        .collect();
    while full.load(Ordering::Relaxed) < load.writers as u64 {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(2));
    let device = machine::Device::of(directory);
    let own = store.written();
    let (syncs, cpu, written) =
        (store.syncs(), machine::cpu_micros(), device.as_ref().and_then(machine::Device::written));
    measure.store(true, Ordering::Relaxed);
    let began = clock.now();
    std::thread::sleep(Duration::from_secs(load.seconds));
    measure.store(false, Ordering::Relaxed);
    let elapsed = (clock.now() - began).as_secs_f64();
    let messages = stored.load(Ordering::Relaxed).max(1) as f64;
    let (syncs, cpu) = ((store.syncs() - syncs) as f64, (machine::cpu_micros() - cpu) as f64);
    let own = own.zip(store.written());
    let after = device.as_ref().and_then(machine::Device::written);
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        let _ = writer.join();
    }
    Outcome {
        rate: messages / elapsed,
        cpu_micros: cpu / messages,
        p50: latencies.millis(0.5),
        p99: latencies.millis(0.99),
        p999: latencies.millis(0.999),
        syncs: syncs / messages,
        amplification: written.zip(after).map(|(before, after)| (after - before) as f64 / (messages * BODY as f64)),
        own: own.map(|(before, after)| (after - before) as f64 / (messages * BODY as f64)),
    }
}

/// Octets of a message.
pub const BODY: usize = 4096;
