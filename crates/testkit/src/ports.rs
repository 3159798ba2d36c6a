//! Addresses nobody listens on.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// An address of 127.0.0.1 whose port was free a moment ago. Another process may still be faster; programs that can bind
/// port 0 themselves should.
pub fn free_addr() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on 127.0.0.1");
    listener.local_addr().expect("a bound socket has an address")
}
