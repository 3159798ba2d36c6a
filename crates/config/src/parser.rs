//! Tokens to a tree, by recursive descent with bounded depth.
//!
//! After a mistake the parser skips to the next line or closing brace and goes on, so that one pass finds them all.
//! A brace that is missing is traced by the indentation of what follows.

use std::sync::Arc;

use crate::bounds::{ADVICE, Bounds};
use crate::diagnostics::{Fault, Reports};
use crate::lexer::{Lexer, Token, TokenKind, brief};
use crate::tree::{Assignment, Conditional, Include, Item, Quote, Scalar, Span, Stanza, Value, ValueKind, Word};

/// Deepest nesting of stanzas, includes counted separately.
pub(crate) const DEPTH_MAX: usize = 32;

/// Most elements of one array or pairs of one dictionary.
pub(crate) const LIST_MAX: usize = 1 << 18;

/// The word of a conditional stanza.
const IF_ENV: &str = "if_env";

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub items: Vec<Item>,
    /// Braces did not pair, so the nesting of what follows is a guess.
    pub braces_unpaired: bool,
}

/// Parses a text; faults go to `reports`, and what it holds counts towards `bounds`.
pub(crate) fn parse(text: &Arc<str>, file: u32, bounds: &mut Bounds, reports: &mut Reports) -> Parsed {
    let mut lexer = Lexer::new(text, file);
    let token = lexer.next(reports);
    let mut parser = Parser {
        text,
        lexer,
        token,
        reports,
        bounds,
        open: Vec::new(),
        suspect: None,
        unpaired: false,
        given_up: false,
    };
    let mut items = Vec::new();
    parser.items(&mut items);
    Parsed { items, braces_unpaired: parser.unpaired }
}

/// Parses the text of one value, as in a default or on a command line.
pub(crate) fn parse_value(text: &str) -> Option<Value> {
    let mut reports = Reports::default();
    let parsed = parse(&format!("v = {text}").into(), 0, &mut Bounds::default(), &mut reports);
    match (parsed.items.into_iter().next(), reports.has_errors()) {
        (Some(Item::Option(assignment)), false) => Some(assignment.value),
        _ => None,
    }
}

/// A stanza whose closing brace has not come yet.
struct Open {
    title: String,
    brace: Span,
    column: usize,
}

struct Parser<'t, 'r> {
    text: &'t Arc<str>,
    lexer: Lexer<'t>,
    token: Token,
    reports: &'r mut Reports,
    bounds: &'r mut Bounds,
    open: Vec<Open>,
    /// The first stanza whose content went back to its own indentation, and the word that did.
    suspect: Option<(String, Span, Word)>,
    unpaired: bool,
    given_up: bool,
}

impl Parser<'_, '_> {
    fn advance(&mut self) -> Token {
        let next = self.lexer.next(self.reports);
        std::mem::replace(&mut self.token, next)
    }

    fn at(&self, kind: TokenKind) -> bool {
        self.token.kind == kind
    }

    fn at_word(&self) -> bool {
        matches!(self.token.kind, TokenKind::Word(_))
    }

    /// What the current token looks like, for messages.
    fn found(&self) -> String {
        match self.token.kind {
            TokenKind::End => "the end of the file".to_owned(),
            _ => format!("`{}`", brief(self.lexer.slice(self.token.span))),
        }
    }

    fn fault(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.reports.push(Fault::error(span, message).help(help));
    }

    /// Items up to the closing brace of the innermost open stanza, or the end of the file.
    fn items(&mut self, items: &mut Vec<Item>) {
        loop {
            if self.reports.is_full() || self.given_up {
                self.given_up = true;
                return;
            }
            match self.token.kind {
                TokenKind::End => return,
                TokenKind::BraceClose if self.open.is_empty() => {
                    self.unpaired = true;
                    self.fault(self.token.span, "this } closes nothing", "remove it, or add the { it belongs to");
                    self.advance();
                }
                TokenKind::BraceClose => return,
                TokenKind::Word(Quote::Bare) => self.item(items),
                TokenKind::Word(_) => {
                    self.stray_string(items);
                    self.recover();
                }
                _ => {
                    let message = format!("expected an option or a scope, found {}", self.found());
                    self.fault(self.token.span, message, "write `name = value` or `scope \"name\" { ... }`");
                    self.recover();
                }
            }
        }
    }

    /// A string where a name belongs: a second value of the option before it, or a name in quotes.
    fn stray_string(&mut self, items: &[Item]) {
        let found = self.found();
        match items.last() {
            Some(Item::Option(Assignment { name, value })) if !self.token.first_on_line && value.scalar().is_some() => {
                let source = brief(self.lexer.slice(value.span)).into_owned();
                let first = brief(self.lexer.slice(self.token.span)).into_owned();
                let help = format!("write several values as a list, `{} = ( {source} {first} )`", name.text);
                self.fault(self.token.span, format!("{found} is a second value for `{}`", name.text), help);
            }
            _ => {
                let help = "names of options and scopes are written without quotes";
                self.fault(self.token.span, format!("expected an option or a scope, found {found}"), help);
            }
        }
    }

    fn item(&mut self, items: &mut Vec<Item>) {
        self.suspect_indentation();
        let token = self.advance();
        let word = self.lexer.word(self.text, &token);
        let includes = ["include", "readonly_include"].iter().any(|name| word.text.eq_ignore_ascii_case(name));
        match self.token.kind {
            TokenKind::Word(_) | TokenKind::BraceOpen if word.text.eq_ignore_ascii_case(IF_ENV) => {
                self.conditional(word, items);
            }
            TokenKind::Equals => {
                self.advance();
                let room = self.bounds.option();
                if !self.fits(room, word.span) {
                    return;
                }
                if let Some(value) = self.value(&word) {
                    items.push(Item::Option(Assignment { name: word, value }));
                }
            }
            TokenKind::BraceOpen => self.stanza(word, None, items),
            TokenKind::Word(_) if includes => {
                let token = self.advance();
                items.push(Item::Include(Include {
                    word,
                    target: self.lexer.scalar(self.text, &token),
                    items: Vec::new(),
                }));
            }
            TokenKind::Word(_) => self.named_stanza(word, &token, items),
            _ => self.lonely(&word, &token, items),
        }
    }

    /// `word name` must go on with a brace.
    fn named_stanza(&mut self, word: Word, word_token: &Token, items: &mut Vec<Item>) {
        let name_token = self.token;
        if name_token.first_on_line && self.token.kind == TokenKind::Word(Quote::Bare) {
            return self.lonely(&word, word_token, items);
        }
        let name = self.lexer.scalar(self.text, &name_token);
        self.advance();
        if self.at(TokenKind::BraceOpen) {
            return self.stanza(word, Some(name), items);
        }
        if self.continues_value(word_token, items) {
            return self.skip();
        }
        if let Some(option) = word.text.strip_suffix(':') {
            let help = format!("write `{option} = {}`", brief(&name.source()));
            self.fault(word.span, format!("`{option}` is set with =, not with a colon"), help);
            return self.skip();
        }
        let help = format!(
            "write `{} = {}` for an option, or `{0} {1} {{ ... }}` for a scope",
            word.text,
            brief(&name.source())
        );
        let message = format!("expected {{ after `{} {}`, found {}", word.text, brief(&name.source()), self.found());
        self.fault(word.span.to(name_token.span), message, help);
        self.skip();
    }

    /// A word that nothing follows which could belong to it.
    fn lonely(&mut self, word: &Word, token: &Token, items: &[Item]) {
        if !self.continues_value(token, items) {
            let help = format!("write `{} = value` for an option, or `{0} {{ ... }}` for a scope", word.text);
            self.fault(word.span, format!("expected = or {{ after `{}`, found {}", word.text, self.found()), help);
        }
        self.skip();
    }

    /// A stray word on the line of an option is the rest of a value that lacks its quotes.
    fn continues_value(&mut self, token: &Token, items: &[Item]) -> bool {
        let Some(Item::Option(Assignment { value, name })) = items.last() else { return false };
        let ValueKind::Scalar(scalar) = &value.kind else { return false };
        if token.first_on_line {
            return false;
        }
        if scalar.quote() != Quote::Bare {
            let help = "remove it, or move the closing quote behind it";
            self.fault(
                token.span,
                format!("`{}` stands alone after a value", brief(self.lexer.slice(token.span))),
                help,
            );
            return true;
        }
        let whole = brief(self.lexer.slice(value.span.to(token.span))).into_owned();
        let (span, name) = (value.span.to(token.span), name.text.clone());
        self.fault(span, "a value that contains blanks must be quoted", format!("write `{name} = \"{whole}\"`"));
        true
    }

    fn stanza(&mut self, word: Word, name: Option<Scalar>, items: &mut Vec<Item>) {
        if let Some((body, braces)) = self.braced(&word, name.as_ref()) {
            items.push(Item::Stanza(Stanza { word, name, body, braces }));
        }
    }

    /// `if_env "NAME" { ... }`.
    fn conditional(&mut self, word: Word, items: &mut Vec<Item>) {
        if self.at(TokenKind::BraceOpen) {
            let help = format!("write `{} \"NAME\" {{ ... }}`", word.text);
            self.fault(word.span, format!("`{}` names no variable", word.text), help);
            self.braced(&word, None);
            return;
        }
        let token = self.advance();
        let condition = self.lexer.scalar(self.text, &token);
        if !self.at(TokenKind::BraceOpen) {
            let (what, name) = (&word.text, brief(self.lexer.inner(&token)));
            let (message, help) = match self.token.kind {
                TokenKind::Equals => {
                    self.advance();
                    let value = if self.at_word() { brief(self.lexer.inner(&self.token)) } else { "value".into() };
                    let help = format!("write `{what} \"{name}={value}\" {{ ... }}`");
                    ("a condition with = must be quoted".to_owned(), help)
                }
                _ => (
                    format!("expected {{ after `{what} {}`, found {}", brief(&condition.source()), self.found()),
                    format!("write `{what} {} {{ ... }}`", brief(&condition.source())),
                ),
            };
            self.fault(word.span.to(token.span), message, help);
            return self.skip();
        }
        if matches!(condition.quote(), Quote::Interpolated | Quote::Reference) {
            let help = format!("write the name alone: `{} \"NAME\"` or `\"NAME=value\"`", word.text);
            self.fault(condition.span(), "a condition is written out, without references", help);
        }
        if let Some((body, braces)) = self.braced(&word, Some(&condition)) {
            items.push(Item::Conditional(Conditional { word, condition, holds: false, body, braces }));
        }
    }

    /// The content of braces, and where they stand; `None` when it is nested too deep.
    fn braced(&mut self, word: &Word, name: Option<&Scalar>) -> Option<(Vec<Item>, Span)> {
        let brace = self.advance().span;
        if self.open.len() >= DEPTH_MAX {
            self.fault(
                brace,
                format!("scopes are nested more than {DEPTH_MAX} deep"),
                "the rest of this file was not read",
            );
            self.given_up = true;
            return None;
        }
        let room = self.bounds.scope();
        if !self.fits(room, word.span) {
            return None;
        }
        let title = name.map_or(word.text.to_string(), |name| format!("{} {}", word.text, brief(&name.source())));
        self.open.push(Open { title, brace, column: self.column(word.span) });
        let mut body = Vec::new();
        self.items(&mut body);
        // Most scopes hold one or two items, and a list begins with room for four: large files are many small scopes.
        body.shrink_to_fit();
        let (open, mut braces) = (self.open.pop(), brace);
        if self.at(TokenKind::BraceClose) {
            braces = brace.to(self.advance().span);
        } else if let Some(open) = open.filter(|_| !self.unpaired && !self.given_up) {
            self.unclosed(open);
        }
        Some((body, braces))
    }

    fn unclosed(&mut self, open: Open) {
        self.unpaired = true;
        let (title, brace, before) = match self.suspect.take() {
            Some((title, brace, word)) => (title, brace, Some(word)),
            None => (open.title, open.brace, None),
        };
        let help = match before {
            Some(word) => format!("add }} before line {}, where `{}` starts", self.line(word.span), word.text),
            None => "add } where it ends".to_owned(),
        };
        self.reports.push(Fault::error(brace, format!("`{title} {{` is never closed")).label("opened here").help(help));
    }

    fn column(&self, span: Span) -> usize {
        let start = span.start as usize;
        let limit = start.saturating_sub(256);
        let bytes = self.lexer.bytes();
        bytes[limit..start].iter().rev().take_while(|byte| **byte != b'\n').count()
    }

    fn line(&self, span: Span) -> usize {
        self.lexer.bytes()[..span.start as usize].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn suspect_indentation(&mut self) {
        if self.suspect.is_some() || !self.token.first_on_line {
            return;
        }
        let column = self.column(self.token.span);
        let Some(open) = self.open.last() else { return };
        if column <= open.column && column < 256 {
            let word = self.lexer.word(self.text, &self.token);
            self.suspect = Some((open.title.clone(), open.brace, word));
        }
    }

    fn value(&mut self, name: &Word) -> Option<Value> {
        match self.token.kind {
            TokenKind::Word(_) if self.token.first_on_line && self.is_bare() => self.missing_value(name),
            TokenKind::Word(_) => self.scalar_value(),
            TokenKind::ParenOpen => self.array(),
            TokenKind::BracketOpen => self.dict(),
            TokenKind::BraceOpen => {
                let help = format!("for a scope leave the = out: `{} {{ ... }}`", name.text);
                self.fault(self.token.span, format!("expected a value for `{}`, found {{", name.text), help);
                self.recover();
                None
            }
            _ => self.missing_value(name),
        }
    }

    fn is_bare(&self) -> bool {
        self.token.kind == TokenKind::Word(Quote::Bare)
    }

    fn missing_value(&mut self, name: &Word) -> Option<Value> {
        let help = format!("write `{} = value`; an empty value is \"\"", name.text);
        self.fault(name.span, format!("`{} =` has no value", name.text), help);
        self.skip();
        None
    }

    fn scalar_value(&mut self) -> Option<Value> {
        let token = self.advance();
        let mut scalar = self.lexer.scalar(self.text, &token);
        if token.kind == TokenKind::Word(Quote::Bare) && self.lexer.inner(&token).ends_with(';') {
            let text = self.lexer.inner(&token).trim_end_matches(';');
            self.fault(token.span, "values do not end with a semicolon", format!("write `{}`", brief(text)));
            scalar = Scalar::new(text, Quote::Bare, token.span);
        }
        Some(Value { span: token.span, kind: ValueKind::Scalar(scalar) })
    }

    /// Whether there is room for something more; what there is no room for ends the parse.
    fn fits(&mut self, room: Result<(), String>, span: Span) -> bool {
        if let Err(problem) = room {
            self.fault(span, problem, ADVICE);
            self.given_up = true;
            self.reports.give_up();
        }
        !self.given_up
    }

    fn array(&mut self) -> Option<Value> {
        let open = self.advance().span;
        let mut items = Vec::new();
        loop {
            if items.len() > LIST_MAX {
                return self.long_list(open, "array");
            }
            match self.token.kind {
                TokenKind::ParenClose => {
                    let close = self.advance().span;
                    return Some(Value { kind: ValueKind::Array(items), span: open.to(close) });
                }
                TokenKind::Word(_) => {
                    let token = self.advance();
                    let room = self.bounds.element();
                    if !self.fits(room, token.span) {
                        return None;
                    }
                    items.push(self.lexer.scalar(self.text, &token));
                }
                TokenKind::Comma => {
                    self.advance();
                }
                _ => return self.broken_list(open, "array", ')', "an array holds words and strings: ( \"a\" \"b\" )"),
            }
        }
    }

    fn dict(&mut self) -> Option<Value> {
        let open = self.advance().span;
        let example = "a dictionary holds pairs: [ key = \"value\" ]";
        let mut pairs = Vec::new();
        loop {
            if pairs.len() > LIST_MAX {
                return self.long_list(open, "dictionary");
            }
            match self.token.kind {
                TokenKind::BracketClose => {
                    let close = self.advance().span;
                    return Some(Value { kind: ValueKind::Dict(pairs), span: open.to(close) });
                }
                TokenKind::Comma => {
                    self.advance();
                }
                TokenKind::Word(_) => {
                    let token = self.advance();
                    let room = self.bounds.element();
                    if !self.fits(room, token.span) {
                        return None;
                    }
                    let key = self.lexer.scalar(self.text, &token);
                    if !self.at(TokenKind::Equals) {
                        return self.broken_list(open, "dictionary", ']', example);
                    }
                    self.advance();
                    if !self.at_word() {
                        return self.broken_list(open, "dictionary", ']', example);
                    }
                    let token = self.advance();
                    pairs.push((key, self.lexer.scalar(self.text, &token)));
                }
                _ => return self.broken_list(open, "dictionary", ']', example),
            }
        }
    }

    fn long_list(&mut self, open: Span, what: &str) -> Option<Value> {
        let help = "keep a list of this size in a data source or a module, not in the configuration";
        self.fault(open, format!("this {what} has more than {LIST_MAX} elements"), help);
        while !matches!(self.token.kind, TokenKind::ParenClose | TokenKind::BracketClose | TokenKind::End) {
            self.advance();
        }
        self.recover();
        None
    }

    fn broken_list(&mut self, open: Span, what: &str, close: char, example: &str) -> Option<Value> {
        match self.token.kind {
            TokenKind::ParenOpen | TokenKind::BracketOpen => {
                self.fault(self.token.span, format!("a list inside this {what}: lists do not nest"), example)
            }
            // A brace, or an equals sign in an array, means that the list ran on into what follows it.
            TokenKind::BraceClose | TokenKind::BraceOpen | TokenKind::End | TokenKind::Equals => {
                self.fault(open, format!("this {what} is never closed"), format!("add {close} at its end"))
            }
            _ => self.fault(self.token.span, format!("{} does not belong in this {what}", self.found()), example),
        }
        self.skip();
        None
    }

    /// Skips to the next line that begins with a word, or to a closing brace.
    fn recover(&mut self) {
        if ![TokenKind::BraceOpen, TokenKind::BraceClose, TokenKind::End].contains(&self.token.kind) {
            self.advance();
        }
        self.skip();
    }

    /// A stanza opened on the skipped line is skipped with its content, so that its closing brace stays paired.
    fn skip(&mut self) {
        let mut depth = 0usize;
        while !self.at(TokenKind::End) && !self.reports.is_full() {
            match self.token.kind {
                TokenKind::BraceOpen => depth += 1,
                TokenKind::BraceClose if depth == 0 => return,
                TokenKind::BraceClose => depth -= 1,
                _ if depth == 0 && self.token.first_on_line && self.is_bare() => return,
                _ => {}
            }
            self.advance();
        }
    }
}
