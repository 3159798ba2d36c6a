//! The options of ESMTP sessions, and what they come to for one Listen stanza and one set of Peer stanzas: a plain value,
//! resolved once a generation and shared by every session it applies to.
//!
//! Names are Momentum's where it has them. Where its default is "no limit", ours is a bound.

use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{
    Chain, Class, Declared, Dict, Generation, Idle, IpNets, Opt, OptionType, Scope, Seconds, Throttle, Value, checks,
    one_of, scopes,
};
use message::Dictionary;
use queue::{Assigned, BOUNCE_DOMAINS, DomainGlobs, RELAY_DOMAINS};
use smtp::{Blanks, Extensions, Injection, Limits, Reply, ServerOptions, Timeouts, replies};

use crate::conformance::{self, HeaderRules};
use crate::throttle::{SharedThrottle, Throttles};
use crate::{bounces, recipients};
use tls::ServerSetup;

/// Every option of this crate.
pub const OPTIONS: &[&dyn Declared] = &[
    &HOSTNAME,
    &BANNER_HOSTNAME,
    &STATIC_BANNER,
    &RECEIVED_HOSTNAME,
    &RFC2822_TRACE_HEADERS,
    &conformance::RFC2822_DATE_HEADER,
    &conformance::RFC2822_MESSAGEID_HEADER,
    &conformance::RFC2822_MISSING_HEADERS,
    &conformance::RFC2822_LONE_LF_IN_HEADERS,
    &conformance::RFC2822_LONE_LF_IN_BODY,
    &conformance::RFC2822_MAX_LINE_LENGTH,
    &conformance::RFC2822_MAX_LINE_LENGTH_POLICY,
    &conformance::RFC2821_PEDANTIC_ADDRESS_RULES,
    &conformance::RFC2821_ALLOW_WHITESPACE_IN_ENVELOPE,
    &SMTP_EXTENSIONS,
    &REQUIRE_EHLO,
    &REQUIRE_TLS,
    &USE_SSL,
    &STARTTLS_INJECTION_POLICY,
    &TLS_VERIFIED_PEER_CAN_RELAY,
    &ALLOW_NULL_ENVELOPE_SENDER,
    &ALLOW_IP_LITERAL,
    &ALLOW_TRAILING_WHITESPACE_IN_COMMANDS,
    &DOMAIN_FOR_UNQUALIFIED_SENDER_ADDRESS,
    &DOMAIN_FOR_UNQUALIFIED_RECIPIENT_ADDRESSES,
    &MAX_MESSAGE_SIZE,
    &MAX_RECIPIENTS_PER_MESSAGE,
    &MAX_RECIPIENTS_PER_CONNECTION,
    &MAX_RECEPTIONS_PER_CONNECTION,
    &MAX_BAD_COMMANDS,
    &MAX_IDLE_COMMANDS,
    &MAX_REFUSALS,
    &MAX_HEADER_SIZE,
    &MAX_RECEIVED_HEADERS,
    &IDLE_TIME,
    &DATA_BLOCK_TIMEOUT,
    &DATA_TIMEOUT,
    &MAX_SESSION_TIME,
    &RELAY_HOSTS,
    &RELAY_FOR_SENDING_DOMAINS,
    &OPEN_RELAY,
    &CONTEXT,
    &PATHWAY,
    &RECONFIG_MESSAGE,
    &INBOUND_THROTTLE_MESSAGES,
    &POLICY_TIMEOUT,
    &bounces::BOUNCE_BEHAVIOR,
    &recipients::GENERATE_BOUNCES_FOR_MULTI_RECIPIENT_POLICY_REJECTIONS,
];

const ESMTP_LISTENER: &[Scope] = &[Scope::Listener("esmtp_listener")];
const CHOOSES_PATHWAY: &[Scope] = &[Scope::Listener("esmtp_listener"), Scope::Listen, Scope::Peer];

/// See its doc.
pub const HOSTNAME: Opt<String> =
    Opt::new("hostname", "", scopes::GLOBAL, "This host's name; unset: what the operating system says.")
        .check(|name| checks::host_name(name));
/// See its doc.
pub const BANNER_HOSTNAME: Opt<String> =
    Opt::new("banner_hostname", "", scopes::LISTENER_ONLY, "Host name in the greeting and in the reply to EHLO.")
        .check(|name| checks::host_name(name));
/// See its doc.
pub const STATIC_BANNER: Opt<String> =
    Opt::new("static_banner", "", scopes::LISTENER_ONLY, "The whole greeting; begins with 220, lines end with \\r\\n.")
        .check(|banner| match banner.is_empty() || banner.starts_with("220") {
            true => Ok(()),
            false => Err("must begin with 220".to_owned()),
        });
/// See its doc.
pub const RECEIVED_HOSTNAME: Opt<String> =
    Opt::new("received_hostname", "", scopes::LISTENER_ONLY, "Host name in Received fields; unset: hostname.")
        .check(|name| checks::host_name(name));
/// See its doc.
pub const RFC2822_TRACE_HEADERS: Opt<bool> = Opt::new(
    "rfc2822_trace_headers",
    "true",
    scopes::PATHWAY,
    "Puts a Received and a Return-Path field in front of each message.",
);
/// See its doc.
pub const SMTP_EXTENSIONS: Opt<Vec<String>> = Opt::new(
    "smtp_extensions",
    "( \"ENHANCEDSTATUSCODES\" )",
    scopes::LISTENER_ONLY,
    "EHLO keywords offered beside PIPELINING, 8BITMIME and SIZE, which always are: ENHANCEDSTATUSCODES, and STARTTLS, which needs \
     a tls_certificate.",
)
.idle(|keywords| not_offered(keywords));
/// See its doc.
pub const REQUIRE_EHLO: Opt<bool> =
    Opt::new("require_ehlo", "false", scopes::LISTENER, "Refuses MAIL before EHLO or HELO.");
/// See its doc.
pub const REQUIRE_TLS: Opt<bool> = Opt::new(
    "require_tls",
    "false",
    scopes::LISTENER,
    "Takes mail under TLS only: before STARTTLS everything about mail is answered 530 5.7.0.",
);
/// See its doc.
pub const USE_SSL: Opt<bool> = Opt::new(
    "use_ssl",
    "false",
    &[
        Scope::Listener("esmtp_listener"),
        Scope::Listener("ecstream_listener"),
        Scope::Listener("http_listener"),
        Scope::Listen,
        Scope::Peer,
        Scope::Pathway,
        Scope::PathwayGroup,
    ],
    "Sessions begin with the TLS handshake, before the greeting, as on port 465. Needs a tls_certificate.",
);
/// See its doc.
pub const STARTTLS_INJECTION_POLICY: Opt<InjectionPolicy> = Opt::new(
    "starttls_injection_policy",
    "\"reject\"",
    scopes::LISTENER_ONLY,
    "What becomes of commands that come behind STARTTLS in the same packet, in the clear: reject ends the session with 554 5.5.0, \
     ignore throws them away. The documented allow, which would obey them, is taken as ignore.",
)
.idle(|policy| policy.idle());
/// See its doc.
pub const TLS_VERIFIED_PEER_CAN_RELAY: Opt<bool> = Opt::new(
    "tls_verified_peer_can_relay",
    "false",
    &[
        Scope::Listener("esmtp_listener"),
        Scope::Listener("ecstream_listener"),
        Scope::Listen,
        Scope::Peer,
        Scope::Pathway,
        Scope::PathwayGroup,
    ],
    "Clients whose certificate leads to a CA of tls_client_ca may send to any domain; needs tls_verify_mode optional or require.",
);
/// See its doc.
pub const ALLOW_NULL_ENVELOPE_SENDER: Opt<bool> =
    Opt::new("allow_null_envelope_sender", "true", scopes::LISTENER, "Accepts MAIL FROM:<>.");
/// See its doc.
pub const ALLOW_IP_LITERAL: Opt<bool> =
    Opt::new("allow_ip_literal", "true", scopes::LISTENER, "Accepts addresses such as user@[192.0.2.1].");
/// See its doc.
pub const ALLOW_TRAILING_WHITESPACE_IN_COMMANDS: Opt<bool> = Opt::new(
    "allow_trailing_whitespace_in_commands",
    "false",
    scopes::LISTENER,
    "Drops blanks at the end of command lines instead of refusing them.",
);
/// See its doc.
pub const DOMAIN_FOR_UNQUALIFIED_SENDER_ADDRESS: Opt<String> = Opt::new(
    "domain_for_unqualified_sender_address",
    "",
    scopes::LISTENER,
    "Domain appended to a MAIL FROM address without one; unset: such an address is refused.",
)
.check(|name| checks::host_name(name));
/// See its doc.
pub const DOMAIN_FOR_UNQUALIFIED_RECIPIENT_ADDRESSES: Opt<String> = Opt::new(
    "domain_for_unqualified_recipient_addresses",
    "",
    scopes::LISTENER,
    "Domain appended to a RCPT TO address without one; unset: such an address is refused.",
)
.check(|name| checks::host_name(name));
/// See its doc.
pub const MAX_MESSAGE_SIZE: Opt<u64> = Opt::new(
    "max_message_size",
    "26214400",
    scopes::LISTENER_ONLY,
    "Most bytes of a message, counted as RFC 1870 does: CRLFs among them, stuffed dots, the final dot and the fields that are \
     put in front not. A larger one is refused by what MAIL declares, or at its end. 0: as many as fit in 1 GiB.",
);
/// See its doc.
pub const MAX_RECIPIENTS_PER_MESSAGE: Opt<u64> = Opt::new(
    "max_recipients_per_message",
    "1000",
    scopes::LISTENER_ONLY,
    "Most accepted recipients of a message; one more is answered 452. 0: 100000.",
);
/// See its doc.
pub const MAX_RECIPIENTS_PER_CONNECTION: Opt<u64> = Opt::new(
    "max_recipients_per_connection",
    "0",
    &[Scope::Listener("esmtp_listener"), Scope::Listen, Scope::Peer, Scope::Global],
    "Most accepted recipients of a session, those of transactions that were broken off among them; one more is answered 452, and \
     the next MAIL 421. 0: no limit.",
);
/// See its doc.
pub const MAX_RECEPTIONS_PER_CONNECTION: Opt<u64> = Opt::new(
    "max_receptions_per_connection",
    "0",
    scopes::LISTENER,
    "Most accepted messages of a session; the next MAIL is answered 421. 0: no limit.",
);
/// See its doc.
pub const MAX_BAD_COMMANDS: Opt<u64> = Opt::new(
    "max_bad_commands",
    "20",
    scopes::LISTENER,
    "Malformed, unknown or misplaced commands of a whole session that end it, with 421 4.7.0.",
)
.check(at_least_one);
/// See its doc.
pub const MAX_IDLE_COMMANDS: Opt<u64> = Opt::new(
    "max_idle_commands",
    "1000",
    scopes::LISTENER,
    "NOOP, RSET, EHLO and the like between two messages; each one more counts as a bad command.",
);
/// See its doc.
pub const MAX_REFUSALS: Opt<u64> = Opt::new(
    "max_refusals",
    "100",
    scopes::LISTENER,
    "MAIL, RCPT and DATA commands and messages refused between two accepted messages that end the session of a client that \
     may not relay, with 421 4.7.0: those who try addresses. Recipients over a limit (452) count from the thousand and first on. 0: no limit.",
);
/// See its doc.
pub const MAX_HEADER_SIZE: Opt<u64> = Opt::new(
    "max_header_size",
    "262144",
    scopes::LISTENER,
    "Most bytes of the header section that the client sends, line ends among them, the empty line behind it not.",
)
.check(at_least_one);
/// See its doc.
pub const MAX_RECEIVED_HEADERS: Opt<u64> = Opt::new(
    "max_received_headers",
    "100",
    scopes::LISTENER,
    "Most Received fields of a message as it comes, ours not among them; one with more is taken to be in a loop and refused.",
)
.check(at_least_one);
/// See its doc.
pub const IDLE_TIME: Opt<Seconds> =
    Opt::new("idle_time", "300", scopes::LISTENER_ONLY, "Seconds a session waits for a whole command.").check(a_time);
/// See its doc.
pub const DATA_BLOCK_TIMEOUT: Opt<Seconds> =
    Opt::new("data_block_timeout", "180", scopes::LISTENER, "Seconds a session waits for more of a message.")
        .check(a_time);
/// See its doc.
pub const DATA_TIMEOUT: Opt<Seconds> =
    Opt::new("data_timeout", "3600", scopes::LISTENER, "Seconds all of a message may take to come.").check(a_time);
/// See its doc.
pub const MAX_SESSION_TIME: Opt<Seconds> = Opt::new(
    "max_session_time",
    "86400",
    scopes::LISTENER,
    "Seconds after which a session may begin no further message.",
)
.check(a_time);
/// See its doc.
pub const RELAY_HOSTS: Opt<IpNets> = Opt::new(
    "relay_hosts",
    "( \"127.0.0.0/8\" \"::1\" )",
    scopes::LISTENER,
    "Clients that may send to any domain. A narrower scope replaces the list.",
);
/// See its doc.
pub const RELAY_FOR_SENDING_DOMAINS: Opt<Vec<String>> = Opt::new(
    "relay_for_sending_domains",
    "()",
    scopes::LISTENER_ONLY,
    "Sender domains whose mail may go anywhere. Anyone can claim one: use it behind other walls only.",
)
.check(|domains| checks::domain_globs(domains));
/// See its doc.
pub const OPEN_RELAY: Opt<bool> =
    Opt::new("open_relay", "false", scopes::LISTENER_ONLY, "Lets every client send to any domain.");
/// See its doc.
pub const CONTEXT: Opt<Dict> = Opt::new(
    "context",
    "",
    scopes::LISTENER_ONLY,
    "Connection variables that every session begins with. binding names the binding that its mail leaves by, binding_group the group whose bindings take messages in turn, unless policy says otherwise.",
);
/// See its doc.
pub const PATHWAY: Opt<String> =
    Opt::new("pathway", "", CHOOSES_PATHWAY, "The pathway whose options apply to these sessions.");
/// See its doc.
pub const RECONFIG_MESSAGE: Opt<String> = Opt::new(
    "reconfig_message",
    "\"4.3.2 Reconfiguration in progress\"",
    ESMTP_LISTENER,
    "Text of the 421 that ends a session whose options a reload has changed.",
)
.check(|text| a_line(text));

/// See its doc.
pub const POLICY_TIMEOUT: Opt<Seconds> = Opt::new(
    "policy_timeout",
    "120",
    scopes::LISTENER,
    "Seconds the providers of one validation phase may take together; then the command or message is answered 451 4.3.0.",
)
.check(a_time);
/// See its doc.
pub const INBOUND_THROTTLE_MESSAGES: Opt<Throttle> = Opt::new(
    "inbound_throttle_messages",
    "",
    scopes::PATHWAY,
    "Most messages taken, each counted once at DATA, however many recipients it has and whatever becomes of it: \"N\" in any second, \"N/S\" in any S seconds; unset: no limit. Whatever falls back to the scope \
     that sets it shares one count, which a restart forgets. Over it, MAIL and DATA are answered 451 4.7.1.",
);

fn at_least_one(value: &u64) -> Result<(), String> {
    if 1 <= *value { Ok(()) } else { Err("must be at least 1".to_owned()) }
}

/// Keywords that no session understands yet, and that are therefore not offered.
fn not_offered(keywords: &[String]) -> Option<Idle> {
    let offered = ["ENHANCEDSTATUSCODES", "PIPELINING", "8BITMIME", "SIZE", "STARTTLS"];
    let is_offered = |keyword: &&String| offered.iter().any(|known| known.eq_ignore_ascii_case(keyword));
    let idle: Vec<&String> = keywords.iter().filter(|keyword| !is_offered(keyword)).collect();
    let asks_for = |verb: &str| {
        idle.iter().any(|keyword| keyword.split([' ', '=']).next().is_some_and(|word| word.eq_ignore_ascii_case(verb)))
    };
    let (class, instead) = match asks_for("AUTH") {
        true => (Class::Protective, ": no client is asked for a password"),
        false => (Class::Harmless, ""),
    };
    let words: Vec<String> = idle.iter().map(|word| format!("`{word}`")).collect();
    (!idle.is_empty())
        .then(|| Idle { class, told: format!("{} not offered in this version{instead}", words.join(", ")) })
}

/// It stands in greetings and header fields: a blank, a line end or a typing slip there would become part of them.
/// One line, for it becomes one of a reply.
fn a_line(text: &str) -> Result<(), String> {
    if text.contains(['\r', '\n']) { Err("must be one line".to_owned()) } else { Ok(()) }
}

/// From a second to a week: an instant so far ahead can still be computed with.
fn a_time(value: &Seconds) -> Result<(), String> {
    if (1..=604_800).contains(&value.0) { Ok(()) } else { Err("must be from 1 to 604800 seconds".to_owned()) }
}

/// The words of `starttls_injection_policy`. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectionPolicy {
    /// The session ends.
    Reject,
    /// They are thrown away.
    Ignore,
    /// They would be obeyed, which they never are.
    Allow,
}

impl InjectionPolicy {
    fn idle(self) -> Option<Idle> {
        let told = "`allow` is taken as ignore: what comes in the clear behind STARTTLS is never obeyed".to_owned();
        (self == Self::Allow).then_some(Idle { class: Class::Harmless, told })
    }
}

impl OptionType for InjectionPolicy {
    const EXPECTED: &'static str = "reject, ignore or allow";
    fn parse(value: &Value) -> Result<Self, String> {
        one_of(value, &[("reject", Self::Reject), ("ignore", Self::Ignore), ("allow", Self::Allow)])
    }
}

/// What the options come to.
#[derive(Clone, Debug)]
pub struct ListenerOptions {
    /// What the protocol core is told.
    pub server: Arc<ServerOptions>,
    /// Put trace header fields in front of messages.
    pub trace_headers: bool,
    /// Header fields a message may lack.
    pub headers: HeaderRules,
    /// The name in Received fields.
    pub received_hostname: Box<str>,
    /// Octets of a header section.
    pub header_octets_max: usize,
    /// Received fields of a message.
    pub hops_max: usize,
    /// Clients that may relay.
    pub relay_hosts: IpNets,
    /// Domains anyone may send to.
    pub relay_domains: DomainGlobs,
    /// Domains whose mail counts as bounces.
    pub bounce_domains: DomainGlobs,
    /// Senders are told of recipients that policy refused beside others that it took.
    pub bounces_policy_refusals: bool,
    /// Sender domains that may send anywhere.
    pub relay_for_sending_domains: DomainGlobs,
    /// Every client may relay.
    pub open_relay: bool,
    /// What a handshake shows and asks for; none without a certificate. No part of what two sets are compared by: a renewed
    /// certificate closes nobody.
    pub tls: Option<ServerSetup>,
    /// Sessions begin with the handshake.
    pub implicit_tls: bool,
    /// Clients with a good certificate may relay.
    pub verified_peer_can_relay: bool,
    /// How long the providers of one phase may take.
    pub policy_timeout: Duration,
    /// How many messages may come.
    pub throttle: Option<SharedThrottle>,
    /// Connection variables to begin with.
    pub context: Dictionary,
    /// What mail leaves by unless policy says otherwise.
    pub assigned: Assigned,
    /// The reply to a session whose options have changed.
    pub reconfigured: Reply,
}

impl PartialEq for ListenerOptions {
    fn eq(&self, other: &Self) -> bool {
        self.server == other.server
            && self.trace_headers == other.trace_headers
            && self.headers == other.headers
            && self.received_hostname == other.received_hostname
            && (self.header_octets_max, self.hops_max) == (other.header_octets_max, other.hops_max)
            && self.relay_hosts.nets() == other.relay_hosts.nets()
            && self.relay_domains == other.relay_domains
            && self.bounce_domains == other.bounce_domains
            && self.bounces_policy_refusals == other.bounces_policy_refusals
            && self.relay_for_sending_domains == other.relay_for_sending_domains
            && self.open_relay == other.open_relay
            && self.implicit_tls == other.implicit_tls
            && self.verified_peer_can_relay == other.verified_peer_can_relay
            && self.policy_timeout == other.policy_timeout
            && self.throttle == other.throttle
            && self.context == other.context
            && self.assigned == other.assigned
            && self.reconfigured == other.reconfigured
    }
}

impl ListenerOptions {
    /// Reads them along the scopes of a session. `system_hostname` is what the operating system calls this host.
    pub(crate) fn resolve(
        generation: &Generation,
        chain: &Chain,
        system_hostname: &str,
        throttles: &Throttles,
        now: Instant,
    ) -> Self {
        let reader = Reader { generation, chain };
        let hostname = reader.text(&HOSTNAME).unwrap_or_else(|| system_hostname.into());
        Self {
            trace_headers: reader.read(&RFC2822_TRACE_HEADERS),
            headers: HeaderRules::resolve(generation, chain),
            received_hostname: reader.text(&RECEIVED_HOSTNAME).unwrap_or_else(|| hostname.clone()),
            header_octets_max: reader.count(&MAX_HEADER_SIZE, usize::MAX),
            hops_max: reader.count(&MAX_RECEIVED_HEADERS, usize::MAX),
            relay_hosts: reader.read(&RELAY_HOSTS),
            relay_domains: DomainGlobs::new(&reader.read(&RELAY_DOMAINS)),
            bounce_domains: DomainGlobs::new(&reader.read(&BOUNCE_DOMAINS)),
            bounces_policy_refusals: reader.read(&recipients::GENERATE_BOUNCES_FOR_MULTI_RECIPIENT_POLICY_REJECTIONS),
            relay_for_sending_domains: DomainGlobs::new(&reader.read(&RELAY_FOR_SENDING_DOMAINS)),
            open_relay: reader.read(&OPEN_RELAY),
            tls: ServerSetup::of(generation, chain),
            implicit_tls: reader.read(&USE_SSL),
            verified_peer_can_relay: reader.read(&TLS_VERIFIED_PEER_CAN_RELAY),
            policy_timeout: reader.read(&POLICY_TIMEOUT).into(),
            throttle: throttles.of(reader.read(&INBOUND_THROTTLE_MESSAGES), now),
            context: reader.context(),
            assigned: reader.assigned(),
            reconfigured: reader.reconfigured(),
            server: Arc::new(reader.server(hostname)),
        }
    }
}

struct Reader<'a> {
    generation: &'a Generation,
    chain: &'a Chain,
}

impl Reader<'_> {
    fn read<T: config::OptionType>(&self, option: &Opt<T>) -> T {
        self.generation.read(option, self.chain)
    }

    fn text(&self, option: &Opt<String>) -> Option<Box<str>> {
        Some(self.read(option)).filter(|text| !text.is_empty()).map(String::into_boxed_str)
    }

    /// A number whose zero stands for `unlimited`.
    fn count(&self, option: &Opt<u64>, unlimited: usize) -> usize {
        match self.read(option) {
            0 => unlimited,
            count => usize::try_from(count).unwrap_or(usize::MAX),
        }
    }

    fn server(&self, hostname: Box<str>) -> ServerOptions {
        let name = self.text(&BANNER_HOSTNAME).unwrap_or(hostname);
        ServerOptions {
            banner: match self.text(&STATIC_BANNER) {
                Some(banner) => banner_text(&banner).into(),
                None => format!("{name} ESMTP").into(),
            },
            hostname: name,
            extensions: self.extensions(),
            require_ehlo: self.read(&REQUIRE_EHLO),
            require_tls: self.read(&REQUIRE_TLS),
            injection: match self.read(&STARTTLS_INJECTION_POLICY) {
                InjectionPolicy::Reject => Injection::Reject,
                InjectionPolicy::Ignore | InjectionPolicy::Allow => Injection::Ignore,
            },
            allow_null_reverse_path: self.read(&ALLOW_NULL_ENVELOPE_SENDER),
            allow_address_literal: self.read(&ALLOW_IP_LITERAL),
            blanks: Blanks {
                trailing: self.read(&ALLOW_TRAILING_WHITESPACE_IN_COMMANDS),
                in_envelope: self.read(&conformance::RFC2821_ALLOW_WHITESPACE_IN_ENVELOPE),
            },
            addresses: conformance::address_rules(self.generation, self.chain),
            lines: conformance::line_rules(self.generation, self.chain),
            reverse_path_domain: self.text(&DOMAIN_FOR_UNQUALIFIED_SENDER_ADDRESS),
            forward_path_domain: self.text(&DOMAIN_FOR_UNQUALIFIED_RECIPIENT_ADDRESSES),
            limits: self.limits(),
            timeouts: self.timeouts(),
        }
    }

    fn extensions(&self) -> Extensions {
        let listed = self.read(&SMTP_EXTENSIONS);
        let lists = |word: &str| listed.iter().any(|keyword| keyword.eq_ignore_ascii_case(word));
        Extensions {
            enhanced_status_codes: lists("ENHANCEDSTATUSCODES"),
            starttls: lists("STARTTLS"),
            ..Extensions::default()
        }
    }

    fn limits(&self) -> Limits {
        let unlimited = |count: u64| if count == 0 { u64::MAX } else { count };
        Limits {
            message_octets_max: match self.read(&MAX_MESSAGE_SIZE) {
                0 => 1 << 30,
                octets => octets.min(1 << 30),
            },
            message_recipients_max: self.count(&MAX_RECIPIENTS_PER_MESSAGE, 100_000),
            session_recipients_max: unlimited(self.read(&MAX_RECIPIENTS_PER_CONNECTION)),
            session_messages_max: unlimited(self.read(&MAX_RECEPTIONS_PER_CONNECTION)),
            bad_commands_max: self.read(&MAX_BAD_COMMANDS).try_into().unwrap_or(u32::MAX),
            refusals_max: self.read(&MAX_REFUSALS).try_into().ok().filter(|&count| count != 0).unwrap_or(u32::MAX),
            idle_commands_max: self.read(&MAX_IDLE_COMMANDS).try_into().unwrap_or(u32::MAX),
        }
    }

    fn timeouts(&self) -> Timeouts {
        let time = |option| Duration::from_secs(self.read::<Seconds>(option).0);
        Timeouts {
            command: time(&IDLE_TIME),
            data_block: time(&DATA_BLOCK_TIMEOUT),
            data: time(&DATA_TIMEOUT),
            session: time(&MAX_SESSION_TIME),
        }
    }

    fn context(&self) -> Dictionary {
        let mut context = Dictionary::default();
        if let Some(pathway) = self.text(&PATHWAY) {
            context.push(("pathway".into(), pathway));
        }
        context.extend(self.read(&CONTEXT).0.into_iter().map(|(key, value)| (key.into(), value.into())));
        context
    }

    fn assigned(&self) -> Assigned {
        let context = self.read(&CONTEXT);
        let value = |key| context.get(key).unwrap_or("");
        Assigned::resolve(self.generation, value("binding_group"), value("binding"))
    }

    fn reconfigured(&self) -> Reply {
        match self.read(&RECONFIG_MESSAGE) {
            text if text.is_empty() => replies::RECONFIGURED,
            text => Reply { code: 421, ..Reply::parse(&text, 421) },
        }
    }
}

/// `220-one\r\n220 two` as the lines of a reply's text.
fn banner_text(banner: &str) -> String {
    let lines =
        banner.lines().map(|line| line.strip_prefix("220").map_or(line, |rest| rest.trim_start_matches(['-', ' '])));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_that_is_not_offered_is_told() {
        let told = |words: &[&str]| not_offered(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(told(&["EnhancedStatusCodes", "SIZE"]), None);
        assert_eq!(
            told(&["STARTTLS", "SIZE", "AUTH LOGIN"]),
            Some(Idle {
                class: Class::Protective,
                told: "`AUTH LOGIN` not offered in this version: no client is asked for a password".to_owned()
            })
        );
    }

    #[test]
    fn a_static_banner_loses_its_codes_and_keeps_its_lines() {
        assert_eq!(banner_text("220 mx.here.test ESMTP"), "mx.here.test ESMTP");
        assert_eq!(banner_text("220-welcome\r\n220 mx.here.test"), "welcome\nmx.here.test");
    }
}
