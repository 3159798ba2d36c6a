//! One call-out point: its providers in order, and how their answers combine.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// The declaration of a call-out point, by the crate that calls it.
pub trait Hook: 'static {
    /// `<scope>_<hook>`, the name that modules and scripts use (reference: extending.md section 4).
    const NAME: &'static str;
    /// The C prototype, for `module hooks` and the module interface.
    const PROTOTYPE: &'static str;
    /// How the providers' answers combine.
    const RULE: Rule;
    /// What the caller hands to each provider.
    type Args<'a>;
    /// What a provider can decide.
    type Verdict: 'static;
}

/// How the answers of several providers combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The first provider that answers [`Answer::Done`] ends the chain, and its verdict is the call's.
    FirstDone,
    /// Every provider runs; verdicts are ignored (a void hook).
    EveryProvider,
}

/// What one provider answers.
pub enum Answer<V> {
    /// Nothing to say: go on with the next provider.
    Cont,
    /// Decided.
    Done(V),
    /// It would block: wait for the future, without holding the loop, and call the same provider again.
    Again(Pin<Box<dyn Future<Output = ()>>>),
}

/// A provider. Called on the loop of the session or queue that the call is about; must not block.
pub type Provider<H> = Arc<dyn Fn(&mut <H as Hook>::Args<'_>) -> Answer<<H as Hook>::Verdict> + Send + Sync>;

pub(crate) struct Registered<H: Hook> {
    pub(crate) module: Arc<str>,
    pub(crate) provider: Provider<H>,
}

/// The providers of one hook in one generation. Cloning shares them.
pub struct HookPoint<H: Hook> {
    pub(crate) providers: Option<Arc<[Registered<H>]>>,
}

impl<H: Hook> Clone for HookPoint<H> {
    fn clone(&self) -> Self {
        Self { providers: self.providers.clone() }
    }
}

impl<H: Hook> Default for HookPoint<H> {
    fn default() -> Self {
        Self { providers: None }
    }
}

impl<H: Hook> fmt::Debug for HookPoint<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} providers)", H::NAME, self.providers.as_deref().map_or(0, <[_]>::len))
    }
}

impl<H: Hook> HookPoint<H> {
    /// Whether nobody provides it: the one branch that an unused hook costs.
    pub fn is_empty(&self) -> bool {
        self.providers.is_none()
    }

    /// Calls the providers in order under the hook's rule. The verdict, and the module that gave it.
    pub async fn call(&self, args: &mut H::Args<'_>) -> Option<(H::Verdict, Arc<str>)> {
        let Some(providers) = &self.providers else { return None };
        for registered in providers.iter() {
            loop {
                match (registered.provider)(args) {
                    Answer::Again(ready) => ready.await,
                    Answer::Done(verdict) if H::RULE == Rule::FirstDone => {
                        return Some((verdict, registered.module.clone()));
                    }
                    Answer::Done(_) | Answer::Cont => break,
                }
            }
        }
        None
    }

    /// As [`HookPoint::call`], for hooks whose providers may not suspend (loggers, option getters). A provider that
    /// answers [`Answer::Again`] is passed over.
    pub fn call_now(&self, args: &mut H::Args<'_>) -> Option<(H::Verdict, Arc<str>)> {
        let Some(providers) = &self.providers else { return None };
        for registered in providers.iter() {
            match (registered.provider)(args) {
                Answer::Done(verdict) if H::RULE == Rule::FirstDone => {
                    return Some((verdict, registered.module.clone()));
                }
                Answer::Done(_) | Answer::Cont | Answer::Again(_) => {}
            }
        }
        None
    }
}
