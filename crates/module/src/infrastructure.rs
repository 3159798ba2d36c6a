//! The module infrastructure: what the house asks of a module (reference: extending.md section 5).
//!
//! The same promises as the C structure of that name, so that a shared object can be put behind this trait.

use std::sync::Arc;

use config::{Declared, Generation, Opt, OptionType, Registry};
use hooks::HookSetBuilder;
use spool::IoModule;

/// A module. The life cycle calls on the master scheduler, one call at a time, so nothing here may block for long;
/// hook providers that it registers are called from every event loop.
///
/// A module's state lives best in the providers it registers: they belong to one generation, so a reload cannot tear
/// it and a refused generation takes it away again. What must outlive generations (an open log) is kept in the module
/// itself and changed in one step.
pub trait Module: Send + Sync {
    /// The word of its stanza, and of its section in the `.ecm` file.
    fn name(&self) -> &str;

    /// One line for `module list`.
    fn description(&self) -> &str;

    /// Its own version, for `module list`.
    fn version(&self) -> &str;

    /// Whether it has one instance only (`name { }`), or any number of them (`name "instance" { }`).
    fn singleton(&self) -> bool {
        false
    }

    /// Whether others call it by name, so that it is initialised even with `enabled = false`. It is passive then: the
    /// hook providers it registers are left out.
    fn callable(&self) -> bool {
        false
    }

    /// Declares its options, if it has any. Called once in the life of the process. An error keeps the daemon from starting.
    fn conf_setup(&self, _setup: &mut Setup<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Whether [`Module::ext_init`] would take what this generation asks of an instance, as far as that can be told without
    /// opening or changing anything: for those who ask before there is a daemon, or before they load.
    fn check(&self, _instance: &str, _generation: &Generation) -> Result<(), String> {
        Ok(())
    }

    /// Prepares one instance for one generation: reads its options (`Lookup::Module`) and registers its hook
    /// providers. An error refuses the generation; nothing registered in `hooks` is ever called then. A singleton
    /// whose call succeeded in a refused generation is called again with the generation that stays.
    fn ext_init(
        &self,
        _stage: Stage,
        _instance: &str,
        _generation: &Generation,
        _hooks: &mut HookSetBuilder,
    ) -> Result<(), String> {
        Ok(())
    }

    /// The generation of an instance is no longer used by anyone, or was refused. Never called for a singleton. May be
    /// called from any thread: that of the last session which held the generation.
    fn destroy(&self, _instance: &str) {}

    /// Its link of the spool's IO chain, if it has one. Asked for once, when the chain is built; the link stays in the chain
    /// until the process ends, whatever later configurations say, and passes on what it was not initialised for.
    fn io_module(&self) -> Option<Arc<dyn IoModule>> {
        None
    }

    /// Carries out a console line that starts with the module's name; `words` is the rest. The answer is shown as it
    /// is.
    fn control(&self, _instance: &str, words: &[&str]) -> Result<String, String> {
        Err(format!("module {} has no command {:?}", self.name(), words.join(" ")))
    }
}

/// When an instance is initialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// First, for each new generation.
    Init {
        /// The process is starting and may still be root: only open what needs that, the rest waits for `PostInit`. Who
        /// never sees this set joined a running system and does everything now.
        privileged: bool,
    },
    /// After the start gave up its privileges; once, for the instances of the first generation.
    PostInit,
}

impl Stage {
    /// Whether this is the stage for options and hooks: any but the privileged one.
    pub fn registers(self) -> bool {
        self != Self::Init { privileged: true }
    }
}

/// Where a module declares its options.
pub struct Setup<'r> {
    module: &'static str,
    registry: &'r mut Registry,
}

impl<'r> Setup<'r> {
    pub(crate) fn new(module: &'static str, registry: &'r mut Registry) -> Self {
        Self { module, registry }
    }

    /// Declares one option, in the module's own stanza or, if its `.ecm` file provides it, in other scopes.
    pub fn option<T: OptionType>(&mut self, option: &'static Opt<T>) {
        self.registry.add_of(self.module, &[option]);
    }

    /// Declares several.
    pub fn options(&mut self, options: &'static [&'static dyn Declared]) {
        self.registry.add_of(self.module, options);
    }
}
