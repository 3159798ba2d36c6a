//! What signals ask of the daemon: SIGTERM and SIGINT to stop, SIGHUP to reload.
//!
//! Caught from the first moment on, because each would end a process that has not said otherwise, and obeyed once the daemon
//! runs: what came during the start waits until then. Nothing is held back by a mask, which programs of logs would inherit;
//! SIGPIPE is ignored, as in every Rust program.

use std::rc::Rc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;
use crate::house::{House, Reach};

/// The signals that are obeyed.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Catches them; whichever runtime runs next hands on what came.
    pub fn catch() -> Result<Self, Failure> {
        let failed = |error| Failure::System(format!("cannot catch signals: {error}"));
        // Registering asks for a runtime, and there is none yet. This one runs nothing and has no thread.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
        let _inside = runtime.enter();
        let catch = |kind| signal(kind).map_err(failed);
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hangup: catch(SignalKind::hangup())?,
        })
    }

    /// Does what they ask, for as long as the daemon lives.
    pub async fn obey(mut self, house: Rc<House>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => house.request_stop("SIGTERM"),
                _ = self.interrupt.recv() => house.request_stop("SIGINT"),
                _ = self.hangup.recv() => {
                    let house = house.clone();
                    // The result is in the paniclog: a signal has nobody to answer to.
                    tokio::task::spawn_local(async move { drop(house.reload(None, Reach::Kept, "SIGHUP").await) });
                }
            }
        }
    }
}
