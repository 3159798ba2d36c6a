//! What the connections of all loops share: the buckets of throttles and the counts behind connection limits, each found by the
//! scope that set the option.
//!
//! A throttle and `scope_max_outbound_connections` are one object for all that falls back to them. `max_outbound_connections`
//! of a host stanza is a number: each host that the stanza matches has a count of its own. Both outlive a reload, for a scope
//! keeps its identity. Runs on any thread; locks are taken once per generation and queue, counts are atomic.

use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use config::{Generation, Lookup, Opt, OptionType, ScopeId, Throttle, Value};
use message::QueueName;
use tokio::sync::Notify;

use crate::options::{
    HOST_MAX_OUTBOUND_CONNECTIONS, OUTBOUND_THROTTLE_CONNECTIONS, OUTBOUND_THROTTLE_MESSAGES,
    SCOPE_MAX_OUTBOUND_CONNECTIONS, SERVER_MAX_OUTBOUND_CONNECTIONS,
};
use crate::slots::{Cap, Count};
use crate::throttle::{Bucket, RateLimit, Spent, Token};

/// A number of connections, and the scope that set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScopedLimit {
    /// The number; negative for none.
    pub most: i64,
    scope: ScopeId,
}

impl OptionType for ScopedLimit {
    const EXPECTED: &'static str = "a number of connections, or -1 for no limit";

    fn parse(value: &Value) -> Result<Self, String> {
        i64::parse(value).map(|most| Self { most, scope: ScopeId::default() })
    }

    fn unset() -> Option<Self> {
        Some(Self { most: -1, scope: ScopeId::default() })
    }

    fn bound_to(self, scope: ScopeId) -> Self {
        Self { scope, ..self }
    }
}

/// What a limit is called, for whoever asks what holds mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LimitName {
    pub(crate) option: &'static str,
    /// The host, for the limits of one.
    pub(crate) host: Option<Arc<str>>,
}

impl LimitName {
    pub(crate) fn of_queue(option: &'static str) -> Self {
        Self { option, host: None }
    }

    fn asked_by(option: &'static str, lookup: &Lookup<'_>) -> Self {
        let host = match lookup {
            Lookup::Host { host, .. } => Some(Arc::from(*host)),
            _ => None,
        };
        Self { option, host }
    }
}

/// The shared objects, for all loops of a delivery engine.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    buckets: Mutex<HashMap<BucketKey, Arc<Bucket>>>,
    /// Where the spent parts of buckets are noted, if they are.
    ledger: Option<Ledger>,
    counts: Mutex<HashMap<Counted, Arc<Count>>>,
}

/// What tells a bucket from others, also over restarts.
pub(crate) type BucketKey = (Event, ScopeId);

/// What buckets are made with whose spent part is noted.
#[derive(Debug)]
struct Ledger {
    wanted: Arc<Notify>,
    /// When the last note was found not to be readable.
    unknown_since: Option<Instant>,
    /// When the buckets of the last note were made.
    start: Instant,
}

/// What a bucket counts. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Event {
    /// Messages: one for each recipient of a transaction.
    Message,
    /// Connections that were begun, whatever became of them.
    Connection,
}

/// Whose connections are counted. Closed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Counted {
    /// Everything below the scope that set `scope_max_outbound_connections`.
    Scope(ScopeId),
    /// One host, under the scope that set its `max_outbound_connections`.
    Host(ScopeId, Arc<str>),
    /// One binding of one group.
    Binding(Arc<str>, Arc<str>),
    /// All.
    Server,
}

/// The shared limits of one queue in one generation.
#[derive(Debug, Default)]
pub(crate) struct QueueLimits {
    pub(crate) messages: Option<RateLimit>,
    pub(crate) connections: Option<RateLimit>,
    /// `scope_max_outbound_connections`.
    pub(crate) scope: Option<Cap>,
    /// `server_max_outbound_connections` of the binding or its group.
    pub(crate) binding: Option<Cap>,
    /// That of the server, with its reserve.
    pub(crate) server: Option<Cap>,
}

/// The limits of one host for one queue in one generation.
#[derive(Debug)]
pub(crate) struct HostLimits {
    messages: Option<RateLimit>,
    connections: Option<RateLimit>,
    host: Option<Cap>,
    scope: Option<Cap>,
}

/// There is no room now: what there is to wait for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saturated {
    /// A slot of one of these.
    pub(crate) full: Vec<Cap>,
    /// A place in a throttle, and when it has one.
    pub(crate) throttled: Option<(RateLimit, Instant)>,
    /// A host has said that it has no room; nobody knows until when.
    pub(crate) is_crowded: bool,
}

/// What a queue waits for room for. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// No message may go.
    Message,
    /// No connection may be opened; those it has go on.
    Connection,
}

impl Saturated {
    pub(crate) fn full(cap: Cap) -> Self {
        Self { full: vec![cap], ..Self::default() }
    }

    pub(crate) fn throttled(limit: RateLimit, until: Instant) -> Self {
        Self { throttled: Some((limit, until)), ..Self::default() }
    }

    pub(crate) fn crowded() -> Self {
        Self { is_crowded: true, ..Self::default() }
    }

    /// Room in either will do.
    pub(crate) fn or(mut self, mut other: Self) -> Self {
        self.full.append(&mut other.full);
        let throttled = [self.throttled, other.throttled].into_iter().flatten();
        Self {
            full: self.full,
            throttled: throttled.min_by_key(|(_, until)| *until),
            is_crowded: self.is_crowded || other.is_crowded,
        }
    }
}

impl Limits {
    /// Limits whose buckets begin as the last run left them, and tell `wanted` when they are to be noted.
    pub(crate) fn noted(
        wanted: Arc<Notify>,
        spent: Vec<(BucketKey, Spent)>,
        unknown_since: Option<Instant>,
        now: Instant,
    ) -> Self {
        let bucket = |spent| Arc::new(Bucket::noted(wanted.clone(), Some(spent), unknown_since, now));
        let buckets = spent.into_iter().map(|(key, spent)| (key, bucket(spent))).collect();
        let ledger = Some(Ledger { wanted, unknown_since, start: now });
        Self { buckets: Mutex::new(buckets), ledger, ..Self::default() }
    }

    /// Every bucket.
    pub(crate) fn buckets(&self) -> Vec<(BucketKey, Arc<Bucket>)> {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.iter().map(|(key, bucket)| (*key, bucket.clone())).collect()
    }

    /// The bucket of a key, which a note may have filled.
    pub(crate) fn bucket(&self, key: BucketKey) -> Arc<Bucket> {
        shared_or(&self.buckets, key, || match &self.ledger {
            Some(ledger) => Bucket::noted(ledger.wanted.clone(), None, ledger.unknown_since, ledger.start),
            None => Bucket::default(),
        })
    }

    /// The limits of a queue. The server's own limit and its reserve are what the options and the system leave of it.
    pub(crate) fn of_queue(
        &self,
        generation: &Generation,
        queue: &QueueName,
        server_most: usize,
        server_reserve: usize,
    ) -> QueueLimits {
        let lookup =
            Lookup::Queue { binding_group: &queue.binding_group, binding: &queue.binding, domain: &queue.domain };
        let of_server = LimitName::of_queue(SERVER_MAX_OUTBOUND_CONNECTIONS.name());
        let of_scope = LimitName::of_queue(SCOPE_MAX_OUTBOUND_CONNECTIONS.name());
        let server = generation.find(&SERVER_MAX_OUTBOUND_CONNECTIONS, &lookup);
        let of_binding = || Counted::Binding(queue.binding_group.clone(), queue.binding.clone());
        QueueLimits {
            messages: self.rate(Event::Message, generation, &OUTBOUND_THROTTLE_MESSAGES, &lookup),
            connections: self.rate(Event::Connection, generation, &OUTBOUND_THROTTLE_CONNECTIONS, &lookup),
            scope: self.cap(of_scope, generation.find(&SCOPE_MAX_OUTBOUND_CONNECTIONS, &lookup), Counted::Scope),
            binding: self.cap(of_server.clone(), server.filter(|set| set.scope != ScopeId::GLOBAL), |_| of_binding()),
            server: Some(
                Cap::new(shared(&self.counts, Counted::Server), server_most as u64, server_reserve as u64)
                    .named(of_server),
            ),
        }
    }

    /// The limits of a host; `None` if there are none.
    pub(crate) fn of_host(
        &self,
        generation: &Generation,
        queue: &QueueName,
        host: &Arc<str>,
    ) -> Option<Rc<HostLimits>> {
        let QueueName { binding_group, binding, domain } = queue;
        let lookup = Lookup::Host { binding_group, binding, domain, host };
        let of_scope = LimitName::asked_by(SCOPE_MAX_OUTBOUND_CONNECTIONS.name(), &lookup);
        let most = generation.find(&HOST_MAX_OUTBOUND_CONNECTIONS, &lookup);
        let limits = HostLimits {
            messages: self.rate(Event::Message, generation, &OUTBOUND_THROTTLE_MESSAGES, &lookup),
            connections: self.rate(Event::Connection, generation, &OUTBOUND_THROTTLE_CONNECTIONS, &lookup),
            host: self.cap(LimitName::asked_by(HOST_MAX_OUTBOUND_CONNECTIONS.name(), &lookup), most, |scope| {
                Counted::Host(scope, host.clone())
            }),
            scope: self.cap(of_scope, generation.find(&SCOPE_MAX_OUTBOUND_CONNECTIONS, &lookup), Counted::Scope),
        };
        let none = limits.messages.is_none()
            && limits.connections.is_none()
            && limits.host.is_none()
            && limits.scope.is_none();
        (!none).then(|| Rc::new(limits))
    }

    fn rate(
        &self,
        event: Event,
        generation: &Generation,
        option: &Opt<Throttle>,
        lookup: &Lookup<'_>,
    ) -> Option<RateLimit> {
        let throttle = generation.find(option, lookup)?;
        let limit = RateLimit::new(throttle, || self.bucket((event, throttle.scope_id)))?;
        Some(limit.named(LimitName::asked_by(option.name(), lookup)))
    }

    fn cap(
        &self,
        name: LimitName,
        limit: Option<ScopedLimit>,
        counted: impl FnOnce(ScopeId) -> Counted,
    ) -> Option<Cap> {
        let limit = limit?;
        let most = u64::try_from(limit.most).ok()?;
        Some(Cap::new(shared(&self.counts, counted(limit.scope)), most, 0).named(name))
    }
}

/// The object of a key. Those nobody holds are forgotten only when they are many: a bucket is to remember what it counted.
fn shared<K: Eq + Hash, T: Default>(objects: &Mutex<HashMap<K, Arc<T>>>, key: K) -> Arc<T> {
    shared_or(objects, key, T::default)
}

fn shared_or<K: Eq + Hash, T>(objects: &Mutex<HashMap<K, Arc<T>>>, key: K, new: impl FnOnce() -> T) -> Arc<T> {
    let mut objects = objects.lock().unwrap_or_else(PoisonError::into_inner);
    if OBJECTS_KEPT <= objects.len() && !objects.contains_key(&key) {
        objects.retain(|_, object| 1 < Arc::strong_count(object));
    }
    objects.entry(key).or_insert_with(|| Arc::new(new())).clone()
}

impl HostLimits {
    /// Its limits on connections.
    pub(crate) fn caps(&self) -> impl Iterator<Item = &Cap> {
        [&self.host, &self.scope].into_iter().flatten()
    }

    /// Room for one more connection.
    pub(crate) fn connection(&self, now: Instant) -> Result<Option<Token>, Saturated> {
        token(&self.connections, now)
    }

    /// Room for one more message.
    pub(crate) fn message(&self, now: Instant) -> Result<Option<Token>, Saturated> {
        token(&self.messages, now)
    }

    /// Room for the first message of a connection that is not open yet.
    pub(crate) fn first_message(&self, now: Instant) -> Result<Option<Token>, Saturated> {
        reserved(&self.messages, now)
    }
}

impl QueueLimits {
    /// The limits on connections, the narrowest first: whoever waits for one may hold slots of those before it, so that no two
    /// ever wait for each other.
    pub(crate) fn caps(&self) -> impl Iterator<Item = &Cap> {
        [&self.scope, &self.binding, &self.server].into_iter().flatten()
    }

    /// Room for one more message.
    pub(crate) fn message(&self, now: Instant) -> Result<Option<Token>, Saturated> {
        token(&self.messages, now)
    }

    /// Room for the first message of a connection that is not open yet.
    pub(crate) fn first_message(&self, now: Instant) -> Result<Option<Token>, Saturated> {
        reserved(&self.messages, now)
    }

    /// Room for one more connection attempt.
    pub(crate) fn connection(&self, now: Instant) -> Result<Option<Token>, Saturated> {
        token(&self.connections, now)
    }

    /// Why no connection may be opened now, if so.
    pub(crate) fn busy(&self, now: Instant) -> Option<(Awaits, Saturated)> {
        let busy = |awaits, limit: &Option<RateLimit>| {
            let limit = limit.as_ref()?;
            limit.busy_until(now).map(|until| (awaits, Saturated::throttled(limit.clone(), until)))
        };
        busy(Awaits::Message, &self.messages).or_else(|| busy(Awaits::Connection, &self.connections))
    }
}

fn token(limit: &Option<RateLimit>, now: Instant) -> Result<Option<Token>, Saturated> {
    let Some(limit) = limit else { return Ok(None) };
    limit.take(now).map(Some).map_err(|until| Saturated::throttled(limit.clone(), until))
}

fn reserved(limit: &Option<RateLimit>, now: Instant) -> Result<Option<Token>, Saturated> {
    let Some(limit) = limit else { return Ok(None) };
    limit.reserve(now).map(Some).map_err(|until| Saturated::throttled(limit.clone(), until))
}

/// After that, a host that had no room is looked at again.
pub(crate) const FULL_PAUSE: Duration = Duration::from_secs(1);
/// Shared objects kept although nobody holds them.
const OBJECTS_KEPT: usize = 16_384;
