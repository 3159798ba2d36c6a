//! The spool's one door: the chain of IO modules, walked for every message.
//!
//! Takes bodies and envelopes, gives tickets. Called from event loops; nothing here blocks except `close` and the calls
//! named `..._and_wait`. Reads run in the `SwapIn` pool.
//!
//! Invariant: a ticket resolves with success only when every module that took a share has made it durable.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use message::{Body, Envelope, MessageId};

use crate::chain::{BodyIn, BodyOut, CommitSet, HeadersIn, HeadersOut, IoCaller, IoModule, IoResult};
use crate::error::SpoolError;
use crate::ticket::{Admission, Ticket};

/// Resolves when what was handed over survives `kill -9` and power loss.
pub type Stored = Ticket<()>;
/// Resolves when the unlink has been taken into the bounded backlog; it is durable soon after, with a following commit.
pub type Unlinked = Ticket<()>;
/// Resolves with a message.
pub type Read = Ticket<(Envelope, Body)>;
/// Resolves with a message's envelope.
pub type ReadHeaders = Ticket<Envelope>;
/// Resolves when everything found on disk has been handed over.
pub type DiskQueueRead = Ticket<()>;

/// Work for a pool.
pub type Job = Box<dyn FnOnce() + Send>;

/// Where blocking reads run.
pub trait ReadPool: Send + Sync {
    /// Runs `job` soon on a thread that may block. A job that is refused is dropped; its caller sees a closed spool.
    fn submit(&self, job: Job);

    /// As [`ReadPool::submit`]; if there is no room yet, the reader awaits the admission that is returned.
    fn admit(&self, job: Job) -> Option<Admission> {
        self.submit(job);
        None
    }
}

impl ReadPool for scheduler::ThreadPool {
    fn submit(&self, job: Job) {
        let _ = self.submit_blocking(scheduler::Job::new(job));
    }

    fn admit(&self, job: Job) -> Option<Admission> {
        let pool = self.clone();
        let mut admission: Admission = Box::pin(async move {
            // A refusal drops the job, and with it the promise.
            let _ = scheduler::ThreadPool::submit(&pool, scheduler::Job::new(job)).await;
        });
        // Nearly always there is room; whoever holds the ticket polls again otherwise.
        match admission.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(()) => None,
            Poll::Pending => Some(admission),
        }
    }
}

/// The IO chain. Cloning shares it.
#[derive(Clone)]
pub struct Spool {
    chain: Arc<Chain>,
}

struct Chain {
    modules: Vec<Arc<dyn IoModule>>,
    pool: Arc<dyn ReadPool>,
}

impl Spool {
    /// A chain of `modules` in load order; the last ones store. Reads run in `pool`.
    pub fn new(modules: Vec<Arc<dyn IoModule>>, pool: Arc<dyn ReadPool>) -> Self {
        Self { chain: Arc::new(Chain { modules, pool }) }
    }

    /// The names of the chain's modules, in order.
    pub fn modules(&self) -> Vec<&str> {
        self.chain.modules.iter().map(|module| module.name()).collect()
    }

    /// Stores one body and the envelopes of all its recipients: all of it, or nothing. The envelopes bear the same `batch`.
    pub fn store(&self, body: &Body, envelopes: &[Envelope]) -> Stored {
        self.chain.store(IoCaller::Asynchronous, body, envelopes)
    }

    /// As [`Spool::store`], for a thread that may block.
    pub fn store_and_wait(&self, body: &Body, envelopes: &[Envelope]) -> Result<(), SpoolError> {
        self.chain.store(IoCaller::Synchronous, body, envelopes).wait()
    }

    /// Stores the changed envelope of a message that is in the spool.
    pub fn rewrite(&self, envelope: &Envelope) -> Stored {
        let mut set = CommitSet::default();
        match self.chain.write_headers(IoCaller::Asynchronous, &mut set, envelope) {
            Ok(()) => self.chain.commit(set),
            Err(error) => Ticket::ready(Err(error)),
        }
    }

    /// The message is finished. Its body goes with the last sibling.
    pub fn unlink(&self, id: MessageId) -> Unlinked {
        match self.chain.unlink(IoCaller::Asynchronous, id) {
            Ok(set) => self.chain.commit(set),
            Err(error) => Ticket::ready(Err(error)),
        }
    }

    /// The message, body and all.
    pub fn read(&self, id: MessageId) -> Read {
        self.in_pool(move |chain| {
            let envelope = chain.read_headers(IoCaller::Asynchronous, HeadersIn::new(id, None))?;
            let body = chain.read_body(IoCaller::Asynchronous, id)?;
            Ok((envelope, body))
        })
    }

    /// The message's envelope.
    pub fn read_headers(&self, id: MessageId) -> ReadHeaders {
        self.in_pool(move |chain| chain.read_headers(IoCaller::Asynchronous, HeadersIn::new(id, None)))
    }

    /// Reads what an earlier run left, on a thread of its own, and hands each message to `each`. Mail is accepted
    /// meanwhile. Call it once.
    pub fn process_disk_queue(&self, mut each: Box<dyn FnMut(Envelope) + Send>) -> DiskQueueRead {
        let (promise, ticket) = Ticket::new();
        let chain = Arc::clone(&self.chain);
        let thread = std::thread::Builder::new().name("spool-in".to_owned());
        let started = thread.spawn(move || promise.keep(chain.process_disk_queue(&mut *each)));
        if let Err(error) = started {
            tracing::error!(target: "SPOOL", "cannot start the thread that reads the spool: {error}");
        }
        ticket
    }

    /// Writes and syncs everything handed over before, and gives the spool up. Blocks.
    pub fn close(&self) {
        for module in &self.chain.modules {
            module.close();
        }
    }

    fn in_pool<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Chain) -> Result<T, SpoolError> + Send + 'static,
    ) -> Ticket<T> {
        let (promise, ticket) = Ticket::new();
        let chain = Arc::clone(&self.chain);
        let admission = self.chain.pool.admit(Box::new(move || promise.keep(work(&chain))));
        ticket.after(admission)
    }
}

impl Chain {
    fn store(&self, caller: IoCaller, body: &Body, envelopes: &[Envelope]) -> Stored {
        let Some(first) = envelopes.first() else { return Ticket::ready(Ok(())) };
        let mut set = CommitSet::default();
        let mut body = BodyOut { batch: first.batch, octets: body.clone() };
        let written = self.walk(|module| module.write_body(caller, &mut set, &mut body, false));
        if let Err(error) = written {
            return Ticket::ready(Err(error));
        }
        for envelope in envelopes {
            if let Err(error) = self.write_headers(caller, &mut set, envelope) {
                return Ticket::ready(Err(error));
            }
        }
        self.commit(set)
    }

    fn write_headers(&self, caller: IoCaller, set: &mut CommitSet, envelope: &Envelope) -> Result<(), SpoolError> {
        let mut headers = HeadersOut { envelope, encoded: None };
        self.walk(|module| module.write_headers(caller, set, &mut headers, false))
    }

    fn unlink(&self, caller: IoCaller, id: MessageId) -> Result<CommitSet, SpoolError> {
        let mut set = CommitSet::default();
        self.walk(|module| module.unlink_headers(caller, &mut set, id))?;
        self.walk(|module| module.unlink_body(caller, &mut set, id))?;
        Ok(set)
    }

    fn read_headers(&self, caller: IoCaller, mut headers: HeadersIn) -> Result<Envelope, SpoolError> {
        if headers.encoded.is_none() {
            self.walk(|module| module.read_headers(caller, &mut headers))?;
        }
        decode(headers.id, &headers.finish()?)
    }

    fn read_body(&self, caller: IoCaller, id: MessageId) -> Result<Body, SpoolError> {
        let mut body = BodyIn::new(id);
        self.walk(|module| module.read_body(caller, &mut body))?;
        Ok(Body::from(body.finish()?))
    }

    fn process_disk_queue(&self, each: &mut (dyn FnMut(Envelope) + Send)) -> Result<(), SpoolError> {
        let Some(owner) = self.modules.iter().position(|module| module.owns_disk_queue()) else { return Ok(()) };
        let mut hand_over = |id, encoded: Vec<u8>| {
            // Only the modules before the owner can have transformed what it stored.
            let found = if owner == 0 {
                decode(id, &encoded)
            } else {
                self.read_headers(IoCaller::Synchronous, HeadersIn::new(id, None))
            };
            match found {
                Ok(envelope) => each(envelope),
                Err(error) => tracing::error!(target: "SPOOL", "left in the spool, not delivered: {error}"),
            }
        };
        self.modules[owner].process_disk_queue(&mut hand_over)
    }

    fn commit(&self, mut set: CommitSet) -> Ticket<()> {
        for module in &self.modules {
            module.commit(&mut set);
        }
        set.finish()
    }

    fn walk(&self, mut step: impl FnMut(&dyn IoModule) -> IoResult) -> Result<(), SpoolError> {
        for module in &self.modules {
            match step(module.as_ref()) {
                IoResult::Done => return Ok(()),
                IoResult::Cont => {}
                IoResult::Fail(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn decode(id: MessageId, encoded: &[u8]) -> Result<Envelope, SpoolError> {
    Envelope::decode(encoded).map_err(|error| SpoolError::Damaged { id, why: error.to_string() })
}
