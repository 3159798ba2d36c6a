//! What this machine lacks for connections: the mail stays active, no host is left alone, and delivery goes on as soon as it
//! is there.

use scheduler::Step;

use crate::FROM;
use crate::world::{World, simulate};

const EPERM: i32 = 1;
const ENOMEM: i32 = 12;
const EMFILE: i32 = 24;
const EAFNOSUPPORT: i32 = 97;
const EADDRNOTAVAIL: i32 = 99;
const ENETUNREACH: i32 = 101;
const ENOBUFS: i32 = 105;

#[test]
fn what_the_machine_lacks_is_waited_for_and_charged_to_no_host() {
    for (step, code, counter) in [
        (Step::Socket, EMFILE, "descriptors"),
        (Step::Connect, ENOBUFS, "memory"),
        (Step::Socket, ENOMEM, "memory"),
        (Step::Bind, EADDRNOTAVAIL, "own_address"),
        (Step::Connect, EADDRNOTAVAIL, "local_ports"),
        (Step::Route, ENETUNREACH, "route"),
        (Step::Socket, EAFNOSUPPORT, "route"),
        (Step::Connect, EPERM, "permission"),
    ] {
        simulate("mx_failures_to_delay = 1\n", async |world: World| {
            world.network.host(1);
            for domain in ["x.test", "y.test"] {
                world.network.mx(domain, &[(10, "mx.test", 1)]);
            }
            world.network.lacks(1, Some((step, code)));
            world.send(FROM, &["ann@x.test"]).await;
            world.pass(10).await;
            assert!(world.log().is_empty(), "{code}: nothing has failed");
            let counted = world.meters.get(&format!("delivery.lacks.{counter}"));
            assert!((5..=20).contains(&counted), "{code}: it was tried once a second or so, and not {counted} times");
            assert_eq!(world.meters.get("delivery.connections.failed"), 0, "{code}");
            let x = world.engine.domain("x.test").await;
            assert!(x.addresses.iter().all(|address| address.avoided.is_none()), "{code}: the host was left alone");
            world.network.lacks(1, None);
            world.send(FROM, &["ann@y.test"]).await;
            world.pass(3).await;
            let log = world.log();
            assert_eq!(log.len(), 2, "{code}: {log:?}");
            assert!(log.iter().all(|line| line.contains(" D ")), "{code}: {log:?}");
        });
    }
}

#[test]
fn an_address_that_this_machine_has_no_way_to_is_passed_over() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.host(2);
        world.network.mx("x.test", &[(10, "far.test", 1), (20, "near.test", 2)]);
        world.network.lacks(1, Some((Step::Route, ENETUNREACH)));
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(1).await;
        assert_eq!(world.log(), ["0 D ann@x.test retries=0 192.0.2.2"]);
        let addresses = world.engine.domain("x.test").await.addresses;
        assert!(addresses.iter().all(|address| address.avoided.is_none()));
    });
}

#[test]
fn what_is_lacking_for_good_delays_the_mail_in_the_end_with_a_text_of_its_own() {
    simulate("connect_timeout_to_delay = 60\n", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.test", 1)]);
        world.network.lacks(1, Some((Step::Bind, EADDRNOTAVAIL)));
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(59).await;
        assert!(world.log().is_empty());
        world.pass(3).await;
        let log = world.log();
        assert_eq!(log.len(), 1, "{log:?}");
        assert!(log[0].ends_with("- 451 4.3.0 [internal] this server lacks what it needs for a connection"), "{log:?}");
    });
}

#[test]
fn a_nameserver_that_cannot_be_asked_is_no_lookup_that_failed() {
    simulate("mx_failures_to_delay = 1\nmx_failures_fallback_to_a = 0\n", async |world: World| {
        world.network.host(1);
        world.network.own_address("x.test", 2);
        let lack = scheduler::Lack::Descriptors;
        world.network.no_mx("x.test", dns::DnsError::Local { name: "x.test MX".into(), lack });
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(5).await;
        assert!(world.log().is_empty());
        assert_eq!(world.network.connections(2), 0, "its own address does not stand in");
        world.network.mx("x.test", &[(10, "mx.test", 1)]);
        world.pass(3).await;
        let log = world.log();
        assert!(log.len() == 1 && log[0].contains(" D "), "{log:?}");
    });
}
