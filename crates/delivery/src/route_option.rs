//! One entry of the `routes` option: which host, how it is looked up, and where it stands in the order.

use config::{OptionType, Value, checks};

/// A host to try instead of the domain's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteEntry {
    /// What the entry leads to.
    pub target: RouteTarget,
    /// Lower is tried first; the place in the list where the entry gives none.
    pub preference: u16,
    /// The port, where the entry gives one.
    pub port: Option<u16>,
}

/// What a route leads to. Closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// `__mx__`: the hosts the DNS gives for the domain itself.
    Mx,
    /// The mail hosts of another domain.
    MxOf(String),
    /// One host, by name or address.
    Host(String),
}

impl RouteEntry {
    /// Reads `__mx__`, `host`, `host:port`, or `smtp://host?pref=P&port=N&type=mx|a`; `place` is where it stands in its list.
    pub fn parse(text: &str, place: usize) -> Result<Self, String> {
        let preference = u16::try_from(place).unwrap_or(u16::MAX);
        if text.eq_ignore_ascii_case("__mx__") {
            return Ok(Self { target: RouteTarget::Mx, preference, port: None });
        }
        let (host, query) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("smtp") => rest.split_once('?').unwrap_or((rest, "")),
            Some((scheme, rest)) => return Err(no_way(scheme, rest, text)),
            None => (text, ""),
        };
        let (host, port) = host_and_port(host.trim_end_matches('/'), text)?;
        let mut entry = Self { target: RouteTarget::Host(host), preference, port };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            entry.parameter(pair).ok_or_else(|| format!("cannot understand `{pair}` in the route `{text}`"))?;
        }
        Ok(entry)
    }

    fn parameter(&mut self, pair: &str) -> Option<()> {
        let (key, value) = pair.split_once('=')?;
        match key {
            "pref" => self.preference = value.parse().ok()?,
            "port" => self.port = Some(value.parse().ok()?),
            // A route is looked up each time a connection opens, through the resolver's cache, which keeps the TTLs.
            "ttl" => drop(value.parse::<u32>().ok()?),
            "type" if value == "a" => {}
            "type" if value == "mx" => {
                if let RouteTarget::Host(host) = &self.target {
                    self.target = RouteTarget::MxOf(host.clone());
                }
            }
            _ => return None,
        }
        Some(())
    }
}

/// Why a route cannot begin like this.
fn no_way(scheme: &str, rest: &str, text: &str) -> String {
    let host = rest.split(['/', '?']).next().unwrap_or(rest);
    match scheme.to_ascii_lowercase().as_str() {
        "lmtp" => format!(
            "`{text}`: how mail is brought to the hosts of a domain is for delivery_method, as in \
             delivery_method = \"lmtp\" routes = ( \"{host}\" )"
        ),
        "smtps" | "submissions" => {
            format!("`{text}`: connections that begin with TLS are not there; smtp://{host} goes in the clear")
        }
        _ => format!("`{text}`: a route is a host, __mx__, or smtp://host?pref=P&port=N&type=mx|a"),
    }
}

/// A host, and the port behind it.
fn host_and_port(hop: &str, text: &str) -> Result<(String, Option<u16>), String> {
    if hop.is_empty() || hop == "[]" {
        return Err(format!("a route needs a host, found `{text}`"));
    }
    if let Some(name) = hop.strip_prefix('#') {
        return Err(format!("`{text}`: `#{name}` names a stanza, and stands in gateway; a route is a host"));
    }
    // Several words in one string are warned of, with the list that is meant.
    if !hop.contains([' ', '\t', ',', ';']) {
        checks::next_hop(hop).map_err(|why| if text == hop { why } else { format!("in `{text}`: {why}") })?;
    }
    let bare = |host: &str| {
        let inner = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        let tagged = inner.get(..5).filter(|tag| tag.eq_ignore_ascii_case("ipv6:"));
        tagged.map_or(inner, |_| &inner[5..]).to_ascii_lowercase()
    };
    Ok(match hop.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (bare(host), port.parse().ok()),
        _ => (bare(hop), None),
    })
}

/// The entries of one `routes = ( … )`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(pub Vec<RouteEntry>);

impl OptionType for Routes {
    const EXPECTED: &'static str = "a list of hosts: host, host:port, __mx__, or smtp://host?pref=P&port=N&type=mx|a";

    fn parse(value: &Value) -> Result<Self, String> {
        let texts = Vec::<String>::parse(value)?;
        texts.iter().enumerate().map(|(place, text)| RouteEntry::parse(text, place)).collect::<Result<_, _>>().map(Self)
    }

    fn unset() -> Option<Self> {
        Some(Self::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_in_every_form() {
        let host =
            |host: &str, preference, port| RouteEntry { target: RouteTarget::Host(host.into()), preference, port };
        assert_eq!(RouteEntry::parse("Relay.test", 3), Ok(host("relay.test", 3, None)));
        assert_eq!(RouteEntry::parse("smtp://[2001:db8::1]?pref=5&port=26", 0), Ok(host("2001:db8::1", 5, Some(26))));
        let mx = RouteEntry { target: RouteTarget::MxOf("x.test".into()), preference: 0, port: None };
        assert_eq!(RouteEntry::parse("smtp://x.test?type=mx&ttl=60", 0), Ok(mx));
        assert_eq!(RouteEntry::parse("__MX__", 1).unwrap().target, RouteTarget::Mx);
        assert_eq!(RouteEntry::parse("Relay.test:2525", 3), Ok(host("relay.test", 3, Some(2525))));
        assert_eq!(RouteEntry::parse("[2001:db8::1]:26", 3), Ok(host("2001:db8::1", 3, Some(26))));
        assert_eq!(RouteEntry::parse("[IPv6:2001:db8::1]", 3), Ok(host("2001:db8::1", 3, None)));
        assert_eq!(RouteEntry::parse("2001:db8::1", 3), Ok(host("2001:db8::1", 3, None)));
        assert_eq!(RouteEntry::parse("SMTP://relay.test:26?port=27", 3), Ok(host("relay.test", 3, Some(27))));
        for (wrong, why) in [
            ("", "needs a host"),
            ("smtp://", "needs a host"),
            ("smtp://x?pref=a", "cannot understand `pref=a`"),
            ("smtp://x?nope=1", "cannot understand `nope=1`"),
            ("smtp://x?port=99999", "cannot understand"),
            ("smtps://x.test", "begin with TLS are not there"),
            ("lmtp://x.test:24", "delivery_method = \"lmtp\" routes = ( \"x.test:24\" )"),
            ("http://x.test", "a route is a host"),
            ("x.test:smtp", "a port is a number"),
            ("smtp://x_!.test", "`!` cannot stand in one"),
            ("192.0.2.256", "four numbers"),
            ("#smart", "stands in gateway"),
        ] {
            assert!(
                RouteEntry::parse(wrong, 0).is_err_and(|told| told.contains(why)),
                "{wrong}: {:?}",
                RouteEntry::parse(wrong, 0)
            );
        }
    }
}
