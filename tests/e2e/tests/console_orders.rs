//! Orders about mail that waits: what they did is what they say, in words and in JSON.

use e2e::{Names, SOON, accept, ask, ask_json, bouncelog, daemon, letter, mainlog, wait, wait_for_lines};
use serde_json::{Value, json};
use testkit::{Action, Daemon, Sink};

/// Queues of a binding that the configuration names, of one that it does not, and of the default one: all suspended.
const SUSPENDED: &str =
    "suspend_delivery = true\nbinding \"out1\" { }\nbinding_group \"bulk\" { binding \"out2\" { } }\n";

fn suspended() -> Daemon {
    daemon(SUSPENDED).start()
}

fn queued(daemon: &Daemon, n: u64) {
    wait(daemon, "mail is queued", || ask_json(daemon, &["summary"])["TotalQueueSize"] == n);
}

/// Expects a failure; what was said on standard error.
fn refused(daemon: &Daemon, words: &[&str]) -> String {
    let ended = daemon.console(words);
    assert_eq!(ended.status.code(), Some(1), "{words:?}: {}{}", ended.stdout, ended.stderr);
    ended.stderr
}

fn ids(daemon: &Daemon, domain: &str) -> Vec<String> {
    let listed = ask_json(daemon, &["showqueue", domain]);
    let messages = listed["messages"].as_array().expect("a listing").clone();
    messages.iter().map(|message| message["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn a_flush_tells_what_was_due_already_and_what_still_holds_it() {
    let daemon = suspended();
    accept(&daemon, "ann@client.test", &["bob@shop.test", "eve@shop.test"], &letter("held"));
    queued(&daemon, 2);
    let told = ask(&daemon, &["flush", "domain", "shop.test"]);
    assert!(told.starts_with("shop.test flushed.  0 messages requeued.\n2 messages were due already.\n"), "{told}");
    assert!(told.contains("2 messages are still held: suspended by suspend_delivery = true"), "{told}");
    let told = ask_json(&daemon, &["flush", "domain", "all"]);
    assert_eq!(
        (&told["requeued"], &told["due_already"], &told["held"][0]["messages"]),
        (&json!(0), &json!(2), &json!(2))
    );
    let told = ask(&daemon, &["flush", "domain", "nosuch.test"]);
    let unknown = "No queue is known for nosuch.test: no mail waits there.\n";
    assert_eq!(told, format!("nosuch.test flushed.  0 messages requeued.\n{unknown}"));
    assert_eq!(ask_json(&daemon, &["flush", "domain", "nosuch.test"])["known"], false);
    let told = ask(&daemon, &["binding", "flush", "domain", "out1", "shop.test"]);
    assert!(told.contains("for shop.test under binding out1"), "{told}");
    assert!(ask(&daemon, &["binding", "flush", "domain", "default", "all"]).starts_with("All domains flushed."));
    assert!(
        refused(&daemon, &["binding", "flush", "domain", "out9", "all"])
            .contains("no binding is called out9; there are")
    );
    assert!(refused(&daemon, &["binding", "flush", "domain", "out1"]).contains("behind the binding 'out1' a domain"));
}

#[test]
fn hosts_that_are_left_alone_are_tried_again_by_a_flush_and_it_counts_their_mail() {
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).expect("a port");
    let queue = closed.to_string();
    let daemon =
        daemon(&format!("mx_failures_to_delay = 0\ndomain \"shop.test\" {{ gateway = \"{queue}\" }}\n")).start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("refused"));
    wait(&daemon, "the host is left alone", || ask(&daemon, &["domain", &queue]).contains("left alone"));
    let told = ask_json(&daemon, &["flush", "domain", &queue]);
    assert_eq!((&told["requeued"], &told["due_already"], &told["released"]), (&json!(0), &json!(1), &json!(1)));
    let told = ask(&daemon, &["fail", "domain", "shop.test"]);
    assert!(told.contains(&format!("has the gateway {queue}, and waits under that name")), "{told}");
}

#[test]
fn failing_mail_takes_a_note_a_filter_and_a_dry_run_and_its_class_is_25() {
    let daemon = suspended();
    let with = |job: &str| format!("X-Job: {job}\n{}", letter("to fail"));
    accept(&daemon, "ann@client.test", &["bob@shop.test", "eve@shop.test"], &with("7"));
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &with("8"));
    queued(&daemon, 3);
    let dry = ask(&daemon, &["fail", "domain", "--dry-run", "--header", "x-job", "7", "shop.test"]);
    assert_eq!(dry.lines().count(), 3, "{dry}");
    assert!(dry.contains("  domain=shop.test from=ann@client.test to=eve@shop.test\n"), "{dry}");
    assert!(dry.ends_with("[dry-run] shop.test: 2 messages would be failed.\n"), "{dry}");
    queued(&daemon, 3);
    assert!(refused(&daemon, &["fail", "domain", "shop.test", "quiet"]).contains("'quiet' stands before the names"));
    assert!(refused(&daemon, &["fail", "all"]).contains("a filter is missing"));
    queued(&daemon, 3);
    let told = ask(&daemon, &["fail", "all", "quiet", "--header", "X-Job", "7", "550 5.1.1 user unknown, says jan"]);
    assert_eq!(told, "All domains purged. 2 messages failed.\n");
    let failed = wait_for_lines(&daemon, "P", 2);
    assert!(failed.iter().all(|line| line.join("@").contains("user unknown, says jan")), "{failed:?}");
    wait(&daemon, "the bouncelog has them", || bouncelog(&daemon, "B").len() == 2);
    assert!(
        bouncelog(&daemon, "B").iter().all(|line| line.contains(&"25".to_owned())),
        "{:?}",
        bouncelog(&daemon, "B")
    );
    let told = ask_json(&daemon, &["binding", "fail", "domain", "default", "shop.test", "closed"]);
    assert_eq!((&told["failed"], &told["in_flight"], &told["known"]), (&json!(1), &json!(0), &json!(true)));
    assert!(refused(&daemon, &["binding", "fail", "domain", "out9", "all"]).contains("no binding is called out9"));
}

#[test]
fn mail_in_an_attempt_is_counted_and_left_alone() {
    let sink = Sink::start();
    sink.on("DATA", Action::Stall);
    let queue = sink.addr().to_string();
    let daemon = daemon(&format!("domain \"shop.test\" {{ gateway = \"{queue}\" }}\n")).start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("under way"));
    wait(&daemon, "it is in a session", || ask(&daemon, &["showqueue", "all"]).contains("active/default"));
    let id = ids(&daemon, &queue)[0].clone();
    wait(&daemon, "it is in a session", || ask(&daemon, &["message", "details", &id]).contains("in a session"));
    let told = ask(&daemon, &["fail", "domain", &queue]);
    assert!(
        told.contains(" 0 messages failed.\n1 message is in an attempt, and will have its own outcome.\n"),
        "{told}"
    );
    assert!(refused(&daemon, &["message", "fail", &id]).contains("it is left to that, and nothing was done"));
    assert!(refused(&daemon, &["message", "retry", &id]).contains("in a session"));
}

#[test]
fn one_message_is_made_due_or_failed_by_its_id() {
    let sink = Sink::start();
    sink.on("RCPT", "452 4.2.2 mailbox full");
    let queue = sink.addr().to_string();
    let daemon = daemon(&format!("domain \"shop.test\" {{ gateway = \"{queue}\" }}\n")).start();
    accept(&daemon, "ann@client.test", &["bob@shop.test", "eve@shop.test"], &letter("delayed"));
    wait_for_lines(&daemon, "T", 2);
    let [one, other] = &ids(&daemon, &queue)[..] else { panic!("two wait") };
    assert_eq!(ask(&daemon, &["message", "retry", one]), "Message requeued for delivery\n");
    wait_for_lines(&daemon, "T", 3);
    assert_eq!(ask(&daemon, &["message", "fail", "quiet", other]), "Message failed; its sender is not told\n");
    let failed = wait_for_lines(&daemon, "P", 1);
    assert!(failed[0][1] == *other && failed[0].join("@").contains("[internal] manually failed"), "{failed:?}");
    assert!(refused(&daemon, &["message", "fail", other]).contains("no queue holds a message"));
    assert!(
        refused(&daemon, &["message", "retry", "nonsense"]).contains("'nonsense' is no message id, which looks like")
    );
    assert!(refused(&daemon, &["message", "fail", one, "quiet"]).contains("'quiet' stands before the id"));
    assert_eq!(mainlog(&daemon, "P").len(), 1);
}

#[test]
fn mail_is_put_off_and_moved_to_another_domain() {
    let sink = Sink::start();
    let more = format!(
        "domain \"shop.test\" {{ suspend_delivery = true }}\ndomain \"other.test\" {{ routes = ( \"smtp://127.0.0.1?port={}\" ) }}\n",
        sink.addr().port()
    );
    let daemon = daemon(&more).start();
    accept(&daemon, "ann@client.test", &["bob@shop.test", "eve@shop.test"], &letter("moved"));
    queued(&daemon, 2);
    assert_eq!(ask(&daemon, &["delay", "600", "--domain", "shop.test"]), "Delayed 2 messages.\n");
    wait(&daemon, "both wait", || ask_json(&daemon, &["summary"])["DelayedQueueSize"] == 2);
    let told = ask(&daemon, &["delay", "600", "--domain", "nosuch.test"]);
    assert!(told.starts_with("No messages for nosuch.test found.\n"), "{told}");
    assert!(refused(&daemon, &["delay", "600"]).contains("say which mail"));
    assert!(refused(&daemon, &["delay", "600", "--binding", "out9"]).contains("no binding is called out9"));
    let dry = ask(&daemon, &["reroute", "queue", "shop.test", "other.test", "--dry-run"]);
    assert!(dry.ends_with("[dry-run] shop.test -> other.test: 2 messages would be moved.\n"), "{dry}");
    let told = ask(&daemon, &["reroute", "queue", "shop.test", "other.test"]);
    assert!(told.starts_with("Moved 2 messages from 'shop.test' to 'other.test'\n"), "{told}");
    wait_for_lines(&daemon, "D", 2);
    assert!(!sink.wait_for(1, SOON).is_empty());
}

#[test]
fn a_binding_without_mail_is_told_from_one_that_does_not_exist() {
    let daemon = suspended();
    let summary = ask(&daemon, &["binding", "summary", "out2"]);
    assert!(summary.starts_with("Summary Statistics For Binding out2\n"), "{summary}");
    assert!(summary.contains("Held: suspend_delivery = true"), "{summary}");
    let all = ask(&daemon, &["binding", "summary"]);
    assert!(["default", "out1", "out2"].iter().all(|name| all.contains(&format!("For Binding {name}\n"))), "{all}");
    assert!(ask(&daemon, &["binding", "summary", "group:bulk"]).contains("Summary Statistics For Binding Group bulk"));
    let said = refused(&daemon, &["binding", "summary", "NOSUCH"]);
    assert!(said.contains("no binding is called NOSUCH; there are default, out1, out2"), "{said}");
    assert!(refused(&daemon, &["binding", "summary", "group:nosuch"]).contains("no binding group is called nosuch"));
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("held"));
    queued(&daemon, 1);
    assert!(ask(&daemon, &["binding", "active", "default", "0"]).contains("shop.test"));
    assert_eq!(ask(&daemon, &["binding", "active", "out1", "0"]).lines().count(), 1);
    assert_eq!(ask(&daemon, &["binding", "delayed", "default", "0"]).lines().count(), 1);
    assert!(refused(&daemon, &["binding", "active", "default"]).contains("behind the binding a number is missing"));
    assert!(refused(&daemon, &["mailq", "-b", "out9"]).contains("no binding is called out9"));
    assert!(
        ask(&daemon, &["mailq", "-d", "nosuch.test"])
            .ends_with("No queue is known for nosuch.test: no mail waits there.\n")
    );
    assert!(
        ask(&daemon, &["domain", "nosuch.test"]).ends_with("No queue is known for nosuch.test: no mail waits there.\n")
    );
    assert_eq!(ask_json(&daemon, &["domain", "shop.test"])["known"], true);
    let told = ask(&daemon, &["binding", "fail", "domain", "default", "all"]);
    assert_eq!(told, "All domains purged.  1 messages failed.\n");
}

#[test]
fn a_listing_counts_what_it_leaves_out_and_says_where_mail_is_instead() {
    let daemon = suspended();
    accept(&daemon, "ann@client.test", &["a@shop.test", "b@shop.test", "c@other.test"], &letter("held"));
    queued(&daemon, 3);
    let told = ask(&daemon, &["showqueue", "shop.test", "1"]);
    assert!(told.ends_with("\n(1 more are not listed; 1,1 shows the next.)\n"), "{told}");
    let all = ask_json(&daemon, &["showqueue", "all", "2"]);
    assert_eq!(
        (&all["total"], &all["not_listed"], all["messages"].as_array().map(Vec::len)),
        (&json!(3), &json!(1), Some(2))
    );
    let told = ask(&daemon, &["showqueue", "binding", "out1", "shop.test"]);
    assert!(told.contains("No queue is known for shop.test under binding out1"), "{told}");
    assert!(told.contains("There is mail under: showqueue binding default shop.test"), "{told}");
    assert!(refused(&daemon, &["showqueue", "binding", "out9", "shop.test"]).contains("no binding is called out9"));
    // The ids of the listing are what the Tab key offers next, and the domains those with a queue.
    ask(&daemon, &["showqueue", "shop.test"]);
    let offered = ask(&daemon, &["complete message retry "]);
    assert_eq!(
        offered.lines().collect::<std::collections::BTreeSet<_>>(),
        ids(&daemon, "shop.test").iter().map(String::as_str).collect()
    );
    assert_eq!(ask(&daemon, &["complete flush domain o"]).trim(), "other.test");
    assert_eq!(ask(&daemon, &["complete binding summary out"]).trim(), "out1\nout2");
    assert_eq!(ask(&daemon, &["complete mailq -d sh"]).trim(), "shop.test");
    assert_eq!(ask(&daemon, &["complete config set suspend_delivery "]).trim(), "false\ntrue");
}

#[test]
fn mail_hosts_are_asked_for_anew() {
    let names = Names::start("shop.test MX 10 mx.shop.test\nmx.shop.test A 127.0.0.1\nshop.test TXT \"hello\"");
    let daemon = daemon("suspend_delivery = true\n").set("resolv_conf", names.resolv_conf()).start();
    assert_eq!(ask(&daemon, &["dns_cache", "lookup", "shop.test", "MX"]), "Cached result not found, try a submit.\n");
    assert_eq!(ask(&daemon, &["dig", "shop.test"]), "submitted\n");
    let told = |words: &[&str], part: &str| {
        wait(&daemon, part, || ask(&daemon, words).contains(part));
    };
    told(&["dns_cache", "lookup", "shop.test", "mx"], "IN\tMX\t10 mx.shop.test.");
    assert_eq!(ask(&daemon, &["dns_cache", "submit", "shop.test", "TXT"]), "Submitted\n");
    told(&["dns_cache", "lookup", "shop.test", "TXT"], "hello");
    ask(&daemon, &["dns_cache", "submit", "gone.test", "A"]);
    told(&["dns_cache", "lookup", "gone.test", "A"], ";; domain gone.test does not exist");
    let kept: Value = ask_json(&daemon, &["dns_cache", "lookup", "shop.test", "MX"]);
    assert_eq!((&kept["found"], kept["records"].as_array().map(Vec::len)), (&json!(true), Some(1)));
    assert!(ask(&daemon, &["dns_cache", "stats"]).starts_with("DNS Queries:\n"));
    assert!(
        refused(&daemon, &["dns_cache", "lookup", "shop.test", "SRV"]).contains("is no type that can be asked for")
    );
    assert!(refused(&daemon, &["dig", "no..name"]).contains("is no domain name"));
    assert!(ask(&daemon, &["refresh", "domain", "shop.test"]).contains("No queue is known for shop.test"));
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("held"));
    queued(&daemon, 1);
    assert!(ask(&daemon, &["refresh", "domain", "shop.test"]).starts_with("shop.test refreshed. 1 queues"));
}

#[test]
fn mail_under_a_gateway_is_named_by_every_order_about_its_domain() {
    let text = "domain \"temp.test\" { gateway = \"hub.test\" }\ndomain \"other.test\" { gateway = \"hub.test\" }\n";
    let daemon = daemon(&format!("{SUSPENDED}{text}")).start();
    accept(&daemon, "ann@client.test", &["bob@temp.test"], &letter("held"));
    queued(&daemon, 1);
    let told = ask(&daemon, &["refresh", "domain", "temp.test"]);
    assert!(told.contains("has the gateway hub.test"), "{told}");
    let file = daemon.dir().join("dialogue").display().to_string();
    let told = ask(&daemon, &["trace", "smtp", "add", "default", "temp.test", &file]);
    assert!(told.contains("Nothing of temp.test is recorded") && told.contains("gateway hub.test"), "{told}");
    let told = ask(&daemon, &["reroute", "queue", "all", "other.test"]);
    assert!(
        told.starts_with("Moved 0 messages") && told.contains("1 messages are in the queue of 'other.test'"),
        "{told}"
    );
    assert!(
        refused(&daemon, &["reroute", "queue", "--dry-run", "hub.test", "bad..name"]).contains("no name that mail")
    );
}
