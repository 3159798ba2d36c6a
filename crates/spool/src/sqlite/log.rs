//! What SQLite does not say of its write-ahead log: that a part of it is gone.
//!
//! SQLite reads a log up to the first frame that does not check out and takes what is behind it for nothing, and a log without
//! a header for none. That is right where power was lost during a commit. Where the device lost what was synced, it forgets
//! acknowledged mail in silence. So this looks at the log before SQLite does; it changes nothing.
//!
//! Found are a header that does not check out, and commits or zeros behind what SQLite reads. A log that ends too early, at a
//! frame, looks like one that was never longer.

use std::io;

use crate::disk::DiskFile;

/// What is wrong with a log; nothing if SQLite reads all that was committed to it. Reads all of it, a frame at a time.
pub fn fault(log: &dyn DiskFile) -> io::Result<Option<String>> {
    if log.is_empty()? {
        return Ok(None);
    }
    let mut header = [0; HEADER];
    let read = log.read_full(&mut header, 0)?;
    let (magic, page_bytes) = (word(&header, 0), word(&header, 8));
    let mut sum = Sum { big_endian: magic & 1 == 1, words: (0, 0) }.over(&header[..24]);
    let checks_out = read == HEADER && magic & !1 == MAGIC && sum.words == (word(&header, 24), word(&header, 28));
    if !checks_out || !(512..=65_536).contains(&page_bytes) || !page_bytes.is_power_of_two() {
        return Ok(Some("its header does not check out".to_owned()));
    }
    let mut frame = vec![0; FRAME + page_bytes as usize];
    let (mut at, mut end) = (HEADER as u64, None);
    while log.read_full(&mut frame, at)? == frame.len() {
        let (head, page) = frame.split_at(FRAME);
        let is_current = head[8..16] == header[16..24];
        let next = sum.over(&head[..8]).over(page);
        let is_read = end.is_none() && is_current && word(head, 0) != 0;
        if is_read && next.words == (word(head, 16), word(head, 20)) {
            sum = next;
        } else {
            let end = *end.get_or_insert(at);
            let commits = is_current && word(head, 4) != 0;
            if commits || word(head, 8) == 0 || word(head, 12) == 0 {
                return Ok(Some(format!("it cannot be read from octet {end} on, and there is more at {at}")));
            }
        }
        at += frame.len() as u64;
    }
    Ok(None)
}

/// The checksum of logs, over whole pairs of words.
#[derive(Clone, Copy)]
struct Sum {
    big_endian: bool,
    words: (u32, u32),
}

impl Sum {
    fn over(mut self, octets: &[u8]) -> Self {
        let of = |word: [u8; 4]| if self.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) };
        for &[a, b, c, d, e, f, g, h] in octets.as_chunks::<8>().0 {
            self.words.0 = self.words.0.wrapping_add(of([a, b, c, d])).wrapping_add(self.words.1);
            self.words.1 = self.words.1.wrapping_add(of([e, f, g, h])).wrapping_add(self.words.0);
        }
        self
    }
}

fn word(octets: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
}

const MAGIC: u32 = 0x377F_0682;
const HEADER: usize = 32;
const FRAME: usize = 24;
