//! `show inbound` and `show outbound`: the open sessions.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::domain::family;
use super::{Shape, line};

/// `show inbound`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboundSessions {
    /// The sessions.
    pub sessions: Vec<InboundSession>,
}

/// One session of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundSession {
    /// Its file descriptor.
    pub fd: i32,
    /// What serves it.
    pub class: String,
    /// The peer; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// What it is doing.
    pub state: String,
    /// How long it has been doing that.
    pub in_state: Duration,
    /// Whether it waits for something other than its peer.
    pub floating: bool,
}

impl Shape for InboundSessions {
    fn text(&self) -> String {
        let mut text = String::new();
        for InboundSession { fd, class, peer, state, in_state, floating } in &self.sessions {
            let peer = peer.map_or_else(|| "Unix".to_owned(), |peer| format!("{} {peer}", family(peer.ip())));
            let floating = if *floating { "  [floating]" } else { "" };
            line!(text, "{fd}: [inbound/{class}] {peer} {state} (for {:.3}s){floating}", in_state.as_secs_f64());
        }
        text
    }

    fn json(&self) -> Value {
        let session = |session: &InboundSession| {
            json!({
                "fd": session.fd,
                "class": session.class,
                "peer": session.peer.map(|peer| peer.to_string()),
                "state": session.state,
                "seconds_in_state": session.in_state.as_secs_f64(),
                "floating": session.floating,
            })
        };
        json!({ "sessions": self.sessions.iter().map(session).collect::<Value>() })
    }
}

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
        let smtp = InboundSession {
            fd: 31,
            class: "esmtp_listener".into(),
            peer: Some("192.0.2.88:40111".parse().unwrap()),
            state: "async body response".into(),
            in_state: Duration::from_millis(204),
            floating: true,
        };
        let control = InboundSession {
            fd: 9,
            class: "control_listener".into(),
            peer: None,
            state: "command".into(),
            floating: false,
            ..smtp.clone()
        };
        assert_eq!(
            InboundSessions { sessions: vec![smtp, control] }.text(),
            "31: [inbound/esmtp_listener] IPv4 192.0.2.88:40111 async body response (for 0.204s)  [floating]\n\
             9: [inbound/control_listener] Unix command (for 0.204s)\n"
        );
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
