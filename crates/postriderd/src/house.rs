//! The rooms of the running daemon, for the commands and the life cycle that reach across them.
//!
//! Lives on the master scheduler. Nothing else hangs from it: every room was given what it needs when it was built.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use config::{Author, Configuration, ConsoleChange, Diagnostics, Generation, Lookup, NewGeneration, dropped_changes};
use delivery::EngineHandle;
use dns::Resolver;
use hooks::{HookRegistry, HookSet};
use io_wrapper::IoWrappers;
use jiff::Timestamp;
use logging::{LogHooks, LogWriter, Paniclog};
use message::IdGenerator;
use module::{Loaded, Modules};
use netlistener::Netlisteners;
use queue::Intake;
use scheduler::{Clock, Descriptors, Meters, ThreadPools, Watchdog};
use spool::{Spool, Store};
use tokio::sync::watch;

use crate::commands::LastListed;
use crate::descriptors;
use crate::generation::{self, Means};
use crate::loops;
use crate::statistics::Baseline;
use declarations::daemon::WATCHDOG_INTERVAL;
use declarations::daemon_hooks::PostConfigCommit;
use declarations::fitness::{self, Purpose};

/// The rooms.
pub struct House {
    /// The running configuration.
    pub configuration: Configuration,
    /// What this build can load.
    pub modules: Arc<Modules>,
    /// Files by URL.
    pub files: IoWrappers,
    /// Every hook.
    pub hooks: HookRegistry,
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
    /// The way to the queues.
    pub intake: Intake,
    /// Ids of new messages.
    pub ids: Arc<IdGenerator>,
    /// Queues and deliveries.
    pub engine: EngineHandle,
    /// Who is in a session now.
    pub inbound: reception::Sessions,
    /// Names and mail hosts.
    pub resolver: Resolver,
    /// Where blocking work goes.
    pub pools: ThreadPools,
    /// Who is listened to.
    pub netlisteners: Arc<Mutex<Netlisteners>>,
    /// How descriptors are shared out.
    pub descriptors: Descriptors,
    /// When the daemon started.
    pub started: Instant,
    /// The counters at the last `summary reset`.
    pub baseline: Baseline,
    /// Watches the loops.
    pub watchdog: Watchdog,
    /// Opens files that lines are written to without waiting; flushed at the very end.
    pub log_writer: LogWriter,
    /// What the console has listed last, to complete ids by.
    pub last_listed: LastListed,
    /// Tells the life cycle to end, and why.
    pub stop: watch::Sender<Option<&'static str>>,
}

impl House {
    /// Reads the configuration again, from `path` if one is given, and puts it into effect as a whole or not at all. The
    /// error is the text for the operator.
    pub async fn reload(self: &Rc<Self>, path: Option<PathBuf>, reach: Reach, who: &str) -> Result<Reloaded, Refusal> {
        let load: Load<Arc<Generation>> = Box::new(move |configuration, prepare| {
            let before = configuration.current();
            configuration.reload_from(path.as_deref(), prepare).map(|generation| (generation, before)).map_err(refused)
        });
        let reloaded = self.change(who, reach, load).await.map(|(generation, before)| {
            let dropped = dropped_changes(&before, &generation);
            for change in &dropped {
                tracing::error!(target: "CONFIG", "the reload by {who} dropped a change that no file has: {change}");
            }
            Reloaded { generation, dropped }
        });
        if let Err(refusal) = &reloaded {
            // The files are not what they should be, and whoever sent a signal sees it nowhere else.
            for line in refusal.lines() {
                tracing::error!(target: "CONFIG", "configuration reload refused: {line}");
            }
        }
        reloaded
    }

    /// Puts another generation into effect: `load` makes it and calls the preparation it is given, on a thread that may
    /// block. Nothing has changed when it fails.
    pub async fn change<T: Send + 'static>(
        self: &Rc<Self>,
        who: &str,
        reach: Reach,
        load: Load<T>,
    ) -> Result<(Arc<Generation>, T), Refusal> {
        let author = Author { who: who.to_owned(), when: time_of_day(self.clock) };
        let ground = ChangeGround {
            configuration: self.configuration.clone(),
            modules: self.modules.clone(),
            files: self.files.clone(),
            hooks: self.hooks.clone(),
            netlisteners: self.netlisteners.clone(),
            paniclog: self.paniclog.clone(),
            meters: self.meters.clone(),
            stop: self.stop.subscribe(),
        };
        // A pool of one thread: changes wait for each other, and for nothing else.
        let work = move || ground.change(author, reach, load);
        let result =
            self.pools.get(RELOAD_POOL).run(work).await.unwrap_or_else(|rejected| Err(rejected.to_string().into()));
        match &result {
            Ok((generation, _)) => self.follow(generation).await,
            Err(refusal) => {
                self.meters.counter("config.reloads.refused").add(1);
                for line in refusal.lines() {
                    tracing::info!(target: "CONFIG", "a configuration of {who} was refused: {line}");
                }
            }
        }
        result
    }

    /// Brings the rooms that keep something of a generation up to a new one.
    async fn follow(&self, generation: &Generation) {
        if let Some(set) = generation.extension::<HookSet>() {
            set.point::<PostConfigCommit>().call_now(&mut ());
        }
        loops::configure_thread_pools(generation, &self.pools);
        self.watchdog.set_limit(watchdog_limit(generation));
        descriptors::warn(&self.descriptors, generation);
        if tokio::time::timeout(REFRESH_LIMIT, self.engine.refresh()).await.is_err() {
            tracing::warn!(target: "START", "an event loop did not answer after the reload; its queues follow later");
        }
        tracing::info!(target: "START", "Milestone: configuration reloaded, generation {}", generation.number());
        log_warnings(generation);
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

/// What a reload did.
pub struct Reloaded {
    /// What runs now.
    pub generation: Arc<Generation>,
    /// Changes made from the console that no file had.
    pub dropped: Vec<ConsoleChange>,
}

/// Whether a change may leave a daemon that nobody reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is refused if it does; see `generation::check_reachable`.
    Kept,
    /// The operator insists.
    MayBeLost,
}

impl Reach {
    /// What `--force` among the words of a command says; the other words are left.
    pub fn of(words: &[String]) -> (Self, Vec<String>) {
        let (forced, rest): (Vec<_>, Vec<_>) = words.iter().cloned().partition(|word| word == "--force");
        (if forced.is_empty() { Reach::Kept } else { Reach::MayBeLost }, rest)
    }
}

/// Prepares what hangs on a new generation; see `generation::prepare`.
pub type Prepare<'p> = &'p mut dyn FnMut(&mut NewGeneration) -> Result<(), String>;
/// Makes a generation and puts it into effect, or says why not.
pub type Load<T> = Box<dyn FnOnce(&Configuration, Prepare<'_>) -> Result<(Arc<Generation>, T), Refusal> + Send>;

/// Why a configuration was not put into effect.
#[derive(Debug)]
pub struct Refusal {
    /// For the operator.
    pub why: String,
    /// What is wrong where, for machines; none when it is no matter of the files.
    pub diagnostics: Option<Diagnostics>,
}

impl Refusal {
    /// The same for a log: `file:line:column: what is wrong` for each fault, without the drawing.
    fn lines(&self) -> Vec<String> {
        let errors = self.diagnostics.iter().flatten().filter(|found| found.severity == config::Severity::Error);
        let lines: Vec<_> = errors.map(|error| format!("{}: {}", error.place(), error.message)).collect();
        if lines.is_empty() { vec![self.why.clone()] } else { lines }
    }
}

impl<S: Into<String>> From<S> for Refusal {
    fn from(why: S) -> Self {
        Refusal { why: why.into(), diagnostics: None }
    }
}

/// What a refused configuration is told to the operator as.
pub fn refused(diagnostics: Diagnostics) -> Refusal {
    let why = format!("{}\nReconfigure failed.", diagnostics.render(false));
    Refusal { why, diagnostics: Some(diagnostics) }
}

/// What a change of the configuration needs on the thread it is made on.
struct ChangeGround {
    configuration: Configuration,
    modules: Arc<Modules>,
    files: IoWrappers,
    hooks: HookRegistry,
    netlisteners: Arc<Mutex<Netlisteners>>,
    paniclog: Paniclog,
    meters: Meters,
    stop: watch::Receiver<Option<&'static str>>,
}

impl ChangeGround {
    fn change<T>(&self, author: Author, reach: Reach, load: Load<T>) -> Result<(Arc<Generation>, T), Refusal> {
        let current = self.configuration.current();
        let author = Arc::new(author);
        let mut plan = None;
        let (generation, said) = load(&self.configuration, &mut |new| {
            if reach == Reach::Kept {
                generation::check_reachable(new, &current)?;
            }
            fitness::verdict(&fitness::faults(new, &self.modules, &self.files, Purpose::Reload))?;
            plan = Some(generation::bind(new, &self.netlisteners)?);
            new.extend(author.clone());
            let means = Means { modules: &self.modules, files: &self.files, hooks: &self.hooks, meters: &self.meters };
            generation::prepare(new, Some(&current), &means)
        })?;
        if let Some(plan) = plan {
            let mut netlisteners = self.netlisteners.lock().unwrap_or_else(PoisonError::into_inner);
            // A stop is requested before it closes the listeners, under this lock: what is committed here is closed there.
            if self.stop.borrow().is_some() {
                return Err("the daemon is stopping; nothing was reloaded".into());
            }
            netlisteners.commit(plan);
        }
        configure_paniclog(&self.paniclog, &generation);
        Ok((generation, said))
    }
}

/// Now, in universal time, for the operator.
fn time_of_day(clock: Clock) -> String {
    let now = Timestamp::try_from(clock.wall()).unwrap_or(Timestamp::UNIX_EPOCH);
    now.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How long a loop may be silent (`watchdog_interval`).
pub fn watchdog_limit(generation: &Generation) -> Duration {
    Duration::from_secs(generation.get(&WATCHDOG_INTERVAL, &Lookup::Global))
}

/// Says in the log what a generation asks for in vain, and what it accepts to be without.
pub fn log_warnings(generation: &Generation) {
    for warning in generation.warnings().iter() {
        match warning.grave {
            true => tracing::error!(target: "CONFIG", "{}: {}", warning.place(), warning.message),
            false => tracing::warn!(target: "CONFIG", "{}: {}", warning.place(), warning.message),
        }
    }
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
