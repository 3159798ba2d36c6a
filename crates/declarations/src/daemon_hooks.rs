//! The hooks of the daemon itself: they belong to no room but to the wiring between them, as its options do.

use hooks::{Declaration, DeclaredHook, Failing, Hook, Listed, Needs, Parameter, Returned, Rule, Runs, Tier, Value};

/// How the daemon ends.
#[derive(Debug)]
pub struct Shutdown<'a> {
    /// Why, in words.
    pub why: &'a str,
    /// The exit status.
    pub status: i64,
}

/// A configuration generation was put into effect.
#[derive(Debug)]
pub enum PostConfigCommit {}

impl Hook for PostConfigCommit {
    const DECLARATION: &'static Declaration = &Declaration {
        scope: "core",
        name: "post_config_commit",
        returns: "void",
        parameters: &[],
        rule: Rule::Every,
        failing: Failing::PassedOver,
        runs: Runs::Master,
        needs: Needs::Nothing,
        suspends: false,
        tier: Tier::A,
        meaning: "A reload or a transaction was put into effect; the providers are those of the new generation.",
    };
    type Args<'a> = ();
    type Verdict = ();

    fn show(_: &mut Self::Args<'_>, call: &mut dyn FnMut(&mut [Value<'_>])) {
        call(&mut []);
    }

    fn verdict(_: Returned) -> Option<()> {
        None
    }
}

/// The daemon begins to stop.
#[derive(Debug)]
pub enum ControlShutdown {}

impl Hook for ControlShutdown {
    const DECLARATION: &'static Declaration = &Declaration {
        name: "control_shutdown",
        meaning: "The daemon begins to stop, while everything still runs. Not called when it is brought down.",
        ..*PostConfigCommit::DECLARATION
    };
    type Args<'a> = ();
    type Verdict = ();

    fn show(args: &mut Self::Args<'_>, call: &mut dyn FnMut(&mut [Value<'_>])) {
        PostConfigCommit::show(args, call);
    }

    fn verdict(_: Returned) -> Option<()> {
        None
    }
}

/// The same, with how it ends.
#[derive(Debug)]
pub enum ControlShutdownEx {}

impl Hook for ControlShutdownEx {
    const DECLARATION: &'static Declaration = &Declaration {
        name: "control_shutdown_ex",
        parameters: &[
            Parameter::number("die"),
            Parameter::number("ret"),
            Parameter::text("file"),
            Parameter::number("lineno"),
        ],
        tier: Tier::B,
        meaning: "After core_control_shutdown: no signal (0), the exit status, and the reason in place of a source file.",
        ..*PostConfigCommit::DECLARATION
    };
    type Args<'a> = Shutdown<'a>;
    type Verdict = ();

    fn show(args: &mut Self::Args<'_>, call: &mut dyn FnMut(&mut [Value<'_>])) {
        call(&mut [Value::Number(0), Value::Number(args.status), Value::text(args.why), Value::Number(0)]);
    }

    fn verdict(_: Returned) -> Option<()> {
        None
    }
}

/// For the registry of hooks.
pub const HOOKS: &[&dyn DeclaredHook] =
    &[&Listed::<PostConfigCommit>::NEW, &Listed::<ControlShutdown>::NEW, &Listed::<ControlShutdownEx>::NEW];
