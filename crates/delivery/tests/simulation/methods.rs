//! Ways out other than SMTP to the hosts of the domain.

use dns::DnsError;

use crate::FROM;
use crate::network::Reaction::{Drop, Say};
use crate::world::{World, simulate};

#[test]
fn lmtp_gives_each_recipient_its_own_fate() {
    let text = "domain \"x.test\" { delivery_method = lmtp routes = ( \"192.0.2.201\" ) }\n";
    simulate(text, async |world: World| {
        world.network.host(201);
        world.network.mx("192.0.2.201", &[(0, "192.0.2.201", 201)]);
        world.network.always(201, "BODY <full@", Say("452 4.2.2 mailbox full"));
        world.network.always(201, "BODY <gone@", Say("550 5.2.1 mailbox disabled"));
        world.send(FROM, &["ann@x.test", "full@x.test", "gone@x.test", "bob@x.test"]).await;
        world.pass(1).await;
        let mut log = world.log();
        log.sort();
        assert_eq!(
            log,
            [
                "0 D ann@x.test retries=0 192.0.2.201",
                "0 D bob@x.test retries=0 192.0.2.201",
                "0 P gone@x.test stage=9 retries=0 192.0.2.201 550 5.2.1 mailbox disabled",
                "0 T full@x.test stage=9 retries=0 192.0.2.201 452 4.2.2 mailbox full",
            ]
        );
        let taken = world.network.taken(201);
        assert_eq!((taken.len(), taken[0].recipients.len(), world.stored()), (1, 2, 1));
        assert_eq!(world.network.heard(201, "LHLO"), ["LHLO here.test"]);
    });
}

#[test]
fn lmtp_that_breaks_between_two_replies_delivers_nothing_twice_and_loses_nothing() {
    simulate("delivery_method = lmtp\ngateway = \"192.0.2.201\"\n", async |world: World| {
        world.network.host(201);
        world.network.once(201, "BODY", Say("250 2.0.0 stored"));
        world.network.once(201, "BODY", Drop);
        world.send(FROM, &["ann@x.test", "bob@x.test"]).await;
        world.pass(1300).await;
        let log = world.log();
        assert_eq!(
            log.iter().filter(|line| line.contains(" D ann@")).count()
                + log.iter().filter(|line| line.contains(" D bob@")).count(),
            2,
            "{log:?}"
        );
        assert_eq!(world.stored(), 0);
    });
}

#[test]
fn a_session_is_named_after_the_sender_whose_mail_it_carries() {
    for more in ["", "max_resident_active_queue = 0\n"] {
        let text = format!("ehlo_hostname = \"__message__\"\nmax_outbound_connections = 1\n{more}");
        simulate(&text, async |world: World| {
            world.network.host(1);
            world.network.mx("x.test", &[(10, "mx.x.test", 1)]);
            for from in ["a@One.test", "b@one.test", "c@two.test", "", "d@one.test", "e@[192.0.2.77]"] {
                world.send(from, &["ann@x.test"]).await;
            }
            world.pass(20).await;
            assert_eq!((world.network.taken(1).len(), world.stored()), (6, 0), "{more}");
            let names: Vec<String> =
                world.network.heard(1, "EHLO").iter().map(|line| line.trim_start_matches("EHLO ").to_owned()).collect();
            let said = world.network.heard(1, "");
            for name in &names {
                assert!(["one.test", "two.test", "here.test", "[192.0.2.77]"].contains(&name.as_str()), "{names:?}");
            }
            // Each MAIL follows the EHLO of its sender's name.
            let mut name = "";
            for line in &said {
                if let Some(own) = line.strip_prefix("EHLO ") {
                    name = own;
                } else if let Some(path) = line.strip_prefix("MAIL FROM:<") {
                    let path = path.split('>').next().unwrap_or("").to_ascii_lowercase();
                    let domain = path.rsplit_once('@').map_or("here.test", |(_, domain)| domain);
                    assert_eq!(domain, name, "{said:#?}");
                }
            }
        });
    }
}

#[test]
fn a_blackhole_fails_what_is_queued_and_what_comes() {
    for blackhole in ["true", "inline", "internal"] {
        simulate("suspend_delivery = true\n", async |world: World| {
            world.send(FROM, &["ann@x.test"]).await;
            world.pass(10).await;
            world.reload(&format!("domain \"x.test\" {{ blackhole = {blackhole} }}\n"));
            world.engine.refresh().await;
            world.pass(1).await;
            world.send(FROM, &["bob@x.test"]).await;
            world.pass(1).await;
            let text = "554 5.7.0 [internal] Blackholed";
            let lines = [
                format!("10 P ann@x.test stage=0 retries=0 - {text}"),
                format!("11 P bob@x.test stage=0 retries=0 - {text}"),
            ];
            assert_eq!(world.log(), lines);
            assert_eq!((world.bounces.told.lock().unwrap().len(), world.stored()), (2, 0));
        });
    }
}

#[test]
fn a_domain_whose_mail_hosts_cannot_be_learnt_is_tried_at_its_own_address_in_the_end() {
    for (text, lookups) in
        [("", Some(4)), ("mx_failures_fallback_to_a = 1\n", Some(2)), ("mx_failures_fallback_to_a = -1\n", None)]
    {
        simulate(text, async |world: World| {
            world.network.host(1);
            world.network.no_mx("x.test", DnsError::Timeout { name: "x.test MX".into(), server: None });
            world.network.own_address("x.test", 1);
            world.send(FROM, &["ann@x.test"]).await;
            world.pass(600).await;
            let log = world.log();
            assert_eq!(log.len(), usize::from(lookups.is_some()), "{log:?}");
            assert!(log.iter().all(|line| line.ends_with(" D ann@x.test retries=0 192.0.2.1")), "{log:?}");
            assert!(lookups.is_none_or(|lookups| world.network.lookups() == lookups), "{}", world.network.lookups());
        });
    }
}

#[test]
fn mail_of_relay_domains_goes_to_the_best_mail_hosts_alone() {
    for (text, refused, delivered) in [
        ("relay_domains = ( \"x.test\" )\n", "x.test", "y.test"),
        ("relay_domains = ( \"*.test\" )\nonly_use_best_mx_for_relay_domains = false\n", "none.test", "x.test"),
        ("", "none.test", "x.test"),
    ] {
        simulate(text, async |world: World| {
            for domain in ["x.test", "y.test"] {
                world.network.mx(domain, &[(10, "mx1.test", 1), (20, "mx2.test", 2)]);
            }
            (1..=2).for_each(|last| world.network.host(last));
            world.network.refuses(1, true);
            world.send(FROM, &["ann@x.test"]).await;
            world.send(FROM, &["bob@y.test"]).await;
            world.pass(10).await;
            let log = world.log();
            assert!(log.iter().any(|line| line.contains(" D ") && line.contains(delivered)), "{log:?}");
            assert!(!log.iter().any(|line| line.contains(refused)), "{log:?}");
            assert_eq!(world.stored(), usize::from(refused == "x.test"));
            // The rest is tried at the best host again, and waits for it.
            world.network.refuses(1, false);
            world.pass(130).await;
            assert_eq!(world.stored(), 0);
        });
    }
}
