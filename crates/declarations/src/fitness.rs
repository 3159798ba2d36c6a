//! What makes a valid configuration unfit for a daemon: asked here by its start, its reloads, `config reload --dry-run` and
//! `validate_config`, so that all four say the same.
//!
//! In: a whole generation and the modules. Out: why it cannot be used, each fault a sentence. Looks at the host (users,
//! groups, addresses) and changes nothing: no file is made, nothing is bound that stays bound, no log is opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Generation, ListenAddress, Lookup};
use io_wrapper::IoWrappers;
use module::Modules;
use netlistener::{ListenSpec, listen_specs};

use crate::daemon::{DEFAULT_POOL, DELIVERY_POOL, MAINTAINER_POOL, PIDFILE};
use crate::security::Identity;

/// What a configuration is to be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A start of the daemon on this host.
    Start,
    /// Taking the place of a running one. Whether it may leave nobody to reach, and what its new sockets need, is asked
    /// elsewhere: those that stay are not bound again, whatever became of their address.
    Reload,
    /// A start on another host, whose users and addresses nobody here knows.
    StartElsewhere,
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// What is wrong, where, and what to do.
    pub why: String,
    /// The host lacks something that it may have at another time.
    pub of_the_host: bool,
}

impl Unfit {
    fn of_the_configuration(why: String) -> Self {
        Self { why, of_the_host: false }
    }
}

/// Everything that keeps the daemon from using this configuration.
pub fn faults(generation: &Generation, modules: &Modules, purpose: Purpose) -> Vec<Unfit> {
    let mut faults: Vec<Unfit> = Vec::new();
    let mut told = |checked: Result<(), String>| faults.extend(checked.err().map(Unfit::of_the_configuration));
    told(pools(generation));
    told(control_listeners(generation));
    if purpose != Purpose::StartElsewhere {
        let as_root = rustix::process::geteuid().is_root();
        told(reception::tls_contexts(generation, &IoWrappers::new(), as_root).map(drop));
    }
    if purpose != Purpose::StartElsewhere {
        told(Identity::of(generation).map(drop));
    }
    told(modules.check(generation).map_err(|error| error.to_string()));
    match listen_specs(generation, &LISTENERS) {
        Err(error) => told(Err(error.to_string())),
        Ok(specs) => {
            told(one_file_each(generation, &specs));
            told(listeners_have_pools(generation, &specs));
            if specs.is_empty() && purpose != Purpose::Reload {
                told(Err(NOBODY_TO_REACH.to_owned()));
            }
            let errors = netlistener::check(&specs, purpose == Purpose::Start);
            faults.extend(
                errors.iter().map(|error| Unfit { why: error.to_string(), of_the_host: error.is_of_the_host() }),
            );
        }
    }
    faults
}

/// All of them as one text, a line each; nothing if there are none.
pub fn verdict(faults: &[Unfit]) -> Result<(), String> {
    match faults {
        [] => Ok(()),
        faults => Err(faults.iter().map(|fault| fault.why.as_str()).collect::<Vec<_>>().join("\n")),
    }
}

/// Whoever reaches the control listener may do everything, so it is reached through a file's permissions only.
fn control_listeners(generation: &Generation) -> Result<(), String> {
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

fn event_loops(generation: &Generation) -> Vec<String> {
    generation.instances("eventloop").iter().map(|stanza| stanza.name()).collect()
}

fn pools(generation: &Generation) -> Result<(), String> {
    let delivery = generation.get(&DELIVERY_POOL, &Lookup::Global);
    let maintainer = generation.get(&MAINTAINER_POOL, &Lookup::Global);
    if !maintainer.is_empty() && maintainer != delivery {
        return Err(format!(
            "maintainer_pool = \"{maintainer}\" and delivery_pool = \"{delivery}\" differ: a queue and its connections share a \
             loop, so set both to the same pool or leave maintainer_pool out"
        ));
    }
    if delivery != DEFAULT_POOL && !event_loops(generation).contains(&delivery) {
        return Err(format!(
            "delivery_pool = \"{delivery}\" names no event loop pool: write eventloop \"{delivery}\" {{ concurrency = 2 }}"
        ));
    }
    Ok(())
}

fn listeners_have_pools(generation: &Generation, specs: &[ListenSpec]) -> Result<(), String> {
    let pools = event_loops(generation);
    let missing =
        |spec: &&ListenSpec| spec.event_loop.as_ref().is_some_and(|pool| pool != DEFAULT_POOL && !pools.contains(pool));
    match specs.iter().find(missing) {
        None => Ok(()),
        Some(spec) => Err(format!(
            "{} listen \"{}\": there is no eventloop \"{}\"; declare it or take event_loop out of the stanza",
            spec.word,
            spec.listen,
            spec.event_loop.as_deref().unwrap_or_default()
        )),
    }
}

/// What is written to has a name of its own: two logs may share a file, and nothing else may be another thing too.
fn one_file_each(generation: &Generation, specs: &[ListenSpec]) -> Result<(), String> {
    let mut named: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut claim = |what: String, path: &Path| match named.insert(plain(path), what.clone()) {
        Some(other) if other != what && !(is_log(&other) && is_log(&what)) => Err(format!(
            "{what} and {other} are the same file, {}: each would destroy what the other writes; give one of them another name",
            path.display()
        )),
        _ => Ok(()),
    };
    for (path, _) in generation.files() {
        claim("the configuration".to_owned(), &path)?;
    }
    for (option, log) in logs(generation) {
        if let Some(path) = log_file(&log) {
            claim(format!("{LOG}{option}"), Path::new(path))?;
        }
    }
    let pidfile = generation.get(&PIDFILE, &Lookup::Global);
    if !pidfile.is_empty() {
        claim("pidfile".to_owned(), Path::new(pidfile.strip_prefix("file://").unwrap_or(&pidfile)))?;
    }
    claim("spoolbase".to_owned(), &spool::JournalOptions::configured(generation).base)?;
    for spec in specs {
        if let ListenAddress::Unix(path) = &spec.address {
            claim(format!("the socket of {}", spec.word), path)?;
        }
    }
    Ok(())
}

fn is_log(what: &str) -> bool {
    what.starts_with(LOG)
}

/// A path without what says nothing, from the root on, with the links of its folder followed where there is one.
fn plain(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = whole.parent().and_then(io_wrapper::real_path);
    match (folder, whole.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => whole,
    }
}

/// Where the loggers of a generation write, each with its option.
pub fn logs(generation: &Generation) -> Vec<(&'static str, String)> {
    let mut logs = Vec::new();
    for stanza in generation.instances("ec_logger") {
        for log in [
            &ec_logger::MAINLOG,
            &ec_logger::REJECTLOG,
            &ec_logger::PANICLOG,
            &ec_logger::ACCTLOG,
            &ec_logger::IMPORTLOG,
        ] {
            logs.push((log.name(), stanza.get(log)));
        }
    }
    let option = &bounce_logger::BOUNCELOG;
    logs.extend(generation.instances("bounce_logger").iter().map(|stanza| (option.name(), stanza.get(option))));
    logs
}

/// The file of a log, if it is one: of a compressed log the file counts, what goes elsewhere has none.
pub fn log_file(log: &str) -> Option<&str> {
    let name = log.strip_prefix("gzip://").unwrap_or(log);
    let path = name.strip_prefix("file://").unwrap_or(name);
    let is_file = !path.is_empty() && !path.contains("://") && !io_wrapper::is_standard_stream(Path::new(path));
    is_file.then_some(path)
}

/// The listener of the console.
pub const CONTROL_LISTENER: &str = "control_listener";
/// Every listener there is.
pub const LISTENERS: [&str; 2] = ["esmtp_listener", CONTROL_LISTENER];
const NOBODY_TO_REACH: &str = "there is no listener: the daemon would take no mail and answer no console; add Control_Listener { \
     Listen \"/path/of/socket\" { } }, and ESMTP_Listener { Listen \":25\" { } } for mail";
/// What the name of a log begins with in a message.
const LOG: &str = "the log ";
