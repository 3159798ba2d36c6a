//! Jobs: blocking work, and how its end is told to whoever asked (reference: extending.md section 6).

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;

use tokio::sync::Semaphore;

use crate::LoopHandle;

/// A piece of work for a thread pool. One thread touches it at a time.
pub struct Job {
    pub(crate) work: Box<dyn FnOnce() + Send>,
    pub(crate) completion: Completion,
    pub(crate) skip_on_shutdown: bool,
}

/// How a job's end is told. The module interface's MODULE mode, which reinstates a suspended validation, is
/// [`crate::ThreadPool::run`]: the validation waits on its future.
pub enum Completion {
    /// Not at all.
    None,
    /// Wakes a task or an event.
    Event(Waker),
    /// Calls back on the thread that did the work.
    Callback(Box<dyn FnOnce(Outcome) + Send>),
    /// Calls back on a loop: the master scheduler, or the loop whose state the callback touches. Dropped if that loop
    /// has ended.
    CallbackSched(LoopHandle, Box<dyn FnOnce(Outcome) + Send>),
    /// Adds a permit.
    Semaphore(Arc<Semaphore>),
    /// The work runs inline, on the thread that submits it.
    Sync,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The work ran to its end.
    Finished,
    /// The work panicked.
    Panicked,
    /// The work never ran: it was still queued at shutdown and marked as skippable.
    Skipped,
}

/// Why a job gives no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// The pools are shutting down and take no new jobs.
    ShuttingDown,
    /// It panicked; the panic is in the log and in `scheduler.pool.{name}.panics`.
    Panicked,
    /// The pool has no thread and the system refuses to start one.
    NoThread,
}

impl Job {
    /// A job that tells nobody.
    pub fn new(work: impl FnOnce() + Send + 'static) -> Self {
        Self { work: Box::new(work), completion: Completion::None, skip_on_shutdown: false }
    }

    /// Tells its end this way.
    pub fn completion(mut self, completion: Completion) -> Self {
        self.completion = completion;
        self
    }

    /// Shutdown need not wait for it while it is only queued.
    pub fn skip_on_shutdown(mut self) -> Self {
        self.skip_on_shutdown = true;
        self
    }

    /// Does the work. A panic stays inside.
    pub(crate) fn run(self) -> Done {
        let result = catch_unwind(AssertUnwindSafe(self.work));
        Done {
            outcome: if result.is_ok() { Outcome::Finished } else { Outcome::Panicked },
            completion: self.completion,
        }
    }

    /// Drops the work.
    pub(crate) fn skip(self) -> Done {
        Done { outcome: Outcome::Skipped, completion: self.completion }
    }
}

/// A job that is over and not yet told.
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    completion: Completion,
}

impl Done {
    /// Tells. False if the callback panicked.
    pub(crate) fn tell(self) -> bool {
        let outcome = self.outcome;
        match self.completion {
            Completion::None | Completion::Sync => true,
            Completion::Event(waker) => {
                waker.wake();
                true
            }
            Completion::Callback(callback) => catch_unwind(AssertUnwindSafe(|| callback(outcome))).is_ok(),
            Completion::CallbackSched(handle, callback) => {
                handle.post(move || callback(outcome));
                true
            }
            Completion::Semaphore(semaphore) => {
                semaphore.add_permits(1);
                true
            }
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ShuttingDown => "the thread pools are shutting down",
            Self::Panicked => "the job panicked",
            Self::NoThread => "the thread pool could not start a thread",
        })
    }
}

impl std::error::Error for Rejected {}
