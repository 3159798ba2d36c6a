//! Delivery status notifications: the message that tells a reverse-path that delivery failed (RFC 3464, RFC 6522).
//!
//! Takes the failed message and the last reply, gives a whole new message in wire form. Pure.
//!
//! Invariant: the notification is well formed and 7-bit, its lines within 998 octets, whatever the remote host replied and
//! whatever the original holds: every next hop takes it as it is. An original in 8 bits comes back converted part by part;
//! one that cannot be converted, or has 8-bit octets in its header, as its header alone, quoted-printable where it has to be
//! (RFC 6522 4), for a message/rfc822 part must not be encoded itself (RFC 2046 5.2.1).

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use memchr::memmem;
use smtp::Mailbox;
use smtp::data::TEXT_LINE_OCTETS_MAX;
use smtp::reply::parse_enhanced;
use smtp::text::one_line;

use crate::date::Date;
use crate::envelope::Envelope;
use crate::id::MessageId;
use crate::seven_bit::{self, Purpose};
use crate::{header, wire};

/// How much of the original a notification returns (`bounces_inline_original`). Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// Nothing.
    None,
    /// Its header section.
    Headers,
    /// All of it.
    All,
}

/// Everything a notification of one failed message says.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    /// The notification's own id; its Message-ID is made of it.
    pub id: MessageId,
    /// When it is made, since 1970.
    pub at: Duration,
    /// This host's name.
    pub host: &'a str,
    /// The mailbox it comes from (`mailerdaemon`); the envelope's reverse-path is null all the same.
    pub from: &'a Mailbox,
    /// The mailbox that is told: the failed message's reverse-path.
    pub to: &'a Mailbox,
    /// The failed message.
    pub failed: &'a Envelope,
    /// The failed message's body, in wire form.
    pub original: &'a [u8],
    /// The reply that decided, remote or local: `code [enhanced] text`. One that begins with `[internal]` behind its codes is
    /// ours, whichever host it is about.
    pub reply: &'a str,
    /// The host that was talked to, by name; none for a local reply.
    pub remote_name: Option<&'a str>,
    /// The host that was talked to, by address; none for a local reply.
    pub remote_address: Option<IpAddr>,
    /// When the last attempt was made, since 1970.
    pub last_attempt: Duration,
    /// What of the original comes with it.
    pub returned: Returned,
}

impl Notification<'_> {
    /// The whole notification, in wire form with its terminator.
    pub fn render(&self) -> Vec<u8> {
        let original = self.returned_original();
        let boundary = self.boundary(original.octets());
        let mut out = Vec::with_capacity(3000 + original.octets().len());
        self.header_section(&mut out, &boundary);
        self.explanation(&mut out, &boundary, &original);
        self.status(&mut out, &boundary);
        original.put(&mut out, &boundary);
        put(&mut out, format_args!("\r\n--{boundary}--\r\n.\r\n"));
        out
    }

    fn returned_original(&self) -> Original<'_> {
        match self.returned {
            Returned::None => Original::None,
            Returned::Headers => Original::header(self.original, "The header of your message follows."),
            Returned::All if is_seven_bit(self.original) => Original::Whole(self.original.into()),
            Returned::All => match seven_bit::convert(self.original, Purpose::Return) {
                Ok(Some(converted)) if is_seven_bit(&converted) => Original::Whole(converted.into()),
                _ => Original::header(
                    self.original,
                    "Your message has no 7-bit form to be returned in; its header follows.",
                ),
            },
        }
    }

    /// A boundary that occurs nowhere in the original or the reply: whoever guesses the id cannot end a part early, not
    /// even for readers that look for it in the middle of a line.
    fn boundary(&self, original: &[u8]) -> String {
        let id = dotted(self.id);
        let foreign =
            |text: &String| memmem::find(original, text.as_bytes()).is_none() && !self.reply().contains(text.as_str());
        (0u64..).map(|attempt| format!("=_{id}/{attempt}=")).find(foreign).unwrap_or_default()
    }

    /// The reply on one line, blanks single, cut to its bound.
    fn reply(&self) -> String {
        let line = one_line(self.reply);
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let mut reply = words.join(" ");
        reply.truncate(reply.floor_char_boundary(REPLY_OCTETS_MAX));
        reply
    }

    /// Whether we gave the reply ourselves: then it is no SMTP reply of the host it is about, if it is about one.
    fn is_ours(&self) -> bool {
        let behind_code = self.reply.get(3..).filter(|_| reply_code(self.reply).is_some()).unwrap_or(self.reply);
        let behind_code = behind_code.trim_start_matches([' ', '-']);
        let (first, rest) = behind_code.split_once(' ').unwrap_or((behind_code, ""));
        let text = if parse_enhanced(first).is_some() { rest } else { behind_code };
        self.remote_mta().is_none() || text.starts_with("[internal]")
    }

    fn header_section(&self, out: &mut Vec<u8>, boundary: &str) {
        let host = word(self.host);
        put(out, format_args!("Message-ID: <{}@{host}>\r\n", dotted(self.id)));
        put(out, format_args!("Date: {}\r\n", Date::new(self.at)));
        put(out, format_args!("From: Mail Delivery System <{}>\r\n", self.from));
        put(out, format_args!("To: <{}>\r\n", self.to));
        put(
            out,
            format_args!("Subject: Mail delivery failed\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"),
        );
        put(
            out,
            format_args!(
                "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n"
            ),
        );
        out.extend_from_slice(b"Content-Transfer-Encoding: 7bit\r\n\r\n");
    }

    /// The part for a person; in UTF-8 if the reply is.
    fn explanation(&self, out: &mut Vec<u8>, boundary: &str, original: &Original<'_>) {
        let mut text = Vec::new();
        put(&mut text, format_args!("This is the mail system at {}.\r\n\r\n", word(self.host)));
        text.extend_from_slice(b"Your message could not be delivered to the recipient below, and no further\r\n");
        text.extend_from_slice(b"attempt will be made.\r\n\r\n");
        put(&mut text, format_args!("    <{}>\r\n\r\n", self.failed.forward_path.as_str()));
        match self.remote_mta().filter(|_| !self.is_ours()) {
            Some(remote) => put(&mut text, format_args!("The mail system of {remote} said:\r\n\r\n")),
            None => text.extend_from_slice(b"The reason:\r\n\r\n"),
        }
        put_folded(&mut text, b"    ", b"    ", &self.reply());
        if let Some(note) = original.note() {
            put(&mut text, format_args!("\r\n{note}\r\n"));
        }
        put_part(out, boundary, "text/plain; charset", text.into());
    }

    /// The machine's part: fields about the message, an empty line, fields about the recipient (RFC 3464 2.1).
    fn status(&self, out: &mut Vec<u8>, boundary: &str) {
        put(out, format_args!("\r\n--{boundary}\r\nContent-Type: message/delivery-status\r\n\r\n"));
        put(out, format_args!("Arrival-Date: {}\r\n", Date::new(self.failed.created)));
        put(out, format_args!("Reporting-MTA: dns; {}\r\n\r\n", word(self.host)));
        let reply = escaped(&self.reply());
        let remote = self.remote_mta().filter(|_| !self.is_ours());
        // RFC 3464 2.3.6: `smtp` is for what an SMTP server replied.
        let kind = if remote.is_some() && reply_code(&reply).is_some() { "smtp" } else { "x-postrider" };
        if let Some(remote) = remote {
            put(out, format_args!("Remote-MTA: dns; {remote}\r\n"));
        }
        put_folded(out, format!("Diagnostic-Code: {kind}; ").as_bytes(), b"\t", &reply);
        out.extend_from_slice(b"Action: failed\r\n");
        put(out, format_args!("Final-Recipient: rfc822; {}\r\n", self.failed.forward_path.as_str()));
        put(out, format_args!("Last-Attempt-Date: {}\r\n", Date::new(self.last_attempt)));
        put(out, format_args!("Status: {}\r\n", status_code(&reply)));
    }

    /// The remote host, by name if there is one.
    fn remote_mta(&self) -> Option<String> {
        // A host known by its address only is shown as an address literal (RFC 3464 2.3.5, RFC 5321 4.1.3).
        let name = self.remote_name.filter(|name| name.parse::<IpAddr>().is_err());
        match (name, self.remote_address) {
            (Some(name), _) => Some(word(name)),
            (None, Some(IpAddr::V4(address))) => Some(format!("[{address}]")),
            (None, Some(IpAddr::V6(address))) => Some(format!("[IPv6:{address}]")),
            (None, None) => None,
        }
    }
}

/// `CC.CC.PPPPP.TTTTTTTT`: the form of an id that a Message-ID can hold.
pub fn dotted(id: MessageId) -> String {
    id.to_string().replace(['/', '-'], ".")
}

/// The enhanced status code that the notification reports: the reply's own if it is one of failure, else the general
/// one of its class (RFC 3463 3.1).
fn status_code(reply: &str) -> String {
    let text = reply.get(3..).filter(|_| reply_code(reply).is_some()).unwrap_or(reply);
    let first = text.trim_start_matches([' ', '-']).split(' ').next().and_then(parse_enhanced);
    match first {
        Some((class @ (4 | 5), subject, detail)) => format!("{class}.{subject}.{detail}"),
        _ => "5.0.0".to_owned(),
    }
}

fn reply_code(reply: &str) -> Option<u16> {
    let (code, rest) = reply.split_at_checked(3)?;
    let ends = rest.is_empty() || rest.starts_with([' ', '-']);
    code.parse().ok().filter(|code| ends && (200..600).contains(code))
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
}

/// What of the original comes back, in wire form without its terminator.
enum Original<'a> {
    None,
    /// Its header section, and why.
    Header(&'a [u8], &'static str),
    /// All of it, in 7 bits.
    Whole(Cow<'a, [u8]>),
}

impl<'a> Original<'a> {
    fn header(original: &'a [u8], note: &'static str) -> Self {
        Self::Header(header::section(original), note)
    }

    fn octets(&self) -> &[u8] {
        match self {
            Self::None => b"",
            Self::Header(section, _) => section,
            Self::Whole(whole) => wire::without_terminator(whole),
        }
    }

    /// What the person is told of it.
    fn note(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Header(_, note) => Some(note),
            Self::Whole(_) => Some("Your message follows."),
        }
    }

    fn put(&self, out: &mut Vec<u8>, boundary: &str) {
        match self {
            Self::None => {}
            Self::Header(section, _) => {
                out.extend_from_slice(b"\r\n");
                put_part(out, boundary, "text/rfc822-headers", wire::to_plain(section));
            }
            Self::Whole(_) => {
                put(out, format_args!("\r\n--{boundary}\r\nContent-Type: message/rfc822\r\n\r\n"));
                out.extend_from_slice(self.octets());
            }
        }
    }
}

/// Whether a body in wire form is 7-bit data as RFC 2045 2.7 has it.
fn is_seven_bit(body: &[u8]) -> bool {
    let is_short = |line: &[u8]| line.len() <= TEXT_LINE_OCTETS_MAX && !line.contains(&b'\r');
    body.is_ascii() && !body.contains(&0) && wire::lines(body).all(is_short)
}

/// Appends a part of text, plain lines that end with CRLF, quoted-printable if it is not 7-bit as it is. A `charset` left
/// open at the end of its type is named.
fn put_part(out: &mut Vec<u8>, boundary: &str, kind: &str, text: Cow<'_, [u8]>) {
    let is_plain =
        text.is_ascii() && !text.contains(&0) && text.split(|octet| *octet == b'\n').all(|line| line.len() <= 999);
    let charset = match (kind.ends_with("charset"), is_plain) {
        (true, true) => "=us-ascii",
        (true, false) => "=utf-8",
        (false, _) => "",
    };
    put(out, format_args!("--{boundary}\r\nContent-Type: {kind}{charset}\r\n"));
    let text = match is_plain {
        true => text,
        false => {
            out.extend_from_slice(b"Content-Transfer-Encoding: quoted-printable\r\n");
            quoted_printable::encode(&text).into()
        }
    };
    out.extend_from_slice(b"\r\n");
    let begin = out.len();
    wire::from_plain(&text, out);
    debug_assert!(begin + wire::TERMINATOR.len() <= out.len(), "the wire form has a terminator");
    out.truncate(out.len() - wire::TERMINATOR.len());
}

/// A text on one line as ASCII: other characters stand there as `\x{HEX}` (RFC 6533 3), and so do backslashes before an x,
/// so that it can be read back.
fn escaped(text: &str) -> String {
    let text = text.replace("\\x", "\\x{5C}x");
    let escape = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\x{{{:X}}}", u32::from(c)) };
    if text.is_ascii() { text } else { text.chars().map(escape).collect() }
}

/// A host name from outside.
fn word(name: &str) -> String {
    let known = |c: char| c.is_ascii_graphic() && !"()<>@,;\\\"".contains(c);
    let word: String = name.chars().take(255).map(|c| if known(c) { c } else { '?' }).collect();
    if word.is_empty() { "localhost".to_owned() } else { word }
}

/// Writes `text` on lines of at most 76 octets where its blanks allow, and 512 where not.
fn put_folded(out: &mut Vec<u8>, first: &[u8], later: &[u8], text: &str) {
    out.extend_from_slice(first);
    let mut column = first.len();
    for (at, piece) in text.split(' ').flat_map(pieces).enumerate() {
        if 0 < at && LINE_OCTETS < column + piece.len() {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(later);
            column = later.len();
        } else if 0 < at {
            out.push(b' ');
            column += 1;
        }
        out.extend_from_slice(piece.as_bytes());
        column += piece.len();
    }
    out.extend_from_slice(b"\r\n");
}

/// A word in pieces of at most [`WORD_OCTETS_MAX`], no character cut.
fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(word);
    std::iter::from_fn(move || {
        let (piece, behind) = rest?.split_at(rest?.floor_char_boundary(WORD_OCTETS_MAX));
        rest = Some(behind).filter(|behind| !behind.is_empty());
        Some(piece)
    })
}

/// How much of a reply is repeated; RFC 5321 4.5.3.1.5 allows 512 octets a line, and replies have lines.
const REPLY_OCTETS_MAX: usize = 2048;
const WORD_OCTETS_MAX: usize = 512;
const LINE_OCTETS: usize = 76;

#[cfg(test)]
#[path = "dsn_tests.rs"]
mod tests;
