//! Acts on a ticket's answer where it is given, without a thread or a loop that waits for it.
//!
//! The waker of the poll is the relay itself: whoever keeps the last part of the promise polls the ticket, finds the
//! answer and passes it on.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::error::SpoolError;
use crate::ticket::Ticket;

type Act<T> = Box<dyn FnOnce(Result<T, SpoolError>) + Send>;

struct Relay<T>(Mutex<Option<(Ticket<T>, Act<T>)>>);

/// Calls `act` with the answer: now if it is there, otherwise on the thread that gives it.
pub fn relay<T: Send + 'static>(ticket: Ticket<T>, act: impl FnOnce(Result<T, SpoolError>) + Send + 'static) {
    Arc::new(Relay(Mutex::new(Some((ticket, Box::new(act)))))).wake();
}

impl<T: Send + 'static> Wake for Relay<T> {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((mut ticket, act)) = waiting.take() else { return };
        match Pin::new(&mut ticket).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => {
                drop(waiting);
                act(result);
            }
            Poll::Pending => *waiting = Some((ticket, act)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn an_answer_is_passed_on_whether_it_comes_before_or_after() {
        let (told, tells) = mpsc::channel();
        let tell = told.clone();
        relay(Ticket::ready(Ok(1)), move |result| tell.send(result.unwrap()).unwrap());
        assert_eq!(tells.try_recv(), Ok(1));
        let (promise, ticket) = Ticket::new();
        relay(ticket, move |result| told.send(result.unwrap()).unwrap());
        assert!(tells.try_recv().is_err());
        promise.keep(Ok(2));
        assert_eq!(tells.try_recv(), Ok(2));
    }
}
