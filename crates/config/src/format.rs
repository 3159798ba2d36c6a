//! A configuration text in the house's layout: nothing but blanks and line ends changes.
//!
//! In: a text that parses. Out: the same tokens and comments, two blanks a level, one statement a line, at most one
//! blank line between two. A stanza or list written on one line stays on one; a comment stays on its own line, or at
//! the end of the line it was on. Words are not looked up and includes not followed.
//!
//! Invariants: the result has the tree and the comments of the text, and formatting it again changes nothing.

use std::path::PathBuf;

use crate::bounds::Bounds;
use crate::diagnostics::{Diagnostics, Reports};
use crate::lexer::{Lexer, TokenKind};
use crate::parser::parse;
use crate::source::{Found, Sources};

/// Longest line on which a stanza that was written on one line stays there, in bytes.
const LINE_BYTES_MAX: usize = 120;

/// Lays a configuration text out anew; the diagnostics when it does not parse.
pub fn format(text: &str) -> Result<String, Diagnostics> {
    let mut reports = Reports::default();
    parse(&text.into(), 0, &mut Bounds::default(), &mut reports);
    if reports.has_errors() {
        let mut sources = Sources::default();
        sources.add(PathBuf::from("(text)"), Found::of_text(text), None, false);
        return Err(reports.finish(&sources));
    }
    let (pieces, out) = (pieces_of(text), String::with_capacity(text.len() + text.len() / 8));
    let mut printer = Printer { pieces, at: 0, out, depth: 0, block_begins: true, inline: false };
    while printer.at < printer.pieces.len() {
        printer.statements();
        // Braces pair in a text that parsed.
        printer.at += 1;
    }
    if !printer.out.is_empty() {
        printer.out.push('\n');
    }
    Ok(printer.out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Token(TokenKind),
    /// `# ...`
    LineComment,
    /// `/* ... */`
    BlockComment,
}

/// A token or a comment.
#[derive(Clone, Copy)]
struct Piece<'t> {
    kind: Kind,
    text: &'t str,
    /// Line ends between the piece before and this one.
    lines_before: usize,
}

impl Piece<'_> {
    fn is_comment(&self) -> bool {
        !matches!(self.kind, Kind::Token(_))
    }
}

fn pieces_of(text: &str) -> Vec<Piece<'_>> {
    let (mut lexer, mut reports) = (Lexer::keeping_comments(text), Reports::default());
    let (mut pieces, mut end) = (Vec::new(), 0);
    loop {
        let token = lexer.next(&mut reports);
        let comments = lexer.take_comments().into_iter().map(|span| {
            let block = lexer.slice(span).starts_with("/*");
            (if block { Kind::BlockComment } else { Kind::LineComment }, span)
        });
        let token_piece = (token.kind != TokenKind::End).then_some((Kind::Token(token.kind), token.span));
        for (kind, span) in comments.chain(token_piece) {
            let between = &text[end..span.start as usize];
            let lines_before = between.bytes().filter(|byte| *byte == b'\n').count();
            let written = lexer.slice(span);
            let written = if kind == Kind::LineComment { written.trim_end() } else { written };
            pieces.push(Piece { kind, text: written, lines_before });
            end = span.end as usize;
        }
        if token_piece.is_none() {
            return pieces;
        }
    }
}

struct Printer<'t> {
    pieces: Vec<Piece<'t>>,
    at: usize,
    out: String,
    depth: usize,
    /// Nothing of the current block has been printed yet.
    block_begins: bool,
    /// Statements follow each other on one line.
    inline: bool,
}

impl<'t> Printer<'t> {
    fn piece(&self) -> Option<Piece<'t>> {
        self.pieces.get(self.at).copied()
    }

    /// Statements and comments up to a closing brace or the end.
    fn statements(&mut self) {
        while let Some(piece) = self.piece() {
            match piece.kind {
                Kind::Token(TokenKind::BraceClose) => return,
                Kind::Token(_) => {
                    self.begin(piece.lines_before);
                    self.statement();
                }
                _ if piece.lines_before == 0 && !self.out.is_empty() => {
                    self.out.push_str("  ");
                    self.print();
                }
                _ => {
                    self.begin(piece.lines_before);
                    self.print();
                }
            }
        }
    }

    /// Where the next statement or comment of a block begins.
    fn begin(&mut self, lines_before: usize) {
        let first = std::mem::take(&mut self.block_begins);
        match (self.inline, first) {
            (true, true) => self.out.push(' '),
            (true, false) => self.out.push_str("  "),
            (false, _) => {
                if lines_before > 1 && !first {
                    self.out.push('\n');
                }
                self.new_line();
            }
        }
    }

    fn new_line(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        (0..self.depth).for_each(|_| self.out.push_str("  "));
    }

    /// Prints the current piece and goes on to the next.
    fn print(&mut self) {
        if let Some(piece) = self.piece() {
            self.out.push_str(piece.text);
            self.at += 1;
        }
    }

    /// The kind of the next token, comments passed over.
    fn peek(&self) -> Option<TokenKind> {
        self.pieces[self.at..].iter().find_map(|piece| match piece.kind {
            Kind::Token(kind) => Some(kind),
            _ => None,
        })
    }

    /// Prints the next token of a statement behind a blank, with the comments before it.
    fn next(&mut self) {
        let mut fresh_line = false;
        while let Some(piece) = self.piece() {
            if !std::mem::take(&mut fresh_line) {
                self.out.push_str(if piece.kind == Kind::LineComment { "  " } else { " " });
            }
            self.print();
            match piece.kind {
                Kind::Token(_) => return,
                Kind::BlockComment => {}
                Kind::LineComment => {
                    self.depth += 1;
                    self.new_line();
                    self.depth -= 1;
                    fresh_line = true;
                }
            }
        }
    }

    /// `word = value`, `include target`, `word { }` or `word name { }`.
    fn statement(&mut self) {
        let includes = self.piece().is_some_and(|word| {
            ["include", "readonly_include"].iter().any(|include| word.text.eq_ignore_ascii_case(include))
        });
        self.print();
        match self.peek() {
            Some(TokenKind::Equals) => {
                self.next();
                match self.peek() {
                    Some(TokenKind::ParenOpen | TokenKind::BracketOpen) => self.list(),
                    _ => self.next(),
                }
            }
            Some(TokenKind::Word(_)) => {
                self.next();
                if !includes {
                    self.block();
                }
            }
            _ => self.block(),
        }
    }

    /// `{ ... }`.
    fn block(&mut self) {
        self.next();
        let (opened, brace) = (self.at, self.out.len());
        if let Some(close) = self.one_line_block() {
            let outer = std::mem::replace(&mut self.inline, true);
            self.block_begins = true;
            self.statements();
            self.inline = outer;
            self.block_begins = false;
            self.out.push_str(" }");
            let line = self.out.len() - self.out.rfind('\n').map_or(0, |end| end + 1);
            if self.inline || line <= LINE_BYTES_MAX {
                self.at = close + 1;
                return;
            }
            (self.at, _) = (opened, self.out.truncate(brace));
        }
        self.depth += 1;
        self.block_begins = true;
        self.statements();
        self.block_begins = false;
        self.depth -= 1;
        self.new_line();
        self.print();
    }

    /// The closing brace of the block that begins here, when it was written on one line without comments.
    fn one_line_block(&self) -> Option<usize> {
        let (mut depth, mut length) = (0usize, 0);
        for (at, piece) in self.pieces.iter().enumerate().skip(self.at) {
            length += piece.text.len();
            if piece.lines_before > 0 || piece.is_comment() || length > LINE_BYTES_MAX || piece.text.contains('\n') {
                return None;
            }
            match piece.kind {
                Kind::Token(TokenKind::BraceOpen) => depth += 1,
                Kind::Token(TokenKind::BraceClose) if depth == 0 => return Some(at),
                Kind::Token(TokenKind::BraceClose) => depth -= 1,
                _ => {}
            }
        }
        None
    }

    /// `( ... )` or `[ ... ]`, on one line if it was, else line by line.
    fn list(&mut self) {
        self.next();
        let inside = self.pieces[self.at..].iter();
        let is_close =
            |piece: &Piece<'_>| matches!(piece.kind, Kind::Token(TokenKind::ParenClose | TokenKind::BracketClose));
        let length = inside.clone().position(is_close).unwrap_or(0);
        let broken = |piece: &Piece<'_>| piece.lines_before > 0 || piece.kind == Kind::LineComment;
        let lines = inside.take(length + 1).any(broken);
        let close = self.at + length;
        self.depth += 1;
        let mut first = true;
        while self.at < close {
            let piece = self.pieces[self.at];
            let before = self.pieces[self.at - 1];
            // What follows the opening bracket begins a line, but for a comment about the list itself.
            let begins = lines && (piece.lines_before > 0 || first && !piece.is_comment());
            if begins || (lines && before.kind == Kind::LineComment) {
                if piece.lines_before > 1 && !first {
                    self.out.push('\n');
                }
                self.new_line();
            } else {
                self.out.push_str(gap(&before, &piece));
            }
            first &= piece.is_comment() && piece.lines_before == 0;
            self.print();
        }
        self.depth -= 1;
        match (lines, length) {
            (true, _) => self.new_line(),
            (false, 0) => {}
            (false, _) => self.out.push(' '),
        }
        self.print();
    }
}

/// What stands between two pieces on one line of a list.
fn gap(before: &Piece<'_>, piece: &Piece<'_>) -> &'static str {
    match (before.kind, piece.kind) {
        (_, Kind::Token(TokenKind::Comma)) if !before.is_comment() => "",
        (_, Kind::LineComment) => "  ",
        _ => " ",
    }
}
