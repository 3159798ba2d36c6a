//! The thread on which questions are asked: one small tokio runtime, apart from the event loops.
//!
//! Event loops run `!Send` tasks and must not carry hickory's background work; they hand a question over and await the
//! answer. The thread ends when the last handle is dropped; questions under way then end with it.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A handle to the thread. Cloning shares it.
#[derive(Clone, Debug)]
pub struct DnsRuntime(Arc<Thread>);

#[derive(Debug)]
struct Thread {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl DnsRuntime {
    /// Starts the thread, named `dns`.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("dns".to_owned()).spawn(move || {
            // Either way the last handle is gone.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })?;
        Ok(Self(Arc::new(Thread { handle, stop: Some(stop), thread: Some(thread) })))
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.0.handle
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        // A task on the thread itself may hold the last handle; a thread cannot wait for its own end.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}
