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
Content-Transfer-Encoding: quoted-printable

Received: from a
\tby b
Subject: caf=E9
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
        let rendered = render("550 no", b"Subject: x\r\n\r\nbody\r\n.\r\n", returned);
        let plain = wire::to_plain(&rendered);
        let message = parse(&plain);
        assert_eq!(types(&message), kinds);
        assert_eq!(message.message_id(), Some("91.A0.03127.08B31BA6@mx.here.test"));
        assert_eq!(message.content_type().unwrap().attribute("report-type"), Some("delivery-status"));
    }
}

/// The notification of an original, as a reader has it.
fn with_original(original: &[u8], returned: Returned, look: impl FnOnce(&Message<'_>)) {
    let rendered = render("550 5.1.1 no such user", original, returned);
    assert!(rendered.is_ascii() && !rendered.contains(&0), "every next hop takes it");
    assert!(rendered.split(|&octet| octet == b'\n').all(|line| line.len() <= 999));
    look(&parse(&wire::to_plain(&rendered)));
}

#[test]
fn a_7_bit_original_comes_back_octet_for_octet() {
    let original = b"Subject: x\r\n..dot: 1\r\n\r\nbody\r\n..\r\n.\r\n";
    with_original(original, Returned::All, |message| {
        assert_eq!(last_part(message), &*wire::to_plain(original));
    });
}

#[test]
fn an_8_bit_original_comes_back_in_7_bits_signed_or_not() {
    let original = "DKIM-Signature: v=1; b=x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
                    A long enough line about one caf\u{e9}.\r\n.\r\n";
    with_original(original.as_bytes(), Returned::All, |message| {
        let inner = message.parts.last().unwrap().message().expect("a whole message");
        assert_eq!(inner.body_text(0).as_deref(), Some("A long enough line about one caf\u{e9}.\r\n"));
    });
}

#[test]
fn an_original_without_a_7_bit_form_comes_back_as_its_header() {
    let long = format!("Subject: x\r\n\r\n{}\r\n.\r\n", "y".repeat(2000));
    let ambiguous = "MIME-Version: 1.0\r\nMIME-Version: 1.0\r\nSubject: x\r\n\r\ncaf\u{e9}\r\n.\r\n";
    for (original, subject) in [
        (ORIGINAL, &b"Subject: caf\xe9\r\n"[..]),
        (long.as_bytes(), b"Subject: x\r\n"),
        (ambiguous.as_bytes(), b"Subject: x\r\n"),
        (b"Subject: x\r\n\r\na\0b\r\n.\r\n", b"Subject: x\r\n"),
        (b"Subject: x\0\r\n\r\nab\r\n.\r\n", b"Subject: x\0\r\n"),
    ] {
        with_original(original, Returned::All, |message| {
            assert_eq!(types(message).last().map(String::as_str), Some("text/rfc822-headers"));
            let (header, told) = (message.parts.last().unwrap(), message.body_text(0).unwrap());
            let raw = &message.raw_message[header.offset_body as usize..header.offset_end as usize];
            let quoted = header.content_transfer_encoding().is_some();
            let read = if quoted {
                quoted_printable::decode(raw, quoted_printable::ParseMode::Strict).unwrap()
            } else {
                raw.to_vec()
            };
            assert!(memmem::find(&read, subject).is_some(), "{raw:?}");
            assert!(told.contains("no 7-bit form"), "{told}");
        });
    }
}

#[test]
fn a_long_or_8_bit_header_is_quoted_printable() {
    let long = format!("Subject: {}\r\n\r\n.\r\n", "y".repeat(2000));
    with_original(long.as_bytes(), Returned::Headers, |message| {
        let header = message.parts.last().unwrap();
        assert_eq!(header.content_transfer_encoding(), Some("quoted-printable"));
        assert!(header.text_contents().unwrap().contains(&"y".repeat(2000)));
    });
}

#[test]
fn a_reply_in_another_script_is_told_whole_and_can_be_read_back() {
    let rendered = render("550 5.2.2 Bo\u{ee}te pleine \\x41 \u{1F4EC}\u{85}\u{2028}.", ORIGINAL, Returned::None);
    assert!(rendered.is_ascii());
    let plain = wire::to_plain(&rendered);
    let message = parse(&plain);
    assert!(message.body_text(0).unwrap().contains("    550 5.2.2 Bo\u{ee}te pleine \\x41 \u{1F4EC} ."));
    let code = b"Diagnostic-Code: smtp; 550 5.2.2 Bo\\x{EE}te pleine \\x{5C}x41 \\x{1F4EC} .\r\n";
    assert!(memmem::find(&rendered, code).is_some(), "{}", String::from_utf8_lossy(&rendered));
}

#[test]
fn what_we_said_ourselves_is_no_reply_of_the_host_it_is_about() {
    for reply in
        ["554 5.6.3 [internal] conversion not possible", "451 [internal] no banner", "554-5.4.7 [internal] expired"]
    {
        let rendered = render(reply, ORIGINAL, Returned::None);
        let said = String::from_utf8(rendered).unwrap();
        assert!(said.contains("Diagnostic-Code: x-postrider; ") && !said.contains("Remote-MTA:"), "{said}");
        assert!(said.contains("The reason:") && !said.contains(" said:"), "{said}");
    }
    let said = String::from_utf8(render("550 no [internal] mail here", ORIGINAL, Returned::None)).unwrap();
    assert!(said.contains("Diagnostic-Code: smtp; ") && said.contains("Remote-MTA: dns; mx1.shop.example"), "{said}");
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
        assert_eq!(status_code(reply), status, "{reply}");
    }
}

#[test]
fn a_local_text_without_a_code_is_not_called_an_smtp_reply() {
    let rendered = render("gone fishing", ORIGINAL, Returned::None);
    assert!(memmem::find(&rendered, b"Diagnostic-Code: x-postrider; gone fishing\r\n").is_some());
}

proptest! {
    #[test]
    fn whatever_is_quoted_a_notification_is_7_bit_with_its_parts(
        reply in "(550 )?(5\\.1\\.1 )?.{0,200}",
        original in proptest::collection::vec(any::<u8>(), 0..300),
        fields in proptest::sample::select(vec!["Subject: x\r\n\r\n", "Subject: \u{e9}\r\n\r\n", ""]),
        returned in proptest::sample::select(vec![Returned::None, Returned::Headers, Returned::All]),
    ) {
        let mut body = Vec::new();
        wire::from_plain(&[fields.as_bytes(), &original].concat(), &mut body);
        let rendered = render(&reply, &body, returned);
        prop_assert!(rendered.is_ascii() && !rendered.contains(&0));
        prop_assert!(rendered.split(|&octet| octet == b'\n').all(|line| line.len() <= 1000));
        prop_assert_eq!(memmem::find_iter(&rendered, b"\r\n.\r\n").count(), 1);
        let kinds = types(&parse(&wire::to_plain(&rendered)));
        prop_assert_eq!(kinds.len(), if returned == Returned::None { 3 } else { 4 });
    }

    #[test]
    fn any_reply_gives_short_lines_and_one_terminator(reply in ".{0,3000}") {
        let rendered = render(&reply, ORIGINAL, Returned::Headers);
        prop_assert!(rendered.split(|&octet| octet == b'\n').all(|line| line.len() <= 998));
        prop_assert_eq!(memmem::find_iter(&rendered, b"\r\n.\r\n").count(), 1);
        prop_assert!(rendered.is_ascii());
    }
}
