//! The pieces log lines are made of: stamps, ids, addresses and texts from outside.
//!
//! Everything appends to the caller's buffer; nothing allocates.
//!
//! Invariant: one event is one line of valid UTF-8 for every reader. Every text from outside goes through
//! [`smtp::text`], so none can end a line, move a terminal's cursor or forge a field before the last one.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use message::MessageId;
use message::envelope::QueueName;
use smtp::text;

/// How a line tells the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stamp {
    /// Seconds since 1970.
    #[default]
    Seconds,
    /// Microseconds since 1970, sixteen digits (`log_hires_timestamp`).
    Microseconds,
}

impl Stamp {
    /// Appends the stamp.
    pub fn put(self, out: &mut Vec<u8>, at: Duration) {
        match self {
            Self::Seconds => put_number(out, at.as_secs()),
            Self::Microseconds => put_number(out, u64::try_from(at.as_micros()).unwrap_or(u64::MAX)),
        }
    }
}

/// Appends a decimal number.
pub fn put_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends seconds with `DECIMALS` decimals, cut, not rounded.
pub fn put_elapsed<const DECIMALS: usize>(out: &mut Vec<u8>, elapsed: Duration) {
    put_number(out, elapsed.as_secs());
    out.push(b'.');
    let mut nanoseconds = elapsed.subsec_nanos();
    for _ in 0..DECIMALS {
        out.push(b'0' + (nanoseconds / 100_000_000) as u8);
        nanoseconds = nanoseconds % 100_000_000 * 10;
    }
}

/// Appends an id.
pub fn put_id(out: &mut Vec<u8>, id: MessageId) {
    out.extend_from_slice(&id.text());
}

/// Appends an IP address, or nothing.
pub fn put_address(out: &mut Vec<u8>, address: Option<IpAddr>) {
    if let Some(address) = address {
        let written = write!(out, "{}", address.to_canonical());
        debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
    }
}

/// Appends a field before the last: a local part, a domain, a name from the configuration. `@` and `\` get a backslash;
/// what may not stand in a line becomes `?`.
pub fn put_field(out: &mut Vec<u8>, text: &str) {
    text::put(out, text, b"@\\", b"?");
}

/// Appends the last field of a line, a reply or another text from outside: what may not stand in a line becomes a blank,
/// and it is cut after [`TEXT_OCTETS_MAX`].
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    text::put(out, cut(text, TEXT_OCTETS_MAX), b"", b" ");
}

/// Appends binding group and binding, separated.
pub(crate) fn put_binding(out: &mut Vec<u8>, queue: &QueueName) {
    put_field(out, &queue.binding_group);
    out.push(b'@');
    put_field(out, &queue.binding);
}

/// Appends `ts@mid@batch@conn@TYPE`.
pub(crate) fn put_start(out: &mut Vec<u8>, stamp: Stamp, at: Duration, ids: [MessageId; 3], kind: u8) {
    stamp.put(out, at);
    for id in ids {
        out.push(b'@');
        put_id(out, id);
    }
    out.extend_from_slice(&[b'@', kind]);
}

/// Appends a heartbeat: the type at its usual offset, fields between empty.
pub fn heartbeat(out: &mut Vec<u8>, stamp: Stamp, at: Duration) {
    stamp.put(out, at);
    out.extend_from_slice(b"@@@@M1\n");
}

/// The first `octets` of a text, or a little less so that no character is cut.
pub(crate) fn cut(text: &str, octets: usize) -> &str {
    &text[..text.floor_char_boundary(octets)]
}

/// Longest reply text on a line.
pub const TEXT_OCTETS_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(put: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn stamps_are_seconds_or_sixteen_digits() {
        let at = Duration::new(1_790_000_000, 123_456_789);
        assert_eq!(line(|out| Stamp::Seconds.put(out, at)), "1790000000");
        assert_eq!(line(|out| Stamp::Microseconds.put(out, at)), "1790000000123456");
        assert_eq!(line(|out| heartbeat(out, Stamp::Seconds, at)), "1790000000@@@@M1\n");
    }

    #[test]
    fn elapsed_time_keeps_its_decimals() {
        assert_eq!(line(|out| put_elapsed::<3>(out, Duration::from_micros(1_393_999))), "1.393");
        assert_eq!(line(|out| put_elapsed::<2>(out, Duration::from_millis(20))), "0.02");
        assert_eq!(line(|out| put_number(out, 0)), "0");
        assert_eq!(line(|out| put_number(out, u64::MAX)), u64::MAX.to_string());
    }

    #[test]
    fn separators_inside_a_field_get_a_backslash() {
        assert_eq!(line(|out| put_field(out, "\"a@b\\\"c\"")), "\"a\\@b\\\\\"c\"");
    }

    #[test]
    fn control_bytes_and_c1_controls_become_blanks() {
        let text = "550 a\r\nb\u{1b}[2J é \u{9b}31m\u{85}\u{2028}\u{2029}\u{feff}\u{202e}\0";
        assert_eq!(line(|out| put_text(out, text)), "550 a  b [2J é  31m      ");
        assert_eq!(line(|out| put_field(out, "a\u{85}b\u{2028}c")), "a?b?c");
    }

    proptest! {
        #[test]
        fn nothing_from_outside_ends_a_line(text in any::<String>()) {
            let line = line(|out| {
                put_field(out, &text);
                put_text(out, &text);
            });
            prop_assert!(line.chars().all(text::stays_in_line));
        }
    }
}
