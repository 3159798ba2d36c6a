//! `ec_log trace` tells what became of a message, with the daemon's own logs, rotated and compressed in between.

use std::process::Command;

use e2e::{accept, ask, binary, daemon, letter, wait_for_lines};
use testkit::{Sink, run};

#[test]
fn the_life_of_a_message_is_told_from_logs_that_were_rotated() {
    let sink = Sink::start();
    sink.on("RCPT", "450 4.2.1 come again");
    let daemon = daemon(&format!("gateway = \"{}\"\n", sink.addr())).start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("traced"));
    let first = wait_for_lines(&daemon, "T", 1);
    let log = |name: &str| daemon.dir().join("log").join(name);
    std::fs::rename(log("mainlog.ec"), log("mainlog.ec.1")).expect("a log can be renamed");
    ask(&daemon, &["reopen", "logs"]);
    assert!(Command::new("gzip").arg(log("mainlog.ec.1")).status().expect("gzip runs").success());
    sink.behave();
    ask(&daemon, &["flush", "domain", "all"]);
    wait_for_lines(&daemon, "D", 1);
    let reader =
        |words: &[&str]| run(Command::new(binary("ec_log")).args(words).args(["-c", daemon.value("config"), "--utc"]));
    let id = &first[0][1];
    let told = reader(&["trace", id]);
    assert!(told.status.success(), "{}{}", told.stdout, told.stderr);
    let sentences: Vec<&str> =
        told.stdout.lines().filter_map(|line| line.split_once(" UTC  ").map(|(_, told)| told)).collect();
    let begins = [
        format!("received {id} for <bob@shop.test> from <ann@client.test>, "),
        format!("failed for now: {id} for "),
        format!("logged in the bouncelog: {id} for <bob@shop.test>, class "),
        format!("delivered {id} for "),
    ];
    assert_eq!(sentences.len(), begins.len(), "{}", told.stdout);
    for (sentence, begins) in sentences.iter().zip(&begins) {
        assert!(sentence.starts_with(begins.as_str()), "{sentence}");
    }
    assert!(sentences[1].ends_with("at the first attempt: 450 4.2.1 come again"), "{}", sentences[1]);
    assert!(sentences[3].ends_with("after one failed attempt"), "{}", sentences[3]);
    let none = reader(&["trace", "00/00-00000-00000000"]);
    assert_eq!(none.status.code(), Some(1), "{}", none.stderr);
}
