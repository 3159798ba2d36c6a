//! A spool that is copied while the daemon works: what was acknowledged is in the copy.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use e2e::{SOON, accept, ask, relay_of_two, succeed, testimony};
use testkit::{Load, Sink, wait_until};

#[test]
fn a_spool_copied_with_cp_while_the_daemon_works_has_everything_that_was_acknowledged() {
    let (sink, done) = (Sink::start(), Sink::start());
    sink.refuse_connections();
    done.discard_bodies();
    let daemon = relay_of_two(&sink, &done).start();
    // Mail that comes and goes, so that segments are filled, compacted and used again.
    let load = Load {
        messages: 1_000_000,
        bytes: 4096,
        forward_paths: vec!["bob@done.test".to_owned()],
        persistent: true,
        ..Load::default()
    };
    let load = load.start(daemon.addr());
    let copies = tempfile::tempdir().expect("a scratch directory");
    let mut queued = BTreeMap::new();
    for round in 0..3 {
        for number in 0..30 {
            let subject = format!("round {round}, message {number}.");
            let text = format!("Subject: {subject}\n\n{}", format!("line of {subject}\n").repeat(1 + number * 7));
            accept(&daemon, "ann@client.test", &["bob@sink.test"], &text);
            queued.insert(subject, text);
        }
        let said = ask(&daemon, &["spool", "hold", "60"]);
        assert!(said.contains("for 60 seconds"), "{said}");
        let copy = copies.path().join(round.to_string());
        succeed(Command::new("cp").arg("-a").arg(daemon.dir().join("spool")).arg(&copy));
        let before = load.acknowledged();
        assert!(wait_until(SOON, || before + 200 < load.acknowledged()), "mail does not come and go during a hold");
        let said = ask(&daemon, &["spool", "release"]);
        assert!(said.contains("is good"), "{said}");
        restored(&copy, &queued);
    }
    load.stop();
    assert!(1000 < load.join().acknowledged.len(), "hardly any load");
    let refused = daemon.console(&["spool", "release"]);
    assert!(!refused.status.success() && refused.stderr.contains("there is no hold"), "{}", refused.stderr);
}

/// A daemon that starts on the copy delivers all of `queued`, each once and as it was.
fn restored(copy: &Path, queued: &BTreeMap<String, String>) {
    let (sink, done) = (Sink::start(), Sink::start());
    done.discard_bodies();
    let mut daemon = relay_of_two(&sink, &done).prepare();
    succeed(Command::new("cp").arg("-a").arg(copy).arg(daemon.dir().join("spool")));
    daemon.start();
    sink.wait_for(queued.len(), SOON);
    let messages = sink.messages();
    let mut found = BTreeMap::new();
    for message in &messages {
        let text = message.text();
        let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        let subject = message.header("Subject").unwrap_or_default();
        assert!(found.insert(subject, body.replace("\r\n", "\n")).is_none(), "delivered twice");
    }
    for (subject, text) in queued {
        let (_, body) = text.split_once("\n\n").unwrap_or_default();
        assert_eq!(found.get(subject).map(String::as_str), Some(body), "{subject}\n{}", testimony(&daemon));
    }
}
