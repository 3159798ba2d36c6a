//! Messages that an operator chooses, by their queue or one by one. Each call passes over the table once.

use std::collections::VecDeque;

use message::MessageId;

use super::{DelayedPlace, QueueId, Queued, Queues, State, Taken, Ticket};

impl Queues {
    /// Makes the chosen delayed messages due now. Their retry counts stay. How many they were.
    pub fn flush_chosen(&mut self, wanted: impl Fn(QueueId, MessageId) -> bool) -> usize {
        self.flush_where(|queued| wanted(queued.queue, queued.id))
    }

    /// Takes the chosen messages that are active: each is to be settled, or given back. Those in flight stay with who has them.
    pub fn take_chosen(&mut self, wanted: impl Fn(QueueId, MessageId) -> bool) -> Vec<Taken> {
        let mut taken = Vec::new();
        for queue in self.with_active() {
            let Queues { queues, messages, .. } = self;
            let Some(domain) = queues.get_mut(queue.0) else { continue };
            let is_chosen =
                |number: &u32| messages.get(*number).is_some_and(|queued: &Queued| wanted(queue, queued.id));
            if !domain.active.iter().any(is_chosen) {
                continue;
            }
            let (chosen, rest): (VecDeque<u32>, VecDeque<u32>) =
                std::mem::take(&mut domain.active).into_iter().partition(is_chosen);
            let count = chosen.len();
            domain.active = chosen;
            taken.extend((0..count).map_while(|_| self.take(queue)));
            self.at_mut(queue).active = rest;
        }
        taken
    }

    /// The messages of the chosen queues that are active or delayed, in no order.
    pub fn ids(&self, wanted: impl Fn(QueueId) -> bool) -> impl Iterator<Item = MessageId> {
        let waits = |queued: &&Queued| queued.state != State::InFlight;
        let queued = self.messages.iter().map(|(_, queued)| queued).filter(waits);
        queued.filter(move |queued| wanted(queued.queue)).map(|queued| queued.id)
    }

    /// A message in flight is delayed until a monotonic second, untried; it may stay in memory with [`Queues::keep`], before
    /// anything else.
    pub fn delay_until(&mut self, ticket: Ticket, due: u64) -> DelayedPlace {
        let place = DelayedPlace(ticket.0);
        self.postpone(ticket, due);
        place
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use message::QueueName;
    use scheduler::Meters;

    use super::*;
    use crate::intake::tests::envelope;
    use crate::{Moment, ResidentLimits, ResidentOwners, RetryOptions, Whereabouts};

    const NONE: ResidentLimits =
        ResidentLimits { active_queue: 0, total: 0, octets: 0, failures: 0, large: 0, keep_envelopes: false };

    fn at(seconds: u64) -> Moment {
        Moment { seconds: Moment::ORIGIN + seconds, unix: Duration::from_secs(1_790_000_000 + seconds) }
    }

    fn enqueue(queues: &mut Queues, id: u64, domain: &str) -> (QueueId, MessageId) {
        let name = QueueName { binding_group: "g".into(), binding: "b".into(), domain: domain.into() };
        let queue = queues.queue(&name);
        let envelope = envelope(id, domain);
        let id = envelope.id;
        let arrival = ResidentOwners::default().resident(envelope, Some(message::Body::new()));
        queues.enqueue(queue, arrival, at(0), &NONE, 1000);
        (queue, id)
    }

    #[test]
    fn only_what_was_chosen_and_is_not_in_flight_is_taken_and_the_others_keep_their_order() {
        let mut queues = Queues::new(&Meters::new(), "test/0", at(0));
        let (queue, in_flight) = enqueue(&mut queues, 1, "x.test");
        let ticket = queues.take(queue).unwrap().ticket;
        let (_, delayed) = enqueue(&mut queues, 2, "x.test");
        let failing = queues.take(queue).unwrap().ticket;
        let options = RetryOptions { message_expiration: u64::MAX, ..RetryOptions::default() };
        let _ = queues.transient_failure(failing, "450 later", at(0), &options);
        let ids: Vec<MessageId> = (3..7).map(|id| enqueue(&mut queues, id, "x.test").1).collect();
        let (other, elsewhere) = enqueue(&mut queues, 7, "y.test");

        let chosen = [in_flight, delayed, ids[1], elsewhere];
        assert_eq!(queues.ids(|of| of == queue).count(), 5, "what is in flight waits for nothing");
        assert_eq!(queues.flush_chosen(|_, id| id == delayed), 1);
        let taken = queues.take_chosen(|of, id| of == queue && chosen.contains(&id));
        assert_eq!(taken.iter().map(|taken| taken.id).collect::<Vec<_>>(), [ids[1], delayed]);
        let left: Vec<_> = std::iter::from_fn(|| queues.take(queue)).map(|taken| (taken.id, taken.ticket)).collect();
        assert_eq!(left.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [ids[0], ids[2], ids[3]]);
        assert_eq!(queues.active(other), 1);

        for taken in taken {
            let _ = queues.delay_until(taken.ticket, at(60).seconds);
        }
        assert_eq!(queues.find(delayed).unwrap().whereabouts, Whereabouts::Delayed);
        assert_eq!((queues.row(queue).delayed, queues.row(queue).in_flight, queues.sweep(at(61))), (2, 4, 2));
        queues.delivered(ticket);
        left.into_iter().for_each(|(_, ticket)| queues.delivered(ticket));
        assert_eq!((queues.row(queue).in_flight, queues.active(queue)), (0, 2));
    }
}
