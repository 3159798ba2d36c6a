//! Mail that may belong to another queue, since what decides that has changed: marked by queue, and given out message by
//! message to be looked at.
//!
//! Invariant: `doubted` counts the active messages of a queue that came, or were looked at, before its last doubt.

use std::collections::VecDeque;

use message::QueueName;

use super::{QueueId, Queues, Taken, Ticket};
use crate::resident::Arrival;

impl Queues {
    /// Whether the queue has held mail for other domains than the one it is named for, as a gateway's does.
    pub fn is_shared(&self, queue: QueueId) -> bool {
        self.at(queue).is_shared
    }

    /// All mail now in the queue may belong elsewhere.
    pub fn doubt(&mut self, queue: QueueId) {
        if self.at(queue).doubts == u16::MAX {
            self.renumber_doubts(queue);
        }
        let domain = self.at_mut(queue);
        domain.doubts += 1;
        domain.doubted = domain.active.len();
    }

    /// Begins to count again: what was doubted stays so.
    fn renumber_doubts(&mut self, queue: QueueId) {
        for queued in self.messages.iter_mut().filter(|queued| queued.queue == queue) {
            queued.doubts = u16::from(queued.doubts == u16::MAX);
        }
        self.at_mut(queue).doubts = 1;
    }

    /// Takes the active messages that came before the last doubt: each is to be given to [`Queues::believed`] or to leave.
    pub fn take_doubted(&mut self, queue: QueueId) -> Vec<Taken> {
        let Queues { queues, messages, .. } = self;
        let Some(domain) = queues.get_mut(queue.0).filter(|domain| domain.doubted != 0) else { return Vec::new() };
        let is_doubted = |number: &u32| messages.get(*number).is_some_and(|queued| queued.doubts < domain.doubts);
        let (doubted, rest): (VecDeque<u32>, VecDeque<u32>) =
            std::mem::take(&mut domain.active).into_iter().partition(is_doubted);
        let count = doubted.len();
        domain.active = doubted;
        let taken = (0..count).map_while(|_| self.take(queue)).collect();
        self.at_mut(queue).active = rest;
        taken
    }

    /// A message in flight belongs where it is: it becomes active again, behind the others.
    pub fn believed(&mut self, ticket: Ticket, resident: Option<Arrival>) {
        let queue = self.in_flight(&ticket).queue;
        let doubts = self.at(queue).doubts;
        self.in_flight(&ticket).doubts = doubts;
        self.put_in(ticket.0, resident);
        self.at_mut(queue).in_flight -= 1;
        self.activate(ticket.0, VecDeque::push_back);
    }

    /// The queue of a message in flight.
    pub fn queue_of(&self, ticket: &Ticket) -> Option<&QueueName> {
        self.messages.get(ticket.0).map(|queued| self.name(queued.queue))
    }
}

#[cfg(test)]
mod tests {
    use message::MessageId;
    use scheduler::Meters;

    use super::*;
    use crate::intake::tests::envelope;
    use crate::{Moment, ResidentLimits, ResidentOwners, RetryOptions};

    /// Keeps nothing in memory.
    const NONE: ResidentLimits =
        ResidentLimits { active_queue: 0, total: 0, octets: 0, failures: 0, large: 0, keep_envelopes: false };

    fn at(seconds: u64) -> Moment {
        Moment { seconds: Moment::ORIGIN + seconds, unix: std::time::Duration::from_secs(1_790_000_000 + seconds) }
    }

    fn enqueue(queues: &mut Queues, id: u64) -> QueueId {
        let name = QueueName { binding_group: "g".into(), binding: "b".into(), domain: "x.test".into() };
        let queue = queues.queue(&name);
        let arrival = ResidentOwners::default().resident(envelope(id, "x.test"), Some(message::Body::new()));
        queues.enqueue(queue, arrival, at(0), &NONE, 1000);
        queue
    }

    fn believe_all(queues: &mut Queues, queue: QueueId) -> Vec<MessageId> {
        let doubted = queues.take_doubted(queue);
        let ids = doubted.iter().map(|taken| taken.id).collect();
        doubted.into_iter().for_each(|taken| queues.believed(taken.ticket, taken.resident));
        ids
    }

    #[test]
    fn each_message_is_looked_at_once_after_each_doubt_however_often_there_was_one() {
        let mut queues = Queues::new(&Meters::new(), "test/0", at(0));
        let queue = enqueue(&mut queues, 1);
        let delayed = queues.take(queue).unwrap();
        let options = RetryOptions { message_expiration: u64::MAX, ..RetryOptions::default() };
        let _ = queues.transient_failure(delayed.ticket, "450 later", at(0), &options);
        enqueue(&mut queues, 2);
        let in_flight = queues.take(queue).unwrap();
        // Across the highest number that is counted to, with a message that was just looked at and one that never was.
        for doubt in 0..u32::from(u16::MAX) + 3 {
            if doubt + 2 == u32::from(u16::MAX) {
                enqueue(&mut queues, 3);
                enqueue(&mut queues, 4);
            }
            queues.doubt(queue);
            let active = queues.active(queue);
            let near = u32::from(u16::MAX) - 3 < doubt;
            assert_eq!(if near { believe_all(&mut queues, queue).len() } else { active }, active, "doubt {doubt}");
            if near {
                assert!(queues.take_doubted(queue).is_empty(), "doubt {doubt}: looked at already");
            }
        }
        enqueue(&mut queues, 5);
        assert!(queues.take_doubted(queue).is_empty(), "it came after the last doubt");
        queues.put_back(in_flight.ticket, in_flight.resident);
        assert_eq!(believe_all(&mut queues, queue), [in_flight.id]);
        assert_eq!(queues.flush(|_| true), 1);
        assert_eq!(believe_all(&mut queues, queue), [delayed.id], "the delayed one was never looked at");
    }
}
