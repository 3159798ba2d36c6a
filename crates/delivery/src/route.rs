//! Routing: from a queue's name to the addresses to try, in order (RFC 5321 5.1; reference: operations.md section 6).
//!
//! A routing domain is a mail domain, an address literal, or a gateway: a name or an address, perhaps with a port, which no
//! mail domain can have; a mail domain of four bare numbers has a dot behind it (`queue::routing_domain`). A gateway `#name`
//! stands for the routes of that domain stanza. Lower preference
//! first; hosts of one preference in random order; a host's own addresses as listed.
//!
//! Invariant: no address of a route is this server itself, or less preferred than one that is.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use dns::{DnsError, LackingHost, MxPlan};
use scheduler::{Lack, Random};

use crate::options::{DeliveryMethod, QueueSettings};
use crate::route_option::{RouteEntry, RouteTarget};
use crate::seams::{Itself, Names};

/// An address to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) preference: u16,
    /// The host's name, or its address if it has none.
    pub(crate) host: Arc<str>,
    pub(crate) remote: SocketAddr,
    /// Until when the DNS says that this is so; none if it was not asked for mail hosts.
    pub(crate) expires: Option<Instant>,
    pub(crate) origin: Origin,
}

/// Who chose an address. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The operator wrote it.
    Written,
    /// The operator wrote a name that leads to it; or a client who may relay an address literal.
    Named,
    /// Records of a recipient's domain lead to it, and anybody can write such.
    Learned,
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
    /// A recipient's domain does not exist.
    NoSuchDomain(DnsError),
    /// The DNS says that there is no host; or that a name which the operator wrote does not exist.
    NoHost(DnsError),
    /// An address is on a list that fails the domain as a whole.
    Prohibited,
    /// Every address is one that is passed over.
    PassedOver,
    /// This server itself is the best host that there is, under that name.
    Loop(Arc<str>),
    /// The DNS could not say.
    Lookup(DnsError),
    /// The DNS could not be asked.
    Lacking(Lack),
}

impl Unroutable {
    /// What the DNS or the configuration says of the domain, to stand behind its name; none while nobody knows.
    pub(crate) fn verdict(&self) -> Option<String> {
        Some(match self {
            Self::NullMx => "accepts no mail (null MX)".to_owned(),
            Self::NoSuchDomain(_) => "does not exist (NXDOMAIN)".to_owned(),
            Self::NoHost(error) => format!("has no host: {error}"),
            Self::Prohibited => "leads to a host under prohibited_hosts".to_owned(),
            Self::PassedOver => {
                "leads only to addresses that mail is never brought to (prohibited_hosts, skip_hosts)".to_owned()
            }
            Self::Loop(host) => format!("leads back to this server: its best host is {host}"),
            Self::Lookup(_) | Self::Lacking(_) => return None,
        })
    }
}

/// Finds routes under the settings of one queue.
pub(crate) struct Router<'a> {
    pub(crate) settings: &'a QueueSettings,
    pub(crate) names: &'a dyn Names,
    pub(crate) itself: &'a dyn Itself,
    pub(crate) random: &'a Random,
}

impl Router<'_> {
    /// Finds the addresses for `domain`, best first. If `soon`, those of its own mail hosts that are known so far do; what is
    /// not known yet is not asked about prohibited_hosts either.
    pub(crate) async fn candidates(&self, domain: &str, soon: bool) -> Result<Route, Unroutable> {
        let settings = self.settings;
        let mut found = Vec::new();
        let mut trouble = None;
        let mut partial = false;
        if settings.routes.is_empty() {
            (found, partial) = self.of_domain(domain, soon).await?;
            if settings.best_hosts_only {
                let best = found.iter().map(|candidate| candidate.preference).min();
                found.retain(|candidate| Some(candidate.preference) == best);
            }
        }
        for entry in &settings.routes {
            match self.routed(domain, entry).await {
                Ok(hosts) => found.extend(hosts),
                Err(Unroutable::Prohibited) => return Err(Unroutable::Prohibited),
                Err(why) => trouble = Some(trouble.map_or(why.clone(), |other| milder(other, why))),
            }
        }
        match trouble {
            Some(trouble) if found.is_empty() => Err(trouble),
            _ if found.is_empty() => Err(no_records(domain)),
            _ => Ok(Route { candidates: ordered(found, settings.prefers_ipv6, self.random), partial }),
        }
    }

    /// The addresses of a domain itself, when its mail hosts cannot be learnt. A departure from RFC 5321 5.1, which would wait;
    /// it is what mx_failures_fallback_to_a asks for.
    pub(crate) async fn own_addresses(&self, domain: &str) -> Vec<Candidate> {
        if is_stanza(domain) {
            return Vec::new();
        }
        let (host, port) = take_apart(domain);
        let addresses = self.names.addresses(&host).await.unwrap_or_default();
        let port = port.unwrap_or(self.settings.port);
        let found = of_host(&host, &addresses, port, self.origin(domain, &host));
        self.permitted(domain, found, &[]).unwrap_or_default()
    }

    /// Of a routing domain, and whether these are not all yet.
    async fn of_domain(&self, domain: &str, soon: bool) -> Result<(Vec<Candidate>, bool), Unroutable> {
        if is_stanza(domain) {
            return Err(no_records(domain));
        }
        let (host, port) = take_apart(domain);
        let port = port.unwrap_or(self.settings.port);
        let origin = self.origin(domain, &host);
        if soon && literal(&host).is_none() {
            let plan = self.names.mx_soon(&host).await.map_err(|error| unroutable(error, origin))?;
            // The best of what is known may be this server, and a better one not be known yet.
            match self.permitted(&host, of_plan(&plan, port, origin), &plan.lacking) {
                Err(_) if plan.partial => {}
                found => return found.map(|found| (found, plan.partial)),
            }
        }
        self.mail_hosts(&host, port, origin).await.map(|found| (found, false))
    }

    fn origin(&self, routing_domain: &str, host: &str) -> Origin {
        match (self.settings.barred.is_gateway(routing_domain), literal(host)) {
            (true, Some(_)) => Origin::Written,
            (true, None) | (false, Some(_)) => Origin::Named,
            (false, None) => Origin::Learned,
        }
    }

    async fn routed(&self, domain: &str, entry: &RouteEntry) -> Result<Vec<Candidate>, Unroutable> {
        let port = entry.port.unwrap_or(self.settings.port);
        let mut hosts = match &entry.target {
            RouteTarget::Mx if is_stanza(domain) => return Err(no_records(domain)),
            RouteTarget::Mx => {
                let (host, _) = take_apart(domain);
                self.mail_hosts(domain, port, self.origin(domain, &host)).await?
            }
            RouteTarget::MxOf(other) => self.mail_hosts(other, port, Origin::Named).await?,
            RouteTarget::Host(host) => {
                let origin = if literal(host).is_some() { Origin::Written } else { Origin::Named };
                let addresses = self.names.addresses(host).await.map_err(|error| unroutable(error, origin))?;
                self.permitted(host, of_host(host, &addresses, port, origin), &[])?
            }
        };
        // The entry's place comes before the preferences inside it.
        hosts.sort_by_key(|host| host.preference);
        hosts.iter_mut().for_each(|host| host.preference = entry.preference);
        Ok(hosts)
    }

    /// The hosts of a domain, or the address that it is.
    async fn mail_hosts(&self, domain: &str, port: u16, origin: Origin) -> Result<Vec<Candidate>, Unroutable> {
        if let Some(address) = literal(domain) {
            return self.permitted(domain, of_host(domain, &[address], port, origin), &[]);
        }
        let plan = self.names.mx(domain).await.map_err(|error| unroutable(error, origin))?;
        self.permitted(domain, of_plan(&plan, port, origin), &plan.lacking)
    }

    /// Of the hosts of one plan those that mail may be brought to. RFC 5321 5.1: where this server is among them, it and all
    /// that are not better than it are left out, lest two hosts of a domain give its mail to each other.
    fn permitted(
        &self,
        domain: &str,
        mut found: Vec<Candidate>,
        lacking: &[LackingHost],
    ) -> Result<Vec<Candidate>, Unroutable> {
        let barred = &*self.settings.barred;
        if found.is_empty() {
            return Err(no_records(domain));
        }
        if found.iter().any(|candidate| barred.fails_domain(candidate)) {
            return Err(Unroutable::Prohibited);
        }
        let takes_smtp = self.settings.method == DeliveryMethod::Esmtp;
        let itself = found.iter().filter(|host| barred.is_itself(host, takes_smtp, self.itself));
        let itself = itself.map(|host| (host.preference, host.host.clone()));
        // Records name it, too, where it has no address.
        let by_name = lacking.iter().filter(|host| takes_smtp && barred.is_own_name(&host.name));
        let itself = itself.chain(by_name.map(|host| (host.preference, host.name.clone()))).min();
        let is_better = |preference: u16| itself.as_ref().is_none_or(|(own, _)| preference < *own);
        found.retain(|candidate| is_better(candidate.preference) && !barred.passes_over(candidate));
        if !found.is_empty() {
            return Ok(found);
        }
        if let Some(host) = lacking.iter().find(|host| host.for_now && is_better(host.preference)) {
            let what = format!("the address of its best host {} is not known", host.name);
            return Err(Unroutable::Lookup(DnsError::Temporary { name: domain.into(), what, server: None }));
        }
        Err(itself.map_or(Unroutable::PassedOver, |(_, host)| Unroutable::Loop(host)))
    }
}

/// Of two reasons why there is no route the one that may pass, so that mail waits where it can.
fn milder(one: Unroutable, other: Unroutable) -> Unroutable {
    let severity = |why: &Unroutable| match why {
        Unroutable::Lacking(_) => 0,
        Unroutable::Lookup(_) => 1,
        Unroutable::NoHost(_) => 2,
        Unroutable::NoSuchDomain(_)
        | Unroutable::NullMx
        | Unroutable::PassedOver
        | Unroutable::Prohibited
        | Unroutable::Loop(_) => 3,
    };
    if severity(&other) < severity(&one) { other } else { one }
}

fn of_host(host: &str, addresses: &[IpAddr], port: u16, origin: Origin) -> Vec<Candidate> {
    let candidate = |&address: &IpAddr| Candidate {
        preference: 0,
        host: host.into(),
        remote: SocketAddr::new(address, port),
        expires: None,
        origin,
    };
    addresses.iter().map(candidate).collect()
}

fn of_plan(plan: &MxPlan, port: u16, origin: Origin) -> Vec<Candidate> {
    let of_host = |host: &dns::MxHost| {
        let (preference, name) = (host.preference, host.name.clone());
        let candidate = move |&address: &IpAddr| Candidate {
            preference,
            host: name.clone(),
            remote: SocketAddr::new(address, port),
            expires: Some(plan.expires),
            origin,
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

/// A gateway that is the name of a stanza: only its routes lead on, and the DNS knows nothing of it.
fn is_stanza(domain: &str) -> bool {
    domain.starts_with('#')
}

/// An address, bare or as an address literal of RFC 5321 4.1.3.
fn literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(domain);
    let tagged = inner.get(..5).filter(|tag| tag.eq_ignore_ascii_case("ipv6:"));
    tagged.map_or(inner, |_| &inner[5..]).parse().ok()
}

/// That a name does not exist is a verdict on a recipient's domain. On a name that the operator wrote it is a slip, or the
/// trouble of a resolver: mail waits for it to be mended.
fn unroutable(error: DnsError, origin: Origin) -> Unroutable {
    match error {
        DnsError::NullMx { .. } => Unroutable::NullMx,
        DnsError::NoSuchDomain { .. } if origin == Origin::Learned => Unroutable::NoSuchDomain(error),
        DnsError::NoSuchDomain { .. } | DnsError::NoRecords { .. } => Unroutable::NoHost(error),
        DnsError::Local { lack, .. } => Unroutable::Lacking(lack),
        temporary => Unroutable::Lookup(temporary),
    }
}

fn no_records(domain: &str) -> Unroutable {
    Unroutable::NoHost(DnsError::NoRecords { name: domain.into(), until: None })
}

/// The domains whose mail hosts the route of a queue is made of.
pub(crate) fn looked_up<'a>(settings: &'a QueueSettings, domain: &str) -> impl Iterator<Item = String> + use<'a> {
    let own = take_apart(domain).0;
    let of_routes = settings.routes.iter().filter_map(|entry| match &entry.target {
        RouteTarget::MxOf(other) => Some(other.to_string()),
        RouteTarget::Mx | RouteTarget::Host(_) => None,
    });
    std::iter::once(own).chain(of_routes)
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
            origin: Origin::Learned,
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
            origin: Origin::Learned,
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
