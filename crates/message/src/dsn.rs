//! Delivery status notifications: the message that tells a reverse-path that delivery failed (RFC 3464, RFC 6522).
//!
//! Takes the failed message and the last reply, gives a whole new message in wire form. Pure.
//!
//! Invariant: the notification is well formed whatever the remote host replied and whatever the original holds. Outside
//! the returned original it is printable ASCII. It is 7-bit unless an 8-bit original is returned whole, which cannot be
//! encoded (RFC 2046 5.2.1); the caller then marks the new envelope as 8-bit.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use memchr::memmem;
use smtp::Mailbox;
use smtp::reply::parse_enhanced;

use crate::date::Date;
use crate::envelope::Envelope;
use crate::id::MessageId;
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
    /// The reply that decided, remote or local: `code [enhanced] text`.
    pub reply: &'a str,
    /// The host that gave it, by name; none for a local reply.
    pub remote_name: Option<&'a str>,
    /// The host that gave it, by address; none for a local reply.
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
        let boundary = self.boundary(original);
        let mut out = Vec::with_capacity(3000 + original.len());
        self.header_section(&mut out, &boundary);
        self.explanation(&mut out, &boundary);
        self.status(&mut out, &boundary);
        self.put_original(&mut out, &boundary, original);
        put(&mut out, format_args!("\r\n--{boundary}--\r\n.\r\n"));
        out
    }

    /// Whether the notification holds octets over 127.
    pub fn is_eight_bit(&self) -> bool {
        self.returned == Returned::All && !self.returned_original().is_ascii()
    }

    fn returned_original(&self) -> &[u8] {
        match self.returned {
            Returned::None => b"",
            Returned::Headers => header::section(self.original),
            Returned::All => wire::without_terminator(self.original),
        }
    }

    /// A boundary that occurs nowhere in the original or the reply: whoever guesses the id cannot end a part early, not
    /// even for readers that look for it in the middle of a line.
    fn boundary(&self, original: &[u8]) -> String {
        let id = dotted(self.id);
        let foreign = |text: &String| {
            memmem::find(original, text.as_bytes()).is_none() && !printable(self.reply).contains(text.as_str())
        };
        (0u64..).map(|attempt| format!("=_{id}/{attempt}=")).find(foreign).unwrap_or_default()
    }

    fn header_section(&self, out: &mut Vec<u8>, boundary: &str) {
        let (host, encoding) = (word(self.host), self.encoding());
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
        put(out, format_args!("Content-Transfer-Encoding: {encoding}\r\n\r\n"));
    }

    fn encoding(&self) -> &'static str {
        if self.is_eight_bit() { "8bit" } else { "7bit" }
    }

    fn explanation(&self, out: &mut Vec<u8>, boundary: &str) {
        put(out, format_args!("--{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"));
        put(out, format_args!("This is the mail system at {}.\r\n\r\n", word(self.host)));
        out.extend_from_slice(b"Your message could not be delivered to the recipient below, and no further\r\n");
        out.extend_from_slice(b"attempt will be made.\r\n\r\n");
        put(out, format_args!("    <{}>\r\n\r\n", self.failed.forward_path.as_str()));
        match self.remote_mta() {
            Some(remote) => put(out, format_args!("The mail system of {remote} said:\r\n\r\n")),
            None => out.extend_from_slice(b"The reason:\r\n\r\n"),
        }
        put_folded(out, b"    ", b"    ", &printable(self.reply));
        out.extend_from_slice(match self.returned {
            Returned::None => b"",
            Returned::Headers => b"\r\nThe header of your message follows.\r\n",
            Returned::All => &b"\r\nYour message follows.\r\n"[..],
        });
    }

    /// The machine's part: fields about the message, an empty line, fields about the recipient (RFC 3464 2.1).
    fn status(&self, out: &mut Vec<u8>, boundary: &str) {
        put(out, format_args!("\r\n--{boundary}\r\nContent-Type: message/delivery-status\r\n\r\n"));
        put(out, format_args!("Arrival-Date: {}\r\n", Date::new(self.failed.created)));
        put(out, format_args!("Reporting-MTA: dns; {}\r\n\r\n", word(self.host)));
        if let Some(remote) = self.remote_mta() {
            put(out, format_args!("Remote-MTA: dns; {remote}\r\n"));
        }
        let reply = printable(self.reply);
        let kind = if reply_code(&reply).is_some() { "smtp" } else { "x-postrider" };
        put_folded(out, format!("Diagnostic-Code: {kind}; ").as_bytes(), b"\t", &reply);
        out.extend_from_slice(b"Action: failed\r\n");
        put(out, format_args!("Final-Recipient: rfc822; {}\r\n", self.failed.forward_path.as_str()));
        put(out, format_args!("Last-Attempt-Date: {}\r\n", Date::new(self.last_attempt)));
        put(out, format_args!("Status: {}\r\n", status_code(&reply)));
    }

    fn put_original(&self, out: &mut Vec<u8>, boundary: &str, original: &[u8]) {
        match self.returned {
            Returned::None => {}
            Returned::Headers => {
                put(out, format_args!("\r\n--{boundary}\r\nContent-Type: text/rfc822-headers\r\n\r\n"));
                // RFC 6522 4: 7-bit only.
                out.extend(original.iter().map(|&octet| if octet.is_ascii() && octet != 0 { octet } else { b'?' }));
            }
            Returned::All => {
                put(out, format_args!("\r\n--{boundary}\r\nContent-Type: message/rfc822\r\n"));
                put(out, format_args!("Content-Transfer-Encoding: {}\r\n\r\n", self.encoding()));
                out.extend_from_slice(original);
            }
        }
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

/// A text from outside, on one line of printable ASCII: control bytes become blanks, the rest `?`, blanks are single.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(REPLY_OCTETS_MAX));
    for c in text.chars() {
        let c = if c.is_control() {
            ' '
        } else if c.is_ascii() {
            c
        } else {
            '?'
        };
        if c != ' ' || !out.is_empty() && !out.ends_with(' ') {
            out.push(c);
        }
        if REPLY_OCTETS_MAX <= out.len() {
            break;
        }
    }
    out.truncate(out.trim_end().len());
    out
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
    let pieces = text.split(' ').flat_map(|word| word.as_bytes().chunks(WORD_OCTETS_MAX));
    for (at, piece) in pieces.enumerate() {
        if 0 < at && LINE_OCTETS < column + piece.len() {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(later);
            column = later.len();
        } else if 0 < at {
            out.push(b' ');
            column += 1;
        }
        out.extend_from_slice(piece);
        column += piece.len();
    }
    out.extend_from_slice(b"\r\n");
}

/// How much of a reply is repeated; RFC 5321 4.5.3.1.5 allows 512 octets a line, and replies have lines.
const REPLY_OCTETS_MAX: usize = 2048;
const WORD_OCTETS_MAX: usize = 512;
const LINE_OCTETS: usize = 76;

#[cfg(test)]
#[path = "dsn_tests.rs"]
mod tests;
