//! What delivery counts and what its memory is charged to: the counters and owners that the loops share.

use queue::ResidentOwners;
use scheduler::{Counter, Measure, MemoryOwner, Meters};

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

/// What delivery counts.
pub const MEASURES: &[Measure] = &[
    Measure::counter(
        "delivery.messages.delivered",
        "messages",
        "Messages, one for each recipient, that a host took or a mailbox has: as many as D lines.",
    ),
    Measure::counter(
        "delivery.messages.transient",
        "attempts",
        "Attempts at a message that failed for now: as many as T lines. A flush that is answered so counts too.",
    ),
    Measure::counter("delivery.messages.permanent", "messages", "Messages that failed for good: as many as P lines."),
    Measure::counter(
        "delivery.messages.lost_after_dot",
        "attempts",
        "Attempts whose final dot got no answer: the host may have the message.",
    ),
    Measure::counter(
        "delivery.messages.not_notified",
        "times",
        "Times that a notification could not be stored, so that its message stayed queued.",
    ),
    Measure::counter(
        "delivery.messages.unreadable",
        "messages",
        "Messages that left their queue because the spool no longer has them whole.",
    ),
    Measure::counter("delivery.messages.moved", "messages", "Messages that went to another queue after a reload."),
    Measure::counter(
        "delivery.connections.entered",
        "connections",
        "Connections that were begun, to hosts or into mailboxes.",
    ),
    Measure::counter(
        "delivery.connections.left",
        "connections",
        "Those of them that ended, however. The difference is how many are open.",
    ),
    Measure::counter(
        "delivery.connections.failed",
        "connections",
        "Addresses that were tried and gave no session. What this machine lacks is in delivery.lacks.",
    ),
    Measure::counter(
        "delivery.connections.one_too_many",
        "connections",
        "Sessions that a host refused while it had others.",
    ),
    Measure::counter(
        "delivery.connections.broken_off",
        "connections",
        "Sessions that a host ended in the middle of a message, or in which it did not keep to the protocol.",
    ),
    Measure::counter("delivery.connections.migrated", "times", "Times that a session went from one queue to another."),
    Measure::counter(
        "delivery.queues.throttled",
        "times",
        "Times that a queue began to wait for a throttle, or for a host or limit that was full.",
    ),
    Measure::counter("delivery.queues.looping", "times", "Times that a queue was found to lead back to this server."),
    Measure::counter(
        "delivery.queues.prohibited",
        "times",
        "Times that a queue was found to lead to prohibited hosts alone.",
    ),
    Measure::counter(
        "delivery.lacks.*",
        "connections",
        "Connections that did not come about for want of something on this machine.",
    )
    .by(&["lack"]),
];
