//! Limits on connections that queues share.

use std::time::Duration;

use crate::FROM;
use crate::world::{World, simulate};

/// Domains `a.test` to `d.test`, on hosts 1 to 4 or all on host 1, that take ten seconds to answer anything.
fn slow(world: &World, shared: bool) {
    for (place, domain) in ["a.test", "b.test", "c.test", "d.test"].into_iter().enumerate() {
        let last = if shared { 1 } else { place as u8 + 1 };
        world.network.host(last);
        world.network.round_trip(last, Duration::from_secs(10));
        world.network.mx(domain, &[(10, "mx.test", last)]);
    }
}

async fn send_everywhere(world: &World, each: usize) {
    for domain in ["a.test", "b.test", "c.test", "d.test"] {
        for _ in 0..each {
            world.send(FROM, &[&format!("ann@{domain}")]).await;
        }
    }
}

#[test]
fn scope_max_outbound_connections_is_one_total_for_all_that_falls_back_to_it() {
    let text = "scope_max_outbound_connections = 2\ndomain \"d.test\" { scope_max_outbound_connections = 1 }\nconnection_allocation_aggressiveness = high\n";
    simulate(text, async |world: World| {
        slow(&world, false);
        send_everywhere(&world, 20).await;
        for _ in 0..30 {
            world.pass(5).await;
            let open = |hosts: &[u8]| hosts.iter().map(|&host| world.network.open(host)).sum::<usize>();
            assert!(open(&[1, 2, 3]) <= 2 && open(&[4]) <= 1);
        }
        world.pass(4000).await;
        assert_eq!((world.stored(), world.network.most_open(4)), (0, 1), "and all is delivered");
    });
}

#[test]
fn a_host_stanza_limits_the_connections_of_all_queues_to_each_host() {
    let text = "host \"/test$/\" { max_outbound_connections = 3 }\nconnection_allocation_aggressiveness = high\n";
    simulate(text, async |world: World| {
        slow(&world, true);
        send_everywhere(&world, 20).await;
        world.pass(4000).await;
        assert_eq!((world.stored(), world.network.most_open(1)), (0, 3));
        assert!(world.log().iter().all(|line| line.contains(" D ")), "a full host is no failure");
    });
}

#[test]
fn mail_goes_to_the_next_host_when_the_preferred_one_is_full() {
    let text = "host \"a.test\" { max_outbound_connections = 1 }\nmax_outbound_connections = 4\nconnection_allocation_aggressiveness = high\n";
    simulate(text, async |world: World| {
        for host in [1, 2] {
            world.network.host(host);
            world.network.round_trip(host, Duration::from_secs(10));
        }
        world.network.mx("x.test", &[(10, "a.test", 1), (20, "b.test", 2)]);
        for _ in 0..40 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(300).await;
        assert_eq!((world.network.most_open(1), world.network.most_open(2)), (1, 3));
    });
}

#[test]
fn the_servers_limit_leaves_a_reserve_to_queues_without_a_connection() {
    let text = "server_max_outbound_connections = 2\nserver_reserve_outbound_connections = 1\nconnection_allocation_aggressiveness = high\n";
    simulate(text, async |world: World| {
        slow(&world, false);
        for _ in 0..30 {
            world.send(FROM, &["ann@a.test"]).await;
        }
        world.pass(60).await;
        assert_eq!(world.network.most_open(1), 2);
        world.send(FROM, &["ann@b.test"]).await;
        world.pass(1).await;
        assert_eq!((world.network.open(1), world.network.open(2)), (2, 1));
    });
}

#[test]
fn a_binding_has_a_limit_of_its_own() {
    let text =
        "binding \"default\" { server_max_outbound_connections = 2 }\nconnection_allocation_aggressiveness = high\n";
    simulate(text, async |world: World| {
        slow(&world, true);
        send_everywhere(&world, 10).await;
        world.pass(2000).await;
        assert_eq!((world.stored(), world.network.most_open(1)), (0, 2));
    });
}

#[test]
fn a_connection_ends_after_max_recipients_per_connection() {
    let text = "domain \"x.test\" { max_recipients_per_connection = 3 max_outbound_connections = 1 }\n";
    simulate(text, async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        let recipients: Vec<String> = (0..7).map(|number| format!("r{number}@x.test")).collect();
        world.send(FROM, &recipients.iter().map(String::as_str).collect::<Vec<_>>()).await;
        world.pass(5).await;
        let taken = world.network.taken(1);
        assert_eq!(taken.iter().map(|taken| taken.recipients.len()).collect::<Vec<_>>(), [3, 3, 1]);
        assert_eq!((world.network.connections(1), world.stored()), (3, 0));
    });
}
