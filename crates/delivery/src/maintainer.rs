//! The queue maintainer of one delivery loop: takes messages in, ripens delayed ones, and opens connections towards the
//! goal of each queue.
//!
//! One task runs [`Maintainer::run`]; connections are tasks beside it on the same loop and call back here. Nothing blocks,
//! no borrow is held over a wait.
//!
//! Invariant: while a queue has active mail and is neither held, suspended nor draining, a connection is open or opening.

mod accounts;
mod limited;
mod resolution;
mod sweep;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use config::Lookup;
use message::QueueName;
use queue::{Arrival, Arrivals, Keys, Moment, QueueId, Queues, WeakIntake};
use scheduler::Lack;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

pub use self::accounts::MEASURES;
use self::accounts::{Meter, Owners};
use self::resolution::Whole;
use self::sweep::RETIRE_AFTER;
use crate::connection;
use crate::engine::Deps;
use crate::held::Taken;
use crate::hosts::Hosts;
use crate::lacks::{LACK_PAUSE, Lacks};
use crate::limits::{Awaits, Limits};
use crate::local;
use crate::options::{Aggressiveness, DISK_QUEUE_DRAIN_RATE, DeliveryMethod, QueueSettings, SettingsKey};
use crate::place::Place;
use crate::record::DomainRecord;
use crate::seams::Bouncer;
use crate::seven_bit::Forms;
use crate::siblings::Sessions;
use crate::slots::{Grant, Need, Slot};
use crate::telling::Telling;
use crate::trace::Tracers;
use crate::unreachable::DRAINED_AT_ONCE;

/// Something to be done on the loop, from another thread.
pub(crate) type Order = Box<dyn FnOnce(&Rc<Maintainer>) + Send>;

/// What the delivery loops have in common.
pub(crate) struct Shared {
    /// How many they are.
    pub(crate) loops: usize,
    /// Throttles and counts that span queues.
    pub(crate) limits: Arc<Limits>,
    /// What the machine lacks.
    pub(crate) lacks: Arc<Lacks>,
    /// For mail that goes from queue to queue.
    pub(crate) intake: WeakIntake,
    /// Who wants dialogues recorded.
    pub(crate) tracers: Tracers,
}

/// One delivery loop's state.
pub(crate) struct Maintainer {
    pub(crate) deps: Deps,
    pub(crate) bouncer: Arc<dyn Bouncer>,
    pub(crate) queues: RefCell<Queues>,
    pub(crate) hosts: RefCell<Hosts>,
    /// Open sessions, for the queues of the loop.
    pub(crate) sessions: RefCell<Sessions>,
    /// Bodies as servers without 8BITMIME take them.
    pub(crate) forms: Forms,
    pub(crate) meter: Meter,
    pub(crate) owners: Owners,
    pub(crate) stopping: Cell<bool>,
    records: RefCell<HashMap<QueueId, Rc<DomainRecord>>>,
    pub(crate) shared: Shared,
    /// Where slots come that queues of this loop have waited for.
    door: UnboundedSender<Grant>,
    start: Instant,
    /// Of the newest generation that settings were resolved from.
    whole: RefCell<Whole>,
    /// Of the newest generation: what queues share whose options are the same.
    resolved: RefCell<HashMap<SettingsKey, Rc<QueueSettings>>>,
    /// When the next sweep is due, and the task to wake when that changes.
    sweep_at: Cell<Option<Instant>>,
    /// When records are next looked through for some to forget.
    retire_at: Cell<Instant>,
    /// When the memory is next looked at.
    pub(crate) memory_at: Cell<Instant>,
    sleeper: RefCell<Option<Waker>>,
    /// Which queue mail belongs to, since the last reload, and what tells whether the next one changes that.
    pub(crate) keys: RefCell<Keys>,
    pub(crate) keys_fingerprint: Cell<u64>,
    /// No connection is tried before: the machine lacks what all of them need.
    starved: Cell<Option<(Lack, Instant)>>,
    /// Of lookups that gave no host.
    pub(crate) lookups_told: RefCell<Telling>,
    /// Of all queues together, messages of drains that may yet be taken.
    pub(crate) drained: Arc<Semaphore>,
    /// Tasks under way besides `run`: connections, drains, writes.
    tasks: Cell<usize>,
}

impl Maintainer {
    pub(crate) fn new(
        deps: Deps,
        bouncer: Arc<dyn Bouncer>,
        label: &str,
        shared: Shared,
    ) -> (Self, UnboundedReceiver<Grant>) {
        let (door, granted) = mpsc::unbounded_channel();
        let start = deps.clock.now();
        let queues = Queues::new(&deps.meters, label, Moment::of(&deps.clock, start));
        let meter = Meter::new(&deps.meters);
        let keys = Keys::new(deps.configuration.current());
        let maintainer = Self {
            bouncer,
            queues: RefCell::new(queues),
            hosts: RefCell::default(),
            sessions: RefCell::default(),
            drained: Arc::new(Semaphore::new(DRAINED_AT_ONCE)),
            door,
            forms: Forms::default(),
            meter,
            owners: Owners::new(&deps.meters),
            stopping: Cell::new(false),
            records: RefCell::default(),
            shared,
            start,
            whole: RefCell::default(),
            resolved: RefCell::default(),
            sweep_at: Cell::new(None),
            retire_at: Cell::new(start),
            memory_at: Cell::new(start),
            sleeper: RefCell::default(),
            keys_fingerprint: Cell::new(keys.fingerprint()),
            keys: RefCell::new(keys),
            starved: Cell::new(None),
            lookups_told: RefCell::default(),
            tasks: Cell::new(0),
            deps,
        };
        (maintainer, granted)
    }

    /// The maintainer's own task, until every intake and every engine handle is gone.
    pub(crate) async fn run(
        self: Rc<Self>,
        mut arrivals: Arrivals,
        mut orders: mpsc::Receiver<Order>,
        mut granted: UnboundedReceiver<Grant>,
    ) {
        let mut batch = Vec::with_capacity(ARRIVALS_PER_TURN);
        let mut timer = Box::pin(tokio::time::sleep(Duration::ZERO));
        let (mut reachable, mut open) = (true, true);
        while reachable || open {
            tokio::select! {
                biased;
                order = orders.recv(), if reachable => match order {
                    Some(order) => order(&self),
                    None => reachable = false,
                },
                Some(grant) = granted.recv() => self.granted(grant),
                received = arrivals.receive(&mut batch, ARRIVALS_PER_TURN, self.drain_rate()), if open => {
                    open = received != 0;
                    self.admit(batch.drain(..));
                }
                () = self.sweep_due(timer.as_mut()) => self.sweep(),
            }
        }
    }

    /// Restored messages taken in one turn of the loop.
    fn drain_rate(&self) -> usize {
        let rate = self.deps.configuration.current().get(&DISK_QUEUE_DRAIN_RATE, &Lookup::Global);
        usize::try_from(rate).unwrap_or(usize::MAX)
    }

    /// Now, as the queues count.
    pub(crate) fn moment(&self) -> Moment {
        Moment::of(&self.deps.clock, self.start)
    }

    /// The record of a queue, with the settings of the current generation.
    pub(crate) fn record(&self, name: &QueueName) -> Rc<DomainRecord> {
        let queue = self.queues.borrow_mut().queue(name);
        if let Some(record) = self.records.borrow().get(&queue) {
            return record.clone();
        }
        let settings = self.resolve(name);
        let record = Rc::new(DomainRecord::new(queue, name.clone(), settings, self.deps.clock.now()));
        self.records.borrow_mut().insert(queue, record.clone());
        self.wake_in(RETIRE_AFTER);
        record
    }

    /// Every record, in no order.
    pub(crate) fn records(&self) -> Vec<Rc<DomainRecord>> {
        self.records.borrow().values().cloned().collect()
    }

    /// Takes the next message of a queue for an attempt, unless there is a reason not to make one.
    pub(crate) fn next(self: &Rc<Self>, record: &DomainRecord, settings: &Rc<QueueSettings>) -> Option<Taken> {
        if self.stopping.get() || settings.suspended || record.is_draining() {
            return None;
        }
        loop {
            let taken = self.queues.borrow_mut().take(record.queue)?;
            let taken = self.taken(taken);
            if !settings.retry.never_attempt_expired {
                return Some(taken);
            }
            let (queues, now) = (self.queues.borrow(), self.moment());
            let expired = taken.held.ticket().and_then(|ticket| queues.before_attempt(ticket, now, &settings.retry));
            drop(queues);
            let Some(text) = expired else { return Some(taken) };
            self.fail_untried(settings, taken, text);
        }
    }

    /// A connection of the queue needs work or ended, or its mail changed: wakes idle connections and opens new ones.
    pub(crate) fn maintain(self: &Rc<Self>, record: &Rc<DomainRecord>, ticked: bool) {
        let settings = self.refreshed(record);
        self.rekey(record);
        if settings.blackholed {
            return self.swallow(record, &settings);
        }
        let active = self.queues.borrow().active(record.queue);
        let now = self.deps.clock.now();
        let throttled = record.throttled(now);
        let held = settings.suspended || record.is_draining() || throttled == Some(Awaits::Message);
        if active == 0 || self.stopping.get() || held {
            return record.leave_line();
        }
        let woken = record.wake_idle(active);
        if throttled.is_some() {
            return record.leave_line();
        }
        self.wake_in(TICK);
        if woken != 0 && settings.limits.messages.is_some() {
            // Where a throttle sets the pace, more connections than can be used would only come to wait for it.
            return;
        }
        while self.wants_connection(record, &settings, active, ticked && woken == 0, now) {
            if let Some((awaits, busy)) = settings.limits.busy(now) {
                return self.saturated(record, awaits, busy);
            }
            if !self.take_over(record, &settings) && !self.open_connection(record, &settings, Vec::new()) {
                return;
            }
        }
    }

    /// Runs a task of this loop, and counts it until it ends.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }

    /// Runs a task that holds messages: a graceful stop waits for it.
    pub(crate) fn spawn_holding(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        self.tasks.set(self.tasks.get() + 1);
        let counted = CountedTask(self.clone());
        tokio::task::spawn_local(async move {
            task.await;
            drop(counted);
        });
    }

    /// Tasks that hold messages.
    pub(crate) fn tasks(&self) -> usize {
        self.tasks.get()
    }

    /// No more attempts: connections end when what they have begun is over.
    pub(crate) fn stop(&self) {
        self.stopping.set(true);
        for record in self.records() {
            record.wake_idle(usize::MAX);
        }
    }

    /// A new generation is in effect: queues it lets go are looked at now rather than at the next sweep.
    pub(crate) fn refresh(self: &Rc<Self>) {
        self.follow_keys();
        for record in self.records() {
            self.maintain(&record, false);
        }
    }

    fn admit(self: &Rc<Self>, arrivals: impl Iterator<Item = Arrival>) {
        let now = self.moment();
        let mut touched: Vec<Rc<DomainRecord>> = Vec::new();
        for arrival in arrivals {
            let record = match touched.last() {
                Some(last) if last.name == arrival.envelope.queue => last.clone(),
                _ => self.record(&arrival.envelope.queue),
            };
            let settings = self.refreshed(&record);
            if let Some(failed) = arrival.envelope.delivery.failed.clone() {
                self.fail_here(&record, arrival, &failed);
                continue;
            }
            self.queues.borrow_mut().enqueue(
                record.queue,
                arrival,
                now,
                &self.resident_limits(&settings),
                settings.retry.max_retry_interval,
            );
            if touched.last().is_none_or(|last| !Rc::ptr_eq(last, &record)) {
                touched.push(record);
            }
        }
        for record in touched {
            self.maintain(&record, false);
        }
        self.wake_at(self.queues.borrow().next_due());
        self.check_memory();
    }

    /// Whether one more connection brings the queue towards its goal (reference: operations.md section 7). An open one takes
    /// message after message, so another is worth its cost only when mail piles up, or has waited for a tick.
    fn wants_connection(
        &self,
        record: &DomainRecord,
        settings: &QueueSettings,
        active: usize,
        ticked: bool,
        now: Instant,
    ) -> bool {
        let (open, opening) = (record.useful_connections(), record.opening_connections());
        if open == 0 && record.line.borrow().is_overdue(now) {
            record.leave_waiting();
        }
        let limited = settings.connections_max <= record.connections.borrow().len() || record.line.borrow().waits();
        if limited || self.is_starved(now) || record.is_held(now) || record.waits_for_unlinks() {
            return false;
        }
        match settings.aggressiveness {
            _ if open == 0 => true,
            // Until one host has answered, more attempts only hammer it.
            _ if opening == open => false,
            Aggressiveness::High => open < active,
            Aggressiveness::Normal => opening == 0 && (backlog_for(open) < active || (ticked && open <= active)),
        }
    }

    /// `false` if a limit that the queue shares with others has no room: then it waits in line. `held` are slots that it has
    /// waited for.
    fn open_connection(
        self: &Rc<Self>,
        record: &Rc<DomainRecord>,
        settings: &Rc<QueueSettings>,
        held: Vec<Slot>,
    ) -> bool {
        let need = if record.useful_connections() == 0 { Need::First } else { Need::More };
        let place = match Place::take(self, record, settings, need, held, self.deps.clock.now()) {
            Ok(place) => place,
            Err((full, held)) => {
                let is_unknown = need == Need::First && held.is_empty() && !record.has_route(self.deps.clock.now());
                if !(is_unknown && self.scout(record, settings)) {
                    self.line_up(record, settings, vec![full], held);
                }
                return false;
            }
        };
        record.leave_line();
        let (maintainer, record) = (self.clone(), record.clone());
        let charge = self.owners.connections.charge(connection::OCTETS);
        self.spawn_holding(async move {
            match record.settings().method {
                DeliveryMethod::Esmtp | DeliveryMethod::Lmtp => {
                    connection::run(&maintainer, &record, &place.status).await
                }
                DeliveryMethod::Maildir => local::run(&maintainer, &record, &place.status).await,
            }
            let record = place.status.record.borrow().clone();
            drop((place, charge));
            maintainer.maintain(&record, false);
        });
        true
    }

    /// A connection to `what` did not come about because the machine lacks something; until when the queue waits.
    pub(crate) fn lacks(&self, lack: Lack, what: &dyn fmt::Display) -> Instant {
        let now = self.deps.clock.now();
        self.shared.lacks.note(lack, now, what);
        let until = now + LACK_PAUSE;
        if lack.is_of_all() {
            self.starved.set(Some((lack, until)));
        }
        until
    }

    /// Whether the machine lacks what a connection needs.
    fn is_starved(&self, now: Instant) -> bool {
        self.starved(now).is_some()
    }

    /// What it lacks, and until when that is not tried for.
    pub(crate) fn starved(&self, now: Instant) -> Option<(Lack, Instant)> {
        self.starved.get().filter(|(_, until)| now < *until)
    }
}

/// A task that a graceful stop waits for, until it ends or is dropped.
struct CountedTask(Rc<Maintainer>);

impl Drop for CountedTask {
    fn drop(&mut self) {
        self.0.tasks.set(self.0.tasks.get() - 1);
    }
}

/// Messages taken from the intake in one turn of the loop.
const ARRIVALS_PER_TURN: usize = 256;
/// Active messages beyond which a connection is added at once to so many open ones: 16, 64, 144 … A fast host clears such a
/// backlog with the few it has; for a slow one the ticks add more.
fn backlog_for(open: usize) -> usize {
    16 * open * open
}

/// How often a queue with active mail is looked at.
pub(crate) const TICK: Duration = Duration::from_secs(1);
