//! Answers of the bulk commands: `flush domain`, `fail domain`, `fail domain quiet`.

use serde_json::{Value, json};

use super::Shape;

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

/// `fail domain` and `fail domain quiet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailReply {
    /// The domain.
    pub domain: String,
    /// Messages that failed.
    pub failed: u64,
}

impl Shape for FailReply {
    fn text(&self) -> String {
        format!("{} purged. {} messages failed.\n", self.domain, self.failed)
    }

    fn json(&self) -> Value {
        json!({ "domain": self.domain, "failed": self.failed })
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
        let reply = FailReply { domain: "shop.example".into(), failed: 3 };
        assert_eq!(reply.text(), "shop.example purged. 3 messages failed.\n");
        assert_eq!(reply.json(), json!({ "domain": "shop.example", "failed": 3 }));
    }
}
