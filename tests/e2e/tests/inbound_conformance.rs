//! The rfc2821_ and rfc2822_ options on the real daemon: whatever is let in, one message in is one message out, and its
//! lines end with CRLF.

use e2e::{SOON, accept, block_on, daemon, letter, testimony};
use testkit::{Daemon, Dialogue, Sink};

fn start(sink: &Sink, options: &str) -> Daemon {
    daemon(&format!("gateway = \"{}\"\n{options}", sink.addr())).start()
}

/// Sends octets as one message; the reply.
fn sent(daemon: &Daemon, octets: &[u8]) -> String {
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.ask("MAIL FROM:<ann@client.test>", "250").await;
        client.ask("RCPT TO:<bob@sink.test>", "250").await;
        client.ask("DATA", "354").await;
        client.send_raw(octets).await;
        client.reply().await.unwrap_or_default()
    })
}

const IMITATIONS: [&str; 9] =
    ["\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r\n.\r", "\r.\r\n", "\n.\r", "\r\r\n.\r\r\n", "\r.\n"];

#[test]
fn under_no_value_of_the_lone_lf_options_can_a_message_be_smuggled() {
    for options in [
        "",
        "rfc2822_lone_lf_in_headers = \"fix\"\n",
        "rfc2822_lone_lf_in_body = \"fix\"\n",
        "rfc2822_lone_lf_in_body = \"ignore\"\nrfc2822_lone_lf_in_headers = \"fix\"\nrfc2822_missing_headers = \"allow\"\n",
    ] {
        let sink = Sink::start();
        let daemon = start(&sink, options);
        let mut taken = 0;
        for imitation in IMITATIONS {
            for head in ["Subject: outer\r\n\r\nfirst", "Subject: outer", ""] {
                let message = format!(
                    "{head}{imitation}MAIL FROM:<boss@sink.test>\r\nRCPT TO:<victim@sink.test>\r\nDATA\r\n\
                     Subject: smuggled\r\n\r\nboo\r\n.\r\n"
                );
                let reply = sent(&daemon, message.as_bytes());
                assert!(reply.starts_with("250 ") || reply.starts_with("550 5.6.0"), "{options}{message:?}: {reply}");
                taken += usize::from(reply.starts_with("250 "));
            }
        }
        assert_eq!(taken == 0, options.is_empty(), "{taken} were taken under {options}");
        accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("the last"));
        let messages = sink.wait_for(taken + 1, SOON);
        assert_eq!(messages.len(), taken + 1, "{}", testimony(&daemon));
        for message in &messages {
            assert!(message.reverse_path.contains("ann@client.test"), "smuggled: {}", message.text());
            let text = message.text();
            assert_eq!(text.replace("\r\n", "").find(['\r', '\n']), None, "{text:?} under {options}");
        }
    }
}

#[test]
fn what_a_message_lacks_is_added_once_and_its_long_lines_are_broken() {
    let sink = Sink::start();
    let daemon = start(&sink, "rfc2822_max_line_length_policy = \"fix\"\n");
    let long = "word ".repeat(500);
    assert!(sent(&daemon, format!("Subject: {long}\r\n\r\n{long}\r\n.\r\n").as_bytes()).starts_with("250 "));
    let text = sink.wait_for(1, SOON)[0].text();
    assert_eq!((text.matches("\r\nDate: ").count(), text.matches("\r\nMessage-ID: <").count()), (1, 1), "{text}");
    assert!(text.contains("@relay.test>\r\nSubject: word word"), "{text}");
    assert!(text.split("\r\n").all(|line| line.len() <= 998), "{text}");
    assert_eq!(text.matches("word ").count() + text.matches("word\r\n").count(), 1000, "{text}");
}

#[test]
fn header_lines_that_come_one_by_one_and_slowly_end_with_the_block_timeout() {
    let sink = Sink::start();
    let daemon = start(&sink, "data_block_timeout = 1\n");
    let reply = block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.ask("MAIL FROM:<ann@client.test>", "250").await;
        client.ask("RCPT TO:<bob@sink.test>", "250").await;
        client.ask("DATA", "354").await;
        client.send_raw(b"Subject: slow\r\nX-Never").await;
        client.reply().await.unwrap_or_default()
    });
    assert!(reply.starts_with("421 4.4.2"), "{reply}");
}

#[test]
fn relaxed_addresses_survive_a_restart() {
    let sink = Sink::start();
    sink.refuse_connections();
    let mut daemon = start(&sink, "rfc2821_pedantic_address_rules = false\nhost_failure_retry = 1\n");
    accept(&daemon, "a..b@client.test", &["ab.@sink.test"], &letter("dots"));
    daemon.kill();
    sink.accept_connections();
    daemon.start();
    let message = sink.wait_for(1, SOON).remove(0);
    assert!(message.reverse_path.contains("a..b@client.test"), "{}", message.reverse_path);
}
