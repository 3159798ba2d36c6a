//! Regular expressions of a configuration: compiled with bounded size, each text once, and bounded together.
//!
//! In: the text between the slashes, or the value of a pattern option. Out: the expression, or what is wrong with it, at
//! which character, and what to do. Invariant: what the patterns of one load may take is bounded, however many there are.

use std::collections::HashMap;

use regex::{Regex, RegexBuilder};

/// The patterns of one load.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    compiled: HashMap<Box<str>, Regex>,
    count: usize,
    bytes: usize,
}

impl Patterns {
    /// The pattern of a scope's name, which ignores case. The error is a sentence and a piece of advice.
    pub fn of_name(&mut self, text: &str) -> Result<Regex, (String, String)> {
        if let Some(known) = self.compiled.get(text) {
            return Ok(known.clone());
        }
        let (regex, bytes) = compile_pattern(text, true).map_err(|problem| {
            let advice = pattern_advice(&problem);
            (problem, advice)
        })?;
        self.admit(bytes)?;
        self.compiled.insert(text.into(), regex.clone());
        Ok(regex)
    }

    /// Counts a pattern of so many bytes; refuses it when all of them together are too much.
    pub fn admit(&mut self, bytes: usize) -> Result<(), (String, String)> {
        self.count += 1;
        self.bytes += bytes;
        let bound = match (self.count > COUNT_MAX, self.bytes > ALL_BYTES_MAX) {
            (true, _) => format!("has more than {COUNT_MAX} different regular expressions"),
            (_, true) => format!("needs more than {} MiB for its regular expressions", ALL_BYTES_MAX >> 20),
            (false, false) => return Ok(()),
        };
        let help = "join patterns with |, or name the domains themselves: a table of names has no such bound";
        Err((format!("this configuration {bound}"), help.to_owned()))
    }
}

/// Compiles a pattern with bounded size, or says in one line what is wrong with it, and where. Also tells how many bytes
/// it counts.
pub(crate) fn compile_pattern(text: &str, ignore_case: bool) -> Result<(Regex, usize), String> {
    if text.len() > TEXT_BYTES_MAX {
        let limit = TEXT_BYTES_MAX >> 10;
        return Err(format!("`{}` needs more than {limit} KiB to be written down", crate::lexer::brief(text)));
    }
    let compile = |limit: usize| RegexBuilder::new(text).case_insensitive(ignore_case).size_limit(limit).build();
    let mut problem = None;
    for limit in PATTERN_BYTES {
        match compile(limit) {
            // Automata in both directions, and what searches them.
            Ok(regex) => return Ok((regex, 2 * limit)),
            Err(found) => {
                let larger = matches!(found, regex::Error::CompiledTooBig(_));
                problem = Some(found);
                if !larger {
                    break;
                }
            }
        }
    }
    let shown = crate::lexer::brief(text);
    let whole = match problem {
        Some(regex::Error::CompiledTooBig(limit)) => {
            return Err(format!("`{shown}` needs more than {} KiB as a regular expression", limit >> 10));
        }
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let reason = whole.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or(&whole);
    Err(format!("`{shown}` is not a valid regular expression: {reason}{}", place_in(text, &whole)))
}

/// Where in a pattern of one line the fault is, out of the marks under it.
fn place_in(text: &str, report: &str) -> String {
    let marks = report.lines().find(|line| line.contains('^') && line.trim_matches([' ', '^']).is_empty());
    let at = marks.and_then(|marks| marks.find('^')?.checked_sub("    ".len()));
    match at.filter(|_| !text.contains('\n')).and_then(|at| Some((at + 1, text.chars().nth(at)?))) {
        Some((place, c)) => format!(", at character {place}, `{c}`"),
        None => String::new(),
    }
}

/// What to do about a pattern, out of the sentence that says what is wrong with it.
pub(crate) fn pattern_advice(problem: &str) -> String {
    let advice = [
        ("look-around", "write the pattern without (?= (?! (?<= or (?<!; two stanzas often do the same"),
        ("backreference", "write the pattern without \\1; repeat the group itself"),
        ("unclosed group", "close the group with ), or write \\( for the character"),
        ("unopened group", "open the group with (, or write \\) for the character"),
        ("unclosed character class", "close the class with ], or write \\[ for the character"),
        ("repetition", "put something before the repetition, or write \\* \\+ \\? \\{ for the character"),
        ("needs more than", "repeat less, or name fewer kinds of characters"),
    ];
    let found = advice.iter().find(|(what, _)| problem.contains(what));
    found.map_or("a backslash before ( ) [ ] { } . * + ? takes it literally", |(_, advice)| advice).to_owned()
}

/// Longest text of one pattern: a parsed one takes hundreds of times its text.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Sizes a compiled pattern may have, tried in turn so that what it counts is near what it takes.
const PATTERN_BYTES: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// Most different patterns of one load.
const COUNT_MAX: usize = 4096;

/// Most bytes all patterns of one load may count.
const ALL_BYTES_MAX: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_pattern_counts_little_and_a_large_one_much() {
        let bytes = |text: &str| compile_pattern(text, true).map(|(_, bytes)| bytes);
        assert_eq!(bytes(r"(^|\.)partner\.example$"), Ok(32 << 10));
        assert_eq!(bytes(r"\w{20}"), Ok(2 << 20));
        assert_eq!(
            bytes(r"(\w{99}){99}"),
            Err(r"`(\w{99}){99}` needs more than 1024 KiB as a regular expression".to_owned())
        );
    }

    #[test]
    fn a_pattern_too_long_to_parse_is_refused_before_it_is() {
        let told = compile_pattern(&"(".repeat((64 << 10) + 1), false).err().unwrap_or_default();
        assert!(told.ends_with("...` needs more than 64 KiB to be written down"), "{told}");
    }

    #[test]
    fn all_patterns_together_are_bounded() {
        let mut patterns = Patterns::default();
        assert!((0..128).all(|_| patterns.admit(2 << 20).is_ok()));
        assert!(patterns.admit(1).is_err_and(|(problem, _)| problem.contains("needs more than 256 MiB")));
        let mut patterns = Patterns::default();
        assert!((0..COUNT_MAX).all(|_| patterns.admit(32 << 10).is_ok()));
        assert!(patterns.admit(32 << 10).is_err_and(|(problem, _)| problem.contains("more than 4096 different")));
    }

    #[test]
    fn the_same_text_counts_once() {
        let mut patterns = Patterns::default();
        assert!((0..10_000).all(|_| patterns.of_name("a").is_ok()));
        assert_eq!(patterns.count, 1);
    }

    #[test]
    fn the_character_at_fault_is_named() {
        let told = |text: &str| compile_pattern(text, false).err().unwrap_or_default();
        assert!(told("ab(c").ends_with("unclosed group, at character 3, `(`"), "{}", told("ab(c"));
        assert!(told("ä[b").ends_with("unclosed character class, at character 2, `[`"), "{}", told("ä[b"));
    }
}
