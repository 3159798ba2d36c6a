//! Measures hostile texts: how long each takes to be refused or read, and the highest memory meanwhile.
//!
//! `cargo run --release -p config --example hostile` tries each in a process of its own, so that the memory is that of one
//! text; `-- NAME` tries one here. `MIB` in the environment is the size of each text, 10 unless given.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Instant;

use config::{Configuration, Declared, Environment, IpNets, Opt, Registry, Seconds, Throttle, scopes};

const MESSAGE_EXPIRATION: Opt<Seconds> = Opt::new("message_expiration", "259200", scopes::QUEUE, "");
const THROTTLE: Opt<Throttle> = Opt::new("outbound_throttle_messages", "", scopes::QUEUE, "");
const ROUTES: Opt<Vec<String>> = Opt::new("routes", "()", scopes::DOMAIN, "");
const HOSTNAME: Opt<String> = Opt::new("hostname", "", scopes::GLOBAL, "");
const RELAY_HOSTS: Opt<IpNets> = Opt::new("relay_hosts", "( \"127.0.0.0/8\" )", scopes::LISTENER, "");
const CONTEXT: Opt<config::Dict> = Opt::new("context", "[]", scopes::LISTENER, "");
const OPTIONS: &[&dyn Declared] = &[&MESSAGE_EXPIRATION, &THROTTLE, &ROUTES, &HOSTNAME, &RELAY_HOSTS, &CONTEXT];

/// A text of so many bytes.
type Make = fn(usize) -> String;

const TEXTS: &[(&str, Make)] = &[
    ("stanzas", |size| numbered(size, |out, n| writeln!(out, "domain d{n} {{ message_expiration = {n} }}"))),
    ("empty_stanzas", |size| numbered(size, |out, n| write!(out, "domain {n:x}{{}}"))),
    ("same_stanza", |size| numbered(size, |out, _| write!(out, "domain d{{}}"))),
    ("nested_stanzas", |size| {
        numbered(size, |out, n| {
            write!(out, "binding_group \"g{n}\" {{ binding b {{ domain d {{ message_expiration = 1 }} }} }} ")
        })
    }),
    ("peers", |size| {
        let peer = |out: &mut String, n: usize| {
            write!(out, "Peer {}.{}.{}.{} {{}} ", n >> 24 & 255, n >> 16 & 255, n >> 8 & 255, n & 255)
        };
        format!("ESMTP_Listener {{ {} }}", numbered(size, peer))
    }),
    ("options", |size| numbered(size, |out, n| writeln!(out, "hostname=a{n}"))),
    ("options_not_in_effect", |size| numbered(size, |out, n| writeln!(out, "tls=no #{}", n % 7))),
    ("options_nobody_declares", |size| format!("opendkim x {{ {} }}", numbered(size, |out, n| write!(out, "a{n}=1 ")))),
    ("array", |size| format!("routes = ( {} )", "a ".repeat(size / 2))),
    ("arrays", |size| {
        let list = format!("routes = ( {} )\n", "a ".repeat(200_000));
        numbered(size, |out, n| write!(out, "domain d{n} {{ {list} }}"))
    }),
    ("dictionary", |size| format!("context = [ {} ]", numbered(size, |out, n| write!(out, "k{n}=v ")))),
    ("nets", |size| {
        let net = |out: &mut String, n: usize| write!(out, "{}.{}.{}.0 ", n >> 16 & 255, n >> 8 & 255, n & 255);
        let list = numbered(size.min(3 << 20), net);
        format!("relay_hosts = ( {list} )")
    }),
    ("patterns", |size| numbered(size, |out, n| writeln!(out, "domain \"/^d{n}\\.(a|b)+$/\" {{ }}"))),
    ("large_patterns", |size| numbered(size, |out, n| writeln!(out, "domain \"/(\\w{{9}}{n}){{9}}/\" {{ }}"))),
    ("comments", |size| "/* /* */ ".repeat(size / 9)),
    ("open_comment", |size| "/*".repeat(size / 2)),
    ("line_comments", |size| "#\n".repeat(size / 2)),
    ("depth", |size| "domain a { ".repeat(size / 11)),
    ("depth_of_lists", |size| format!("a = {}", "( ".repeat(size / 2))),
    ("string", |size| format!("hostname = \"{}\"", "x".repeat(size))),
    ("open_string", |size| format!("hostname = \"{}", "x\n".repeat(size / 2))),
    ("quotes", |size| "\"\n".repeat(size / 2)),
    ("references", |size| format!("hostname = $\"{}\"", "${A:-b}".repeat(size / 7))),
    ("nested_references", |size| format!("hostname = {}", "${A:-".repeat(size / 5))),
    ("conditions", |size| numbered(size, |out, n| write!(out, "if_env \"A{n}\" {{ domain d{n} {{ }} }} "))),
    ("nested_conditions", |size| "if_env \"!A\" { ".repeat(size / 15)),
    ("includes_of_nothing", |size| numbered(size, |out, n| writeln!(out, "include \"nowhere{n}\""))),
    ("includes_of_itself", |size| "include \"ecelerity.conf\"\n".repeat(size / 25)),
    ("includes_of_another", |size| format!("{}# {}", "include \"part.conf\"\n".repeat(40_000), "x".repeat(size))),
    ("nonsense", |size| "nonsense = 1\n".repeat(size / 13)),
    ("one_line", |size| numbered(size, |out, n| write!(out, "domain d{n} {{ nonsense{n} = 1 }} "))),
    ("bytes", |size| "\u{0}\u{201c}\u{a0}\u{7f}".repeat(size / 7)),
];

fn numbered(size: usize, piece: impl Fn(&mut String, usize) -> std::fmt::Result) -> String {
    let mut text = String::with_capacity(size + 4096);
    let mut n = 0;
    while text.len() < size {
        piece(&mut text, n).expect("a String takes everything");
        n += 1;
    }
    text
}

fn main() {
    let mib = std::env::var("MIB").ok().and_then(|mib| mib.parse().ok()).unwrap_or(10);
    match std::env::args().nth(1) {
        Some(name) => one(&name, mib << 20),
        None => {
            println!("{:25} {:>9} {:>9} {:>9}  outcome", "text", "load", "peak RSS", "kept");
            for (name, _) in TEXTS {
                let own = std::env::current_exe().expect("a path");
                let ended = Command::new(own).arg(name).status().expect("started");
                if !ended.success() {
                    println!("{name:25} ended with {ended}");
                }
            }
        }
    }
}

fn one(name: &str, size: usize) {
    let (_, make) = TEXTS.iter().find(|(known, _)| *known == name).expect("the name of a text");
    let directory = tempfile::tempdir().expect("a scratch directory");
    let path = directory.path().join("ecelerity.conf");
    std::fs::write(&path, make(size)).expect("written");
    std::fs::write(directory.path().join("part.conf"), "message_expiration = 5\n").expect("written");
    let mut registry = Registry::new();
    registry.add_all(OPTIONS);
    let before = resident_mib("VmRSS:");
    let began = now();
    let loaded = Configuration::load(registry, &path, Environment::default());
    let took = began.elapsed();
    let (peak, kept) = (resident_mib("VmHWM:"), resident_mib("VmRSS:").saturating_sub(before));
    let outcome = match &loaded {
        Ok(configuration) => format!("read, {} warnings", configuration.current().warnings().len()),
        Err(refused) => {
            let first = refused.iter().next().map_or_else(String::new, |one| one.message.clone());
            format!("refused: {}", first.chars().take(90).collect::<String>().replace(&*path.to_string_lossy(), "FILE"))
        }
    };
    println!("{name:25} {:>7.2} s {peak:>5} MiB {kept:>5} MiB  {outcome}", took.as_secs_f64());
}

/// A figure of this process's memory.
fn resident_mib(figure: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(figure));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) >> 10
}

#[allow(clippy::disallowed_methods, reason = "a measurement wants the real clock")]
fn now() -> Instant {
    Instant::now()
}
