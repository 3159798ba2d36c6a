//! The place of one connection: in its record's list and under every limit on connections. Whoever runs the connection holds
//! it, and the counts are right again however that ends.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::maintainer::Maintainer;
use crate::options::QueueSettings;
use crate::record::{DomainRecord, Status};
use crate::slots::{self, Cap, Need, Slot};

/// Held while a connection is opening or open.
pub(crate) struct Place {
    pub(crate) maintainer: Rc<Maintainer>,
    pub(crate) status: Rc<Status>,
}

impl Place {
    /// A place, if the shared limits of the queue have room; else the limit that has none, and the slots of those before it.
    /// `held` are slots that the queue has waited for.
    pub(crate) fn take(
        maintainer: &Rc<Maintainer>,
        record: &Rc<DomainRecord>,
        settings: &QueueSettings,
        need: Need,
        mut held: Vec<Slot>,
        now: Instant,
    ) -> Result<Self, (Cap, Vec<Slot>)> {
        for cap in settings.limits.caps() {
            if held.iter().any(|slot| cap.counts(slot)) {
                continue;
            }
            match cap.take(need) {
                Some(slot) => held.push(slot),
                None => return Err((cap.clone(), held)),
            }
        }
        let status = Rc::new(Status::new(maintainer.deps.ids.next(), record, held, now));
        record.connections.borrow_mut().push(status.clone());
        maintainer.meter.connections_entered.add(1);
        Ok(Self { maintainer: maintainer.clone(), status })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let status = &self.status;
        self.maintainer.closed(status);
        let record = status.record.borrow().clone();
        record.connections.borrow_mut().retain(|other| !Rc::ptr_eq(other, status));
        drop(std::mem::take(&mut *status.slots.borrow_mut()));
        self.maintainer.meter.connections_left.add(1);
    }
}

/// Makes the slots of a connection those that a queue and a host ask for. The limit without room, if there is one.
pub(crate) fn fit<'a>(
    status: &Status,
    settings: &'a QueueSettings,
    host: impl IntoIterator<Item = &'a Cap>,
    need: Need,
) -> Result<(), Cap> {
    let caps: Vec<&Cap> = host.into_iter().chain(settings.limits.caps()).collect();
    slots::fit(&mut status.slots.borrow_mut(), &caps, need)
}

/// How long a connection keeps its place, or serves one queue, while others wait.
pub(crate) struct Turn {
    began: Instant,
    /// Messages carried before.
    carried: u64,
}

impl Turn {
    pub(crate) fn new(now: Instant) -> Self {
        Self { began: now, carried: 0 }
    }

    /// Whether it is over, with so many messages carried by now; then the next one begins. There is no turn without one, or a
    /// host that is slow to greet would be called in vain.
    pub(crate) fn ends(&mut self, now: Instant, carried: u64) -> bool {
        let in_it = carried.saturating_sub(self.carried);
        let is_over = TURN_MESSAGES <= in_it || (in_it != 0 && self.began + TURN_TIME <= now);
        if is_over {
            *self = Self { began: now, carried };
        }
        is_over
    }
}

/// Messages of a turn.
const TURN_MESSAGES: u64 = 100;
/// The time of a turn, however few they are.
const TURN_TIME: Duration = Duration::from_secs(1);
