//! Where mail goes: mail exchangers in order, the domain's own address without one, nowhere at all, and where the
//! configuration says instead (RFC 5321 5.1, RFC 7505).

use std::net::{Ipv4Addr, SocketAddr};

use e2e::{MAILDIR, Names, SOON, accept, ask, ask_json, daemon, letter, wait, wait_for_lines, wait_for_mail};
use testkit::{DaemonSetup, Sink, free_addr};

/// Sinks on several addresses of this host, all on one port, as hosts of the Internet are.
fn hosts<const N: usize>(last_octets: [u8; N]) -> (u16, [Sink; N]) {
    'ports: for _ in 0..50 {
        let port = free_addr().port();
        let mut sinks = Vec::new();
        for octet in last_octets {
            match Sink::start_at(SocketAddr::from((Ipv4Addr::new(127, 0, 0, octet), port))) {
                Ok(sink) => sinks.push(sink),
                Err(_) => continue 'ports,
            }
        }
        return (port, sinks.try_into().unwrap_or_else(|_| unreachable!()));
    }
    panic!("no port that is free on all of {last_octets:?}");
}

fn daemon_on(names: &Names, port: u16, more: &str) -> DaemonSetup {
    daemon(&format!("remote_smtp_port = {port}\n{more}")).set("resolv_conf", names.resolv_conf())
}

#[test]
fn the_exchanger_with_the_lowest_preference_gets_the_mail() {
    let (port, [worse, best]) = hosts([2, 3]);
    let names = Names::start(
        "shop.test MX 20 worse.shop.test\nshop.test MX 10 best.shop.test\n\
         worse.shop.test A 127.0.0.2\nbest.shop.test A 127.0.0.3",
    );
    let daemon = daemon_on(&names, port, "").start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("in order"));
    let mail = best.wait_for(1, SOON);
    assert_eq!(mail[0].forward_paths, ["bob@shop.test"]);
    assert_eq!(mail[0].reverse_path, "ann@client.test");
    assert_eq!(mail[0].helo, "relay.test");
    let delivered = wait_for_lines(&daemon, "D", 1);
    assert_eq!((delivered[0][5].as_str(), delivered[0][11].as_str()), ("shop.test", "127.0.0.3"));
    assert_eq!(worse.connections(), 0);
}

#[test]
fn the_next_exchanger_is_tried_at_once_when_one_refuses_connections() {
    let (port, [worse, best]) = hosts([2, 3]);
    best.refuse_connections();
    let names = Names::start(
        "shop.test MX 20 worse.shop.test\nshop.test MX 10 best.shop.test\n\
         worse.shop.test A 127.0.0.2\nbest.shop.test A 127.0.0.3",
    );
    let daemon = daemon_on(&names, port, "").start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("a fallback"));
    worse.wait_for(1, SOON);
    let delivered = wait_for_lines(&daemon, "D", 1);
    assert_eq!((delivered[0][9].as_str(), delivered[0][11].as_str()), ("0", "127.0.0.2"), "no attempt was spent");
}

#[test]
fn a_domain_without_exchangers_is_its_own() {
    let (port, [host]) = hosts([4]);
    let names = Names::start("plain.test A 127.0.0.4");
    let daemon = daemon_on(&names, port, "").start();
    accept(&daemon, "ann@client.test", &["bob@plain.test"], &letter("implicit"));
    host.wait_for(1, SOON);
    assert_eq!(names.server.count("plain.test", "MX"), 1);
}

#[test]
fn a_null_mx_fails_the_mail_at_once_and_tells_the_sender() {
    let names = Names::start("nomail.test MX 0 .\nnomail.test A 127.0.0.5");
    let daemon = daemon(MAILDIR).set("resolv_conf", names.resolv_conf()).start();
    accept(&daemon, "ann@here.test", &["bob@nomail.test"], &letter("to nowhere"));
    let failed = wait_for_lines(&daemon, "P", 1);
    assert_eq!(failed[0][5..7], ["nomail.test", "0"]);
    assert_eq!(failed[0][9], "0", "never connected");
    assert_eq!(failed[0][13], "556 5.1.10 [internal] NULL MX domain does not accept mail");
    let told = wait_for_mail(&daemon, "ann@here.test", 1);
    for line in ["Final-Recipient: rfc822; bob@nomail.test", "Action: failed", "Status: 5.1.10"] {
        assert!(told[0].contains(line), "{line:?} is missing in:\n{}", told[0]);
    }
}

#[test]
fn a_domain_that_does_not_exist_fails_the_mail_at_once_and_one_without_a_host_is_tried_again() {
    let names = Names::start("hostless.test TXT \"no mail\"");
    let daemon = daemon(MAILDIR).set("resolv_conf", names.resolv_conf()).start();
    accept(&daemon, "ann@here.test", &["bob@missing.test", "bob@hostless.test"], &letter("to no host"));
    let delayed = wait_for_lines(&daemon, "T", 1);
    assert_eq!((&*delayed[0][5], &*delayed[0][13]), ("hostless.test", "454 4.4.4 [internal] no MX or A for domain"));
    let failed = wait_for_lines(&daemon, "P", 1);
    let text = "550 5.1.2 [internal] domain does not exist (NXDOMAIN)";
    assert_eq!((&*failed[0][5], &*failed[0][13]), ("missing.test", text));
    let told = wait_for_mail(&daemon, "ann@here.test", 1);
    for line in ["Final-Recipient: rfc822; bob@missing.test", "Action: failed", "Status: 5.1.2"] {
        assert!(told[0].contains(line), "{line:?} is missing in:\n{}", told[0]);
    }
}

#[test]
fn an_address_literal_is_where_it_says() {
    let (port, [host]) = hosts([6]);
    let daemon = daemon(&format!("remote_smtp_port = {port}")).start();
    accept(&daemon, "ann@client.test", &["bob@[127.0.0.6]"], &letter("literal"));
    assert_eq!(host.wait_for(1, SOON)[0].forward_paths, ["bob@[127.0.0.6]"]);
}

#[test]
fn a_gateway_takes_a_domains_mail_and_gives_its_name_to_the_queue() {
    let gateway = Sink::start();
    let names = Names::start("shop.test MX 10 mx.shop.test\nmx.shop.test A 127.0.0.7");
    let more = format!("domain \"shop.test\" {{ gateway = \"{}\" }}", gateway.addr());
    let daemon = daemon(&more).set("resolv_conf", names.resolv_conf()).start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("through a gateway"));
    gateway.wait_for(1, SOON);
    assert_eq!(wait_for_lines(&daemon, "D", 1)[0][5], gateway.addr().to_string());
    assert_eq!(names.server.count("shop.test", "MX"), 0, "nobody asked where it would have gone");
}

#[test]
fn a_gateway_by_name_is_looked_up() {
    let (port, [host]) = hosts([8]);
    let names = Names::start("smart.test A 127.0.0.8");
    let daemon = daemon_on(&names, port, "gateway = \"smart.test\"").start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("through a named gateway"));
    host.wait_for(1, SOON);
    assert_eq!(wait_for_lines(&daemon, "D", 1)[0][5], "smart.test");
}

#[test]
fn routes_are_tried_in_their_order_and_keep_the_domains_name() {
    let (first, second) = (Sink::start(), Sink::start());
    first.refuse_connections();
    let more = format!(
        "domain \"shop.test\" {{ routes = ( \"smtp://127.0.0.1?port={}\" \"smtp://127.0.0.1?port={}\" ) }}",
        first.addr().port(),
        second.addr().port()
    );
    let daemon = daemon(&more).start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("routed"));
    second.wait_for(1, SOON);
    assert_eq!(wait_for_lines(&daemon, "D", 1)[0][5], "shop.test");
}

#[test]
fn prohibited_hosts_fail_the_domain_and_skipped_hosts_are_passed_over() {
    let (port, [host]) = hosts([9]);
    let zone = "good.test MX 10 skipped.test\ngood.test MX 20 taken.test\nbad.test MX 10 bad.test\n\
                skipped.test A 127.0.0.10\ntaken.test A 127.0.0.9\nbad.test A 127.0.0.11";
    let names = Names::start(zone);
    let more = "prohibited_hosts = ( \"127.0.0.11/32\" )\nskip_hosts = ( \"127.0.0.10/32\" )\n";
    let daemon = daemon_on(&names, port, more).start();
    accept(&daemon, "ann@client.test", &["bob@good.test"], &letter("past the first"));
    host.wait_for(1, SOON);
    accept(&daemon, "ann@client.test", &["bob@bad.test"], &letter("nowhere"));
    assert_eq!(wait_for_lines(&daemon, "P", 1)[0][13], "551 5.4.6 [internal] Private/Loopback Address");
}

#[test]
fn a_domains_mail_is_told_of_under_the_gateway_that_names_its_queue() {
    let sink = Sink::start();
    sink.refuse_connections();
    let text = format!(
        "domain \"shop.test\" {{ gateway = \"#smart\" retry_interval = 60 }}\n\
         domain \"/^mill/\" {{ gateway = \"#smart\" }}\n\
         domain \"#smart\" {{ routes = ( \"{}\" ) retry_interval = 77 }}\n",
        sink.addr()
    );
    let daemon = daemon(&text).start();
    let eval = ask(&daemon, &["config", "eval", "domain", "shop.test", "retry_interval"]);
    assert!(eval.contains("= 77") && eval.contains("the mail of shop.test goes under its gateway"), "{eval}");
    for recipient in ["bob@shop.test", "eve@shop.test", "joe@mill.test"] {
        accept(&daemon, "ann@client.test", &[recipient], &letter("behind a gateway"));
    }
    let waits =
        || ask_json(&daemon, &["domain", "#smart"])["recipient_domains"]["domains"].as_array().map_or(0, Vec::len);
    wait(&daemon, "mail of both domains waits there", || waits() == 2);
    let gateway = ask(&daemon, &["domain", "#smart"]);
    assert!(gateway.contains("Recipient domains: shop.test 2, mill.test 1"), "{gateway}");
    let domain = ask(&daemon, &["domain", "shop.test"]);
    assert!(domain.contains("has the gateway #smart, its mail is under: domain #smart"), "{domain}");
    let mailq = ask(&daemon, &["mailq", "-d", "shop.test"]);
    assert!(mailq.contains("#smart") && mailq.contains("for shop.test 2, mill.test 1"), "{mailq}");
}
