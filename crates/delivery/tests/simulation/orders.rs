//! What the operator orders while things are not well.

use std::sync::Arc;
use std::time::Duration;

use delivery::{Chosen, Selection, Single};
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
            world.engine.flush(&Selection::domain("x.test")).await;
            world.pass(1).await;
        }
        let connections = world.network.connections(1);
        assert_eq!((connections, world.log().len()), (3, 1), "each was tried, the third failure delays the mail");
        world.network.refuses(1, false);
        world.network.host(1);
        assert_eq!(world.engine.flush(&Selection::domain("x.test")).await.messages, 1);
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
        let failed = world
            .engine
            .fail(&Chosen::Queues(Selection::domain("x.test")), false, Some("554 Closed by operator"))
            .await
            .messages;
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
        let failed = world.engine.fail(&Chosen::Queues(Selection::domain("x.test")), false, None).await.messages;
        world.pass(1000).await;
        let log = world.log();
        let purged = "554 5.7.0 [internal] Message manually purged";
        assert_eq!(log.iter().filter(|line| line.ends_with(purged)).count(), failed);
        assert_eq!((world.network.taken(1).len() + failed, world.stored()), (50, 0));
    });
}

#[test]
fn a_flush_counts_what_was_due_what_it_set_free_and_what_is_still_held() {
    simulate("mx_failures_to_delay = 0\n", async |world: World| {
        world.network.refuses(1, true);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        for _ in 0..3 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(1).await;
        let effect = world.engine.flush(&Selection::domain("X.test")).await;
        assert_eq!((effect.queues, effect.messages, effect.due_already, effect.released), (1, 0, 3, 3));
        assert!(effect.held.is_empty(), "it is being tried: {:?}", effect.held);
        world.reload("mx_failures_to_delay = 0\nsuspend_delivery = true\n");
        world.engine.refresh().await;
        let effect = world.engine.flush(&Selection::domain("x.test")).await;
        assert_eq!((effect.due_already, effect.held[0].1, effect.held[0].0.hold.word()), (3, 3, "suspended"));
        assert_eq!(world.engine.flush(&Selection::domain("nosuch.test")).await.queues, 0);
        let other = Selection { binding: Some("other".into()), ..Selection::default() };
        assert_eq!(world.engine.flush(&other).await.queues, 0);
    });
}

#[test]
fn one_message_is_retried_or_failed_and_the_others_stay() {
    simulate("retry_interval = 1000\n", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.always(1, "RCPT", crate::network::Reaction::Say("452 4.2.2 full"));
        let (first, second) = (world.send(FROM, &["ann@x.test"]).await, world.send(FROM, &["bob@x.test"]).await);
        world.pass(10).await;
        assert_eq!(world.log().len(), 2, "both are delayed");
        world.network.calm(1);
        let done = world.engine.retry_message(first).await;
        assert!(matches!(done, Single::Done { was: queue::Whereabouts::Delayed, held: None }), "{done:?}");
        world.pass(1).await;
        assert!(world.log()[0].contains(" D ann@x.test"));
        assert_eq!(world.engine.retry_message(first).await, Single::Unknown, "it has left");
        assert!(matches!(world.engine.fail_message(second, false).await, Single::Done { .. }));
        world.pass(1).await;
        let log = world.log();
        assert!(
            log.iter().any(|line| line.contains("P bob@x.test") && line.ends_with("[internal] manually failed")),
            "{log:?}"
        );
        assert_eq!(world.stored(), 0);
    });
}

#[test]
fn what_is_in_an_attempt_is_left_to_it_and_counted() {
    simulate("max_outbound_connections = 1\n", async |world: World| {
        world.network.host(1);
        world.network.round_trip(1, Duration::from_secs(10));
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        let id = world.send(FROM, &["ann@x.test"]).await;
        while world.engine.counts().await.in_flight == 0 {
            world.pass(1).await;
        }
        let one = Chosen::Queues(Selection::domain("x.test"));
        let effect = world.engine.fail(&one, false, None).await;
        assert_eq!((effect.queues, effect.messages, effect.in_flight), (1, 0, 1));
        let left = [world.engine.retry_message(id).await, world.engine.fail_message(id, true).await];
        assert!(left.iter().all(|single| matches!(single, Single::InAttempt(_))), "{left:?}");
        world.pass(1000).await;
        assert_eq!((world.network.taken(1).len(), world.stored()), (1, 0), "it was delivered");
    });
}

#[test]
fn delayed_mail_waits_so_long_and_is_charged_with_nothing() {
    simulate("suspend_delivery = true\n", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        for _ in 0..40 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(1).await;
        let effect = world.engine.delay(&Chosen::Queues(Selection::domain("x.test")), Duration::from_secs(600)).await;
        assert_eq!(effect.messages, 40);
        world.pass(1).await;
        assert_eq!(world.engine.counts().await.delayed, 40);
        let listed = &world.engine.listing(&Selection::domain("x.test"), 0, 1).await.messages[0];
        assert!(listed.wait.hold.word() == "suspended" && listed.envelope.delivery.retries == 0);
        world.reload("");
        world.engine.refresh().await;
        let listed = &world.engine.listing(&Selection::domain("x.test"), 0, 1).await.messages[0];
        let until = listed.wait.until.expect("known").as_secs();
        assert!((550..=600).contains(&until), "{until}: the envelope says it too");
        world.pass(500).await;
        assert!(world.log().is_empty());
        world.pass(110).await;
        assert_eq!(world.log().iter().filter(|line| line.contains(" D ann@x.test retries=0")).count(), 40);
    });
}

#[test]
fn rerouted_mail_goes_by_the_other_domains_hosts() {
    simulate("mx_failures_to_delay = 0\n", async |world: World| {
        world.network.refuses(1, true);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.host(2);
        world.network.mx("y.test", &[(10, "mx.y.test", 2)]);
        let id = world.send(FROM, &["ann@x.test"]).await;
        world.send(FROM, &["bob@x.test"]).await;
        world.pass(2).await;
        let only = Chosen::Messages(Arc::new([id].into()));
        assert_eq!(world.engine.reroute(&only, "y.test").await.messages, 1);
        world.pass(2).await;
        let log = world.log();
        assert!(log.len() == 1 && log[0].contains(" D ann@x.test") && log[0].ends_with("192.0.2.2"), "{log:?}");
        let effect = world.engine.reroute(&Chosen::Queues(Selection::domain("x.test")), "y.test").await;
        assert_eq!(effect.messages, 1);
        world.pass(2).await;
        assert_eq!((world.network.taken(2).len(), world.stored()), (2, 0));
    });
}

#[test]
fn mail_that_is_where_it_would_go_stays_as_it_is() {
    let text = "mx_failures_to_delay = 0\ndomain \"a.test\" { gateway = \"hub.test\" }\ndomain \"x.test\" { gateway = \"hub.test\" }\n";
    simulate(text, async |world: World| {
        world.network.host(1);
        world.network.once(1, "RCPT", crate::network::Reaction::Say("450 4.2.1 busy"));
        world.network.mx("hub.test", &[(10, "mx.hub.test", 1)]);
        world.send(FROM, &["ann@a.test"]).await;
        world.pass(2).await;
        let all = Chosen::Queues(Selection::default());
        assert_eq!(world.engine.counts().await.delayed, 1);
        let effect = world.engine.reroute(&all, "x.test").await;
        assert_eq!((effect.messages, effect.unchanged), (0, 1));
        assert_eq!(world.engine.counts().await.delayed, 1, "it is not made due");
        let effect = world.engine.delay(&all, Duration::from_secs(60)).await;
        assert_eq!((effect.messages, effect.unchanged), (0, 1));
        let effect = world.engine.reroute(&all, "y.test").await;
        assert_eq!((effect.messages, effect.unchanged), (1, 0));
    });
}
