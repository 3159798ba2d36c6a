//! Reads replies out of what a server sends, which is hostile until proved otherwise.
//!
//! A line is judged by what stands first in it: three digits, and what separates them from the text (RFC 5321 4.2). Text is
//! kept up to [`TEXT_OCTETS_MAX`] and passed over beyond, however long a line is and however many lines there are, so that
//! no text takes a verdict away. Beyond [`REPLY_OCTETS_MAX`] the server is heard no longer: the code of a last line counts even
//! so, and a reply that has not come to its last line is none. How long all that may take is the session's to say. Control octets become spaces, octets that
//! are no UTF-8 become U+FFFD, so that a text can stand in a log line, a header field or a notification. A reply of several
//! lines is judged by its last line.

use std::borrow::Cow;

use crate::reply::{Enhanced, Reply, parse_enhanced};

/// Most octets of one reply, kept or not: a server that talks on is heard no longer.
pub const REPLY_OCTETS_MAX: usize = 1 << 26;
/// Most octets of a reply's text that are kept.
pub const TEXT_OCTETS_MAX: usize = 4096;

/// Gathers octets into replies.
#[derive(Debug, Default)]
pub struct ReplyReader {
    line: Line,
    /// The text of the lines of the reply so far, joined by `\n`.
    text: Vec<u8>,
    /// Some of its text was passed over.
    cut: bool,
    /// Octets of the reply so far.
    octets: usize,
    complete: bool,
    /// Its text did not end where it had to.
    endless: bool,
}

/// The line that is being read.
#[derive(Debug, Default)]
struct Line {
    /// Digits of the code so far, and their value.
    digits: u8,
    code: u16,
    /// A hyphen follows the code: more lines come.
    more: bool,
    /// The code and its separator are read; what follows is text.
    in_text: bool,
    /// A CR that is part of the line end, unless something else follows.
    holds_cr: bool,
}

/// What came is no reply, in shape or in length. Nothing after it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbage;

impl ReplyReader {
    /// Takes octets off the front of `input` until a reply is complete; its code, or `None` when `input` is used up.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<u16>, Garbage> {
        if self.endless {
            return Err(Garbage);
        }
        if self.complete {
            *self = Self { text: std::mem::take(&mut self.text), ..Self::default() };
            self.text.clear();
        }
        while let Some(end) = memchr::memchr(b'\n', input) {
            let (piece, rest) = (&input[..end], &input[end + 1..]);
            self.piece(piece, 1)?;
            if REPLY_OCTETS_MAX < self.octets {
                return self.cut_off();
            }
            *input = rest;
            let Line { digits, code, more, .. } = std::mem::take(&mut self.line);
            if digits < CODE_DIGITS {
                return Err(Garbage);
            }
            if !more {
                self.complete = true;
                return Ok(Some(code));
            }
            self.keep(b"\n");
        }
        self.piece(input, 0)?;
        if REPLY_OCTETS_MAX < self.octets {
            return self.cut_off();
        }
        *input = &[];
        Ok(None)
    }

    /// There is too much of a reply. Behind the code of its last line nothing could have changed what it says.
    fn cut_off(&mut self) -> Result<Option<u16>, Garbage> {
        let Line { code, more, in_text, .. } = std::mem::take(&mut self.line);
        (self.endless, self.complete) = (true, true);
        if in_text && !more { Ok(Some(code)) } else { Err(Garbage) }
    }

    /// The text of the reply just completed, lines joined by `\n`, enhanced status codes still in it.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }

    /// The lines of that text that were kept whole: where each line is a statement, half of one says something else.
    pub fn whole_lines(&self) -> Cow<'_, str> {
        let whole = if self.cut { memchr::memrchr(b'\n', &self.text).unwrap_or(0) } else { self.text.len() };
        String::from_utf8_lossy(&self.text[..whole])
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
        0 < self.octets && !self.complete
    }

    /// A piece of one line without its LF, and how many octets of line end it has.
    fn piece(&mut self, piece: &[u8], line_end: usize) -> Result<(), Garbage> {
        self.octets += piece.len() + line_end;
        let mut rest = piece;
        while !self.line.in_text
            && let Some((&octet, after)) = rest.split_first()
        {
            self.line.take(octet)?;
            rest = after;
        }
        let Some((&last, before)) = rest.split_last() else { return Ok(()) };
        if std::mem::take(&mut self.line.holds_cr) {
            self.keep(b" ");
        }
        self.line.holds_cr = last == b'\r';
        self.keep(if self.line.holds_cr { before } else { rest });
        Ok(())
    }

    /// Keeps text while there is room; an LF here is what joins two lines.
    fn keep(&mut self, text: &[u8]) {
        let room = TEXT_OCTETS_MAX - self.text.len();
        self.cut |= room < text.len();
        let plain = |&octet: &u8| if octet.is_ascii_control() && octet != b'\n' { b' ' } else { octet };
        self.text.extend(text.iter().take(room).map(plain));
    }
}

impl Line {
    /// The next octet of the code or its separator (RFC 5321 4.2 `Reply-line`; whatever is no letter or digit separates, for
    /// servers are found that send a tab).
    fn take(&mut self, octet: u8) -> Result<(), Garbage> {
        match (self.digits, octet) {
            (0, b'2'..=b'5') | (1..CODE_DIGITS, b'0'..=b'9') => {
                self.code = self.code * 10 + u16::from(octet - b'0');
                self.digits += 1;
            }
            (CODE_DIGITS, _) if !octet.is_ascii_alphanumeric() => {
                self.more = octet == b'-';
                self.in_text = true;
            }
            _ => return Err(Garbage),
        }
        Ok(())
    }
}

/// Digits of a reply code.
const CODE_DIGITS: u8 = 3;

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
        for input in
            ["hello\r\n", "99 x\r\n", "199 x\r\n", "600 x\r\n", "250x\r\n", "2500 x\r\n", "\r\n", "25\r\n", "\n"]
        {
            for step in [1, 99] {
                assert_eq!(replies(input.as_bytes(), step), Err(Garbage), "{input:?}");
            }
        }
        assert_eq!(replies(b"250-fine\r\nnonsense\r\n250 fine\r\n", 99), Err(Garbage));
    }

    #[test]
    fn the_code_comes_first_and_the_separator_may_be_any() {
        let judged = [
            (&b"250\tok\r\n"[..], "250 ok"),
            (b"250\n", "250"),
            (b"250 \n", "250"),
            (b"250\r\n", "250"),
            (b"250\r\r\n", "250"),
            (b"250\0ok\n", "250 ok"),
            (b"250\xa0ok\n", "250 ok"),
            (b"550-5.1.1\tno\tsuch\n550\t5.1.1 user\n", "550 5.1.1 no such user"),
        ];
        for (input, shown) in judged {
            for step in 1..=input.len() {
                let read = replies(input, step).expect("a reply");
                let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
                assert_eq!(words(&read[0].to_string()), words(shown), "{input:?} cut every {step} octets");
            }
        }
    }

    #[test]
    fn no_length_of_text_takes_the_verdict_away() {
        let long = [b"250 ".to_vec(), vec![b'x'; 3_000_000], b"\r\n354 go\r\n".to_vec()].concat();
        let many = [b"550-5.1.1 no\r\n".repeat(250_000), b"552 5.2.2 full\r\n".to_vec()].concat();
        for step in [7, 4096, usize::MAX] {
            let read = replies(&long, step.min(long.len())).expect("two replies");
            assert_eq!((read[0].code, read[1].to_string().as_str()), (250, "354 go"));
            assert!((4000..=TEXT_OCTETS_MAX).contains(&read[0].text.len()));
            let read = replies(&many, step.min(many.len())).expect("one reply");
            assert_eq!(
                (read.len(), read[0].code, read[0].enhanced),
                (1, 552, Some((5, 1, 1))),
                "the last line decides"
            );
            assert!(read[0].text.len() <= TEXT_OCTETS_MAX);
        }
    }

    #[test]
    fn a_reply_without_end_is_garbage_in_the_end() {
        let line = [b"250-".to_vec(), vec![b'x'; REPLY_OCTETS_MAX]].concat();
        assert_eq!(replies(&line, 65_536), Err(Garbage));
        let lines = [b"250-".to_vec(), vec![b'x'; 65_000], b"\r\n".to_vec()].concat();
        assert_eq!(replies(&lines.repeat(REPLY_OCTETS_MAX / lines.len() + 1), 65_536), Err(Garbage));
    }

    #[test]
    fn a_last_line_without_end_has_said_what_counts_and_is_the_last_that_is_heard() {
        let line = [b"250 ".to_vec(), vec![b'x'; REPLY_OCTETS_MAX], b"\r\n250 more\r\n".to_vec()].concat();
        let mut reader = ReplyReader::default();
        let (mut codes, mut end) = (Vec::new(), None);
        for piece in line.chunks(65_536) {
            let mut piece = piece;
            loop {
                match reader.next(&mut piece) {
                    Ok(Some(code)) => codes.push(code),
                    Ok(None) => break,
                    Err(garbage) => {
                        end = Some(garbage);
                        break;
                    }
                }
            }
        }
        assert_eq!((codes, end), (vec![250], Some(Garbage)));
    }

    #[test]
    fn lines_that_were_cut_are_no_statements() {
        let offers =
            [b"250-mx\r\n250-PIPELINING\r\n250-X".to_vec(), vec![b'x'; TEXT_OCTETS_MAX - 25], b"\r\n".to_vec()];
        let input = [offers.concat(), b"250 SIZE 10000000\r\n".to_vec()].concat();
        let mut reader = ReplyReader::default();
        assert_eq!(reader.next(&mut &input[..]), Ok(Some(250)));
        assert!(!reader.whole_lines().contains("SIZE"), "a limit that was cut is another limit");
        assert!(reader.whole_lines().starts_with("mx\nPIPELINING"));
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
                prop_assert!(reader.text.len() <= TEXT_OCTETS_MAX);
            }
        }
    }
}
