//! What holds mail, as `domain`, `message details`, `mailq`, `showqueue` and `binding summary` show it.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

/// What holds a message, a queue or a binding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// A word for programs: `suspended`, `throttled`, `dns`.
    pub kind: String,
    /// A sentence for people, without times.
    pub text: String,
    /// Since when, in seconds since 1970, where that is known.
    pub since_unix: Option<u64>,
    /// Until when, in seconds since 1970, where that is known.
    pub until_unix: Option<u64>,
    /// It is not merely the mail's turn that is waited for.
    pub is_held: bool,
}

impl Waiting {
    /// The sentence with its times, in a given zone.
    pub fn sentence(&self, zone: &TimeZone) -> String {
        let at = |word: &str, unix: Option<u64>| {
            unix.map(|unix| format!(" {word} {}", local_time(unix, zone))).unwrap_or_default()
        };
        let times = format!("{}{}", at("since", self.since_unix), at("until", self.until_unix));
        if times.is_empty() { self.text.clone() } else { format!("{} ({})", self.text, times.trim_start()) }
    }

    /// Whether the sentence says more than the state and the last reply that stand beside it: of mail that is merely delayed it
    /// does not, and its line is what scripts know.
    pub(super) fn says_more(&self) -> bool {
        self.kind != "delayed"
    }

    /// The sentence in the system's zone.
    pub fn here(&self) -> String {
        self.sentence(&TimeZone::system())
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "kind": self.kind,
            "text": self.text,
            "since": self.since_unix,
            "until": self.until_unix,
            "held": self.is_held,
        })
    }
}

/// A time as people read it.
pub(super) fn local_time(unix: u64, zone: &TimeZone) -> String {
    let stamp = i64::try_from(unix).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    match stamp {
        Some(stamp) => stamp.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => unix.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_ends_with_the_times_that_are_known() {
        let waiting = |since_unix, until_unix| Waiting {
            kind: "dns".into(),
            text: "the DNS gave no host".into(),
            since_unix,
            until_unix,
            is_held: true,
        };
        for (since, until, sentence) in [
            (None, None, "the DNS gave no host"),
            (None, Some(60), "the DNS gave no host (until 1970-01-01 00:01:00)"),
            (Some(0), Some(60), "the DNS gave no host (since 1970-01-01 00:00:00 until 1970-01-01 00:01:00)"),
        ] {
            assert_eq!(waiting(since, until).sentence(&TimeZone::UTC), sentence);
        }
        assert_eq!(waiting(Some(0), None).json()["since"], 0);
    }
}
