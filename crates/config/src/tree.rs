//! The parse tree: what the file says, in order, each piece with the place it stands.
//!
//! Made by `parser`, read by `merge`. Scalars keep their source text and quoting, so a value is shown as it was written
//! and a pattern can decode its own escapes.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::piece::Piece;

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
    /// `$"..."`: as in double quotes, with references inside.
    Interpolated,
    /// `${...}` alone.
    Reference,
}

/// One word or string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    raw: Piece,
    quote: Quote,
    span: Span,
    /// What its references stand for in this load.
    meaning: Option<Box<Meaning>>,
}

/// What a scalar with references stands for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// One text, and the same as a pattern reads it.
    Text { text: Box<str>, pattern: Box<str>, secret: bool },
    /// The elements that `${NAME...}` puts into its array.
    Words(Box<[Scalar]>),
}

impl std::fmt::Debug for Meaning {
    /// Never the text: it may be a secret, and a debug text ends up in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Meaning::Text { text, .. } => write!(f, "Text({} bytes)", text.len()),
            Meaning::Words(words) => write!(f, "Words({})", words.len()),
        }
    }
}

/// What stands in place of a secret wherever values are shown.
pub(crate) const REDACTED: &str = "<redacted>";

impl Scalar {
    /// A scalar from source text, quotes already removed.
    pub(crate) fn new(raw: &str, quote: Quote, span: Span) -> Self {
        Scalar { raw: raw.into(), quote, span, meaning: None }
    }

    /// A scalar that stands in a text, between the quotes if it has some.
    pub(crate) fn within(whole: &Arc<str>, inner: Range<u32>, quote: Quote, span: Span) -> Self {
        Scalar { raw: Piece::of(whole, inner), quote, span, meaning: None }
    }

    /// The source text between the quotes or braces.
    pub(crate) fn raw(&self) -> &str {
        &self.raw
    }

    /// Tells what the references of this scalar stand for.
    pub(crate) fn resolve(&mut self, meaning: Meaning) {
        self.meaning = Some(Box::new(meaning));
    }

    /// Whether it holds a reference to a variable or a file.
    pub fn has_references(&self) -> bool {
        match self.quote {
            Quote::Reference => true,
            Quote::Interpolated => self.raw.contains("${"),
            Quote::Bare | Quote::Double | Quote::Single => false,
        }
    }

    /// Whether it waits to be resolved: in a conditional stanza that does not hold, or after a fault that was told.
    pub(crate) fn is_unresolved(&self) -> bool {
        matches!(self.quote, Quote::Interpolated | Quote::Reference) && self.meaning.is_none()
    }

    /// Whether its text comes from a secret file and must not be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self.meaning.as_deref(), Some(Meaning::Text { secret: true, .. }))
    }

    /// A scalar that reads as `text`, quoted where it must be.
    pub fn from_text(text: &str) -> Self {
        match needs_quotes(text) {
            false => Scalar::new(text, Quote::Bare, Span::default()),
            true => Scalar::new(&escape(text), Quote::Double, Span::default()),
        }
    }

    /// The text it stands for: `\r \n \t \" \\` decoded inside double quotes, any other pair kept; references resolved.
    pub fn text(&self) -> Cow<'_, str> {
        if let Some(Meaning::Text { text, .. }) = self.meaning.as_deref() {
            return Cow::Borrowed(text);
        }
        match self.quote {
            Quote::Double if self.raw.contains('\\') => Cow::Owned(unescape(&self.raw, false)),
            Quote::Bare | Quote::Double | Quote::Single => Cow::Borrowed(&self.raw),
            Quote::Interpolated | Quote::Reference => self.source(),
        }
    }

    /// The text as a pattern: only `\"` is decoded, every other backslash belongs to the pattern.
    pub fn pattern_text(&self) -> Cow<'_, str> {
        if let Some(Meaning::Text { pattern, .. }) = self.meaning.as_deref() {
            return Cow::Borrowed(pattern);
        }
        match self.quote {
            Quote::Double => unescape_pattern(&self.raw),
            Quote::Bare | Quote::Single => Cow::Borrowed(&self.raw),
            Quote::Interpolated | Quote::Reference => self.source(),
        }
    }

    /// The text for people and machines to read: a secret is redacted.
    pub fn shown_text(&self) -> Cow<'_, str> {
        if self.is_secret() { Cow::Borrowed(REDACTED) } else { self.text() }
    }

    /// What it stands for as source text, with references resolved and secrets redacted.
    pub fn resolved_source(&self) -> Cow<'_, str> {
        match self.meaning.as_deref() {
            None => self.source(),
            Some(Meaning::Text { secret: true, .. }) => Cow::Borrowed(REDACTED),
            Some(Meaning::Text { text, .. }) => Cow::Owned(Scalar::from_text(text).source().into_owned()),
            Some(Meaning::Words(words)) => {
                Cow::Owned(words.iter().map(Scalar::resolved_source).collect::<Vec<_>>().join(" "))
            }
        }
    }

    /// Whether it stands for the same as the other one, wherever both stand: quoting makes no difference, a reference does.
    fn means_the_same(&self, other: &Scalar) -> bool {
        let meanings = match (self.meaning.as_deref(), other.meaning.as_deref()) {
            (Some(Meaning::Text { text: one, .. }), Some(Meaning::Text { text: two, .. })) => one == two,
            (Some(Meaning::Words(one)), Some(Meaning::Words(two))) => {
                one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.means_the_same(two))
            }
            (None, None) => return self.text() == other.text() && self.pattern_text() == other.pattern_text(),
            _ => false,
        };
        self.quote == other.quote && self.raw == other.raw && meanings
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
            Quote::Interpolated => Cow::Owned(format!("$\"{}\"", self.raw)),
            Quote::Reference => Cow::Owned(format!("${{{}}}", self.raw)),
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

    /// The elements of an array; a scalar counts as an array of one, and `${NAME...}` as its words.
    pub fn elements(&self) -> Option<Cow<'_, [Scalar]>> {
        let spread = |item: &Scalar| matches!(item.meaning.as_deref(), Some(Meaning::Words(_)));
        match &self.kind {
            ValueKind::Scalar(scalar) => Some(Cow::Borrowed(std::slice::from_ref(scalar))),
            ValueKind::Array(items) if items.iter().any(spread) => {
                let each = items.iter().flat_map(|item| match item.meaning.as_deref() {
                    Some(Meaning::Words(words)) => words,
                    _ => std::slice::from_ref(item),
                });
                Some(Cow::Owned(each.cloned().collect()))
            }
            ValueKind::Array(items) => Some(Cow::Borrowed(items)),
            ValueKind::Dict(_) => None,
        }
    }

    /// The value as source text, as it was written.
    pub fn source(&self) -> String {
        self.print(Scalar::source)
    }

    /// The value as source text with references resolved and secrets redacted.
    pub fn resolved_source(&self) -> String {
        self.print(Scalar::resolved_source)
    }

    fn print(&self, scalar: fn(&Scalar) -> Cow<'_, str>) -> String {
        let list = |open: char, parts: Vec<Cow<'_, str>>, close: char| match parts.join(" ") {
            inner if inner.is_empty() => format!("{open}{close}"),
            inner => format!("{open} {inner} {close}"),
        };
        match &self.kind {
            ValueKind::Scalar(one) => scalar(one).into_owned(),
            ValueKind::Array(items) => list('(', items.iter().map(scalar).collect(), ')'),
            ValueKind::Dict(pairs) => {
                let pair = |(key, value): &(Scalar, Scalar)| format!("{} = {}", scalar(key), scalar(value)).into();
                list('[', pairs.iter().map(pair).collect(), ']')
            }
        }
    }

    /// Whether it stands for the same as the other one, however both are quoted: a secret may change behind its reference.
    pub fn means_the_same(&self, other: &Value) -> bool {
        let (one, two) = (self.scalars(), other.scalars());
        self.shape() == other.shape()
            && one.len() == two.len()
            && one.iter().zip(two).all(|(one, two)| one.means_the_same(two))
    }

    /// Every scalar in it, as written.
    pub(crate) fn scalars(&self) -> Vec<&Scalar> {
        match &self.kind {
            ValueKind::Scalar(one) => vec![one],
            ValueKind::Array(items) => items.iter().collect(),
            ValueKind::Dict(pairs) => pairs.iter().flat_map(|(key, value)| [key, value]).collect(),
        }
    }

    /// Whether it refers to variables or files.
    pub fn has_references(&self) -> bool {
        self.scalars().into_iter().any(Scalar::has_references)
    }

    /// Whether some of its text comes from a secret file and must not be shown.
    pub fn is_secret(&self) -> bool {
        self.scalars().into_iter().any(Scalar::is_secret)
    }
}

/// A name as written, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub text: Piece,
    pub span: Span,
}

/// One entry of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Option(Assignment),
    Stanza(Stanza),
    Include(Include),
    Conditional(Conditional),
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

/// `if_env "NAME" { body }`: the body continues in the scope around it, as an include does, when the condition holds.
///
/// The body of one that does not hold is in the tree as well: its words are checked, and it sets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conditional {
    pub word: Word,
    pub condition: Scalar,
    /// Whether it and every conditional stanza around it hold; false until `substitute` has looked.
    pub holds: bool,
    pub body: Vec<Item>,
    /// From the opening brace to the closing one.
    pub braces: Span,
}

/// Characters that cannot stand in a bare word.
pub(crate) fn needs_quotes(text: &str) -> bool {
    let special = |c: char| {
        matches!(
            c,
            '#' | '/' | '"' | '\'' | '=' | '{' | '}' | '[' | ']' | '(' | ')' | ',' | ';' | '\\' | '$' | '\0'..=' ' | '\x7f'..
        )
    };
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

/// Decodes `\"` and keeps every other pair.
fn unescape_pattern(raw: &str) -> Cow<'_, str> {
    if !raw.contains("\\\"") {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some('"')) => out.extend(chars.next()),
            ('\\', Some(_)) => out.extend([Some(c), chars.next()].into_iter().flatten()),
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Decodes a piece of an interpolating string: as in double quotes, and `\$` is a dollar sign; and as a pattern reads it.
pub(crate) fn unescape_interpolated(raw: &str) -> (String, Cow<'_, str>) {
    (unescape(raw, true), unescape_pattern(raw))
}

fn unescape(raw: &str, interpolated: bool) -> String {
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
            Some('$') if interpolated => out.push('$'),
            Some('\\') => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}
