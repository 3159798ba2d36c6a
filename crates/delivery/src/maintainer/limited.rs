//! Queues that limits hold back: in line for a slot, or waiting for their turn in a throttle; and what is done when it comes.

use std::rc::Rc;
use std::time::Duration;

use super::{Maintainer, TICK};
use crate::limits::{Awaits, FULL_PAUSE, Saturated};
use crate::options::QueueSettings;
use crate::record::DomainRecord;
use crate::slots::{Cap, Grant, Need, Slot};

impl Maintainer {
    /// Throttles or full hosts have no place for this queue: its mail stays active, and the queue is looked at when its turn
    /// comes. Sessions that it has go on meanwhile, unless it is messages that have no place.
    pub(crate) fn saturated(self: &Rc<Self>, record: &Rc<DomainRecord>, awaits: Awaits, saturated: Saturated) {
        let now = self.deps.clock.now();
        let known = record.throttled(now);
        if known == Some(awaits) || known == Some(Awaits::Message) {
            return;
        }
        self.meter.throttled.add(1);
        if !saturated.full.is_empty() {
            self.line_up(record, &record.settings(), saturated.full, Vec::new());
        }
        let name = saturated.throttled.as_ref().and_then(|(limit, _)| limit.name().cloned());
        let (waiting, turn) = match saturated.throttled {
            Some((limit, free_at)) => {
                let (waiting, turn) = limit.join(free_at);
                (Some(waiting), turn.max(now + THROTTLE_WAIT_MIN))
            }
            None if saturated.is_crowded => (None, now + FULL_PAUSE),
            None => return,
        };
        if saturated.is_crowded {
            // A session that is open there may take the mail.
            self.list(record, &record.settings(), now);
        }
        if !record.line.borrow().waits() {
            record.throttle_until(turn, awaits, name, now);
        }
        let (maintainer, record) = (self.clone(), record.clone());
        self.spawn(async move {
            // What comes back unspent may be its place, long before its turn.
            let returned = async {
                match &waiting {
                    Some(waiting) => waiting.returned().await,
                    None => std::future::pending().await,
                }
            };
            let _ = tokio::time::timeout_at(turn.into(), returned).await;
            drop(waiting);
            record.throttled_until.set(None);
            if maintainer.queues.borrow().active(record.queue) == 0 {
                record.passed_throttle(Awaits::Message);
            }
            record.leave_line();
            maintainer.maintain(&record, false);
        });
    }

    /// The queue waits for a slot of any of these limits, and for a session of its best hosts, whichever it gets first. While
    /// such sessions serve the queues of this loop in turn, one of its own is worth its cost only after a while.
    pub(super) fn line_up(&self, record: &Rc<DomainRecord>, settings: &QueueSettings, full: Vec<Cap>, held: Vec<Slot>) {
        let now = self.deps.clock.now();
        let has_none = record.useful_connections() == 0;
        let is_served = has_none && held.is_empty() && self.list(record, settings, now).unwrap_or(false);
        let mut line = record.line.borrow_mut();
        let waited = line.waited(now);
        if is_served && waited < TICK {
            return;
        }
        let need = if has_none && (!is_served || line.is_long(now)) { Need::First } else { Need::More };
        let waiting = full.iter().map(|cap| cap.join(need, record.queue, &self.door)).collect();
        line.join(waiting, held);
    }

    /// A slot for a queue that waited for it, if it still does.
    pub(super) fn granted(self: &Rc<Self>, grant: Grant) {
        let record = self.records.borrow().get(&grant.queue).cloned();
        let Some(record) = record else { return };
        let settings = self.refreshed(&record);
        let held = record.line.borrow_mut().granted(grant);
        let Some(held) = held else { return self.maintain(&record, false) };
        let now = self.deps.clock.now();
        let goes_on = record.throttled(now).is_none()
            && !self.is_starved(now)
            && !record.is_held(now)
            && !record.waits_for_unlinks();
        let has_mail = self.queues.borrow().active(record.queue) != 0 && !settings.suspended && !settings.blackholed;
        if !goes_on || !has_mail || record.is_draining() || self.stopping.get() {
            return;
        }
        match settings.limits.busy(now) {
            Some((awaits, busy)) => self.saturated(&record, awaits, busy),
            None => drop(self.open_connection(&record, &settings, held)),
        }
    }
}

/// The shortest wait for a throttle, however fast it is.
const THROTTLE_WAIT_MIN: Duration = Duration::from_millis(5);
