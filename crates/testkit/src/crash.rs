//! Kills a daemon under load, again and again, and keeps the books: what was acknowledged must reach the sink.
//!
//! A kill comes at a random moment drawn from a printed seed, or at a named point of the daemon itself, which it finds in
//! its environment ([`CRASH_POINT`]). Blocking; the load runs on its own thread, the sink on its own.

use std::collections::HashMap;
use std::time::Duration;

use crate::daemon::{Daemon, DaemonSetup};
use crate::sink::Sink;
use crate::source::{Load, LoadReport};

/// The environment variable with the name of the point at which the child shall end itself. A daemon built for it ends at
/// the first passage; `name:n` means the n-th.
pub const CRASH_POINT: &str = "POSTRIDER_CRASH_POINT";

/// When the daemon dies.
#[derive(Clone, Debug)]
pub enum Kill {
    /// By SIGKILL, this many times, each at a random moment within the time after its load began.
    AtRandom {
        /// How many kills.
        times: usize,
        /// The latest moment of each.
        within: Duration,
    },
    /// By itself, once at each of these points; by SIGKILL if it has not come there when its load is done.
    AtPoints(Vec<String>),
}

/// One crash test.
#[derive(Clone, Debug)]
pub struct CrashRunner {
    /// The daemon; its configuration must lead all mail of the load to the sink.
    pub setup: DaemonSetup,
    /// What is sent between two kills. The prefix gets the seed and the round.
    pub load: Load,
    /// When it dies.
    pub kill: Kill,
    /// Draws the random moments.
    pub seed: u64,
    /// How long the last daemon may take to deliver what is left.
    pub drain_limit: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrashReport {
    /// The seed, to run the same again.
    pub seed: u64,
    /// How often the daemon died.
    pub kills: usize,
    /// Points that were never reached.
    pub unreached: Vec<String>,
    /// How many messages were answered 250.
    pub acknowledged: usize,
    /// How many got no answer; they may or may not arrive.
    pub doubtful: usize,
    /// Acknowledged ids that never came.
    pub lost: Vec<String>,
    /// Arrivals beyond the first of each id.
    pub duplicates: u64,
    /// Distinct ids that came.
    pub received: usize,
}

impl CrashRunner {
    /// Runs it all and prints the report. The sink must be fresh, or at least hold no id of this seed.
    pub fn run(&self, sink: &Sink) -> CrashReport {
        println!("crash run with seed {}", self.seed);
        let mut books = LoadReport::default();
        let mut report = CrashReport { seed: self.seed, ..CrashReport::default() };
        let mut daemon = self.setup.start();
        match &self.kill {
            Kill::AtRandom { times, within } => {
                let mut moments = Moments(self.seed);
                for round in 0..*times {
                    self.round_at_random(round, moments.below(*within), &mut daemon, &mut books);
                }
                report.kills = *times;
            }
            Kill::AtPoints(points) => {
                for (round, point) in points.iter().enumerate() {
                    if !self.round_at_point(round, point, &mut daemon, &mut books) {
                        report.unreached.push(point.clone());
                    }
                }
                report.kills = points.len();
            }
        }
        self.drain(sink, &books, &mut report);
        println!("{report:#?}");
        report
    }

    fn round_at_random(&self, round: usize, moment: Duration, daemon: &mut Daemon, books: &mut LoadReport) {
        let load = self.load_of(round).start(daemon.addr());
        std::thread::sleep(moment);
        daemon.kill();
        load.stop();
        keep(books, load.join());
        daemon.start();
    }

    /// Whether the daemon came to the point.
    fn round_at_point(&self, round: usize, point: &str, daemon: &mut Daemon, books: &mut LoadReport) -> bool {
        daemon.set_environment(CRASH_POINT, point);
        daemon.kill();
        let reached = match daemon.start_or_end() {
            // A point on the way up.
            Err(_) => true,
            Ok(()) => {
                // Sessions end when the daemon does.
                keep(books, Load { persistent: false, ..self.load_of(round) }.run(daemon.addr()));
                daemon.wait(REACH_LIMIT).is_some()
            }
        };
        daemon.kill();
        daemon.unset_environment(CRASH_POINT);
        daemon.start();
        reached
    }

    fn load_of(&self, round: usize) -> Load {
        Load { prefix: format!("{}-{}-{round}", self.load.prefix, self.seed), persistent: true, ..self.load.clone() }
    }

    fn drain(&self, sink: &Sink, books: &LoadReport, report: &mut CrashReport) {
        let mut missing = HashMap::new();
        let mut seen = 0;
        for id in &books.acknowledged {
            missing.insert(id.as_str(), ());
        }
        sink.wait_until(self.drain_limit, |messages| {
            for message in &messages[seen..] {
                missing.remove(message.test_id.as_deref().unwrap_or_default());
            }
            seen = messages.len();
            missing.is_empty()
        });
        let ids = sink.ids();
        report.lost = missing.into_keys().map(str::to_owned).collect();
        report.lost.sort();
        report.acknowledged = books.acknowledged.len();
        report.doubtful = books.doubtful.len();
        report.received = ids.len();
        report.duplicates = ids.values().map(|count| count - 1).sum();
    }
}

fn keep(books: &mut LoadReport, round: LoadReport) {
    books.acknowledged.extend(round.acknowledged);
    books.doubtful.extend(round.doubtful);
    books.refused.extend(round.refused);
}

/// How long after its load a daemon may take to come to its point: some lie behind the delivery.
const REACH_LIMIT: Duration = Duration::from_secs(5);

/// Moments from a seed (splitmix64).
struct Moments(u64);

impl Moments {
    fn below(&mut self, limit: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        limit.mul_f64(((word ^ (word >> 31)) >> 11) as f64 / (1u64 << 53) as f64)
    }
}
