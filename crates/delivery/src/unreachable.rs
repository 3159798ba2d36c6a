//! What happens to a queue whose mail cannot be sent at all: no route, no host that answers, or the operator's word.
//!
//! Mail of a domain whose hosts do not answer stays active while they are tried again every host_failure_retry, and is
//! delayed as a whole after mx_failures_to_delay rounds or connect_timeout_to_delay (reference: operations.md section 4).
//! Mail that can never be sent is drained into a failure.

use std::rc::Rc;
use std::time::{Duration, Instant};

use message::MessageId;
use queue::{Taken, Ticket};
use smtp::Reply;
use smtp::client::Failure;
use tokio::task::JoinSet;

use crate::disposition::{Attempt, Failed, InHand};
use crate::maintainer::Maintainer;
use crate::options::QueueSettings;
use crate::record::DomainRecord;
use crate::replies::{LOOKUP_FAILED, NO_HOST, NULL_MX, PROHIBITED, UNREACHABLE};
use crate::route::{Candidate, Unroutable};

/// Why a connection did not come about.
pub(crate) enum NotOpened {
    Unroutable(Unroutable),
    /// Every address failed or is being left alone.
    Unreachable {
        /// When the first of them may be tried again.
        retry_at: Instant,
        /// The last host that answered, but gave no session.
        refusal: Option<Box<(Candidate, Failure)>>,
        connection: MessageId,
    },
}

impl Maintainer {
    /// Deals with a queue for which no session could be opened.
    pub(crate) async fn not_opened(
        self: &Rc<Self>,
        record: &Rc<DomainRecord>,
        settings: &Rc<QueueSettings>,
        not_opened: NotOpened,
    ) {
        if self.stopping.get() {
            return;
        }
        let pause: Duration = settings.host_failure_retry.into();
        let now = self.deps.clock.now();
        match not_opened {
            NotOpened::Unroutable(Unroutable::NullMx) => self.drain(record, settings, NULL_MX, false).await,
            NotOpened::Unroutable(Unroutable::Prohibited) => self.drain(record, settings, PROHIBITED, false).await,
            NotOpened::Unroutable(Unroutable::NoHost) => {
                record.hold_until.set(Some(now + pause));
                record.dns_failures.set(record.dns_failures.get() + 1);
                let purge = settings.dns_failures_to_purge;
                let reply = if purge != 0 && purge <= record.dns_failures.get() { LOOKUP_FAILED } else { NO_HOST };
                self.drain(record, settings, reply, false).await;
            }
            NotOpened::Unroutable(Unroutable::Lookup(what)) => {
                tracing::warn!(target: "DNS", "no route to {} now: {what}", record.name.domain);
                self.not_reached(record, settings, now + pause).await;
            }
            NotOpened::Unreachable { retry_at, refusal, connection } => {
                if let Some(refusal) = refusal {
                    self.charge_one(record, settings, connection, *refusal).await;
                }
                self.not_reached(record, settings, retry_at).await;
            }
        }
    }

    /// Empties the active queue, as it stands, into one verdict. Whatever comes in meanwhile is treated afresh.
    pub(crate) async fn drain(
        self: &Rc<Self>,
        record: &Rc<DomainRecord>,
        settings: &Rc<QueueSettings>,
        reply: Reply,
        quiet: bool,
    ) {
        if record.draining.replace(true) {
            return;
        }
        let attempt = Attempt::unconnected(settings);
        let failed = Failed { quiet, ..Failed::unconnected(reply) };
        let mut settling = JoinSet::new();
        let active = self.queues.borrow().active(record.queue);
        for _ in 0..active {
            let Some(taken) = self.queues.borrow_mut().take(record.queue) else { break };
            let (maintainer, attempt, failed) = (self.clone(), attempt.clone(), failed.clone());
            settling.spawn_local(async move { maintainer.fail_taken(attempt, taken, failed).await });
            if DRAINED_AT_ONCE <= settling.len() {
                settling.join_next().await;
            }
        }
        while settling.join_next().await.is_some() {}
        record.draining.set(false);
        self.maintain(record, false);
    }

    /// Fails an over-age message instead of trying it.
    pub(crate) fn fail_untried(self: &Rc<Self>, settings: &Rc<QueueSettings>, taken: Taken, text: &str) {
        let failed = Failed::unconnected(Reply::parse(text, 554));
        let (maintainer, attempt) = (self.clone(), Attempt::unconnected(settings));
        self.spawn_holding(async move { maintainer.fail_taken(attempt, taken, failed).await });
    }

    async fn fail_taken(self: Rc<Self>, attempt: Attempt, taken: Taken, failed: Failed) {
        let Some(message) = self.in_hand(taken.ticket, taken.id, taken.resident).await else { return };
        if let Some(rest) = self.attempt_failed(&attempt, message, failed) {
            rest.await;
        }
    }

    async fn in_hand(
        self: &Rc<Self>,
        ticket: Ticket,
        id: MessageId,
        resident: Option<queue::Arrival>,
    ) -> Option<InHand> {
        match resident {
            Some(resident) => Some(InHand { ticket, resident }),
            None => self.read(ticket, id).await,
        }
    }

    /// A host answered and refused the session: one message bears its reply, so that the log and in the end the sender
    /// learn it. The others wait for the next round.
    async fn charge_one(
        self: &Rc<Self>,
        record: &Rc<DomainRecord>,
        settings: &Rc<QueueSettings>,
        connection: MessageId,
        (candidate, failure): (Candidate, Failure),
    ) {
        let Some(taken) = self.next(record, settings) else { return };
        let Some(message) = self.in_hand(taken.ticket, taken.id, taken.resident).await else { return };
        let remote = Some((candidate.host, candidate.remote.ip()));
        let attempt = Attempt { settings: settings.clone(), connection, remote };
        let stage = logging::Stage::ALL[usize::from(failure.stage.number())];
        // A 5yz greeting speaks of the host, not of the message: another host, or another day, may take it.
        let failed = Failed { stage, bytes: 0, reply: failure.reply, quiet: false };
        if let Some(rest) = self.failed_for_now(&attempt, message, failed) {
            rest.await;
        }
    }

    async fn not_reached(self: &Rc<Self>, record: &Rc<DomainRecord>, settings: &Rc<QueueSettings>, retry_at: Instant) {
        let now = self.deps.clock.now();
        let (failures, since) = record.not_reached(now, retry_at);
        let too_often = settings.mx_failures_to_delay != 0 && settings.mx_failures_to_delay <= failures;
        let too_long = Duration::from(settings.connect_timeout_to_delay) <= now - since;
        if too_often || too_long {
            record.failures.set(0);
            record.unreachable_since.set(None);
            self.drain(record, settings, UNREACHABLE, false).await;
        }
    }
}

/// Messages of a drain that are read or notified side by side.
const DRAINED_AT_ONCE: usize = 32;
