//! Hook points: typed call-outs with ordered providers and declared return-value rules.
//!
//! Who owns a call-out point declares it once as a type that implements [`Hook`]. Providers register into a
//! [`HookSet`] that belongs to one configuration generation; a session or delivery attempt keeps the set of the
//! generation it started with. A [`HookPoint`] without providers costs its caller one branch.
//!
//! Knows nothing of what the hooks mean.

mod point;
mod set;

pub use point::{Answer, Hook, HookPoint, Provider, Rule};
pub use set::{HookDescription, HookSet, HookSetBuilder};
