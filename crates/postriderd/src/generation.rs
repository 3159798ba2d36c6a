//! What hangs on a configuration generation: its modules, the hooks they provide, and the listeners it wants.
//!
//! Runs inside a configuration load, on a thread that may block. Whatever fails here refuses the generation, and
//! nothing has changed.

use std::sync::{Arc, Mutex, PoisonError};

use config::{Generation, NewGeneration};
use hooks::{HookRegistry, HookSet, HookSetBuilder};
use io_wrapper::IoWrappers;
use module::{Loaded, Modules};
use netlistener::{Netlisteners, Plan, listen_specs};
use scheduler::{MemoryCharge, Meters};
use tls::TlsContexts;

use declarations::fitness::{CONTROL_LISTENER, LISTENERS};

/// What a generation is prepared with.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// What this build can load.
    pub modules: &'a Modules,
    /// Files, by URL.
    pub files: &'a IoWrappers,
    /// Every hook.
    pub hooks: &'a HookRegistry,
    /// Every counter.
    pub meters: &'a Meters,
}

/// Initialises the modules of a generation and fixes its hooks. `current` is the running one, none at the start.
pub fn prepare(new: &mut NewGeneration, current: Option<&Generation>, means: &Means<'_>) -> Result<(), String> {
    let Means { modules, files, hooks, meters } = *means;
    let as_root = rustix::process::geteuid().is_root();
    new.extend::<TlsContexts>(Arc::new(reception::tls_contexts(new, files, as_root)?));
    let mut hooks = HookSetBuilder::of(hooks);
    let loaded = modules.init(new, current, &mut hooks).map_err(|error| error.to_string())?;
    if current.is_none() {
        // Before the daemon gives up the rights of root, if it has them: what a module opens here it opens with those.
        modules.post_init(&loaded, new, &mut hooks).map_err(|error| error.to_string())?;
    }
    new.extend::<Loaded>(Arc::new(loaded));
    new.extend::<HookSet>(hooks.finish());
    // For as long as anybody keeps the generation.
    let held = new.held();
    new.extend::<MemoryCharge>(Arc::new(meters.memory("configuration").charge(held)));
    Ok(())
}

/// A change must not leave a daemon that nobody can reach, unless that is insisted on: nothing that it does afterwards could
/// be told to anybody, or taken back. A socket counts that is listened on: no disabled one, and none of a listener that does
/// not exist.
pub fn check_reachable(new: &Generation, running: &Generation) -> Result<(), String> {
    let sockets = |generation: &Generation, words: &[&'static str]| {
        listen_specs(generation, words).map(|specs| specs.len()).map_err(|error| error.to_string())
    };
    let (missing, lost) = if sockets(new, &LISTENERS)? == 0 {
        ("listener", "take no mail and answer no console")
    } else if sockets(new, &[CONTROL_LISTENER])? == 0 && sockets(running, &[CONTROL_LISTENER])? != 0 {
        ("Control_Listener, as the running configuration has", "answer no console")
    } else {
        return Ok(());
    };
    Err(format!(
        "this configuration cannot be put into effect while it has no {missing}: the daemon would {lost}, and only a signal \
         could reach it; add Control_Listener {{ Listen \"/path/of/socket\" {{ }} }}, in a transaction with config set \
         control_listener listen /path/of/socket file_mode 0660, or insist with --force (config reload, config commit)"
    ))
}

/// Whether [`bind`] would succeed now; nothing stays bound.
pub fn check_sockets(generation: &Generation, netlisteners: &Mutex<Netlisteners>) -> Result<(), String> {
    let specs = listen_specs(generation, &LISTENERS).map_err(|error| error.to_string())?;
    let netlisteners = netlisteners.lock().unwrap_or_else(PoisonError::into_inner);
    netlisteners.check(&specs).map_err(|error| error.to_string())
}

/// Binds what the generation wants and nobody listens on yet.
pub fn bind(generation: &Generation, netlisteners: &Mutex<Netlisteners>) -> Result<Plan, String> {
    let netlisteners = netlisteners.lock().unwrap_or_else(PoisonError::into_inner);
    let words: Vec<&'static str> = netlisteners.words().collect();
    let specs = listen_specs(generation, &words).map_err(|error| error.to_string())?;
    netlisteners.prepare(specs).map_err(|error| error.to_string())
}
