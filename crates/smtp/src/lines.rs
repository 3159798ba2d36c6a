//! What becomes of a message whose lines are not what RFC 5322 wants: a CR or LF alone (2.3), more than 998 octets (2.1.1).
//!
//! [`LineRules`] say what is refused and what is mended; `repair` mends a whole message once its true end has been read.
//! Comes in: a message as it came. Goes out: the same lines in strict wire form. Pure.
//!
//! Invariant: what comes out holds no CR or LF but in CRLF and no CRLF "." CRLF but at its end, whatever came in: no host
//! after this one can see two messages where this one sees one.

use bytes::{BufMut, BytesMut};
use memchr::memchr2;

use crate::data::{Fault, TEXT_LINE_OCTETS_MAX};

/// What is done about lines. The default refuses whatever RFC 5322 forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRules {
    /// A CR or LF of its own, up to the empty line after the header section.
    pub lone_in_headers: Lone,
    /// The same, behind it.
    pub lone_in_body: Lone,
    /// Lines that are too long.
    pub long: LongLines,
}

impl Default for LineRules {
    fn default() -> Self {
        let long = LongLines::Reject(TEXT_LINE_OCTETS_MAX);
        Self { lone_in_headers: Lone::Reject, lone_in_body: Lone::Reject, long }
    }
}

/// What is done about a CR or LF that is not part of a CRLF. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lone {
    /// The message is refused.
    Reject,
    /// It becomes a CRLF; a run of CRs, with or without an LF behind it, becomes one.
    Fix,
}

/// What is done about a line of more octets than this, without its line end. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongLines {
    /// Nothing.
    Ignore,
    /// The message is refused.
    Reject(usize),
    /// It is broken, in the header section by folding, into lines of at most 998 octets; fewer if the limit is lower.
    Fix(usize),
}

impl LongLines {
    /// The longest line that is left as it is.
    pub(crate) fn limit(self) -> usize {
        match self {
            Self::Ignore => usize::MAX,
            Self::Reject(octets) | Self::Fix(octets) => octets,
        }
    }
}

/// Appends a message to `out` with its lines mended. `message` ends with its terminator.
pub(crate) fn repair(message: &[u8], rules: LineRules, out: &mut BytesMut) -> Result<(), Fault> {
    let content = message.strip_suffix(TERMINATOR).unwrap_or(message);
    let mut lines = Lines { rest: content };
    let (mut in_headers, mut after_lone) = (true, false);
    while let Some(Line { text, is_lone }) = lines.next() {
        let lone = if in_headers { rules.lone_in_headers } else { rules.lone_in_body };
        if is_lone && lone == Lone::Reject {
            return Err(Fault::LoneCrOrLf);
        }
        // The client has stuffed what it began a line with; what only we take for the beginning of one is not stuffed.
        // And a dot it stuffed may not be all of a line, or it would end the message.
        if text.starts_with(b".") && (after_lone || text == b".") {
            out.put_u8(b'.');
        }
        put_line(text, after_lone, in_headers, rules.long, out)?;
        in_headers &= !text.is_empty();
        after_lone = is_lone;
    }
    out.extend_from_slice(TERMINATOR);
    Ok(())
}

/// Appends one line with its CRLF, or the lines it becomes.
fn put_line(text: &[u8], after_lone: bool, in_headers: bool, long: LongLines, out: &mut BytesMut) -> Result<(), Fault> {
    let stuffing = usize::from(!after_lone && text.starts_with(b"."));
    if text.len() - stuffing <= long.limit() {
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
        return Ok(());
    }
    if matches!(long, LongLines::Reject(_)) {
        return Err(Fault::LineTooLong);
    }
    let octets_max = long.limit().min(TEXT_LINE_OCTETS_MAX);
    let mut rest = text;
    // Room for the blank or the dot that a further line may get in front.
    while octets_max - 1 < rest.len() {
        let (end, blank) = break_at(rest, octets_max - 1, in_headers);
        out.extend_from_slice(&rest[..end]);
        out.extend_from_slice(b"\r\n");
        rest = &rest[end..];
        if blank {
            out.put_u8(b' ');
        } else if rest.starts_with(b".") {
            out.put_u8(b'.');
        }
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Where to break a line of more than `octets_max`, and whether the next line needs a blank in front. In the header
/// section before white space, so that the value stays the same; else behind it; without any, between two characters.
fn break_at(text: &[u8], octets_max: usize, in_headers: bool) -> (usize, bool) {
    let blank = |octet: &u8| matches!(octet, b' ' | b'\t');
    let begins = text.iter().position(|octet| !blank(octet)).unwrap_or(text.len());
    let last_blank = text[..octets_max].iter().rposition(blank);
    match last_blank {
        Some(at) if in_headers && begins < at => return (at, false),
        Some(at) if !in_headers => return (at + 1, false),
        _ => {}
    }
    let is_inside = |at: usize| text[at] & 0xC0 == 0x80;
    let end = (octets_max - 3..=octets_max).rev().find(|&at| !is_inside(at)).unwrap_or(octets_max);
    (end, in_headers)
}

/// One line without its end.
struct Line<'a> {
    text: &'a [u8],
    /// Its end is no CRLF.
    is_lone: bool,
}

struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<Line<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr2(b'\r', b'\n', self.rest).unwrap_or(self.rest.len());
        let (text, tail) = self.rest.split_at(end);
        let returns = tail.iter().take_while(|&&octet| octet == b'\r').count();
        let feed = usize::from(tail.get(returns) == Some(&b'\n'));
        self.rest = &tail[returns + feed..];
        Some(Line { text, is_lone: (returns, feed) != (1, 1) })
    }
}

const TERMINATOR: &[u8] = b".\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIX: LineRules = LineRules { lone_in_headers: Lone::Fix, lone_in_body: Lone::Fix, long: LongLines::Fix(998) };

    fn repaired(message: &str, rules: LineRules) -> Result<String, Fault> {
        let mut out = BytesMut::new();
        repair(message.as_bytes(), rules, &mut out).map(|()| String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn a_lone_cr_or_lf_becomes_a_line_end_and_what_follows_it_is_stuffed() {
        for (message, mended) in [
            ("A: 1\nB: 2\r\n\na\rb\r\n.\r\n", "A: 1\r\nB: 2\r\n\r\na\r\nb\r\n.\r\n"),
            ("A: 1\r\r\nB: 2\r\n.\r\n", "A: 1\r\nB: 2\r\n.\r\n"),
            ("\r\na\n.\nb\r\n.\r\n", "\r\na\r\n..\r\nb\r\n.\r\n"),
            ("\r\na\n.\r\nb\r\n.\r\n", "\r\na\r\n..\r\nb\r\n.\r\n"),
            ("\r\na\r\n.\nb\r\n.\r\n", "\r\na\r\n..\r\nb\r\n.\r\n"),
            ("\r\na\r\n.\rb\r\n.\r\n", "\r\na\r\n..\r\nb\r\n.\r\n"),
            ("\r\na\n..b\n..\r\n.\r\n", "\r\na\r\n...b\r\n...\r\n.\r\n"),
            ("\r\n..a\nb\r\n.\r\n", "\r\n..a\r\nb\r\n.\r\n"),
        ] {
            assert_eq!(repaired(message, FIX).as_deref(), Ok(mended), "{message:?}");
        }
    }

    #[test]
    fn headers_and_body_have_their_own_rule() {
        let headers = LineRules { lone_in_body: Lone::Reject, ..FIX };
        assert!(repaired("A: 1\nB: 2\n\r\nbody\r\n.\r\n", headers).is_ok());
        assert_eq!(repaired("A: 1\n\nbo\ndy\r\n.\r\n", headers), Err(Fault::LoneCrOrLf));
        let body = LineRules { lone_in_headers: Lone::Reject, ..FIX };
        assert!(repaired("A: 1\r\n\r\nbo\ndy\r\n.\r\n", body).is_ok());
        assert_eq!(repaired("A: 1\n\r\nbody\r\n.\r\n", body), Err(Fault::LoneCrOrLf));
    }

    #[test]
    fn a_long_line_is_broken_behind_a_blank_or_between_characters() {
        let words = format!("\r\n{} {}\r\n.\r\n", "a".repeat(600), "b".repeat(600));
        let broken = format!("\r\n{} \r\n{}\r\n.\r\n", "a".repeat(600), "b".repeat(600));
        assert_eq!(repaired(&words, FIX).unwrap(), broken);
        let long = repaired(&format!("\r\n{}\r\n.\r\n", "é.".repeat(2000)), FIX).unwrap();
        assert!(!long.contains('\u{FFFD}') && long.split("\r\n").all(|line| line.len() <= 998), "{long}");
        let refused = LineRules { long: LongLines::Reject(998), ..FIX };
        assert_eq!(repaired(&words, refused), Err(Fault::LineTooLong));
        let ignored = LineRules { long: LongLines::Ignore, ..FIX };
        assert_eq!(repaired(&words, ignored).unwrap(), words);
        let higher = LineRules { long: LongLines::Fix(1300), ..FIX };
        assert_eq!(repaired(&words, higher).unwrap(), words);
    }

    #[test]
    fn a_long_header_field_is_folded_before_a_blank() {
        let words = format!("A: {} {}\r\n\r\n.\r\n", "a".repeat(600), "b".repeat(600));
        let folded = format!("A: {}\r\n {}\r\n\r\n.\r\n", "a".repeat(600), "b".repeat(600));
        assert_eq!(repaired(&words, FIX).unwrap(), folded);
        let unbroken = repaired(&format!("A:{}\r\n\r\n.\r\n", "a".repeat(3000)), FIX).unwrap();
        let mut lines = unbroken.split("\r\n");
        assert!(lines.next().unwrap().starts_with("A:a"));
        assert!(lines.take(3).all(|line| line.starts_with(' ') && line.len() <= 998), "{unbroken}");
    }

    proptest! {
        #[test]
        fn whatever_came_what_goes_out_is_strict(
            octets in proptest::collection::vec(
                prop_oneof![3 => Just(b'\r'), 3 => Just(b'\n'), 3 => Just(b'.'), 1 => Just(b' '), 2 => Just(b'a')], 0..80),
            long in 8usize..20,
        ) {
            // As the reader hands it over: up to the first CRLF "." CRLF.
            let framed = [b"\r\n", &octets[..], b"\r\n.\r\n"].concat();
            let end = framed.windows(5).position(|window| window == b"\r\n.\r\n").unwrap() + 5;
            let mut out = BytesMut::new();
            let rules = LineRules { long: LongLines::Fix(long), ..FIX };
            prop_assert!(repair(&framed[2..end], rules, &mut out).is_ok());
            let wire = [b"\r\n", &out[..]].concat();
            prop_assert_eq!(wire.windows(5).position(|window| window == b"\r\n.\r\n"), Some(wire.len() - 5));
            for (at, &octet) in wire.iter().enumerate() {
                prop_assert!(octet != b'\r' || wire.get(at + 1) == Some(&b'\n'));
                prop_assert!(octet != b'\n' || 0 < at && wire[at - 1] == b'\r');
            }
            let longest = out[..].split(|&octet| octet == b'\n').map(<[u8]>::len).max().unwrap();
            prop_assert!(longest <= long + "\r..".len(), "{longest} in {out:?}");
        }
    }
}
