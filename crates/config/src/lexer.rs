//! Characters to tokens, each with its span.
//!
//! Never fails: what cannot be a token is reported and replaced by what was most likely meant, so that the parser can
//! go on and find the next mistake too. Decisions the documented language leaves open: single quotes delimit strings
//! without escapes; a string may span lines; a comma separates only inside `( )` and `[ ]`; a bare word may hold `/`
//! only when it reads as a CIDR block.

use crate::diagnostics::{Fault, Reports};
use crate::nets::parse_net;
use crate::tree::{Quote, Scalar, Span};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Word(Quote),
    BraceOpen,
    BraceClose,
    ParenOpen,
    ParenClose,
    BracketOpen,
    BracketClose,
    Equals,
    Comma,
    End,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub kind: TokenKind,
    pub span: Span,
    /// Byte range of the text between the quotes.
    inner: (u32, u32),
    /// Nothing but blanks stands before it on its line.
    pub first_on_line: bool,
}

pub(crate) struct Lexer<'t> {
    text: &'t str,
    file: u32,
    at: usize,
    list_depth: u32,
    first_on_line: bool,
}

/// Quotation marks that word processors put in place of plain ones.
const SMART_QUOTES: &str =
    "\u{201c}\u{201d}\u{201e}\u{201f}\u{2018}\u{2019}\u{201a}\u{201b}\u{ab}\u{bb}\u{2033}\u{2032}";

/// Blanks that are not blanks to the language.
const ODD_BLANKS: &str = "\u{a0}\u{2007}\u{202f}\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{3000}";

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str, file: u32) -> Self {
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Lexer { text, file, at, list_depth: 0, first_on_line: true }
    }

    /// The source text of a word token as a scalar.
    pub fn scalar(&self, token: &Token) -> Scalar {
        let quote = if let TokenKind::Word(quote) = token.kind { quote } else { Quote::Bare };
        Scalar::new(self.inner(token), quote, token.span)
    }

    /// The text of a word token between its quotes.
    pub fn inner(&self, token: &Token) -> &'t str {
        &self.text[token.inner.0 as usize..token.inner.1 as usize]
    }

    /// The text a span covers.
    pub fn slice(&self, span: Span) -> &'t str {
        &self.text[span.start as usize..span.end as usize]
    }

    /// The whole text, to look at indentation.
    pub fn bytes(&self) -> &'t [u8] {
        self.text.as_bytes()
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span { file: self.file, start: start as u32, end: end as u32 }
    }

    fn token(&mut self, kind: TokenKind, start: usize, inner: (usize, usize), end: usize) -> Token {
        self.at = end;
        let first_on_line = std::mem::take(&mut self.first_on_line);
        Token { kind, span: self.span(start, end), inner: (inner.0 as u32, inner.1 as u32), first_on_line }
    }

    pub fn next(&mut self, reports: &mut Reports) -> Token {
        self.skip_blanks(reports);
        let start = self.at;
        let Some(c) = self.rest().chars().next() else {
            return self.token(TokenKind::End, start, (start, start), start);
        };
        let kind = match c {
            '{' => TokenKind::BraceOpen,
            '}' => TokenKind::BraceClose,
            '(' => TokenKind::ParenOpen,
            ')' => TokenKind::ParenClose,
            '[' => TokenKind::BracketOpen,
            ']' => TokenKind::BracketClose,
            '=' => TokenKind::Equals,
            ',' if self.list_depth > 0 => TokenKind::Comma,
            '"' => return self.double_quoted(reports),
            '\'' => return self.single_quoted(reports),
            _ if SMART_QUOTES.contains(c) => return self.smart_quoted(c, reports),
            _ => return self.bare(reports),
        };
        match kind {
            TokenKind::ParenOpen | TokenKind::BracketOpen => self.list_depth += 1,
            TokenKind::ParenClose | TokenKind::BracketClose => self.list_depth = self.list_depth.saturating_sub(1),
            TokenKind::BraceOpen | TokenKind::BraceClose => self.list_depth = 0,
            _ => {}
        }
        self.token(kind, start, (start, start + 1), start + 1)
    }

    fn skip_blanks(&mut self, reports: &mut Reports) {
        while let Some(c) = self.rest().chars().next() {
            match c {
                '\n' => self.first_on_line = true,
                '#' => {
                    self.at += self.rest().find('\n').unwrap_or(self.rest().len());
                    continue;
                }
                '/' if self.rest().starts_with("/*") => {
                    self.block_comment(reports);
                    continue;
                }
                '/' if self.rest().starts_with("//") => {
                    let span = self.span(self.at, self.at + 2);
                    reports.push(
                        Fault::error(span, "// does not begin a comment")
                            .help("begin a comment with #; a value goes in quotes"),
                    );
                    self.at += self.rest().find('\n').unwrap_or(self.rest().len());
                    continue;
                }
                _ if ODD_BLANKS.contains(c) => {
                    let span = self.span(self.at, self.at + c.len_utf8());
                    reports.push(
                        Fault::error(span, format!("the blank here is U+{:04X}, not a space", c as u32))
                            .help("replace it with a plain space; it usually comes from pasting a web page"),
                    );
                }
                _ if c.is_whitespace() => {}
                _ => return,
            }
            self.at += c.len_utf8();
        }
    }

    fn block_comment(&mut self, reports: &mut Reports) {
        match self.rest()[2..].find("*/") {
            Some(length) => {
                self.first_on_line |= self.rest()[..length + 2].contains('\n');
                self.at += length + 4;
            }
            None => {
                let span = self.span(self.at, self.at + 2);
                reports.push(Fault::error(span, "this comment is never closed").help("end it with */"));
                self.at = self.text.len();
            }
        }
    }

    fn double_quoted(&mut self, reports: &mut Reports) -> Token {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut end = start + 1;
        let mut spans_lines = false;
        while end < bytes.len() && bytes[end] != b'"' {
            spans_lines |= bytes[end] == b'\n';
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let follows = bytes.get(end + 1).copied().unwrap_or(b'\n');
        let runs_on = follows.is_ascii_alphanumeric() || matches!(follows, b'/' | b'.' | b'_' | b'-' | b'*');
        if end >= bytes.len() || (spans_lines && runs_on) {
            return self.cut_at_line_end(Quote::Double, reports);
        }
        self.check_controls(start + 1, end, reports);
        self.token(TokenKind::Word(Quote::Double), start, (start + 1, end), end + 1)
    }

    /// A string without its closing quote: taken to end with its line.
    fn cut_at_line_end(&mut self, quote: Quote, reports: &mut Reports) -> Token {
        let start = self.at;
        let line = self.rest().find('\n').map_or(self.text.len(), |length| start + length);
        let text = self.text[start + 1..line].trim_end_matches(['\r', ' ', '\t']);
        // The closing brace of a one-line stanza is not part of the string.
        let text = text.trim_end_matches(['}', ' ', '\t']);
        let end = start + 1 + text.len();
        let mark = if quote == Quote::Double { '"' } else { '\'' };
        reports.push(
            Fault::error(self.span(start, end), "this string is never closed")
                .help(format!("put the closing {mark} at its end: {mark}{}{mark}", brief(text))),
        );
        self.token(TokenKind::Word(quote), start, (start + 1, end), end)
    }

    fn single_quoted(&mut self, reports: &mut Reports) -> Token {
        let start = self.at;
        match self.text[start + 1..].find('\'') {
            Some(length) => {
                let end = start + 1 + length;
                self.check_controls(start + 1, end, reports);
                self.token(TokenKind::Word(Quote::Single), start, (start + 1, end), end + 1)
            }
            None => self.cut_at_line_end(Quote::Single, reports),
        }
    }

    fn smart_quoted(&mut self, open: char, reports: &mut Reports) -> Token {
        let start = self.at;
        let inner = start + open.len_utf8();
        let line = self.text[inner..].find('\n').map_or(self.text.len(), |length| inner + length);
        let close =
            self.text[inner..line].find(|c| c == '"' || SMART_QUOTES.contains(c)).map_or(line, |length| inner + length);
        let close_length = self.text[close..line].chars().next().map_or(0, char::len_utf8);
        let text = &self.text[inner..close];
        reports.push(
            Fault::error(
                self.span(start, close + close_length),
                format!("typographic quotation mark {open} (U+{:04X}) where a plain \" belongs", open as u32),
            )
            .help(format!(
                "write \"{}\"; the marks usually come from pasting a formatted document",
                brief(text.trim_end())
            )),
        );
        self.token(TokenKind::Word(Quote::Double), start, (inner, close), close + close_length)
    }

    fn bare(&mut self, reports: &mut Reports) -> Token {
        let start = self.at;
        // Text that begins with a slash is a path or pattern whose quotes were forgotten: it reaches to the next blank.
        let unquoted = self.rest().starts_with('/');
        let mut end = start;
        for (at, c) in self.rest().char_indices() {
            let comment = c == '/' && self.text[start + at..].starts_with("/*");
            let ends = match unquoted {
                true => at > 0 && (c.is_whitespace() || comment),
                false => {
                    let comma = c == ',' && self.list_depth > 0;
                    c.is_whitespace()
                        || comment
                        || comma
                        || "#\"'={}[]()".contains(c)
                        || SMART_QUOTES.contains(c)
                        || ODD_BLANKS.contains(c)
                }
            };
            if ends {
                break;
            }
            end = start + at + c.len_utf8();
        }
        let text = &self.text[start..end];
        if text.contains('/') && (unquoted || parse_net(text).is_err()) {
            reports.push(
                Fault::error(self.span(start, end), format!("`{}` contains a slash and must be quoted", brief(text)))
                    .help(format!("write \"{}\"", brief(text))),
            );
        }
        self.check_controls(start, end, reports);
        self.token(TokenKind::Word(Quote::Bare), start, (start, end), end)
    }

    fn check_controls(&self, start: usize, end: usize, reports: &mut Reports) {
        let is_bad = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r');
        if let Some(at) = self.text.as_bytes()[start..end].iter().position(is_bad) {
            let byte = self.text.as_bytes()[start + at];
            let span = self.span(start + at, start + at + 1);
            reports.push(Fault::error(span, format!("control character 0x{byte:02x}")).help("remove it"));
        }
    }
}

/// A text short enough for a message.
pub(crate) fn brief(text: &str) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}...", &text[..at]).into(),
        None => text.into(),
    }
}
