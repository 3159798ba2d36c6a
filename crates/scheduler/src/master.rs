//! The master scheduler: the event loop of the main thread.
//!
//! Configuration transactions, module life cycle, control commands and maintenance run here, one at a time, so that
//! they need no lock against each other. Nothing here may block; the watchdog watches it like any other loop.

use std::future::Future;
use std::io;

use tokio::runtime::LocalRuntime;

use crate::event_loop::{self, LoopHandle, Mailbox};
use crate::{Meters, Watchdog};

/// The main thread's loop, not yet running.
pub struct Master {
    runtime: LocalRuntime,
    handle: LoopHandle,
    mailbox: Mailbox,
    watchdog: Watchdog,
}

impl Master {
    /// Prepares the loop on the calling thread, which must also be the one that runs it.
    pub fn new(watchdog: &Watchdog, meters: &Meters) -> io::Result<Self> {
        let (handle, mailbox) = event_loop::new_loop("master", 0, meters);
        Ok(Self { runtime: event_loop::runtime()?, handle, mailbox, watchdog: watchdog.clone() })
    }

    /// Its address, for work that other threads hand to the master.
    pub fn handle(&self) -> LoopHandle {
        self.handle.clone()
    }

    /// Runs until `future` is done; then drops every task that is left.
    pub fn run<T>(self, future: impl Future<Output = T>) -> T {
        let Self { runtime, handle, mailbox, watchdog } = self;
        event_loop::run(&runtime, &handle, &watchdog, async {
            tokio::task::spawn_local(mailbox.open_until_stopped());
            future.await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_threads_reach_the_master_while_it_runs() {
        let master = Master::new(&Watchdog::off(), &Meters::new()).unwrap();
        let handle = master.handle();
        let (told, tell) = tokio::sync::oneshot::channel();
        let other = std::thread::spawn({
            let handle = handle.clone();
            move || handle.post(move || told.send(std::thread::current().id()).unwrap())
        });
        let ran_on = master.run(tell).unwrap();
        other.join().unwrap();
        assert_eq!(ran_on, std::thread::current().id());
        assert!(!handle.is_current());
    }
}
