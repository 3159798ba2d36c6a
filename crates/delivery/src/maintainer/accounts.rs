//! What delivery counts and what its memory is charged to: the counters and owners that the loops share.

use queue::ResidentOwners;
use scheduler::{Counter, MemoryOwner, Meters};

/// `delivery.…`, shared by the loops.
pub(crate) struct Meter {
    /// Messages, one for each recipient, that a host took or a mailbox has: as many as D lines.
    pub(crate) delivered: Counter,
    /// Attempts at a message that failed for now: as many as T lines.
    pub(crate) transient: Counter,
    /// Messages that failed for good: as many as P lines.
    pub(crate) permanent: Counter,
    /// Attempts whose final dot got no answer: the host may have the message.
    pub(crate) lost_after_dot: Counter,
    /// Times that a notification could not be stored, so that its message stayed queued.
    pub(crate) not_notified: Counter,
    /// Messages that left their queue because the spool no longer has them whole.
    pub(crate) unreadable: Counter,
    /// Connections that were begun, to hosts or into mailboxes.
    pub(crate) connections_entered: Counter,
    /// Those of them that ended, however.
    pub(crate) connections_left: Counter,
    /// Addresses that were tried and gave no session; what this machine lacks is in `delivery.lacks`.
    pub(crate) connections_failed: Counter,
    /// Sessions that a host refused while it had others.
    pub(crate) one_too_many: Counter,
    /// Sessions that a host ended in the middle of a message, or in which it did not keep to the protocol.
    pub(crate) broken_off: Counter,
    /// Times that a queue began to wait for a throttle or a full host.
    pub(crate) throttled: Counter,
    /// Times that a session went to another queue.
    pub(crate) migrated: Counter,
    /// Messages that went to another queue after a reload.
    pub(crate) moved: Counter,
    /// Times that a queue was found to lead back to this server.
    pub(crate) loops: Counter,
    /// Times that a queue was found to lead to prohibited hosts alone.
    pub(crate) prohibited: Counter,
}

/// What the memory of delivery is charged to.
pub(crate) struct Owners {
    pub(crate) residents: ResidentOwners,
    /// Bodies made here, and read from the spool.
    pub(crate) bodies: MemoryOwner,
    pub(crate) connections: MemoryOwner,
}

impl Owners {
    pub(super) fn new(meters: &Meters) -> Self {
        let residents = ResidentOwners::new(meters);
        Self { residents, bodies: meters.memory(message::BODIES), connections: meters.memory("delivery:connections") }
    }
}

impl Meter {
    pub(super) fn new(meters: &Meters) -> Self {
        let counter = |name: &str| meters.counter(&format!("delivery.{name}"));
        Self {
            delivered: counter("messages.delivered"),
            transient: counter("messages.transient"),
            permanent: counter("messages.permanent"),
            lost_after_dot: counter("messages.lost_after_dot"),
            not_notified: counter("messages.not_notified"),
            unreadable: counter("messages.unreadable"),
            connections_entered: counter("connections.entered"),
            connections_left: counter("connections.left"),
            connections_failed: counter("connections.failed"),
            one_too_many: counter("connections.one_too_many"),
            broken_off: counter("connections.broken_off"),
            throttled: counter("queues.throttled"),
            migrated: counter("connections.migrated"),
            moved: counter("messages.moved"),
            loops: counter("queues.looping"),
            prohibited: counter("queues.prohibited"),
        }
    }
}
