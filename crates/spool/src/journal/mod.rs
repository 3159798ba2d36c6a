//! The `journal` backend: every message in a log of recycled segments, many messages to one sync.
//!
//! [`Journal`] is the chain's last module. Behind it: `inbox` → `committer` (one thread, the only writer) → segment
//! files (`segment`, `record`); `index` says what is alive; `upkeep` (one thread) recycles and compacts;
//! `recovery` reads what an earlier run left. Everything below the threads is driven directly by the tests.

mod batch;
mod committer;
mod crowd;
mod groups;
mod handover;
mod hold;
mod inbox;
mod index;
pub mod inspect;
mod open;
mod owed;
mod reached;
mod reading;
mod record;
mod recovery;
mod scan;
mod segment;
mod shared;
mod slab;
mod sorting;
mod spares;
mod summary;
mod tally;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use message::MessageId;
use scheduler::{Clock, Meters};

use crate::chain::{BodyIn, BodyOut, CommitSet, HeadersIn, HeadersOut, IoCaller, IoModule, IoResult};
use crate::disk::{CrashPoints, Disk};
use crate::error::{OpenError, SpoolError};
use crate::stats::SpoolStats;
use crate::ticket::Ticket;
pub use hold::Void;

use committer::Committer;
use crowd::Crowd;
use inbox::{Copied, Op, linger};
use recovery::Recovery;
use shared::Shared;

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// `spoolbase`: the spool's directory.
    pub base: PathBuf,
    /// `spool_mode`: permissions of its files.
    pub mode: u32,
    /// `force_fsync`: sync before answering. Without it a power loss loses acknowledged mail.
    pub force_fsync: bool,
    /// `spool_segment_bytes`: octets of a segment; less on a small device.
    pub segment_bytes: u64,
    /// `spool_waiting_bytes`: octets of mail that may wait for the device.
    pub waiting_bytes: u64,
    /// `spool_unlink_backlog`: unlinks that may be lost in a crash, each a message delivered twice.
    pub unlink_backlog: usize,
    /// For crash tests.
    #[doc(hidden)]
    pub crash_points: CrashPoints,
}

impl JournalOptions {
    /// The defaults, in `base`.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self {
            base: base.into(),
            mode: 0o640,
            force_fsync: true,
            segment_bytes: 64 << 20,
            waiting_bytes: 256 << 20,
            unlink_backlog: 100,
            crash_points: CrashPoints::none(),
        }
    }
}

/// A journal that runs.
pub struct Journal {
    shared: Arc<Shared>,
    recovery: Mutex<Option<Recovery>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

impl Journal {
    /// Takes the spool's lock, reads the segments' first pages and the last one's headers, and starts the threads. What the segments hold is read by
    /// [`IoModule::process_disk_queue`]; new mail can be stored at once.
    pub fn open(
        options: JournalOptions,
        disk: Arc<dyn Disk>,
        clock: Clock,
        meters: &Meters,
    ) -> Result<Self, OpenError> {
        let open::Opened { shared, committer, recovery, lock } = open::open(options, disk, clock, meters)?;
        let failed = |source| OpenError::Io { doing: "start threads for", path: shared.options.base.clone(), source };
        let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(failed)
        };
        let keeper = Arc::clone(&shared);
        let threads = vec![
            start("spool-commit", Box::new(move || commit_until_closed(committer)))?,
            start("spool-upkeep", Box::new(move || keep_up(&keeper)))?,
        ];
        Ok(Self {
            shared,
            recovery: Mutex::new(Some(recovery)),
            threads: Mutex::new(threads),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// The newest id known to have been stored, before the disk queue is read. Ids made by this run must be later.
    pub fn newest(&self) -> Option<MessageId> {
        self.shared.newest
    }

    /// Leaves all that is on disk where it is, for at most `lasting`, so that the files may be copied one after the other.
    /// Waits for the upkeep at hand: not for an event loop.
    pub fn hold(&self, lasting: Duration) {
        self.shared.hold.begin(self.shared.clock.now(), lasting);
    }

    /// Ends a hold; how long it lasted. An error says why what was copied meanwhile is void.
    pub fn release(&self) -> Result<Duration, Void> {
        let ended = self.shared.hold.end(self.shared.clock.now());
        self.shared.kick();
        ended
    }

    /// How the journal is doing.
    pub fn stats(&self) -> SpoolStats {
        self.shared.stats()
    }

    fn submit(&self, copies: Vec<Copied>) -> Result<(), SpoolError> {
        submit(&self.shared, copies)
    }
}

fn submit(shared: &Shared, copies: Vec<Copied>) -> Result<(), SpoolError> {
    let (promise, ticket) = Ticket::new();
    shared.inbox.push(Op::Copies(copies, promise));
    ticket.wait()
}

fn commit_until_closed(mut committer: Committer) {
    let _guard = AbortOnPanic("committer");
    let (mut ops, mut crowd) = (VecDeque::new(), Crowd::default());
    let clock = committer.shared().clock;
    while committer.shared().inbox.take(&mut ops, committer.owes(), linger(committer.is_short()), committer.unnoted()) {
        if ops.is_empty() && !committer.owes() {
            committer.note();
            continue;
        }
        let stores = ops.iter().filter(|op| matches!(op, Op::Store(..))).count();
        let began = clock.now();
        committer.commit(&mut ops);
        let took = clock.now() - began;
        // A device that fails is not asked again at once: each failure costs a segment.
        match committer.failures() {
            0 => {
                let (patience, enough) = crowd.gather(stores, took);
                committer.shared().inbox.gather(patience, enough);
            }
            failures => std::thread::sleep(Duration::from_millis(10 << failures.min(7))),
        }
    }
}

fn keep_up(shared: &Arc<Shared>) {
    let _guard = AbortOnPanic("upkeep");
    while shared.wait_for_work() {
        while !shared.is_stopping() && upkeep::step(shared, &mut |copies| submit(shared, copies)) {}
        // For the meters.
        shared.stats();
    }
}

/// A thread of the journal that panics takes the process with it: a restart recovers, mail that waits for ever does not.
struct AbortOnPanic(&'static str);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(target: "SPOOL", "the spool's {} has panicked; aborting, so that a restart recovers", self.0);
            std::process::abort();
        }
    }
}

impl IoModule for Journal {
    fn name(&self) -> &str {
        "journal"
    }

    fn owns_disk_queue(&self) -> bool {
        true
    }

    fn room(&self) -> u64 {
        self.shared.mail_room()
    }

    fn process_disk_queue(&self, each: &mut dyn FnMut(MessageId, Vec<u8>)) -> Result<(), SpoolError> {
        let recovery = self.recovery.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(recovery) = recovery else { return Ok(()) };
        recovery.run(&self.shared, &mut |copies| self.submit(copies), each);
        Ok(())
    }

    fn write_headers(&self, _: IoCaller, set: &mut CommitSet, headers: &mut HeadersOut<'_>, _: bool) -> IoResult {
        set.staged(self).push_headers(headers);
        IoResult::Done
    }

    fn read_headers(&self, _: IoCaller, headers: &mut HeadersIn) -> IoResult {
        match self.shared.fetch_headers(headers.id.to_bits()) {
            Ok(encoded) => headers.encoded = Some(encoded),
            Err(error) => return IoResult::Fail(error),
        }
        IoResult::Done
    }

    /// The body goes with the last of its siblings.
    fn unlink_headers(&self, _: IoCaller, set: &mut CommitSet, id: MessageId) -> IoResult {
        set.staged(self).unlinked.push(id);
        IoResult::Cont
    }

    fn write_body(&self, _: IoCaller, set: &mut CommitSet, body: &mut BodyOut<'_>, _: bool) -> IoResult {
        set.staged(self).bodies.push((body.batch, body.octets.clone()));
        IoResult::Done
    }

    fn read_body(&self, _: IoCaller, body: &mut BodyIn) -> IoResult {
        match self.shared.fetch_body(body.id.to_bits()) {
            Ok(octets) => body.octets = Some(octets),
            Err(error) => return IoResult::Fail(error),
        }
        IoResult::Done
    }

    fn commit(&self, set: &mut CommitSet) {
        let Some(mut staged) = set.take(self) else { return };
        let unlinked = std::mem::take(&mut staged.unlinked);
        if !staged.headers.is_empty() {
            self.shared.inbox.push(Op::Store(staged, set.part()));
        }
        for id in unlinked {
            self.shared.inbox.push_unlink(id.to_bits(), || set.part());
        }
    }

    fn close(&self) {
        let (promise, ticket) = Ticket::new();
        self.shared.inbox.push(Op::Close(promise));
        // A failure has been reported where it happened; there is nobody left to tell.
        let _ = ticket.wait();
        self.shared.stop();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}
