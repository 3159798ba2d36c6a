//! Answers of the commands over many messages: `flush domain`, `fail domain`, `fail all`, `delay`, `reroute queue`, and what they
//! would do. The first line is the documented one; what else happened follows, a sentence a line.

use serde_json::{Value, json};

use super::waiting::Waiting;
use super::{Shape, line};

/// What a command over many messages was about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The binding; none for all.
    pub binding: Option<String>,
    /// The domain; none for all.
    pub domain: Option<String>,
    /// A queue is known there. One without mail is forgotten after a while.
    pub is_known: bool,
    /// Where mail of the domain waits instead, if it has a gateway.
    pub gateway: Option<String>,
}

impl Scope {
    fn what(&self) -> &str {
        self.domain.as_deref().unwrap_or(ALL)
    }

    /// Why there was nothing to do, for a domain that no queue is known of.
    fn tell_unknown(&self, text: &mut String) {
        let Some(domain) = self.domain.as_ref().filter(|_| !self.is_known) else { return };
        let under = self.binding.as_ref().map(|binding| format!(" under binding {binding}")).unwrap_or_default();
        line!(text, "No queue is known for {domain}{under}: no mail waits there.");
        if let Some(gateway) = &self.gateway {
            line!(text, "Mail for {domain} has the gateway {gateway}, and waits under that name.");
        }
    }

    fn json(&self, mut members: Value) -> Value {
        members["binding"] = json!(self.binding);
        members["domain"] = json!(self.domain);
        members["known"] = json!(self.is_known);
        members["gateway"] = json!(self.gateway);
        members
    }
}

/// `flush domain`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushReply {
    /// What it was about.
    pub scope: Scope,
    /// Messages whose next attempt is now, and was not before.
    pub requeued: u64,
    /// Messages that were due already.
    pub due_already: u64,
    /// Of those, messages that had been held back for hosts or a DNS that failed, and are tried now.
    pub released: u64,
    /// Messages in an attempt.
    pub in_flight: u64,
    /// What still holds mail that is due, and how many messages.
    pub held: Vec<(Waiting, u64)>,
}

impl Shape for FlushReply {
    fn text(&self) -> String {
        let mut text = format!("{} flushed.  {} messages requeued.\n", self.scope.what(), self.requeued);
        if self.due_already != 0 {
            line!(text, "{} messages were due already.", self.due_already);
        }
        if self.released != 0 {
            line!(text, "{} of them were held back for hosts or a DNS that failed, and are tried now.", self.released);
        }
        in_flight(&mut text, self.in_flight, "will have its own outcome");
        for (waiting, messages) in &self.held {
            line!(text, "{messages} messages are still held: {}", waiting.here());
        }
        self.scope.tell_unknown(&mut text);
        text
    }

    fn json(&self) -> Value {
        let held = |(waiting, messages): &(Waiting, u64)| json!({ "messages": messages, "waiting": waiting.json() });
        self.scope.json(json!({
            "requeued": self.requeued,
            "due_already": self.due_already,
            "released": self.released,
            "in_flight": self.in_flight,
            "held": self.held.iter().map(held).collect::<Value>(),
        }))
    }
}

fn in_flight(text: &mut String, messages: u64, outcome: &str) {
    match messages {
        0 => {}
        1 => line!(text, "1 message is in an attempt, and {outcome}."),
        many => line!(text, "{many} messages are in an attempt, and each {outcome}."),
    }
}

/// `fail domain`, `binding fail domain` and `fail all`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailReply {
    /// What it was about.
    pub scope: Scope,
    /// Messages that fail.
    pub failed: u64,
    /// Messages in an attempt, which it left alone.
    pub in_flight: u64,
}

impl Shape for FailReply {
    fn text(&self) -> String {
        // Of all domains of one binding there are two blanks, as documented.
        let gap = if self.scope.binding.is_some() && self.scope.domain.is_none() { "  " } else { " " };
        let mut text = format!("{} purged.{gap}{} messages failed.\n", self.scope.what(), self.failed);
        in_flight(&mut text, self.in_flight, "will have its own outcome");
        self.scope.tell_unknown(&mut text);
        text
    }

    fn json(&self) -> Value {
        self.scope.json(json!({ "failed": self.failed, "in_flight": self.in_flight }))
    }
}

/// `delay`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DelayReply {
    /// What it was about.
    pub scope: Scope,
    /// Messages that wait now.
    pub delayed: u64,
    /// Messages that waited already, and do so until the time they had.
    pub delayed_already: u64,
    /// Messages in an attempt, which it left alone.
    pub in_flight: u64,
}

impl Shape for DelayReply {
    fn text(&self) -> String {
        let mut text = match (self.delayed, &self.scope.domain) {
            (0, _) if self.delayed_already + self.in_flight != 0 => "Delayed 0 messages.\n".to_owned(),
            (0, Some(domain)) => format!("No messages for {domain} found.\n"),
            (0, None) => "No messages found.\n".to_owned(),
            (delayed, _) => format!("Delayed {delayed} messages.\n"),
        };
        if self.delayed_already != 0 {
            line!(text, "{} messages are delayed already and keep their time.", self.delayed_already);
        }
        in_flight(&mut text, self.in_flight, "will have its own outcome");
        self.scope.tell_unknown(&mut text);
        text
    }

    fn json(&self) -> Value {
        self.scope.json(
            json!({ "delayed": self.delayed, "delayed_already": self.delayed_already, "in_flight": self.in_flight }),
        )
    }
}

/// `reroute queue`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RerouteReply {
    /// Where they were.
    pub scope: Scope,
    /// Where they are.
    pub to: String,
    /// Messages that moved.
    pub moved: u64,
    /// Messages that are there already: that domain's queue, or its gateway's, is theirs.
    pub there_already: u64,
    /// Messages in an attempt, which it left alone.
    pub in_flight: u64,
}

impl Shape for RerouteReply {
    fn text(&self) -> String {
        let from = self.scope.domain.as_deref().unwrap_or("all");
        let mut text = format!("Moved {} messages from '{from}' to '{}'\n", self.moved, self.to);
        if self.there_already != 0 {
            line!(
                text,
                "{} messages are in the queue of '{}' already and stay as they are.",
                self.there_already,
                self.to
            );
        }
        if self.moved != 0 {
            line!(text, "They stay there until the daemon starts again, or a gateway or a binding changes.");
        }
        in_flight(&mut text, self.in_flight, "will have its own outcome");
        self.scope.tell_unknown(&mut text);
        text
    }

    fn json(&self) -> Value {
        self.scope.json(json!({ "to": self.to, "moved": self.moved, "there_already": self.there_already, "in_flight": self.in_flight }))
    }
}

/// What a command with `--dry-run` would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DryRun {
    /// What it is about.
    pub scope: Scope,
    /// The participle: `failed`, `moved`, `delayed`.
    pub done: &'static str,
    /// Where messages would go, if they would move.
    pub to: Option<String>,
    /// The first of them.
    pub messages: Vec<DryRunRow>,
    /// All of them.
    pub total: u64,
}

/// One message that a command would touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DryRunRow {
    /// Its id.
    pub id: String,
    /// The routing domain it waits for.
    pub domain: String,
    /// The reverse-path without brackets.
    pub reverse_path: String,
    /// The forward-path without brackets.
    pub forward_path: String,
}

impl Shape for DryRun {
    fn text(&self) -> String {
        let mut text = String::new();
        for DryRunRow { id, domain, reverse_path, forward_path } in &self.messages {
            line!(text, "  {id}  domain={domain} from={reverse_path} to={forward_path}");
        }
        let whole = if self.to.is_some() { "all" } else { "all domains" };
        let what = self.scope.domain.as_deref().unwrap_or(whole);
        let towards = self.to.as_ref().map(|to| format!(" -> {to}")).unwrap_or_default();
        let shown = self.messages.len() as u64;
        let more = match self.total.saturating_sub(shown) {
            0 => String::new(),
            more => format!(" (Showing first {shown}; {more} more not listed.)"),
        };
        line!(text, "[dry-run] {what}{towards}: {} messages would be {}.{more}", self.total, self.done);
        self.scope.tell_unknown(&mut text);
        text
    }

    fn json(&self) -> Value {
        let row = |row: &DryRunRow| json!({ "id": row.id, "domain": row.domain, "from": row.reverse_path, "to": row.forward_path });
        let listed: Value = self.messages.iter().map(row).collect();
        self.scope.json(json!({
            "dry_run": true,
            "to": self.to,
            format!("would_be_{}", self.done): self.total,
            "messages": listed,
            "not_listed": self.total.saturating_sub(self.messages.len() as u64),
        }))
    }
}

const ALL: &str = "All domains";

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(domain: Option<&str>) -> Scope {
        Scope { domain: domain.map(str::to_owned), is_known: true, ..Scope::default() }
    }

    #[test]
    fn what_stays_as_it_is_is_told() {
        let delay = DelayReply { scope: scope(Some("shop.example")), delayed_already: 3, ..Default::default() };
        let told = "Delayed 0 messages.\n3 messages are delayed already and keep their time.\n";
        assert!(delay.text().starts_with(told), "{}", delay.text());
        let moved = RerouteReply { scope: scope(None), to: "x.test".into(), there_already: 42, ..Default::default() };
        let told = "Moved 0 messages from 'all' to 'x.test'\n42 messages are in the queue of 'x.test' already and stay as they are.\n";
        assert!(moved.text().starts_with(told), "{}", moved.text());
    }

    #[test]
    fn flush_counts_what_it_did_and_tells_what_is_still_held() {
        let one = FlushReply { scope: scope(Some("shop.example")), requeued: 58, ..Default::default() };
        assert_eq!(one.text(), "shop.example flushed.  58 messages requeued.\n");
        let waiting = Waiting { text: "suspended".into(), is_held: true, ..Default::default() };
        let all = FlushReply {
            scope: scope(None),
            due_already: 100_000,
            released: 90_000,
            in_flight: 2,
            held: vec![(waiting, 7)],
            ..Default::default()
        };
        assert_eq!(
            all.text(),
            "All domains flushed.  0 messages requeued.\n\
             100000 messages were due already.\n\
             90000 of them were held back for hosts or a DNS that failed, and are tried now.\n\
             2 messages are in an attempt, and each will have its own outcome.\n\
             7 messages are still held: suspended\n"
        );
        assert_eq!((&all.json()["released"], &all.json()["held"][0]["messages"]), (&90_000.into(), &7.into()));
    }

    #[test]
    fn fail_counts_what_fails_and_what_it_cannot_reach() {
        let reply = FailReply { scope: scope(Some("shop.example")), failed: 3, in_flight: 0 };
        assert_eq!(reply.text(), "shop.example purged. 3 messages failed.\n");
        let reply = FailReply { scope: scope(Some("shop.example")), failed: 0, in_flight: 1 };
        assert!(reply.text().ends_with("\n1 message is in an attempt, and will have its own outcome.\n"));
        assert_eq!((&reply.json()["failed"], &reply.json()["in_flight"]), (&0.into(), &1.into()));
    }

    #[test]
    fn a_name_without_a_queue_is_told_from_one_without_mail() {
        let unknown = Scope { is_known: false, gateway: Some("mx.example".into()), ..scope(Some("shop.example")) };
        let said = "No queue is known for shop.example: no mail waits there.\n\
                    Mail for shop.example has the gateway mx.example, and waits under that name.\n";
        let fail = FailReply { scope: unknown.clone(), ..Default::default() };
        assert_eq!(fail.text(), format!("shop.example purged. 0 messages failed.\n{said}"));
        let flush = FlushReply { scope: unknown.clone(), ..Default::default() };
        assert_eq!(flush.text(), format!("shop.example flushed.  0 messages requeued.\n{said}"));
        assert_eq!(flush.json()["known"], false);
        assert!(
            DelayReply { scope: unknown, ..Default::default() }
                .text()
                .starts_with("No messages for shop.example found.\n")
        );
    }

    #[test]
    fn a_dry_run_lists_the_first_and_counts_the_others() {
        let row = DryRunRow {
            id: "71/A0-03127-08B31BA6".into(),
            domain: "shop.example".into(),
            reverse_path: "news@sender.example".into(),
            forward_path: "ann@shop.example".into(),
        };
        let run =
            DryRun { scope: scope(Some("shop.example")), done: "failed", messages: vec![row], total: 3, to: None };
        assert_eq!(
            run.text(),
            "  71/A0-03127-08B31BA6  domain=shop.example from=news@sender.example to=ann@shop.example\n\
             [dry-run] shop.example: 3 messages would be failed. (Showing first 1; 2 more not listed.)\n"
        );
        assert_eq!((&run.json()["would_be_failed"], &run.json()["not_listed"]), (&3.into(), &2.into()));
        let moved = DryRun { scope: scope(None), done: "moved", to: Some("b.example".into()), ..Default::default() };
        assert_eq!(moved.text(), "[dry-run] all -> b.example: 0 messages would be moved.\n");
        assert_eq!(DryRun { done: "failed", ..moved }.json()["to"], "b.example");
    }

    #[test]
    fn delay_and_reroute_have_their_documented_lines() {
        let delay = DelayReply { scope: scope(Some("a.example")), delayed: 7, ..Default::default() };
        assert_eq!(delay.text(), "Delayed 7 messages.\n");
        let reroute =
            RerouteReply { scope: scope(Some("a.example")), to: "b.example".into(), moved: 12, ..Default::default() };
        assert!(reroute.text().starts_with("Moved 12 messages from 'a.example' to 'b.example'\n"));
    }
}
