//! Siblings: messages of one batch in one queue, which share a body and so can share a transaction, whatever of them is in
//! memory.
//!
//! A message's batch is in its envelope, which may be on disk, so the table keeps two octets of it. They tell who is worth
//! asking: whoever takes a message for a sibling reads its envelope, and gives back what is none.

use std::hash::{Hash as _, Hasher as _};

use message::Envelope;

use super::{Queues, Taken, Ticket};

/// How far the search for the siblings of one message has come.
#[derive(Debug, Default)]
pub struct SiblingSearch {
    place: usize,
    strangers: usize,
}

impl Queues {
    /// Takes the next message of the queue that seems to be a sibling of one in flight. The search, begun anew for each
    /// message, ends where `STRANGERS_MAX` others in a row are active: siblings came together, are delayed together and
    /// are read from the spool in their order, so they stand close, however many sessions or batches were mixed. The table
    /// may not change while a search is used.
    pub fn take_sibling(&mut self, of: &Ticket, search: &mut SiblingSearch) -> Option<Taken> {
        let (queue, kin) = (self.in_flight(of).queue, self.in_flight(of).kin);
        while search.strangers < STRANGERS_MAX {
            let number = *self.at(queue).active.get(search.place)?;
            if self.messages.get(number).is_some_and(|queued| queued.kin == kin) {
                search.strangers = 0;
                return self.take_at(queue, search.place);
            }
            search.place += 1;
            search.strangers += 1;
        }
        None
    }
}

/// What two messages of one batch with the same body and header section have in common.
pub(super) fn kin(envelope: &Envelope) -> u16 {
    let edits = envelope.edits.as_ref().map_or(0, |edits| {
        let mut hasher = std::hash::DefaultHasher::new();
        edits.text().hash(&mut hasher);
        hasher.finish()
    });
    mark(envelope.body_id().to_bits() ^ edits)
}

fn mark(bits: u64) -> u16 {
    // The high part of a multiplicative hash: ids that follow each other differ.
    (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16
}

/// Messages of other batches between two siblings.
const STRANGERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use message::{Body, Envelope, MessageId, QueueName};
    use scheduler::Meters;

    use super::*;
    use crate::intake::tests::envelope;
    use crate::{Moment, QueueId, ResidentLimits, ResidentOwners};

    /// Keeps nothing in memory.
    const NONE: ResidentLimits =
        ResidentLimits { active_queue: 0, total: 0, octets: 0, failures: 0, large: 0, keep_envelopes: false };

    fn at(seconds: u64) -> Moment {
        Moment { seconds: Moment::ORIGIN + seconds, unix: Duration::from_secs(1_790_000_000 + seconds) }
    }

    fn table(batches: impl Iterator<Item = u64>) -> (Queues, QueueId) {
        let mut queues = Queues::new(&Meters::new(), "test/0", at(0));
        let name = QueueName { binding_group: "g".into(), binding: "b".into(), domain: "x.test".into() };
        let queue = queues.queue(&name);
        for (id, batch) in batches.enumerate() {
            let envelope = Envelope { batch: MessageId::from_bits(batch), ..envelope(1000 + id as u64, "x.test") };
            let arrival = ResidentOwners::default().resident(envelope, Some(Body::new()));
            queues.enqueue(queue, arrival, at(0), &NONE, 1000);
        }
        (queues, queue)
    }

    /// Takes a message and `most` siblings: how many there were.
    fn take(queues: &mut Queues, queue: QueueId, most: usize) -> usize {
        let first = queues.take(queue).unwrap();
        let mut search = SiblingSearch::default();
        let siblings: Vec<Taken> =
            std::iter::from_fn(|| queues.take_sibling(&first.ticket, &mut search)).take(most).collect();
        let count = siblings.len();
        siblings.into_iter().for_each(|taken| queues.delivered(taken.ticket));
        queues.delivered(first.ticket);
        count
    }

    #[test]
    fn siblings_are_found_though_nothing_of_them_is_in_memory() {
        let (mut queues, queue) = table(std::iter::repeat_n(7, 250));
        assert_eq!([99, 99, 99].map(|most| take(&mut queues, queue, most)), [99, 99, 49]);
    }

    #[test]
    fn siblings_are_found_between_those_of_other_batches_and_the_others_keep_their_order() {
        let (mut queues, queue) = table((0..1000).map(|place| place % 10));
        for _ in 0..10 {
            assert_eq!(take(&mut queues, queue, 1000), 99);
        }
        assert_eq!(queues.active(queue), 0);
    }

    #[test]
    fn single_messages_are_taken_alone_and_the_search_is_bounded() {
        let (mut queues, queue) = table((0..100_000).map(|place| if place == 90_000 { 0 } else { place }));
        assert_eq!(take(&mut queues, queue, 1000), 0, "too far away");
    }

    #[test]
    fn siblings_that_lie_thinly_are_found_as_long_as_the_strangers_between_two_are_few() {
        for (strangers, found) in [(STRANGERS_MAX as u64 - 1, 9), (STRANGERS_MAX as u64, 0)] {
            let apart = strangers + 1;
            let batches = (0..10 * apart).map(|place| if place % apart == 0 { 7 } else { 1_000_000 + place });
            let (mut queues, queue) = table(batches);
            assert_eq!(take(&mut queues, queue, 1000), found, "{strangers} between two");
            assert_eq!(queues.active(queue) as u64, 10 * apart - 1 - found as u64, "strangers stay");
        }
    }

    #[test]
    fn consecutive_ids_have_different_marks() {
        let marks: std::collections::HashSet<u16> = (0..1000).map(|id| mark(id << 16)).collect();
        assert!(990 < marks.len(), "{}", marks.len());
    }
}
