//! Notifications, read back with mail-parser and compared with a golden one.

use super::*;
use crate::envelope::sample;
use mail_parser::{Message, MessageParser, MimeHeaders as _};
use proptest::prelude::*;

const ORIGINAL: &[u8] = b"Received: from a\r\n\tby b\r\nSubject: caf\xe9\r\n..dot: 1\r\n\r\nbody\r\n..\r\n.\r\n";

fn render(reply: &str, original: &[u8], returned: Returned) -> Vec<u8> {
    let from = Mailbox::parse("mailer-daemon@mx.here.test").unwrap();
    let failed = sample();
    Notification {
        id: "91/A0-03127-08B31BA6".parse().unwrap(),
        at: Duration::from_secs(1_790_000_060),
        host: "mx.here.test",
        from: &from,
        to: failed.reverse_path.mailbox().unwrap(),
        failed: &failed,
        original,
        reply,
        remote_name: Some("mx1.shop.example"),
        remote_address: Some([198, 51, 100, 7].into()),
        last_attempt: Duration::from_secs(1_790_000_059),
        returned,
    }
    .render()
}

fn parse(plain: &[u8]) -> Message<'_> {
    MessageParser::default().parse(plain).expect("a message")
}

fn types(message: &Message<'_>) -> Vec<String> {
    let name = |part: &mail_parser::MessagePart<'_>| {
        let kind = part.content_type().expect("every part has a type");
        format!("{}/{}", kind.c_type, kind.c_subtype.as_deref().unwrap_or_default())
    };
    message.parts.iter().map(name).collect()
}

/// The content of the last part, as it stands in the message.
fn last_part<'a>(message: &'a Message<'_>) -> &'a [u8] {
    let part = message.parts.last().unwrap();
    assert!(part.message().is_some());
    &message.raw_message[part.offset_body as usize..part.offset_end as usize]
}

#[test]
fn a_notification_with_headers_is_the_golden_one() {
    let rendered = render("550 5.1.1 no such user", ORIGINAL, Returned::Headers);
    let expected = "\
Message-ID: <91.A0.03127.08B31BA6@mx.here.test>
Date: Mon, 21 Sep 2026 14:14:20 +0000
From: Mail Delivery System <mailer-daemon@mx.here.test>
To: <news@sender.example>
Subject: Mail delivery failed
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary=\"=_91.A0.03127.08B31BA6/0=\"
Content-Transfer-Encoding: 7bit

--=_91.A0.03127.08B31BA6/0=
Content-Type: text/plain; charset=us-ascii

This is the mail system at mx.here.test.

Your message could not be delivered to the recipient below, and no further
attempt will be made.

    <ann@shop.example>

The mail system of mx1.shop.example said:

    550 5.1.1 no such user

The header of your message follows.

--=_91.A0.03127.08B31BA6/0=
Content-Type: message/delivery-status

Arrival-Date: Mon, 21 Sep 2026 14:13:20 +0000
Reporting-MTA: dns; mx.here.test

Remote-MTA: dns; mx1.shop.example
Diagnostic-Code: smtp; 550 5.1.1 no such user
Action: failed
Final-Recipient: rfc822; ann@shop.example
Last-Attempt-Date: Mon, 21 Sep 2026 14:14:19 +0000
Status: 5.1.1

--=_91.A0.03127.08B31BA6/0=
Content-Type: text/rfc822-headers

Received: from a
\tby b
Subject: caf?
..dot: 1

--=_91.A0.03127.08B31BA6/0=--
.
";
    assert_eq!(String::from_utf8(rendered).unwrap(), expected.replace('\n', "\r\n"));
}

#[test]
fn a_reader_finds_the_three_parts() {
    for (returned, kinds) in [
        (Returned::None, &["multipart/report", "text/plain", "message/delivery-status"][..]),
        (Returned::Headers, &["multipart/report", "text/plain", "message/delivery-status", "text/rfc822-headers"]),
        (Returned::All, &["multipart/report", "text/plain", "message/delivery-status", "message/rfc822"]),
    ] {
        let rendered = render("550 no", ORIGINAL, returned);
        let plain = wire::to_plain(&rendered);
        let message = parse(&plain);
        assert_eq!(types(&message), kinds);
        assert_eq!(message.message_id(), Some("91.A0.03127.08B31BA6@mx.here.test"));
        assert_eq!(message.content_type().unwrap().attribute("report-type"), Some("delivery-status"));
    }
}

#[test]
fn an_8_bit_original_comes_back_octet_for_octet_and_is_labelled() {
    let rendered = render("550 no", ORIGINAL, Returned::All);
    let plain = wire::to_plain(&rendered);
    let message = parse(&plain);
    assert_eq!(last_part(&message), &*wire::to_plain(ORIGINAL));
    assert_eq!(message.header_raw("Content-Transfer-Encoding").map(str::trim), Some("8bit"));
    assert!(render("550 no", ORIGINAL, Returned::Headers).is_ascii());
}

#[test]
fn a_hostile_reply_forges_neither_field_nor_part_nor_terminator() {
    let reply =
        "550 no\r\n.\r\nMAIL FROM:<>\r\n\r\n--=_91.A0.03127.08B31BA6/0=\r\nContent-Type: text/html\r\n\r\n\u{1b}[2Jé\0";
    let rendered = render(reply, ORIGINAL, Returned::Headers);
    assert_eq!(memmem::find_iter(&rendered, b"\r\n.\r\n").count(), 1);
    assert!(rendered.is_ascii() && !rendered.contains(&0x1b) && !rendered.contains(&0));
    let plain = wire::to_plain(&rendered);
    assert_eq!(types(&parse(&plain)).len(), 4);
}

#[test]
fn an_original_that_guesses_the_boundary_does_not_end_its_part() {
    let original = b"A: 1\r\n\r\n--=_91.A0.03127.08B31BA6/0=--\r\nlast\r\n.\r\n";
    let rendered = render("550 no", original, Returned::All);
    let plain = wire::to_plain(&rendered);
    let message = parse(&plain);
    assert!(last_part(&message).ends_with(b"last\r\n"));
}

#[test]
fn the_status_is_the_replys_own_or_the_general_one() {
    for (reply, status) in [
        ("554 5.4.7 [internal] exceeded max time without delivery", "5.4.7"),
        ("452 4.2.2 mailbox full", "4.2.2"),
        ("550-5.1.1 no", "5.1.1"),
        ("550 no such user", "5.0.0"),
        ("250 2.0.0 ok", "5.0.0"),
        ("é50", "5.0.0"),
        ("", "5.0.0"),
    ] {
        assert_eq!(status_code(&printable(reply)), status, "{reply}");
    }
}

#[test]
fn a_local_text_without_a_code_is_not_called_an_smtp_reply() {
    let rendered = render("gone fishing", ORIGINAL, Returned::None);
    assert!(memmem::find(&rendered, b"Diagnostic-Code: x-postrider; gone fishing\r\n").is_some());
}

proptest! {
    #[test]
    fn any_reply_gives_short_lines_and_one_terminator(reply in ".{0,3000}") {
        let rendered = render(&reply, ORIGINAL, Returned::Headers);
        prop_assert!(rendered.split(|&octet| octet == b'\n').all(|line| line.len() <= 998));
        prop_assert_eq!(memmem::find_iter(&rendered, b"\r\n.\r\n").count(), 1);
        prop_assert!(rendered.is_ascii());
    }
}
