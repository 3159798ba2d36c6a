//! The options of queues, declared where they are used, and resolved into plain values once per (generation, queue).

use std::sync::Arc;

use config::{Declared, Generation, Lookup, Opt, OptionType, Pattern, Seconds, Value, checks, one_of, scopes};
use message::QueueName;
use scheduler::Pressure;

use crate::retry::RetryOptions;

macro_rules! options {
    ($($name:ident: $type:ty = $word:literal, $default:literal, $scopes:ident, $doc:literal $(, $check:ident)? $(=> $how:ident)?;)*) => {
        $(#[doc = $doc] pub const $name: Opt<$type> =
            Opt::new($word, $default, scopes::$scopes, $doc)$(.check(|value| $check(value)))?$(.$how())?;)*
        /// Every option of this crate.
        pub const OPTIONS: &[&dyn Declared] = &[$(&$name),*];
    };
}

options! {
    RETRY_INTERVAL: Seconds = "retry_interval", "1200", QUEUE,
        "Seconds before the first retry after a transient failure; doubles with each further failure.", at_least_one_second;
    MAX_RETRY_INTERVAL: Seconds = "max_retry_interval", "43200", QUEUE,
        "Ceiling in seconds for the doubling retry interval.", at_least_one_second;
    MAX_RETRIES: MaxRetries = "max_retries", "auto", QUEUE,
        "Retries after which a message fails: a number, none (only message_expiration counts), or auto (the smallest number whose back-off, uncapped and added up, exceeds message_expiration).";
    MESSAGE_EXPIRATION: Seconds = "message_expiration", "86400", QUEUE,
        "Age in seconds from which a transient failure makes a message fail for good.";
    NEVER_RETRY: bool = "never_retry", "false", QUEUE,
        "Fail a message for good at its first transient failure.";
    NEVER_ATTEMPT_EXPIRED_MESSAGES: bool = "never_attempt_expired_messages", "false", QUEUE,
        "Fail a message that is over message_expiration without one last attempt.";
    MAX_RESIDENT_ACTIVE_QUEUE: i64 = "max_resident_active_queue", "250", QUEUE,
        "Active messages of one queue that stay in memory; further ones are read from the spool when their turn comes. -1: no limit; 0: none stays.";
    MAX_RESIDENT_MESSAGES: u64 = "max_resident_messages", "32768", BINDING,
        "Messages that stay in memory, over all queues; further ones are read from the spool. 0: no limit.";
    MAX_RESIDENT_BYTES: u64 = "max_resident_bytes", "268435456", BINDING,
        "Octets of message bodies in memory, in queues and on their way out together: beyond three quarters of them mail does not stay but is read from the spool, and mail to be read waits until others' is gone. One message at a time is read however large it is. Never more than half of memory_goal. 0: that alone.";
    DROP_BODY_AFTER_TRANS_FAIL: u32 = "drop_body_after_trans_fail", "3", QUEUE,
        "Transient failures after which a message no longer stays in memory but is read from the spool for each attempt. 0: from the first attempt on. Bodies of delayed mail stay only where active mail leaves room.";
    LARGE_MESSAGE_THRESHOLD: u64 = "large_message_threshold", "131072", GLOBAL,
        "Octets of a body beyond which a message counts as large: queued, it does not stay in memory but is read from the spool for each attempt, unless it is the next of its queue. 0: none is large.";
    KEEP_MESSAGE_DICTS_IN_MEMORY: bool = "keep_message_dicts_in_memory", "false", GLOBAL,
        "Keep envelope and context of a message in memory when its body is not." => not_tunable;
    BLACKHOLE: Blackhole = "blackhole", "false", QUEUE,
        "true or inline: recipients of this scope are refused with 551 5.7.1; internal: their mail is taken, and fails instead of being delivered. What is queued fails either way, and so does mail that policy or a binding brings here. Recipients are looked up by their own domain and by that of their queue.";
    SUSPEND_DELIVERY: bool = "suspend_delivery", "false", QUEUE, "Hold all mail of this scope: nothing is attempted.";
    DEFAULT_BINDING: DefaultBinding = "default_binding", "normal", GLOBAL,
        "What becomes of mail that nothing gives a binding: normal (it leaves by the binding default), suspended (it waits there), none (it is refused with 451); or the name of the binding that it leaves by.";
    RELAY_DOMAINS: Vec<String> = "relay_domains", "()", PATHWAY,
        "Domains anyone may send to; *.example.com means its sub-domains.", domain_globs;
    BOUNCE_DOMAINS: Vec<String> = "bounce_domains", "()", PATHWAY,
        "Domains whose incoming mail counts as bounces; *.example.com means its sub-domains. Anyone may send to their addresses that bounce_pattern takes.", domain_globs;
    BOUNCE_PATTERN: Pattern = "bounce_pattern", "", DOMAIN,
        "Which addresses bounces come to: of mail to bounce_domains, those that match count as bounces; of mail that fails, that from those is logged as bounced. Unset: all.";
    GATEWAY: String = "gateway", "", QUEUE,
        "Host that gets this mail instead of the recipient domain's own: a name or an address, with :port if not remote_smtp_port; an IPv6 address with a port in brackets; or #name, whose routes stand in domain \"#name\". It becomes the routing domain, and options of that domain hold.", a_next_hop;
}

fn domain_globs(domains: &[String]) -> Result<(), String> {
    checks::domain_globs(domains)
}

fn a_next_hop(host: &str) -> Result<(), String> {
    checks::next_hop(host)
}

fn at_least_one_second(interval: &Seconds) -> Result<(), String> {
    if interval.0 == 0 { Err("must be at least 1 second".to_owned()) } else { Ok(()) }
}

/// Whether mail is swallowed. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blackhole {
    /// It is delivered.
    No,
    /// Its recipients are refused, and what is queued fails.
    Inline,
    /// It fails in its queue.
    Internal,
}

impl OptionType for Blackhole {
    const EXPECTED: &'static str = "false, true, inline or internal";

    fn parse(value: &Value) -> Result<Self, String> {
        if let Ok(is_on) = bool::parse(value) {
            return Ok(if is_on { Self::Inline } else { Self::No });
        }
        one_of(value, &[("false", Self::No), ("inline", Self::Inline), ("internal", Self::Internal)])
    }
}

/// What becomes of mail without a binding. Closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultBinding {
    /// It is delivered.
    Normal,
    /// It is kept.
    Suspended,
    /// It is not taken.
    None,
    /// It leaves by that binding.
    Named(Arc<str>),
}

impl DefaultBinding {
    /// Whether the mail of a queue waits under this setting: that of the binding which exists without being written.
    pub fn suspends(&self, queue: &QueueName) -> bool {
        *self == Self::Suspended && is_default(queue)
    }

    /// Whether mail for a queue is refused under this setting.
    pub fn refuses(&self, queue: &QueueName) -> bool {
        *self == Self::None && is_default(queue)
    }
}

fn is_default(queue: &QueueName) -> bool {
    &*queue.binding == "default" && &*queue.binding_group == "default"
}

impl OptionType for DefaultBinding {
    const EXPECTED: &'static str = "normal, suspended, none, or the name of a binding";

    fn parse(value: &Value) -> Result<Self, String> {
        let words = [("normal", Self::Normal), ("suspended", Self::Suspended), ("none", Self::None)];
        // That there is such a binding is for the whole configuration to say.
        one_of(value, &words).or_else(|problem| match String::parse(value) {
            Ok(name) if !name.is_empty() => Ok(Self::Named(name.into())),
            _ => Err(problem),
        })
    }
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
    /// Octets of their bodies: the loop's share of `max_resident_bytes`.
    pub octets: u64,
    /// Transient failures from which a message does not stay.
    pub failures: u32,
    /// Octets of a body beyond which a message stays only where it is the next of its queue.
    pub large: u64,
    /// Envelopes stay when bodies go.
    pub keep_envelopes: bool,
}

impl ResidentLimits {
    /// The values in force for a queue, on one of `loops` delivery loops.
    pub fn resolve(generation: &Generation, queue: &QueueName, loops: usize) -> Self {
        let lookup = lookup(queue);
        let active_queue = usize::try_from(generation.get(&MAX_RESIDENT_ACTIVE_QUEUE, &lookup)).unwrap_or(usize::MAX);
        let share = |of_all: u64| if of_all == 0 { u64::MAX } else { of_all.div_ceil(loops.max(1) as u64) };
        let total = share(generation.get(&MAX_RESIDENT_MESSAGES, &lookup));
        let octets = share(generation.get(&MAX_RESIDENT_BYTES, &lookup));
        Self {
            active_queue,
            total: usize::try_from(total).unwrap_or(usize::MAX),
            octets,
            failures: generation.get(&DROP_BODY_AFTER_TRANS_FAIL, &lookup),
            large: match generation.get(&LARGE_MESSAGE_THRESHOLD, &Lookup::Global) {
                0 => u64::MAX,
                octets => octets,
            },
            keep_envelopes: generation.get(&KEEP_MESSAGE_DICTS_IN_MEMORY, &Lookup::Global),
        }
    }

    /// The limits while memory is short: above memory_goal a few active messages of each queue stay, above memory_hwm none.
    pub fn under(self, pressure: Pressure) -> Self {
        match pressure {
            Pressure::None => self,
            Pressure::Goal => Self { active_queue: self.active_queue.min(ACTIVE_UNDER_PRESSURE), ..self },
            Pressure::HighWater => Self { active_queue: 0, total: 0, ..self },
        }
    }

    /// Whether a message that has failed so often stays in memory.
    pub fn keeps_after(&self, failures: u32) -> bool {
        failures < self.failures
    }
}

/// Active messages of a queue that stay while memory is above its goal.
const ACTIVE_UNDER_PRESSURE: usize = 16;

pub(crate) fn lookup(queue: &QueueName) -> Lookup<'_> {
    Lookup::Queue { binding_group: &queue.binding_group, binding: &queue.binding, domain: &queue.domain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::{Configuration, Registry};

    #[test]
    fn retry_options_are_resolved_for_a_queue() {
        let mut registry = Registry::new();
        registry.add_all(OPTIONS);
        let text = "message_expiration = 604800\n\
                    domain \"a.test\" { max_retries = 3 }\n\
                    domain \"b.test\" { max_retries = none retry_interval = 60 }\n\
                    domain \"c.test\" { never_retry = true }\n\
                    domain \"d.test\" { max_resident_active_queue = -1 }\n";
        let generation = Configuration::of_text(registry, text).unwrap().current();
        let queue = |domain: &str| QueueName {
            binding_group: "default".into(),
            binding: "default".into(),
            domain: domain.into(),
        };
        let retries = |domain| RetryOptions::resolve(&generation, &queue(domain)).max_retries;
        assert_eq!(
            (retries("a.test"), retries("b.test"), retries("c.test"), retries("x.test")),
            (Some(3), None, Some(0), Some(9))
        );
        assert_eq!(RetryOptions::resolve(&generation, &queue("b.test")).delay(2), 120);
        let limits = |domain| ResidentLimits::resolve(&generation, &queue(domain), 2);
        let defaults = ResidentLimits {
            active_queue: 250,
            total: 16_384,
            octets: 1 << 27,
            failures: 3,
            large: 131_072,
            keep_envelopes: false,
        };
        assert_eq!(limits("x.test"), defaults);
        assert_eq!(limits("x.test").under(Pressure::Goal).active_queue, 16);
        assert_eq!(limits("x.test").under(Pressure::HighWater).total, 0);
        assert!(defaults.keeps_after(2) && !defaults.keeps_after(3));
        assert_eq!(limits("d.test").active_queue, usize::MAX);
    }

    #[test]
    fn an_interval_of_nothing_is_refused() {
        let mut registry = Registry::new();
        registry.add_all(OPTIONS);
        assert!(Configuration::of_text(registry, "retry_interval = 0\n").is_err());
    }
}
