//! The options of delivery, declared where they are used, and resolved into plain values once per (generation, queue).

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use config::scopes::{BINDING, DOMAIN, GLOBAL, HOST, QUEUE, QUEUE_AND_HOST};
use config::{
    Chain, Declared, Generation, IpNets, Lookup, Opt, OptionType, Scope, Seconds, Throttle, Value, checks, one_of,
};
use hooks::HookSet;
use logging::LogHooks;
use message::QueueName;
use queue::{
    BLACKHOLE, BOUNCE_DOMAINS, Blackhole, DEFAULT_BINDING, DomainGlobs, RELAY_DOMAINS, ResidentLimits, RetryOptions,
    SUSPEND_DELIVERY,
};
use scheduler::Descriptors;
use smtp::client::Timeouts;

use crate::barred::Barred;
use crate::ehlo_name::EhloName;
use crate::limits::{HostLimits, Limits, QueueLimits, ScopedLimit};
use crate::route_option::{RouteEntry, Routes};

/// Of what the global scope says of listeners alone.
const CONNECTION: &[Scope] = &[Scope::Domain, Scope::Binding, Scope::BindingGroup];

macro_rules! queue_options {
    ($($name:ident: $type:ty = $word:literal, $default:expr, $scopes:ident, $doc:literal $(, $check:ident)?;)*) => {
        $(#[doc = $doc] pub const $name: Opt<$type> =
            Opt::new($word, $default, $scopes, $doc)$(.check(|value| $check(value)))?;)*
        /// Every option of this crate.
        pub const OPTIONS: &[&dyn Declared] = &[$(&$name),*];
    };
}

queue_options! {
    DELIVERY_METHOD: DeliveryMethod = "delivery_method", "esmtp", QUEUE,
        "How mail of a queue leaves: esmtp, lmtp (RFC 2033, to lmtp_port), or maildir (into folders on this machine, see maildir_path).";
    LMTP_PORT: u16 = "lmtp_port", "2003", QUEUE,
        "Port of the next hop under delivery_method lmtp, where a gateway or route names none.";
    MX_FAILURES_FALLBACK_TO_A: i64 = "mx_failures_fallback_to_a", "3", DOMAIN,
        "Consecutive lookups of a domain's mail hosts that got no answer after which its own address is tried. -1: never.";
    FULLY_RESOLVE_BEFORE_SMTP: bool = "fully_resolve_before_smtp", "true", QUEUE,
        "Waits until the addresses of all mail hosts of a domain are known, or cannot be, before the first is tried. false: begins with the best of those known so far, which need not be the best of all. Always true for the domains in the global relay_domains.";
    PREFER_IPV6_MXS: bool = "prefer_ipv6_mxs", "false", GLOBAL,
        "Inside one preference try IPv6 addresses before IPv4 ones.";
    MAILDIR_PATH: String = "maildir_path", r#""./maildir/%{domain}/%{localpart}""#, QUEUE,
        "Under delivery_method maildir: the Maildir of a recipient. %{domain} and %{localpart} stand for the recipient's, lower case, made safe as a file name.";
    MAX_OUTBOUND_CONNECTIONS: u64 = "max_outbound_connections", "32", QUEUE,
        "Most connections of one binding to one routing domain.";
    HOST_MAX_OUTBOUND_CONNECTIONS: ScopedLimit = "max_outbound_connections", "-1", HOST,
        "In a host stanza: most connections to one host, counted for each host it matches; inside a binding or a group, of its mail. -1: no limit, whatever is set outside host stanzas.";
    SCOPE_MAX_OUTBOUND_CONNECTIONS: ScopedLimit = "scope_max_outbound_connections", "", QUEUE_AND_HOST,
        "Most connections of everything together that falls back to this value: of all bindings under domain, of all domains under a binding or group, of all matching hosts under host. Unset or -1: no limit.";
    SERVER_MAX_OUTBOUND_CONNECTIONS: ScopedLimit = "server_max_outbound_connections", "75000", BINDING,
        "Most outbound connections of the whole server; in a binding or group, of each binding. -1: no limit.";
    SERVER_RESERVE_OUTBOUND_CONNECTIONS: u64 = "server_reserve_outbound_connections", "200", GLOBAL,
        "Connections beyond server_max_outbound_connections for queues that have none, so that busy ones do not starve them.";
    MIGRATE_CONNECTIONS_BETWEEN_SIBLING_DOMAINS: bool = "migrate_connections_between_sibling_domains", "true", GLOBAL,
        "An idle connection takes mail of other domains of its binding that would be sent to the same host, instead of that they open one of their own.";
    OUTBOUND_THROTTLE_MESSAGES: Throttle = "outbound_throttle_messages", "", QUEUE_AND_HOST,
        "Most messages (recipients) sent, \"N\" each second or \"N/S\" in any S seconds, by everything together that falls back to this value. A host stanza's holds besides. What was spent is remembered over reloads and restarts. 0 or unset: no limit.";
    OUTBOUND_THROTTLE_CONNECTIONS: Throttle = "outbound_throttle_connections", "", QUEUE_AND_HOST,
        "Most connections begun, \"N\" each second or \"N/S\" in any S seconds by the receiver's clock, by everything together that falls back to this value. A host stanza's holds besides. What was spent is remembered over reloads and restarts. 0 or unset: no limit.";
    CONNECTION_ALLOCATION_AGGRESSIVENESS: Aggressiveness = "connection_allocation_aggressiveness", "normal", QUEUE,
        "normal: connections are added one by one while mail waits; high: as many at once as messages are active, up to max_outbound_connections.";
    MAX_DELIVERIES_PER_CONNECTION: u64 = "max_deliveries_per_connection", "0", QUEUE,
        "Messages delivered after which a connection is closed: one for each transaction, whatever its recipients; refused ones do not count. 0: no limit.";
    MAX_RECIPIENTS_PER_CONNECTION: u64 = "max_recipients_per_connection", "0", CONNECTION,
        "In a binding, group or domain: RCPT commands after which an outbound connection is closed. 0: no limit, whatever is set for listeners.";
    SEND_8BITMIME: Send8BitMime = "send_8bitmime", "ifavailable", QUEUE,
        "Declares 8-bit content with BODY=8BITMIME (RFC 6152): ifavailable or yes, to servers that offer it; no, to none.";
    TRANSFORM_8BITMIME_CONTENT: Transform8BitMime = "transform_8bitmime_content", "ifneeded", QUEUE,
        "8-bit content for a server that does not offer 8BITMIME. ifneeded: parts become quoted-printable or base64, and what cannot with certainty, because it is signed, ambiguous or has 8-bit octets in header fields, fails with 554 5.6.3; strict: the same; no: sent as it is.";
    MAX_RECIPIENTS_PER_BATCH: u64 = "max_recipients_per_batch", "100", QUEUE,
        "Most recipients of one message that share an outbound transaction.";
    IDLE_TIMEOUT: Seconds = "idle_timeout", "5", QUEUE,
        "Seconds an outbound connection without work is kept for reuse.";
    CONNECT_TIMEOUT: Seconds = "connect_timeout", "300", QUEUE,
        "Seconds for an outbound connection to open, and again for its greeting.";
    EHLO_TIMEOUT: Seconds = "ehlo_timeout", "300", QUEUE, "Seconds for the reply to EHLO.";
    MAILFROM_TIMEOUT: Seconds = "mailfrom_timeout", "300", QUEUE, "Seconds for the reply to MAIL FROM.";
    RCPTTO_TIMEOUT: Seconds = "rcptto_timeout", "300", QUEUE, "Seconds for the reply to RCPT TO.";
    BODY_TIMEOUT: Seconds = "body_timeout", "600", QUEUE,
        "Seconds for the replies to DATA and to the end of the message, and for each step in sending it.";
    RSET_TIMEOUT: Seconds = "rset_timeout", "30", QUEUE, "Seconds for the reply to RSET.";
    REMOTE_SMTP_PORT: u16 = "remote_smtp_port", "25", QUEUE, "Port of the next hop, where a gateway or route names none.";
    EHLO_HOSTNAME: String = "ehlo_hostname", "__hostname__", QUEUE,
        "Name given in EHLO: __hostname__ for this machine's, __message__ for the domain of the sender, whose mail then has sessions of its own, or a name.", a_host_name;
    BIND_ADDRESS: String = "bind_address", r#""*""#, BINDING,
        "Address that outbound connections leave from; * lets the kernel choose.", an_own_address;
    ROUTES: Routes = "routes", "", DOMAIN,
        "Hosts that get this domain's mail, tried in order: host, host:port, __mx__, or smtp://host?pref=P&port=N&type=mx|a.";
    MX_FAILURES_TO_DELAY: u64 = "mx_failures_to_delay", "50", DOMAIN,
        "Rounds over all hosts of a domain, in a row, that reached none of them, after which its active mail is delayed. A round in which every host is left alone for an earlier failure, or for which this machine lacks something, does not count. 0: never.";
    CONNECT_TIMEOUT_TO_DELAY: Seconds = "connect_timeout_to_delay", "900", QUEUE,
        "Seconds without reaching any host of a domain after which its active mail is delayed.";
    HOST_FAILURE_RETRY: Seconds = "host_failure_retry", "120", DOMAIN,
        "Seconds for which an address that could not be reached is left alone.";
    DNS_FAILURE_RETRY: Seconds = "dns_failure_retry", "60", DOMAIN,
        "Seconds after a lookup that gave a domain no host until it is looked up again: doubled with each such lookup in a row, up to an hour.", at_least_one_second;
    RETRY_NONEXISTENT_DOMAINS: bool = "retry_nonexistent_domains", "false", DOMAIN,
        "true: mail for a domain that does not exist (NXDOMAIN) waits as that for a domain without hosts does, and is retried. false: it fails at once.";
    DNS_FAILURES_TO_PURGE: u64 = "dns_failures_to_purge", "10", DOMAIN,
        "Lookups in a row that gave a domain no host, because they failed or it has none, after which its mail fails. An answer that is still kept counts once. 0: never.";
    PROHIBITED_HOSTS: IpNets = "prohibited_hosts", NO_HOSTS, GLOBAL,
        "CIDR blocks that mail is never sent to: one such host fails the whole domain's mail, unless the operator wrote its address as gateway or route. Unset: addresses that no host of the Internet has, which are passed over where the DNS gives them for a recipient's domain, so that mail fails only if there is no other. ( ): none.";
    MAIL_QUEUE_CHECK_VM_INTERVAL: Seconds = "mail_queue_check_vm_interval", "60", GLOBAL,
        "Seconds between two looks at whether memory is short, when mail held in memory is let go.", at_least_one_second;
    SWAP_OUT_META_AFTER_EACH_TEMPFAIL: bool = "swap_out_meta_after_each_tempfail", "true", GLOBAL,
        "Write the retry count and the next attempt to the spool after each transient failure. Else a restart tries such mail at once and counts anew.";
    DISK_QUEUE_DRAIN_RATE: u64 = "disk_queue_drain_rate", "100", GLOBAL,
        "Messages read from the spool at the start that each event loop takes in one turn, beside new mail.", at_least_one;
    ONLY_USE_BEST_MX_FOR_RELAY_DOMAINS: bool = "only_use_best_mx_for_relay_domains", "true", GLOBAL,
        "Mail of the domains in the global relay_domains goes to the mail hosts of the best preference alone, lest a host that relays for a domain gives its mail to another that does, or to itself.";
    SKIP_HOSTS: IpNets = "skip_hosts", "", GLOBAL, "CIDR blocks whose hosts are passed over; a domain's other hosts are still tried.";
}

fn at_least_one_second(interval: &Seconds) -> Result<(), String> {
    if interval.0 == 0 { Err("must be at least 1 second".to_owned()) } else { Ok(()) }
}

fn a_host_name(name: &str) -> Result<(), String> {
    checks::host_name(name)
}

fn an_own_address(address: &str) -> Result<(), String> {
    checks::own_address(address)
}

fn at_least_one(number: &u64) -> Result<(), String> {
    if *number == 0 { Err("must be at least 1".to_owned()) } else { Ok(()) }
}

/// Loopback, private (RFC 1918, 4193, 6598), link-local, site-local, unspecified, multicast and reserved addresses.
const NO_HOSTS: &str = "( \"0.0.0.0/8\" \"10.0.0.0/8\" \"100.64.0.0/10\" \"127.0.0.0/8\" \"169.254.0.0/16\" \"172.16.0.0/12\" \
    \"192.168.0.0/16\" \"224.0.0.0/3\" \"::\" \"::1\" \"fc00::/7\" \"fe80::/10\" \"fec0::/10\" \"ff00::/8\" )";

/// How mail leaves. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryMethod {
    /// SMTP to the next hop.
    Esmtp,
    /// LMTP to the next hop.
    Lmtp,
    /// Into a Maildir on this machine.
    Maildir,
}

impl OptionType for DeliveryMethod {
    const EXPECTED: &'static str = "esmtp, lmtp or maildir";
    fn parse(value: &Value) -> Result<Self, String> {
        one_of(value, &[("esmtp", Self::Esmtp), ("lmtp", Self::Lmtp), ("maildir", Self::Maildir)])
    }
}

/// Whether 8-bit content is declared. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Send8BitMime {
    /// Never.
    No,
    /// Where the server offers 8BITMIME.
    IfAvailable,
}

impl OptionType for Send8BitMime {
    const EXPECTED: &'static str = "no or ifavailable";
    fn parse(value: &Value) -> Result<Self, String> {
        if let Ok(is_on) = bool::parse(value) {
            return Ok(if is_on { Self::IfAvailable } else { Self::No });
        }
        one_of(value, &[("no", Self::No), ("ifavailable", Self::IfAvailable)])
    }
}

/// What becomes of 8-bit content where 8BITMIME is not offered. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform8BitMime {
    /// It is sent as it is.
    No,
    /// It is converted, or fails.
    IfNeeded,
}

impl OptionType for Transform8BitMime {
    const EXPECTED: &'static str = "no, ifneeded or strict";
    fn parse(value: &Value) -> Result<Self, String> {
        if let Ok(false) = bool::parse(value) {
            return Ok(Self::No);
        }
        let words = [("no", Self::No), ("ifneeded", Self::IfNeeded), ("strict", Self::IfNeeded)];
        // `strip` is documented, too: it would make other octets, line ends among them, of what was written.
        one_of(value, &words)
    }
}

/// How eagerly connections are opened. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggressiveness {
    /// One by one.
    Normal,
    /// Towards the number of active messages.
    High,
}

impl OptionType for Aggressiveness {
    const EXPECTED: &'static str = "normal or high";
    fn parse(value: &Value) -> Result<Self, String> {
        one_of(value, &[("normal", Self::Normal), ("high", Self::High)])
    }
}

/// The domains this server relays for, those whose mail counts as bounces among them: their mail waits for all mail hosts
/// to be resolved.
pub(crate) fn relay_domains(generation: &Generation) -> DomainGlobs {
    let [mut domains, bounces] =
        [&RELAY_DOMAINS, &BOUNCE_DOMAINS].map(|option| generation.get(option, &Lookup::Global));
    domains.extend(bounces);
    DomainGlobs::new(&domains)
}

/// The domains whose mail goes to the best mail hosts alone.
pub(crate) fn best_hosts_only(generation: &Generation) -> DomainGlobs {
    match generation.get(&ONLY_USE_BEST_MX_FOR_RELAY_DOMAINS, &Lookup::Global) {
        true => relay_domains(generation),
        false => DomainGlobs::default(),
    }
}

type HostTable = RefCell<HashMap<Arc<str>, Option<Rc<HostLimits>>>>;

/// What settings are resolved with, beside the generation and the queue.
pub(crate) struct Surroundings<'a> {
    /// Delivery loops: each has its share of the memory.
    pub(crate) loops: usize,
    /// This machine's name.
    pub(crate) hostname: &'a Arc<str>,
    /// What the loops share.
    pub(crate) limits: &'a Limits,
    /// The generation has host stanzas.
    pub(crate) has_hosts: bool,
    /// Whose mail goes to the best mail hosts alone.
    pub(crate) best_hosts_only: &'a DomainGlobs,
    /// For whom this server relays.
    pub(crate) relay_domains: &'a DomainGlobs,
    /// Where mail is not brought to.
    pub(crate) barred: &'a Rc<Barred>,
    /// How many connections there may be.
    pub(crate) descriptors: &'a Descriptors,
}

/// What the settings of a queue depend on, in one generation: queues that have it in common share them.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct SettingsKey {
    chain: Chain,
    binding: (Arc<str>, Arc<str>),
    best_hosts_only: bool,
    relayed: bool,
    /// Limits of hosts may fall back to the domain's.
    domain: Option<Arc<str>>,
}

impl SettingsKey {
    /// Of the queue of that name.
    pub(crate) fn of(generation: &Generation, queue: &QueueName, surroundings: &Surroundings<'_>) -> Self {
        let QueueName { binding_group, binding, domain } = queue;
        Self {
            chain: generation.chain(&Lookup::Queue { binding_group, binding, domain }),
            binding: (binding_group.clone(), binding.clone()),
            best_hosts_only: surroundings.best_hosts_only.matches(domain),
            relayed: surroundings.relay_domains.matches(domain),
            domain: surroundings.has_hosts.then(|| domain.clone()),
        }
    }
}

/// The values in force for one queue in one generation, or for several of the same [`SettingsKey`].
pub(crate) struct QueueSettings {
    pub(crate) generation: Arc<Generation>,
    pub(crate) logs: LogHooks,
    pub(crate) retry: RetryOptions,
    pub(crate) resident: ResidentLimits,
    pub(crate) writes_retries: bool,
    pub(crate) method: DeliveryMethod,
    pub(crate) maildir_path: String,
    pub(crate) connections_max: usize,
    /// Sessions go from queue to queue.
    pub(crate) migrates: bool,
    /// Shared with other queues and other loops.
    pub(crate) limits: QueueLimits,
    /// Of hosts as they are met; none at all in a generation without host stanzas.
    hosts: Option<HostTable>,
    pub(crate) aggressiveness: Aggressiveness,
    pub(crate) deliveries_max: u64,
    pub(crate) recipients_max: u64,
    pub(crate) batch_max: usize,
    pub(crate) declares_eight_bit: bool,
    pub(crate) transform: Transform8BitMime,
    pub(crate) connect_timeout: Seconds,
    pub(crate) timeouts: Timeouts,
    pub(crate) ehlo_name: EhloName,
    pub(crate) hostname: Arc<str>,
    pub(crate) bind_address: Option<IpAddr>,
    pub(crate) suspended: bool,
    /// By suspend_delivery, and not for want of a binding.
    pub(crate) suspended_by_option: bool,
    pub(crate) blackholed: bool,
    /// Lookups without an answer after which a domain's own address is tried.
    pub(crate) fallback_to_address: Option<u64>,
    pub(crate) prefers_ipv6: bool,
    pub(crate) best_hosts_only: bool,
    pub(crate) fully_resolves: bool,
    pub(crate) port: u16,
    pub(crate) routes: Vec<RouteEntry>,
    pub(crate) mx_failures_to_delay: u64,
    pub(crate) connect_timeout_to_delay: Seconds,
    pub(crate) host_failure_retry: Seconds,
    pub(crate) dns_failures_to_purge: u64,
    pub(crate) dns_failure_retry: Seconds,
    pub(crate) retries_nonexistent: bool,
    pub(crate) barred: Rc<Barred>,
}

impl QueueSettings {
    pub(crate) fn resolve(generation: &Arc<Generation>, queue: &QueueName, surroundings: &Surroundings<'_>) -> Self {
        let Surroundings { loops, hostname, limits, has_hosts, best_hosts_only, relay_domains, barred, descriptors } =
            *surroundings;
        let lookup =
            Lookup::Queue { binding_group: &queue.binding_group, binding: &queue.binding, domain: &queue.domain };
        let chain = &generation.chain(&lookup);
        let seconds = |option: &Opt<Seconds>| generation.read(option, chain).into();
        let number = |option: &Opt<u64>| usize::try_from(generation.read(option, chain)).unwrap_or(usize::MAX);
        let connect = generation.read(&CONNECT_TIMEOUT, chain);
        let method = generation.read(&DELIVERY_METHOD, chain);
        let server = generation.get(&SERVER_MAX_OUTBOUND_CONNECTIONS, &Lookup::Global);
        let (server_connections_max, server_connections_reserve) = within(
            descriptors.shares().map_or(usize::MAX, |shares| shares.outbound_max),
            usize::try_from(server.most).map_or(usize::MAX, |most| most.max(1)),
            number(&SERVER_RESERVE_OUTBOUND_CONNECTIONS),
        );
        let ehlo_name = EhloName::new(&generation.read(&EHLO_HOSTNAME, chain), hostname);
        Self {
            logs: generation.extension::<HookSet>().map(|set| LogHooks::of(&set)).unwrap_or_default(),
            retry: RetryOptions::resolve(generation, queue),
            resident: ResidentLimits::resolve(generation, queue, loops),
            writes_retries: generation.read(&SWAP_OUT_META_AFTER_EACH_TEMPFAIL, chain),
            method,
            maildir_path: generation.read(&MAILDIR_PATH, chain),
            connections_max: number(&MAX_OUTBOUND_CONNECTIONS).max(1),
            migrates: generation.get(&MIGRATE_CONNECTIONS_BETWEEN_SIBLING_DOMAINS, &Lookup::Global),
            limits: limits.of_queue(generation, queue, server_connections_max, server_connections_reserve),
            hosts: has_hosts.then(HostTable::default),
            aggressiveness: generation.read(&CONNECTION_ALLOCATION_AGGRESSIVENESS, chain),
            deliveries_max: generation.read(&MAX_DELIVERIES_PER_CONNECTION, chain),
            recipients_max: generation.read(&MAX_RECIPIENTS_PER_CONNECTION, chain),
            declares_eight_bit: generation.read(&SEND_8BITMIME, chain) == Send8BitMime::IfAvailable,
            transform: generation.read(&TRANSFORM_8BITMIME_CONTENT, chain),
            batch_max: number(&MAX_RECIPIENTS_PER_BATCH).max(1),
            connect_timeout: connect,
            timeouts: Timeouts {
                banner: connect.into(),
                ehlo: seconds(&EHLO_TIMEOUT),
                mail_from: seconds(&MAILFROM_TIMEOUT),
                rcpt_to: seconds(&RCPTTO_TIMEOUT),
                body: seconds(&BODY_TIMEOUT),
                rset: seconds(&RSET_TIMEOUT),
                idle: seconds(&IDLE_TIMEOUT),
            },
            ehlo_name,
            hostname: hostname.clone(),
            bind_address: generation.read(&BIND_ADDRESS, chain).parse().ok(),
            suspended_by_option: generation.read(&SUSPEND_DELIVERY, chain),
            suspended: generation.read(&SUSPEND_DELIVERY, chain)
                || generation.get(&DEFAULT_BINDING, &Lookup::Global).suspends(queue),
            blackholed: generation.read(&BLACKHOLE, chain) != Blackhole::No,
            fallback_to_address: u64::try_from(generation.read(&MX_FAILURES_FALLBACK_TO_A, chain)).ok(),
            best_hosts_only: best_hosts_only.matches(&queue.domain),
            fully_resolves: generation.read(&FULLY_RESOLVE_BEFORE_SMTP, chain) || relay_domains.matches(&queue.domain),
            prefers_ipv6: generation.read(&PREFER_IPV6_MXS, chain),
            port: generation.read(if method == DeliveryMethod::Lmtp { &LMTP_PORT } else { &REMOTE_SMTP_PORT }, chain),
            routes: generation.read(&ROUTES, chain).0,
            mx_failures_to_delay: generation.read(&MX_FAILURES_TO_DELAY, chain),
            connect_timeout_to_delay: generation.read(&CONNECT_TIMEOUT_TO_DELAY, chain),
            host_failure_retry: generation.read(&HOST_FAILURE_RETRY, chain),
            dns_failures_to_purge: generation.read(&DNS_FAILURES_TO_PURGE, chain),
            dns_failure_retry: generation.read(&DNS_FAILURE_RETRY, chain),
            retries_nonexistent: generation.read(&RETRY_NONEXISTENT_DOMAINS, chain),
            barred: barred.clone(),
            generation: generation.clone(),
        }
    }

    /// Whether mail of the queue waits, or fails, by what an option says.
    pub(crate) fn lets_nothing_go(&self) -> bool {
        self.suspended || self.blackholed
    }

    /// The limits of a host for a queue; `None` if there are none.
    pub(crate) fn host_limits(&self, shared: &Limits, queue: &QueueName, host: &Arc<str>) -> Option<Rc<HostLimits>> {
        let mut hosts = self.hosts.as_ref()?.borrow_mut();
        if let Some(known) = hosts.get(host) {
            return known.clone();
        }
        if hosts.len() == HOSTS_KEPT {
            hosts.clear();
        }
        let limits = shared.of_host(&self.generation, queue, host);
        hosts.insert(host.clone(), limits.clone());
        limits
    }

    /// Whether a connection opened under `other` is one that these values would open, too.
    pub(crate) fn leads_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.generation, &other.generation)
            || (self.method == other.method
                && self.routes == other.routes
                && self.port == other.port
                && self.best_hosts_only == other.best_hosts_only
                && self.bind_address == other.bind_address
                && self.ehlo_name == other.ehlo_name
                && self.barred == other.barred)
    }

    /// Whether a session opened under `other`, to the same address, is as these values would open it.
    pub(crate) fn opens_as(&self, other: &Self) -> bool {
        self.method == other.method
            && self.bind_address == other.bind_address
            && self.ehlo_name == other.ehlo_name
            && self.timeouts == other.timeouts
    }
}

/// A limit on connections and the reserve beyond it, so that both together keep below what the system gives.
fn within(given: usize, most: usize, reserve: usize) -> (usize, usize) {
    let reserve = reserve.min(given / 10);
    (most.min(given - reserve).max(1), reserve)
}

/// Hosts a queue's settings remember the limits of.
const HOSTS_KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use config::{Configuration, Registry};

    /// Which of the queues, by binding and domain, have settings in common with the first.
    fn shares(text: &str, queues: &[(&str, &str)]) -> Vec<bool> {
        let mut registry = Registry::new();
        registry.add_all(OPTIONS);
        registry.add_all(queue::OPTIONS);
        let generation = Configuration::of_text(registry, text).expect("it is valid").current();
        let surroundings = Surroundings {
            loops: 1,
            hostname: &"mx.here.test".into(),
            limits: &Limits::default(),
            has_hosts: generation.stanzas("host").next().is_some(),
            best_hosts_only: &best_hosts_only(&generation),
            relay_domains: &relay_domains(&generation),
            barred: &Rc::default(),
            descriptors: &Descriptors::default(),
        };
        let key = |&(binding, domain): &(&str, &str)| {
            let name = QueueName { binding_group: "default".into(), binding: binding.into(), domain: domain.into() };
            SettingsKey::of(&generation, &name, &surroundings)
        };
        queues[1..].iter().map(|queue| key(queue) == key(&queues[0])).collect()
    }

    #[test]
    fn queues_whose_options_come_from_the_same_places_share_their_settings() {
        let queues = [("b", "a.test"), ("b", "b.test"), ("b", "own.test"), ("c", "a.test")];
        let own = "domain \"own.test\" { remote_smtp_port = 26 }\n";
        assert_eq!(shares(own, &queues), [true, false, false]);
        assert_eq!(shares("relay_domains = ( \"b.test\" )\n", &queues), [false, true, false]);
        assert_eq!(shares("host \"mx.test\" { max_outbound_connections = 1 }\n", &queues), [false, false, false]);
    }

    #[test]
    fn connections_and_their_reserve_keep_below_what_the_system_gives() {
        assert_eq!(within(usize::MAX, 75_000, 200), (75_000, 200));
        assert_eq!(within(14_199, 75_000, 200), (13_999, 200));
        assert_eq!(within(40, 75_000, 200), (36, 4));
        assert_eq!(within(40, 20, 0), (20, 0));
        assert_eq!(within(1, 75_000, 200), (1, 0));
    }
}
