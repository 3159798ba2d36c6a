//! `mailq` (sizes of queues) and `showqueue` (their messages).

use serde_json::{Value, json};

use super::recipient_domains::RecipientDomains;
use super::waiting::Waiting;
use super::{Shape, line};

/// `mailq`: rows as they shall be shown, biggest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailq {
    /// The rows.
    pub rows: Vec<MailqRow>,
}

/// One (binding, domain) queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailqRow {
    /// The binding group; empty for a binding without one.
    pub group: String,
    /// The binding.
    pub binding: String,
    /// The routing domain.
    pub domain: String,
    /// Messages due now.
    pub active: u64,
    /// Messages that wait.
    pub delayed: u64,
    /// Messages put into the queue.
    pub receptions: u64,
    /// Permanent failures.
    pub permanent_failures: u64,
    /// Failed attempts that will be repeated.
    pub transient_failures: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// What holds its active mail, or all of it.
    pub waiting: Option<Waiting>,
    /// Whose mail it is, if the queue is a gateway's.
    pub recipient_domains: Option<RecipientDomains>,
}

impl Shape for Mailq {
    fn text(&self) -> String {
        let mut text = String::new();
        line!(text, "{}{:>8}{:>8}", names("Group/Binding", "Domain"), "AQ", "DQ");
        line!(text, "{}", "-".repeat(NAME_COLUMNS + 16));
        for row in &self.rows {
            let owner =
                if row.group.is_empty() { row.binding.clone() } else { format!("{}/{}", row.group, row.binding) };
            let held = row.waiting.as_ref().filter(|waiting| waiting.is_held && waiting.says_more());
            let held = held.map(|waiting| format!("  {}", waiting.here())).unwrap_or_default();
            let domains = row.recipient_domains.as_ref().map(|domains| format!("  for {}", domains.sentence()));
            let domains = domains.unwrap_or_default();
            line!(text, "{}{:>8}{:>8}{held}{domains}", names(&owner, &row.domain), row.active, row.delayed);
        }
        text
    }

    fn json(&self) -> Value {
        let row = |row: &MailqRow| {
            json!({
                "group": row.group,
                "binding": row.binding,
                "domain": row.domain,
                "aq": row.active,
                "dq": row.delayed,
                "receptions": row.receptions,
                "permfails": row.permanent_failures,
                "transfails": row.transient_failures,
                "deliveries": row.deliveries,
                "waiting": row.waiting.as_ref().map(Waiting::json),
                "recipient_domains": row.recipient_domains.as_ref().map(RecipientDomains::json),
            })
        };
        json!({ "QueueSummary": self.rows.iter().map(row).collect::<Value>() })
    }
}

/// Two names that share [`NAME_COLUMNS`], one from each side; long ones push the rest of the line.
fn names(left: &str, right: &str) -> String {
    let width = NAME_COLUMNS.saturating_sub(left.chars().count() + 1);
    format!("{left} {right:>width$}")
}

const NAME_COLUMNS: usize = 58;

/// `showqueue`: the messages of one domain in the asked-for window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueListing {
    /// The messages.
    pub rows: Vec<QueueRow>,
    /// Messages before the window.
    pub offset: u64,
    /// Messages of all chosen queues.
    pub total: u64,
}

/// One queued message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueRow {
    /// `active` or `delayed`.
    pub queue: String,
    /// Its binding.
    pub binding: String,
    /// Its id.
    pub id: String,
    /// When it was received, in seconds since 1970.
    pub created_unix: u64,
    /// The reverse-path without brackets.
    pub reverse_path: String,
    /// The forward-path without brackets.
    pub forward_path: String,
    /// What holds it.
    pub waiting: Option<Waiting>,
}

impl Shape for QueueListing {
    fn text(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            line!(text, "[{}/{}] {} Created: {}", row.queue, row.binding, row.id, row.created_unix);
            let held = row.waiting.as_ref().filter(|waiting| waiting.is_held && waiting.says_more());
            let held = held.map(|waiting| format!("  {}", waiting.here())).unwrap_or_default();
            line!(text, "  From: <{}> To: <{}>{held}", row.reverse_path, row.forward_path);
        }
        match self.not_listed() {
            0 => {}
            more => line!(text, "({more} more are not listed; {},{} shows the next.)", self.rows.len(), self.next()),
        }
        text
    }

    fn json(&self) -> Value {
        let row = |row: &QueueRow| {
            json!({
                "queue": row.queue,
                "binding": row.binding,
                "id": row.id,
                "created": row.created_unix,
                "from": row.reverse_path,
                "to": row.forward_path,
                "waiting": row.waiting.as_ref().map(Waiting::json),
            })
        };
        json!({
            "messages": self.rows.iter().map(row).collect::<Value>(),
            "offset": self.offset,
            "total": self.total,
            "not_listed": self.not_listed(),
        })
    }
}

impl QueueListing {
    /// The offset of the next window.
    fn next(&self) -> u64 {
        self.offset + self.rows.len() as u64
    }

    /// Messages behind the window; none are told of an empty one.
    fn not_listed(&self) -> u64 {
        if self.rows.is_empty() { 0 } else { self.total.saturating_sub(self.next()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailq_aligns_names_left_and_right_and_sizes_in_eight_columns() {
        let row = MailqRow {
            group: "bulk".into(),
            binding: "out7".into(),
            domain: "shop.example".into(),
            active: 12,
            delayed: 3,
            ..Default::default()
        };
        let alone = MailqRow { group: String::new(), binding: "default".into(), domain: "x".repeat(60), ..row.clone() };
        let mailq = Mailq { rows: vec![row.clone(), alone] };
        let golden = format!(
            "\
Group/Binding                                       Domain      AQ      DQ
--------------------------------------------------------------------------
bulk/out7                                     shop.example      12       3
default {}      12       3
",
            "x".repeat(60)
        );
        assert_eq!(mailq.text(), golden);
        assert_eq!(mailq.json()["QueueSummary"][0]["aq"], 12);
        assert_eq!(mailq.json()["QueueSummary"][0].as_object().unwrap().len(), 11);
        let waiting = Waiting { text: "suspended".into(), is_held: true, ..Default::default() };
        let held = Mailq { rows: vec![MailqRow { waiting: Some(waiting), ..row }] }.text();
        assert!(held.ends_with("      12       3  suspended\n"), "{held}");
    }

    #[test]
    fn showqueue_takes_two_lines_a_message() {
        let row = QueueRow {
            queue: "delayed".into(),
            binding: "out7".into(),
            id: "44/B0-01207-09B31BA6".into(),
            created_unix: 1_780_000_123,
            reverse_path: String::new(),
            forward_path: "bob@shop.example".into(),
            waiting: None,
        };
        let listing = QueueListing { rows: vec![row], offset: 0, total: 1 };
        assert_eq!(
            listing.text(),
            "[delayed/out7] 44/B0-01207-09B31BA6 Created: 1780000123\n  From: <> To: <bob@shop.example>\n"
        );
        assert_eq!(listing.json()["messages"][0]["to"], "bob@shop.example");
        let window = QueueListing { offset: 10, total: 14, ..listing };
        assert!(window.text().ends_with("\n(3 more are not listed; 1,11 shows the next.)\n"), "{}", window.text());
        assert_eq!(window.json()["not_listed"], 3);
    }

    #[test]
    fn whatever_a_name_holds_a_row_stays_one_line() {
        let row = MailqRow { binding: "a\nb\u{85}c\u{2028}d\u{1b}[2J".into(), ..Default::default() };
        let text = Mailq { rows: vec![row] }.text();
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("a b c d [2J"), "{text}");
    }
}
