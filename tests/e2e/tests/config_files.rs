//! The running configuration and its files: writing back, reloading, and looking before either.

use e2e::{ConsoleSession, SOON, accept, ask, ask_json, configuration, letter, relay, wait};
use rustix::process::Signal;
use testkit::{Ended, Sink};

#[test]
fn what_is_written_back_outlives_a_restart_with_comments_intact() {
    let sink = Sink::start();
    let mut daemon = relay(&sink).start();
    let more =
        format!("# our next hop\ngateway = \"{}\"   # fast\n\nretry_interval = 300 # five minutes\n", sink.addr());
    daemon.write_config(&configuration(&more, ""));
    ask(&daemon, &["config", "reload"]);
    let before = std::fs::read_to_string(daemon.value("config")).expect("the file");

    ask(&daemon, &["config", "set", "retry_interval", "77"]);
    ask(&daemon, &["config", "set", "esmtp_listener", "open_relay", "off"]);
    let unwritten = std::fs::read_to_string(daemon.value("config")).expect("the file");
    assert_eq!(unwritten, before, "nothing reaches the disk by itself");
    assert_eq!(ask(&daemon, &["config", "writeback"]), format!("Written: {}\n", daemon.value("config")));
    let after = std::fs::read_to_string(daemon.value("config")).expect("the file");
    let expected = before
        .replace("retry_interval = 300 #", "retry_interval = 77 #")
        .replace("{  }\n}\n\nControl_Listener", "{  }\n  Open_Relay = off\n}\n\nControl_Listener");
    assert_eq!(after, expected);
    assert!(ask(&daemon, &["config", "writeback"]).starts_with("Nothing to write"));

    daemon.restart();
    assert_eq!(ask_json(&daemon, &["config", "eval", "retry_interval"])["value"], 77);
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("after"));
    sink.wait_for(1, SOON);
}

#[test]
fn a_reload_drops_what_was_not_written() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    ask(&daemon, &["config", "set", "retry_interval", "77"]);
    let told = ask(&daemon, &["config", "diff"]);
    let heading = "--- the files\n+++ what runs\nretry_interval\n  + 77    from the console at ";
    assert!(told.to_lowercase().starts_with(heading), "{told}");
    let why = ask(&daemon, &["config", "eval", "--why", "retry_interval"]);
    assert!(why.contains("set from the console at 20") && why.contains(" by ") && !why.contains(".conf"), "{why}");
    let dry = ask(&daemon, &["config", "reload", "--dry-run"]);
    assert!(dry.contains("A reload would drop 1 change made from the console, which no file has:\n  "), "{dry}");
    let reloaded = ask(&daemon, &["config", "reload"]);
    let dropped =
        "Dropped 1 change made from the console, which no file has:\n  retry_interval = 77, set from the console at 20";
    assert!(reloaded.to_lowercase().contains(&dropped.to_lowercase()), "{reloaded}");
    wait(&daemon, "the paniclog has it", || {
        daemon.read("log/paniclog.ec").contains("dropped a change that no file has: ")
    });
    assert_eq!(ask_json(&daemon, &["config", "eval", "retry_interval"])["value"], 1200);
    assert_eq!(ask(&daemon, &["config", "diff"]), "No differences.\n");
}

#[test]
fn a_file_changed_by_somebody_else_is_not_overwritten() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    ask(&daemon, &["config", "set", "retry_interval", "77"]);
    daemon.write_config(&configuration("retry_interval = 5 # mine\n", ""));
    let Ended { status, stderr, .. } = daemon.console(&["config", "writeback"]);
    assert!(!status.success() && stderr.contains("was changed on disk since it was read"), "{stderr}");
    assert!(std::fs::read_to_string(daemon.value("config")).expect("the file").contains("= 5 # mine"));
    ask(&daemon, &["config", "writeback", "whole.conf"]);
    assert!(daemon.read("whole.conf").to_lowercase().contains("retry_interval = 77"));
    let printed = ask(&daemon, &["write", "config"]);
    assert!(printed.to_lowercase().contains("retry_interval = 77\n"), "{printed}");
}

#[test]
fn a_dry_run_tells_what_a_reload_would_do_and_does_nothing() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let text = configuration(&format!("gateway = \"{}\"\nretry_interval = 5\n", sink.addr()), "");
    daemon.write_config(&text.replace("@dir@/spool", "@dir@/other"));
    let told = ask(&daemon, &["config", "reload", "--dry-run"]);
    assert!(told.contains("+ 5 ") && told.contains("2 differences."), "{told}");
    assert!(told.contains("Waits for the next start: spoolbase."), "{told}");
    assert!(told.ends_with("Nothing was changed.\n"), "{told}");
    assert_eq!(ask_json(&daemon, &["config", "eval", "retry_interval"])["value"], 1200);

    daemon.write_config("hostnam = 5\n");
    let Ended { status, stderr, .. } = daemon.console(&["config", "reload", "--dry-run"]);
    assert!(!status.success() && stderr.contains("did you mean `hostname`?"), "{stderr}");
    assert!(stderr.contains("nothing was changed"), "{stderr}");
    for words in [&["config", "reload", "--json"][..], &["config", "reload", "--dry-run", "--json"]] {
        let Ended { status, stdout, .. } = daemon.console(words);
        assert!(!status.success());
        let told: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
        assert_eq!((&told["status"], &told["valid"]), (&"FAILED".into(), &false.into()));
        let (line, help) = (&told["diagnostics"][0]["line"], &told["diagnostics"][0]["help"]);
        assert_eq!((line, help), (&1.into(), &"did you mean `hostname`?".into()));
    }
    let mut session = ConsoleSession::open(&daemon);
    assert!(session.refused("config diff").contains("did you mean `hostname`?"));
}

#[test]
fn what_a_file_accepts_without_effect_may_be_set_and_reloaded_and_nothing_else() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let more = daemon.dir().join("more.conf");
    let main = |accepted: &str| configuration(&format!("{accepted}include \"{}\"\n", more.display()), "");
    std::fs::write(&more, "domain \"a.test\" {\n  tls = \"required\"\n}\n").expect("written");
    daemon.write_config(&main(""));
    daemon.signal(Signal::HUP);
    wait(&daemon, "SIGHUP is refused", || daemon.read("log/paniclog.ec").contains("configuration reload refused"));
    assert!(daemon.read("log/paniclog.ec").contains("more.conf:2:"), "{}", daemon.read("log/paniclog.ec"));
    daemon.write_config(&main("accept_ineffective = ( \"tls\" )\n"));
    daemon.signal(Signal::HUP);
    wait(&daemon, "SIGHUP loads it", || {
        ask_json(&daemon, &["config", "get", "domain", "a.test", "tls"])["value"] == "required"
    });
    ask(&daemon, &["config", "set", "domain", "b.test", "tls", "required"]);
    let told = daemon.console(&["config", "set", "domain", "b.test", "tls_verify", "host"]).stderr;
    assert!(told.contains("accept_ineffective = ( \"tls_verify\" )"), "{told}");
    daemon.signal(Signal::HUP);
    wait(&daemon, "SIGHUP tells what it drops", || {
        daemon
            .read("log/paniclog.ec")
            .contains("the reload by SIGHUP dropped a change that no file has: domain \"b.test\"")
    });
}

#[test]
fn a_writeback_says_when_the_files_are_not_what_runs() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let path = daemon.value("config");
    let whole = std::fs::read_to_string(path).expect("the file");
    for (text, told) in [
        (None, "there is no such file any longer"),
        (Some(String::new()), "it is empty now"),
        (Some(format!("{whole}\nretry_interval = = {{\n")), "it was changed since it was read"),
    ] {
        match text {
            Some(text) => std::fs::write(path, text).expect("the file is ours"),
            None => std::fs::remove_file(path).expect("the file is ours"),
        }
        let said = ask(&daemon, &["config", "writeback"]);
        assert!(said.starts_with("Nothing was written") && said.contains(&format!("{path}: {told}")), "{said}");
        assert_eq!(ask_json(&daemon, &["config", "writeback"])["not_as_read"][0], format!("{path}: {told}"));
    }
    std::fs::write(path, whole).expect("the file is ours");
    assert_eq!(ask(&daemon, &["config", "writeback"]), "Nothing to write: the files say what runs.\n");
}
