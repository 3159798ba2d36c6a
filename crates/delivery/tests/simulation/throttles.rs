//! Throttles: by reference, of queues and of hosts, over loops and reloads.

use std::time::Duration;

use crate::FROM;
use crate::world::{World, simulate};

/// A world whose domains have one host each, `mx.DOMAIN`, numbered from 1.
fn hosts(world: &World, domains: &[(&str, &'static str)]) {
    for (place, (domain, host)) in domains.iter().enumerate() {
        world.network.host(place as u8 + 1);
        world.network.mx(domain, &[(10, host, place as u8 + 1)]);
    }
}

/// The seconds of the log's deliveries; nothing else is in it.
fn delivered_at(world: &World) -> Vec<u64> {
    let seconds = world.log().into_iter().map(|line| {
        let (second, rest) = line.split_once(' ').unwrap();
        assert!(rest.starts_with("D "), "{line}");
        second.parse().unwrap()
    });
    seconds.collect()
}

#[test]
fn messages_go_at_the_rate_and_nothing_of_it_is_a_failure() {
    simulate("outbound_throttle_messages = \"2/10\"\n", async |world: World| {
        hosts(&world, &[("x.test", "mx.x.test")]);
        for _ in 0..5 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(60).await;
        assert_eq!(delivered_at(&world), [0, 0, 10, 10, 20]);
    });
}

#[test]
fn each_recipient_counts_and_a_transaction_takes_as_many_as_may_go() {
    simulate("outbound_throttle_messages = \"2/10\"\n", async |world: World| {
        hosts(&world, &[("x.test", "mx.x.test")]);
        world.send(FROM, &["a@x.test", "b@x.test", "c@x.test"]).await;
        world.pass(60).await;
        assert_eq!(delivered_at(&world), [0, 0, 10]);
        let recipients: Vec<usize> = world.network.taken(1).iter().map(|taken| taken.recipients.len()).collect();
        assert_eq!(recipients, [2, 1]);
    });
}

#[test]
fn whoever_falls_back_to_a_throttle_shares_its_bucket_and_a_scope_of_its_own_has_its_own() {
    let text = "outbound_throttle_messages = \"1/10\"\ndomain \"own.test\" { outbound_throttle_messages = \"1/10\" }\n";
    simulate(text, async |world: World| {
        // Enough domains for both loops.
        let domains = ["a.test", "b.test", "c.test", "d.test", "own.test"];
        hosts(&world, &domains.map(|domain| (domain, "mx.test")));
        for domain in domains {
            world.send(FROM, &[&format!("ann@{domain}")]).await;
        }
        world.pass(60).await;
        assert_eq!(delivered_at(&world), [0, 0, 10, 20, 30]);
        assert_eq!(world.network.taken(5).len(), 1, "at once, from its own");
    });
}

#[test]
fn a_pattern_is_one_bucket_for_all_it_matches() {
    simulate("domain \"/\\.shop\\.test$/\" { outbound_throttle_messages = \"1/10\" }\n", async |world: World| {
        hosts(&world, &[("a.shop.test", "a.test"), ("b.shop.test", "b.test"), ("x.test", "x.test")]);
        for recipient in ["ann@a.shop.test", "ann@b.shop.test", "ann@x.test", "bob@x.test"] {
            world.send(FROM, &[recipient]).await;
        }
        world.pass(60).await;
        assert_eq!(delivered_at(&world), [0, 0, 0, 10]);
    });
}

#[test]
fn a_bucket_outlives_a_reload() {
    simulate("outbound_throttle_messages = \"2/100\"\n", async |world: World| {
        hosts(&world, &[("x.test", "mx.x.test")]);
        for _ in 0..4 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(10).await;
        world.reload("outbound_throttle_messages = \"3/100\"\n");
        world.engine.refresh().await;
        world.pass(10).await;
        assert_eq!(delivered_at(&world), [0, 0, 10], "one more, not three");
        world.pass(100).await;
        assert_eq!(delivered_at(&world), [100]);
    });
}

#[test]
fn a_waiting_queue_costs_nothing_and_keeps_its_session_only_while_that_is_worth_it() {
    simulate("outbound_throttle_messages = \"1/3600\"\n", async |world: World| {
        hosts(&world, &[("x.test", "mx.x.test")]);
        for _ in 0..3 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(100).await;
        assert_eq!((world.network.open(1), world.engine.counts().await.active), (0, 2));
        world.pass(7000).await;
        assert_eq!((delivered_at(&world), world.network.connections(1)), (vec![0, 3600], 2));
        assert!(world.meters.get("delivery.queues.throttled") <= 3);
    });
    simulate("outbound_throttle_messages = \"1/2\"\n", async |world: World| {
        hosts(&world, &[("x.test", "mx.x.test")]);
        for _ in 0..50 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(200).await;
        assert_eq!((delivered_at(&world).len(), world.network.connections(1)), (50, 1));
    });
}

#[test]
fn connections_are_begun_at_the_rate_whatever_becomes_of_them() {
    let text = "outbound_throttle_connections = \"1/10\"\nmax_deliveries_per_connection = 1\n";
    simulate(text, async |world: World| {
        hosts(&world, &[("x.test", "mx.x.test")]);
        for _ in 0..3 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(60).await;
        assert_eq!((delivered_at(&world), world.network.connections(1)), (vec![0, 10, 20], 3));
        world.network.refuses(1, true);
        world.network.host(2);
        world.network.mx("x.test", &[(10, "mx.x.test", 1), (20, "b.x.test", 2)]);
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(60).await;
        assert_eq!(delivered_at(&world), [70], "the refusal took the first place");
    });
}

#[test]
fn an_open_session_goes_on_while_no_other_may_be_begun() {
    simulate("outbound_throttle_connections = \"1/3600\"\nidle_timeout = 100\n", async |world: World| {
        hosts(&world, &[("x.test", "mx.x.test")]);
        world.network.round_trip(1, Duration::from_secs(1));
        for _ in 0..40 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(60).await;
        assert_eq!(delivered_at(&world).len(), 40);
        world.send(FROM, &["bob@x.test"]).await;
        world.pass(5).await;
        assert_eq!((delivered_at(&world).len(), world.network.connections(1)), (1, 1));
    });
}

#[test]
fn a_host_without_room_is_passed_over_and_then_waited_for() {
    let text = "host \"a.test\" { outbound_throttle_messages = \"1/30\" }\nhost \"/^[bc]\\.test$/\" { outbound_throttle_messages = \"2/20\" }\n";
    simulate(text, async |world: World| {
        for host in 1..=3 {
            world.network.host(host);
        }
        world.network.mx("x.test", &[(10, "a.test", 1), (20, "b.test", 2), (20, "c.test", 3)]);
        for _ in 0..6 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(100).await;
        assert_eq!(delivered_at(&world), [0, 0, 0, 20, 20, 30]);
        assert_eq!(world.network.taken(1).len(), 2, "at 0 and 30, preferred");
    });
}

#[test]
fn the_throttles_of_queue_and_host_must_both_have_room() {
    let text = "outbound_throttle_messages = \"3/10\"\nhost \"mx.x.test\" { outbound_throttle_messages = \"2/15\" }\n";
    simulate(text, async |world: World| {
        hosts(&world, &[("x.test", "mx.x.test"), ("y.test", "mx.y.test")]);
        for _ in 0..4 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(1).await;
        for _ in 0..2 {
            world.send(FROM, &["bob@y.test"]).await;
        }
        world.pass(60).await;
        assert_eq!(delivered_at(&world), [0, 0, 1, 10, 15, 15]);
    });
}

#[test]
fn the_host_chain_is_its_own() {
    let text = "binding_group \"default\" {\n  host \"mx.x.test\" { outbound_throttle_connections = \"1/10\" }\n}\nhost \"mx.x.test\" { outbound_throttle_connections = \"1/1000\" }\nmax_deliveries_per_connection = 1\n";
    simulate(text, async |world: World| {
        hosts(&world, &[("x.test", "mx.x.test")]);
        for _ in 0..3 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(60).await;
        assert_eq!(delivered_at(&world), [0, 10, 20], "the group's host stanza is nearer");
    });
}

#[test]
fn what_was_not_sent_is_not_counted() {
    simulate("outbound_throttle_messages = \"1/100\"\n", async |world: World| {
        hosts(&world, &[("x.test", "mx.x.test"), ("y.test", "mx.y.test")]);
        world.network.refuses(1, true);
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(1).await;
        world.send(FROM, &["bob@y.test"]).await;
        world.pass(1).await;
        assert_eq!(delivered_at(&world), [1]);
    });
}

#[test]
fn a_fast_throttle_is_reached() {
    simulate("outbound_throttle_messages = \"100\"\n", async |world: World| {
        hosts(&world, &[("x.test", "mx.x.test")]);
        world.network.round_trip(1, Duration::from_millis(10));
        for _ in 0..1000 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(9).await;
        let delivered = delivered_at(&world).len();
        assert!((850..=1000).contains(&delivered), "{delivered}");
    });
}

#[test]
fn a_receiver_never_counts_more_than_the_rate_by_its_own_clock() {
    // Connections that take seconds to open, and hosts that take their time for each reply.
    for (text, round_trip) in [
        ("outbound_throttle_messages = \"10/5\"\nconnection_allocation_aggressiveness = high\n", 1700),
        ("outbound_throttle_messages = \"10/5\"\nmax_deliveries_per_connection = 1\n", 1100),
        ("outbound_throttle_messages = \"20/10\"\nmax_outbound_connections = 5\n", 300),
    ] {
        simulate(text, async |world: World| {
            hosts(&world, &[("x.test", "mx.x.test"), ("y.test", "mx.y.test")]);
            world.network.round_trip(1, Duration::from_millis(round_trip));
            world.network.round_trip(2, Duration::from_millis(3 * round_trip));
            for _ in 0..60 {
                world.send(FROM, &["ann@x.test"]).await;
                world.send(FROM, &["bob@y.test"]).await;
                world.pass_milliseconds(40).await;
            }
            world.pass(600).await;
            let mut seen: Vec<_> =
                [1, 2].into_iter().flat_map(|host| world.network.taken(host)).map(|taken| taken.at).collect();
            seen.sort();
            assert_eq!(seen.len(), 120, "{text}");
            let (most, period) = if text.contains("10/5") { (10, 5) } else { (20, 10) };
            let crowded = seen.windows(most + 1).filter(|run| run[most] - run[0] < Duration::from_secs(period)).count();
            assert_eq!(crowded, 0, "{text}");
        });
    }
}

#[test]
fn a_receiver_never_counts_more_connections_than_the_rate_by_its_own_clock() {
    let text = "outbound_throttle_connections = \"5/5\"\nmax_deliveries_per_connection = 1\n";
    simulate(text, async |world: World| {
        hosts(&world, &[("x.test", "mx.x.test"), ("y.test", "mx.y.test")]);
        world.network.round_trip(1, Duration::from_millis(300));
        world.network.round_trip(2, Duration::from_millis(1100));
        for _ in 0..20 {
            world.send(FROM, &["ann@x.test"]).await;
            world.send(FROM, &["bob@y.test"]).await;
            world.pass_milliseconds(40).await;
        }
        world.pass(600).await;
        let mut seen: Vec<_> = [1, 2].into_iter().flat_map(|host| world.network.greeted(host)).collect();
        seen.sort();
        assert_eq!(seen.len(), 40);
        let crowded = seen.windows(6).filter(|run| run[5] - run[0] < Duration::from_secs(5)).count();
        assert_eq!(crowded, 0);
    });
}

#[test]
fn a_connection_that_the_machine_could_not_begin_is_not_counted() {
    simulate("outbound_throttle_connections = \"1/3600\"\n", async |world: World| {
        hosts(&world, &[("x.test", "mx.x.test")]);
        world.network.lacks(1, Some((scheduler::Step::Socket, 24)));
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(5).await;
        world.network.lacks(1, None);
        world.pass(5).await;
        assert_eq!(delivered_at(&world).len(), 1);
    });
}

#[test]
fn a_place_that_comes_back_unspent_is_used_at_once() {
    simulate("outbound_throttle_messages = \"1/3600\"\nconnect_timeout = 30\n", async |world: World| {
        hosts(&world, &[("x.test", "mx.x.test"), ("y.test", "mx.y.test")]);
        world.network.silent(1);
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(1).await;
        world.send(FROM, &["bob@y.test"]).await;
        world.pass(60).await;
        assert_eq!(delivered_at(&world), [30], "when the other's connection has failed");
    });
}
