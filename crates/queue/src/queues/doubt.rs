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
