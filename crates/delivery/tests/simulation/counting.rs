//! What is counted of the right thing: recipients in transactions, whatever of them is in memory, and octets.

use message::{Envelope, MessageId};
use spool::SpoolError;

use crate::FROM;
use crate::network::Reaction::Say;
use crate::world::{World, simulate};

fn host(world: &World) {
    world.network.host(1);
    world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
}

fn recipients(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("r{number}@x.test")).collect()
}

async fn send(world: &World, count: usize) {
    let recipients = recipients(count);
    world.send(FROM, &recipients.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// The recipients of each transaction that host 1 took, largest first.
fn transactions(world: &World) -> Vec<usize> {
    let mut sizes: Vec<usize> = world.network.taken(1).iter().map(|taken| taken.recipients.len()).collect();
    sizes.sort_by_key(|size| std::cmp::Reverse(*size));
    sizes
}

#[test]
fn siblings_share_transactions_whatever_of_them_is_in_memory() {
    for text in [
        "",
        "max_resident_active_queue = 10\n",
        "max_resident_active_queue = 0\n",
        "max_resident_active_queue = 0\nkeep_message_dicts_in_memory = true\n",
        "max_resident_bytes = 1\nmax_outbound_connections = 1\n",
    ] {
        simulate(text, async |world: World| {
            host(&world);
            send(&world, 1000).await;
            world.pass(5).await;
            assert_eq!(transactions(&world), [100; 10], "{text}");
            assert_eq!(world.stored(), 0);
            let mut got: Vec<String> = world.network.taken(1).into_iter().flat_map(|taken| taken.recipients).collect();
            got.sort();
            got.dedup();
            assert_eq!(got.len(), 1000, "each once");
        });
    }
}

#[test]
fn siblings_that_are_due_together_share_transactions_again() {
    for text in ["", "drop_body_after_trans_fail = 0\n", "max_resident_active_queue = 3\n"] {
        simulate(text, async |world: World| {
            host(&world);
            world.network.always(1, "RCPT", Say("450 4.2.1 busy"));
            send(&world, 250).await;
            world.pass(5).await;
            world.network.calm(1);
            world.pass(1300).await;
            assert_eq!(transactions(&world), [100, 100, 50], "{text}");
        });
    }
}

#[test]
fn siblings_that_a_restart_found_share_transactions() {
    simulate("max_outbound_connections = 1\n", async |world: World| {
        host(&world);
        let recipients = recipients(500);
        let envelopes = world.spooled(FROM, &recipients.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let mut restorer = world.intake.restorer();
        let restoring = std::thread::spawn(move || envelopes.into_iter().for_each(|envelope| restorer.give(envelope)));
        restoring.join().unwrap();
        world.pass(5).await;
        assert_eq!(transactions(&world), [100; 5]);
    });
}

#[test]
fn only_what_shares_the_body_shares_the_transaction() {
    simulate("max_resident_active_queue = 0\nmax_outbound_connections = 1\n", async |world: World| {
        host(&world);
        // Three messages, their recipients mixed.
        let names = recipients(60);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut batches = Vec::new();
        for part in names.chunks(20) {
            batches.push(world.spooled(FROM, part).await.into_iter());
        }
        let mixed: Vec<Envelope> =
            (0..20).flat_map(|_| batches.iter_mut().map(|batch| batch.next().unwrap()).collect::<Vec<_>>()).collect();
        for envelope in mixed {
            assert!(world.intake.restore(envelope).await);
        }
        world.pass(5).await;
        assert_eq!(transactions(&world), [20, 20, 20]);
        for taken in world.network.taken(1) {
            let number =
                |text: &String| text.trim_start_matches("<r").split('@').next().unwrap().parse::<usize>().unwrap();
            let batches: std::collections::BTreeSet<usize> =
                taken.recipients.iter().map(|to| number(to) / 20).collect();
            assert_eq!(batches.len(), 1, "{:?}", taken.recipients);
        }
    });
}

#[test]
fn a_session_that_breaks_off_loses_none_of_the_siblings() {
    simulate("max_resident_active_queue = 0\nmax_outbound_connections = 1\n", async |world: World| {
        host(&world);
        world.network.once(1, "DATA", crate::network::Reaction::Drop);
        send(&world, 150).await;
        world.pass(4000).await;
        assert_eq!(world.network.taken(1).iter().map(|taken| taken.recipients.len()).sum::<usize>(), 150);
        assert_eq!(world.stored(), 0);
    });
}

#[test]
fn siblings_of_a_message_whose_body_cannot_be_read_go_without_it() {
    let failed = std::io::Error::from(std::io::ErrorKind::TimedOut);
    let transient = SpoolError::Io { doing: "read", path: "body".into(), source: failed.into() };
    let damaged = SpoolError::Missing { id: MessageId::NULL };
    for (fault, sizes, stored, unreadable) in [(transient, &[4, 1][..], 0, 0), (damaged, &[4][..], 1, 1)] {
        simulate("max_resident_active_queue = 0\nmax_outbound_connections = 1\n", async |world: World| {
            host(&world);
            world.gate.fail(fault);
            send(&world, 5).await;
            world.pass(4000).await;
            assert_eq!(transactions(&world), sizes);
            assert_eq!((world.stored(), world.meters.get("delivery.messages.unreadable")), (stored, unreadable));
            assert_eq!(world.engine.counts().await.active, 0);
            assert!(world.log().iter().all(|line| line.contains(" D ")), "nobody is charged: {:?}", world.log());
        });
    }
}

#[test]
fn max_deliveries_per_connection_counts_a_message_once_however_many_recipients_it_has() {
    simulate("max_deliveries_per_connection = 2\nmax_outbound_connections = 1\n", async |world: World| {
        host(&world);
        for _ in 0..4 {
            send(&world, 20).await;
        }
        world.pass(30).await;
        let taken: Vec<_> =
            world.network.taken(1).iter().map(|taken| (taken.connection, taken.recipients.len())).collect();
        assert_eq!(taken, [(1, 20), (1, 20), (2, 20), (2, 20)]);
    });
}

#[test]
fn a_refused_message_uses_up_no_delivery() {
    for pipelining in [true, false] {
        simulate("max_deliveries_per_connection = 1\nmax_outbound_connections = 1\n", async |world: World| {
            host(&world);
            if !pipelining {
                world.network.without_pipelining(1);
            }
            world.network.once(1, "BODY", Say("554 5.7.1 not this one"));
            world.network.once(1, "RCPT", Say("550 5.1.1 nobody"));
            for _ in 0..4 {
                world.send(FROM, &["ann@x.test"]).await;
            }
            world.pass(30).await;
            let taken: Vec<_> = world.network.taken(1).iter().map(|taken| taken.connection).collect();
            assert_eq!(taken, [1, 2], "two were refused on the first connection");
        });
    }
}

#[test]
fn size_is_announced_and_compared_without_stuffed_dots() {
    // The host's limit is a million octets, of which this message has as many as it allows, and 250 000 stuffed dots.
    let line = "..\r\n".repeat(250_000);
    let body: &'static str = format!("Subject: x\r\n\r\n{line}{}\r\n.\r\n", "x".repeat(249_984)).leak();
    simulate("", async |world: World| {
        host(&world);
        world.send_body(&["ann@x.test"], body.as_bytes()).await;
        world.pass(1).await;
        assert_eq!(world.network.heard(1, "MAIL"), ["MAIL FROM:<news@here.test> SIZE=1000000"]);
        assert_eq!(world.log(), ["0 D ann@x.test retries=0 192.0.2.1"]);
    });
}
