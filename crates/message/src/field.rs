//! One header field as text in UTF-8, and as it stands in a message: encoded (RFC 2047) and folded.
//!
//! Whatever the text, no field comes out that is more than one field, has octets over 127 or a line over 998 octets: what
//! cannot be written so is an error.

use std::fmt;

use data_encoding::BASE64;
use mail_parser::HeaderValue;
use mail_parser::parsers::MessageStream;

use crate::edits::LINE_OCTETS_MAX;

/// Why a text makes no header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// Not a field name (RFC 5322 3.6.8), or longer than 76 octets.
    Name(String),
    /// CR, LF or another control character in the value.
    Control(char),
    /// A word that is longer than a line may be.
    LongWord(usize),
    /// An address with characters beyond ASCII, which no encoded word may hold (RFC 2047 5).
    Address(String),
    /// Not a whole field in wire form.
    Raw,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name:?} is no name of a header field"),
            Self::Control(control) => write!(f, "the value has the control character {:?}", control),
            Self::LongWord(octets) => {
                write!(f, "a word of the value has {octets} octets, a line may have {LINE_OCTETS_MAX}")
            }
            Self::Address(word) => {
                write!(f, "the address {word:?} has characters beyond ASCII, which cannot be encoded")
            }
            Self::Raw => {
                f.write_str("it is not one whole field: name, colon, value, folded lines with CRLF and a blank")
            }
        }
    }
}

impl std::error::Error for FieldError {}

/// A field in wire form with its last CRLF.
pub fn encode(name: &str, value: &str) -> Result<Vec<u8>, FieldError> {
    let mut field = begin(name)?;
    if let Some(control) = value.chars().find(|&char| char.is_control() && char != '\t') {
        return Err(FieldError::Control(control));
    }
    let value = value.trim_matches([' ', '\t']);
    let encoded = if value.is_ascii() { value.to_owned() } else { encode_words(value, is_of_addresses(name))? };
    fold(&mut field, &encoded)?;
    Ok(field)
}

/// A field that is in wire form already, folded by whoever wrote it: checked, not changed.
pub fn checked(raw: &[u8]) -> Result<Vec<u8>, FieldError> {
    let mut fields = crate::header::Fields::of(raw);
    let is_one = fields.next().is_some_and(|field| field.raw.len() == raw.len());
    // A line of blanks alone ends the section for some readers.
    let lines = raw.strip_suffix(b"\r\n").map(|lines| lines.split(|&octet| octet == b'\n'));
    let is_text = lines.is_some_and(|lines| {
        let mut lines = lines.peekable();
        std::iter::from_fn(|| Some((lines.next()?, lines.peek().is_some()))).all(|(line, has_next)| {
            let line = if has_next { line.strip_suffix(b"\r") } else { Some(line) };
            line.is_some_and(|line| {
                line.len() <= LINE_OCTETS_MAX
                    && !line.trim_ascii().is_empty()
                    && line.iter().all(|octet| matches!(octet, b'\t' | b' '..=b'~'))
            })
        })
    });
    if is_one && is_text { Ok(raw.to_vec()) } else { Err(FieldError::Raw) }
}

/// The text of a field's value, unfolded and decoded; what no charset explains is replaced.
pub fn decode(value: &[u8]) -> String {
    if value.is_ascii() && memchr::memmem::find(value, b"=?").is_none() {
        return String::from_utf8_lossy(value).into_owned();
    }
    let line = [value, b"\n"].concat();
    match MessageStream::new(&line).parse_unstructured() {
        HeaderValue::Text(text) => text.into_owned(),
        _ => String::new(),
    }
}

fn begin(name: &str) -> Result<Vec<u8>, FieldError> {
    let is_name = (1..=NAME_OCTETS_MAX).contains(&name.len())
        && name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':');
    if !is_name {
        return Err(FieldError::Name(name.chars().take(NAME_OCTETS_MAX).collect()));
    }
    let stuffing = if name.starts_with('.') { "." } else { "" };
    Ok([stuffing, name, ":"].concat().into_bytes())
}

/// Fields whose value is addresses, where a quoted name is encoded without its quotes (RFC 2047 5, rule 3).
fn is_of_addresses(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("resent-").unwrap_or(&name);
    matches!(name, "from" | "sender" | "reply-to" | "to" | "cc" | "bcc")
}

/// Runs of words beyond ASCII become encoded words; the others stay.
fn encode_words(value: &str, of_addresses: bool) -> Result<String, FieldError> {
    let mut out: Vec<String> = Vec::new();
    let mut run = String::new();
    let words = if of_addresses { phrases(value) } else { value.split_whitespace().map(str::to_owned).collect() };
    for word in words {
        // What looks encoded already is not to be decoded twice, nor joined to ours.
        let plain = word.is_ascii() && !(word.contains("=?") && run.is_empty());
        if word.is_ascii() && (plain || word.contains("=?")) {
            flush(&mut run, &mut out);
            out.push(word);
            continue;
        }
        if of_addresses && word.contains(['<', '@']) {
            return Err(FieldError::Address(word));
        }
        if !run.is_empty() {
            run.push(' ');
        }
        run.push_str(&word);
    }
    flush(&mut run, &mut out);
    Ok(out.join(" "))
}

/// The words of an address list; a quoted string beyond ASCII is one, without its quotes.
fn phrases(value: &str) -> Vec<String> {
    let (mut words, mut word, mut chars) = (Vec::new(), String::new(), value.chars());
    while let Some(char) = chars.next() {
        match char {
            ' ' | '\t' => words.push(std::mem::take(&mut word)),
            '"' => {
                let (mut quoted, mut plain) = (String::from('"'), String::new());
                while let Some(inner) = chars.next() {
                    quoted.push(inner);
                    match inner {
                        '"' => break,
                        '\\' => {
                            let escaped = chars.next();
                            quoted.extend(escaped);
                            plain.extend(escaped);
                        }
                        other => plain.push(other),
                    }
                }
                word.push_str(if plain.is_ascii() { &quoted } else { &plain });
            }
            ',' if !word.is_ascii() => {
                words.push(std::mem::take(&mut word));
                words.push(",".to_owned());
            }
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

fn flush(run: &mut String, out: &mut Vec<String>) {
    let mut rest = std::mem::take(run);
    while !rest.is_empty() {
        let mut end = rest.len().min(PAYLOAD_OCTETS);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let tail = rest.split_off(end);
        out.push(format!("=?UTF-8?B?{}?=", BASE64.encode(rest.as_bytes())));
        rest = tail;
    }
}

/// Appends the value in lines of 78 octets where it has blanks to break at, then the last CRLF.
fn fold(field: &mut Vec<u8>, value: &str) -> Result<(), FieldError> {
    let mut column = field.len() + 1;
    field.push(b' ');
    let mut rest = value;
    let mut is_first = true;
    while !rest.is_empty() {
        // Blanks, and the word behind them.
        let word_at = rest.find(|char| !matches!(char, ' ' | '\t')).unwrap_or(rest.len());
        let end = rest[word_at..].find([' ', '\t']).map_or(rest.len(), |end| word_at + end);
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        if !is_first && LINE_OCTETS < column + piece.len() {
            field.extend_from_slice(b"\r\n");
            column = 0;
        }
        is_first = false;
        column += piece.len();
        if LINE_OCTETS_MAX < column {
            return Err(FieldError::LongWord(piece.len()));
        }
        field.extend_from_slice(piece.as_bytes());
    }
    field.extend_from_slice(b"\r\n");
    Ok(())
}

/// A name that leaves room for a value in a line of 78.
const NAME_OCTETS_MAX: usize = 76;
/// A line of text (RFC 5322 2.1.1).
const LINE_OCTETS: usize = 78;
/// Octets of text in one encoded word of 75 (RFC 2047 2).
const PAYLOAD_OCTETS: usize = 45;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(name: &str, value: &str) -> String {
        String::from_utf8(encode(name, value).unwrap()).unwrap()
    }

    #[test]
    fn a_field_is_folded_and_encoded_where_it_must_be() {
        assert_eq!(text("Subject", " hello  world "), "Subject: hello  world\r\n");
        assert_eq!(text(".x", ""), "..x: \r\n");
        assert_eq!(text("Subject", "grüße an alle"), "Subject: =?UTF-8?B?Z3LDvMOfZQ==?= an alle\r\n");
        let address = text("From", "\"Jürgen \\\"J\\\" Müller\" <a@b.example>, \"x, y\" <c@d.example>");
        assert_eq!(
            address,
            "From: =?UTF-8?B?SsO8cmdlbiAiSiIgTcO8bGxlcg==?= <a@b.example>, \"x, y\"\r\n <c@d.example>\r\n"
        );
        let long = text("X", &"word ".repeat(40));
        assert!(long.lines().all(|line| line.len() <= 78) && 2 < long.lines().count(), "{long}");
    }

    #[test]
    fn what_would_be_more_than_a_field_is_refused() {
        for name in ["", "a b", "a:", "a\r\nb", "ä", &"x".repeat(77)] {
            assert!(matches!(encode(name, "x"), Err(FieldError::Name(_))), "{name:?}");
        }
        for value in ["a\r\nBcc: x", "a\nb", "a\rb", "a\0b", "a\u{85}b"] {
            assert!(matches!(encode("X", value), Err(FieldError::Control(_))), "{value:?}");
        }
        assert_eq!(encode("X", &"x".repeat(999)), Err(FieldError::LongWord(999)));
        assert!(matches!(encode("To", "jürgen@x.example"), Err(FieldError::Address(_))));
    }

    #[test]
    fn a_field_in_wire_form_is_taken_whole_or_not_at_all() {
        assert!(checked(b"DKIM-Signature: v=1;\r\n\tb=abc\r\n").is_ok());
        for raw in [
            &b""[..],
            b"a: b",
            b"a: b\n",
            b"a: b\r\n\r\n",
            b"a: b\r\nc: d\r\n",
            b"a: b\r\n \r\n",
            b"\r\n",
            b"x\r\n",
            b"a: \xff\r\n",
        ] {
            assert_eq!(checked(raw), Err(FieldError::Raw), "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn a_text_comes_back(words in proptest::collection::vec("[a-zäöüß日本]{1,12}", 1..30)) {
            let value = words.join(" ");
            let field = encode("Subject", &value).unwrap();
            prop_assert!(checked(&field).is_ok());
            let unfolded = crate::header::find(&field, "Subject").unwrap().value().into_owned();
            prop_assert_eq!(decode(&unfolded), value);
        }

        #[test]
        fn no_value_makes_more_than_one_field(name in "[!-~]{1,8}", value in ".{0,300}") {
            if let Ok(field) = encode(&name, &value) {
                prop_assert_eq!(crate::header::Fields::of(&field).count(), 1);
                prop_assert!(field.is_ascii() && field.ends_with(b"\r\n"));
            }
        }

        #[test]
        fn no_octets_make_decoding_panic(value in proptest::collection::vec(prop_oneof![Just(b'='), Just(b'?'), Just(b' '), Just(b'Q'), any::<u8>()], 0..80)) {
            let _ = decode(&value);
        }
    }
}
