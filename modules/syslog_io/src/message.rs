//! One line as a datagram. Pure: the time is an argument.

use std::time::SystemTime;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use smtp::text;

use crate::address::{Address, Format};

/// Makes datagrams of lines.
pub(crate) struct Message {
    host: String,
    pid: u32,
    zone: TimeZone,
}

impl Message {
    pub(crate) fn new(host: String, pid: u32, zone: TimeZone) -> Self {
        Self { host, pid, zone }
    }

    /// The datagram of a line without its LF: one line of UTF-8; what is longer than [`LINE_OCTETS_MAX`] is cut.
    pub(crate) fn datagram(&self, address: &Address, at: SystemTime, line: &[u8]) -> Vec<u8> {
        let (priority, ident, host, pid) = (address.priority, &address.ident, &self.host, self.pid);
        let at = self.local(at);
        let head = match address.format {
            Format::Local => format!("<{priority}>{} {ident}[{pid}]: ", at.strftime("%b %e %H:%M:%S")),
            Format::Rfc3164 => format!("<{priority}>{} {host} {ident}[{pid}]: ", at.strftime("%b %e %H:%M:%S")),
            Format::Rfc5424 => {
                let ident = if ident.is_empty() { "-" } else { ident };
                format!("<{priority}>1 {} {host} {ident} {pid} - - ", at.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z"))
            }
        };
        let mut datagram = head.into_bytes();
        datagram.extend_from_slice(text::one_line_of(text::cut(line, LINE_OCTETS_MAX)).as_bytes());
        datagram
    }

    fn local(&self, at: SystemTime) -> Zoned {
        Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone())
    }
}

/// What common receivers take in one message.
pub(crate) const LINE_OCTETS_MAX: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Defaults;
    use std::time::{Duration, UNIX_EPOCH};

    fn datagram(rest: &str, line: &[u8]) -> String {
        let message = Message::new("mx.here.test".to_owned(), 4711, TimeZone::fixed(jiff::tz::offset(2)));
        let address = Address::parse(rest, &Defaults::default()).unwrap();
        let at = UNIX_EPOCH + Duration::from_micros(1_790_000_009_000_042);
        String::from_utf8(message.datagram(&address, at, line)).unwrap()
    }

    #[test]
    fn the_three_formats_are_the_golden_lines() {
        assert_eq!(datagram("", b"a line"), "<22>Sep 21 16:13:29 ecelerity[4711]: a line");
        assert_eq!(
            datagram("mail/error?format=rfc3164", b"a line"),
            "<19>Sep 21 16:13:29 mx.here.test ecelerity[4711]: a line"
        );
        assert_eq!(
            datagram("?host=a&ident=", b"a line"),
            "<22>1 2026-09-21T16:13:29.000042+02:00 mx.here.test - 4711 - - a line"
        );
    }

    #[test]
    fn a_line_stays_one_line_and_has_a_bound() {
        assert!(datagram("", b"a\tb\0c").ends_with("a b c"));
        let long = datagram("", &[b'x'; LINE_OCTETS_MAX + 1]);
        assert_eq!(long.matches('x').count(), LINE_OCTETS_MAX);
        assert!(datagram("", b"a\xC2\x9B\xFF\xE2\x80\xA8b").ends_with("a \u{FFFD} b"));
        let cut_inside_a_letter = datagram("", format!("x{}", "\u{ee}".repeat(LINE_OCTETS_MAX)).as_bytes());
        assert_eq!(cut_inside_a_letter.matches('\u{ee}').count(), (LINE_OCTETS_MAX - 1) / 2);
    }
}
