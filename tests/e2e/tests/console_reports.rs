//! What the console tells of logs, sessions and the machine; and what it says to words that make no sense.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use e2e::{SOON, accept, ask, ask_json, block_on, daemon, letter, relay_with, wait};
use testkit::{Daemon, Dialogue, Sink};

/// Expects a failure; what was said on standard error.
fn refused(daemon: &Daemon, words: &[&str]) -> String {
    let ended = daemon.console(words);
    assert_eq!(ended.status.code(), Some(1), "{words:?}: {}{}", ended.stdout, ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    ended.stderr
}

#[test]
fn reopening_logs_tells_which_were_and_which_could_not_be() {
    let daemon = daemon("").start();
    let log = daemon.dir().join("log");
    let told = ask(&daemon, &["reopen", "logs"]);
    for name in ["mainlog", "rejectlog", "paniclog", "acctlog", "bouncelog"] {
        assert!(told.contains(&format!("{name} ({}/{name}.ec)", log.display())), "{told}");
    }
    fs::rename(log.join("mainlog.ec"), log.join("mainlog.1")).expect("renamed");
    assert_eq!(
        ask(&daemon, &["reopen", "logs", "mainlog"]),
        format!("Reopened mainlog ({}/mainlog.ec).\n", log.display())
    );
    assert!(log.join("mainlog.ec").exists());
    let told = ask(&daemon, &["reopen", "logs", "bounce_logger"]);
    assert_eq!(told, format!("Reopened bouncelog ({}/bouncelog.ec).\n", log.display()));
    let told = refused(&daemon, &["reopen", "logs", "nosuch"]);
    assert!(told.contains("no log is called nosuch; open are: mainlog of ec_logger ("), "{told}");
    // A directory in its place cannot be opened as a log, whoever runs this.
    fs::remove_file(log.join("mainlog.ec")).expect("removed");
    fs::create_dir(log.join("mainlog.ec")).expect("made");
    let told = refused(&daemon, &["reopen", "logs"]);
    let failed = format!("Not reopened: mainlog ({}/mainlog.ec): ", log.display());
    assert!(told.contains(&failed) && told.contains("lines still go to the old file"), "{told}");
    assert!(told.contains("\nReopened ") && !told.contains("Reopened mainlog"), "{told}");
    let ended = daemon.console(&["reopen", "logs", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!((&told["failed"][0]["log"], told["reopened"].as_array().map(Vec::len)), (&"mainlog".into(), Some(4)));
    assert!(daemon.read("log/paniclog.ec").contains("cannot open "));
}

#[test]
fn sessions_of_clients_are_shown_and_counted() {
    let daemon = daemon("").start();
    assert_eq!(ask(&daemon, &["show", "inbound"]), "");
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.ask("EHLO client.test", "250").await;
        wait(&daemon, "it has said EHLO", || ask(&daemon, &["show", "inbound"]).contains(" awaiting mailfrom "));
        let shown = ask(&daemon, &["show", "inbound"]);
        assert!(shown.contains(": [inbound/esmtp_listener] IPv4 127.0.0.1:") && shown.contains(" (for "), "{shown}");
        let session = &ask_json(&daemon, &["show", "inbound"])["sessions"][0];
        assert_eq!(session["listen"], daemon.addr().to_string());
        assert!(0 < session["fd"].as_i64().expect("a descriptor"));
        assert_eq!(ask(&daemon, &["count", "SMTP", "127.0.0.0/8"]), "1 sessions\n");
        assert_eq!(ask(&daemon, &["count", "SMTP", "10.0.0.1"]), "0 sessions\n");
        let tree = ask(&daemon, &["count", "SMTP", "32"]);
        assert_eq!(tree, "Displaying 'SMTP' from /32 to /32\n    1  127.0.0.1/32\n");
        assert_eq!(ask(&daemon, &["count", "outbound", "16-32"]), "");
        client.ask("QUIT", "221").await;
    });
    wait(&daemon, "it has left", || ask(&daemon, &["show", "inbound"]).is_empty());
    for (words, said) in [
        (&["count", "SMTP"][..], "a type of sessions and a network or mask belong here"),
        (&["count", "SMTP", "x"], "'x' is no address (192.0.2.9), prefix"),
        (&["count", "HTTP", "32"], "'HTTP' is no type of sessions"),
        (&["count", "outbound/out9", "32"], "no binding is called out9"),
    ] {
        assert!(refused(&daemon, words).contains(said), "{words:?}");
    }
}

#[test]
fn the_machine_is_told() {
    let daemon = daemon("").start();
    let told = ask(&daemon, &["sysinfo"]);
    let labels: Vec<&str> = told.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    assert_eq!(labels, ["Version", "Build", "Product", "OS Release", "Uname"], "{told}");
    assert!(ask_json(&daemon, &["sysinfo"])["uname"].as_str().is_some_and(|uname| uname.starts_with("Linux ")));
}

#[test]
fn every_command_refuses_words_that_it_does_not_know_and_answers_in_json() {
    let daemon = daemon("").start();
    let all = ask_json(&daemon, &["help"]);
    let commands: Vec<String> =
        all.as_array().expect("a list").iter().map(|one| one["words"].as_str().expect("words").to_owned()).collect();
    assert!(60 < commands.len(), "{commands:?}");
    let manual = include_str!("../../../doc/manual/console.md").replace("\\|", "|");
    for command in all.as_array().expect("a list") {
        let usage = command["usage"].as_str().expect("a usage");
        assert!(manual.contains(&format!("`{usage}`")), "doc/manual/console.md has no `{usage}`");
    }
    // Those take anything: a line to complete, a value, a filter, a note.
    let takes_anything = ["complete", "config set", "config options", "fail domain", "fail domain quiet"];
    for command in &commands {
        let mut words: Vec<&str> = command.split(' ').collect();
        words.extend(["surplus", "--nonsense", "surplus", "surplus", "surplus", "surplus"]);
        if takes_anything.contains(&command.as_str()) || command == "shutdown" {
            continue;
        }
        let said = refused(&daemon, &words);
        assert!(1 < said.trim().split(' ').count(), "{command}: {said}");
        words.push("--json");
        let ended = daemon.console(&words);
        let told: serde_json::Value =
            serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{command}: {error}: {}", ended.stdout));
        assert!(told["error"].as_str().is_some_and(|error| !error.is_empty()), "{command}: {told}");
    }
    assert!(ask(&daemon, &["pid"]).trim().parse::<u32>().is_ok(), "it lives");
}

#[test]
fn a_dialogue_with_a_host_is_recorded_in_a_file() {
    let sink = Sink::start();
    let daemon = relay_with(&sink, "trace_smtp_mode = 0600\nidle_timeout = 1\n").start();
    let file = daemon.dir().join("trace");
    let path = file.display().to_string();
    let queue = sink.addr().to_string();
    assert_eq!(ask(&daemon, &["trace", "smtp", "list"]), "");
    assert_eq!(ask(&daemon, &["trace", "smtp", "add", "*", &queue, &path]), "Registered smtp tracer #1\n");
    let listed = ask(&daemon, &["trace", "smtp", "list"]);
    assert_eq!(listed, format!("[     1]  binding: *\n          domain: {queue}\n          file: {path}\n"));
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("recorded"));
    sink.wait_for(1, SOON);
    let traced = || fs::read_to_string(&file).unwrap_or_default();
    wait(&daemon, "the dialogue is in the file", || traced().contains(" > ."));
    let text = traced();
    for line in
        ["= connected for ", "< 220 ", "> EHLO ", "> MAIL FROM:<ann@client.test>", "> DATA", "octets of a message)"]
    {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("Subject"), "no message is in it:\n{text}");
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    assert_eq!(ask(&daemon, &["trace", "smtp", "remove", "1"]), "Removed smtp tracer #1\n");
    assert!(refused(&daemon, &["trace", "smtp", "remove", "1"]).contains("there is no smtp tracer #1"));
    for (words, said) in [
        (&["trace", "smtp", "add", "*", "*", &*path][..], "is there already and is left alone"),
        (&["trace", "smtp", "add", "*", "*", "trace"], "'trace' is no absolute path"),
        (&["trace", "smtp", "add", "out9", "*", "/tmp/x"], "no binding is called out9"),
        (&["trace", "smtp", "add", "*", "*", "/dev/null"], "is there already"),
        (&["trace", "smtp", "remove", "x"], "'x' is not the number of a tracer"),
    ] {
        assert!(refused(&daemon, words).contains(said), "{words:?}");
    }
}
