//! Domain queues: active and delayed messages, the retry schedule, expiry.
//!
//! In: messages from [`Intake`]s, outcomes of attempts, the time. Out: the next message to try, and what is to become of
//! one that failed. One [`Queues`] belongs to each delivery loop; a (binding, routing domain) queue lives on exactly one of
//! them, so nothing here is shared and nothing locks. Knows no socket, no SMTP and no clock: time is an argument.
//!
//! Invariant: a message is in exactly one of active, delayed and in flight.

mod arena;
mod binding;
mod bounce_addresses;
mod intake;
mod keys;
mod moment;
mod options;
mod queues;
mod relay_domains;
mod resident;
mod retry;
mod routing_domain;

pub use binding::Assigned;
pub use bounce_addresses::is_bounce_address;
pub use intake::{Arrivals, Batch, Intake, Restorer, WeakIntake, intake};
pub use keys::Keys;
pub use moment::Moment;
pub use options::{
    BLACKHOLE, BOUNCE_DOMAINS, BOUNCE_PATTERN, Blackhole, DEFAULT_BINDING, DROP_BODY_AFTER_TRANS_FAIL, DefaultBinding,
    GATEWAY, KEEP_MESSAGE_DICTS_IN_MEMORY, MAX_RESIDENT_ACTIVE_QUEUE, MAX_RESIDENT_BYTES, MAX_RESIDENT_MESSAGES,
    MAX_RETRIES, MAX_RETRY_INTERVAL, MESSAGE_EXPIRATION, MaxRetries, NEVER_ATTEMPT_EXPIRED_MESSAGES, NEVER_RETRY,
    OPTIONS, RELAY_DOMAINS, RETRY_INTERVAL, ResidentLimits, SUSPEND_DELIVERY,
};
pub use queues::MEASURES;
pub use queues::{
    BindingRow, DelayedPlace, Found, Listed, QUEUED_BYTES, QueueId, Queues, Room, Row, SiblingSearch, Taken, Ticket,
    Totals, Transient, Whereabouts,
};
pub use relay_domains::DomainGlobs;
pub use resident::{Arrival, Resident, ResidentOwners};
pub use retry::{EXCEEDED_MAX_RETRIES, EXCEEDED_MAX_TIME, NOT_ATTEMPTED, RetryOptions};
pub use routing_domain::routing_domain;
