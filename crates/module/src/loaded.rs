//! The modules of one configuration generation: its instances, for as long as somebody uses the generation.
//!
//! Kept as an extension of the generation. Invariant: every instance of a non-singleton in here is destroyed exactly
//! once, when the set is dropped, in the reverse of the order of initialisation.

use std::sync::Arc;

use config::Generation;
use hooks::HookSetBuilder;

use crate::{Error, Module, Stage};

/// The instances of one generation, in the order of their initialisation.
#[derive(Default)]
pub struct Loaded {
    instances: Vec<Instance>,
}

/// One instance stanza of a module, or the empty one of a module that another requires.
pub(crate) struct Instance {
    pub(crate) module: Arc<dyn Module>,
    /// Empty for a singleton and for an unnamed stanza.
    pub(crate) name: String,
    pub(crate) enabled: bool,
    pub(crate) debug_level: String,
}

/// One line of `module list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The module's name, which is the word of its stanza.
    pub module: String,
    /// The instance; none for a singleton.
    pub instance: Option<String>,
    /// Whether it acts on its own.
    pub enabled: bool,
    /// The module's version.
    pub version: String,
    /// The module's description.
    pub description: String,
    /// The lowest level its diagnostics are shown at.
    pub debug_level: String,
}

impl Loaded {
    /// The instances, for `module list`.
    pub fn list(&self) -> Vec<Listed> {
        self.instances.iter().map(Instance::listed).collect()
    }

    /// Carries out a module's console line: `address` is `module`, or `module:instance` for a non-singleton (which
    /// may be left out if there is only one).
    pub fn control(&self, address: &str, words: &[&str]) -> Result<String, String> {
        let (module, instance) = address.split_once(':').map_or((address, None), |(module, name)| (module, Some(name)));
        let of_module = |loaded: &&Instance| loaded.module.name().eq_ignore_ascii_case(module);
        let mut candidates = self.instances.iter().filter(of_module);
        let found = match instance {
            Some(name) => candidates.find(|loaded| loaded.name == name),
            None => match (candidates.next(), candidates.next()) {
                (Some(_), Some(_)) => {
                    return Err(format!("module {module} has several instances; say {module}:INSTANCE"));
                }
                (only, _) => only,
            },
        };
        let Some(found) = found else { return Err(format!("no module instance is called {address}")) };
        found.module.control(&found.name, words)
    }

    pub(crate) fn push(&mut self, instance: Instance) {
        self.instances.push(instance);
    }

    pub(crate) fn instances(&self) -> &[Instance] {
        &self.instances
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        while let Some(instance) = self.instances.pop() {
            if instance.initialised() && !instance.module.singleton() {
                instance.module.destroy(&instance.name);
            }
        }
    }
}

impl Instance {
    /// Whether `ext_init` is called at all: a disabled instance is nobody's business unless others call it.
    fn initialised(&self) -> bool {
        self.enabled || self.module.callable()
    }

    pub(crate) fn ext_init(
        &self,
        stage: Stage,
        generation: &Generation,
        hooks: &mut HookSetBuilder,
    ) -> Result<(), Error> {
        if !self.initialised() {
            return Ok(());
        }
        let mut passive = HookSetBuilder::new();
        let hooks = if self.enabled { hooks } else { &mut passive };
        let result = self.module.ext_init(stage, &self.name, generation, hooks);
        result.map_err(|problem| Error::at(self.title(), problem))
    }

    /// Whether [`Instance::ext_init`] would succeed, as far as can be told without an effect.
    pub(crate) fn check(&self, generation: &Generation) -> Result<(), Error> {
        if !self.initialised() {
            return Ok(());
        }
        self.module.check(&self.name, generation).map_err(|problem| Error::at(self.title(), problem))
    }

    fn title(&self) -> String {
        match self.name.as_str() {
            "" => format!("module {}", self.module.name()),
            name => format!("module {}:{name}", self.module.name()),
        }
    }

    fn listed(&self) -> Listed {
        Listed {
            module: self.module.name().to_owned(),
            instance: (!self.module.singleton()).then(|| self.name.clone()),
            enabled: self.enabled,
            version: self.module.version().to_owned(),
            description: self.module.description().to_owned(),
            debug_level: self.debug_level.clone(),
        }
    }
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.instances.iter().map(Instance::title)).finish()
    }
}
