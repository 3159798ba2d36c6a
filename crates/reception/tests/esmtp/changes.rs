//! What providers change of a message is what is stored and what goes to its queue.

use std::sync::Arc;

use hooks::{Answer, HookSetBuilder};
use message::rendered;
use queue::Resident;
use reception::*;

use crate::house::{Seen, in_house, log_hooks};

const LISTEN: &str = "binding_group \"bulk\" { binding \"b1\" { } }\nesmtp_listener { listen \"127.0.0.1:0\" { } }";

fn whole(arrival: &Resident) -> String {
    let body = arrival.body.as_ref().unwrap();
    let message = rendered(body, arrival.envelope.edits.as_deref()).into_bytes();
    String::from_utf8(message.to_vec()).unwrap()
}

fn local_part(args: &RecipientArgs<'_>) -> String {
    args.envelope.forward_path.mailbox().local_part().to_owned()
}

/// Everybody gets a field, `own` another subject, `text` and `text2` the same other content, and who is in `bulk` a binding.
fn changing(builder: &mut HookSetBuilder, seen: &Seen) {
    log_hooks(builder, seen);
    builder.last::<ValidateData>(
        "all",
        Arc::new(|args: &mut MessageArgs<'_>| {
            let mut message = args.message();
            message.set_header("X-All", "grüße").unwrap();
            message.context_set(Scope::Message, "seen", "data").unwrap();
            assert_eq!(
                message.set_binding("b1").unwrap_err().to_string(),
                "binding cannot be changed in data: change it in set_binding"
            );
            Answer::Cont
        }),
    );
    builder.last::<ValidateDataSpoolEachRcpt>(
        "each",
        Arc::new(|args: &mut RecipientArgs<'_>| {
            let who = local_part(args);
            let mut message = args.message();
            let seen = message.context_get(Scope::Message, "seen").unwrap().into_owned();
            message.context_set(Scope::Message, "seen", &format!("{seen} {who}")).unwrap();
            match who.as_str() {
                "own" => message.set_header("Subject", "yours").unwrap(),
                "text" | "text2" => message.set_body("other\n.dot\ncafé".as_bytes()).unwrap(),
                "moved" => {
                    message.set_forward_path("new@there.test").unwrap();
                    message.set_routing_domain("Relay.Test").unwrap();
                }
                "dropped" => message.discard("nobody wants it").unwrap(),
                _ => {}
            }
            Answer::Cont
        }),
    );
    builder.last::<ValidateSetBinding>(
        "binding",
        Arc::new(|args: &mut RecipientArgs<'_>| {
            let who = local_part(args);
            let mut message = args.message();
            if who == "bulk" {
                message.set_binding_group("bulk").unwrap();
                message.set_urgent(true).unwrap();
            }
            assert!(message.set_binding("gone").is_err());
            Answer::Done(())
        }),
    );
}

#[test]
fn each_recipient_gets_what_policy_made_for_it_over_as_few_bodies_as_there_are() {
    in_house(LISTEN, changing, async |house| {
        let mut client = house.client().await;
        client.begin().await;
        for recipient in ["text", "plain", "own", "text2", "moved", "dropped", "bulk"] {
            client.say(&format!("RCPT TO:<{recipient}@here.test>")).await;
        }
        assert!(client.data("Subject: x\r\n\r\nhello\r\n").await.starts_with("250 2.0.0 OK "));
        let mut arrived = house.arrived(6).await;
        arrived.sort_by_key(|arrival| arrival.envelope.id);
        let by = |to: &str| arrived.iter().find(|arrival| arrival.envelope.forward_path.as_str() == to).unwrap();
        let all = "X-All: =?UTF-8?B?Z3LDvMOfZQ==?=\r\n";
        assert!(whole(by("plain@here.test")).ends_with(&format!("{all}\r\nhello\r\n.\r\n")));
        assert!(
            whole(by("own@here.test")).contains("Subject: yours\r\n")
                && !whole(by("own@here.test")).contains("Subject: x")
        );
        let text = by("text@here.test");
        assert!(whole(text).ends_with(&format!("{all}\r\nother\r\n..dot\r\ncaf\u{e9}\r\n.\r\n")), "{}", whole(text));
        assert!(text.envelope.eight_bit && !by("plain@here.test").envelope.eight_bit);
        assert_eq!(whole(text), whole(by("text2@here.test")));
        // The first recipient bears the id of the batch, and has another body than most.
        assert_eq!(text.envelope.id, text.envelope.batch);
        assert_eq!(text.envelope.body_id(), text.envelope.batch);
        assert_eq!(by("plain@here.test").envelope.body_id(), by("plain@here.test").envelope.id);
        assert_eq!(by("bulk@here.test").envelope.body_id(), by("plain@here.test").envelope.id);
        assert_eq!(house.memory.len(), (6, 2), "two bodies for six messages");
        assert_eq!(&*by("new@there.test").envelope.queue.domain, "relay.test");
        let bulk = &by("bulk@here.test").envelope;
        assert_eq!((&*bulk.queue.binding, &*bulk.queue.binding_group, bulk.is_urgent()), ("b1", "bulk", true));
        for who in ["plain", "own", "bulk"] {
            let context = &by(&format!("{who}@here.test")).envelope.context.message;
            assert_eq!(
                context.find("seen"),
                Some(&*format!("data {who}")),
                "what is set for one is not set for the next"
            );
            assert_eq!(context.find("rcptto_localpart"), Some(who));
        }
        let seen = house.seen();
        let dropped: Vec<&String> = seen.iter().filter(|line| line.contains("nobody wants it")).collect();
        assert_eq!((dropped.len(), seen.len()), (1, 7), "{seen:?}");
        assert!(
            dropped[0].starts_with("sending body response: 550 5.7.1 [internal] nobody wants it"),
            "{}",
            dropped[0]
        );
    });
}

#[test]
fn a_message_that_is_discarded_for_all_is_acknowledged_logged_and_not_stored() {
    fn hooks(builder: &mut HookSetBuilder, seen: &Seen) {
        log_hooks(builder, seen);
        builder.last::<ValidateData>(
            "sink",
            Arc::new(|args: &mut MessageArgs<'_>| {
                let mut message = args.message();
                if message.header("subject").unwrap() == ["all"] {
                    message.discard("554 5.7.9 gone").unwrap();
                }
                Answer::Cont
            }),
        );
        builder.last::<ValidateDataSpoolEachRcpt>(
            "sink",
            Arc::new(|args: &mut RecipientArgs<'_>| {
                args.message().discard("").unwrap();
                Answer::Cont
            }),
        );
    }
    in_house(LISTEN, hooks, async |house| {
        let mut client = house.client().await;
        client.open().await;
        assert!(client.data("Subject: all\r\n\r\n").await.starts_with("250 2.0.0 OK "));
        assert!(house.seen()[0].starts_with("sending body response: 554 5.7.9 gone"));
        client.say("MAIL FROM:<>").await;
        client.say("RCPT TO:<b@here.test>").await;
        assert!(client.data("Subject: each\r\n\r\n").await.starts_with("250 2.0.0 OK "));
        assert!(house.seen()[0].starts_with("sending body response: 550 5.7.0 [internal] discarded by policy"));
        assert_eq!(house.memory.len(), (0, 0));
    });
}

#[test]
fn recipients_and_content_changed_for_all_are_those_stored() {
    fn hooks(builder: &mut HookSetBuilder, _: &Seen) {
        builder.last::<ValidateDataSpool>(
            "all",
            Arc::new(|args: &mut MessageArgs<'_>| {
                let mut message = args.message();
                message.add_recipient("c@there.test").unwrap();
                assert_eq!(message.remove_recipient("b@HERE.test"), Ok(1));
                message.set_reverse_path("").unwrap();
                message.set_body(b"new\n").unwrap();
                Answer::Cont
            }),
        );
    }
    in_house(LISTEN, hooks, async |house| {
        let mut client = house.client().await;
        client.open().await;
        assert!(client.data("Subject: x\r\n\r\nold\r\n").await.starts_with("250"));
        let arrived = house.arrived(1).await;
        let envelope = &arrived[0].envelope;
        assert_eq!((envelope.reverse_path.as_str(), envelope.forward_path.as_str()), ("", "c@there.test"));
        assert!(whole(&arrived[0]).ends_with("Subject: x\r\n\r\nnew\r\n.\r\n"));
        assert_eq!(envelope.body_bytes, arrived[0].body.as_ref().unwrap().len() as u64);
        assert_eq!(envelope.particulars, None);
    });
}

#[test]
fn all_recipients_removed_is_a_refusal_and_a_client_can_be_kept_waiting() {
    fn hooks(builder: &mut HookSetBuilder, _: &Seen) {
        builder.last::<ValidateConnect>(
            "slow",
            Arc::new(|args: &mut SessionArgs<'_>| {
                args.context.tarpit = std::time::Duration::from_secs(20);
                Answer::Cont
            }),
        );
        builder.last::<ValidateData>(
            "none",
            Arc::new(|args: &mut MessageArgs<'_>| {
                args.message().set_recipients(&[]).unwrap();
                Answer::Cont
            }),
        );
    }
    in_house(LISTEN, hooks, async |house| {
        let before = tokio::time::Instant::now();
        let mut client = house.client().await;
        client.open().await;
        assert!(20 <= before.elapsed().as_secs());
        assert_eq!(house.meters.get("reception.policy.tarpitted"), 1);
        assert!(client.data("Subject: x\r\n\r\n").await.starts_with("5"));
        assert_eq!(house.memory.len(), (0, 0));
    });
}
