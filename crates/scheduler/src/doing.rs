//! What a thread is doing: one number, for whoever looks at the thread from outside.
//!
//! Foreign code that runs on a loop (a provider of a hook) is marked with a number of its caller's choice while it
//! runs. The watchdog reads the number of a loop that is silent, and the panic hook that of its own thread; what a
//! number means, only who chose it knows. A mark costs two stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Marks the calling thread for as long as it is kept; then the mark before it holds again.
#[must_use = "the mark is gone when this is dropped"]
#[derive(Debug)]
pub struct Doing(u64);

impl Doing {
    /// The calling thread does what `number` means to the caller; not [`Doing::NOTHING`].
    pub fn begin(number: u64) -> Self {
        Self(NOW.with(|now| {
            let before = now.load(Ordering::Relaxed);
            now.store(number, Ordering::Relaxed);
            before
        }))
    }

    /// What the calling thread is marked with.
    pub fn current() -> u64 {
        NOW.with(|now| now.load(Ordering::Relaxed))
    }

    /// The calling thread's mark, for another thread to read.
    pub(crate) fn of_this_thread() -> Arc<AtomicU64> {
        NOW.with(Arc::clone)
    }

    /// No mark.
    pub const NOTHING: u64 = 0;
}

impl Drop for Doing {
    fn drop(&mut self) {
        NOW.with(|now| now.store(self.0, Ordering::Relaxed));
    }
}

thread_local! {
    static NOW: Arc<AtomicU64> = Arc::default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_nest_and_are_of_one_thread() {
        let seen = Doing::of_this_thread();
        let outer = Doing::begin(3);
        {
            let _inner = Doing::begin(4);
            assert_eq!((Doing::current(), seen.load(Ordering::Relaxed)), (4, 4));
            assert_eq!(std::thread::spawn(Doing::current).join().unwrap(), Doing::NOTHING);
        }
        assert_eq!(Doing::current(), 3);
        drop(outer);
        assert_eq!(seen.load(Ordering::Relaxed), Doing::NOTHING);
    }
}
