//! The call-out point of bounce classification.

use hooks::{Declaration, DeclaredHook, Failing, Hook, Listed, Needs, Parameter, Returned, Rule, Runs, Tier, Value};

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
#[derive(Debug)]
pub enum BounceErrorClassify {}

impl Hook for BounceErrorClassify {
    const DECLARATION: &'static Declaration = &Declaration {
        scope: "core",
        name: "bounce_error_classify",
        returns: "int",
        parameters: &[Parameter::text("body"), Parameter::number("len"), Parameter::number_place("pos")],
        rule: Rule::NonZeroEnds,
        failing: Failing::PassedOver,
        runs: Runs::CpuPool,
        needs: Needs::Nothing,
        suspends: false,
        tier: Tier::A,
        meaning: "A bounce that came as mail is classified: a class from 1 to 255, and where in the text its reason stands.",
    };
    type Args<'a> = BounceText<'a>;
    type Verdict = BounceClass;

    fn show(args: &mut Self::Args<'_>, call: &mut dyn FnMut(&mut [Value<'_>])) {
        let mut position = i64::try_from(args.position).unwrap_or(0);
        call(&mut [Value::text(args.body), Value::length(args.body), Value::NumberPlace(&mut position)]);
        // What is beyond the text is at its end.
        args.position = usize::try_from(position).unwrap_or(0).min(args.body.len());
    }

    fn verdict(returned: Returned) -> Option<BounceClass> {
        match returned {
            Returned::Number(class) => u8::try_from(class).ok().map(BounceClass),
            _ => None,
        }
    }
}

/// For the registry of hooks.
pub const HOOKS: &[&dyn DeclaredHook] = &[&Listed::<BounceErrorClassify>::NEW];
