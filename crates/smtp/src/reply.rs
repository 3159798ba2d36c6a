//! Replies: code, enhanced status code and text (RFC 5321 4.2, RFC 3463), and every reply the server can give, by name.

use std::borrow::Cow;
use std::fmt;

use crate::text::stays_in_line;

/// An enhanced status code, `class.subject.detail` (RFC 3463).
pub type Enhanced = (u8, u16, u16);

/// One reply. Its text holds no CR or LF; a multi-line text is separated by `\n` in [`Reply::text`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three-digit reply code.
    pub code: u16,
    /// The enhanced status code, if the reply carries one.
    pub enhanced: Option<Enhanced>,
    /// The text after the codes; lines separated by `\n`.
    pub text: Cow<'static, str>,
}

/// Octets of text on one line: with code, enhanced status code and CRLF it stays within 512 (RFC 5321 4.5.3.1.5).
const LINE_TEXT_OCTETS_MAX: usize = 512 - "550 5.999.999 \r\n".len();

impl Reply {
    /// A reply with an enhanced status code, as a constant.
    pub const fn new(code: u16, enhanced: Enhanced, text: &'static str) -> Self {
        Self { code, enhanced: Some(enhanced), text: Cow::Borrowed(text) }
    }

    /// A reply without one (220, 354, EHLO's 250 …).
    pub const fn plain(code: u16, text: &'static str) -> Self {
        Self { code, enhanced: None, text: Cow::Borrowed(text) }
    }

    /// A reply with a text made at run time. What may not stand in a line (other than the line separator) becomes a space,
    /// so that no peer's or policy's text can forge a line.
    pub fn with_text(code: u16, enhanced: Option<Enhanced>, text: impl Into<String>) -> Self {
        let mut text = text.into();
        let stays = |c: char| c == '\n' || stays_in_line(c);
        if !text.chars().all(stays) {
            text = text.chars().map(|c| if stays(c) { c } else { ' ' }).collect();
        }
        Self { code, enhanced, text: Cow::Owned(text) }
    }

    /// Parses `code [enhanced] text`, as policy and logs write them; `default_code` where the text has none.
    pub fn parse(text: &str, default_code: u16) -> Self {
        let (code, rest) = match text.get(..3).and_then(|digits| digits.parse::<u16>().ok()) {
            Some(code) if (200..600).contains(&code) => (code, text[3..].trim_start_matches([' ', '-'])),
            _ => (default_code, text),
        };
        match rest.split_once(' ').and_then(|(first, tail)| Some((parse_enhanced(first)?, tail))) {
            Some((enhanced, tail)) => Self::with_text(code, Some(enhanced), tail),
            None => match parse_enhanced(rest) {
                Some(enhanced) => Self::with_text(code, Some(enhanced), ""),
                None => Self::with_text(code, None, rest),
            },
        }
    }

    /// 2yz or 3yz.
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// 4yz.
    pub fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// 5yz.
    pub fn is_permanent(&self) -> bool {
        500 <= self.code
    }

    /// Appends the reply as it goes on the wire, every line with the codes; a line too long for the wire is folded.
    pub fn write(&self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        let mut lines = self.text.split('\n').flat_map(folded).peekable();
        while let Some(line) = lines.next() {
            let separator = if lines.peek().is_some() { '-' } else { ' ' };
            let written = match self.enhanced {
                Some((class, subject, detail)) => {
                    write!(out, "{}{separator}{class}.{subject}.{detail} {line}\r\n", self.code)
                }
                None => write!(out, "{}{separator}{line}\r\n", self.code),
            };
            debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
        }
    }
}

/// A line in pieces that fit the wire, cut at blanks where there are any.
fn folded(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        if text.len() <= LINE_TEXT_OCTETS_MAX {
            return Some(text);
        }
        let end = text.floor_char_boundary(LINE_TEXT_OCTETS_MAX);
        let (piece, after) = match text[..end].rfind(' ') {
            Some(blank) if 0 < blank => (&text[..blank], &text[blank + 1..]),
            _ => text.split_at(end),
        };
        rest = Some(after);
        Some(piece)
    })
}

/// `code [enhanced] text` on one line, as logs and notifications show it.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some((class, subject, detail)) = self.enhanced {
            write!(f, " {class}.{subject}.{detail}")?;
        }
        for line in self.text.split('\n').filter(|line| !line.is_empty()) {
            write!(f, " {line}")?;
        }
        Ok(())
    }
}

/// `class.subject.detail`, or nothing.
pub fn parse_enhanced(text: &str) -> Option<Enhanced> {
    let mut numbers = text.split('.');
    let class: u8 = numbers.next()?.parse().ok().filter(|class| matches!(class, 2 | 4 | 5))?;
    let subject: u16 = numbers.next()?.parse().ok().filter(|&n| n < 1000)?;
    let detail: u16 = numbers.next()?.parse().ok().filter(|&n| n < 1000)?;
    numbers.next().is_none().then_some((class, subject, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_carries_the_codes() {
        let mut out = Vec::new();
        Reply::with_text(550, Some((5, 7, 1)), "no\nsorry\r\n250 forged").write(&mut out);
        assert_eq!(out, b"550-5.7.1 no\r\n550-5.7.1 sorry \r\n550 5.7.1 250 forged\r\n");
    }

    #[test]
    fn a_long_text_is_folded_into_lines_of_at_most_512_octets() {
        for text in ["word ".repeat(300), "x".repeat(2000), "é".repeat(700), " ".repeat(600)] {
            for enhanced in [None, Some((5, 999, 999))] {
                let mut out = Vec::new();
                Reply::with_text(550, enhanced, text.clone()).write(&mut out);
                let out = String::from_utf8(out).unwrap();
                let lines: Vec<_> = out.split_inclusive("\r\n").collect();
                assert!(1 < lines.len() && lines.iter().all(|line| line.len() <= 512 && line.ends_with("\r\n")));
                let (last, others) = lines.split_last().unwrap();
                assert!(last.starts_with("550 ") && others.iter().all(|line| line.starts_with("550-")));
                let said = lines.iter().map(|line| line.matches(['x', 'é', 'w']).count()).sum::<usize>();
                assert_eq!(said, text.matches(['x', 'é', 'w']).count());
            }
        }
    }

    #[test]
    fn policy_text_is_parsed_into_codes() {
        let reply = Reply::parse("452 4.2.2 mailbox full", 550);
        assert_eq!((reply.code, reply.enhanced, &*reply.text), (452, Some((4, 2, 2)), "mailbox full"));
        assert_eq!(Reply::parse("go away", 550).to_string(), "550 go away");
    }
}
