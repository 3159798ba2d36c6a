//! Which recipient domains wait in the queue of a gateway.

use serde_json::{Value, json};

/// Recipient domains with their messages, most first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientDomains {
    /// The domain, and how many messages of it were seen.
    pub counts: Vec<(String, u64)>,
    /// There are more messages than were looked at.
    pub is_partial: bool,
}

impl RecipientDomains {
    /// `a.example 3, b.example 1`, with the first few domains.
    pub fn sentence(&self) -> String {
        let named: Vec<String> =
            self.counts.iter().take(NAMED).map(|(domain, count)| format!("{domain} {count}")).collect();
        let more = match self.counts.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more domains"),
        };
        let seen: u64 = self.counts.iter().map(|(_, count)| count).sum();
        let partial = if self.is_partial { format!(" (of the first {seen} messages)") } else { String::new() };
        format!("{}{more}{partial}", named.join(", "))
    }

    /// As a JSON object.
    pub fn json(&self) -> Value {
        let domain = |(domain, count): &(String, u64)| json!({ "domain": domain, "messages": count });
        json!({ "domains": self.counts.iter().map(domain).collect::<Value>(), "partial": self.is_partial })
    }
}

/// Domains that a sentence names.
const NAMED: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_a_few_and_counts_the_rest() {
        let counts: Vec<(String, u64)> = (0..10).map(|number| (format!("d{number}.test"), 10 - number)).collect();
        let two = RecipientDomains { counts: counts[..2].to_vec(), is_partial: false };
        assert_eq!(two.sentence(), "d0.test 10, d1.test 9");
        let all = RecipientDomains { counts, is_partial: true }.sentence();
        assert!(all.ends_with("d7.test 3 and 2 more domains (of the first 55 messages)"), "{all}");
    }
}
