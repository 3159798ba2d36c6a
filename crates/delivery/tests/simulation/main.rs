//! The rules of delivery, in simulated time on an in-memory network.

mod counting;
mod edits;
mod eight_bit;
mod failed_here;
mod lacks;
mod limits;
mod lookups;
mod loops;
mod methods;
mod network;
mod orders;
mod parting;
mod reloads;
mod replies;
mod residency;
mod resolving;
mod throttles;
mod trouble;
mod waiting;
mod world;

use std::time::Duration;

use delivery::{Chosen, Selection};
use dns::DnsError;
use network::Reaction::{Drop, Say, Stall};
use queue::Whereabouts;
use world::{World, simulate};

const FROM: &str = "news@here.test";

#[test]
fn a_message_is_delivered_logged_and_unlinked() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(1).await;
        assert_eq!(world.log(), ["0 D ann@x.test retries=0 192.0.2.1"]);
        let taken = world.network.taken(1);
        assert_eq!((taken.len(), &*taken[0].mail), (1, "<news@here.test>"));
        assert_eq!(taken[0].body, b"Subject: x\r\n\r\nhello\r\n.\r\n");
        assert_eq!(world.stored(), 0);
        assert_eq!(world.meters.get("delivery.messages.delivered"), 1);
    });
}

#[test]
fn a_450_is_retried_after_the_documented_intervals() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        for _ in 0..2 {
            world.network.once(1, "RCPT", Say("450 4.2.1 mailbox busy"));
        }
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(3601).await;
        assert_eq!(
            world.log(),
            [
                "0 T ann@x.test stage=5 retries=0 192.0.2.1 450 4.2.1 mailbox busy",
                "1200 T ann@x.test stage=5 retries=1 192.0.2.1 450 4.2.1 mailbox busy",
                "3600 D ann@x.test retries=2 192.0.2.1",
            ]
        );
        assert_eq!(world.stored(), 0);
    });
}

#[test]
fn transient_failures_end_in_a_bounce_when_the_retries_are_used_up() {
    simulate("retry_interval = 100\nmax_retries = 2\n", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.always(1, "RCPT", Say("450 4.2.1 busy"));
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(1000).await;
        let log = world.log();
        assert_eq!(log.len(), 3, "{log:?}");
        let text = "554 5.4.7 [internal] exceeded max retries without delivery (450 4.2.1 busy)";
        assert_eq!(log[2], format!("300 P ann@x.test stage=5 retries=2 192.0.2.1 {text}"));
        let told = world.bounces.told.lock().unwrap();
        assert_eq!((told.len(), told[0].reply.to_string()), (1, text.to_owned()));
        assert!(told[0].body.is_some());
        assert_eq!(world.stored(), 0);
    });
}

#[test]
fn each_recipient_has_its_own_fate_in_one_transaction() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.always(1, "RCPT TO:<no@", Say("550 5.1.1 no such user"));
        world.network.always(1, "RCPT TO:<busy@", Say("450 4.2.1 busy"));
        world.send(FROM, &["ann@x.test", "no@x.test", "busy@x.test", "bob@x.test"]).await;
        world.pass(1).await;
        let mut log = world.log();
        log.sort();
        assert_eq!(
            log,
            [
                "0 D ann@x.test retries=0 192.0.2.1",
                "0 D bob@x.test retries=0 192.0.2.1",
                "0 P no@x.test stage=5 retries=0 192.0.2.1 550 5.1.1 no such user",
                "0 T busy@x.test stage=5 retries=0 192.0.2.1 450 4.2.1 busy",
            ]
        );
        let taken = world.network.taken(1);
        assert_eq!((taken.len(), taken[0].recipients.len()), (1, 2), "one transaction for all siblings");
        assert_eq!(world.bounces.told.lock().unwrap().len(), 1);
        assert_eq!(world.stored(), 1, "the delayed one");
    });
}

#[test]
fn the_next_host_is_tried_at_once_and_a_failed_one_left_alone() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.host(2);
        world.network.mx("x.test", &[(10, "a.x.test", 1), (20, "b.x.test", 2)]);
        world.network.refuses(1, true);
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(60).await;
        assert_eq!(world.log(), ["0 D ann@x.test retries=0 192.0.2.2"]);
        world.network.refuses(1, false);
        world.send(FROM, &["bob@x.test"]).await;
        world.pass(90).await;
        assert_eq!(world.log(), ["60 D bob@x.test retries=0 192.0.2.2"], "host_failure_retry is not over");
        world.send(FROM, &["cat@x.test"]).await;
        world.pass(1).await;
        assert_eq!(world.log(), ["150 D cat@x.test retries=0 192.0.2.1"]);
    });
}

#[test]
fn mail_for_an_unreachable_domain_stays_active_and_is_delayed_as_a_whole_in_the_end() {
    simulate("", async |world: World| {
        world.network.refuses(1, true);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        for recipient in ["ann@x.test", "bob@x.test"] {
            world.send(FROM, &[recipient]).await;
        }
        world.pass(899).await;
        assert!(world.log().is_empty());
        assert_eq!(world.network.connections(1), 8, "once every host_failure_retry");
        assert_eq!(world.engine.counts().await.active, 2);
        assert_eq!(world.engine.domain("x.test").await.consecutive_failures, 8);
        world.pass(200).await;
        let text = "421 4.4.0 [internal] no MXs for this domain could be reached at this time";
        assert_eq!(
            world.log(),
            [
                format!("960 T ann@x.test stage=0 retries=0 - {text}"),
                format!("960 T bob@x.test stage=0 retries=0 - {text}")
            ]
        );
        let counts = world.engine.counts().await;
        assert_eq!((counts.active, counts.delayed), (0, 2));
        world.network.refuses(1, false);
        world.network.host(1);
        world.pass(2000).await;
        assert_eq!(world.log().len(), 2, "delivered");
    });
}

#[test]
fn a_silent_host_costs_connect_timeout() {
    simulate("connect_timeout = 30\n", async |world: World| {
        world.network.silent(1);
        world.network.host(2);
        world.network.mx("x.test", &[(10, "a.x.test", 1), (20, "b.x.test", 2)]);
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(31).await;
        assert_eq!(world.log(), ["30 D ann@x.test retries=0 192.0.2.2"]);
    });
}

#[test]
fn a_host_that_refuses_the_session_is_passed_over_and_its_reply_is_known() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "a.x.test", 1)]);
        world.network.once(1, "BANNER", Say("554 5.7.1 not you"));
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(2).await;
        assert_eq!(world.log(), ["0 T ann@x.test stage=12 retries=0 192.0.2.1 554 5.7.1 not you"]);
        world.pass(1200).await;
        assert_eq!(world.log(), ["1200 D ann@x.test retries=1 192.0.2.1"]);
    });
}

#[test]
fn a_host_that_stalls_at_any_stage_is_left_when_its_time_is_over() {
    let stages = [
        ("MAIL", 3, 300, "no response for MAIL FROM"),
        ("RCPT", 5, 300, "no response for RCPT TO"),
        ("DATA", 7, 600, "no response for DATA"),
        ("BODY", 9, 600, "no response for BODY"),
    ];
    for (verb, stage, after, text) in stages {
        simulate("", async |world: World| {
            // Without PIPELINING, so that each command has its own wait.
            world.network.without_pipelining(1);
            world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
            world.network.once(1, verb, Stall);
            world.send(FROM, &["ann@x.test"]).await;
            world.pass(after + 1).await;
            let expected =
                format!("{after} T ann@x.test stage={stage} retries=0 192.0.2.1 451 4.4.2 [internal] {text}");
            assert_eq!(world.log(), [expected]);
            let after_dot = u64::from(stage == 9);
            assert_eq!(world.meters.get("delivery.messages.lost_after_dot"), after_dot);
            world.pass(1200).await;
            assert_eq!(world.log().len(), 1, "delivered at the next attempt");
            assert_eq!(world.stored(), 0);
        });
    }
}

#[test]
fn a_host_that_drops_or_babbles_costs_a_transient_failure() {
    let troubles = [
        ("BODY", Drop, 9, "connection closed by remote host"),
        ("RCPT", Say("pardon?"), 5, "invalid response for RCPT TO"),
        ("MAIL", Say("354 go"), 3, "invalid response for MAIL FROM"),
    ];
    for (verb, reaction, stage, text) in troubles {
        simulate("", async |world: World| {
            world.network.host(1);
            world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
            world.network.once(1, verb, reaction);
            world.send(FROM, &["ann@x.test"]).await;
            world.pass(1).await;
            let expected = format!("0 T ann@x.test stage={stage} retries=0 192.0.2.1 451 4.4.2 [internal] {text}");
            assert_eq!(world.log(), [expected]);
        });
    }
}

#[test]
fn a_null_mx_fails_mail_at_once() {
    simulate("", async |world: World| {
        world.network.no_mx("x.test", DnsError::NullMx { name: "x.test".into() });
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(1).await;
        let text = "556 5.1.10 [internal] NULL MX domain does not accept mail";
        assert_eq!(world.log(), [format!("0 P ann@x.test stage=0 retries=0 - {text}")]);
        assert_eq!((world.bounces.told.lock().unwrap().len(), world.stored()), (1, 0));
    });
}

#[test]
fn connections_are_reused_and_closed_when_idle() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        for _ in 0..3 {
            world.send(FROM, &["ann@x.test"]).await;
            world.pass(4).await;
        }
        assert_eq!((world.network.connections(1), world.network.taken(1).len()), (1, 3));
        world.pass(6).await;
        assert_eq!(world.network.open(1), 0, "idle_timeout is over");
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(1).await;
        assert_eq!(world.network.connections(1), 2);
    });
}

#[test]
fn a_burst_is_served_by_a_handful_of_connections() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        for _ in 0..500 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(1).await;
        assert_eq!(world.network.taken(1).len(), 500);
        assert!(world.network.most_open(1) <= 8, "{} connections", world.network.most_open(1));
        assert_eq!(world.stored(), 0);
    });
}

#[test]
fn slow_hosts_get_more_connections_one_by_one_up_to_the_limit() {
    simulate("max_outbound_connections = 4\n", async |world: World| {
        world.network.host(1);
        world.network.round_trip(1, Duration::from_secs(10));
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        for _ in 0..40 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(25).await;
        assert!((2..=4).contains(&world.network.most_open(1)));
        world.pass(600).await;
        assert_eq!((world.network.most_open(1), world.network.taken(1).len()), (4, 40));
    });
}

#[test]
fn max_deliveries_per_connection_ends_a_connection() {
    simulate("max_deliveries_per_connection = 2\n", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        for _ in 0..5 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(2).await;
        let connections: Vec<usize> = world.network.taken(1).iter().map(|taken| taken.connection).collect();
        assert_eq!(connections, [1, 1, 2, 2, 3]);
    });
}

#[test]
fn a_421_between_messages_loses_nothing() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.once(1, "BODY", Say("250 ok"));
        world.network.once(1, "BODY", Say("421 4.3.2 going down"));
        for _ in 0..4 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(1300).await;
        let delivered = world.log().iter().filter(|line| line.contains(" D ")).count();
        assert_eq!((delivered, world.stored()), (4, 0));
    });
}

#[test]
fn a_gateway_takes_the_mail_of_every_domain() {
    simulate("gateway = \"192.0.2.9:25\"\n", async |world: World| {
        world.network.host(9);
        world.send(FROM, &["ann@x.test", "bob@y.test"]).await;
        world.pass(1).await;
        assert_eq!(world.network.taken(9)[0].recipients, ["<ann@x.test>", "<bob@y.test>"]);
        let queues = world.engine.queues().await;
        assert_eq!((queues.len(), &*queues[0].name.domain, queues[0].delivered), (1, "192.0.2.9:25", 2));
    });
}

#[test]
fn routes_replace_a_domains_hosts_in_their_order() {
    let text = "domain \"x.test\" { routes = ( \"192.0.2.1\" \"smtp://192.0.2.2?pref=9\" __mx__ ) }\n";
    simulate(text, async |world: World| {
        world.network.mx("192.0.2.1", &[(0, "192.0.2.1", 1)]);
        world.network.mx("192.0.2.2", &[(0, "192.0.2.2", 2)]);
        world.network.mx("x.test", &[(10, "mx.x.test", 3)]);
        world.network.refuses(1, true);
        world.network.host(2);
        world.network.host(3);
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(1).await;
        assert_eq!(world.log(), ["0 D ann@x.test retries=0 192.0.2.3"]);
        let addresses: Vec<_> = world.engine.domain("x.test").await.addresses;
        let order: Vec<String> = addresses.iter().map(|address| address.remote.ip().to_string()).collect();
        assert_eq!(order, ["192.0.2.1", "192.0.2.3", "192.0.2.2"]);
        assert!(addresses[0].avoided.is_some());
        assert_eq!(addresses[1].ttl, Some(Duration::from_secs(299)), "of the plan's 300 one second is over");
        assert!(addresses[1].connect_average.is_some() && addresses[1].deliver_average.is_some());
        assert!(addresses[0].connect_average.is_none(), "never reached");
    });
}

#[test]
fn a_gateway_that_names_a_stanza_leads_by_its_routes_and_its_options_hold() {
    let text = "domain \"x.test\" { gateway = \"#Smart\" retry_interval = 60 }\n\
                domain \"#smart\" { routes = ( \"a.test\" \"smtp://192.0.2.2?port=2525\" ) retry_interval = 77 }\n\
                domain \"y.test\" { gateway = \"#nowhere\" }\n";
    simulate(text, async |world: World| {
        world.network.host(1);
        world.network.once(1, "RCPT", Say("450 4.2.1 busy"));
        world.network.mx("a.test", &[(10, "a.test", 1)]);
        world.send(FROM, &["ann@x.test", "bob@y.test"]).await;
        world.pass(30).await;
        assert_eq!(world.engine.domain("#smart").await.queues.len(), 1);
        let log = world.log();
        assert!(log.len() == 2 && log.iter().any(|line| line.contains(" T ann@x.test")), "{log:#?}");
        world.pass(77).await;
        assert_eq!(world.network.taken(1).len(), 1, "after the interval of the stanza");
        // That of a stanza without routes waits for them, as that for a host which does not exist.
        assert_eq!(world.stored(), 1);
        world.reload("domain \"y.test\" { gateway = \"#nowhere\" }\ndomain \"#nowhere\" { routes = ( \"a.test\" ) }\n");
        world.engine.refresh().await;
        world.pass(3600).await;
        assert_eq!((world.network.taken(1).len(), world.stored()), (2, 0));
    });
}

#[test]
fn prohibited_hosts_fail_a_domain_and_skip_hosts_pass_one_over() {
    simulate("prohibited_hosts = ( \"192.0.2.1\" )\nskip_hosts = ( \"192.0.2.2\" )\n", async |world: World| {
        world.network.host(3);
        world.network.mx("x.test", &[(10, "a.test", 1), (20, "c.test", 3)]);
        world.network.mx("y.test", &[(10, "b.test", 2), (20, "c.test", 3)]);
        world.send(FROM, &["ann@x.test"]).await;
        world.send(FROM, &["bob@y.test"]).await;
        world.pass(1).await;
        let mut log = world.log();
        log.sort();
        assert_eq!(log[0], "0 D bob@y.test retries=0 192.0.2.3");
        assert_eq!(log[1], "0 P ann@x.test stage=0 retries=0 - 551 5.4.6 [internal] Private/Loopback Address");
    });
}

#[test]
fn suspended_mail_waits_until_a_reload_lets_it_go() {
    simulate("suspend_delivery = true\n", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(5000).await;
        assert!(world.log().is_empty());
        world.reload("suspend_delivery = false\n");
        world.engine.refresh().await;
        world.pass(1).await;
        assert_eq!(world.log()[0], "5000 D ann@x.test retries=0 192.0.2.1");
    });
}

#[test]
fn mail_of_the_default_binding_waits_while_that_is_suspended() {
    simulate("default_binding = suspended\n", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(5000).await;
        assert!(world.log().is_empty());
        world.reload("default_binding = normal\n");
        world.engine.refresh().await;
        world.pass(1).await;
        assert_eq!(world.log(), ["5000 D ann@x.test retries=0 192.0.2.1"]);
    });
}

#[test]
fn mail_beyond_the_resident_limit_is_read_back_and_delivered_in_order() {
    simulate("max_resident_active_queue = 1\n", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        let recipients = ["a@x.test", "b@x.test", "c@x.test", "d@x.test"];
        for recipient in recipients {
            world.send(FROM, &[recipient]).await;
        }
        world.pass(1).await;
        let got: Vec<String> = world.network.taken(1).into_iter().flat_map(|taken| taken.recipients).collect();
        assert_eq!(got, recipients.map(|recipient| format!("<{recipient}>")));
        assert_eq!(world.stored(), 0);
    });
}

#[test]
fn flush_fail_and_details_reach_the_delayed_mail() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.once(1, "RCPT", Say("450 4.2.1 busy"));
        world.network.once(1, "RCPT", Say("450 4.2.1 busy"));
        let first = world.send(FROM, &["ann@x.test"]).await;
        world.pass(10).await;
        let details = world.engine.message(first).await.unwrap().unwrap();
        assert_eq!((details.whereabouts, details.resident), (Whereabouts::Delayed, true));
        assert_eq!(details.envelope.delivery.last_reply.as_deref(), Some("450 4.2.1 busy"));
        let of = |binding: &str| Selection { binding: Some(binding.to_owned()), ..Selection::domain("X.test") };
        let listing = world.engine.listing(&of("default"), 0, 100).await.messages;
        let [listed] = listing.as_slice() else { panic!("{listing:?}") };
        assert_eq!((listed.envelope.id, listed.whereabouts), (first, Whereabouts::Delayed));
        assert!(
            world.engine.listing(&Selection::domain("x.test"), 1, 100).await.messages.is_empty(),
            "behind the window"
        );
        assert!(world.engine.listing(&of("other"), 0, 100).await.messages.is_empty());
        let bindings = world.engine.bindings().await;
        let [binding] = bindings.as_slice() else { panic!("{bindings:?}") };
        assert_eq!((&*binding.binding, binding.total, binding.active, binding.received), ("default", 1, 0, 1));
        assert_eq!(world.engine.flush(&Selection::domain("x.test")).await.messages, 1);
        world.pass(1).await;
        assert_eq!(world.log().len(), 2, "tried again at once");
        assert_eq!(
            world.engine.fail(&Chosen::Queues(Selection::domain("x.test")), true, Some("by jan")).await.messages,
            1
        );
        world.pass(1).await;
        let text = "554 5.7.0 [internal] by jan";
        assert_eq!(world.log(), [format!("11 P ann@x.test stage=0 retries=2 - {text}")]);
        assert_eq!((world.bounces.told.lock().unwrap().len(), world.stored()), (0, 0), "quiet");
        assert_eq!(world.engine.message(first).await.unwrap(), None);
    });
}

#[test]
fn mail_whose_notification_cannot_be_stored_stays() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.always(1, "RCPT", Say("550 5.1.1 no"));
        *world.bounces.broken.lock().unwrap() = true;
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(30).await;
        assert!(world.log().is_empty());
        assert_eq!(world.stored(), 1);
        *world.bounces.broken.lock().unwrap() = false;
        world.pass(60).await;
        assert_eq!((world.log().len(), world.stored()), (1, 0));
        assert_eq!(world.bounces.told.lock().unwrap().len(), 1);
    });
}

#[test]
fn a_graceful_stop_lets_attempts_finish_and_begins_none() {
    simulate("max_outbound_connections = 1\n", async |world: World| {
        world.network.host(1);
        world.network.round_trip(1, Duration::from_secs(1));
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        for recipient in ["a@x.test", "b@x.test", "c@x.test", "d@x.test"] {
            world.send(FROM, &[recipient]).await;
        }
        world.pass(3).await;
        assert_eq!(world.engine.stop(Duration::from_secs(30)).await, 0);
        let delivered = world.network.taken(1).len();
        assert!((1..4).contains(&delivered), "{delivered} delivered");
        assert_eq!(world.stored(), 4 - delivered, "what is not delivered is in the spool");
        assert_eq!(world.network.open(1), 0);
    });
}

#[test]
fn restored_mail_waits_for_its_next_attempt() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.once(1, "RCPT", Say("450 4.2.1 busy"));
        let id = world.send(FROM, &["ann@x.test"]).await;
        world.pass(100).await;
        let envelope = world.spool.read_headers(id).await.unwrap();
        assert_eq!(envelope.delivery.retries, 1, "the state was written back");
        assert_eq!(envelope.delivery.next_attempt.as_secs(), 1_893_456_000 + 1200);
    });
}

#[test]
fn connections_are_listed_with_their_stage() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.once(1, "BODY", Stall);
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(10).await;
        let connections = world.engine.connections().await;
        assert_eq!(connections.len(), 1);
        assert_eq!(connections[0].stage.as_str(), "reading confirmation");
        assert_eq!(
            (connections[0].since.as_secs(), connections[0].remote.as_ref().unwrap().0.as_ref()),
            (10, "mx.x.test")
        );
        let counts = world.engine.counts().await;
        assert_eq!((counts.outbound_concurrency, counts.in_flight, counts.active_domains), (1, 1, 1));
    });
}

#[test]
fn maildir_takes_mail_of_its_domains() {
    let text = "domain \"local.test\" {\n  delivery_method = maildir\n  maildir_path = \"DIRECTORY/%{domain}/%{localpart}\"\n}\n";
    // Files are written by real threads, so time is real here; nothing waits for it.
    world::for_real(text, async |world: World| {
        world.send(FROM, &["Ann@Local.test", "\"../bob\"@local.test"]).await;
        while world.meters.get("delivery.messages.delivered") < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let read = |mailbox: &str| {
            let folder = world.directory().join("local.test").join(mailbox).join("new");
            let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert_eq!(files.len(), 1);
            std::fs::read_to_string(&files[0]).unwrap()
        };
        let file = "Return-Path: <news@here.test>\nSubject: x\n\nhello\n";
        assert_eq!((read("ann").as_str(), read("%2E.%2Fbob").as_str()), (file, file));
        assert_eq!(world.stored(), 0);
        let log = world.log();
        assert!(log.iter().all(|line| line.ends_with("retries=0 -")), "{log:?}");
    });
}

#[test]
fn a_mailbox_that_cannot_be_written_is_a_transient_failure() {
    let text = "delivery_method = maildir\nmaildir_path = \"DIRECTORY/ecelerity.conf/%{localpart}\"\n";
    world::for_real(text, async |world: World| {
        world.send(FROM, &["ann@local.test"]).await;
        while world.meters.get("delivery.messages.transient") < 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(world.log()[0].ends_with("- 451 4.2.0 [internal] mailbox could not be written"));
        assert_eq!(world.stored(), 1);
    });
}
