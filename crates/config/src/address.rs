//! Addresses as operators write them, brought to one spelling.
//!
//! `":25"`, `"*:25"` and `"0.0.0.0:25"` are one socket; so are the spellings of an IPv6 address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::tree::Value;
use crate::types::{OptionType, Shape};

/// Parses an IP address, brackets and an `IPv6:` tag allowed; an IPv4-mapped address becomes IPv4.
pub(crate) fn parse_ip(text: &str) -> Result<IpAddr, String> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let tagged = inner.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("ipv6:"));
    let inner = if tagged { &inner[5..] } else { inner };
    match inner.parse::<IpAddr>() {
        Ok(ip) => Ok(ip.to_canonical()),
        Err(_) if inner.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
            Err(format!("`{text}` is not an IP address: IPv4 has four numbers from 0 to 255"))
        }
        Err(_) => Err(format!("`{text}` is not an IP address")),
    }
}

fn parse_port(text: &str, whole: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("`{whole}` has no valid port: a port is a number from 0 to 65535"))
}

/// Host and port of `host:port`, `[v6]:port` or the older `v6.port`.
fn parse_socket(text: &str) -> Result<(String, u16), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) =
            rest.split_once("]:").ok_or_else(|| format!("`{text}` lacks a port: write \"[address]:port\""))?;
        return Ok((host.to_owned(), parse_port(port, text)?));
    }
    match text.matches(':').count() {
        0 => Err(format!("`{text}` lacks a port: write \"address:port\"")),
        1 => text
            .split_once(':')
            .map_or_else(|| Err(String::new()), |(host, port)| Ok((host.to_owned(), parse_port(port, text)?))),
        _ => match text.rsplit_once('.') {
            Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => Ok((host.to_owned(), parse_port(port, text)?)),
            _ => Err(format!("`{text}` is ambiguous: write an IPv6 address with its port as \"[address]:port\"")),
        },
    }
}

/// An IP address with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(pub SocketAddr);

impl OptionType for Address {
    const EXPECTED: &'static str = "an address with a port, \"192.0.2.1:25\" or \"[2001:db8::1]:25\"";
    const SHAPE: Shape = Shape::Address;
    fn parse(value: &Value) -> Result<Self, String> {
        let text = String::parse(value)?;
        let (host, port) = parse_socket(&text)?;
        Ok(Address(SocketAddr::new(parse_ip(&host)?, port)))
    }
}

/// The name of a `listen` stanza: one socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP address; an unspecified IP is the wildcard.
    Ip(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Parses `":25"`, `"*:25"`, `"[*]:25"`, `"address:port"`, or a path (anything with a slash).
    pub fn parse(text: &str) -> Result<Self, String> {
        // No address holds a slash, so a relative path is as clear as an absolute one.
        if text.contains('/') {
            return Ok(ListenAddress::Unix(PathBuf::from(text)));
        }
        let (host, port) = parse_socket(text)?;
        let ip = match (host.as_str(), text.starts_with('[')) {
            ("" | "*", false) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ("*", true) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            (other, _) => parse_ip(other)?,
        };
        Ok(ListenAddress::Ip(SocketAddr::new(ip, port)))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Ip(address) if address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) => {
                write!(f, "*:{}", address.port())
            }
            ListenAddress::Ip(address) if address.ip().is_unspecified() => write!(f, "[*]:{}", address.port()),
            ListenAddress::Ip(address) => write!(f, "{address}"),
            ListenAddress::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        ListenAddress::parse(text).map_or_else(|problem| problem, |address| address.to_string())
    }

    #[test]
    fn spellings_of_one_socket_agree() {
        assert_eq!(canonical(":25"), "*:25");
        assert_eq!(canonical("*:25"), "*:25");
        assert_eq!(canonical("0.0.0.0:25"), "*:25");
        assert_eq!(canonical("[::]:25"), canonical("[*]:25"));
        assert_eq!(canonical("[2001:DB8:0::25]:25"), "[2001:db8::25]:25");
        assert_eq!(canonical("2001:db8::25.25"), "[2001:db8::25]:25");
        assert_eq!(canonical("/tmp/2025"), "/tmp/2025");
        assert_eq!(canonical("run/control"), "run/control");
    }

    #[test]
    fn what_is_wrong_with_an_address_is_named() {
        assert_eq!(canonical("192.0.2.1"), "`192.0.2.1` lacks a port: write \"address:port\"");
        assert_eq!(canonical(":70000"), "`:70000` has no valid port: a port is a number from 0 to 65535");
        assert_eq!(
            canonical("192.0.2.256:25"),
            "`192.0.2.256` is not an IP address: IPv4 has four numbers from 0 to 255"
        );
    }
}
