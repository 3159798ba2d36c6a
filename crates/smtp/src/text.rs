//! Text from strangers on one line: the one place that says which characters may stand in a log line, a listing or a reply.
//!
//! Replies, addresses, names, file names and configuration come with whatever octets their senders liked. What is written
//! with these functions is valid UTF-8 on one line for every reader, also for those that split lines where Unicode does
//! (UAX 14: NEL, LINE SEPARATOR, PARAGRAPH SEPARATOR), that obey C1 control characters, or that show text in the order its
//! bidirectional controls ask for. Pure.
//!
//! Invariant: a replaced character is replaced whole, so no half of one is left.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character may stand in a line: it ends none, moves no cursor, reorders nothing, and is no mark of an encoding.
pub fn stays_in_line(c: char) -> bool {
    match c {
        ' '..='~' => true,
        // Marks of direction, separators, embeddings, overrides and isolates.
        '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => false,
        // The byte order mark, annotations and tags, which nobody sees.
        '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}' => false,
        // What is no character, and never will be.
        '\u{FDD0}'..='\u{FDEF}' => false,
        c => !c.is_control() && u32::from(c) & 0xFFFE != 0xFFFE,
    }
}

/// The text on one line, each character that may not stand there replaced by a blank. Copies only if there is one.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if is_plain(text.as_bytes()) || text.chars().all(stays_in_line) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if stays_in_line(c) { c } else { ' ' }).collect())
}

/// As [`one_line`], for octets of which nobody knows whether they are UTF-8; U+FFFD stands for those that are not.
pub fn one_line_of(octets: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(octets) {
        Cow::Borrowed(text) => one_line(text),
        Cow::Owned(text) => Cow::Owned(one_line(&text).into_owned()),
    }
}

/// Appends `text` to a line: `escaped` characters behind a backslash, and each that may not stand there as `replacement`.
pub fn put(out: &mut Vec<u8>, text: &str, escaped: &[u8], replacement: &[u8]) {
    let octets = text.as_bytes();
    if is_plain(octets) && !octets.iter().any(|octet| escaped.contains(octet)) {
        return out.extend_from_slice(octets);
    }
    for c in text.chars() {
        if !stays_in_line(c) {
            out.extend_from_slice(replacement);
            continue;
        }
        if c.is_ascii() && escaped.contains(&(c as u8)) {
            out.push(b'\\');
        }
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// A text of several lines: as [`one_line`], but line ends and tabs stay.
pub fn lines(text: String) -> String {
    let stays = |c: char| matches!(c, '\n' | '\r' | '\t') || stays_in_line(c);
    if text.chars().all(stays) {
        return text;
    }
    text.chars().map(|c| if stays(c) { c } else { ' ' }).collect()
}

/// The first `octets_max` octets of a UTF-8 text, or up to three fewer so that no character is cut.
pub fn cut(text: &[u8], octets_max: usize) -> &[u8] {
    if text.len() <= octets_max {
        return text;
    }
    let is_start = |at: &usize| text[*at] & 0xC0 != 0x80;
    let end = (octets_max.saturating_sub(3)..=octets_max).rev().find(is_start).unwrap_or(octets_max);
    &text[..end]
}

/// A JSON text that is one line for every reader: what may not stand in a line stands there as `\uXXXX`, so that a reader of
/// JSON gets it back.
pub fn json_line(json: String) -> String {
    if json.chars().all(stays_in_line) {
        return json;
    }
    let mut line = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if stays_in_line(c) {
            line.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let written = write!(line, "\\u{unit:04x}");
            debug_assert!(written.is_ok(), "writing to a String cannot fail");
        }
    }
    line
}

/// Printable ASCII throughout, as nearly every text is.
fn is_plain(octets: &[u8]) -> bool {
    octets.iter().all(|octet| (b' '..=b'~').contains(octet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn characters_that_end_or_turn_a_line_are_replaced_whole() {
        for c in [
            "\n", "\r", "\u{b}", "\u{1c}", "\u{7f}", "\u{85}", "\u{9b}", "\u{2028}", "\u{2029}", "\u{feff}", "\u{202e}",
        ] {
            let text = format!("a{c}b");
            assert_eq!(one_line(&text), "a b", "{c:?}");
            let mut out = Vec::new();
            put(&mut out, &text, b"@\\", b"?");
            assert_eq!(out, b"a?b", "{c:?}");
        }
        assert!(matches!(one_line("Bo\u{ee}te pleine \u{2014} \u{1F4EC}"), Cow::Borrowed(_)), "letters stay");
        assert_eq!(one_line_of(b"a\xC2\x9Bb\xFFc\xE2\x80"), "a b\u{FFFD}c\u{FFFD}");
    }

    #[test]
    fn json_keeps_what_it_escapes() {
        assert_eq!(
            json_line("{\"a\":\"x\u{2028}\u{85}\u{E0041}\"}".into()),
            "{\"a\":\"x\\u2028\\u0085\\udb40\\udc41\"}"
        );
    }

    #[test]
    fn a_cut_text_ends_with_a_whole_character() {
        let text = "a\u{ee}\u{1F4EC}b";
        for octets in 0..=text.len() {
            let cut = std::str::from_utf8(cut(text.as_bytes(), octets)).unwrap();
            assert!(cut.len() <= octets && octets < cut.len() + 4);
        }
        assert_eq!(cut(&[0x80; 9], 5).len(), 5, "octets that are no text have no characters");
        assert_eq!(lines("a\n\tb\r\n\u{1b}[2J\u{2028}".into()), "a\n\tb\r\n [2J ");
    }

    proptest! {
        #[test]
        fn any_octets_become_one_line_of_utf_8(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let line = one_line_of(&octets);
            prop_assert!(line.chars().all(stays_in_line));
            prop_assert!(line.lines().count() <= 1);
        }

        #[test]
        fn what_is_escaped_is_read_back(text in any::<String>()) {
            let mut out = Vec::new();
            put(&mut out, &text, b"@\\", b" ");
            let written = String::from_utf8(out).unwrap();
            let (mut read, mut chars) = (String::new(), written.chars());
            while let Some(c) = chars.next() {
                prop_assert!(c != '@', "a separator without a backslash");
                read.push(if c == '\\' { chars.next().unwrap() } else { c });
            }
            prop_assert_eq!(&*read, &*one_line(&text));
        }
    }
}
