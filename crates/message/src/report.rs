//! A bounce that came as mail, taken apart: what its header, its text, its machine-readable status (RFC 3464) and the original
//! it returns say. What that means is not decided here.
//!
//! Takes a body in wire form. Pure; costs up to some milliseconds, so it belongs in a thread pool.
//!
//! Invariant: whatever comes in, no more than [`READ_OCTETS_MAX`] octets and [`PARTS_MAX`] Content-Type fields of it are
//! looked at, and nothing that goes out is longer than its bound. A bounce has what it says at its beginning.

use std::borrow::Cow;

use mail_parser::decoders::html::html_to_text;
use mail_parser::{Address, MessageParser, MessagePart, MimeHeaders as _, PartType};
use memchr::memchr2_iter;
use smtp::reply::{Enhanced, parse_enhanced};

use crate::{defect, header, wire};

/// What a bounce says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Addresses of its From field.
    pub from: Vec<String>,
    /// Its subject.
    pub subject: String,
    /// It says that a program answered: Auto-Submitted and the fields that were in use before it (RFC 3834 5).
    pub is_automatic: bool,
    /// Addresses of X-Failed-Recipients.
    pub failed_recipients: Vec<String>,
    /// It is a complaint of a reader (RFC 5965), and no bounce.
    pub is_complaint: bool,
    /// It holds a message/delivery-status.
    pub has_status: bool,
    /// What that says of each recipient.
    pub recipients: Vec<Reported>,
    /// The text for people in front of what is returned.
    pub text: String,
    /// Addresses of the To field of the original that is returned.
    pub original_to: Vec<String>,
}

/// What a delivery status says of one recipient (RFC 3464 2.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// Original-Recipient.
    pub original: Option<String>,
    /// Final-Recipient.
    pub last: Option<String>,
    /// Action, in lower case.
    pub action: String,
    /// Status.
    pub status: Option<Enhanced>,
    /// Diagnostic-Code, without its type, on one line.
    pub diagnostic: Option<String>,
}

/// Takes a body in wire form apart.
pub fn read(body: &[u8]) -> Report {
    let body = &body[..body.len().min(READ_OCTETS_MAX)];
    let plain = wire::to_plain(body);
    defect::provoke(&plain);
    let plain = &plain[..end_of_parts(&plain)];
    let Some(message) = MessageParser::new().parse(plain) else { return Report::default() };
    let mut report = Report {
        from: addresses(message.from()),
        subject: cut(message.subject().unwrap_or("")),
        is_automatic: is_automatic(body),
        is_complaint: is_complaint(&message),
        failed_recipients: failed_recipients(body),
        ..Report::default()
    };
    let mut html = None;
    let mut returned = false;
    for part in message.parts.iter().take(PARTS_MAX) {
        match kind(part) {
            Kind::Status if !report.has_status => {
                report.has_status = true;
                report.recipients = statuses(&String::from_utf8_lossy(part.contents()));
            }
            Kind::Original if !returned => {
                returned = true;
                report.original_to = original_to(part);
            }
            Kind::Text if !returned && !report.has_status => add_text(&mut report.text, &contents(part)),
            Kind::Html if !returned && html.is_none() => html = Some(contents(part)),
            _ => {}
        }
    }
    if let (true, Some(html)) = (report.text.trim().is_empty(), html) {
        report.text.clear();
        add_text(&mut report.text, &html_to_text(&html));
    }
    if !report.has_status && !report.is_complaint {
        read_without_parts(&mut report, body, returned);
    }
    report
}

/// A complaint says so in its type, or by the part that has its fields.
fn is_complaint(message: &mail_parser::Message<'_>) -> bool {
    let is_feedback = |text: &str| text.eq_ignore_ascii_case("feedback-report");
    let of_type = message.content_type().and_then(|kind| kind.attribute("report-type")).is_some_and(is_feedback);
    let of_part = |part: &MessagePart<'_>| {
        part.content_type()
            .is_some_and(|kind| kind.ctype().eq_ignore_ascii_case("message") && kind.subtype().is_some_and(is_feedback))
    };
    of_type || message.parts.iter().take(PARTS_MAX).any(of_part)
}

/// Where the parts are not what the header says, a boundary that never comes or a type that is wrong, the lines tell: the fields of
/// a status as far as they go, and all in front of them as the text for people.
fn read_without_parts(report: &mut Report, body: &[u8], returned: bool) {
    let plain = wire::to_plain(body);
    let begin = plain.windows(4).position(|octets| octets == b"\r\n\r\n").map_or(0, |at| at + 4);
    let raw = &plain[begin..];
    let raw = String::from_utf8_lossy(&raw[..raw.len().min(2 * TEXT_OCTETS_MAX)]).into_owned();
    let is_empty = report.text.trim().is_empty();
    if is_empty && !returned {
        add_text(&mut report.text, &raw);
    }
    let source = if is_empty { &raw } else { &report.text };
    let first = lines_at(source).find(|(_, line)| STATUS_FIELDS.iter().any(|name| begins_with(line, name)));
    let Some((first, _)) = first else { return };
    let original = lines_at(source).find(|(at, line)| first < *at && ends_status(line));
    let found = statuses(&source[first..original.map_or(source.len(), |(at, _)| at)]);
    if found.iter().any(|reported| reported.last.is_some() || reported.original.is_some()) {
        report.recipients = found;
        report.has_status = true;
        report.text.truncate(report.text.floor_char_boundary(first));
    }
}

/// Lines, and where they begin.
fn lines_at(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive('\n').scan(0, |at, line| {
        let begin = *at;
        *at += line.len();
        Some((begin, line))
    })
}

fn begins_with(line: &str, name: &str) -> bool {
    line.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name))
}

/// A boundary, or the header of what is returned.
fn ends_status(line: &str) -> bool {
    line.starts_with("--")
        || ["content-type:", "received:", "return-path:", "from:"].iter().any(|name| begins_with(line, name))
}

/// What a delivery status begins with. Lower case.
const STATUS_FIELDS: &[&str] = &["reporting-mta:", "final-recipient:", "original-recipient:"];

/// Where the parts end that are looked at: they lie no deeper than there are Content-Type fields.
fn end_of_parts(plain: &[u8]) -> usize {
    let name = b"content-type";
    let is_name = |at: &usize| plain.get(*at..*at + name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name));
    memchr2_iter(b'C', b'c', plain).filter(is_name).nth(PARTS_MAX).unwrap_or(plain.len())
}

enum Kind {
    Status,
    Original,
    Text,
    Html,
    Other,
}

fn kind(part: &MessagePart<'_>) -> Kind {
    let kind = part.content_type();
    let (main, sub) = kind.map_or(("text", None), |kind| (kind.ctype(), kind.subtype()));
    let is = |wanted: &str| sub.is_some_and(|sub| sub.eq_ignore_ascii_case(wanted));
    match &part.body {
        PartType::Multipart(_) => Kind::Other,
        PartType::Message(_) => Kind::Original,
        _ if main.eq_ignore_ascii_case("message") && (is("delivery-status") || is("global-delivery-status")) => {
            Kind::Status
        }
        _ if is("rfc822-headers") || is("global-headers") => Kind::Original,
        PartType::Html(_) => Kind::Html,
        PartType::Text(_) if main.eq_ignore_ascii_case("text") => Kind::Text,
        _ => Kind::Other,
    }
}

/// The text of a part, as much of it as is used.
fn contents<'a>(part: &'a MessagePart<'_>) -> Cow<'a, str> {
    let octets = part.contents();
    String::from_utf8_lossy(&octets[..octets.len().min(2 * TEXT_OCTETS_MAX)])
}

fn add_text(text: &mut String, more: &str) {
    let room = TEXT_OCTETS_MAX.saturating_sub(text.len() + 1);
    text.push_str(&more[..more.floor_char_boundary(room)]);
    text.push('\n');
}

fn original_to(part: &MessagePart<'_>) -> Vec<String> {
    match &part.body {
        PartType::Message(original) => addresses(original.to()),
        _ => {
            // A field counts only with its line end, and the last one lost it to the boundary.
            let section = [part.contents(), b"\r\n\r\n"].concat();
            let original = MessageParser::new().parse_headers(&section);
            original.map_or_else(Vec::new, |original| addresses(original.to()))
        }
    }
}

fn addresses(field: Option<&Address<'_>>) -> Vec<String> {
    let all = field.into_iter().flat_map(Address::iter).filter_map(|address| address.address());
    all.take(ADDRESSES_MAX).map(cut).collect()
}

fn failed_recipients(body: &[u8]) -> Vec<String> {
    let value = field(body, "X-Failed-Recipients").unwrap_or_default();
    let words = value.split([',', ' ', '\t']).filter(|word| word.contains('@'));
    words.take(ADDRESSES_MAX).map(cut).collect()
}

fn is_automatic(body: &[u8]) -> bool {
    field(body, "Auto-Submitted").is_some_and(|value| !value.to_ascii_lowercase().starts_with("no"))
        || ["X-Autoreply", "X-Autorespond", "X-Autoresponder"].into_iter().any(|name| field(body, name).is_some())
        || field(body, "Precedence").is_some_and(|value| value.eq_ignore_ascii_case("auto_reply"))
}

fn field(body: &[u8], name: &str) -> Option<String> {
    header::find(body, name).map(|field| String::from_utf8_lossy(&field.value()).into_owned())
}

/// The groups of fields that tell of a recipient. Some programs leave out the empty line between two.
fn statuses(text: &str) -> Vec<Reported> {
    let mut all = Vec::new();
    let mut current = Reported::default();
    let mut end = |current: &mut Reported| {
        let done = std::mem::take(current);
        if done != Reported::default() && all.len() < RECIPIENTS_MAX {
            all.push(done);
        }
    };
    for field in unfolded(text) {
        let Some((name, value)) = field.split_once(':') else {
            if field.is_empty() {
                end(&mut current);
            }
            continue;
        };
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "original-recipient" => current.original = address(value),
            "final-recipient" => {
                if current.last.is_some() {
                    end(&mut current);
                }
                current.last = address(value);
            }
            "action" => current.action = first_word(value).to_ascii_lowercase(),
            "status" => current.status = parse_enhanced(first_word(value)),
            "diagnostic-code" => current.diagnostic = Some(cut(without_type(value))).filter(|text| !text.is_empty()),
            _ => {}
        }
    }
    end(&mut current);
    all
}

/// The fields of a status, each on one line, and an empty line where there is one.
fn unfolded(text: &str) -> impl Iterator<Item = String> {
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        let mut field = lines.next()?.trim_end().to_owned();
        while let Some(more) = lines.next_if(|line| !field.is_empty() && line.starts_with([' ', '\t'])) {
            if field.len() < VALUE_OCTETS_MAX {
                field.push(' ');
                field.push_str(more.trim());
            }
        }
        Some(field)
    })
}

/// `rfc822; ann@example.com` as an address.
fn address(value: &str) -> Option<String> {
    let text = without_type(value).trim_start_matches('<').trim_end_matches('>');
    text.contains('@').then(|| cut(&from_xtext(text)))
}

/// RFC 3461 4: `+` and two digits stand for an octet.
fn from_xtext(text: &str) -> Cow<'_, str> {
    let octet = |code: &[u8]| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok();
    let (bytes, mut out, mut at, mut decoded) = (text.as_bytes(), Vec::new(), 0, false);
    while let Some(&byte) = bytes.get(at) {
        let code = bytes.get(at + 1..at + 3).filter(|_| byte == b'+').filter(|code| code.iter().all(is_upper_hex));
        // Only what has to be written so: `news+20261120@` is far more often what it seems to be.
        match code.and_then(octet).filter(|octet| matches!(octet, b'+' | b'=') || !octet.is_ascii()) {
            Some(octet) => {
                out.push(octet);
                decoded = true;
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    if !decoded {
        return Cow::Borrowed(text);
    }
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn is_upper_hex(octet: &u8) -> bool {
    octet.is_ascii_digit() || (b'A'..=b'F').contains(octet)
}

/// The value behind `smtp;`, `rfc822;` and the like.
fn without_type(value: &str) -> &str {
    match value.split_once(';') {
        Some((kind, rest)) if !kind.trim().contains(' ') && kind.len() < 30 => rest.trim(),
        _ => value.trim(),
    }
}

fn first_word(value: &str) -> &str {
    value.split_whitespace().next().unwrap_or("")
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(VALUE_OCTETS_MAX)].to_owned()
}

/// Octets of a body that are looked at.
pub const READ_OCTETS_MAX: usize = 1 << 20;
/// Content-Type fields, and parts, that are looked at.
pub const PARTS_MAX: usize = 100;
/// Recipients that a status may tell of.
pub const RECIPIENTS_MAX: usize = 100;
/// Octets of the text for people.
pub const TEXT_OCTETS_MAX: usize = 32 << 10;
/// Octets of any other value.
const VALUE_OCTETS_MAX: usize = 1024;
/// Addresses of one field.
const ADDRESSES_MAX: usize = 20;

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
