//! How the spool is doing: one reading for console and metrics, and the counters behind it.

use std::time::Duration;

use scheduler::{Counter, Measure, Meters};

use crate::distribution::{Distribution, Quantiles};

/// A reading of a store. What its kind does not have is zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpoolStats {
    /// Messages alive.
    pub messages: u64,
    /// When the oldest of them was made, since 1970, to within eight seconds.
    pub oldest: Option<Duration>,
    /// Octets of memory their index takes.
    pub index_bytes: u64,
    /// Segments on disk that hold records.
    pub segments: u64,
    /// Segment files prepared for use.
    pub spare_segments: u64,
    /// Octets of records on disk.
    pub used_bytes: u64,
    /// Of those, octets that are needed.
    pub live_bytes: u64,
    /// Octets left on the device.
    pub free_bytes: u64,
    /// Unlinks not yet durable.
    pub unlinks_waiting: u64,
    /// Octets of mail waiting to be written.
    pub waiting_bytes: u64,
    /// Commits, each one sync.
    pub commits: u64,
    /// Operations committed, unlinks not counted.
    pub operations: u64,
    /// Operations of the largest commit.
    pub batch_max: u64,
    /// Unlinks committed.
    pub unlinked: u64,
    /// Octets written by commits.
    pub written_bytes: u64,
    /// Time spent in write and sync, all commits together.
    pub sync_time: Duration,
    /// The longest write and sync.
    pub sync_time_max: Duration,
    /// Write and sync of a commit, in microseconds.
    pub sync_micros: Quantiles,
    /// Operations of a commit.
    pub batch: Quantiles,
    /// Writes and syncs that failed.
    pub failures: u64,
    /// Operations refused because the device was full, each once.
    pub full: u64,
    /// Cases of damage told.
    pub damaged: u64,
    /// Files set aside.
    pub set_aside: u64,
    /// Segments recycled, and segments whose survivors were all copied forward.
    pub recycled: u64,
    /// See `recycled`.
    pub compacted: u64,
    /// Segments of an earlier run that recovery has read, of how many.
    pub recovery_done: u64,
    /// See `recovery_done`.
    pub recovery_total: u64,
    /// Messages that recovery has found; zero until it has read everything.
    pub recovered: u64,
    /// Of those, messages that it has dealt with: handed on, or found gone or damaged.
    pub handed_over: u64,
    /// Recovery has put everything in the index; what is not handed over yet is being read.
    pub index_complete: bool,
    /// Segments whose records recovery took from their summary.
    pub summaries_read: u64,
    /// Summaries written by this run.
    pub summaries_written: u64,
}

impl SpoolStats {
    /// Operations a commit carries, on average.
    pub fn batch_average(&self) -> f64 {
        if self.commits == 0 { 0.0 } else { self.operations as f64 / self.commits as f64 }
    }
}

/// The counters, named `spool.KIND.…` in the house's registry.
pub struct Gauges {
    /// Commits that succeeded: each a write and one sync.
    pub commits: Counter,
    /// Operations that succeeded: messages with all their recipients stored as one, rewrites, portions that were moved, closes. Not
    /// unlinks.
    pub operations: Counter,
    /// The most operations of one commit.
    pub batch_max: Counter,
    /// Messages whose unlink is durable.
    pub unlinked: Counter,
    /// Octets of records that commits wrote, with padding; not the zeros a file is filled with.
    pub written: Counter,
    /// Microseconds of write and sync, of commits that succeeded.
    pub sync_micros: Counter,
    /// The most of one commit.
    pub sync_micros_max: Counter,
    /// Writes, syncs and beginnings of segments that failed, but for want of room.
    pub failures: Counter,
    /// Operations refused for want of room, each once.
    pub full: Counter,
    /// Cases of damage told: stretches that are no records, messages without their body, ids given twice, heads, summaries, notes
    /// and markers that do not check out, each segment that is missing.
    pub damaged: Counter,
    /// Segments that were scrubbed.
    pub recycled: Counter,
    /// Segments whose survivors were all moved.
    pub compacted: Counter,
    /// Segments of earlier runs that were read.
    pub recovery_done: Counter,
    /// Of so many.
    pub recovery_total: Counter,
    /// Messages of earlier runs that are alive.
    pub recovered: Counter,
    /// Of those, dealt with.
    pub handed_over: Counter,
    /// One when all of them are in the index.
    pub index_complete: Counter,
    /// Summaries that this run has written.
    pub summaries_written: Counter,
    /// Segments taken from their summary at the start.
    pub summaries_read: Counter,
    /// Files in the folder `damaged` that this run has made.
    pub set_aside: Counter,
    /// Commits by the time of their write and sync; each also counts in all larger ones.
    sync_up_to: Vec<(u64, Counter)>,
    /// What [`SpoolStats`] measures, as of the last measurement.
    measured: Measured,
    sync_distribution: Distribution,
    batch_distribution: Distribution,
}

/// Gauges: set by upkeep and with each reading.
struct Measured {
    messages: Counter,
    oldest: Counter,
    index_bytes: Counter,
    segments: Counter,
    spare_segments: Counter,
    used_bytes: Counter,
    live_bytes: Counter,
    free_bytes: Counter,
    unlinks_waiting: Counter,
    waiting_bytes: Counter,
}

/// Microseconds that [`Gauges::sync_up_to`] counts by.
const SYNC_MICROS: [u64; 9] = [250, 500, 1000, 2500, 5000, 10_000, 25_000, 100_000, 1_000_000];

impl Gauges {
    /// Takes the journal's counters from the registry.
    pub fn new(meters: &Meters) -> Self {
        Self::of(meters, "journal")
    }

    /// Takes the counters of a kind of store from the registry.
    pub fn of(meters: &Meters, kind: &str) -> Self {
        let counter = |name: &str| meters.counter(&format!("spool.{kind}.{name}"));
        Self {
            commits: counter("commits"),
            operations: counter("operations"),
            batch_max: counter("batch_max"),
            unlinked: counter("unlinked"),
            written: counter("written_bytes"),
            sync_micros: counter("sync_micros"),
            sync_micros_max: counter("sync_micros_max"),
            failures: counter("failures"),
            full: counter("full"),
            damaged: counter("damaged"),
            recycled: counter("segments.recycled"),
            compacted: counter("segments.compacted"),
            recovery_done: counter("recovery.done"),
            recovery_total: counter("recovery.total"),
            recovered: counter("recovery.messages"),
            handed_over: counter("recovery.handed_over"),
            index_complete: counter("recovery.index_complete"),
            summaries_written: counter("summaries.written"),
            summaries_read: counter("summaries.read"),
            set_aside: counter("set_aside"),
            sync_up_to: SYNC_MICROS.map(|micros| (micros, counter(&format!("sync_micros_up_to{{{micros}}}")))).into(),
            measured: Measured {
                messages: counter("messages"),
                oldest: counter("oldest_unix_seconds"),
                index_bytes: counter("index_bytes"),
                segments: counter("segments.in_use"),
                spare_segments: counter("segments.spare"),
                used_bytes: counter("space.used_bytes"),
                live_bytes: counter("space.live_bytes"),
                free_bytes: counter("space.free_bytes"),
                unlinks_waiting: counter("unlinks_waiting"),
                waiting_bytes: counter("waiting_bytes"),
            },
            sync_distribution: Distribution::default(),
            batch_distribution: Distribution::default(),
        }
    }

    /// One commit of so many operations and octets took so long. Only the committer calls this.
    pub fn committed(&self, took: Duration, operations: u64, octets: u64) {
        let micros = took.as_micros() as u64;
        self.commits.add(1);
        self.operations.add(operations);
        self.written.add(octets);
        self.sync_micros.add(micros);
        self.batch_max.set(self.batch_max.get().max(operations));
        self.sync_micros_max.set(self.sync_micros_max.get().max(micros));
        self.sync_distribution.add(micros);
        self.batch_distribution.add(operations);
        self.sync_up_to.iter().filter(|(limit, _)| micros <= *limit).for_each(|(_, count)| count.add(1));
    }

    /// Completes a reading with the counters, and keeps what was measured for whoever reads meters alone.
    pub fn stats(&self, measured: SpoolStats) -> SpoolStats {
        let gauges = &self.measured;
        gauges.messages.set(measured.messages);
        gauges.oldest.set(measured.oldest.map_or(0, |made| made.as_secs()));
        gauges.index_bytes.set(measured.index_bytes);
        gauges.segments.set(measured.segments);
        gauges.spare_segments.set(measured.spare_segments);
        gauges.used_bytes.set(measured.used_bytes);
        gauges.live_bytes.set(measured.live_bytes);
        gauges.free_bytes.set(measured.free_bytes);
        gauges.unlinks_waiting.set(measured.unlinks_waiting);
        gauges.waiting_bytes.set(measured.waiting_bytes);
        SpoolStats {
            commits: self.commits.get(),
            operations: self.operations.get(),
            batch_max: self.batch_max.get(),
            unlinked: self.unlinked.get(),
            written_bytes: self.written.get(),
            sync_time: Duration::from_micros(self.sync_micros.get()),
            sync_time_max: Duration::from_micros(self.sync_micros_max.get()),
            failures: self.failures.get(),
            full: self.full.get(),
            sync_micros: self.sync_distribution.quantiles(),
            batch: self.batch_distribution.quantiles(),
            damaged: self.damaged.get(),
            set_aside: self.set_aside.get(),
            recycled: self.recycled.get(),
            compacted: self.compacted.get(),
            recovery_done: self.recovery_done.get(),
            recovery_total: self.recovery_total.get(),
            recovered: self.recovered.get(),
            handed_over: self.handed_over.get(),
            index_complete: self.index_complete.get() != 0,
            summaries_read: self.summaries_read.get(),
            summaries_written: self.summaries_written.get(),
            ..measured
        }
    }
}

/// What is counted of each kind of store.
pub const MEASURES: &[Measure] = &[
    Measure::distribution(
        "spool.*.sync_micros_up_to{*}",
        "microseconds",
        ("spool.*.sync_micros", "spool.*.commits"),
        "How long the write and sync of commits took.",
    )
    .by(&["store", "le"]),
    Measure::counter("spool.*.commits", "commits", "Commits, each a write that was synced. Those of the journal may carry unlinks alone; other stores count those that store something.").by(&["store"]),
    Measure::counter("spool.*.operations", "operations", "Messages and changed envelopes that commits carried. Unlinks are not among them.").by(&["store"]),
    Measure::gauge("spool.*.batch_max", "operations", "The most operations that one commit has carried.").by(&["store"]),
    Measure::counter("spool.*.unlinked", "messages", "Messages whose removal was committed.").by(&["store"]),
    Measure::counter("spool.*.written_bytes", "octets", "Octets that these commits wrote; what compaction, summaries and preparing of files write is not among them.").by(&["store"]),
    Measure::counter("spool.*.sync_micros", "microseconds", "Time spent in the write and the sync of commits, together.").by(&["store"]),
    Measure::gauge("spool.*.sync_micros_max", "microseconds", "The longest that the write and sync of a commit took.").by(&["store"]),
    Measure::counter("spool.*.failures", "times", "Commits that failed, and segments that could not be begun, for whatever reason: a full device is one.").by(&["store"]),
    Measure::counter("spool.*.full", "operations", "Operations refused because the device had no room: neither octets nor, where they count, inodes.").by(&["store"]),
    Measure::counter("spool.*.damaged", "findings", "Pieces of damage that were found and told: records, headers, whole files.").by(&["store"]),
    Measure::counter("spool.*.set_aside", "copies", "Copies of damaged records that were set aside for a look.").by(&["store"]),
    Measure::counter("spool.*.segments.recycled", "segments", "Segments of the journal in which nothing is alive any more and which are written again.").by(&["store"]),
    Measure::counter("spool.*.segments.compacted", "segments", "Segments of the journal whose last living records were copied forward.").by(&["store"]),
    Measure::gauge("spool.*.recovery.done", "segments", "Segments of earlier runs that this start has read so far.").by(&["store"]),
    Measure::gauge("spool.*.recovery.total", "segments", "Segments of earlier runs that this start has to read.").by(&["store"]),
    Measure::gauge("spool.*.recovery.messages", "messages", "Messages that the start has found; zero until it has read everything.").by(&["store"]),
    Measure::gauge("spool.*.recovery.handed_over", "messages", "Those of them that the start has dealt with: handed to their queue, or found gone or damaged.").by(&["store"]),
    Measure::gauge("spool.*.recovery.index_complete", "", "1 when the start has put everything in the index; what is not handed over yet is being read.").by(&["store"]),
    Measure::counter("spool.*.summaries.written", "summaries", "Summaries of full segments that were written.").by(&["store"]),
    Measure::counter("spool.*.summaries.read", "summaries", "Segments whose records the start took from their summary.").by(&["store"]),
    Measure::gauge("spool.*.messages", "messages", "Messages in the store, one for each recipient, when it was last measured.").by(&["store"]),
    Measure::gauge("spool.*.oldest_unix_seconds", "seconds", "When the oldest of them was received, in seconds since 1970; 0 if there is none.").by(&["store"]),
    Measure::gauge("spool.*.index_bytes", "octets", "Memory that the index of the store takes.").by(&["store"]),
    Measure::gauge("spool.*.segments.in_use", "segments", "Segments of the journal that hold records.").by(&["store"]),
    Measure::gauge("spool.*.segments.spare", "segments", "Segments of the journal that wait to be written.").by(&["store"]),
    Measure::gauge("spool.*.space.used_bytes", "octets", "Octets that the files of the store take on the device.").by(&["store"]),
    Measure::gauge("spool.*.space.live_bytes", "octets", "Those of them that records of living messages take.").by(&["store"]),
    Measure::gauge("spool.*.space.free_bytes", "octets", "Octets that the device has left for the daemon.").by(&["store"]),
    Measure::gauge("spool.*.unlinks_waiting", "messages", "Messages whose removal is not committed yet.").by(&["store"]),
    Measure::gauge("spool.*.waiting_bytes", "octets", "Octets of mail that wait to be written.").by(&["store"]),
];
