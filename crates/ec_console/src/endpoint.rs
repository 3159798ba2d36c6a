//! Where a control listener is.

use std::fmt;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::client::{Stream, Unreachable};

/// What is at the path of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// Somebody listens there.
    Answers,
    /// It is there, and this user may not ask.
    Closed,
    /// It is there, and nobody listens.
    Dead,
    /// It is not there.
    Missing,
}

impl Socket {
    /// Looks. A connection that is made is closed at once.
    pub fn at(path: &str) -> Self {
        match UnixStream::connect(path) {
            Ok(_) => Self::Answers,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Self::Closed,
            Err(_) if Path::new(path).exists() => Self::Dead,
            Err(_) => Self::Missing,
        }
    }
}

/// A place to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// `host:port` or `[v6]:port`, as given.
    Tcp(String),
}

impl Endpoint {
    /// The first that somebody listens on of the socket of a daemon run from a checkout, of one that is installed, and of the
    /// conventional one; if nobody does, the first that is there. One that a daemon left behind hides no other.
    pub fn default_of(state: impl Fn(&str) -> Socket) -> Self {
        let all = [CHECKOUT_SOCKET, INSTALLED_SOCKET, CONVENTIONAL_SOCKET];
        let first = |wanted: Socket| all.into_iter().find(|socket| state(socket) == wanted);
        let found = [Socket::Answers, Socket::Closed, Socket::Dead].into_iter().find_map(first);
        Self::Unix(found.unwrap_or(CONVENTIONAL_SOCKET).into())
    }

    /// What the default was chosen from, in a sentence, if there was more than one.
    pub fn default_note(&self, state: impl Fn(&str) -> Socket) -> Option<String> {
        let Self::Unix(chosen) = self else { return None };
        let others = [CHECKOUT_SOCKET, INSTALLED_SOCKET, CONVENTIONAL_SOCKET].into_iter();
        let others = others.filter(|other| Path::new(other) != chosen);
        let told: Vec<String> = others
            .filter_map(|other| match state(other) {
                Socket::Answers => Some(format!("{other} answers too")),
                Socket::Closed => Some(format!("{other} is closed to this user")),
                Socket::Dead => Some(format!("nobody listens on {other}")),
                Socket::Missing => None,
            })
            .collect();
        if told.is_empty() { None } else { Some(format!("this is the daemon at {self}; {}", told.join(", "))) }
    }

    /// Opens a connection; the error says what to look at.
    pub fn connect(&self) -> Result<Box<dyn Stream>, Unreachable> {
        let connected: io::Result<Box<dyn Stream>> = match self {
            Self::Unix(path) => UnixStream::connect(path).map(|stream| Box::new(stream) as Box<dyn Stream>),
            Self::Tcp(address) => connect_tcp(address).map(|stream| Box::new(stream) as Box<dyn Stream>),
        };
        connected.map_err(|error| Unreachable(self.explain(&error)))
    }

    fn explain(&self, error: &io::Error) -> String {
        use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        match (self, error.kind()) {
            (Self::Unix(_), NotFound) => format!(
                "cannot connect: there is no socket {self}\n\
                 Is postriderd running? The path is that of a Listen stanza of Control_Listener in its\n\
                 configuration; if that is another one, give it as the first argument."
            ),
            (Self::Unix(_), PermissionDenied) => format!(
                "cannot connect: permission denied on {self}\n\
                 The socket is open to the daemon's user and group (file_mode of its Listen stanza, 0660 if not set).\n\
                 Run as that user, join the group, or set another file_mode."
            ),
            (Self::Unix(_), ConnectionRefused) => format!(
                "cannot connect: {self} is there, but nobody listens on it: no daemon that was started with this\n\
                 socket is running. One that was killed leaves its socket behind, and the next start replaces it. A daemon\n\
                 that runs with another configuration has another socket: give that as the first argument."
            ),
            (Self::Tcp(_), ConnectionRefused) => format!(
                "cannot connect: nobody listens on {self}\n\
                 Is postriderd running, with a Listen stanza for this address in its Control_Listener?"
            ),
            _ => format!("cannot connect to {self}: {error}"),
        }
    }
}

fn connect_tcp(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("ssh://") {
            return Err("ssh:// endpoints are not offered; forward the socket yourself, for example\n  \
                        ssh -L /tmp/mta.sock:/tmp/2025 HOST   and then   ec_console /tmp/mta.sock"
                .to_owned());
        }
        if text.contains('/') {
            return Ok(Self::Unix(text.into()));
        }
        if text.contains('@') {
            return Err(format!(
                "'{text}' names a user, and control listeners here take none: on a Unix socket you are who you\n\
                 logged in as, and TCP listeners are guarded by their address rules. Give HOST:PORT alone."
            ));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| {
            format!(
                "'{text}' is no endpoint: give a path with a '/' in it, HOST:PORT or [V6ADDR]:PORT before the command"
            )
        })?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.contains(':') && !bracketed {
            return Err(format!("'{text}': an IPv6 address stands in brackets, as in [::1]:2025"));
        }
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(format!("'{text}' is no endpoint: HOST:PORT needs a host and a port from 1 to 65535"));
        }
        Ok(Self::Tcp(text.to_owned()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

/// Where `etc/ecelerity.conf` of a checkout puts it.
const CHECKOUT_SOCKET: &str = "./run/control";
/// Where `packaging/ecelerity.conf` puts it.
const INSTALLED_SOCKET: &str = "/run/postrider/control";
/// Where Momentum has it.
const CONVENTIONAL_SOCKET: &str = "/tmp/2025";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_forms_are_read() {
        assert_eq!("./run/control".parse(), Ok(Endpoint::Unix("./run/control".into())));
        assert_eq!("/tmp/a:b@c".parse(), Ok(Endpoint::Unix("/tmp/a:b@c".into())));
        assert_eq!("127.0.0.1:2025".parse(), Ok(Endpoint::Tcp("127.0.0.1:2025".into())));
        assert_eq!("[::1]:2025".parse(), Ok(Endpoint::Tcp("[::1]:2025".into())));
    }

    #[test]
    fn without_an_endpoint_a_checkout_comes_before_an_installed_daemon_and_the_convention_last() {
        let state = |answering: &'static [&'static str], silent: &'static [&'static str]| {
            move |socket: &str| match (answering.contains(&socket), silent.contains(&socket)) {
                (true, _) => Socket::Answers,
                (_, true) => Socket::Dead,
                _ => Socket::Missing,
            }
        };
        let among = |answering, silent| Endpoint::default_of(state(answering, silent)).to_string();
        assert_eq!(among(&["./run/control", "/run/postrider/control"], &[]), "./run/control");
        assert_eq!(among(&["/run/postrider/control", "/tmp/2025"], &[]), "/run/postrider/control");
        assert_eq!(
            among(&["/run/postrider/control"], &["./run/control"]),
            "/run/postrider/control",
            "a dead one hides none"
        );
        assert_eq!(among(&[], &["./run/control", "/tmp/2025"]), "./run/control");
        assert_eq!(among(&[], &[]), "/tmp/2025");
        let note = |answering, silent| {
            let state = state(answering, silent);
            Endpoint::default_of(state).default_note(state)
        };
        assert_eq!(note(&["./run/control"], &[]), None);
        assert_eq!(
            note(&["./run/control", "/run/postrider/control"], &["/tmp/2025"]).as_deref(),
            Some(
                "this is the daemon at ./run/control; /run/postrider/control answers too, nobody listens on /tmp/2025"
            )
        );
    }

    #[test]
    fn other_forms_are_refused_with_the_way_out() {
        let cases = [
            ("summary", "is no endpoint"),
            ("::1:2025", "brackets"),
            ("host:", "needs a host and a port"),
            (":2025", "needs a host and a port"),
            ("host:70000", "needs a host and a port"),
            ("jan@127.0.0.1:2025", "names a user"),
            ("ssh://jan@host/x@127.0.0.1:2025", "ssh -L"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
