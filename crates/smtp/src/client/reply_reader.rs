//! Reads replies out of what a server sends, which is hostile until proved otherwise.
//!
//! A line is at most 2048 octets, a reply at most 128 lines, and no more than 4 KiB of its text is kept. Control
//! octets become spaces, octets that are no UTF-8 become U+FFFD, so that a text can stand in a log line, a header
//! field or a notification. A reply of several lines is judged by its last line.

use std::borrow::Cow;

use crate::reply::{Enhanced, Reply, parse_enhanced};

/// Longest reply line taken, with its line end (RFC 5321 4.5.3.1.5 promises 512).
pub const LINE_OCTETS_MAX: usize = 2048;
/// Most lines of one reply.
pub const LINES_MAX: usize = 128;
/// Most octets of a reply's text that are kept.
pub const TEXT_OCTETS_MAX: usize = 4096;

/// Gathers octets into replies.
#[derive(Debug, Default)]
pub struct ReplyReader {
    /// The start of a line whose end has not come yet.
    partial: Vec<u8>,
    /// The text of the lines of the reply so far, joined by `\n`.
    text: Vec<u8>,
    lines: usize,
    complete: bool,
}

/// What came is no reply: wrong shape, too long, or too many lines. Nothing after it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbage;

impl ReplyReader {
    /// Takes octets off the front of `input` until a reply is complete; its code, or `None` when `input` is used up.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<u16>, Garbage> {
        if self.complete {
            self.text.clear();
            self.lines = 0;
            self.complete = false;
        }
        while let Some(end) = memchr::memchr(b'\n', input) {
            let (line, rest) = input.split_at(end + 1);
            *input = rest;
            let last_of = if self.partial.is_empty() {
                self.line(line)?
            } else {
                self.hold(line)?;
                let held = std::mem::take(&mut self.partial);
                let last_of = self.line(&held)?;
                self.partial = held;
                self.partial.clear();
                last_of
            };
            if let Some(code) = last_of {
                self.complete = true;
                return Ok(Some(code));
            }
        }
        self.hold(input)?;
        *input = &[];
        Ok(None)
    }

    /// The text of the reply just completed, lines joined by `\n`, enhanced status codes still in it.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }

    /// The reply just completed, as a value.
    pub fn reply(&self, code: u16) -> Reply {
        let text = self.text();
        let enhanced = text.split([' ', '\n']).next().and_then(parse_enhanced);
        let mut lines = text.split('\n').map(|line| without_enhanced(line, enhanced));
        let mut joined = lines.next().unwrap_or_default().to_owned();
        for line in lines {
            joined.push('\n');
            joined.push_str(line);
        }
        Reply::with_text(code, enhanced, joined)
    }

    /// Whether a reply has begun and not ended.
    pub fn is_within_reply(&self) -> bool {
        !self.partial.is_empty() || (self.lines != 0 && !self.complete)
    }

    fn hold(&mut self, octets: &[u8]) -> Result<(), Garbage> {
        if LINE_OCTETS_MAX < self.partial.len() + octets.len() {
            return Err(Garbage);
        }
        self.partial.extend_from_slice(octets);
        Ok(())
    }

    /// One whole line; the code if it is the last line of a reply.
    fn line(&mut self, line: &[u8]) -> Result<Option<u16>, Garbage> {
        self.lines += 1;
        if LINE_OCTETS_MAX < line.len() || LINES_MAX < self.lines {
            return Err(Garbage);
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (code, more, text) = take_apart(line)?;
        if 1 < self.lines {
            self.text.push(b'\n');
        }
        let room = TEXT_OCTETS_MAX.saturating_sub(self.text.len());
        let kept = text.iter().take(room).map(|&octet| if octet.is_ascii_control() { b' ' } else { octet });
        self.text.extend(kept);
        Ok((!more).then_some(code))
    }
}

/// `code`, whether more lines follow, and the text (RFC 5321 4.2 `Reply-line`).
fn take_apart(line: &[u8]) -> Result<(u16, bool, &[u8]), Garbage> {
    let [hundreds @ b'2'..=b'5', tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] = line else {
        return Err(Garbage);
    };
    let code = u16::from(hundreds - b'0') * 100 + u16::from(tens - b'0') * 10 + u16::from(ones - b'0');
    match rest {
        [] => Ok((code, false, rest)),
        [b' ', text @ ..] => Ok((code, false, text)),
        [b'-', text @ ..] => Ok((code, true, text)),
        _ => Err(Garbage),
    }
}

fn without_enhanced(line: &str, enhanced: Option<Enhanced>) -> &str {
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    if enhanced.is_some() && parse_enhanced(first) == enhanced { rest } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn replies(mut input: &[u8], step: usize) -> Result<Vec<Reply>, Garbage> {
        let mut reader = ReplyReader::default();
        let mut replies = Vec::new();
        while !input.is_empty() {
            let (mut piece, rest) = input.split_at(step.min(input.len()));
            input = rest;
            while let Some(code) = reader.next(&mut piece)? {
                replies.push(reader.reply(code));
            }
        }
        Ok(replies)
    }

    #[test]
    fn replies_are_the_same_however_the_octets_are_cut() {
        let input = b"220-mx.example.test ESMTP\r\n220 hello\r\n250 2.1.0 ok\r\n354\r\n550-5.1.1 no\r\n550-5.1.1 such\n550 user\r\n";
        let whole = replies(input, input.len()).unwrap();
        let shown: Vec<_> = whole.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["220 mx.example.test ESMTP hello", "250 2.1.0 ok", "354", "550 5.1.1 no such user"]);
        for step in 1..input.len() {
            assert_eq!(replies(input, step).as_ref(), Ok(&whole), "cut every {step} octets");
        }
    }

    #[test]
    fn a_reply_is_judged_by_its_last_line() {
        assert_eq!(replies(b"250-fine\r\n550 not fine\r\n", 99).unwrap()[0].code, 550);
    }

    #[test]
    fn what_is_no_reply_is_garbage() {
        for input in ["hello\r\n", "99 x\r\n", "199 x\r\n", "600 x\r\n", "250x\r\n", "\r\n", "25\r\n"] {
            assert_eq!(replies(input.as_bytes(), 99), Err(Garbage), "{input:?}");
        }
        assert_eq!(replies(&vec![b'2'; LINE_OCTETS_MAX + 1], 100), Err(Garbage));
        assert_eq!(replies(&b"250-x\r\n".repeat(LINES_MAX + 1), 100), Err(Garbage));
    }

    #[test]
    fn control_octets_cannot_forge_a_line() {
        let reply = &replies(b"550 a\rb\0c\x1b[2J\xff\r\n", 99).unwrap()[0];
        assert_eq!(reply.to_string(), "550 a b c [2J\u{fffd}");
    }

    proptest! {
        #[test]
        fn no_input_makes_the_reader_grow_or_panic(input in proptest::collection::vec(any::<u8>(), 0..8192), step in 1usize..3000) {
            let mut reader = ReplyReader::default();
            for piece in input.chunks(step) {
                let mut piece = piece;
                loop {
                    match reader.next(&mut piece) {
                        Ok(Some(code)) => { reader.reply(code); }
                        Ok(None) => break,
                        Err(Garbage) => return Ok(()),
                    }
                }
                prop_assert!(reader.partial.len() <= LINE_OCTETS_MAX);
                prop_assert!(reader.text.len() <= TEXT_OCTETS_MAX + LINES_MAX);
            }
        }
    }
}
