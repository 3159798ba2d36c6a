//! The messages of one transaction: siblings of one queue, which share a body, as many as may go together and wherever they
//! are. Of those that are not in memory the envelopes are read, of the first one also the body if need be.
//!
//! Invariant: what was taken is handed out, or is settled or back in its queue.

use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use message::{Body, Envelope, MessageId};
use queue::SiblingSearch;
use smallvec::SmallVec;
use spool::SpoolError;

use crate::held::{Held, InHand, Taken, Tokens};
use crate::maintainer::Maintainer;
use crate::memory_wait::NotedWait;
use crate::record::DomainRecord;

/// The messages of a transaction, the first one with its body.
pub(crate) type Siblings = SmallVec<[InHand; 1]>;

/// Siblings that were taken, and are not all in memory.
pub(crate) struct Gathering {
    first: First,
    known: Siblings,
    unread: Option<Unread>,
    /// For memory.
    waits: NotedWait,
}

enum First {
    Known(InHand),
    Reading {
        held: Held,
        id: MessageId,
        read: Box<spool::Read>,
    },
    /// It could not be read, and that was dealt with.
    Lost,
}

struct Unread {
    held: Vec<(Held, MessageId)>,
    read: Box<spool::ReadAllHeaders>,
}

impl Maintainer {
    /// Takes the siblings of a message that was taken, up to `most` with it and while `pay` finds a place for one more.
    pub(crate) fn gather(
        self: &Rc<Self>,
        record: &Rc<DomainRecord>,
        first: Taken,
        most: usize,
        mut pay: impl FnMut() -> Option<Tokens>,
    ) -> Result<Siblings, Box<Gathering>> {
        let (mut known, mut unread, mut search) = (Siblings::new(), Vec::new(), SiblingSearch::default());
        while known.len() + unread.len() + 1 < most {
            let Some(tokens) = pay() else { break };
            let taken = first.held.ticket().and_then(|of| self.queues.borrow_mut().take_sibling(of, &mut search));
            let Some(taken) = taken else { break };
            let mut held = self.held(taken.ticket);
            held.pay(tokens);
            match taken.resident {
                Some(resident) => known.push(InHand { held, resident }),
                None => unread.push((held, taken.id)),
            }
        }
        match first.resident {
            Some(resident) if unread.is_empty() => {
                let first = InHand { held: first.held, resident };
                Ok(self.kept_together(first, known))
            }
            resident => Err(self.gathering(record, (first.held, first.id, resident), known, unread)),
        }
    }

    fn gathering(
        &self,
        record: &Rc<DomainRecord>,
        (held, id, resident): (Held, MessageId, Option<queue::Arrival>),
        known: Siblings,
        unread: Vec<(Held, MessageId)>,
    ) -> Box<Gathering> {
        let spool = &self.deps.spool;
        let first = match resident {
            Some(resident) => First::Known(InHand { held, resident }),
            None => First::Reading { held, id, read: Box::new(spool.read_for(id, record.share())) },
        };
        let ids: Vec<MessageId> = unread.iter().map(|(_, id)| *id).collect();
        let read = (!ids.is_empty()).then(|| Box::new(spool.read_all_headers(ids)));
        let unread = read.map(|read| Unread { held: unread, read });
        Box::new(Gathering { first, known, unread, waits: NotedWait::new(record) })
    }

    /// The first message and its siblings; what only seemed to be one goes back to the queue.
    fn kept_together(&self, first: InHand, others: Siblings) -> Siblings {
        let mut together = Siblings::new();
        let mut strangers = Vec::new();
        together.push(first);
        for other in others {
            let (first, envelope) = (together[0].envelope(), other.envelope());
            if first.shares_transaction(envelope) { together.push(other) } else { strangers.push(other) }
        }
        self.put_back(strangers.into_iter());
        together
    }
}

impl Gathering {
    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        1 + self.known.len() + self.unread.as_ref().map_or(0, |unread| unread.held.len())
    }

    /// Whether it waits for memory: then nothing is lost by giving it up.
    pub(crate) fn awaits_memory(&self) -> bool {
        matches!(&self.first, First::Reading { read, .. } if read.awaits_memory())
    }

    /// Ready when all is read: the siblings, none if the first of them could not be read, which is dealt with then.
    pub(crate) fn poll(&mut self, maintainer: &Rc<Maintainer>, context: &mut Context<'_>) -> Poll<Siblings> {
        if let First::Reading { read, .. } = &mut self.first {
            let polled = Pin::new(read).poll(context);
            self.note_wait(maintainer, polled.is_pending() && self.awaits_memory());
            let Poll::Ready(result) = polled else { return Poll::Pending };
            self.first_is_read(maintainer, result);
        }
        if let Some(unread) = &mut self.unread {
            let Poll::Ready(result) = Pin::new(&mut unread.read).poll(context) else { return Poll::Pending };
            self.others_are_read(maintainer, result);
        }
        let others = std::mem::take(&mut self.known);
        match std::mem::replace(&mut self.first, First::Lost) {
            First::Known(first) => Poll::Ready(maintainer.kept_together(first, others)),
            _ => {
                // They have no body now: each has a turn of its own.
                maintainer.put_back(others.into_iter());
                Poll::Ready(Siblings::new())
            }
        }
    }

    fn note_wait(&mut self, maintainer: &Maintainer, waits: bool) {
        let Self { first, known, unread, waits: noted } = self;
        noted.note(waits, maintainer.deps.clock.now(), || {
            let first = if let First::Reading { id, .. } = first { Some(*id) } else { None };
            let unread = unread.iter().flat_map(|unread| unread.held.iter().map(|(_, id)| *id));
            first.into_iter().chain(known.iter().map(|known| known.envelope().id)).chain(unread).collect()
        });
    }

    fn first_is_read(&mut self, maintainer: &Rc<Maintainer>, result: Result<(Envelope, Body), SpoolError>) {
        if let First::Reading { held, id, .. } = std::mem::replace(&mut self.first, First::Lost)
            && let Some(message) = maintainer.taken_from_spool(held, id, result)
        {
            self.first = First::Known(message);
        }
    }

    fn others_are_read(
        &mut self,
        maintainer: &Rc<Maintainer>,
        result: Result<Vec<Result<Envelope, SpoolError>>, SpoolError>,
    ) {
        let Some(unread) = self.unread.take() else { return };
        // If the job itself failed, each goes back as it is dropped, to be the first of its transaction.
        for ((held, id), envelope) in unread.held.into_iter().zip(result.unwrap_or_default()) {
            self.known.extend(maintainer.envelope_from_spool(held, id, envelope));
        }
    }

    /// Gives everything back; what is being read is waited for, so that the next connection need not begin again with it.
    pub(crate) async fn give_back(mut self: Box<Self>, maintainer: &Rc<Maintainer>) {
        let siblings = std::future::poll_fn(|context| self.poll(maintainer, context)).await;
        maintainer.put_back(siblings.into_iter());
    }
}
