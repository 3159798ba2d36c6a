//! What a client session has to send: command text and bodies, in order, ready for one vectored write.
//!
//! Command text gathers in one buffer that is reused from turn to turn; a body is held by reference count and never
//! copied. Invariant: the segments, less what is already written of the first, are exactly the unsent bytes.
//!
//! Octets are counted from the start of the session, so that what a reply can answer is told from what it cannot.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::pieces::Pieces;

/// Unsent bytes of a session.
#[derive(Debug, Default)]
pub struct Outbox {
    commands: Vec<u8>,
    segments: VecDeque<Segment>,
    /// Octets of the first segment that are sent.
    written: usize,
    /// Octets that ever were to be sent, and that were.
    queued: u64,
    sent: u64,
}

#[derive(Debug)]
enum Segment {
    /// A piece of `commands`.
    Commands {
        start: usize,
        end: usize,
    },
    Body(Bytes),
}

impl Outbox {
    /// Whether everything is sent.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Octets not sent yet.
    pub fn len(&self) -> usize {
        self.segments.iter().map(Segment::len).sum::<usize>() - self.written
    }

    /// Fills `slices` from the front; how many were filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slot, segment) in slices.iter_mut().zip(&self.segments) {
            let octets = segment.octets(&self.commands);
            let skipped = if filled == 0 { self.written } else { 0 };
            *slot = IoSlice::new(&octets[skipped..]);
            filled += 1;
        }
        filled
    }

    /// Octets that were sent since the session began.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Octets that were sent, or are to be.
    pub(super) fn queued(&self) -> u64 {
        self.queued
    }

    /// Notes that the first `octets` were sent.
    pub fn advance(&mut self, mut octets: usize) {
        self.sent += octets as u64;
        while let Some(first) = self.segments.front() {
            let left = first.len() - self.written;
            if octets < left {
                self.written += octets;
                return;
            }
            octets -= left;
            self.written = 0;
            self.segments.pop_front();
        }
        self.commands.clear();
    }

    /// Forgets whatever is unsent.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.commands.clear();
        self.written = 0;
    }

    /// Appends command text written by `write`; how many octets it was.
    pub(super) fn commands(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let before = self.commands.len();
        write(&mut self.commands);
        let after = self.commands.len();
        match self.segments.back_mut() {
            Some(Segment::Commands { end, .. }) if *end == before => *end = after,
            _ if before < after => self.segments.push_back(Segment::Commands { start: before, end: after }),
            _ => {}
        }
        self.queued += (after - before) as u64;
        after - before
    }

    /// Appends a body.
    pub(super) fn body(&mut self, body: Pieces) {
        self.queued += body.len() as u64;
        self.segments.extend(body.into_iter().map(Segment::Body));
    }
}

impl Segment {
    fn len(&self) -> usize {
        match self {
            Self::Commands { start, end } => end - start,
            Self::Body(body) => body.len(),
        }
    }

    fn octets<'a>(&'a self, commands: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Commands { start, end } => &commands[*start..*end],
            Self::Body(body) => body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsent(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = outbox.slices(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn a_partial_write_at_any_octet_leaves_exactly_the_rest() {
        let whole = b"RSET\r\nMAIL\r\nbody\r\n.\r\nDATA\r\n";
        for cut in 0..=whole.len() {
            let mut outbox = Outbox::default();
            outbox.commands(|text| text.extend_from_slice(b"RSET\r\n"));
            outbox.commands(|text| text.extend_from_slice(b"MAIL\r\n"));
            let mut body = Pieces::from(Bytes::from_static(b"body\r\n"));
            body.push(Bytes::from_static(b".\r\n"));
            outbox.body(body);
            outbox.commands(|text| text.extend_from_slice(b"DATA\r\n"));
            assert_eq!(outbox.segments.len(), 4);
            outbox.advance(cut);
            assert_eq!(unsent(&outbox), &whole[cut..]);
            assert_eq!((outbox.len(), outbox.is_empty()), (whole.len() - cut, cut == whole.len()));
            assert_eq!((outbox.queued(), outbox.sent()), (whole.len() as u64, cut as u64));
        }
    }
}
