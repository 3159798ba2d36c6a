//! A next hop of 7 bits: what has no certain 7-bit form fails, and what we write ourselves always arrives.

use e2e::{SOON, accept, relay_with, wait_for_lines};
use testkit::{Sink, wait_until};

/// A sink without 8BITMIME.
fn seven_bit_sink() -> Sink {
    let sink = Sink::start();
    sink.offer(&["PIPELINING", "SIZE"]);
    sink
}

const TWO_TYPES: &str = "Subject: caf\u{e9} or text\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nA long enough line about one caf\u{e9}.\r\n--b--\r\n";
const CERTAIN: &str = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
    A long enough line about one caf\u{e9}.\r\n";

#[test]
fn what_readers_could_take_in_two_ways_fails_and_the_notification_arrives_in_7_bits() {
    for returned in ["none", "headers", "all"] {
        let sink = seven_bit_sink();
        let daemon = relay_with(&sink, &format!("bounces_inline_original = \"{returned}\"\n")).start();
        accept(&daemon, "ann@client.test", &["bob@shop.test"], TWO_TYPES);
        let failed = wait_for_lines(&daemon, "P", 1).remove(0);
        assert!(failed[13].starts_with("554 5.6.3 [internal] conversion to 7-bit"), "{failed:?}");
        let notification = sink.wait_for(1, SOON).remove(0);
        let text = notification.text();
        assert!(notification.body.is_ascii() && notification.forward_paths == ["ann@client.test"], "{text}");
        assert!(text.contains("Diagnostic-Code: x-postrider; 554 5.6.3") && !text.contains("Remote-MTA"), "{text}");
        assert_eq!(text.contains("caf=C3=A9 or text"), returned != "none", "{text}");
    }
}

#[test]
fn a_failed_8_bit_message_comes_back_whole_in_7_bits() {
    let (sink, daemon);
    sink = seven_bit_sink();
    sink.on("RCPT", "550 5.2.2 Bo\u{ee}te pleine").to("bob@*");
    daemon = relay_with(&sink, "bounces_inline_original = \"all\"\n").start();
    accept(&daemon, "ann@client.test", &["bob@shop.test", "cy@shop.test"], CERTAIN);
    let arrived = |path: &str| sink.messages().into_iter().find(|message| message.forward_paths == [path]);
    assert!(wait_until(SOON, || arrived("ann@client.test").is_some() && arrived("cy@shop.test").is_some()));
    let (notification, message) = (arrived("ann@client.test").unwrap(), arrived("cy@shop.test").unwrap());
    assert!(notification.body.is_ascii() && message.body.is_ascii());
    let text = notification.text();
    for part in
        ["Content-Type: message/rfc822\r\n", "about one caf=C3=A9.", "Diagnostic-Code: smtp; 550 5.2.2 Bo\\x{EE}te"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}
