//! Tickets: what a caller holds while the spool works, a future for event loops and a blocking wait for threads.
//!
//! A [`Ticket`] is the caller's half, a [`Promise`] the worker's. A promise may be split in parts, one for each module of
//! the chain that owes something; the ticket resolves when every part is kept, with the first failure if there was one.
//! Keeping a promise costs one short lock and at most one wake. A promise that is dropped is a closed spool.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::error::SpoolError;

/// The answer to come. Await it on a loop, or [`Ticket::wait`] for it on a thread that may block.
#[must_use = "an operation on the spool has happened only when its ticket resolves"]
pub struct Ticket<T> {
    half: Half<T>,
    /// The work is not yet in its pool: the pool's backlog is full.
    admission: Option<Admission>,
}

/// Resolves when a pool has taken a piece of work in.
pub type Admission = Pin<Box<dyn Future<Output = ()> + Send>>;

enum Half<T> {
    Ready(Option<Result<T, SpoolError>>),
    Pending(Arc<Shared<T>>),
}

/// The worker's half of a [`Ticket`].
pub struct Promise<T> {
    shared: Option<Arc<Shared<T>>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    kept: Condvar,
}

struct State<T> {
    parts: u32,
    result: Option<Result<T, SpoolError>>,
    waker: Option<Waker>,
    blocked: bool,
}

impl<T> Ticket<T> {
    /// A ticket that is resolved already.
    pub fn ready(result: Result<T, SpoolError>) -> Self {
        Self { half: Half::Ready(Some(result)), admission: None }
    }

    /// A ticket and its promise.
    pub fn new() -> (Promise<T>, Self) {
        let state = State { parts: 1, result: None, waker: None, blocked: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), kept: Condvar::new() });
        (Promise { shared: Some(Arc::clone(&shared)) }, Self { half: Half::Pending(shared), admission: None })
    }

    /// The same ticket, for work that must still get into its pool.
    pub(crate) fn after(mut self, admission: Option<Admission>) -> Self {
        self.admission = admission;
        self
    }

    /// Blocks the calling thread until the answer is there. Never on an event loop.
    pub fn wait(self) -> Result<T, SpoolError> {
        if let Some(admission) = self.admission {
            block_on(admission);
        }
        let shared = match self.half {
            Half::Ready(result) => return result.unwrap_or(Err(SpoolError::Closed)),
            Half::Pending(shared) => shared,
        };
        let mut state = shared.lock();
        while state.parts != 0 {
            state.blocked = true;
            state = shared.kept.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.result.take().unwrap_or(Err(SpoolError::Closed))
    }
}

impl<T> Unpin for Ticket<T> {}

impl<T> Future for Ticket<T> {
    type Output = Result<T, SpoolError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(admission) = &mut self.admission {
            if admission.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.admission = None;
        }
        match &mut self.half {
            Half::Ready(result) => Poll::Ready(result.take().unwrap_or(Err(SpoolError::Closed))),
            Half::Pending(shared) => {
                let mut state = shared.lock();
                if state.parts == 0 {
                    return Poll::Ready(state.result.take().unwrap_or(Err(SpoolError::Closed)));
                }
                match &mut state.waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    none => *none = Some(context.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

impl<T> Promise<T> {
    /// One more part of the same promise.
    pub fn part(&self) -> Self {
        if let Some(shared) = &self.shared {
            shared.lock().parts += 1;
        }
        Self { shared: self.shared.clone() }
    }

    /// Keeps this part.
    pub fn keep(mut self, result: Result<T, SpoolError>) {
        self.settle(result);
    }

    fn settle(&mut self, result: Result<T, SpoolError>) {
        let Some(shared) = self.shared.take() else { return };
        let mut state = shared.lock();
        if !matches!(state.result, Some(Err(_))) {
            state.result = Some(result);
        }
        state.parts -= 1;
        if state.parts != 0 {
            return;
        }
        let (waker, blocked) = (state.waker.take(), state.blocked);
        drop(state);
        if blocked {
            shared.kept.notify_all();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.settle(Err(SpoolError::Closed));
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Blocks the calling thread until the future resolves.
pub(crate) fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match Pin::new(&mut future).poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_resolves_when_every_part_is_kept() {
        let (promise, mut ticket) = Ticket::<()>::new();
        let part = promise.part();
        let mut context = Context::from_waker(Waker::noop());
        promise.keep(Ok(()));
        assert!(Pin::new(&mut ticket).poll(&mut context).is_pending());
        part.keep(Ok(()));
        assert!(matches!(Pin::new(&mut ticket).poll(&mut context), Poll::Ready(Ok(()))));
    }

    #[test]
    fn one_failed_part_fails_the_whole() {
        let (promise, ticket) = Ticket::<()>::new();
        let part = promise.part();
        part.keep(Err(SpoolError::Overloaded { waiting_bytes: 1 }));
        promise.keep(Ok(()));
        assert!(matches!(ticket.wait(), Err(SpoolError::Overloaded { .. })));
    }

    #[test]
    fn a_dropped_promise_is_a_closed_spool() {
        let (promise, ticket) = Ticket::<()>::new();
        drop(promise);
        assert!(matches!(ticket.wait(), Err(SpoolError::Closed)));
    }

    #[test]
    fn a_thread_may_wait_for_a_ticket() {
        let (promise, ticket) = Ticket::<u32>::new();
        let waiter = std::thread::spawn(move || ticket.wait());
        promise.keep(Ok(7));
        assert!(matches!(waiter.join(), Ok(Ok(7))));
    }
}
