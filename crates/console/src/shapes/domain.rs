//! `domain NAME`, and the one-line lists `domain all`, `active N`, `delayed N` and their binding forms.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::recipient_domains::RecipientDomains;
use super::waiting::Waiting;
use super::{Shape, line};

/// `domain NAME`: how mail for one routing domain would go, and how it went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DomainReport {
    /// The routing domain.
    pub domain: String,
    /// Text of the matching domain stanza, if the configuration has one.
    pub config: Option<String>,
    /// Where its mail goes.
    pub route: DomainRoute,
    /// Rounds of connection attempts that failed since the last one that did not.
    pub consecutive_connection_failures: u64,
    /// Lookups in a row that gave no host.
    pub consecutive_failed_lookups: u64,
    /// What its queues wait for: the binding, and what holds it.
    pub waiting: Vec<(String, Waiting)>,
    /// Whose mail it is, if the name is a gateway's.
    pub recipient_domains: Option<RecipientDomains>,
    /// Messages due now.
    pub active: u64,
    /// Messages that wait for their next attempt.
    pub delayed: u64,
    /// Deliveries in the life of the record.
    pub deliveries: u64,
    /// Permanent failures in the life of the record.
    pub failures: u64,
    /// Open connections.
    pub connections: Vec<DomainConnection>,
}

/// Where the mail of a domain goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum DomainRoute {
    /// Nobody has asked yet.
    #[default]
    Unresolved,
    /// Looked up.
    Mx {
        /// Seconds until it is looked up again; 0 if it has no mail hosts in the DNS.
        ttl_seconds: u64,
        /// Lowest preference first.
        exchangers: Vec<DomainMx>,
    },
    /// Set by the configuration, or an error; one sentence, such as `is routed to gateway [192.0.2.1]:25`.
    Described(String),
}

/// One mail exchanger.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DomainMx {
    /// MX preference.
    pub preference: u16,
    /// Its host name.
    pub name: String,
    /// Seconds its addresses are still good for; 0 if they are not a mail host's.
    pub ttl_seconds: u64,
    /// Its addresses.
    pub addresses: Vec<DomainAddress>,
}

/// One address of a mail exchanger.
#[derive(Clone, Debug, PartialEq)]
pub struct DomainAddress {
    /// The address.
    pub ip: IpAddr,
    /// The port, 0 when it is the usual one.
    pub port: u16,
    /// Whether the next connection would go here.
    pub next: bool,
    /// Decaying average of the time to connect; 0 until measured.
    pub connect_average_ms: f64,
    /// Decaying average of the time to deliver; 0 until measured.
    pub deliver_average_ms: f64,
    /// How long ago it failed, while it counts as failed.
    pub since_failure: Option<Duration>,
    /// What came of that attempt: `Connection refused (os error 111)`.
    pub failure: Option<String>,
    /// Other domains whose mail goes here, with the preference there.
    pub also_used_by: Vec<(String, u16)>,
}

/// One open connection.
#[derive(Clone, Debug, PartialEq)]
pub struct DomainConnection {
    /// Its file descriptor.
    pub fd: i32,
    /// The address it goes to.
    pub ip: IpAddr,
    /// What it is doing: `reading confirmation`.
    pub state: String,
    /// How long it has been doing that.
    pub in_state: Duration,
}

impl Shape for DomainReport {
    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(config) = &self.config {
            for config in config.trim_end().lines() {
                line!(text, "{config}");
            }
        }
        self.route.lines(&mut text, &self.domain);
        if 0 < self.consecutive_connection_failures {
            line!(text, "Domain has had {} consecutive connection failures", self.consecutive_connection_failures);
        }
        line!(text, "Queue:");
        line!(text, "        Active:{:>11}", self.active);
        line!(text, "        Delayed:{:>10}", self.delayed);
        line!(text, "Deliveries:{:>10}", self.deliveries);
        line!(text, "Failures:{:>11}", self.failures);
        line!(text, "Active Connections: {}", self.connections.len());
        for (number, connection) in self.connections.iter().enumerate() {
            connection.line(&mut text, number + 1);
        }
        if 0 < self.consecutive_failed_lookups {
            line!(text, "Domain has had {} consecutive lookups without a host", self.consecutive_failed_lookups);
        }
        for (binding, waiting) in &self.waiting {
            line!(text, "Waiting: {binding}: {}", waiting.here());
        }
        if let Some(domains) = &self.recipient_domains {
            line!(text, "Recipient domains: {}", domains.sentence());
        }
        text
    }

    fn json(&self) -> Value {
        json!({
            "domain": self.domain,
            "config": self.config,
            "route": self.route.json(),
            "consecutive_connection_failures": self.consecutive_connection_failures,
            "consecutive_failed_lookups": self.consecutive_failed_lookups,
            "waiting": self.waiting.iter().map(with_binding).collect::<Value>(),
            "recipient_domains": self.recipient_domains.as_ref().map(RecipientDomains::json),
            "active": self.active,
            "delayed": self.delayed,
            "deliveries": self.deliveries,
            "failures": self.failures,
            "connections": self.connections.iter().map(DomainConnection::json).collect::<Value>(),
        })
    }
}

fn with_binding((binding, waiting): &(String, Waiting)) -> Value {
    let mut json = waiting.json();
    json["binding"] = binding.as_str().into();
    json
}

impl DomainRoute {
    fn lines(&self, text: &mut String, domain: &str) {
        match self {
            Self::Unresolved => line!(text, "Domain '{domain}' has not been resolved"),
            Self::Described(sentence) => line!(text, "Domain '{domain}' {sentence}"),
            Self::Mx { ttl_seconds, exchangers } => {
                line!(text, "Domain '{domain}' has {} MXs and a TTL of {ttl_seconds} seconds", exchangers.len());
                for mx in exchangers {
                    line!(text, "  [{} {} TTL:{}]", mx.preference, mx.name, mx.ttl_seconds);
                    mx.addresses.iter().for_each(|address| address.lines(text));
                }
            }
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Unresolved => json!({ "kind": "unresolved" }),
            Self::Described(sentence) => json!({ "kind": "described", "text": sentence }),
            Self::Mx { ttl_seconds, exchangers } => {
                let exchangers: Value = exchangers.iter().map(DomainMx::json).collect();
                json!({ "kind": "mx", "ttl": ttl_seconds, "mx": exchangers })
            }
        }
    }
}

impl DomainMx {
    fn json(&self) -> Value {
        json!({
            "preference": self.preference,
            "name": self.name,
            "ttl": self.ttl_seconds,
            "addresses": self.addresses.iter().map(DomainAddress::json).collect::<Value>(),
        })
    }
}

impl DomainAddress {
    fn lines(&self, text: &mut String) {
        let mark = match (self.next, self.since_failure) {
            (true, _) => "=>",
            (false, Some(_)) => "*",
            (false, None) => "",
        };
        let Self { ip, port, connect_average_ms, deliver_average_ms, .. } = self;
        let why = self.failure.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        let age = self.since_failure.map(|age| format!(" {:.2}s since failure{why}", age.as_secs_f64()));
        let age = age.unwrap_or_default();
        let family = family(*ip);
        line!(
            text,
            " {mark:<7}[{ip}]:{port} {family} ({connect_average_ms:.2}ms con {deliver_average_ms:.2}ms dlv){age}"
        );
        for (domain, preference) in &self.also_used_by {
            line!(text, "                (also used by {domain} pref {preference})");
        }
    }

    fn json(&self) -> Value {
        let also =
            self.also_used_by.iter().map(|(domain, preference)| json!({ "domain": domain, "preference": preference }));
        json!({
            "ip": self.ip.to_string(),
            "port": self.port,
            "next": self.next,
            "connect_average_ms": self.connect_average_ms,
            "deliver_average_ms": self.deliver_average_ms,
            "seconds_since_failure": self.since_failure.map(|age| age.as_secs_f64()),
            "failure": self.failure,
            "also_used_by": also.collect::<Value>(),
        })
    }
}

impl DomainConnection {
    fn line(&self, text: &mut String, number: usize) {
        let Self { fd, ip, state, in_state } = self;
        let ip = ip.to_string();
        let milliseconds = in_state.as_secs_f64() * 1000.0;
        line!(text, "[{number:>2}] FD: {fd:>6}  IP: {ip:>16}  State: {state} ({milliseconds:.2}ms)");
    }

    fn json(&self) -> Value {
        json!({ "fd": self.fd, "ip": self.ip.to_string(), "state": self.state, "seconds_in_state": self.in_state.as_secs_f64() })
    }
}

pub(super) fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// Numbers of one domain, or the total of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainCounts {
    /// The routing domain; empty in a total.
    pub domain: String,
    /// Open connections.
    pub connections: u64,
    /// Messages due now.
    pub active: u64,
    /// Messages that wait.
    pub delayed: u64,
    /// Deliveries in the life of the record.
    pub delivered: u64,
}

/// Which command a [`DomainList`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// `active N`, `delayed N`, `binding active B N`, `binding delayed B N`.
    Threshold,
    /// `domain all`, `domains`.
    All,
}

/// One line for each domain and a total over all domains, listed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainList {
    /// Which command this answers.
    pub kind: ListKind,
    /// The listed domains.
    pub rows: Vec<DomainCounts>,
    /// Over all domains (of the binding).
    pub total: DomainCounts,
}

impl Shape for DomainList {
    fn text(&self) -> String {
        let mut text = String::new();
        if self.kind == ListKind::All {
            text.push_str("Domain summary:\n");
        }
        for row in &self.rows {
            line!(text, "Domain: {:>30}  {}", row.domain, row.columns());
        }
        let DomainCounts { connections, active, delayed, delivered, .. } = &self.total;
        match self.kind {
            ListKind::Threshold => line!(text, "{:>38}  {}", "Total:", self.total.columns()),
            ListKind::All => line!(text, "Totals: C: {connections} A: {active} D: {delayed} S: {delivered}"),
        }
        text
    }

    fn json(&self) -> Value {
        json!({ "domains": self.rows.iter().map(DomainCounts::json).collect::<Value>(), "total": self.total.json() })
    }
}

impl DomainCounts {
    fn columns(&self) -> String {
        format!("C: {:>2}  A: {:>6}  D: {:>5}  S: {:>5}", self.connections, self.active, self.delayed, self.delivered)
    }

    fn json(&self) -> Value {
        let mut json = json!({
            "connections": self.connections,
            "active": self.active,
            "delayed": self.delayed,
            "delivered": self.delivered,
        });
        if !self.domain.is_empty() {
            json["domain"] = self.domain.as_str().into();
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ip: &str) -> DomainAddress {
        DomainAddress {
            ip: ip.parse().unwrap(),
            port: 0,
            next: false,
            connect_average_ms: 0.0,
            deliver_average_ms: 0.0,
            since_failure: None,
            failure: None,
            also_used_by: Vec::new(),
        }
    }

    fn report() -> DomainReport {
        let failed = DomainAddress {
            deliver_average_ms: 8100.25,
            since_failure: Some(Duration::from_millis(37_120)),
            failure: Some("Connection refused (os error 111)".into()),
            ..address("192.0.2.20")
        };
        let next = DomainAddress {
            next: true,
            connect_average_ms: 11.5,
            deliver_average_ms: 702.0,
            also_used_by: vec![("b.example".into(), 10)],
            ..address("192.0.2.21")
        };
        let mx = DomainMx {
            preference: 10,
            name: "mx1.a.example".into(),
            ttl_seconds: 600,
            addresses: vec![failed, next, address("2001:db8::5")],
        };
        DomainReport {
            domain: "a.example".into(),
            config: Some("Domain \"a.example\" {\n  max_outbound_connections = \"20\"\n}\n".into()),
            route: DomainRoute::Mx { ttl_seconds: 600, exchangers: vec![mx] },
            consecutive_connection_failures: 2,
            consecutive_failed_lookups: 0,
            recipient_domains: None,
            waiting: Vec::new(),
            active: 41,
            delayed: 6,
            deliveries: 3901,
            failures: 17,
            connections: vec![DomainConnection {
                fd: 58,
                ip: "192.0.2.21".parse().unwrap(),
                state: "after RCPT TO".into(),
                in_state: Duration::from_micros(33_020),
            }],
        }
    }

    #[test]
    fn a_domain_shows_its_stanza_route_queues_and_connections() {
        let golden = "Domain \"a.example\" {
  max_outbound_connections = \"20\"
}
Domain 'a.example' has 1 MXs and a TTL of 600 seconds
  [10 mx1.a.example TTL:600]
 *      [192.0.2.20]:0 IPv4 (0.00ms con 8100.25ms dlv) 37.12s since failure: Connection refused (os error 111)
 =>     [192.0.2.21]:0 IPv4 (11.50ms con 702.00ms dlv)
                (also used by b.example pref 10)
        [2001:db8::5]:0 IPv6 (0.00ms con 0.00ms dlv)
Domain has had 2 consecutive connection failures
Queue:
        Active:         41
        Delayed:         6
Deliveries:      3901
Failures:         17
Active Connections: 1
[ 1] FD:     58  IP:       192.0.2.21  State: after RCPT TO (33.02ms)
";
        assert_eq!(report().text(), golden);
        assert_eq!(report().json()["route"]["mx"][0]["addresses"][1]["next"], true);
    }

    #[test]
    fn a_domain_without_mx_says_where_its_mail_goes() {
        let unresolved = DomainReport { domain: "a.example".into(), ..Default::default() };
        assert!(unresolved.text().starts_with("Domain 'a.example' has not been resolved\nQueue:\n"));
        let route = DomainRoute::Described("is routed to gateway [192.0.2.1]:25".into());
        let text = DomainReport { domain: "a.example".into(), route, ..Default::default() }.text();
        assert!(text.starts_with("Domain 'a.example' is routed to gateway [192.0.2.1]:25\n"));
    }

    fn counts(domain: &str) -> DomainCounts {
        DomainCounts { domain: domain.into(), connections: 4, active: 52, delayed: 8, delivered: 731 }
    }

    #[test]
    fn active_and_delayed_list_in_columns() {
        let total = DomainCounts { connections: 12, active: 301, delayed: 77, delivered: 5120, ..Default::default() };
        let list = DomainList { kind: ListKind::Threshold, rows: vec![counts("shop.example")], total };
        let golden = "\
Domain:                   shop.example  C:  4  A:     52  D:     8  S:   731
                                Total:  C: 12  A:    301  D:    77  S:  5120
";
        assert_eq!(list.text(), golden);
        assert_eq!(list.json()["domains"][0]["domain"], "shop.example");
        assert_eq!(list.json()["total"].get("domain"), None);
    }

    #[test]
    fn domain_all_has_a_heading_and_totals() {
        let list = DomainList { kind: ListKind::All, rows: vec![counts("a.example")], total: counts("") };
        let golden = "\
Domain summary:
Domain:                      a.example  C:  4  A:     52  D:     8  S:   731
Totals: C: 4 A: 52 D: 8 S: 731
";
        assert_eq!(list.text(), golden);
    }
}
