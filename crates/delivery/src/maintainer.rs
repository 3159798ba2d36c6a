//! The queue maintainer of one delivery loop: takes messages in, ripens delayed ones, and opens connections towards the
//! goal of each queue.
//!
//! One task runs [`Maintainer::run`]; connections are tasks beside it on the same loop and call back here. Nothing blocks,
//! no borrow is held over a wait.
//!
//! Invariant: while a queue has active mail and is neither held, suspended nor draining, a connection is open or opening.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use config::Lookup;
use message::QueueName;
use queue::{Arrival, Arrivals, DomainGlobs, Keys, Moment, QueueId, Queues, ResidentOwners, WeakIntake};
use scheduler::{Counter, Lack, MemoryOwner, Meters};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::Sleep;

use crate::barred::Barred;
use crate::connection;
use crate::engine::Deps;
use crate::held::Taken;
use crate::hosts::Hosts;
use crate::lacks::{LACK_PAUSE, Lacks};
use crate::limits::{Awaits, FULL_PAUSE, Limits, Saturated};
use crate::local;
use crate::options::{
    Aggressiveness, DISK_QUEUE_DRAIN_RATE, DeliveryMethod, QueueSettings, SettingsKey, Surroundings, best_hosts_only,
    relay_domains,
};
use crate::place::Place;
use crate::record::DomainRecord;
use crate::seams::Bouncer;
use crate::seven_bit::Forms;
use crate::siblings::Sessions;
use crate::slots::{Cap, Grant, Need, Slot};
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
    starved_until: Cell<Option<Instant>>,
    /// Of all queues together, messages of drains that may yet be taken.
    pub(crate) drained: Arc<Semaphore>,
    /// Tasks under way besides `run`: connections, drains, writes.
    tasks: Cell<usize>,
}

/// What every queue needs of a generation.
#[derive(Default)]
struct Whole {
    number: u64,
    has_hosts: bool,
    best_hosts_only: DomainGlobs,
    relay_domains: DomainGlobs,
    barred: Rc<Barred>,
}

/// `delivery.…`, shared by the loops.
pub(crate) struct Meter {
    pub(crate) delivered: Counter,
    pub(crate) transient: Counter,
    pub(crate) permanent: Counter,
    pub(crate) lost_after_dot: Counter,
    pub(crate) not_notified: Counter,
    pub(crate) unreadable: Counter,
    pub(crate) connections_entered: Counter,
    pub(crate) connections_left: Counter,
    pub(crate) connections_failed: Counter,
    /// Sessions that a host refused while it had others.
    pub(crate) one_too_many: Counter,
    /// Sessions that a host ended in the middle of a message, or in which it did not keep to the protocol.
    pub(crate) broken_off: Counter,
    /// Times that a queue began to wait for a throttle or a full host.
    pub(crate) throttled: Counter,
    /// Times that a session went to another queue.
    pub(crate) migrated: Counter,
    /// Messages that went to another queue after a reload.
    pub(crate) moved: Counter,
    /// Times that a queue was found to lead back to this server.
    pub(crate) loops: Counter,
    /// Times that a queue was found to lead to prohibited hosts alone.
    pub(crate) prohibited: Counter,
}

/// What the memory of delivery is charged to.
pub(crate) struct Owners {
    pub(crate) residents: ResidentOwners,
    /// Bodies made here, and read from the spool.
    pub(crate) bodies: MemoryOwner,
    pub(crate) connections: MemoryOwner,
}

impl Owners {
    fn new(meters: &Meters) -> Self {
        let residents = ResidentOwners::new(meters);
        Self { residents, bodies: meters.memory(message::BODIES), connections: meters.memory("delivery:connections") }
    }
}

impl Meter {
    fn new(meters: &Meters) -> Self {
        let counter = |name: &str| meters.counter(&format!("delivery.{name}"));
        Self {
            delivered: counter("messages.delivered"),
            transient: counter("messages.transient"),
            permanent: counter("messages.permanent"),
            lost_after_dot: counter("messages.lost_after_dot"),
            not_notified: counter("messages.not_notified"),
            unreadable: counter("messages.unreadable"),
            connections_entered: counter("connections.entered"),
            connections_left: counter("connections.left"),
            connections_failed: counter("connections.failed"),
            one_too_many: counter("connections.one_too_many"),
            broken_off: counter("connections.broken_off"),
            throttled: counter("queues.throttled"),
            migrated: counter("connections.migrated"),
            moved: counter("messages.moved"),
            loops: counter("queues.looping"),
            prohibited: counter("queues.prohibited"),
        }
    }
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
            starved_until: Cell::new(None),
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
        let record = Rc::new(DomainRecord::new(queue, name.clone(), settings));
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

    /// Throttles or full hosts have no place for this queue: its mail stays active, and the queue is looked at when its turn
    /// comes. Sessions that it has go on meanwhile, unless it is messages that have no place.
    pub(crate) fn saturated(self: &Rc<Self>, record: &Rc<DomainRecord>, awaits: Awaits, saturated: Saturated) {
        let now = self.deps.clock.now();
        let known = record.throttled(now);
        if known == Some(awaits) || known == Some(Awaits::Message) {
            return;
        }
        self.meter.throttled.add(1);
        if !saturated.full.is_empty() {
            self.line_up(record, &record.settings(), saturated.full, Vec::new());
        }
        let (waiting, turn) = match saturated.throttled {
            Some((limit, free_at)) => {
                let (waiting, turn) = limit.join(free_at);
                (Some(waiting), turn.max(now + THROTTLE_WAIT_MIN))
            }
            None if saturated.is_crowded => (None, now + FULL_PAUSE),
            None => return,
        };
        if saturated.is_crowded {
            // A session that is open there may take the mail.
            self.list(record, &record.settings(), now);
        }
        if !record.line.borrow().waits() {
            record.throttled_until.set(Some((turn, awaits)));
        }
        let (maintainer, record) = (self.clone(), record.clone());
        self.spawn(async move {
            // What comes back unspent may be its place, long before its turn.
            let returned = async {
                match &waiting {
                    Some(waiting) => waiting.returned().await,
                    None => std::future::pending().await,
                }
            };
            let _ = tokio::time::timeout_at(turn.into(), returned).await;
            drop(waiting);
            record.throttled_until.set(None);
            record.leave_line();
            maintainer.maintain(&record, false);
        });
    }

    /// The queue waits for a slot of any of these limits, and for a session of its best hosts, whichever it gets first. While
    /// such sessions serve the queues of this loop in turn, one of its own is worth its cost only after a while.
    fn line_up(&self, record: &Rc<DomainRecord>, settings: &QueueSettings, full: Vec<Cap>, held: Vec<Slot>) {
        let now = self.deps.clock.now();
        let has_none = record.useful_connections() == 0;
        let is_served = has_none && held.is_empty() && self.list(record, settings, now).unwrap_or(false);
        let mut line = record.line.borrow_mut();
        let waited = line.waited(now);
        if is_served && waited < TICK {
            return;
        }
        let need = if has_none && (!is_served || line.is_long(now)) { Need::First } else { Need::More };
        let waiting = full.iter().map(|cap| cap.join(need, record.queue, &self.door)).collect();
        line.join(waiting, held);
    }

    /// A slot for a queue that waited for it, if it still does.
    fn granted(self: &Rc<Self>, grant: Grant) {
        let record = self.records.borrow().get(&grant.queue).cloned();
        let Some(record) = record else { return };
        let settings = self.refreshed(&record);
        let held = record.line.borrow_mut().granted(grant);
        let Some(held) = held else { return self.maintain(&record, false) };
        let now = self.deps.clock.now();
        let goes_on = record.throttled(now).is_none()
            && !self.is_starved(now)
            && !record.is_held(now)
            && !record.waits_for_unlinks();
        let has_mail = self.queues.borrow().active(record.queue) != 0 && !settings.suspended && !settings.blackholed;
        if !goes_on || !has_mail || record.is_draining() || self.stopping.get() {
            return;
        }
        match settings.limits.busy(now) {
            Some((awaits, busy)) => self.saturated(&record, awaits, busy),
            None => drop(self.open_connection(&record, &settings, held)),
        }
    }

    /// Has a sweep come not after a monotonic second.
    pub(crate) fn wake_at(&self, seconds: Option<u64>) {
        if let Some(seconds) = seconds {
            let wait = seconds.saturating_sub(Moment::ORIGIN);
            self.sweep_not_after(self.start + Duration::from_secs(wait));
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

    /// Everything delayed for a domain, or for all, is due now; what held its connections back is forgotten. How many.
    pub(crate) fn flush(self: &Rc<Self>, domain: Option<&str>) -> usize {
        let flushed = self.queues.borrow_mut().flush(domain);
        for record in self.records() {
            if domain.is_none_or(|domain| record.name.domain.eq_ignore_ascii_case(domain)) {
                record.hold_until.set(None);
                for candidate in record.route.borrow().iter() {
                    self.hosts.borrow_mut().forget(&record.peer(candidate.remote));
                }
                self.maintain(&record, false);
            }
        }
        flushed
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

    fn sweep(self: &Rc<Self>) {
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

    /// Looks for records to forget, once in a while, for that looks at them all.
    fn retire_some(&self) {
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

    fn refreshed(&self, record: &DomainRecord) -> Rc<QueueSettings> {
        let settings = record.settings();
        if self.deps.configuration.current().number() == settings.generation.number() {
            return settings;
        }
        let settings = self.resolve(&record.name);
        record.use_settings(settings.clone());
        settings
    }

    /// The settings of a queue, shared with every other queue whose options come from the same places.
    fn resolve(&self, name: &QueueName) -> Rc<QueueSettings> {
        let generation = self.deps.configuration.current();
        if self.whole.borrow().number != generation.number() {
            self.resolved.borrow_mut().clear();
            *self.whole.borrow_mut() = Whole {
                number: generation.number(),
                has_hosts: generation.stanzas("host").next().is_some(),
                best_hosts_only: best_hosts_only(&generation),
                relay_domains: relay_domains(&generation),
                barred: Rc::new(Barred::of(&generation, &(self.deps.hostname)(&generation))),
            };
        }
        let whole = self.whole.borrow();
        let surroundings = Surroundings {
            loops: self.shared.loops,
            hostname: &(self.deps.hostname)(&generation),
            limits: &self.shared.limits,
            has_hosts: whole.has_hosts,
            best_hosts_only: &whole.best_hosts_only,
            relay_domains: &whole.relay_domains,
            barred: &whole.barred,
            descriptors: &self.deps.descriptors,
        };
        let key = SettingsKey::of(&generation, name, &surroundings);
        let mut resolved = self.resolved.borrow_mut();
        if let Some(known) = resolved.get(&key) {
            return known.clone();
        }
        if SETTINGS_KEPT <= resolved.len() {
            resolved.clear();
        }
        let settings = Rc::new(QueueSettings::resolve(&generation, name, &surroundings));
        resolved.insert(key, settings.clone());
        settings
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
            self.starved_until.set(Some(until));
        }
        until
    }

    /// Whether the machine lacks what a connection needs.
    fn is_starved(&self, now: Instant) -> bool {
        self.starved_until.get().is_some_and(|until| now < until)
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
    async fn sweep_due(&self, mut timer: Pin<&mut Sleep>) {
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
/// The shortest wait for a throttle, however fast it is.
const THROTTLE_WAIT_MIN: Duration = Duration::from_millis(5);
/// How long an empty record is kept: its counters and its route with it.
const RETIRE_AFTER: Duration = Duration::from_secs(300);
/// Empty records that are kept for so long; further ones, which a burst leaves behind, go at the next look.
const RETIRED_KEPT: usize = 1024;
/// Settings kept for queues to share.
const SETTINGS_KEPT: usize = 1024;
/// How often empty records are looked for.
const RETIRE_EVERY: Duration = Duration::from_secs(60);
