//! What the tests share: options as other crates would declare them, and scratch directories of files.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod exercise;

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use config::{
    Address, Configuration, Declared, Diagnostics, Dict, Environment, Generation, IpNets, Lookup, Opt, Pattern, Perms,
    Registry, Scope, Seconds, Throttle, Variables, scopes,
};

pub const MESSAGE_EXPIRATION: Opt<Seconds> =
    Opt::new("message_expiration", "259200", scopes::QUEUE, "Age at which mail expires.");
pub const RETRY_INTERVAL: Opt<Seconds> =
    Opt::new("retry_interval", "1200", scopes::QUEUE, "Delay before the first retry.")
        .check(|s| if s.0 >= 1 { Ok(()) } else { Err("must be at least 1 second".to_owned()) });
pub const MAX_RESIDENT: Opt<u64> =
    Opt::new("max_resident_active_queue", "250", scopes::QUEUE, "Messages kept in memory.");
pub const THROTTLE: Opt<Throttle> =
    Opt::new("outbound_throttle_messages", "", scopes::QUEUE_AND_HOST, "Messages per time.");
pub const MAX_CONNECTIONS: Opt<i64> =
    Opt::new("max_outbound_connections", "32", scopes::QUEUE_AND_HOST, "Connections.");
pub const CLUSTER_MAX: Opt<i64> =
    Opt::new("cluster_max_outbound_connections", "-1", scopes::QUEUE_AND_HOST, "Connections of all nodes.")
        .host_falls_back();
pub const GATEWAY: Opt<String> = Opt::new("gateway", "", scopes::QUEUE, "Next hop.");
pub const ROUTES: Opt<Vec<String>> = Opt::new("routes", "()", scopes::DOMAIN, "Next hops.");
pub const HOSTNAME: Opt<String> = Opt::new("hostname", "", scopes::GLOBAL, "Name of this host.");
pub const RELAY_HOSTS: Opt<IpNets> = Opt::new("relay_hosts", "( \"127.0.0.0/8\" )", scopes::LISTENER, "Who may relay.");
pub const RELAY_DOMAINS: Opt<Vec<String>> = Opt::new("relay_domains", "()", scopes::LISTENER, "Whom we relay to.");
pub const OPEN_RELAY: Opt<bool> = Opt::new("open_relay", "false", scopes::LISTENER, "Relay for everyone.");
pub const IDLE_TIME: Opt<Seconds> = Opt::new("idle_time", "60", scopes::LISTENER_ONLY, "Longest silence.");
pub const MAX_RECIPIENTS: Opt<u64> =
    Opt::new("max_recipients_per_message", "1000", scopes::LISTENER, "RCPTs in one transaction.");
pub const PATHWAY: Opt<String> = Opt::new("pathway", "", scopes::LISTENER, "Pathway of the session.");
pub const CONTEXT: Opt<Dict> = Opt::new("context", "[]", scopes::LISTENER, "Variables of each session.");
pub const FILE_MODE: Opt<Perms> = Opt::new("file_mode", "0660", scopes::LISTEN, "Mode of a Unix socket.");
pub const BOUNCE_PATTERN: Opt<Pattern> = Opt::new("bounce_pattern", "", scopes::DOMAIN, "Addresses that get bounces.");
pub const POOL_CONCURRENCY: Opt<u64> = Opt::new("concurrency", "1", scopes::THREAD_POOL, "Threads.");
pub const LISTEN_CONCURRENCY: Opt<u64> = Opt::new("concurrency", "4", scopes::LISTEN, "Accepting tasks.");
pub const MAINLOG: Opt<String> =
    Opt::new("mainlog", "\"/var/log/ecelerity/mainlog.ec\"", &[Scope::Module("ec_logger")], "The main log.")
        .not_tunable();
pub const STATSD: Opt<Option<Address>> = Opt::new("statsd_test", "", scopes::GLOBAL, "Where numbers go.");

pub const OPTIONS: &[&dyn Declared] = &[
    &MESSAGE_EXPIRATION,
    &RETRY_INTERVAL,
    &MAX_RESIDENT,
    &THROTTLE,
    &MAX_CONNECTIONS,
    &CLUSTER_MAX,
    &GATEWAY,
    &ROUTES,
    &HOSTNAME,
    &RELAY_HOSTS,
    &RELAY_DOMAINS,
    &OPEN_RELAY,
    &IDLE_TIME,
    &MAX_RECIPIENTS,
    &PATHWAY,
    &CONTEXT,
    &FILE_MODE,
    &BOUNCE_PATTERN,
    &POOL_CONCURRENCY,
    &LISTEN_CONCURRENCY,
    &MAINLOG,
    &STATSD,
];

pub fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.add_all(OPTIONS);
    registry.add_all(config::OPTIONS);
    registry
}

/// The same registry for every load, so that a fuzzer spends its time on texts.
static REGISTRY: LazyLock<Arc<Registry>> = LazyLock::new(|| Arc::new(registry()));

/// A directory of configuration files.
pub struct Etc {
    pub dir: tempfile::TempDir,
}

impl Etc {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let etc = Etc { dir: tempfile::tempdir().expect("a scratch directory") };
        files.iter().for_each(|(name, text)| etc.write(name, text));
        etc
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("create directories");
        std::fs::write(path, text).expect("write a file");
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a file to read")
    }

    pub fn main(&self) -> PathBuf {
        self.path("ecelerity.conf")
    }

    pub fn load(&self) -> Result<Configuration, Diagnostics> {
        self.load_with(&[])
    }

    /// Loads where exactly these variables are set.
    pub fn load_with(&self, variables: &[(&str, &str)]) -> Result<Configuration, Diagnostics> {
        let variables = Variables::of(variables.iter().copied());
        let environment = Environment { node_name: Some("node1".to_owned()), variables, ..Environment::default() };
        Configuration::load(REGISTRY.clone(), self.main(), environment)
    }

    /// The diagnostics of a refused load, directories left out.
    pub fn refusal(&self) -> String {
        self.tidy(&self.load().expect_err("the configuration should be refused"))
    }

    pub fn tidy(&self, diagnostics: &Diagnostics) -> String {
        let dir = format!("{}/", self.dir.path().display());
        diagnostics.render(false).replace(&dir, "")
    }
}

/// Loads one text, which must be valid.
pub fn load(text: &str) -> Configuration {
    match Etc::new(&[("ecelerity.conf", text)]).load() {
        Ok(configuration) => configuration,
        Err(diagnostics) => panic!("refused:\n{}", diagnostics.render(false)),
    }
}

/// What is said about one text, which must be refused.
pub fn refusal(text: &str) -> String {
    Etc::new(&[("ecelerity.conf", text)]).refusal()
}

/// What is said about one text that is accepted.
pub fn warnings(text: &str) -> String {
    let etc = Etc::new(&[("ecelerity.conf", text)]);
    match etc.load() {
        Ok(configuration) => etc.tidy(configuration.current().warnings()),
        Err(diagnostics) => panic!("refused:\n{}", diagnostics.render(false)),
    }
}

pub fn queue<'a>(binding_group: &'a str, binding: &'a str, domain: &'a str) -> Lookup<'a> {
    Lookup::Queue { binding_group, binding, domain }
}

pub fn session<'a>(listen: &'a str, peer: &str) -> Lookup<'a> {
    Lookup::Listener { kind: "esmtp_listener", listen, peer: peer.parse().ok() }
}

pub fn expiration(generation: &Generation, lookup: &Lookup<'_>) -> u64 {
    let chain = generation.chain(lookup);
    let value = generation.get(&MESSAGE_EXPIRATION, lookup);
    assert_eq!(value, generation.read(&MESSAGE_EXPIRATION, &chain), "a resolved chain reads what a lookup finds");
    value.0
}

/// Changes made by console lines, `set ...` or `unset ...`, committed together; what each said.
pub fn change(configuration: &Configuration, lines: &[&str]) -> Vec<String> {
    let mut transaction = configuration.begin(false);
    let said = lines.iter().map(|line| apply(&mut transaction, line)).collect();
    if let Err(refused) = configuration.commit(&mut transaction, &mut |_| Ok(())) {
        panic!("refused:\n{}", refused.render(false));
    }
    said
}

/// One console line inside a transaction, and what it said.
pub fn apply(transaction: &mut config::Transaction, line: &str) -> String {
    let answer = match line.split_once(' ') {
        Some(("set", rest)) => transaction.set(rest),
        Some(("unset", rest)) => transaction.unset(&rest.split(' ').collect::<Vec<_>>()),
        _ => panic!("neither set nor unset: {line}"),
    };
    answer.map_or_else(|problem| problem, |answer| answer.text)
}
