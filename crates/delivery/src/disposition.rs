//! What becomes of a message after an attempt: delivered, delayed, or failed and its sender told.
//!
//! Invariant (law 1): a message is unlinked only after its next hop took it or its notification is safe.

use std::cell::Cell;
use std::future::Future as _;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use logging::{DeliveryRecord, FailureRecord, Stage};
use message::{Body, Envelope, MessageId};
use queue::{Moment, Transient};
use smtp::Reply;

use crate::held::{Held, InHand};
use crate::maintainer::Maintainer;
use crate::options::QueueSettings;
use crate::replies::BODY_MISSING;
use crate::seams::{FailedMessage, Local};

/// The attempt a disposition belongs to, for the records.
#[derive(Clone)]
pub(crate) struct Attempt {
    pub(crate) settings: Rc<QueueSettings>,
    pub(crate) connection: MessageId,
    pub(crate) remote: Option<(Arc<str>, IpAddr)>,
}

/// How an attempt failed.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) stage: Stage,
    pub(crate) bytes: u64,
    pub(crate) reply: Reply,
    /// The sender is not told.
    pub(crate) quiet: bool,
}

impl Failed {
    /// Without a connection.
    pub(crate) fn unconnected(reply: Reply) -> Self {
        Self { stage: Stage::NotConnected, bytes: 0, reply, quiet: false }
    }
}

/// What is left to wait for; usually nothing.
pub(crate) type Rest = Option<Local<'static, ()>>;

impl Attempt {
    /// An attempt that never had a connection.
    pub(crate) fn unconnected(settings: &Rc<QueueSettings>) -> Self {
        Self { settings: settings.clone(), connection: MessageId::NULL, remote: None }
    }

    fn address(&self) -> Option<IpAddr> {
        self.remote.as_ref().map(|(_, address)| *address)
    }
}

impl Maintainer {
    /// The next hop took the message.
    pub(crate) fn delivered(self: &Rc<Self>, attempt: &Attempt, message: InHand, bytes: u64) -> Rest {
        let record = DeliveryRecord {
            at: self.deps.clock.unix(),
            envelope: message.envelope(),
            connection: attempt.connection,
            bytes,
            remote: attempt.address(),
        };
        attempt.settings.logs.delivery(&record);
        self.meter.delivered.add(1);
        let id = message.envelope().id;
        self.queues.borrow_mut().delivered(message.held.settle());
        self.unlink(id)
    }

    /// The attempt failed: for now or for good, as the reply says.
    pub(crate) fn attempt_failed(self: &Rc<Self>, attempt: &Attempt, message: InHand, failed: Failed) -> Rest {
        if failed.reply.is_permanent() {
            let (maintainer, attempt) = (self.clone(), attempt.clone());
            return Some(Box::pin(async move { maintainer.failed_for_good(attempt, message, failed).await }));
        }
        self.failed_for_now(attempt, message, failed)
    }

    /// A transient failure: the message is delayed, or its time is over and it fails for good.
    pub(crate) fn failed_for_now(self: &Rc<Self>, attempt: &Attempt, message: InHand, failed: Failed) -> Rest {
        let InHand { held, mut resident } = message;
        let now = self.moment();
        let text = failed.reply.to_string();
        let outcome = self.queues.borrow_mut().transient_failure(held.settle(), &text, now, &attempt.settings.retry);
        match outcome {
            Transient::Delayed { state, place } => {
                let record = record_of(now, (&resident.envelope, resident.body.as_ref()), attempt, &failed, &text);
                attempt.settings.logs.transient(&record);
                self.meter.transient.add(1);
                resident.envelope.delivery = state;
                if attempt.settings.writes_retries {
                    self.rewrite(&resident.envelope);
                }
                let limits = self.resident_limits(&attempt.settings);
                self.queues.borrow_mut().keep(place, resident, &limits);
                self.wake_at(self.queues.borrow().next_due());
                None
            }
            Transient::Expired { ticket, reply } => {
                let failed = Failed { reply: Reply::parse(&reply, 554), ..failed };
                let (maintainer, attempt) = (self.clone(), attempt.clone());
                let message = InHand { held: self.held(ticket), resident };
                Some(Box::pin(async move { maintainer.failed_for_good(attempt, message, failed).await }))
            }
        }
    }

    /// A permanent failure: the sender is told, then the message goes. If the notification cannot be stored the message
    /// stays.
    pub(crate) async fn failed_for_good(self: Rc<Self>, attempt: Attempt, message: InHand, failed: Failed) {
        let InHand { held, resident } = message;
        let failure = FailedMessage {
            envelope: resident.envelope,
            body: resident.body,
            reply: failed.reply.clone(),
            stage: failed.stage,
            remote: attempt.remote.clone(),
            generation: attempt.settings.generation.clone(),
        };
        let text = failed.reply.to_string();
        let logged = Cell::new(false);
        let log = || {
            if !logged.replace(true) {
                let record =
                    record_of(self.moment(), (&failure.envelope, failure.body.as_ref()), &attempt, &failed, &text);
                attempt.settings.logs.permanent(&record);
            }
        };
        if !failed.quiet
            && let Err(error) = self.bouncer.bounce(&failure, &log).await
        {
            let id = failure.envelope.id;
            tracing::error!(target: "BOUNCE", "message {id} stays queued, its notification was not stored: {}", error.0);
            let due = self.moment().seconds + NOT_STORED_RETRY_SECONDS;
            self.meter.not_notified.add(1);
            if failure.envelope.delivery.failed.is_some() {
                let resident = self.owners.residents.resident(failure.envelope, None);
                return self.fail_here_later(attempt, held, resident, failed);
            }
            self.queues.borrow_mut().postpone(held.settle(), due);
            return self.wake_at(Some(due));
        }
        // Where no notification was due.
        log();
        self.meter.permanent.add(1);
        self.queues.borrow_mut().failed(held.settle());
        if let Some(rest) = self.unlink(failure.envelope.id) {
            rest.await;
        }
    }

    /// Reads a message that is not in memory. `None` when that failed: the message is then dealt with.
    pub(crate) async fn read(self: &Rc<Self>, held: Held, id: MessageId) -> Option<InHand> {
        let read = self.deps.spool.read(id).await;
        self.taken_from_spool(held, id, read)
    }

    /// What came of reading a message.
    pub(crate) fn taken_from_spool(
        self: &Rc<Self>,
        held: Held,
        id: MessageId,
        read: Result<(Envelope, Body), spool::SpoolError>,
    ) -> Option<InHand> {
        self.found(held, id, read.map(|(envelope, body)| (envelope, Some(body))))
    }

    /// What came of reading a message's envelope alone.
    pub(crate) fn envelope_from_spool(
        self: &Rc<Self>,
        held: Held,
        id: MessageId,
        read: Result<Envelope, spool::SpoolError>,
    ) -> Option<InHand> {
        self.found(held, id, read.map(|envelope| (envelope, None)))
    }

    fn found(
        self: &Rc<Self>,
        held: Held,
        id: MessageId,
        read: Result<(Envelope, Option<Body>), spool::SpoolError>,
    ) -> Option<InHand> {
        match read {
            Ok((mut envelope, body)) => {
                if let Some(ticket) = held.ticket() {
                    envelope.delivery.retries = self.queues.borrow().retries(ticket);
                }
                let failed = envelope.delivery.failed.clone();
                let resident = self.owners.residents.resident(envelope, body);
                let Some(failed) = failed else { return Some(InHand { held, resident }) };
                // Whoever was to fail it let go of it.
                self.fail_held(&self.record(&resident.envelope.queue), held, resident, &failed);
            }
            Err(error) if error.is_transient() => {
                tracing::error!(target: "SPOOL", "message {id} cannot be read now, trying again: {error}");
                let due = self.moment().seconds + UNREADABLE_RETRY_SECONDS;
                self.queues.borrow_mut().postpone(held.returned(), due);
                self.wake_at(Some(due));
            }
            // Nothing to send and nobody to tell: what is left of it stays on disk for the operator.
            Err(error) => {
                tracing::error!(target: "SPOOL", critical = true, "{BODY_MISSING}; message {id} leaves its queue: {error}");
                self.meter.unreadable.add(1);
                self.queues.borrow_mut().forgotten(held.returned());
            }
        }
        None
    }

    /// Gives messages back untried, keeping their order.
    pub(crate) fn put_back(&self, messages: impl DoubleEndedIterator<Item = InHand>) {
        let mut queues = self.queues.borrow_mut();
        for message in messages.rev() {
            queues.put_back(message.held.returned(), Some(message.resident));
        }
    }

    fn unlink(&self, id: MessageId) -> Rest {
        let mut unlinked = self.deps.spool.unlink(id);
        // The spool takes it at once unless its backlog is full; then whoever delivers waits, so that a crash can repeat
        // only so many deliveries.
        match std::pin::Pin::new(&mut unlinked).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => {
                report_unlink(id, result);
                None
            }
            Poll::Pending => Some(Box::pin(async move { report_unlink(id, unlinked.await) })),
        }
    }

    /// Writes the delivery state back. A crash before it is durable only makes the next attempt come too early.
    pub(crate) fn rewrite(&self, envelope: &Envelope) {
        let (id, rewritten) = (envelope.id, self.deps.spool.rewrite(envelope));
        self.spawn(async move {
            if let Err(error) = rewritten.await {
                tracing::warn!(target: "SPOOL", "delivery state of message {id} was not written: {error}");
            }
        });
    }
}

fn record_of<'a>(
    now: Moment,
    (envelope, body): (&'a Envelope, Option<&Body>),
    attempt: &Attempt,
    failed: &Failed,
    reply: &'a str,
) -> FailureRecord<'a> {
    FailureRecord {
        at: now.unix,
        envelope,
        connection: attempt.connection,
        bytes: failed.bytes,
        // Of a body that is not in memory the stuffed dots are not known.
        size: body.map_or(envelope.rendered_bytes().saturating_sub(TERMINATOR_OCTETS), |body| {
            message::rendered(body, envelope.edits.as_deref()).content_octets()
        }),
        stage: failed.stage,
        remote: attempt.address(),
        reply,
        is_bounce: queue::is_bounce_address(&attempt.settings.generation, envelope.reverse_path.as_str()),
    }
}

fn report_unlink(id: MessageId, result: Result<(), spool::SpoolError>) {
    if let Err(error) = result {
        tracing::error!(target: "SPOOL", "message {id} is done but could not be unlinked, a restart may repeat it: {error}");
    }
}

/// The last line of a body in wire form.
const TERMINATOR_OCTETS: u64 = 3;
/// After a notification could not be stored.
const NOT_STORED_RETRY_SECONDS: u64 = 60;
/// After a message could not be read for now.
const UNREADABLE_RETRY_SECONDS: u64 = 60;
