//! Next hops that mail is not brought to: this server itself, and addresses that the operator or prudence keeps it from.
//!
//! What a generation says of them, once for all queues. Addresses are judged by who chose them: records of the DNS are a
//! stranger's, and lead wherever he likes; what the operator wrote is meant.
//!
//! Invariant: an address of this server with a port that it listens on is no next hop, whoever chose it.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use config::{Generation, IpNets, Lookup};
use queue::GATEWAY;

use crate::ehlo_name::{HOSTNAME, OF_SENDER};
use crate::options::{EHLO_HOSTNAME, PROHIBITED_HOSTS, SKIP_HOSTS};
use crate::route::{Candidate, Origin};
use crate::seams::Itself;

/// Of one generation.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Barred {
    prohibited: IpNets,
    /// The operator wrote that list, or it is the one that holds where none is written.
    is_written: bool,
    skipped: IpNets,
    /// What this server calls itself, lower case.
    own_names: HashSet<String>,
    /// The next hops that the operator named, as routing domains.
    gateways: HashSet<String>,
}

impl Barred {
    pub(crate) fn of(generation: &Generation, hostname: &str) -> Self {
        let written = generation.find(&PROHIBITED_HOSTS, &Lookup::Global);
        let own = |name: String| if [HOSTNAME, OF_SENDER].contains(&&*name) { hostname.to_owned() } else { name };
        let mut own_names = HashSet::from([hostname.to_owned(), own(generation.get(&EHLO_HOSTNAME, &Lookup::Global))]);
        let mut gateways = HashSet::from([generation.get(&GATEWAY, &Lookup::Global)]);
        for stanza in ["domain", "binding", "binding_group"].into_iter().flat_map(|word| generation.stanzas(word)) {
            own_names.extend(stanza.find(&EHLO_HOSTNAME).map(own));
            gateways.extend(stanza.find(&GATEWAY));
        }
        let plain =
            |names: HashSet<String>| names.iter().map(|name| plain(name)).filter(|name| !name.is_empty()).collect();
        Self {
            is_written: written.is_some(),
            prohibited: written.unwrap_or_else(|| generation.get(&PROHIBITED_HOSTS, &Lookup::Global)),
            skipped: generation.get(&SKIP_HOSTS, &Lookup::Global),
            own_names: plain(own_names),
            gateways: plain(gateways),
        }
    }

    /// Whether the operator named that routing domain as a next hop.
    pub(crate) fn is_gateway(&self, routing_domain: &str) -> bool {
        self.gateways.contains(routing_domain)
    }

    /// Whether a host is this server. One that the DNS gives for a domain is, by its name alone: records speak of the port
    /// that the world sees. One that the operator chose is only with a port that is listened on, for another server may
    /// stand beside this one.
    pub(crate) fn is_itself(&self, candidate: &Candidate, takes_smtp: bool, itself: &dyn Itself) -> bool {
        let is_reached_by_name = match candidate.origin {
            Origin::Learned => takes_smtp,
            Origin::Written | Origin::Named => itself.listens_on(candidate.remote.port()),
        };
        is_reached_by_name && self.is_own_name(&candidate.host) || itself.is_at(candidate.remote)
    }

    pub(crate) fn is_own_name(&self, host: &str) -> bool {
        self.own_names.contains(&plain(host))
    }

    /// Whether the operator's list has the address, so that the domain fails as a whole. An address that he wrote as a next
    /// hop, he meant.
    pub(crate) fn fails_domain(&self, candidate: &Candidate) -> bool {
        self.is_written && candidate.origin != Origin::Written && self.is_listed(candidate)
    }

    /// Whether the address is passed over: by skip_hosts, or because no host of the Internet has it.
    pub(crate) fn passes_over(&self, candidate: &Candidate) -> bool {
        let is_no_host = !self.is_written && candidate.origin == Origin::Learned && self.is_listed(candidate);
        is_no_host || self.skipped.contains(candidate.remote.ip())
    }

    fn is_listed(&self, candidate: &Candidate) -> bool {
        let ip = candidate.remote.ip();
        self.prohibited.contains(ip) || carried(ip).is_some_and(|ip| self.prohibited.contains(ip.into()))
    }
}

/// A name as it is compared: lower case, without a final dot.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The IPv4 address that an IPv6 address stands for: IPv4-mapped, -compatible and -translated ones, 6to4 (RFC 3056) and NAT64
/// (RFC 6052).
fn carried(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else { return None };
    let [a, b, c, d, e, f, high, low] = ip.segments();
    let of = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0) if ip != Ipv6Addr::LOCALHOST && !ip.is_unspecified() => of(high, low),
        (0, 0, 0, 0, 0, 0xffff) | (0, 0, 0, 0, 0xffff, 0) | (0x64, 0xff9b, 0, 0, 0, 0) => of(high, low),
        (0x2002, ..) => of(b, c),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::{Configuration, Registry};
    use std::net::SocketAddr;

    fn barred(text: &str) -> Barred {
        let mut registry = Registry::new();
        registry.add_all(crate::OPTIONS);
        registry.add_all(queue::OPTIONS);
        Barred::of(&Configuration::of_text(registry, text).expect("a valid text").current(), "Mx.Own.test")
    }

    fn candidate(origin: Origin, address: &str) -> Candidate {
        let remote = SocketAddr::new(address.parse().expect("an address"), 25);
        Candidate { preference: 0, host: "x.test".into(), remote, expires: None, origin }
    }

    #[test]
    fn addresses_that_no_host_of_the_internet_has_are_passed_over_in_every_form() {
        let barred = barred("");
        for address in [
            "127.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "169.254.1.1",
            "172.31.255.255",
            "192.168.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:0:10.0.0.1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "64:ff9b::10.0.0.1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(barred.passes_over(&candidate(Origin::Learned, address)), "{address}");
            assert!(!barred.fails_domain(&candidate(Origin::Learned, address)), "{address}");
            assert!(!barred.passes_over(&candidate(Origin::Named, address)), "{address}: the operator named its host");
            assert!(!barred.passes_over(&candidate(Origin::Written, address)), "{address}: the operator wrote it");
        }
        for address in ["192.0.2.1", "172.32.0.1", "100.128.0.1", "8.8.8.8", "2001:db8::1", "2002:808:808::1"] {
            assert!(!barred.passes_over(&candidate(Origin::Learned, address)), "{address}");
        }
    }

    #[test]
    fn a_list_that_is_written_fails_the_domain_and_an_empty_one_lifts_the_default() {
        let written = barred("prohibited_hosts = ( \"192.0.2.0/24\" )\n");
        for (origin, fails) in [(Origin::Learned, true), (Origin::Named, true), (Origin::Written, false)] {
            assert_eq!(written.fails_domain(&candidate(origin, "192.0.2.1")), fails, "{origin:?}");
            assert_eq!(written.fails_domain(&candidate(origin, "2002:c000:201::1")), fails, "{origin:?}");
        }
        assert!(!written.passes_over(&candidate(Origin::Learned, "127.0.0.1")), "the list is the operator's");
        let lifted = barred("prohibited_hosts = ( )\n");
        let loopback = candidate(Origin::Learned, "127.0.0.1");
        assert!(!lifted.passes_over(&loopback) && !lifted.fails_domain(&loopback));
    }

    #[test]
    fn own_names_are_those_of_the_machine_and_those_it_greets_with() {
        let barred = barred(
            "ehlo_hostname = \"out.own.test\"\nbinding \"b\" { ehlo_hostname = \"b.own.test\" gateway = \"Smart.test:26\" }\n\
             domain \"x.test\" { gateway = \"filter.test\" }\n",
        );
        for name in ["mx.own.test", "MX.own.test.", "out.own.test", "b.own.test"] {
            assert!(barred.is_own_name(name), "{name}");
        }
        assert!(!barred.is_own_name("smart.test") && !barred.is_own_name(""));
        assert!(barred.is_gateway("smart.test:26") && barred.is_gateway("filter.test") && !barred.is_gateway(""));
    }
}
