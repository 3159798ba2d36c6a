//! A message in an attempt, and the right to settle it, which cannot be lost: what is dropped unsettled goes back to its
//! queue, to be read from the spool again.

use std::rc::Rc;

use message::{Body, Envelope, MessageId};
use queue::{Arrival, Ticket};
use smtp::Pieces;

use crate::maintainer::{Maintainer, TICK};
use crate::throttle::Token;

/// The right to settle one message.
pub(crate) struct Held {
    maintainer: Rc<Maintainer>,
    ticket: Option<Ticket>,
    paid: Tokens,
}

/// What the throttles of the queue and of the host took for a message, to be free again if it is not tried.
pub(crate) type Tokens = [Option<Token>; 2];

/// A message taken for an attempt, in memory or not.
pub(crate) struct Taken {
    pub(crate) held: Held,
    pub(crate) id: MessageId,
    /// With its body.
    pub(crate) resident: Option<Arrival>,
}

/// A message in an attempt.
pub(crate) struct InHand {
    pub(crate) held: Held,
    pub(crate) resident: Arrival,
}

impl Held {
    /// The ticket, to settle the message with it at once.
    pub(crate) fn settle(mut self) -> Ticket {
        let now = self.maintainer.deps.clock.now();
        self.paid.iter_mut().filter_map(Option::take).for_each(|token| token.spend(now));
        self.returned()
    }

    /// The ticket of a message that was not tried.
    pub(crate) fn returned(mut self) -> Ticket {
        self.ticket.take().expect("only settling takes the ticket, and it takes the whole of Held")
    }

    /// The throttles have a place for the message.
    pub(crate) fn pay(&mut self, tokens: Tokens) {
        self.paid = tokens;
    }

    /// The ticket, to ask about the message.
    pub(crate) fn ticket(&self) -> Option<&Ticket> {
        self.ticket.as_ref()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.maintainer.queues.borrow_mut().put_back(ticket, None);
            self.maintainer.wake_in(TICK);
        }
    }
}

impl InHand {
    pub(crate) fn envelope(&self) -> &Envelope {
        &self.resident.envelope
    }

    pub(crate) fn body(&self) -> Option<&Body> {
        self.resident.body.as_ref()
    }

    /// The message as its next hop gets it.
    pub(crate) fn rendered(&self) -> Option<Pieces> {
        self.body().map(|body| message::rendered(body, self.envelope().edits.as_deref()))
    }
}

impl Maintainer {
    /// Holds a message that was taken from the table.
    pub(crate) fn held(self: &Rc<Self>, ticket: Ticket) -> Held {
        Held { maintainer: self.clone(), ticket: Some(ticket), paid: Tokens::default() }
    }

    /// As [`Maintainer::held`], with what was taken.
    pub(crate) fn taken(self: &Rc<Self>, taken: queue::Taken) -> Taken {
        let whole = taken.resident.filter(|resident| resident.body.is_some());
        Taken { held: self.held(taken.ticket), id: taken.id, resident: whole }
    }
}
