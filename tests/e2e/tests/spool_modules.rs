//! Modules of the spool's IO chain, in the real daemon: compress_spool and suppress_spool.

use std::path::Path;

use e2e::{SOON, accept, ask, configuration, daemon, letter, relay_with, testimony, wait, wait_for_lines};
use testkit::{Daemon, Sink};

/// Mail that waits: the next hop puts it off until told otherwise.
const PATIENT: &str = "retry_interval = 1\nmax_retry_interval = 1\nmax_retries = none\nhost_failure_retry = 1\n";
const COMPRESSING: &str = "compress_spool { minimum_size = 1000 }\n";
const SUPPRESSING: &str = "_unsafe_spool = true\nsuppress_spool { num_retries = 2 }\n";

fn long_letter(subject: &str) -> String {
    format!("{}{}", letter(subject), "The same line, again and again, which packs well.\n".repeat(400))
}

/// Whether a text stands in any file below a directory.
fn stands_in(directory: &Path, text: &str) -> bool {
    let mut found = false;
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        found |= if path.is_dir() {
            stands_in(&path, text)
        } else {
            std::fs::read(&path).is_ok_and(|octets| memmem(&octets, text.as_bytes()))
        };
    }
    found
}

fn memmem(octets: &[u8], text: &[u8]) -> bool {
    octets.windows(text.len()).any(|window| window == text)
}

fn spool(daemon: &Daemon) -> std::path::PathBuf {
    daemon.dir().join("spool")
}

#[test]
fn compressed_mail_survives_kill_9_byte_for_byte_and_is_read_with_the_module_off() {
    let sink = Sink::start();
    sink.on("RCPT", "450 4.2.1 mailbox busy").to("busy@*");
    let setup = relay_with(&sink, &format!("{PATIENT}{COMPRESSING}"));
    let mut running = setup.start();
    accept(&running, "ann@client.test", &["bob@sink.test"], &long_letter("straight"));
    accept(&running, "ann@client.test", &["busy@sink.test"], &long_letter("put off"));
    assert!(sink.wait_until(SOON, |messages| messages.len() == 1));
    assert!(!stands_in(&spool(&running), "again and again"), "stored as it is");
    assert!(ask(&running, &["module", "list"]).contains("compress_spool"));
    running.kill();
    // Without the stanza from now on.
    running.write_config(&configuration(&format!("gateway = \"{}\"\n{PATIENT}", sink.addr()), ""));
    sink.behave();
    running.start();
    assert!(sink.wait_until(SOON, |messages| messages.len() == 2), "{}", testimony(&running));
    let texts: Vec<String> = sink.messages().iter().map(|message| message.text()).collect();
    for text in &texts {
        assert_eq!(text.matches("again and again").count(), 400);
    }
    accept(&running, "ann@client.test", &["busy2@sink.test"], &long_letter("plain"));
}

#[test]
fn suppressed_mail_is_refused_without_the_switch() {
    let mut refused = daemon("suppress_spool { num_retries = 2 }\n").prepare();
    let status = refused.start_or_end().expect_err("started without the switch");
    assert_eq!(status.code(), Some(78), "{}", refused.stderr());
    assert!(refused.stderr().contains("write _unsafe_spool = true at the top level"), "{}", refused.stderr());
}

/// A daemon whose next hop puts everything off, for an hour each time unless the queue is flushed.
fn suppressing(sink: &Sink) -> Daemon {
    sink.on("RCPT", "450 4.2.1 mailbox busy");
    let running = relay_with(sink, &format!("retry_interval = 3600\nhost_failure_retry = 1\n{SUPPRESSING}")).start();
    assert!(running.stderr().contains("MAIL IS ACKNOWLEDGED BEFORE IT IS ON DISK"), "{}", running.stderr());
    running
}

#[test]
fn suppressed_mail_is_lost_by_kill_9_and_kept_once_it_was_retried() {
    let sink = Sink::start();
    let mut running = suppressing(&sink);
    accept(&running, "ann@client.test", &["bob@sink.test"], &letter("lost as announced"));
    wait_for_lines(&running, "T", 1);
    assert!(!stands_in(&spool(&running), "lost as announced"));
    running.kill();
    running.start();
    accept(&running, "ann@client.test", &["bob@sink.test"], &letter("kept once retried"));
    wait_for_lines(&running, "T", 2);
    assert!(!stands_in(&spool(&running), "kept once retried"));
    ask(&running, &["flush", "domain", "all"]);
    wait_for_lines(&running, "T", 3);
    wait(&running, "the message on disk", || stands_in(&spool(&running), "kept once retried"));
    running.kill();
    sink.behave();
    running.start();
    wait(&running, "the message", || {
        ask(&running, &["flush", "domain", "all"]);
        sink.count() == 1
    });
    assert!(sink.messages()[0].text().contains("kept once retried"), "{}", testimony(&running));
}

#[test]
fn an_orderly_stop_stores_suppressed_mail() {
    let sink = Sink::start();
    let mut running = suppressing(&sink);
    accept(&running, "ann@client.test", &["bob@sink.test", "eve@sink.test"], &letter("outlives a stop"));
    wait_for_lines(&running, "T", 2);
    running.terminate(SOON);
    assert!(stands_in(&spool(&running), "outlives a stop"));
    sink.behave();
    running.start();
    wait(&running, "both recipients", || {
        ask(&running, &["flush", "domain", "all"]);
        sink.messages().iter().map(|message| message.forward_paths.len()).sum::<usize>() == 2
    });
}
