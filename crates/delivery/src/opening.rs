//! Opening a connection: the addresses of a queue's route in their order, until one gives a session, and what is remembered of
//! those that give none. An address whose host has no room, by a limit or a throttle, is passed over like one that failed
//! lately; if nothing but such hosts is left, the queue waits for the first of them to have room. One that broke off a
//! session lately (`standing`) is tried after the others. Where this machine lacks what a connection needs
//! (`scheduler::Lack`), nothing is remembered of the address.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use scheduler::{Clock, Lack};
use smtp::client::{Failure, Stage};

use crate::connection::Connection;
use crate::held::Tokens;
use crate::limits::Saturated;
use crate::maintainer::Maintainer;
use crate::options::QueueSettings;
use crate::parting;
use crate::place;
use crate::record::{DomainRecord, Status};
use crate::route::{Candidate, Route, Router, Unroutable};
use crate::seams::ConnectError;
use crate::slots::{Cap, Need};
use crate::standing::{Dial, Standing};
use crate::throttle::Token;
use crate::unreachable::NotOpened;

/// Tries the addresses of the queue's route in order, until a session opens. Without fully_resolve_before_smtp it begins with
/// the addresses known so far, and goes on with the others.
pub(crate) async fn open(
    maintainer: &Rc<Maintainer>,
    record: &Rc<DomainRecord>,
    settings: &Rc<QueueSettings>,
    status: &Rc<Status>,
) -> Result<Connection, NotOpened> {
    let soon = !settings.fully_resolves;
    let mut route = candidates(maintainer, record, settings, soon).await.map_err(NotOpened::Unroutable)?;
    record.lookups.answered();
    record.no_route.borrow_mut().take();
    let own_first = settings.limits.first_message(maintainer.deps.clock.now()).map_err(NotOpened::Saturated)?;
    let mut round = Round { own_first, ..Round::default() };
    loop {
        let now = maintainer.deps.clock.now();
        if route.partial {
            record.route.borrow_mut().clone_from(&route.candidates);
        } else {
            record.learn_route(route.candidates.clone(), now);
        }
        let is_doubted =
            |candidate: &Candidate| maintainer.hosts.borrow().is_doubted(&record.peer(candidate.remote), now);
        let (last, mut first): (Vec<Candidate>, Vec<Candidate>) =
            route.candidates.iter().cloned().partition(|candidate| is_doubted(candidate));
        if !route.partial {
            first.extend(last);
        }
        if let Some(connection) = round.try_in_order(maintainer, record, settings, status, first).await {
            return Ok(connection);
        }
        if !route.partial || round.taken_over || round.lack.is_some_and(Lack::is_of_all) {
            break;
        }
        // If there is no more to learn, it stays with those.
        let whole = candidates(maintainer, record, settings, false).await;
        route = whole.unwrap_or(Route { partial: false, ..route });
    }
    Err(round.not_opened(maintainer, record, status))
}

/// The addresses of a route, tried one after the other, and what came of it.
#[derive(Default)]
struct Round {
    own_first: Option<Token>,
    asked: Vec<SocketAddr>,
    retry_at: Option<Instant>,
    saturated: Option<Saturated>,
    /// An idle session has taken the queue's mail.
    taken_over: bool,
    refusal: Option<(Candidate, Failure)>,
    /// What the machine lacks for one of them, which is nobody else's failure.
    lack: Option<Lack>,
    tried: bool,
}

impl Round {
    async fn try_in_order(
        &mut self,
        maintainer: &Rc<Maintainer>,
        record: &Rc<DomainRecord>,
        settings: &Rc<QueueSettings>,
        status: &Rc<Status>,
        candidates: Vec<Candidate>,
    ) -> Option<Connection> {
        let clock = &maintainer.deps.clock;
        for candidate in candidates {
            if maintainer.stopping.get() {
                break;
            }
            if self.asked.contains(&candidate.remote) {
                continue;
            }
            self.asked.push(candidate.remote);
            let now = clock.now();
            let peer = record.peer(candidate.remote);
            let avoided = maintainer.hosts.borrow().avoided_until(&peer, now);
            if let Some(until) = avoided {
                self.retry_not_after(until);
                continue;
            }
            if maintainer.take_over_at(record, settings, &candidate) {
                self.taken_over = true;
                return None;
            }
            let standing = maintainer.hosts.borrow_mut().standing(peer.clone(), now);
            let (first, begun) = match room(maintainer, record, settings, status, &candidate, &standing, now) {
                Ok(room) => room,
                Err(busy) => {
                    self.is_saturated(busy);
                    continue;
                }
            };
            let dial = Rc::new(standing.dial());
            let opened = Connection::open(maintainer, record, settings, status, &candidate, &dial).await;
            begun.became(opened.as_ref().err());
            match opened {
                Ok(mut connection) => {
                    maintainer.hosts.borrow_mut().works(&peer);
                    dial.standing.connected(clock.now().saturating_duration_since(now));
                    connection.admitted([self.own_first.take(), first]);
                    maintainer.opened(status, settings, candidate.remote);
                    return Some(connection);
                }
                Err(NoSession::Lacking(lack)) => {
                    let what = format!("{} ({}) for {}", candidate.host, candidate.remote, record.name.domain);
                    self.retry_not_after(maintainer.lacks(lack, &what));
                    self.lack = Some(lack);
                    if lack.is_of_all() {
                        break;
                    }
                }
                Err(failure) if failure.is_one_of(&dial) => {
                    parting::one_too_many(maintainer, record, &candidate, &dial, &failure);
                    self.is_saturated(Saturated::crowded());
                }
                Err(failure) => {
                    self.tried = true;
                    self.retry_not_after(host_failed(maintainer, record, settings, &candidate, &failure));
                    if let NoSession::Refused(failure) = failure {
                        self.refusal = Some((candidate, failure));
                    }
                }
            }
        }
        None
    }

    fn is_saturated(&mut self, busy: Saturated) {
        self.saturated = Some(self.saturated.take().unwrap_or_default().or(busy));
    }

    fn retry_not_after(&mut self, until: Instant) {
        self.retry_at = Some(self.retry_at.map_or(until, |earliest| earliest.min(until)));
    }

    /// A host that is merely busy will take the mail: nothing has failed.
    fn not_opened(self, maintainer: &Maintainer, record: &DomainRecord, status: &Status) -> NotOpened {
        match self.saturated {
            _ if self.taken_over => NotOpened::TakenOver,
            Some(saturated) => NotOpened::Saturated(saturated),
            None => NotOpened::Unreachable {
                retry_at: self.retry_at.unwrap_or_else(|| maintainer.deps.clock.now()),
                refusal: self.refusal.map(Box::new),
                for_good: takes_no_mail(maintainer, record),
                tried: self.tried,
                lack: self.lack,
                connection: status.id,
            },
        }
    }
}

/// Whether every host of the queue's route has said that it never takes mail.
fn takes_no_mail(maintainer: &Maintainer, record: &DomainRecord) -> bool {
    let (now, hosts) = (maintainer.deps.clock.now(), maintainer.hosts.borrow());
    let route = record.route.borrow();
    !route.is_empty() && route.iter().all(|candidate| hosts.said_no_mail(&record.peer(candidate.remote), now))
}

/// The queue's route. A domain whose mail hosts could not be learnt too often is tried at its own address.
pub(crate) async fn candidates(
    maintainer: &Maintainer,
    record: &DomainRecord,
    settings: &QueueSettings,
    soon: bool,
) -> Result<Route, Unroutable> {
    let (deps, domain) = (&maintainer.deps, &record.name.domain);
    let router = Router { settings, names: &*deps.names, itself: &*deps.itself, random: &deps.random };
    let found = router.candidates(domain, soon).await;
    let unanswered = matches!(found, Err(Unroutable::Lookup(_)));
    let lookups = if unanswered { record.unanswered_lookups.get() + 1 } else { 0 };
    record.unanswered_lookups.set(lookups);
    if unanswered && settings.routes.is_empty() && settings.fallback_to_address.is_some_and(|most| most < lookups) {
        let own = router.own_addresses(domain).await;
        if !own.is_empty() {
            return Ok(Route { candidates: own, partial: false });
        }
    }
    found
}

/// The places of one connection in the throttles of queue and host. It counts from its beginning until it is known what became
/// of it: at any moment between, the host may see it.
struct Begun {
    tokens: Tokens,
    clock: Clock,
}

impl Begun {
    /// It is open, or failed so. What the machine itself could not begin is no connection.
    fn became(mut self, failure: Option<&NoSession>) {
        if matches!(failure, Some(NoSession::Lacking(_))) {
            self.tokens = Tokens::default();
        }
    }
}

/// Given up half way, it was begun too.
impl Drop for Begun {
    fn drop(&mut self) {
        let now = self.clock.now();
        self.tokens.iter_mut().filter_map(Option::take).for_each(|token| token.spend(now));
    }
}

/// Room for a connection under the throttles and limits of the queue and of the host, all of it or nothing; and a place for its
/// first message in the host's throttle.
fn room(
    maintainer: &Maintainer,
    record: &DomainRecord,
    settings: &QueueSettings,
    status: &Status,
    candidate: &Candidate,
    standing: &Standing,
    now: Instant,
) -> Result<(Option<Token>, Begun), Saturated> {
    if !standing.has_room(now) {
        return Err(Saturated::crowded());
    }
    let attempt = settings.limits.connection(now)?;
    let host = settings.host_limits(&maintainer.shared.limits, &record.name, &candidate.host);
    let need = if record.useful_connections() <= 1 { Need::First } else { Need::More };
    let caps: Vec<&Cap> = host.iter().flat_map(|host| host.caps()).collect();
    let first = host.as_ref().map_or(Ok(None), |host| host.first_message(now))?;
    let of_host = host.as_ref().map_or(Ok(None), |host| host.connection(now))?;
    place::fit(status, settings, caps, need).map_err(Saturated::full)?;
    Ok((first, Begun { tokens: [attempt, of_host], clock: maintainer.deps.clock }))
}

/// The address is left alone for a while: until when.
pub(crate) fn host_failed(
    maintainer: &Maintainer,
    record: &DomainRecord,
    settings: &QueueSettings,
    candidate: &Candidate,
    failure: &NoSession,
) -> Instant {
    let (now, retry) = (maintainer.deps.clock.now(), settings.host_failure_retry.into());
    let why: Arc<str> = failure.to_string().into();
    let peer = record.peer(candidate.remote);
    let told = maintainer.hosts.borrow_mut().failed(peer.clone(), now, retry, why.clone());
    if failure.is_no_mail() {
        maintainer.hosts.borrow_mut().takes_no_mail(&peer);
    }
    maintainer.meter.connections_failed.add(1);
    let (domain, host, remote) = (&record.name.domain, &candidate.host, candidate.remote);
    tracing::warn!(target: "SMTP", "{host} ({remote}) gave no session for {domain}: {why}");
    if let Some(others) = told {
        let others =
            if others == 0 { String::new() } else { format!("; {others} other hosts were not reached either") };
        let pause = settings.host_failure_retry.0;
        tracing::info!(target: "HOST", "{host} ({remote}) could not be reached for {domain}: {why}; it is left alone for \
            {pause} s{others}");
    }
    now + retry
}

/// Why an address gave no session. Closed.
pub(crate) enum NoSession {
    /// This machine lacks what a connection needs: not the host's fault.
    Lacking(Lack),
    Network(io::Error),
    Refused(Failure),
}

impl NoSession {
    /// Whether it says no more than that others have a session with the host. Its own word is believed even if those others are
    /// still on their way; of a network that is silent nobody knows whether it lets them through.
    fn is_one_of(&self, dial: &Dial) -> bool {
        match self {
            Self::Refused(failure) if !failure.internal => 0 < dial.others_begun(),
            Self::Refused(_) | Self::Network(_) => 0 < dial.others(),
            Self::Lacking(_) => false,
        }
    }

    /// The host says that it never takes mail, from anybody (RFC 7504).
    fn is_no_mail(&self) -> bool {
        matches!(self, Self::Refused(Failure { stage: Stage::ReadingBanner | Stage::AfterEhlo, reply, .. }) if reply.code == NO_MAIL)
    }
}

impl From<ConnectError> for NoSession {
    fn from(error: ConnectError) -> Self {
        error.lack().map_or(Self::Network(error.error), Self::Lacking)
    }
}

/// For the operator; an error of the network with its number.
impl fmt::Display for NoSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lacking(lack) => lack.fmt(f),
            Self::Network(error) => error.fmt(f),
            Self::Refused(failure) => write!(f, "{}: {}", failure.stage, failure.reply),
        }
    }
}

/// The code of a host that takes no mail at all (RFC 7504 3).
const NO_MAIL: u16 = 521;
