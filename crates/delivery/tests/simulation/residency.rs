//! What stays in memory, what the spool is asked for, and what a shortage of memory changes.

use std::time::Duration;

use scheduler::Pressure;

use crate::FROM;
use crate::network::Reaction::{Say, Stall};
use crate::world::{World, on_a_loop, simulate};

async fn busy(world: &World, count: usize) {
    world.network.host(1);
    world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
    world.network.always(1, "RCPT", Say("450 4.2.1 busy"));
    for _ in 0..count {
        world.send(FROM, &["ann@x.test"]).await;
    }
    world.pass(1).await;
}

#[test]
fn a_message_leaves_memory_after_drop_body_after_trans_fail_failures() {
    for (text, kept) in [("", [1, 1, 0]), ("drop_body_after_trans_fail = 1\n", [0, 0, 0])] {
        simulate(text, async |world: World| {
            busy(&world, 1).await;
            for (resident, wait) in kept.into_iter().zip([1200, 2400, 4800]) {
                let counts = world.engine.counts().await;
                assert_eq!((counts.resident, counts.resident_bytes), (resident, 24 * resident as u64), "{text}");
                world.pass(wait).await;
            }
        });
    }
}

#[test]
fn bodies_leave_memory_when_it_is_short_and_the_mail_is_delivered_all_the_same() {
    for (pressure, kept) in [(Pressure::None, 8), (Pressure::Goal, 4), (Pressure::HighWater, 0)] {
        simulate("mail_queue_check_vm_interval = 10\n", async |world: World| {
            busy(&world, 8).await;
            assert_eq!(world.engine.counts().await.resident, 8);
            world.pressure.set(pressure);
            world.pass(10).await;
            assert_eq!(world.engine.counts().await.resident, kept, "{pressure:?}");
            world.send(FROM, &["bob@x.test"]).await;
            world.pass(1).await;
            let kept = world.engine.counts().await.resident;
            assert_eq!(kept == 0, pressure == Pressure::HighWater, "what comes now");
            world.network.calm(1);
            world.pass(2000).await;
            assert_eq!(world.network.taken(1).len(), 9);
        });
    }
}

#[test]
fn the_retry_state_is_written_unless_that_is_turned_off_and_counts_either_way() {
    for (text, written) in [("", 2), ("swap_out_meta_after_each_tempfail = false\n", 0)] {
        let text = format!("{text}drop_body_after_trans_fail = 0\n");
        simulate(&text, async |world: World| {
            world.network.host(1);
            world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
            for _ in 0..2 {
                world.network.once(1, "RCPT", Say("450 4.2.1 busy"));
            }
            let id = world.send(FROM, &["ann@x.test"]).await;
            world.pass(1201).await;
            assert_eq!(world.spool.read_headers(id).await.unwrap().delivery.retries, written);
            world.pass(2400).await;
            assert_eq!(world.log().last().unwrap(), "3600 D ann@x.test retries=2 192.0.2.1");
        });
    }
}

/// Sixty messages of which no body stays in memory, to a host that takes one a second, from a disk that takes four seconds a
/// read: one at a time would be four minutes.
fn sixty_are_delivered_in_a_minute_and_a_half(more: &str) {
    let text = format!("max_resident_active_queue = 0\nmax_outbound_connections = 1\n{more}");
    simulate(&text, async |world: World| {
        world.network.host(1);
        world.network.round_trip(1, Duration::from_secs(1));
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        *world.read_pause.lock().unwrap() = Duration::from_secs(4);
        for _ in 0..60 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(90).await;
        assert_eq!(world.network.taken(1).len(), 60);
        let order: Vec<usize> = world.network.taken(1).iter().map(|taken| taken.connection).collect();
        assert!(order.iter().all(|&connection| connection == 1));
    });
}

#[test]
fn bodies_are_read_ahead_of_their_turn() {
    sixty_are_delivered_in_a_minute_and_a_half("");
}

#[test]
fn bodies_are_read_ahead_also_where_envelopes_stay_in_memory() {
    sixty_are_delivered_in_a_minute_and_a_half("keep_message_dicts_in_memory = true\n");
}

#[test]
fn a_disk_that_hangs_holds_up_the_mail_it_has_and_no_loop() {
    let text = "domain \"disk.test\" { max_resident_active_queue = 0 }\n";
    on_a_loop(text, async |world, gate| {
        world.network.host(1);
        world.network.mx("disk.test", &[(10, "mx.disk.test", 1)]);
        world.network.mx("memory.test", &[(10, "mx.memory.test", 1)]);
        gate.shut();
        for _ in 0..20 {
            world.send(FROM, &["ann@disk.test"]).await;
        }
        while gate.waiting() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The same loop delivers whatever does not need the disk.
        for _ in 0..50 {
            world.send(FROM, &["ann@memory.test"]).await;
        }
        world.until("delivery.messages.delivered", 50).await;
        assert!(0 < gate.waiting(), "threads of the pool wait for the disk");
        let counts = world.engine.counts().await;
        assert_eq!(counts.active + counts.in_flight, 20, "what waits for the disk waits");
        gate.open();
        world.until("delivery.messages.delivered", 70).await;
        assert_eq!(world.meters.get("scheduler.loop.test/0.blocked"), 0, "the watchdog saw no loop stand still");
    });
}

#[test]
fn every_owner_of_memory_is_charged_with_nothing_once_all_mail_is_gone() {
    simulate("drop_body_after_trans_fail = 1\nmax_resident_active_queue = 2\n", async |world: World| {
        busy(&world, 8).await;
        let octets = |owner: &str| world.meters.memory(owner).octets();
        world.network.calm(1);
        world.network.mx("y.test", &[(10, "mx.y.test", 1)]);
        for _ in 0..4 {
            world.send(FROM, &["bob@y.test", "eve@y.test"]).await;
        }
        assert!(0 < octets("queue:envelopes"));
        world.pass(5000).await;
        assert_eq!(world.stored(), 0);
        world.pass(120).await;
        assert!(0 < world.meters.memory("bodies").peak(), "bodies were read from the spool");
        for owner in ["bodies", "queue:envelopes", "queue:contexts", "delivery:connections"] {
            assert_eq!(octets(owner), 0, "{owner}");
        }
    });
}

#[test]
fn what_the_spool_held_does_not_keep_new_mail_waiting() {
    simulate("disk_queue_drain_rate = 1\nmax_outbound_connections = 1\n", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        let restored = world.spooled(FROM, &["old@x.test"; 20]).await;
        for envelope in restored {
            assert!(world.intake.restore(envelope).await);
        }
        world.send(FROM, &["new@x.test"]).await;
        world.pass(1).await;
        let log = world.log();
        let place = log.iter().position(|line| line.contains("new@")).unwrap();
        assert!(place <= 3, "{place}");
        assert_eq!(log.len(), 21);
    });
}

/// Octets of the body that every message of a simulation has.
const BODY_OCTETS: u64 = 24;

#[test]
fn bodies_for_a_host_that_stalls_are_bounded_and_hold_up_no_other_mail() {
    simulate("max_resident_active_queue = 0\n", async |world: World| {
        let bodies = world.meters.memory("bodies");
        bodies.limit(10 * BODY_OCTETS);
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.always(1, "MAIL", Stall);
        for _ in 0..100 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(60).await;
        assert!(4 * BODY_OCTETS <= bodies.octets(), "{} octets: connections carry mail", bodies.octets());
        assert!(bodies.waiting() != 0, "others wait for memory");
        world.network.host(2);
        world.network.mx("y.test", &[(10, "mx.y.test", 2)]);
        for _ in 0..20 {
            world.send(FROM, &["bob@y.test"]).await;
        }
        world.pass(30).await;
        assert_eq!(world.network.taken(2).len(), 20, "a host that takes its mail gets it");
        assert!(bodies.peak() <= 10 * BODY_OCTETS, "{} octets at most", bodies.peak());
        world.network.calm(1);
        world.pass(20_000).await;
        assert_eq!((world.network.taken(1).len(), world.stored(), bodies.octets(), bodies.waiting()), (100, 0, 0, 0));
    });
}

#[test]
fn messages_larger_than_all_bodies_may_have_are_delivered_one_at_a_time() {
    simulate("max_resident_active_queue = 0\n", async |world: World| {
        let bodies = world.meters.memory("bodies");
        bodies.limit(BODY_OCTETS / 2);
        for (last, domain) in [(1, "x.test"), (2, "y.test")] {
            world.network.host(last);
            world.network.mx(domain, &[(10, "mx", last)]);
        }
        for _ in 0..10 {
            world.send(FROM, &["ann@x.test"]).await;
            world.send(FROM, &["bob@y.test"]).await;
        }
        world.pass(60).await;
        assert_eq!((world.network.taken(1).len(), world.network.taken(2).len(), world.stored()), (10, 10, 0));
        assert_eq!(bodies.peak(), BODY_OCTETS);
    });
}

#[test]
fn bodies_that_are_only_copies_leave_memory_for_mail_that_has_to_be_read() {
    let text = "domain \"read.test\" { max_resident_active_queue = 0 }\nhost_failure_retry = 600\n";
    simulate(text, async |world: World| {
        let bodies = world.meters.memory("bodies");
        world.network.host(1);
        world.network.mx("read.test", &[(10, "mx.read.test", 1)]);
        world.network.always(1, "MAIL", Stall);
        world.network.mx("dead.test", &[(10, "mx.dead.test", 2)]);
        world.network.refuses(2, true);
        for _ in 0..8 {
            world.send(FROM, &["ann@dead.test"]).await;
        }
        world.pass(1).await;
        assert_eq!(world.engine.counts().await.resident, 8);
        // Bodies of this world are in static memory, so what the copies would take is charged here.
        let copies = bodies.charge(8 * BODY_OCTETS as usize);
        bodies.limit(8 * BODY_OCTETS);
        for _ in 0..4 {
            world.send(FROM, &["ann@read.test"]).await;
        }
        world.pass(30).await;
        assert!(bodies.waiting() != 0, "one is always read, and the next waits");
        world.engine.look_at_memory();
        world.pass(1).await;
        assert!(world.engine.counts().await.resident < 8, "copies are let go");
        drop(copies);
        world.network.calm(1);
        world.pass(3000).await;
        assert_eq!(world.network.taken(1).len(), 4);
    });
}
