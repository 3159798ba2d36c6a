//! What a delivery waits for before it begins: fully_resolve_before_smtp.

use std::time::Duration;

use crate::FROM;
use crate::world::{World, simulate};

/// Two mail hosts, of which the better one takes 30 seconds to look up; at which second which of them took the mail.
fn delivered_by(text: &str, worse_refuses: bool) -> Vec<String> {
    let mut log = Vec::new();
    simulate(text, async |world: World| {
        world.network.mx("x.test", &[(10, "best.x.test", 1), (20, "second.x.test", 2)]);
        world.network.slow_to_resolve("best.x.test", Duration::from_secs(30));
        world.network.host(1);
        world.network.host(2);
        if worse_refuses {
            world.network.refuses(2, true);
        }
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(60).await;
        log = world.log();
    });
    log
}

#[test]
fn the_first_attempt_waits_until_all_hosts_are_resolved() {
    for text in ["", "fully_resolve_before_smtp = true\n"] {
        assert_eq!(delivered_by(text, false), ["30 D ann@x.test retries=0 192.0.2.1"], "{text:?}");
    }
}

#[test]
fn without_it_the_best_host_known_so_far_is_tried_at_once() {
    for text in [
        "fully_resolve_before_smtp = false\n",
        "domain \"x.test\" { fully_resolve_before_smtp = false }\n",
        "binding \"default\" { domain \"x.test\" { fully_resolve_before_smtp = false } }\n",
    ] {
        assert_eq!(delivered_by(text, false), ["0 D ann@x.test retries=0 192.0.2.2"], "{text:?}");
    }
}

#[test]
fn the_hosts_known_later_are_tried_when_the_early_ones_fail() {
    let log = delivered_by("fully_resolve_before_smtp = false\n", true);
    assert_eq!(log, ["30 D ann@x.test retries=0 192.0.2.1"]);
}

#[test]
fn mail_of_relay_domains_always_waits() {
    let text = "fully_resolve_before_smtp = false\nrelay_domains = ( \"x.test\" )\n";
    assert_eq!(delivered_by(text, false), ["30 D ann@x.test retries=0 192.0.2.1"]);
}
