//! The spool's back ends in the real daemon: `kill -9`, restarts, refusals, tools beside it, and import.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::{SOON, accept, ask, binary, letter, relay, relay_with, succeed, testimony, wait, wait_for_lines};
use testkit::{CrashRunner, Daemon, Kill, Load, Sink};

/// Put off once, for an hour unless the queue is flushed.
const PATIENT: &str = "retry_interval = 3600\nhost_failure_retry = 1\n";

fn backend(kind: &str) -> String {
    format!("spool_backend = \"{kind}\"\n{PATIENT}")
}

fn spool(daemon: &Daemon) -> PathBuf {
    daemon.dir().join("spool")
}

fn check(spool: &Path) -> String {
    succeed(Command::new(binary("ec_spool_check")).arg("-d").arg(spool))
}

fn recipients(sink: &Sink) -> usize {
    sink.messages().iter().map(|message| message.forward_paths.len()).sum()
}

fn drain(running: &Daemon, sink: &Sink, expected: usize) {
    sink.behave();
    wait(running, "every recipient", || {
        ask(running, &["flush", "domain", "all"]);
        expected <= recipients(sink)
    });
}

#[test]
fn delayed_mail_survives_kill_9_in_every_back_end() {
    for kind in ["file", "sqlite"] {
        let sink = Sink::start();
        sink.on("RCPT", "450 4.2.1 mailbox busy");
        let mut running = relay_with(&sink, &backend(kind)).start();
        accept(&running, "ann@client.test", &["bob@sink.test"], &letter("alone"));
        accept(&running, "ann@client.test", &["bob@sink.test", "eve@sink.test"], &letter("together"));
        wait_for_lines(&running, "T", 3);
        running.kill();
        assert!(check(&spool(&running)).starts_with("Total scanned: 3\nTotal ok: 3\n"), "{kind}");
        running.start();
        drain(&running, &sink, 3);
        assert_eq!(recipients(&sink), 3, "{kind}: {}", testimony(&running));
        let texts: Vec<String> = sink.messages().iter().map(|message| message.text()).collect();
        assert!(texts.iter().all(|text| text.contains("\n.dots stay") || text.contains("\r\n.dots stay")), "{texts:?}");
        running.terminate(SOON);
        assert!(check(&spool(&running)).starts_with("Total scanned: 0\n"), "{kind}");
    }
}

#[test]
fn killed_at_random_moments_under_load_no_back_end_loses_anything() {
    for kind in ["file", "sqlite"] {
        let sink = Sink::start();
        sink.discard_bodies();
        let setup = relay_with(&sink, &format!("spool_backend = \"{kind}\"\nhost_failure_retry = 1\n"));
        let runner = CrashRunner {
            setup,
            load: Load { sessions: 10, messages: 3000, bytes: 2048, ..Load::default() },
            kill: Kill::AtRandom { times: 3, within: Duration::from_secs(2) },
            seed: 1,
            drain_limit: Duration::from_secs(60),
        };
        let report = runner.run(&sink);
        println!("{kind}: {} acknowledged, {} twice", report.acknowledged, report.duplicates);
        assert!(report.lost.is_empty(), "{kind}: {} of {} are lost", report.lost.len(), report.acknowledged);
        assert!(10 < report.acknowledged, "{kind}: hardly any load");
    }
}

#[test]
fn a_memory_spool_says_what_it_is_and_forgets() {
    let sink = Sink::start();
    sink.on("RCPT", "450 4.2.1 mailbox busy");
    let mut running = relay_with(&sink, &backend("memory")).start();
    wait(&running, "it says so", || running.stderr().contains("NOTHING IS WRITTEN TO DISK"));
    accept(&running, "ann@client.test", &["bob@sink.test"], &letter("gone"));
    wait_for_lines(&running, "T", 1);
    sink.behave();
    running.restart();
    accept(&running, "ann@client.test", &["bob@sink.test"], &letter("later"));
    drain(&running, &sink, 1);
    assert!(sink.messages()[0].text().contains("later"));
}

#[test]
fn a_directory_of_another_back_end_is_refused() {
    let sink = Sink::start();
    let mut running = relay(&sink).start();
    running.terminate(SOON);
    running.write_config(&e2e::configuration(&backend("file"), ""));
    let status = running.start_or_end().expect_err("started on another back end's spool");
    assert_eq!(status.code(), Some(69), "{}", running.stderr());
    assert!(running.stderr().contains("holds a journal store and spool_backend is file"), "{}", running.stderr());
}

/// A stopped daemon that still holds two messages for three recipients.
fn stopped(kind: &str) -> Daemon {
    let sink = Sink::start();
    sink.on("RCPT", "450 4.2.1 mailbox busy");
    let mut running = relay_with(&sink, &backend(kind)).start();
    accept(&running, "ann@client.test", &["bob@sink.test"], &letter("alone"));
    accept(&running, "ann@client.test", &["bob@sink.test", "eve@sink.test"], &letter("together"));
    wait_for_lines(&running, "T", 3);
    running.terminate(SOON);
    running
}

fn import(running: &Daemon, directory: &str, more: &[&str]) -> String {
    let started = ask(running, &[&["spool", "import", directory], more].concat());
    assert!(started.contains("Importing 3 messages"), "{started}");
    let poll = || ask(running, &["spool", "import_poll", directory]);
    wait(running, "the end of the import", || poll().contains("finished"));
    poll()
}

#[test]
fn another_spool_is_imported_and_its_messages_removed() {
    for kind in ["file", "journal"] {
        let old = stopped(kind);
        let sink = Sink::start();
        let importlog = old.dir().join("importlog");
        let log = format!("ec_logger \"ec_logger\" {{ importlog = \"{}\" }}\n", importlog.display());
        let running = relay_with(&sink, &log).start();
        let source = spool(&old).display().to_string();
        let told = import(&running, &source, &["2"]);
        assert!(told.contains("Imported: 3") && told.contains("Failed: 0"), "{told}");
        drain(&running, &sink, 3);
        for message in sink.messages() {
            assert!(message.text().contains("with spool-import id"), "{}", message.text());
        }
        wait(&running, "three lines in the importlog", || {
            let lines = std::fs::read_to_string(&importlog).unwrap_or_default();
            lines.lines().filter(|line| line.contains("@I@") && line.ends_with(&format!("@1@{source}"))).count() == 3
        });
        let rest = Command::new(binary("ec_spool_check")).args(["-d", &source]).output().expect("a tool that runs");
        assert!(!String::from_utf8_lossy(&rest.stdout).contains("Total ok: 3"), "{kind}: nothing was removed");
    }
}

#[test]
fn exported_messages_are_imported_as_they_are() {
    let old = stopped("journal");
    let files = old.dir().join("exported").display().to_string();
    succeed(Command::new(binary("ec_spool_export")).arg("-d").arg(spool(&old)).arg(&files));
    let sink = Sink::start();
    let running = relay(&sink).start();
    let told = import(&running, &files, &["1", "suppress_trace_headers"]);
    assert!(told.contains("Imported: 3"), "{told}");
    drain(&running, &sink, 3);
    assert!(sink.messages().iter().all(|message| !message.text().contains("spool-import")));
    assert_eq!(std::fs::read_dir(&files).expect("the directory stays").count(), 0);
}
