//! One mail transaction of a client session: what was asked, and what became of each recipient.

use smallvec::SmallVec;

use super::stage::Stage;
use crate::pieces::Pieces;
use crate::reply::Reply;

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server took responsibility for the message; its reply to the end of data.
    Delivered(Reply),
    /// Refused, or no usable answer came.
    Failed(Failure),
    /// The server said nothing about it that counts: may be tried again at once, here or elsewhere.
    Untried,
}

/// Why and where something failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where the session stood.
    pub stage: Stage,
    /// The server's reply, or one of ours, whose text begins with `[internal]`.
    pub reply: Reply,
    /// The reply is ours.
    pub internal: bool,
}

/// A transaction that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// One outcome per forward-path, in the order they were submitted.
    pub outcomes: SmallVec<[Outcome; 1]>,
    /// The size of the message (RFC 1870) once its body was given to the connection; until then the octets of commands.
    pub bytes: u64,
    /// How many recipients the server took, if it said that more are too many for one transaction.
    pub recipients_max: Option<usize>,
}

/// A transaction in progress.
#[derive(Debug)]
pub(super) struct Transaction {
    /// Decided outcomes; the undecided ones share the reply to the end of data.
    outcomes: SmallVec<[Option<Outcome>; 1]>,
    body: Pieces,
    /// That of the body, if it was wanted already.
    size: Option<u64>,
    pub(super) bytes: u64,
    /// The body, or the lone dot of an empty one, is in the outbox: the next group of commands may follow it.
    pub(super) ended_data: bool,
    pub(super) complete: bool,
    /// Its commands were said before it was known what became of the message before it.
    pub(super) in_advance: bool,
    /// Recipients that were taken.
    taken: usize,
    recipients_max: Option<usize>,
}

impl Transaction {
    pub(super) fn new(recipients: usize, body: Pieces, size: Option<u64>) -> Self {
        let outcomes = std::iter::repeat_n(None, recipients).collect();
        Self {
            outcomes,
            body,
            size,
            bytes: 0,
            ended_data: false,
            complete: false,
            in_advance: false,
            taken: 0,
            recipients_max: None,
        }
    }

    /// The server took a recipient.
    pub(super) fn take(&mut self, recipient: usize) {
        self.taken += usize::from(!self.is_decided(recipient));
    }

    /// Whether it took one.
    pub(super) fn has_taken(&self) -> bool {
        0 < self.taken
    }

    /// It takes no more in this transaction.
    pub(super) fn is_full(&mut self) {
        self.recipients_max.get_or_insert(self.taken);
    }

    /// Whether the fate of a recipient is known.
    pub(super) fn is_decided(&self, recipient: usize) -> bool {
        !matches!(self.outcomes.get(recipient), Some(None))
    }

    pub(super) fn decide(&mut self, recipient: usize, outcome: Outcome) {
        if let Some(slot @ None) = self.outcomes.get_mut(recipient) {
            *slot = Some(outcome);
        }
    }

    /// Gives every undecided recipient that outcome.
    pub(super) fn decide_rest(&mut self, outcome: &Outcome) {
        for slot in self.outcomes.iter_mut().filter(|slot| slot.is_none()) {
            *slot = Some(outcome.clone());
        }
    }

    /// Whether any recipient is still waiting for the message to be taken.
    pub(super) fn has_undecided(&self) -> bool {
        self.outcomes.iter().any(Option::is_none)
    }

    /// Those recipients.
    pub(super) fn undecided(&self) -> impl Iterator<Item = usize> {
        self.outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_none()).map(|(recipient, _)| recipient)
    }

    pub(super) fn take_body(&mut self) -> Pieces {
        self.bytes = self.size.unwrap_or_else(|| self.body.content_octets());
        self.ended_data = true;
        std::mem::take(&mut self.body)
    }

    pub(super) fn into_done(self) -> Done {
        let outcomes = self.outcomes.into_iter().map(|outcome| outcome.unwrap_or(Outcome::Untried)).collect();
        Done { outcomes, bytes: self.bytes, recipients_max: self.recipients_max }
    }
}
