//! The types an option can have: how each reads its text, and what it says when it cannot.
//!
//! A crate with its own closed set of words implements [`OptionType`] for its enum with [`one_of`].

use std::fmt;
use std::net::IpAddr;

use crate::patterns::compile_pattern;
use crate::scope::ScopeId;
use crate::tree::{Scalar, Value, ValueKind};

/// What the text of a type looks like, for people in a hurry and for tools that do not know the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// True or false, in one of their spellings.
    Boolean,
    /// A whole number.
    Integer,
    /// A whole number of seconds.
    Seconds,
    /// A number that may have a fraction.
    Number,
    /// One of the words that `EXPECTED` names; other text if it names something else as well.
    Words,
    /// Any text.
    Text,
    /// A file mode in octal.
    Permissions,
    /// Events in a time.
    Rate,
    /// A regular expression.
    Pattern,
    /// An address, with a port or without.
    Address,
    /// Several values.
    Array,
    /// Pairs of key and value.
    Dictionary,
}

impl Shape {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Shape::Boolean => "boolean",
            Shape::Integer => "integer",
            Shape::Seconds => "seconds",
            Shape::Number => "number",
            Shape::Words => "word",
            Shape::Text => "text",
            Shape::Permissions => "permissions",
            Shape::Rate => "rate",
            Shape::Pattern => "pattern",
            Shape::Address => "address",
            Shape::Array => "array",
            Shape::Dictionary => "dictionary",
        }
    }
}

/// A type an option can have.
pub trait OptionType: Sized + Clone + Send + Sync + 'static {
    /// What a value must look like: "a number of seconds". A closed set of words is written "a, b or c".
    const EXPECTED: &'static str;

    /// What it looks like to a tool.
    const SHAPE: Shape = Shape::Words;

    /// Reads a value. The error is a sentence without a full stop, naming the offending text.
    fn parse(value: &Value) -> Result<Self, String>;

    /// The value of an option that has no default and was not set; `None` when the type has no such value.
    fn unset() -> Option<Self> {
        None
    }

    /// Attaches the scope that defined the value, for values shared by reference.
    fn bound_to(self, _scope: ScopeId) -> Self {
        self
    }
}

/// Helper for enums: the words and what each means, without regard to case.
pub fn one_of<T: Clone>(value: &Value, words: &[(&str, T)]) -> Result<T, String> {
    let known = words.iter().map(|(word, _)| *word).collect::<Vec<_>>();
    let text = scalar_of(value, &format!("one of {}", known.join(", ")))?.text();
    match words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text)) {
        Some((_, meaning)) => Ok(meaning.clone()),
        None => Err(format!(
            "expected one of {}, found `{text}`{}",
            known.join(", "),
            crate::suggest::hint(&text, known.iter().copied())
        )),
    }
}

/// The scalar of a value, or the sentence that says what was expected instead.
fn scalar_of<'v>(value: &'v Value, expected: &str) -> Result<&'v Scalar, String> {
    value.scalar().ok_or_else(|| format!("expected {expected}, found {}", value.shape()))
}

/// Reads a number; unit suffixes are not part of the language, and the message gives the number to write.
fn number<N: std::str::FromStr>(value: &Value, expected: &str) -> Result<N, String> {
    let text = scalar_of(value, expected)?.text();
    text.trim()
        .parse()
        .map_err(|_| format!("expected {expected}, found `{text}`{}", without_unit(text.trim(), expected)))
}

/// What to write in place of a number with a unit.
fn without_unit(text: &str, expected: &str) -> String {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let unit = text[digits..].trim().to_ascii_lowercase();
    if digits == 0 || unit.is_empty() || !unit.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return String::new();
    }
    let factor: Option<u64> = match (unit.as_str(), expected.contains("seconds")) {
        ("s" | "sec" | "second" | "seconds", true) => Some(1),
        ("m" | "min" | "minute" | "minutes", true) => Some(60),
        ("h" | "hour" | "hours", true) => Some(3600),
        ("d" | "day" | "days", true) => Some(86400),
        ("w" | "week" | "weeks", true) => Some(604_800),
        ("k" | "kb" | "kib", false) => Some(1 << 10),
        ("m" | "mb" | "mib", false) => Some(1 << 20),
        ("g" | "gb" | "gib", false) => Some(1 << 30),
        _ => None,
    };
    match factor.and_then(|factor| text[..digits].parse::<u64>().ok()?.checked_mul(factor)) {
        Some(number) => format!("; units are not understood, write {number}"),
        None => "; units are not understood, write the plain number".to_owned(),
    }
}

impl OptionType for bool {
    const EXPECTED: &'static str = "true or false (also yes/no, on/off, enabled/disabled, 1/0)";
    const SHAPE: Shape = Shape::Boolean;
    fn parse(value: &Value) -> Result<Self, String> {
        let text = scalar_of(value, Self::EXPECTED)?.text();
        let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(&text));
        match (is(&["true", "yes", "on", "enabled", "1"]), is(&["false", "no", "off", "disabled", "0"])) {
            (true, _) => Ok(true),
            (_, true) => Ok(false),
            _ => Err(format!("expected {}, found `{text}`", Self::EXPECTED)),
        }
    }
    fn unset() -> Option<Self> {
        Some(false)
    }
}

macro_rules! numeric {
    ($($number:ty, $expected:literal;)*) => {$(
        impl OptionType for $number {
            const EXPECTED: &'static str = $expected;
            const SHAPE: Shape = Shape::Integer;
            fn parse(value: &Value) -> Result<Self, String> {
                number(value, Self::EXPECTED)
            }
            fn unset() -> Option<Self> {
                Some(Default::default())
            }
        }
    )*};
}
numeric! {
    i64, "a whole number, which may be negative";
    u64, "a whole number, not negative";
    u32, "a whole number, not negative";
    u16, "a whole number from 0 to 65535";
    usize, "a whole number, not negative";
}

impl OptionType for f64 {
    const EXPECTED: &'static str = "a number, which may have a fraction";
    const SHAPE: Shape = Shape::Number;
    fn parse(value: &Value) -> Result<Self, String> {
        let parsed: f64 = number(value, Self::EXPECTED)?;
        match parsed.is_finite() {
            true => Ok(parsed),
            false => Err(format!("expected {}, found `{}`", Self::EXPECTED, value.source())),
        }
    }
    fn unset() -> Option<Self> {
        Some(0.0)
    }
}

/// A duration in whole seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seconds(pub u64);

impl From<Seconds> for std::time::Duration {
    fn from(seconds: Seconds) -> Self {
        std::time::Duration::from_secs(seconds.0)
    }
}

/// More is a mistake, and would not fit into the clock.
const SECONDS_MAX: u64 = u32::MAX as u64;

impl OptionType for Seconds {
    const EXPECTED: &'static str = "a number of seconds";
    const SHAPE: Shape = Shape::Seconds;
    fn parse(value: &Value) -> Result<Self, String> {
        match number(value, Self::EXPECTED)? {
            seconds if seconds <= SECONDS_MAX => Ok(Seconds(seconds)),
            seconds => Err(format!("must be at most {SECONDS_MAX} seconds (136 years), found {seconds}")),
        }
    }
    fn unset() -> Option<Self> {
        Some(Seconds(0))
    }
}

impl OptionType for String {
    const EXPECTED: &'static str = "a string";
    const SHAPE: Shape = Shape::Text;
    fn parse(value: &Value) -> Result<Self, String> {
        Ok(scalar_of(value, Self::EXPECTED)?.text().into_owned())
    }
    fn unset() -> Option<Self> {
        Some(String::new())
    }
}

impl OptionType for Vec<String> {
    const EXPECTED: &'static str = "an array of strings, ( \"a\" \"b\" )";
    const SHAPE: Shape = Shape::Array;
    fn parse(value: &Value) -> Result<Self, String> {
        let elements =
            value.elements().ok_or_else(|| format!("expected {}, found {}", Self::EXPECTED, value.shape()))?;
        Ok(elements.iter().map(|element| element.text().into_owned()).collect())
    }
    fn unset() -> Option<Self> {
        Some(Vec::new())
    }
}

impl<T: OptionType> OptionType for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const SHAPE: Shape = T::SHAPE;
    fn parse(value: &Value) -> Result<Self, String> {
        T::parse(value).map(Some)
    }
    fn unset() -> Option<Self> {
        Some(None)
    }
    fn bound_to(self, scope: ScopeId) -> Self {
        self.map(|inner| inner.bound_to(scope))
    }
}

/// File permissions, always written in octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Perms(pub u32);

impl OptionType for Perms {
    const EXPECTED: &'static str = "permissions in octal, such as 0640";
    const SHAPE: Shape = Shape::Permissions;
    fn parse(value: &Value) -> Result<Self, String> {
        let text = scalar_of(value, Self::EXPECTED)?.text();
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if mode <= 0o7777 && !text.starts_with('+') => Ok(Perms(mode)),
            _ => Err(format!("expected {}, found `{text}`", Self::EXPECTED)),
        }
    }
}

impl OptionType for IpAddr {
    const EXPECTED: &'static str = "an IP address";
    const SHAPE: Shape = Shape::Address;
    fn parse(value: &Value) -> Result<Self, String> {
        let text = scalar_of(value, Self::EXPECTED)?.text();
        crate::address::parse_ip(&text)
    }
}

/// A rate, `"N"` a second or `"N/S"` per S seconds, with the scope that owns the bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Throttle {
    /// How many events; 0 is unlimited.
    pub count: u64,
    /// In how many seconds.
    pub per_seconds: u64,
    /// The scope instance that defined the value: everything that falls back to it draws from one bucket.
    pub scope_id: ScopeId,
}

impl Throttle {
    /// Whether it limits nothing.
    pub fn is_unlimited(&self) -> bool {
        self.count == 0
    }
}

impl OptionType for Throttle {
    const EXPECTED: &'static str = "a rate, \"N\" per second or \"N/S\" per S seconds";
    const SHAPE: Shape = Shape::Rate;
    fn parse(value: &Value) -> Result<Self, String> {
        let text = scalar_of(value, Self::EXPECTED)?.text();
        let (count, seconds) = text.split_once('/').unwrap_or((&text, "1"));
        match (count.trim().parse(), seconds.trim().parse()) {
            (Ok(count), Ok(per_seconds)) if (1..=SECONDS_MAX).contains(&per_seconds) => {
                Ok(Throttle { count, per_seconds, scope_id: ScopeId::default() })
            }
            (Ok(_), Ok(0)) => Err(format!("a rate needs at least one second, found `{text}`")),
            (Ok(_), Ok(_)) => Err(format!("a rate counts over at most {SECONDS_MAX} seconds, found `{text}`")),
            _ => Err(format!("expected {}, found `{text}`", Self::EXPECTED)),
        }
    }
    fn unset() -> Option<Self> {
        Some(Throttle { count: 0, per_seconds: 1, scope_id: ScopeId::default() })
    }
    fn bound_to(self, scope_id: ScopeId) -> Self {
        Throttle { scope_id, ..self }
    }
}

/// A dictionary, `[ key = value ]`, in file order; a later key replaces an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dict(pub Vec<(String, String)>);

impl Dict {
    /// The value of `key`, without regard to case.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
    }
}

impl OptionType for Dict {
    const EXPECTED: &'static str = "a dictionary, [ key = \"value\" ]";
    const SHAPE: Shape = Shape::Dictionary;
    fn parse(value: &Value) -> Result<Self, String> {
        let ValueKind::Dict(pairs) = &value.kind else {
            return Err(format!("expected {}, found {}", Self::EXPECTED, value.shape()));
        };
        let mut places = std::collections::HashMap::new();
        let mut out: Vec<(String, String)> = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let (key, value) = (key.text().into_owned(), value.text().into_owned());
            match places.get(&key.to_ascii_lowercase()) {
                Some(&at) => out[at] = (key, value),
                None => {
                    places.insert(key.to_ascii_lowercase(), out.len());
                    out.push((key, value));
                }
            }
        }
        Ok(Dict(out))
    }
    fn unset() -> Option<Self> {
        Some(Dict::default())
    }
}

/// A regular expression; unset, it matches nothing.
#[derive(Clone, Default)]
pub struct Pattern {
    regex: Option<regex::Regex>,
    /// What it counts towards the bound of a load.
    pub(crate) bytes: usize,
}

impl Pattern {
    /// Whether it matches anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }

    /// The compiled expression, unless unset.
    pub fn regex(&self) -> Option<&regex::Regex> {
        self.regex.as_ref()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.regex {
            Some(regex) => write!(f, "/{}/", regex.as_str()),
            None => f.write_str("unset"),
        }
    }
}

impl OptionType for Pattern {
    const EXPECTED: &'static str = "a regular expression";
    const SHAPE: Shape = Shape::Pattern;
    fn parse(value: &Value) -> Result<Self, String> {
        let text = scalar_of(value, Self::EXPECTED)?.pattern_text();
        compile_pattern(&text, false).map(|(regex, bytes)| Pattern { regex: Some(regex), bytes })
    }
    fn unset() -> Option<Self> {
        Some(Pattern::default())
    }
}
