//! What a text must be that names a host, a domain, an address or a next hop: checks for options whose value is such a text.
//!
//! Each takes the value as the file has it and says what is wrong with it in words for the operator. An empty text is
//! unset, and passes. Pure.

use std::net::IpAddr;

use crate::address::parse_ip;

/// A host name, an address or an address literal: something that can stand in a greeting, a header field and a question to
/// the DNS, and brings no line of its own there.
pub fn host_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    match name.chars().find(|c| !allowed(*c)) {
        None if name.len() <= HOST_NAME_MAX => Ok(()),
        None => Err(format!("a host name has at most {HOST_NAME_MAX} characters, this one has {}", name.len())),
        Some(c) if c.is_whitespace() || c.is_control() => {
            Err(format!("`{}` is not a host name: it contains a blank or a line end", name.escape_debug()))
        }
        Some(c) => Err(format!("`{name}` is not a host name: `{c}` cannot stand in one")),
    }
}

/// Domains, each perhaps with a `*` in front: `*.example.com` means its sub-domains.
pub fn domain_globs(domains: &[String]) -> Result<(), String> {
    domains.iter().try_for_each(|domain| match domain.strip_prefix('*').unwrap_or(domain) {
        "" if domain.is_empty() => Err("an empty name is no domain".to_owned()),
        ending if ending.contains('*') => Err(format!("`{domain}`: a `*` can stand only at the beginning of a domain")),
        ending if ending.contains('@') => {
            Err(format!("`{domain}` is an address, and a domain is wanted: `{}`", after_at(ending)))
        }
        ending => host_name(ending).map_err(|why| why.replace("a host name", "a domain")),
    })
}

/// An address of this machine, or `*` for whichever the kernel chooses.
pub fn own_address(address: &str) -> Result<(), String> {
    if address.is_empty() || address == "*" || address.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    match parse_ip(address) {
        Ok(ip) => Err(format!("an address stands here without brackets: {ip}")),
        Err(why) => Err(format!("{why}; write the address alone, or * for any")),
    }
}

/// A host that takes mail, a name or an address, perhaps with a port; or `#name`, the name of a domain stanza with routes.
pub fn next_hop(text: &str) -> Result<(), String> {
    if text.is_empty() || parse_ip(text).is_ok() {
        return Ok(());
    }
    if let Some(name) = text.strip_prefix('#') {
        let is_plain = !name.is_empty() && !name.contains([':', '[', ']']);
        return match host_name(name) {
            Ok(()) if is_plain => Ok(()),
            _ => {
                Err(format!("`{text}` is no name of a stanza: behind the # stand letters, digits, dots, hyphens and _"))
            }
        };
    }
    if let Some((_, rest)) = text.split_once("://") {
        return Err(format!("`{text}` is a URL, and a host is wanted: `{rest}`"));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        Some(_) => {
            return Err(format!("`{text}` is ambiguous: write an IPv6 address with its port as \"[address]:port\""));
        }
        None => (text, None),
    };
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port != 0)) {
        return Err(format!("`{text}` has no valid port: a port is a number from 1 to 65535"));
    }
    let is_numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match host {
        "" => Err(format!("`{text}` names no host")),
        host if host.contains(['[', ']', ':']) || is_numeric => parse_ip(host).map(drop),
        host => host_name(host),
    }
}

fn after_at(address: &str) -> &str {
    address.rsplit('@').next().unwrap_or(address)
}

/// RFC 1035 2.3.4.
const HOST_NAME_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_brings_no_line_of_its_own_into_greetings_and_header_fields() {
        for fine in ["", "mx.example", "192.0.2.1", "[2001:db8::1]", "under_score.example"] {
            assert_eq!(host_name(fine), Ok(()), "{fine}");
        }
        let told = |name: &str| host_name(name).unwrap_err();
        assert!(told("a\r\n250 b").contains("`a\\r\\n250 b` is not a host name"), "{}", told("a\r\n250 b"));
        assert!(told("my host").contains("a blank"));
        assert!(told("mx@example").ends_with("`@` cannot stand in one"));
        assert!(told(&"a".repeat(256)).contains("255 characters"));
    }

    #[test]
    fn a_domain_may_have_one_star_in_front() {
        let told = |domain: &str| domain_globs(&[domain.to_owned()]);
        for fine in ["example.com", "*.example.com", "*example.com", "*", "[192.0.2.1]"] {
            assert_eq!(told(fine), Ok(()), "{fine}");
        }
        assert_eq!(domain_globs(&[]), Ok(()));
        for (wrong, why) in [
            ("a.*.test", "only at the beginning"),
            ("ann@x.test", "a domain is wanted: `x.test`"),
            ("x test", "is not a domain"),
            ("192.0.2.0/24", "`/` cannot stand in one"),
            ("", "an empty name"),
        ] {
            assert!(told(wrong).is_err_and(|told| told.contains(why)), "{wrong}: {:?}", told(wrong));
        }
    }

    #[test]
    fn an_own_address_is_an_address_or_a_star() {
        for fine in ["", "*", "192.0.2.1", "2001:db8::1"] {
            assert_eq!(own_address(fine), Ok(()), "{fine}");
        }
        for (wrong, why) in [
            ("[2001:db8::1]", "without brackets: 2001:db8::1"),
            ("192.0.2.256", "four numbers from 0 to 255"),
            ("eth0", "write the address alone"),
            ("192.0.2.1:25", "write the address alone"),
        ] {
            assert!(own_address(wrong).is_err_and(|told| told.contains(why)), "{wrong}: {:?}", own_address(wrong));
        }
    }

    #[test]
    fn a_next_hop_is_a_name_or_an_address_perhaps_with_a_port() {
        for fine in [
            "",
            "smart.test",
            "smart.test.",
            "smart.test:2525",
            "#smart",
            "192.0.2.1",
            "192.0.2.1:26",
            "[192.0.2.1]",
            "[192.0.2.1]:26",
            "2001:db8::1",
            "[2001:db8::1]",
            "[2001:db8::1]:26",
            "[IPv6:2001:db8::1]:26",
        ] {
            assert_eq!(next_hop(fine), Ok(()), "{fine}");
        }
        for (wrong, why) in [
            ("smart.test:", "a port is a number"),
            ("smart.test:smtp", "a port is a number"),
            ("smart.test:0", "a port is a number"),
            ("192.0.2.300", "four numbers from 0 to 255"),
            ("[2001:db8::1", "is ambiguous"),
            ("[2001:db8::x]:26", "is not an IP address"),
            (":25", "names no host"),
            ("smart test", "a blank"),
            ("#", "is no name of a stanza"),
            ("#a b", "is no name of a stanza"),
            ("#a:25", "is no name of a stanza"),
            ("smtp://smart.test", "a host is wanted: `smart.test`"),
        ] {
            assert!(next_hop(wrong).is_err_and(|told| told.contains(why)), "{wrong}: {:?}", next_hop(wrong));
        }
    }
}
