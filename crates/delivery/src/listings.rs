//! What the operator asks about bindings and about the messages of one queue.
//!
//! The totals of a binding are gathered from each loop's table. A listing asks for one window of one queue at a time, so a
//! loop copies no more envelopes than are shown; those that are not in memory are read from the spool, not on the loop.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use message::{Envelope, MessageId, QueueName};
use queue::{BindingRow, Listed, QueueId, Whereabouts};
use spool::SpoolError;

use crate::engine::EngineHandle;
use crate::maintainer::Maintainer;
use crate::orders::Selection;
use crate::record::DomainRecord;
use crate::waiting::{Setting, Wait};

/// Most messages one listing shows.
pub const LISTING_MAX: usize = 10_000;

/// One binding in one binding group: a block of `binding summary`. Counts are from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingReport {
    /// The binding group.
    pub binding_group: Arc<str>,
    /// The binding.
    pub binding: Arc<str>,
    /// Open and opening connections.
    pub connections: usize,
    /// Messages deliverable now.
    pub active: usize,
    /// Messages in its queues and in attempts.
    pub total: usize,
    /// Messages in memory.
    pub resident: usize,
    /// Messages that came, those read from the spool at the start among them.
    pub received: u64,
    /// Delivered.
    pub delivered: u64,
    /// Failed for good.
    pub failed: u64,
    /// What holds all of its mail, whatever the domain: suspension and blackhole.
    pub held: Option<Setting>,
    /// Throttles and shared limits that are set for it.
    pub limits: Vec<Setting>,
    /// What holds its queues, and how many of them each, the most frequent first; a queue that is served is not counted.
    pub waits: Vec<(Wait, usize)>,
}

/// One message of a queue: a row of `showqueue`.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedMessage {
    /// Its envelope, from memory or from the spool.
    pub envelope: Envelope,
    /// Where it is.
    pub whereabouts: Whereabouts,
    /// What holds it.
    pub wait: Wait,
}

/// A window of some queues.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// The messages in it.
    pub messages: Vec<ListedMessage>,
    /// All messages of the queues.
    pub total: usize,
    /// The queues there are.
    pub queues: usize,
}

impl EngineHandle {
    /// Every binding that has or had mail, by binding group and name.
    pub async fn bindings(&self) -> Vec<BindingReport> {
        let mut bindings: BTreeMap<(Arc<str>, Arc<str>), BindingReport> = BTreeMap::new();
        for report in self.each(binding_reports).await.into_iter().flatten() {
            let key = (report.binding_group.clone(), report.binding.clone());
            match bindings.get_mut(&key) {
                None => drop(bindings.insert(key, report)),
                Some(sum) => sum.add(&report),
            }
        }
        bindings.into_values().collect()
    }

    /// A binding that has had no mail: nothing but what would hold mail of it.
    pub async fn idle_binding(&self, binding_group: &str, binding: &str) -> Option<BindingReport> {
        let (binding_group, binding): (Arc<str>, Arc<str>) = (binding_group.into(), binding.into());
        let of_loop = move |maintainer: &Rc<Maintainer>| BindingReport {
            held: maintainer.binding_held(&binding_group, &binding),
            limits: maintainer.binding_limits(&binding_group, &binding),
            binding_group: binding_group.clone(),
            binding: binding.clone(),
            connections: 0,
            active: 0,
            total: 0,
            resident: 0,
            received: 0,
            delivered: 0,
            failed: 0,
            waits: Vec::new(),
        };
        self.each(of_loop).await.into_iter().next()
    }

    /// The messages of some queues: `limit` of them, at most [`LISTING_MAX`], behind the first `offset`. Those of one queue
    /// come together, the active ones first and in their order.
    pub async fn listing(&self, selection: &Selection, mut offset: usize, limit: usize) -> Listing {
        let limit = limit.min(LISTING_MAX);
        let mut listing = Listing::default();
        for queue in self.sizes(selection).await {
            let (name, size) = queue;
            listing.queues += 1;
            listing.total += size;
            if listing.messages.len() == limit {
                continue;
            }
            if size <= offset {
                offset -= size;
                continue;
            }
            let window = (std::mem::take(&mut offset), limit - listing.messages.len());
            for (listed, wait) in self.window(name, window).await {
                listing.messages.extend(self.with_envelope(listed, wait).await);
            }
        }
        listing
    }

    /// The queues of a selection with the messages in them, by domain and binding.
    async fn sizes(&self, selection: &Selection) -> Vec<(QueueName, usize)> {
        let selection = selection.clone();
        let of_loop = move |maintainer: &Rc<Maintainer>| {
            let records = maintainer.records();
            let queues = maintainer.queues.borrow();
            let wanted = records.iter().filter(|record| selection.holds(&record.name));
            let size = |record: &Rc<DomainRecord>| {
                let row = queues.row(record.queue);
                (row.name, row.active + row.delayed + row.in_flight)
            };
            wanted.map(size).collect::<Vec<_>>()
        };
        let mut sizes: Vec<_> = self.each(of_loop).await.into_iter().flatten().collect();
        sizes.sort_by(|(one, _), (other, _)| (&one.domain, &one.binding).cmp(&(&other.domain, &other.binding)));
        sizes
    }

    /// The ids of all messages of some queues that are active or delayed, in no order; eight octets each.
    pub async fn ids(&self, selection: &Selection) -> Vec<MessageId> {
        let selection = selection.clone();
        let of_loop = move |maintainer: &Rc<Maintainer>| {
            let records = maintainer.records();
            let wanted = records.iter().filter(|record| selection.holds(&record.name));
            let wanted: HashSet<QueueId> = wanted.map(|record| record.queue).collect();
            let queues = maintainer.queues.borrow();
            queues.ids(|queue| wanted.contains(&queue)).collect::<Vec<_>>()
        };
        self.each(of_loop).await.into_iter().flatten().collect()
    }

    /// Routing domains with a queue whose names begin so, at most `limit` of them.
    pub async fn domains_like(&self, beginning: &str, limit: usize) -> Vec<String> {
        let beginning = beginning.to_ascii_lowercase();
        let of_loop = move |maintainer: &Rc<Maintainer>| {
            let records = maintainer.records();
            let like = records.iter().filter(|record| record.name.domain.starts_with(&*beginning));
            like.take(limit).map(|record| record.name.domain.to_string()).collect::<Vec<_>>()
        };
        let mut domains: Vec<String> = self.each(of_loop).await.into_iter().flatten().collect();
        domains.sort();
        domains.dedup();
        domains.truncate(limit);
        domains
    }

    /// How many queues are known.
    pub async fn queue_count(&self) -> usize {
        self.each(|maintainer| maintainer.records().len()).await.into_iter().sum()
    }

    async fn window(&self, name: QueueName, (offset, limit): (usize, usize)) -> Vec<(Listed, Wait)> {
        let of_loop = move |maintainer: &Rc<Maintainer>| {
            let records = maintainer.records();
            let Some(record) = records.iter().find(|record| record.name == name) else { return Vec::new() };
            let listing = maintainer.queues.borrow().listing(record.queue, offset, limit);
            // The active ones come first, in their order.
            let with_wait = |(place, listed): (usize, Listed)| {
                let wait = maintainer.message_wait(record, listed.id, listed.whereabouts, offset + place);
                (listed, wait)
            };
            listing.into_iter().enumerate().map(with_wait).collect()
        };
        self.each(of_loop).await.into_iter().flatten().collect()
    }

    /// None if the message has left meanwhile, or cannot be read.
    async fn with_envelope(&self, listed: Listed, wait: Wait) -> Option<ListedMessage> {
        let Listed { id, whereabouts, envelope } = listed;
        let shown = |envelope: Envelope| {
            let wait = wait.of_message(&envelope, self.clock.unix());
            ListedMessage { envelope, whereabouts, wait }
        };
        if let Some(envelope) = envelope {
            return Some(shown(envelope));
        }
        match self.spool.read_headers(id).await {
            Ok(envelope) => Some(shown(envelope)),
            Err(SpoolError::Missing { .. }) => None,
            Err(error) => {
                tracing::error!(target: "SPOOL", "{id} is left out of a listing: {error}");
                None
            }
        }
    }
}

fn binding_reports(maintainer: &Rc<Maintainer>) -> Vec<BindingReport> {
    let mut connections: BTreeMap<(Arc<str>, Arc<str>), usize> = BTreeMap::new();
    for record in maintainer.records() {
        let key = (record.name.binding_group.clone(), record.name.binding.clone());
        *connections.entry(key).or_default() += record.connections.borrow().len();
    }
    let mut waits: BTreeMap<_, Vec<(Wait, usize)>> = BTreeMap::new();
    for record in maintainer.records() {
        let Some(wait) = maintainer.queue_wait(&record).filter(Wait::is_held) else { continue };
        let key = (record.name.binding_group.clone(), record.name.binding.clone());
        add_wait(waits.entry(key).or_default(), wait, 1);
    }
    let report = |row: BindingRow| BindingReport {
        held: maintainer.binding_held(&row.binding_group, &row.binding),
        limits: maintainer.binding_limits(&row.binding_group, &row.binding),
        waits: waits.get(&(row.binding_group.clone(), row.binding.clone())).cloned().unwrap_or_default(),
        connections: connections.get(&(row.binding_group.clone(), row.binding.clone())).copied().unwrap_or(0),
        active: row.active,
        total: row.active + row.delayed + row.in_flight,
        resident: row.resident,
        received: row.received,
        delivered: row.delivered,
        failed: row.failed,
        binding_group: row.binding_group,
        binding: row.binding,
    };
    maintainer.queues.borrow().bindings().into_iter().map(report).collect()
}

impl BindingReport {
    /// Adds the figures of another loop, or of another member of the group.
    pub fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.active += other.active;
        self.total += other.total;
        self.resident += other.resident;
        self.received += other.received;
        self.delivered += other.delivered;
        self.failed += other.failed;
        if self.held != other.held {
            // Of a group only what holds all of its members.
            self.held = None;
        }
        self.limits.retain(|limit| other.limits.contains(limit));
        other.waits.iter().for_each(|(wait, queues)| add_wait(&mut self.waits, wait.clone(), *queues));
    }
}

/// Queues that are held by the same kind of thing count together, under the first of them.
fn add_wait(waits: &mut Vec<(Wait, usize)>, wait: Wait, queues: usize) {
    match waits.iter_mut().find(|(known, _)| known.hold.word() == wait.hold.word()) {
        Some((_, count)) => *count += queues,
        None => waits.push((wait, queues)),
    }
    waits.sort_by_key(|(_, queues)| std::cmp::Reverse(*queues));
}
