//! Addresses nobody listens on.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// An address of 127.0.0.1 whose port was free a moment ago. Another process may still be faster; programs that can bind
/// port 0 themselves should.
///
/// Ports the kernel gives to clients and to those who bind port 0 are not among them, so that one of the thousands of
/// connections of a busy test cannot take the port before the program that is to listen on it does. Test processes that
/// run at the same time look in different places.
pub fn free_addr() -> SocketAddr {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(7919);
    for _ in 0..PORTS {
        let place = start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST_PORT + place as u16));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
    panic!("no free port on 127.0.0.1 from {FIRST_PORT} on");
}

/// From here to where Linux begins to give out ports (`ip_local_port_range`, 32768 by default).
const FIRST_PORT: u16 = 10_000;
const PORTS: u32 = 22_768;
