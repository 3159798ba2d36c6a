//! A message with 8-bit content as one of 7-bit content, for servers that do not offer 8BITMIME (RFC 6152 3).
//!
//! Takes a body in wire form and gives another: each leaf part that holds octets over 127 becomes quoted-printable or base64
//! (RFC 2045 6), and what holds it is labelled 7bit. The parts come from `mime`, which gives none where readers could differ;
//! all else is copied octet by octet. Header fields are never encoded: no encoding is safe for every field. Costs a few passes
//! over the body, so it belongs in a thread pool. Pure.
//!
//! Invariant: what comes out is 7-bit, and any reader finds the same parts with the same contents in it as in what went in;
//! else there is no result.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use data_encoding::BASE64_MIME;
use mail_parser::{Message, MessageParser, PartType};

use crate::mime::{self, Encoding, Holds, Part, Unclear};
use crate::{defect, header, wire};

/// Why a message keeps its 8-bit content. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconvertible {
    /// A signature covers what would have to change.
    Signed,
    /// Its parts cannot be told apart with certainty, or are more than are looked at.
    Structure,
    /// A part with 8-bit octets says that it is encoded already, or in a way that nobody knows.
    Encoding,
    /// 8-bit octets stand between the parts.
    BetweenParts,
    /// 8-bit octets stand in header fields.
    Header,
}

impl fmt::Display for Unconvertible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signed => "it is signed",
            Self::Structure => "its MIME structure is broken or ambiguous",
            Self::Encoding => "a part has a wrong Content-Transfer-Encoding",
            Self::BetweenParts => "8-bit octets stand between its parts",
            Self::Header => "8-bit octets stand in its header",
        })
    }
}

impl From<Unclear> for Unconvertible {
    fn from(unclear: Unclear) -> Self {
        match unclear {
            Unclear::Structure => Self::Structure,
            Unclear::Encoding => Self::Encoding,
            Unclear::BetweenParts => Self::BetweenParts,
            Unclear::Header => Self::Header,
        }
    }
}

/// What the converted message is for. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It goes on to its recipients: what is signed must arrive as it was signed.
    Relay,
    /// It goes back to its sender, inside a notification, where nobody checks signatures.
    Return,
}

/// The 7-bit form of a body in wire form; `None` if it is 7-bit as it is.
pub fn convert(wire: &[u8], purpose: Purpose) -> Result<Option<Vec<u8>>, Unconvertible> {
    if wire.is_ascii() {
        return Ok(None);
    }
    let plain = wire::to_plain(wire);
    defect::provoke(&plain);
    if PARTS_MAX < plain.windows(12).filter(|name| name.eq_ignore_ascii_case(b"content-type")).count() {
        return Err(Unconvertible::Structure);
    }
    let mut survey = Survey { raw: &plain, purpose, edits: Vec::new() };
    survey.part(&mime::read(&plain)?, true, false)?;
    if purpose == Purpose::Relay && SIGNATURES.iter().any(|field| header::find(wire, field).is_some()) {
        return Err(Unconvertible::Signed);
    }
    let converted = survey.apply();
    // A second opinion, of a reader that many have.
    let parser = MessageParser::new();
    let (before, after) = (parser.parse(&*plain), parser.parse(&converted));
    let same = before.zip(after).is_some_and(|(before, after)| is_same(&before, &after));
    if !same || !converted.is_ascii() {
        return Err(Unconvertible::Structure);
    }
    let mut out = Vec::new();
    wire::from_plain(&converted, &mut out);
    Ok(Some(out))
}

/// What is to change in a message.
struct Survey<'a> {
    raw: &'a [u8],
    purpose: Purpose,
    /// What takes the place of what, in order.
    edits: Vec<(Range<usize>, Cow<'static, [u8]>)>,
}

impl Survey<'_> {
    /// Changes a part and those inside it.
    fn part(&mut self, part: &Part, is_root: bool, signed: bool) -> Result<(), Unconvertible> {
        let covers = |sub: &str| part.media.as_ref().is_some_and(|media| media.is("multipart", sub));
        let signed = signed || (self.purpose == Purpose::Relay && (covers("signed") || covers("encrypted")));
        match &part.holds {
            Holds::Parts(parts) => {
                self.relabel(part);
                parts.iter().try_for_each(|part| self.part(part, false, signed))
            }
            Holds::Message(message) => {
                self.relabel(part);
                self.part(message, false, signed)
            }
            Holds::Content => {
                if signed {
                    return Err(Unconvertible::Signed);
                }
                if part.encoding.as_ref().is_some_and(|(_, encoding)| *encoding == Encoding::Encoded) {
                    return Err(Unconvertible::Encoding);
                }
                self.encode(part, is_root);
                Ok(())
            }
        }
    }

    /// A part that holds others is 7bit when they are.
    fn relabel(&mut self, part: &Part) {
        if matches!(part.encoding, Some((_, Encoding::Identity))) {
            self.label(part, "7bit", "");
        }
    }

    /// Gives a leaf part the encoding that makes it shortest.
    fn encode(&mut self, part: &Part, is_root: bool) {
        let octets = &self.raw[part.content.clone()];
        let is_text = part.media.as_ref().is_none_or(|media| media.main == "text");
        let high = octets.iter().filter(|octet| !octet.is_ascii()).count();
        let quoted = is_text && high * QUOTED_COST <= octets.len();
        let mut encoded = match quoted {
            true => quoted_printable::encode(octets),
            false => BASE64_MIME.encode(octets).into_bytes(),
        };
        if !quoted && part.content.end != self.raw.len() {
            // The line end before a boundary belongs to the boundary.
            encoded.truncate(encoded.trim_ascii_end().len());
        }
        let more = match (is_root && !part.has_version, is_root && part.media.is_none()) {
            (true, true) => "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n",
            (true, false) => "MIME-Version: 1.0\r\n",
            (false, true) => "Content-Type: text/plain; charset=unknown-8bit\r\n",
            (false, false) => "",
        };
        self.label(part, if quoted { "quoted-printable" } else { "base64" }, more);
        self.edits.push((part.content.clone(), encoded.into()));
    }

    /// Puts Content-Transfer-Encoding at the end of a part's header, after `more`, and takes out what was there of it.
    fn label(&mut self, part: &Part, encoding: &str, more: &str) {
        if let Some((field, _)) = &part.encoding {
            self.edits.push((field.clone(), Cow::Borrowed(b"")));
        }
        let end = part.content.start - b"\r\n".len();
        let field = format!("{more}Content-Transfer-Encoding: {encoding}\r\n").into_bytes();
        self.edits.push((end..end, field.into()));
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
