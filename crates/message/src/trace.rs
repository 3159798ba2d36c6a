//! Header fields a relay adds: Return-Path and Received (RFC 5321 4.4), and Date and Message-ID where the sender left them
//! out, in the documented form.
//!
//! Takes what a transaction knows and appends header lines in wire form. Pure; on the hot path, so it appends into the
//! caller's buffer and allocates nothing of its own.
//!
//! Invariant: whatever the client said, each line is printable ASCII, shorter than 998 octets, its comments are closed
//! where they should be, and none begins with a dot.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use smtp::ReversePath;

use crate::date::Date;
use crate::id::MessageId;

/// What the trace fields say of one transaction.
#[derive(Clone, Copy, Debug)]
pub struct Trace<'a> {
    /// MAIL FROM.
    pub reverse_path: &'a ReversePath,
    /// The client.
    pub peer: SocketAddr,
    /// The name it gave in EHLO or HELO, as received.
    pub helo: &'a str,
    /// This host's name.
    pub host: &'a str,
    /// How the message came.
    pub with: With,
    /// The cipher of the TLS that it came under.
    pub cipher: Option<&'a str>,
    /// The transaction: its batch id.
    pub id: MessageId,
    /// When.
    pub date: &'a Date,
}

/// The `with` clause of Received (RFC 3848). Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// After HELO.
    Smtp,
    /// After EHLO.
    Esmtp,
    /// Under TLS.
    Esmtps,
    /// After AUTH.
    Esmtpa,
    /// After AUTH, under TLS.
    Esmtpsa,
}

impl With {
    /// The protocol's registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "SMTP",
            Self::Esmtp => "ESMTP",
            Self::Esmtps => "ESMTPS",
            Self::Esmtpa => "ESMTPA",
            Self::Esmtpsa => "ESMTPSA",
        }
    }
}

/// Appends Return-Path, then Received.
pub fn received_and_return_path(out: &mut Vec<u8>, trace: &Trace<'_>) {
    return_path(out, trace.reverse_path);
    received(out, trace);
}

/// Appends the Return-Path field.
pub fn return_path(out: &mut Vec<u8>, reverse_path: &ReversePath) {
    out.extend_from_slice(b"Return-Path: <");
    out.extend_from_slice(reverse_path.as_str().as_bytes());
    out.extend_from_slice(b">\r\n");
}

/// Appends the Received field.
pub fn received(out: &mut Vec<u8>, trace: &Trace<'_>) {
    out.extend_from_slice(b"Received: from [");
    put_literal(out, trace.peer.ip());
    out.extend_from_slice(b"] ([");
    put(out, format_args!("{}", trace.peer));
    out.extend_from_slice(b"] helo=");
    put_word(out, trace.helo);
    out.extend_from_slice(b")\r\n\tby ");
    put_word(out, trace.host);
    out.extend_from_slice(b" (envelope-from <");
    put_in_comment(out, trace.reverse_path.as_str());
    out.extend_from_slice(b">)\r\n\t(Postrider ");
    out.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
    out.extend_from_slice(b") with ");
    out.extend_from_slice(trace.with.as_str().as_bytes());
    if let Some(cipher) = trace.cipher {
        out.extend_from_slice(b" (cipher=");
        put_in_comment(out, cipher);
        out.push(b')');
    }
    out.extend_from_slice(b"\r\n\tid ");
    put(out, format_args!("{}", trace.id));
    out.extend_from_slice(b"; ");
    out.extend_from_slice(trace.date.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends a Date field (RFC 5322 3.6.1).
pub fn date(out: &mut Vec<u8>, date: &Date) {
    out.extend_from_slice(b"Date: ");
    out.extend_from_slice(date.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends a Message-ID field (RFC 5322 3.6.4): `<CC.CC.PPPPP.TTTTTTTT@host>`, the id with dots.
pub fn message_id(out: &mut Vec<u8>, id: MessageId, host: &str) {
    out.extend_from_slice(b"Message-ID: <");
    out.extend(id.text().map(|octet| if matches!(octet, b'/' | b'-') { b'.' } else { octet }));
    out.push(b'@');
    put_word(out, host);
    out.extend_from_slice(b">\r\n");
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
}

/// What stands in the brackets of an address literal (RFC 5321 4.1.3).
fn put_literal(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => put(out, format_args!("{address}")),
        IpAddr::V6(address) => put(out, format_args!("IPv6:{address}")),
    }
}

/// A host name from outside: anything that no host name or literal holds becomes `?`.
fn put_word(out: &mut Vec<u8>, word: &str) {
    let octets = &word.as_bytes()[..word.len().min(WORD_OCTETS_MAX)];
    let known = |octet: u8| octet.is_ascii_graphic() && !b"()\\\"<>,;".contains(&octet);
    out.extend(octets.iter().map(|&octet| if known(octet) { octet } else { b'?' }));
    if octets.is_empty() {
        out.push(b'?');
    }
}

/// An address inside a comment, where a quoted local-part's parentheses and backslashes need a backslash each.
fn put_in_comment(out: &mut Vec<u8>, address: &str) {
    for &octet in address.as_bytes() {
        if matches!(octet, b'(' | b')' | b'\\') {
            out.push(b'\\');
        }
        out.push(octet);
    }
}

/// The longest domain of RFC 5321 4.5.3.1.2.
const WORD_OCTETS_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use smtp::Mailbox;
    use std::time::Duration;

    fn trace(reverse_path: &str, peer: &str, helo: &str) -> String {
        let reverse_path = match reverse_path {
            "" => ReversePath::Null,
            text => ReversePath::Mailbox(Mailbox::parse(text).unwrap()),
        };
        let mut out = Vec::new();
        let trace = Trace {
            reverse_path: &reverse_path,
            peer: peer.parse().unwrap(),
            helo,
            host: "mx.here.test",
            with: With::Esmtp,
            cipher: None,
            id: "71/A0-03127-08B31BA6".parse().unwrap(),
            date: &Date::new(Duration::from_secs(1_790_000_000)),
        };
        received_and_return_path(&mut out, &trace);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_fields_have_the_documented_form() {
        assert_eq!(
            trace("news@sender.example", "192.0.2.9:40001", "client.example"),
            concat!(
                "Return-Path: <news@sender.example>\r\n",
                "Received: from [192.0.2.9] ([192.0.2.9:40001] helo=client.example)\r\n",
                "\tby mx.here.test (envelope-from <news@sender.example>)\r\n",
                "\t(Postrider ",
                env!("CARGO_PKG_VERSION"),
                ") with ESMTP\r\n",
                "\tid 71/A0-03127-08B31BA6; Mon, 21 Sep 2026 14:13:20 +0000\r\n",
            )
        );
    }

    #[test]
    fn date_and_message_id_have_the_documented_form() {
        let mut out = Vec::new();
        date(&mut out, &Date::new(Duration::from_secs(1_790_000_000)));
        message_id(&mut out, "71/A0-03127-08B31BA6".parse().unwrap(), "mx.here.test");
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "Date: Mon, 21 Sep 2026 14:13:20 +0000\r\nMessage-ID: <71.A0.03127.08B31BA6@mx.here.test>\r\n"
        );
    }

    #[test]
    fn an_ipv6_client_and_the_null_reverse_path_are_shown_as_such() {
        let text = trace("", "[2001:db8::9]:40001", "[IPv6:2001:db8::9]");
        assert!(text.starts_with("Return-Path: <>\r\nReceived: from [IPv6:2001:db8::9] ([[2001:db8::9]:40001] helo=["));
        assert!(text.contains("(envelope-from <>)"));
    }

    #[test]
    fn a_hostile_name_stays_inside_its_comment_and_its_line() {
        let text = trace("\"a)(\\\\b\"@x.example", "192.0.2.9:1", "x)\r\nX-Forged: yes (é\0");
        assert!(text.contains("helo=x???X-Forged:?yes?????)\r\n"), "{text}");
        assert!(text.contains("(envelope-from <\"a\\)\\(\\\\\\\\b\"@x.example>)"), "{text}");
        assert!(text.lines().count() == 5 && text.is_ascii());
        assert!(trace("", "192.0.2.9:1", "").contains("helo=?)"));
    }

    #[test]
    fn no_line_is_too_long_for_rfc_5322() {
        let reverse_path = format!("\"{}\"@{}.{}", "(".repeat(62), "a".repeat(63), "b.".repeat(90) + "c");
        let text = trace(&reverse_path, "192.0.2.9:1", &"h".repeat(2000));
        assert!(text.split("\r\n").all(|line| line.len() <= 998 && !line.starts_with('.')));
    }
}
