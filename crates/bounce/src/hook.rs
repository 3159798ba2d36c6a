//! The call-out point of bounce classification.

use hooks::{Hook, Rule};

use crate::class::BounceClass;

/// What a provider of [`BounceErrorClassify`] is shown.
#[derive(Debug)]
pub struct BounceText<'a> {
    /// What a bounce that came as mail says: a Diagnostic-Code, or its text for people.
    pub body: &'a str,
    /// Set by a provider that decides: where in `body` it found the reason.
    pub position: usize,
}

/// A bounce that came as mail is classified. The first provider that decides counts; where none does, the built-in rules do.
/// Called on a thread of the `CPU` pool.
#[derive(Debug)]
pub enum BounceErrorClassify {}

impl Hook for BounceErrorClassify {
    const NAME: &'static str = "core_bounce_error_classify";
    const PROTOTYPE: &'static str =
        "int core_bounce_error_classify(void *closure, const char *body, int len, int *pos)";
    const RULE: Rule = Rule::FirstDone;
    type Args<'a> = BounceText<'a>;
    type Verdict = BounceClass;
}
