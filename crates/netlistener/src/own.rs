//! Which addresses lead to this process: what is listened on, and behind a wildcard whatever address this host has.
//!
//! Written by the master scheduler when listeners change, read from any thread. The kernel is asked anew each time, so
//! interfaces may come and go. Deliberately absent: names, and addresses that are translated on the way (NAT), which nobody
//! here can know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use socket2::{Domain, Protocol, Socket, Type};

/// The addresses. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct OwnAddresses(Arc<RwLock<Vec<SocketAddr>>>);

impl OwnAddresses {
    /// Whether a connection to that address and port would come to this process.
    pub fn has(&self, remote: SocketAddr) -> bool {
        let remote = SocketAddr::new(destination(remote.ip()), remote.port());
        let listening = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut at_port = listening.iter().filter(|own| own.port() == remote.port());
        at_port.any(|own| {
            // A wildcard is of one family here: sockets of IPv6 take nothing of IPv4.
            own.ip() == remote.ip()
                || own.ip().is_unspecified() && own.is_ipv4() == remote.is_ipv4() && is_of_this_host(remote.ip())
        })
    }

    /// Whether this process listens on that port, wherever.
    pub fn listens_on(&self, port: u16) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().any(|own| own.port() == port)
    }

    /// What is listened on from now on.
    pub(crate) fn set(&self, listening: impl Iterator<Item = SocketAddr>) {
        let canonical = |own: SocketAddr| SocketAddr::new(own.ip().to_canonical(), own.port());
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = listening.map(canonical).collect();
    }
}

/// Where a connection to an address goes: an IPv4-mapped one by IPv4, the unspecified one to this host.
fn destination(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

fn is_of_this_host(address: IpAddr) -> bool {
    if address.is_loopback() || address.is_multicast() {
        return address.is_loopback();
    }
    // Only its own addresses can be bound to, unless net.ipv4.ip_nonlocal_bind is set, as on a standby of a shared address:
    // then what the kernel would leave from towards it tells.
    let nobodys: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::new(240, 0, 0, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1).into(),
    };
    bound(address).is_some() && (bound(nobodys).is_none() || leaves_from(address) == Some(address))
}

/// A socket bound to that address; no packet leaves.
fn bound(address: IpAddr) -> Option<Socket> {
    let address = SocketAddr::new(address, 0);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)).ok()?;
    socket.bind(&address.into()).ok().map(|()| socket)
}

/// The address that the kernel would give a connection to that one.
fn leaves_from(address: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = bound(any)?;
    socket.connect(&SocketAddr::new(address, DISCARD).into()).ok()?;
    socket.local_addr().ok()?.as_socket().map(|local| local.ip())
}

/// Any port: nothing is sent.
const DISCARD: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn own(listening: &[&str]) -> OwnAddresses {
        let own = OwnAddresses::default();
        own.set(listening.iter().map(|address| address.parse().expect("an address")));
        own
    }

    #[test]
    fn an_address_is_own_with_its_port_only() {
        let own = own(&["127.0.0.1:25", "[::1]:26"]);
        for (remote, is_own) in [
            ("127.0.0.1:25", true),
            ("[::ffff:127.0.0.1]:25", true),
            ("0.0.0.0:25", true),
            ("[::]:26", true),
            ("[::1]:25", false),
            ("127.0.0.1:26", false),
            ("127.0.0.2:25", false),
        ] {
            assert_eq!(own.has(remote.parse().unwrap()), is_own, "{remote}");
        }
        assert!(own.listens_on(25) && own.listens_on(26) && !own.listens_on(2525));
    }

    #[test]
    fn a_wildcard_stands_for_every_address_of_this_host() {
        let own = own(&["0.0.0.0:25"]);
        for (remote, is_own) in [
            ("127.9.9.9:25", true),
            ("[::ffff:127.0.0.1]:25", true),
            ("127.0.0.1:26", false),
            ("192.0.2.1:25", false),
            ("224.0.0.1:25", false),
            ("[::1]:25", false),
        ] {
            assert_eq!(own.has(remote.parse().unwrap()), is_own, "{remote}");
        }
        // Whatever address this host leaves from.
        if let Some(outside) = leaves_from([192, 0, 2, 1].into()) {
            assert!(own.has(SocketAddr::new(outside, 25)), "{outside}");
        }
    }
}
