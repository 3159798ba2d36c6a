//! The declaration of an option: one constant beside the code that reads it.
//!
//! Parser checks, the `config` commands and the manual all read these constants; the default is written as it would
//! stand in the file and goes through the same parser.

use std::any::{Any, TypeId};
use std::marker::PhantomData;
use std::sync::Arc;

use crate::ineffective::Idle;
use crate::scope::{Scope, ScopeId, name_hash};
use crate::tree::Value;
use crate::types::{OptionType, Shape};

/// A typed value kept in a generation.
pub(crate) type Typed = Arc<dyn Any + Send + Sync>;

/// A condition on a value, with the sentence that says what is wrong.
type Check<T> = fn(&T) -> Result<(), String>;

/// What of a valid value has no effect; none when all of it has.
type FindIdle<T> = fn(&T) -> Option<Idle>;

/// An option: `pub const X: Opt<Seconds> = Opt::new("retry_interval", "1200", scopes::QUEUE, "doc")`.
pub struct Opt<T: OptionType> {
    name: &'static str,
    default: &'static str,
    scopes: &'static [Scope],
    doc: &'static str,
    tunable: bool,
    check: Option<Check<T>>,
    idle: Option<FindIdle<T>>,
    hash: u64,
    mask: u32,
    _type: PhantomData<fn() -> T>,
}

impl<T: OptionType> Opt<T> {
    /// Declares an option. `name` is lower case; `default` is source text, `""` for unset.
    pub const fn new(name: &'static str, default: &'static str, scopes: &'static [Scope], doc: &'static str) -> Self {
        let mut mask = 0;
        let mut i = 0;
        while i < scopes.len() {
            mask |= scopes[i].bit();
            i += 1;
        }
        Opt {
            name,
            default,
            scopes,
            doc,
            tunable: true,
            check: None,
            idle: None,
            hash: name_hash(name),
            mask,
            _type: PhantomData,
        }
    }

    /// A change takes effect at the next start only.
    pub const fn not_tunable(mut self) -> Self {
        self.tunable = false;
        self
    }

    /// A value wanted for a host falls back to B:D > B > D > Global when no host stanza sets it.
    pub const fn host_falls_back(mut self) -> Self {
        self.mask |= crate::lookup::HOST_FALLS_BACK;
        self
    }

    /// A further condition on the value, after its type.
    pub const fn check(mut self, check: Check<T>) -> Self {
        self.check = Some(check);
        self
    }

    /// Tells what of a value has no effect in this version: the load warns of it, or refuses it if that is a protection.
    pub const fn idle(mut self, idle: FindIdle<T>) -> Self {
        self.idle = Some(idle);
        self
    }

    /// The name, in lower case.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) const fn mask(&self) -> u32 {
        self.mask
    }

    /// Parses and checks a value as it would be in scope `scope`.
    pub(crate) fn parse(&self, value: &Value, scope: ScopeId) -> Result<T, String> {
        let parsed = T::parse(value)?.bound_to(scope);
        match self.check {
            Some(check) => check(&parsed).map(|()| parsed),
            None => Ok(parsed),
        }
    }

    /// The compiled-in default.
    pub(crate) fn default_value(&self) -> Result<T, String> {
        match self.default {
            "" => T::unset()
                .ok_or_else(|| format!("option {} needs a default: {} has no unset value", self.name, T::EXPECTED)),
            text => {
                let value = crate::parser::parse_value(text)
                    .ok_or_else(|| format!("default of {} is not a value", self.name))?;
                self.parse(&value, ScopeId::default()).map_err(|problem| format!("default of {}: {problem}", self.name))
            }
        }
    }
}

/// An option of any type, as the registry and the commands see it.
pub trait Declared: Sync {
    /// The name, in lower case.
    fn name(&self) -> &'static str;
    /// Source text of the default; empty when unset.
    fn default_text(&self) -> &'static str;
    /// Where it may be set.
    fn scopes(&self) -> &'static [Scope];
    /// One sentence on what it does.
    fn doc(&self) -> &'static str;
    /// Whether a reload can change it in a running daemon.
    fn tunable(&self) -> bool;
    /// What a value must look like, for messages: "a number of seconds".
    fn expected(&self) -> &'static str;
    /// What a value looks like to a tool.
    fn shape(&self) -> Shape;
    /// The type behind it, to find two declarations at odds.
    fn value_type(&self) -> TypeId;
    /// The whole scope mask of the option.
    #[doc(hidden)]
    fn extra_mask(&self) -> u32;
    /// Parses and checks a value set in `scope`.
    fn parse_any(&self, value: &Value, scope: ScopeId) -> Result<Arc<dyn Any + Send + Sync>, String>;
    /// What of a value that `parse_any` gave has no effect in this version.
    #[doc(hidden)]
    fn idle_part(&self, typed: &(dyn Any + Send + Sync)) -> Option<Idle>;
    /// Whether some valid value has a part without effect.
    #[doc(hidden)]
    fn has_idle_parts(&self) -> bool;
    /// The default, parsed and checked.
    fn default_any(&self) -> Result<Arc<dyn Any + Send + Sync>, String>;
}

impl<T: OptionType> Declared for Opt<T> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn default_text(&self) -> &'static str {
        self.default
    }
    fn scopes(&self) -> &'static [Scope] {
        self.scopes
    }
    fn doc(&self) -> &'static str {
        self.doc
    }
    fn tunable(&self) -> bool {
        self.tunable
    }
    fn expected(&self) -> &'static str {
        T::EXPECTED
    }
    fn shape(&self) -> Shape {
        T::SHAPE
    }
    fn value_type(&self) -> TypeId {
        TypeId::of::<T>()
    }
    fn extra_mask(&self) -> u32 {
        self.mask
    }
    fn parse_any(&self, value: &Value, scope: ScopeId) -> Result<Typed, String> {
        self.parse(value, scope).map(|typed| Arc::new(typed) as Typed)
    }
    fn idle_part(&self, typed: &(dyn Any + Send + Sync)) -> Option<Idle> {
        self.idle.and_then(|idle| idle(typed.downcast_ref::<T>()?))
    }
    fn has_idle_parts(&self) -> bool {
        self.idle.is_some()
    }
    fn default_any(&self) -> Result<Typed, String> {
        self.default_value().map(|typed| Arc::new(typed) as Typed)
    }
}
