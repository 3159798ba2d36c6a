//! Why mail waits, as the operator is told: `domain`, `message details`, `mailq`, `showqueue`, `binding summary` and their
//! JSON, while the DNS fails, a host refuses, a binding is suspended and a throttle is full.

use e2e::{Names, SOON, accept, ask, daemon, letter, mainlog, wait, wait_for_lines};
use serde_json::Value;
use testkit::dns::Behaviour;
use testkit::{Daemon, Sink};

fn json(daemon: &Daemon, words: &[&str]) -> Value {
    let mut words = words.to_vec();
    words.push("--json");
    let text = ask(daemon, &words);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?}: {error} in {text}"))
}

/// Waits until `domain NAME` says that; the whole answer.
fn domain_says(daemon: &Daemon, domain: &str, words: &str) -> String {
    wait(daemon, words, || ask(daemon, &["domain", domain]).contains(words));
    ask(daemon, &["domain", domain])
}

/// The id of the one message that waits for a domain.
fn id_of(daemon: &Daemon, domain: &str) -> String {
    let listed = json(daemon, &["showqueue", "binding", "all", domain]);
    listed["messages"][0]["id"].as_str().unwrap_or_else(|| panic!("{listed}")).to_owned()
}

/// That every face tells of a hold of this kind, and in which words.
fn all_tell(daemon: &Daemon, domain: &str, kind: &str, words: &str) {
    let details = ask(daemon, &["message", "details", &id_of(daemon, domain)]);
    assert!(!details.contains("Next Attempt: now"), "{details}");
    for shown in [
        details,
        ask(daemon, &["domain", domain]),
        ask(daemon, &["mailq", "-d", domain]),
        ask(daemon, &["showqueue", "binding", "all", domain]),
        ask(daemon, &["binding", "summary", "default"]),
    ] {
        assert!(shown.contains(words), "{words:?} is missing in:\n{shown}");
    }
    let details = json(daemon, &["message", "details", &id_of(daemon, domain)]);
    let (domains, mailq) = (json(daemon, &["domain", domain]), json(daemon, &["mailq", "-d", domain]));
    let listing = json(daemon, &["showqueue", "binding", "all", domain]);
    let waiting = [
        &details["waiting"],
        &domains["waiting"][0],
        &mailq["QueueSummary"][0]["waiting"],
        &listing["messages"][0]["waiting"],
    ];
    for waiting in waiting {
        assert_eq!((waiting["kind"].as_str(), waiting["held"].as_bool()), (Some(kind), Some(true)), "{waiting}");
        assert!(waiting["text"].as_str().is_some_and(|text| text.contains(words)), "{waiting}");
    }
}

#[test]
fn a_dns_that_fails_is_told_everywhere_and_at_once() {
    let names = Names::start("fine.test A 127.0.0.1");
    names.server.behave("broken.test", Behaviour::ServFail);
    let daemon = daemon("").set("resolv_conf", names.resolv_conf()).start();
    accept(&daemon, "ann@client.test", &["bob@broken.test"], &letter("to a broken zone"));
    let words = "the DNS gave no host in 1 lookups: lookup of broken.test MX failed";
    let shown = domain_says(&daemon, "broken.test", words);
    assert!(!shown.contains("has not been resolved") && !shown.contains("connection failures"), "{shown}");
    assert!(shown.contains("Domain 'broken.test' could not be looked up: "), "{shown}");
    assert!(shown.contains("Domain has had 1 consecutive lookups without a host"), "{shown}");
    all_tell(&daemon, "broken.test", "dns", words);
    let next = &json(&daemon, &["message", "details", &id_of(&daemon, "broken.test")])["next_attempt"];
    assert!(next.is_u64(), "the next lookup is known: {next}");
    let told = || daemon.read("log/paniclog.ec").contains("no host for mail to broken.test: lookup of broken.test MX");
    wait(&daemon, "the paniclog tells it", told);
    assert!(mainlog(&daemon, "T").is_empty());
}

#[test]
fn a_domain_with_a_verdict_is_not_one_that_nobody_has_asked_for() {
    let names = Names::start("null.test MX 0 .\nnull.test A 127.0.0.1\nbare.test TXT \"x\"");
    let daemon = daemon("generate_bounces = false").set("resolv_conf", names.resolv_conf()).start();
    accept(&daemon, "ann@client.test", &["bob@null.test", "bob@gone.test", "bob@bare.test"], &letter("nowhere"));
    wait_for_lines(&daemon, "P", 2);
    wait_for_lines(&daemon, "T", 1);
    for (domain, sentence) in [
        ("null.test", "Domain 'null.test' accepts no mail (null MX)"),
        ("gone.test", "Domain 'gone.test' does not exist (NXDOMAIN)"),
        ("bare.test", "Domain 'bare.test' has no host: no MX and no address leads to bare.test"),
    ] {
        let shown = ask(&daemon, &["domain", domain]);
        assert!(shown.contains(sentence) && !shown.contains("has not been resolved"), "{shown}");
    }
    assert!(ask(&daemon, &["domain", "never.test"]).contains("has not been resolved"));
}

#[test]
fn suspension_is_told_with_the_option_and_its_scope() {
    let sink = Sink::start();
    let daemon =
        daemon(&format!("gateway = \"{}\"\nbinding \"default\" {{ suspend_delivery = true }}\n", sink.addr())).start();
    let queue = sink.addr().to_string();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("held"));
    let words = "suspended by suspend_delivery = true (binding \"default\")";
    domain_says(&daemon, &queue, words);
    all_tell(&daemon, &queue, "suspended", words);
    let summary = ask(&daemon, &["binding", "summary", "default"]);
    assert!(summary.contains("        Held: suspend_delivery = true (binding \"default\")\n"), "{summary}");
    ask(&daemon, &["config", "set", "binding", "default", "suspend_delivery", "false"]);
    sink.wait_for(1, SOON);
    assert!(!ask(&daemon, &["binding", "summary", "default"]).contains("Held:"));
}

#[test]
fn a_throttle_is_told_with_its_value_and_until_when() {
    let sink = Sink::start();
    let queue = sink.addr().to_string();
    let more = format!("gateway = \"{queue}\"\ndomain \"{queue}\" {{ outbound_throttle_messages = \"1/3600\" }}\n");
    let daemon = daemon(&more).start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("the first"));
    sink.wait_for(1, SOON);
    wait_for_lines(&daemon, "D", 1);
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("the second"));
    let words = "messages are throttled by outbound_throttle_messages = ";
    domain_says(&daemon, &queue, words);
    all_tell(&daemon, &queue, "throttled", words);
    assert!(json(&daemon, &["message", "details", &id_of(&daemon, &queue)])["next_attempt"].is_u64());
}

#[test]
fn hosts_that_refuse_are_told_with_their_errors() {
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).expect("a port");
    let daemon = daemon(&format!("gateway = \"{closed}\"\n")).start();
    let queue = closed.to_string();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("refused"));
    let words = "hosts that failed are left alone: 127.0.0.1";
    let shown = domain_says(&daemon, &queue, words);
    assert!(shown.contains("Connection refused") && shown.contains("1 consecutive connection failures"), "{shown}");
    all_tell(&daemon, &queue, "hosts_failed", words);
}
