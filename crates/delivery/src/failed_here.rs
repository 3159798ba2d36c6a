//! Mail that was taken in order to fail: for a recipient that policy refused after DATA, or a bounce that is discarded.
//!
//! It is in flight from its arrival until it is unlinked, and in no active or delayed queue: no connection is opened for it,
//! and nothing that holds its queue up holds it up. Whether it comes from a session or, after a restart, from the spool.
//!
//! Invariant: such a message is never attempted. One whose notification cannot be stored is kept, without its body, and
//! tried again.

use std::rc::Rc;
use std::time::Duration;

use message::FailedHere;
use queue::Arrival;
use smtp::Reply;

use crate::disposition::{Attempt, Failed};
use crate::held::{Held, InHand};
use crate::maintainer::Maintainer;
use crate::record::DomainRecord;

impl Maintainer {
    /// Fails a message that has just come in.
    pub(crate) fn fail_here(self: &Rc<Self>, record: &DomainRecord, mut arrival: Arrival, failed: &FailedHere) {
        if self.stopping.get() {
            // The spool has it, and the next start fails it.
            return;
        }
        let now = self.moment();
        let ticket = self.queues.borrow_mut().enqueue_in_flight(record.queue, &mut arrival, now);
        self.fail_held(record, self.held(ticket), arrival, failed);
    }

    /// Fails a message in hand.
    pub(crate) fn fail_held(
        self: &Rc<Self>,
        record: &DomainRecord,
        held: Held,
        mut resident: Arrival,
        failed: &FailedHere,
    ) {
        if failed.quiet {
            resident.body = None;
        }
        let failed = Failed { quiet: failed.quiet, ..Failed::unconnected(Reply::parse(&failed.reply, 554)) };
        let (maintainer, attempt) = (self.clone(), Attempt::unconnected(&record.settings()));
        let message = InHand { held, resident };
        self.spawn_holding(async move { maintainer.failed_for_good(attempt, message, failed).await });
    }

    /// As [`Maintainer::fail_here`], of a message whose notification could not be stored, in a while. A stop does not wait
    /// for it.
    pub(crate) fn fail_here_later(
        self: &Rc<Self>,
        attempt: Attempt,
        held: Held,
        mut resident: Arrival,
        failed: Failed,
    ) {
        resident.body = None;
        let maintainer = self.clone();
        self.spawn(async move {
            tokio::time::sleep(AGAIN_AFTER).await;
            maintainer.failed_for_good(attempt, InHand { held, resident }, failed).await;
        });
    }
}

/// After a notification could not be stored.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
