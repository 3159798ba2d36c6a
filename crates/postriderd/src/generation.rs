//! What hangs on a configuration generation: its modules, the hooks they provide, and the listeners it wants.
//!
//! Runs inside a configuration load, on a thread that may block. Whatever fails here refuses the generation, and
//! nothing has changed.

use std::sync::{Mutex, PoisonError};

use config::{Generation, NewGeneration};
use hooks::{HookSet, HookSetBuilder};
use module::{Loaded, Modules};
use netlistener::{Netlisteners, Plan, listen_specs};
use std::sync::Arc;

/// Initialises the modules of a generation and fixes its hooks. `current` is the running one, none at the start.
pub fn prepare(new: &mut NewGeneration, current: Option<&Generation>, modules: &Modules) -> Result<(), String> {
    let mut hooks = HookSetBuilder::new();
    let loaded = modules.init(new, current, &mut hooks).map_err(|error| error.to_string())?;
    if current.is_none() {
        // No privileges are dropped in between: they are the service manager's business.
        modules.post_init(&loaded, new, &mut hooks).map_err(|error| error.to_string())?;
    }
    new.extend::<Loaded>(Arc::new(loaded));
    new.extend::<HookSet>(hooks.finish());
    Ok(())
}

/// Binds what the generation wants and nobody listens on yet.
pub fn bind(generation: &Generation, netlisteners: &Mutex<Netlisteners>) -> Result<Plan, String> {
    let netlisteners = netlisteners.lock().unwrap_or_else(PoisonError::into_inner);
    let words: Vec<&'static str> = netlisteners.words().collect();
    let specs = listen_specs(generation, &words).map_err(|error| error.to_string())?;
    netlisteners.prepare(specs).map_err(|error| error.to_string())
}
