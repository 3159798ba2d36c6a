//! Messages made to deceive or to exhaust: exactly one thing ends a message, and a message has an end.

use e2e::{SOON, accept, block_on, daemon_listening, letter, log_lines, mainlog, relay, wait};
use testkit::{Daemon, DaemonSetup, Dialogue, Sink};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn limited(sink: &Sink, in_listen: &str) -> DaemonSetup {
    daemon_listening(&format!("gateway = \"{}\"", sink.addr()), in_listen)
}

/// A session that has been told to send its message.
async fn in_data(daemon: &Daemon) -> Dialogue {
    let mut client = Dialogue::greeted(daemon.addr()).await;
    client.ask("MAIL FROM:<ann@client.test>", "250").await;
    client.ask("RCPT TO:<bob@sink.test>", "250").await;
    client.ask("DATA", "354").await;
    client
}

#[test]
fn nothing_but_crlf_dot_crlf_ends_a_message_so_none_can_be_smuggled() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let imitations =
        ["\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r\n.\r", "\r.\r\n", "\n.\r", "\r\r\n.\r\r\n", "\r\n\0.\n", "\r.\n"];
    for imitation in imitations {
        block_on(async {
            let mut client = in_data(&daemon).await;
            let message = format!(
                "Subject: outer\r\n\r\nfirst{imitation}MAIL FROM:<boss@sink.test>\r\nRCPT TO:<victim@sink.test>\r\n\
                 DATA\r\nSubject: smuggled\r\n\r\nboo\r\n.\r\n"
            );
            client.send_raw(message.as_bytes()).await;
            client.expect("550 5.6.0 lone CR or LF in message").await;
            // Whoever relays for this client may see another end than we do; nothing further is believed.
            if imitation != "\r\r\n.\r\r\n" && imitation != "\r\n\0.\n" {
                client.expect_close().await;
            }
        });
    }
    assert!(mainlog(&daemon, "R").is_empty(), "something was taken");
    wait(&daemon, "every refusal in the rejectlog", || imitations.len() <= log_lines(&daemon, "rejectlog.ec").len());
    accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("honest"));
    let messages = sink.wait_for(1, SOON);
    assert!(messages[0].text().contains("Subject: honest"));
}

#[test]
fn a_lone_cr_or_lf_in_a_message_is_refused_and_the_session_goes_on() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    for text in ["a\nb", "a\rb", "a\r\r\nb", "a\n", "\n", "\r"] {
        block_on(async {
            let mut client = in_data(&daemon).await;
            client.send_raw(format!("Subject: x\r\n\r\n{text}\r\n.\r\n").as_bytes()).await;
            client.expect("550 5.6.0 lone CR or LF in message").await;
            client.ask("NOOP", "250").await;
        });
    }
    accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("honest"));
    assert_eq!(sink.wait_for(1, SOON).len(), 1);
}

#[test]
fn dots_at_the_beginning_of_lines_arrive_as_they_were_written() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    accept(&daemon, "ann@client.test", &["bob@sink.test"], "Subject: dots\n\n.\n..\n.a\n...\nend\n");
    let text = sink.wait_for(1, SOON)[0].text();
    assert!(text.ends_with("\r\n\r\n.\r\n..\r\n.a\r\n...\r\nend\r\n"), "{text:?}");
}

#[test]
fn a_message_over_the_size_limit_is_refused_and_the_session_goes_on() {
    let sink = Sink::start();
    let daemon = limited(&sink, "max_message_size = 10000").start();
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.ask("MAIL FROM:<ann@client.test> SIZE=10001", "552 5.3.4").await;
        client.ask("MAIL FROM:<ann@client.test> SIZE=99999999999999999999", "552 5.3.4").await;
        client.ask("MAIL FROM:<ann@client.test> SIZE=-1", "501 5.5.4").await;
        // A client that lies about the size.
        client.ask("MAIL FROM:<ann@client.test> SIZE=10", "250").await;
        client.ask("RCPT TO:<bob@sink.test>", "250").await;
        client.ask("DATA", "354").await;
        client.send_raw(&[&b"Subject: big\r\n\r\n"[..], &b"big\r\n".repeat(2000), b".\r\n"].concat()).await;
        client.expect("552 5.3.4 message size limit exceeded").await;
        let reply = client.mail("ann@client.test", &["bob@sink.test"], &letter("small")).await;
        assert!(reply.starts_with("250"), "{reply}");
    });
    let messages = sink.wait_for(1, SOON);
    assert!(messages[0].text().contains("Subject: small"));
}

#[test]
fn a_body_that_never_ends_is_cut_off_and_takes_no_memory() {
    let sink = Sink::start();
    let daemon = limited(&sink, "max_message_size = 100000").start();
    accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("before"));
    let (before, _) = daemon.memory_bytes();
    let told = block_on(async {
        let mut stream = TcpStream::connect(daemon.addr()).await.expect("the daemon listens");
        say(&mut stream, "", "220").await;
        for (command, answer) in [
            ("EHLO c.test\r\n", "250 "),
            ("MAIL FROM:<ann@c.test>\r\n", "250"),
            ("RCPT TO:<bob@sink.test>\r\n", "250"),
            ("DATA\r\n", "354"),
        ] {
            say(&mut stream, command, answer).await;
        }
        let (mut reading, mut writing) = stream.into_split();
        let listening = tokio::spawn(async move {
            let mut told = Vec::new();
            // The end may be a reset: we are still sending.
            let _ = reading.read_to_end(&mut told).await;
            String::from_utf8_lossy(&told).into_owned()
        });
        let chunk = b"and on and on\r\n".repeat(4000);
        let mut sent = 0;
        while writing.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
            assert!(sent < 500_000_000, "the daemon reads on and on");
        }
        listening.await.expect("the reader does not panic")
    });
    assert!(told.starts_with("552 5.3.4 message size limit exceeded"), "told {told:?}");
    let (_, peak) = daemon.memory_bytes();
    assert!(peak - before < 8_000_000, "grew by {} bytes for a message of at most 100000", peak - before);
    accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("after"));
    assert_eq!(sink.wait_for(2, SOON).len(), 2);
}

async fn say(stream: &mut TcpStream, command: &str, answer: &str) {
    stream.write_all(command.as_bytes()).await.expect("the daemon reads");
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n") || !String::from_utf8_lossy(&reply).lines().any(|line| line.starts_with(answer)) {
        let read = stream.read_buf(&mut reply).await.expect("a reply");
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&reply));
    }
}

#[test]
fn endless_lines_headers_and_hops_are_refused() {
    let sink = Sink::start();
    let daemon = limited(&sink, "max_header_size = 20000").start();
    let cases = [
        (format!("Subject: x\r\n\r\n{}\r\n", "y".repeat(998)), "250"),
        (format!("Subject: x\r\n\r\n{}\r\n", "y".repeat(999)), "550 5.6.0 line too long in message"),
        (format!("Subject: x\r\n\r\n{}\r\n", "y".repeat(900_000)), "550 5.6.0 line too long in message"),
        ("X-Field: and another\r\n".repeat(1000), "552 5.3.4 header section size limit exceeded"),
        (format!("{}\r\n", "Received: by loop.test; now\r\n".repeat(101)), "554 5.4.6 too many hops"),
    ];
    for (message, answer) in cases {
        block_on(async {
            let mut client = in_data(&daemon).await;
            client.send_raw(format!("{message}.\r\n").as_bytes()).await;
            client.expect(answer).await;
            client.ask("QUIT", "221").await;
        });
    }
    assert_eq!(sink.wait_for(1, SOON).len(), 1);
}

#[test]
fn a_message_with_octets_of_every_kind_arrives_as_it_was() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let mut body: Vec<u8> = (0..=255).filter(|octet| !b"\r\n".contains(octet)).collect();
    body.extend_from_slice(b"\r\n");
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.ask("MAIL FROM:<ann@client.test> BODY=8BITMIME", "250").await;
        client.ask("RCPT TO:<bob@sink.test>", "250").await;
        client.ask("DATA", "354").await;
        client.send_raw(&[&b"Subject: octets\r\n\r\n"[..], &body, b".\r\n"].concat()).await;
        client.expect("250").await;
    });
    let messages = sink.wait_for(1, SOON);
    assert!(messages[0].body.ends_with(&body), "{:?}", messages[0].text());
}
