//! Measures a large configuration: 1 000 bindings, 10 000 domain stanzas, 200 pattern stanzas.
//!
//! Prints the time to load and commit it, the highest memory, the time of a read along a resolved chain, of a whole lookup,
//! of one `config set` with its commit, and of ten thousand in one transaction. Run it alone: `cargo run --release -p config --example large`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use config::{Configuration, Declared, Environment, Lookup, Opt, Registry, Seconds, Throttle, scopes};

const MESSAGE_EXPIRATION: Opt<Seconds> = Opt::new("message_expiration", "259200", scopes::QUEUE, "");
const RETRY_INTERVAL: Opt<Seconds> = Opt::new("retry_interval", "1200", scopes::QUEUE, "");
const MAX_CONNECTIONS: Opt<i64> = Opt::new("max_outbound_connections", "32", scopes::QUEUE, "");
const THROTTLE: Opt<Throttle> = Opt::new("outbound_throttle_messages", "", scopes::QUEUE, "");
const BIND_ADDRESS: Opt<String> = Opt::new("bind_address", "", scopes::BINDING, "");
const OPTIONS: &[&dyn Declared] = &[&MESSAGE_EXPIRATION, &RETRY_INTERVAL, &MAX_CONNECTIONS, &THROTTLE, &BIND_ADDRESS];

fn main() {
    let text = text();
    let directory = tempfile::tempdir().expect("a scratch directory");
    let path = directory.path().join("ecelerity.conf");
    std::fs::write(&path, &text).expect("written");
    println!("file: {} lines, {} KiB", text.lines().count(), text.len() >> 10);

    let began = now();
    let configuration = Configuration::load(registry(), &path, Environment::default()).expect("valid");
    println!("load and commit: {:?}   peak RSS {} MiB", began.elapsed(), peak_mib());
    let began = now();
    configuration.reload(&mut |_| Ok(())).expect("valid");
    println!("reload: {:?}   peak RSS {} MiB", began.elapsed(), peak_mib());
    reads(&configuration);
    lookups(&configuration);
    set(&configuration);
    println!("peak RSS {} MiB", peak_mib());
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.add_all(OPTIONS);
    registry.add_all(config::OPTIONS);
    registry
}

fn text() -> String {
    let mut text = "message_expiration = 86400\nretry_interval = 900\n".to_owned();
    for group in 0..50 {
        text += &format!("binding_group \"g{group}\" {{\n  outbound_throttle_messages = \"{}/60\"\n", 100 + group);
        for binding in 0..20 {
            let number = group * 20 + binding;
            text += &format!("  binding \"b{number}\" {{\n    bind_address = \"192.0.2.{}\"\n", number % 250);
            text += "    domain \"slow.example\" { max_outbound_connections = 2 }\n  }\n";
        }
        text += "}\n";
    }
    for domain in 0..10_000 {
        text += &format!("domain \"d{domain}.example\" {{\n  max_outbound_connections = {}\n", domain % 50);
        text += &format!("  retry_interval = {} # as agreed\n}}\n", 60 + domain % 600);
    }
    for pattern in 0..200 {
        text += &format!("domain \"/(^|\\.)p{pattern}\\.(example|test)$/\" {{ retry_interval = {} }}\n", 60 + pattern);
    }
    text
}

/// Nanoseconds a call takes: the best of many short runs, so that what else the machine does counts little.
fn nanoseconds(mut call: impl FnMut(usize)) -> f64 {
    let mut best = Duration::MAX;
    for run in 0..1000 {
        let began = now();
        (run * CALLS..(run + 1) * CALLS).for_each(&mut call);
        best = best.min(began.elapsed());
    }
    best.as_nanos() as f64 / CALLS as f64
}

/// Calls in one run.
const CALLS: usize = 1000;

fn reads(configuration: &Configuration) {
    let generation = configuration.current();
    let queue = Lookup::Queue { binding_group: "g7", binding: "b147", domain: "d77.example" };
    let chain = generation.chain(&queue);
    let read = nanoseconds(|_| {
        let _ = black_box(generation.read(&RETRY_INTERVAL, black_box(&chain)));
    });
    println!("read along a resolved chain, set in the domain: {read:.1} ns");
    let read = nanoseconds(|_| {
        let _ = black_box(generation.read(&MESSAGE_EXPIRATION, black_box(&chain)));
    });
    println!("read along a resolved chain, set globally: {read:.1} ns");
}

fn lookups(configuration: &Configuration) {
    let generation = configuration.current();
    let names: Vec<(String, String)> = (0..1000)
        .map(|at| {
            let domain = match at % 3 {
                0 => format!("d{}.example", at * 7),
                1 => format!("mx.p{}.test", at % 200),
                _ => format!("other{at}.example"),
            };
            (format!("b{at}"), domain)
        })
        .collect();
    let look = nanoseconds(|at| {
        let (binding, domain) = &names[at % names.len()];
        let queue = Lookup::Queue { binding_group: "", binding, domain };
        let _ = black_box(generation.get(&RETRY_INTERVAL, &queue));
    });
    println!("lookup of (binding, domain): {:.2} us", look / 1000.0);
    let chain = nanoseconds(|at| {
        let (binding, domain) = &names[at % names.len()];
        let queue = Lookup::Queue { binding_group: "", binding, domain };
        let _ = black_box(generation.chain(&queue));
    });
    println!("chain of (binding, domain): {:.2} us", chain / 1000.0);
}

fn set(configuration: &Configuration) {
    let began = now();
    let mut transaction = configuration.begin(false);
    transaction.set("domain d5000.example retry_interval = 61").expect("valid");
    configuration.commit(&mut transaction, &mut |_| Ok(())).expect("first");
    println!("config set with its commit: {:?}", began.elapsed());

    let line = |n: usize| format!("domain d{}.example message_expiration = {n}", n % 12_000);
    let began = now();
    let mut transaction = configuration.begin(false);
    (0..100).for_each(|n| {
        transaction.set(&line(n)).expect("valid");
        transaction.generation().expect("valid");
    });
    println!("100 config set, each looked at: {:?}", began.elapsed());
    let began = now();
    let mut transaction = configuration.begin(false);
    (0..10_000).for_each(|n| drop(transaction.set(&line(n)).expect("valid")));
    let made = began.elapsed();
    configuration.commit(&mut transaction, &mut |_| Ok(())).expect("first");
    println!("10 000 config set: {made:?}, with their commit {:?}", began.elapsed());
}

/// The highest resident memory of this process so far.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) >> 10
}

#[allow(clippy::disallowed_methods, reason = "a measurement wants the real clock")]
fn now() -> Instant {
    Instant::now()
}
