//! Where to, as what: `facility/priority?socket=/dev/log` or `?facility=…&priority=…&host=loghost:514&format=…`. Pure.

use std::io;
use std::path::PathBuf;

use crate::driver::Defaults;

/// A log and how lines are labelled there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Facility times eight plus severity (RFC 5424 6.2.1).
    pub priority: u8,
    pub ident: String,
    pub target: Target,
    pub format: Format,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A datagram socket in the file system.
    Socket(PathBuf),
    /// Host and port, by UDP.
    Host(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// As the C library writes to `/dev/log`: RFC 3164 without a host name.
    Local,
    /// RFC 3164.
    Rfc3164,
    /// RFC 5424.
    Rfc5424,
}

impl Address {
    pub(crate) fn parse(rest: &str, defaults: &Defaults) -> io::Result<Self> {
        let (name, parameters) = io_wrapper::parameters(rest)?;
        let mut words = name.split('/').filter(|word| !word.is_empty());
        let mut facility_word = words.next().unwrap_or(&defaults.facility).to_owned();
        let mut severity_word = words.next().unwrap_or("info").to_owned();
        if let Some(more) = words.next() {
            return Err(wrong(&format!("unexpected /{more}; a socket is named by ?socket=/path")));
        }
        let (mut ident, mut target, mut format) = (defaults.ident.clone(), None, None);
        for (key, value) in parameters {
            match key.as_str() {
                "facility" => facility_word = value,
                "priority" => severity_word = value,
                "ident" => ident = value,
                "socket" | "host" if target.is_some() => return Err(wrong("one target only, a socket or a host")),
                "socket" if value.starts_with('/') => target = Some(Target::Socket(value.into())),
                "host" if !value.is_empty() => target = Some(Target::Host(with_port(value))),
                "format" => format = Some(format_of(&value)?),
                "socket" | "host" => return Err(wrong(&format!("{key}={value}: not a path or a host"))),
                _ => return Err(wrong(&format!("unknown parameter {key}; known are {KNOWN}"))),
            }
        }
        let (facility, severity) = (facility(&facility_word)?, severity(&severity_word)?);
        let target = target.unwrap_or_else(|| Target::Socket("/dev/log".into()));
        let usual = if matches!(target, Target::Host(_)) { Format::Rfc5424 } else { Format::Local };
        let ident = ident.chars().filter(char::is_ascii_graphic).take(IDENT_OCTETS_MAX).collect();
        Ok(Self { priority: facility * 8 + severity, ident, target, format: format.unwrap_or(usual) })
    }
}

/// The code of a facility (RFC 5424 table 1).
pub(crate) fn facility(word: &str) -> io::Result<u8> {
    let known = FACILITIES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    known.map(|&(_, code)| code).ok_or_else(|| unknown("facility", word, &FACILITIES))
}

fn severity(word: &str) -> io::Result<u8> {
    let known = SEVERITIES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    known.map(|&(_, code)| code).ok_or_else(|| unknown("priority", word, &SEVERITIES))
}

fn format_of(word: &str) -> io::Result<Format> {
    match word {
        "local" => Ok(Format::Local),
        "rfc3164" => Ok(Format::Rfc3164),
        "rfc5424" => Ok(Format::Rfc5424),
        _ => Err(wrong(&format!("unknown format {word:?}; known are local, rfc3164 and rfc5424"))),
    }
}

/// A host without a port gets syslog's. An IPv6 address with one is written in brackets.
fn with_port(host: String) -> String {
    let is_bare_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    match host.rsplit_once(':') {
        _ if is_bare_v6 => format!("[{host}]:514"),
        Some((_, port)) if port.parse::<u16>().is_ok() => host,
        _ => format!("{host}:514"),
    }
}

fn unknown(what: &str, word: &str, known: &[(&str, u8)]) -> io::Error {
    let names: Vec<&str> = known.iter().map(|&(name, _)| name).collect();
    wrong(&format!("unknown {what} {word:?}; known are {}", names.join(", ")))
}

fn wrong(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

const KNOWN: &str = "facility, priority, ident, socket, host and format";
const IDENT_OCTETS_MAX: usize = 48;

const FACILITIES: [(&str, u8); 21] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("security", 4),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

const SEVERITIES: [(&str, u8); 11] = [
    ("emerg", 0),
    ("alert", 1),
    ("crit", 2),
    ("critical", 2),
    ("err", 3),
    ("error", 3),
    ("warning", 4),
    ("warn", 4),
    ("notice", 5),
    ("info", 6),
    ("debug", 7),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &str) -> io::Result<Address> {
        Address::parse(rest, &Defaults::default())
    }

    #[test]
    fn both_ways_to_name_facility_and_priority_mean_the_same() {
        let plain = parse("").unwrap();
        assert_eq!((plain.priority, plain.ident.as_str(), plain.format), (2 * 8 + 6, "ecelerity", Format::Local));
        assert_eq!(plain.target, Target::Socket("/dev/log".into()));
        assert_eq!(parse("local3/error").unwrap(), parse("?facility=local3&priority=error").unwrap());
        assert_eq!(parse("local3/error").unwrap().priority, 19 * 8 + 3);
    }

    #[test]
    fn another_host_gets_rfc_5424_unless_told_otherwise() {
        let there = parse("?host=192.0.2.1").unwrap();
        assert_eq!((there.target, there.format), (Target::Host("192.0.2.1:514".into()), Format::Rfc5424));
        assert_eq!(parse("?host=2001:db8::1").unwrap().target, Target::Host("[2001:db8::1]:514".into()));
        let odd = parse("?host=log.test:1514&format=rfc3164").unwrap();
        assert_eq!((odd.target, odd.format), (Target::Host("log.test:1514".into()), Format::Rfc3164));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_is_known() {
        for (rest, reason) in [
            ("post", "unknown facility \"post\"; known are kern"),
            ("mail/loud", "unknown priority"),
            ("mail/info/dev", "?socket="),
            ("?socket=log", "not a path"),
            ("?socket=/a&host=b", "one target only"),
            ("?format=json", "unknown format"),
            ("?colour=red", "unknown parameter"),
        ] {
            let told = parse(rest).unwrap_err().to_string();
            assert!(told.contains(reason), "{rest}: {told}");
        }
    }
}
