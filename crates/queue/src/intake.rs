//! The way into the queues, from any thread: two bounded channels to each delivery loop, one for new mail and one for what the
//! spool held at the start, so that neither waits behind the other.
//!
//! A (binding, routing domain) queue belongs to the loop that the hash of its name picks, for the life of the process. Siblings
//! for one loop come as one [`Batch`], so that whoever delivers finds them together.
//! Invariant: what an intake took is in a channel or in a queue, and on disk before either.

use std::sync::Arc;
use std::task::{Context, Poll};

use message::{Body, Envelope, QueueName};
use smallvec::SmallVec;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc};

use crate::resident::{Arrival, ResidentOwners};

/// The handle that reception, bounces and recovery give messages to. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Intake {
    loops: Arc<[Channel]>,
    restored: Arc<[Channel]>,
    owners: ResidentOwners,
}

/// An intake for whoever receives from it: does not keep it open.
#[derive(Clone, Debug)]
pub struct WeakIntake {
    loops: Vec<WeakChannel>,
    restored: Vec<WeakChannel>,
    owners: ResidentOwners,
}

/// Siblings whose queues are on one loop.
#[derive(Debug)]
pub struct Batch(SmallVec<[Arrival; 1]>);

impl From<Arrival> for Batch {
    fn from(arrival: Arrival) -> Self {
        Self(SmallVec::from_buf([arrival]))
    }
}

/// Gives messages found on disk to their queues, from a thread that may block. Siblings that come one after the other go
/// together, so what was given last goes when another message comes, or when this is dropped.
#[derive(Debug)]
pub struct Restorer {
    intake: Intake,
    owner: usize,
    batch: Batch,
}

/// Bounded by messages, though it carries batches.
#[derive(Clone, Debug)]
struct Channel {
    sender: mpsc::UnboundedSender<Sent>,
    room: Arc<Semaphore>,
    capacity: usize,
}

#[derive(Clone, Debug)]
struct WeakChannel {
    sender: mpsc::WeakUnboundedSender<Sent>,
    room: Arc<Semaphore>,
    capacity: usize,
}

/// A batch in a channel, and the room it takes there.
#[derive(Debug)]
struct Sent {
    batch: Batch,
    room: OwnedSemaphorePermit,
}

impl Channel {
    fn new(capacity: usize) -> (Self, Receiver) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let channel = Self { sender, room: Arc::new(Semaphore::new(capacity)), capacity };
        let room = channel.room.clone();
        (channel, Receiver { receiver, room, capacity })
    }

    /// Of a batch that is larger than the channel there can be one at a time.
    fn price(&self, batch: &Batch) -> u32 {
        u32::try_from(batch.0.len().min(self.capacity)).unwrap_or(u32::MAX)
    }

    /// The batch, if there is no room for it. One that is sent after delivery has ended is on disk for the next start.
    fn try_send(&self, batch: Batch) -> Result<(), Batch> {
        match self.room.clone().try_acquire_many_owned(self.price(&batch)) {
            Ok(room) => {
                let _ = self.sender.send(Sent { batch, room });
                Ok(())
            }
            Err(TryAcquireError::Closed) => Ok(()),
            Err(TryAcquireError::NoPermits) => Err(batch),
        }
    }

    /// `false` if delivery has ended.
    async fn send(&self, batch: Batch) -> bool {
        let Ok(room) = self.room.clone().acquire_many_owned(self.price(&batch)).await else { return false };
        self.sender.send(Sent { batch, room }).is_ok()
    }

    fn downgrade(&self) -> WeakChannel {
        WeakChannel { sender: self.sender.downgrade(), room: self.room.clone(), capacity: self.capacity }
    }
}

impl WeakChannel {
    fn upgrade(&self) -> Option<Channel> {
        Some(Channel { sender: self.sender.upgrade()?, room: self.room.clone(), capacity: self.capacity })
    }
}

impl WeakIntake {
    /// The intake, while anybody else has it.
    pub fn upgrade(&self) -> Option<Intake> {
        let loops: Option<Vec<_>> = self.loops.iter().map(WeakChannel::upgrade).collect();
        let restored: Option<Vec<_>> = self.restored.iter().map(WeakChannel::upgrade).collect();
        Some(Intake { loops: loops?.into(), restored: restored?.into(), owners: self.owners.clone() })
    }
}

/// The receiving end of one delivery loop.
#[derive(Debug)]
pub struct Arrivals {
    new: Receiver,
    restored: Receiver,
}

/// The end of a channel.
#[derive(Debug)]
struct Receiver {
    receiver: mpsc::UnboundedReceiver<Sent>,
    room: Arc<Semaphore>,
    capacity: usize,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Whoever waits for room is told that there will be none.
        self.room.close();
    }
}

/// An intake for so many delivery loops, each with room for `capacity` messages under way, and the receiving ends. Envelopes
/// in memory are charged to `owners`.
pub fn intake(loops: usize, capacity: usize, owners: ResidentOwners) -> (Intake, Vec<Arrivals>) {
    let (mut senders, mut restorers, mut arrivals) = (Vec::new(), Vec::new(), Vec::new());
    let capacity = capacity.max(1);
    for _ in 0..loops.max(1) {
        let (sender, new) = Channel::new(capacity);
        let (restorer, restored) = Channel::new(capacity);
        arrivals.push(Arrivals { new, restored });
        senders.push(sender);
        restorers.push(restorer);
    }
    (Intake { loops: senders.into(), restored: restorers.into(), owners }, arrivals)
}

impl Intake {
    /// Gives a message that is safely stored to its queue; it is due at `envelope.delivery.next_attempt`. Waits only while
    /// the loop that owns the queue is a whole channel behind. `false` if delivery has ended: the message stays on disk.
    pub async fn enqueue(&self, envelope: Envelope, body: Body) -> bool {
        self.give(self.owners.resident(envelope, Some(body)).into()).await
    }

    /// As [`Intake::enqueue`] for all siblings of a message, without waiting: gives those back whose loops are a whole
    /// channel behind, to be handed to [`Intake::give`].
    pub fn offer(&self, envelopes: Vec<Envelope>, body: &Body) -> Vec<Batch> {
        let resident = |envelope| self.owners.resident(envelope, Some(body.clone()));
        let mut batches: SmallVec<[(usize, Batch); 1]> = SmallVec::new();
        for arrival in envelopes.into_iter().map(resident) {
            let owner = self.owner(&arrival.envelope.queue);
            match batches.iter_mut().find(|(other, _)| *other == owner) {
                Some((_, batch)) => batch.0.push(arrival),
                None => batches.push((owner, arrival.into())),
            }
        }
        batches.into_iter().filter_map(|(owner, batch)| self.loops[owner].try_send(batch).err()).collect()
    }

    /// Gives messages of one loop, as [`Intake::offer`] gave them back, to their queues. `false` if delivery has ended.
    pub async fn give(&self, batch: Batch) -> bool {
        let Some(first) = batch.0.first() else { return true };
        let channel = &self.loops[self.owner(&first.envelope.queue)];
        match channel.try_send(batch) {
            Ok(()) => !channel.sender.is_closed(),
            Err(batch) => channel.send(batch).await,
        }
    }

    /// As [`Intake::enqueue`], for a message found on disk: its body is read when its turn comes.
    pub async fn restore(&self, envelope: Envelope) -> bool {
        let arrival = self.owners.resident(envelope, None);
        self.restored[self.owner(&arrival.envelope.queue)].send(arrival.into()).await
    }

    /// As [`Intake::restore`], for a thread that may block.
    pub fn restorer(&self) -> Restorer {
        Restorer { intake: self.clone(), owner: 0, batch: Batch(SmallVec::new()) }
    }

    /// For the loops themselves, which are to end when nobody else can give them mail.
    pub fn downgrade(&self) -> WeakIntake {
        let loops = self.loops.iter().map(Channel::downgrade).collect();
        let restored = self.restored.iter().map(Channel::downgrade).collect();
        WeakIntake { loops, restored, owners: self.owners.clone() }
    }

    /// Which delivery loop owns a queue.
    pub fn owner(&self, queue: &QueueName) -> usize {
        owner(queue, self.loops.len())
    }
}

impl Arrivals {
    /// Waits for messages and moves them into `into`, batch by batch, until there are `limit` new and `restored_limit`
    /// restored ones; how many. Zero once every intake is gone. Neither limit may be zero.
    pub async fn receive(&mut self, into: &mut Vec<Arrival>, limit: usize, restored_limit: usize) -> usize {
        std::future::poll_fn(|context| {
            let new = self.new.poll(context, into, limit);
            let restored = self.restored.poll(context, into, restored_limit);
            match (new, restored) {
                (Poll::Ready(new), Poll::Ready(restored)) => Poll::Ready(new + restored),
                // One of the two has ended: only the other counts.
                (Poll::Ready(0), Poll::Pending) | (Poll::Pending, Poll::Ready(0)) => Poll::Pending,
                (Poll::Ready(some), Poll::Pending) | (Poll::Pending, Poll::Ready(some)) => Poll::Ready(some),
                (Poll::Pending, Poll::Pending) => Poll::Pending,
            }
        })
        .await
    }

    /// Messages that wait in the channels, about: of a batch that is larger than a channel, its capacity counts.
    pub fn waiting(&self) -> usize {
        self.new.waiting() + self.restored.waiting()
    }
}

impl Receiver {
    fn poll(&mut self, context: &mut Context<'_>, into: &mut Vec<Arrival>, limit: usize) -> Poll<usize> {
        let mut moved = 0;
        while moved < limit {
            match self.receiver.poll_recv(context) {
                Poll::Ready(Some(Sent { batch, room })) => {
                    moved += batch.0.len();
                    into.extend(batch.0);
                    drop(room);
                }
                Poll::Ready(None) => return Poll::Ready(moved),
                Poll::Pending if moved == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(moved)
    }

    fn waiting(&self) -> usize {
        self.capacity - self.room.available_permits()
    }
}

impl Restorer {
    /// Gives a message to its queue, as [`Intake::restore`] does.
    pub fn give(&mut self, envelope: Envelope) {
        let arrival = self.intake.owners.resident(envelope, None);
        let owner = self.intake.owner(&arrival.envelope.queue);
        let is_sibling = |last: &Arrival| last.envelope.batch == arrival.envelope.batch;
        let goes_with_it = owner == self.owner && self.batch.0.len() < RESTORED_TOGETHER;
        if !(goes_with_it && self.batch.0.last().is_some_and(is_sibling)) {
            self.flush();
        }
        self.owner = owner;
        self.batch.0.push(arrival);
    }

    fn flush(&mut self) {
        let batch = Batch(std::mem::take(&mut self.batch.0));
        if !batch.0.is_empty() {
            // Where delivery has ended, it waits on disk for the next start.
            wait_for(self.intake.restored[self.owner].send(batch));
        }
    }
}

impl Drop for Restorer {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Waits on this thread.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Siblings found on disk that go together.
const RESTORED_TOGETHER: usize = 1000;

/// FNV-1a over binding and domain: the same loop for the same queue in every intake.
fn owner(queue: &QueueName, loops: usize) -> usize {
    let octets = queue.binding.bytes().chain([b'@']).chain(queue.domain.bytes());
    let hash = octets
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3));
    // The high half, folded in, because the low bits alone mix badly.
    ((hash >> 32 ^ hash) % loops as u64) as usize
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use message::{Context, DeliveryState, MessageId, Origin, Protocol};

    pub(crate) fn envelope(id: u64, domain: &str) -> Envelope {
        Envelope {
            id: MessageId::from_bits(id),
            batch: MessageId::from_bits(id),
            reverse_path: smtp::ReversePath::Null,
            forward_path: smtp::ForwardPath(smtp::Mailbox::parse(&format!("ann@{domain}")).unwrap()),
            created: Duration::ZERO,
            body_bytes: 0,
            eight_bit: false,
            origin: Origin { protocol: Protocol::Esmtp, peer: None, connection: MessageId::NULL },
            queue: QueueName { binding_group: "g".into(), binding: "b".into(), domain: domain.into() },
            delivery: DeliveryState::default(),
            context: Context::default(),
            edits: None,
            particulars: None,
        }
    }

    #[tokio::test]
    async fn a_queue_always_goes_to_the_same_loop_and_queues_spread_over_loops() {
        let (intake, mut arrivals) = intake(2, 1000, ResidentOwners::default());
        for n in 0..200 {
            assert!(intake.enqueue(envelope(n, &format!("{}.test", n % 50)), Body::new()).await);
        }
        let mut seen = Vec::new();
        for loop_arrivals in &mut arrivals {
            let mut batch = Vec::new();
            let waiting = loop_arrivals.waiting();
            while batch.len() < waiting {
                loop_arrivals.receive(&mut batch, 1000, 1).await;
            }
            let domains: std::collections::BTreeSet<_> =
                batch.iter().map(|arrival| arrival.envelope.queue.domain.clone()).collect();
            assert!(10 < domains.len(), "{}", domains.len());
            seen.extend(domains);
        }
        assert_eq!(seen.len(), 50, "no domain on two loops");
    }

    #[tokio::test]
    async fn what_is_restored_comes_in_portions_beside_new_mail() {
        let (intake, mut arrivals) = intake(1, 100, ResidentOwners::default());
        for n in 0..10 {
            assert!(intake.restore(envelope(n, "x.test")).await);
        }
        assert!(intake.enqueue(envelope(100, "x.test"), Body::new()).await);
        let mut batch = Vec::new();
        assert_eq!(arrivals[0].receive(&mut batch, 256, 4).await, 5);
        let bodies: Vec<bool> = batch.iter().map(|arrival| arrival.body.is_some()).collect();
        assert_eq!(bodies, [true, false, false, false, false], "new mail does not wait behind the spool");
        assert_eq!(arrivals[0].receive(&mut batch, 256, 100).await, 6);
        drop(intake);
        assert_eq!(arrivals[0].receive(&mut batch, 256, 100).await, 0);
    }

    #[tokio::test]
    async fn a_full_channel_makes_the_sender_wait_and_a_closed_one_says_so() {
        let (intake, mut arrivals) = intake(1, 1, ResidentOwners::default());
        assert!(intake.enqueue(envelope(1, "x.test"), Body::new()).await);
        let back = intake.offer(vec![envelope(2, "x.test")], &Body::new()).pop().unwrap();
        let mut second = std::pin::pin!(intake.give(back));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(second.as_mut().poll(&mut context).is_pending());
        let mut batch = Vec::new();
        arrivals[0].receive(&mut batch, 10, 1).await;
        assert!(second.await);
        drop(arrivals);
        assert!(!intake.enqueue(envelope(3, "x.test"), Body::new()).await);
        assert!(intake.offer(vec![envelope(4, "x.test")], &Body::new()).is_empty(), "it waits on disk");
    }

    #[tokio::test]
    async fn siblings_of_one_loop_come_together_and_take_room_for_each() {
        let (intake, mut arrivals) = intake(1, 4, ResidentOwners::default());
        let siblings = |from: u64, count: u64| (from..from + count).map(|n| envelope(n, "x.test")).collect::<Vec<_>>();
        assert!(intake.offer(siblings(0, 3), &Body::new()).is_empty());
        let back = intake.offer(siblings(10, 2), &Body::new());
        assert_eq!((back.len(), arrivals[0].waiting()), (1, 3), "there is room for one");
        let mut batch = Vec::new();
        assert_eq!(arrivals[0].receive(&mut batch, 1, 1).await, 3, "a batch is not parted");
        for back in back {
            assert!(intake.give(back).await);
        }
        assert_eq!(arrivals[0].receive(&mut batch, 100, 1).await, 2);
        assert!(intake.offer(siblings(20, 100), &Body::new()).is_empty(), "more than the channel holds");
        assert_eq!(intake.offer(siblings(200, 1), &Body::new()).len(), 1);
        assert_eq!(arrivals[0].receive(&mut batch, 100, 1).await, 100);
        assert_eq!(arrivals[0].waiting(), 0);
    }
}
