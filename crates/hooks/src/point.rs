//! One call-out point: its providers in order, and how their answers combine.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::declaration::{Declaration, Failing, Weighed};
use crate::meter::ProviderMeter;
use crate::provider::{Answer, PolledProvider, Provide, Provider, Returned, Slot};
use crate::value::Value;

/// A call-out point, by the crate that calls it: the Rust face of its [`Declaration`].
pub trait Hook: 'static {
    /// What it is.
    const DECLARATION: &'static Declaration;
    /// What the caller hands to each provider of Rust.
    type Args<'a>;
    /// What a provider can decide.
    type Verdict: 'static;

    /// The arguments as values, one for each declared parameter, for providers in other languages.
    fn show(args: &mut Self::Args<'_>, call: &mut dyn FnMut(&mut [Value<'_>]));

    /// What an answer means that ends the chain; none if it means nothing after all, and counts as a failure. Never
    /// asked where every provider is called.
    fn verdict(returned: Returned) -> Option<Self::Verdict>;

    /// What is decided because a provider failed; asked where the declaration says [`Failing::Defers`].
    fn deferred(_args: &mut Self::Args<'_>) -> Option<Self::Verdict> {
        None
    }
}

/// The ways in.
pub(crate) enum Way<H: Hook> {
    AtOnce(Provider<H>),
    Polled(PolledProvider<H>),
    ByName(Arc<dyn Provide>),
}

pub(crate) struct Registered<H: Hook> {
    pub(crate) way: Way<H>,
    pub(crate) meter: Arc<ProviderMeter>,
}

pub(crate) struct Chain<H: Hook> {
    pub(crate) declaration: &'static Declaration,
    pub(crate) providers: Vec<Registered<H>>,
}

/// The providers of one hook in one generation. Cloning shares them.
pub struct HookPoint<H: Hook> {
    pub(crate) chain: Option<Arc<Chain<H>>>,
}

impl<H: Hook> Clone for HookPoint<H> {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone() }
    }
}

impl<H: Hook> Default for HookPoint<H> {
    fn default() -> Self {
        Self { chain: None }
    }
}

impl<H: Hook> fmt::Debug for HookPoint<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let providers = self.chain.as_deref().map_or(0, |chain| chain.providers.len());
        write!(f, "{}_{} ({providers} providers)", H::DECLARATION.scope, H::DECLARATION.name)
    }
}

/// Why a provider gave no answer.
enum Fault {
    Suspended,
    Failed(String),
}

impl<H: Hook> HookPoint<H> {
    /// Whether nobody provides it: the one branch that an unused hook costs.
    pub fn is_empty(&self) -> bool {
        self.chain.is_none()
    }

    /// Calls the providers in order under the hook's rule. The verdict, and the module that gave it. Dropping the call
    /// drops what a suspended provider remembers of it.
    pub async fn call(&self, args: &mut H::Args<'_>) -> Option<(H::Verdict, Arc<str>)> {
        let Some(chain) = &self.chain else { return None };
        for registered in &chain.providers {
            let mut slot = Slot::default();
            let mut suspended = false;
            let answer = poll_fn(|context| {
                if suspended {
                    registered.meter.goes_on();
                }
                match registered.poll(chain.declaration, args, &mut slot, context) {
                    Poll::Pending if !chain.declaration.suspends => Poll::Ready(Err(Fault::Suspended)),
                    Poll::Pending => {
                        if !std::mem::replace(&mut suspended, true) {
                            registered.meter.suspended();
                        }
                        Poll::Pending
                    }
                    ready => ready,
                }
            })
            .await;
            drop(slot);
            if let Some(verdict) = registered.settled(chain.declaration, args, answer) {
                return Some((verdict, registered.meter.module.clone()));
            }
        }
        None
    }

    /// As [`HookPoint::call`], for points where nothing can wait (loggers, option getters, worker threads): a provider
    /// that suspends has failed.
    pub fn call_now(&self, args: &mut H::Args<'_>) -> Option<(H::Verdict, Arc<str>)> {
        let Some(chain) = &self.chain else { return None };
        for registered in &chain.providers {
            let mut slot = Slot::default();
            let polled = registered.poll(chain.declaration, args, &mut slot, &mut Context::from_waker(Waker::noop()));
            drop(slot);
            let answer = match polled {
                Poll::Ready(answer) => answer,
                Poll::Pending => Err(Fault::Suspended),
            };
            if let Some(verdict) = registered.settled(chain.declaration, args, answer) {
                return Some((verdict, registered.meter.module.clone()));
            }
        }
        None
    }
}

impl<H: Hook> Registered<H> {
    /// One poll: the verdict, if this ends the chain.
    fn poll(
        &self,
        declaration: &Declaration,
        args: &mut H::Args<'_>,
        slot: &mut Slot,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<H::Verdict>, Fault>> {
        let answer = match &self.way {
            Way::AtOnce(provider) => Poll::Ready(self.meter.poll(|| provider(args))),
            Way::Polled(provider) => self.meter.poll(|| provider(args, slot, context)),
            Way::ByName(provider) => {
                let mut polled = Poll::Ready(Returned::Nothing);
                H::show(args, &mut |values| {
                    debug_assert!(fits(declaration, values), "{declaration:?} is called with other values");
                    polled = self.meter.poll(|| provider.poll(values, slot, context));
                });
                return polled.map(|returned| weighed::<H>(declaration, returned));
            }
        };
        answer.map(|answer| match answer {
            Answer::Cont => Ok(None),
            Answer::Done(verdict) => Ok(Some(verdict)),
            Answer::Failed(why) => Err(Fault::Failed(why)),
        })
    }

    /// What an answer, or none, comes to for the chain.
    fn settled(
        &self,
        declaration: &Declaration,
        args: &mut H::Args<'_>,
        answer: Result<Option<H::Verdict>, Fault>,
    ) -> Option<H::Verdict> {
        match answer {
            Ok(verdict) => return verdict.filter(|_| declaration.rule != crate::Rule::Every),
            Err(Fault::Suspended) => self.meter.refused(),
            Err(Fault::Failed(why)) => self.meter.failed(&why),
        }
        if declaration.failing == Failing::Defers { H::deferred(args) } else { None }
    }
}

/// What a provider in another language returned, under the rule.
fn weighed<H: Hook>(declaration: &Declaration, returned: Returned) -> Result<Option<H::Verdict>, Fault> {
    if let Returned::Failed(why) = returned {
        return Err(Fault::Failed(format!("failed: {why}")));
    }
    match declaration.rule.weigh(&returned) {
        Weighed::GoesOn => Ok(None),
        Weighed::Ends => match H::verdict(returned.clone()) {
            Some(verdict) => Ok(Some(verdict)),
            None => Err(illegal(declaration, &returned)),
        },
        Weighed::Illegal => Err(illegal(declaration, &returned)),
    }
}

fn illegal(declaration: &Declaration, returned: &Returned) -> Fault {
    let returned = match returned {
        Returned::Number(number) => number.to_string(),
        Returned::Text(text) => format!("{text:?}"),
        Returned::Nothing | Returned::Failed(_) => "nothing".to_owned(),
    };
    Fault::Failed(format!("returned {returned}, which is no answer: {}", declaration.rule))
}

/// Whether the values are those of the declared parameters.
fn fits(declaration: &Declaration, values: &[Value<'_>]) -> bool {
    values.len() == declaration.parameters.len()
        && values.iter().zip(declaration.parameters).all(|(value, parameter)| value.is(parameter.kind))
}
