//! Message, batch and connection ids (reference: operations.md section 2).
//!
//! Sixty-four bits: seconds since 1970 (32), process (16), counter (16). The text form `CC/CC-PPPPP-TTTTTTTT` writes the
//! counter's four and the time's eight hexadecimal digits reversed, so that the fastest digit comes first.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use scheduler::Clock;

/// An id of a message, a batch of siblings, or a connection. They share one counter, so no two are equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MessageId(u64);

impl MessageId {
    /// `00/00-00000-00000000`.
    pub const NULL: Self = Self(0);

    /// The id packed into 64 bits: seconds, process, counter.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The reverse of [`MessageId::to_bits`].
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Seconds since 1970 at which the id was made (or a little later under more than 65536 ids a second).
    pub const fn seconds(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The text form, `CC/CC-PPPPP-TTTTTTTT`, by value: log lines append it without formatting.
    pub fn text(self) -> [u8; 20] {
        let [c0, c1, c2, c3] = reversed_hex::<4>(u32::from(self.counter()));
        let mut text = *b"00/00-00000-00000000";
        text[0] = c0;
        text[1] = c1;
        text[3] = c2;
        text[4] = c3;
        let mut process = self.process();
        for digit in text[6..11].iter_mut().rev() {
            *digit = b'0' + (process % 10) as u8;
            process /= 10;
        }
        text[12..].copy_from_slice(&reversed_hex::<8>(self.seconds()));
        text
    }

    const fn process(self) -> u16 {
        (self.0 >> 16) as u16
    }

    const fn counter(self) -> u16 {
        self.0 as u16
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn reversed_hex<const DIGITS: usize>(mut value: u32) -> [u8; DIGITS] {
    std::array::from_fn(|_| {
        let digit = b"0123456789ABCDEF"[(value & 15) as usize];
        value >>= 4;
        digit
    })
}

/// The text is no id of the form `CC/CC-PPPPP-TTTTTTTT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnId;

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a message id: expected the form CC/CC-PPPPP-TTTTTTTT, for example 71/A0-03127-08B31BA6")
    }
}

impl std::error::Error for NotAnId {}

impl FromStr for MessageId {
    type Err = NotAnId;

    /// Also takes the form with `.` in the place of `/` and `-`, as Message-ID fields carry it.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let octets: &[u8; 20] = text.as_bytes().try_into().map_err(|_| NotAnId)?;
        let separated =
            matches!(octets[2], b'/' | b'.') && matches!((octets[5], octets[11]), (b'-', b'-') | (b'.', b'.'));
        if !separated {
            return Err(NotAnId);
        }
        let counter = from_reversed_hex(&[octets[0], octets[1], octets[3], octets[4]])?;
        let process = std::str::from_utf8(&octets[6..11]).map_err(|_| NotAnId)?.parse::<u16>().map_err(|_| NotAnId)?;
        let seconds = from_reversed_hex(&octets[12..])?;
        Ok(Self(u64::from(seconds) << 32 | u64::from(process) << 16 | u64::from(counter)))
    }
}

fn from_reversed_hex(digits: &[u8]) -> Result<u32, NotAnId> {
    digits.iter().rev().try_fold(0u32, |value, &digit| {
        let digit = char::from(digit).to_digit(16).ok_or(NotAnId)?;
        Ok(value << 4 | digit)
    })
}

/// Makes ids; shared by every loop. Never gives the same id twice, also when the clock stands still or jumps back and
/// when more than 65536 are taken in one second: the time part then runs ahead.
#[derive(Debug)]
pub struct IdGenerator {
    clock: Clock,
    process: u16,
    /// Seconds (high 48 bits) and counter (low 16) of the id last given.
    last: AtomicU64,
}

impl IdGenerator {
    /// `process` is the process id, folded into 16 bits. `newest` is the newest id found in the spool: every id given
    /// is later than its second, so that a restart within one second (or under a clock set back) cannot repeat one.
    pub fn new(clock: Clock, process: u32, newest: Option<MessageId>) -> Self {
        let generator = Self { clock, process: (process ^ process >> 16) as u16, last: AtomicU64::new(0) };
        if let Some(newest) = newest {
            generator.raise_above(newest);
        }
        generator
    }

    /// No id given after this is at or below the second of `id`.
    pub fn raise_above(&self, id: MessageId) {
        self.last.fetch_max((u64::from(id.seconds()) << 16) | 0xFFFF, Ordering::Relaxed);
    }

    /// The next id.
    pub fn next(&self) -> MessageId {
        let now = self.clock.unix().as_secs() << 16;
        let previous = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
        let next = now.max(previous.unwrap_or_else(|last| last) + 1);
        MessageId((next >> 16) << 32 | u64::from(self.process) << 16 | (next & 0xFFFF))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn the_text_form_is_the_published_one() {
        let id = MessageId(1_070_244_212 << 32 | 3127 << 16 | 0x0A17);
        assert_eq!(id.to_string(), "71/A0-03127-471AACF3");
        assert_eq!("71/A0-03127-471AACF3".parse(), Ok(id));
        assert_eq!("71.A0.03127.471AACF3".parse(), Ok(id));
        assert_eq!(MessageId::NULL.to_string(), "00/00-00000-00000000");
        for text in ["", "71/A0-03127-471AACF", "71/A0-99999-471AACF3", "71/G0-03127-471AACF3", "71-A0/03127/471AACF3"]
        {
            assert_eq!(text.parse::<MessageId>(), Err(NotAnId), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_id_is_given_twice_in_one_second_or_after_a_restart() {
        let clock = Clock::simulated(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000));
        let ids = IdGenerator::new(clock, 3127, None);
        let mut seen = std::collections::HashSet::new();
        let mut newest = MessageId::NULL;
        for _ in 0..70_000 {
            newest = ids.next();
            assert!(seen.insert(newest));
        }
        let restarted = IdGenerator::new(clock, 3127, Some(newest));
        assert!((0..70_000).all(|_| seen.insert(restarted.next())));
    }
    #[tokio::test(start_paused = true)]
    async fn a_clock_set_back_before_the_restart_repeats_no_id() {
        let at = |seconds| Clock::simulated(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let before = IdGenerator::new(at(1_790_000_000), 3127, None);
        let given: Vec<_> = (0..1000).map(|_| before.next()).collect();
        let newest = *given.last().unwrap();
        let after = IdGenerator::new(at(1_790_000_000 - 3600), 3127, Some(newest));
        assert!((0..70_000).all(|_| newest < after.next()), "an id of the second before, or an earlier one");
    }
}
