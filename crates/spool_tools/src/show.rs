//! `ec_show`: which messages an offline spool holds, chosen by id, paths and time of reception.

use message::{Date, Envelope, MessageId};
use regex::Regex;

/// Which messages.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// This one only.
    pub id: Option<MessageId>,
    /// Reverse-paths that match.
    pub sender: Option<Regex>,
    /// Forward-paths that match.
    pub recipient: Option<Regex>,
    /// Received at or after, in seconds since 1970.
    pub from: Option<u64>,
    /// Received at or before.
    pub to: Option<u64>,
}

impl Wanted {
    /// Whether it is one of them.
    pub fn takes(&self, envelope: &Envelope) -> bool {
        let matches = |wanted: &Option<Regex>, path: &str| wanted.as_ref().is_none_or(|regex| regex.is_match(path));
        let received = envelope.created.as_secs();
        self.id.is_none_or(|id| id == envelope.id)
            && matches(&self.sender, envelope.reverse_path.as_str())
            && matches(&self.recipient, envelope.forward_path.as_str())
            && self.from.is_none_or(|from| from <= received)
            && self.to.is_none_or(|to| received <= to)
    }
}

/// Seconds since 1970 of `YYYY-MM-DD`, `YYYY-MM-DD HH:MM:SS` (both UTC) or a number.
pub fn parse_date(text: &str) -> Result<u64, String> {
    let problem =
        || format!("{text:?} is no date: expected 2026-11-20, \"2026-11-20 13:45:00\" (UTC) or seconds since 1970");
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00"));
    let numbers = |text: &str, separator: char| -> Option<Vec<i64>> {
        text.split(separator).map(|number| number.parse().ok().filter(|number| 0 <= *number)).collect()
    };
    let (date, time) = (numbers(date, '-').ok_or_else(problem)?, numbers(time, ':').ok_or_else(problem)?);
    let ([year, month @ 1..=12, day @ 1..=31], [hour @ 0..=23, minute @ 0..=59, second @ 0..=60]) =
        (date.as_slice(), time.as_slice())
    else {
        return Err(problem());
    };
    // Days since 1970 of the proleptic Gregorian calendar, with years that begin in March.
    let (year, month) = if *month <= 2 { (year - 1, month + 9) } else { (*year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    u64::try_from(((days * 24 + hour) * 60 + minute) * 60 + second).map_err(|_| problem())
}

/// One line of a listing.
pub fn line(envelope: &Envelope) -> String {
    let date = Date::new(envelope.created);
    let (from, to) = (envelope.reverse_path.as_str(), envelope.forward_path.as_str());
    format!(
        "{}  {date}  retries={}  bytes={}  from=<{from}>  to=<{to}>",
        envelope.id,
        envelope.delivery.retries,
        envelope.rendered_bytes()
    )
}

/// One message in full, but for its body.
pub fn details(envelope: &Envelope) -> String {
    let delivery = &envelope.delivery;
    let mut text = format!(
        "Message: {}\nBatch: {}\nFrom: <{}>\nTo: <{}>\nReceived: {}\nBytes: {}\nBinding: {}\nDomain: {}\nRetries: {}\n",
        envelope.id,
        envelope.batch,
        envelope.reverse_path.as_str(),
        envelope.forward_path.as_str(),
        Date::new(envelope.created),
        envelope.rendered_bytes(),
        envelope.queue.binding,
        envelope.queue.domain,
        delivery.retries,
    );
    if !delivery.next_attempt.is_zero() {
        text.push_str(&format!("Next attempt: {}\n", Date::new(delivery.next_attempt)));
    }
    if let Some(reply) = &delivery.last_reply {
        text.push_str(&format!("Last reply: {reply}\n"));
    }
    if let Some(particulars) = spool::export::particulars(envelope).as_object() {
        for (name, value) in particulars {
            text.push_str(&format!("{}: {}\n", name.to_ascii_uppercase(), value.as_str().unwrap_or("yes")));
        }
    }
    if let Some(edits) = &envelope.edits {
        let places = edits.changes().len();
        text.push_str(&format!("Stored: {} octets, header section changed in {places} places\n", envelope.body_bytes));
    }
    for (name, dictionary) in [("Connection", &envelope.context.connection), ("Message", &envelope.context.message)] {
        for (key, value) in dictionary {
            text.push_str(&format!("{name} context {key}: {value}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_tell_what_few_messages_have() {
        let mut envelope =
            spool::export::from_json(&serde_json::json!({ "forward_path": "a@x.test" })).expect("an envelope");
        envelope.particulars_mut().requiretls = true;
        envelope.particulars_mut().routing_domain = Some("relay.test".into());
        let edits = message::edits::Change { at: 0, removed: 10, inserted: 6 };
        envelope.edits = Some(std::sync::Arc::new(message::Edits::of_parts(vec![edits], "A: b\r\n").expect("edits")));
        envelope.body_bytes = 100;
        let text = details(&envelope);
        assert!(
            text.contains("Bytes: 96\n") && text.contains("REQUIRETLS: yes\nROUTING_DOMAIN: relay.test\n"),
            "{text}"
        );
        assert!(text.contains("Stored: 100 octets, header section changed in 1 places\n"), "{text}");
    }

    #[test]
    fn dates_are_days_moments_or_seconds() {
        assert_eq!(parse_date("1970-01-01"), Ok(0));
        assert_eq!(parse_date("2026-09-21 14:13:20"), Ok(1_790_000_000));
        assert_eq!(parse_date("2000-03-01"), Ok(951_868_800));
        assert_eq!(parse_date("1790000000"), Ok(1_790_000_000));
        for wrong in ["yesterday", "2026-13-01", "2026-1", "2026-01-01 25:00:00", "-5-01-01"] {
            assert!(parse_date(wrong).is_err(), "{wrong}");
        }
    }
}
