//! The parts of a message, as far as every reader tells them apart alike.
//!
//! Readers of MIME differ on whatever the grammar of RFC 2045 and RFC 2046 leaves out: a field that is there twice, a boundary
//! that begins another, a part that is not closed. A message that leaves a choice is [`Unclear`] here, so that whoever changes
//! it part by part cannot make it say something else to one of them. Takes plain form with CRLF line ends; gives ranges of it.
//!
//! Only parts with octets over 127 are looked into: the others stay as they are, whoever reads them how. Pure; linear in the
//! message for each level of nesting, of which [`DEPTH_MAX`] are looked at.

use std::ops::Range;

use memchr::{memchr, memmem};

/// What keeps a message from being clear. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unclear {
    /// Its parts.
    Structure,
    /// A Content-Transfer-Encoding.
    Encoding,
    /// Octets over 127 between parts.
    BetweenParts,
    /// Octets over 127 in a header section.
    Header,
}

/// A message, or a part of one, with octets over 127 in it.
#[derive(Debug)]
pub(crate) struct Part {
    /// Where its content begins: behind the empty line.
    pub(crate) content: Range<usize>,
    /// Its Content-Transfer-Encoding field, with its last CRLF, and what it says.
    pub(crate) encoding: Option<(Range<usize>, Encoding)>,
    /// What its Content-Type says; none without one.
    pub(crate) media: Option<Media>,
    /// It is a message, not a part of one, and has a MIME-Version.
    pub(crate) has_version: bool,
    /// What its content is.
    pub(crate) holds: Holds,
}

/// What the content of a part is. Closed.
#[derive(Debug)]
pub(crate) enum Holds {
    /// Content of its own.
    Content,
    /// Parts; those without octets over 127 are left out.
    Parts(Vec<Part>),
    /// A message.
    Message(Box<Part>),
}

/// A Content-Transfer-Encoding that everybody knows. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// 7bit: the content stands there as it is (RFC 2045 6.2), as with the next two.
    SevenBit,
    /// 8bit or binary.
    Identity,
    /// quoted-printable or base64.
    Encoded,
}

/// A media type, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Media {
    pub(crate) main: String,
    pub(crate) sub: String,
}

impl Media {
    /// Whether it is `main/sub`.
    pub(crate) fn is(&self, main: &str, sub: &str) -> bool {
        self.main == main && self.sub == sub
    }
}

/// Takes a message apart.
pub(crate) fn read(raw: &[u8]) -> Result<Part, Unclear> {
    if !has_clean_lines(raw) {
        return Err(Unclear::Structure);
    }
    let mut reader = Reader { raw, boundaries: Vec::new(), levels: 0 };
    reader.part(0..raw.len(), Place::Message)
}

/// Every CR and LF is half of a CRLF, and there is no NUL, at which some readers stop.
fn has_clean_lines(raw: &[u8]) -> bool {
    let ends = memmem::find_iter(raw, b"\r\n").count();
    let (mut returns, mut feeds, mut nuls) = (0, 0, 0);
    for octet in raw {
        returns += usize::from(*octet == b'\r');
        feeds += usize::from(*octet == b'\n');
        nuls += usize::from(*octet == 0);
    }
    (returns, feeds, nuls) == (ends, ends, 0)
}

struct Reader<'a> {
    raw: &'a [u8],
    /// Those of the parts around.
    boundaries: Vec<Vec<u8>>,
    levels: usize,
}

/// Where a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is a whole message.
    Message,
    /// It is a part of a multipart.
    Part,
    /// Of a multipart/digest, where what has no Content-Type is a message (RFC 2046 5.1.5) for some readers.
    PartOfDigest,
}

impl Reader<'_> {
    fn part(&mut self, range: Range<usize>, place: Place) -> Result<Part, Unclear> {
        self.levels += 1;
        if DEPTH_MAX < self.levels {
            return Err(Unclear::Structure);
        }
        let head = Head::read(self.raw, range)?;
        let has_version = match &head.version {
            Some(version) => is_version_1(version).then_some(true).ok_or(Unclear::Structure)?,
            None => false,
        };
        let media = head.kind.as_deref().map(media_and_parameters).transpose()?;
        let parameters = media.as_ref().map(|(_, parameters)| *parameters);
        let media = media.as_ref().map(|(media, _)| media.clone());
        let encoding = match head.encoding {
            Some((field, value)) => Some((field, encoding(&value)?)),
            None => None,
        };
        let holds = match &media {
            None if place == Place::PartOfDigest => return Err(Unclear::Structure),
            Some(media) if media.main == "multipart" || media.main == "message" => {
                // A message without MIME-Version is text for those who mind it (RFC 2045 4).
                if place == Place::Message && !has_version {
                    return Err(Unclear::Structure);
                }
                if encoding.as_ref().is_some_and(|(_, encoding)| *encoding == Encoding::Encoded) {
                    return Err(Unclear::Encoding);
                }
                self.holds_more(media, parameters.unwrap_or_default(), head.content.clone())?
            }
            _ => Holds::Content,
        };
        self.levels -= 1;
        Ok(Part { content: head.content, encoding, media, has_version, holds })
    }

    fn holds_more(&mut self, media: &Media, parameters: &str, content: Range<usize>) -> Result<Holds, Unclear> {
        if media.is("message", "rfc822") {
            return Ok(Holds::Message(Box::new(self.part(content, Place::Message)?)));
        }
        if media.main == "message" {
            return Err(Unclear::Structure);
        }
        let boundary = boundary(parameters).ok_or(Unclear::Structure)?;
        let begins_another = |other: &Vec<u8>| other.starts_with(&boundary) || boundary.starts_with(other);
        if self.boundaries.iter().any(begins_another) {
            return Err(Unclear::Structure);
        }
        let place = if media.sub == "digest" { Place::PartOfDigest } else { Place::Part };
        let ranges = self.ranges(content, &boundary)?;
        self.boundaries.push(boundary);
        let parts = ranges.into_iter().filter(|range| !self.raw[range.clone()].is_ascii());
        let parts: Vec<_> = parts.collect();
        let parts = parts.into_iter().map(|range| self.part(range, place)).collect::<Result<_, _>>()?;
        self.boundaries.pop();
        Ok(Holds::Parts(parts))
    }

    /// Where the parts stand between these boundaries, each of which must be a whole line, and the last one alone the end.
    fn ranges(&self, content: Range<usize>, boundary: &[u8]) -> Result<Vec<Range<usize>>, Unclear> {
        let raw = &self.raw[..content.end];
        let dashed = [b"--", boundary].concat();
        let (mut ranges, mut begin, mut closed) = (Vec::new(), None, None);
        let is_ascii = |range: Range<usize>| raw[range].is_ascii().then_some(()).ok_or(Unclear::BetweenParts);
        for at in memmem::find_iter(&raw[content.start..], &dashed) {
            let at = at + content.start;
            let rest = &raw[at + dashed.len()..];
            let is_close = rest.starts_with(b"--");
            let rest = if is_close { &rest[2..] } else { rest };
            let begins_line = at == content.start || content.start + 2 <= at && raw[..at].ends_with(b"\r\n");
            let ends_line = rest.starts_with(b"\r\n") || is_close && rest.is_empty();
            if !begins_line || !ends_line || closed.is_some() {
                return Err(Unclear::Structure);
            }
            match begin {
                None => is_ascii(content.start..at)?,
                // The line end before a boundary belongs to the boundary.
                Some(begin) => ranges.push(begin..at.saturating_sub(2).max(begin)),
            }
            let behind = (content.end - rest.len() + 2).min(content.end);
            begin = Some(behind);
            closed = is_close.then_some(behind);
        }
        is_ascii(closed.ok_or(Unclear::Structure)?..content.end)?;
        if ranges.is_empty() { Err(Unclear::Structure) } else { Ok(ranges) }
    }
}

/// The fields of a header section that say what a content is, unfolded.
#[derive(Default)]
struct Head {
    kind: Option<String>,
    encoding: Option<(Range<usize>, String)>,
    version: Option<String>,
    content: Range<usize>,
}

impl Head {
    /// A header section up to its empty line: fields in the form of RFC 5322 2.2, and nothing else.
    fn read(raw: &[u8], range: Range<usize>) -> Result<Self, Unclear> {
        let (mut head, mut at) = (Self::default(), range.start);
        let end_of_line = |at: usize| memchr(b'\n', &raw[at..range.end]).map(|end| at + end + 1);
        loop {
            let mut end = end_of_line(at).ok_or_else(|| unclear_header(&raw[at..range.end]))?;
            if &raw[at..end] == b"\r\n" {
                head.content = end..range.end;
                return Ok(head);
            }
            while let Some(b' ' | b'\t') = raw[..range.end].get(end) {
                let next = end_of_line(end).ok_or(Unclear::Structure)?;
                if raw[end..next].trim_ascii().is_empty() {
                    return Err(Unclear::Structure);
                }
                end = next;
            }
            head.field(raw, at..end)?;
            at = end;
        }
    }

    fn field(&mut self, raw: &[u8], range: Range<usize>) -> Result<(), Unclear> {
        let text = std::str::from_utf8(&raw[range.clone()]).map_err(|_| Unclear::Header)?;
        if !text.is_ascii() {
            return Err(Unclear::Header);
        }
        let (name, value) = text.split_once(':').ok_or(Unclear::Structure)?;
        let printable = |octet: u8| octet.is_ascii_graphic();
        if name.is_empty() || !name.bytes().all(printable) {
            return Err(Unclear::Structure);
        }
        let value = || value.replace("\r\n", "").trim().to_owned();
        if name.eq_ignore_ascii_case("Content-Type") {
            once(&mut self.kind, value(), Unclear::Structure)
        } else if name.eq_ignore_ascii_case("Content-Transfer-Encoding") {
            once(&mut self.encoding, (range, value()), Unclear::Encoding)
        } else if name.eq_ignore_ascii_case("MIME-Version") {
            once(&mut self.version, value(), Unclear::Structure)
        } else {
            Ok(())
        }
    }
}

/// A part that ends within its header section.
fn unclear_header(rest: &[u8]) -> Unclear {
    if rest.is_ascii() { Unclear::Structure } else { Unclear::Header }
}

/// A field that is there twice is read by some as the first says, by others as the last.
fn once<T>(place: &mut Option<T>, value: T, unclear: Unclear) -> Result<(), Unclear> {
    if place.replace(value).is_some() { Err(unclear) } else { Ok(()) }
}

/// `1.0`, with nothing but a comment behind it.
fn is_version_1(value: &str) -> bool {
    value.strip_prefix("1.0").is_some_and(|rest| {
        let rest = rest.trim();
        rest.is_empty() || rest.starts_with('(') && rest.ends_with(')')
    })
}

fn encoding(value: &str) -> Result<Encoding, Unclear> {
    let words = [
        ("7bit", Encoding::SevenBit),
        ("8bit", Encoding::Identity),
        ("binary", Encoding::Identity),
        ("quoted-printable", Encoding::Encoded),
        ("base64", Encoding::Encoded),
    ];
    let known = words.iter().find(|(word, _)| value.eq_ignore_ascii_case(word));
    known.map(|(_, encoding)| *encoding).ok_or(Unclear::Encoding)
}

/// `main/sub` and what stands behind it, which begins with a semicolon if there is any.
fn media_and_parameters(value: &str) -> Result<(Media, &str), Unclear> {
    let end = value.find(';').unwrap_or(value.len());
    let (kind, parameters) = value.split_at(end);
    let (main, sub) = kind.trim_end().split_once('/').ok_or(Unclear::Structure)?;
    if !is_token(main) || !is_token(sub) {
        return Err(Unclear::Structure);
    }
    Ok((Media { main: main.to_ascii_lowercase(), sub: sub.to_ascii_lowercase() }, parameters))
}

/// The boundary among the parameters of a multipart, all of which must be in the form of RFC 2045 5.1, none of them twice:
/// a boundary in pieces or with a character set (RFC 2231) is one for some readers only.
fn boundary(parameters: &str) -> Option<Vec<u8>> {
    let (mut rest, mut names, mut found) = (parameters, Vec::new(), None);
    while let Some(parameter) = rest.trim_start().strip_prefix(';') {
        let parameter = parameter.trim_start();
        if parameter.is_empty() {
            break;
        }
        let (name, value) = parameter.split_once('=')?;
        let name = name.to_ascii_lowercase();
        if !is_token(&name) || name.contains('*') || names.contains(&name) {
            return None;
        }
        let value = match value.strip_prefix('"') {
            Some(quoted) => {
                let (value, behind) = quoted.split_once('"')?;
                rest = behind;
                value
            }
            None => {
                let end = value.find([';', ' ', '\t']).unwrap_or(value.len());
                rest = &value[end..];
                Some(&value[..end]).filter(|value| is_token(value))?
            }
        };
        if value.contains('\\') {
            return None;
        }
        if name == "boundary" {
            found = Some(value);
        }
        names.push(name);
    }
    let known = |octet: u8| octet.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&octet);
    let is_boundary = |value: &&str| {
        (1..=70).contains(&value.len()) && value.bytes().all(known) && !value.ends_with(' ') && !value.ends_with("--")
    };
    let is_done = matches!(rest.trim(), "" | ";");
    found.filter(|_| is_done).filter(is_boundary).map(|value| value.as_bytes().to_vec())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&octet))
}

/// Levels of parts in parts that are looked into; each costs stack, and a pass over what it holds.
const DEPTH_MAX: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_one_that_every_reader_finds() {
        for (parameters, expected) in [
            ("; boundary=b", Some("b")),
            ("; boundary=\"b c=/1\" ; charset=utf-8;", Some("b c=/1")),
            (";type=\"text/html\";boundary=\"----=_Part_1\"", Some("----=_Part_1")),
            ("; boundary=a=b", None),
            ("; boundary=\"b \"", None),
            ("; boundary=\"b\\c\"", None),
            ("; boundary=b--", None),
            ("; boundary=b; boundary=b", None),
            ("; boundary=b; BOUNDARY=c", None),
            ("; boundary*=us-ascii''b", None),
            ("; boundary*0=b; boundary*1=c", None),
            ("; boundary=b (comment)", None),
            ("; boundary=b c", None),
            ("; boundary=\"b", None),
            ("; boundary=\"b\"c", None),
            ("; charset=x", None),
            ("", None),
        ] {
            assert_eq!(boundary(parameters), expected.map(|value| value.as_bytes().to_vec()), "{parameters}");
        }
        assert_eq!(boundary(&format!("; boundary={}", "b".repeat(71))), None);
    }

    #[test]
    fn mime_versions_may_have_comments_and_nothing_else() {
        for (value, is) in
            [("1.0", true), ("1.0 (Apple Mail (2.3))", true), ("1.0.1", false), ("1.1", false), ("(x) 1.0", false)]
        {
            assert_eq!(is_version_1(value), is, "{value}");
        }
    }
}
