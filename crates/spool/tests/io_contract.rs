//! The contract with IO modules, clause by clause: eight callbacks, load order, DONE, CONT and FAIL, who asks, `force`.
//!
//! Every module here writes down what it is asked, so that a test reads as the order of calls.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use message::{Body, Context, DeliveryState, Envelope, MessageId, Origin, Protocol, QueueName};
use spool::chain::{BodyIn, BodyOut, CommitSet, HeadersIn, HeadersOut};
use spool::{IoCaller, IoModule, IoResult, Job, Memory, ReadPool, Spool, SpoolError};

struct Inline;

impl ReadPool for Inline {
    fn submit(&self, job: Job) {
        job();
    }
}

type Calls = Arc<Mutex<Vec<String>>>;
type Answer = fn() -> IoResult;

/// Answers every callback in the same way, and writes down that it was asked.
struct Told {
    name: &'static str,
    calls: Calls,
    answer: Answer,
    owns_disk_queue: bool,
}

impl Told {
    fn asked(&self, what: &str) -> IoResult {
        self.calls.lock().unwrap().push(format!("{} {what}", self.name));
        (self.answer)()
    }
}

impl IoModule for Told {
    fn name(&self) -> &str {
        self.name
    }
    fn owns_disk_queue(&self) -> bool {
        self.owns_disk_queue
    }
    fn process_disk_queue(&self, _: &mut dyn FnMut(MessageId, Vec<u8>)) -> Result<(), SpoolError> {
        let _ = self.asked("process_disk_queue");
        Ok(())
    }
    fn write_headers(&self, caller: IoCaller, _: &mut CommitSet, _: &mut HeadersOut<'_>, force: bool) -> IoResult {
        self.asked(&format!("writeheaders {caller:?} force={force}"))
    }
    fn read_headers(&self, _: IoCaller, _: &mut HeadersIn) -> IoResult {
        self.asked("readheaders")
    }
    fn unlink_headers(&self, _: IoCaller, _: &mut CommitSet, _: MessageId) -> IoResult {
        self.asked("unlinkheaders")
    }
    fn write_body(&self, caller: IoCaller, _: &mut CommitSet, _: &mut BodyOut<'_>, force: bool) -> IoResult {
        self.asked(&format!("writebody {caller:?} force={force}"))
    }
    fn read_body(&self, _: IoCaller, _: &mut BodyIn) -> IoResult {
        self.asked("readbody")
    }
    fn unlink_body(&self, _: IoCaller, _: &mut CommitSet, _: MessageId) -> IoResult {
        self.asked("unlinkbody")
    }
    fn close(&self) {
        let _ = self.asked("close");
    }
}

/// Keeps mail in memory until it has been tried `retries` times.
struct PutOff {
    retries: u32,
}

impl PutOff {
    fn answer(&self, set: &mut CommitSet, envelopes: &[Envelope], force: bool) -> IoResult {
        if force || envelopes.iter().any(|envelope| self.retries <= envelope.delivery.retries) {
            return IoResult::Cont;
        }
        set.hold();
        IoResult::Done
    }
}

impl IoModule for PutOff {
    fn name(&self) -> &str {
        "put-off"
    }
    fn write_headers(&self, _: IoCaller, set: &mut CommitSet, headers: &mut HeadersOut<'_>, force: bool) -> IoResult {
        self.answer(set, std::slice::from_ref(headers.envelope), force)
    }
    fn write_body(&self, _: IoCaller, set: &mut CommitSet, body: &mut BodyOut<'_>, force: bool) -> IoResult {
        self.answer(set, body.envelopes, force)
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

fn tried(times: u32, mut envelope: Envelope) -> Envelope {
    envelope.delivery.retries = times;
    envelope
}

fn body() -> Body {
    Body::from_static(b"Subject: x\r\n\r\nhello\r\n.\r\n")
}

const ID: MessageId = MessageId::from_bits(1);

fn cont() -> IoResult {
    IoResult::Cont
}

fn done() -> IoResult {
    IoResult::Done
}

fn fail() -> IoResult {
    IoResult::Fail(SpoolError::Overloaded { waiting_bytes: 1 })
}

/// A chain of two such modules, `a` before `b`.
fn two(first: Answer, second: Answer) -> (Spool, Calls) {
    let calls = Calls::default();
    let told = |name, answer| Arc::new(Told { name, calls: calls.clone(), answer, owns_disk_queue: true });
    (Spool::new(vec![told("a", first), told("b", second)], Arc::new(Inline)), calls)
}

fn calls(of: &Calls) -> Vec<String> {
    std::mem::take(&mut *of.lock().unwrap())
}

#[tokio::test]
async fn modules_are_tried_in_load_order_and_cont_goes_on() {
    let (spool, told) = two(cont, cont);
    spool.store(&body(), &[envelope(1, 1)]).await.unwrap();
    let write = ["writebody", "writeheaders"];
    let expected = write.map(|call| ["a", "b"].map(|name| format!("{name} {call} Asynchronous force=false"))).concat();
    assert_eq!(calls(&told), expected);
    spool.unlink(ID).await.unwrap();
    assert_eq!(calls(&told), ["a unlinkheaders", "b unlinkheaders", "a unlinkbody", "b unlinkbody"]);
    assert!(matches!(spool.read(ID).await, Err(SpoolError::Missing { .. })), "nobody filled it in");
    assert_eq!(calls(&told), ["a readheaders", "b readheaders"]);
    spool.close();
    assert_eq!(calls(&told), ["a close", "b close"]);
}

#[tokio::test]
async fn done_ends_the_walk_of_that_operation() {
    let (spool, told) = two(done, cont);
    spool.store(&body(), &[envelope(1, 1)]).await.unwrap();
    spool.unlink(ID).await.unwrap();
    assert!(spool.read(ID).await.is_err());
    assert!(calls(&told).iter().all(|call| call.starts_with("a ")));
}

#[tokio::test]
async fn fail_ends_the_operation_and_its_caller_hears_why() {
    let (spool, told) = two(fail, cont);
    assert!(matches!(spool.store(&body(), &[envelope(1, 1)]).await, Err(SpoolError::Overloaded { .. })));
    assert!(matches!(spool.unlink(ID).await, Err(SpoolError::Overloaded { .. })));
    assert!(matches!(spool.read(ID).await, Err(SpoolError::Overloaded { .. })));
    assert_eq!(calls(&told), ["a writebody Asynchronous force=false", "a unlinkheaders", "a readheaders"]);
}

#[test]
fn a_caller_that_waits_is_synchronous() {
    let (spool, told) = two(cont, done);
    spool.store_and_wait(&body(), &[envelope(1, 1)]).unwrap();
    assert!(calls(&told).iter().all(|call| call.contains("Synchronous force=false") && !call.contains("Async")));
}

#[tokio::test]
async fn a_message_that_its_queue_lets_go_of_is_written_with_force() {
    let (spool, told) = two(cont, done);
    spool.rewrite(&tried(1, envelope(1, 1))).await.unwrap();
    assert_eq!(calls(&told), ["a writeheaders Asynchronous force=true", "b writeheaders Asynchronous force=true"]);
    spool.force_and_wait(&body(), &[envelope(2, 2)]).unwrap();
    assert!(calls(&told).iter().all(|call| call.ends_with("Synchronous force=true")));
}

#[tokio::test]
async fn only_the_first_loaded_provider_reads_the_disk_queue() {
    let (spool, told) = two(cont, cont);
    spool.process_disk_queue(Box::new(|_| {})).await.unwrap();
    assert_eq!(calls(&told), ["a process_disk_queue"]);
}

#[tokio::test]
async fn what_a_scan_cannot_understand_stays_unless_it_is_told_to_go() {
    /// Holds one message that is no envelope, until it is unlinked.
    struct Strange(&'static [u8], Mutex<bool>);
    impl IoModule for Strange {
        fn name(&self) -> &str {
            "strange"
        }
        fn owns_disk_queue(&self) -> bool {
            true
        }
        fn process_disk_queue(&self, each: &mut dyn FnMut(MessageId, Vec<u8>)) -> Result<(), SpoolError> {
            each(ID, self.0.to_vec());
            Ok(())
        }
        fn unlink_headers(&self, _: IoCaller, _: &mut CommitSet, _: MessageId) -> IoResult {
            *self.1.lock().unwrap() = false;
            IoResult::Cont
        }
    }
    // What a later release wrote is not damaged, and stays for that.
    let (damaged, newer) = (&b"\x01no envelope"[..], &b"\xf0later"[..]);
    for (octets, told, stays) in [(damaged, false, true), (damaged, true, false), (newer, true, true)] {
        let strange = Arc::new(Strange(octets, Mutex::new(true)));
        let spool = Spool::new(vec![strange.clone()], Arc::new(Inline));
        spool.unlink_unreadable(told);
        spool.process_disk_queue(Box::new(|envelope| panic!("{} is no envelope", envelope.id))).await.unwrap();
        assert_eq!(*strange.1.lock().unwrap(), stays, "told to unlink: {told}");
    }
}

#[tokio::test]
async fn headers_a_scan_finds_are_given_back_to_the_modules_that_changed_them() {
    struct Mask;
    impl IoModule for Mask {
        fn name(&self) -> &str {
            "mask"
        }
        fn write_headers(&self, _: IoCaller, _: &mut CommitSet, headers: &mut HeadersOut<'_>, _: bool) -> IoResult {
            let mut encoded = Vec::new();
            headers.encode(&mut encoded);
            headers.encoded = Some(encoded.iter().map(|octet| octet ^ 0xFF).collect());
            IoResult::Cont
        }
        fn read_headers(&self, _: IoCaller, headers: &mut HeadersIn) -> IoResult {
            headers.afterwards(Box::new(|octets| Ok(octets.iter().map(|octet| octet ^ 0xFF).collect())));
            IoResult::Cont
        }
    }
    struct OnDisk(Vec<u8>);
    impl IoModule for OnDisk {
        fn name(&self) -> &str {
            "on-disk"
        }
        fn owns_disk_queue(&self) -> bool {
            true
        }
        fn process_disk_queue(&self, each: &mut dyn FnMut(MessageId, Vec<u8>)) -> Result<(), SpoolError> {
            each(ID, self.0.clone());
            Ok(())
        }
    }
    let (mut masked, stored) = (CommitSet::default(), envelope(1, 1));
    let mut out = HeadersOut { envelope: &stored, encoded: None };
    let _ = Mask.write_headers(IoCaller::Synchronous, &mut masked, &mut out, false);
    let on_disk = OnDisk(out.encoded.unwrap());
    let spool = Spool::new(vec![Arc::new(Mask), Arc::new(on_disk)], Arc::new(Inline));
    let found = Arc::new(Mutex::new(Vec::new()));
    let seen = found.clone();
    spool.process_disk_queue(Box::new(move |envelope| seen.lock().unwrap().push(envelope))).await.unwrap();
    assert_eq!(*found.lock().unwrap(), [envelope(1, 1)]);
}

fn putting_off(retries: u32) -> (Spool, Arc<Memory>) {
    let memory = Arc::new(Memory::new());
    (Spool::new(vec![Arc::new(PutOff { retries }), memory.clone()], Arc::new(Inline)), memory)
}

#[tokio::test]
async fn mail_that_a_module_keeps_from_the_store_is_read_from_memory_and_goes_without_a_trace() {
    let (spool, memory) = putting_off(1);
    spool.store(&body(), &[envelope(1, 1), envelope(2, 1)]).await.unwrap();
    assert!(memory.is_empty());
    assert_eq!(spool.read(MessageId::from_bits(2)).await.unwrap(), (envelope(2, 1), body()));
    spool.unlink(ID).await.unwrap();
    spool.unlink(MessageId::from_bits(2)).await.unwrap();
    assert!(spool.read(ID).await.is_err());
    assert!(memory.is_empty());
}

#[tokio::test]
async fn it_is_stored_with_its_siblings_once_it_was_tried_often_enough() {
    let (spool, memory) = putting_off(2);
    spool.store(&body(), &[envelope(1, 1), envelope(2, 1)]).await.unwrap();
    spool.rewrite(&tried(1, envelope(1, 1))).await.unwrap();
    assert!(memory.is_empty());
    assert_eq!(spool.read_headers(ID).await.unwrap(), tried(1, envelope(1, 1)));
    spool.rewrite(&tried(2, envelope(1, 1))).await.unwrap();
    assert_eq!(memory.len(), (2, 1));
    assert_eq!(spool.read(ID).await.unwrap(), (tried(2, envelope(1, 1)), body()));
    // From now on it is the store's.
    spool.unlink(ID).await.unwrap();
    assert_eq!(memory.len(), (1, 1));
}

#[tokio::test]
async fn a_graceful_end_forces_everything_that_is_in_memory_only() {
    let (spool, memory) = putting_off(100);
    spool.store(&body(), &[envelope(1, 1), envelope(2, 1)]).await.unwrap();
    spool.close();
    assert_eq!(memory.len(), (2, 1));
}

#[tokio::test]
async fn what_cannot_be_stored_stays_in_memory() {
    let calls = Calls::default();
    let refusing = Arc::new(Told { name: "b", calls, answer: fail, owns_disk_queue: true });
    let spool = Spool::new(vec![Arc::new(PutOff { retries: 1 }), refusing], Arc::new(Inline));
    spool.store(&body(), &[envelope(1, 1)]).await.unwrap();
    assert!(spool.rewrite(&tried(1, envelope(1, 1))).await.is_err());
    assert_eq!(spool.read(ID).await.unwrap(), (tried(1, envelope(1, 1)), body()));
}
