//! Mail whose way leads back to the daemon, or to addresses that no host of the Internet has: it is received once, and its
//! sender is told.

use std::net::SocketAddr;

use e2e::{
    Names, SOON, accept, ask, ask_json, configuration, daemon, letter, mainlog, testimony, wait, wait_for_lines,
};
use testkit::{Daemon, Sink, free_addr};

const LOOP: &str = "554 5.4.6 [internal] routing loop: the best host for this domain is this server itself, which does not \
                    deliver it locally";

/// The reply that a message to a recipient failed with; that it was received once and is gone.
fn failure(daemon: &Daemon, recipient: &str) -> String {
    let received = || {
        let is_its = |fields: &Vec<String>| fields[5..].join("@").starts_with(&format!("{recipient}@"));
        mainlog(daemon, "R").into_iter().filter(is_its).collect::<Vec<_>>()
    };
    wait(daemon, &format!("a line R for {recipient}"), || !received().is_empty());
    let id = received()[0][1].clone();
    let failed = || mainlog(daemon, "P").into_iter().find(|fields| fields[1] == id);
    wait(daemon, &format!("a line P for {recipient}"), || failed().is_some());
    assert_eq!(received().len(), 1, "{recipient} was received again\n{}", testimony(daemon));
    failed().expect("just seen")[13..].join("@")
}

/// A message without a reverse-path, which no notification follows.
fn try_to_send(daemon: &Daemon, recipient: &str) {
    accept(daemon, "", &[recipient], &letter(recipient));
}

#[test]
fn mail_that_leads_back_here_is_received_once_and_fails() {
    let narrow = free_addr().port();
    let wide = free_addr().port();
    let better =
        Sink::start_at(SocketAddr::from(([127, 0, 0, 2], narrow))).expect("an address of the loopback network");
    let worse = Sink::start_at(SocketAddr::from(([127, 0, 0, 3], narrow))).expect("an address of the loopback network");
    let names = Names::start(
        "own.test A 127.0.0.1
         wide.test MX 10 any.test
         any.test A 127.7.7.7
         plain.test A 127.0.0.1
         address.test MX 10 own.test
         address.test MX 20 worse.test
         name.test MX 10 RELAY.test
         name.test MX 20 worse.test
         relay.test A 127.0.0.3
         greeting.test MX 10 out.test
         out.test A 127.0.0.3
         backup.test MX 10 better.test
         backup.test MX 20 own.test
         backup.test MX 30 worse.test
         better.test A 127.0.0.2
         worse.test A 127.0.0.3",
    );
    let more = format!(
        "remote_smtp_port = {narrow}
         ehlo_hostname = \"out.test\"
         relay_domains = ( \"backup.test\" )
         only_use_best_mx_for_relay_domains = false
         domain \"wide.test\" {{ remote_smtp_port = {wide} }}
         domain \"gateway.test\" {{ gateway = \"own.test:{narrow}\" }}
         domain \"routed.test\" {{ routes = ( \"smtp://127.0.0.1?port={narrow}\" ) }}
         ESMTP_Listener {{
           Listen \"127.0.0.1:{narrow}\" {{ }}
           Listen \"*:{wide}\" {{ }}
         }}
         debug_flags {{ warning = ( \"SMTP\" ) }}\n"
    );
    let daemon = daemon(&more).set("resolv_conf", names.resolv_conf()).start();
    let domains =
        ["plain.test", "wide.test", "address.test", "name.test", "greeting.test", "gateway.test", "routed.test"];
    let recipients = domains.iter().map(|domain| format!("bob@{domain}"));
    for recipient in
        recipients.chain(["[127.0.0.1]", "[IPv6:::ffff:127.0.0.1]"].map(|literal| format!("bob@{literal}")))
    {
        try_to_send(&daemon, &recipient);
        assert_eq!(failure(&daemon, &recipient), LOOP, "{recipient}");
    }
    // A better host than this one takes the mail.
    try_to_send(&daemon, "bob@backup.test");
    better.wait_for(1, SOON);
    assert_eq!(wait_for_lines(&daemon, "D", 1)[0][11], "127.0.0.2");
    assert_eq!(worse.connections(), 0);
    assert!(
        daemon
            .read("log/paniclog.ec")
            .contains("mail for name.test loops back: its best host relay.test is this server")
    );
    assert!(ask(&daemon, &["meters"]).contains("looping"), "{}", ask(&daemon, &["meters"]));
}

/// Each server's gateway is the other, so neither can know that the way leads back to it.
#[test]
fn a_message_that_two_servers_send_to_each_other_ends_after_a_hundred_hops() {
    let first = daemon("").start();
    let second = daemon(&format!("gateway = \"{}\"\n", first.addr())).start();
    first.write_config(&configuration(&format!("gateway = \"{}\"\n", second.addr()), ""));
    ask(&first, &["config", "reload"]);
    try_to_send(&first, "bob@loop.test");
    let of_both = |kind: &str| [&first, &second].map(|server| mainlog(server, kind)).concat();
    wait(&first, "the loop ends", || !of_both("P").is_empty());
    let (received, failed) = (of_both("R"), of_both("P"));
    // The hundred and first reception sees a hundred Received fields, one fewer than too many.
    assert_eq!((received.len(), failed.len()), (101, 1));
    assert!(failed[0][13..].join("@").starts_with("554 5.4.6 "), "{failed:?}");
    let rejected = || [&first, &second].map(|server| server.read("log/rejectlog.ec")).concat();
    wait(&first, "the refusal has its line", || rejected().matches("5.4.6 ").count() == 1);
    for server in [&first, &second] {
        wait(server, "nothing is left", || {
            let summary = ask_json(server, &["summary"]);
            ["ActiveQueueSize", "DelayedQueueSize"].iter().all(|size| summary[*size].as_u64() == Some(0))
        });
    }
}

#[test]
fn another_server_on_this_machine_is_a_next_hop_like_any_other() {
    let filter = Sink::start();
    let names = Names::start("relay.test A 127.0.0.1");
    let port = filter.addr().port();
    let more = format!(
        "domain \"a.test\" {{ gateway = \"{}\" }}\ndomain \"b.test\" {{ gateway = \"relay.test:{port}\" }}\n",
        filter.addr()
    );
    let daemon = daemon(&more).set("resolv_conf", names.resolv_conf()).start();
    for domain in ["a.test", "b.test"] {
        accept(&daemon, "ann@client.test", &[&format!("bob@{domain}")], &letter(domain));
    }
    filter.wait_for(2, SOON);
}

#[test]
fn records_of_strangers_lead_to_no_address_inside_unless_that_is_allowed() {
    let port = free_addr().port();
    let inside = Sink::start_at(SocketAddr::from(([127, 0, 0, 2], port))).expect("an address of the loopback network");
    let names = Names::start(
        "trap.test MX 10 inside.test
         trap.test MX 20 other.test
         inside.test A 127.0.0.2
         other.test A 10.255.255.1
         plain.test A 127.0.0.2",
    );
    let text = configuration(
        &format!("remote_smtp_port = {port}\ndomain \"ours.test\" {{ routes = ( \"inside.test\" ) }}\n"),
        "",
    );
    let strict = text.replace("prohibited_hosts = ( )\n", "");
    assert_ne!(strict, text);
    let setup = testkit::DaemonSetup::new(e2e::binary("postriderd"), &strict)
        .console(e2e::binary("ec_console"))
        .set("resolv_conf", names.resolv_conf());
    let daemon = setup.start();
    for domain in ["trap.test", "plain.test"] {
        let recipient = format!("bob@{domain}");
        try_to_send(&daemon, &recipient);
        assert_eq!(failure(&daemon, &recipient), "551 5.4.6 [internal] Private/Loopback Address");
    }
    assert_eq!(inside.connections(), 0);
    // What the operator named, and an address that somebody who may relay named.
    try_to_send(&daemon, "bob@ours.test");
    try_to_send(&daemon, "bob@[127.0.0.2]");
    inside.wait_for(2, SOON);
    daemon.write_config(&text);
    ask(&daemon, &["config", "reload"]);
    try_to_send(&daemon, "ann@plain.test");
    inside.wait_for(3, SOON);
}
