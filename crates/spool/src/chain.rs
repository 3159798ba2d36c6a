//! The IO chain's contract: what a module that stores, transforms or skips mail implements.
//!
//! The eight callbacks are tried in load order. `Done` ends the walk, `Cont` goes on to the next module, `Fail` ends the
//! operation. Two things differ from the C interface, so that many messages can share one sync:
//!
//! - A write or unlink callback only *stages* into the [`CommitSet`] it is given. `Done` and `Cont` therefore mean "stored
//!   once the set completes"; the chain calls [`IoModule::commit`] on every module and answers its own caller only when all
//!   parts of the set are kept. An asynchronous caller awaits that, a synchronous one blocks.
//! - A read callback that must undo its own transformation leaves a closure ([`HeadersIn::afterwards`],
//!   [`BodyIn::afterwards`]) and returns `Cont`; the closures run, last loaded first, on what the store yields.
//!
//! Invariant: nothing staged by a failed walk is ever committed.

use bytes::Bytes;
use message::{Envelope, MessageId};
use scheduler::MemoryOwner;
use smallvec::SmallVec;

use crate::error::SpoolError;
use crate::ticket::{Promise, Ticket};

/// What a callback answers.
#[derive(Debug)]
pub enum IoResult {
    /// Stored (once the set completes), or filled in: later modules are not asked.
    Done,
    /// This module did its part: go on.
    Cont,
    /// It cannot be done: stop.
    Fail(SpoolError),
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoCaller {
    /// A thread that waits for the answer: callbacks may block.
    Synchronous,
    /// An event loop. Write and unlink callbacks run on it and must not block; read callbacks run in the `SwapIn` pool.
    Asynchronous,
}

/// One link of the chain. Every callback may be called from several threads at once.
///
/// `force` is set when the message leaves memory before the next call: a module that owns storage must write then. A module
/// that skips the store without it answers [`IoResult::Done`] and says [`CommitSet::hold`]; the chain then keeps the message
/// in memory, serves reads from there, and comes back with `force` before it lets go of it.
pub trait IoModule: Send + Sync {
    /// For the console and the log.
    fn name(&self) -> &str;

    /// Whether [`IoModule::process_disk_queue`] is this module's. The first loaded one that says so is the only one run.
    fn owns_disk_queue(&self) -> bool {
        false
    }

    /// Reads what is stored and hands each message's encoded headers to `each`. Runs once, on a thread of its own.
    fn process_disk_queue(&self, each: &mut dyn FnMut(MessageId, Vec<u8>)) -> Result<(), SpoolError> {
        let _ = each;
        Ok(())
    }

    /// Whether [`IoModule::write_body`] takes so long for a body of `octets` that no event loop should do it: an
    /// asynchronous caller's walk then runs in the pool.
    fn is_slow_to_write(&self, octets: usize) -> bool {
        let _ = octets;
        false
    }

    /// Headers are new or have changed.
    fn write_headers(&self, _: IoCaller, set: &mut CommitSet, headers: &mut HeadersOut<'_>, force: bool) -> IoResult {
        let _ = (set, headers, force);
        IoResult::Cont
    }

    /// Headers are wanted; only the id is known.
    fn read_headers(&self, _: IoCaller, headers: &mut HeadersIn) -> IoResult {
        let _ = headers;
        IoResult::Cont
    }

    /// The message is finished: neither a scan nor a read may find it again. Not an error if it is gone already.
    fn unlink_headers(&self, _: IoCaller, set: &mut CommitSet, id: MessageId) -> IoResult {
        let _ = (set, id);
        IoResult::Cont
    }

    /// A body is new.
    fn write_body(&self, _: IoCaller, set: &mut CommitSet, body: &mut BodyOut<'_>, force: bool) -> IoResult {
        let _ = (set, body, force);
        IoResult::Cont
    }

    /// A body is wanted; only the id of the message it belongs to is known.
    fn read_body(&self, _: IoCaller, body: &mut BodyIn) -> IoResult {
        let _ = body;
        IoResult::Cont
    }

    /// The message's body is no longer wanted by this message; siblings may still want it.
    fn unlink_body(&self, _: IoCaller, set: &mut CommitSet, id: MessageId) -> IoResult {
        let _ = (set, id);
        IoResult::Cont
    }

    /// Takes what this module staged in `set` (see [`CommitSet::staged`]) and takes one [`CommitSet::part`] for every
    /// answer it owes.
    fn commit(&self, set: &mut CommitSet) {
        let _ = set;
    }

    /// Octets of new mail this module could store now, as far as it knows. May look at the disk.
    fn room(&self) -> u64 {
        u64::MAX
    }

    /// Everything to disk; no call follows.
    fn close(&self) {}
}

/// Headers on their way to disk.
pub struct HeadersOut<'a> {
    /// What they say.
    pub envelope: &'a Envelope,
    /// The octets to store in the place of the envelope's own encoding, if a module transformed them.
    pub encoded: Option<Vec<u8>>,
}

impl HeadersOut<'_> {
    /// Appends the octets to store.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match &self.encoded {
            Some(encoded) => out.extend_from_slice(encoded),
            None => self.envelope.encode(out),
        }
    }
}

/// A body on its way to disk.
pub struct BodyOut<'a> {
    /// The id it is stored under: that of its batch, as a rule.
    pub batch: MessageId,
    /// The messages that share it, as they stand now.
    pub envelopes: &'a [Envelope],
    /// The octets to store.
    pub octets: Bytes,
    /// What octets that replace them are charged to.
    owner: &'a MemoryOwner,
}

impl<'a> BodyOut<'a> {
    /// A body, and what octets that replace it are charged to.
    pub fn new(batch: MessageId, envelopes: &'a [Envelope], octets: Bytes, owner: &'a MemoryOwner) -> Self {
        Self { batch, envelopes, octets, owner }
    }

    /// Other octets are to be stored; the copy in memory is not touched.
    pub fn replace(&mut self, octets: Vec<u8>) {
        self.octets = message::charged(octets, self.owner);
    }
}

/// Undoes a module's transformation.
pub type Afterwards = Box<dyn FnOnce(Vec<u8>) -> Result<Vec<u8>, SpoolError> + Send>;

/// Headers on their way from disk.
pub struct HeadersIn {
    /// The message.
    pub id: MessageId,
    /// What a store filled in.
    pub encoded: Option<Vec<u8>>,
    afterwards: Vec<Afterwards>,
}

/// A body on its way from disk.
pub struct BodyIn {
    /// The message.
    pub id: MessageId,
    /// Octets it has once every transformation is undone, as its envelope says: what was asked for, and so the most there
    /// may be.
    pub expected: u64,
    /// What a store filled in.
    pub octets: Option<Vec<u8>>,
    afterwards: Vec<Afterwards>,
}

impl HeadersIn {
    pub(crate) fn new(id: MessageId, encoded: Option<Vec<u8>>) -> Self {
        Self { id, encoded, afterwards: Vec::new() }
    }

    /// Leaves a step for when a later module has filled the headers in.
    pub fn afterwards(&mut self, step: Afterwards) {
        self.afterwards.push(step);
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, SpoolError> {
        finish(self.id, self.encoded, self.afterwards)
    }
}

impl BodyIn {
    pub(crate) fn new(id: MessageId, expected: u64) -> Self {
        Self { id, expected, octets: None, afterwards: Vec::new() }
    }

    /// Leaves a step for when a later module has filled the body in.
    pub fn afterwards(&mut self, step: Afterwards) {
        self.afterwards.push(step);
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, SpoolError> {
        finish(self.id, self.octets, self.afterwards)
    }
}

fn finish(id: MessageId, octets: Option<Vec<u8>>, steps: Vec<Afterwards>) -> Result<Vec<u8>, SpoolError> {
    let octets = octets.ok_or(SpoolError::Missing { id })?;
    steps.into_iter().rev().try_fold(octets, |octets, step| step(octets))
}

/// Everything one operation wants done at once: all of it becomes durable, or none.
#[derive(Default)]
pub struct CommitSet {
    /// Writes that a module left undone on purpose.
    held: usize,
    staged: SmallVec<[(usize, Staged); 1]>,
    promise: Option<(Promise<()>, Ticket<()>)>,
}

/// What one module has staged.
#[derive(Default)]
pub struct Staged {
    /// The bodies, each with the id it is stored under; none if headers have changed only.
    pub bodies: SmallVec<[(MessageId, Bytes); 1]>,
    /// The headers, one for each message. With bodies, each message is new and has one of them.
    pub headers: Vec<StagedHeaders>,
    /// Their octets, one after the other.
    pub encoded: Vec<u8>,
    /// Messages that are finished.
    pub unlinked: SmallVec<[MessageId; 1]>,
}

/// One message's headers within [`Staged::encoded`].
#[derive(Clone, Copy, Debug)]
pub struct StagedHeaders {
    /// The message.
    pub id: MessageId,
    /// The id its body is stored under.
    pub batch: MessageId,
    /// Where its octets end; they begin where those before end.
    pub end: usize,
}

impl Staged {
    /// Octets of the bodies.
    pub fn body_octets(&self) -> usize {
        self.bodies.iter().map(|(_, octets)| octets.len()).sum()
    }

    /// The body stored under that id.
    pub fn body(&self, id: MessageId) -> Option<(usize, &Bytes)> {
        let place = self.bodies.iter().position(|(of, _)| *of == id)?;
        Some((place, &self.bodies[place].1))
    }

    /// Adds one message's headers.
    pub fn push_headers(&mut self, headers: &HeadersOut<'_>) {
        headers.encode(&mut self.encoded);
        let (id, batch) = (headers.envelope.id, headers.envelope.body_id());
        self.headers.push(StagedHeaders { id, batch, end: self.encoded.len() });
    }
}

impl CommitSet {
    /// Says of the write under way that it is not stored, and that the message is to stay in memory. Only without `force`,
    /// and with [`IoResult::Done`].
    pub fn hold(&mut self) {
        self.held += 1;
    }

    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// What `module` has staged so far.
    pub fn staged<M: IoModule + ?Sized>(&mut self, module: &M) -> &mut Staged {
        let key = key(module);
        let position = self.staged.iter().position(|(owner, _)| *owner == key).unwrap_or_else(|| {
            self.staged.push((key, Staged::default()));
            self.staged.len() - 1
        });
        &mut self.staged[position].1
    }

    /// Takes what `module` has staged, to commit it.
    pub fn take<M: IoModule + ?Sized>(&mut self, module: &M) -> Option<Staged> {
        let key = key(module);
        let position = self.staged.iter().position(|(owner, _)| *owner == key)?;
        Some(self.staged.swap_remove(position).1)
    }

    /// A part of the set's answer, to be kept when the module's share is durable.
    pub fn part(&mut self) -> Promise<()> {
        self.promise.get_or_insert_with(Ticket::new).0.part()
    }

    /// The answer: resolved already if no module took a part.
    pub(crate) fn finish(self) -> Ticket<()> {
        match self.promise {
            None => Ticket::ready(Ok(())),
            Some((promise, ticket)) => {
                promise.keep(Ok(()));
                ticket
            }
        }
    }
}

/// A module is known by its address, which is its own as long as the chain holds it. A module without fields shares its
/// address with others of its kind, but has nowhere to store anything either.
fn key<M: IoModule + ?Sized>(module: &M) -> usize {
    std::ptr::from_ref(module).cast::<()>().addr()
}
