//! Sessions that go from queue to queue: an idle one takes mail of another domain of its binding that would be sent to the same
//! host, rather than that domain opens one of its own (migrate_connections_between_sibling_domains).
//!
//! Two queues are siblings for a session if they have the same binding, the session's host is among the best of both, and
//! both would open the session alike. One [`Sessions`] a delivery loop; a session stays on its loop. Those who wait for a
//! session of an address are served in turn.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::maintainer::Maintainer;
use crate::opening;
use crate::options::QueueSettings;
use crate::place;
use crate::record::{DomainRecord, Status};
use crate::route::Candidate;
use crate::slots::{Cap, Need};
use crate::unreachable::NotOpened;

/// The open sessions of a loop, by address.
#[derive(Default)]
pub(crate) struct Sessions {
    open: HashMap<SocketAddr, usize>,
    /// The last used last.
    idle: HashMap<SocketAddr, Vec<Rc<Status>>>,
    /// Queues that would take a session.
    wanting: HashMap<SocketAddr, VecDeque<Rc<DomainRecord>>>,
    /// Routes being looked up for queues that wait.
    scouting: usize,
}

impl Maintainer {
    /// A session is open.
    pub(crate) fn opened(&self, status: &Status, settings: &Rc<QueueSettings>, remote: SocketAddr) {
        *status.opened_under.borrow_mut() = Some(settings.clone());
        *self.sessions.borrow_mut().open.entry(remote).or_default() += 1;
    }

    /// A connection has ended, open or not.
    pub(crate) fn closed(&self, status: &Rc<Status>) {
        status.parked.set(None);
        self.unpark(status);
        let Some(remote) = status.remote_address() else { return };
        if status.opened_under.borrow_mut().take().is_some() {
            let sessions = &mut *self.sessions.borrow_mut();
            if let Some(open) = sessions.open.get_mut(&remote) {
                *open -= 1;
                if *open == 0 {
                    sessions.open.remove(&remote);
                }
            }
        }
    }

    /// A session has nothing to do: it offers itself, and its slots. `false` if it is to give way.
    pub(crate) fn park(&self, status: &Rc<Status>, waker: &Waker) -> bool {
        let stays = status.slots.borrow_mut().iter_mut().all(|slot| slot.offer(waker));
        if !stays {
            return self.unpark(status);
        }
        if let Some(remote) = status.remote_address() {
            self.sessions.borrow_mut().idle.entry(remote).or_default().push(status.clone());
        }
        status.parked.set(Some(waker.clone()));
        true
    }

    /// It offers itself no longer. `false` if it is to give way.
    pub(crate) fn unpark(&self, status: &Rc<Status>) -> bool {
        let sessions = &mut *self.sessions.borrow_mut();
        if let Some(remote) = status.remote_address()
            && let Some(idle) = sessions.idle.get_mut(&remote)
        {
            if let Some(place) = idle.iter().rposition(|other| Rc::ptr_eq(other, status)) {
                idle.remove(place);
            }
            if idle.is_empty() {
                sessions.idle.remove(&remote);
            }
        }
        let mut slots = status.slots.borrow_mut();
        // Each of them, whatever the others say.
        let leaving = slots.iter_mut().filter_map(|slot| (!slot.withdraw()).then_some(())).count();
        leaving == 0
    }

    /// Gives a queue an idle session of one of its best hosts, if there is one and its route is known.
    pub(crate) fn take_over(&self, record: &Rc<DomainRecord>, settings: &Rc<QueueSettings>) -> bool {
        let now = self.deps.clock.now();
        let route = record.route.borrow();
        record.has_route(now)
            && self.best(record, &route, now).any(|candidate| self.take_over_at(record, settings, candidate))
    }

    /// Gives a queue an idle session of an address, if there is one.
    pub(crate) fn take_over_at(
        &self,
        record: &Rc<DomainRecord>,
        settings: &Rc<QueueSettings>,
        candidate: &Candidate,
    ) -> bool {
        let idle = self.sessions.borrow().idle.get(&candidate.remote).cloned().unwrap_or_default();
        let may_go = |status: &&Rc<Status>| self.may_lead(status, record, settings, candidate) && self.unpark(status);
        let Some(status) = idle.iter().rev().find(may_go) else { return false };
        let taken = self.assign(status, record, settings, candidate);
        // Also if a limit of the queue's own has no room: it goes back to where it was.
        status.parked.take().into_iter().for_each(Waker::wake);
        taken
    }

    /// Leads a session that has nothing to do to a queue that waits for it: the next in turn. Whether it did.
    pub(crate) fn lead_on(&self, status: &Rc<Status>) -> bool {
        let Some(remote) = status.remote_address() else { return false };
        loop {
            let next = {
                let wanting = &mut self.sessions.borrow_mut().wanting;
                let next = wanting.get_mut(&remote).and_then(VecDeque::pop_front);
                if wanting.get(&remote).is_some_and(VecDeque::is_empty) {
                    wanting.remove(&remote);
                }
                next
            };
            let Some(record) = next else { return false };
            record.line.borrow_mut().listed.retain(|listed| *listed != remote);
            let settings = record.settings();
            let now = self.deps.clock.now();
            let host = record.route.borrow().iter().find(|candidate| candidate.remote == remote).cloned();
            if let Some(candidate) = host
                && self.would_take(&record, &settings, now)
                && self.may_lead(status, &record, &settings, &candidate)
                && self.assign(status, &record, &settings, &candidate)
            {
                return true;
            }
        }
    }

    /// Lists a queue with the sessions of its best hosts. `None` if its route is not known now; else whether there are any.
    pub(crate) fn list(&self, record: &Rc<DomainRecord>, settings: &QueueSettings, now: Instant) -> Option<bool> {
        if !settings.migrates || !record.has_route(now) {
            return None;
        }
        let route = record.route.borrow();
        let mut line = record.line.borrow_mut();
        let mut is_served = false;
        for candidate in self.best(record, &route, now) {
            let sessions = &mut *self.sessions.borrow_mut();
            is_served |= sessions.open.contains_key(&candidate.remote);
            if !line.listed.contains(&candidate.remote) {
                line.listed.push(candidate.remote);
                sessions.wanting.entry(candidate.remote).or_default().push_back(record.clone());
            }
        }
        Some(is_served)
    }

    /// Forgets where a queue is listed.
    pub(crate) fn unlist(&self, record: &Rc<DomainRecord>) {
        for remote in std::mem::take(&mut record.line.borrow_mut().listed) {
            let wanting = &mut self.sessions.borrow_mut().wanting;
            if let Some(queues) = wanting.get_mut(&remote) {
                queues.retain(|other| !Rc::ptr_eq(other, record));
                if queues.is_empty() {
                    wanting.remove(&remote);
                }
            }
        }
    }

    /// Looks up the route of a queue that waits, so that sessions may find it. `false` if enough are being looked up.
    pub(crate) fn scout(self: &Rc<Self>, record: &Rc<DomainRecord>, settings: &Rc<QueueSettings>) -> bool {
        let is_idle = {
            let sessions = self.sessions.borrow();
            SCOUTING_MAX <= sessions.scouting || sessions.open.is_empty()
        };
        if !settings.migrates || is_idle {
            return false;
        }
        record.line.borrow_mut().scouting = true;
        self.sessions.borrow_mut().scouting += 1;
        let scouting = Scouting(self.clone(), record.clone());
        let settings = settings.clone();
        self.spawn(async move {
            let Scouting(maintainer, record) = &scouting;
            let found = opening::candidates(maintainer, record, &settings, false).await;
            let (maintainer, record) = (maintainer.clone(), record.clone());
            drop(scouting);
            match found {
                Ok(route) => {
                    record.learn_route(route.candidates, maintainer.deps.clock.now());
                    maintainer.maintain(&record, false);
                }
                Err(unroutable) => {
                    maintainer.not_opened(&record, &settings, NotOpened::Unroutable(unroutable)).await;
                }
            }
        });
        true
    }

    /// The addresses of a route that would be tried first: those of the best preference that has one which is neither left
    /// alone nor in doubt.
    fn best<'a>(
        &self,
        record: &DomainRecord,
        route: &'a [Candidate],
        now: Instant,
    ) -> impl Iterator<Item = &'a Candidate> {
        let hosts = self.hosts.borrow();
        let may_be_tried = |candidate: &&Candidate| {
            let peer = record.peer(candidate.remote);
            hosts.avoided_until(&peer, now).is_none() && !hosts.is_doubted(&peer, now)
        };
        let best: Vec<&Candidate> = route.iter().filter(may_be_tried).collect();
        let preference = best.first().map(|candidate| candidate.preference);
        best.into_iter().take_while(move |candidate| Some(candidate.preference) == preference)
    }

    /// Whether a queue has mail that a session may take now.
    fn would_take(&self, record: &DomainRecord, settings: &QueueSettings, now: Instant) -> bool {
        !self.stopping.get()
            && !settings.suspended
            && !settings.blackholed
            && !record.is_draining()
            && !record.is_held(now)
            && record.throttled(now).is_none()
            && record.useful_connections() == 0
            && self.queues.borrow().active(record.queue) != 0
    }

    /// Whether a session could be one of that queue.
    fn may_lead(
        &self,
        status: &Status,
        to: &Rc<DomainRecord>,
        settings: &QueueSettings,
        candidate: &Candidate,
    ) -> bool {
        let from = status.record.borrow();
        let is_same_host = || status.remote.borrow().as_ref().is_some_and(|(host, _)| *host == candidate.host);
        let opens_alike = || status.opened_under.borrow().as_ref().is_some_and(|opened| settings.opens_as(opened));
        let same_binding = || from.name.binding == to.name.binding && from.name.binding_group == to.name.binding_group;
        // One of its connections may be the one that asks.
        let has_room = || to.connections.borrow().len() <= settings.connections_max;
        let is_sibling = || settings.migrates && same_binding() && is_same_host() && opens_alike() && has_room();
        !status.ending.get() && !status.gives_way() && (Rc::ptr_eq(&from, to) || is_sibling())
    }

    /// Makes a session one of that queue, if the limits have room.
    fn assign(
        &self,
        status: &Rc<Status>,
        to: &Rc<DomainRecord>,
        settings: &Rc<QueueSettings>,
        candidate: &Candidate,
    ) -> bool {
        let from = status.record.borrow().clone();
        if Rc::ptr_eq(&from, to) {
            return true;
        }
        let host = settings.host_limits(&self.shared.limits, &to.name, &candidate.host);
        let caps: Vec<&Cap> = host.iter().flat_map(|host| host.caps()).collect();
        if place::fit(status, settings, caps, Need::First).is_err() {
            return false;
        }
        from.connections.borrow_mut().retain(|other| !Rc::ptr_eq(other, status));
        to.connections.borrow_mut().push(status.clone());
        *status.record.borrow_mut() = to.clone();
        to.reached();
        to.leave_line();
        self.meter.migrated.add(1);
        true
    }
}

impl DomainRecord {
    /// What routing has found, all of it.
    pub(crate) fn learn_route(&self, route: Vec<Candidate>, now: Instant) {
        let until = route.iter().filter_map(|candidate| candidate.expires).min();
        self.routed_until.set(Some(until.map_or(now + ROUTE_KEPT, |until| until.min(now + ROUTE_KEPT))));
        *self.route.borrow_mut() = route;
    }
}

/// A route is being looked up, until this is dropped.
struct Scouting(Rc<Maintainer>, Rc<DomainRecord>);

impl Drop for Scouting {
    fn drop(&mut self) {
        self.0.sessions.borrow_mut().scouting -= 1;
        self.1.line.borrow_mut().scouting = false;
    }
}

/// Routes looked up at once for queues that wait.
const SCOUTING_MAX: usize = 16;
/// The longest that a route is taken for known.
const ROUTE_KEPT: Duration = Duration::from_secs(60);
