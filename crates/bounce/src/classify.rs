//! The classifier: from the text of a reply to a bounce class.
//!
//! Takes `code [enhanced] text` as a remote host or this daemon gave it. Pure, usable from any thread.
//!
//! `rules.tsv` holds what is known of replies, one rule a line with a text that it decides, and says in which order and why. A text
//! is read once: `words` takes codes and addresses out of it and the rest apart into plain words, one automaton finds every
//! phrase of every rule, and the rules are asked in their order. So any text of `REPLY_OCTETS_MAX` costs microseconds, whatever it
//! is made of, which a large regular expression does not promise.

mod rules;
mod words;

use rules::Rules;
use words::Words;

use crate::class::BounceClass;

/// The rules, prepared. Cheap to share.
#[derive(Debug)]
pub struct Classifier {
    rules: Rules,
}

impl Classifier {
    /// Prepares the built-in rules.
    pub fn new() -> Self {
        Self { rules: Rules::new(RULES) }
    }

    /// The class of a reply, which a remote host gave or, if its text begins with `[internal]`, this daemon.
    pub fn classify(&self, reply: &str) -> BounceClass {
        let words = Words::of(bounded(reply));
        self.decide(&words)
    }

    /// The class of a reply that this daemon, its operator or its policy gave, whatever its text.
    pub fn classify_local(&self, reply: &str) -> BounceClass {
        let words = Words { is_local: true, ..Words::of(bounded(reply)) };
        self.decide(&words)
    }

    fn decide(&self, words: &Words) -> BounceClass {
        match self.rules.first(words) {
            Some(rule) => rule.class,
            // No host refused it: somebody here did, or something here went wrong.
            None if words.is_local && !words.is_transient() => BounceClass::ADMIN_FAILURE,
            None if words.is_local || words.is_transient() => BounceClass::SOFT_BOUNCE,
            None => BounceClass::UNDETERMINED,
        }
    }
}

impl Default for Classifier {
    fn default() -> Self {
        Self::new()
    }
}

fn bounded(reply: &str) -> &str {
    &reply[..reply.floor_char_boundary(REPLY_OCTETS_MAX)]
}

/// What is known of replies.
const RULES: &str = include_str!("rules.tsv");

/// How much of a reply is read.
const REPLY_OCTETS_MAX: usize = 2048;

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
