//! A message with 8-bit content as one of 7-bit content, for servers that do not offer 8BITMIME (RFC 6152 3).
//!
//! Takes a body in wire form and gives another: each leaf part that holds octets over 127 becomes quoted-printable or base64
//! (RFC 2045 6), and what holds it is labelled 7bit. Structure comes from mail-parser; all else is copied octet by octet. Header
//! fields stay as they came: no encoding of theirs is safe for every field. Costs a few passes over the body, so it belongs in
//! a thread pool. Pure.
//!
//! Invariant: what comes out, read again, has the same parts with the same contents as what went in; else there is no result.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use data_encoding::BASE64_MIME;
use mail_parser::{Encoding, HeaderName, Message, MessageParser, MessagePart, MimeHeaders as _, PartType};

use crate::wire;

/// Why a message keeps its 8-bit content. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconvertible {
    /// A signature covers what would have to change.
    Signed,
    /// Its parts cannot be told apart reliably, or are more than are looked at.
    Structure,
    /// A part with 8-bit octets says that it is encoded already, or in a way that nobody knows.
    Encoding,
    /// 8-bit octets stand between the parts.
    BetweenParts,
    /// 8-bit octets stand in header fields; only when those are minded.
    Header,
}

impl fmt::Display for Unconvertible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signed => "it is signed",
            Self::Structure => "its MIME structure is broken",
            Self::Encoding => "a part has a wrong Content-Transfer-Encoding",
            Self::BetweenParts => "8-bit octets stand between its parts",
            Self::Header => "8-bit octets stand in its header",
        })
    }
}

/// The 7-bit form of a body in wire form; `None` if the content is 7-bit as it is. With `minds_header`, 8-bit octets in header
/// fields make it unconvertible; else they stay.
pub fn convert(wire: &[u8], minds_header: bool) -> Result<Option<Vec<u8>>, Unconvertible> {
    if wire.is_ascii() {
        return Ok(None);
    }
    let plain = wire::to_plain(wire);
    if PARTS_MAX < plain.windows(12).filter(|name| name.eq_ignore_ascii_case(b"content-type")).count() {
        return Err(Unconvertible::Structure);
    }
    let parsed = MessageParser::new().parse(&*plain).ok_or(Unconvertible::Structure)?;
    let mut survey = Survey { raw: &plain, known: Vec::new(), edits: Vec::new(), encoded: false };
    survey.part(&parsed, 0, false)?;
    survey.check_the_rest()?;
    if minds_header && survey.header_is_eight_bit() {
        return Err(Unconvertible::Header);
    }
    if !survey.encoded {
        return Ok(None);
    }
    if SIGNATURES.iter().any(|field| parsed.header(*field).is_some()) {
        return Err(Unconvertible::Signed);
    }
    let converted = survey.apply();
    let again = MessageParser::new().parse(&converted).ok_or(Unconvertible::Structure)?;
    if !is_same(&parsed, &again) {
        return Err(Unconvertible::Structure);
    }
    let mut out = Vec::new();
    wire::from_plain(&converted, &mut out);
    Ok(Some(out))
}

/// What stands where in a message, and what is to change.
struct Survey<'a> {
    raw: &'a [u8],
    /// Header sections (`true`) and contents of leaf parts, in the order they stand.
    known: Vec<(Range<usize>, bool)>,
    /// What takes the place of what, in order.
    edits: Vec<(Range<usize>, Cow<'static, [u8]>)>,
    /// The content of a part was encoded.
    encoded: bool,
}

impl Survey<'_> {
    /// Looks at a part and at those inside it.
    fn part(&mut self, message: &Message<'_>, number: u32, signed: bool) -> Result<(), Unconvertible> {
        let part = message.parts.get(number as usize).ok_or(Unconvertible::Structure)?;
        let kind = part.content_type();
        let is = |main: &str| kind.is_some_and(|kind| kind.ctype().eq_ignore_ascii_case(main));
        let signed = signed || (is("multipart") && kind.and_then(|kind| kind.subtype()) == Some("signed"));
        let head = part.offset_header as usize..part.offset_body as usize;
        self.known.push((head.clone(), true));
        match &part.body {
            PartType::Multipart(children) => {
                self.relabel(part, signed)?;
                children.iter().try_for_each(|child| self.part(message, *child, signed))
            }
            PartType::Message(inner) if part.encoding == Encoding::None => {
                self.relabel(part, signed)?;
                self.part(inner, 0, signed)
            }
            _ => {
                let content = head.end..part.offset_end as usize;
                let octets = self.raw.get(content.clone()).ok_or(Unconvertible::Structure)?;
                self.known.push((content.clone(), false));
                match () {
                    () if octets.is_ascii() => Ok(()),
                    () if signed => Err(Unconvertible::Signed),
                    () if is("multipart") || is("message") => Err(Unconvertible::Structure),
                    () if part.is_encoding_problem || !is_identity(part) => Err(Unconvertible::Encoding),
                    () => self.encode(part, content, number == 0, kind.is_none_or(|kind| kind.ctype() == "text")),
                }
            }
        }
    }

    /// A part that holds others is 7bit when they are.
    fn relabel(&mut self, part: &MessagePart<'_>, signed: bool) -> Result<(), Unconvertible> {
        if !is_identity(part) {
            return Err(Unconvertible::Encoding);
        }
        if !signed && encoding_of(part).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("7bit")) {
            self.label(part, "7bit", "");
        }
        Ok(())
    }

    /// Gives a leaf part the encoding that makes it shortest.
    fn encode(
        &mut self,
        part: &MessagePart<'_>,
        content: Range<usize>,
        is_root: bool,
        is_text: bool,
    ) -> Result<(), Unconvertible> {
        let (head, body) = self.raw.split_at(content.start);
        let head = &head[part.offset_header as usize..];
        if head != b"\r\n" && !head.ends_with(b"\r\n\r\n") {
            return Err(Unconvertible::Structure);
        }
        let octets = &body[..content.len()];
        let high = octets.iter().filter(|octet| !octet.is_ascii()).count();
        let quoted = is_text && high * QUOTED_COST <= octets.len();
        let mut encoded = match quoted {
            true => quoted_printable::encode(octets),
            false => BASE64_MIME.encode(octets).into_bytes(),
        };
        if !quoted && content.end != self.raw.len() {
            // The line end before a boundary belongs to the boundary.
            encoded.truncate(encoded.trim_ascii_end().len());
        }
        let lacks = |name: HeaderName<'_>| is_root && !part.headers.iter().any(|header| header.name == name);
        let more = match (lacks(HeaderName::MimeVersion), lacks(HeaderName::ContentType)) {
            (true, true) => "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n",
            (true, false) => "MIME-Version: 1.0\r\n",
            (false, true) => "Content-Type: text/plain; charset=unknown-8bit\r\n",
            (false, false) => "",
        };
        self.label(part, if quoted { "quoted-printable" } else { "base64" }, more);
        self.edits.push((content, encoded.into()));
        self.encoded = true;
        Ok(())
    }

    /// Puts Content-Transfer-Encoding at the end of a part's header, after `more`, and takes out what was there of it.
    fn label(&mut self, part: &MessagePart<'_>, encoding: &str, more: &str) {
        for field in part.headers.iter().filter(|header| header.name == HeaderName::ContentTransferEncoding) {
            self.edits.push((field.offset_field as usize..field.offset_end as usize, Cow::Borrowed(b"")));
        }
        let end = (part.offset_body as usize).saturating_sub(2);
        let field = format!("{more}Content-Transfer-Encoding: {encoding}\r\n").into_bytes();
        self.edits.push((end..end, field.into()));
    }

    /// Whatever is neither header nor content must be 7-bit as it is, and nothing may be two things.
    fn check_the_rest(&self) -> Result<(), Unconvertible> {
        let mut at = 0;
        for (range, _) in self.known.iter().chain([&(self.raw.len()..self.raw.len(), false)]) {
            let between = self.raw.get(at..range.start).ok_or(Unconvertible::Structure)?;
            if !between.is_ascii() {
                return Err(Unconvertible::BetweenParts);
            }
            at = range.end;
        }
        let in_order = self.edits.windows(2).all(|pair| pair[0].0.end <= pair[1].0.start);
        if in_order { Ok(()) } else { Err(Unconvertible::Structure) }
    }

    fn header_is_eight_bit(&self) -> bool {
        self.known.iter().any(|(range, is_header)| *is_header && !self.raw[range.clone()].is_ascii())
    }

    fn apply(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.raw.len() + self.raw.len() / 2);
        let mut at = 0;
        for (range, replacement) in &self.edits {
            out.extend_from_slice(&self.raw[at..range.start]);
            out.extend_from_slice(replacement);
            at = range.end;
        }
        out.extend_from_slice(&self.raw[at..]);
        out
    }
}

fn encoding_of<'a>(part: &'a MessagePart<'_>) -> Option<&'a str> {
    part.content_transfer_encoding().map(str::trim)
}

/// Whether the content stands there as it is (RFC 2045 6.2).
fn is_identity(part: &MessagePart<'_>) -> bool {
    let is_plain = |encoding: &str| ["7bit", "8bit", "binary"].iter().any(|known| encoding.eq_ignore_ascii_case(known));
    part.encoding == Encoding::None && encoding_of(part).is_none_or(is_plain)
}

/// Whether two messages have the same parts with the same contents, however those are encoded.
fn is_same(one: &Message<'_>, other: &Message<'_>) -> bool {
    one.parts.len() == other.parts.len()
        && one.parts.iter().zip(&other.parts).all(|(one, other)| match (&one.body, &other.body) {
            (PartType::Multipart(one), PartType::Multipart(other)) => one == other,
            (PartType::Message(one), PartType::Message(other)) => is_same(one, other),
            (PartType::Multipart(_) | PartType::Message(_), _) | (_, PartType::Multipart(_) | PartType::Message(_)) => {
                false
            }
            _ => one.contents() == other.contents(),
        })
}

/// Fields of signatures that cover the content.
const SIGNATURES: [&str; 4] = ["DKIM-Signature", "DomainKey-Signature", "ARC-Message-Signature", "ARC-Seal"];
/// Quoted-printable makes three octets of one, base64 four of three: beyond one 8-bit octet in so many base64 is shorter.
const QUOTED_COST: usize = 6;
/// Content-Type fields of a message that is taken apart. Parts lie no deeper than there are such fields, and reading them back
/// costs stack for each level.
const PARTS_MAX: usize = 500;

#[cfg(test)]
#[path = "seven_bit_tests.rs"]
mod tests;
