//! What a [`Sink`](super::Sink) answers when it does not simply accept: a list of rules, newest first.
//!
//! A rule names a step of the dialogue, may be limited to some addresses and to a number of uses, and says what happens
//! then. A rule that is used up no longer matches, so the one under it (or ordinary behaviour) shows again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What happens at a step of the dialogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Answers with this text; several lines are separated by `\n` and must carry their own codes.
    Reply(String),
    /// Answers, then closes the connection.
    ReplyThenDrop(String),
    /// Answers, then neither reads nor writes again, while the connection stays open.
    ReplyThenStall(String),
    /// Answers one byte at a time with a pause before each.
    Slow(String, Duration),
    /// Never answers; the connection stays open until the peer gives up.
    Stall,
    /// Closes the connection without an answer.
    Drop,
    /// At `DOT` only: takes the message, then closes without saying so. The classic source of a duplicate.
    AcceptThenDrop,
    /// Sends these bytes instead of a reply, and goes on.
    Garbage(Vec<u8>),
}

impl From<&str> for Action {
    fn from(reply: &str) -> Self {
        Self::Reply(reply.to_owned())
    }
}

/// A rule just installed; narrow it with [`Rule::times`] and [`Rule::to`].
#[derive(Clone, Debug)]
pub struct Rule(Arc<Mutex<RuleState>>);

#[derive(Debug)]
struct RuleState {
    step: String,
    pattern: Option<String>,
    left: Option<u64>,
    used: u64,
    action: Action,
}

impl Rule {
    /// Applies only to the first `n` matching steps from now on.
    pub fn times(self, n: u64) -> Self {
        self.lock().left = Some(n);
        self
    }

    /// Applies only to paths that match: `*` stands for any run of characters, case is ignored. At `DATA` and `DOT` the
    /// accepted forward-paths are looked at, and one match is enough.
    pub fn to(self, pattern: &str) -> Self {
        self.lock().pattern = Some(pattern.to_ascii_lowercase());
        self
    }

    /// How often the rule has been applied.
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RuleState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_use(&self, step: &str, paths: &[&str]) -> Option<Action> {
        let mut rule = self.lock();
        let wanted = match &rule.pattern {
            Some(pattern) => paths.iter().any(|path| matches(pattern, &path.to_ascii_lowercase())),
            None => true,
        };
        if rule.step != step || !wanted || rule.left == Some(0) {
            return None;
        }
        rule.left = rule.left.map(|left| left - 1);
        rule.used += 1;
        Some(rule.action.clone())
    }
}

/// All rules of one sink.
#[derive(Debug, Default)]
pub(super) struct Script(Mutex<Vec<Rule>>);

impl Script {
    pub(super) fn add(&self, step: &str, action: Action) -> Rule {
        let state = RuleState { step: step.to_ascii_uppercase(), pattern: None, left: None, used: 0, action };
        let rule = Rule(Arc::new(Mutex::new(state)));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(rule.clone());
        rule
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The action for this step, if a rule speaks; counts the use.
    pub(super) fn action(&self, step: &str, paths: &[&str]) -> Option<Action> {
        let rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rules.iter().rev().find_map(|rule| rule.try_use(step, paths))
    }
}

/// Whether `text` matches `pattern`, where `*` stands for any run of characters.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text
            .strip_prefix(head)
            .is_some_and(|tail| (0..=tail.len()).filter_map(|at| tail.get(at..)).any(|tail| matches(rest, tail))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_addresses() {
        assert!(matches("*@slow.test", "a@slow.test"));
        assert!(matches("a*@*.test", "abc@x.y.test"));
        assert!(!matches("*@slow.test", "a@slow.test.example"));
    }

    #[test]
    fn the_newest_rule_wins_until_it_is_used_up() {
        let script = Script::default();
        script.add("RCPT", "550 never".into());
        let rule = script.add("rcpt", "450 busy".into()).times(1);
        assert_eq!(script.action("RCPT", &["a@b"]), Some("450 busy".into()));
        assert_eq!(script.action("RCPT", &["a@b"]), Some("550 never".into()));
        assert_eq!(script.action("MAIL", &["a@b"]), None);
        assert_eq!(rule.used(), 1);
    }
}
