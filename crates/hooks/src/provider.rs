//! What a provider is: of Rust, by the hook's type, or of another language, by values.

use std::any::Any;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::point::Hook;
use crate::value::Value;

/// What a Rust provider answers.
pub enum Answer<V> {
    /// Nothing to say: go on with the next provider.
    Cont,
    /// Decided.
    Done(V),
    /// It could not do its work, and why. What that comes to, the hook's declaration says.
    Failed(String),
}

/// What a provider in another language returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Returned {
    /// Nothing, or NULL.
    Nothing,
    /// A number.
    Number(i64),
    /// A text.
    Text(Box<str>),
    /// It could not do its work, and why.
    Failed(String),
}

/// A Rust provider that answers at once. Called on the thread that the hook's declaration names; must not block.
pub type Provider<H> = Arc<dyn Fn(&mut <H as Hook>::Args<'_>) -> Answer<<H as Hook>::Verdict> + Send + Sync>;

/// A Rust provider that may suspend: polled as [`Provide::poll`] is.
pub type PolledProvider<H> = Arc<
    dyn Fn(&mut <H as Hook>::Args<'_>, &mut Slot, &mut Context<'_>) -> Poll<Answer<<H as Hook>::Verdict>> + Send + Sync,
>;

/// A provider in another language, registered by the hook's name.
pub trait Provide: Send + Sync {
    /// Answers, or suspends the call after it has seen to it that `context` is woken. It is polled again then, and may
    /// be without cause; `slot` is what it remembers of this call. Called on the thread that the hook's declaration
    /// names; must not block. The values hold for this poll only.
    fn poll(&self, arguments: &mut [Value<'_>], slot: &mut Slot, context: &mut Context<'_>) -> Poll<Returned>;
}

impl<F> Provide for F
where
    F: Fn(&mut [Value<'_>], &mut Slot, &mut Context<'_>) -> Poll<Returned> + Send + Sync,
{
    fn poll(&self, arguments: &mut [Value<'_>], slot: &mut Slot, context: &mut Context<'_>) -> Poll<Returned> {
        self(arguments, slot, context)
    }
}

/// Where in the order a provider comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before those registered so far.
    First,
    /// After those registered so far.
    Last,
}

/// The memory of one call and provider: a coroutine, a job, a future. Dropped however the call ends: by an answer, by a
/// timeout, or because the session is gone. Nothing is allocated before something is kept.
#[derive(Default)]
pub struct Slot(Option<Box<dyn Any>>);

impl Slot {
    /// What is kept, made at the first poll of the call. One call keeps one type: another one replaces what was kept.
    pub fn keep<T: 'static>(&mut self, make: impl FnOnce() -> T) -> &mut T {
        if !self.0.as_ref().is_some_and(|kept| kept.is::<T>()) {
            self.0 = Some(Box::new(make()));
        }
        self.0.as_mut().and_then(|kept| kept.downcast_mut()).expect("it was just made if it was not there")
    }

    /// What is kept, if it is of this type.
    pub fn kept<T: 'static>(&mut self) -> Option<&mut T> {
        self.0.as_mut()?.downcast_mut()
    }

    /// Polls a future that is made at the first poll of the call and kept until it is ready.
    pub fn wait<T: 'static>(
        &mut self,
        context: &mut Context<'_>,
        make: impl FnOnce() -> std::pin::Pin<Box<dyn Future<Output = T>>>,
    ) -> Poll<T> {
        self.keep(make).as_mut().poll(context)
    }
}
