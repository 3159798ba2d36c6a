//! The place of one connection: in its record's list and in every count of connections. Whoever runs the connection holds
//! it, and the counts are right again however that ends.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::maintainer::Maintainer;
use crate::record::{DomainRecord, Status};

/// Held while a connection is opening or open.
pub(crate) struct Place {
    pub(crate) maintainer: Rc<Maintainer>,
    pub(crate) record: Rc<DomainRecord>,
    pub(crate) status: Rc<Status>,
}

impl Place {
    pub(crate) fn take(maintainer: &Rc<Maintainer>, record: &Rc<DomainRecord>, now: Instant) -> Self {
        let status = Rc::new(Status::new(maintainer.deps.ids.next(), now));
        record.connections.borrow_mut().push(status.clone());
        maintainer.outbound.fetch_add(1, Ordering::Relaxed);
        maintainer.meter.connections_entered.add(1);
        Self { maintainer: maintainer.clone(), record: record.clone(), status }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.record.connections.borrow_mut().retain(|other| !Rc::ptr_eq(other, &self.status));
        self.maintainer.outbound.fetch_sub(1, Ordering::Relaxed);
        self.maintainer.meter.connections_left.add(1);
    }
}
