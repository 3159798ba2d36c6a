//! Tells the sessions of one loop that the daemon is stopping.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;

/// Cheap to clone; belongs to one loop.
#[derive(Clone, Default)]
pub struct StopSignal(Rc<Inner>);

#[derive(Default)]
struct Inner {
    requested: Cell<bool>,
    notify: Notify,
}

impl StopSignal {
    /// Whether the stop has been requested.
    pub fn is_requested(&self) -> bool {
        self.0.requested.get()
    }

    /// Resolves once it has been.
    pub async fn requested(&self) {
        // Notify wakes whoever was enabled before the call, and the flag tells whoever comes later.
        let notified = self.0.notify.notified();
        if !self.is_requested() {
            notified.await;
        }
    }

    /// Requests it.
    pub fn request(&self) {
        self.0.requested.set(true);
        self.0.notify.notify_waiters();
    }
}
