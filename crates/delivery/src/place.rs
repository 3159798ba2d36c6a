//! The place of one connection: in its record's list and in every count of connections. Whoever runs the connection holds
//! it, and the counts are right again however that ends.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::limits::Slot;
use crate::maintainer::Maintainer;
use crate::options::QueueSettings;
use crate::record::{DomainRecord, Status};

/// Held while a connection is opening or open.
pub(crate) struct Place {
    pub(crate) maintainer: Rc<Maintainer>,
    pub(crate) record: Rc<DomainRecord>,
    pub(crate) status: Rc<Status>,
    _slots: [Option<Slot>; 2],
}

impl Place {
    /// A place, if the shared limits of the queue have one. What tasks of other loops take meanwhile may let the server's own
    /// limit be passed by one connection a loop.
    pub(crate) fn take(
        maintainer: &Rc<Maintainer>,
        record: &Rc<DomainRecord>,
        settings: &QueueSettings,
        now: Instant,
    ) -> Option<Self> {
        let mut slots = [None, None];
        for (slot, cap) in slots.iter_mut().zip([&settings.limits.scope, &settings.limits.binding]) {
            if let Some(cap) = cap {
                *slot = Some(cap.take()?);
            }
        }
        let status = Rc::new(Status::new(maintainer.deps.ids.next(), now));
        record.connections.borrow_mut().push(status.clone());
        maintainer.shared.outbound.fetch_add(1, Ordering::Relaxed);
        maintainer.meter.connections_entered.add(1);
        Some(Self { maintainer: maintainer.clone(), record: record.clone(), status, _slots: slots })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.record.connections.borrow_mut().retain(|other| !Rc::ptr_eq(other, &self.status));
        self.maintainer.shared.outbound.fetch_sub(1, Ordering::Relaxed);
        self.maintainer.meter.connections_left.add(1);
    }
}
