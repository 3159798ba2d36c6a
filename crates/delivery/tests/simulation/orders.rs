//! What the operator orders while things are not well.

use std::time::Duration;

use dns::DnsError;

use crate::FROM;
use crate::world::{World, simulate};

#[test]
fn a_flush_tries_a_host_that_is_back_at_once() {
    simulate("mx_failures_to_delay = 3\n", async |world: World| {
        world.network.refuses(1, true);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(10).await;
        for _ in 0..2 {
            world.engine.flush(Some("x.test")).await;
            world.pass(1).await;
        }
        let connections = world.network.connections(1);
        assert_eq!((connections, world.log().len()), (3, 1), "each was tried, the third failure delays the mail");
        world.network.refuses(1, false);
        world.network.host(1);
        assert_eq!(world.engine.flush(Some("x.test")).await, 1);
        world.pass(1).await;
        assert_eq!(world.log(), ["12 D ann@x.test retries=1 192.0.2.1"]);
    });
}

#[test]
fn a_domain_whose_hosts_are_left_alone_for_anothers_failure_has_not_failed() {
    simulate("mx_failures_to_delay = 1\n", async |world: World| {
        world.network.refuses(1, true);
        world.network.mx("x.test", &[(10, "mx.test", 1)]);
        world.network.mx("y.test", &[(10, "mx.test", 1)]);
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(1).await;
        assert_eq!(world.log().len(), 1, "x.test was tried");
        world.send(FROM, &["bob@y.test"]).await;
        world.pass(100).await;
        assert!(world.log().is_empty(), "y.test was not");
        assert_eq!(world.network.connections(1), 1);
    });
}

#[test]
fn the_operators_verdict_takes_the_place_of_a_drain_under_way() {
    simulate("", async |world: World| {
        *world.bounces.pause.lock().unwrap() = Duration::from_secs(10);
        world.network.no_mx("x.test", DnsError::NullMx { name: "x.test".into() });
        for _ in 0..100 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(1).await;
        let failed = world.engine.fail("x.test", false, Some("554 Closed by operator")).await;
        world.pass(100).await;
        let log = world.log();
        let by_operator = log.iter().filter(|line| line.ends_with(" - 554 Closed by operator")).count();
        assert_eq!((by_operator, log.len(), world.stored()), (failed, 100, 0));
        assert!((50..100).contains(&failed), "{failed}: those in hand keep the verdict they had");
    });
}

#[test]
fn however_many_queues_are_emptied_at_once_few_of_their_messages_are_in_hand() {
    simulate("", async |world: World| {
        *world.bounces.pause.lock().unwrap() = Duration::from_secs(10);
        for domain in 0..100 {
            let name = format!("d{domain}.test");
            world.network.no_mx(&name, DnsError::NullMx { name: name.as_str().into() });
            world.send(FROM, &[format!("ann@{name}").as_str()]).await;
        }
        world.pass(15).await;
        assert_eq!(world.log().len(), 2 * 32, "two loops; the others wait for their turn");
        world.pass(100).await;
        assert_eq!((world.log().len(), world.stored()), (100 - 2 * 32, 0));
    });
}

#[test]
fn no_connection_takes_what_the_operator_fails() {
    simulate("max_outbound_connections = 1\n", async |world: World| {
        world.network.host(1);
        world.network.round_trip(1, Duration::from_secs(10));
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        for _ in 0..50 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(25).await;
        *world.bounces.pause.lock().unwrap() = Duration::from_secs(60);
        let failed = world.engine.fail("x.test", false, None).await;
        world.pass(1000).await;
        let log = world.log();
        let purged = "554 5.7.0 [internal] Message manually purged";
        assert_eq!(log.iter().filter(|line| line.ends_with(purged)).count(), failed);
        assert_eq!((world.network.taken(1).len() + failed, world.stored()), (50, 0));
    });
}
