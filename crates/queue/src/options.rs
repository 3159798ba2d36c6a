//! The options of queues, declared where they are used, and resolved into plain values once per (generation, queue).

use config::{Declared, Generation, Lookup, Opt, OptionType, Seconds, Value, one_of, scopes};
use message::QueueName;

use crate::retry::RetryOptions;

/// See its doc.
pub const RETRY_INTERVAL: Opt<Seconds> = Opt::new(
    "retry_interval",
    "1200",
    scopes::QUEUE,
    "Seconds before the first retry after a transient failure; doubles with each further failure.",
)
.check(at_least_one_second);

/// See its doc.
pub const MAX_RETRY_INTERVAL: Opt<Seconds> =
    Opt::new("max_retry_interval", "43200", scopes::QUEUE, "Ceiling in seconds for the doubling retry interval.")
        .check(at_least_one_second);

/// See its doc.
pub const MAX_RETRIES: Opt<MaxRetries> = Opt::new(
    "max_retries",
    "auto",
    scopes::QUEUE,
    "Retries after which a message fails: a number, none (only message_expiration counts), or auto (as many as the uncapped \
     back-off fits into message_expiration, and one more).",
);

/// See its doc.
pub const MESSAGE_EXPIRATION: Opt<Seconds> = Opt::new(
    "message_expiration",
    "86400",
    scopes::QUEUE,
    "Age in seconds from which a transient failure makes a message fail for good.",
);

/// See its doc.
pub const NEVER_RETRY: Opt<bool> =
    Opt::new("never_retry", "false", scopes::QUEUE, "Fail a message for good at its first transient failure.");

/// See its doc.
pub const NEVER_ATTEMPT_EXPIRED_MESSAGES: Opt<bool> = Opt::new(
    "never_attempt_expired_messages",
    "false",
    scopes::QUEUE,
    "Fail a message that is over message_expiration without one last attempt.",
);

/// See its doc.
pub const MAX_RESIDENT_ACTIVE_QUEUE: Opt<i64> = Opt::new(
    "max_resident_active_queue",
    "250",
    scopes::QUEUE,
    "Active messages of one queue that stay in memory; further ones are read from the spool when their turn comes. -1: no \
     limit; 0: none stays.",
);

/// See its doc.
pub const MAX_RESIDENT_MESSAGES: Opt<u64> = Opt::new(
    "max_resident_messages",
    "32768",
    scopes::BINDING,
    "Messages that stay in memory, over all queues; further ones are read from the spool. 0: no limit.",
);

/// See its doc.
pub const GATEWAY: Opt<String> = Opt::new(
    "gateway",
    "",
    scopes::QUEUE,
    "Host that gets this mail instead of the recipient domain's own: a name or an address, with :port if not 25; an IPv6 \
     address with a port in brackets. It becomes the routing domain.",
);

/// Every option of this crate.
pub const OPTIONS: &[&dyn Declared] = &[
    &RETRY_INTERVAL,
    &MAX_RETRY_INTERVAL,
    &MAX_RETRIES,
    &MESSAGE_EXPIRATION,
    &NEVER_RETRY,
    &NEVER_ATTEMPT_EXPIRED_MESSAGES,
    &MAX_RESIDENT_ACTIVE_QUEUE,
    &MAX_RESIDENT_MESSAGES,
    &GATEWAY,
];

fn at_least_one_second(interval: &Seconds) -> Result<(), String> {
    if interval.0 == 0 { Err("must be at least 1 second".to_owned()) } else { Ok(()) }
}

/// How many retries a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxRetries {
    /// The smallest number of failures whose uncapped back-off, added up, exceeds the expiration.
    Auto,
    /// As many as fit before the message expires.
    None,
    /// That many.
    Number(u32),
}

impl OptionType for MaxRetries {
    const EXPECTED: &'static str = "auto, none, or a number of retries";

    fn parse(value: &Value) -> Result<Self, String> {
        match u32::parse(value) {
            Ok(number) => Ok(Self::Number(number)),
            Err(_) => one_of(value, &[("auto", Self::Auto), ("none", Self::None)])
                .map_err(|problem| format!("{problem}, or a number of retries")),
        }
    }
}

impl RetryOptions {
    /// The values in force for a queue.
    pub fn resolve(generation: &Generation, queue: &QueueName) -> Self {
        let lookup = lookup(queue);
        let mut resolved = Self {
            retry_interval: generation.get(&RETRY_INTERVAL, &lookup).0,
            max_retry_interval: generation.get(&MAX_RETRY_INTERVAL, &lookup).0,
            max_retries: None,
            message_expiration: generation.get(&MESSAGE_EXPIRATION, &lookup).0,
            never_attempt_expired: generation.get(&NEVER_ATTEMPT_EXPIRED_MESSAGES, &lookup),
        };
        resolved.max_retries = match generation.get(&MAX_RETRIES, &lookup) {
            _ if generation.get(&NEVER_RETRY, &lookup) => Some(0),
            MaxRetries::Auto => Some(resolved.auto_retries()),
            MaxRetries::None => None,
            MaxRetries::Number(number) => Some(number),
        };
        resolved
    }
}

/// How much of a queue stays in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResidentLimits {
    /// Active messages of one queue.
    pub active_queue: usize,
    /// Messages of one loop: its share of `max_resident_messages`.
    pub total: usize,
}

impl ResidentLimits {
    /// The values in force for a queue, on one of `loops` delivery loops.
    pub fn resolve(generation: &Generation, queue: &QueueName, loops: usize) -> Self {
        let lookup = lookup(queue);
        let active_queue = usize::try_from(generation.get(&MAX_RESIDENT_ACTIVE_QUEUE, &lookup)).unwrap_or(usize::MAX);
        let total = match generation.get(&MAX_RESIDENT_MESSAGES, &lookup) {
            0 => usize::MAX,
            total => usize::try_from(total.div_ceil(loops.max(1) as u64)).unwrap_or(usize::MAX),
        };
        Self { active_queue, total }
    }
}

pub(crate) fn lookup(queue: &QueueName) -> Lookup<'_> {
    Lookup::Queue { binding_group: &queue.binding_group, binding: &queue.binding, domain: &queue.domain }
}
