//! Mail that was taken in order to fail.

use message::{Body, FailedHere};

use crate::FROM;
use crate::world::{World, simulate};

const REPLY: &str = "550 5.7.1 rejected by policy";

/// Two messages in the spool: the first is to fail, the second to be delivered.
async fn one_of_two(world: &World, quiet: bool) -> Vec<message::Envelope> {
    let mut envelopes = world.spooled(FROM, &["ann@x.test", "bob@x.test"]).await;
    envelopes[0].delivery.failed = Some(Box::new(FailedHere { reply: REPLY.into(), quiet }));
    world.spool.rewrite(&envelopes[0]).await.unwrap();
    envelopes
}

async fn enqueue(world: &World, envelopes: Vec<message::Envelope>) {
    for envelope in envelopes {
        assert!(world.intake.enqueue(envelope, Body::from_static(b"Subject: x\r\n\r\nhello\r\n.\r\n")).await);
    }
}

#[test]
fn it_fails_without_an_attempt_and_its_sibling_is_delivered() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        enqueue(&world, one_of_two(&world, false).await).await;
        world.pass(1).await;
        let failed = format!("0 P ann@x.test stage=0 retries=0 - {REPLY}");
        assert_eq!(world.log(), [failed, "0 D bob@x.test retries=0 192.0.2.1".to_owned()]);
        assert_eq!(world.network.taken(1)[0].recipients, ["<bob@x.test>"]);
        let told = world.bounces.told.lock().unwrap();
        assert_eq!((told.len(), told[0].reply.to_string()), (1, REPLY.to_owned()));
        assert_eq!(world.stored(), 0);
    });
}

#[test]
fn nobody_is_told_of_one_that_fails_quietly_and_nothing_that_holds_its_queue_up_holds_it_up() {
    simulate("suspend_delivery = true\n", async |world: World| {
        enqueue(&world, one_of_two(&world, true).await).await;
        world.pass(1).await;
        assert_eq!(world.log(), [format!("0 P ann@x.test stage=0 retries=0 - {REPLY}")]);
        assert!(world.bounces.told.lock().unwrap().is_empty());
        assert_eq!(world.stored(), 1, "the sibling waits");
    });
}

#[test]
fn after_a_restart_it_fails_as_it_would_have() {
    simulate("", async |world: World| {
        for envelope in one_of_two(&world, false).await.into_iter().take(1) {
            assert!(world.intake.restore(envelope).await);
        }
        world.pass(1).await;
        assert_eq!(world.log(), [format!("0 P ann@x.test stage=0 retries=0 - {REPLY}")]);
        assert_eq!((world.bounces.told.lock().unwrap().len(), world.stored()), (1, 1));
    });
}

#[test]
fn while_its_notification_cannot_be_stored_it_is_kept_and_never_attempted() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        *world.bounces.broken.lock().unwrap() = true;
        enqueue(&world, one_of_two(&world, false).await).await;
        world.pass(59).await;
        assert_eq!(world.log(), ["0 D bob@x.test retries=0 192.0.2.1"]);
        assert_eq!(world.stored(), 1);
        *world.bounces.broken.lock().unwrap() = false;
        world.pass(2).await;
        assert_eq!(world.log(), [format!("60 P ann@x.test stage=0 retries=0 - {REPLY}")]);
        assert_eq!((world.network.taken(1).len(), world.stored()), (1, 0));
    });
}

#[test]
fn it_is_never_attempted_even_if_the_task_that_fails_it_dies() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        *world.bounces.panics.lock().unwrap() = true;
        let envelopes = one_of_two(&world, false).await;
        enqueue(&world, envelopes.into_iter().take(1).collect()).await;
        world.pass(5).await;
        assert_eq!(world.log().len(), 1, "one P record");
        assert_eq!((world.network.taken(1).len(), world.bounces.told.lock().unwrap().len()), (0, 1));
    });
}
