//! `show inbound`, `show outbound` and `count`: the open sessions.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};

use super::domain::family;
use super::{Shape, line};

/// `show outbound`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboundSessions {
    /// The sessions.
    pub sessions: Vec<OutboundSession>,
}

/// One session of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundSession {
    /// Its file descriptor.
    pub fd: i32,
    /// What drives it.
    pub class: String,
    /// Name of the host it goes to.
    pub host: String,
    /// Address of that host.
    pub peer: SocketAddr,
}

impl Shape for OutboundSessions {
    fn text(&self) -> String {
        let mut text = String::new();
        for OutboundSession { fd, class, host, peer } in &self.sessions {
            line!(text, "{fd}: [outbound/{class}] {host} {} {}", family(peer.ip()), peer.ip());
        }
        text
    }

    fn json(&self) -> Value {
        let session = |session: &OutboundSession| json!({ "fd": session.fd, "class": session.class, "host": session.host, "peer": session.peer.to_string() });
        json!({ "sessions": self.sessions.iter().map(session).collect::<Value>() })
    }
}

/// `show inbound`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboundSessions {
    /// The sessions.
    pub sessions: Vec<InboundSession>,
}

/// One session of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundSession {
    /// Its file descriptor.
    pub fd: i32,
    /// What serves it: `esmtp_listener`.
    pub class: String,
    /// The name of its Listen stanza.
    pub listen: String,
    /// The client; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// What was done last, in the words of the rejectlog.
    pub state: String,
    /// How long ago.
    pub in_state: Duration,
    /// How long the session lasts.
    pub age: Duration,
}

impl Shape for InboundSessions {
    fn text(&self) -> String {
        let mut text = String::new();
        for InboundSession { fd, class, peer, state, in_state, .. } in &self.sessions {
            let from = peer.map_or_else(|| "UNIX".to_owned(), |peer| format!("{} {peer}", family(peer.ip())));
            line!(text, "{fd}: [inbound/{class}] {from} {state} (for {:.3}s)", in_state.as_secs_f64());
        }
        text
    }

    fn json(&self) -> Value {
        let session = |session: &InboundSession| {
            json!({
                "fd": session.fd,
                "class": session.class,
                "listen": session.listen,
                "peer": session.peer.map(|peer| peer.to_string()),
                "state": session.state,
                "in_state_seconds": session.in_state.as_secs_f64(),
                "age_seconds": session.age.as_secs_f64(),
            })
        };
        json!({ "sessions": self.sessions.iter().map(session).collect::<Value>() })
    }
}

/// `count`: how many sessions come from, or go to, each network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionCount {
    /// The type as it was asked for, of inbound sessions.
    pub inbound: Option<String>,
    /// One network, whose sessions are counted; none to count by prefixes.
    pub within: Option<(IpAddr, u8)>,
    /// The shortest and the longest prefix to count by.
    pub masks: (u8, u8),
    /// The addresses of all sessions.
    pub addresses: Vec<IpAddr>,
}

impl SessionCount {
    fn total(&self) -> usize {
        match self.within {
            Some((network, mask)) => {
                self.addresses.iter().filter(|at| prefix(**at, mask) == prefix(network, mask)).count()
            }
            None => self.addresses.len(),
        }
    }

    /// The prefixes of a length inside another, with their counts, in order.
    fn inside(&self, outer: Option<(IpAddr, u8)>, mask: u8) -> BTreeMap<IpAddr, usize> {
        let mut counts = BTreeMap::new();
        for address in &self.addresses {
            if outer.is_none_or(|(network, mask)| prefix(*address, mask) == Some(network)) {
                *counts.entry(prefix(*address, mask).unwrap_or(*address)).or_default() += 1;
            }
        }
        counts
    }

    /// The lengths of the levels: every eight bits, and the last.
    fn levels(&self) -> Vec<u8> {
        let (first, last) = self.masks;
        let mut levels: Vec<u8> = (first..last).step_by(8).collect();
        levels.push(last);
        levels
    }

    fn tree(&self, text: &mut String, outer: Option<(IpAddr, u8)>, levels: &[u8], depth: usize) {
        let Some((mask, finer)) = levels.split_first() else { return };
        for (network, count) in self.inside(outer, *mask) {
            line!(text, "{:depth$}{count:>5}  {network}/{mask}", "", depth = depth * 2);
            self.tree(text, Some((network, *mask)), finer, depth + 1);
        }
    }

    fn tree_json(&self, outer: Option<(IpAddr, u8)>, levels: &[u8]) -> Value {
        let Some((mask, finer)) = levels.split_first() else { return json!([]) };
        let networks = self.inside(outer, *mask).into_iter();
        networks
            .map(|(network, count)| {
                let inside = self.tree_json(Some((network, *mask)), finer);
                json!({ "prefix": format!("{network}/{mask}"), "count": count, "inside": inside })
            })
            .collect()
    }
}

impl Shape for SessionCount {
    fn text(&self) -> String {
        let mut text = String::new();
        if self.within.is_some() {
            line!(text, "{} sessions", self.total());
            return text;
        }
        if let Some(what) = &self.inbound {
            line!(text, "Displaying '{what}' from /{} to /{}", self.masks.0, self.masks.1);
        }
        self.tree(&mut text, None, &self.levels(), 0);
        text
    }

    fn json(&self) -> Value {
        match self.within {
            Some((network, mask)) => json!({ "prefix": format!("{network}/{mask}"), "count": self.total() }),
            None => json!({ "count": self.total(), "prefixes": self.tree_json(None, &self.levels()) }),
        }
    }
}

/// The network of an address; none if the mask is longer than it.
fn prefix(address: IpAddr, mask: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => {
            let kept = u32::MAX.checked_shl(32u32.checked_sub(mask.into())?).unwrap_or(0);
            Some(IpAddr::V4((u32::from(v4) & kept).into()))
        }
        IpAddr::V6(v6) => {
            let kept = u128::MAX.checked_shl(128u32.checked_sub(mask.into())?).unwrap_or(0);
            Some(IpAddr::V6((u128::from(v6) & kept).into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbound_sessions_tell_the_client_and_what_it_did_last() {
        let session = InboundSession {
            fd: 23,
            class: "esmtp_listener".into(),
            listen: ":25".into(),
            peer: Some("192.0.2.9:51510".parse().unwrap()),
            state: "RCPT".into(),
            in_state: Duration::from_millis(118),
            age: Duration::from_secs(3),
        };
        let inbound = InboundSessions { sessions: vec![session] };
        assert_eq!(inbound.text(), "23: [inbound/esmtp_listener] IPv4 192.0.2.9:51510 RCPT (for 0.118s)\n");
        assert_eq!(inbound.json()["sessions"][0]["age_seconds"], 3.0);
    }

    #[test]
    fn sessions_are_counted_by_prefix_or_in_one() {
        let addresses = ["192.0.2.9", "192.0.2.9", "192.0.3.1", "198.51.100.7", "2001:db8::1"];
        let addresses: Vec<IpAddr> = addresses.map(|address| address.parse().unwrap()).into();
        let count = SessionCount { inbound: Some("SMTP".into()), masks: (16, 32), addresses, within: None };
        assert_eq!(
            count.text(),
            "Displaying 'SMTP' from /16 to /32\n    3  192.0.0.0/16\n      2  192.0.2.0/24\n        2  192.0.2.9/32\n\
             \x20     1  192.0.3.0/24\n        1  192.0.3.1/32\n    1  198.51.0.0/16\n      1  198.51.100.0/24\n\
             \x20       1  198.51.100.7/32\n    1  2001::/16\n      1  2001:d00::/24\n        1  2001:db8::/32\n"
        );
        assert_eq!(count.json()["prefixes"][0]["inside"][1]["prefix"], "192.0.3.0/24");
        let within = SessionCount { within: Some(("192.0.2.0".parse().unwrap(), 23)), ..count };
        assert_eq!((within.text().as_str(), &within.json()["count"]), ("3 sessions\n", &3.into()));
    }

    #[test]
    fn sessions_take_one_line_each() {
        let outbound = OutboundSession {
            fd: 40,
            class: "smtp".into(),
            host: "mx.a.example".into(),
            peer: "[2001:db8::7]:25".parse().unwrap(),
        };
        let outbound = OutboundSessions { sessions: vec![outbound] };
        assert_eq!(outbound.text(), "40: [outbound/smtp] mx.a.example IPv6 2001:db8::7\n");
        assert_eq!(outbound.json()["sessions"][0]["peer"], "[2001:db8::7]:25");
    }
}
