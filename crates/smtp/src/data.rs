//! The message after DATA: finds its end, keeps it in wire form, and notices what makes it unacceptable.
//!
//! Comes in: octets in any chunks. Goes out: the body as it came, dot-stuffed and with its terminator, behind the trace
//! header fields the session was given. Only CRLF "." CRLF ends a message (RFC 5321 4.1.1.4); nothing that resembles it
//! does, so no peer of the sender can see two messages where this one sees one. Lines that are to be mended are noticed
//! here and mended at the end, by `lines`.
//!
//! Invariant: a body with a [`Fault`] is not kept: its octets are counted and thrown away until the end.

use bytes::{Buf, BytesMut};
use memchr::{memchr2, memmem};

use crate::lines::{LineRules, Lone, LongLines, repair};

/// Longest text line in octets, without its CRLF and without a stuffed dot (RFC 5321 4.5.3.1.6).
pub const TEXT_LINE_OCTETS_MAX: usize = 998;
/// Octets of CRLF "." CRLF that follow the last line's CRLF.
const TERMINATOR_OCTETS: u64 = 3;

/// Why a message cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Over the size limit.
    TooLarge,
    /// A CR or LF that is not part of a CRLF.
    LoneCrOrLf,
    /// A line over the limit.
    LineTooLong,
    /// There is no memory for more of it.
    NoMemory,
}

/// Where a chunk left the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The end has not come.
    Continues,
    /// The terminator has been read; what follows it is left in the input.
    Ended,
}

/// What the octets before the cursor end with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// CRLF, or nothing: DATA's own CRLF counts.
    CrLf,
    CrLfDot,
    CrLfDotCr,
    Text,
    Cr,
    /// A CR or LF that is no line end, which some other host may take for one.
    Lone,
    LoneDot,
}

/// Reads one message.
pub struct DataReader {
    body: BytesMut,
    trace_octets: usize,
    size_max: u64,
    seen: Seen,
    /// Octets of the current line, without a stuffed dot.
    line_octets: usize,
    /// Octets read, stuffed dots among them.
    octets: u64,
    stuffed_dots: u64,
    rules: LineRules,
    /// The longest line that passes unnoticed.
    line_octets_max: usize,
    fault: Option<Fault>,
    /// Something is to be mended.
    flawed: bool,
    imitation: bool,
}

impl DataReader {
    /// A reader for a message of at most `size_max` octets (RFC 1870 counting: without stuffed dots and terminator), to
    /// be put behind `trace`. `expected` octets are allocated at once.
    pub fn new(trace: &[u8], size_max: u64, expected: usize, rules: LineRules) -> Self {
        let mut body = BytesMut::with_capacity(trace.len() + expected);
        body.extend_from_slice(trace);
        Self {
            body,
            trace_octets: trace.len(),
            size_max,
            seen: Seen::CrLf,
            line_octets: 0,
            octets: 0,
            stuffed_dots: 0,
            rules,
            line_octets_max: rules.long.limit(),
            fault: None,
            flawed: false,
            imitation: false,
        }
    }

    /// Takes what belongs to the message out of `input`.
    pub fn push(&mut self, input: &mut BytesMut) -> Progress {
        let (taken, progress) = self.scan(input);
        self.octets += taken as u64;
        // One octet more than allowed is known only with the terminator in hand; before it, allow for its octets.
        let slack = if progress == Progress::Ended { 0 } else { TERMINATOR_OCTETS };
        if self.size_max.saturating_add(slack) < self.size() {
            self.spoil(Fault::TooLarge);
        }
        if self.fault.is_none() {
            self.body.extend_from_slice(&input[..taken]);
        }
        input.advance(taken);
        progress
    }

    /// Octets of the message so far, without stuffed dots; at the end also without the terminator.
    pub fn size(&self) -> u64 {
        let terminator = if self.seen == Seen::CrLfDotCr { TERMINATOR_OCTETS } else { 0 };
        (self.octets - self.stuffed_dots).saturating_sub(terminator)
    }

    /// Octets of memory that the message so far takes up.
    pub fn held(&self) -> usize {
        self.body.capacity()
    }

    /// Octets of memory that the message takes up once so many more octets are read.
    pub fn held_with(&self, more: usize) -> usize {
        let (held, needed) = (self.held(), self.body.len().saturating_add(more));
        if self.fault.is_some() || needed <= held { held } else { needed.max(held.saturating_mul(2)) }
    }

    /// There is no memory for more of the message: it is refused at its end.
    pub fn no_memory(&mut self) {
        self.spoil(Fault::NoMemory);
    }

    /// What is wrong with the message so far.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Whether the message holds something that a careless host would take for its end. If so, what the client sends
    /// after the real end cannot be trusted to be its own.
    pub fn holds_imitation_of_end(&self) -> bool {
        self.imitation
    }

    /// The whole body, mended where the rules say so, and how many of its octets are the trace header fields in front. A
    /// message with nothing to mend is handed over as it came.
    pub fn finish(self) -> Result<(BytesMut, usize), Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if !self.flawed {
            return Ok((self.body, self.trace_octets));
        }
        let (trace, message) = self.body.split_at(self.trace_octets);
        let mut mended = BytesMut::with_capacity(self.body.len() + self.body.len() / 16);
        mended.extend_from_slice(trace);
        repair(message, self.rules, &mut mended)?;
        // What goes on is what the limit is for: line ends that were made whole count as RFC 1870 2 counts them.
        let message = &mended[self.trace_octets..];
        let stuffed = usize::from(message.starts_with(b"..")) + memmem::find_iter(message, b"\n..").count();
        if self.size_max < (message.len() - stuffed) as u64 - TERMINATOR_OCTETS {
            return Err(Fault::TooLarge);
        }
        Ok((mended, self.trace_octets))
    }

    /// How many octets of `chunk` belong to the message.
    fn scan(&mut self, chunk: &[u8]) -> (usize, Progress) {
        let mut at = 0;
        while let Some(&octet) = chunk.get(at) {
            at += 1;
            self.seen = match (self.seen, octet) {
                (Seen::Text, b'\r') | (Seen::CrLf, b'\r') => Seen::Cr,
                (Seen::Cr, b'\n') => self.end_line(),
                (Seen::CrLf, b'.') => Seen::CrLfDot,
                (Seen::CrLfDot, b'\r') => Seen::CrLfDotCr,
                (Seen::CrLfDotCr, b'\n') => {
                    // `seen` stays: it tells `size` that the terminator is in.
                    return (at, Progress::Ended);
                }
                (Seen::Text, octet) if octet != b'\n' => {
                    self.line_octets += 1;
                    at = self.text(chunk, at);
                    Seen::Text
                }
                (seen, octet) => {
                    at -= 1;
                    let (next, taken) = self.unusual(seen, octet);
                    at += taken;
                    next
                }
            };
            // Checked as it grows: a line without an end must not be kept either.
            if self.line_octets_max < self.line_octets {
                self.long_line();
            }
        }
        (at, Progress::Continues)
    }

    /// Runs through text and through line ends that plain text follows; stops at whatever needs a closer look.
    fn text(&mut self, chunk: &[u8], mut at: usize) -> usize {
        loop {
            let run = memchr2(b'\r', b'\n', &chunk[at..]).unwrap_or(chunk.len() - at);
            self.line_octets += run;
            at += run;
            match chunk[at..] {
                [b'\r', b'\n', next, ..] if !matches!(next, b'.' | b'\r' | b'\n') => {
                    if self.line_octets_max < self.line_octets {
                        self.long_line();
                    }
                    self.line_octets = 0;
                    at += 2;
                }
                _ => return at,
            }
        }
    }

    /// The turns of the state that are neither text nor a proper line end; says how many octets they took.
    fn unusual(&mut self, seen: Seen, octet: u8) -> (Seen, usize) {
        match (seen, octet) {
            // A line that starts with a dot and goes on: the dot is a stuffed one.
            (Seen::CrLfDot, octet) => {
                self.imitation |= octet == b'\n';
                self.stuffed_dots += 1;
                (Seen::Text, 0)
            }
            (Seen::CrLfDotCr, _) => {
                self.imitation = true;
                self.stuffed_dots += 1;
                (self.lone(), 0)
            }
            (Seen::Cr, _) => (self.lone(), 0),
            (Seen::Text | Seen::CrLf, b'\n') => (self.lone(), 1),
            (Seen::Lone, b'.') => (Seen::LoneDot, 1),
            (Seen::LoneDot, octet) => {
                self.imitation |= matches!(octet, b'\r' | b'\n');
                (Seen::Text, 0)
            }
            (Seen::CrLf | Seen::Lone | Seen::Text, _) => (Seen::Text, 0),
        }
    }

    fn end_line(&mut self) -> Seen {
        self.line_octets = 0;
        Seen::CrLf
    }

    fn lone(&mut self) -> Seen {
        if (self.rules.lone_in_headers, self.rules.lone_in_body) == (Lone::Reject, Lone::Reject) {
            self.spoil(Fault::LoneCrOrLf);
        }
        self.flawed = true;
        self.line_octets = 0;
        Seen::Lone
    }

    fn long_line(&mut self) {
        match self.rules.long {
            LongLines::Ignore => {}
            LongLines::Reject(_) => self.spoil(Fault::LineTooLong),
            LongLines::Fix(_) => self.flawed = true,
        }
    }

    /// The first fault is the one reported. The body is dropped: it will not be needed.
    fn spoil(&mut self, fault: Fault) {
        if self.fault.is_none() {
            self.fault = Some(fault);
            self.body = BytesMut::new();
            self.trace_octets = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UNLIMITED: u64 = u64::MAX;

    fn read(message: &[u8], chunk: usize, size_max: u64) -> (DataReader, Progress, Vec<u8>) {
        let mut reader = DataReader::new(b"T: t\r\n", size_max, 0, LineRules::default());
        let mut input = BytesMut::new();
        let mut progress = Progress::Continues;
        let mut chunks = message.chunks(chunk.max(1));
        while progress == Progress::Continues {
            let Some(chunk) = chunks.next() else { break };
            input.extend_from_slice(chunk);
            progress = reader.push(&mut input);
        }
        let rest = input.iter().chain(chunks.flatten()).copied().collect();
        (reader, progress, rest)
    }

    #[test]
    fn the_body_is_kept_as_it_came_behind_the_trace() {
        for chunk in 1..40 {
            let message = b"Subject: x\r\n\r\n..dot\r\n.\r\nMAIL";
            let (reader, progress, rest) = read(message, chunk, UNLIMITED);
            assert_eq!((progress, reader.fault(), &rest[..]), (Progress::Ended, None, &b"MAIL"[..]));
            assert_eq!(reader.size(), message.len() as u64 - 4 - 3 - 1);
            assert_eq!(reader.finish().unwrap(), (BytesMut::from(&b"T: t\r\nSubject: x\r\n\r\n..dot\r\n.\r\n"[..]), 6));
        }
    }

    #[test]
    fn an_empty_message_ends_at_once() {
        let (reader, progress, _) = read(b".\r\n", 9, 0);
        assert_eq!((progress, reader.fault(), reader.size()), (Progress::Ended, None, 0));
    }

    #[test]
    fn nothing_but_crlf_dot_crlf_ends_a_message() {
        for imitation in
            ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\n.\r", "\r\r.\r\n", "\r\n\r.\r\n"]
        {
            for chunk in 1..9 {
                let message = format!("a{imitation}MAIL FROM:<x@y>\r\n.\r\n");
                let (reader, progress, rest) = read(message.as_bytes(), chunk, UNLIMITED);
                assert_eq!((progress, rest.len()), (Progress::Ended, 0), "{imitation:?}");
                assert_eq!(reader.fault(), Some(Fault::LoneCrOrLf), "{imitation:?}");
                assert!(reader.holds_imitation_of_end(), "{imitation:?}");
            }
        }
        let (reader, ..) = read(b"a\nb\rc\r\n.\r\n", 99, UNLIMITED);
        assert_eq!((reader.fault(), reader.holds_imitation_of_end()), (Some(Fault::LoneCrOrLf), false));
    }

    #[test]
    fn size_is_refused_midstream_and_nothing_more_is_kept() {
        let message = [&[b'a'; 100][..], b"\r\n"].concat().repeat(50);
        let (reader, progress, _) = read(&message, 64, 1000);
        assert_eq!((progress, reader.fault()), (Progress::Continues, Some(Fault::TooLarge)));
        assert_eq!((reader.body.capacity(), reader.finish()), (0, Err(Fault::TooLarge)));
        for (limit, fault) in [(5, None), (4, Some(Fault::TooLarge))] {
            for chunk in 1..9 {
                assert_eq!(read(b"..ab\r\n.\r\n", chunk, limit).0.fault(), fault, "chunks of {chunk}");
            }
        }
    }

    #[test]
    fn a_text_line_has_998_octets_at_most() {
        for (dots, octets, fault) in [("", 998, None), ("", 999, Some(Fault::LineTooLong)), (".", 998, None)] {
            for chunk in [1, 7, 998, 999, 2000] {
                let message = format!("{dots}{}\r\n.\r\n", "a".repeat(octets));
                assert_eq!(read(message.as_bytes(), chunk, UNLIMITED).0.fault(), fault, "{octets} by {chunk}");
            }
        }
    }

    #[test]
    fn what_the_rules_mend_is_mended_at_the_end_and_the_rest_stays_as_it_came() {
        let rules = LineRules { lone_in_headers: Lone::Fix, lone_in_body: Lone::Fix, long: LongLines::Fix(998) };
        for chunk in 1..9 {
            let mut reader = DataReader::new(b"T: t\r\n", UNLIMITED, 0, rules);
            let message = b"A: 1\n\nb\n.\r\nMAIL\r\n.\r\n";
            let mut input = BytesMut::new();
            let last = message.chunks(chunk).map(|chunk| {
                input.extend_from_slice(chunk);
                reader.push(&mut input)
            });
            assert_eq!(last.last(), Some(Progress::Ended));
            assert!(reader.holds_imitation_of_end());
            let mended = b"T: t\r\nA: 1\r\n\r\nb\r\n..\r\nMAIL\r\n.\r\n";
            assert_eq!(reader.finish(), Ok((BytesMut::from(&mended[..]), 6)));
        }
    }

    #[test]
    fn a_line_end_made_whole_counts_as_what_it_is_sent_as() {
        let rules = LineRules { lone_in_headers: Lone::Fix, lone_in_body: Lone::Fix, ..LineRules::default() };
        for (size_max, fits) in [(11, true), (10, false)] {
            // As it came it has 10 octets; as it goes on, "A: b", an empty line, ".", each with two more.
            let mut reader = DataReader::new(b"T: t\r\n", size_max, 0, rules);
            let mut input = BytesMut::from(&b"A: b\n\r\n..\r\n.\r\n"[..]);
            assert_eq!(reader.push(&mut input), Progress::Ended);
            assert_eq!(reader.finish().is_ok(), fits, "{size_max}");
        }
    }

    proptest! {
        #[test]
        fn the_limit_is_of_the_message_as_its_author_wrote_it(
            lines in proptest::collection::vec("[.a]{0,4}", 0..8),
            chunk in 1usize..7,
        ) {
            let plain: usize = lines.iter().map(|line| line.len() + 2).sum();
            let stuffed = |line: &String| if line.starts_with('.') { format!(".{line}\r\n") } else { format!("{line}\r\n") };
            let wire: String = lines.iter().map(stuffed).chain([".\r\n".to_owned()]).collect();
            let (reader, progress, _) = read(wire.as_bytes(), chunk, plain as u64);
            prop_assert_eq!((progress, reader.size(), reader.fault()), (Progress::Ended, plain as u64, None));
            if 0 < plain {
                prop_assert_eq!(read(wire.as_bytes(), chunk, plain as u64 - 1).0.fault(), Some(Fault::TooLarge));
            }
        }

        #[test]
        fn chunks_do_not_matter(
            octets in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a')], 0..60),
            chunk in 1usize..9,
            limit in 0u64..60,
        ) {
            let (whole, whole_progress, whole_rest) = read(&octets, octets.len(), limit);
            let (cut, cut_progress, cut_rest) = read(&octets, chunk, limit);
            prop_assert_eq!((whole_progress, whole_rest), (cut_progress, cut_rest));
            prop_assert_eq!(whole.size(), cut.size());
            prop_assert_eq!(whole.holds_imitation_of_end(), cut.holds_imitation_of_end());
            // Which of two faults is met first may depend on the chunks; that there is one may not.
            prop_assert_eq!(whole.fault().is_some(), cut.fault().is_some());
            if whole.fault().is_none() {
                prop_assert_eq!(whole.finish(), cut.finish());
            }
        }

        #[test]
        fn the_end_is_where_a_search_for_it_finds_it(
            octets in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a')], 0..60),
        ) {
            let framed = [b"\r\n", &octets[..]].concat();
            let end = framed.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 5 - 2);
            let (_, progress, rest) = read(&octets, 1000, UNLIMITED);
            match end {
                Some(end) => prop_assert_eq!((progress, rest), (Progress::Ended, octets[end..].to_vec())),
                None => prop_assert_eq!(progress, Progress::Continues),
            }
        }
    }
}
