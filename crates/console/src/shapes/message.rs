//! `message details`: one message as its envelope and its body.

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::waiting::{Waiting, local_time};
use super::{Shape, line};

/// Which part `message details` was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DetailsPart {
    /// `message details MID`.
    #[default]
    Metadata,
    /// `message details full MID`: metadata, then the message.
    Full,
    /// `message details body MID`: the message alone.
    Body,
}

/// What is known of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageDetails {
    /// What to show.
    pub part: DetailsPart,
    /// Its id.
    pub id: String,
    /// `full message`, `bounce`.
    pub message_type: String,
    /// When it was received, in seconds since 1970.
    pub created_unix: u64,
    /// When it is tried next, in seconds since 1970; none while it is due, in a session, or held by nobody knows until when.
    pub next_attempt_unix: Option<u64>,
    /// What holds it.
    pub waiting: Option<Waiting>,
    /// Attempts that failed.
    pub retries: u64,
    /// `SMTP 192.0.2.9 (IPv4)`.
    pub received_via: String,
    /// The reverse-path without brackets.
    pub reverse_path: String,
    /// The forward-path without brackets.
    pub forward_path: String,
    /// The last reply it got, if it was tried.
    pub last_reply: Option<String>,
    /// Bytes of the message.
    pub size_bytes: u64,
    /// `active`, `delayed` or `in flight`.
    pub queue: String,
    /// Its binding.
    pub binding: String,
    /// Its routing domain.
    pub domain: String,
    /// The message, when it was asked for; bytes that are not UTF-8 replaced.
    pub message: Option<String>,
}

impl Shape for MessageDetails {
    fn text(&self) -> String {
        self.text_in(&TimeZone::system())
    }

    fn json(&self) -> Value {
        let mut json = json!({ "id": self.id });
        if self.part != DetailsPart::Body {
            for (key, value) in [
                ("type", json!(self.message_type)),
                ("created", json!(self.created_unix)),
                ("next_attempt", json!(self.next_attempt_unix)),
                ("retries", json!(self.retries)),
                ("received_via", json!(self.received_via)),
                ("sender", json!(self.reverse_path)),
                ("recipient", json!(self.forward_path)),
                ("code", json!(self.last_reply)),
                ("size", json!(self.size_bytes)),
                ("queue", json!(self.queue)),
                ("binding", json!(self.binding)),
                ("domain", json!(self.domain)),
                ("waiting", json!(self.waiting.as_ref().map(Waiting::json))),
            ] {
                json[key] = value;
            }
        }
        if let Some(message) = self.shown_message() {
            json["message"] = message.into();
        }
        json
    }
}

impl MessageDetails {
    /// The text with times of a given zone.
    pub fn text_in(&self, zone: &TimeZone) -> String {
        let mut text = String::new();
        if self.part != DetailsPart::Body {
            self.metadata(&mut text, zone);
        }
        if let Some(message) = self.shown_message() {
            if self.part == DetailsPart::Full {
                text.push('\n');
            }
            text.push_str(message);
        }
        text
    }

    fn shown_message(&self) -> Option<&str> {
        self.message.as_deref().filter(|_| self.part != DetailsPart::Metadata)
    }

    fn metadata(&self, text: &mut String, zone: &TimeZone) {
        line!(text, "Message: {}", self.id);
        line!(text, "Message Type: {}", self.message_type);
        let is_held = self.waiting.as_ref().is_some_and(|waiting| waiting.is_held);
        let no_time = || if is_held { "held" } else { "now" }.to_owned();
        let next = self.next_attempt_unix.map_or_else(no_time, |at| local_time(at, zone));
        for (label, value) in [
            ("Created", &local_time(self.created_unix, zone)),
            ("Next Attempt", &next),
            ("Retries", &self.retries.to_string()),
            ("Received Via", &self.received_via),
            ("Sender", &self.reverse_path),
            ("Recipient", &self.forward_path),
        ] {
            line!(text, "{label:>22}: {value}");
        }
        if let Some(reply) = &self.last_reply {
            line!(text, "{:>22}: {reply}", "Code");
        }
        line!(text, "{:>22}: {}", "Size", self.size_bytes);
        if let Some(waiting) = self.waiting.as_ref().filter(|waiting| waiting.says_more()) {
            line!(text, "{:>22}: {}", "Waiting", waiting.sentence(zone));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details() -> MessageDetails {
        MessageDetails {
            id: "44/B0-01207-09B31BA6".into(),
            message_type: "full message".into(),
            created_unix: 1_780_000_000,
            next_attempt_unix: Some(1_780_003_600),
            retries: 1,
            received_via: "SMTP 192.0.2.77 (IPv4)".into(),
            reverse_path: "a@b.example".into(),
            forward_path: "c@d.example".into(),
            last_reply: Some("451 4.7.1 come back later".into()),
            size_bytes: 1810,
            message: Some("Subject: hello\r\n\r\nbody\r\n".into()),
            ..Default::default()
        }
    }

    #[test]
    fn details_are_aligned_at_the_colon() {
        let golden = "\
Message: 44/B0-01207-09B31BA6
Message Type: full message
               Created: 2026-05-28 20:26:40
          Next Attempt: 2026-05-28 21:26:40
               Retries: 1
          Received Via: SMTP 192.0.2.77 (IPv4)
                Sender: a@b.example
             Recipient: c@d.example
                  Code: 451 4.7.1 come back later
                  Size: 1810
";
        assert_eq!(details().text_in(&TimeZone::UTC), golden);
        assert_eq!(details().json()["recipient"], "c@d.example");
        assert_eq!(details().json().get("message"), None);
    }

    #[test]
    fn full_adds_the_message_and_body_is_the_message() {
        let body = MessageDetails { part: DetailsPart::Body, ..details() };
        assert_eq!(body.text_in(&TimeZone::UTC), "Subject: hello\r\n\r\nbody\r\n");
        assert_eq!(body.json().get("sender"), None);
        let full = MessageDetails { part: DetailsPart::Full, ..details() };
        assert!(full.text_in(&TimeZone::UTC).ends_with("Size: 1810\n\nSubject: hello\r\n\r\nbody\r\n"));
    }

    #[test]
    fn a_message_that_was_not_tried_has_no_code_and_a_silly_time_is_a_number() {
        let new = MessageDetails { next_attempt_unix: None, last_reply: None, created_unix: u64::MAX, ..details() };
        let text = new.text_in(&TimeZone::UTC);
        assert!(text.contains("          Next Attempt: now\n"));
        assert!(!text.contains("Code:"));
        assert!(text.contains("               Created: 18446744073709551615\n"));
    }
}
