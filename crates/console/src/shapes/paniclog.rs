//! `paniclog`: the last diagnostics kept in memory.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{Shape, line};

/// `paniclog`: entries of all levels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paniclog {
    /// The entries, in any order; they are shown by time.
    pub entries: Vec<PaniclogEntry>,
}

/// One diagnostic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaniclogEntry {
    /// When, in seconds since 1970.
    pub at_unix: u64,
    /// `critical`, `serious`, …
    pub level: String,
    /// What happened.
    pub text: String,
}

impl Paniclog {
    /// The text with times of a given zone.
    pub fn text_in(&self, zone: &TimeZone) -> String {
        let mut text = String::new();
        for PaniclogEntry { at_unix, level, text: what } in self.by_time() {
            let stamp = i64::try_from(*at_unix).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
            let stamp = stamp.unwrap_or(Timestamp::MAX).to_zoned(zone.clone());
            line!(text, "[{}] [{level}] {what}", stamp.strftime("%a %d %b %Y %H:%M:%S"));
        }
        text
    }

    fn by_time(&self) -> Vec<&PaniclogEntry> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|entry| entry.at_unix);
        entries
    }
}

impl Shape for Paniclog {
    fn text(&self) -> String {
        self.text_in(&TimeZone::system())
    }

    fn json(&self) -> Value {
        let entry = |entry: &PaniclogEntry| json!({ "at": entry.at_unix, "level": entry.level, "text": entry.text });
        json!({ "entries": self.by_time().into_iter().map(entry).collect::<Value>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_shown_by_time() {
        let entry = |at_unix, level: &str| PaniclogEntry { at_unix, level: level.into(), text: "disk full".into() };
        let paniclog = Paniclog { entries: vec![entry(1_780_000_060, "serious"), entry(1_780_000_000, "critical")] };
        assert_eq!(
            paniclog.text_in(&TimeZone::UTC),
            "[Thu 28 May 2026 20:26:40] [critical] disk full\n[Thu 28 May 2026 20:27:40] [serious] disk full\n"
        );
        assert_eq!(paniclog.json()["entries"][0]["level"], "critical");
    }
}
