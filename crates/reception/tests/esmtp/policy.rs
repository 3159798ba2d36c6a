//! Relay control and the validation phases.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hooks::{Answer, Hook, HookRegistry, HookSetBuilder, Place, PolledProvider, Returned, Slot, Value};
use message::Envelope;
use reception::*;

use crate::house::{Seen, in_house, log_hooks, no_hooks};

const LISTEN: &str = "esmtp_listener { listen \"127.0.0.1:0\" { } }";

#[test]
fn a_stranger_reaches_relay_domains_only() {
    let text = "relay_hosts = ( \"192.0.2.0/24\" ) relay_domains = ( \"here.test\" \"*.here.test\" )
        esmtp_listener { listen \"127.0.0.1:0\" { } }";
    in_house(text, log_hooks, async |house| {
        let mut client = house.client().await;
        client.open().await;
        assert_eq!(client.say("RCPT TO:<c@elsewhere.test>").await, "550 5.7.1 relaying denied");
        assert_eq!(client.say("RCPT TO:<c@Sub.Here.test>").await, "250 2.1.5 RCPT TO accepted");
        assert_eq!(client.say("RCPT TO:<Postmaster>").await, "250 2.1.5 RCPT TO accepted");
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
        let arrived = house.arrived(3).await;
        assert_eq!(arrived[2].envelope.forward_path.as_str(), "postmaster@mx.here.test");
        assert_eq!(
            house.seen()[0],
            "relaying denied: 550 5.7.1 relaying denied [ehlo_string=EHLO pc.example.test,ehlo_domain=pc.example.test,\
             mailfrom_string=MAIL FROM:<a@x.test>,mailfrom_localpart=a,mailfrom_domain=x.test,\
             rcptto_string=RCPT TO:<c@elsewhere.test>,rcptto_localpart=c,rcptto_domain=elsewhere.test]"
        );
    });
}

#[test]
fn a_recipient_under_blackhole_is_refused_at_rcpt_and_told_in_the_log() {
    let text = "domain \"gone.test\" { blackhole = true }
        domain \"/^in\\.test$/\" { blackhole = internal }
        domain \"via.test\" { gateway = \"smart.test\" }
        domain \"smart.test\" { blackhole = inline }
        binding \"b\" { domain \"other.test\" { blackhole = true } }
        esmtp_listener { listen \"127.0.0.1:0\" { } }";
    in_house(text, log_hooks, async |house| {
        let mut client = house.client().await;
        client.open().await;
        for refused in ["ann@gone.test", "ann@Gone.Test", "bob@via.test"] {
            assert_eq!(
                client.say(&format!("RCPT TO:<{refused}>")).await,
                "551 5.7.1 recipient blackholed",
                "{refused}"
            );
        }
        let seen = house.seen();
        assert!(seen.len() == 3 && seen[0].contains("551 5.7.1 recipient blackholed"), "{seen:#?}");
        assert!(seen[0].contains("rcptto_string=RCPT TO:<ann@gone.test>"), "{seen:#?}");
        for taken in ["ann@in.test", "ann@other.test", "postmaster"] {
            assert_eq!(client.say(&format!("RCPT TO:<{taken}>")).await, "250 2.1.5 RCPT TO accepted", "{taken}");
        }
    });
}

#[test]
fn a_door_gives_its_mail_a_binding_and_policy_may_give_another() {
    let text = "binding_group \"g\" { binding \"one\" { } binding \"two\" { domain \"here.test\" { gateway = \"smart.test\" } } }
        binding \"alone\" { }
        esmtp_listener {
            context = [ binding_group = \"g\" color = \"red\" ]
            listen \"127.0.0.1:0\" { peer \"192.0.2.0/24\" { context = [ binding = \"alone\" ] } }
        }";
    let leaves = async |house: &crate::house::House, count: usize| -> Vec<String> {
        let arrived = house.arrived(count).await;
        let shown = |arrival: &queue::Arrival| {
            let message::QueueName { binding_group, binding, domain } = &arrival.envelope.queue;
            format!("{binding_group}/{binding} {domain}")
        };
        arrived.iter().map(shown).collect()
    };
    in_house(text, no_hooks, async |house| {
        let mut client = house.client().await;
        client.open().await;
        client.say("RSET").await;
        client.say("MAIL FROM:<>").await;
        client.say("RCPT TO:<a@here.test>").await;
        client.say("RCPT TO:<b@here.test>").await;
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
        client.say("MAIL FROM:<>").await;
        client.say("RCPT TO:<a@here.test>").await;
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
        let queues = leaves(&house, 3).await;
        assert_eq!(queues, ["g/one here.test", "g/one here.test", "g/two smart.test"], "each message has its turn");
    });
    let peer = text.replace("192.0.2.0/24", "127.0.0.0/8");
    in_house(&peer, no_hooks, async |house| {
        let mut client = house.client().await;
        client.open().await;
        client.say("RSET").await;
        client.say("MAIL FROM:<>").await;
        client.say("RCPT TO:<a@here.test>").await;
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
        assert_eq!(leaves(&house, 1).await, ["default/alone here.test"]);
    });
    in_house(&peer, refusals, async |house| {
        let mut client = house.client().await;
        client.open().await;
        client.say("RSET").await;
        client.say("MAIL FROM:<>").await;
        client.say("RCPT TO:<b@here.test>").await;
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
        assert_eq!(&*house.arrived(1).await[0].envelope.queue.binding, "bulk-1", "policy has the last word");
    });
    in_house(
        "default_binding = \"alone\" binding \"alone\" { } esmtp_listener { listen \"127.0.0.1:0\" { } }",
        no_hooks,
        async |house| {
            let mut client = house.client().await;
            client.open().await;
            client.say("RSET").await;
            client.say("MAIL FROM:<>").await;
            client.say("RCPT TO:<b@here.test>").await;
            assert!(client.data("Subject: x\r\n").await.starts_with("250"));
            assert_eq!(leaves(&house, 1).await, ["default/alone here.test"]);
        },
    );
}

#[test]
fn a_refusal_names_the_addresses_it_is_about_whenever_it_comes() {
    let text = "esmtp_listener { max_message_size = 40 max_received_headers = 1 listen \"127.0.0.1:0\" { } }";
    in_house(text, log_hooks, async |house| {
        let mut client = house.client().await;
        client.open().await;
        assert!(client.say("RCPT TO:<bob>").await.starts_with("501 5.5.2 RCPT TO syntax error in <bob>: no domain"));
        client.say("RCPT TO:<b@here.test>").await;
        assert!(client.data("Received: x\r\nReceived: y\r\n").await.starts_with("554 5.4.6"));
        client.say("MAIL FROM:<big@x.test>").await;
        client.say("RCPT TO:<b@here.test>").await;
        assert!(client.data(&format!("A: {}\r\n", "x".repeat(50))).await.starts_with("552 5.3.4"));
        client.say("MAIL FROM:<huge@x.test> SIZE=100").await;
        let seen = house.seen();
        for (line, about) in [
            (
                0,
                "mailfrom_string=MAIL FROM:<a@x.test>,mailfrom_localpart=a,mailfrom_domain=x.test,\
                 rcptto_string=RCPT TO:<bob>,rcptto_localpart=,rcptto_domain=]",
            ),
            (1, "mailfrom_string=MAIL FROM:<a@x.test>,mailfrom_localpart=a,mailfrom_domain=x.test]"),
            (2, "mailfrom_string=MAIL FROM:<big@x.test>,mailfrom_localpart=big,mailfrom_domain=x.test]"),
            (3, "mailfrom_string=MAIL FROM:<huge@x.test>,mailfrom_localpart=huge,mailfrom_domain=x.test]"),
        ] {
            assert!(seen[line].ends_with(about), "{seen:#?}");
        }
    });
}

#[test]
fn refused_mail_is_counted_apart_from_bad_commands() {
    let text = "relay_hosts = ( ) relay_domains = ( \"here.test\" )
        esmtp_listener { listen \"127.0.0.1:0\" { max_recipients_per_message = 2 } }";
    in_house(text, log_hooks, async |house| {
        let mut client = house.client().await;
        client.open().await;
        assert!(client.say("RCPT TO:<c@elsewhere.test>").await.starts_with("550 5.7.1"));
        assert!(client.say("NONSENSE").await.starts_with("500 5.5.2"));
        assert!(client.say("RCPT TO:<b@here.test>").await.starts_with("250"));
        for _ in 0..3 {
            assert!(client.say("RCPT TO:<b@here.test>").await.starts_with("452 4.5.3"));
        }
        assert_eq!(house.meters.get("reception.messages.rejected"), 4, "a bad verb is no mail");
        assert_eq!(house.meters.get("reception.replies.refused_permanent"), 2);
        assert_eq!(house.meters.get("reception.replies.refused_transient"), 3);
        assert_eq!(house.seen().len(), 3, "the limit is logged once: {:?}", house.seen());
    });
}

#[test]
fn a_peer_stanza_can_open_the_relay_for_its_clients() {
    let text =
        "relay_hosts = ( ) esmtp_listener { listen \"127.0.0.1:0\" { peer \"127.0.0.0/8\" { open_relay = true } } }";
    in_house(text, no_hooks, async |house| {
        let mut client = house.client().await;
        client.open().await;
    });
}

fn every_phase(builder: &mut HookSetBuilder, seen: &Seen) {
    fn note<H: Hook>(builder: &mut HookSetBuilder, seen: &Seen) {
        let seen = seen.clone();
        builder.last::<H>(
            "policy",
            Arc::new(move |_| {
                seen.lock().unwrap().push(H::DECLARATION.title());
                Answer::Cont
            }),
        );
    }
    note::<ValidateConnect>(builder, seen);
    note::<ValidateEhlo>(builder, seen);
    note::<ValidateMailfrom>(builder, seen);
    note::<ValidateRcptto>(builder, seen);
    note::<ValidateData>(builder, seen);
    note::<ValidateDataSpool>(builder, seen);
    note::<ValidateDataSpoolEachRcpt>(builder, seen);
    note::<CoreValidateDataSpoolEachRcpt>(builder, seen);
    note::<PostValidateDataSpoolEachRcpt>(builder, seen);
    note::<ValidateSetBinding>(builder, seen);
    note::<FinalValidation2>(builder, seen);
    note::<FinalValidation>(builder, seen);
    note::<PostFinalValidation>(builder, seen);
}

#[test]
fn the_phases_are_called_in_the_documented_order() {
    in_house(LISTEN, every_phase, async |house| {
        let mut client = house.client().await;
        client.open().await;
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
        assert_eq!(
            house.seen(),
            [
                "validate_connect",
                "validate_ehlo",
                "validate_mailfrom",
                "validate_rcptto",
                "validate_data",
                "validate_data_spool",
                "validate_data_spool_each_rcpt",
                "core_validate_data_spool_each_rcpt",
                "core_post_validate_data_spool_each_rcpt_v1",
                "validate_set_binding",
                "core_final_validation2",
                "core_final_validation",
                "core_post_final_validation",
            ]
        );
        let arrived = house.arrived(1).await;
        let context = &arrived[0].envelope.context;
        assert!(context.connection.iter().any(|(key, value)| (&**key, &**value) == ("ehlo_domain", "pc.example.test")));
        assert!(context.message.iter().any(|(key, value)| (&**key, &**value) == ("rcptto_domain", "here.test")));
    });
}

fn refusals(builder: &mut HookSetBuilder, seen: &Seen) {
    log_hooks(builder, seen);
    builder.last::<ValidateRcptto>(
        "scriptlet",
        Arc::new(|args: &mut SessionArgs<'_>| {
            if args.forward_path.is_some_and(|path| path.mailbox().local_part() == "nobody") {
                args.context.set_code(550, "5.1.1 no such user");
                return Answer::Done(());
            }
            Answer::Cont
        }),
    );
    builder.last::<ValidateData>(
        "scanner",
        Arc::new(|args: &mut MessageArgs<'_>| {
            if args.content.body.windows(5).any(|window| window == b"virus") {
                args.context.set_code(554, "5.7.1 infected");
                args.context.disconnect = true;
            }
            Answer::Done(())
        }),
    );
    builder.last::<FinalValidation2>(
        "late",
        Arc::new(|args: &mut RecipientArgs<'_>| match args.envelope.forward_path.mailbox().local_part() {
            "later" => Answer::Done(FinalVerdict::Defer),
            _ => Answer::Cont,
        }),
    );
    builder.last::<ValidateSetBinding>(
        "router",
        Arc::new(|args: &mut RecipientArgs<'_>| {
            args.envelope.queue.binding = "bulk-1".into();
            Answer::Done(())
        }),
    );
}

#[test]
fn policy_refuses_with_its_own_words_and_the_log_names_it() {
    in_house(LISTEN, refusals, async |house| {
        let mut client = house.client().await;
        client.open().await;
        assert_eq!(client.say("RCPT TO:<nobody@here.test>").await, "550 5.1.1 no such user");
        assert!(house.seen()[0].starts_with("awaiting rcptto: 550 5.1.1 no such user by scriptlet ["));
        client.say("RSET").await;
        client.say("MAIL FROM:<>").await;
        client.say("RCPT TO:<later@here.test>").await;
        assert_eq!(client.data("Subject: x\r\n").await, "451 4.7.1 try again later");
        assert!(house.seen()[0].starts_with("sending body response: 451 4.7.1 try again later by late ["));
        client.say("MAIL FROM:<>").await;
        client.say("RCPT TO:<b@here.test>").await;
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
        assert_eq!(&*house.arrived(1).await[0].envelope.queue.binding, "bulk-1");
        house.seen();
        client.say("MAIL FROM:<>").await;
        client.say("RCPT TO:<b@here.test>").await;
        assert_eq!(client.data("Subject: virus\r\n").await, "554 5.7.1 infected");
        assert!(house.seen()[0].contains(" by scanner ["));
        assert_eq!(client.reply().await, "", "closed");
    });
}

/// Refuses recipients by their local parts, once the message is there.
fn each_refusals(builder: &mut HookSetBuilder, seen: &Seen) {
    log_hooks(builder, seen);
    builder.last::<ValidateDataSpoolEachRcpt>(
        "scanner",
        Arc::new(|args: &mut RecipientArgs<'_>| {
            match args.envelope.forward_path.mailbox().local_part() {
                "never" => args.context.set_code(550, "5.7.1 not for you"),
                "later" => args.context.set_code(451, "4.7.1 not yet"),
                "closed" => {
                    args.context.set_code(554, "5.7.1 go away");
                    args.context.disconnect = true;
                }
                _ => return Answer::Cont,
            }
            Answer::Done(())
        }),
    );
}

#[test]
fn a_recipient_refused_after_the_message_fails_and_the_others_get_it() {
    in_house(LISTEN, each_refusals, async |house| {
        let mut client = house.client().await;
        client.open().await;
        client.say("RCPT TO:<never@here.test>").await;
        assert!(client.data("Subject: x\r\n").await.starts_with("250 2.0.0"));
        let arrived = house.arrived(2).await;
        assert_eq!(arrived[0].envelope.delivery.failed, None);
        let failed = arrived[1].envelope.delivery.failed.as_ref().unwrap();
        assert_eq!((&*failed.reply, failed.quiet), ("550 5.7.1 not for you", false));
        let seen = house.seen();
        assert!(seen[0].starts_with("sending body response: 550 5.7.1 not for you by scanner ["), "{seen:?}");
        assert!(seen[0].contains("rcptto_localpart=never"));
        assert_eq!((seen.len(), house.meters.get("reception.recipients.refused_by_policy")), (3, 1));
    });
}

#[test]
fn without_notifications_a_refused_recipient_is_dropped_and_logged() {
    let text = format!("generate_bounces_for_multi_recipient_policy_rejections = false {LISTEN}");
    in_house(&text, each_refusals, async |house| {
        let mut client = house.client().await;
        client.begin().await;
        client.say("RCPT TO:<never@here.test>").await;
        client.say("RCPT TO:<b@here.test>").await;
        assert!(client.data("Subject: x\r\n").await.starts_with("250 2.0.0"));
        assert_eq!(house.arrived(1).await[0].envelope.forward_path.as_str(), "b@here.test");
        assert_eq!(house.memory.len().0, 1);
        assert!(house.seen()[0].contains("550 5.7.1 not for you by scanner"));
    });
}

#[test]
fn the_client_hears_of_a_refusal_of_all_for_now_or_with_a_close() {
    in_house(LISTEN, each_refusals, async |house| {
        let mut client = house.client().await;
        client.open().await;
        client.say("RSET").await;
        for (recipients, reply) in [
            (&["never@here.test", "never@there.test"][..], "550 5.7.1 not for you"),
            (&["b@here.test", "never@here.test", "later@here.test"], "451 4.7.1 not yet"),
            (&["b@here.test", "closed@here.test"], "554 5.7.1 go away"),
        ] {
            client.say("MAIL FROM:<>").await;
            for recipient in recipients {
                client.say(&format!("RCPT TO:<{recipient}>")).await;
            }
            assert_eq!(client.data("Subject: x\r\n").await, reply);
        }
        assert_eq!((client.reply().await.as_str(), house.memory.len().0), ("", 0));
        assert_eq!(house.meters.get("reception.recipients.refused_by_policy"), 0);
    });
}

fn slow(builder: &mut HookSetBuilder, _: &Seen) {
    let asked = AtomicBool::new(false);
    let tarpit: PolledProvider<ValidateConnect> = Arc::new(move |_, slot, context| {
        if slot.kept::<Pin<Box<dyn Future<Output = ()>>>>().is_none() && asked.swap(true, Ordering::Relaxed) {
            return Poll::Ready(Answer::Cont);
        }
        let waited = slot.wait(context, || Box::pin(tokio::time::sleep(Duration::from_secs(30))));
        waited.map(|()| Answer::Cont)
    });
    builder.polled::<ValidateConnect>(Place::Last, "tarpit", tarpit);
}

#[test]
fn a_provider_that_waits_holds_its_own_session_only() {
    in_house(LISTEN, slow, async |house| {
        let mut first = house.client().await;
        let mut second = house.client().await;
        let before = tokio::time::Instant::now();
        assert_eq!(second.reply().await, "220 mx.here.test ESMTP");
        assert_eq!(before.elapsed().as_secs(), 0);
        assert_eq!(first.reply().await, "220 mx.here.test ESMTP");
        assert!(30 <= before.elapsed().as_secs());
    });
}

#[test]
fn a_throttle_is_one_for_all_that_fall_back_to_its_scope_and_a_reload_keeps_its_level() {
    let text = |rate: &str| {
        format!(
            "inbound_throttle_messages = \"{rate}\" pathway \"own\" {{ inbound_throttle_messages = \"1/1000\" }}
            esmtp_listener {{ listen \"127.0.0.1:0\" {{ peer \"127.0.0.2\" {{ pathway = \"own\" }} }} }}"
        )
    };
    in_house(&text("2/10"), no_hooks, async |house| {
        let mut first = house.client().await;
        first.open().await;
        let mut second = house.client().await;
        second.open().await;
        let mut third = house.client().await;
        third.open().await;
        assert!(first.data("Subject: x\r\n").await.starts_with("250"));
        assert!(second.data("Subject: x\r\n").await.starts_with("250"));
        let over = "451 4.7.1 Service unavailable, message rate limit reached";
        assert_eq!(third.say("DATA").await, over);
        assert_eq!(first.say("MAIL FROM:<a@x.test>").await, over);
        tokio::time::advance(Duration::from_secs(11)).await;
        assert!(third.data("Subject: x\r\n").await.starts_with("250"));
        house.arrived(3).await;

        house.reload(&text("3/10"));
        let mut fourth = house.client().await;
        fourth.open().await;
        let mut fifth = house.client().await;
        fifth.open().await;
        let mut sixth = house.client().await;
        sixth.open().await;
        assert!(fifth.say("DATA").await.starts_with("354"));
        assert!(sixth.say("DATA").await.starts_with("354"));
        assert_eq!(fourth.say("DATA").await, over, "one was counted before the reload");
        assert!(0 < house.meters.get("reception.replies.refused_transient"));
    });
}

/// What a provider keeps of a call, and that it is dropped.
#[derive(Clone)]
struct Forgets(Seen);
impl Drop for Forgets {
    fn drop(&mut self) {
        self.0.lock().unwrap().push("forgotten".to_owned());
    }
}

/// A provider in another language.
fn foreign(
    builder: &mut HookSetBuilder,
    title: &str,
    types: &str,
    answer: impl Fn(&mut [Value<'_>]) -> Returned + Send + Sync + 'static,
) {
    let provider = move |values: &mut [Value<'_>], _: &mut Slot, _: &mut Context<'_>| Poll::Ready(answer(values));
    builder.by_name(Place::Last, title, types, "foreign", Arc::new(provider)).unwrap();
}

#[test]
fn a_provider_in_another_language_sees_and_decides_what_one_of_rust_does() {
    fn hooks(plain: &mut HookSetBuilder, seen: &Seen) {
        let registry = HookRegistry::new(scheduler::Clock::system(), &scheduler::Meters::new(), reception::HOOKS);
        let mut builder = HookSetBuilder::of(&registry);
        log_hooks(&mut builder, seen);
        let session_types = "(void *, ec_string *, accept_construct *, validate_context *)";
        let log = seen.clone();
        foreign(&mut builder, "validate_ehlo", session_types, move |values| {
            let [Value::Text(line), Value::Object(session), Value::Object(context)] = values else { panic!() };
            let helo = &session.part::<Session>().unwrap().helo;
            log.lock().unwrap().push(format!("{} {helo}", String::from_utf8_lossy(line)));
            context.part_mut::<ValidationContext>().unwrap().set(Scope::Connection, "seen", "yes");
            Returned::Number(0)
        });
        foreign(&mut builder, "validate_mailfrom", session_types, |values| match values {
            [Value::Text(b"MAIL FROM:<odd@x.test>"), ..] => Returned::Number(7),
            _ => Returned::Number(1),
        });
        let types = "(void *, ec_message *, accept_construct *, validate_context *)";
        foreign(&mut builder, "core_final_validation2", types, |values| {
            let [Value::Object(message), ..] = values else { panic!() };
            let envelope = message.part::<Envelope>().unwrap();
            assert!(message.part::<Content>().is_some_and(|content| content.body.len() as u64 == envelope.body_bytes));
            Returned::Number(i64::from(envelope.forward_path.as_str() == "later@here.test") * 2)
        });
        foreign(&mut builder, "validate_set_binding", "(void *, ec_message *)", |values| {
            let [Value::Object(message)] = values else { panic!() };
            message.part_mut::<Envelope>().unwrap().queue.binding = "bulk-1".into();
            Returned::Number(1)
        });
        *plain = builder;
    }
    in_house(LISTEN, hooks, async |house| {
        let mut client = house.client().await;
        client.reply().await;
        client.say("EHLO pc").await;
        assert_eq!(client.say("MAIL FROM:<odd@x.test>").await, "451 4.3.0 policy failed", "an answer without meaning");
        client.say("MAIL FROM:<a@x.test>").await;
        client.say("RCPT TO:<later@here.test>").await;
        assert_eq!(client.data("Subject: x\r\n").await, "451 4.7.1 try again later", "EC_HOOK_RETRY");
        client.say("MAIL FROM:<a@x.test>").await;
        client.say("RCPT TO:<b@here.test>").await;
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
        let arrived = house.arrived(1).await;
        let envelope = &arrived[0].envelope;
        assert_eq!(&*envelope.queue.binding, "bulk-1");
        assert!(envelope.context.connection.iter().any(|(key, value)| (&**key, &**value) == ("seen", "yes")));
        assert_eq!(house.seen()[0], "EHLO pc pc");
    });
}

#[test]
fn a_provider_that_does_not_answer_is_given_up_and_the_session_goes_on() {
    fn hooks(builder: &mut HookSetBuilder, seen: &Seen) {
        log_hooks(builder, seen);
        let forgets = Forgets(seen.clone());
        let of_sender: PolledProvider<ValidateMailfrom> = Arc::new(move |args, slot, _| {
            match args.transaction.map(|transaction| transaction.reverse_path.as_str()) {
                Some("stuck@x.test") => {
                    slot.keep(|| forgets.clone());
                    Poll::Pending
                }
                _ => Poll::Ready(Answer::Cont),
            }
        });
        builder.polled::<ValidateMailfrom>(Place::First, "stuck", of_sender);
        let of_recipient: PolledProvider<ValidateDataSpoolEachRcpt> =
            Arc::new(|args, _, _| match args.envelope.forward_path.as_str() {
                "stuck@here.test" => Poll::Pending,
                _ => Poll::Ready(Answer::Cont),
            });
        builder.polled::<ValidateDataSpoolEachRcpt>(Place::First, "stuck", of_recipient);
    }
    let text = "policy_timeout = 30 esmtp_listener { listen \"127.0.0.1:0\" { } }";
    in_house(text, hooks, async |house| {
        let timed_out = "451 4.3.0 policy timed out";
        let mut client = house.client().await;
        client.reply().await;
        client.say("EHLO pc").await;
        assert_eq!(client.say("MAIL FROM:<stuck@x.test>").await, timed_out);
        assert!(house.seen().contains(&"forgotten".to_owned()), "what the provider kept of the call is dropped");
        assert!(client.say("MAIL FROM:<a@x.test>").await.starts_with("250"));
        client.say("RCPT TO:<stuck@here.test>").await;
        assert_eq!(client.data("Subject: x\r\n").await, timed_out);
        assert_eq!(house.memory.len(), (0, 0), "nothing is kept of it");
        client.say("MAIL FROM:<a@x.test>").await;
        client.say("RCPT TO:<b@here.test>").await;
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
        assert_eq!(house.meters.get("reception.policy.timed_out"), 2);
    });
}
