//! Hosts, disks and tasks that do not do as they should.

use std::time::Duration;

use message::Body;

use crate::FROM;
use crate::network::Reaction::Say;
use crate::world::{World, simulate};

const CLOSED: &str = "451 4.4.2 [internal] connection closed by remote host";

#[test]
fn a_host_that_greets_and_closes_is_left_alone_and_one_message_bears_it() {
    // Out of memory or in it: there is no attempt in the session either way.
    for text in ["", "max_resident_active_queue = 0\n"] {
        simulate(text, async |world: World| {
            world.network.host(1);
            world.network.round_trip(1, Duration::from_millis(10));
            world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
            world.network.always(1, "EHLO", Say("250 host.test\r\n421 4.3.2 too busy, closing"));
            for _ in 0..3 {
                world.send(FROM, &["ann@x.test"]).await;
            }
            world.pass(110).await;
            assert_eq!(world.network.connections(1), 1);
            assert_eq!(world.log(), [format!("0 T ann@x.test stage=1 retries=0 192.0.2.1 {CLOSED}")]);
            assert_eq!(world.engine.domain("x.test").await.consecutive_failures, 1);
            world.pass(1000).await;
            assert_eq!(world.network.connections(1), 3, "one for each message, host_failure_retry apart");
        });
    }
}

#[test]
fn a_host_that_greets_and_closes_is_not_called_again_while_the_disk_is_slow() {
    simulate("max_resident_active_queue = 0\n", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.leaves_after(1, Duration::from_millis(500));
        *world.read_pause.lock().unwrap() = Duration::from_secs(100);
        for _ in 0..5 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(119).await;
        assert_eq!(world.network.connections(1), 1);
        assert_eq!(world.log(), [format!("100 T ann@x.test stage=1 retries=0 192.0.2.1 {CLOSED}")]);
    });
}

#[test]
fn the_next_host_takes_the_mail_of_one_that_greets_and_closes() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.host(2);
        world.network.mx("x.test", &[(10, "a.x.test", 1), (20, "b.x.test", 2)]);
        world.network.always(1, "EHLO", Say("250 host.test\r\n421 4.3.2 too busy, closing"));
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(5).await;
        assert_eq!(world.log(), ["0 D ann@x.test retries=0 192.0.2.2"]);
        assert_eq!(world.network.connections(1), 1);
    });
}

#[test]
fn a_task_that_dies_leaves_the_counts_right_and_its_mail_in_the_queue() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.panics_once("x.test");
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(5).await;
        assert_eq!(world.log(), ["1 D ann@x.test retries=0 192.0.2.1"]);
        world.pass(60).await;
        let counts = world.engine.counts().await;
        assert_eq!((counts.outbound_concurrency, counts.active + counts.in_flight), (0, 0));
        assert_eq!(world.meters.get("delivery.connections.left"), 2);
        assert_eq!(world.engine.stop(Duration::from_secs(5)).await, 0);
    });
}

#[test]
fn mail_in_the_hands_of_a_task_that_dies_is_tried_again() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.once(1, "RCPT", Say("550 5.1.1 no"));
        *world.bounces.panics.lock().unwrap() = true;
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(2).await;
        assert_eq!(world.log(), ["0 D ann@x.test retries=0 192.0.2.1"]);
        assert_eq!((world.stored(), world.engine.counts().await.in_flight), (0, 0));
    });
}

#[test]
fn while_its_unlinks_wait_for_the_spool_a_queue_delivers_no_more() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.door.shut();
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(1).await;
        for _ in 0..50 {
            world.send(FROM, &["bob@x.test"]).await;
        }
        // Past idle_timeout: the session has ended, its place is still taken.
        world.pass(100).await;
        assert_eq!((world.network.taken(1).len(), world.network.connections(1)), (1, 1));
        assert_eq!(world.door.open(), 1);
        world.pass(1).await;
        assert_eq!((world.network.taken(1).len(), world.stored()), (51, 0));
    });
}

#[test]
fn a_spool_without_room_for_delivery_states_keeps_no_mail_from_its_attempts() {
    // In memory or out of it: then the spool's own state is that of the start.
    for more in ["", "max_resident_active_queue = 0\n"] {
        simulate(&format!("retry_interval = 100\n{more}"), async |world: World| {
            world.network.host(1);
            world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
            for _ in 0..2 {
                world.network.once(1, "RCPT", Say("451 4.3.0 not now"));
            }
            let envelopes = world.spooled(FROM, &["ann@x.test"]).await;
            world.door.fill();
            for envelope in envelopes {
                assert!(world.intake.enqueue(envelope, Body::from_static(b"hello\r\n.\r\n")).await);
            }
            world.pass(400).await;
            let log = world.log();
            assert_eq!(log.last().map(String::as_str), Some("300 D ann@x.test retries=2 192.0.2.1"));
            assert_eq!((log.len(), world.stored()), (3, 0));
        });
    }
}

#[test]
fn a_disk_slower_than_idle_timeout_costs_time_and_nothing_else() {
    simulate("max_resident_active_queue = 0\n", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        *world.read_pause.lock().unwrap() = Duration::from_secs(400);
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(500).await;
        assert_eq!(world.log(), ["400 D ann@x.test retries=0 192.0.2.1"]);
        assert_eq!(world.network.connections(1), 1);
    });
}

#[test]
fn an_outcome_is_settled_under_the_settings_its_attempt_began_with() {
    simulate("retry_interval = 1000\n", async |world: World| {
        world.network.without_pipelining(1);
        world.network.round_trip(1, Duration::from_secs(10));
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.once(1, "DATA", Say("450 4.2.1 busy"));
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(25).await;
        world.reload("retry_interval = 100\n");
        world.engine.refresh().await;
        world.pass(400).await;
        assert_eq!(world.log(), ["50 T ann@x.test stage=7 retries=0 192.0.2.1 450 4.2.1 busy"]);
        world.pass(800).await;
        assert_eq!(world.log().len(), 1, "delivered after the interval of its attempt");
    });
}

#[test]
fn four_numbers_without_brackets_are_a_domain_and_not_an_address() {
    simulate("", async |world: World| {
        world.network.host(5);
        world.send(FROM, &["ann@192.0.2.5"]).await;
        world.pass(1).await;
        let text = "550 5.1.2 [internal] domain does not exist (NXDOMAIN)";
        assert_eq!(world.log(), [format!("0 P ann@192.0.2.5 stage=0 retries=0 - {text}")]);
        world.send(FROM, &["ann@[192.0.2.5]"]).await;
        world.pass(1).await;
        assert_eq!(world.log(), ["1 D ann@[192.0.2.5] retries=0 192.0.2.5"]);
    });
}
