//! Configurations that the language allows and a running daemon must not take: those that ask for a protection it does not
//! have, and those that leave nobody to reach it.

use e2e::{ask, ask_json, configuration, daemon, wait};
use rustix::process::Signal;
use testkit::{Daemon, Ended};

fn refused(daemon: &Daemon, words: &[&str]) -> String {
    let Ended { status, stdout, stderr } = daemon.console(words);
    assert!(!status.success(), "{words:?} was done: {stdout}");
    stderr
}

fn paniclog(daemon: &Daemon) -> String {
    daemon.read("log/paniclog.ec")
}

#[test]
fn a_protection_that_is_not_there_is_refused_on_every_way_into_the_daemon() {
    let daemon = daemon("").start();
    let clear = "is not in effect yet: mail leaves in the clear";
    for words in ["config set tls required", "config set domain a.test tls ifavailable"] {
        let told = refused(&daemon, &words.split(' ').collect::<Vec<_>>());
        assert!(told.contains(clear), "{told}");
    }
    assert!(!paniclog(&daemon).contains("refused"), "whoever sets an option is told; it is no alarm");
    daemon.write_config(&configuration("tls = \"required\"\n", ""));
    for words in [&["config", "reload"][..], &["config", "reload", "--dry-run"], &["config", "reload", "--force"]] {
        let told = refused(&daemon, words);
        assert!(told.contains(clear) && told.contains("accept_ineffective = ( \"tls\" )"), "{told}");
    }
    daemon.signal(Signal::HUP);
    wait(&daemon, "the log tells why", || paniclog(&daemon).contains("configuration reload refused"));
    let log = paniclog(&daemon);
    let line = log.lines().find(|line| line.contains("refused")).unwrap_or_default();
    let place = line.split_once("refused: ").and_then(|(_, place)| place.split_once(".conf:"));
    let place = place.map(|(_, rest)| rest.split(':').take(2).all(|number| number.parse::<u32>().is_ok()));
    assert_eq!(place, Some(true), "file:line:column: {line}");
    assert!(line.is_ascii() && line.contains(clear), "without the drawing: {line}");
    assert_eq!(ask_json(&daemon, &["config", "eval", "tls"])["value"], "no");
    ask(&daemon, &["config", "set", "tls", "no"]);
}

#[test]
fn what_the_operator_accepts_is_told_at_every_start_and_reload() {
    let accepted = "accept_ineffective = ( \"tls\" \"opendkim\" )\ntls = \"required\"\n";
    let mut daemon = daemon(accepted).start();
    let told = "option `tls` is not in effect, as accept_ineffective accepts: mail leaves in the clear";
    let times = |daemon: &Daemon| paniclog(daemon).matches(told).count();
    wait(&daemon, "the start tells", || times(&daemon) == 1);
    let reload = ask_json(&daemon, &["config", "reload"]);
    assert!(reload["warnings"].to_string().contains(told), "{reload}");
    wait(&daemon, "the reload tells", || times(&daemon) == 2);
    daemon.signal(Signal::HUP);
    wait(&daemon, "SIGHUP tells", || times(&daemon) == 3);
    let listed = ask_json(&daemon, &["config", "options", "accepted"]);
    let names: Vec<_> = listed["options"].as_array().expect("a list").iter().map(|one| one["name"].clone()).collect();
    assert!(names.contains(&"tls".into()) && names.contains(&"opendkim".into()), "{names:?}");
    let one = ask(&daemon, &["config", "options", "tls"]);
    assert!(one.contains("protective, accepted by accept_ineffective: mail leaves in the clear"), "{one}");
    daemon.restart();
    wait(&daemon, "the next start tells", || times(&daemon) == 4);
}

#[test]
fn a_file_that_leaves_nobody_to_reach_the_daemon_is_not_loaded() {
    let daemon = daemon("").start();
    let whole = configuration("", "");
    let enabled = "Listen \"@control@\" { }";
    for (unfit, missing) in [
        (String::new(), "while it has no listener"),
        ("# nothing\nretry_interval = 61\n".to_owned(), "while it has no listener"),
        (whole.replace("Listen \"@listen@\" {  }", "").replace(enabled, ""), "while it has no listener"),
        (whole.replace(enabled, ""), "while it has no Control_Listener"),
        (whole.replace(enabled, "enable = false Listen \"@control@\" { }"), "while it has no Control_Listener"),
        (whole.replace(enabled, "Listen \"@control@\" { enable = false }"), "while it has no Control_Listener"),
    ] {
        daemon.write_config(&unfit);
        let told = refused(&daemon, &["config", "reload"]);
        assert!(told.contains(missing) && told.contains("--force"), "{unfit}: {told}");
        assert!(refused(&daemon, &["config", "reload", "--dry-run"]).contains(missing), "{unfit}");
        let refusals = || paniclog(&daemon).matches("configuration reload refused").count();
        let before = refusals();
        daemon.signal(Signal::HUP);
        wait(&daemon, "SIGHUP is refused", || before < refusals());
        assert!(ask_json(&daemon, &["config", "show"])["built_in"].is_array(), "the console answers");
    }
    assert!(refused(&daemon, &["config", "unset", "control_listener"]).contains("while it has no Control_Listener"));
    daemon.write_config(&whole.replace(enabled, ""));
    ask(&daemon, &["config", "reload", "--force"]);
    wait(&daemon, "the console is gone", || !daemon.console(&["config", "show"]).status.success());
    // The daemon goes on, and a signal with a better file brings the console back.
    daemon.write_config(&whole);
    daemon.signal(Signal::HUP);
    wait(&daemon, "the console is back", || daemon.console(&["config", "show"]).status.success());
}
