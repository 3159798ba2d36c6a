//! Answers of the bulk commands: `flush domain`, `fail domain` and their binding and quiet forms, and dry runs.

use serde_json::{Value, json};

use super::{Shape, line};

/// `flush domain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushReply {
    /// The domain; none for `all`.
    pub domain: Option<String>,
    /// Messages whose next attempt is now.
    pub requeued: u64,
}

impl Shape for FlushReply {
    fn text(&self) -> String {
        let what = self.domain.as_deref().unwrap_or(ALL);
        format!("{what} flushed.  {} messages requeued.\n", self.requeued)
    }

    fn json(&self) -> Value {
        json!({ "domain": self.domain, "requeued": self.requeued })
    }
}

/// `fail domain`, `fail all`, `binding fail domain`, and their quiet forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailReply {
    /// The binding, when only one was purged.
    pub binding: Option<String>,
    /// The domain; none for `all`.
    pub domain: Option<String>,
    /// Messages that failed.
    pub failed: u64,
}

impl Shape for FailReply {
    fn text(&self) -> String {
        let what = self.domain.as_deref().unwrap_or(ALL);
        // The form for all domains of one binding is documented with two blanks.
        let gap = if self.binding.is_some() && self.domain.is_none() { "  " } else { " " };
        format!("{what} purged.{gap}{} messages failed.\n", self.failed)
    }

    fn json(&self) -> Value {
        json!({ "binding": self.binding, "domain": self.domain, "failed": self.failed })
    }
}

/// What a bulk command would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DryRun {
    /// The domain, `all domains`, or `SRC -> DST`.
    pub scope: String,
    /// What would happen: `failed`, `moved`.
    pub verb: &'static str,
    /// All messages that match.
    pub total: u64,
    /// The first of them; at most [`DryRun::ROWS_MAX`] are shown.
    pub rows: Vec<DryRunRow>,
}

/// One message a bulk command would touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DryRunRow {
    /// Its id.
    pub id: String,
    /// Its routing domain.
    pub domain: String,
    /// The reverse-path without brackets.
    pub reverse_path: String,
    /// The forward-path without brackets.
    pub forward_path: String,
}

impl DryRun {
    /// How many matches are listed.
    pub const ROWS_MAX: usize = 25;
}

impl Shape for DryRun {
    fn text(&self) -> String {
        let mut text = String::new();
        let shown = self.rows.len().min(Self::ROWS_MAX);
        for row in &self.rows[..shown] {
            let DryRunRow { id, domain, reverse_path, forward_path } = row;
            line!(text, "  {id}  domain={domain} from={reverse_path} to={forward_path}");
        }
        let Self { scope, verb, total, .. } = self;
        let more = total.saturating_sub(shown as u64);
        let note = if 0 < more { format!(" (Showing first {shown}; {more} more not listed.)") } else { String::new() };
        line!(text, "[dry-run] {scope}: {total} messages would be {verb}.{note}");
        text
    }

    /// Rows are left out: a program asks for the count (reference: the lines are dropped in machine-readable modes).
    fn json(&self) -> Value {
        json!({ "dry_run": true, "scope": self.scope, "would_be": self.verb, "count": self.total })
    }
}

const ALL: &str = "All domains";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flush_names_the_domain_and_counts() {
        let one = FlushReply { domain: Some("shop.example".into()), requeued: 58 };
        assert_eq!(one.text(), "shop.example flushed.  58 messages requeued.\n");
        assert_eq!(FlushReply { domain: None, requeued: 0 }.text(), "All domains flushed.  0 messages requeued.\n");
    }

    #[test]
    fn fail_names_the_domain_and_counts() {
        let mut reply = FailReply { binding: None, domain: Some("shop.example".into()), failed: 3 };
        assert_eq!(reply.text(), "shop.example purged. 3 messages failed.\n");
        reply.domain = None;
        assert_eq!(reply.text(), "All domains purged. 3 messages failed.\n");
        reply.binding = Some("out1".into());
        assert_eq!(reply.text(), "All domains purged.  3 messages failed.\n");
        assert_eq!(reply.json(), json!({ "binding": "out1", "domain": null, "failed": 3 }));
    }

    #[test]
    fn a_dry_run_lists_at_most_25() {
        let row = DryRunRow {
            id: "44/B0-01207-09B31BA6".into(),
            domain: "d.example".into(),
            reverse_path: "a@b.example".into(),
            forward_path: "c@d.example".into(),
        };
        let few = DryRun { scope: "d.example".into(), verb: "failed", total: 1, rows: vec![row.clone()] };
        assert_eq!(
            few.text(),
            "  44/B0-01207-09B31BA6  domain=d.example from=a@b.example to=c@d.example\n\
             [dry-run] d.example: 1 messages would be failed.\n"
        );
        let many = DryRun { scope: "all domains".into(), verb: "failed", total: 40, rows: vec![row; 30] };
        let text = many.text();
        assert_eq!(text.lines().count(), 26);
        assert!(text.ends_with(
            "[dry-run] all domains: 40 messages would be failed. (Showing first 25; 15 more not listed.)\n"
        ));
    }
}
