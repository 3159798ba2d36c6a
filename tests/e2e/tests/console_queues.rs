//! `showqueue`, `binding summary` and what the acctlog keeps of the console.

use e2e::{accept, ask, ask_json, daemon, figure, letter, wait, wait_for_lines};
use testkit::{Daemon, Sink};

/// A daemon with one delayed message, and that message's id and routing domain.
fn start() -> (Daemon, Sink, String, String) {
    let sink = Sink::start();
    sink.on("RCPT", "452 4.2.2 mailbox full");
    let queue = sink.addr().to_string();
    let daemon = daemon(&format!("domain \"shop.test\" {{ gateway = \"{queue}\" }}")).start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("delayed"));
    let id = wait_for_lines(&daemon, "T", 1)[0][1].clone();
    (daemon, sink, id, queue)
}

#[test]
fn showqueue_lists_a_window_of_a_queue() {
    let (daemon, _sink, id, queue) = start();
    let listing = ask(&daemon, &["showqueue", &queue]);
    assert!(listing.starts_with(&format!("[delayed/default] {id} Created: ")), "{listing}");
    assert!(listing.ends_with("\n  From: <ann@client.test> To: <bob@shop.test>\n"), "{listing}");
    assert_eq!(ask(&daemon, &["showqueue", "binding", "all", &queue, "5,0"]), listing);
    assert_eq!(ask(&daemon, &["showqueue", &queue, "5,1"]), "");
    assert_eq!(ask_json(&daemon, &["showqueue", &queue])["messages"][0]["id"], id.as_str());
}

#[test]
fn binding_summary_counts_what_a_binding_had() {
    let (daemon, ..) = start();
    let summary = ask(&daemon, &["binding", "summary"]);
    assert!(summary.starts_with("Summary Statistics For Binding default\n"), "{summary}");
    assert_eq!(figure(&summary, "Total Queue Size"), "1");
    assert_eq!(figure(&summary, "Received Messages"), "1");
    let group = ask_json(&daemon, &["binding", "summary", "group:default"]);
    assert_eq!((&group["group"]["Name"], &group["group"]["TotalQueueSize"]), (&"default".into(), &1.into()));
    assert_eq!(daemon.console(&["binding", "summary", "nosuch"]).status.code(), Some(1));
}

#[test]
fn the_acctlog_keeps_who_connected_and_each_command() {
    let (daemon, ..) = start();
    ask(&daemon, &["threads", "io", "queue"]);
    let control = daemon.value("control");
    wait(&daemon, "both records are in the acctlog", || {
        let acctlog = daemon.read("log/acctlog.ec");
        let identified = acctlog.lines().any(|line| line.contains(&format!("@N@{control}@@")) && line.ends_with("@1"));
        identified && acctlog.lines().any(|line| line.contains("@Z@") && line.ends_with("@1@threads io queue"))
    });
}
