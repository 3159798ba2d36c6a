//! What a connection takes from its queue, ahead of need: as much as limits and throttles give, in batches of siblings, read from
//! the spool and in the form that the server takes by the time the session is ready for it.
//!
//! Runs in the connection's task. What it has taken and does not submit it gives back.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use queue::Resident;

use super::Connection;
use crate::gathering::{Gathering, Siblings};
use crate::held::{Taken, Tokens};
use crate::limits::{Awaits, Saturated};
use crate::options::QueueSettings;
use crate::seams::Local;
use crate::seven_bit::Form;
use crate::throttle::Token;

/// A transaction taken and not yet submitted.
pub(super) enum Upcoming {
    Reading(Box<Gathering>),
    Ready(Siblings),
    /// Its body is being made into one of 7 bits.
    Converting {
        messages: Siblings,
        form: Local<'static, Form>,
    },
    /// That is done.
    Converted {
        messages: Siblings,
        form: Form,
    },
}

impl Upcoming {
    fn recipients(&self) -> usize {
        match self {
            Self::Reading(gathering) => gathering.len(),
            Self::Ready(messages) | Self::Converting { messages, .. } | Self::Converted { messages, .. } => {
                messages.len()
            }
        }
    }
}

impl Connection {
    /// Has what comes next read while the session is busy, so that it need not wait for the disk. What would take memory that
    /// others wait for is read when its turn comes.
    pub(super) fn read_ahead(&mut self, settings: &Rc<QueueSettings>) {
        if self.maintainer.owners.bodies.is_scarce() {
            return;
        }
        while self.upcoming.len() < self.ahead && self.next_is_on_disk() && !self.used_up_soon(settings) {
            if !self.take_next(settings) {
                return;
            }
        }
    }

    /// Whether the connection may carry no more than it has at hand.
    fn used_up_soon(&self, settings: &QueueSettings) -> bool {
        is_reached(settings.deliveries_max, self.carried() + self.upcoming.len() as u64) || self.may_name(settings) == 0
    }

    /// Recipients it may still take, besides those it has at hand.
    fn may_name(&self, settings: &QueueSettings) -> u64 {
        let taken: usize = self.upcoming.iter().map(Upcoming::recipients).sum();
        match settings.recipients_max {
            0 => u64::MAX,
            most => most.saturating_sub(self.named + taken as u64),
        }
    }

    /// Transactions that delivered, and those that may yet.
    fn carried(&self) -> u64 {
        self.delivered + self.jobs.len() as u64
    }

    /// Takes the next message of the queue, if there is one and the throttles have a place for it.
    pub(super) fn take_next(&mut self, settings: &Rc<QueueSettings>) -> bool {
        if self.maintainer.queues.borrow().active(self.record.queue) == 0 {
            return false;
        }
        let now = self.maintainer.deps.clock.now();
        let begin = |token: Option<Token>| token.map(|token| token.begin(now)).transpose();
        // What was kept for the first message while the session opened counts from now on.
        let first = self.first.take().and_then(|[own, of_host]| Some([begin(own).ok()?, begin(of_host).ok()?]));
        let Some(tokens) = first.or_else(|| self.tokens(settings)) else { return false };
        match self.maintainer.next(&self.record, settings) {
            Some(mut taken) => {
                taken.held.pay(tokens);
                self.record.passed_throttle(Awaits::Message);
                let upcoming = self.upcoming(taken, settings);
                self.upcoming.push_back(upcoming);
                true
            }
            None => false,
        }
    }

    /// Places for one more message. Without one in the queue's own throttle the session stays, idle, for its turn; without
    /// one in the host's it ends, for another host may have room.
    fn tokens(&mut self, settings: &Rc<QueueSettings>) -> Option<Tokens> {
        if !Rc::ptr_eq(&self.host.0, settings) {
            let limits = &self.maintainer.shared.limits;
            self.host = (settings.clone(), settings.host_limits(limits, &self.record.name, &self.candidate.host));
        }
        if settings.limits.messages.is_none() && self.host.1.is_none() {
            return Some(Tokens::default());
        }
        let now = self.maintainer.deps.clock.now();
        let own = settings
            .limits
            .message(now)
            .map_err(|busy| self.maintainer.saturated(&self.record, Awaits::Message, busy))
            .ok()?;
        match self.host_tokens(now) {
            Ok(of_host) => Some([own, of_host]),
            Err(_) => {
                self.session.quit();
                None
            }
        }
    }

    fn host_tokens(&self, now: Instant) -> Result<Option<Token>, Saturated> {
        self.host.1.as_ref().map_or(Ok(None), |host| host.message(now))
    }

    /// Whether the connection has carried all it may: its number, or all there was before a reload changed the way.
    pub(super) fn used_up(&mut self, settings: &Rc<QueueSettings>) -> bool {
        let is_spent =
            is_reached(settings.deliveries_max, self.delivered) || is_reached(settings.recipients_max, self.named);
        if is_spent || !settings.leads_as(&self.opened_under) {
            return true;
        }
        // Asked once for each generation, for the answer takes a look at every name in it.
        if !Rc::ptr_eq(settings, &self.opened_under) {
            self.opened_under = settings.clone();
        }
        false
    }

    /// Whether it may carry no more unless one that is on its way is refused.
    pub(super) fn is_full(&mut self, settings: &Rc<QueueSettings>) -> bool {
        is_reached(settings.deliveries_max, self.carried()) || self.used_up(settings)
    }

    fn next_is_on_disk(&self) -> bool {
        let queues = self.maintainer.queues.borrow();
        let has_body = |head: &Resident| head.body.is_some();
        queues.active(self.record.queue) != 0 && !queues.head(self.record.queue).is_some_and(has_body)
    }

    /// A message that was taken, and the siblings that can share its transaction.
    fn upcoming(&self, taken: Taken, settings: &QueueSettings) -> Upcoming {
        let now = self.maintainer.deps.clock.now();
        let most = settings.batch_max.min(self.dial.standing.recipients_max(now));
        let most = usize::try_from(self.may_name(settings)).unwrap_or(usize::MAX).min(most);
        let pay = || Some([settings.limits.message(now).ok()?, self.host_tokens(now).ok()?]);
        match self.maintainer.gather(&self.record, taken, most, pay) {
            Ok(messages) => Upcoming::Ready(messages),
            Err(gathering) => Upcoming::Reading(gathering),
        }
    }

    pub(super) fn poll_upcoming(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut read_any = Poll::Pending;
        for place in (0..self.upcoming.len()).rev() {
            match &mut self.upcoming[place] {
                Upcoming::Converting { form, .. } => {
                    let Poll::Ready(form) = form.as_mut().poll(context) else { continue };
                    if let Some(Upcoming::Converting { messages, .. }) = self.upcoming.remove(place) {
                        self.upcoming.insert(place, Upcoming::Converted { messages, form });
                    }
                }
                Upcoming::Reading(gathering) => {
                    let Poll::Ready(messages) = gathering.poll(&self.maintainer, context) else { continue };
                    self.upcoming.remove(place);
                    if let Some(first) = messages.first() {
                        self.ahead = read_ahead(first.envelope().body_bytes);
                        self.upcoming.insert(place, Upcoming::Ready(messages));
                    }
                }
                Upcoming::Ready(_) | Upcoming::Converted { .. } => continue,
            }
            read_any = Poll::Ready(());
        }
        read_any
    }

    /// What is being read is waited for, so that the next connection need not begin again with it.
    pub(super) async fn give_back_upcoming(&mut self) {
        for upcoming in std::mem::take(&mut self.upcoming).into_iter().rev() {
            match upcoming {
                Upcoming::Ready(messages)
                | Upcoming::Converting { messages, .. }
                | Upcoming::Converted { messages, .. } => self.maintainer.put_back(messages.into_iter()),
                Upcoming::Reading(gathering) if !self.maintainer.stopping.get() && !gathering.awaits_memory() => {
                    gathering.give_back(&self.maintainer).await;
                }
                Upcoming::Reading(_) => {}
            }
        }
    }
}

/// Whether a limit, if it is one, is reached.
fn is_reached(limit: u64, number: u64) -> bool {
    limit != 0 && limit <= number
}

/// How many bodies of such a size are read ahead.
fn read_ahead(octets: u64) -> usize {
    usize::try_from(READ_AHEAD_OCTETS / octets.max(1)).unwrap_or(usize::MAX).clamp(1, READ_AHEAD)
}

/// Messages one connection has read before their turn, at most.
const READ_AHEAD: usize = 8;
/// Octets they may have together.
const READ_AHEAD_OCTETS: u64 = 1 << 20;
