//! What a reload changes for mail that is queued already.

use delivery::Selection;

use crate::FROM;
use crate::network::Reaction::Say;
use crate::world::{World, simulate};

async fn reload(world: &World, text: &str) {
    world.reload(text);
    world.engine.refresh().await;
}

#[test]
fn delayed_mail_follows_a_new_gateway_when_it_is_due() {
    for kept in ["", "max_resident_active_queue = 0\ndrop_body_after_trans_fail = 0\n"] {
        let to = |last: u8| format!("{kept}gateway = \"192.0.2.{last}\"\n");
        simulate(&to(1), async |world: World| {
            world.network.host(1);
            world.network.host(2);
            world.network.always(1, "RCPT", Say("450 4.2.1 busy"));
            world.send(FROM, &["ann@x.test", "bob@y.test"]).await;
            world.pass(10).await;
            reload(&world, &to(2)).await;
            world.pass(1200).await;
            let log = world.log();
            assert_eq!(
                log[2..],
                ["1200 D ann@x.test retries=1 192.0.2.2", "1200 D bob@y.test retries=1 192.0.2.2"],
                "{log:?}"
            );
            assert_eq!((world.network.connections(1), world.meters.get("delivery.messages.moved")), (1, 2));
            assert_eq!((world.stored(), world.engine.counts().await.delayed), (0, 0));
        });
    }
}

#[test]
fn flushed_mail_follows_a_new_gateway_at_once() {
    simulate("gateway = \"192.0.2.1\"\n", async |world: World| {
        world.network.host(1);
        world.network.host(2);
        world.network.once(1, "RCPT", Say("450 4.2.1 busy"));
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(10).await;
        reload(&world, "gateway = \"192.0.2.2\"\n").await;
        assert_eq!(world.engine.flush(&Selection::default()).await.messages, 1);
        world.pass(1).await;
        assert_eq!(world.log().last().unwrap(), "10 D ann@x.test retries=1 192.0.2.2");
    });
}

#[test]
fn mail_stuck_behind_a_dead_gateway_follows_at_once() {
    for kept in ["", "max_resident_active_queue = 2\n"] {
        simulate(&format!("{kept}gateway = \"192.0.2.1\"\n"), async |world: World| {
            world.network.refuses(1, true);
            world.network.host(2);
            world.network.host(3);
            world.network.mx("x.test", &[(10, "mx.x.test", 2)]);
            world.network.mx("y.test", &[(10, "mx.y.test", 3)]);
            for _ in 0..3 {
                world.send(FROM, &["ann@x.test"]).await;
                world.send(FROM, &["bob@y.test"]).await;
            }
            world.pass(10).await;
            reload(&world, kept).await;
            world.pass(1).await;
            assert_eq!((world.network.taken(2).len(), world.network.taken(3).len(), world.stored()), (3, 3, 0));
            assert!(world.log().iter().all(|line| line.starts_with("10 D ")));
        });
    }
}

#[test]
fn a_domain_that_gets_a_gateway_takes_its_mail_there_and_others_stay() {
    simulate("", async |world: World| {
        for (last, domain) in [(1, "x.test"), (2, "y.test")] {
            world.network.refuses(last, true);
            world.network.mx(domain, &[(10, "mx.test", last)]);
        }
        world.network.host(3);
        world.send(FROM, &["ann@x.test"]).await;
        world.send(FROM, &["bob@y.test"]).await;
        world.pass(10).await;
        reload(&world, "domain \"x.test\" { gateway = \"192.0.2.3\" }\n").await;
        world.pass(1).await;
        assert_eq!(world.log(), ["10 D ann@x.test retries=0 192.0.2.3"]);
        assert_eq!(world.meters.get("delivery.messages.moved"), 1);
    });
}

#[test]
fn a_reload_that_changes_no_gateway_moves_nothing() {
    simulate("gateway = \"192.0.2.1\"\n", async |world: World| {
        world.network.refuses(1, true);
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(10).await;
        reload(&world, "gateway = \"192.0.2.1\"\nretry_interval = 7\n").await;
        world.network.refuses(1, false);
        world.network.host(1);
        world.pass(120).await;
        assert_eq!(world.log(), ["120 D ann@x.test retries=0 192.0.2.1"]);
        assert_eq!(world.meters.get("delivery.messages.moved"), 0);
    });
}

#[test]
fn a_new_hostname_is_said_in_the_next_session_and_the_old_session_ends() {
    simulate("hostname = \"old.test\"\nidle_timeout = 100\n", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(1).await;
        reload(&world, "hostname = \"new.test\"\nidle_timeout = 100\n").await;
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(1).await;
        assert_eq!(world.network.heard(1, "EHLO"), ["EHLO old.test", "EHLO new.test"]);
        assert_eq!(world.network.taken(1).len(), 2);
    });
}
