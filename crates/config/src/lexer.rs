//! Characters to tokens, each with its span.
//!
//! Never fails: what cannot be a token is reported and replaced by what was most likely meant, so that the parser can
//! go on and find the next mistake too. Decisions the documented language leaves open: single quotes delimit strings
//! without escapes; a string may span lines; a comma separates only inside `( )` and `[ ]`; a bare word may hold `/`
//! only when it reads as a CIDR block. `${` and `$"` at the beginning of a word make it a reference or an interpolating
//! string; neither could begin a word of the documented language.
//!
//! Invariant: each byte is looked at a bounded number of times, whatever the text.

use std::sync::Arc;

use crate::diagnostics::{Fault, Reports};
use crate::nets::parse_net;
use crate::piece::Piece;
use crate::references::{lookalike, parts, reference};
use crate::tree::{Quote, Scalar, Span, Word};

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
    /// A string ran to the end of the text: the next ones are not sought beyond their line.
    unclosed: bool,
    /// No reference that begins before this byte is closed on its line.
    no_brace_before: usize,
    /// Comments in reading order, when the caller wants them.
    comments: Option<Vec<Span>>,
    /// Bytes looked at, so that a test can tell one pass from many.
    #[cfg(test)]
    pub looked: usize,
}

/// Quotation marks that word processors put in place of plain ones.
const SMART_QUOTES: &str =
    "\u{201c}\u{201d}\u{201e}\u{201f}\u{2018}\u{2019}\u{201a}\u{201b}\u{ab}\u{bb}\u{2033}\u{2032}";

/// Longest text quoted back as the rest of a word.
const LINE_BYTES_MAX: usize = 200;

/// Blanks that are not blanks to the language.
const ODD_BLANKS: &str = "\u{a0}\u{2007}\u{202f}\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{3000}";

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str, file: u32) -> Self {
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Lexer {
            text,
            file,
            at,
            list_depth: 0,
            first_on_line: true,
            unclosed: false,
            no_brace_before: 0,
            comments: None,
            #[cfg(test)]
            looked: 0,
        }
    }

    /// A lexer that keeps the places of comments.
    pub fn keeping_comments(text: &'t str) -> Self {
        Lexer { comments: Some(Vec::new()), ..Lexer::new(text, 0) }
    }

    /// The comments met since the last call.
    pub fn take_comments(&mut self) -> Vec<Span> {
        self.comments.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes that the bytes up to `end` from the current place were searched.
    fn searched(&mut self, end: usize) {
        #[cfg(test)]
        {
            self.looked += end.saturating_sub(self.at);
        }
        let _ = end;
    }

    /// A word token as a scalar of the text `whole`, which is the lexer's.
    pub fn scalar(&self, whole: &Arc<str>, token: &Token) -> Scalar {
        let quote = if let TokenKind::Word(quote) = token.kind { quote } else { Quote::Bare };
        Scalar::within(whole, token.inner.0..token.inner.1, quote, token.span)
    }

    /// A word token as a name of the text `whole`, which is the lexer's.
    pub fn word(&self, whole: &Arc<str>, token: &Token) -> Word {
        Word { text: Piece::of(whole, token.inner.0..token.inner.1), span: token.span }
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
            '"' => return self.double_quoted(Quote::Double, reports),
            '$' if self.rest().starts_with("$\"") => return self.double_quoted(Quote::Interpolated, reports),
            '$' if self.rest().starts_with("${") => return self.reference(reports),
            '\'' => return self.single_quoted(reports),
            _ if is_smart_quote(c) => return self.smart_quoted(c, reports),
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
                    let start = self.at;
                    self.at += self.rest().find('\n').unwrap_or(self.rest().len());
                    self.comment(start, self.at);
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
                _ if is_odd_blank(c) => {
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

    fn comment(&mut self, start: usize, end: usize) {
        let span = self.span(start, end);
        if let Some(comments) = &mut self.comments {
            comments.push(span);
        }
    }

    fn block_comment(&mut self, reports: &mut Reports) {
        match self.rest()[2..].find("*/") {
            Some(length) => {
                self.first_on_line |= self.rest()[..length + 2].contains('\n');
                self.comment(self.at, self.at + length + 4);
                self.at += length + 4;
            }
            None => {
                let span = self.span(self.at, self.at + 2);
                reports.push(Fault::error(span, "this comment is never closed").help("end it with */"));
                self.at = self.text.len();
            }
        }
    }

    /// `"..."` or `$"..."`.
    fn double_quoted(&mut self, quote: Quote, reports: &mut Reports) -> Token {
        let (start, inner) = (self.at, self.at + opening(quote).len());
        let bytes = self.text.as_bytes();
        let mut end = inner;
        let mut spans_lines = false;
        let limit = if self.unclosed { self.line_end() } else { bytes.len() };
        while end < limit && bytes[end] != b'"' {
            spans_lines |= bytes[end] == b'\n';
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        self.searched(end);
        let follows = bytes.get(end + 1).copied().unwrap_or(b'\n');
        let runs_on = follows.is_ascii_alphanumeric() || matches!(follows, b'/' | b'.' | b'_' | b'-' | b'*');
        if end >= limit || (spans_lines && runs_on) {
            self.unclosed |= end >= limit;
            return self.cut_at_line_end(quote, reports);
        }
        self.check_controls(inner, end, reports);
        self.check_references(quote, inner, end, reports);
        self.token(TokenKind::Word(quote), start, (inner, end), end + 1)
    }

    /// An interpolating string must be readable; a plain one should not look as if it were one.
    fn check_references(&self, quote: Quote, start: usize, end: usize, reports: &mut Reports) {
        let raw = &self.text[start..end];
        match quote {
            Quote::Interpolated => {
                if let Err(misread) = parts(raw) {
                    let span = self.span(start + misread.at.start, start + misread.at.end);
                    reports.push(Fault::error(span, misread.message).help(misread.help));
                }
            }
            _ => {
                if let Some(name) = lookalike(raw) {
                    let message = format!("`${{{name}` stands in plain quotes and is taken literally");
                    let help = format!(
                        "to insert the variable write $\"{}\"; if it is meant so, use single quotes",
                        brief(raw)
                    );
                    reports.push(Fault::warning(self.span(start - 1, end + 1), message).help(help));
                }
            }
        }
    }

    /// `${...}` as a word of its own.
    fn reference(&mut self, reports: &mut Reports) -> Token {
        let start = self.at;
        let inner = start + 2;
        let known = inner < self.no_brace_before;
        let found = if known { None } else { self.text[inner..].find(['}', '\n']).map(|length| inner + length) };
        self.searched(if known { inner } else { found.unwrap_or(self.text.len()) });
        let Some(end) = found.filter(|end| self.text[*end..].starts_with('}')) else {
            if !known {
                self.no_brace_before = found.unwrap_or(self.text.len());
            }
            let rest = &self.text[start..self.no_brace_before];
            let end = start + rest.find(char::is_whitespace).unwrap_or(rest.len());
            let written = brief(&self.text[start..end]);
            reports.push(
                Fault::error(self.span(start, end), format!("`{written}` is never closed"))
                    .help("end it with } on the same line: ${NAME} or ${NAME:-default}"),
            );
            return self.token(TokenKind::Word(Quote::Bare), start, (start, end), end);
        };
        self.check_controls(inner, end, reports);
        if let Err((message, help)) = reference(&self.text[inner..end]) {
            reports.push(Fault::error(self.span(start, end + 1), message).help(help));
        } else if let Some(tail) = self.touching(end + 1) {
            self.combined(start, tail, reports);
            return self.token(TokenKind::Word(Quote::Bare), start, (start, tail), tail);
        }
        self.token(TokenKind::Word(Quote::Reference), start, (inner, end), end + 1)
    }

    /// The end of the text that touches `at` without a blank or a bracket in between.
    fn touching(&self, at: usize) -> Option<usize> {
        let rest = &self.text[at..];
        let ends = |c: char| c.is_whitespace() || "(){}[]=,#".contains(c);
        let length = rest.find(ends).unwrap_or(rest.len()).min(LINE_BYTES_MAX);
        let length = (0..=length).rev().find(|length| rest.is_char_boundary(*length)).unwrap_or(0);
        let more = rest[..length].ends_with('$') && rest[length..].starts_with('{');
        let length = if more {
            length + rest[length..].find(char::is_whitespace).unwrap_or(rest.len() - length)
        } else {
            length
        };
        (length > 0 && !rest.starts_with("/*")).then_some(at + length)
    }

    /// Text and a reference make one value only inside `$"..."`.
    fn combined(&self, start: usize, end: usize, reports: &mut Reports) {
        let written = brief(&self.text[start..end]);
        reports.push(
            Fault::error(self.span(start, end), "a reference with text beside it must be quoted")
                .help(format!("write $\"{written}\"")),
        );
    }

    fn line_end(&self) -> usize {
        self.rest().find('\n').map_or(self.text.len(), |length| self.at + length)
    }

    /// A string without its closing quote: taken to end with its line.
    fn cut_at_line_end(&mut self, quote: Quote, reports: &mut Reports) -> Token {
        let (start, inner) = (self.at, self.at + opening(quote).len());
        let line = self.line_end();
        let text = self.text[inner..line].trim_end_matches(['\r', ' ', '\t']);
        // The closing brace of a one-line stanza is not part of the string.
        let text = match quote {
            Quote::Interpolated => text.strip_suffix(" }").unwrap_or(text).trim_end(),
            _ => text.trim_end_matches(['}', ' ', '\t']),
        };
        let end = inner + text.len();
        let close = if quote == Quote::Single { '\'' } else { '"' };
        reports.push(Fault::error(self.span(start, end), "this string is never closed").help(format!(
            "put the closing {close} at its end: {}{}{close}",
            opening(quote),
            brief(text)
        )));
        self.token(
            TokenKind::Word(if quote == Quote::Single { quote } else { Quote::Double }),
            start,
            (inner, end),
            end,
        )
    }

    fn single_quoted(&mut self, reports: &mut Reports) -> Token {
        let start = self.at;
        let found = self.text[start + 1..].find('\'');
        self.searched(found.map_or(self.text.len(), |length| start + 1 + length));
        match found {
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
            self.text[inner..line].find(|c| c == '"' || is_smart_quote(c)).map_or(line, |length| inner + length);
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
                    let mark = matches!(c, '#' | '"' | '\'' | '=' | '{' | '}' | '[' | ']' | '(' | ')');
                    mark || comma || comment || c.is_whitespace() || is_smart_quote(c) || is_odd_blank(c)
                }
            };
            if ends {
                break;
            }
            end = start + at + c.len_utf8();
        }
        self.searched(end);
        if self.text[start..end].ends_with('$') && looks_like_reference(&self.text[end..]) {
            let whole = end + self.text[end..].find(char::is_whitespace).unwrap_or(self.text.len() - end);
            self.combined(start, whole, reports);
            return self.token(TokenKind::Word(Quote::Bare), start, (start, whole), whole);
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

/// What stands before the text of a string.
fn opening(quote: Quote) -> &'static str {
    match quote {
        Quote::Interpolated => "$\"",
        Quote::Single => "'",
        _ => "\"",
    }
}

pub(crate) fn is_smart_quote(c: char) -> bool {
    !c.is_ascii() && SMART_QUOTES.contains(c)
}

fn is_odd_blank(c: char) -> bool {
    !c.is_ascii() && ODD_BLANKS.contains(c)
}

/// Whether a brace begins the name of a variable: `{NAME}`, `{NAME:-` or `{NAME...`.
fn looks_like_reference(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('{') else { return false };
    let name = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    name > 0 && ["}", ":-", "..."].iter().any(|end| rest[name..].starts_with(end))
}

/// A text short enough for a message.
pub(crate) fn brief(text: &str) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}...", &text[..at]).into(),
        None => text.into(),
    }
}
