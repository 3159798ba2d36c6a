//! Hooks that modules declare at run time, so that they reach each other without being linked together.
//!
//! The first to name one with a prototype declares it, for the life of the process; whoever comes with another
//! prototype is refused. Such a hook has no Rust type: its providers and callers agree on values.

use crate::declaration::{Declaration, Failing, Needs, Parameter, Rule, Runs, Tier};
use crate::point::Hook;
use crate::provider::Returned;
use crate::value::Value;

/// What a module says of its own hook.
#[derive(Clone, Debug)]
pub struct RuntimeDeclaration {
    /// A scope of the module's own.
    pub scope: String,
    /// The name within it.
    pub name: String,
    /// What a C provider returns.
    pub returns: String,
    /// Type, name and kind of each parameter but the closure.
    pub parameters: Vec<(String, String, crate::Kind)>,
    /// How answers combine.
    pub rule: Rule,
    /// Whether providers may suspend the call.
    pub suspends: bool,
    /// When it is called.
    pub meaning: String,
}

impl RuntimeDeclaration {
    /// The same for the life of the process: made once for each hook that a module declares.
    pub(crate) fn leak(self) -> &'static Declaration {
        let text = |text: String| &*String::leak(text);
        let parameters = self.parameters.into_iter().map(|(c_type, name, kind)| {
            // C's types are compared without their blanks.
            Parameter::new(text(c_type), text(name), kind)
        });
        Box::leak(Box::new(Declaration {
            scope: text(self.scope),
            name: text(self.name),
            returns: text(self.returns),
            parameters: Vec::leak(parameters.collect()),
            rule: self.rule,
            failing: Failing::PassedOver,
            runs: Runs::Any,
            needs: Needs::Nothing,
            suspends: self.suspends,
            tier: Tier::C,
            meaning: text(self.meaning),
        }))
    }
}

/// The type of every hook that is declared at run time: called with values, answered with what was returned.
#[derive(Debug)]
pub enum RuntimeHook {}

impl Hook for RuntimeHook {
    /// Stands for all of them; each point has its own.
    const DECLARATION: &'static Declaration = &Declaration {
        scope: "module",
        name: "hook",
        returns: "int",
        parameters: &[],
        rule: Rule::NonZeroEnds,
        failing: Failing::PassedOver,
        runs: Runs::Any,
        needs: Needs::Nothing,
        suspends: false,
        tier: Tier::C,
        meaning: "A hook that a module declared.",
    };
    type Args<'a> = &'a mut [Value<'a>];
    type Verdict = Returned;

    fn show(args: &mut Self::Args<'_>, call: &mut dyn FnMut(&mut [Value<'_>])) {
        call(args);
    }

    fn verdict(returned: Returned) -> Option<Returned> {
        Some(returned)
    }
}
