//! What hangs on a configuration generation: its modules, the hooks they provide, and the listeners it wants.
//!
//! Runs inside a configuration load, on a thread that may block. Whatever fails here refuses the generation, and
//! nothing has changed.

use std::sync::{Arc, Mutex, PoisonError};

use config::{Generation, ListenAddress, Lookup, NewGeneration};
use hooks::{HookRegistry, HookSet, HookSetBuilder};
use io_wrapper::IoWrappers;
use module::{Loaded, Modules};
use netlistener::{Netlisteners, Plan, listen_specs};
use scheduler::{MemoryCharge, Meters};
use tls::TlsContexts;

use crate::loops::DEFAULT_POOL;
use declarations::daemon::{DELIVERY_POOL, MAINTAINER_POOL};

/// Initialises the modules of a generation and fixes its hooks. `current` is the running one, none at the start.
pub fn prepare(
    new: &mut NewGeneration,
    current: Option<&Generation>,
    modules: &Modules,
    hooks: &HookRegistry,
    files: &IoWrappers,
    meters: &Meters,
) -> Result<(), String> {
    check(new)?;
    new.extend::<TlsContexts>(Arc::new(tls_contexts(new, files)?));
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

/// What only the whole of a configuration can get wrong.
pub fn check(generation: &Generation) -> Result<(), String> {
    check_pools(generation)?;
    check_control_listeners(generation)?;
    reception::tls_setups(generation).map(drop)
}

/// Reads the certificates and keys that listeners need.
pub fn tls_contexts(generation: &Generation, files: &IoWrappers) -> Result<TlsContexts, String> {
    let setups = reception::tls_setups(generation)?;
    let as_root = rustix::process::geteuid().is_root();
    TlsContexts::load(setups, files, as_root).map_err(|error| error.to_string())
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

/// Binds what the generation wants and nobody listens on yet.
pub fn bind(generation: &Generation, netlisteners: &Mutex<Netlisteners>) -> Result<Plan, String> {
    let netlisteners = netlisteners.lock().unwrap_or_else(PoisonError::into_inner);
    let words: Vec<&'static str> = netlisteners.words().collect();
    let specs = listen_specs(generation, &words).map_err(|error| error.to_string())?;
    netlisteners.prepare(specs).map_err(|error| error.to_string())
}

/// Whoever reaches the control listener may do everything, so it is reached through a file's permissions only.
fn check_control_listeners(generation: &Generation) -> Result<(), String> {
    for listener in generation.instances(CONTROL_LISTENER) {
        for stanza in listener.children("listen") {
            if matches!(ListenAddress::parse(&stanza.name()), Ok(ListenAddress::Ip(_))) {
                return Err(format!(
                    "{}: Control_Listener cannot listen on {}: the console has no authentication over TCP yet, so anybody who \
                     can connect could shut the daemon down; use a Unix socket, for example Listen \"/run/postrider/control\" {{ }}",
                    stanza.place(),
                    stanza.name()
                ));
            }
        }
    }
    Ok(())
}

/// What the next start would refuse is refused now.
fn check_pools(generation: &Generation) -> Result<(), String> {
    let delivery = generation.get(&DELIVERY_POOL, &Lookup::Global);
    let maintainer = generation.get(&MAINTAINER_POOL, &Lookup::Global);
    if !maintainer.is_empty() && maintainer != delivery {
        return Err(format!(
            "maintainer_pool = \"{maintainer}\" and delivery_pool = \"{delivery}\" differ: a queue and its connections share a \
             loop, so set both to the same pool or leave maintainer_pool out"
        ));
    }
    let named: Vec<String> = generation.instances("eventloop").iter().map(|stanza| stanza.name()).collect();
    if delivery != DEFAULT_POOL && !named.contains(&delivery) {
        return Err(format!(
            "delivery_pool = \"{delivery}\" names no event loop pool: write eventloop \"{delivery}\" {{ concurrency = 2 }}"
        ));
    }
    Ok(())
}

const CONTROL_LISTENER: &str = "control_listener";
/// Every listener there is.
const LISTENERS: [&str; 2] = ["esmtp_listener", CONTROL_LISTENER];
