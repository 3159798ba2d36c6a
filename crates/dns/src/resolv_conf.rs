//! The resolver configuration file (option `resolv_conf`): which servers to ask, how long and how often.
//!
//! The syntax of resolv.conf(5), with one addition: a nameserver may carry a port, `127.0.0.1:5353` or `[::1]:5353`.
//! `search`, `domain` and `sortlist` are read over: names in mail are complete. A wrong line is named with its number.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use io_wrapper::{Error, Flags, IoWrappers};

/// The servers to ask, in order, and the patience with each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// Servers in the order of the file.
    pub nameservers: Vec<SocketAddr>,
    /// How long to wait for one server.
    pub timeout: Duration,
    /// How often to go through the list of servers.
    pub attempts: u32,
    /// Dots a name needs to be complete; kept for display, mail names are always complete.
    pub ndots: u32,
}

/// Why a resolver configuration cannot be used.
#[derive(Debug)]
pub enum ResolvConfError {
    /// The file cannot be read.
    Read {
        /// Why, and which file.
        source: Error,
    },
    /// A line is wrong.
    Line {
        /// Which file, by path or URL.
        file: String,
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong, as a sentence without its full stop.
        problem: String,
    },
}

impl fmt::Display for ResolvConfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { source } => write!(f, "cannot read the resolver configuration: {source}"),
            Self::Line { file, line, problem } => write!(f, "{file}:{line}: {problem}"),
        }
    }
}

impl std::error::Error for ResolvConfError {}

impl Default for ResolvConf {
    fn default() -> Self {
        Self { nameservers: Vec::new(), timeout: Duration::from_secs(5), attempts: 2, ndots: 1 }
    }
}

impl ResolvConf {
    /// Where the system keeps it.
    pub const SYSTEM: &'static str = "/etc/resolv.conf";

    /// Reads a file, named by path or URL. A machine without the system's file gets what resolv.conf(5) says: the server on
    /// this host. Blocks.
    pub fn read(file: &str, wrappers: &IoWrappers) -> Result<Self, ResolvConfError> {
        let io = |source| Error::Io { doing: "reading", url: file.to_owned(), source };
        let text = match wrappers.open(file, Flags::READ, 0) {
            Err(Error::Io { source, .. }) if file == Self::SYSTEM && source.kind() == io::ErrorKind::NotFound => {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
            Ok(mut stream) => stream.read_to_end(BYTES_MAX).map_err(io),
        };
        let text = text.map_err(|source| ResolvConfError::Read { source })?;
        Self::parse(&String::from_utf8_lossy(&text)).map_err(|(line, problem)| ResolvConfError::Line {
            file: file.to_owned(),
            line,
            problem,
        })
    }

    /// Reads the text of such a file; an error is a line number and a problem.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut conf = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let result = match words.next() {
                Some("nameserver") => conf.nameserver(words.next()),
                Some("options") => words.try_for_each(|word| conf.option(word)),
                None | Some("search" | "domain" | "sortlist" | "lookup" | "family") => Ok(()),
                Some(other) => {
                    Err(format!("unknown keyword `{other}`; expected nameserver, options, search or domain"))
                }
            };
            result.map_err(|problem| (index + 1, problem))?;
        }
        if conf.nameservers.is_empty() {
            conf.nameservers.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        Ok(conf)
    }

    fn nameserver(&mut self, word: Option<&str>) -> Result<(), String> {
        let word = word.ok_or("nameserver needs an address")?;
        if word.contains('%') {
            // A link-local address with its zone; other servers of the file still serve.
            tracing::warn!(target: "DNS", "nameserver {word}: addresses with a zone are not supported, ignoring it");
            return Ok(());
        }
        let addr = word.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT)).or_else(|_| word.parse::<SocketAddr>());
        let addr = addr.map_err(|_| {
            format!("`{word}` is not an address; write 192.0.2.1, 192.0.2.1:5353, 2001:db8::1 or [2001:db8::1]:5353")
        })?;
        if self.nameservers.len() == NAMESERVERS_MAX {
            return Err(format!("more than {NAMESERVERS_MAX} nameservers"));
        }
        self.nameservers.push(addr);
        Ok(())
    }

    fn option(&mut self, word: &str) -> Result<(), String> {
        let Some((name, value)) = word.split_once(':') else { return Ok(()) };
        let number = || value.parse::<u32>().map_err(|_| format!("option {name} needs a number, not `{value}`"));
        match name {
            // The upper bounds are those of resolv.conf(5).
            "timeout" => self.timeout = Duration::from_secs(number()?.clamp(1, 30).into()),
            "attempts" => self.attempts = number()?.clamp(1, 5),
            "ndots" => self.ndots = number()?.min(15),
            _ => {}
        }
        Ok(())
    }
}

const PORT: u16 = 53;
const BYTES_MAX: usize = 1 << 20;
const NAMESERVERS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers_may_carry_ports() {
        let conf = ResolvConf::parse(
            "# made by hand\nsearch example.test\nnameserver 192.0.2.1 ; one\nnameserver 127.0.0.1:5353\n\
             nameserver ::1\nnameserver [::1]:5353\nnameserver fe80::1%eth0\noptions timeout:2 attempts:9 ndots:0 edns0 rotate\n",
        )
        .unwrap();
        let servers: Vec<String> = conf.nameservers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "127.0.0.1:5353", "[::1]:53", "[::1]:5353"]);
        assert_eq!((conf.timeout, conf.attempts, conf.ndots), (Duration::from_secs(2), 5, 0));
    }

    #[test]
    fn an_empty_file_means_the_server_on_this_host() {
        assert_eq!(ResolvConf::parse("\n").unwrap().nameservers, ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        std::fs::write(&path, "nameserver 127.0.0.1\nnameserver localhost\n").unwrap();
        let read = |path: &std::path::Path| ResolvConf::read(path.to_str().unwrap(), &IoWrappers::new());
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("resolv.conf:2: `localhost` is not an address"), "{message}");
        for (text, problem) in
            [("\nnameserver", "needs an address"), ("options timeout:x", "needs a number"), ("server x", "unknown")]
        {
            assert!(ResolvConf::parse(text).unwrap_err().1.contains(problem));
        }
        let missing = read(&dir.path().join("gone")).unwrap_err().to_string();
        assert!(missing.contains("cannot read the resolver configuration"), "{missing}");
    }
}
