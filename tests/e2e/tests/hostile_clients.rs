//! What a client says that no client should say: each gets a clear answer, and nobody else notices.

use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use e2e::{SOON, accept, ask, block_on, letter, relay, relay_with, wait};
use testkit::{Daemon, Dialogue, Sink};

/// That the daemon still takes and delivers mail: `n` messages have come when this one has.
fn still_relays(daemon: &Daemon, sink: &Sink, n: usize) {
    accept(daemon, "ann@client.test", &["bob@sink.test"], &letter("after the storm"));
    sink.wait_for(n, SOON);
}

/// A whole transaction in a session that has seen worse.
async fn still_usable(client: &mut Dialogue) {
    client.ask("RSET", "250 2.0.0").await;
    let reply = client.mail("ann@client.test", &["bob@sink.test"], &letter("all the same")).await;
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    client.ask("QUIT", "221").await;
    client.expect_close().await;
}

#[test]
fn an_over_long_command_line_is_refused_and_the_session_goes_on() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        let longest = format!("NOOP {}", "x".repeat(512 - "NOOP \r\n".len()));
        client.ask(&longest, "250").await;
        client.ask(&format!("{longest}x"), "500 5.5.2 command line too long").await;
        client.ask(&"x".repeat(60_000), "500 5.5.2 command line too long").await;
        still_usable(&mut client).await;
    });
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.send_raw(&[b'x'; 200_000]).await;
        client.expect("500 5.5.2 command line too long").await;
        client.expect_close().await;
    });
    sink.wait_for(1, SOON);
}

#[test]
fn nul_control_and_8_bit_octets_in_a_command_are_refused_and_the_session_goes_on() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        for line in [
            &b"NOOP \0\r\n"[..],
            b"\0\0\0\r\n",
            b"MAIL FROM:<a\0b@client.test>\r\n",
            b"MAIL FROM:<\xe9@client.test>\r\n",
            "MAIL FROM:<rené@client.test>\r\n".as_bytes(),
            b"HELP \x1b[2J\r\n",
            b"\xff\xfe\xfd\r\n",
        ] {
            client.send_raw(line).await;
            client.expect("500 5.5.2 control or 8-bit octets in command").await;
        }
        client.ask("MAIL FROM:<ann@client.test>", "250").await;
        client.send_raw(b"RCPT TO:<bob\0@sink.test>\r\n").await;
        client.expect("500 5.5.2").await;
        still_usable(&mut client).await;
    });
    sink.wait_for(1, SOON);
}

#[test]
fn a_bare_cr_or_lf_in_a_command_ends_the_session() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    for line in ["NOOP\n", "NOOP\rQUIT\r\n", "NOOP\r\r\n", "\n", "\r\r\n", "NOOP\nMAIL FROM:<a@b.test>\r\n"] {
        block_on(async {
            let mut client = Dialogue::greeted(daemon.addr()).await;
            client.send_raw(line.as_bytes()).await;
            client.expect("500 5.5.2 lone CR or LF in command").await;
            client.expect_close().await;
        });
    }
    // What follows the bad line, and what stood before it, comes to nothing.
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.ask("MAIL FROM:<ann@client.test>", "250").await;
        client.send_raw(b"RCPT TO:<bob@sink.test>\nDATA\r\nSubject: no\r\n\r\n.\r\n").await;
        client.expect("500 5.5.2 lone CR or LF in command").await;
        client.expect_close().await;
    });
    still_relays(&daemon, &sink, 1);
    assert_eq!(sink.count(), 1);
}

#[test]
fn a_client_that_does_not_wait_where_it_must_is_cut_off() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    block_on(async {
        let mut client = Dialogue::connect(daemon.addr()).await;
        client.expect("220").await;
        client.send_raw(b"EHLO client.test\r\nMAIL FROM:<ann@client.test>\r\n").await;
        client.expect("554 5.5.0 improper command pipelining").await;
        client.expect_close().await;

        let mut client = Dialogue::greeted(daemon.addr()).await;
        client
            .send_raw(
                b"MAIL FROM:<ann@client.test>\r\nRCPT TO:<bob@sink.test>\r\nDATA\r\nSubject: early\r\n\r\nbody\r\n.\r\n",
            )
            .await;
        client.expect("250").await;
        client.expect("250").await;
        client.expect("554 5.5.0 improper command pipelining").await;
        client.expect_close().await;
    });
    still_relays(&daemon, &sink, 1);
    assert_eq!(sink.count(), 1, "the message that came too early was taken");
}

#[test]
fn a_client_may_disconnect_at_every_point_of_a_transaction() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let talk = "EHLO c.test\r\n\
                MAIL FROM:<ann@c.test>\r\n\
                RCPT TO:<bob@sink.test>\r\n\
                DATA\r\n\
                Subject: x\r\n\r\ny\r\n.\r\n\
                QUIT\r\n";
    let after_dot = talk.find(".\r\nQUIT").expect("the dot") + 3;
    for cut in 0..=talk.len() {
        block_on(async {
            let mut client = Dialogue::connect(daemon.addr()).await;
            client.expect("220").await;
            let mut rest = &talk[..cut];
            // Commands one by one, each answered; what comes after DATA in one piece.
            while let Some(end) = rest.find("\r\n").filter(|_| !rest.starts_with("Subject")) {
                let (line, tail) = rest.split_at(end);
                client.ask(line, if line == "DATA" { "354" } else { "250" }).await;
                rest = &tail[2..];
            }
            client.send_raw(rest.as_bytes()).await;
        });
    }
    let cuts_that_sent_it = talk.len() + 1 - after_dot;
    still_relays(&daemon, &sink, 1 + cuts_that_sent_it);
    assert_eq!(sink.count(), 1 + cuts_that_sent_it, "half a message was taken for a whole one");
}

#[test]
fn a_flood_of_commands_that_are_none_ends_the_session() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.send_raw(&b"XYZZY\r\n".repeat(1000)).await;
        for _ in 0..20 {
            client.expect("500 5.5.2 unrecognized command").await;
        }
        client.expect("421 4.7.0 too many errors").await;
        client.expect_close().await;
    });
    still_relays(&daemon, &sink, 1);
}

#[test]
fn a_client_that_tries_addresses_is_shown_the_door_and_one_that_may_relay_is_not() {
    let sink = Sink::start();
    let daemon = relay_with(&sink, "relay_hosts = ( \"192.0.2.1\" )\nrelay_domains = ( \"sink.test\" )\n").start();
    let guesses: String = (0..1500).map(|number| format!("RCPT TO:<guess{number}@other.test>\r\n")).collect();
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.ask("MAIL FROM:<ann@client.test>", "250").await;
        client.send_raw(guesses.as_bytes()).await;
        for _ in 0..100 {
            client.expect("550 5.7.1 relaying denied").await;
        }
        client.expect("421 4.7.0 too many refusals").await;
        client.expect_close().await;
    });
    let counted = || ask(&daemon, &["metrics"]).contains("postrider_reception_sessions_too_many_refusals_total 1\n");
    wait(&daemon, "the end is counted", counted);
    let log = || daemon.read("log/rejectlog.ec");
    wait(&daemon, "the end is logged", || log().contains("E=421"));
    assert!(log().contains("4.7.0 too many refusals, closing connection"), "{}", log());
    still_relays(&daemon, &sink, 1);
}

#[test]
fn a_client_of_http_or_tls_is_dropped_before_its_lines_are_taken_for_commands() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let smuggled = "\r\nHost: x\r\n\r\nMAIL FROM:<a@client.test>\r\nRCPT TO:<bob@sink.test>\r\nDATA\r\n\r\nx\r\n.\r\n";
    block_on(async {
        for request in ["GET / HTTP/1.1", "POST / HTTP/1.1", "CONNECT mx:25 HTTP/1.1", "HEAD /", "PUT /x HTTP/1.0"] {
            let mut client = Dialogue::greeted(daemon.addr()).await;
            client.send_raw(format!("{request}{smuggled}").as_bytes()).await;
            client.expect("554 5.5.1 HTTP is not spoken here").await;
            client.expect_close().await;
        }
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.send_raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
        client.expect("554 5.5.1 TLS where a command was expected").await;
        client.expect_close().await;
    });
    wait(&daemon, "all are logged", || daemon.read("log/rejectlog.ec").matches("E=554").count() == 6);
    assert!(ask(&daemon, &["metrics"]).contains("postrider_reception_sessions_foreign_protocol_total 6\n"));
    still_relays(&daemon, &sink, 1);
}

#[test]
fn a_flood_of_commands_that_further_nothing_ends_the_session() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.send_raw(&b"NOOP\r\nRSET\r\nVRFY bob\r\n".repeat(500)).await;
        let mut last = String::new();
        let mut replies = 0;
        while let Some(reply) = client.reply().await {
            last = reply;
            replies += 1;
        }
        assert!(last.starts_with("421 4.7.0 too many errors"), "ended with {last:?}");
        assert!((1000..1100).contains(&replies), "{replies} replies");
    });
    still_relays(&daemon, &sink, 1);
}

#[test]
fn a_flood_of_connections_that_say_nothing_useful_leaves_the_daemon_serving() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    for round in 0..300 {
        let Ok(mut stream) = TcpStream::connect(daemon.addr()) else { continue };
        match round % 3 {
            0 => {}
            // A TLS hello, an HTTP request: what scanners send.
            1 => drop(stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n\n")),
            _ => drop(stream.write_all(b"GET / HTTP/1.1\r\nHost: relay.test\r\n\r\n")),
        }
    }
    still_relays(&daemon, &sink, 1);
}

#[test]
fn malformed_paths_and_parameters_are_refused_one_by_one() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        for (line, answer) in [
            ("MAIL FROM:<ann@client.test> SIZE=1 SIZE=2", "501 5.5.4"),
            ("MAIL FROM:<ann@client.test> SIZE", "501 5.5.4"),
            ("MAIL FROM:<ann@client.test> SIZE=0x10", "501 5.5.4"),
            ("MAIL FROM:<ann@client.test> SIZE=111111111111111111111", "501 5.5.4"),
            ("MAIL FROM:<ann@client.test> BODY=9BITMIME", "501 5.5.4"),
            ("MAIL FROM:<ann@client.test> SMTPUTF8", "555 5.5.4"),
            ("MAIL FROM:<ann@client.test> AUTH=<>", "555 5.5.4"),
            ("MAIL FROM:<ann@client.test", "501 5.5.2"),
            ("MAIL FROM:ann@client.test>", "501 5.5.2"),
            ("MAIL FROM:<ann@client.test>>", "501 5.5.2"),
            ("MAIL FROM:<ann@@client.test>", "501 5.5.2"),
            ("MAIL FROM:<ann@[999.0.0.1]>", "501 5.5.2"),
            ("MAIL FROM:<ann@client..test>", "501 5.5.2"),
            ("MAIL", "501 5.5.2"),
        ] {
            client.ask(line, answer).await;
        }
        client.ask("MAIL FROM:<ann@client.test>", "250").await;
        for line in ["RCPT TO:<>", "RCPT TO:<bob@>", "RCPT TO:<@sink.test>", "RCPT TO:<|/bin/sh@sink test>"] {
            client.ask(line, "501 5.5.2").await;
        }
        client.ask(&format!("RCPT TO:<{}@sink.test>", "x".repeat(480)), "501 5.1.3").await;
    });
    still_relays(&daemon, &sink, 1);
}

#[test]
fn silent_connections_to_the_control_socket_keep_no_operator_out() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let silent: Vec<UnixStream> = (0..200).filter_map(|_| UnixStream::connect(daemon.value("control")).ok()).collect();
    assert!(ask(&daemon, &["version"]).contains("Postrider"));
    drop(silent);
    still_relays(&daemon, &sink, 1);
}

#[test]
fn garbage_on_the_control_socket_harms_nobody() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise.to_le_bytes()
    };
    let mut inputs: Vec<Vec<u8>> = vec![
        b"summary\n".to_vec(),
        vec![0; 100_000],
        b"PR".to_vec(),
        b"PR\x01\x02\xff\xff\xff\xff".to_vec(),
        b"PR\x01\x02\x00\x00\x10\x00short".to_vec(),
        b"PR\x01\x02\x00\x00\x00\x04\xff\xff\xff\xff".to_vec(),
        b"PR\x63\x02\x00\x00\x00\x00".to_vec(),
    ];
    for length in [1, 7, 64, 4096, 65_536] {
        let mut input: Vec<u8> = std::iter::repeat_with(&mut random).flatten().take(length).collect();
        inputs.push(input.clone());
        input.splice(0..0, *b"PR\x01\x02");
        inputs.push(input);
    }
    for input in &inputs {
        let mut socket = UnixStream::connect(daemon.value("control")).expect("the control socket takes connections");
        // It may be closed in the middle of the garbage.
        let _ = socket.write_all(input);
    }
    assert!(ask(&daemon, &["version"]).contains("Postrider"));
    still_relays(&daemon, &sink, 1);
}
