//! What this build declares: the options and hooks of every crate, and the modules linked in. The daemon and the offline tools read
//! the same list, so that a file which a tool calls valid is one that the daemon loads.
//!
//! Out: a registry with every option, and the modules ready for their life cycle. Runs once at start. Whoever adds a crate
//! with options, or a module, adds a line here; what the reference documents and nobody declares stands in
//! `crates/config/src/documented.tsv`, and `tests/reference.rs` holds the two together.

use std::sync::Arc;

use config::{Declared, Registry};
use hooks::{DeclaredHook, HookRegistry};
use logging::LogWriter;
use module::{Catalogue, Error, Module, Modules};
use scheduler::{Clock, Measure, Meters};

pub mod daemon;
pub mod daemon_hooks;
pub mod fitness;
pub mod places;
mod schemes;
pub mod security;

pub use schemes::Schemes;

/// Every option of the build, and its modules.
pub struct Declarations {
    /// The options of all rooms and modules.
    pub registry: Registry,
    /// The modules linked in.
    pub modules: Modules,
}

impl Declarations {
    /// Declares everything; logs of modules go through `log_writer`, which nothing uses before a configuration is loaded.
    /// An error is a mistake in a module or its description.
    pub fn new(log_writer: &LogWriter, schemes: &Schemes) -> Result<Self, Vec<Error>> {
        let mut registry = rooms();
        let mut catalogue = Catalogue::default();
        for (file, text) in DESCRIBED.iter().chain(&Schemes::DESCRIBED) {
            catalogue.read(file, text)?;
        }
        let linked = linked(log_writer).into_iter().chain(schemes.modules()).collect();
        let modules = Modules::setup(catalogue, linked, &mut registry)?;
        Ok(Self { registry, modules })
    }

    /// The same for a program without a daemon's rooms.
    pub fn offline() -> Result<Self, String> {
        let clock = Clock::system();
        let schemes = Schemes::register(clock).map_err(|error| error.to_string())?;
        let writer = LogWriter::start(clock, &Meters::new(), schemes.files.clone())
            .map_err(|error| format!("cannot start the log writer: {error}"))?;
        let told = |errors: Vec<Error>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let declared = Self::new(&writer, &schemes).map_err(told);
        writer.stop();
        declared
    }
}

/// Everything this build counts, as it is declared beside its use.
pub fn measures() -> Vec<&'static Measure> {
    let rooms = [
        daemon::MEASURES,
        bounce::MEASURES,
        console::MEASURES,
        delivery::MEASURES,
        dns::MEASURES,
        hooks::MEASURES,
        logging::MEASURES,
        netlistener::MEASURES,
        queue::MEASURES,
        reception::MEASURES,
        spool::MEASURES,
    ];
    let mut measures: Vec<&Measure> = rooms.into_iter().flatten().chain(scheduler::measures()).collect();
    measures.sort_by_key(|measure| measure.name);
    measures
}

/// Every hook of the build. Providers are counted in `meters`.
pub fn hook_registry(clock: Clock, meters: &Meters) -> HookRegistry {
    let rooms: [&'static [&'static dyn DeclaredHook]; 3] = [bounce::HOOKS, logging::HOOKS, daemon_hooks::HOOKS];
    HookRegistry::new(clock, meters, rooms.into_iter().chain(reception::HOOKS))
}

/// The `.ecm` files of the modules linked in.
const DESCRIBED: &[(&str, &str)] = &[
    ("bounce_logger.ecm", bounce_logger::ECM),
    ("compress_spool.ecm", compress_spool::ECM),
    ("ec_logger.ecm", ec_logger::ECM),
    ("suppress_spool.ecm", suppress_spool::ECM),
];

fn linked(log_writer: &LogWriter) -> Vec<Arc<dyn Module>> {
    vec![
        Arc::new(ec_logger::EcLogger::new(log_writer.clone())),
        Arc::new(bounce_logger::BounceLogger::new(log_writer.clone())),
        Arc::new(compress_spool::CompressSpool::default()),
        Arc::new(suppress_spool::SuppressSpool::default()),
    ]
}

/// The options of every room but of modules, which add theirs.
fn rooms() -> Registry {
    let rooms: &[&'static [&'static dyn Declared]] = &[
        daemon::OPTIONS,
        security::OPTIONS,
        bounce::OPTIONS,
        config::OPTIONS,
        console::OPTIONS,
        delivery::OPTIONS,
        dns::OPTIONS,
        logging::OPTIONS,
        netlistener::OPTIONS,
        queue::OPTIONS,
        reception::OPTIONS,
        spool::OPTIONS,
        tls::OPTIONS,
    ];
    let mut registry = Registry::new();
    rooms.iter().for_each(|options| registry.add_all(options));
    registry
}
