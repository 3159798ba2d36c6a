//! Whose fault it is when a socket cannot be had: this machine's, and what it lacks then, or whoever was to be reached.
//!
//! Asked in this one place by whoever opens or accepts connections: what the machine lacks is waited for and told to the
//! operator, and no other host is held to account for it. Pure.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// What the machine lacks. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lack {
    /// Descriptors, of the process or of the system.
    Descriptors,
    /// Memory or buffers of the kernel.
    Memory,
    /// A local port, or an address to leave from, towards one destination.
    LocalPort,
    /// The address that a connection is to leave from.
    OwnAddress,
    /// A way out towards one destination, or for its family of addresses at all.
    Route,
    /// The leave of a local packet filter or of a security policy.
    Permission,
    /// The thread that asks the DNS.
    DnsThread,
}

/// What was being done. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Making a socket or accepting one, or opening a file.
    Socket,
    /// Giving it the address that it is to leave from.
    Bind,
    /// Looking for a way out: the kernel knows none.
    Route,
    /// Reaching the other host.
    Connect,
}

impl Lack {
    /// What the machine lacks, if that is what an error says; `None` if it speaks of the other host.
    pub fn of(step: Step, error: &io::Error) -> Option<Self> {
        let errno = Errno::from_io_error(error);
        match (step, errno?) {
            (_, Errno::MFILE | Errno::NFILE) => Some(Self::Descriptors),
            (_, Errno::NOBUFS | Errno::NOMEM) => Some(Self::Memory),
            (_, Errno::ACCESS | Errno::PERM) => Some(Self::Permission),
            // A kernel without IPv6.
            (Step::Socket, Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT) => Some(Self::Route),
            (Step::Bind, Errno::ADDRNOTAVAIL) => Some(Self::OwnAddress),
            (Step::Bind, Errno::ADDRINUSE) => Some(Self::LocalPort),
            (Step::Route, _) => Some(Self::Route),
            (Step::Connect, Errno::ADDRNOTAVAIL | Errno::ADDRINUSE) => Some(Self::LocalPort),
            _ => None,
        }
    }

    /// Whether it is lacking for every connection, and not only for those to one destination or from one address.
    pub fn is_of_all(self) -> bool {
        matches!(self, Self::Descriptors | Self::Memory)
    }

    /// Its word in the names of counters.
    pub fn word(self) -> &'static str {
        match self {
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
            Self::LocalPort => "local_ports",
            Self::OwnAddress => "own_address",
            Self::Route => "route",
            Self::Permission => "permission",
            Self::DnsThread => "dns_thread",
        }
    }

    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Descriptors,
        Self::Memory,
        Self::LocalPort,
        Self::OwnAddress,
        Self::Route,
        Self::Permission,
        Self::DnsThread,
    ];
}

/// What is lacking and what to do, for the operator.
impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptors => {
                "this machine has no descriptor for it; raise the limit (LimitNOFILE= of the unit, ulimit -n, fs.file-max) or \
                 lower server_max_outbound_connections and service_sessions"
            }
            Self::Memory => "the kernel has no memory for it; look at free memory, net.ipv4.tcp_mem and the control group",
            Self::LocalPort => {
                "this machine has no local port or address left towards it; widen net.ipv4.ip_local_port_range, lower \
                 max_outbound_connections, or give bindings more addresses"
            }
            Self::OwnAddress => "this machine does not have the bind_address of its binding; add the address or correct the option",
            Self::Route => {
                "this machine has no route to it; look at the network (ip route get), and set use_ipv6 = false if there is no IPv6"
            }
            Self::Permission => "this machine does not allow it; look at the local packet filter and at security policies",
            Self::DnsThread => "the thread of this daemon that asks the DNS has ended; restart the daemon",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_the_machines_or_the_hosts_by_what_was_being_done() {
        let lack = |step, errno: Errno| Lack::of(step, &io::Error::from_raw_os_error(errno.raw_os_error()));
        for step in [Step::Socket, Step::Bind, Step::Connect] {
            assert_eq!(lack(step, Errno::MFILE), Some(Lack::Descriptors));
            assert_eq!(lack(step, Errno::NFILE), Some(Lack::Descriptors));
            assert_eq!(lack(step, Errno::NOBUFS), Some(Lack::Memory));
            assert_eq!(lack(step, Errno::PERM), Some(Lack::Permission));
        }
        assert_eq!(lack(Step::Bind, Errno::ADDRNOTAVAIL), Some(Lack::OwnAddress));
        assert_eq!(lack(Step::Connect, Errno::ADDRNOTAVAIL), Some(Lack::LocalPort));
        assert_eq!(lack(Step::Socket, Errno::AFNOSUPPORT), Some(Lack::Route));
        assert_eq!(lack(Step::Route, Errno::NETUNREACH), Some(Lack::Route));
        for errno in [Errno::CONNREFUSED, Errno::TIMEDOUT, Errno::NETUNREACH, Errno::HOSTUNREACH, Errno::CONNRESET] {
            assert_eq!(lack(Step::Connect, errno), None, "{errno}: a router or the host said so");
        }
        assert_eq!(Lack::of(Step::Connect, &io::ErrorKind::TimedOut.into()), None);
    }
}
