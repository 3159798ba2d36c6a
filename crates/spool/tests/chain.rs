//! The whole chain: modules that enhance, supplement and replace the store, before `memory` and before a real `journal`.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use message::{Body, Context, DeliveryState, Envelope, MessageId, Origin, Protocol, QueueName};
use scheduler::{Clock, Meters};
use spool::chain::{BodyIn, BodyOut, CommitSet, HeadersOut};
use spool::disk::RealDisk;
use spool::{
    IoCaller, IoModule, IoResult, Job, Journal, JournalOptions, Memory, OpenError, ReadPool, Spool, SpoolError,
};

struct Inline;

impl ReadPool for Inline {
    fn submit(&self, job: Job) {
        job();
    }
}

/// Stores every body reversed.
struct Reverse;

impl IoModule for Reverse {
    fn name(&self) -> &str {
        "reverse"
    }

    fn write_body(&self, _: IoCaller, _: &mut CommitSet, body: &mut BodyOut<'_>, _: bool) -> IoResult {
        body.octets = body.octets.iter().rev().copied().collect();
        IoResult::Cont
    }

    fn read_body(&self, _: IoCaller, body: &mut BodyIn) -> IoResult {
        body.afterwards(Box::new(|mut octets| {
            octets.reverse();
            Ok(octets)
        }));
        IoResult::Cont
    }
}

/// Gives up the guarantee for mail that has not failed yet: nothing is written.
#[derive(Default)]
struct Suppress {
    skipped: AtomicU64,
}

impl IoModule for Suppress {
    fn name(&self) -> &str {
        "suppress"
    }

    fn write_headers(&self, _: IoCaller, _: &mut CommitSet, headers: &mut HeadersOut<'_>, force: bool) -> IoResult {
        if force || headers.envelope.delivery.retries != 0 {
            return IoResult::Cont;
        }
        self.skipped.fetch_add(1, Ordering::Relaxed);
        IoResult::Done
    }
}

/// Refuses everything.
struct Refuse;

impl IoModule for Refuse {
    fn name(&self) -> &str {
        "refuse"
    }

    fn write_headers(&self, _: IoCaller, _: &mut CommitSet, _: &mut HeadersOut<'_>, _: bool) -> IoResult {
        IoResult::Fail(SpoolError::Overloaded { waiting_bytes: 1 })
    }
}

fn envelope(id: u64, batch: u64) -> Envelope {
    let (id, batch) = (MessageId::from_bits(id), MessageId::from_bits(batch));
    Envelope {
        id,
        batch,
        reverse_path: smtp::ReversePath::Null,
        forward_path: smtp::ForwardPath(smtp::Mailbox::postmaster()),
        created: Duration::from_secs(7),
        body_bytes: 5,
        eight_bit: false,
        origin: Origin { protocol: Protocol::Esmtp, peer: None, connection: batch },
        queue: QueueName { binding_group: "default".into(), binding: "default".into(), domain: "b.example".into() },
        delivery: DeliveryState::default(),
        context: Context::default(),
        edits: None,
        particulars: None,
    }
}

fn journal(base: &Path) -> Result<Arc<Journal>, OpenError> {
    let options = JournalOptions { segment_bytes: 1 << 20, ..JournalOptions::new(base) };
    Journal::open(options, Arc::new(RealDisk), Clock::system(), &Meters::new()).map(Arc::new)
}

fn body() -> Body {
    Body::from_static(b"Subject: x\r\n\r\nhello\r\n.\r\n")
}

#[tokio::test]
async fn a_module_transforms_what_the_store_keeps() {
    let memory = Arc::new(Memory::new());
    let spool = Spool::new(vec![Arc::new(Reverse), memory.clone()], Arc::new(Inline));
    spool.store(&body(), &[envelope(1, 1)]).await.unwrap();
    let stored = [envelope(1, 1)];
    let owner = scheduler::MemoryOwner::default();
    let mut kept = BodyOut::new(MessageId::from_bits(1), &stored, body(), &owner);
    let _ = Reverse.write_body(IoCaller::Synchronous, &mut CommitSet::default(), &mut kept, false);
    let plain = Spool::new(vec![memory], Arc::new(Inline));
    assert_eq!(plain.read(MessageId::from_bits(1)).await.unwrap().1, kept.octets);
    let (found, octets) = spool.read(MessageId::from_bits(1)).await.unwrap();
    assert_eq!((found, octets), (envelope(1, 1), body()));
}

#[tokio::test]
async fn a_module_that_is_done_keeps_mail_from_the_store() {
    let (memory, suppress) = (Arc::new(Memory::new()), Arc::new(Suppress::default()));
    let spool = Spool::new(vec![suppress.clone(), memory.clone()], Arc::new(Inline));
    spool.store(&body(), &[envelope(1, 1)]).await.unwrap();
    assert!(memory.is_empty());
    assert_eq!(suppress.skipped.load(Ordering::Relaxed), 1);
    let mut tried = envelope(2, 2);
    tried.delivery.retries = 1;
    spool.store(&body(), &[tried]).await.unwrap();
    assert_eq!(memory.len(), (1, 1));
}

#[tokio::test]
async fn a_module_that_fails_ends_the_walk_and_nothing_is_kept() {
    let memory = Arc::new(Memory::new());
    let spool = Spool::new(vec![Arc::new(Refuse), memory.clone()], Arc::new(Inline));
    let refused = spool.store(&body(), &[envelope(1, 1)]).await;
    assert!(matches!(refused, Err(SpoolError::Overloaded { .. })));
    assert!(memory.is_empty());
}

#[tokio::test]
async fn siblings_share_a_body_that_goes_with_the_last() {
    let memory = Arc::new(Memory::new());
    let spool = Spool::new(vec![memory.clone()], Arc::new(Inline));
    spool.store(&body(), &[envelope(1, 1), envelope(2, 1)]).await.unwrap();
    assert_eq!(memory.len(), (2, 1));
    spool.unlink(MessageId::from_bits(1)).await.unwrap();
    assert_eq!(spool.read(MessageId::from_bits(2)).await.unwrap().1, body());
    spool.unlink(MessageId::from_bits(2)).await.unwrap();
    spool.unlink(MessageId::from_bits(2)).await.unwrap();
    assert!(memory.is_empty());
}

#[tokio::test]
async fn the_journal_hands_over_what_an_earlier_run_stored() {
    let base = tempfile::tempdir().unwrap();
    let spool = Spool::new(vec![Arc::new(Reverse), journal(base.path()).unwrap()], Arc::new(Inline));
    spool.store(&body(), &[envelope(1, 1), envelope(2, 1), envelope(3, 1)]).await.unwrap();
    let mut changed = envelope(2, 1);
    changed.delivery.retries = 3;
    spool.rewrite(&changed).await.unwrap();
    spool.unlink(MessageId::from_bits(1)).await.unwrap();
    spool.close();
    assert!(matches!(spool.store(&body(), &[envelope(9, 9)]).await, Err(SpoolError::Closed)));
    drop(spool);

    let spool = Spool::new(vec![Arc::new(Reverse), journal(base.path()).unwrap()], Arc::new(Inline));
    let found = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&found);
    spool.process_disk_queue(Box::new(move |envelope| seen.lock().unwrap().push(envelope))).await.unwrap();
    let mut found = std::mem::take(&mut *found.lock().unwrap());
    found.sort_by_key(|envelope| envelope.id);
    assert_eq!(found, [changed, envelope(3, 1)]);
    assert_eq!(spool.read(MessageId::from_bits(3)).await.unwrap().1, body());
    assert!(matches!(spool.read(MessageId::from_bits(1)).await, Err(SpoolError::Missing { .. })));
}

#[test]
fn a_second_daemon_on_a_real_spool_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let first = journal(base.path()).unwrap();
    let Err(OpenError::Locked { owner, .. }) = journal(base.path()) else { panic!("opened twice") };
    assert_eq!(owner, Some(std::process::id()));
    first.close();
    assert!(journal(base.path()).is_ok());
}

#[test]
fn writers_on_many_threads_share_syncs() {
    let base = tempfile::tempdir().unwrap();
    let journal = journal(base.path()).unwrap();
    let spool = Spool::new(vec![journal.clone()], Arc::new(Inline));
    let writers: Vec<_> = (0..16u64)
        .map(|writer| {
            let spool = spool.clone();
            std::thread::spawn(move || {
                for number in 0..50 {
                    let id = writer << 32 | number | 1 << 20;
                    spool.store_and_wait(&body(), &[envelope(id, id)]).unwrap();
                    if number % 2 == 0 {
                        spool.unlink(MessageId::from_bits(id)).wait().unwrap();
                    }
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    spool.close();
    let stats = journal.stats();
    assert_eq!((stats.operations, stats.messages, stats.unlinked), (801, 400, 400));
    assert!(stats.commits <= 801 && stats.batch_max <= 17, "{stats:?}");
}

#[test]
fn room_is_unbounded_until_something_was_refused_and_then_what_was_measured() {
    struct Small;
    impl IoModule for Small {
        fn name(&self) -> &str {
            "small"
        }
        fn room(&self) -> u64 {
            5000
        }
    }
    let spool = Spool::new(vec![Arc::new(Small), Arc::new(Memory::new())], Arc::new(Inline));
    spool.measure_room();
    assert!(spool.has_room(u64::MAX), "nothing was refused yet");
    spool.was_full();
    assert!(!spool.has_room(0));
    spool.measure_room();
    assert!(spool.has_room(5000) && !spool.has_room(5001));
}
