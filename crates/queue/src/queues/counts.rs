//! What the table tells: counts of queues, kept as messages move, and one message by its id.

use std::collections::BTreeMap;
use std::sync::Arc;

use message::{Envelope, MessageId, QueueName};

use super::residency::Residency;
use super::{DomainQueue, Past, QueueId, Queued, Queues, State};

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
    /// Active messages of its queue in front of it, if it is one.
    pub before: usize,
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
    /// Messages that came in the life of the record, those read from the spool at the start among them.
    pub received: u64,
}

/// The counts of one binding in one binding group, from the start: they outlive its queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingRow {
    /// The binding group.
    pub binding_group: Arc<str>,
    /// The binding.
    pub binding: Arc<str>,
    /// Messages deliverable now.
    pub active: usize,
    /// Messages waiting.
    pub delayed: usize,
    /// Messages in an attempt.
    pub in_flight: usize,
    /// Active messages with their body in memory.
    pub resident: usize,
    /// Messages that came, those read from the spool at the start among them.
    pub received: u64,
    /// Messages delivered.
    pub delivered: u64,
    /// Transient failures.
    pub transient: u64,
    /// Messages failed.
    pub failed: u64,
}

/// The places of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// The most messages the table has held at once.
    pub peak: usize,
    /// Messages it has memory for.
    pub allocated: usize,
}

/// One message of a listing.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its id.
    pub id: MessageId,
    /// Where it is.
    pub whereabouts: Whereabouts,
    /// Its envelope, if that is in memory.
    pub envelope: Option<Envelope>,
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
    /// Octets of their bodies.
    pub resident_octets: u64,
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
        let Residency { resident, octets, .. } = self.residency;
        let mut totals = Totals { resident, resident_octets: octets, ..Totals::default() };
        for (_, queue) in self.queues.iter() {
            totals.active += queue.active.len();
            totals.delayed += queue.delayed;
            totals.in_flight += queue.in_flight;
            totals.queues += usize::from(!queue.is_empty());
        }
        totals
    }

    /// The places of the table.
    pub fn room(&self) -> Room {
        Room { peak: self.messages.peak(), allocated: self.messages.slots_allocated() }
    }

    /// Every binding that has or had a queue, by binding group and name.
    pub fn bindings(&self) -> Vec<BindingRow> {
        let mut rows = BTreeMap::new();
        for ((binding_group, binding), past) in &self.past {
            let Past { received, delivered, transient, failed } = *past;
            let row = BindingRow { received, delivered, transient, failed, ..BindingRow::of(binding_group, binding) };
            rows.insert((binding_group.clone(), binding.clone()), row);
        }
        for (_, queue) in self.queues.iter() {
            let QueueName { binding_group, binding, .. } = &queue.name;
            let key = (binding_group.clone(), binding.clone());
            rows.entry(key).or_insert_with(|| BindingRow::of(binding_group, binding)).add(queue);
        }
        rows.into_values().collect()
    }

    /// Up to `limit` messages of a queue behind the first `offset`: the active ones in their order, the others in none.
    /// Passes over the whole table unless the active ones fill the window.
    pub fn listing(&self, queue: QueueId, offset: usize, limit: usize) -> Vec<Listed> {
        let active = self.at(queue).active.iter().filter_map(|&number| self.messages.get(number));
        let is_other = |queued: &&Queued| queued.queue == queue && queued.state != State::Active;
        let others = self.messages.iter().map(|(_, queued)| queued).filter(is_other);
        let listed = |queued: &Queued| Listed {
            id: queued.id,
            whereabouts: queued.state.whereabouts(),
            envelope: queued.resident.as_deref().map(|resident| resident.envelope.clone()),
        };
        active.chain(others).skip(offset).take(limit).map(listed).collect()
    }

    /// Looks for a message by its id. Passes over all of them.
    pub fn find(&self, id: MessageId) -> Option<Found<'_>> {
        let (index, queued) = self.messages.iter().find(|(_, queued)| queued.id == id)?;
        let active = &self.at(queued.queue).active;
        let before = active.iter().position(|&other| other == index).unwrap_or(0);
        let whereabouts = queued.state.whereabouts();
        let envelope = queued.resident.as_deref().map(|resident| &resident.envelope);
        Some(Found { queue: self.name(queued.queue), whereabouts, before, retries: queued.retries, envelope })
    }
}

impl State {
    fn whereabouts(self) -> Whereabouts {
        match self {
            Self::Active => Whereabouts::Active,
            Self::Delayed(_) => Whereabouts::Delayed,
            Self::InFlight => Whereabouts::InFlight,
        }
    }
}

impl BindingRow {
    fn of(binding_group: &Arc<str>, binding: &Arc<str>) -> Self {
        Self {
            binding_group: binding_group.clone(),
            binding: binding.clone(),
            active: 0,
            delayed: 0,
            in_flight: 0,
            resident: 0,
            received: 0,
            delivered: 0,
            transient: 0,
            failed: 0,
        }
    }

    fn add(&mut self, queue: &DomainQueue) {
        self.active += queue.active.len();
        self.delayed += queue.delayed;
        self.in_flight += queue.in_flight;
        self.resident += queue.resident;
        self.received += queue.received;
        self.delivered += queue.delivered;
        self.transient += queue.transient;
        self.failed += queue.failed;
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
            received: self.received,
        }
    }
}
