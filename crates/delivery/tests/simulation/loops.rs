//! Routes that lead back to the server itself, or to addresses that no host of the Internet has.

use delivery::replies::{LOOP, PROHIBITED};

use crate::FROM;
use crate::world::{World, simulate};

/// What becomes of a message to a domain, in the log's words after the recipient.
async fn fate(world: &World, domain: &str) -> String {
    world.send(FROM, &[&format!("ann@{domain}")]).await;
    world.pass(1).await;
    let log = world.log();
    assert!(log.len() <= 1, "{log:?}");
    log.first().and_then(|line| line.split_once(' ')).map_or_else(String::new, |(_, rest)| rest.to_owned())
}

fn failed(domain: &str, reply: &smtp::Reply) -> String {
    format!("P ann@{domain} stage=0 retries=0 - {reply}")
}

#[test]
fn this_server_and_all_hosts_that_are_not_better_are_left_out_of_a_domains_hosts() {
    simulate("binding \"b\" { ehlo_hostname = \"out.own.test\" }\n", async |world: World| {
        for last in 1..=3 {
            world.network.host(last);
        }
        world.network.is_the_server(9);
        // By address, by the machine's name and by one it greets with; the worse one is a trap.
        let hosts =
            [("address.test", "x.test", 9), ("name.test", "here.test", 2), ("greeting.test", "OUT.own.test", 2)];
        for (domain, host, last) in hosts {
            world
                .network
                .mx(domain, &[(10, "better.test", 1), (20, host, last), (20, "equal.test", 3), (30, "worse.test", 3)]);
            assert_eq!(fate(&world, domain).await, format!("D ann@{domain} retries=0 192.0.2.1"));
        }
        for (domain, host, last) in hosts {
            let domain = &format!("best.{domain}");
            world.network.mx(domain, &[(10, host, last), (10, "equal.test", 3), (20, "worse.test", 3)]);
            assert_eq!(fate(&world, domain).await, failed(domain, &LOOP));
        }
        // A name without an address is still the server's.
        world.network.mx("bare.test", &[(20, "worse.test", 3)]);
        world.network.lacking_host("bare.test", (10, "here.test", false));
        assert_eq!(fate(&world, "bare.test").await, failed("bare.test", &LOOP));
        assert_eq!((world.network.connections(3), world.network.connections(9)), (0, 0));
        assert_eq!(world.meters.get("delivery.queues.looping"), 4);
        assert_eq!(world.stored(), 0);
    });
}

#[test]
fn mail_waits_while_a_better_host_than_this_server_may_get_an_address() {
    simulate("dns_failure_retry = 5\n", async |world: World| {
        world.network.host(1);
        world.network.is_the_server(9);
        world.network.mx("x.test", &[(20, "own.test", 9), (30, "worse.test", 1)]);
        world.network.lacking_host("x.test", (10, "best.test", true));
        assert_eq!(fate(&world, "x.test").await, "");
        world.network.mx("x.test", &[(10, "best.test", 1), (20, "own.test", 9)]);
        world.pass(7).await;
        let log = world.log();
        assert!(log.len() == 1 && log[0].contains(" D "), "{log:?}");
    });
}

#[test]
fn of_hosts_that_are_known_so_far_this_server_is_not_taken_for_the_best() {
    simulate("fully_resolve_before_smtp = false\n", async |world: World| {
        world.network.host(1);
        world.network.is_the_server(9);
        world.network.mx("x.test", &[(10, "best.test", 1), (20, "own.test", 9)]);
        world.network.slow_to_resolve("best.test", std::time::Duration::from_secs(3));
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(4).await;
        assert_eq!(world.log(), ["3 D ann@x.test retries=0 192.0.2.1"]);
        // And a worse one is not tried while this server has no address yet.
        world.network.mx("y.test", &[(10, "here.test", 9), (20, "worse.test", 1)]);
        world.network.slow_to_resolve("here.test", std::time::Duration::from_secs(3));
        world.send(FROM, &["ann@y.test"]).await;
        world.pass(4).await;
        assert_eq!(world.log().len(), 1);
        assert_eq!(world.network.taken(1).len(), 1);
    });
}

#[test]
fn a_next_hop_of_the_operators_is_this_server_only_at_a_port_it_listens_on() {
    let text = "domain \"filter.test\" { gateway = \"192.0.2.9:26\" }\n\
                domain \"loop.test\" { gateway = \"192.0.2.9\" }\n\
                domain \"byname.test\" { gateway = \"here.test\" }\n\
                domain \"lmtp.test\" { delivery_method = lmtp lmtp_port = 2003 routes = ( \"here.test\" ) }\n\
                domain \"routed.test\" { routes = ( \"192.0.2.9\" \"192.0.2.1\" ) }\n";
    simulate(text, async |world: World| {
        world.network.host(1);
        world.network.host(201);
        world.network.is_the_server(9);
        world.network.own_address("192.0.2.9", 9);
        world.network.own_address("192.0.2.1", 1);
        world.network.mx("here.test", &[(0, "here.test", 201)]);
        // Another server beside this one is a next hop like any other: here it refuses the connection.
        assert_eq!(fate(&world, "filter.test").await, "");
        assert_eq!(world.network.connections(9), 1);
        for domain in ["loop.test", "byname.test"] {
            assert_eq!(fate(&world, domain).await, failed(domain, &LOOP));
        }
        assert_eq!(fate(&world, "lmtp.test").await, "D ann@lmtp.test retries=0 192.0.2.201");
        assert_eq!(fate(&world, "routed.test").await, "D ann@routed.test retries=0 192.0.2.1");
        let literal = world.send(FROM, &["ann@[192.0.2.9]", "ann@[192.0.2.1]"]).await;
        world.pass(1).await;
        let mut log = world.log();
        log.sort();
        assert_eq!(log.len(), 2, "{literal}: {log:?}");
        assert!(log[0].contains("D ann@[192.0.2.1] ") && log[1].ends_with(&LOOP.to_string()), "{log:?}");
        assert_eq!(world.network.connections(9), 1);
    });
}

#[test]
fn the_best_mail_host_of_a_relay_domain_is_no_reason_to_give_its_mail_to_the_others() {
    simulate("relay_domains = ( \"x.test\" )\n", async |world: World| {
        world.network.host(1);
        world.network.is_the_server(9);
        world.network.mx("x.test", &[(10, "own.test", 9), (20, "worse.test", 1)]);
        assert_eq!(fate(&world, "x.test").await, failed("x.test", &LOOP));
        assert_eq!(world.network.connections(1), 0);
    });
}

#[test]
fn addresses_of_no_host_are_passed_over_and_mail_with_no_other_fails() {
    simulate("domain \"inside.test\" { gateway = \"smart.inside.test\" }\n", async |world: World| {
        world.network.host(1);
        world.network.mx_at("half.test", &[(10, "trap.test", [127, 0, 0, 1]), (20, "good.test", [192, 0, 2, 1])]);
        world.network.mx_at("trap.test", &[(10, "trap.test", [10, 0, 0, 1]), (20, "other.test", [169, 254, 1, 1])]);
        assert_eq!(fate(&world, "half.test").await, "D ann@half.test retries=0 192.0.2.1");
        assert_eq!(fate(&world, "trap.test").await, failed("trap.test", &PROHIBITED));
        assert_eq!(world.meters.get("delivery.queues.prohibited"), 1);
        // What the operator names may well be inside: it is tried.
        world.network.mx_at("smart.inside.test", &[(10, "smart.inside.test", [10, 0, 0, 25])]);
        assert_eq!(fate(&world, "inside.test").await, "");
        let addresses = world.engine.domain("smart.inside.test").await.addresses;
        assert_eq!(addresses[0].remote.to_string(), "10.0.0.25:25");
    });
}
