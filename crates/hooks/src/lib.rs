//! Hook points: named call-outs, declared as data beside the code that calls them, with ordered providers.
//!
//! Who owns a call-out point declares it once ([`Declaration`]) in a type that implements [`Hook`], and lists it in its
//! crate's `HOOKS`, as it lists its options. The [`HookRegistry`] of the process knows every point. Providers register
//! into the [`HookSet`] of one configuration generation: Rust by the hook's type, other languages by its name
//! ([`Provide`]). A session or delivery attempt keeps the set of the generation it started with. A [`HookPoint`]
//! without providers costs one branch.
//!
//! Knows nothing of what the hooks mean; what policy calls a message or a session comes through as an [`Object`].

mod awaited;
mod declaration;
mod error;
mod meter;
mod point;
mod provider;
mod registry;
mod runtime;
mod set;
mod value;

pub use awaited::{AWAITED_TEXT, Awaited, awaited};
pub use declaration::{Declaration, Failing, Meaning, Needs, Parameter, Rule, Runs, Tier};
pub use error::HookError;
pub use meter::{Figures, MEASURES};
pub use point::{Hook, HookPoint};
pub use provider::{Answer, Place, PolledProvider, Provide, Provider, Returned, Slot};
pub use registry::{DeclaredHook, HookRegistry, Listed};
pub use runtime::{RuntimeDeclaration, RuntimeHook};
pub use set::{HookDescription, HookSet, HookSetBuilder, ProviderDescription};
pub use value::{Kind, Object, Part, Parts, Value};
