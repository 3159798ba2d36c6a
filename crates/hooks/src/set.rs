//! All providers of one configuration generation.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::declaration::{self, Declaration};
use crate::error::HookError;
use crate::meter::{Figures, ProviderMeter};
use crate::point::{Chain, Hook, HookPoint, Registered, Way};
use crate::provider::{Place, PolledProvider, Provide, Provider};
use crate::registry::HookRegistry;
use crate::runtime::{RuntimeDeclaration, RuntimeHook};

/// The providers of every hook, fixed for one generation. Look points up once per session or queue and keep them.
#[derive(Default)]
pub struct HookSet {
    registry: HookRegistry,
    points: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    of_modules: HashMap<String, HookPoint<RuntimeHook>>,
    providers: BTreeMap<String, Vec<Arc<ProviderMeter>>>,
}

/// One hook, for `module hooks`.
#[derive(Clone, Debug)]
pub struct HookDescription {
    /// What it is.
    pub declaration: &'static Declaration,
    /// Its providers, in calling order.
    pub providers: Vec<ProviderDescription>,
}

/// One provider of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderDescription {
    /// The module.
    pub module: String,
    /// What was counted of it since the start, over all generations.
    pub figures: Figures,
}

impl HookSet {
    /// The point of a hook; an empty one if nobody provides it.
    pub fn point<H: Hook>(&self) -> HookPoint<H> {
        let point = self.points.get(&TypeId::of::<H>()).and_then(|any| any.downcast_ref::<HookPoint<H>>());
        point.cloned().unwrap_or_default()
    }

    /// The point of a hook that a module declared; an empty one if nobody provides it.
    pub fn point_of_module(&self, title: &str) -> HookPoint<RuntimeHook> {
        self.of_modules.get(title).cloned().unwrap_or_default()
    }

    /// Every hook, whether it is provided or not, in name order.
    pub fn descriptions(&self) -> Vec<HookDescription> {
        let describe = |declaration: &'static Declaration| {
            let providers = self.providers.get(&declaration.title()).map_or(&[][..], Vec::as_slice);
            let of = |meter: &Arc<ProviderMeter>| ProviderDescription {
                module: meter.module.to_string(),
                figures: meter.figures(),
            };
            HookDescription { declaration, providers: providers.iter().map(of).collect() }
        };
        self.registry.declarations().into_iter().map(describe).collect()
    }

    /// Every hook of the process.
    pub fn registry(&self) -> &HookRegistry {
        &self.registry
    }
}

/// The providers of one hook, while they are collected.
#[doc(hidden)]
pub trait AnyChain: Any + Send {
    #[doc(hidden)]
    fn add(&mut self, place: Place, provider: Arc<dyn Provide>, meter: Arc<ProviderMeter>);
    #[doc(hidden)]
    fn seal(self: Box<Self>, set: &mut HookSet);
    #[doc(hidden)]
    fn hook(&self) -> TypeId;
    #[doc(hidden)]
    fn as_any(&mut self) -> &mut dyn Any;
}

impl<H: Hook> Chain<H> {
    fn insert(&mut self, place: Place, way: Way<H>, meter: Arc<ProviderMeter>) {
        let at = if place == Place::First { 0 } else { self.providers.len() };
        self.providers.insert(at, Registered { way, meter });
    }
}

impl<H: Hook> AnyChain for Chain<H> {
    fn add(&mut self, place: Place, provider: Arc<dyn Provide>, meter: Arc<ProviderMeter>) {
        self.insert(place, Way::ByName(provider), meter);
    }

    fn seal(self: Box<Self>, set: &mut HookSet) {
        let title = self.declaration.title();
        set.providers.insert(title.clone(), self.providers.iter().map(|registered| registered.meter.clone()).collect());
        let point = HookPoint { chain: Some(Arc::new(*self)) };
        let any: Box<dyn Any + Send + Sync> = Box::new(point);
        match any.downcast::<HookPoint<RuntimeHook>>() {
            Ok(of_module) => drop(set.of_modules.insert(title, *of_module)),
            Err(any) => drop(set.points.insert(TypeId::of::<H>(), any)),
        }
    }

    fn hook(&self) -> TypeId {
        TypeId::of::<H>()
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// Collects providers while a generation is prepared. Used on one thread at a time.
#[derive(Default)]
pub struct HookSetBuilder {
    registry: HookRegistry,
    chains: HashMap<TypeId, Box<dyn AnyChain>>,
    of_modules: HashMap<String, Box<dyn AnyChain>>,
}

impl HookSetBuilder {
    /// Nothing registered yet, and no hook that could be found by its name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing registered yet, of the hooks of a process.
    pub fn of(registry: &HookRegistry) -> Self {
        Self { registry: registry.clone(), ..Self::default() }
    }

    /// Puts a provider before those registered so far.
    pub fn first<H: Hook>(&mut self, module: &str, provider: Provider<H>) {
        self.insert(Place::First, module, Way::<H>::AtOnce(provider));
    }

    /// Puts a provider after those registered so far.
    pub fn last<H: Hook>(&mut self, module: &str, provider: Provider<H>) {
        self.insert(Place::Last, module, Way::<H>::AtOnce(provider));
    }

    /// Registers a provider that may suspend.
    pub fn polled<H: Hook>(&mut self, place: Place, module: &str, provider: PolledProvider<H>) {
        self.insert(place, module, Way::<H>::Polled(provider));
    }

    /// Registers a provider in another language: `title` is `scope_name`, `types` its parameter types as C's macros
    /// write them ([`Declaration::types`]).
    pub fn by_name(
        &mut self,
        place: Place,
        title: &str,
        types: &str,
        module: &str,
        provider: Arc<dyn Provide>,
    ) -> Result<(), HookError> {
        let found = self.registry.find(title, types)?;
        let meter = self.registry.meter(found.declaration(), module);
        let empty = found.empty();
        let chain = if empty.hook() == TypeId::of::<RuntimeHook>() {
            self.of_modules.entry(title.to_owned()).or_insert(empty)
        } else {
            self.chains.entry(empty.hook()).or_insert(empty)
        };
        chain.add(place, provider, meter);
        Ok(())
    }

    /// Declares a hook of a module's own ([`HookRegistry::declare`]).
    pub fn declare(&mut self, hook: RuntimeDeclaration) -> Result<&'static Declaration, HookError> {
        self.registry.declare(hook)
    }

    /// Every hook of the process.
    pub fn registry(&self) -> &HookRegistry {
        &self.registry
    }

    /// Fixes the set.
    pub fn finish(self) -> Arc<HookSet> {
        let mut set = HookSet { registry: self.registry, ..HookSet::default() };
        self.chains.into_values().chain(self.of_modules.into_values()).for_each(|chain| chain.seal(&mut set));
        Arc::new(set)
    }

    fn insert<H: Hook>(&mut self, place: Place, module: &str, way: Way<H>) {
        let declaration: &'static declaration::Declaration = H::DECLARATION;
        let meter = self.registry.meter(declaration, module);
        let new = || Box::new(Chain::<H> { declaration, providers: Vec::new() }) as Box<dyn AnyChain>;
        let chain = self.chains.entry(TypeId::of::<H>()).or_insert_with(new);
        // The entry under H's type is only ever made by the line above, or by the hook's own entry in the registry.
        let chain = chain.as_any().downcast_mut::<Chain<H>>().expect("keyed by the hook's type");
        chain.insert(place, way, meter);
    }
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;
