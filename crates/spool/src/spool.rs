//! The spool's one door: the chain of IO modules, walked for every message.
//!
//! Takes bodies and envelopes, gives tickets. Called from event loops; nothing here blocks except `close` and the calls
//! named `..._and_wait`. Reads run in the `SwapIn` pool.
//!
//! Invariant: a ticket resolves with success only when every module that took a share has made it durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use message::{Body, Envelope, MessageId};
use scheduler::{MemoryCharge, MemoryOwner, MemoryShare};

use crate::chain::{BodyIn, BodyOut, CommitSet, HeadersIn, HeadersOut, IoCaller, IoModule, IoResult};
use crate::error::SpoolError;
use crate::held::Held;
use crate::read::{Attempt, Read};
use crate::relay::relay;
use crate::ticket::{Admission, Ticket};

/// Resolves when what was handed over survives `kill -9` and power loss.
pub type Stored = Ticket<()>;
/// Resolves when the unlink has been taken into the bounded backlog; it is durable soon after, with a following commit.
pub type Unlinked = Ticket<()>;
/// Resolves with a message's envelope.
pub type ReadHeaders = Ticket<Envelope>;
/// Resolves to the envelopes, or to why each cannot be had.
pub type ReadAllHeaders = Ticket<Vec<Result<Envelope, SpoolError>>>;
/// Resolves when everything found on disk has been handed over.
pub type DiskQueueRead = Ticket<()>;

/// A body, and the messages that have it: they agree on [`Envelope::body_id`], and no other part does.
pub type Part<'a> = (&'a Body, &'a [Envelope]);

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
    held: Arc<Held>,
    /// What bodies that are read are charged to.
    bodies: MemoryOwner,
    room: Room,
    /// Whether a start removes what it cannot understand.
    unlink_unreadable: AtomicBool,
}

/// What is known of the room for new mail. Nothing is looked at before something was refused for want of it: until then
/// there is at least what is left of the segment being written.
#[derive(Default)]
struct Room {
    was_full: AtomicBool,
    /// Octets it lacks of `u64::MAX`, so that the default is no bound.
    lacking: AtomicU64,
}

impl Spool {
    /// A chain of `modules` in load order; the last ones store. Reads run in `pool`.
    pub fn new(modules: Vec<Arc<dyn IoModule>>, pool: Arc<dyn ReadPool>) -> Self {
        Self::charging(MemoryOwner::default(), modules, pool)
    }

    /// As [`Spool::new`], with an owner for the memory of bodies that are read.
    pub fn charging(bodies: MemoryOwner, modules: Vec<Arc<dyn IoModule>>, pool: Arc<dyn ReadPool>) -> Self {
        let (held, room, unlink_unreadable) = (Arc::default(), Room::default(), AtomicBool::default());
        Self { chain: Arc::new(Chain { modules, pool, held, bodies, room, unlink_unreadable }) }
    }

    /// Whether [`Spool::process_disk_queue`] removes a message whose envelope it cannot understand; otherwise that stays for
    /// the next start. What could not be read at all always stays.
    pub fn unlink_unreadable(&self, yes: bool) {
        self.chain.unlink_unreadable.store(yes, Ordering::Relaxed);
    }

    /// The names of the chain's modules, in order.
    pub fn modules(&self) -> Vec<&str> {
        self.chain.modules.iter().map(|module| module.name()).collect()
    }

    /// Stores one body and the envelopes of all its recipients: all of it, or nothing. The envelopes bear the same `batch`.
    /// The caller keeps the message in memory, so that a short-cut module may put the store off.
    pub fn store(&self, body: &Body, envelopes: &[Envelope]) -> Stored {
        if !self.chain.is_slow_to_write(body.len()) {
            return self.chain.store(IoCaller::Asynchronous, &[(body, envelopes)], false);
        }
        let (body, envelopes) = (body.clone(), envelopes.to_vec());
        self.walk_in_pool(move |chain| chain.store(IoCaller::Synchronous, &[(&body, &envelopes)], false))
    }

    /// As [`Spool::store`], for messages of one transaction that have different bodies: all of them, or none.
    pub fn store_parts(&self, parts: &[Part<'_>]) -> Stored {
        if !parts.iter().any(|(body, _)| self.chain.is_slow_to_write(body.len())) {
            return self.chain.store(IoCaller::Asynchronous, parts, false);
        }
        let parts: Vec<(Body, Vec<Envelope>)> =
            parts.iter().map(|&(body, envelopes)| (body.clone(), envelopes.to_vec())).collect();
        self.walk_in_pool(move |chain| {
            let parts: Vec<Part<'_>> = parts.iter().map(|(body, envelopes)| (body, &envelopes[..])).collect();
            chain.store(IoCaller::Synchronous, &parts, false)
        })
    }

    /// As [`Spool::store`], for a thread that may block.
    pub fn store_and_wait(&self, body: &Body, envelopes: &[Envelope]) -> Result<(), SpoolError> {
        self.chain.store(IoCaller::Synchronous, &[(body, envelopes)], false).wait()
    }

    /// As [`Spool::store_and_wait`], and no module may put it off: the message is on disk then.
    pub fn force_and_wait(&self, body: &Body, envelopes: &[Envelope]) -> Result<(), SpoolError> {
        self.chain.store(IoCaller::Synchronous, &[(body, envelopes)], true).wait()
    }

    /// Stores the changed envelope of a message that is in the spool. The caller lets go of the message then, so the write
    /// is forced, unless a short-cut module had the message kept in memory and still wants it there.
    pub fn rewrite(&self, envelope: &Envelope) -> Stored {
        let held = self.chain.in_memory(envelope.id);
        if !held.is_some_and(|(_, body)| self.chain.is_slow_to_write(body.len())) {
            return self.chain.rewrite(IoCaller::Asynchronous, envelope);
        }
        let envelope = envelope.clone();
        self.walk_in_pool(move |chain| chain.rewrite(IoCaller::Synchronous, &envelope))
    }

    /// The message is finished. Its body goes with the last sibling.
    pub fn unlink(&self, id: MessageId) -> Unlinked {
        if self.chain.held.unlink(id) {
            return Ticket::ready(Ok(()));
        }
        match self.chain.unlink(IoCaller::Asynchronous, id) {
            Ok(set) => self.chain.commit(set),
            Err(error) => Ticket::ready(Err(error)),
        }
    }

    /// The message, body and all; see [`Read`].
    pub fn read(&self, id: MessageId) -> Read {
        self.read_for(id, &MemoryShare::default())
    }

    /// As [`Spool::read`], for somebody of whom `share` counts the memory lent.
    pub fn read_for(&self, id: MessageId, share: &MemoryShare) -> Read {
        Read::new(self.clone(), id, share)
    }

    /// One attempt to read a message, with the memory for its body or to ask for it.
    pub(crate) fn read_within(
        &self,
        id: MessageId,
        share: &MemoryShare,
        memory: Option<MemoryCharge>,
    ) -> Ticket<Attempt> {
        if let Some((envelope, body)) = self.chain.in_memory(id) {
            return Ticket::ready(Ok(Attempt::Found(Box::new((envelope, body)))));
        }
        let share = share.clone();
        self.in_pool(move |chain| {
            let envelope = chain.read_headers(IoCaller::Asynchronous, HeadersIn::new(id, None))?;
            let octets = envelope.body_bytes;
            let Some(memory) = memory.or_else(|| chain.bodies.ask(octets, &share)) else {
                return Ok(Attempt::Short { octets });
            };
            let body = chain.read_body(IoCaller::Asynchronous, id, octets)?;
            fits(&envelope, &body)?;
            Ok(Attempt::Found(Box::new((envelope, message::lent(body, memory)))))
        })
    }

    /// Whose memory bodies are read into.
    pub(crate) fn bodies(&self) -> &MemoryOwner {
        &self.chain.bodies
    }

    /// The message's envelope.
    pub fn read_headers(&self, id: MessageId) -> ReadHeaders {
        if let Some((envelope, _)) = self.chain.in_memory(id) {
            return Ticket::ready(Ok(envelope));
        }
        self.in_pool(move |chain| chain.read_headers(IoCaller::Asynchronous, HeadersIn::new(id, None)))
    }

    /// The envelopes of several messages, in their order, read one after the other in one job.
    pub fn read_all_headers(&self, ids: Vec<MessageId>) -> ReadAllHeaders {
        self.in_pool(move |chain| {
            let read = |id| match chain.in_memory(id) {
                Some((envelope, _)) => Ok(envelope),
                None => chain.read_headers(IoCaller::Asynchronous, HeadersIn::new(id, None)),
            };
            Ok(ids.into_iter().map(read).collect())
        })
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

    /// Whether mail of so many octets would be taken, by the last measurement. Costs a load.
    pub fn has_room(&self, octets: u64) -> bool {
        octets.max(1) <= u64::MAX - self.chain.room.lacking.load(Ordering::Relaxed)
    }

    /// A store was refused with [`SpoolError::Full`]: there is no room until a measurement finds some.
    pub fn was_full(&self) {
        self.chain.room.was_full.store(true, Ordering::Relaxed);
        self.chain.room.lacking.store(u64::MAX, Ordering::Relaxed);
    }

    /// Measures the room. Looks at the disk: not for an event loop.
    pub fn measure_room(&self) {
        let room = &self.chain.room;
        if room.was_full.load(Ordering::Relaxed) {
            let octets = self.chain.modules.iter().map(|module| module.room()).min().unwrap_or(u64::MAX);
            room.lacking.store(u64::MAX - octets, Ordering::Relaxed);
        }
    }

    /// Writes and syncs everything handed over before, and gives the spool up. Blocks.
    pub fn close(&self) {
        self.chain.write_what_is_held();
        for module in &self.chain.modules {
            module.close();
        }
    }

    fn walk_in_pool(&self, walk: impl FnOnce(&Chain) -> Stored + Send + 'static) -> Stored {
        let (promise, answer) = Ticket::new();
        let chain = Arc::clone(&self.chain);
        let admission = self.chain.pool.admit(Box::new(move || relay(walk(&chain), |result| promise.keep(result))));
        answer.after(admission)
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
    fn is_slow_to_write(&self, octets: usize) -> bool {
        self.modules.iter().any(|module| module.is_slow_to_write(octets))
    }

    fn store(&self, caller: IoCaller, parts: &[Part<'_>], force: bool) -> Stored {
        let force = force || self.held.is_full(parts.iter().map(|(body, _)| body.len()).sum());
        let set = match self.write(caller, parts, force) {
            Ok(set) => set,
            Err(error) => return Ticket::ready(Err(error)),
        };
        if set.held() == 0 {
            return self.commit(set);
        }
        if set.held() == parts.iter().map(|(_, envelopes)| 1 + envelopes.len()).sum::<usize>() {
            parts.iter().for_each(|(body, envelopes)| self.held.hold(body, envelopes));
            return self.commit(set);
        }
        // Half a message in memory helps nobody.
        self.store(caller, parts, true)
    }

    /// Stages bodies with all their headers.
    fn write(&self, caller: IoCaller, parts: &[Part<'_>], force: bool) -> Result<CommitSet, SpoolError> {
        let mut set = CommitSet::default();
        for &(body, envelopes) in parts {
            let Some(first) = envelopes.first() else { continue };
            let mut out = BodyOut::new(first.body_id(), envelopes, body.clone(), &self.bodies);
            self.walk(|module| module.write_body(caller, &mut set, &mut out, force))?;
            for envelope in envelopes {
                self.write_headers(caller, &mut set, envelope, force)?;
            }
        }
        Ok(set)
    }

    fn rewrite(&self, caller: IoCaller, envelope: &Envelope) -> Stored {
        let mut leaving = false;
        if let Some(mut kept) = self.held.some()
            && let Some(batch) = kept.batch_with(envelope.id)
        {
            leaving = batch.leaving;
            if let Some(held) = batch.envelope(envelope.id) {
                held.clone_from(envelope);
            }
            let stays = |set: CommitSet| set.held() == 2;
            let one = std::slice::from_ref(envelope);
            if !leaving && self.write(caller, &[(&batch.body, one)], false).is_ok_and(stays) {
                return Ticket::ready(Ok(()));
            }
        }
        if !leaving && let Some(stored) = self.leave(caller, envelope.id) {
            return stored;
        }
        let mut set = CommitSet::default();
        match self.write_headers(caller, &mut set, envelope, true) {
            Ok(()) => self.commit(set),
            Err(error) => Ticket::ready(Err(error)),
        }
    }

    /// Writes the batch of a message that is in memory only; `None` if it is not. Siblings go together, so that there is
    /// one body.
    fn leave(&self, caller: IoCaller, id: MessageId) -> Option<Stored> {
        // Under the lock up to the commit, so that a later change of a sibling is later in the store too.
        let mut kept = self.held.some()?;
        let batch = kept.batch_with(id).filter(|batch| !batch.leaving)?;
        let written = self.write(caller, &[(&batch.body, &batch.envelopes)], true).map(|set| self.commit(set));
        let stored = match written {
            Ok(stored) => stored,
            Err(error) => return Some(Ticket::ready(Err(error))),
        };
        batch.leaving = true;
        let batch = batch.envelopes.first()?.body_id();
        drop(kept);
        let (promise, answer) = Ticket::new();
        let held = Arc::clone(&self.held);
        relay(stored, move |result| {
            held.left(batch, result.is_ok());
            promise.keep(result);
        });
        Some(answer)
    }

    fn write_what_is_held(&self) {
        let Some(batches) = self.held.some().map(|kept| kept.batches()) else { return };
        let first = |batch| Some(self.held.some()?.batch(batch)?.envelopes.first()?.id);
        let waiting: Vec<Stored> =
            batches.into_iter().filter_map(|batch| self.leave(IoCaller::Synchronous, first(batch)?)).collect();
        for stored in waiting {
            if let Err(error) = stored.wait() {
                tracing::error!(target: "SPOOL", critical = true, "mail that was only in memory is lost with this stop: {error}");
            }
        }
    }

    fn in_memory(&self, id: MessageId) -> Option<(Envelope, Body)> {
        let mut kept = self.held.some()?;
        let batch = kept.batch_with(id)?;
        let body = batch.body.clone();
        Some((batch.envelope(id)?.clone(), body))
    }

    fn write_headers(
        &self,
        caller: IoCaller,
        set: &mut CommitSet,
        envelope: &Envelope,
        force: bool,
    ) -> Result<(), SpoolError> {
        let mut headers = HeadersOut { envelope, encoded: None };
        self.walk(|module| module.write_headers(caller, set, &mut headers, force))
    }

    fn unlink(&self, caller: IoCaller, id: MessageId) -> Result<CommitSet, SpoolError> {
        let mut set = CommitSet::default();
        self.walk(|module| module.unlink_headers(caller, &mut set, id))?;
        self.walk(|module| module.unlink_body(caller, &mut set, id))?;
        Ok(set)
    }

    fn read_headers(&self, caller: IoCaller, mut headers: HeadersIn) -> Result<Envelope, SpoolError> {
        self.walk(|module| module.read_headers(caller, &mut headers))?;
        decode(headers.id, &headers.finish()?)
    }

    fn read_body(&self, caller: IoCaller, id: MessageId, expected: u64) -> Result<Vec<u8>, SpoolError> {
        let mut body = BodyIn::new(id, expected);
        self.walk(|module| module.read_body(caller, &mut body))?;
        body.finish()
    }

    fn process_disk_queue(&self, each: &mut (dyn FnMut(Envelope) + Send)) -> Result<(), SpoolError> {
        let Some(owner) = self.modules.iter().position(|module| module.owns_disk_queue()) else { return Ok(()) };
        let mut hand_over = |id, encoded: Vec<u8>| {
            // Only the modules before the owner can have transformed what it stored.
            match self.undo(&self.modules[..owner], HeadersIn::new(id, Some(encoded))) {
                Ok(envelope) => each(envelope),
                Err(error) => self.unreadable(id, &error),
            }
        };
        self.modules[owner].process_disk_queue(&mut hand_over)
    }

    /// A message that the scan found and nobody can deliver.
    fn unreadable(&self, id: MessageId, error: &SpoolError) {
        let unlink = self.unlink_unreadable.load(Ordering::Relaxed) && matches!(error, SpoolError::Damaged { .. });
        if !unlink {
            tracing::error!(target: "SPOOL", "left in the spool, not delivered: {error}");
            return;
        }
        tracing::error!(target: "SPOOL", "removed from the spool, as unlink_on_spool_in_failure says: {error}");
        let unlinked = self.unlink(IoCaller::Synchronous, id).and_then(|set| self.commit(set).wait());
        if let Err(error) = unlinked {
            tracing::error!(target: "SPOOL", "message {id} could not be removed, the next start will try again: {error}");
        }
    }

    /// What `before` have to do to headers that the module behind them has filled in.
    fn undo(&self, before: &[Arc<dyn IoModule>], mut headers: HeadersIn) -> Result<Envelope, SpoolError> {
        for module in before {
            match module.read_headers(IoCaller::Synchronous, &mut headers) {
                IoResult::Done => break,
                IoResult::Cont => {}
                IoResult::Fail(error) => return Err(error),
            }
        }
        decode(headers.id, &headers.finish()?)
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

/// Edits are of one body only: with another they would cut it anywhere.
fn fits(envelope: &Envelope, body: &[u8]) -> Result<(), SpoolError> {
    match &envelope.edits {
        Some(edits) if !edits.fit(body) => {
            let why = "the changes of its header section are not of this body".to_owned();
            Err(SpoolError::Damaged { id: envelope.id, why })
        }
        _ => Ok(()),
    }
}

fn decode(id: MessageId, encoded: &[u8]) -> Result<Envelope, SpoolError> {
    Envelope::decode(encoded).map_err(|error| {
        let why = error.to_string();
        if error.is_of_newer_release() {
            SpoolError::OfNewerRelease { id, why }
        } else {
            SpoolError::Damaged { id, why }
        }
    })
}
