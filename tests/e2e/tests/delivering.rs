//! How mail leaves: connections are shared and bounded, recipients of one message travel together, and not an octet of it
//! changes on the way.

use e2e::{SOON, accept, block_on, letter, relay, relay_with, send, wait, wait_for_lines};
use testkit::{Dialogue, Load, Sink};

#[test]
fn recipients_of_one_message_share_a_transaction_up_to_the_limit() {
    let sink = Sink::start();
    let daemon = relay_with(&sink, "max_recipients_per_batch = 2\n").start();
    accept(&daemon, "ann@client.test", &["a@shop.test", "b@shop.test", "c@shop.test"], &letter("for three"));
    let mut sizes: Vec<usize> = sink.wait_for(2, SOON).iter().map(|message| message.forward_paths.len()).collect();
    sizes.sort();
    assert_eq!(sizes, [1, 2]);
    let delivered = wait_for_lines(&daemon, "D", 3);
    assert!(delivered.iter().all(|line| line[2] == delivered[0][2]), "one batch: {delivered:?}");
}

#[test]
fn connections_are_reused_and_never_more_than_allowed() {
    let sink = Sink::start();
    let daemon = relay_with(&sink, "max_outbound_connections = 3\n").start();
    let book = Load { messages: 400, ..Load::default() }.run(daemon.addr());
    assert_eq!(book.acknowledged.len(), 400, "{:?}", book.troubles);
    sink.wait_for(400, SOON);
    let (_, most) = sink.open_connections();
    assert!((1..=3).contains(&most), "{most} at once");
    assert!(sink.connections() < 100, "{} connections for 400 messages", sink.connections());
}

#[test]
fn a_connection_carries_as_many_messages_as_it_may() {
    let sink = Sink::start();
    let daemon = relay_with(&sink, "max_deliveries_per_connection = 1\nmax_outbound_connections = 1\n").start();
    for number in 1..=3 {
        accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter(&format!("number {number}")));
    }
    let connections: Vec<u64> = sink.wait_for(3, SOON).iter().map(|message| message.connection).collect();
    assert_eq!(connections, [1, 2, 3]);
}

#[test]
fn idle_connections_are_closed_with_quit() {
    let sink = Sink::start();
    let daemon = relay_with(&sink, "idle_timeout = 1\n").start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("and then nothing"));
    sink.wait_for(1, SOON);
    wait(&daemon, "the connection is closed", || sink.open_connections().0 == 0);
    assert_eq!(sink.commands().last().map(|(_, line)| line.as_str()), Some("QUIT"));
}

#[test]
fn every_octet_arrives_as_it_was_sent() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let lines = ["", ".", "..", ".hidden", " ", "\tcaf\u{e9} \u{1f4ee}", "trailing blank ", &"x".repeat(900), "", "."];
    let body = lines.map(|line| format!("{line}\r\n")).concat();
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.ask("MAIL FROM:<ann@client.test> BODY=8BITMIME", "250").await;
        client.ask("RCPT TO:<bob@shop.test>", "250").await;
        client.ask("DATA", "354").await;
        client.send_raw(b"Subject: octets\r\n\r\n").await;
        let stuffed =
            lines.map(|line| if line.starts_with('.') { format!(".{line}\r\n") } else { format!("{line}\r\n") });
        client.send_raw(stuffed.concat().as_bytes()).await;
        client.send_raw(b".\r\n").await;
        client.expect("250").await;
    });
    let taken = sink.wait_for(1, SOON).remove(0);
    let (header, arrived) =
        taken.text().split_once("\r\n\r\n").map(|(a, b)| (a.to_owned(), b.to_owned())).expect("a body");
    assert!(header.ends_with("\r\nSubject: octets"), "{header}");
    assert_eq!(arrived, body);
    assert!(taken.parameters.iter().any(|parameter| parameter == "BODY=8BITMIME"), "{:?}", taken.parameters);
}

#[test]
fn a_large_message_goes_through_whole() {
    let sink = Sink::start();
    let daemon = relay(&sink).start();
    let text = letter("large") + &"0123456789abcdef0123456789abcdef0123456789abcdef\n".repeat(100_000);
    assert!(send(&daemon, "ann@client.test", &["bob@shop.test"], &text).starts_with("250"));
    let taken = sink.wait_for(1, SOON).remove(0);
    assert!(taken.text().replace("\r\n", "\n").ends_with(&text), "{} octets arrived", taken.body.len());
}

#[test]
fn pipelining_is_used_only_where_it_is_offered() {
    let sink = Sink::start();
    sink.offer(&["SIZE", "8BITMIME"]);
    let daemon = relay(&sink).start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("step by step"));
    sink.wait_for(1, SOON);
    let commands: Vec<String> = sink.commands().into_iter().map(|(_, line)| line).collect();
    let verbs: Vec<&str> = commands.iter().filter_map(|line| line.split([' ', ':']).next()).collect();
    assert_eq!(verbs[..4], ["EHLO", "MAIL", "RCPT", "DATA"], "{commands:?}");
}
