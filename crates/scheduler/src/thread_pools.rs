//! All thread pools of the process: the predefined ones and those that the configuration adds (`ThreadPool "name" {}`).
//!
//! Changed by the master scheduler; asked by everyone, once, when they start: a [`ThreadPool`] is cheap to keep.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Clock, Meters, PoolSettings, PoolStats, ThreadPool};

/// The registry of pools. Cloning shares it. No pool has a thread before its first job.
#[derive(Clone)]
pub struct ThreadPools(Arc<Registry>);

struct Registry {
    clock: Clock,
    meters: Meters,
    /// By lower-case name: `IO` and `io` are one pool.
    pools: Mutex<BTreeMap<String, ThreadPool>>,
}

impl ThreadPools {
    /// The predefined pools (reference: operations.md section 13).
    pub fn new(clock: Clock, meters: &Meters) -> Self {
        let pools = Self(Arc::new(Registry { clock, meters: meters.clone(), pools: Mutex::default() }));
        for (name, settings) in PREDEFINED {
            pools.configure(name, settings);
        }
        pools
    }

    /// The pool of that name. Without one: `IO`, and a critical log line, because work is then done in the wrong place.
    pub fn get(&self, name: &str) -> ThreadPool {
        self.find(name).unwrap_or_else(|| {
            tracing::error!(target: "THREADS", critical = true, "no thread pool is called {name:?}; using IO instead");
            self.lock().get("io").expect("the predefined pools are never removed").clone()
        })
    }

    /// The pool of that name, if there is one.
    pub fn find(&self, name: &str) -> Option<ThreadPool> {
        self.lock().get(&name.to_ascii_lowercase()).cloned()
    }

    /// Adds a pool or changes the settings of one. A pool stays until the process ends, since its jobs may be anywhere.
    pub fn configure(&self, name: &str, settings: PoolSettings) {
        let mut pools = self.lock();
        if let Some(pool) = pools.get(&name.to_ascii_lowercase()) {
            return pool.configure(settings);
        }
        let pool = ThreadPool::new(name, settings, self.0.clock, &self.0.meters);
        pools.insert(name.to_ascii_lowercase(), pool);
    }

    /// The settings a pool has when the configuration says nothing of it; those of a new pool for other names.
    pub fn predefined(name: &str) -> PoolSettings {
        let known = PREDEFINED.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map_or(PoolSettings::new(1), |(_, settings)| settings.clone())
    }

    /// All pools' figures, in name order.
    pub fn stats(&self) -> Vec<PoolStats> {
        self.lock().values().map(ThreadPool::stats).collect()
    }

    /// Takes no new jobs, tells the queued skippable ones that they are skipped, and waits until all others are done.
    /// Blocks: for the end of the process, not on a thread of a pool.
    pub fn shutdown(&self) {
        let pools: Vec<ThreadPool> = self.lock().values().cloned().collect();
        pools.iter().for_each(ThreadPool::close);
        pools.iter().for_each(ThreadPool::join);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ThreadPool>> {
        self.0.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const PREDEFINED: [(&str, PoolSettings); 8] = [
    ("SwapOut", PoolSettings::new(5)),
    ("SwapIn", PoolSettings::new(5)),
    ("Unlink", PoolSettings::new(6).backlog(100)),
    ("Batch_Unlink", PoolSettings::new(4)),
    ("Close", PoolSettings::new(0)),
    ("CPU", PoolSettings::new(4)),
    ("IO", PoolSettings::new(50)),
    ("SpoolIn", PoolSettings::new(1)),
];
