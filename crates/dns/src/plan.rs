//! The plan for one domain: which hosts take its mail, in which order, at which addresses (RFC 5321 5.1).
//!
//! Built on the [`DnsRuntime`](crate::DnsRuntime) thread: one MX question, then all hosts side by side. Bounded in hosts and
//! addresses, for the records are a stranger's. Invariant: every host of a plan has at least one address.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::rr::{Name, RData, RecordType};
use tokio::task::JoinSet;

use crate::error::DnsError;
use crate::upstream::{Lack, Records, Upstream, plain};

/// Where mail for one domain goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxPlan {
    /// Hosts by rising preference; within one preference as the server listed them.
    pub hosts: Vec<MxHost>,
    /// Those the records name, too, and that have no address, or none yet; by rising preference.
    pub lacking: Vec<LackingHost>,
    /// There is no MX record: the one host is the domain itself (RFC 5321 5.1).
    pub implicit: bool,
    /// The addresses of other hosts are still being looked up, better ones perhaps among them; never kept.
    pub partial: bool,
    /// How long the plan stands, counted from the question.
    pub ttl: Duration,
    /// When it ends, on the clock the resolver was given.
    pub expires: Instant,
}

/// One host of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxHost {
    /// Lower is tried first.
    pub preference: u16,
    /// The host's name, lower case, without the final dot.
    pub name: Arc<str>,
    /// Its addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
}

/// A host of a domain without an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LackingHost {
    /// As of [`MxHost`].
    pub preference: u16,
    /// The host's name, lower case, without the final dot.
    pub name: Arc<str>,
    /// It may get one: the question failed, or is not answered yet.
    pub for_now: bool,
}

/// What a plan is built under.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) use_ipv6: bool,
}

/// A plan or its absence before the TTL bounds are applied.
pub(crate) struct Draft {
    pub(crate) hosts: Result<Found, DnsError>,
    pub(crate) ttl: Duration,
}

/// The hosts of a plan.
pub(crate) struct Found {
    pub(crate) hosts: Vec<MxHost>,
    pub(crate) lacking: Vec<LackingHost>,
    pub(crate) implicit: bool,
}

/// Turns the text of a domain into a complete name; `None` if it can be none.
pub(crate) fn complete_name(domain: &str) -> Option<Name> {
    let mut name = Name::from_ascii(domain).ok().filter(|name| name.num_labels() != 0)?;
    name.set_fqdn(true);
    Some(name)
}

/// Told of the hosts whose addresses are known while others are still looked up, in order of preference.
pub(crate) type Early<'e> = &'e (dyn Fn(Vec<MxHost>, Vec<LackingHost>) + Send + Sync);

/// Asks for the MX records of `name` and the addresses of their hosts.
pub(crate) async fn draft(upstream: &Arc<Upstream>, name: &Name, rules: Rules, early: Early<'_>) -> Draft {
    let domain: Arc<str> = plain(name).into();
    match upstream.records(name, RecordType::MX).await {
        Ok(found) => explicit(upstream, &domain, found, rules, early).await,
        Err(Lack::Data(ttl)) => implicit(upstream, &domain, name, ttl, rules).await,
        Err(Lack::Name(ttl)) => Draft { hosts: Err(DnsError::NoSuchDomain { name: domain, until: None }), ttl },
        Err(Lack::Failure(error)) => Draft { hosts: Err(error), ttl: Duration::ZERO },
    }
}

async fn explicit(
    upstream: &Arc<Upstream>,
    domain: &Arc<str>,
    found: Records,
    rules: Rules,
    early: Early<'_>,
) -> Draft {
    let mut exchanges: Vec<(u16, Name)> = found.records.into_iter().filter_map(exchange).collect();
    if exchanges.iter().all(|(_, host)| host.is_root()) {
        return Draft { hosts: Err(DnsError::NullMx { name: domain.clone() }), ttl: found.ttl };
    }
    // RFC 7505 3: a null MX beside others says nothing. An address in the place of a host name is no host name.
    exchanges.retain(|(_, host)| !host.is_root() && !is_address(host));
    exchanges.sort_by_key(|(preference, _)| *preference);
    exchanges.dedup_by(|(_, next), (_, first)| next == first);
    exchanges.truncate(HOSTS_MAX);

    let mut asking = JoinSet::new();
    let mut lacking: Vec<Option<LackingHost>> = Vec::new();
    for (place, (preference, host)) in exchanges.into_iter().enumerate() {
        let (upstream, name) = (upstream.clone(), Arc::<str>::from(plain(&host)));
        lacking.push(Some(LackingHost { preference, name: name.clone(), for_now: true }));
        asking.spawn(async move { (place, preference, name, addresses(&upstream, &host, rules).await) });
    }
    let mut hosts: Vec<(usize, MxHost)> = Vec::new();
    let mut ttl = found.ttl;
    let mut trouble = None;
    while let Some(asked) = asking.join_next().await {
        // A lookup that panicked has ended the process; one that is cut off ends with the thread.
        let Ok((place, preference, name, found)) = asked else { continue };
        match found {
            Ok((addresses, host_ttl)) => {
                ttl = ttl.min(host_ttl);
                let before = hosts.partition_point(|(other, _)| *other < place);
                hosts.insert(before, (place, MxHost { preference, name, addresses }));
                lacking[place] = None;
                if !asking.is_empty() {
                    early(in_order(&hosts), lacking.iter().flatten().cloned().collect());
                }
            }
            Err(Lack::Name(host_ttl) | Lack::Data(host_ttl)) => {
                ttl = ttl.min(host_ttl);
                lacking[place].iter_mut().for_each(|host| host.for_now = false);
            }
            Err(Lack::Failure(error)) => {
                // The plan lacks a host that may be there: look again soon.
                ttl = ttl.min(INCOMPLETE_TTL);
                trouble = Some(error);
            }
        }
    }
    let (hosts, lacking) = (in_order(&hosts), lacking.into_iter().flatten().collect());
    match (hosts.is_empty(), trouble) {
        (false, _) => Draft { hosts: Ok(Found { hosts, lacking, implicit: false }), ttl },
        (true, Some(error)) => Draft { hosts: Err(error), ttl: Duration::ZERO },
        // RFC 5321 5.1: MX records that lead nowhere are an error; the domain's own address does not stand in for them.
        (true, None) => Draft { hosts: Err(DnsError::NoRecords { name: domain.clone(), until: None }), ttl },
    }
}

fn in_order(hosts: &[(usize, MxHost)]) -> Vec<MxHost> {
    hosts.iter().map(|(_, host)| host.clone()).collect()
}

async fn implicit(upstream: &Arc<Upstream>, domain: &Arc<str>, name: &Name, no_mx: Duration, rules: Rules) -> Draft {
    match addresses(upstream, name, rules).await {
        Ok((addresses, ttl)) => {
            let host = MxHost { preference: 0, name: domain.clone(), addresses };
            let found = Found { hosts: vec![host], lacking: Vec::new(), implicit: true };
            Draft { hosts: Ok(found), ttl: ttl.min(no_mx) }
        }
        Err(Lack::Name(ttl) | Lack::Data(ttl)) => {
            Draft { hosts: Err(DnsError::NoRecords { name: domain.clone(), until: None }), ttl: ttl.min(no_mx) }
        }
        Err(Lack::Failure(error)) => Draft { hosts: Err(error), ttl: Duration::ZERO },
    }
}

/// The addresses of a host, IPv4 first. One kind is enough, even if the question for the other failed.
pub(crate) async fn addresses(upstream: &Upstream, host: &Name, rules: Rules) -> Result<(Vec<IpAddr>, Duration), Lack> {
    let v6 = async {
        match rules.use_ipv6 {
            true => Some(upstream.records(host, RecordType::AAAA).await),
            false => None,
        }
    };
    let (v4, v6) = tokio::join!(upstream.records(host, RecordType::A), v6);
    let mut addresses = Vec::new();
    let mut ttl = Duration::MAX;
    let mut lack = None;
    for found in [Some(v4), v6].into_iter().flatten() {
        match found {
            Ok(found) => {
                ttl = ttl.min(found.ttl);
                addresses.extend(found.records.iter().filter_map(|record| record.data.ip_addr()).take(ADDRESSES_MAX));
            }
            Err(Lack::Failure(error)) => {
                ttl = ttl.min(INCOMPLETE_TTL);
                lack = Some(Lack::Failure(error));
            }
            Err(absent) => lack = lack.or(Some(absent)),
        }
    }
    match lack {
        Some(lack) if addresses.is_empty() => Err(lack),
        _ => Ok((addresses, ttl)),
    }
}

fn exchange(record: hickory_proto::rr::Record) -> Option<(u16, Name)> {
    match record.data {
        RData::MX(mx) => Some((mx.preference, mx.exchange)),
        _ => None,
    }
}

/// Whether a name is an address in disguise, as `192.0.2.1.` in an MX record.
fn is_address(host: &Name) -> bool {
    let text = plain(host);
    text.parse::<Ipv4Addr>().is_ok() || text.parse::<IpAddr>().is_ok()
}

/// Hosts of one domain that are looked at, best preference first.
const HOSTS_MAX: usize = 50;
/// Addresses of each kind taken from one host.
const ADDRESSES_MAX: usize = 32;
/// How long a plan stands that lacks a host whose lookup failed.
const INCOMPLETE_TTL: Duration = Duration::from_secs(60);
