//! What holds mail, since when and until when: one answer for message, queue and binding.

use std::time::Duration;

use delivery::{Awaits, Hold, Selection, Wait};
use dns::DnsError;
use scheduler::{Lack, Step};

use crate::FROM;
use crate::network::Reaction::{Say, Stall};
use crate::world::{World, simulate};

const ENETUNREACH: i32 = 101;
const EMFILE: i32 = 24;

/// What holds the queue of `x.test`.
async fn queue(world: &World) -> Wait {
    let mut queues = world.engine.domain("x.test").await.queues;
    queues.remove(0).wait.expect("it has mail")
}

/// What holds each message of `x.test`, the active ones first.
async fn messages(world: &World) -> Vec<Wait> {
    let listed = world.engine.listing(&Selection::domain("x.test"), 0, 100).await.messages;
    let mut waits = Vec::new();
    for listed in listed {
        let one = world.engine.message(listed.envelope.id).await.unwrap().expect("it is queued").wait;
        assert_eq!(one.hold, listed.wait.hold, "a listing says the same");
        waits.push(one);
    }
    waits
}

async fn send(world: &World, hosts: &[(u16, &'static str, u8)]) {
    world.network.mx("x.test", hosts);
    world.send(FROM, &["ann@x.test"]).await;
    world.pass(1).await;
}

/// Both what holds the queue and what holds its one message.
async fn both(world: &World) -> Wait {
    let queue = queue(world).await;
    assert_eq!(messages(world).await, std::slice::from_ref(&queue));
    queue
}

fn seconds(duration: Option<Duration>) -> u64 {
    duration.expect("it is known").as_secs()
}

#[test]
fn suspension_names_the_option_and_the_scope_that_sets_it() {
    for (text, scope) in [
        ("suspend_delivery = true\n", "global"),
        ("domain \"x.test\" { suspend_delivery = true }\n", "domain \"x.test\""),
        ("binding \"default\" { suspend_delivery = true }\n", "binding \"default\""),
    ] {
        simulate(text, async |world: World| {
            world.network.host(1);
            send(&world, &[(10, "mx.x.test", 1)]).await;
            let wait = both(&world).await;
            let Hold::Suspended(setting) = &wait.hold else { panic!("{wait:?}") };
            assert_eq!((setting.option, &*setting.value), ("suspend_delivery", "true"));
            assert!(setting.scope.contains(scope), "{setting:?}");
            assert!(wait.is_held());
            assert_eq!(seconds(wait.since), 1);
            world.pass(30).await;
            world.reload(&format!("retry_interval = 7\n{text}"));
            world.engine.refresh().await;
            world.send(FROM, &["bob@x.test"]).await;
            assert_eq!(
                seconds(queue(&world).await.since),
                31,
                "another configuration that says the same changes nothing"
            );
            let binding = world.engine.bindings().await.remove(0);
            let held = binding.held.map(|setting| setting.scope);
            assert_eq!(held.is_some(), scope != "domain \"x.test\"", "{held:?}");
            assert_eq!((binding.waits[0].0.hold.word(), binding.waits[0].1), ("suspended", 1));
        });
    }
    simulate("default_binding = \"suspended\"\n", async |world: World| {
        send(&world, &[(10, "mx.x.test", 1)]).await;
        let wait = both(&world).await;
        assert!(matches!(&wait.hold, Hold::Suspended(setting) if setting.option == "default_binding"), "{wait:?}");
    });
}

#[test]
fn delayed_mail_of_a_suspended_queue_is_suspended() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.once(1, "RCPT", Say("450 4.2.1 busy"));
        send(&world, &[(10, "mx.x.test", 1)]).await;
        let wait = messages(&world).await.remove(0);
        let Hold::Delayed { attempts, reply } = &wait.hold else { panic!("{wait:?}") };
        assert_eq!((*attempts, reply.as_deref()), (1, Some("450 4.2.1 busy")));
        assert!((1190..=1200).contains(&seconds(wait.until)), "{wait:?}");
        world.reload("suspend_delivery = true\n");
        world.engine.refresh().await;
        world.pass(9).await;
        let wait = messages(&world).await.remove(0);
        assert_eq!((wait.hold.word(), seconds(wait.since)), ("suspended", 9));
        world.reload("");
        world.engine.refresh().await;
        assert_eq!(messages(&world).await[0].hold.word(), "delayed");
        world.reload("blackhole = internal\n");
        world.engine.refresh().await;
        let wait = messages(&world).await.remove(0);
        assert_eq!((wait.hold.word(), wait.is_held()), ("blackholed", false), "it fails when it is due: {wait:?}");
    });
}

#[test]
fn a_throttle_names_its_option_value_and_scope_and_its_end() {
    let text = "domain \"x.test\" { outbound_throttle_messages = \"1/60\" }\n";
    simulate(text, async |world: World| {
        world.network.host(1);
        send(&world, &[(10, "mx.x.test", 1)]).await;
        assert_eq!(world.log().len(), 1, "the first goes");
        send(&world, &[(10, "mx.x.test", 1)]).await;
        world.pass(10).await;
        let wait = both(&world).await;
        let Hold::Throttled(Awaits::Message, setting) = &wait.hold else { panic!("{wait:?}") };
        assert_eq!((setting.option, setting.value.trim_matches('"')), ("outbound_throttle_messages", "1/60"));
        assert!(setting.scope.contains("domain \"x.test\""), "{setting:?}");
        assert!((40..=60).contains(&seconds(wait.until)), "{wait:?}");
        assert!((10..=11).contains(&seconds(wait.since)), "{wait:?}");
        // Another message passes, and the rest waits from then on.
        send(&world, &[(10, "mx.x.test", 1)]).await;
        world.pass(60).await;
        assert_eq!(world.log().len(), 1);
        let wait = queue(&world).await;
        assert!(seconds(wait.since) <= 30, "{wait:?}");
        world.pass(60).await;
        send(&world, &[(10, "mx.x.test", 1)]).await;
        assert!(seconds(queue(&world).await.since) <= 2, "nothing waited meanwhile");
    });
    let text = "binding \"default\" { outbound_throttle_connections = \"1/60\" }\nidle_timeout = 1\n";
    simulate(text, async |world: World| {
        world.network.host(1);
        send(&world, &[(10, "mx.x.test", 1)]).await;
        world.pass(5).await;
        send(&world, &[(10, "mx.x.test", 1)]).await;
        let wait = both(&world).await;
        assert!(
            matches!(&wait.hold, Hold::Throttled(Awaits::Connection, setting) if setting.option == "outbound_throttle_connections"),
            "{wait:?}"
        );
        world.pass(20).await;
        assert!((20..=22).contains(&seconds(both(&world).await.since)));
        let limits = world.engine.bindings().await.remove(0).limits;
        assert_eq!(limits.iter().map(|limit| limit.option).collect::<Vec<_>>(), ["outbound_throttle_connections"]);
    });
    simulate(
        "host \"mx.x.test\" { outbound_throttle_messages = \"1/60\" }\nidle_timeout = 1\n",
        async |world: World| {
            world.network.host(1);
            send(&world, &[(10, "mx.x.test", 1)]).await;
            world.pass(5).await;
            send(&world, &[(10, "mx.x.test", 1)]).await;
            let wait = both(&world).await;
            let Hold::Throttled(_, setting) = &wait.hold else { panic!("{wait:?}") };
            assert_eq!((setting.option, setting.host.as_deref()), ("outbound_throttle_messages", Some("mx.x.test")));
        },
    );
}

#[test]
fn a_full_limit_on_connections_is_named() {
    let text = "scope_max_outbound_connections = 1\nmigrate_connections_between_sibling_domains = false\n";
    simulate(text, async |world: World| {
        for last in [1, 2] {
            world.network.host(last);
        }
        world.network.round_trip(2, Duration::from_secs(100));
        world.network.mx("y.test", &[(10, "mx.y.test", 2)]);
        world.send(FROM, &["bob@y.test"]).await;
        world.pass(1).await;
        send(&world, &[(10, "mx.x.test", 1)]).await;
        world.pass(9).await;
        let wait = both(&world).await;
        assert!(
            matches!(&wait.hold, Hold::Full(setting) if setting.option == "scope_max_outbound_connections"),
            "{wait:?}"
        );
        assert!(5 <= seconds(wait.since), "{wait:?}");
    });
}

#[test]
fn a_host_that_takes_no_further_session_is_no_failure() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.round_trip(1, Duration::from_secs(100));
        world.network.room(1, 1, "BANNER", "421 4.3.2 too many");
        world.network.mx("y.test", &[(10, "mx.y.test", 1)]);
        world.send(FROM, &["bob@y.test"]).await;
        world.pass(150).await;
        world.network.round_trip(1, Duration::from_secs(0));
        send(&world, &[(10, "mx.x.test", 1)]).await;
        let word = queue(&world).await.hold.word();
        assert!(["host_full", "connecting", "due"].contains(&word), "{word}");
    });
}

#[test]
fn mail_that_waits_for_memory_says_so_and_since_when() {
    simulate("max_resident_active_queue = 0\n", async |world: World| {
        let bodies = world.meters.memory("bodies");
        bodies.limit(1);
        world.network.host(1);
        world.network.mx("y.test", &[(10, "mx.y.test", 1)]);
        world.network.always(1, "MAIL", Stall);
        world.send(FROM, &["bob@y.test"]).await;
        world.pass(1).await;
        world.network.host(2);
        send(&world, &[(10, "mx.x.test", 2)]).await;
        world.pass(3).await;
        assert_eq!(bodies.waiting(), 1);
        let wait = both(&world).await;
        assert!(wait.hold == Hold::Memory && wait.is_held(), "{wait:?}");
        assert!((2..=4).contains(&seconds(wait.since)), "{wait:?}");
        world.network.calm(1);
        world.pass(5000).await;
        assert_eq!((bodies.waiting(), world.stored()), (0, 0));
        assert_eq!(
            world.engine.domain("x.test").await.queues.iter().filter_map(|queue| queue.wait.as_ref()).count(),
            0
        );
    });
}

#[test]
fn what_the_machine_lacks_is_said() {
    for (step, code, lack) in [(Step::Socket, EMFILE, Lack::Descriptors), (Step::Route, ENETUNREACH, Lack::Route)] {
        simulate("", async |world: World| {
            world.network.host(1);
            world.network.lacks(1, Some((step, code)));
            send(&world, &[(10, "mx.x.test", 1)]).await;
            let waits = [queue(&world).await, messages(&world).await.remove(0)];
            assert!(waits.iter().all(|wait| wait.hold == Hold::Lacking(lack) && wait.is_held()), "{waits:?}");
        });
    }
}

#[test]
fn hosts_that_failed_are_named_with_their_errors_and_times() {
    simulate("", async |world: World| {
        world.network.refuses(1, true);
        world.network.host(2);
        world.network.always(2, "EHLO", Say("554 5.7.1 not you"));
        // One of them bears what the second host says, the other waits.
        world.network.mx("x.test", &[(10, "a.x.test", 1), (20, "b.x.test", 2)]);
        world.send(FROM, &["bob@x.test"]).await;
        send(&world, &[(10, "a.x.test", 1), (20, "b.x.test", 2)]).await;
        world.pass(30).await;
        let wait = queue(&world).await;
        let Hold::HostsFailed(hosts) = &wait.hold else { panic!("{wait:?}") };
        let told: Vec<_> = hosts.iter().map(|host| (&*host.host, host.since.as_secs(), host.until.as_secs())).collect();
        assert_eq!(told.iter().map(|(host, ..)| *host).collect::<Vec<_>>(), ["a.x.test", "b.x.test"]);
        assert!(
            told.iter().all(|(_, since, until)| (28..=32).contains(since) && (85..=92).contains(until)),
            "{told:?}"
        );
        assert!(hosts[1].why.contains("554 5.7.1 not you"), "{hosts:?}");
        assert!((85..=92).contains(&seconds(wait.until)), "{wait:?}");
    });
}

#[test]
fn a_dns_that_fails_is_said_with_its_words_and_the_next_lookup() {
    simulate("mx_failures_fallback_to_a = -1\n", async |world: World| {
        world.network.no_mx("x.test", DnsError::Timeout { name: "x.test MX".into(), server: None });
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(100).await;
        let wait = both(&world).await;
        let Hold::Dns { why, lookups } = &wait.hold else { panic!("{wait:?}") };
        assert_eq!((why.to_string(), *lookups), ("lookup of x.test MX: no answer in time".to_owned(), 2));
        assert_eq!(seconds(wait.since), 100);
        assert!((70..=100).contains(&seconds(wait.until)), "{wait:?}");
        let x = world.engine.domain("x.test").await;
        assert_eq!((x.failed_lookups, x.consecutive_failures), (2, 0), "no connection was tried");
        assert!(x.no_route.is_some_and(|sentence| sentence.contains("could not be looked up")));
    });
}

#[test]
fn a_domain_for_which_there_is_a_verdict_is_not_unknown() {
    let name = || "x.test".into();
    for (error, sentence) in [
        (DnsError::NullMx { name: name() }, "accepts no mail (null MX)"),
        (DnsError::NoSuchDomain { name: name(), until: None }, "does not exist (NXDOMAIN)"),
        (DnsError::NoRecords { name: name(), until: None }, "has no host: no MX and no address leads to x.test"),
    ] {
        simulate("", async |world: World| {
            world.network.no_mx("x.test", error);
            world.send(FROM, &["ann@x.test"]).await;
            world.pass(1).await;
            let x = world.engine.domain("x.test").await;
            assert_eq!((x.no_route.as_deref(), x.addresses.len()), (Some(sentence), 0));
        });
    }
}

#[test]
fn a_verdict_that_a_queue_is_emptied_into_is_said() {
    simulate("", async |world: World| {
        *world.bounces.pause.lock().unwrap() = Duration::from_secs(10);
        world.network.no_mx("x.test", DnsError::NullMx { name: "x.test".into() });
        for _ in 0..100 {
            world.send(FROM, &["ann@x.test"]).await;
        }
        world.pass(1).await;
        let wait = queue(&world).await;
        let Hold::Verdict(reply, left) = &wait.hold else { panic!("{wait:?}") };
        assert!(reply.to_string().contains("NULL MX") && *left != 0, "{wait:?}");
        world.pass(1000).await;
    });
}

#[test]
fn a_connection_on_its_way_names_its_host_and_a_session_its_stage() {
    simulate("max_outbound_connections = 1\n", async |world: World| {
        world.network.silent(1);
        send(&world, &[(10, "mx.x.test", 1)]).await;
        world.pass(9).await;
        let wait = both(&world).await;
        assert!(matches!(&wait.hold, Hold::Connecting(Some((host, _))) if &**host == "mx.x.test"), "{wait:?}");
        assert!((9..=10).contains(&seconds(wait.since)), "{wait:?}");
    });
    simulate("max_outbound_connections = 1\n", async |world: World| {
        world.network.without_pipelining(1);
        world.network.once(1, "DATA", Stall);
        for _ in 0..4 {
            send(&world, &[(10, "mx.x.test", 1)]).await;
        }
        world.pass(5).await;
        assert!(matches!(queue(&world).await.hold, Hold::Carried { connections: 1, .. }));
        let waits = messages(&world).await;
        let words: Vec<_> = waits.iter().map(|wait| wait.hold.word()).collect();
        assert_eq!(words.iter().filter(|word| **word == "in_session").count(), 1, "{words:?}");
        assert!(words.iter().any(|word| *word == "behind" || *word == "carried"), "{words:?}");
        let session = waits.iter().find(|wait| wait.hold.word() == "in_session").expect("one is");
        let sentence = session.hold.to_string();
        assert!(sentence.contains("mx.x.test (192.0.2.1:25)") && 4 <= seconds(session.since), "{sentence}");
        assert!(waits.iter().all(|wait| !wait.is_held()));
    });
}

#[test]
fn a_stop_is_said() {
    simulate("", async |world: World| {
        world.network.refuses(1, true);
        send(&world, &[(10, "mx.x.test", 1)]).await;
        world.engine.stop(Duration::from_secs(1)).await;
        assert_eq!(both(&world).await.hold, Hold::Stopping);
    });
}
