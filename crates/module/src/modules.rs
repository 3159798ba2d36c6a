//! The modules this build can run, and what a configuration generation makes of them.
//!
//! In: the catalogue, the linked modules, and each new generation before it is committed. Out: the generation's
//! [`Loaded`] set, or the reason why the generation is refused. Runs on the master scheduler.
//!
//! Invariant: a refused generation leaves no instance behind, and singletons as the current generation wants them.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Generation, Lookup, Opt, Registry, Scope, ScopeRef};
use hooks::HookSetBuilder;
use spool::IoModule;

use crate::loaded::{Instance, Loaded};
use crate::{Catalogue, Error, Module, Setup, Stage};

/// Every runnable module, its options declared.
pub struct Modules {
    catalogue: Catalogue,
    installed: BTreeMap<String, Installed>,
}

/// A module with the options that every module has.
struct Installed {
    module: Arc<dyn Module>,
    enabled: &'static Opt<bool>,
    debug_level: &'static Opt<String>,
}

impl Modules {
    /// Matches the linked modules with their manifests and declares their options, requirements first. The one call of
    /// each module's `conf_setup`. Tells every fault it finds.
    pub fn setup(
        catalogue: Catalogue,
        linked: Vec<Arc<dyn Module>>,
        registry: &mut Registry,
    ) -> Result<Self, Vec<Error>> {
        let mut unset: BTreeMap<String, Arc<dyn Module>> = BTreeMap::new();
        let mut errors = Vec::new();
        for module in linked {
            let name = module.name().to_owned();
            if catalogue.get(&name).is_none() {
                errors.push(Error::at(format!("module {name}"), "is linked in but has no .ecm file"));
            } else if unset.insert(name.clone(), module).is_some() {
                errors.push(Error::at(format!("module {name}"), "is linked in twice"));
            }
        }
        let names: Vec<&str> = unset.keys().map(String::as_str).collect();
        let order: Vec<String> = match catalogue.order(&names) {
            Ok(order) => order.into_iter().map(|manifest| manifest.name.clone()).collect(),
            Err(error) => {
                errors.push(error);
                Vec::new()
            }
        };
        let mut installed = BTreeMap::new();
        for name in order {
            // A requirement that nobody linked is told when something needs it.
            let Some(module) = unset.remove(&name) else { continue };
            match Installed::setup(module, registry) {
                Ok(set_up) => drop(installed.insert(name, set_up)),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self { catalogue, installed }) } else { Err(errors) }
    }

    /// What is installed.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Initialises every instance that `generation` asks for: those with a stanza, in the file's order, and, with an empty
    /// one, those that one of them requires and those whose `.ecm` file offers an option or URL scheme that is used. Their providers go into `hooks`. `current` is the generation
    /// that stays if this one is refused; none at the start, which is also what makes the stage privileged.
    pub fn init(
        &self,
        generation: &Generation,
        current: Option<&Generation>,
        hooks: &mut HookSetBuilder,
    ) -> Result<Loaded, Error> {
        let stage = Stage::Init { privileged: current.is_none() };
        let mut loaded = Loaded::default();
        for instance in self.wanted(generation)? {
            let result = instance.ext_init(stage, generation, hooks);
            // Counts as loaded even on an error: it may have got half-way.
            loaded.push(instance);
            if let Err(error) = result {
                current.into_iter().for_each(|current| self.restore(&loaded, current));
                return Err(error);
            }
        }
        Ok(loaded)
    }

    /// Whether every instance that `generation` asks for would take it, without an effect on anything.
    pub fn check(&self, generation: &Generation) -> Result<(), Error> {
        self.wanted(generation)?.iter().try_for_each(|instance| instance.check(generation))
    }

    /// The second stage of the first generation, after privileges are dropped.
    pub fn post_init(&self, loaded: &Loaded, generation: &Generation, hooks: &mut HookSetBuilder) -> Result<(), Error> {
        loaded.instances().iter().try_for_each(|instance| instance.ext_init(Stage::PostInit, generation, hooks))
    }

    /// Gives the singletons touched for a refused generation the one that stays. [`Modules::init`] does so for its own
    /// errors; whoever refuses a generation after that calls this.
    pub fn restore(&self, refused: &Loaded, current: &Generation) {
        let mut unused = HookSetBuilder::new();
        for instance in refused.instances().iter().filter(|instance| instance.module.singleton()) {
            if let Err(error) = instance.ext_init(Stage::Init { privileged: false }, current, &mut unused) {
                tracing::error!(target: "MOD", "{error}, while going back to the running configuration");
            }
        }
    }

    /// The links of the spool's IO chain: of the modules `loaded`, in load order, then of all others, so that what a module
    /// stored under an earlier configuration can be read.
    pub fn io_modules(&self, loaded: &Loaded) -> Vec<Arc<dyn IoModule>> {
        let active = loaded.instances().iter().map(|instance| instance.module.name());
        let others =
            self.installed.keys().map(String::as_str).filter(|name| !active.clone().any(|known| known == *name));
        let mut names: Vec<&str> = active.clone().chain(others).collect();
        names.dedup();
        names.into_iter().filter_map(|name| self.installed.get(name)?.module.io_module()).collect()
    }

    /// The instances in the order of initialisation.
    fn wanted(&self, generation: &Generation) -> Result<Vec<Instance>, Error> {
        let used = self.with_used(self.named(generation), generation);
        let mut instances = Vec::new();
        for manifest in self.catalogue.order(&used)? {
            let installed = self.installed.get(&manifest.name).ok_or_else(|| {
                Error::at(&manifest.origin, format!("module {} is required but not part of this build", manifest.name))
            })?;
            instances.extend(installed.instances(generation)?);
        }
        Ok(instances)
    }

    /// The modules with a stanza at the outermost level, in the order of their first one.
    fn named(&self, generation: &Generation) -> Vec<&str> {
        let mut named: Vec<&str> = Vec::new();
        for stanza in generation.outermost() {
            if let Some((name, _)) = self.installed.get_key_value(stanza.word())
                && !named.contains(&name.as_str())
            {
                named.push(name);
            }
        }
        named
    }

    /// The modules without a stanza that the generation makes use of all the same: one that offers a URL scheme which a
    /// value names comes before the named ones, which may open such a URL, and one that offers an option which is set
    /// comes after them. Of several that offer the same, a named one serves, else the first of the build.
    fn with_used<'m>(&'m self, named: Vec<&'m str>, generation: &Generation) -> Vec<&'m str> {
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for capability in self.catalogue.manifests().flat_map(|manifest| &manifest.provides) {
            let providers = self.catalogue.providers(capability).iter().map(String::as_str);
            let mut loadable = providers.filter(|name| self.installed.contains_key(*name));
            let Some(provider) = loadable.clone().next() else { continue };
            if loadable.any(|name| named.contains(&name) || first.contains(&name) || last.contains(&name)) {
                continue;
            }
            if capability.scheme().is_some_and(|scheme| generation.names_scheme(scheme)) {
                first.push(provider);
            } else if capability.option().is_some_and(|(stanzas, option)| generation.sets(&stanzas, option)) {
                last.push(provider);
            }
        }
        [first, named, last].concat()
    }
}

impl Installed {
    fn setup(module: Arc<dyn Module>, registry: &mut Registry) -> Result<Self, Error> {
        // Declarations are 'static because they are constants elsewhere; these are made once for each module of the
        // process.
        let name: &'static str = String::leak(module.name().to_owned());
        let scopes: &'static [Scope] = Vec::leak(vec![Scope::Module(name)]);
        let enabled = &*Box::leak(Box::new(Opt::new("enabled", "true", scopes, ENABLED_DOC)));
        let debug_level =
            Opt::new("debug_level", "ERROR", scopes, DEBUG_LEVEL_DOC).check(|level: &String| is_level(level));
        let debug_level = &*Box::leak(Box::new(debug_level));
        registry.add_of(name, &[enabled, debug_level]);
        let result = module.conf_setup(&mut Setup::new(name, registry));
        result.map_err(|problem| Error::at(format!("module {name}"), problem))?;
        Ok(Self { module, enabled, debug_level })
    }

    /// The instances of a generation in the file's order; the empty one if there is no stanza.
    fn instances(&self, generation: &Generation) -> Result<Vec<Instance>, Error> {
        let mut instances = Vec::new();
        for stanza in generation.instances(self.module.name()).into_iter().filter(is_outermost) {
            if self.module.singleton() && !stanza.name().is_empty() {
                let problem = format!("module {} has one instance only, and its stanza no name", self.module.name());
                return Err(Error::at(stanza.place(), problem));
            }
            instances.push(self.instance(stanza.name(), stanza.get(self.enabled), stanza.get(self.debug_level)));
        }
        if instances.is_empty() {
            let lookup = Lookup::Module { module: self.module.name(), instance: "" };
            let (enabled, debug_level) =
                (generation.get(self.enabled, &lookup), generation.get(self.debug_level, &lookup));
            instances.push(self.instance(String::new(), enabled, debug_level));
        }
        Ok(instances)
    }

    fn instance(&self, name: String, enabled: bool, debug_level: String) -> Instance {
        Instance { module: self.module.clone(), name, enabled, debug_level: debug_level.to_ascii_uppercase() }
    }
}

fn is_outermost(stanza: &ScopeRef<'_>) -> bool {
    stanza.parent().is_none()
}

fn is_level(level: &str) -> Result<(), String> {
    let known = LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level));
    known.then_some(()).ok_or_else(|| format!("must be one of {}", LEVELS.join(", ")))
}

const ENABLED_DOC: &str = "Whether the module acts on its own; without, it is loaded only for others to call.";
const DEBUG_LEVEL_DOC: &str = "The lowest level at which diagnostics of the module are logged.";
const LEVELS: [&str; 6] = ["DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL"];
