//! What the table tells: counts of queues, kept as messages move, and one message by its id.

use message::{Envelope, MessageId, QueueName};

use super::{DomainQueue, QueueId, Queues, State};

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Deliverable now.
    Active,
    /// Waiting for its next attempt.
    Delayed,
    /// In an attempt, or on its way out.
    InFlight,
}

/// What the table knows of one message.
#[derive(Debug)]
pub struct Found<'a> {
    /// Its queue.
    pub queue: &'a QueueName,
    /// Where it is.
    pub whereabouts: Whereabouts,
    /// Transient failures so far.
    pub retries: u32,
    /// Its envelope, if that is in memory.
    pub envelope: Option<&'a Envelope>,
}

/// The counts of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which one.
    pub name: QueueName,
    /// Its id in the table.
    pub id: QueueId,
    /// Messages deliverable now.
    pub active: usize,
    /// Messages waiting.
    pub delayed: usize,
    /// Messages in an attempt.
    pub in_flight: usize,
    /// Messages delivered in the life of the record.
    pub delivered: u64,
    /// Transient failures in the life of the record.
    pub transient: u64,
    /// Messages failed in the life of the record.
    pub failed: u64,
}

/// The counts of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Queues that hold a message.
    pub queues: usize,
    /// Messages deliverable now.
    pub active: usize,
    /// Messages waiting.
    pub delayed: usize,
    /// Messages in an attempt.
    pub in_flight: usize,
    /// Messages in memory, those in flight not counted.
    pub resident: usize,
}

impl Queues {
    /// The queues of a routing domain, or all, with their counts; in no order.
    pub fn rows<'a>(&'a self, domain: Option<&'a str>) -> impl Iterator<Item = Row> + 'a {
        self.named(domain).map(|(id, queue)| queue.row(id))
    }

    /// The counts of one queue.
    pub fn row(&self, queue: QueueId) -> Row {
        self.at(queue).row(queue)
    }

    /// The counts of the table.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { resident: self.resident, ..Totals::default() };
        for (_, queue) in self.queues.iter() {
            totals.active += queue.active.len();
            totals.delayed += queue.delayed;
            totals.in_flight += queue.in_flight;
            totals.queues += usize::from(!queue.is_empty());
        }
        totals
    }

    /// Looks for a message by its id. Passes over all of them.
    pub fn find(&self, id: MessageId) -> Option<Found<'_>> {
        let (_, queued) = self.messages.iter().find(|(_, queued)| queued.id == id)?;
        let whereabouts = match queued.state {
            State::Active => Whereabouts::Active,
            State::Delayed(_) => Whereabouts::Delayed,
            State::InFlight => Whereabouts::InFlight,
        };
        let envelope = queued.resident.as_deref().map(|resident| &resident.envelope);
        Some(Found { queue: self.name(queued.queue), whereabouts, retries: queued.retries, envelope })
    }
}

impl DomainQueue {
    fn row(&self, id: QueueId) -> Row {
        Row {
            name: self.name.clone(),
            id,
            active: self.active.len(),
            delayed: self.delayed,
            in_flight: self.in_flight,
            delivered: self.delivered,
            transient: self.transient,
            failed: self.failed,
        }
    }
}
