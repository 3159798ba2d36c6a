//! What holds mail: one answer for a message, a queue and a binding, asked of the state that delivery itself decides by.
//!
//! The order of the questions is the order in which the maintainer asks: what holds everything comes before what holds a
//! queue, that before what holds its connections, and that before a message's place among others. Nothing here changes
//! anything, and nothing is remembered for it alone but what a failure was.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{Generation, Lookup, Origin};
use dns::DnsError;
use message::{Envelope, MessageId, QueueName};
use queue::{BLACKHOLE, Blackhole, SUSPEND_DELIVERY, Whereabouts};
use scheduler::Lack;
use smtp::Reply;
use smtp::client::Stage;

use crate::limits::{Awaits, LimitName};
use crate::maintainer::Maintainer;
use crate::options::{
    MAX_OUTBOUND_CONNECTIONS, OUTBOUND_THROTTLE_CONNECTIONS, OUTBOUND_THROTTLE_MESSAGES, SCOPE_MAX_OUTBOUND_CONNECTIONS,
};
use crate::record::{DomainRecord, Status};
use crate::route::Candidate;

/// Why mail is where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What holds it.
    pub hold: Hold,
    /// For how long it has, where that is known.
    pub since: Option<Duration>,
    /// For how much longer it will, where that is known.
    pub until: Option<Duration>,
}

/// What holds mail. Closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The daemon is stopping.
    Stopping,
    /// An option lets nothing go.
    Suspended(Setting),
    /// It is not delivered: what is due fails, by this setting.
    Blackholed(Setting),
    /// All of it fails: a verdict on the whole queue, with the messages still to be dealt with.
    Verdict(Reply, usize),
    /// A throttle has no place.
    Throttled(Awaits, Setting),
    /// A limit on connections is full.
    Full(Setting),
    /// A host has said that it has no room for a session more.
    Crowded,
    /// This machine lacks what a connection needs.
    Lacking(Lack),
    /// There is no memory to read it into: others' mail has to be gone first.
    Memory,
    /// What was delivered is not off the disk yet: more would only be delivered twice after a crash.
    Unlinks,
    /// The DNS gives no host.
    Dns {
        /// What came of the last lookup.
        why: DnsError,
        /// How many there were in a row.
        lookups: u64,
    },
    /// Every host has failed, and is left alone for a while.
    HostsFailed(Vec<FailedHost>),
    /// Its hosts are being looked up.
    Resolving,
    /// A connection is being opened; to which host, once one is chosen.
    Connecting(Option<(Arc<str>, SocketAddr)>),
    /// The queue's connections carry its mail.
    Carried {
        /// How many there are.
        connections: usize,
        /// Messages deliverable now.
        active: usize,
    },
    /// Others of its queue are in front of it.
    Behind(usize),
    /// It is in a session.
    InSession {
        /// The connection's id, as the mainlog has it.
        connection: MessageId,
        /// The host.
        remote: Option<(Arc<str>, SocketAddr)>,
        /// Where the session stands.
        stage: Stage,
    },
    /// An attempt is being prepared or settled: its body read, its failure told to the sender.
    InHand,
    /// It waits for its next attempt.
    Delayed {
        /// Attempts that failed.
        attempts: u32,
        /// The last reply.
        reply: Option<String>,
    },
    /// Nothing: a connection is opened within a second.
    Due,
}

/// An option that holds mail, its value, and where that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The option.
    pub option: &'static str,
    /// Its value.
    pub value: String,
    /// The scope in words, such as `domain "a.example"`.
    pub scope: String,
    /// The host that it is about, for the limits of host stanzas.
    pub host: Option<Arc<str>>,
}

/// A host that is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedHost {
    /// Its name.
    pub host: Arc<str>,
    /// Its address.
    pub remote: SocketAddr,
    /// What came of the last attempt.
    pub why: Arc<str>,
    /// How long ago.
    pub since: Duration,
    /// For how much longer it is left alone.
    pub until: Duration,
}

impl Wait {
    fn of(hold: Hold) -> Self {
        Self { hold, since: None, until: None }
    }

    /// The same with what only the envelope of the message tells; `now` counts from 1970.
    pub(crate) fn of_message(mut self, envelope: &Envelope, now: Duration) -> Self {
        if let Hold::Delayed { attempts, reply } = &mut self.hold {
            *attempts = envelope.delivery.retries;
            *reply = envelope.delivery.last_reply.clone().map(String::from);
            self.until = Some(envelope.delivery.next_attempt.saturating_sub(now));
        }
        self
    }

    /// Whether something holds the mail, beyond its own turn.
    pub fn is_held(&self) -> bool {
        !matches!(
            self.hold,
            Hold::Blackholed(_)
                | Hold::Resolving
                | Hold::Connecting(_)
                | Hold::Carried { .. }
                | Hold::Behind(_)
                | Hold::InSession { .. }
                | Hold::InHand
                | Hold::Due
        )
    }
}

impl Hold {
    /// A word for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::Suspended(_) => "suspended",
            Self::Blackholed(_) => "blackholed",
            Self::Verdict(..) => "failing",
            Self::Throttled(..) => "throttled",
            Self::Full(_) => "connections_full",
            Self::Crowded => "host_full",
            Self::Lacking(_) => "lacking",
            Self::Memory => "memory",
            Self::Unlinks => "unlinks",
            Self::Dns { .. } => "dns",
            Self::HostsFailed(_) => "hosts_failed",
            Self::Resolving => "resolving",
            Self::Connecting(_) => "connecting",
            Self::Carried { .. } => "carried",
            Self::Behind(_) => "behind",
            Self::InSession { .. } => "in_session",
            Self::InHand => "in_hand",
            Self::Delayed { .. } => "delayed",
            Self::Due => "due",
        }
    }
}

/// A sentence for the operator, without its times.
impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopping => f.write_str("the daemon is stopping"),
            Self::Suspended(setting) => write!(f, "suspended by {setting}"),
            Self::Blackholed(setting) => write!(f, "mail that is due fails at once by {setting}"),
            Self::Verdict(reply, left) => write!(f, "all mail fails, {left} messages are left: {reply}"),
            Self::Throttled(Awaits::Message, setting) => write!(f, "messages are throttled by {setting}"),
            Self::Throttled(Awaits::Connection, setting) => write!(f, "connections are throttled by {setting}"),
            Self::Full(setting) => write!(f, "waits for a connection under {setting}"),
            Self::Crowded => f.write_str("a host takes no further session now"),
            Self::Lacking(lack) => write!(f, "this server lacks what it needs for a connection: {lack}"),
            Self::Memory => f.write_str(
                "waits for memory to be read into (max_resident_bytes, memory_goal), until other mail is gone",
            ),
            Self::Unlinks => f.write_str("waits until the spool has removed what was delivered"),
            Self::Dns { why, lookups } => write!(f, "the DNS gave no host in {lookups} lookups: {why}"),
            Self::HostsFailed(hosts) => {
                f.write_str("hosts that failed are left alone: ")?;
                for (place, FailedHost { host, remote, why, .. }) in hosts.iter().take(HOSTS_TOLD).enumerate() {
                    let separator = if place == 0 { "" } else { "; " };
                    write!(f, "{separator}{host} ({remote}): {why}")?;
                }
                match hosts.len().saturating_sub(HOSTS_TOLD) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more"),
                }
            }
            Self::Resolving => f.write_str("its hosts are being looked up"),
            Self::Connecting(None) => f.write_str("a connection is being opened"),
            Self::Connecting(Some((host, remote))) => write!(f, "connecting to {host} ({remote})"),
            Self::Carried { connections, active } => {
                write!(f, "{active} active messages are sent over {connections} connections")
            }
            Self::Behind(1) => f.write_str("1 active message of its queue is in front of it"),
            Self::Behind(others) => write!(f, "{others} active messages of its queue are in front of it"),
            Self::InSession { connection, remote: Some((host, remote)), stage } => {
                write!(f, "in a session with {host} ({remote}): {stage} (connection {connection})")
            }
            Self::InSession { connection, remote: None, stage } => {
                write!(f, "in a session: {stage} (connection {connection})")
            }
            Self::InHand => f.write_str("an attempt is being prepared or settled"),
            Self::Delayed { attempts, reply: Some(reply) } => {
                write!(f, "delayed after {attempts} failed attempts, the last: {reply}")
            }
            Self::Delayed { attempts, reply: None } => write!(f, "delayed after {attempts} failed attempts"),
            Self::Due => f.write_str("is tried within a second"),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, value, scope, host } = self;
        write!(f, "{option} = {value} ({scope})")?;
        host.as_ref().map_or(Ok(()), |host| write!(f, " for host {host}"))
    }
}

impl Setting {
    /// The value that is in force for a queue, or for a host of it.
    fn of(generation: &Generation, queue: &QueueName, name: &LimitName) -> Self {
        let QueueName { binding_group, binding, domain } = queue;
        let lookup = match &name.host {
            Some(host) => Lookup::Host { binding_group, binding, domain, host },
            None => Lookup::Queue { binding_group, binding, domain },
        };
        let origin = generation.eval_why(name.option, &lookup).into_iter().next();
        let (value, scope) = origin.map_or_else(Default::default, |Origin { value, scope, .. }| (value, scope));
        Self { option: name.option, value, scope, host: name.host.clone() }
    }
}

impl Maintainer {
    /// What holds the active mail of a queue; `None` if it has none, and nothing would hold what comes.
    pub(crate) fn queue_wait(&self, record: &DomainRecord) -> Option<Wait> {
        self.whole_queue_wait(record).or_else(|| {
            let active = self.queues.borrow().active(record.queue);
            let has_mail = active != 0 || !record.connections.borrow().is_empty();
            has_mail.then(|| self.active_wait(record, active))
        })
    }

    /// What holds all mail of a queue, whatever state it is in.
    fn whole_queue_wait(&self, record: &DomainRecord) -> Option<Wait> {
        let settings = record.settings();
        let setting = |option| Setting::of(&settings.generation, &record.name, &LimitName::of_queue(option));
        if self.stopping.get() {
            return Some(Wait::of(Hold::Stopping));
        }
        if let Some((reply, left)) = record.verdict() {
            return Some(Wait::of(Hold::Verdict(reply, left)));
        }
        if !settings.lets_nothing_go() {
            return None;
        }
        let option = match () {
            () if settings.blackholed => return Some(Wait::of(Hold::Blackholed(setting(BLACKHOLE.name())))),
            () if settings.suspended_by_option => SUSPEND_DELIVERY.name(),
            () => queue::DEFAULT_BINDING.name(),
        };
        let now = self.deps.clock.now();
        let since = record.suspended_since().map(|since| now.saturating_duration_since(since));
        Some(Wait { hold: Hold::Suspended(setting(option)), since, until: None })
    }

    /// What holds all mail of a binding, whatever its domain.
    pub(crate) fn binding_held(&self, binding_group: &Arc<str>, binding: &Arc<str>) -> Option<Setting> {
        let generation = self.deps.configuration.current();
        let name = QueueName { binding_group: binding_group.clone(), binding: binding.clone(), domain: "".into() };
        let lookup = Lookup::Queue { binding_group, binding, domain: "" };
        let option = if generation.get(&BLACKHOLE, &lookup) != Blackhole::No {
            BLACKHOLE.name()
        } else if generation.get(&SUSPEND_DELIVERY, &lookup) {
            SUSPEND_DELIVERY.name()
        } else if generation.get(&queue::DEFAULT_BINDING, &Lookup::Global).suspends(&name) {
            queue::DEFAULT_BINDING.name()
        } else {
            return None;
        };
        Some(Setting::of(&generation, &name, &LimitName::of_queue(option)))
    }

    /// The throttles and shared limits that are set for a binding, whatever the domain.
    pub(crate) fn binding_limits(&self, binding_group: &Arc<str>, binding: &Arc<str>) -> Vec<Setting> {
        let generation = self.deps.configuration.current();
        let name = QueueName { binding_group: binding_group.clone(), binding: binding.clone(), domain: "".into() };
        let lookup = Lookup::Queue { binding_group, binding, domain: "" };
        let throttles = [&OUTBOUND_THROTTLE_MESSAGES, &OUTBOUND_THROTTLE_CONNECTIONS]
            .into_iter()
            .filter(|option| generation.find(option, &lookup).is_some_and(|throttle| !throttle.is_unlimited()))
            .map(|option| option.name());
        let caps = generation.find(&SCOPE_MAX_OUTBOUND_CONNECTIONS, &lookup).filter(|limit| 0 <= limit.most);
        let caps = caps.map(|_| SCOPE_MAX_OUTBOUND_CONNECTIONS.name());
        throttles.chain(caps).map(|option| Setting::of(&generation, &name, &LimitName::of_queue(option))).collect()
    }

    /// What holds the active mail of a queue that is not held as a whole.
    fn active_wait(&self, record: &DomainRecord, active: usize) -> Wait {
        let (settings, now) = (record.settings(), self.deps.clock.now());
        let left = |until: Instant| Some(until.saturating_duration_since(now));
        let setting = |name: &LimitName| Setting::of(&settings.generation, &record.name, name);
        let throttle = record.throttle(now);
        let throttled = |hold, until| {
            let since = record.throttled_since().map(|since| now.saturating_duration_since(since));
            Wait { hold, since, until: left(until) }
        };
        if let Some((Awaits::Message, until, Some(name))) = &throttle {
            return throttled(Hold::Throttled(Awaits::Message, setting(name)), *until);
        }
        if let Some(since) = record.all_awaits_memory() {
            return memory_wait(since, now);
        }
        let open = record.useful_connections() - record.opening_connections();
        if open != 0 {
            return Wait::of(Hold::Carried { connections: open, active });
        }
        if record.waits_for_unlinks() {
            return Wait::of(Hold::Unlinks);
        }
        if let Some((lack, until)) = self.starved(now) {
            return Wait { hold: Hold::Lacking(lack), since: None, until: left(until) };
        }
        if let Some(until) = record.hold_until.get().filter(|until| now < *until) {
            return self.held_wait(record, until, now);
        }
        match throttle {
            Some((_, until, None)) => return throttled(Hold::Crowded, until),
            Some((awaits, until, Some(name))) => return throttled(Hold::Throttled(awaits, setting(&name)), until),
            None => {}
        }
        let line = record.line.borrow();
        if let Some(name) = line.waits_for() {
            return Wait { hold: Hold::Full(setting(name)), since: line.waits_since(now), until: None };
        }
        if line.scouting {
            return Wait::of(Hold::Resolving);
        }
        if let Some(status) = record.connections.borrow().iter().find(|status| status.opening.get()) {
            let since = Some(now.saturating_duration_since(status.since.get()));
            let hold = match status.remote.borrow().clone() {
                None if record.route.borrow().is_empty() => Hold::Resolving,
                remote => Hold::Connecting(remote),
            };
            return Wait { hold, since, until: None };
        }
        if settings.connections_max <= record.connections.borrow().len() {
            return Wait::of(Hold::Full(setting(&LimitName::of_queue(MAX_OUTBOUND_CONNECTIONS.name()))));
        }
        // Between two tries for what was lacking it still is, as far as anybody knows.
        Wait::of(record.lack.get().map_or(Hold::Due, Hold::Lacking))
    }

    /// No connection is tried before `until`: for the DNS, for what the machine lacks, or for the hosts.
    fn held_wait(&self, record: &DomainRecord, until: Instant, now: Instant) -> Wait {
        let until = Some(until.saturating_duration_since(now));
        if let Some(spell) = record.lookups.spell() {
            let since = Some(now.saturating_duration_since(spell.since));
            return Wait { hold: Hold::Dns { why: spell.why, lookups: spell.failures }, since, until };
        }
        let since = record.unreachable_since.get().map(|since| now.saturating_duration_since(since));
        if let Some(lack) = record.lack.get() {
            return Wait { hold: Hold::Lacking(lack), since, until };
        }
        let hosts = self.hosts.borrow();
        let failed = |candidate: &Candidate| {
            let peer = record.peer(candidate.remote);
            let until = hosts.avoided_until(&peer, now)?;
            let (at, why) = hosts.failed_at(&peer, now)?;
            let (since, until) = (now.saturating_duration_since(at), until.saturating_duration_since(now));
            Some(FailedHost { host: candidate.host.clone(), remote: candidate.remote, why, since, until })
        };
        let failed = record.route.borrow().iter().filter_map(failed).collect();
        Wait { hold: Hold::HostsFailed(failed), since, until }
    }

    /// What holds one message of a queue: `before` are the active ones in front of it.
    pub(crate) fn message_wait(
        &self,
        record: &DomainRecord,
        id: MessageId,
        whereabouts: Whereabouts,
        before: usize,
    ) -> Wait {
        let now = self.deps.clock.now();
        if whereabouts == Whereabouts::InFlight {
            let connections = record.connections.borrow();
            let carries = |status: &&Rc<Status>| status.carries.borrow().contains(&id);
            let Some(status) = connections.iter().find(carries) else {
                return record.awaits_memory(id).map_or(Wait::of(Hold::InHand), |since| memory_wait(since, now));
            };
            let remote = status.remote.borrow().clone();
            let hold = Hold::InSession { connection: status.id, remote, stage: status.stage() };
            return Wait { hold, since: Some(now.saturating_duration_since(status.since.get())), until: None };
        }
        if let Some(wait) = self.whole_queue_wait(record) {
            return wait;
        }
        if whereabouts == Whereabouts::Delayed {
            return Wait::of(Hold::Delayed { attempts: 0, reply: None });
        }
        let wait = self.active_wait(record, self.queues.borrow().active(record.queue));
        match wait.hold {
            Hold::Carried { .. } | Hold::Due if before != 0 => Wait::of(Hold::Behind(before)),
            _ => wait,
        }
    }
}

fn memory_wait(since: Instant, now: Instant) -> Wait {
    Wait { hold: Hold::Memory, since: Some(now.saturating_duration_since(since)), until: None }
}

/// Hosts that a sentence names.
const HOSTS_TOLD: usize = 4;
