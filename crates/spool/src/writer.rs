//! The queue before a store's one writing thread, shared by the back ends that are not the journal.
//!
//! In: what callers' commits staged. Out: everything that waits, as one batch, so that a store can make it durable at once;
//! while it does, the next batch gathers. Pushing never blocks; past its bounds mail is refused and unlinkers are made to
//! wait.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use message::MessageId;

use crate::chain::{CommitSet, Staged};
use crate::error::SpoolError;
use crate::ticket::Promise;

/// One piece of work.
pub enum Op {
    /// A body, headers or both.
    Store(Staged, Promise<()>),
    /// A finished message; a promise if the backlog was full.
    Unlink(MessageId, Option<Promise<()>>),
    /// The last one: everything durable, then end.
    Close(Promise<()>),
}

/// The queue.
pub struct Writer {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    bytes_max: u64,
    unlinks_max: usize,
}

#[derive(Default)]
struct Waiting {
    ops: Vec<Op>,
    bytes: u64,
    unlinks: usize,
    closed: bool,
}

impl Writer {
    /// A queue that holds so many octets of mail, and so many unlinks before whoever unlinks has to wait.
    pub fn new(bytes_max: u64, unlinks_max: usize) -> Self {
        Self { waiting: Mutex::default(), filled: Condvar::new(), bytes_max, unlinks_max }
    }

    /// Takes what a module staged in a set.
    pub fn push(&self, staged: Staged, set: &mut CommitSet) {
        let mut staged = staged;
        let unlinked = std::mem::take(&mut staged.unlinked);
        let mut waiting = self.lock();
        if !staged.headers.is_empty() {
            let part = set.part();
            let bytes = octets(&staged);
            if waiting.closed {
                part.keep(Err(SpoolError::Closed));
            } else if waiting.bytes != 0 && self.bytes_max < waiting.bytes + bytes {
                part.keep(Err(SpoolError::Overloaded { waiting_bytes: waiting.bytes }));
            } else {
                waiting.bytes += bytes;
                waiting.ops.push(Op::Store(staged, part));
            }
        }
        for id in unlinked {
            waiting.unlinks += 1;
            let full = self.unlinks_max < waiting.unlinks || waiting.closed;
            let part = full.then(|| set.part());
            if !waiting.closed {
                waiting.ops.push(Op::Unlink(id, part));
            }
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// The last operation; nothing is taken after it. Nothing happens the second time.
    pub fn close(&self, promise: Promise<()>) {
        let mut waiting = self.lock();
        if !std::mem::replace(&mut waiting.closed, true) {
            waiting.ops.push(Op::Close(promise));
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// Everything that waits, at least one operation; blocks until there is one. `None` after the close was taken.
    pub fn take(&self) -> Option<Vec<Op>> {
        let mut waiting = self.lock();
        while waiting.ops.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.bytes = 0;
        waiting.unlinks = 0;
        Some(std::mem::take(&mut waiting.ops))
    }

    /// Octets of mail and unlinks that wait.
    pub fn depth(&self) -> (u64, u64) {
        let waiting = self.lock();
        (waiting.bytes, waiting.unlinks as u64)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn octets(staged: &Staged) -> u64 {
    (staged.body_octets() + staged.encoded.len()) as u64
}
