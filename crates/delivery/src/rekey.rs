//! Mail whose queue is another after a reload: a gateway or a binding has changed, so it goes where new mail would go.
//!
//! A reload that changes neither costs nothing. Else the queues that may hold such mail are marked; what is active in them is
//! looked at at once, what is delayed when it is due, each message once (reference: operations.md sections 6 and 9). A message
//! under way from queue to queue is in flight, then in the intake; the spool has it all the while.

use std::rc::Rc;

use queue::{Keys, Resident};
use tokio::task::JoinSet;

use crate::held::Held;
use crate::maintainer::Maintainer;
use crate::record::DomainRecord;

impl Maintainer {
    /// A new generation is in effect: marks the queues whose mail may belong elsewhere.
    pub(crate) fn follow_keys(&self) {
        let keys = Keys::new(self.deps.configuration.current());
        let fingerprint = keys.fingerprint();
        let changed = self.keys_fingerprint.replace(fingerprint) != fingerprint;
        if changed {
            let mut queues = self.queues.borrow_mut();
            for record in self.records() {
                if queues.is_shared(record.queue) || !keys.keeps(&record.name) {
                    queues.doubt(record.queue);
                }
            }
        }
        *self.keys.borrow_mut() = keys;
    }

    /// Has the active mail of a queue looked at that came before its keys changed.
    pub(crate) fn rekey(self: &Rc<Self>, record: &Rc<DomainRecord>) {
        if self.stopping.get() || record.is_draining() {
            return;
        }
        let doubted = self.queues.borrow_mut().take_doubted(record.queue);
        if doubted.is_empty() {
            return;
        }
        let doubted: Vec<_> =
            doubted.into_iter().map(|taken| (self.held(taken.ticket), taken.id, taken.resident)).collect();
        let (maintainer, record) = (self.clone(), record.clone());
        self.spawn_holding(async move {
            let mut looking = JoinSet::new();
            for (held, id, resident) in doubted {
                let each = maintainer.clone();
                looking.spawn_local(async move {
                    let resident = match resident {
                        Some(resident) => Ok(resident),
                        None => {
                            let read = each.deps.spool.read_headers(id).await;
                            read.map(|envelope| each.owners.residents.resident(envelope, None))
                        }
                    };
                    match resident {
                        Ok(resident) => each.lead(held, resident).await,
                        // Whoever attempts it meets the same trouble, and deals with it.
                        Err(_) => each.queues.borrow_mut().believed(held.returned(), None),
                    }
                });
                if LOOKED_AT_ONCE <= looking.len() {
                    looking.join_next().await;
                }
            }
            while looking.join_next().await.is_some() {}
            maintainer.maintain(&record, false);
        });
    }

    /// Leaves a message in its queue, or gives it to the one it belongs to.
    async fn lead(self: &Rc<Self>, held: Held, mut resident: Box<Resident>) {
        if let Some(ticket) = held.ticket() {
            // What is on disk may be older.
            let queues = self.queues.borrow();
            resident.envelope.delivery.retries = queues.retries(ticket);
            resident.envelope.queue = queues.queue_of(ticket).cloned().unwrap_or(resident.envelope.queue);
        }
        let queue = self.keys.borrow_mut().queue(&resident.envelope);
        if queue == resident.envelope.queue {
            return self.queues.borrow_mut().believed(held.returned(), Some(resident));
        }
        let Some(intake) = self.shared.intake.upgrade() else {
            return self.queues.borrow_mut().believed(held.returned(), Some(resident));
        };
        resident.envelope.queue = queue;
        // It was active, by a flush perhaps, and so it is due.
        resident.envelope.delivery.next_attempt = self.deps.clock.unix();
        self.meter.moved.add(1);
        self.queues.borrow_mut().forgotten(held.returned());
        intake.give(resident.into()).await;
    }
}

/// Messages looked at side by side.
const LOOKED_AT_ONCE: usize = 64;
