//! The header fields put in front of a message: its trace fields, and a Date and a Message-ID should it have none.
//!
//! They are written before the message comes, all of them, and those it turns out not to need are taken out once its header
//! section is known: so neither a message that lacks them nor one that has them is ever copied.

use bytes::{Buf, BytesMut};
use message::trace::{self, Trace};

use crate::conformance::{DateHeader, HeaderRules, MessageIdHeader, MissingHeaders};

/// How long each part is, in their order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Front {
    trace: usize,
    date: usize,
    message_id: usize,
    empty_line: usize,
}

/// Which parts a message gets beside its trace fields.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needed {
    pub(crate) date: bool,
    pub(crate) message_id: bool,
    pub(crate) empty_line: bool,
}

impl Front {
    /// Appends whatever a message may need under these rules.
    pub(crate) fn write(out: &mut Vec<u8>, facts: &Trace<'_>, with_trace: bool, rules: HeaderRules) -> Self {
        let mut part = |wanted: bool, write: &dyn Fn(&mut Vec<u8>)| {
            let begin = out.len();
            if wanted {
                write(out);
            }
            out.len() - begin
        };
        Self {
            trace: part(with_trace, &|out| trace::received_and_return_path(out, facts)),
            date: part(rules.date == DateHeader::IfNeeded, &|out| trace::date(out, facts.date)),
            message_id: part(rules.message_id == MessageIdHeader::IfNeeded, &|out| {
                trace::message_id(out, facts.id, facts.host);
            }),
            empty_line: part(rules.missing == MissingHeaders::Allow, &|out| out.extend_from_slice(b"\r\n")),
        }
    }

    /// Octets in front of the message.
    pub(crate) fn octets(&self) -> usize {
        self.trace + self.date + self.message_id + self.empty_line
    }

    /// Moves the parts that are needed to where the message begins, `removed` octets later than it did, and drops the rest.
    pub(crate) fn settle(self, body: &mut BytesMut, needed: Needed, removed: usize) {
        let mut source = self.octets();
        let mut begin = source + removed;
        for (octets, is_needed) in [
            (self.empty_line, needed.empty_line),
            (self.message_id, needed.message_id),
            (self.date, needed.date),
            (self.trace, true),
        ] {
            source -= octets;
            if is_needed {
                begin -= octets;
                body.copy_within(source..source + octets, begin);
            }
        }
        body.advance(begin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_leaves_no_trace() {
        let front = Front { trace: 3, date: 2, message_id: 4, empty_line: 1 };
        for (date, message_id, empty_line, removed, expected) in [
            (false, false, false, 0, "TTTrpS: x"),
            (true, true, true, 0, "TTTDDMMMMErpS: x"),
            (true, false, false, 2, "TTTDDS: x"),
            (false, true, false, 2, "TTTMMMMS: x"),
            (false, false, false, 2, "TTTS: x"),
        ] {
            let mut body = BytesMut::from("TTTDDMMMMErpS: x");
            front.settle(&mut body, Needed { date, message_id, empty_line }, removed);
            assert_eq!(body, expected);
        }
    }
}
