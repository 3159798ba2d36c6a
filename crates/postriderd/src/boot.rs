//! The order in which the daemon comes up: configuration, giving up the rights of root, loops, spool, deliveries, listeners; then mail is taken, while
//! what the spool holds is still being read.
//!
//! Runs on the main thread before the master scheduler does. Any failure ends the process with a code and a sentence;
//! nothing has been promised to anybody yet.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use bounce::{BounceReader, Bouncer, BouncerParts};
use config::{Configuration, Environment, Generation, Lookup};
use console::{Arrivals, Commands, Console, ControlListener, UserNames};
use declarations::daemon::PIDFILE;
use declarations::fitness::{self, LISTENERS, Purpose};
use declarations::{Declarations, Schemes};
use delivery::{Deps, Engine, EngineHandle, Itself, Tcp};
use dns::{DnsRuntime, Resolver, Settings};
use hooks::HookRegistry;
use io_wrapper::IoWrappers;
use logging::{LogWriter, Paniclog};
use message::IdGenerator;
use module::{Loaded, Modules};
use netlistener::{Netlisteners, OwnAddresses, listen_specs};
use queue::Intake;
use reception::{EsmtpListener, Parts, Sessions};
use scheduler::{Clock, Descriptors, Master, Meters, PoolSettings, Random, Report, ThreadPools, Watchdog};
use spool::disk::{Keeping, RealDisk};
use spool::{JournalOptions, Kind, SPOOL_BACKEND, Spool, StateFile, Store, UNLINK_ON_SPOOL_IN_FAILURE};
use tokio::sync::watch;

use crate::arguments::Arguments;
use crate::exit::Failure;
use crate::footprint::Footprint;
use crate::house::{House, RELOAD_POOL, configure_paniclog, log_warnings, watchdog_limit};
use crate::loops::{self, Pools};
use crate::memory::{MemoryWatch, Watched};
use crate::notifications::{IncomingBounces, Notifications};
use crate::statistics::Baseline;
use crate::{PRODUCT, VERSION, accounting, allocator, commands, descriptors, generation, pidfile, security};

/// The daemon, up and not yet running.
pub struct Booted {
    /// Its main thread's loop.
    pub master: Master,
    /// Its rooms.
    pub house: Rc<House>,
    /// Control connections, to be served on the master.
    pub arrivals: Arrivals,
    /// The console that serves them.
    pub console: Rc<Console>,
    /// Event loops, to be ended last.
    pub loops: Pools,
    /// Where the spool's messages go.
    pub intake: Intake,
    /// To be kept ahead of the ids the spool holds.
    pub ids: Arc<IdGenerator>,
    /// Files, by URL.
    pub files: IoWrappers,
    /// Measures for as long as it is kept.
    pub memory: MemoryWatch,
    /// What a start that fails takes back.
    pub footprint: Footprint,
}

/// What exists before there is a configuration.
struct Ground {
    clock: Clock,
    meters: Meters,
    hooks: HookRegistry,
    files: IoWrappers,
    schemes: Schemes,
    log_writer: LogWriter,
    paniclog: Paniclog,
}

/// Brings the daemon up to the point where it listens.
pub fn boot(arguments: &Arguments) -> Result<Booted, Failure> {
    let (ground, mut footprint) = (Ground::lay(arguments.foreground)?, Footprint::default());
    let (configuration, modules) = configured(&arguments.configuration, &ground, &mut footprint)?;
    let current = configuration.current();
    let (watchdog, master) = master(&current, &ground)?;
    let (pools, loops) = (thread_pools(&current, &ground), Pools::start(&current, &watchdog, &ground.meters)?);
    let (spool, store) = open_spool(&current, &modules, &ground, &pools, &mut footprint)?;
    let ids = Arc::new(IdGenerator::new(ground.clock, std::process::id(), store.newest()));
    let (pressure, descriptors) = (ground.meters.memory_marks().pressure(), Descriptors::default());
    let resolver = resolver(&current, &ground, &descriptors)?;
    let mut netlisteners = netlisteners(&configuration, &loops, &ground.meters).within(&descriptors);
    let deps = Deps {
        configuration: configuration.clone(),
        spool: spool.clone(),
        names: Arc::new(resolver.clone()),
        connector: Arc::new(Tcp::within(&descriptors)),
        itself: Arc::new(Doors(netlisteners.own_addresses())),
        descriptors: descriptors.clone(),
        ids: ids.clone(),
        clock: ground.clock,
        random: Random::system(),
        meters: ground.meters.clone(),
        pools: pools.clone(),
        pressure: pressure.clone(),
        throttle_notes: throttle_notes(&current, &store),
        hostname: Arc::new(hostname),
    };
    let (intake, engine) = start_delivery(&loops, &current, deps, &ground)?;
    let watched = Watched::new(&configuration, &ground.files, &ground.meters, &spool, engine.clone());
    let (memory, commands) = (MemoryWatch::start(watched)?, Commands::new());
    let console = console(&commands, &configuration, &ground);
    let parts = Parts {
        clock: ground.clock,
        configuration: configuration.clone(),
        ids: ids.clone(),
        spool: spool.clone(),
        intake: intake.clone(),
        pressure,
        bounces: Arc::new(IncomingBounces(BounceReader::new(pools.clone(), &ground.meters))),
        system_hostname: node_name().into(),
    };
    let (inbound, arrivals) = serve(&mut netlisteners, EsmtpListener::new(parts, &ground.meters), &configuration);
    let house = Rc::new(House {
        configuration,
        modules,
        files: ground.files.clone(),
        hooks: ground.hooks.clone(),
        clock: ground.clock,
        meters: ground.meters,
        paniclog: ground.paniclog,
        spool,
        store,
        intake: intake.clone(),
        ids: ids.clone(),
        engine,
        inbound,
        resolver,
        pools,
        netlisteners: Arc::new(Mutex::new(netlisteners)),
        descriptors,
        started: ground.clock.now(),
        baseline: Baseline::new(ground.clock),
        watchdog,
        log_writer: ground.log_writer,
        last_listed: Default::default(),
        stop: watch::Sender::new(None),
    });
    commands::register(&commands, &house).map_err(|duplicate| Failure::Internal(duplicate.to_string()))?;
    Ok(Booted { master, house, arrivals, console, loops, intake, ids, files: ground.files, memory, footprint })
}

/// Makes the listeners known; the sessions of clients, and the connections of the console.
fn serve(netlisteners: &mut Netlisteners, esmtp: EsmtpListener, configuration: &Configuration) -> (Sessions, Arrivals) {
    let (control, arrivals) = ControlListener::new(configuration);
    let sessions = esmtp.sessions();
    netlisteners.register(Arc::new(esmtp));
    netlisteners.register(Arc::new(control));
    (sessions, arrivals)
}

impl Ground {
    fn lay(foreground: bool) -> Result<Self, Failure> {
        let (clock, meters) = (Clock::system(), Meters::new());
        let hooks = declarations::hook_registry(clock, &meters);
        crate::abort_on_panic(Some(hooks.clone()));
        let schemes = Schemes::register(clock).map_err(|error| Failure::Internal(error.to_string()))?;
        let files = schemes.files.clone();
        let log_writer = LogWriter::new(clock, &meters, files.clone());
        let paniclog = Paniclog::new(clock, log_writer.stderr());
        paniclog.set_foreground(foreground);
        paniclog.install().map_err(|error| Failure::Internal(error.to_string()))?;
        Ok(Self { clock, meters, hooks, files, schemes, log_writer, paniclog })
    }
}

/// The first generation, and logs that are written from here on.
fn configured(
    path: &Path,
    ground: &Ground,
    footprint: &mut Footprint,
) -> Result<(Configuration, Arc<Modules>), Failure> {
    let configured = configure(path, ground, footprint);
    if configured.is_err() {
        // What was said until now, since no thread writes it.
        ground.log_writer.flush();
    }
    let (configuration, modules) = configured?;
    configure_paniclog(&ground.paniclog, &configuration.current());
    warn(&configuration.current());
    ground.log_writer.begin().map_err(|error| Failure::System(format!("cannot start the log writer: {error}")))?;
    Ok((configuration, modules))
}

/// Declares every option and loads the first generation with its modules.
fn configure(
    path: &Path,
    ground: &Ground,
    footprint: &mut Footprint,
) -> Result<(Configuration, Arc<Modules>), Failure> {
    let told = |errors: Vec<module::Error>| {
        Failure::Internal(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    let Declarations { registry, modules } = Declarations::new(&ground.log_writer, &ground.schemes).map_err(told)?;
    let modules = Arc::new(modules);
    let environment = Environment {
        refuse_world_writable: rustix::process::geteuid().is_root(),
        finish_writebacks: true,
        node_name: Some(node_name()),
        subcluster: std::env::var(SUBCLUSTER).ok(),
        io_wrappers: ground.files.clone(),
        ..Environment::default()
    };
    let mut unsettled = None;
    let loaded = Configuration::load_with(registry, path, environment, &mut |new| {
        // Before a module opens a log, which may start a program: that has the daemon's rights, and no more.
        if let Err(failure) = settle(&ground.paniclog, new, &modules, &ground.files, footprint) {
            let why = failure.to_string();
            unsettled = Some(failure);
            return Err(why);
        }
        let means =
            generation::Means { modules: &modules, files: &ground.files, hooks: &ground.hooks, meters: &ground.meters };
        generation::prepare(new, None, &means)
    });
    if let Some(failure) = unsettled {
        return Err(failure);
    }
    let configuration = loaded.map_err(|diagnostics| {
        let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
        Failure::Configuration(diagnostics.render(colour))
    })?;
    Ok((configuration, modules))
}

fn master(generation: &Generation, ground: &Ground) -> Result<(Watchdog, Master), Failure> {
    let system = |what: &'static str| move |error: std::io::Error| Failure::System(format!("cannot {what}: {error}"));
    let hooks = ground.hooks.clone();
    let told = move |seen| report(seen, &hooks);
    let watchdog = Watchdog::start(ground.clock, watchdog_limit(generation), &ground.meters, told)
        .map_err(system("start the watchdog"))?;
    let master = Master::new(&watchdog, &ground.meters).map_err(system("start the master scheduler"))?;
    Ok((watchdog, master))
}

fn thread_pools(generation: &Generation, ground: &Ground) -> ThreadPools {
    let pools = ThreadPools::new(ground.clock, &ground.meters);
    pools.configure(RELOAD_POOL, PoolSettings::new(1));
    loops::configure_thread_pools(generation, &pools);
    pools
}

fn open_spool(
    generation: &Generation,
    modules: &Modules,
    ground: &Ground,
    pools: &ThreadPools,
    footprint: &mut Footprint,
) -> Result<(Spool, Store), Failure> {
    let kind = generation.get(&SPOOL_BACKEND, &Lookup::Global).parse().map_err(Failure::Configuration)?;
    let options = JournalOptions::configured(generation);
    let store = Store::open(kind, options, Arc::new(Keeping::new(RealDisk)), ground.clock, &ground.meters);
    let store = store.map_err(|error| Failure::Spool(error.to_string()))?;
    let loaded = generation.extension::<Loaded>().unwrap_or_default();
    let mut chain = modules.io_modules(&loaded);
    chain.push(store.module());
    let spool = Spool::charging(ground.meters.memory(message::BODIES), chain, Arc::new(pools.get("SwapIn")));
    footprint.begun(&spool);
    spool.unlink_unreadable(generation.get(&UNLINK_ON_SPOOL_IN_FAILURE, &Lookup::Global));
    Ok((spool, store))
}

/// Beside the spool, under its lock; a spool in memory forgets its mail at a restart, and what was spent with it.
fn throttle_notes(generation: &Generation, store: &Store) -> Option<StateFile> {
    let JournalOptions { base, mode, .. } = JournalOptions::configured(generation);
    (store.kind() != Kind::Memory).then(|| StateFile::new(Arc::new(RealDisk), &base, "throttles", mode))
}

fn resolver(generation: &Generation, ground: &Ground, descriptors: &Descriptors) -> Result<Resolver, Failure> {
    let mut settings =
        Settings::read(generation, &ground.files).map_err(|error| Failure::Configuration(error.to_string()))?;
    // Each question has a socket of its own, which comes out of what the house keeps from connections.
    settings.queries_max = descriptors.questions_max(settings.queries_max);
    let runtime =
        DnsRuntime::start().map_err(|error| Failure::System(format!("cannot start the DNS runtime: {error}")))?;
    Resolver::new(&runtime, settings, dns::Overrides::default(), ground.clock, &ground.meters)
        .map_err(|error| Failure::Configuration(format!("resolv_conf: {error}")))
}

fn start_delivery(
    loops: &Pools,
    generation: &Generation,
    deps: Deps,
    ground: &Ground,
) -> Result<(Intake, EngineHandle), Failure> {
    let handles = loops.delivery(generation)?;
    let (ids, spool, pools) = (deps.ids.clone(), deps.spool.clone(), deps.pools.clone());
    let (clock, meters, host) = (ground.clock, ground.meters.clone(), deps.hostname.clone());
    Ok(Engine::start(&handles, deps, move |intake| {
        let parts = BouncerParts { clock, ids, host, spool, intake: intake.clone(), pools };
        Arc::new(Notifications(Bouncer::new(parts, &meters)))
    }))
}

/// Whether the daemon can be what it is asked to be, and what the process itself is to be: how much it may open, and who it
/// is. What can be told to fail fails before anything is made.
fn settle(
    paniclog: &Paniclog,
    generation: &Generation,
    modules: &Modules,
    files: &IoWrappers,
    footprint: &mut Footprint,
) -> Result<(), Failure> {
    paniclog.configure(generation);
    check(generation, modules, files)?;
    let written = security::written(generation).into_iter();
    let written = written.flat_map(|(folder, files)| files.into_iter().map(move |file| folder.join(file.name)));
    footprint.note(written);
    footprint.note_spool(JournalOptions::configured(generation).base);
    descriptors::raise(generation);
    security::settle(generation)?;
    allocator::give_back_in_background();
    Ok(())
}

fn check(generation: &Generation, modules: &Modules, files: &IoWrappers) -> Result<(), Failure> {
    let faults = fitness::faults(generation, modules, files, Purpose::Start);
    // What the host lacks may come, so a service manager may try again; a wrong configuration stays wrong.
    let of_the_host = faults.iter().all(|fault| fault.of_the_host);
    let of_the_spool = faults.iter().all(|fault| fault.of_the_spool);
    let failure = match (of_the_host, of_the_spool) {
        (true, _) => Failure::System,
        (_, true) => Failure::Spool,
        _ => Failure::Configuration,
    };
    fitness::verdict(&faults).map_err(failure)?;
    let base = JournalOptions::configured(generation).base;
    spool::check_free(&base).map_err(|error| Failure::Spool(error.to_string()))?;
    let specs = listen_specs(generation, &LISTENERS).map_err(|error| Failure::Configuration(error.to_string()))?;
    netlistener::probe(&specs).map_err(|error| Failure::System(error.to_string()))?;
    pidfile::check(&generation.get(&PIDFILE, &Lookup::Global), files)
}

/// Says what the configuration asks for in vain: to whoever starts the daemon, and to the log.
fn warn(generation: &Generation) {
    let warnings = generation.warnings();
    if !warnings.is_empty() {
        eprint!("{}", warnings.render(std::io::IsTerminal::is_terminal(&std::io::stderr())));
    }
    log_warnings(generation);
}

fn console(commands: &Rc<Commands>, configuration: &Configuration, ground: &Ground) -> Rc<Console> {
    let console = Console::new(PRODUCT, VERSION, commands.clone(), ground.clock, &ground.meters);
    let passwd = ground.files.read_text("/etc/passwd", PASSWD_BYTES_MAX).unwrap_or_default();
    console.set_user_names(UserNames::parse(&passwd));
    console.set_accounting(accounting::of(configuration.clone(), ground.clock));
    console
}

fn netlisteners(configuration: &Configuration, loops: &Pools, meters: &Meters) -> Netlisteners {
    let configuration = configuration.clone();
    let admission = move |word: &'static str, listen: &Arc<str>, peer: Option<std::net::IpAddr>| {
        netlistener::admission(&configuration.current(), word, listen, peer)
    };
    Netlisteners::new(loops.by_name(), loops::DEFAULT_POOL, admission, meters)
}

/// What this process listens on, as delivery asks about next hops.
struct Doors(OwnAddresses);

impl Itself for Doors {
    fn is_at(&self, remote: SocketAddr) -> bool {
        self.0.has(remote)
    }

    fn listens_on(&self, port: u16) -> bool {
        self.0.listens_on(port)
    }
}

/// The `hostname` option, or what the system calls itself.
pub fn hostname(generation: &Generation) -> Arc<str> {
    let configured = generation.get(&reception::HOSTNAME, &Lookup::Global);
    if configured.is_empty() { node_name().into() } else { configured.into() }
}

fn node_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn report(report: Report, hooks: &HookRegistry) {
    match report {
        Report::Blocked { name, silent_for, doing } => {
            let holder =
                hooks.provider(doing).map(|(hook, module)| format!(", held by module {module} in hook {hook}"));
            let (seconds, holder) = (silent_for.as_secs_f64(), holder.unwrap_or_default());
            tracing::error!(target: "START", "event loop {name} is blocked: silent for {seconds:.1} s{holder}");
        }
        Report::Recovered { name, blocked_for } => {
            tracing::warn!(target: "START", "event loop {name} goes on after {:.1} s", blocked_for.as_secs_f64());
        }
    }
}

/// Environment variable that names the node's subcluster, whose directory `conf/NAME` includes are searched in.
const SUBCLUSTER: &str = "SUBCLUSTER";
/// Largest password file read for the names of console users.
const PASSWD_BYTES_MAX: usize = 4 << 20;
