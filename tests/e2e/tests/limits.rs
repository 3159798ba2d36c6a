//! What the daemon refuses at its door, and that it says why in the documented words.

use e2e::{MAILDIR, ask_json, block_on, daemon_listening, letter, send, testimony, wait, wait_for_mail};
use testkit::{Daemon, Dialogue};

/// A daemon for `here.test` that trusts nobody, with these lines in its Listen stanza.
fn start(in_listen: &str) -> Daemon {
    let more = format!("relay_hosts = ( \"192.0.2.0/24\" )\n{in_listen}");
    let daemon = daemon_listening(MAILDIR, &more).start();
    // The connection that found it listening holds a place until it has ended.
    wait(&daemon, "no session is open", || ask_json(&daemon, &["summary"])["InboundConcurrency"] == 0);
    daemon
}

#[test]
fn a_stranger_may_send_to_relay_domains_and_nowhere_else() {
    let daemon = start("");
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.ask("MAIL FROM:<ann@client.test>", "250").await;
        client.ask("RCPT TO:<bob@elsewhere.test>", "550 5.7.1 relaying denied").await;
        client.ask("RCPT TO:<bob@here.test>", "250").await;
        client.ask("DATA", "354").await;
        client.send_raw(b"Subject: for one\r\n\r\nhello\r\n.\r\n").await;
        client.expect("250").await;
    });
    assert_eq!(wait_for_mail(&daemon, "bob@here.test", 1).len(), 1);
    wait(&daemon, "a line in the rejectlog", || daemon.read("log/rejectlog.ec").contains("relaying denied"));
    let line = daemon.read("log/rejectlog.ec");
    for part in [
        ": R=\"127.0.0.1:",
        " L=\"127.0.0.1:",
        " C=\"",
        " PATH=\"",
        " PATH_GRP=\"",
        " P=\"",
        " E=550 M=",
        " CTXCONN=[",
        " CTXMESS=[",
    ] {
        assert!(line.contains(part), "{part:?} is missing in {line}");
    }
}

#[test]
fn a_message_over_the_size_limit_is_refused_before_and_after_it_is_sent() {
    let daemon = start("max_message_size = 2000");
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        assert!(client.log().contains("SIZE 2000"), "{}", client.log());
        client.ask("MAIL FROM:<ann@client.test> SIZE=2001", "552 5.3.4").await;
        client.ask("MAIL FROM:<ann@client.test>", "250").await;
        client.ask("RCPT TO:<bob@here.test>", "250").await;
        client.ask("DATA", "354").await;
        client.send_raw(format!("Subject: big\r\n\r\n{}.\r\n", "0123456789abcdef\r\n".repeat(200)).as_bytes()).await;
        client.expect("552 5.3.4 message size limit exceeded").await;
        // The session goes on.
        let reply = client.mail("ann@client.test", &["bob@here.test"], &letter("small")).await;
        assert!(reply.starts_with("250"), "{}", client.log());
    });
    assert!(wait_for_mail(&daemon, "bob@here.test", 1)[0].contains("Subject: small\n"), "{}", testimony(&daemon));
}

#[test]
fn recipients_over_the_limit_are_put_off_and_the_others_get_the_message() {
    let daemon = start("max_recipients_per_message = 2");
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.ask("MAIL FROM:<ann@client.test>", "250").await;
        client.ask("RCPT TO:<a@here.test>", "250").await;
        client.ask("RCPT TO:<b@here.test>", "250").await;
        client
            .ask("RCPT TO:<c@here.test>", "452 4.5.3 Service unavailable, recipients per message limit reached")
            .await;
        client.ask("DATA", "354").await;
        client.send_raw(b"Subject: for two\r\n\r\nhello\r\n.\r\n").await;
        client.expect("250").await;
    });
    wait_for_mail(&daemon, "a@here.test", 1);
    wait_for_mail(&daemon, "b@here.test", 1);
}

#[test]
fn sessions_over_the_cap_get_421_and_a_place_frees_when_one_leaves() {
    let daemon = start("listener_sessions = 2");
    block_on(async {
        let mut first = Dialogue::greeted(daemon.addr()).await;
        let mut second = Dialogue::greeted(daemon.addr()).await;
        let mut third = Dialogue::connect(daemon.addr()).await;
        third.expect("421 4.4.5 Service unavailable, concurrency limit reached").await;
        third.expect_close().await;
        first.ask("QUIT", "221").await;
        first.expect_close().await;
        second.ask("NOOP", "250").await;
    });
    wait(&daemon, "a place is free again", || {
        block_on(async {
            let greeting = Dialogue::connect(daemon.addr()).await.reply().await;
            greeting.is_some_and(|greeting| greeting.starts_with("220"))
        })
    });
}

#[test]
fn one_address_cannot_take_all_places() {
    let daemon = start("peer_sessions = 1");
    block_on(async {
        let mut first = Dialogue::greeted(daemon.addr()).await;
        Dialogue::connect(daemon.addr()).await.expect("421").await;
        first.ask("NOOP", "250").await;
    });
}

#[test]
fn messages_of_a_session_can_be_limited() {
    let daemon = start("max_receptions_per_connection = 1");
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        let reply = client.mail("ann@client.test", &["bob@here.test"], &letter("first")).await;
        assert!(reply.starts_with("250"), "{reply}");
        client.ask("MAIL FROM:<ann@client.test>", "4").await;
    });
    assert!(send(&daemon, "ann@client.test", &["bob@here.test"], &letter("second")).starts_with("250"));
    wait_for_mail(&daemon, "bob@here.test", 2);
}
