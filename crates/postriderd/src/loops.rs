//! Event loop pools and thread pools, as the configuration asks for them.

use std::collections::HashMap;
use std::io;

use config::{Generation, Lookup};
use scheduler::{LoopHandle, LoopPool, Meters, PoolSettings, ThreadPools, Watchdog};

use crate::exit::Failure;
use declarations::daemon::{BACKLOG, CONCURRENCY, DELIVERY_POOL, STACK_SIZE};

/// The pool that exists without being written.
pub use declarations::daemon::DEFAULT_POOL;

/// The event loop pools of the process.
pub struct Pools(Vec<LoopPool>);

impl Pools {
    /// Starts every `eventloop` stanza's pool, and the default one.
    pub fn start(generation: &Generation, watchdog: &Watchdog, meters: &Meters) -> Result<Self, Failure> {
        let mut wanted: Vec<(String, u64)> = Vec::new();
        for stanza in generation.instances("eventloop") {
            wanted.push((stanza.name(), stanza.get(&CONCURRENCY)));
        }
        if !wanted.iter().any(|(name, _)| name == DEFAULT_POOL) {
            wanted.push((DEFAULT_POOL.to_owned(), 0));
        }
        let start = |(name, concurrency): (String, u64)| {
            let loops = if concurrency == 0 { processors() } else { concurrency as usize };
            LoopPool::start(&name, loops, watchdog, meters)
        };
        let pools: io::Result<Vec<_>> = wanted.into_iter().map(start).collect();
        pools.map(Self).map_err(|error| Failure::System(format!("cannot start the event loops: {error}")))
    }

    /// The loops that carry queues and deliveries (`delivery_pool`).
    pub fn delivery(&self, generation: &Generation) -> Result<Vec<LoopHandle>, Failure> {
        let name = generation.get(&DELIVERY_POOL, &Lookup::Global);
        let pool = self.0.iter().find(|pool| pool.name() == name);
        // The generation was checked to name one of the pools.
        let loops = pool.map(|pool| pool.loops().to_vec());
        loops.ok_or_else(|| Failure::Internal(format!("the event loop pool {name} was not started")))
    }

    /// Every pool's loops by its name.
    pub fn by_name(&self) -> HashMap<String, Vec<LoopHandle>> {
        self.0.iter().map(|pool| (pool.name().to_owned(), pool.loops().to_vec())).collect()
    }

    /// Ends all loops; what still waits on them is dropped.
    pub fn shutdown(self) {
        self.0.into_iter().for_each(LoopPool::shutdown);
    }
}

/// Sets the thread pools to what the configuration says; those it does not name have their documented sizes.
pub fn configure_thread_pools(generation: &Generation, pools: &ThreadPools) {
    let stanzas = generation.instances("threadpool");
    for known in pools.stats() {
        if !stanzas.iter().any(|stanza| stanza.name().eq_ignore_ascii_case(&known.name)) {
            pools.configure(&known.name, ThreadPools::predefined(&known.name));
        }
    }
    for stanza in stanzas {
        let name = stanza.name();
        let mut settings: PoolSettings = ThreadPools::predefined(&name);
        if let Some(concurrency) = stanza.find(&CONCURRENCY) {
            settings.concurrency = concurrency as usize;
        }
        if let Some(backlog) = stanza.find(&BACKLOG) {
            settings.backlog = backlog as usize;
        }
        if let Some(octets) = stanza.find(&STACK_SIZE) {
            settings.stack_bytes = octets as usize;
        }
        pools.configure(&name, settings);
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
