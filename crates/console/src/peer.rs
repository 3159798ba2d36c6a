//! Who is at the other end of a control connection.
//!
//! On a Unix socket the kernel says it (SO_PEERCRED), and the user name comes from a copy of the password file that the
//! caller has read; on TCP only the address is known. What the client claims about itself is never part of this.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// The identity of a peer, fixed when the connection is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of this machine.
    Unix {
        /// Its effective user when it connected.
        uid: u32,
        /// Its process id when it connected.
        pid: i32,
        /// The user's name, or the number as text where the password file has none.
        user: String,
    },
    /// A TCP peer; loopback or not, nobody has vouched for it.
    Tcp(SocketAddr),
}

impl Peer {
    /// Asks the kernel who connected to a Unix socket.
    pub fn of_unix_socket(socket: impl AsFd, names: &UserNames) -> std::io::Result<Self> {
        let credentials = rustix::net::sockopt::socket_peercred(socket)?;
        let uid = credentials.uid.as_raw();
        Ok(Self::Unix { uid, pid: credentials.pid.as_raw_nonzero().get(), user: names.name(uid) })
    }

    /// The user the operating system vouches for.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Unix { user, .. } => Some(user),
            Self::Tcp(_) => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { uid, pid, user } => write!(f, "{user} (uid {uid}, pid {pid})"),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}

/// User names by uid: the content of `/etc/passwd`, read when the daemon starts and at each reload.
#[derive(Clone, Debug, Default)]
pub struct UserNames(BTreeMap<u32, String>);

impl UserNames {
    /// Reads the text of a password file; lines that are not entries are passed over. Of two entries with one uid the
    /// first counts, as for getpwuid(3).
    pub fn parse(passwd: &str) -> Self {
        let mut names = BTreeMap::new();
        for line in passwd.lines() {
            let mut fields = line.split(':');
            let (Some(name), Some(uid)) = (fields.next(), fields.nth(1)) else { continue };
            if let (false, Ok(uid)) = (name.is_empty(), uid.parse()) {
                names.entry(uid).or_insert_with(|| name.to_owned());
            }
        }
        Self(names)
    }

    /// The name of a user; the number itself if it has none.
    pub fn name(&self, uid: u32) -> String {
        self.0.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_password_file() {
        let names = UserNames::parse(
            "root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n\n# no entry\njan:x:1000:1000:::\n:x:7:\n",
        );
        assert_eq!(names.name(0), "root");
        assert_eq!(names.name(1000), "jan");
        assert_eq!(names.name(7), "7");
    }

    #[test]
    fn the_kernel_names_the_peer_of_a_unix_socket() {
        let (here, _there) = std::os::unix::net::UnixStream::pair().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let names = UserNames::parse(&format!("tester:x:{uid}:"));
        let peer = Peer::of_unix_socket(&here, &names).unwrap();
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        assert_eq!(peer, Peer::Unix { uid, pid, user: "tester".into() });
        assert_eq!(peer.user(), Some("tester"));
        assert_eq!(peer.to_string(), format!("tester (uid {uid}, pid {pid})"));
        assert_eq!(Peer::Tcp("[::1]:9".parse().unwrap()).user(), None);
    }
}
