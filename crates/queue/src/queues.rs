//! The table of one delivery loop: every queue it owns and every message in them.
//!
//! A message comes in with [`Queues::enqueue`], is taken for an attempt with [`Queues::take`], and leaves the attempt in
//! one of four ways: delivered, failed, transiently failed, put back. Due times are monotonic seconds in a timer wheel.
//! Counts are kept as messages move; asking for them walks no queue. Only the operator's `flush`, `fail` and lookup by id
//! pass over the messages, at a few nanoseconds each.
//!
//! Invariant: a message is in exactly one of active, delayed and in flight, and its state says which.

mod chosen;
mod counts;
mod doubt;
mod residency;
mod siblings;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use message::{DeliveryState, MessageId, QueueName};
use scheduler::{Counter, Key, Measure, MemoryCharge, MemoryOwner, Meters, Wheel};

pub use counts::{BindingRow, Found, Listed, Room, Row, Totals, Whereabouts};
pub use residency::DelayedPlace;
use residency::{Residency, has_body};
pub use siblings::SiblingSearch;

use crate::arena::Arena;
use crate::moment::Moment;
use crate::options::ResidentLimits;
use crate::resident::{Arrival, Resident};
use crate::retry::{RetryOptions, Verdict};
use crate::routing_domain::plain_domain;

/// Names one queue of a table, until the table releases it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(u32);

/// The right to settle one message that is in flight. Dropping it would leave the message in flight for ever.
#[derive(Debug)]
#[must_use = "a message in flight must be settled"]
pub struct Ticket(u32);

/// A message taken for an attempt.
#[derive(Debug)]
pub struct Taken {
    /// Settles it.
    pub ticket: Ticket,
    /// Its id, to read it from the spool by.
    pub id: MessageId,
    /// Transient failures so far.
    pub retries: u32,
    /// The message, if it was in memory; without its body if only its envelope was.
    pub resident: Option<Arrival>,
}

/// What a transient failure did to a message.
#[derive(Debug)]
pub enum Transient {
    /// It waits in the delayed queue.
    Delayed {
        /// What its envelope says from now on, to be written to the spool.
        state: DeliveryState,
        /// To leave it in memory with [`Queues::keep`], before anything else.
        place: DelayedPlace,
    },
    /// It may not be tried again: it is still in flight, to be failed with that reply.
    Expired {
        /// Settles it.
        ticket: Ticket,
        /// `code enhanced text`, with the last failure's reply.
        reply: String,
    },
}

/// 40 bytes, with the wheel's and the active queue's entries under 64: what a non-resident message costs.
#[derive(Debug)]
struct Queued {
    id: MessageId,
    resident: Option<Arrival>,
    /// The monotonic second it was received in.
    born: u32,
    retries: u32,
    queue: QueueId,
    /// Doubts of its queue when it came, or was last looked at.
    doubts: u16,
    /// The same for the siblings of a batch, and seldom for others.
    kin: u16,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Active,
    Delayed(Key),
    InFlight,
}

#[derive(Debug)]
struct DomainQueue {
    name: QueueName,
    active: VecDeque<u32>,
    delayed: usize,
    in_flight: usize,
    /// Active messages with their body.
    resident: usize,
    /// How often its mail was doubted to belong to it, and how many active messages are.
    doubts: u16,
    doubted: usize,
    /// It has held mail for other domains than its name's.
    is_shared: bool,
    /// When a message was last taken, counted in messages taken from the table.
    last_taken: u64,
    /// It is in `Queues::listed`.
    is_listed: bool,
    delivered: u64,
    transient: u64,
    failed: u64,
    received: u64,
}

/// What a binding's queues did before they were released.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    received: u64,
    delivered: u64,
    transient: u64,
    failed: u64,
}

/// What a message costs beside its body and envelope: its place in the table, and in the wheel or an active queue.
pub const QUEUED_BYTES: usize = size_of::<Option<Queued>>() + Wheel::<u32>::ENTRY_BYTES;

/// The queues of one delivery loop.
#[derive(Debug)]
pub struct Queues {
    messages: Arena<Queued>,
    wheel: Wheel<u32>,
    queues: Arena<DomainQueue>,
    by_name: HashMap<QueueName, QueueId>,
    /// By binding group and binding.
    past: HashMap<(Arc<str>, Arc<str>), Past>,
    residency: Residency,
    /// Messages ever taken.
    takes: u64,
    /// Every queue with active mail, and some that had some since they were last asked for.
    listed: Vec<QueueId>,
    meter: Meter,
    /// Of everything but the messages in memory.
    charge: MemoryCharge,
    /// Of all loops, those of messages in flight among them.
    bodies: MemoryOwner,
}

/// `queue.{active,delayed}.{entered,left}` of one loop: depth is the difference.
#[derive(Debug)]
struct Meter {
    active_entered: Counter,
    active_left: Counter,
    delayed_entered: Counter,
    delayed_left: Counter,
    not_kept_resident: Counter,
    dropped: Counter,
}

impl Queues {
    /// No queues yet. `label` tells this loop's counters from another's.
    pub fn new(meters: &Meters, label: &str, now: Moment) -> Self {
        let counter = |name: &str| meters.counter(&format!("queue.{name}{{{label}}}"));
        let meter = Meter {
            active_entered: counter("active.entered"),
            active_left: counter("active.left"),
            delayed_entered: counter("delayed.entered"),
            delayed_left: counter("delayed.left"),
            not_kept_resident: counter("resident.refused"),
            dropped: counter("resident.dropped"),
        };
        let (messages, queues, wheel) = (Arena::new(), Arena::new(), Wheel::new(now.seconds));
        Self {
            messages,
            wheel,
            queues,
            by_name: HashMap::new(),
            past: HashMap::new(),
            residency: Residency::default(),
            takes: 0,
            listed: Vec::new(),
            meter,
            charge: meters.memory("queue:messages").charge(0),
            bodies: meters.memory(message::BODIES),
        }
    }

    /// The table has grown or shrunk, perhaps.
    fn recharge(&mut self) {
        let active = self.messages.slots_allocated() * size_of::<u32>();
        let by_name = self.by_name.capacity() * size_of::<(QueueName, QueueId)>();
        self.charge.set(self.messages.held() + active + self.wheel.held() + self.queues.held() + by_name);
    }

    /// The queue of that name, made if there is none.
    pub fn queue(&mut self, name: &QueueName) -> QueueId {
        if let Some(&queue) = self.by_name.get(name) {
            return queue;
        }
        let queue = QueueId(self.queues.insert(DomainQueue::new(name.clone())));
        self.by_name.insert(name.clone(), queue);
        queue
    }

    /// The name of a queue.
    pub fn name(&self, queue: QueueId) -> &QueueName {
        &self.at(queue).name
    }

    /// Puts a message into its queue: active if it is due, else delayed. It stays in memory within the limits; beyond them
    /// its copy in the spool is all there is. Whatever its envelope says, which was written by the wall clock of another
    /// time, it waits for no more than `longest_wait` seconds, and it was not born in the future.
    pub fn enqueue(
        &mut self,
        queue: QueueId,
        mut arrival: Arrival,
        now: Moment,
        limits: &ResidentLimits,
        longest_wait: u64,
    ) {
        let next_attempt = arrival.envelope.delivery.next_attempt;
        let due = now.seconds_at(next_attempt).min(now.seconds.saturating_add(longest_wait));
        let number = self.insert(queue, &mut arrival, now, State::Active);
        if now.seconds < due {
            self.delay(number, due);
            return self.keep(DelayedPlace(number), arrival, limits);
        }
        let resident = self.admitted(queue, arrival, limits);
        self.put_in(number, resident);
        self.activate(number, VecDeque::push_back);
    }

    /// Takes a message in that is not to be attempted: it is in flight until the ticket settles it.
    pub fn enqueue_in_flight(&mut self, queue: QueueId, arrival: &mut Resident, now: Moment) -> Ticket {
        let number = self.insert(queue, arrival, now, State::InFlight);
        self.at_mut(queue).in_flight += 1;
        Ticket(number)
    }

    fn insert(&mut self, queue: QueueId, arrival: &mut Resident, now: Moment, state: State) -> u32 {
        let domain = self.at_mut(queue);
        domain.received += 1;
        let (doubts, recipient) = (domain.doubts, arrival.envelope.forward_path.mailbox().domain());
        domain.is_shared |= !recipient.eq_ignore_ascii_case(plain_domain(&domain.name.domain));
        arrival.envelope.queue = domain.name.clone();
        let envelope = &arrival.envelope;
        let number = self.messages.insert(Queued {
            id: envelope.id,
            resident: None,
            born: now.seconds_at(envelope.created).min(now.seconds).try_into().unwrap_or(u32::MAX),
            retries: envelope.delivery.retries,
            queue,
            doubts,
            kin: siblings::kin(envelope),
            state,
        });
        self.recharge();
        number
    }

    /// Takes the message at the head of the active queue for an attempt.
    pub fn take(&mut self, queue: QueueId) -> Option<Taken> {
        self.take_at(queue, 0)
    }

    fn take_at(&mut self, queue: QueueId, place: usize) -> Option<Taken> {
        let number = self.at_mut(queue).active.remove(place)?;
        let queued = self.messages.get_mut(number).expect("an active message is in the arena");
        queued.state = State::InFlight;
        let (id, retries, doubts) = (queued.id, queued.retries, queued.doubts);
        let resident = self.take_out(number);
        self.takes += 1;
        let takes = self.takes;
        let domain = self.at_mut(queue);
        domain.resident -= usize::from(resident.as_deref().is_some_and(has_body));
        domain.in_flight += 1;
        domain.last_taken = takes;
        domain.doubted -= usize::from(doubts < domain.doubts);
        if domain.active.is_empty() && IDLE_CAPACITY < domain.active.capacity() {
            domain.active.shrink_to(IDLE_CAPACITY);
        }
        self.meter.active_left.add(1);
        Some(Taken { ticket: Ticket(number), id, retries, resident })
    }

    /// The message at the head of the active queue, if it is in memory.
    pub fn head(&self, queue: QueueId) -> Option<&Resident> {
        self.messages.get(*self.at(queue).active.front()?)?.resident.as_deref()
    }

    /// Its id, wherever it is.
    pub fn head_id(&self, queue: QueueId) -> Option<MessageId> {
        Some(self.messages.get(*self.at(queue).active.front()?)?.id)
    }

    /// How often a message in flight has failed transiently: what the table says counts, whatever its envelope on disk does.
    pub fn retries(&self, ticket: &Ticket) -> u32 {
        self.messages.get(ticket.0).map_or(0, |queued| queued.retries)
    }

    /// Gives a message back untried, to the head of its queue. Of several, give the last one back first.
    pub fn put_back(&mut self, ticket: Ticket, resident: Option<Arrival>) {
        let queue = self.in_flight(&ticket).queue;
        self.put_in(ticket.0, resident);
        self.at_mut(queue).in_flight -= 1;
        self.activate(ticket.0, VecDeque::push_front);
    }

    /// The text to fail a message with instead of trying it, if it is over age and may not be tried.
    pub fn before_attempt(&self, ticket: &Ticket, now: Moment, options: &RetryOptions) -> Option<&'static str> {
        let queued = self.messages.get(ticket.0)?;
        options.before_attempt(queued.age(now))
    }

    /// An attempt failed for now: counts it, and delays the message or tells that its time is over.
    pub fn transient_failure(&mut self, ticket: Ticket, reply: &str, now: Moment, options: &RetryOptions) -> Transient {
        let queued = self.in_flight(&ticket);
        queued.retries = queued.retries.saturating_add(1);
        let (retries, queue) = (queued.retries, queued.queue);
        let verdict = options.after_failure(retries, queued.age(now));
        self.at_mut(queue).transient += 1;
        match verdict {
            Verdict::Expired(text) => Transient::Expired { ticket, reply: format!("{text} ({reply})") },
            Verdict::RetryIn(seconds) => {
                let due = now.seconds.saturating_add(seconds);
                let place = DelayedPlace(ticket.0);
                self.postpone(ticket, due);
                let next_attempt = now.unix_at(due);
                let state = DeliveryState { retries, next_attempt, last_reply: Some(reply.into()), failed: None };
                Transient::Delayed { state, place }
            }
        }
    }

    /// Gives a message back untried, to be due at a monotonic second: for trouble that is ours and not the next hop's.
    pub fn postpone(&mut self, ticket: Ticket, due: u64) {
        let queue = self.in_flight(&ticket).queue;
        self.at_mut(queue).in_flight -= 1;
        self.delay(ticket.0, due);
    }

    /// The message was taken over by its next hop: it leaves.
    pub fn delivered(&mut self, ticket: Ticket) {
        let queue = self.leave(ticket);
        self.at_mut(queue).delivered += 1;
    }

    /// The message failed for good and its notification, if any, is safe: it leaves.
    pub fn failed(&mut self, ticket: Ticket) {
        let queue = self.leave(ticket);
        self.at_mut(queue).failed += 1;
    }

    /// The message turned out not to be there any more (nothing on disk): it leaves uncounted.
    pub fn forgotten(&mut self, ticket: Ticket) {
        self.leave(ticket);
    }

    /// Moves the delayed messages that are due to their active queues. How many they were.
    pub fn sweep(&mut self, now: Moment) -> usize {
        let mut due = Vec::new();
        self.wheel.advance(now.seconds, &mut |number| due.push(number));
        for &number in &due {
            self.ripen(number);
        }
        due.len()
    }

    /// The monotonic second of the next [`Queues::sweep`]: not after the first delayed message is due.
    pub fn next_due(&self) -> Option<u64> {
        self.wheel.next()
    }

    /// Makes the delayed messages of the wanted queues due now. Their retry counts stay. How many they were.
    pub fn flush(&mut self, wanted: impl Fn(&QueueName) -> bool) -> usize {
        let wanted = |queue: &DomainQueue| queue.delayed != 0 && wanted(&queue.name);
        let wanted: HashSet<QueueId> = self.named(None).filter(|(_, queue)| wanted(queue)).map(|(id, _)| id).collect();
        if wanted.is_empty() { 0 } else { self.flush_where(|queued| wanted.contains(&queued.queue)) }
    }

    /// As [`Queues::flush`], for one queue.
    pub fn flush_queue(&mut self, queue: QueueId) -> usize {
        if self.at(queue).delayed == 0 { 0 } else { self.flush_where(|queued| queued.queue == queue) }
    }

    /// Messages of a queue that are deliverable now.
    pub fn active(&self, queue: QueueId) -> usize {
        self.at(queue).active.len()
    }

    /// The queues that hold active mail, in the order they came to. Costs what they are and were, not what the table holds.
    pub fn with_active(&mut self) -> Vec<QueueId> {
        let mut listed = std::mem::take(&mut self.listed);
        listed.retain(|&queue| {
            let domain = self.at_mut(queue);
            domain.is_listed = !domain.active.is_empty();
            domain.is_listed
        });
        self.listed.clone_from(&listed);
        listed
    }

    /// Forgets a queue that holds nothing; its counters end with it, but for its binding's. Whether it is gone.
    pub fn release(&mut self, queue: QueueId) -> bool {
        if !self.at(queue).is_empty() {
            return false;
        }
        if let Some(gone) = self.queues.remove(queue.0) {
            if gone.is_listed {
                self.listed.retain(|&other| other != queue);
            }
            self.by_name.remove(&gone.name);
            if self.by_name.len() * MAP_SLACK < self.by_name.capacity() {
                self.by_name.shrink_to(self.by_name.len() * 2 + IDLE_CAPACITY);
            }
            let past = self.past.entry((gone.name.binding_group, gone.name.binding)).or_default();
            past.received += gone.received;
            past.delivered += gone.delivered;
            past.transient += gone.transient;
            past.failed += gone.failed;
            self.recharge();
        }
        true
    }

    fn at(&self, queue: QueueId) -> &DomainQueue {
        self.queues.get(queue.0).expect("a queue id is used only until its release")
    }

    fn at_mut(&mut self, queue: QueueId) -> &mut DomainQueue {
        self.queues.get_mut(queue.0).expect("a queue id is used only until its release")
    }

    fn named<'a>(&'a self, domain: Option<&'a str>) -> impl Iterator<Item = (QueueId, &'a DomainQueue)> {
        let all = self.queues.iter().map(|(number, queue)| (QueueId(number), queue));
        all.filter(move |(_, queue)| domain.is_none_or(|domain| queue.name.domain.eq_ignore_ascii_case(domain)))
    }

    fn in_flight(&mut self, ticket: &Ticket) -> &mut Queued {
        let queued = self.messages.get_mut(ticket.0).expect("a ticket's message is in the arena");
        assert!(queued.state == State::InFlight, "a ticket's message is in flight");
        queued
    }

    fn flush_where(&mut self, wanted: impl Fn(&Queued) -> bool) -> usize {
        let key = |queued: &Queued| match queued.state {
            State::Delayed(key) if wanted(queued) => Some(key),
            _ => None,
        };
        let keys: Vec<Key> = self.messages.iter().filter_map(|(_, queued)| key(queued)).collect();
        for &key in &keys {
            let number = self.wheel.remove(key).expect("a delayed message is in the wheel");
            self.ripen(number);
        }
        keys.len()
    }

    fn activate(&mut self, number: u32, push: impl FnOnce(&mut VecDeque<u32>, u32)) {
        let queued = self.messages.get_mut(number).expect("the caller's message is in the arena");
        queued.state = State::Active;
        let (queue, doubts) = (queued.queue, queued.doubts);
        let in_memory = usize::from(queued.resident.as_deref().is_some_and(has_body));
        let domain = self.at_mut(queue);
        domain.doubted += usize::from(doubts < domain.doubts);
        domain.resident += in_memory;
        push(&mut domain.active, number);
        if !std::mem::replace(&mut domain.is_listed, true) {
            self.listed.push(queue);
        }
        self.meter.active_entered.add(1);
    }

    fn delay(&mut self, number: u32, due: u64) {
        let key = self.wheel.insert(due, number);
        let queued = self.messages.get_mut(number).expect("the caller's message is in the arena");
        queued.state = State::Delayed(key);
        let queue = queued.queue;
        self.at_mut(queue).delayed += 1;
        self.meter.delayed_entered.add(1);
    }

    /// From delayed to active.
    fn ripen(&mut self, number: u32) {
        let queue = self.messages.get(number).expect("a delayed message is in the arena").queue;
        self.at_mut(queue).delayed -= 1;
        self.left_waiting(number);
        self.meter.delayed_left.add(1);
        self.activate(number, VecDeque::push_back);
    }

    fn leave(&mut self, ticket: Ticket) -> QueueId {
        let queue = self.in_flight(&ticket).queue;
        self.messages.remove(ticket.0);
        self.at_mut(queue).in_flight -= 1;
        self.recharge();
        queue
    }
}

impl Queued {
    fn age(&self, now: Moment) -> u64 {
        now.seconds.saturating_sub(u64::from(self.born))
    }
}

impl DomainQueue {
    fn new(name: QueueName) -> Self {
        Self {
            name,
            active: VecDeque::new(),
            delayed: 0,
            in_flight: 0,
            resident: 0,
            doubts: 0,
            doubted: 0,
            is_shared: false,
            last_taken: 0,
            is_listed: false,
            delivered: 0,
            transient: 0,
            failed: 0,
            received: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.active.is_empty() && self.delayed == 0 && self.in_flight == 0
    }
}

/// Entries an empty active queue keeps room for, and a map that has shrunk.
const IDLE_CAPACITY: usize = 64;
/// A map with room for so many times what it holds gives the rest back.
const MAP_SLACK: usize = 8;

/// What each delivery loop counts of its queues.
pub const MEASURES: &[Measure] = &[
    Measure::counter("queue.active.entered{*}", "times", "Times that a message came into an active queue: new, due, flushed, or returned by a connection that did not try it.").by(&["loop"]),
    Measure::counter("queue.active.left{*}", "times", "Times that a message left an active queue: into a connection, to be delayed, failed, or moved.").by(&["loop"]),
    Measure::counter("queue.delayed.entered{*}", "times", "Times that a message was delayed until its next attempt.").by(&["loop"]),
    Measure::counter("queue.delayed.left{*}", "times", "Times that a message left the delayed queue: due, flushed, failed, or moved.").by(&["loop"]),
    Measure::counter("queue.resident.refused{*}", "times", "Times that a body did not stay in memory because a limit was full or memory short; the message is in the spool all the same.").by(&["loop"]),
    Measure::counter("queue.resident.dropped{*}", "times", "Times that a body that was in memory was let go; it is read from the spool when it is needed.").by(&["loop"]),
];

#[cfg(test)]
mod tests;
