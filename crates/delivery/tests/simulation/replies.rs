//! What a host says is judged by its code and its place, however much it says.

use crate::FROM;
use crate::network::Reaction::{Leave, Say};
use crate::world::{World, simulate};

fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// Replies of more than any line or number of lines that is to be expected, with a code.
fn odd_forms(code: u16) -> Vec<&'static str> {
    vec![
        leaked(format!("{code} {}", "x".repeat(5000))),
        leaked(format!("{code} {}", "x".repeat(3_000_000))),
        leaked(format!("{}{code} done", format!("{code}-x\r\n").repeat(500))),
        leaked(format!("{code}\tx")),
        leaked(format!("{code}")),
        leaked(format!("{code} \u{e4}\0x")),
    ]
}

#[test]
fn delivered_mail_is_delivered_once_however_that_is_said() {
    for said in odd_forms(250) {
        simulate("", async |world: World| {
            world.network.host(1);
            world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
            world.network.always(1, "BODY", Say(said));
            world.send(FROM, &["ann@x.test"]).await;
            world.pass(5000).await;
            assert_eq!(world.log(), ["0 D ann@x.test retries=0 192.0.2.1"], "{said:.20}");
            assert_eq!((world.network.taken(1).len(), world.stored()), (1, 0));
        });
    }
}

#[test]
fn a_refusal_is_for_good_however_long_it_is() {
    for said in odd_forms(550) {
        for verb in ["MAIL", "RCPT", "DATA", "BODY"] {
            simulate("", async |world: World| {
                world.network.host(1);
                world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
                world.network.once(1, verb, Say(said));
                world.send(FROM, &["ann@x.test"]).await;
                world.pass(2).await;
                let log = world.log();
                assert!(log.len() == 1 && log[0].starts_with("0 P ann@x.test"), "{verb} {said:.20}: {log:#?}");
            });
        }
    }
}

#[test]
fn recipients_beyond_a_hosts_limit_go_in_transactions_of_their_own() {
    for said in ["552 too many recipients", "452 4.5.3 too many recipients", "452 too many"] {
        simulate("max_outbound_connections = 1\n", async |world: World| {
            world.network.host(1);
            world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
            world.network.takes_recipients(1, 2, said);
            let recipients = ["a@x.test", "b@x.test", "c@x.test", "d@x.test", "e@x.test"];
            world.send(FROM, &recipients).await;
            world.pass(2).await;
            let log = world.log();
            assert!(log.len() == 5 && log.iter().all(|line| line.starts_with("0 D ")), "{said}: {log:#?}");
            let sizes: Vec<usize> = world.network.taken(1).iter().map(|taken| taken.recipients.len()).collect();
            assert_eq!(sizes, [2, 2, 1]);
            assert_eq!(world.network.heard(1, "RCPT").len(), 5 + 3, "the limit is learnt once");
        });
    }
}

#[test]
fn a_full_mailbox_is_judged_by_itself() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.always(1, "RCPT TO:<full@", Say("552 5.2.2 over quota"));
        world.send(FROM, &["ann@x.test", "full@x.test", "bob@x.test"]).await;
        world.pass(2).await;
        let mut log = world.log();
        log.sort();
        assert_eq!(
            log,
            [
                "0 D ann@x.test retries=0 192.0.2.1",
                "0 D bob@x.test retries=0 192.0.2.1",
                "0 P full@x.test stage=5 retries=0 192.0.2.1 552 5.2.2 over quota"
            ]
        );
    });
}

#[test]
fn parameters_that_a_host_offers_and_refuses_cost_one_more_command() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.always(1, "SIZE=", Say("555 5.5.4 parameters not recognized"));
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(2).await;
        assert_eq!(world.log(), ["0 D ann@x.test retries=0 192.0.2.1"]);
        assert_eq!(
            world.network.heard(1, "MAIL"),
            ["MAIL FROM:<news@here.test> SIZE=21", "MAIL FROM:<news@here.test>"]
        );
    });
}

#[test]
fn mail_is_not_given_away_for_a_reply_to_what_was_not_sent() {
    simulate("", async |world: World| {
        world.network.host(1);
        world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
        world.network.once(1, "DATA", Leave("354 go\r\n250 2.0.0 taken"));
        world.send(FROM, &["ann@x.test"]).await;
        world.pass(60).await;
        let text = "451 4.4.2 [internal] response to what was not sent yet";
        assert_eq!(world.log(), [format!("0 T ann@x.test stage=8 retries=0 192.0.2.1 {text}")]);
        assert_eq!((world.stored(), world.meters.get("delivery.messages.lost_after_dot")), (1, 0));
        world.pass(1200).await;
        assert_eq!(world.log(), ["1200 D ann@x.test retries=1 192.0.2.1"]);
    });
}
