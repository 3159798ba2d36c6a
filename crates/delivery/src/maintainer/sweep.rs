//! The sweep of a delivery loop: when it is due, what it ripens, and which empty records it forgets.

use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use queue::Moment;
use tokio::time::Sleep;

use super::{Maintainer, TICK};
use crate::limits::Awaits;
use crate::record::DomainRecord;

impl Maintainer {
    pub(super) fn sweep(self: &Rc<Self>) {
        let now = self.moment();
        self.queues.borrow_mut().sweep(now);
        let active = self.queues.borrow_mut().with_active();
        for queue in &active {
            let record = self.records.borrow().get(queue).cloned();
            if let Some(record) = record {
                self.maintain(&record, true);
            }
        }
        if !active.is_empty() {
            self.wake_in(TICK);
        }
        self.wake_at(self.queues.borrow().next_due());
        self.retire_some();
        self.check_memory();
    }

    /// Has a sweep come not after a monotonic second.
    pub(crate) fn wake_at(&self, seconds: Option<u64>) {
        if let Some(seconds) = seconds {
            let wait = seconds.saturating_sub(Moment::ORIGIN);
            self.sweep_not_after(self.start + Duration::from_secs(wait));
        }
    }

    pub(crate) fn wake_in(&self, wait: Duration) {
        self.sweep_not_after(self.deps.clock.now() + wait);
    }

    pub(crate) fn sweep_not_after(&self, at: Instant) {
        if self.sweep_at.get().is_none_or(|planned| at < planned) {
            self.sweep_at.set(Some(at));
            if let Some(sleeper) = self.sleeper.borrow_mut().take() {
                sleeper.wake();
            }
        }
    }

    /// Resolves when the planned sweep is due, however the plan changes meanwhile.
    pub(super) async fn sweep_due(&self, mut timer: Pin<&mut Sleep>) {
        std::future::poll_fn(|context| {
            let Some(at) = self.sweep_at.get() else {
                *self.sleeper.borrow_mut() = Some(context.waker().clone());
                return Poll::Pending;
            };
            let at = tokio::time::Instant::from_std(at);
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            *self.sleeper.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        self.sweep_at.set(None);
    }

    /// Looks for records to forget, once in a while, for that looks at them all.
    pub(super) fn retire_some(&self) {
        let now = self.deps.clock.now();
        if self.retire_at.get() <= now {
            let mut kept = 0;
            self.records().iter().for_each(|record| kept += usize::from(self.retire(record, kept < RETIRED_KEPT)));
            let mut records = self.records.borrow_mut();
            if records.len() * 8 < records.capacity() {
                let room = records.len() * 2;
                records.shrink_to(room);
            }
            drop(records);
            self.retire_at.set(now + RETIRE_EVERY);
        }
        if !self.records.borrow().is_empty() {
            self.sweep_not_after(self.retire_at.get());
        }
    }

    /// Forgets a record that has held nothing for a while, or at once if it `may_stay` no longer. Whether an empty one stays.
    fn retire(&self, record: &Rc<DomainRecord>, may_stay: bool) -> bool {
        let now = self.deps.clock.now();
        let row = self.queues.borrow().row(record.queue);
        let in_use = row.active + row.delayed + row.in_flight != 0
            || !record.connections.borrow().is_empty()
            || record.is_draining();
        if in_use {
            record.empty_since.set(None);
            return false;
        }
        record.passed_throttle(Awaits::Message);
        let since = record.empty_since.get().unwrap_or(now);
        record.empty_since.set(Some(since));
        if may_stay && now - since < RETIRE_AFTER {
            return true;
        }
        let released = self.queues.borrow_mut().release(record.queue);
        if released {
            self.unlist(record);
            self.records.borrow_mut().remove(&record.queue);
        }
        !released
    }
}

/// How long an empty record is kept: its counters and its route with it.
pub(super) const RETIRE_AFTER: Duration = Duration::from_secs(300);
/// Empty records that are kept for so long; further ones, which a burst leaves behind, go at the next look.
const RETIRED_KEPT: usize = 1024;
/// How often empty records are looked for.
const RETIRE_EVERY: Duration = Duration::from_secs(60);
