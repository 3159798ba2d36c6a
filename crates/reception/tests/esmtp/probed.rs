//! Every hook of a session, seen by a provider in another language: when it is called, with what, and what it decides.

use std::sync::Arc;
use std::task::{Context, Poll};

use hooks::{HookRegistry, HookSetBuilder, Place, Returned, Slot, Value};
use reception::{ConfigGetDomainRelay, PreCanRelayTo, ValidateRcpttoListFinal, ValidateSetBinding};

use crate::house::{Seen, in_house};

const LISTEN: &str = "esmtp_listener { listen \"127.0.0.1:0\" { } }";

fn of_reception() -> HookSetBuilder {
    let hooks = reception::HOOKS.into_iter().chain([logging::HOOKS]);
    HookSetBuilder::of(&HookRegistry::new(scheduler::Clock::system(), &scheduler::Meters::new(), hooks))
}

fn probed(builder: &mut HookSetBuilder, seen: &Seen) {
    *builder = of_reception();
    builder.last::<ValidateSetBinding>(
        "router",
        Arc::new(|args| {
            if args.envelope.forward_path.as_str() == "b@here.test" {
                args.envelope.queue.binding = "bulk-1".into();
            }
            hooks::Answer::Cont
        }),
    );
    let seen = seen.clone();
    testkit::probe(builder, move |line| seen.lock().unwrap().push(line));
}

#[test]
fn every_hook_of_a_session_is_called_at_its_moment_with_its_arguments() {
    in_house(LISTEN, probed, async |house| {
        let mut client = house.client().await;
        client.reply().await;
        client.say("EHLO pc.example.test").await;
        client.say("MAIL FROM:<a@x.test>").await;
        client.say("RCPT TO:<b@here.test>").await;
        client.say("RCPT TO:<c@here.test>").await;
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
        assert_eq!(client.say("NONSENSE").await.get(..3), Some("500"));
        let of_message = "message, session, validation context";
        let recipient = |binding: &[&str]| {
            let each =
                ["validate_data_spool_each_rcpt", "core_validate_data_spool_each_rcpt"].map(|name| (name, of_message));
            let last = [
                "core_final_validation2",
                "core_final_validation",
                "core_post_final_validation",
                "core_post_msg_each_rcpt",
            ];
            let begins = [("core_pre_msg_each_rcpt", "message, session")].into_iter().chain(each);
            let binding = binding.iter().map(|name| (*name, "message"));
            let all = begins.chain([("core_post_validate_data_spool_each_rcpt_v1", of_message)]).chain(binding);
            all.chain(last.map(|name| (name, of_message)))
                .map(|(name, args)| format!("{name}({args})"))
                .collect::<Vec<_>>()
        };
        let mut expected: Vec<String> = [
            "core_inc_inbound_connections(ESMTP, -1, session)",
            "core_validate_accept(session, validation context)",
            "validate_connect(session, validation context)",
            "core_validate_connect(session, validation context)",
            "validate_ehlo(EHLO pc.example.test, session, validation context)",
            "validate_mailfrom(MAIL FROM:<a@x.test>, session, validation context)",
            "validate_rcptto(message, RCPT TO:<b@here.test>, session, validation context)",
            "validate_rcptto_list(recipients, validation context)",
            "validate_rcptto(message, RCPT TO:<c@here.test>, session, validation context)",
            "validate_rcptto_list(recipients, validation context)",
            "validate_rcptto_list_final(recipients, validation context)",
            "validate_data(message, session, validation context)",
            "validate_data_spool(message, session, validation context)",
        ]
        .map(str::to_owned)
        .into();
        expected.extend(recipient(&["validate_set_binding", "core_post_validate_set_binding"]));
        expected.extend(recipient(&["validate_set_binding"]));
        expected.extend(["core_log_reception_v1(-, message, time, -, 0)"; 2].map(str::to_owned));
        let seen = house.seen();
        assert_eq!(seen[..expected.len()], expected[..]);
        assert!(seen[expected.len()].starts_with("core_log_rejection(time, -, validation context, 4, "), "{seen:#?}");
        drop(client);
        let mut ended = Vec::new();
        for _ in 0..1000 {
            // The time is simulated: it goes on once there is nothing to do.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            ended.extend(house.seen());
            if ended.len() == 2 {
                break;
            }
        }
        let expected = ["core_server_esmtp_session_abort(session)", "core_dec_inbound_connections(ESMTP, -1, session)"];
        assert_eq!(ended, expected, "it said no QUIT");
    });
}

/// Registers a provider by name.
fn foreign<H: hooks::Hook>(
    builder: &mut HookSetBuilder,
    answer: impl Fn(&mut [Value<'_>]) -> Returned + Send + Sync + 'static,
) {
    let provider = move |values: &mut [Value<'_>], _: &mut Slot, _: &mut Context<'_>| Poll::Ready(answer(values));
    let (title, types) = (H::DECLARATION.title(), H::DECLARATION.types());
    builder.by_name(Place::Last, &title, &types, "policy", Arc::new(provider)).unwrap();
}

#[test]
fn policy_says_which_domains_are_relayed_for_and_whether_the_message_may_come() {
    fn hooks(builder: &mut HookSetBuilder, _: &Seen) {
        *builder = of_reception();
        foreign::<PreCanRelayTo>(builder, |values| {
            let [Value::Text(domain), Value::NumberPlace(verdict), Value::NumberPlace(decided)] = values else {
                panic!()
            };
            **decided = i64::from(*domain == b"never.test");
            **verdict = 0;
            Returned::Nothing
        });
        foreign::<ConfigGetDomainRelay>(builder, |values| {
            let [Value::Absent, Value::Text(domain), Value::NumberPlace(verdict)] = values else { panic!() };
            **verdict = i64::from(*domain != b"shut.test");
            Returned::Number(i64::from([&b"open.test"[..], b"shut.test", b"never.test"].contains(domain)))
        });
        foreign::<ValidateRcpttoListFinal>(builder, |values| {
            let [Value::Object(recipients), Value::Object(context)] = values else { panic!() };
            let recipients = recipients.part::<smtp::Transaction>().unwrap().forward_paths.len();
            let context = context.part_mut::<reception::ValidationContext>().unwrap();
            if 1 < recipients {
                context.set_code(550, "5.5.3 one at a time");
            }
            Returned::Number(1)
        });
    }
    let text = "relay_hosts = ( \"192.0.2.0/24\" ) relay_domains = ( \"here.test\" \"shut.test\" \"never.test\" )
        esmtp_listener { listen \"127.0.0.1:0\" { } }";
    in_house(text, hooks, async |house| {
        let mut client = house.client().await;
        client.reply().await;
        client.say("EHLO pc").await;
        client.say("MAIL FROM:<a@x.test>").await;
        for (domain, code) in
            [("here.test", "250"), ("open.test", "250"), ("shut.test", "550"), ("never.test", "550"), ("x.test", "550")]
        {
            let reply = client.say(&format!("RCPT TO:<b@{domain}>")).await;
            assert!(reply.starts_with(code), "{domain}: {reply}");
        }
        assert_eq!(client.say("DATA").await, "550 5.5.3 one at a time");
        client.say("RSET").await;
        client.say("MAIL FROM:<a@x.test>").await;
        client.say("RCPT TO:<b@open.test>").await;
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
    });
}
