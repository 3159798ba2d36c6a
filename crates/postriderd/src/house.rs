//! The rooms of the running daemon, for the commands and the life cycle that reach across them.
//!
//! Lives on the master scheduler. Nothing else hangs from it: every room was given what it needs when it was built.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use config::{Configuration, Generation, Lookup};
use delivery::EngineHandle;
use dns::Resolver;
use hooks::HookSet;
use logging::{LogHooks, Paniclog};
use module::{Loaded, Modules};
use netlistener::Netlisteners;
use scheduler::{Clock, Meters, ThreadPools, Watchdog};
use spool::{Spool, Store};
use tokio::sync::watch;

use crate::generation;
use crate::loops;
use crate::options::WATCHDOG_INTERVAL;
use crate::statistics::Baseline;

/// The rooms.
pub struct House {
    /// The running configuration.
    pub configuration: Configuration,
    /// What this build can load.
    pub modules: Arc<Modules>,
    /// Time.
    pub clock: Clock,
    /// Every counter.
    pub meters: Meters,
    /// Diagnostics.
    pub paniclog: Paniclog,
    /// Accepted mail.
    pub spool: Spool,
    /// The spool's store, for its figures.
    pub store: Store,
    /// Queues and deliveries.
    pub engine: EngineHandle,
    /// Names and mail hosts.
    pub resolver: Resolver,
    /// Where blocking work goes.
    pub pools: ThreadPools,
    /// Who is listened to.
    pub netlisteners: Arc<Mutex<Netlisteners>>,
    /// When the daemon started.
    pub started: Instant,
    /// The counters at the last `summary reset`.
    pub baseline: Baseline,
    /// Watches the loops.
    pub watchdog: Watchdog,
    /// Tells the life cycle to end, and why.
    pub stop: watch::Sender<Option<&'static str>>,
}

impl House {
    /// Reads the configuration again, from `path` if one is given, and puts it into effect as a whole or not at all. The
    /// error is the text for the operator.
    pub async fn reload(self: &Rc<Self>, path: Option<PathBuf>) -> Result<Arc<Generation>, String> {
        let (configuration, modules) = (self.configuration.clone(), self.modules.clone());
        let (netlisteners, paniclog, stop) = (self.netlisteners.clone(), self.paniclog.clone(), self.stop.subscribe());
        let work = move || reload(&configuration, &modules, &netlisteners, &paniclog, &stop, path);
        // A pool of one thread: reloads wait for each other, and for nothing else.
        let result = self.pools.get(RELOAD_POOL).run(work).await.unwrap_or_else(|rejected| Err(rejected.to_string()));
        match &result {
            Ok(generation) => {
                loops::configure_thread_pools(generation, &self.pools);
                self.watchdog.set_limit(watchdog_limit(generation));
                if tokio::time::timeout(REFRESH_LIMIT, self.engine.refresh()).await.is_err() {
                    tracing::warn!(target: "START", "an event loop did not answer after the reload; its queues follow later");
                }
                tracing::info!(target: "START", "Milestone: configuration reloaded, generation {}", generation.number());
            }
            Err(problem) => {
                self.meters.counter("config.reloads.refused").add(1);
                tracing::error!(target: "CONFIG", "configuration reload refused: {problem}");
            }
        }
        result
    }

    /// How long the daemon has run.
    pub fn uptime(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.started)
    }

    /// The log hooks of the running generation.
    pub fn log_hooks(&self) -> LogHooks {
        let set = self.configuration.current().extension::<HookSet>();
        set.map(|set| LogHooks::of(&set)).unwrap_or_default()
    }

    /// The modules of the running generation.
    pub fn loaded_modules(&self) -> Option<Arc<Loaded>> {
        self.configuration.current().extension::<Loaded>()
    }

    /// Begins the graceful stop; the first reason given counts.
    pub fn request_stop(&self, why: &'static str) {
        self.stop.send_if_modified(|reason| {
            let first = reason.is_none();
            reason.get_or_insert(why);
            first
        });
    }
}

fn reload(
    configuration: &Configuration,
    modules: &Modules,
    netlisteners: &Mutex<Netlisteners>,
    paniclog: &Paniclog,
    stop: &watch::Receiver<Option<&'static str>>,
    path: Option<PathBuf>,
) -> Result<Arc<Generation>, String> {
    let current = configuration.current();
    let mut plan = None;
    let loaded = configuration.reload_from(path.as_deref(), &mut |new| {
        plan = Some(generation::bind(new, netlisteners)?);
        generation::prepare(new, Some(&current), modules)
    });
    let generation = loaded.map_err(|diagnostics| format!("{}\nReconfigure failed.", diagnostics.render(false)))?;
    if let Some(plan) = plan {
        let mut netlisteners = netlisteners.lock().unwrap_or_else(PoisonError::into_inner);
        // A stop is requested before it closes the listeners, under this lock: what is committed here is closed there.
        if stop.borrow().is_some() {
            return Err("the daemon is stopping; nothing was reloaded".into());
        }
        netlisteners.commit(plan);
    }
    configure_paniclog(paniclog, &generation);
    Ok(generation)
}

/// How long a loop may be silent (`watchdog_interval`).
pub fn watchdog_limit(generation: &Generation) -> Duration {
    Duration::from_secs(generation.get(&WATCHDOG_INTERVAL, &Lookup::Global))
}

/// Points the paniclog at a generation's flags and loggers.
pub fn configure_paniclog(paniclog: &Paniclog, generation: &Generation) {
    paniclog.configure(generation);
    if let Some(set) = generation.extension::<HookSet>() {
        paniclog.set_hooks(&LogHooks::of(&set));
    }
}

/// The thread pool reloads run in.
pub const RELOAD_POOL: &str = "Config";
/// How long a reload waits for the loops to look at their queues.
const REFRESH_LIMIT: Duration = Duration::from_secs(5);
