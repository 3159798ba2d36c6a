//! Who pays when a session ends: the session, the message whose command was answered with it, or the host.

use std::time::Duration;

use crate::FROM;
use crate::network::Reaction::{self, Drop, Leave, Say};
use crate::world::{World, simulate};

/// Two mail hosts, the better one first.
fn two_hosts(world: &World) {
    world.network.host(1);
    world.network.host(2);
    world.network.mx("x.test", &[(10, "a.x.test", 1), (20, "b.x.test", 2)]);
}

#[test]
fn mail_of_a_session_that_ends_before_it_was_answered_goes_to_the_next_host_at_once() {
    let ends: [(&str, Reaction); 9] = [
        ("MAIL", Drop),
        ("MAIL", Leave("421 4.3.2 bye")),
        ("MAIL", Leave("503 5.5.1 polite people say HELO")),
        ("MAIL", Leave("354 what")),
        ("RCPT", Drop),
        ("RCPT", Leave("nonsense")),
        ("DATA", Drop),
        ("DATA", Leave("250 ok")),
        ("DATA", Leave("354 go\r\n250 2.0.0 taken")),
    ];
    for (verb, reaction) in ends {
        for pipelining in [true, false] {
            simulate("", async |world: World| {
                two_hosts(&world);
                if !pipelining {
                    world.network.without_pipelining(1);
                }
                world.network.always(1, verb, reaction.clone());
                world.send(FROM, &["ann@x.test"]).await;
                world.pass(2).await;
                assert_eq!(world.log(), ["0 D ann@x.test retries=0 192.0.2.2"], "{verb} {reaction:?} {pipelining}");
                assert_eq!((world.network.taken(2).len(), world.network.connections(1)), (1, 1));
            });
        }
    }
}

#[test]
fn a_message_that_was_answered_with_the_end_waits_and_then_goes_to_the_next_host() {
    let ends: [(&str, Reaction, u8, &str); 4] = [
        ("RCPT", Leave("421 4.3.2 bye"), 5, "421 4.3.2 bye"),
        ("DATA", Leave("421 4.3.2 bye"), 7, "421 4.3.2 bye"),
        ("BODY", Leave("421 4.3.2 bye"), 9, "421 4.3.2 bye"),
        ("BODY", Drop, 9, "451 4.4.2 [internal] connection closed by remote host"),
    ];
    for (verb, reaction, stage, reply) in ends {
        simulate("", async |world: World| {
            two_hosts(&world);
            world.network.always(1, verb, reaction);
            world.send(FROM, &["ann@x.test"]).await;
            world.pass(1202).await;
            assert_eq!(
                world.log(),
                [
                    format!("0 T ann@x.test stage={stage} retries=0 192.0.2.1 {reply}"),
                    "1200 D ann@x.test retries=1 192.0.2.2".to_owned()
                ]
            );
            assert_eq!(world.network.connections(1), 1);
        });
    }
}

#[test]
fn a_host_in_doubt_is_tried_last_and_is_first_again_when_it_has_served() {
    simulate("", async |world: World| {
        two_hosts(&world);
        world.network.once(1, "BODY", Drop);
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(60).await;
        world.send(FROM, &["bob@x.test"]).await;
        world.pass(60).await;
        world.network.refuses(2, true);
        world.send(FROM, &["cat@x.test"]).await;
        world.pass(60).await;
        world.send(FROM, &["dan@x.test"]).await;
        world.pass(60).await;
        world.network.refuses(2, false);
        world.pass(200).await;
        world.send(FROM, &["eve@x.test"]).await;
        world.pass(60).await;
        assert_eq!(
            world.log()[1..],
            [
                "60 D bob@x.test retries=0 192.0.2.2",
                "120 D cat@x.test retries=0 192.0.2.1",
                "180 D dan@x.test retries=0 192.0.2.1",
                "440 D eve@x.test retries=0 192.0.2.1"
            ]
        );
    });
}

#[test]
fn a_421_in_one_packet_with_a_250_is_not_about_the_next_message() {
    for pipelining in [true, false] {
        simulate("max_outbound_connections = 1\n", async |world: World| {
            world.network.host(1);
            if !pipelining {
                world.network.without_pipelining(1);
            }
            world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
            for _ in 0..3 {
                world.network.once(1, "BODY", Leave("250 2.0.0 ok\r\n421 4.3.2 closing"));
            }
            for recipient in ["ann@x.test", "bob@x.test", "cat@x.test", "dan@x.test"] {
                world.send(FROM, &[recipient]).await;
            }
            world.pass(5).await;
            let log = world.log();
            assert!(log.len() == 4 && log.iter().all(|line| line.contains(" D ")), "{log:#?}");
            assert_eq!(world.network.connections(1), 4);
            assert_eq!(world.meters.get("delivery.connections.failed"), 0);
        });
    }
}

#[test]
fn a_refusal_in_one_packet_with_a_250_bounces_or_delays_no_other_message() {
    let said = ["550 5.7.1 so many messages are enough", "451 4.7.0 slow down", "554 5.3.0 bye"];
    for (said, stays) in said.into_iter().flat_map(|said| [(said, false), (said, true)]) {
        let both: &'static str = Box::leak(format!("250 2.0.0 ok\r\n{said}").into_boxed_str());
        let reaction = if stays { Say(both) } else { Leave(both) };
        simulate("max_outbound_connections = 1\n", async |world: World| {
            world.network.host(1);
            world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
            for _ in 0..2 {
                world.network.once(1, "BODY", reaction.clone());
            }
            for recipient in ["ann@x.test", "bob@x.test", "cat@x.test", "dan@x.test"] {
                world.send(FROM, &[recipient]).await;
            }
            world.pass(5).await;
            let log = world.log();
            assert!(log.len() == 4 && log.iter().all(|line| line.contains(" D ")), "{reaction:?}: {log:#?}");
            assert_eq!(world.meters.get("delivery.connections.failed"), 0, "{reaction:?}");
        });
    }
}

#[test]
fn a_session_too_many_costs_no_message_and_no_host() {
    let said = [
        ("BANNER", "421 4.7.0 too many sessions"),
        ("BANNER", "554 5.7.0 too many sessions"),
        ("EHLO", "421 4.7.0 too many sessions"),
        ("MAIL", "421 4.7.0 too many sessions"),
    ];
    for (verb, said) in said {
        simulate("", async |world: World| {
            world.network.host(1);
            world.network.round_trip(1, Duration::from_secs(2));
            world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
            world.network.room(1, 2, verb, said);
            for _ in 0..150 {
                world.send(FROM, &["ann@x.test"]).await;
            }
            world.pass(400).await;
            let log = world.log();
            assert!(log.iter().all(|line| line.contains(" D ")), "{verb} {said}: {log:#?}");
            assert_eq!(log.len(), 150, "{verb} {said}");
            assert_eq!(world.meters.get("delivery.connections.failed"), 0);
            assert!(0 < world.meters.get("delivery.connections.one_too_many"));
            assert!(world.network.connections(1) < 12, "{}: about one more a minute", world.network.connections(1));
        });
    }
}

#[test]
fn room_that_a_host_has_again_is_found() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.round_trip(1, Duration::from_secs(2));
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.room(1, 2, "BANNER", "421 4.7.0 too many sessions");
        for _ in 0..600 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(55).await;
        assert_eq!(world.network.open(1), 2);
        world.network.room(1, 6, "BANNER", "421 4.7.0 too many sessions");
        world.pass(100).await;
        assert!((4..=6).contains(&world.network.open(1)), "{}", world.network.open(1));
    });
}

#[test]
fn a_sibling_queue_waits_for_room_on_the_host_and_loses_nothing() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.round_trip(1, Duration::from_secs(2));
        world.network.mx("x.test", &[(10, "mx.test", 1)]);
        world.network.mx("y.test", &[(10, "mx.test", 1)]);
        world.network.room(1, 1, "BANNER", "421 4.7.0 too many sessions");
        for _ in 0..10 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        // At the same moment, and when the other is at work.
        world.send(FROM, &["bob@y.test"]).await;
        world.pass(4).await;
        world.send(FROM, &["cat@y.test"]).await;
        world.pass(200).await;
        let log = world.log();
        assert!(log.len() == 12 && log.iter().all(|line| line.contains(" D ")), "{log:#?}");
        assert_eq!(world.meters.get("delivery.connections.failed"), 0);
    });
}

#[test]
fn a_421_to_one_recipient_delays_that_one_and_no_other() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.once(1, "RCPT", Say("250 ok"));
        world.network.once(1, "RCPT", Say("250 ok"));
        world.network.once(1, "RCPT", Leave("421 4.7.0 bye"));
        world.send(FROM, &["ann@x.test", "bob@x.test", "cat@x.test", "dan@x.test"]).await;
        world.pass(2).await;
        let mut log = world.log();
        log.sort();
        assert_eq!(
            log,
            [
                "0 D ann@x.test retries=0 192.0.2.1",
                "0 D bob@x.test retries=0 192.0.2.1",
                "0 D dan@x.test retries=0 192.0.2.1",
                "0 T cat@x.test stage=5 retries=0 192.0.2.1 421 4.7.0 bye",
            ]
        );
    });
}

#[test]
fn a_host_that_always_breaks_off_is_not_called_for_ever_and_its_mail_is_delayed_in_the_end() {
    let ends: [(&str, Reaction); 10] = [
        ("BANNER", Drop),
        ("EHLO", Leave("421 4.3.2 bye")),
        ("MAIL", Drop),
        ("MAIL", Leave("421 4.3.2 bye")),
        ("RCPT", Drop),
        ("RCPT", Leave("421 4.3.2 bye")),
        ("DATA", Leave("354 go\r\n250 ok")),
        ("DATA", Leave("503 5.5.1 out of order")),
        ("BODY", Drop),
        ("BODY", Leave("421 4.3.2 bye")),
    ];
    for (verb, reaction) in ends {
        simulate("retry_interval = 100000\nmax_retry_interval = 100000\n", async |world: World| {
            world.network.host(1);
            world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
            world.network.always(1, verb, reaction.clone());
            for _ in 0..20 {
                world.send(FROM, &["ann@x.test"]).await;
            }
            world.pass(1300).await;
            let log = world.log();
            assert_eq!(log.len(), 20, "{verb} {reaction:?}: {log:#?}");
            assert!(log.iter().all(|line| line.contains(" T ")), "{verb} {reaction:?}: {log:#?}");
            // At most one more than once every host_failure_retry.
            assert!(world.network.connections(1) <= 12, "{verb} {reaction:?}: {}", world.network.connections(1));
            assert_eq!(world.stored(), 20);
        });
    }
}

#[test]
fn mail_that_one_host_breaks_off_at_does_not_stop_the_other_mail() {
    simulate("max_outbound_connections = 1\n", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.always(1, "RCPT TO:<bad@", Drop);
        for recipient in ["ann@x.test", "bad@x.test", "bob@x.test", "cat@x.test"] {
            world.send(FROM, &[recipient]).await;
        }
        world.pass(300).await;
        let log = world.log();
        let delivered = log.iter().filter(|line| line.contains(" D ")).count();
        assert_eq!((delivered, log.len()), (3, 4), "{log:#?}");
        assert!(log.iter().any(|line| line.contains(" T bad@x.test stage=5 ")), "{log:#?}");
    });
}

#[test]
fn hosts_that_all_say_they_take_no_mail_at_all_fail_it_for_good() {
    simulate("", async |world: World| {
        two_hosts(&world);
        for host in [1, 2] {
            world.network.always(host, "BANNER", Leave("521 5.3.2 host takes no mail"));
        }
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(2).await;
        assert_eq!(world.log(), ["0 P ann@x.test stage=12 retries=0 192.0.2.2 521 5.3.2 host takes no mail"]);
        world.network.calm(2);
        world.network.always(2, "BANNER", Leave("554 5.3.2 not now"));
        world.pass(200).await;
        world.send(FROM, &["bob@x.test"]).await;
        world.pass(2).await;
        assert_eq!(world.log(), ["202 T bob@x.test stage=12 retries=0 192.0.2.2 554 5.3.2 not now"]);
    });
}

#[test]
fn each_binding_makes_its_own_experience_with_a_host() {
    simulate("binding \"other\" { }\n", async |world: World| {
        two_hosts(&world);
        world.network.once(1, "BANNER", Leave("554 5.7.1 not you"));
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(2).await;
        world.send_by("other", "bob@x.test").await;
        world.pass(2).await;
        world.send(FROM, &["cat@x.test"]).await;
        world.pass(2).await;
        assert_eq!(
            world.log(),
            [
                "0 D ann@x.test retries=0 192.0.2.2",
                "2 D bob@x.test retries=0 192.0.2.1",
                "4 D cat@x.test retries=0 192.0.2.2"
            ]
        );
    });
}

#[test]
fn a_host_that_refuses_every_session_is_not_called_by_each_queue_for_ever() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.round_trip(1, Duration::from_secs(2));
        world.network.always(1, "BANNER", Leave("421 4.3.2 not now"));
        let domains: Vec<String> = (0..10).map(|number| format!("x{number}.test")).collect();
        for domain in &domains {
            world.network.mx(domain, &[(10, "mx.test", 1)]);
            world.send(FROM, &[&format!("ann@{domain}")]).await;
        }
        world.pass(115).await;
        assert!((1..=12).contains(&world.network.connections(1)), "{}", world.network.connections(1));
        assert!(0 < world.meters.get("delivery.connections.failed"));
        world.network.calm(1);
        world.pass(2000).await;
        let delivered = world.log().iter().filter(|line| line.contains(" D ")).count();
        assert_eq!((delivered, world.stored()), (10, 0));
    });
}
