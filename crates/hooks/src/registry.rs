//! Every hook of the process: those that crates declare, those of modules, and what is counted of their providers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scheduler::{Clock, Doing, Meters};

use crate::awaited::awaited;
use crate::declaration::Declaration;
use crate::error::HookError;
use crate::meter::ProviderMeter;
use crate::point::{Chain, Hook};
use crate::runtime::RuntimeDeclaration;
use crate::set::AnyChain;

/// A hook in a crate's list of hooks.
pub trait DeclaredHook: Sync {
    /// What it is.
    fn declaration(&self) -> &'static Declaration;

    #[doc(hidden)]
    fn empty(&self) -> Box<dyn AnyChain>;
}

/// A hook's type as an entry of such a list: `&Listed::<ValidateConnect>::NEW`.
pub struct Listed<H>(std::marker::PhantomData<fn(H)>);

impl<H: Hook> Listed<H> {
    /// The entry.
    pub const NEW: Self = Self(std::marker::PhantomData);
}

impl<H: Hook> DeclaredHook for Listed<H> {
    fn declaration(&self) -> &'static Declaration {
        H::DECLARATION
    }

    fn empty(&self) -> Box<dyn AnyChain> {
        Box::new(Chain::<H> { declaration: H::DECLARATION, providers: Vec::new() })
    }
}

/// Every hook of the process. Cloning shares it.
#[derive(Clone)]
pub struct HookRegistry(Arc<Inner>);

struct Inner {
    clock: Clock,
    meters: Meters,
    declared: BTreeMap<String, &'static dyn DeclaredHook>,
    of_modules: Mutex<BTreeMap<String, &'static Declaration>>,
    /// The meter with the number n is at n - 1.
    providers: Mutex<Vec<Arc<ProviderMeter>>>,
}

impl Default for HookRegistry {
    /// Without hooks that could be found by name: for tests.
    fn default() -> Self {
        Self::new(Clock::system(), &Meters::new(), [])
    }
}

impl HookRegistry {
    /// The hooks of these lists. Providers are counted in `meters`, and timed by `clock`.
    pub fn new(
        clock: Clock,
        meters: &Meters,
        hooks: impl IntoIterator<Item = &'static [&'static dyn DeclaredHook]>,
    ) -> Self {
        let declared = hooks.into_iter().flatten().map(|hook| (hook.declaration().title(), *hook)).collect();
        let (of_modules, providers) = Default::default();
        Self(Arc::new(Inner { clock, meters: meters.clone(), declared, of_modules, providers }))
    }

    /// The hooks that crates and modules declare, in name order.
    pub fn declarations(&self) -> Vec<&'static Declaration> {
        let of_modules = lock(&self.0.of_modules);
        let crates = self.0.declared.iter().map(|(title, hook)| (title, hook.declaration()));
        let all: BTreeMap<&String, &'static Declaration> =
            crates.chain(of_modules.iter().map(|(title, declaration)| (title, *declaration))).collect();
        all.into_values().collect()
    }

    /// Declares a hook of a module. Declaring it again is no error as long as the parameters are the same.
    pub fn declare(&self, hook: RuntimeDeclaration) -> Result<&'static Declaration, HookError> {
        let title = crate::declaration::title(&hook.scope, &hook.name);
        if self.0.declared.contains_key(&title) || awaited().any(|awaited| awaited.title == title) {
            return Err(HookError::Taken { hook: title });
        }
        let mut of_modules = lock(&self.0.of_modules);
        let Some(known) = of_modules.get(&title).copied() else {
            let declaration = hook.leak();
            of_modules.insert(title, declaration);
            return Ok(declaration);
        };
        let types = hook.parameters.iter().map(|(c_type, ..)| format!(", {c_type}")).collect::<String>();
        prototype(known, &title, &format!("(void *{types})"))?;
        Ok(known)
    }

    /// The hook and module whose provider a thread is in that is marked with `doing` ([`Doing`]).
    pub fn provider(&self, doing: u64) -> Option<(String, String)> {
        let place = usize::try_from(doing.checked_sub(1)?).ok()?;
        let meter = lock(&self.0.providers).get(place)?.clone();
        Some((meter.hook.clone(), meter.module.to_string()))
    }

    /// The hook and module whose provider the calling thread is in.
    pub fn current_provider(&self) -> Option<(String, String)> {
        self.provider(Doing::current())
    }

    /// What is known under a name, for a provider with these parameter types.
    pub(crate) fn find(&self, title: &str, types: &str) -> Result<Found, HookError> {
        let found = match (self.0.declared.get(title), lock(&self.0.of_modules).get(title)) {
            (Some(hook), _) => Found::OfCrate(*hook),
            (None, Some(declaration)) => Found::OfModule(declaration),
            (None, None) => {
                let room = awaited().find(|awaited| awaited.title == title).map(|awaited| awaited.room);
                let hook = title.to_owned();
                return Err(
                    room.map_or(HookError::Unknown { hook: hook.clone() }, |room| HookError::Awaited { hook, room })
                );
            }
        };
        prototype(found.declaration(), title, types)?;
        Ok(found)
    }

    /// The meter of a module's provider of a hook; the same one in every generation.
    pub(crate) fn meter(&self, declaration: &Declaration, module: &str) -> Arc<ProviderMeter> {
        let title = declaration.title();
        let mut providers = lock(&self.0.providers);
        if let Some(meter) = providers.iter().find(|meter| meter.hook == title && &*meter.module == module) {
            return meter.clone();
        }
        let number = providers.len() as u64 + 1;
        let meter = Arc::new(ProviderMeter::new(&title, module, number, self.0.clock, &self.0.meters));
        providers.push(meter.clone());
        meter
    }
}

impl std::fmt::Debug for HookRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.declared.keys()).finish()
    }
}

/// A hook that is known.
pub(crate) enum Found {
    OfCrate(&'static dyn DeclaredHook),
    OfModule(&'static Declaration),
}

impl Found {
    pub(crate) fn declaration(&self) -> &'static Declaration {
        match self {
            Found::OfCrate(hook) => hook.declaration(),
            Found::OfModule(declaration) => declaration,
        }
    }

    pub(crate) fn empty(&self) -> Box<dyn AnyChain> {
        match *self {
            Found::OfCrate(hook) => hook.empty(),
            Found::OfModule(declaration) => {
                Box::new(Chain::<crate::RuntimeHook> { declaration, providers: Vec::new() })
            }
        }
    }
}

fn prototype(declaration: &Declaration, title: &str, types: &str) -> Result<(), HookError> {
    if declaration.takes(types) {
        return Ok(());
    }
    Err(HookError::Prototype { hook: title.to_owned(), declared: declaration.types(), offered: types.to_owned() })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
