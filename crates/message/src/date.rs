//! The date-time of RFC 5322 3.3, in UTC, as trace fields and notifications carry it.
//!
//! Takes time since 1970 and gives 31 octets without allocating. Pure. Who stamps many messages a second keeps the
//! last [`Date`] and asks [`Date::is_of`] before making another.

use std::fmt;
use std::time::Duration;

/// `Fri, 20 Nov 2026 21:37:18 +0000`, by value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Date {
    seconds: u64,
    text: [u8; 31],
}

impl Date {
    /// The date of `unix`, the time since 1970-01-01T00:00:00Z. Times after the year 9999 become its last second.
    pub fn new(unix: Duration) -> Self {
        let seconds = unix.as_secs().min(END_OF_9999);
        let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let mut text = *b"Thu, 01 Jan 1970 00:00:00 +0000";
        text[..3].copy_from_slice(&DAYS[(days % 7) as usize]);
        two_digits(&mut text, 5, day);
        text[8..11].copy_from_slice(&MONTHS[month as usize - 1]);
        two_digits(&mut text, 12, year / 100);
        two_digits(&mut text, 14, year % 100);
        two_digits(&mut text, 17, second_of_day / 3600);
        two_digits(&mut text, 20, second_of_day / 60 % 60);
        two_digits(&mut text, 23, second_of_day % 60);
        Self { seconds: unix.as_secs(), text }
    }

    /// Whether it is the date of this second too.
    pub const fn is_of(&self, unix: Duration) -> bool {
        self.seconds == unix.as_secs()
    }

    /// The text.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.text
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text).unwrap_or_default())
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn two_digits(text: &mut [u8; 31], at: usize, value: u64) {
    text[at] = b'0' + (value / 10 % 10) as u8;
    text[at + 1] = b'0' + (value % 10) as u8;
}

/// Year, month (1 to 12) and day (1 to 31) of a day counted from 1970-01-01. Years are taken to begin in March, so that
/// the leap day is the last of its year and months have lengths of a regular pattern (153 days in five).
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    // Days from 0000-03-01, the start of a 400-year cycle.
    let days = days + 719_468;
    let (cycle, day_of_cycle) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let leap_days = day_of_cycle / 1460 - day_of_cycle / 36_524 + day_of_cycle / (DAYS_IN_400_YEARS - 1);
    let year_of_cycle = (day_of_cycle - leap_days) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
    (year, month, day)
}

/// 9999-12-31T23:59:59Z.
const END_OF_9999: u64 = 253_402_300_799;

/// 1970-01-01 was a Thursday.
const DAYS: [[u8; 3]; 7] = [*b"Thu", *b"Fri", *b"Sat", *b"Sun", *b"Mon", *b"Tue", *b"Wed"];

const MONTHS: [[u8; 3]; 12] =
    [*b"Jan", *b"Feb", *b"Mar", *b"Apr", *b"May", *b"Jun", *b"Jul", *b"Aug", *b"Sep", *b"Oct", *b"Nov", *b"Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    fn date(seconds: u64) -> String {
        Date::new(Duration::from_secs(seconds)).to_string()
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(date(951_782_399), "Mon, 28 Feb 2000 23:59:59 +0000");
        assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 +0000");
        assert_eq!(date(1_709_164_800), "Thu, 29 Feb 2024 00:00:00 +0000");
        assert_eq!(date(1_790_000_000), "Mon, 21 Sep 2026 14:13:20 +0000");
        assert_eq!(date(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 +0000");
        assert_eq!(date(u64::MAX), "Fri, 31 Dec 9999 23:59:59 +0000");
    }

    #[test]
    fn a_kept_date_knows_its_second() {
        let kept = Date::new(Duration::from_millis(5_999));
        assert!(kept.is_of(Duration::from_millis(5_000)) && !kept.is_of(Duration::from_millis(6_000)));
    }
}
