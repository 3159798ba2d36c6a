//! The batcher: one thread that takes what all writers have put, commits it at once, and wakes them. The same for every
//! engine.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use spool::{Promise, Ticket};

use crate::load::Store;

/// What commits.
pub trait Engine: Send + 'static {
    /// Puts and deletes, durably.
    fn commit(&mut self, puts: &[u64], deletes: &[u64]);
}

/// An engine behind a batcher.
pub struct Batched {
    inbox: Arc<Inbox>,
    next: AtomicU64,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

#[derive(Default)]
struct Inbox {
    state: Mutex<State>,
    pushed: Condvar,
    commits: AtomicU64,
}

/// Messages with those who wait for them.
type Puts = Vec<(u64, Promise<()>)>;

#[derive(Default)]
struct State {
    puts: Puts,
    deletes: Vec<u64>,
    closed: bool,
}

impl Batched {
    /// Starts the thread.
    pub fn start<E: Engine>(mut engine: E) -> Self {
        let inbox = Arc::new(Inbox::default());
        let taken = Arc::clone(&inbox);
        let thread = std::thread::spawn(move || {
            while let Some((puts, deletes)) = taken.take() {
                let numbers: Vec<u64> = puts.iter().map(|(number, _)| *number).collect();
                engine.commit(&numbers, &deletes);
                taken.commits.fetch_add(1, Ordering::Relaxed);
                puts.into_iter().for_each(|(_, promise)| promise.keep(Ok(())));
            }
        });
        Self { inbox, next: AtomicU64::new(1), thread: Mutex::new(Some(thread)) }
    }
}

impl Inbox {
    fn take(&self) -> Option<(Puts, Vec<u64>)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.puts.is_empty() && !state.closed {
            state = self.pushed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (puts, deletes) = (std::mem::take(&mut state.puts), std::mem::take(&mut state.deletes));
        (!puts.is_empty()).then_some((puts, deletes))
    }
}

impl Store for Batched {
    fn put(&self) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (promise, ticket) = Ticket::new();
        self.inbox.state.lock().unwrap_or_else(PoisonError::into_inner).puts.push((number, promise));
        self.inbox.pushed.notify_one();
        ticket.wait().expect("the engine commits");
        number
    }

    fn delete(&self, number: u64) {
        self.inbox.state.lock().unwrap_or_else(PoisonError::into_inner).deletes.push(number);
    }

    fn syncs(&self) -> u64 {
        self.inbox.commits.load(Ordering::Relaxed)
    }

    fn close(&self) {
        self.inbox.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.inbox.pushed.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.map(std::thread::JoinHandle::join);
    }
}
