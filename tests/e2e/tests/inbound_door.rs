//! Who is let in, and how fast: PROXY headers and the throttle of messages, on a daemon with several loops and listeners.

use std::net::{SocketAddr, TcpListener};

use e2e::{MAILDIR, ask, block_on, daemon, letter, log_lines, testimony, wait, wait_for_mail};
use testkit::{Daemon, Dialogue};

/// A daemon with a second listener, and where that is.
fn start(more: &str, in_second: &str) -> (Daemon, SocketAddr) {
    let second = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let listener = format!("ESMTP_Listener {{ Listen \"{second}\" {{ {in_second} }} }}\n");
    (daemon(&format!("{MAILDIR}{more}{listener}")).start(), second)
}

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 25\r\n";

#[test]
fn behind_a_proxy_the_announced_client_is_the_one_in_mail_and_logs() {
    let (daemon, proxied) = start("relay_hosts = ( \"192.0.2.7\" )\n", "peer \"127.0.0.1\" { proxy_protocol = true }");
    block_on(async {
        let mut client = Dialogue::connect(proxied).await;
        client.send_raw(HEADER).await;
        client.expect("220").await;
        assert!(client.mail("ann@client.test", &["bob@here.test"], &letter("proxied")).await.starts_with("250"));
        let mut stranger = Dialogue::connect(proxied).await;
        stranger.send_raw(b"PROXY TCP6 2001:db8::1 2001:db8::2 4242 25\r\n").await;
        stranger.expect("220").await;
        stranger.ask("MAIL FROM:<ann@client.test>", "250").await;
        stranger.ask("RCPT TO:<bob@far.test>", "550 5.7.1 relaying denied").await;
    });
    let text = wait_for_mail(&daemon, "bob@here.test", 1).remove(0);
    assert!(text.contains("from [192.0.2.7] ([192.0.2.7:4242]"), "{text}");
    wait(&daemon, "the stranger in the rejectlog", || !log_lines(&daemon, "rejectlog.ec").is_empty());
    assert!(daemon.read("log/rejectlog.ec").contains("R=\"[2001:db8::1]:4242\""), "{}", testimony(&daemon));
    assert!(daemon.read("log/mainlog.ec").contains("192.0.2.7"), "{}", testimony(&daemon));
}

#[test]
fn hostile_headers_get_nothing_and_a_log_record_and_the_door_stays_open() {
    let (daemon, proxied) =
        start("debug_flags {\n warning = ( \"NET\" )\n}\n", "proxy_protocol = true\nproxy_protocol_timeout = 2");
    let long = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"[..], &[0; 5000]].concat();
    let endless = b"PROXY TCP4 ".repeat(10_000);
    for octets in [
        &b"EHLO client.test\r\n"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4242\r\nMAIL",
        b"PROXY TCP4 999.0.2.7 198.51.100.1 4242 25\r\n",
        b"PROXY UNKNOWN\nEHLO x\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c0123456789ab",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c0123456789ab",
        b"PROX",
        b"",
        &long,
        &endless,
    ] {
        block_on(async {
            let mut client = Dialogue::connect(proxied).await;
            client.send_raw(octets).await;
            client.expect_close().await;
        });
    }
    wait(&daemon, "a record", || daemon.read("log/paniclog.ec").contains("PROXY header"));
    block_on(async {
        let mut client = Dialogue::connect(proxied).await;
        client.send_raw(HEADER).await;
        client.expect("220").await;
        // A second header is no command.
        client.send_raw(HEADER).await;
        client.expect("500 5.5.2").await;
    });
}

#[test]
fn one_message_in_ten_seconds_is_one_over_all_listeners_and_loops() {
    let more = "inbound_throttle_messages = \"1/10\"\neventloop \"default\" { concurrency = 3 }\n";
    let (daemon, second) = start(more, "");
    let over = "451 4.7.1 Service unavailable, message rate limit reached";
    let mut taken = 0;
    for number in 0..6 {
        let reply = block_on(async {
            let listener = if number % 2 == 0 { daemon.addr() } else { second };
            let mut client = Dialogue::greeted(listener).await;
            client.send("MAIL FROM:<ann@client.test>").await;
            let reply = client.reply().await.unwrap_or_default();
            if !reply.starts_with("250") {
                return reply;
            }
            client.ask("RCPT TO:<bob@here.test>", "250").await;
            client.ask("DATA", "354").await;
            client.send_raw(format!("Subject: {number}\r\n\r\n.\r\n").as_bytes()).await;
            client.reply().await.unwrap_or_default()
        });
        assert!(reply.starts_with("250 ") || reply == over, "{reply}");
        taken += usize::from(reply.starts_with("250 "));
        if number == 2 {
            ask(&daemon, &["config", "reload"]);
        }
    }
    // A slow machine may see a second window begin; never a third message in one.
    assert!((1..=2).contains(&taken), "{taken} were taken");
    wait(&daemon, "refusals in the rejectlog", || daemon.read("log/rejectlog.ec").contains("message rate limit"));
    assert_eq!(wait_for_mail(&daemon, "bob@here.test", taken).len(), taken);
}
