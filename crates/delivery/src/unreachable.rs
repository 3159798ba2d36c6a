//! What happens to a queue whose mail cannot be sent at all: no route, no host that answers, or the operator's word.
//!
//! Mail of a domain whose hosts do not answer stays active while they are tried again every host_failure_retry, and is
//! delayed as a whole after mx_failures_to_delay rounds or connect_timeout_to_delay (reference: operations.md section 4).
//! Mail that can never be sent is drained into a failure.

use std::rc::Rc;
use std::time::{Duration, Instant};

use message::MessageId;
use scheduler::Lack;
use smtp::Reply;
use smtp::client::Failure;
use tokio::task::JoinSet;

use crate::disposition::{Attempt, Failed};
use crate::held::{InHand, Taken};
use crate::limits::{Awaits, Saturated};
use crate::maintainer::Maintainer;
use crate::options::QueueSettings;
use crate::record::DomainRecord;
use crate::replies::{BLACKHOLED, LACKING, UNREACHABLE};
use crate::route::{Candidate, Unroutable};

/// Why a connection did not come about.
pub(crate) enum NotOpened {
    Unroutable(Unroutable),
    /// A throttle, or every host that is not left alone, has no room: nothing has failed.
    Saturated(Saturated),
    /// There was an idle session for its mail.
    TakenOver,
    /// Every address failed or is being left alone.
    Unreachable {
        /// When the first of them may be tried again.
        retry_at: Instant,
        /// The last host that answered, but gave no session.
        refusal: Option<Box<(Candidate, Failure)>>,
        /// All of them have said that they never take mail.
        for_good: bool,
        /// One was tried; else each is being left alone after an earlier failure.
        tried: bool,
        /// What this machine lacks for one of them.
        lack: Option<Lack>,
        connection: MessageId,
    },
}

/// A verdict that the active mail of one queue is being emptied into.
pub(crate) struct Drain {
    attempt: Attempt,
    failed: Failed,
    /// Messages that were active when the verdict was given, and are still to be taken.
    left: usize,
}

impl Drain {
    /// The verdict, and the messages still to be taken.
    pub(crate) fn verdict(&self) -> (Reply, usize) {
        (self.failed.reply.clone(), self.left)
    }
}

/// Held by the task that empties a queue: other attempts begin again when it ends, however that is.
struct Draining(Rc<DomainRecord>);

impl Drop for Draining {
    fn drop(&mut self) {
        *self.0.drain.borrow_mut() = None;
    }
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
        match not_opened {
            NotOpened::TakenOver => {}
            NotOpened::Saturated(saturated) => self.saturated(record, Awaits::Connection, saturated),
            NotOpened::Unroutable(unroutable) => self.unroutable(record, settings, unroutable).await,
            NotOpened::Unreachable { retry_at, refusal, for_good, tried, lack, connection } => {
                if let Some(refusal) = refusal {
                    self.charge_one(record, settings, connection, *refusal, for_good).await;
                }
                record.lack.set(lack.filter(|_| !tried));
                record.failures.set(record.failures.get() + u64::from(tried));
                let reply = if lack.is_some() && !tried { LACKING } else { UNREACHABLE };
                self.not_reached(record, settings, retry_at, tried, reply).await;
            }
        }
    }

    /// Empties the active queue, as it stands, into one verdict, unless it is being emptied already. Whatever comes in
    /// meanwhile is treated afresh.
    pub(crate) async fn drain(self: &Rc<Self>, record: &Rc<DomainRecord>, settings: &Rc<QueueSettings>, reply: Reply) {
        if record.is_draining() {
            return;
        }
        self.give_verdict(record, settings, Failed::unconnected(reply));
        self.empty(Draining(record.clone())).await;
    }

    /// The operator's verdict on a queue, as it stands: all that is delayed or active fails. It replaces the verdict of a
    /// drain under way. How many messages it is on.
    pub(crate) fn purge(self: &Rc<Self>, record: &Rc<DomainRecord>, reply: &Reply, quiet: bool) -> usize {
        self.queues.borrow_mut().flush_queue(record.queue);
        let active = self.queues.borrow().active(record.queue);
        if active != 0 {
            let under_way = record.is_draining();
            self.give_verdict(record, &record.settings(), Failed { quiet, ..Failed::unconnected(reply.clone()) });
            if !under_way {
                let (maintainer, draining) = (self.clone(), Draining(record.clone()));
                self.spawn_holding(async move { maintainer.empty(draining).await });
            }
        }
        active
    }

    /// Fails the active mail of a queue that goes nowhere.
    pub(crate) fn swallow(self: &Rc<Self>, record: &Rc<DomainRecord>, settings: &Rc<QueueSettings>) {
        if self.queues.borrow().active(record.queue) != 0 && !self.stopping.get() && !record.is_draining() {
            self.give_verdict(record, settings, Failed::unconnected(BLACKHOLED));
            let (maintainer, draining) = (self.clone(), Draining(record.clone()));
            self.spawn_holding(async move { maintainer.empty(draining).await });
        }
    }

    /// From here on the active mail is taken for this verdict only.
    fn give_verdict(&self, record: &DomainRecord, settings: &Rc<QueueSettings>, failed: Failed) {
        let left = self.queues.borrow().active(record.queue);
        *record.drain.borrow_mut() = Some(Drain { attempt: Attempt::unconnected(settings), failed, left });
    }

    async fn empty(self: &Rc<Self>, draining: Draining) {
        let record = draining.0.clone();
        let mut settling = JoinSet::new();
        loop {
            // In turn with the other queues, for a hundred thousand of them may be emptied at once. It is never closed.
            let turn = self.drained.clone().acquire_owned().await.ok();
            match self.next_drained(&record) {
                Some((attempt, failed, taken)) => {
                    let maintainer = self.clone();
                    settling.spawn_local(async move {
                        maintainer.fail_taken(attempt, taken, failed).await;
                        drop(turn);
                    });
                    while settling.try_join_next().is_some() {}
                }
                // Another verdict may come until the last message is dealt with.
                None => {
                    drop(turn);
                    if settling.join_next().await.is_none() {
                        break;
                    }
                }
            }
        }
        drop(draining);
        self.maintain(&record, false);
    }

    fn next_drained(self: &Rc<Self>, record: &DomainRecord) -> Option<(Attempt, Failed, Taken)> {
        let mut drain = record.drain.borrow_mut();
        let drain = drain.as_mut().filter(|drain| drain.left != 0)?;
        drain.left -= 1;
        let taken = self.queues.borrow_mut().take(record.queue)?;
        Some((drain.attempt.clone(), drain.failed.clone(), self.taken(taken)))
    }

    /// Fails an over-age message instead of trying it.
    pub(crate) fn fail_untried(self: &Rc<Self>, settings: &Rc<QueueSettings>, taken: Taken, text: &str) {
        let failed = Failed::unconnected(Reply::parse(text, 554));
        let (maintainer, attempt) = (self.clone(), Attempt::unconnected(settings));
        self.spawn_holding(async move { maintainer.fail_taken(attempt, taken, failed).await });
    }

    async fn fail_taken(self: Rc<Self>, attempt: Attempt, taken: Taken, failed: Failed) {
        let Some(message) = self.in_hand(taken).await else { return };
        if let Some(rest) = self.attempt_failed(&attempt, message, failed) {
            rest.await;
        }
    }

    /// The message, read from the spool if it is not in memory; `None` when that failed: it is then dealt with.
    pub(crate) async fn in_hand(self: &Rc<Self>, taken: Taken) -> Option<InHand> {
        match taken.resident {
            Some(resident) => Some(InHand { held: taken.held, resident }),
            None => self.read(taken.held, taken.id).await,
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
        for_good: bool,
    ) {
        let Some(taken) = self.next(record, settings) else { return };
        let Some(message) = self.in_hand(taken).await else { return };
        let remote = Some((candidate.host, candidate.remote.ip()));
        let attempt = Attempt { settings: settings.clone(), connection, remote };
        // A 5yz greeting speaks of the host, not of the message: another host, or another day, may take it. Unless every host
        // says that there is no such day (RFC 7504 3).
        let failed = Failed { stage: failure.stage, bytes: 0, reply: failure.reply, quiet: false };
        let rest = match for_good {
            true => self.attempt_failed(&attempt, message, failed),
            false => self.failed_for_now(&attempt, message, failed),
        };
        if let Some(rest) = rest {
            rest.await;
        }
    }

    /// A round that reached no host. One that does not count is no failure, but the time does: in the end the mail is delayed
    /// for `reply`.
    pub(crate) async fn not_reached(
        self: &Rc<Self>,
        record: &Rc<DomainRecord>,
        settings: &Rc<QueueSettings>,
        retry_at: Instant,
        counts: bool,
        reply: Reply,
    ) {
        let now = self.deps.clock.now();
        let (rounds, since) = record.not_reached(now, retry_at, counts);
        let too_often = settings.mx_failures_to_delay != 0 && settings.mx_failures_to_delay <= rounds;
        let too_long = Duration::from(settings.connect_timeout_to_delay) <= now - since;
        if too_often || too_long {
            record.delayed();
            self.drain(record, settings, reply).await;
        }
    }
}

/// Messages of all drains of a loop that are read or notified side by side.
pub(crate) const DRAINED_AT_ONCE: usize = 32;
