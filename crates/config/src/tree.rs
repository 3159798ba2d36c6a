//! The parse tree: what the file says, in order, each piece with the place it stands.
//!
//! Made by `parser`, read by `merge`. Scalars keep their source text and quoting, so a value is shown as it was written
//! and a pattern can decode its own escapes.

use std::borrow::Cow;

/// A place in a source file: byte offsets, end exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Index of the file in the load.
    pub file: u32,
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
}

impl Span {
    pub(crate) fn to(self, end: Span) -> Span {
        Span { end: end.end.max(self.end), ..self }
    }
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quote {
    /// A bare word.
    Bare,
    /// In double quotes, with escapes.
    Double,
    /// In single quotes, without escapes.
    Single,
}

/// One word or string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    raw: Box<str>,
    quote: Quote,
    span: Span,
}

impl Scalar {
    /// A scalar from source text, quotes already removed.
    pub(crate) fn new(raw: &str, quote: Quote, span: Span) -> Self {
        Scalar { raw: raw.into(), quote, span }
    }

    /// A scalar that reads as `text`, quoted where it must be.
    pub fn from_text(text: &str) -> Self {
        match needs_quotes(text) {
            false => Scalar::new(text, Quote::Bare, Span::default()),
            true => Scalar::new(&escape(text), Quote::Double, Span::default()),
        }
    }

    /// The text it stands for: `\r \n \t \" \\` decoded inside double quotes, any other pair kept.
    pub fn text(&self) -> Cow<'_, str> {
        match self.quote == Quote::Double && self.raw.contains('\\') {
            true => Cow::Owned(unescape(&self.raw)),
            false => Cow::Borrowed(&self.raw),
        }
    }

    /// The text as a pattern: only `\"` is decoded, every other backslash belongs to the pattern.
    pub fn pattern_text(&self) -> Cow<'_, str> {
        match self.quote == Quote::Double && self.raw.contains("\\\"") {
            true => Cow::Owned(self.raw.replace("\\\"", "\"")),
            false => Cow::Borrowed(&self.raw),
        }
    }

    /// How it was written.
    pub fn quote(&self) -> Quote {
        self.quote
    }

    /// Where it stands.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The scalar as source text, quotes included.
    pub fn source(&self) -> Cow<'_, str> {
        match self.quote {
            Quote::Bare => Cow::Borrowed(&self.raw),
            Quote::Double => Cow::Owned(format!("\"{}\"", self.raw)),
            Quote::Single => Cow::Owned(format!("'{}'", self.raw)),
        }
    }
}

/// The right-hand side of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// What it is.
    pub kind: ValueKind,
    /// Where it stands.
    pub span: Span,
}

/// The three shapes of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `word` or `"string"`.
    Scalar(Scalar),
    /// `( a b )`.
    Array(Vec<Scalar>),
    /// `[ key = value ]`.
    Dict(Vec<(Scalar, Scalar)>),
}

impl Value {
    /// A scalar value that reads as `text`.
    pub fn from_text(text: &str) -> Self {
        Value { kind: ValueKind::Scalar(Scalar::from_text(text)), span: Span::default() }
    }

    /// What it is, for messages.
    pub fn shape(&self) -> &'static str {
        match self.kind {
            ValueKind::Scalar(_) => "a single value",
            ValueKind::Array(_) => "an array",
            ValueKind::Dict(_) => "a dictionary",
        }
    }

    /// The scalar, if it is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            ValueKind::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// The elements of an array; a scalar counts as an array of one.
    pub fn elements(&self) -> Option<&[Scalar]> {
        match &self.kind {
            ValueKind::Scalar(scalar) => Some(std::slice::from_ref(scalar)),
            ValueKind::Array(items) => Some(items),
            ValueKind::Dict(_) => None,
        }
    }

    /// The value as source text.
    pub fn source(&self) -> String {
        let join = |parts: Vec<String>| parts.join(" ");
        match &self.kind {
            ValueKind::Scalar(scalar) => scalar.source().into_owned(),
            ValueKind::Array(items) if items.is_empty() => "()".to_owned(),
            ValueKind::Array(items) => {
                format!("( {} )", join(items.iter().map(|item| item.source().into_owned()).collect()))
            }
            ValueKind::Dict(pairs) if pairs.is_empty() => "[]".to_owned(),
            ValueKind::Dict(pairs) => {
                format!("[ {} ]", join(pairs.iter().map(|(k, v)| format!("{} = {}", k.source(), v.source())).collect()))
            }
        }
    }
}

/// A name as written, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub text: Box<str>,
    pub span: Span,
}

/// One entry of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Option(Assignment),
    Stanza(Stanza),
    Include(Include),
}

/// `name = value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub name: Word,
    pub value: Value,
}

/// `word "name" { body }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stanza {
    pub word: Word,
    pub name: Option<Scalar>,
    pub body: Vec<Item>,
    /// From the opening brace to the closing one; a change made from the console is written before the latter.
    pub braces: Span,
}

/// `include "target"`, with the files it brought in once `include` has resolved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Include {
    pub word: Word,
    pub target: Scalar,
    pub items: Vec<Item>,
}

impl Include {
    /// Whether the included files are closed to changes from the console.
    pub fn read_only(&self) -> bool {
        self.word.text.eq_ignore_ascii_case("readonly_include")
    }
}

/// Characters that cannot stand in a bare word.
pub(crate) fn needs_quotes(text: &str) -> bool {
    let special = |c: char| c.is_whitespace() || c.is_control() || "#/\"'={}[](),;\\".contains(c) || !c.is_ascii();
    text.is_empty() || text.contains(special)
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        match c {
            '\r' => out.push_str("\\r"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            other => out.push(other),
        }
    }
    out
}

fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('r') => out.push('\r'),
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('"') => out.push('"'),
            Some('\\') => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}
