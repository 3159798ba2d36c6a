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

/// So many domains, `d0.test` and on, whose one mail host is that host.
fn domains(world: &World, count: usize, last: u8) -> Vec<String> {
    world.network.host(last);
    let names: Vec<String> = (0..count).map(|number| format!("d{number}.test")).collect();
    names.iter().for_each(|name| world.network.mx(name, &[(10, "mx.test", last)]));
    names
}

async fn send_to(world: &World, domains: &[String], each: usize) {
    for _ in 0..each {
        for domain in domains {
            world.send(FROM, &[&format!("ann@{domain}")]).await;
        }
    }
}

#[test]
fn an_idle_connection_takes_the_mail_of_siblings_and_they_open_none() {
    for (text, opened) in [("", 1), ("migrate_connections_between_sibling_domains = false\n", 6)] {
        // One loop's domains alone: a session stays on its loop.
        simulate(text, async |world: World| {
            let mut on_one_loop = domains(&world, 40, 1);
            on_one_loop.retain(|domain| world.loop_of(domain) == 0);
            for domain in &on_one_loop[..6] {
                send_to(&world, std::slice::from_ref(domain), 2).await;
                world.pass(1).await;
            }
            assert_eq!((world.stored(), world.network.connections(1)), (0, opened), "{text}");
            assert_eq!(world.meters.get("delivery.connections.migrated"), 6 - opened as u64);
        });
    }
}

#[test]
fn a_sibling_has_the_same_binding_host_and_way_to_open_a_session() {
    let text = "domain \"/^[de]/\" { ehlo_hostname = \"other.test\" }\nserver_max_outbound_connections = 1\nserver_reserve_outbound_connections = 0\n";
    simulate(text, async |world: World| {
        for (domain, host, last) in
            [("a.test", "mx.test", 1), ("b.test", "mx.test", 2), ("c.test", "mx2.test", 1), ("d.test", "mx.test", 1)]
        {
            world.network.host(last);
            world.network.mx(domain, &[(10, host, last)]);
        }
        for domain in ["a.test", "b.test", "c.test", "d.test"] {
            world.send(FROM, &[&format!("ann@{domain}")]).await;
        }
        world.pass(1).await;
        assert_eq!((world.stored(), world.network.connections(1), world.network.connections(2)), (0, 3, 1));
        assert_eq!(world.network.heard(1, "EHLO other.test").len(), 1);
    });
}

#[test]
fn an_idle_connection_gives_way_at_once_at_every_scope() {
    for text in [
        "server_max_outbound_connections = 1\nserver_reserve_outbound_connections = 0\n",
        "scope_max_outbound_connections = 1\n",
        "binding \"default\" { server_max_outbound_connections = 1 }\n",
        "host \"mx.test\" { max_outbound_connections = 1 }\n",
        "host \"mx.test\" { scope_max_outbound_connections = 1 }\n",
    ] {
        for migrates in [true, false] {
            let text = format!("{text}migrate_connections_between_sibling_domains = {migrates}\nidle_timeout = 100\n");
            simulate(&text, async |world: World| {
                // On both loops.
                let domains = domains(&world, 20, 1);
                send_to(&world, &domains, 3).await;
                world.pass_milliseconds(100).await;
                assert_eq!((world.stored(), world.network.most_open(1)), (0, 1), "{text}");
            });
        }
    }
}

#[test]
fn a_queue_without_a_connection_has_its_turn_however_much_mail_others_have() {
    for migrates in [true, false] {
        let text = format!(
            "server_max_outbound_connections = 3\nserver_reserve_outbound_connections = 0\nmigrate_connections_between_sibling_domains = {migrates}\nconnection_allocation_aggressiveness = high\n"
        );
        simulate(&text, async |world: World| {
            let domains = domains(&world, 8, 1);
            world.network.round_trip(1, Duration::from_millis(100));
            // Three of them would keep the connections for minutes.
            send_to(&world, &domains[..3], 800).await;
            world.pass(5).await;
            send_to(&world, &domains[3..], 1).await;
            world.pass(30).await;
            let log = world.log();
            for domain in &domains[3..] {
                assert!(log.iter().any(|line| line.contains(&format!("@{domain}"))), "{domain} starves");
            }
            assert_ne!(world.stored(), 0, "the others are not done yet");
            world.pass(2000).await;
            assert_eq!((world.stored(), world.network.most_open(1)), (0, 3));
        });
    }
}

#[test]
fn those_who_wait_are_served_evenly() {
    let text = "server_max_outbound_connections = 4\nserver_reserve_outbound_connections = 0\n";
    simulate(text, async |world: World| {
        let domains = domains(&world, 40, 1);
        world.network.round_trip(1, Duration::from_millis(20));
        send_to(&world, &domains, 100).await;
        world.pass(10).await;
        let log = world.log();
        let served = |domain: &String| log.iter().filter(|line| line.contains(&format!("@{domain} "))).count();
        let counts: Vec<usize> = domains.iter().map(served).collect();
        let (least, most) = (*counts.iter().min().unwrap(), *counts.iter().max().unwrap());
        assert!(0 < least && most <= 8 * least, "{counts:?}");
        world.pass(4000).await;
        assert_eq!((world.stored(), world.network.most_open(1)), (0, 4));
    });
}

#[test]
fn a_limit_that_is_raised_or_lifted_frees_those_who_wait_and_one_that_is_lowered_holds() {
    let limit = |most: usize| {
        format!(
            "server_max_outbound_connections = {most}\nserver_reserve_outbound_connections = 0\nmigrate_connections_between_sibling_domains = false\n"
        )
    };
    simulate(&limit(1), async |world: World| {
        let domains = domains(&world, 10, 1);
        world.network.round_trip(1, Duration::from_secs(10));
        send_to(&world, &domains, 1).await;
        world.pass(1).await;
        assert_eq!(world.network.open(1), 1);
        world.reload(&limit(10));
        world.engine.refresh().await;
        world.pass(1).await;
        assert_eq!(world.network.open(1), 10, "at once");
        world.pass(60).await;
        assert_eq!(world.stored(), 0);
        world.reload(&limit(2));
        world.engine.refresh().await;
        world.pass(60).await;
        world.network.forget_most_open(1);
        send_to(&world, &domains, 2).await;
        world.pass(1000).await;
        assert_eq!((world.stored(), world.network.most_open(1)), (0, 2));
    });
}

#[test]
fn limits_are_never_passed_whatever_comes_and_all_mail_is_delivered() {
    for seed in 0..6 {
        let random = scheduler::Random::seeded(seed);
        let below = |most: u64| random.below(most);
        let (server, reserve, scope, host) = (1 + below(6), below(3), 1 + below(4), 1 + below(5));
        let text = format!(
            "server_max_outbound_connections = {server}\nserver_reserve_outbound_connections = {reserve}\n\
             migrate_connections_between_sibling_domains = {}\nidle_timeout = {}\n\
             connection_allocation_aggressiveness = {}\nmax_deliveries_per_connection = {}\n\
             domain \"/^d[0-4]\\.test$/\" {{ scope_max_outbound_connections = {scope} }}\n\
             host \"mx.test\" {{ max_outbound_connections = {host} }}\n",
            below(2) == 0,
            1 + below(20),
            if below(2) == 0 { "high" } else { "normal" },
            below(5)
        );
        simulate(&text, async |world: World| {
            let domains = domains(&world, 30, 1);
            for (place, domain) in domains.iter().enumerate() {
                // Some on another host, some on both.
                world.network.host(2);
                match place % 3 {
                    1 => world.network.mx(domain, &[(10, "other.test", 2)]),
                    2 => world.network.mx(domain, &[(10, "mx.test", 1), (20, "other.test", 2)]),
                    _ => {}
                }
            }
            for last in [1, 2] {
                world.network.round_trip(last, Duration::from_millis(below(400)));
            }
            let mut most = 0;
            for _ in 0..60 {
                for _ in 0..below(20) {
                    let domain = &domains[below(30) as usize];
                    world.send(FROM, &[&format!("ann@{domain}")]).await;
                }
                world.pass_milliseconds(below(900)).await;
                most = most.max(world.network.open(1) + world.network.open(2));
            }
            world.pass(3000).await;
            assert_eq!(world.stored(), 0, "seed {seed}: {text}");
            assert!(world.network.most_open(1) as u64 <= host, "seed {seed}: {text}");
            assert!(world.network.most_open_everywhere() as u64 <= server + reserve, "seed {seed}: {text}");
            assert_eq!(world.meters.get("delivery.connections.entered"), world.meters.get("delivery.connections.left"));
            assert!(world.log().iter().all(|line| line.contains(" D ")), "seed {seed}: waiting is no failure");
        });
    }
}
