//! One entry of the `routes` option: which host, how it is looked up, and where it stands in the order.

use config::{OptionType, Value};

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
    /// Reads `__mx__`, `host`, or `smtp://host?pref=P&port=N&type=mx|a`; `place` is where it stands in its list.
    pub fn parse(text: &str, place: usize) -> Result<Self, String> {
        let preference = u16::try_from(place).unwrap_or(u16::MAX);
        if text.eq_ignore_ascii_case("__mx__") {
            return Ok(Self { target: RouteTarget::Mx, preference, port: None });
        }
        let (host, query) = match text.strip_prefix("smtp://") {
            Some(rest) => rest.split_once('?').unwrap_or((rest, "")),
            None => (text, ""),
        };
        let host = host.trim_end_matches('/');
        let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() {
            return Err(format!("a route needs a host, found `{text}`"));
        }
        let mut entry = Self { target: RouteTarget::Host(bare.to_ascii_lowercase()), preference, port: None };
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

/// The entries of one `routes = ( … )`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(pub Vec<RouteEntry>);

impl OptionType for Routes {
    const EXPECTED: &'static str = "a list of hosts: names, __mx__, or smtp://host?pref=P&port=N&type=mx|a";

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
        for wrong in ["", "smtp://", "smtp://x?pref=a", "smtp://x?nope=1", "smtp://x?port=99999"] {
            assert!(RouteEntry::parse(wrong, 0).is_err(), "{wrong}");
        }
    }
}
