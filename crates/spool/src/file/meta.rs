//! A metadata file: lines an operator can read, and the envelope's record, which is what counts.
//!
//! ```text
//! postrider message 1
//! id: 71/A0-03127-08B31BA6
//! batch: 71/A0-03127-08B31BA6
//! body: 2011 1A2B3C4D
//! from: news@sender.example
//! ...
//! record: 0100...
//! crc: 5E6F7A8B
//! ```
//! `body` is the body file's length and CRC-32C; `record` the envelope in its own encoding, as modules of the chain left it;
//! `crc` covers everything before its line. Pure.

use std::fmt::Write as _;

use message::{Envelope, MessageId};

/// What a metadata file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The message.
    pub id: MessageId,
    /// The transaction it came in with.
    pub batch: MessageId,
    /// Its body file.
    pub body: BodyMark,
    /// The envelope's record.
    pub encoded: Vec<u8>,
}

/// What a body file must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyMark {
    /// Octets of it.
    pub octets: u64,
    /// CRC-32C of them.
    pub crc: u32,
}

impl BodyMark {
    /// Of a body as it is stored.
    pub fn of(octets: &[u8]) -> Self {
        Self { octets: octets.len() as u64, crc: crc32c::crc32c(octets) }
    }
}

impl Meta {
    /// The file's contents.
    pub fn render(&self) -> Vec<u8> {
        let mut text = String::with_capacity(512 + 2 * self.encoded.len());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{HEADING} {FORMAT}\nid: {}\nbatch: {}", self.id, self.batch);
        let _ = writeln!(text, "body: {} {:08X}", self.body.octets, self.body.crc);
        if let Ok(envelope) = Envelope::decode(&self.encoded) {
            describe(&mut text, &envelope);
        }
        text.push_str("record: ");
        for octet in &self.encoded {
            text.push(char::from_digit(u32::from(octet >> 4), 16).unwrap_or('0'));
            text.push(char::from_digit(u32::from(octet & 15), 16).unwrap_or('0'));
        }
        text.push('\n');
        let crc = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, "crc: {crc:08X}");
        text.into_bytes()
    }

    /// The format of a file that a later release wrote; nothing if this release reads it, or if nobody does.
    pub fn newer_format(contents: &[u8]) -> Option<u32> {
        let line = contents.split(|&octet| octet == b'\n').next()?;
        let format = std::str::from_utf8(line).ok()?.strip_prefix(HEADING)?.trim().parse().ok()?;
        (FORMAT < format).then_some(format)
    }

    /// Reads a file's contents; why not, if that cannot be done.
    pub fn parse(contents: &[u8]) -> Result<Self, String> {
        if contents.is_empty() {
            return Err("its metadata is empty".to_owned());
        }
        let text = std::str::from_utf8(contents).map_err(|_| "its metadata is no text".to_owned())?;
        let end = text.rfind("crc: ").ok_or("its metadata ends early")?;
        let crc = u32::from_str_radix(text[end + 5..].trim_end(), 16).map_err(|_| "its metadata has no checksum")?;
        let (covered, _) = text.split_at(end);
        if crc32c::crc32c(covered.as_bytes()) != crc {
            return Err("its metadata does not match its checksum".to_owned());
        }
        let mut lines = covered.lines();
        let heading = lines.next().unwrap_or_default();
        let format = heading.strip_prefix(HEADING).and_then(|rest| rest.trim().parse::<u32>().ok());
        if format != Some(FORMAT) {
            return Err("its metadata does not begin as it should".to_owned());
        }
        let value = |name: &str| {
            let line = covered.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.ok_or_else(|| format!("its metadata has no {name}"))
        };
        let id = |name: &str| value(name)?.parse().map_err(|_| format!("its metadata has no {name}"));
        let (octets, crc) = value("body")?.split_once(' ').unwrap_or_default();
        let octets = octets.parse().map_err(|_| "its metadata has no body length".to_owned())?;
        let crc = u32::from_str_radix(crc, 16).map_err(|_| "its metadata has no body checksum".to_owned())?;
        let encoded = from_hex(value("record")?).ok_or("its metadata has no record")?;
        Ok(Self { id: id("id")?, batch: id("batch")?, body: BodyMark { octets, crc }, encoded })
    }
}

/// Lines for the reader; nothing reads them back.
fn describe(text: &mut String, envelope: &Envelope) {
    let (delivery, queue) = (&envelope.delivery, &envelope.queue);
    let _ = writeln!(text, "from: {}\nto: {}", envelope.reverse_path.as_str(), envelope.forward_path.as_str());
    let _ = writeln!(text, "created: {}", envelope.created.as_secs());
    let _ = writeln!(text, "queue: {} {} {}", queue.binding_group, queue.binding, queue.domain);
    let _ = writeln!(text, "retries: {}\nnext-attempt: {}", delivery.retries, delivery.next_attempt.as_secs());
    if let Some(reply) = &delivery.last_reply {
        let _ = writeln!(text, "last-reply: {}", reply.escape_debug());
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |octet: u8| char::from(octet).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

const HEADING: &str = "postrider message";
const FORMAT: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        let id: MessageId = "71/A0-03127-08B31BA6".parse().unwrap();
        Meta { id, batch: id, body: BodyMark::of(b"x\r\n.\r\n"), encoded: b"crc: record: \n".to_vec() }
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(Meta::parse(&meta().render()), Ok(meta()));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let written = meta().render();
        for end in 0..written.len() - 1 {
            assert!(Meta::parse(&written[..end]).is_err(), "cut at {end}");
        }
        for at in 0..written.len() - 1 {
            let mut damaged = written.clone();
            damaged[at] ^= 1;
            // The digits of the checksum may change their case and nothing else.
            assert!(Meta::parse(&damaged).is_err(), "flipped at {at}");
        }
    }

    #[test]
    fn a_later_format_is_known_from_its_first_line() {
        let text = String::from_utf8(meta().render()).unwrap();
        assert_eq!(Meta::newer_format(text.as_bytes()), None);
        assert_eq!(Meta::newer_format(text.replace("message 1", "message 2").as_bytes()), Some(2));
        assert_eq!(Meta::newer_format(b"postrider message \nx"), None);
    }
}
