//! The way into the queues, from any thread: two bounded channels to each delivery loop, one for new mail and one for what the
//! spool held at the start, so that neither waits behind the other.
//!
//! A (binding, routing domain) queue belongs to the loop that the hash of its name picks, for the life of the process.
//! Invariant: what an intake took is in a channel or in a queue, and on disk before either.

use std::task::Poll;

use message::{Body, Envelope, QueueName};
use tokio::sync::mpsc;

use crate::resident::{Arrival, ResidentOwners};

/// The handle that reception, bounces and recovery give messages to. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Intake {
    loops: std::sync::Arc<[mpsc::Sender<Arrival>]>,
    restored: std::sync::Arc<[mpsc::Sender<Arrival>]>,
    owners: ResidentOwners,
}

/// An intake for whoever receives from it: does not keep it open.
#[derive(Clone, Debug)]
pub struct WeakIntake {
    loops: Vec<mpsc::WeakSender<Arrival>>,
    restored: Vec<mpsc::WeakSender<Arrival>>,
    owners: ResidentOwners,
}

impl WeakIntake {
    /// The intake, while anybody else has it.
    pub fn upgrade(&self) -> Option<Intake> {
        let all =
            |weak: &[mpsc::WeakSender<Arrival>]| weak.iter().map(mpsc::WeakSender::upgrade).collect::<Option<Vec<_>>>();
        let owners = self.owners.clone();
        Some(Intake { loops: all(&self.loops)?.into(), restored: all(&self.restored)?.into(), owners })
    }
}

/// The receiving end of one delivery loop.
#[derive(Debug)]
pub struct Arrivals {
    channel: mpsc::Receiver<Arrival>,
    restored: mpsc::Receiver<Arrival>,
}

/// An intake for so many delivery loops, each with room for `capacity` messages under way, and the receiving ends. Envelopes
/// in memory are charged to `owners`.
pub fn intake(loops: usize, capacity: usize, owners: ResidentOwners) -> (Intake, Vec<Arrivals>) {
    let (mut senders, mut restorers, mut arrivals) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..loops.max(1) {
        let (sender, channel) = mpsc::channel(capacity.max(1));
        let (restorer, restored) = mpsc::channel(capacity.max(1));
        senders.push(sender);
        restorers.push(restorer);
        arrivals.push(Arrivals { channel, restored });
    }
    (Intake { loops: senders.into(), restored: restorers.into(), owners }, arrivals)
}

impl Intake {
    /// Gives a message that is safely stored to its queue; it is due at `envelope.delivery.next_attempt`. Waits only while
    /// the loop that owns the queue is a whole channel behind. `false` if delivery has ended: the message stays on disk.
    pub async fn enqueue(&self, envelope: Envelope, body: Body) -> bool {
        self.send(&self.loops, self.owners.resident(envelope, Some(body))).await
    }

    /// As [`Intake::enqueue`] without waiting: gives the message back if the loop that owns the queue is a whole channel
    /// behind, to be handed to [`Intake::give`].
    pub fn offer(&self, envelope: Envelope, body: Body) -> Result<(), Arrival> {
        let arrival = self.owners.resident(envelope, Some(body));
        match self.loops[self.owner(&arrival.envelope.queue)].try_send(arrival) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(arrival)) => Err(arrival),
        }
    }

    /// Gives a message that [`Intake::offer`] gave back to its queue. `false` if delivery has ended.
    pub async fn give(&self, arrival: Arrival) -> bool {
        self.send(&self.loops, arrival).await
    }

    /// As [`Intake::enqueue`], for a message found on disk: its body is read when its turn comes.
    pub async fn restore(&self, envelope: Envelope) -> bool {
        self.send(&self.restored, self.owners.resident(envelope, None)).await
    }

    /// As [`Intake::restore`], for a thread that may block.
    pub fn restore_blocking(&self, envelope: Envelope) -> bool {
        let arrival = self.owners.resident(envelope, None);
        self.restored[self.owner(&arrival.envelope.queue)].blocking_send(arrival).is_ok()
    }

    /// For the loops themselves, which are to end when nobody else can give them mail.
    pub fn downgrade(&self) -> WeakIntake {
        let all = |senders: &[mpsc::Sender<Arrival>]| senders.iter().map(mpsc::Sender::downgrade).collect();
        WeakIntake { loops: all(&self.loops), restored: all(&self.restored), owners: self.owners.clone() }
    }

    /// Which delivery loop owns a queue.
    pub fn owner(&self, queue: &QueueName) -> usize {
        owner(queue, self.loops.len())
    }

    async fn send(&self, loops: &[mpsc::Sender<Arrival>], arrival: Arrival) -> bool {
        let channel = &loops[self.owner(&arrival.envelope.queue)];
        match channel.try_send(arrival) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(arrival)) => channel.send(arrival).await.is_ok(),
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

impl Arrivals {
    /// Waits for messages and moves up to `limit` new ones and up to `restored_limit` restored ones into `into`; how many.
    /// Zero once every intake is gone. Neither limit may be zero.
    pub async fn receive(&mut self, into: &mut Vec<Arrival>, limit: usize, restored_limit: usize) -> usize {
        std::future::poll_fn(|context| {
            let new = self.channel.poll_recv_many(context, into, limit);
            let restored = self.restored.poll_recv_many(context, into, restored_limit);
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

    /// Messages that wait in the channels.
    pub fn waiting(&self) -> usize {
        self.channel.len() + self.restored.len()
    }
}

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
            assert_eq!(loop_arrivals.receive(&mut batch, 1000, 1).await, waiting);
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
        let back = intake.offer(envelope(2, "x.test"), Body::new()).unwrap_err();
        let mut second = std::pin::pin!(intake.give(back));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(second.as_mut().poll(&mut context).is_pending());
        let mut batch = Vec::new();
        arrivals[0].receive(&mut batch, 10, 1).await;
        assert!(second.await);
        drop(arrivals);
        assert!(!intake.enqueue(envelope(3, "x.test"), Body::new()).await);
        assert!(intake.offer(envelope(4, "x.test"), Body::new()).is_ok(), "it waits on disk");
    }
}
