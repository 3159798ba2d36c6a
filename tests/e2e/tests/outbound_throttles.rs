//! Throttles of the real daemon, over its loops.

use e2e::{SOON, accept, ask, ask_json, configuration, letter, mainlog, relay_with, wait};
use testkit::{Daemon, Sink};

#[test]
fn one_throttle_holds_for_all_loops_and_a_reload_lifts_it() {
    let sink = Sink::start();
    let throttled = "outbound_throttle_messages = \"3/3600\"\n";
    let daemon = relay_with(&sink, throttled).start();
    let other = Sink::start();
    let two_ways = |more: &str| {
        format!("gateway = \"{}\"\ndomain \"b.test\" {{ gateway = \"{}\" }}\n{more}", sink.addr(), other.addr())
    };
    daemon.write_config(&configuration(&two_ways(throttled), ""));
    ask(&daemon, &["config", "reload"]);
    for _ in 0..4 {
        accept(&daemon, "ann@client.test", &["bob@a.test", "cat@b.test"], &letter("slowly"));
    }
    wait(&daemon, "the quota is spent", || sink.count() + other.count() == 3);
    let summary = ask_json(&daemon, &["summary"]);
    assert_eq!((summary["ActiveQueueSize"].as_u64(), summary["DelayedQueueSize"].as_u64()), (Some(5), Some(0)));
    daemon.write_config(&configuration(&two_ways(""), ""));
    ask(&daemon, &["config", "reload"]);
    wait(&daemon, "the rest follows", || sink.count() + other.count() == 8);
    assert!(mainlog(&daemon, "T").is_empty(), "waiting is no failure");
    sink.wait_for(4, SOON);
}

/// A throttle for all but `own.test`, whose mail goes to `free`.
fn but_own(rate: &str, free: &Sink) -> String {
    let addr = free.addr();
    format!(
        "outbound_throttle_messages = \"{rate}\"\n\
         domain \"own.test\" {{ gateway = \"{addr}\" }}\n\
         domain \"{addr}\" {{ outbound_throttle_messages = 0 }}\n"
    )
}

/// Mail that no throttle holds goes, and no more than `so_far` of what one holds.
fn only_own_goes(daemon: &Daemon, free: &Sink, sink: &Sink, so_far: usize) {
    let before = free.count();
    accept(daemon, "ann@client.test", &["bob@own.test"], &letter("freely"));
    wait(daemon, "deliveries go on", || before < free.count());
    assert!(sink.count() <= so_far, "{} in one window", sink.count());
}

#[test]
fn a_restart_opens_no_new_window() {
    let (sink, free) = (Sink::start(), Sink::start());
    let mut daemon = relay_with(&sink, &but_own("8/3600", &free)).start();
    let send = |daemon: &Daemon, number| {
        for _ in 0..number {
            accept(daemon, "ann@client.test", &["bob@a.test"], &letter("slowly"));
        }
    };
    send(&daemon, 5);
    wait(&daemon, "what there is has gone", || sink.count() == 5);
    assert!(daemon.terminate(SOON).success());
    daemon.start();
    send(&daemon, 9);
    wait(&daemon, "the rest of the quota is spent", || sink.count() == 8);
    only_own_goes(&daemon, &free, &sink, 8);
    // Killed, it leaves what it last noted.
    daemon.kill();
    daemon.start();
    only_own_goes(&daemon, &free, &sink, 8);
    daemon.kill();
    let note = daemon.dir().join("spool/throttles");
    std::fs::write(&note, "nothing of ours").unwrap();
    daemon.start();
    wait(&daemon, "the operator is told", || {
        daemon.read("log/paniclog.ec").contains("what throttles have spent is unknown")
    });
    assert_eq!(sink.count(), 8);
    daemon.kill();
    std::fs::remove_file(&note).unwrap();
    daemon.start();
    wait(&daemon, "nothing was ever spent", || sink.count() == 14);
}

#[test]
fn a_daemon_killed_again_and_again_sends_no_more_than_the_rate() {
    let (sink, free) = (Sink::start(), Sink::start());
    let mut daemon = relay_with(&sink, &but_own("16/3600", &free)).start();
    for _ in 0..40 {
        accept(&daemon, "ann@client.test", &["bob@a.test"], &letter("slowly"));
    }
    for _ in 0..4 {
        wait(&daemon, "some went", || 1 <= sink.count());
        daemon.kill();
        daemon.start();
    }
    only_own_goes(&daemon, &free, &sink, 16);
}
