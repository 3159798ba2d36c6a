//! The rules of `rules.tsv`, prepared, and the first of them that decides a reply.
//!
//! All phrases of all rules are found in one pass by one automaton; then each rule asks only whether its phrases were among them,
//! and, where it wants one after another, how they lie. Invariant: a text costs one pass and at most [`FOUND_MAX`] phrases.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::words::Words;
use crate::class::BounceClass;

/// The rules in their order.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Box<[Rule]>,
    phrases: AhoCorasick,
}

/// One line.
#[derive(Debug)]
pub(super) struct Rule {
    /// What it decides.
    pub(super) class: BounceClass,
    codes: Codes,
    /// One phrase of each must occur, each after that of the one before.
    groups: Vec<Vec<Phrase>>,
    /// None of these may occur.
    unless: Vec<Phrase>,
    /// A text that it decides.
    #[cfg_attr(not(test), expect(dead_code, reason = "for people and for the tests"))]
    pub(super) example: &'static str,
}

/// A phrase by its place in the automaton.
type Phrase = u16;

/// When a rule is asked at all.
#[derive(Debug, PartialEq, Eq)]
enum Codes {
    /// Of what this daemon says itself.
    Local,
    /// Of texts without codes.
    None,
    /// Of all that is not local.
    Any,
    /// Of these.
    Of(Vec<Code>),
}

#[derive(Debug, PartialEq, Eq)]
enum Code {
    /// `550`, and `5xx` as 500 to 599.
    Reply(u16, u16),
    /// `5.7.606-649`; `x` for the class is none.
    Enhanced { class: Option<u8>, subject: u16, from: u16, to: u16 },
}

impl Rules {
    /// Prepares the text of a rule base. Lines that are no rules are left out; a test sees that there are none.
    pub(super) fn new(text: &'static str) -> Self {
        let mut phrases = Vec::new();
        let rules = text.lines().filter_map(|line| Rule::parse(line, &mut phrases).ok().flatten()).collect();
        let mut automaton = AhoCorasick::builder();
        automaton.match_kind(MatchKind::Standard).kind(Some(AhoCorasickKind::ContiguousNFA));
        // Only more phrases than a u32 counts make an error.
        let phrases = automaton.build(&phrases).unwrap_or_else(|_| unreachable!("the phrases of one file"));
        Self { rules, phrases }
    }

    /// The first rule that decides.
    pub(super) fn first(&self, words: &Words) -> Option<&Rule> {
        self.place(words).map(|place| &self.rules[place])
    }

    fn place(&self, words: &Words) -> Option<usize> {
        let found = Found::of(&self.phrases, &words.text);
        self.rules.iter().position(|rule| rule.codes.take(words) && rule.matches(&found))
    }
}

impl Rule {
    /// One line; none for one that is empty or a comment.
    fn parse(line: &'static str, phrases: &mut Vec<String>) -> Result<Option<Self>, String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let problem = || format!("no rule: {line}");
        let [class, codes, words, example] = line.split('\t').collect::<Vec<_>>()[..] else { return Err(problem()) };
        let (words, unless) = words.split_once(" ! ").unwrap_or((words, ""));
        let mut group = |words: &str| words.split('|').map(|phrase| place_of(phrase.trim(), phrases)).collect();
        let groups = if words == "-" { Vec::new() } else { words.split(" + ").map(&mut group).collect() };
        Ok(Some(Self {
            class: BounceClass(class.parse().map_err(|_| problem())?),
            codes: Codes::parse(codes).ok_or_else(problem)?,
            groups,
            unless: if unless.is_empty() { Vec::new() } else { group(unless) },
            example,
        }))
    }

    fn matches(&self, found: &Found) -> bool {
        let occurs = |phrase: &Phrase| found.has(*phrase);
        let all = self.groups.iter().all(|group| group.iter().any(occurs)) && !self.unless.iter().any(occurs);
        all && (self.groups.len() < 2 || found.in_order(&self.groups))
    }
}

/// The place of a phrase among all, in which it stands once; a blank before it and, for a dot, after it bounds words.
fn place_of(phrase: &str, phrases: &mut Vec<String>) -> Phrase {
    let wanted = match phrase.strip_suffix('.') {
        Some(whole) => format!(" {whole} "),
        None => format!(" {phrase}"),
    };
    let place = phrases.iter().position(|known| *known == wanted).unwrap_or_else(|| {
        phrases.push(wanted);
        phrases.len() - 1
    });
    place as Phrase
}

impl Codes {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "local" => Self::Local,
            "none" => Self::None,
            "-" => Self::Any,
            _ => Self::Of(text.split(' ').map(Code::parse).collect::<Option<_>>()?),
        })
    }

    fn take(&self, words: &Words) -> bool {
        match self {
            Self::Local => words.is_local,
            _ if words.is_local => false,
            Self::None => words.code.is_none() && words.enhanced.is_none(),
            Self::Any => true,
            Self::Of(codes) => codes.iter().any(|code| code.is(words)),
        }
    }
}

impl Code {
    fn parse(text: &str) -> Option<Self> {
        if let Some(hundreds) = text.strip_suffix("xx") {
            let from = hundreds.parse::<u16>().ok()? * 100;
            return Some(Self::Reply(from, from + 99));
        }
        let Some((class, rest)) = text.split_once('.') else {
            let code = text.parse().ok()?;
            return Some(Self::Reply(code, code));
        };
        let (subject, details) = rest.split_once('.')?;
        let (from, to) = details.split_once('-').unwrap_or((details, details));
        Some(Self::Enhanced {
            class: if class == "x" { None } else { Some(class.parse().ok()?) },
            subject: subject.parse().ok()?,
            from: from.parse().ok()?,
            to: to.parse().ok()?,
        })
    }

    fn is(&self, words: &Words) -> bool {
        match *self {
            Self::Reply(from, to) if from != to => {
                words.code.map_or(words.enhanced.is_some_and(|(class, ..)| u16::from(class) * 100 == from), |code| {
                    (from..=to).contains(&code)
                })
            }
            Self::Reply(code, _) => words.code == Some(code),
            Self::Enhanced { class, subject, from, to } => words.enhanced.is_some_and(|found| {
                class.is_none_or(|class| class == found.0) && subject == found.1 && (from..=to).contains(&found.2)
            }),
        }
    }
}

/// The phrases that occur in a text.
struct Found {
    /// Which, one bit each.
    which: Vec<u64>,
    /// Where, by their ends.
    places: Vec<Place>,
}

struct Place {
    phrase: Phrase,
    begin: usize,
    end: usize,
}

impl Found {
    fn of(phrases: &AhoCorasick, text: &str) -> Self {
        let mut found = Self { which: vec![0; phrases.patterns_len().div_ceil(64)], places: Vec::new() };
        for hit in phrases.find_overlapping_iter(text).take(FOUND_MAX) {
            let phrase = hit.pattern().as_usize();
            found.which[phrase / 64] |= 1 << (phrase % 64);
            found.places.push(Place { phrase: phrase as Phrase, begin: hit.start(), end: hit.end() });
        }
        found
    }

    fn has(&self, phrase: Phrase) -> bool {
        self.which[usize::from(phrase) / 64] & (1 << (phrase % 64)) != 0
    }

    /// A phrase of each group occurs, each behind one of the group before it and near it.
    fn in_order(&self, groups: &[Vec<Phrase>]) -> bool {
        let mut ends: Option<Vec<usize>> = None;
        for group in groups {
            let reached = |place: &&Place| {
                let near = |end: &usize| *end <= place.begin + 1 && place.begin <= end + NEAR_OCTETS_MAX;
                group.contains(&place.phrase) && ends.as_ref().is_none_or(|ends| ends.iter().rev().any(near))
            };
            ends = Some(self.places.iter().filter(reached).map(|place| place.end).collect());
        }
        ends.is_some_and(|ends| !ends.is_empty())
    }
}

/// How far behind a phrase the next is looked for: about a sentence.
const NEAR_OCTETS_MAX: usize = 100;
/// Phrases of a text that are looked at. A reply that says anything has some twenty.
const FOUND_MAX: usize = 128;

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
