//! A DNS server that is silent, lies, fails, or says strange things: mail waits with the documented text, or fails with it,
//! and goes out as soon as the truth is told.

use std::net::SocketAddr;
use std::time::Duration;

use e2e::{Names, SOON, accept, ask, daemon, letter, mainlog, testimony, wait, wait_for_lines};
use testkit::dns::Behaviour;
use testkit::{Daemon, Load, Sink};

/// Retries and asks every second without an end; answers are believed for a second; one failed round delays a domain.
const IMPATIENT: &str = "
host_failure_retry = 1
mx_failures_to_delay = 1
dns_failures_to_purge = 0
dns_failure_retry = 1
max_dns_ttl = 1
retry_interval = 1
max_retry_interval = 1
max_retries = none
";

/// How the reply begins that names the DNS.
const FAILING: &str = "451 4.4.3 [internal] DNS failure: lookup of ";
const NO_HOST: &str = "454 4.4.4 [internal] no MX or A for domain";

/// A sink on 127.0.0.1 and a daemon that finds everything by DNS and delivers to the sink's port.
fn house(zone: &str, more: &str) -> (Sink, Names, Daemon) {
    let sink = Sink::start();
    let names = Names::start(zone);
    let port = sink.addr().port();
    let setup = daemon(&format!("{IMPATIENT}remote_smtp_port = {port}\n{more}"));
    let daemon = setup.set("resolv_conf", names.resolv_conf()).start();
    (sink, names, daemon)
}

/// The first line of that type about a domain, without its fields before the stage: stage and reply.
fn verdict(daemon: &Daemon, kind: &str, domain: &str) -> Option<(String, String)> {
    let line = mainlog(daemon, kind).into_iter().find(|fields| fields[5] == domain)?;
    Some((line[9].clone(), line[13..].join("@")))
}

fn expect(daemon: &Daemon, kind: &str, domain: &str, reply: &str) {
    wait(daemon, &format!("a line {kind} for {domain}"), || verdict(daemon, kind, domain).is_some());
    assert_eq!(verdict(daemon, kind, domain), Some(("0".to_owned(), reply.to_owned())), "{domain}");
}

#[test]
fn a_server_that_fails_or_lies_delays_the_mail_and_the_truth_frees_it() {
    let lies = [
        ("silent.test", Behaviour::Silent),
        ("servfail.test", Behaviour::ServFail),
        ("refused.test", Behaviour::Refused),
        ("wrong-id.test", Behaviour::WrongId),
        ("wrong-question.test", Behaviour::WrongQuestion),
        ("garbage.test", Behaviour::Garbage),
    ];
    let (sink, names, daemon) = house("mx.test A 127.0.0.1\ngood.test MX 10 mx.test", "");
    for (domain, lie) in &lies {
        names.server.add(&format!("{domain} MX 10 mx.test"));
        names.server.behave(domain, lie.clone());
        accept(&daemon, "ann@good.test", &[&format!("bob@{domain}")], &letter(domain));
    }
    // A server that lies about some tells the truth about others.
    accept(&daemon, "ann@good.test", &["bob@good.test"], &letter("good"));
    sink.wait_for(1, SOON);
    for (domain, _) in &lies {
        wait(&daemon, "a line T that names the DNS", || {
            verdict(&daemon, "T", domain).is_some_and(|(stage, reply)| stage == "0" && reply.starts_with(FAILING))
        });
    }
    assert_eq!(sink.count(), 1);
    for (domain, _) in &lies {
        names.server.behave(domain, Behaviour::Answer);
    }
    assert!(ask(&daemon, &["flush", "domain", "all"]).contains("requeued"));
    sink.wait_for(1 + lies.len(), SOON);
    wait_for_lines(&daemon, "D", 1 + lies.len());
    assert_eq!(sink.count(), 1 + lies.len());
    assert!(mainlog(&daemon, "P").is_empty(), "{}", testimony(&daemon));
}

#[test]
fn a_thousand_domains_without_an_answer_do_not_hold_up_one_that_has_one() {
    let (sink, names, daemon) = house("mx.test A 127.0.0.1\ngood.test MX 10 mx.test", "");
    names.server.behave("*", Behaviour::Silent);
    names.server.behave("good.test", Behaviour::Answer);
    names.server.behave("mx.test", Behaviour::Answer);
    let load = Load { messages: 1000, forward_paths: vec!["bob@silent{n}.test".to_owned()], ..Load::default() };
    assert_eq!(load.run(daemon.addr()).acknowledged.len(), 1000);
    accept(&daemon, "ann@client.test", &["bob@good.test"], &letter("good"));
    sink.wait_for(1, SOON);
    wait(&daemon, "every other domain delayed", || 1000 <= mainlog(&daemon, "T").len());
    assert_eq!(sink.count(), 1);
}

#[test]
fn a_slow_answer_and_a_forged_one_before_it_do_no_harm() {
    let zone = "mx.test A 127.0.0.1\nslow.test MX 10 mx.test\nforged.test MX 10 mx.test\nlong.test MX 10 mx.test";
    let (sink, names, daemon) = house(zone, "");
    names.server.behave("slow.test", Behaviour::Delayed(Duration::from_millis(300)));
    names.server.behave("forged.test", Behaviour::LieThenAnswer);
    names.server.behave("long.test", Behaviour::Truncated);
    for domain in ["slow.test", "forged.test", "long.test"] {
        accept(&daemon, "ann@client.test", &[&format!("bob@{domain}")], &letter(domain));
    }
    sink.wait_for(3, SOON);
    wait_for_lines(&daemon, "D", 3);
    assert!(mainlog(&daemon, "T").is_empty(), "{}", testimony(&daemon));
}

#[test]
fn a_domain_without_a_host_waits_and_may_still_get_one() {
    let (sink, names, daemon) = house(
        "mx.test A 127.0.0.1
         literal.test MX 10 127.0.0.1
         lame.test MX 10 nowhere.test
         loop.test CNAME pool.test
         pool.test CNAME loop.test
         text-only.test TXT \"no mail\"",
        "",
    );
    let domains = ["literal.test", "lame.test", "text-only.test"];
    for domain in domains {
        accept(&daemon, "ann@client.test", &[&format!("bob@{domain}")], &letter(domain));
    }
    accept(&daemon, "ann@client.test", &["bob@loop.test"], &letter("loop.test"));
    for domain in domains {
        expect(&daemon, "T", domain, NO_HOST);
    }
    // Whether a loop means "no host" or "no answer" is a matter of taste; the mail waits either way.
    wait(&daemon, "a line T for loop.test", || verdict(&daemon, "T", "loop.test").is_some());
    let (stage, reply) = verdict(&daemon, "T", "loop.test").expect("just seen");
    assert!(stage == "0" && (reply == NO_HOST || reply.starts_with(FAILING)), "{reply}");
    assert_eq!(sink.count(), 0);

    for domain in domains.into_iter().chain(["loop.test"]) {
        names.server.remove(domain);
        names.server.add(&format!("{domain} MX 10 mx.test"));
    }
    // That there was no host may be believed for a minute, as the server said; whoever flushes asks anew.
    ask(&daemon, &["flush", "domain", "all"]);
    sink.wait_for(4, SOON);
    wait_for_lines(&daemon, "D", 4);
    assert_eq!(sink.count(), 4);
}

#[test]
fn a_domain_that_never_has_a_host_fails_with_the_documented_text() {
    let (sink, _names, daemon) = house(
        "mx.test A 127.0.0.1\nsender.test MX 10 mx.test\ngone.test TXT \"x\"",
        "domain \"gone.test\" { dns_failures_to_purge = 1 }\n",
    );
    accept(&daemon, "ann@sender.test", &["bob@gone.test"], &letter("to nowhere"));
    expect(&daemon, "P", "gone.test", "554 5.4.4 [internal] Domain Lookup Failed");
    let bounce = sink.wait_for(1, SOON)[0].clone();
    assert_eq!(bounce.reverse_path, "");
    assert!(bounce.text().contains("Domain Lookup Failed") && bounce.text().contains("bob@gone.test"));
}

#[test]
fn a_domain_that_wants_no_mail_gets_none() {
    let (sink, _names, daemon) =
        house("mx.test A 127.0.0.1\nsender.test MX 10 mx.test\nnull.test MX 0 .\nnull.test A 127.0.0.1", "");
    accept(&daemon, "ann@sender.test", &["bob@null.test"], &letter("unwanted"));
    expect(&daemon, "P", "null.test", "556 5.1.10 [internal] NULL MX domain does not accept mail");
    assert_eq!(sink.wait_for(1, SOON)[0].reverse_path, "", "more than the notification arrived");
}

#[test]
fn a_domain_that_points_at_this_machine_is_refused_where_that_is_prohibited() {
    let sink = Sink::start_at(SocketAddr::from(([127, 0, 0, 2], 0))).expect("an address of the loopback network");
    let names = Names::start(
        "mx.test A 127.0.0.2
         sender.test MX 10 mx.test
         localhost A 127.0.0.1
         trap.test MX 10 localhost
         half.test MX 10 mx.test
         half.test MX 20 localhost
         skip.test MX 10 skipped.test
         skip.test MX 20 mx.test
         skipped.test A 127.0.0.3",
    );
    let daemon = daemon(&format!(
        "{IMPATIENT}remote_smtp_port = {}\nprohibited_hosts = ( \"127.0.0.1/32\" )\nskip_hosts = ( \"127.0.0.3/32\" )\n",
        sink.addr().port()
    ))
    .set("resolv_conf", names.resolv_conf())
    .start();
    for domain in ["trap.test", "half.test"] {
        accept(&daemon, "ann@sender.test", &[&format!("bob@{domain}")], &letter(domain));
        expect(&daemon, "P", domain, "551 5.4.6 [internal] Private/Loopback Address");
    }
    accept(&daemon, "ann@sender.test", &["bob@skip.test"], &letter("skipped"));
    let messages = sink.wait_for(3, SOON);
    assert_eq!(messages.iter().filter(|message| message.reverse_path.is_empty()).count(), 2);
    assert!(messages.iter().any(|message| message.forward_paths == ["bob@skip.test"]));
}
