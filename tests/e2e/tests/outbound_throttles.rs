//! Throttles of the real daemon, over its loops.

use e2e::{SOON, accept, ask, ask_json, configuration, letter, mainlog, relay_with, wait};
use testkit::Sink;

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
