//! What the connections of all loops share: the buckets of throttles and the counts behind connection limits, each found by the
//! scope that set the option.
//!
//! A throttle and `scope_max_outbound_connections` are one object for all that falls back to them. `max_outbound_connections`
//! of a host stanza is a number: each host that the stanza matches has a count of its own. Both outlive a reload, for a scope
//! keeps its identity. Runs on any thread; locks are taken once per generation and queue, counts are atomic.

use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use config::{Generation, Lookup, Opt, OptionType, ScopeId, Throttle, Value};
use message::QueueName;

use crate::options::{
    HOST_MAX_OUTBOUND_CONNECTIONS, OUTBOUND_THROTTLE_CONNECTIONS, OUTBOUND_THROTTLE_MESSAGES,
    SCOPE_MAX_OUTBOUND_CONNECTIONS, SERVER_MAX_OUTBOUND_CONNECTIONS,
};
use crate::throttle::{Bucket, RateLimit, Token};

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

/// The shared objects, for all loops of a delivery engine.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    buckets: Mutex<HashMap<(Event, ScopeId), Arc<Bucket>>>,
    counts: Mutex<HashMap<Counted, Arc<AtomicU64>>>,
}

/// What a bucket counts. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Event {
    Message,
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
}

/// A limit on connections.
#[derive(Clone, Debug)]
pub(crate) struct Cap {
    open: Arc<AtomicU64>,
    most: u64,
}

/// A connection's place under a limit, while it is held.
#[derive(Debug)]
pub(crate) struct Slot(Arc<AtomicU64>);

impl Cap {
    pub(crate) fn take(&self) -> Option<Slot> {
        let one_more = |open: u64| (open < self.most).then_some(open + 1);
        let taken = self.open.try_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.is_ok().then(|| Slot(self.open.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
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
}

/// The limits of one host for one queue in one generation.
#[derive(Debug)]
pub(crate) struct HostLimits {
    messages: Option<RateLimit>,
    connections: Option<RateLimit>,
    host: Option<Cap>,
    scope: Option<Cap>,
}

/// What a host gives a connection that it has room for.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    /// For as long as the connection lasts.
    pub(crate) slots: [Option<Slot>; 2],
    /// For its first message.
    pub(crate) first: Option<Token>,
}

/// There is no room now. Closed.
#[derive(Clone, Debug)]
pub(crate) enum Saturated {
    /// Connections are too many; nobody knows until when.
    Full,
    /// A throttle has no place before that.
    Throttled(RateLimit, Instant),
}

/// What a queue waits for room for. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// No message may go.
    Message,
    /// No connection may be opened; those it has go on.
    Connection,
}

impl Saturated {
    /// The one that will have room first.
    pub(crate) fn sooner(self, other: Self, now: Instant) -> Self {
        let until = |saturated: &Self| match saturated {
            Self::Full => now + FULL_PAUSE,
            Self::Throttled(_, until) => *until,
        };
        if until(&other) < until(&self) { other } else { self }
    }
}

impl Limits {
    /// The limits of a queue.
    pub(crate) fn of_queue(&self, generation: &Generation, queue: &QueueName) -> QueueLimits {
        let lookup =
            Lookup::Queue { binding_group: &queue.binding_group, binding: &queue.binding, domain: &queue.domain };
        let server = generation.find(&SERVER_MAX_OUTBOUND_CONNECTIONS, &lookup);
        let of_binding = || Counted::Binding(queue.binding_group.clone(), queue.binding.clone());
        QueueLimits {
            messages: self.rate(Event::Message, generation, &OUTBOUND_THROTTLE_MESSAGES, &lookup),
            connections: self.rate(Event::Connection, generation, &OUTBOUND_THROTTLE_CONNECTIONS, &lookup),
            scope: self.cap(generation.find(&SCOPE_MAX_OUTBOUND_CONNECTIONS, &lookup), Counted::Scope),
            binding: self.cap(server.filter(|set| set.scope != ScopeId::GLOBAL), |_| of_binding()),
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
        let most = generation.find(&HOST_MAX_OUTBOUND_CONNECTIONS, &lookup);
        let limits = HostLimits {
            messages: self.rate(Event::Message, generation, &OUTBOUND_THROTTLE_MESSAGES, &lookup),
            connections: self.rate(Event::Connection, generation, &OUTBOUND_THROTTLE_CONNECTIONS, &lookup),
            host: self.cap(most, |scope| Counted::Host(scope, host.clone())),
            scope: self.cap(generation.find(&SCOPE_MAX_OUTBOUND_CONNECTIONS, &lookup), Counted::Scope),
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
        RateLimit::new(throttle, || shared(&self.buckets, (event, throttle.scope_id)))
    }

    fn cap(&self, limit: Option<ScopedLimit>, counted: impl FnOnce(ScopeId) -> Counted) -> Option<Cap> {
        let limit = limit?;
        let most = u64::try_from(limit.most).ok()?;
        Some(Cap { open: shared(&self.counts, counted(limit.scope)), most })
    }
}

/// The object of a key. Those nobody holds are forgotten only when they are many: a bucket is to remember what it counted.
fn shared<K: Eq + Hash, T: Default>(objects: &Mutex<HashMap<K, Arc<T>>>, key: K) -> Arc<T> {
    let mut objects = objects.lock().unwrap_or_else(PoisonError::into_inner);
    if OBJECTS_KEPT <= objects.len() && !objects.contains_key(&key) {
        objects.retain(|_, object| 1 < Arc::strong_count(object));
    }
    objects.entry(key).or_default().clone()
}

impl HostLimits {
    /// Room for a connection and its first message: all of it or nothing.
    pub(crate) fn admit(&self, now: Instant) -> Result<Admitted, Saturated> {
        let slot = |cap: &Option<Cap>| match cap {
            Some(cap) => cap.take().map(Some).ok_or(Saturated::Full),
            None => Ok(None),
        };
        let slots = [slot(&self.host)?, slot(&self.scope)?];
        let first = self.message(now)?;
        let connection = token(&self.connections, now)?;
        connection.into_iter().for_each(Token::spend);
        Ok(Admitted { slots, first })
    }

    /// Room for one more message.
    pub(crate) fn message(&self, now: Instant) -> Result<Option<Token>, Saturated> {
        token(&self.messages, now)
    }
}

impl QueueLimits {
    /// Room for one more message.
    pub(crate) fn message(&self, now: Instant) -> Result<Option<Token>, Saturated> {
        token(&self.messages, now)
    }

    /// Room for one more connection attempt.
    pub(crate) fn connection(&self, now: Instant) -> Result<Option<Token>, Saturated> {
        token(&self.connections, now)
    }

    /// Why no connection may be opened now, if so.
    pub(crate) fn busy(&self, now: Instant) -> Option<(Awaits, Saturated)> {
        let busy = |awaits, limit: &Option<RateLimit>| {
            let limit = limit.as_ref()?;
            limit.busy_until(now).map(|until| (awaits, Saturated::Throttled(limit.clone(), until)))
        };
        busy(Awaits::Message, &self.messages).or_else(|| busy(Awaits::Connection, &self.connections))
    }
}

fn token(limit: &Option<RateLimit>, now: Instant) -> Result<Option<Token>, Saturated> {
    match limit {
        None => Ok(None),
        Some(limit) => limit.take(now).map(Some).map_err(|until| Saturated::Throttled(limit.clone(), until)),
    }
}

/// After that, full connection limits are looked at again.
pub(crate) const FULL_PAUSE: Duration = Duration::from_secs(1);
/// Shared objects kept although nobody holds them.
const OBJECTS_KEPT: usize = 16_384;
