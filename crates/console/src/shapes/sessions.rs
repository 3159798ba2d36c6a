//! `show outbound`: the open delivery sessions.

use std::net::SocketAddr;

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

#[cfg(test)]
mod tests {
    use super::*;

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
