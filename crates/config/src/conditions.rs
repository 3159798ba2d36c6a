//! What `if_env` asks: the text of a condition, and whether it holds.
//!
//! `"NAME"` and `"!NAME"` ask whether a variable has a value, `=` and `!=` compare it with a text, or search it for a
//! `/pattern/`. A variable that is not set counts as empty in all of them.

use crate::patterns::{compile_pattern, pattern_advice};
use crate::references::is_name;
use crate::tree::Scalar;

/// A condition as it was read.
#[derive(Debug)]
pub(crate) struct Condition {
    name: String,
    test: Test,
    /// The condition holds when the test fails.
    negated: bool,
}

#[derive(Debug)]
enum Test {
    HasValue,
    Equals(String),
    Matches(regex::Regex),
}

impl Condition {
    /// Reads a condition. The error is a sentence and a piece of advice.
    pub fn parse(scalar: &Scalar) -> Result<Self, (String, String)> {
        let text = scalar.text();
        let (name, operator, value) = match text.split_once('=') {
            Some((name, value)) => match name.strip_suffix('!') {
                Some(name) => (name, "!=", value),
                None => (name, "=", value),
            },
            None => match text.strip_prefix('!') {
                Some(name) => (name, "!", ""),
                None => (&*text, "", ""),
            },
        };
        if !is_name(name) {
            return Err(misnamed(&text, name, operator, value));
        }
        let test = match operator {
            "" | "!" => Test::HasValue,
            _ => match slashed(value) {
                false => Test::Equals(value.to_owned()),
                true => Test::Matches(pattern_of(scalar)?),
            },
        };
        Ok(Condition { name: name.to_owned(), test, negated: operator.starts_with('!') })
    }

    /// The variable it asks about.
    pub fn variable(&self) -> &str {
        &self.name
    }

    /// Whether it holds for this value; an unset variable is asked about as an empty one.
    pub fn holds(&self, value: &str) -> bool {
        let passed = match &self.test {
            Test::HasValue => !value.is_empty(),
            Test::Equals(other) => value == other,
            Test::Matches(regex) => regex.is_match(value),
        };
        passed != self.negated
    }
}

fn slashed(value: &str) -> bool {
    value.len() > 1 && value.starts_with('/') && value.ends_with('/')
}

/// The pattern of a condition, which keeps the backslashes that a text would decode.
fn pattern_of(scalar: &Scalar) -> Result<regex::Regex, (String, String)> {
    let text = scalar.pattern_text();
    let value = text.split_once('=').map_or("", |(_, value)| value);
    let pattern = value.get(1..value.len().max(2) - 1).unwrap_or_default();
    let compiled = compile_pattern(pattern, false).map(|(regex, _)| regex);
    compiled.map_err(|problem| {
        let advice = pattern_advice(&problem);
        (problem, advice)
    })
}

fn misnamed(text: &str, name: &str, operator: &str, value: &str) -> (String, String) {
    let tidy = name.trim().trim_start_matches(['$', '{', '!']).trim_end_matches('}').trim();
    let help = match is_name(tidy) {
        true if operator == "!" => format!("write \"!{tidy}\""),
        true => format!("write \"{tidy}{operator}{}\"", value.trim()),
        false => "a condition is \"NAME\", \"!NAME\", \"NAME=value\", \"NAME!=value\", \"NAME=/pattern/\" or \"NAME!=/pattern/\""
            .to_owned(),
    };
    (format!("`{}` asks about no variable", crate::lexer::brief(text)), help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Quote, Span};

    fn condition(text: &str) -> Result<Condition, (String, String)> {
        Condition::parse(&Scalar::new(text, Quote::Double, Span::default()))
    }

    #[test]
    fn each_form_asks_its_question() {
        let rows = [
            ("A", "x", true),
            ("A", "", false),
            ("!A", "x", false),
            ("!A", "", true),
            ("A=x", "x", true),
            ("A=x", "X", false),
            ("A=", "", true),
            ("A!=x", "", true),
            ("A!=x", "x", false),
            ("A=a=b", "a=b", true),
            (r"A=/^n\d+$/", "n12", true),
            (r"A=/^n\d+$/", "m12", false),
            (r"A!=/\./", "n12", true),
            ("A=//", "anything", true),
            ("A=/", "/", true),
        ];
        for (text, value, holds) in rows {
            assert_eq!(condition(text).map(|condition| condition.holds(value)), Ok(holds), "{text} of {value:?}");
        }
    }

    #[test]
    fn a_condition_that_cannot_be_read_says_how_to_write_it() {
        let help = |text: &str| condition(text).err().map(|(_, help)| help).unwrap_or_default();
        assert_eq!(help("A = x"), "write \"A=x\"");
        assert_eq!(help("${A}"), "write \"A\"");
        assert_eq!(help("! A"), "write \"!A\"");
        assert_eq!(help("!A=x"), "write \"A=x\"");
        assert!(help("").contains("\"NAME!=value\""));
        assert!(help("A=/(/").contains("close the group"));
    }
}
