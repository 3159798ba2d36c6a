//! The packaged systemd unit: how much it leaves open, and that the daemon does within it what it has to. No service manager
//! runs here, so what the daemon asks of the kernel is recorded and compared with what the unit allows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{MAILDIR, SOON, accept, ask, binary, configuration, letter, program, wait_for_mail};
use testkit::{DaemonSetup, run};

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/postrider.service")
}

/// The values of a setting, in order.
fn settings(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(unit()).expect("the unit");
    let prefix = format!("{name}=");
    text.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
}

fn systemd_analyze(arguments: &[&str]) -> String {
    let ended = run(Command::new(program("systemd-analyze", "systemd")).arg("--no-pager").args(arguments));
    assert!(!ended.stdout.is_empty(), "{arguments:?}: {}", ended.stderr);
    ended.stdout
}

/// The system calls of a filter's words; a set stands for what is in it, sets too.
fn calls(words: &str) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for word in words.split_ascii_whitespace() {
        if !word.starts_with('@') {
            calls.insert(word.to_owned());
            continue;
        }
        for line in systemd_analyze(&["syscall-filter", word]).lines().skip(1).map(str::trim) {
            if line.starts_with('@') {
                calls.extend(self::calls(line));
            } else if !line.is_empty() && !line.starts_with('#') {
                calls.insert(line.to_owned());
            }
        }
    }
    calls
}

#[test]
fn little_is_left_open() {
    let path = unit().display().to_string();
    let told = systemd_analyze(&["security", "--offline=yes", &path]);
    let level =
        told.lines().find_map(|line| line.split_once("exposure level for postrider.service: ")).expect("a level");
    let level: f64 = level.1.split_whitespace().next().expect("a number").parse().expect("a number");
    assert!(level <= 2.0, "{told}");
    assert_eq!(settings("AmbientCapabilities"), ["CAP_NET_BIND_SERVICE"], "port 25");
    assert_eq!(settings("RestartSec").len(), 1);
}

#[test]
fn the_daemon_asks_the_kernel_for_nothing_that_the_unit_keeps_from_it() {
    let mut allowed = BTreeSet::new();
    for filter in settings("SystemCallFilter") {
        match filter.strip_prefix('~') {
            Some(denied) => allowed = allowed.difference(&calls(denied)).cloned().collect(),
            None => allowed.extend(calls(&filter)),
        }
    }
    // As the unit has it set already, the daemon need not raise its limit, and does without if it may not.
    let harmless = ["setrlimit", "prlimit64"].map(str::to_owned);
    // How the recorder itself is seen to begin the program.
    allowed.extend(["execve".to_owned()]);
    let strace = program("strace", "strace");
    let text = configuration(
        &format!("{MAILDIR}bounce_domains = ( \"bounces.test\" )\n"),
        "relay_hosts = ( \"127.0.0.0/8\" )",
    );
    let mut traced = DaemonSetup::new(&strace, &text)
        .console(binary("ec_console"))
        .set("resolv_conf", "/dev/null")
        .set("daemon", binary("postriderd").display())
        .arguments(&["-f", "-qq", "-o", "@dir@/trace", "@daemon@", "-d", "-c", "@config@"])
        .prepare();
    traced.start();
    accept(&traced, "ann@client.test", &["bob@here.test"], &letter("within the unit"));
    wait_for_mail(&traced, "bob@here.test", 1);
    accept(&traced, "bob@here.test", &["ann@[127.0.0.1]"], &letter("to nobody who listens"));
    for words in [
        &["config", "set", "retry_interval", "61"][..],
        &["reopen", "logs"],
        &["memory"],
        &["threads"],
        &["fail", "domain", "[127.0.0.1]"],
    ] {
        ask(&traced, words);
    }
    wait_for_mail(&traced, "bob@here.test", 2);
    ask(&traced, &["shutdown"]);
    assert!(traced.wait(SOON).is_some_and(|status| status.success()), "{}", traced.stderr());
    let trace = traced.read("trace");
    let mut asked = BTreeSet::new();
    for line in trace.lines() {
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        // A call that another thread interrupted is told in two lines, the second of which begins with dots.
        if let Some((name, _)) = call
            .split_once('(')
            .filter(|(name, _)| name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_'))
        {
            asked.insert(name.to_owned());
        }
    }
    assert!(asked.contains("fdatasync") && asked.contains("accept4"), "{asked:?}");
    let refused: Vec<&String> = asked.difference(&allowed).filter(|call| !harmless.contains(call)).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let both = |line: &&str| line.contains("PROT_WRITE") && line.contains("PROT_EXEC");
    assert_eq!(trace.lines().find(both), None, "MemoryDenyWriteExecute=yes");
    let families: BTreeSet<&str> =
        trace.lines().filter_map(|line| line.split_once("socket(")?.1.split(',').next()).collect();
    let restricted = settings("RestrictAddressFamilies").join(" ");
    for family in families {
        assert!(restricted.split(' ').any(|allowed| allowed == family), "{family}");
    }
}
