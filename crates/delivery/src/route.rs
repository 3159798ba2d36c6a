//! Routing: from a queue's name to the addresses to try, in order (RFC 5321 5.1; reference: operations.md section 6).
//!
//! A routing domain is a mail domain, an address literal, or a gateway: a name or an address, perhaps with a port, which no
//! mail domain can have; a mail domain of four bare numbers has a dot behind it (`queue::routing_domain`). Lower preference
//! first; hosts of one preference in random order; a host's own addresses as listed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use dns::{DnsError, MxPlan};
use scheduler::Random;

use crate::options::QueueSettings;
use crate::route_option::{RouteEntry, RouteTarget};
use crate::seams::Names;

/// An address to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) preference: u16,
    /// The host's name, or its address if it has none.
    pub(crate) host: Arc<str>,
    pub(crate) remote: SocketAddr,
    /// Until when the DNS says that this is so; none if it was not asked for mail hosts.
    pub(crate) expires: Option<Instant>,
}

/// The addresses to try, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) candidates: Vec<Candidate>,
    /// There may be more, and better ones: the DNS has not said all yet.
    pub(crate) partial: bool,
}

/// Why a queue has no address to try. Closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unroutable {
    /// RFC 7505: fails at once.
    NullMx,
    /// The DNS says that there is no host.
    NoHost,
    /// Every address is under prohibited_hosts or skip_hosts.
    Prohibited,
    /// The DNS could not say.
    Lookup(String),
}

/// Finds the addresses for `domain`, best first. If `soon`, those of its own mail hosts that are known so far do; what is not
/// known yet is not asked about prohibited_hosts either.
pub(crate) async fn candidates(
    domain: &str,
    settings: &QueueSettings,
    names: &dyn Names,
    random: &Random,
    soon: bool,
) -> Result<Route, Unroutable> {
    let mut found = Vec::new();
    let mut trouble = None;
    let mut partial = false;
    if settings.routes.is_empty() {
        let (host, port) = take_apart(domain);
        let port = port.unwrap_or(settings.port);
        (found, partial) = mail_hosts(&host, port, names, soon).await.map_err(unroutable)?;
        if settings.best_hosts_only {
            let best = found.iter().map(|candidate| candidate.preference).min();
            found.retain(|candidate| Some(candidate.preference) == best);
        }
    }
    for entry in &settings.routes {
        match routed(domain, entry, settings.port, names).await {
            Ok(hosts) => found.extend(hosts),
            Err(error) => trouble = trouble.or(Some(unroutable(error))),
        }
    }
    if found.iter().any(|candidate| settings.prohibits(&candidate.remote)) {
        return Err(Unroutable::Prohibited);
    }
    let had_any = !found.is_empty();
    found.retain(|candidate| !settings.skips(&candidate.remote));
    match (found.is_empty(), trouble) {
        (true, Some(trouble)) => Err(trouble),
        (true, None) if had_any => Err(Unroutable::Prohibited),
        (true, None) => Err(Unroutable::NoHost),
        (false, _) => Ok(Route { candidates: ordered(found, settings.prefers_ipv6, random), partial }),
    }
}

/// The addresses of a domain itself, when its mail hosts cannot be learnt. A departure from RFC 5321 5.1, which would wait; it is
/// what mx_failures_fallback_to_a asks for.
pub(crate) async fn own_addresses(domain: &str, settings: &QueueSettings, names: &dyn Names) -> Vec<Candidate> {
    let (host, port) = take_apart(domain);
    let port = port.unwrap_or(settings.port);
    let addresses = names.addresses(&host).await.unwrap_or_default();
    let candidate = |address| {
        let remote = SocketAddr::new(address, port);
        Candidate { preference: 0, host: host.as_str().into(), remote, expires: None }
    };
    let found: Vec<Candidate> = addresses.into_iter().map(candidate).collect();
    let prohibited = found.iter().any(|candidate| settings.prohibits(&candidate.remote));
    found.into_iter().filter(|candidate| !prohibited && !settings.skips(&candidate.remote)).collect()
}

async fn routed(domain: &str, entry: &RouteEntry, port: u16, names: &dyn Names) -> Result<Vec<Candidate>, DnsError> {
    let port = entry.port.unwrap_or(port);
    let mut hosts = match &entry.target {
        RouteTarget::Mx => mail_hosts(domain, port, names, false).await?.0,
        RouteTarget::MxOf(other) => mail_hosts(other, port, names, false).await?.0,
        RouteTarget::Host(host) => {
            let addresses = names.addresses(host).await?;
            let candidate = |address| Candidate {
                preference: 0,
                host: host.as_str().into(),
                remote: SocketAddr::new(address, port),
                expires: None,
            };
            addresses.into_iter().map(candidate).collect()
        }
    };
    // The entry's place comes before the preferences inside it.
    hosts.sort_by_key(|host| host.preference);
    hosts.iter_mut().for_each(|host| host.preference = entry.preference);
    Ok(hosts)
}

/// The hosts of a domain, or the address that it is, and whether these are not all yet.
async fn mail_hosts(
    domain: &str,
    port: u16,
    names: &dyn Names,
    soon: bool,
) -> Result<(Vec<Candidate>, bool), DnsError> {
    if let Some(address) = literal(domain) {
        let remote = SocketAddr::new(address, port);
        return Ok((vec![Candidate { preference: 0, host: domain.into(), remote, expires: None }], false));
    }
    let plan = if soon { names.mx_soon(domain).await? } else { names.mx(domain).await? };
    Ok((of_plan(&plan, port), plan.partial))
}

fn of_plan(plan: &MxPlan, port: u16) -> Vec<Candidate> {
    let of_host = |host: &dns::MxHost| {
        let (preference, name) = (host.preference, host.name.clone());
        let candidate = move |&address: &IpAddr| Candidate {
            preference,
            host: name.clone(),
            remote: SocketAddr::new(address, port),
            expires: Some(plan.expires),
        };
        host.addresses.iter().map(candidate).collect::<Vec<_>>()
    };
    plan.hosts.iter().flat_map(of_host).collect()
}

/// Sorts by preference; inside one preference the hosts in random order, each host's addresses together; IPv6
/// addresses of all of them first if those are preferred.
fn ordered(found: Vec<Candidate>, prefers_ipv6: bool, random: &Random) -> Vec<Candidate> {
    let mut hosts: Vec<Vec<Candidate>> = Vec::new();
    for candidate in found {
        match hosts.last_mut() {
            Some(same) if same[0].host == candidate.host && same[0].preference == candidate.preference => {
                same.push(candidate);
            }
            _ => hosts.push(vec![candidate]),
        }
    }
    random.shuffle(&mut hosts);
    hosts.sort_by_key(|host| host[0].preference);
    let mut ordered: Vec<Candidate> = hosts.into_iter().flatten().collect();
    if prefers_ipv6 {
        ordered.sort_by_key(|candidate| (candidate.preference, candidate.remote.is_ipv4()));
    }
    ordered
}

/// The host and the port of a routing domain: `name`, `name:port`, `address`, `address:port`, `[address]`, `[address]:port`.
fn take_apart(domain: &str) -> (String, Option<u16>) {
    if literal(domain).is_some() {
        return (domain.to_owned(), None);
    }
    match domain.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(port))) => (host.to_owned(), Some(port)),
        _ => (domain.to_owned(), None),
    }
}

/// An address, bare or as an address literal of RFC 5321 4.1.3.
fn literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(domain);
    let tagged = inner.get(..5).filter(|tag| tag.eq_ignore_ascii_case("ipv6:"));
    tagged.map_or(inner, |_| &inner[5..]).parse().ok()
}

fn unroutable(error: DnsError) -> Unroutable {
    match error {
        DnsError::NullMx { .. } => Unroutable::NullMx,
        DnsError::NoSuchDomain { .. } | DnsError::NoRecords { .. } => Unroutable::NoHost,
        temporary => Unroutable::Lookup(temporary.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routing_domain_is_taken_apart() {
        for (domain, host, port) in [
            ("x.test", "x.test", None),
            ("smart.test:2525", "smart.test", Some(2525)),
            ("192.0.2.1:26", "192.0.2.1", Some(26)),
            ("[2001:db8::1]:26", "[2001:db8::1]", Some(26)),
            ("[ipv6:2001:db8::1]", "[ipv6:2001:db8::1]", None),
            ("2001:db8::1", "2001:db8::1", None),
        ] {
            assert_eq!(take_apart(domain), (host.to_owned(), port), "{domain}");
        }
        assert_eq!(literal("[192.0.2.1]"), Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!(literal("[IPv6:2001:db8::1]"), "2001:db8::1".parse().ok());
        assert_eq!(literal("x.test"), None);
    }

    #[test]
    fn preferences_order_hosts_and_chance_orders_equals() {
        let candidate = |preference, host: &str| Candidate {
            preference,
            host: host.into(),
            remote: SocketAddr::from(([192, 0, 2, preference as u8], 25)),
            expires: None,
        };
        let found = vec![candidate(20, "c"), candidate(10, "a"), candidate(10, "a"), candidate(10, "b")];
        let mut firsts = std::collections::BTreeSet::new();
        for seed in 0..32 {
            let hosts = ordered(found.clone(), false, &Random::seeded(seed));
            let order: String = hosts.iter().map(|candidate| &*candidate.host).collect();
            assert!(["aabc", "baac"].contains(&order.as_str()), "{order}");
            firsts.insert(order);
        }
        assert_eq!(firsts.len(), 2);
    }

    #[test]
    fn ipv6_comes_first_inside_one_preference_and_only_if_it_is_preferred() {
        let candidate = |preference, host: &str, address: &str| Candidate {
            preference,
            host: host.into(),
            remote: SocketAddr::new(address.parse().unwrap(), 25),
            expires: None,
        };
        let found = vec![
            candidate(10, "a", "192.0.2.1"),
            candidate(10, "a", "2001:db8::1"),
            candidate(10, "b", "192.0.2.2"),
            candidate(20, "c", "2001:db8::3"),
        ];
        for seed in 0..32 {
            let kinds = |prefers_ipv6| -> String {
                let ordered = ordered(found.clone(), prefers_ipv6, &Random::seeded(seed));
                ordered.iter().map(|candidate| if candidate.remote.is_ipv6() { '6' } else { '4' }).collect()
            };
            assert_eq!(kinds(true), "6446", "seed {seed}");
            assert!(["4646", "4466"].contains(&kinds(false).as_str()), "seed {seed}");
        }
    }
}
