//! `binding summary`: the counters of one binding, of the members of a group, and of the group.

use serde_json::{Value, json};

use super::waiting::Waiting;
use super::{Shape, line};

/// Counters of one binding, or the sum of a group's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BindingTotals {
    /// Name of the binding; of the group in a group total.
    pub name: String,
    /// Open delivery connections.
    pub open_connections: u64,
    /// Messages due now.
    pub active_queue_size: u64,
    /// All messages.
    pub total_queue_size: u64,
    /// Deliveries.
    pub delivered_messages: u64,
    /// Permanent failures.
    pub failed_messages: u64,
    /// Messages that were given this binding.
    pub received_messages: u64,
    /// Messages whose body is in memory.
    pub resident_messages: u64,
    /// Deliveries and permanent failures per second.
    pub delivery_rate: f64,
    /// Messages given this binding per second.
    pub reception_rate: f64,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// What holds all of its mail: `suspend_delivery = true (binding "out1")`.
    pub held: Option<String>,
    /// Throttles and shared limits set for it.
    pub limits: Vec<String>,
    /// What holds queues of it, and how many.
    pub waiting: Vec<(Waiting, u64)>,
}

/// What `binding summary` was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum BindingSummary {
    /// Bindings one after the other.
    Bindings(Vec<BindingTotals>),
    /// `group:NAME`.
    Group {
        /// The members.
        members: Vec<BindingTotals>,
        /// Their sum, under the group's name.
        total: BindingTotals,
    },
}

impl Shape for BindingSummary {
    fn text(&self) -> String {
        let mut text = String::new();
        match self {
            Self::Bindings(bindings) => {
                for binding in bindings {
                    binding.block(&mut text, &format!("For Binding {}", binding.name), "Resident Messages");
                }
            }
            Self::Group { members, total } => {
                for member in members {
                    let heading = format!("For Binding {} in Binding Group {}", member.name, total.name);
                    member.block(&mut text, &heading, "Resident Messages");
                }
                line!(text, "{}", "*".repeat(RULER_COLUMNS));
                total.block(&mut text, &format!("For Binding Group {}", total.name), "Incore Messages");
            }
        }
        text
    }

    fn json(&self) -> Value {
        match self {
            Self::Bindings(bindings) => {
                json!({ "bindings": bindings.iter().map(BindingTotals::json).collect::<Value>() })
            }
            Self::Group { members, total } => {
                json!({ "bindings": members.iter().map(BindingTotals::json).collect::<Value>(), "group": total.json() })
            }
        }
    }
}

impl BindingTotals {
    fn block(&self, text: &mut String, heading: &str, resident: &str) {
        line!(text, "Summary Statistics {heading}");
        for (label, count) in [
            ("Open Connections", self.open_connections),
            ("Active Queue Size", self.active_queue_size),
            ("Total Queue Size", self.total_queue_size),
            ("Successfully Delivered Messages", self.delivered_messages),
            ("Failed Messages", self.failed_messages),
            ("Received Messages", self.received_messages),
            (resident, self.resident_messages),
        ] {
            line!(text, "        {label}: {count:>7}");
        }
        line!(text, "        Delivery Rate: {:>6.2} messages/second", self.delivery_rate);
        line!(text, "        Reception Rate: {:>6.2} messages/second", self.reception_rate);
        line!(text, "        Uptime: {:>6} seconds", self.uptime_seconds);
        if let Some(held) = &self.held {
            line!(text, "        Held: {held}");
        }
        for limit in &self.limits {
            line!(text, "        Limit: {limit}");
        }
        for (waiting, queues) in &self.waiting {
            line!(text, "        Waiting Queues: {queues:>7}, such as: {}", waiting.here());
        }
    }

    fn json(&self) -> Value {
        json!({
            "Name": self.name,
            "OpenConnections": self.open_connections,
            "ActiveQueueSize": self.active_queue_size,
            "TotalQueueSize": self.total_queue_size,
            "DeliveredMessages": self.delivered_messages,
            "FailedMessages": self.failed_messages,
            "ReceivedMessages": self.received_messages,
            "ResidentMessages": self.resident_messages,
            "DeliveryRate": self.delivery_rate,
            "ReceptionRate": self.reception_rate,
            "Uptime": self.uptime_seconds,
            "Held": self.held,
            "Limits": self.limits,
            "Waiting": self.waiting.iter().map(counted).collect::<Value>(),
        })
    }
}

fn counted((waiting, queues): &(Waiting, u64)) -> Value {
    let mut json = waiting.json();
    json["queues"] = (*queues).into();
    json
}

const RULER_COLUMNS: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(name: &str) -> BindingTotals {
        BindingTotals {
            name: name.into(),
            open_connections: 2,
            total_queue_size: 31,
            delivery_rate: 1.5,
            ..Default::default()
        }
    }

    #[test]
    fn one_binding() {
        let golden = "Summary Statistics For Binding out1
        Open Connections:       2
        Active Queue Size:       0
        Total Queue Size:      31
        Successfully Delivered Messages:       0
        Failed Messages:       0
        Received Messages:       0
        Resident Messages:       0
        Delivery Rate:   1.50 messages/second
        Reception Rate:   0.00 messages/second
        Uptime:      0 seconds
";
        assert_eq!(BindingSummary::Bindings(vec![totals("out1")]).text(), golden);
    }

    #[test]
    fn a_group_lists_its_members_then_the_total() {
        let group = BindingSummary::Group { members: vec![totals("a"), totals("b")], total: totals("bulk") };
        let text = group.text();
        let headings: Vec<_> = text.lines().filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(headings[0], "Summary Statistics For Binding a in Binding Group bulk");
        assert!(headings[2].chars().all(|c| c == '*'));
        assert_eq!(headings[3], "Summary Statistics For Binding Group bulk");
        assert!(text.contains("        Incore Messages:       0\n"));
        assert_eq!(group.json()["group"]["Name"], "bulk");
    }
}
