//! Bounces that come as mail.

use reception::{BouncedRecipient, TooBusy};
use smtp::Mailbox;

use crate::house::{House, in_house, log_hooks};

const TEXT: &str = "relay_hosts = ( ) bounce_domains = ( \"*.bounces.test\" )
    bounce_pattern = \"^b-\"
    domain \"gone.bounces.test\" { bounce_pattern = \".\" bounce_behavior = blackhole }
    esmtp_listener { listen \"127.0.0.1:0\" { } }";

fn say(house: &House, recipients: &[&str]) {
    let of = |recipient: &&str| BouncedRecipient {
        recipient: Mailbox::parse(recipient).ok(),
        class: 10,
        reply: "550 5.1.1 no such user".to_owned(),
    };
    *house.bounces.say.lock().unwrap() = Ok(recipients.iter().map(of).collect());
}

#[test]
fn anyone_may_send_to_the_addresses_that_bounces_come_to_and_to_no_others() {
    in_house(TEXT, log_hooks, async |house| {
        let mut client = house.client().await;
        client.begin().await;
        for (recipient, reply) in [
            ("b-1@a.bounces.test", "250 2.1.5 RCPT TO accepted"),
            ("ann@a.bounces.test", "550 5.7.1 relaying denied"),
            ("b-1@bounces.test", "550 5.7.1 relaying denied"),
            ("ann@Gone.bounces.test", "250 2.1.5 RCPT TO accepted"),
        ] {
            assert_eq!(client.say(&format!("RCPT TO:<{recipient}>")).await, reply, "{recipient}");
        }
    });
}

#[test]
fn a_bounce_is_logged_for_each_recipient_it_tells_of_and_delivered() {
    in_house(TEXT, log_hooks, async |house| {
        say(&house, &["ann@shop.test", ""]);
        let mut client = house.client().await;
        client.begin().await;
        client.say("RCPT TO:<b-1@a.bounces.test>").await;
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
        let text = "10 550 5.1.1 no such user";
        assert_eq!(
            house.seen(),
            ["R b-1@a.bounces.test".into(), format!("B ann@shop.test {text}"), format!("B - {text}")]
        );
        let arrived = house.arrived(1).await;
        assert_eq!((&arrived[0].envelope.delivery.failed, arrived[0].body.is_some()), (&None, true));
        assert_eq!(*house.bounces.to.lock().unwrap(), ["b-1@a.bounces.test"]);
        assert_eq!(house.meters.get("reception.bounces.accepted"), 1);
    });
}

#[test]
fn one_that_is_discarded_is_stored_to_fail_quietly_and_the_rejectlog_says_so() {
    let text = TEXT.replace("relay_hosts = ( )", "");
    in_house(&text, log_hooks, async |house| {
        say(&house, &["ann@shop.test"]);
        let mut client = house.client().await;
        client.begin().await;
        for recipient in ["x@gone.bounces.test", "other@elsewhere.test"] {
            client.say(&format!("RCPT TO:<{recipient}>")).await;
        }
        assert!(client.data("Subject: x\r\n").await.starts_with("250"));
        let arrived = house.arrived(2).await;
        let failed = arrived[0].envelope.delivery.failed.as_ref().unwrap();
        assert_eq!((&*failed.reply, failed.quiet), ("550 5.7.1 [internal] discarded by policy", true));
        assert_eq!(arrived[1].envelope.delivery.failed, None, "not every recipient gets bounces");
        let seen = house.seen();
        assert_eq!(seen[1], "B ann@shop.test 10 550 5.1.1 no such user");
        assert!(seen[2].contains(": 550 5.7.1 [internal] discarded by policy ["), "{seen:?}");
        assert_eq!((seen.len(), house.meters.get("reception.bounces.discarded")), (4, 1));
    });
}

#[test]
fn one_that_cannot_be_read_now_is_refused_for_now() {
    in_house(TEXT, log_hooks, async |house| {
        *house.bounces.say.lock().unwrap() = Err(TooBusy);
        let mut client = house.client().await;
        client.begin().await;
        client.say("RCPT TO:<b-1@a.bounces.test>").await;
        assert_eq!(client.data("Subject: x\r\n").await, "451 4.3.2 system too busy, try again later");
        assert_eq!((house.memory.len().0, house.meters.get("reception.bounces.unread")), (0, 1));
    });
}
