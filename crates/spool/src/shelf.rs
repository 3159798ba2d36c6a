//! A store with one writing thread and nothing of its own between a read and the disk: what `file` and `sqlite` have in
//! common as the chain's last module.
//!
//! In: what callers' commits staged, which goes to the [`Writer`]; reads, which go straight to the [`Backing`]. The
//! thread takes everything that waits as one batch.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use message::MessageId;
use scheduler::Clock;

use crate::chain::{BodyIn, BodyOut, CommitSet, HeadersIn, HeadersOut, IoCaller, IoModule, IoResult};
use crate::error::{OpenError, SpoolError};
use crate::file::{BodyMark, opening::failed};
use crate::ledger::Ledger;
use crate::stats::SpoolStats;
use crate::ticket::Ticket;
use crate::writer::Op;

/// Where messages are read from. Called from several threads; may block.
pub trait Backing: Send + Sync + 'static {
    /// The word of the configuration.
    const KIND: &'static str;

    /// A message, but for its body.
    fn headers(&self, id: MessageId) -> Result<Shelved, SpoolError>;
    /// A message's body.
    fn body(&self, id: MessageId) -> Result<Vec<u8>, SpoolError>;
    /// The file that is set aside when the body in it is damaged.
    fn body_file(&self, id: MessageId) -> Result<PathBuf, SpoolError>;
    /// Takes a message whose headers are damaged out of the queue, for the operator to look at, if that can be done.
    fn set_headers_aside(&self, id: MessageId, why: &SpoolError);
    /// Octets on the disk that serve no message.
    fn dead_bytes(&self) -> u64;
}

/// What is known of a message without its body.
pub struct Shelved {
    /// The id of its batch.
    pub batch: MessageId,
    /// What its body must be.
    pub body: BodyMark,
    /// The envelope's record.
    pub encoded: Vec<u8>,
}

/// A store that runs.
pub struct Shelf<B: Backing> {
    backing: Arc<B>,
    ledger: Arc<Ledger>,
    newest: Option<MessageId>,
    thread: Mutex<Option<JoinHandle<()>>>,
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

impl<B: Backing> Shelf<B> {
    /// Starts the writing thread, which calls `commit` with each batch until that says it was the last. `newest` is the
    /// newest id found, `lock` the spool's.
    pub(crate) fn start(
        backing: Arc<B>,
        ledger: Arc<Ledger>,
        newest: Option<MessageId>,
        lock: Box<dyn Send + Sync>,
        clock: Clock,
        mut commit: impl FnMut(Vec<Op>) -> bool + Send + 'static,
    ) -> Result<Self, OpenError> {
        let (books, shelf) = (ledger.clone(), backing.clone());
        let work = move || {
            let mut read = clock.now();
            while books.writer.take().is_some_and(|ops| !commit(ops)) {
                // For whoever reads meters alone.
                if READING <= clock.now() - read {
                    read = clock.now();
                    books.stats(shelf.dead_bytes());
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("spool-{}", B::KIND)).spawn(work);
        let thread = thread.map_err(failed("start a thread for", std::path::Path::new(B::KIND)))?;
        ledger.stats(backing.dead_bytes());
        Ok(Self { backing, ledger, newest, thread: Mutex::new(Some(thread)), lock: Mutex::new(Some(lock)) })
    }

    /// The newest id found. Ids made by this run must be later.
    pub fn newest(&self) -> Option<MessageId> {
        self.newest
    }

    /// How the store is doing.
    pub fn stats(&self) -> SpoolStats {
        self.ledger.stats(self.backing.dead_bytes())
    }

    /// Hands one message of an earlier run over.
    fn hand_over(&self, id: MessageId, recent: &mut Recent, each: &mut dyn FnMut(MessageId, Vec<u8>)) {
        match self.backing.headers(id) {
            Ok(Shelved { batch, body, encoded }) => {
                let body_octets = if recent.has_seen(batch) { 0 } else { body.octets };
                self.ledger.census.add(id, encoded.len() as u64 + body_octets);
                each(id, encoded);
            }
            Err(SpoolError::Missing { .. }) => {
                self.ledger.census.remove(id);
            }
            Err(error @ SpoolError::Damaged { .. }) => {
                self.ledger.census.remove(id);
                self.backing.set_headers_aside(id, &error);
            }
            // A device that fails may read it at the next start.
            Err(error) => tracing::error!(target: "SPOOL", "left in the spool, not delivered: {error}"),
        }
        self.ledger.gauges.handed_over.add(1);
    }
}

impl<B: Backing> IoModule for Shelf<B> {
    fn name(&self) -> &str {
        B::KIND
    }

    fn owns_disk_queue(&self) -> bool {
        true
    }

    fn room(&self) -> u64 {
        self.ledger.room()
    }

    fn process_disk_queue(&self, each: &mut dyn FnMut(MessageId, Vec<u8>)) -> Result<(), SpoolError> {
        let (mut last, mut recent) = (None, Recent::default());
        while let Some(id) = self.ledger.census.next_old(last) {
            self.hand_over(id, &mut recent, each);
            last = Some(id);
        }
        Ok(())
    }

    fn write_headers(&self, _: IoCaller, set: &mut CommitSet, headers: &mut HeadersOut<'_>, _: bool) -> IoResult {
        set.staged(self).push_headers(headers);
        IoResult::Done
    }

    fn read_headers(&self, _: IoCaller, headers: &mut HeadersIn) -> IoResult {
        match self.backing.headers(headers.id) {
            Ok(found) => headers.encoded = Some(found.encoded),
            Err(error) => return IoResult::Fail(error),
        }
        IoResult::Done
    }

    fn unlink_headers(&self, _: IoCaller, set: &mut CommitSet, id: MessageId) -> IoResult {
        set.staged(self).unlinked.push(id);
        IoResult::Cont
    }

    fn write_body(&self, _: IoCaller, set: &mut CommitSet, body: &mut BodyOut<'_>, _: bool) -> IoResult {
        set.staged(self).bodies.push((body.batch, body.octets.clone()));
        IoResult::Done
    }

    fn read_body(&self, _: IoCaller, body: &mut BodyIn) -> IoResult {
        match self.backing.body(body.id) {
            Ok(octets) => body.octets = Some(octets),
            Err(error) => {
                if let (SpoolError::Damaged { .. }, Ok(file)) = (&error, self.backing.body_file(body.id)) {
                    self.ledger.set_aside(body.id, &file, &error);
                }
                return IoResult::Fail(error);
            }
        }
        IoResult::Done
    }

    fn commit(&self, set: &mut CommitSet) {
        let Some(staged) = set.take(self) else { return };
        self.ledger.writer.push(staged, set);
    }

    fn close(&self) {
        let (promise, ticket) = Ticket::new();
        self.ledger.writer.close(promise);
        let _ = ticket.wait();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(panic)) = thread.map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl<B: Backing> Drop for Shelf<B> {
    fn drop(&mut self) {
        self.close();
    }
}

/// The batches met last: siblings stand close together, and their body counts once.
#[derive(Default)]
struct Recent {
    batches: [MessageId; 16],
    next: usize,
}

impl Recent {
    fn has_seen(&mut self, batch: MessageId) -> bool {
        if self.batches.contains(&batch) {
            return true;
        }
        self.batches[self.next] = batch;
        self.next = (self.next + 1) % self.batches.len();
        false
    }
}

const READING: Duration = Duration::from_secs(1);
