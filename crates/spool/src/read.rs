//! Reading a message: its envelope first, which says how large the body is; then memory is asked for, and only then the
//! body is read.
//!
//! Where there is no room the reader waits in line, on its own loop, and the thread that reads goes on with other work.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use message::{Body, Envelope, MessageId};
use scheduler::{MemoryShare, Reservation};

use crate::error::SpoolError;
use crate::spool::Spool;
use crate::ticket::{Ticket, block_on};

/// Resolves with a message, its body in memory that was asked for. Await it on a loop, or [`Read::wait`] for it on a thread
/// that may block.
#[must_use = "nothing is read before this resolves"]
pub struct Read {
    spool: Spool,
    id: MessageId,
    share: MemoryShare,
    stage: Stage,
}

enum Stage {
    Reading(Ticket<Attempt>),
    Waiting(Reservation),
}

/// What came of one attempt.
pub(crate) enum Attempt {
    Found(Box<(Envelope, Body)>),
    /// There is no memory for a body of so many octets now.
    Short {
        octets: u64,
    },
}

impl Read {
    pub(crate) fn new(spool: Spool, id: MessageId, share: &MemoryShare) -> Self {
        let stage = Stage::Reading(spool.read_within(id, share, None));
        Self { spool, id, share: share.clone(), stage }
    }

    /// Whether it waits for memory: it is in nobody's hands then, and may be given up and begun again at no cost.
    pub fn awaits_memory(&self) -> bool {
        matches!(self.stage, Stage::Waiting(_))
    }

    /// Blocks the calling thread until the message is there. Never on an event loop.
    pub fn wait(self) -> Result<(Envelope, Body), SpoolError> {
        block_on(self)
    }
}

impl Future for Read {
    type Output = Result<(Envelope, Body), SpoolError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            self.stage = match &mut self.stage {
                Stage::Reading(ticket) => match ready!(Pin::new(ticket).poll(context)) {
                    Ok(Attempt::Found(message)) => return Poll::Ready(Ok(*message)),
                    Ok(Attempt::Short { octets }) => Stage::Waiting(self.spool.bodies().reserve(octets, &self.share)),
                    Err(error) => return Poll::Ready(Err(error)),
                },
                Stage::Waiting(reservation) => {
                    let memory = ready!(Pin::new(reservation).poll(context));
                    Stage::Reading(self.spool.read_within(self.id, &self.share, Some(memory)))
                }
            };
        }
    }
}
