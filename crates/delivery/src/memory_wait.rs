//! Mail that waits for memory to be read into: noted in its record for as long as that lasts, for whoever asks what holds it.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;

use message::MessageId;

use crate::held::{Held, InHand};
use crate::maintainer::Maintainer;
use crate::record::DomainRecord;

/// The messages of one transaction that wait.
pub(crate) struct MemoryWait {
    pub(crate) messages: Vec<MessageId>,
    pub(crate) since: Instant,
}

/// Whether a transaction waits. It does no longer when this is dropped.
pub(crate) struct NotedWait {
    record: Rc<DomainRecord>,
    noted: Option<Rc<MemoryWait>>,
}

impl NotedWait {
    /// Of a transaction of this queue, which does not wait so far.
    pub(crate) fn new(record: &Rc<DomainRecord>) -> Self {
        Self { record: record.clone(), noted: None }
    }

    /// Whether it waits, as of now.
    pub(crate) fn note(&mut self, waits: bool, now: Instant, messages: impl FnOnce() -> Vec<MessageId>) {
        if waits && self.noted.is_none() {
            let wait = Rc::new(MemoryWait { messages: messages(), since: now });
            self.record.memory_waits.borrow_mut().push(wait.clone());
            self.noted = Some(wait);
        } else if !waits {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(noted) = self.noted.take() {
            self.record.memory_waits.borrow_mut().retain(|wait| !Rc::ptr_eq(wait, &noted));
        }
    }
}

impl Drop for NotedWait {
    fn drop(&mut self) {
        self.end();
    }
}

impl Maintainer {
    /// As [`Maintainer::read`], for the one message that a queue delivers on this machine.
    pub(crate) async fn read_in_turn(
        self: &Rc<Self>,
        record: &Rc<DomainRecord>,
        held: Held,
        id: MessageId,
    ) -> Option<InHand> {
        let mut read = self.deps.spool.read_for(id, record.share());
        let mut noted = NotedWait::new(record);
        let read = poll_fn(|context| {
            let polled = Pin::new(&mut read).poll(context);
            noted.note(polled.is_pending() && read.awaits_memory(), self.deps.clock.now(), || vec![id]);
            polled
        });
        let read = read.await;
        self.taken_from_spool(held, id, read)
    }
}
