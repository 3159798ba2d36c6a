//! The rooms of the running daemon, for the commands and the life cycle that reach across them.
//!
//! Lives on the master scheduler. Nothing else hangs from it: every room was given what it needs when it was built.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use config::{Configuration, Generation};
use delivery::EngineHandle;
use dns::Resolver;
use hooks::HookSet;
use logging::{LogHooks, Paniclog};
use module::{Loaded, Modules};
use netlistener::Netlisteners;
use scheduler::{Clock, Meters, ThreadPools};
use spool::{Journal, Spool};
use tokio::sync::watch;

use crate::generation;
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
    pub journal: Arc<Journal>,
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
    /// Tells the life cycle to end, and why.
    pub stop: watch::Sender<Option<&'static str>>,
}

impl House {
    /// Reads the configuration again, from `path` if one is given, and puts it into effect as a whole or not at all. The
    /// error is the text for the operator.
    pub async fn reload(self: &Rc<Self>, path: Option<PathBuf>) -> Result<Arc<Generation>, String> {
        let (configuration, modules) = (self.configuration.clone(), self.modules.clone());
        let (netlisteners, paniclog) = (self.netlisteners.clone(), self.paniclog.clone());
        let work = move || reload(&configuration, &modules, &netlisteners, &paniclog, path);
        let result = self.pools.get("IO").run(work).await.unwrap_or_else(|rejected| Err(rejected.to_string()));
        match &result {
            Ok(generation) => {
                tracing::info!(target: "START", "Milestone: configuration reloaded, generation {}", generation.number());
            }
            Err(problem) => {
                self.meters.counter("config.reloads.refused").add(1);
                tracing::error!(target: "CONFIG", "configuration reload refused: {problem}");
            }
        }
        result
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
        netlisteners.lock().unwrap_or_else(PoisonError::into_inner).commit(plan);
    }
    configure_paniclog(paniclog, &generation);
    Ok(generation)
}

/// Points the paniclog at a generation's flags and loggers.
pub fn configure_paniclog(paniclog: &Paniclog, generation: &Generation) {
    paniclog.configure(generation);
    if let Some(set) = generation.extension::<HookSet>() {
        paniclog.set_hooks(&LogHooks::of(&set));
    }
}
