//! The nameservers: asks them in order until one gives an answer that stands.
//!
//! One hickory resolver per server, so that a failure names its server and a failing server does not hide a good one.
//! Runs on the [`DnsRuntime`](crate::DnsRuntime) thread. Every question is bounded: at most `attempts` rounds of one
//! `timeout` per server, after waiting for one of `queries_max` places.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, Record, RecordType};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as HickoryError, NetError};
use hickory_resolver::{Resolver as HickoryResolver, TokioResolver};
use scheduler::{Clock, Counter, Lack as Shortage, Measure, Meters, Step};
use tokio::sync::Semaphore;

use crate::error::DnsError;
use crate::settings::Settings;

/// The records of one type under one name, at least one, and how long they stand.
pub(crate) struct Records {
    pub(crate) records: Vec<Record>,
    pub(crate) ttl: Duration,
}

/// Why there are no such records.
pub(crate) enum Lack {
    /// NXDOMAIN.
    Name(Duration),
    /// The name exists without records of this type.
    Data(Duration),
    /// Nobody could tell.
    Failure(DnsError),
}

pub(crate) struct Upstream {
    servers: Vec<(SocketAddr, TokioResolver)>,
    /// The server that answered last is asked first, so that a dead one costs its timeout once.
    preferred: AtomicUsize,
    attempts: u32,
    timeout: Duration,
    places: Semaphore,
    meter: Meter,
}

struct Meter {
    queries: ByType,
    timeouts: ByType,
    failures: Counter,
    answers: Counter,
    /// Time of all answers together.
    microseconds: Counter,
    /// Time of the slowest answer. Set on the one thread that asks.
    microseconds_peak: Counter,
}

struct ByType {
    mx: Counter,
    a: Counter,
    aaaa: Counter,
    other: Counter,
}

impl Upstream {
    pub(crate) fn new(settings: &Settings, meters: &Meters) -> Result<Self, DnsError> {
        let conf = &settings.conf;
        let mut servers = Vec::with_capacity(conf.nameservers.len());
        for &server in &conf.nameservers {
            servers.push((server, client(server, settings).map_err(|error| failure("nameserver", server, &error))?));
        }
        Ok(Self {
            servers,
            preferred: AtomicUsize::new(0),
            attempts: conf.attempts,
            timeout: conf.timeout,
            places: Semaphore::new(settings.queries_max.max(1)),
            meter: Meter::new(meters),
        })
    }

    /// The longest one question can take, once it has a place.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout * self.attempts * self.servers.len() as u32
    }

    /// Asks for records of one type.
    pub(crate) async fn records(&self, name: &Name, kind: RecordType) -> Result<Records, Lack> {
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        self.meter.queries.of(kind).add(1);
        let clock = Clock::system(); // hickory's clock, also when the house runs in simulated time
        let started = clock.now();
        let result = self.ask_in_turn(name, kind, clock).await;
        match &result {
            Err(Lack::Failure(DnsError::Timeout { .. })) => self.meter.timeouts.of(kind).add(1),
            Err(Lack::Failure(_)) => self.meter.failures.add(1),
            _ => self.meter.answered(started.elapsed()),
        }
        result
    }

    async fn ask_in_turn(&self, name: &Name, kind: RecordType, clock: Clock) -> Result<Records, Lack> {
        let question = || Arc::from(format!("{} {kind}", plain(name)));
        let mut last = DnsError::Timeout { name: question(), server: None };
        let first = self.preferred.load(Ordering::Relaxed);
        for turn in 0..self.attempts as usize * self.servers.len() {
            let index = (first + turn) % self.servers.len();
            let Some((server, resolver)) = self.servers.get(index) else { break };
            // hickory has the same limit; this one holds even if it does not.
            let answer = tokio::time::timeout(self.timeout * 2, resolver.lookup(name.clone(), kind)).await;
            let error = match answer.unwrap_or(Err(NetError::Timeout)) {
                Ok(lookup) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    let ttl = lookup.valid_until().saturating_duration_since(clock.now());
                    return standing(lookup.answers(), kind, ttl);
                }
                Err(error) => error,
            };
            match lack(&error) {
                Some(lack) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Err(lack);
                }
                None if matches!(error, NetError::Timeout) => {
                    last = DnsError::Timeout { name: question(), server: Some(*server) };
                }
                None => last = unasked(question(), &error).unwrap_or_else(|| failure(&question(), *server, &error)),
            }
        }
        tracing::info!(target: "DNS", "{last}");
        Err(Lack::Failure(last))
    }

    /// Forgets the raw answers about a name.
    pub(crate) fn forget(&self, name: &Name) {
        for (_, resolver) in &self.servers {
            for kind in [RecordType::MX, RecordType::A, RecordType::AAAA] {
                resolver.clear_lookup_cache(name.clone(), kind);
            }
        }
    }
}

impl Meter {
    fn new(meters: &Meters) -> Self {
        let counter = |name: &str| meters.counter(&format!("dns.{name}"));
        Self {
            queries: ByType::new("queries", meters),
            timeouts: ByType::new("timeouts", meters),
            failures: counter("failures"),
            answers: counter("answers"),
            microseconds: counter("response_microseconds"),
            microseconds_peak: counter("response_microseconds_peak"),
        }
    }

    fn answered(&self, took: Duration) {
        let microseconds = took.as_micros() as u64;
        self.answers.add(1);
        self.microseconds.add(microseconds);
        self.microseconds_peak.set(self.microseconds_peak.get().max(microseconds));
    }
}

impl ByType {
    fn new(what: &str, meters: &Meters) -> Self {
        let counter = |kind: &str| meters.counter(&format!("dns.{what}.{kind}"));
        Self { mx: counter("mx"), a: counter("a"), aaaa: counter("aaaa"), other: counter("other") }
    }

    fn of(&self, kind: RecordType) -> &Counter {
        match kind {
            RecordType::MX => &self.mx,
            RecordType::A => &self.a,
            RecordType::AAAA => &self.aaaa,
            _ => &self.other,
        }
    }
}

/// A name as people write it: no final dot.
pub(crate) fn plain(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').filter(|rest| !rest.is_empty()).map(str::to_owned).unwrap_or(text)
}

fn client(server: SocketAddr, settings: &Settings) -> Result<TokioResolver, NetError> {
    let mut connections = vec![ConnectionConfig::udp()];
    if settings.fallback_to_tcp {
        connections.push(ConnectionConfig::tcp());
    }
    for connection in &mut connections {
        connection.port = server.port();
    }
    let server = NameServerConfig::new(server.ip(), true, connections);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut options = ResolverOpts::default();
    options.timeout = settings.conf.timeout;
    options.attempts = 0; // the rounds are ours
    options.ndots = 0;
    options.cache_size = settings.answers_max;
    // What does not exist is kept in one place, with the plans, so that it can be forgotten there.
    options.negative_max_ttl = Some(Duration::ZERO);
    options.use_hosts_file = ResolveHosts::Never;
    options.max_active_requests = settings.queries_max.max(1);
    HickoryResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()
}

/// Keeps the records of the wanted type: an alias that leads nowhere is an answer without data.
fn standing(answers: &[Record], kind: RecordType, ttl: Duration) -> Result<Records, Lack> {
    let records: Vec<Record> = answers.iter().filter(|record| record.record_type() == kind).cloned().collect();
    if records.is_empty() { Err(Lack::Data(ttl)) } else { Ok(Records { records, ttl }) }
}

/// Reads the errors that are answers.
fn lack(error: &NetError) -> Option<Lack> {
    let NetError::Dns(HickoryError::NoRecordsFound(found)) = error else { return None };
    let ttl = found.negative_ttl.map_or(NEGATIVE_TTL, |seconds| Duration::from_secs(seconds.into()));
    match found.response_code {
        ResponseCode::NXDomain => Some(Lack::Name(ttl.min(NEGATIVE_TTL_MAX))),
        ResponseCode::NoError => Some(Lack::Data(ttl.min(NEGATIVE_TTL_MAX))),
        _ => None,
    }
}

/// The failure of a question that never left, for what this machine lacks.
fn unasked(name: Arc<str>, error: &NetError) -> Option<DnsError> {
    let NetError::Io(error) = error else { return None };
    // A datagram that finds no way out is refused at once and by nobody else.
    let has_no_way_out = error.kind() == std::io::ErrorKind::NetworkUnreachable;
    let step = if has_no_way_out { Step::Route } else { Step::Socket };
    Shortage::of(step, error).map(|lack| DnsError::Local { name, lack })
}

fn failure(question: &str, server: SocketAddr, error: &NetError) -> DnsError {
    let what = match error {
        NetError::Dns(HickoryError::ResponseCode(code)) => format!("the server answered {code}"),
        other => other.to_string(),
    };
    DnsError::Temporary { name: question.into(), what, server: Some(server) }
}

/// For a negative answer without a SOA, which RFC 2308 5 forbids to keep for long.
const NEGATIVE_TTL: Duration = Duration::from_secs(30);
/// RFC 2308 5: one to three hours.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(3 * 3600);

/// What is counted of lookups.
pub const MEASURES: &[Measure] = &[
    Measure::counter(
        "dns.queries.*",
        "questions",
        "Questions sent to a server, by record type; one that is repeated, or asked of another server, counts again.",
    )
    .by(&["type"]),
    Measure::counter("dns.timeouts.*", "questions", "Those of them that no answer came to in time.").by(&["type"]),
    Measure::counter(
        "dns.failures",
        "questions",
        "Questions that ended with an answer that is none (SERVFAIL, REFUSED, damaged) or with an error of the network.",
    ),
    Measure::counter(
        "dns.answers",
        "answers",
        "Answers that came, those that say there is no such name or record among them.",
    ),
    Measure::counter("dns.response_microseconds", "microseconds", "The time that all these answers took, together."),
    Measure::gauge(
        "dns.response_microseconds_peak",
        "microseconds",
        "The longest that an answer took since the start or the last summary reset.",
    ),
    Measure::counter("dns.cache.hits", "lookups", "Lookups of a domain's route that were answered from the cache."),
    Measure::counter("dns.cache.misses", "lookups", "Lookups that servers had to be asked for."),
    Measure::counter(
        "dns.cache.joined",
        "lookups",
        "Lookups that waited for the answer to the same one, which was under way.",
    ),
    Measure::counter(
        "dns.cache.renewed",
        "routes",
        "Routes looked up anew because they had expired and had been used.",
    ),
    Measure::counter("dns.cache.expired", "routes", "Routes forgotten because they had expired and had not been used."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_could_not_be_asked_is_no_failure_of_a_server() {
        let unasked = |code: i32| {
            let error = NetError::from(std::io::Error::from_raw_os_error(code));
            match unasked("x.test MX".into(), &error) {
                Some(DnsError::Local { lack, .. }) => Some(lack),
                _ => None,
            }
        };
        const EMFILE: i32 = 24;
        const ENETUNREACH: i32 = 101;
        const ECONNREFUSED: i32 = 111;
        assert_eq!(unasked(EMFILE), Some(Shortage::Descriptors));
        assert_eq!(unasked(ENETUNREACH), Some(Shortage::Route));
        assert_eq!(unasked(ECONNREFUSED), None);
    }
}
