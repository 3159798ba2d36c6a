//! How large a message is, as SIZE counts (RFC 1870 3): its octets with their CRLFs, without the dots that stuffing added
//! and without the final `.` line. Pure.

use memchr::memmem;

/// The size of a body in wire form with its terminator. One pass over it, at the speed of memory: ask only where it is
/// wanted.
pub fn content_octets(wire: &[u8]) -> u64 {
    octets_of_lines(wire.strip_suffix(b".\r\n").unwrap_or(wire))
}

/// The size of whole lines of a body, none of them its last `.` line.
pub(crate) fn octets_of_lines(content: &[u8]) -> u64 {
    // In wire form a dot that begins a line is always a stuffed one.
    let stuffed = usize::from(content.starts_with(b".")) + memmem::find_iter(content, b"\n.").count();
    (content.len() - stuffed) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataReader, Progress};
    use crate::lines::LineRules;
    use proptest::prelude::*;

    #[test]
    fn stuffed_dots_and_the_terminator_are_not_counted_and_line_ends_are() {
        for (wire, octets) in [
            (&b".\r\n"[..], 0),
            (b"\r\n.\r\n", 2),
            (b"Subject: x\r\n\r\nhi\r\n.\r\n", 18),
            (b"..\r\n.\r\n", 3),
            (b"..a\r\nb.c\r\n...\r\n..\r\n.\r\n", 4 + 5 + 4 + 3),
        ] {
            assert_eq!(content_octets(wire), octets, "{:?}", String::from_utf8_lossy(wire));
        }
    }

    proptest! {
        /// Both halves of the protocol count alike.
        #[test]
        fn a_server_that_reads_the_message_counts_the_same(lines in proptest::collection::vec("[.a]{0,4}", 0..12)) {
            let stuffed = lines.iter().map(|line| if line.starts_with('.') { format!(".{line}\r\n") } else { format!("{line}\r\n") });
            let wire: String = stuffed.chain([".\r\n".to_owned()]).collect();
            let mut reader = DataReader::new(b"", u64::MAX, 0, LineRules::default());
            prop_assert_eq!(reader.push(&mut bytes::BytesMut::from(wire.as_bytes())), Progress::Ended);
            prop_assert_eq!(content_octets(wire.as_bytes()), reader.size());
        }
    }
}
