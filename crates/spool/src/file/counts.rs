//! What a store without segments counts, under the same names as the journal's figures.

use std::time::Duration;

use scheduler::{Counter, Meters};

use crate::error::SpoolError;
use crate::stats::SpoolStats;

/// The counters, named `spool.KIND.…`.
pub struct Counts {
    pub messages: Counter,
    pub commits: Counter,
    pub operations: Counter,
    pub batch_max: Counter,
    pub unlinked: Counter,
    pub written: Counter,
    pub sync_micros: Counter,
    pub sync_micros_max: Counter,
    pub failures: Counter,
    pub full: Counter,
    pub damaged: Counter,
    pub recovered: Counter,
    pub handed_over: Counter,
}

impl Counts {
    pub fn new(meters: &Meters, kind: &str) -> Self {
        let counter = |name: &str| meters.counter(&format!("spool.{kind}.{name}"));
        Self {
            messages: counter("messages"),
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
            recovered: counter("recovery.messages"),
            handed_over: counter("recovery.handed_over"),
        }
    }

    /// One batch. Only the writer calls this.
    pub fn committed(&self, took: Duration, operations: u64, octets: u64) {
        let micros = took.as_micros() as u64;
        self.commits.add(1);
        self.operations.add(operations);
        self.written.add(octets);
        self.sync_micros.add(micros);
        self.sync_micros_max.set(self.sync_micros_max.get().max(micros));
        self.batch_max.set(self.batch_max.get().max(operations));
    }

    /// One operation was refused.
    pub fn failed(&self, error: &SpoolError) {
        match error {
            SpoolError::Full { .. } => self.full.add(1),
            _ => self.failures.add(1),
        }
    }

    /// The figures; what such a store does not have is zero.
    pub fn stats(&self) -> SpoolStats {
        SpoolStats {
            messages: self.messages.get(),
            commits: self.commits.get(),
            operations: self.operations.get(),
            batch_max: self.batch_max.get(),
            unlinked: self.unlinked.get(),
            written_bytes: self.written.get(),
            sync_time: Duration::from_micros(self.sync_micros.get()),
            sync_time_max: Duration::from_micros(self.sync_micros_max.get()),
            failures: self.failures.get(),
            full: self.full.get(),
            damaged: self.damaged.get(),
            recovered: self.recovered.get(),
            handed_over: self.handed_over.get(),
            ..SpoolStats::default()
        }
    }
}
