//! The door of this room: plans for domains, from the overrides, from the cache, or from the servers.
//!
//! Callers are on event loops; a hit costs one short mutex there. A miss is drafted on the [`DnsRuntime`] thread while the
//! caller awaits, and everyone who asks for the same domain meanwhile awaits the same draft. A caller may give up at any
//! time; the draft goes on and lands in the cache.
//!
//! What is over is swept away every dns_expire_interval, and looked up anew first if somebody has used it (`sweep.rs`).
//!
//! Invariant: a domain is in `asking` exactly while its newest draft runs, and only that draft may reach the cache: what was
//! asked before a `refresh` is told to those who wait for it, and not kept.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::rr::{Name, RData, Record, RecordType};
use scheduler::{Clock, Counter, Lack as Shortage, Meters};
use tokio::sync::watch;

use crate::cache::Cache;
use crate::error::DnsError;
use crate::plan::{self, Draft, Found, LackingHost, MxHost, MxPlan, Rules};
use crate::runtime::DnsRuntime;
use crate::settings::Settings;
use crate::upstream::{Lack, Upstream, plain};

/// Plans set by hand: exact domain, lower case, to its hosts.
pub type Overrides = HashMap<String, Vec<MxHost>>;

/// Looks up where mail goes. Cloning shares everything.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) runtime: DnsRuntime,
    upstream: Arc<Upstream>,
    pub(crate) settings: Settings,
    overrides: Overrides,
    pub(crate) clock: Clock,
    table: Mutex<Table>,
    pub(crate) meter: Meter,
}

pub(crate) type Answer = Result<Arc<MxPlan>, DnsError>;

pub(crate) struct Table {
    pub(crate) plans: Cache<Answer>,
    pub(crate) asking: HashMap<Arc<str>, Asking>,
    drafts: u64,
}

/// Octets of memory that hang on an answer.
fn held_by(answer: &Answer) -> usize {
    let of_host = |host: &MxHost| {
        size_of::<MxHost>() + host.name.len() + host.addresses.capacity() * size_of::<std::net::IpAddr>()
    };
    let of_lacking = |host: &LackingHost| size_of::<LackingHost>() + host.name.len();
    let of_plan = |plan: &Arc<MxPlan>| {
        let lacking: usize = plan.lacking.iter().map(of_lacking).sum();
        size_of::<MxPlan>() + plan.hosts.iter().map(of_host).sum::<usize>() + lacking
    };
    answer.as_ref().map_or(0, of_plan)
}

pub(crate) struct Asking {
    /// Which draft this is, counted.
    draft: u64,
    progress: watch::Receiver<Progress>,
}

/// How far a draft is.
pub(crate) enum Progress {
    Asked,
    /// Some hosts are known.
    Partial(Arc<MxPlan>),
    Done(Answer),
}

pub(crate) struct Meter {
    hits: Counter,
    misses: Counter,
    joined: Counter,
    pub(crate) renewed: Counter,
    pub(crate) expired: Counter,
}

/// Numbers for the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Plans and remembered refusals in the cache.
    pub plans: usize,
    /// Domains being looked up now.
    pub asking: usize,
    /// Plans pushed out because the cache was full.
    pub evicted: u64,
    /// Lookups answered from the cache.
    pub hits: u64,
    /// Lookups that asked the servers.
    pub misses: u64,
    /// Lookups that joined one already on its way.
    pub joined: u64,
}

impl Resolver {
    /// A resolver that asks on `runtime`'s thread. Fails if a server of the settings cannot be set up.
    pub fn new(
        runtime: &DnsRuntime,
        settings: Settings,
        overrides: Overrides,
        clock: Clock,
        meters: &Meters,
    ) -> Result<Self, DnsError> {
        let upstream = {
            // hickory looks for the runtime it is built on.
            let _inside = runtime.handle().enter();
            Arc::new(Upstream::new(&settings, meters)?)
        };
        let table = Table {
            plans: Cache::new(settings.plans_max, held_by, &meters.memory("dns:plans")),
            asking: HashMap::new(),
            drafts: 0,
        };
        let resolver = Self(Arc::new(Inner {
            runtime: runtime.clone(),
            upstream,
            settings,
            overrides,
            clock,
            table: Mutex::new(table),
            meter: Meter {
                hits: meters.counter("dns.cache.hits"),
                misses: meters.counter("dns.cache.misses"),
                joined: meters.counter("dns.cache.joined"),
                renewed: meters.counter("dns.cache.renewed"),
                expired: meters.counter("dns.cache.expired"),
            },
        }));
        resolver.0.sweep_regularly();
        Ok(resolver)
    }

    /// Where mail for `domain` goes.
    pub async fn mx(&self, domain: &str) -> Result<MxPlan, DnsError> {
        self.plan(domain, false).await
    }

    /// The same, without waiting for the slowest: as soon as one of its mail hosts has an address, a plan of those that have
    /// one so far, which says that it is `partial`.
    pub async fn mx_soon(&self, domain: &str) -> Result<MxPlan, DnsError> {
        self.plan(domain, true).await
    }

    async fn plan(&self, domain: &str, soon: bool) -> Result<MxPlan, DnsError> {
        let inner = &self.0;
        let key: Arc<str> = domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase().into();
        if let Some(hosts) = inner.overrides.get(&*key) {
            return Ok(inner.overridden(hosts));
        }
        let Some(name) = plan::complete_name(&key) else {
            return Err(DnsError::NoSuchDomain { name: key, until: None });
        };
        let mut progress = match inner.cached_or_asking(&key, name) {
            Known::Now(answer) => return answer.map(Arc::unwrap_or_clone),
            Known::Soon(progress) => progress,
        };
        let enough = |progress: &Progress| match progress {
            Progress::Asked => false,
            Progress::Partial(_) => soon,
            Progress::Done(_) => true,
        };
        let answer = match progress.wait_for(enough).await.as_deref() {
            Ok(Progress::Partial(plan)) => Ok(plan.clone()),
            Ok(Progress::Done(answer)) => answer.clone(),
            Ok(Progress::Asked) | Err(_) => Err(interrupted(&key)),
        };
        answer.map(Arc::unwrap_or_clone)
    }

    /// The addresses of a host, IPv4 first. An address in text form is its own answer.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let rules = self.0.rules();
        self.ask(host, async move |upstream, name| {
            plan::addresses(&upstream, &name, rules).await.map(|(found, _)| found)
        })
        .await
    }

    /// The TXT records of a name, the strings of each joined.
    pub async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        let records = self.records(name, RecordType::TXT).await?;
        let text = |record: Record| match record.data {
            RData::TXT(txt) => Some(txt.txt_data.concat()),
            _ => None,
        };
        Ok(records.into_iter().filter_map(text).collect())
    }

    /// The names an address points to, lower case, without the final dot.
    pub async fn ptr(&self, address: IpAddr) -> Result<Vec<String>, DnsError> {
        let records = self.records(&Name::from(address).to_ascii(), RecordType::PTR).await?;
        let target = |record: Record| match record.data {
            RData::PTR(target) => Some(plain(&target.0)),
            _ => None,
        };
        Ok(records.into_iter().filter_map(target).collect())
    }

    /// Forgets what is known about a domain and its hosts; the next question goes to the servers.
    pub fn refresh(&self, domain: &str) {
        let key = domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase();
        let now = self.0.clock.now();
        let mut table = self.0.lock();
        let hosts = table.plans.get(&key, now).and_then(Result::ok);
        table.plans.expire(&key, now);
        table.asking.remove(&*key);
        drop(table);
        let names = hosts.iter().flat_map(|plan| &plan.hosts).map(|host| &*host.name).chain([&*key]);
        for name in names.filter_map(plan::complete_name) {
            self.0.upstream.forget(&name);
        }
    }

    /// Forgets that a domain has no host, if that is what is known of it; the next question goes to the servers.
    pub fn forget_failure(&self, domain: &str) {
        let key = domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase();
        let now = self.0.clock.now();
        let mut table = self.0.lock();
        if table.plans.get(&key, now).is_none_or(|answer| answer.is_ok()) {
            return;
        }
        table.plans.expire(&key, now);
        drop(table);
        // Records that lead nowhere are records, too.
        if let Some(name) = plan::complete_name(&key) {
            self.0.upstream.forget(&name);
        }
    }

    /// Sweeps the cache now, as it is done every dns_expire_interval.
    pub fn sweep(&self) {
        self.0.sweep(self.0.clock.now());
    }

    /// Numbers for the console.
    pub fn stats(&self) -> Stats {
        let table = self.0.lock();
        let meter = &self.0.meter;
        Stats {
            plans: table.plans.len(),
            asking: table.asking.len(),
            evicted: table.plans.evicted(),
            hits: meter.hits.get(),
            misses: meter.misses.get(),
            joined: meter.joined.get(),
        }
    }

    /// What is kept for a domain, its time not over.
    pub(crate) fn peek(&self, key: &str) -> Option<Answer> {
        self.0.lock().plans.peek(key, self.0.clock.now())
    }

    pub(crate) async fn records(&self, name: &str, kind: RecordType) -> Result<Vec<Record>, DnsError> {
        self.ask(name, async move |upstream, name| upstream.records(&name, kind).await.map(|found| found.records)).await
    }

    /// Runs one question on the DNS thread.
    async fn ask<T, Question, Asked>(&self, text: &str, question: Question) -> Result<T, DnsError>
    where
        T: Send + 'static,
        Question: FnOnce(Arc<Upstream>, Name) -> Asked + Send + 'static,
        Asked: Future<Output = Result<T, Lack>> + Send + 'static,
    {
        let key: Arc<str> = text.to_ascii_lowercase().into();
        let Some(name) = plan::complete_name(&key) else {
            return Err(DnsError::NoSuchDomain { name: key, until: None });
        };
        let asked = self.0.runtime.handle().spawn(question(self.0.upstream.clone(), name));
        match asked.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(Lack::Name(_))) => Err(DnsError::NoSuchDomain { name: key, until: None }),
            Ok(Err(Lack::Data(_))) => Err(DnsError::NoRecords { name: key, until: None }),
            Ok(Err(Lack::Failure(error))) => Err(error),
            Err(_) => Err(interrupted(&key)),
        }
    }
}

enum Known {
    Now(Answer),
    Soon(watch::Receiver<Progress>),
}

impl Inner {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rules(&self) -> Rules {
        Rules { use_ipv6: self.settings.use_ipv6 }
    }

    fn overridden(&self, hosts: &[MxHost]) -> MxPlan {
        let mut hosts = hosts.to_vec();
        hosts.sort_by_key(|host| host.preference);
        let expires = self.clock.now() + OVERRIDE_TTL;
        MxPlan { hosts, lacking: Vec::new(), implicit: false, partial: false, ttl: OVERRIDE_TTL, expires }
    }

    fn cached_or_asking(self: &Arc<Self>, key: &Arc<str>, name: Name) -> Known {
        let now = self.clock.now();
        let mut table = self.lock();
        if let Some(answer) = table.plans.get(key, now) {
            self.meter.hits.add(1);
            return Known::Now(answer);
        }
        if let Some(asking) = table.asking.get(key) {
            self.meter.joined.add(1);
            return Known::Soon(asking.progress.clone());
        }
        self.meter.misses.add(1);
        Known::Soon(self.begin(&mut table, key.clone(), name, now))
    }

    /// Begins a draft for a domain that nobody asks for now.
    pub(crate) fn begin(
        self: &Arc<Self>,
        table: &mut Table,
        key: Arc<str>,
        name: Name,
        asked_at: Instant,
    ) -> watch::Receiver<Progress> {
        let (tell, progress) = watch::channel(Progress::Asked);
        table.drafts += 1;
        let number = table.drafts;
        table.asking.insert(key.clone(), Asking { draft: number, progress: progress.clone() });
        let draft = Drafting { inner: self.clone(), key, number, asked_at, tell };
        self.runtime.handle().spawn(draft.run(name));
        progress
    }

    /// Applies the operator's bounds to a TTL. That there is no host is never kept for longer than the zone says (RFC 2308 5);
    /// a failure is not kept at all.
    fn bounded(&self, ttl: Duration, found: bool) -> Duration {
        let least = if found { self.settings.min_ttl } else { Duration::ZERO };
        ttl.max(least).min(self.settings.max_ttl).min(TTL_MAX)
    }
}

/// One draft on its way. Leaves `asking` when it ends, however it ends.
struct Drafting {
    inner: Arc<Inner>,
    key: Arc<str>,
    number: u64,
    asked_at: Instant,
    tell: watch::Sender<Progress>,
}

impl Drafting {
    async fn run(self, name: Name) {
        let upstream = &self.inner.upstream;
        // Each of the two steps waits for a place and for the servers; beyond that something is wrong.
        let limit = upstream.patience() * 4 + Duration::from_secs(1);
        let early = |hosts, lacking| {
            let (ttl, expires) = (Duration::ZERO, self.asked_at);
            let plan = MxPlan { hosts, lacking, implicit: false, partial: true, ttl, expires };
            self.tell.send_replace(Progress::Partial(Arc::new(plan)));
        };
        let draft = plan::draft(upstream, &name, self.inner.rules(), &early);
        let draft = tokio::time::timeout(limit, draft).await;
        let late =
            || Draft { hosts: Err(DnsError::Timeout { name: self.key.clone(), server: None }), ttl: Duration::ZERO };
        let Draft { hosts, ttl } = draft.unwrap_or_else(|_| late());
        let ttl = self.inner.bounded(ttl, hosts.is_ok());
        let expires = self.asked_at + ttl;
        let keep = !hosts.as_ref().is_err_and(DnsError::is_temporary);
        let answer = hosts
            .map(|Found { hosts, lacking, implicit }| {
                Arc::new(MxPlan { hosts, lacking, implicit, partial: false, ttl, expires })
            })
            .map_err(|error| error.kept(expires));
        let mut table = self.inner.lock();
        // Before anyone hears of it: who asks after a failure starts a new draft.
        if table.finish(&self.key, self.number) && keep {
            table.plans.insert(self.key.clone(), answer.clone(), expires);
        }
        drop(table);
        self.tell.send_replace(Progress::Done(answer));
    }
}

impl Drop for Drafting {
    fn drop(&mut self) {
        self.inner.lock().finish(&self.key, self.number);
    }
}

impl Table {
    /// Ends a draft; whether it was still the newest of its domain.
    fn finish(&mut self, key: &Arc<str>, draft: u64) -> bool {
        let newest = self.asking.get(key).is_some_and(|asking| asking.draft == draft);
        if newest {
            self.asking.remove(key);
        }
        newest
    }
}

/// For the case that the DNS thread ends under a question.
fn interrupted(key: &Arc<str>) -> DnsError {
    DnsError::Local { name: key.clone(), lack: Shortage::DnsThread }
}

/// How long a caller may keep a plan that comes from the overrides.
const OVERRIDE_TTL: Duration = Duration::from_secs(300);
/// RFC 2181 8: a TTL has 31 bits.
const TTL_MAX: Duration = Duration::from_secs(i32::MAX as u64);
