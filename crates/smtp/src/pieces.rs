//! A body in wire form that stands in several pieces of memory, written one after the other and never copied together.
//!
//! Invariant: every piece but the first begins where a line begins.

use std::io::IoSlice;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::client::{content_octets, octets_of_lines};

/// A body, header fields that were put in between, and the rest of it. One piece, as a rule; cloning shares all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces(SmallVec<[Bytes; 1]>);

impl Pieces {
    /// Appends whole lines; nothing if there are none.
    pub fn push(&mut self, lines: Bytes) {
        if !lines.is_empty() {
            self.0.push(lines);
        }
    }

    /// Octets of all of them.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether there is not an octet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The size of the message (RFC 1870): see [`content_octets`].
    pub fn content_octets(&self) -> u64 {
        // Only the last piece has the final `.` line.
        let Some((last, before)) = self.0.split_last() else { return 0 };
        before.iter().map(|piece| octets_of_lines(piece)).sum::<u64>() + content_octets(last)
    }

    /// The pieces in order.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.0.iter()
    }

    /// One piece of memory; copies only if there are several.
    pub fn into_bytes(self) -> Bytes {
        match <[Bytes; 1]>::try_from(self.0.into_vec()) {
            Ok([only]) => only,
            Err(several) => several.concat().into(),
        }
    }

    /// For a vectored write.
    pub fn slices(&self) -> impl Iterator<Item = IoSlice<'_>> {
        self.0.iter().map(|piece| IoSlice::new(piece))
    }
}

impl From<Bytes> for Pieces {
    fn from(body: Bytes) -> Self {
        let mut pieces = Self::default();
        pieces.push(body);
        pieces
    }
}

impl IntoIterator for Pieces {
    type Item = Bytes;
    type IntoIter = smallvec::IntoIter<[Bytes; 1]>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_count_as_the_whole_does() {
        let whole = Bytes::from_static(b"..a: 1\r\nb: 2\r\n..c: 3.\r\n\r\n..x\r\n.\r\n");
        for cuts in [&[][..], &[8], &[14], &[8, 14, 23], &[8, 30]] {
            let (mut pieces, mut from) = (Pieces::default(), 0);
            for &cut in cuts.iter().chain([&whole.len()]) {
                pieces.push(whole.slice(from..cut));
                from = cut;
            }
            assert_eq!((pieces.len(), pieces.content_octets()), (whole.len(), content_octets(&whole)), "{cuts:?}");
            assert_eq!(pieces.slices().map(|slice| slice.len()).sum::<usize>(), whole.len());
            assert_eq!(pieces.into_bytes(), whole);
        }
        assert_eq!((Pieces::default().content_octets(), Pieces::default().into_bytes()), (0, Bytes::new()));
    }
}
