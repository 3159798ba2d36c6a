//! The domain record: what one delivery loop knows of one (binding, routing domain) queue beside its messages.
//!
//! Lives on one loop, shared there by the maintainer and the connections of the queue. Borrows are never held over a wait.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use message::{MessageId, QueueName};
use queue::QueueId;
use scheduler::{Lack, MemoryShare};
use smtp::Reply;
use smtp::client::Stage;

use crate::hosts::Peer;
use crate::limits::{Awaits, LimitName};
use crate::line::Line;
use crate::lookups::Lookups;
use crate::memory_wait::MemoryWait;
use crate::options::QueueSettings;
use crate::route::Candidate;
use crate::slots::Slot;
use crate::unreachable::Drain;

/// One queue's record.
pub(crate) struct DomainRecord {
    pub(crate) queue: QueueId,
    pub(crate) name: QueueName,
    settings: RefCell<Rc<QueueSettings>>,
    pub(crate) connections: RefCell<Vec<Rc<Status>>>,
    /// The addresses of the last routing, for the operator.
    pub(crate) route: RefCell<Vec<Candidate>>,
    /// Until when that may be taken for its route.
    pub(crate) routed_until: Cell<Option<Instant>>,
    /// What it waits for while limits on connections are full.
    pub(crate) line: RefCell<Line>,
    /// No connection is tried before.
    pub(crate) hold_until: Cell<Option<Instant>>,
    /// A throttle lets nothing go before, and somebody will look then.
    pub(crate) throttled_until: Cell<Option<(Instant, Awaits)>>,
    /// Which throttle that is; none for a host that has no room.
    pub(crate) throttled_by: RefCell<Option<LimitName>>,
    /// Since when it has waited for that, with nothing let through.
    throttled_since: Cell<Option<(Awaits, Instant)>>,
    /// Since when its settings let nothing go.
    suspended_since: Cell<Option<Instant>>,
    /// What the machine lacked for its last connection.
    pub(crate) lack: Cell<Option<Lack>>,
    /// Why its mail goes nowhere, as of the last routing.
    pub(crate) no_route: RefCell<Option<String>>,
    /// Consecutive rounds in which hosts were tried, and none could be reached.
    pub(crate) failures: Cell<u64>,
    /// Those, and lookups that failed, since all mail was last delayed for them.
    rounds: Cell<u64>,
    pub(crate) unreachable_since: Cell<Option<Instant>>,
    /// Lookups that found no host.
    pub(crate) lookups: Lookups,
    /// Consecutive lookups of its mail hosts that got no answer.
    pub(crate) unanswered_lookups: Cell<u64>,
    /// What the active queue is being emptied into: nothing else takes from it meanwhile.
    pub(crate) drain: RefCell<Option<Drain>>,
    pub(crate) empty_since: Cell<Option<Instant>>,
    /// Transactions that wait for memory to be read into.
    pub(crate) memory_waits: RefCell<Vec<Rc<MemoryWait>>>,
    /// Of the memory that is lent for bodies.
    share: OnceCell<MemoryShare>,
}

impl DomainRecord {
    pub(crate) fn new(queue: QueueId, name: QueueName, settings: Rc<QueueSettings>, now: Instant) -> Self {
        let suspended_since = Cell::new(settings.lets_nothing_go().then_some(now));
        Self {
            queue,
            name,
            settings: RefCell::new(settings),
            connections: RefCell::default(),
            route: RefCell::default(),
            routed_until: Cell::new(None),
            line: RefCell::default(),
            hold_until: Cell::new(None),
            throttled_until: Cell::new(None),
            throttled_by: RefCell::default(),
            throttled_since: Cell::new(None),
            suspended_since,
            lack: Cell::new(None),
            no_route: RefCell::default(),
            failures: Cell::new(0),
            rounds: Cell::new(0),
            unreachable_since: Cell::new(None),
            lookups: Lookups::default(),
            unanswered_lookups: Cell::new(0),
            drain: RefCell::default(),
            empty_since: Cell::new(None),
            memory_waits: RefCell::default(),
            share: OnceCell::new(),
        }
    }

    /// What its connections have of the memory that is lent for bodies.
    pub(crate) fn share(&self) -> &MemoryShare {
        self.share.get_or_init(MemoryShare::default)
    }

    pub(crate) fn settings(&self) -> Rc<QueueSettings> {
        self.settings.borrow().clone()
    }

    /// An address as this queue's binding sees it.
    pub(crate) fn peer(&self, remote: SocketAddr) -> Peer {
        Peer::of(&self.name, remote)
    }

    pub(crate) fn use_settings(&self, settings: Rc<QueueSettings>, now: Instant) {
        let since = self.suspended_since.get().unwrap_or(now);
        self.suspended_since.set(settings.lets_nothing_go().then_some(since));
        *self.settings.borrow_mut() = settings;
        // What held connections back may have changed with it.
        self.hold_until.set(None);
        self.throttled_until.set(None);
        self.routed_until.set(None);
        self.leave_line();
    }

    /// It waits for no slot any more, and holds none of those it waited for.
    pub(crate) fn leave_line(&self) {
        // Dropped when nothing is borrowed: the slots go to others, who may be near.
        let left = self.line.borrow_mut().leave();
        drop(left);
    }

    /// It is to take another place in line, and has waited as long as before.
    pub(crate) fn leave_waiting(&self) {
        let left = self.line.borrow_mut().leave_places();
        drop(left);
    }

    /// Whether its route is known.
    pub(crate) fn has_route(&self, now: Instant) -> bool {
        self.routed_until.get().is_some_and(|until| now < until)
    }

    /// A session with one of the hosts opened.
    pub(crate) fn reached(&self) {
        self.failures.set(0);
        self.lack.set(None);
        self.hold_until.set(None);
        self.delayed();
    }

    /// All its mail is delayed for want of a host.
    pub(crate) fn delayed(&self) {
        self.rounds.set(0);
        self.unreachable_since.set(None);
    }

    /// No host was reached; a round that `counts` has failed, another could not even be begun. How many have since the mail was
    /// last delayed for it, and since when.
    pub(crate) fn not_reached(&self, now: Instant, hold_until: Instant, counts: bool) -> (u64, Instant) {
        self.rounds.set(self.rounds.get() + u64::from(counts));
        self.hold_until.set(Some(hold_until));
        let since = self.unreachable_since.get().unwrap_or(now);
        self.unreachable_since.set(Some(since));
        (self.rounds.get(), since)
    }

    pub(crate) fn is_held(&self, now: Instant) -> bool {
        self.hold_until.get().is_some_and(|until| now < until)
    }

    /// What it waits for room for, if it does.
    pub(crate) fn throttled(&self, now: Instant) -> Option<Awaits> {
        self.throttled_until.get().filter(|(until, _)| now < *until).map(|(_, awaits)| awaits)
    }

    /// The same, with until when, and which throttle it is; none for a host that has no room.
    pub(crate) fn throttle(&self, now: Instant) -> Option<(Awaits, Instant, Option<LimitName>)> {
        let (until, awaits) = self.throttled_until.get().filter(|(until, _)| now < *until)?;
        Some((awaits, until, self.throttled_by.borrow().clone()))
    }

    /// From now on it waits for a throttle, or has for longer already.
    pub(crate) fn throttle_until(&self, until: Instant, awaits: Awaits, by: Option<LimitName>, now: Instant) {
        self.throttled_until.set(Some((until, awaits)));
        *self.throttled_by.borrow_mut() = by;
        let since = self.throttled_since.get().filter(|(known, _)| *known == awaits);
        self.throttled_since.set(Some(since.unwrap_or((awaits, now))));
    }

    /// A throttle has let something through.
    pub(crate) fn passed_throttle(&self, awaited: Awaits) {
        let passed =
            self.throttled_since.get().is_some_and(|(known, _)| known == awaited || awaited == Awaits::Message);
        if passed {
            self.throttled_since.set(None);
        }
    }

    /// Since when it has waited for a throttle.
    pub(crate) fn throttled_since(&self) -> Option<Instant> {
        self.throttled_since.get().map(|(_, since)| since)
    }

    /// Since when its settings let nothing go, or since it is there.
    pub(crate) fn suspended_since(&self) -> Option<Instant> {
        self.suspended_since.get()
    }

    /// Since when the message has waited for memory to be read into, if it does.
    pub(crate) fn awaits_memory(&self, message: MessageId) -> Option<Instant> {
        let waits = self.memory_waits.borrow();
        waits.iter().find(|wait| wait.messages.contains(&message)).map(|wait| wait.since)
    }

    /// The same of its mail as a whole, which does only if no session carries any of it.
    pub(crate) fn all_awaits_memory(&self) -> Option<Instant> {
        let carries = |status: &Rc<Status>| !status.carries.borrow().is_empty();
        let since = self.memory_waits.borrow().iter().map(|wait| wait.since).min()?;
        (!self.connections.borrow().iter().any(carries)).then_some(since)
    }

    /// What its mail is being emptied into, and how many messages are left.
    pub(crate) fn verdict(&self) -> Option<(Reply, usize)> {
        self.drain.borrow().as_ref().map(Drain::verdict)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain.borrow().is_some()
    }

    /// Connections that carry mail, or will.
    pub(crate) fn useful_connections(&self) -> usize {
        self.connections.borrow().iter().filter(|status| !status.ending.get()).count()
    }

    /// Connections that are not open yet.
    pub(crate) fn opening_connections(&self) -> usize {
        self.connections.borrow().iter().filter(|status| status.opening.get()).count()
    }

    /// Whether a connection waits for the spool to take its unlinks, its session open or over: another beside it or in its
    /// stead would only deliver more that a crash repeats.
    pub(crate) fn waits_for_unlinks(&self) -> bool {
        self.connections.borrow().iter().any(|status| status.unlinking.get())
    }

    /// Wakes up to `wanted` connections that have nothing to do, the last used first; how many.
    pub(crate) fn wake_idle(&self, wanted: usize) -> usize {
        let connections = self.connections.borrow();
        let idle = connections.iter().rev().filter_map(|status| status.parked.take()).take(wanted);
        idle.map(Waker::wake).count()
    }
}

/// One connection, as others see it.
pub(crate) struct Status {
    pub(crate) id: MessageId,
    pub(crate) descriptor: Cell<Option<i32>>,
    pub(crate) remote: RefCell<Option<(Arc<str>, SocketAddr)>>,
    /// The queue whose mail it carries.
    pub(crate) record: RefCell<Rc<DomainRecord>>,
    /// Its places under limits that others share.
    pub(crate) slots: RefCell<Vec<Slot>>,
    /// What its session was opened under, once it is open.
    pub(crate) opened_under: RefCell<Option<Rc<QueueSettings>>>,
    stage: Cell<Stage>,
    pub(crate) since: Cell<Instant>,
    /// It has no session yet.
    pub(crate) opening: Cell<bool>,
    /// It takes no more mail.
    pub(crate) ending: Cell<bool>,
    /// It has delivered what the spool has not yet taken the unlink of.
    pub(crate) unlinking: Cell<bool>,
    /// Set while the connection has nothing to do; whoever brings it work takes the waker.
    pub(crate) parked: Cell<Option<Waker>>,
    /// The messages given to its session, in their order.
    pub(crate) carries: RefCell<VecDeque<MessageId>>,
}

impl Status {
    pub(crate) fn new(id: MessageId, record: &Rc<DomainRecord>, slots: Vec<Slot>, now: Instant) -> Self {
        Self {
            id,
            descriptor: Cell::new(None),
            remote: RefCell::new(None),
            record: RefCell::new(record.clone()),
            slots: RefCell::new(slots),
            opened_under: RefCell::new(None),
            stage: Cell::new(Stage::NotConnected),
            since: Cell::new(now),
            opening: Cell::new(true),
            ending: Cell::new(false),
            unlinking: Cell::new(false),
            parked: Cell::new(None),
            carries: RefCell::default(),
        }
    }

    pub(crate) fn remote_address(&self) -> Option<SocketAddr> {
        self.remote.borrow().as_ref().map(|(_, remote)| *remote)
    }

    /// Whether it gives way to somebody who waits for one of its slots.
    pub(crate) fn gives_way(&self) -> bool {
        self.slots.borrow().iter().any(Slot::is_leaving)
    }

    /// It has had its turn: whether it gives way to a queue that has no connection.
    pub(crate) fn is_claimed(&self) -> bool {
        self.slots.borrow_mut().iter_mut().any(Slot::claim)
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage.get()
    }

    pub(crate) fn enter(&self, stage: Stage, now: Instant) {
        if self.stage.replace(stage) != stage {
            self.since.set(now);
        }
    }
}
