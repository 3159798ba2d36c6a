//! What a server session is told when it starts: names, extensions, limits and timeouts. Plain values, shared by all
//! sessions of a listener and a peer; nothing here changes during a session.

use std::time::Duration;

use crate::address::AddressRules;
use crate::command::Blanks;
use crate::lines::LineRules;

/// How a server presents itself and what it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// The host's own name: first word of the replies to EHLO, HELO and QUIT.
    pub hostname: Box<str>,
    /// What follows 220 in the greeting; lines separated by `\n`.
    pub banner: Box<str>,
    /// What EHLO offers.
    pub extensions: Extensions,
    /// Refuse MAIL before EHLO or HELO.
    pub require_ehlo: bool,
    /// Refuse what is about mail before TLS.
    pub require_tls: bool,
    /// What becomes of octets that come between STARTTLS and its reply.
    pub injection: Injection,
    /// Take `MAIL FROM:<>`.
    pub allow_null_reverse_path: bool,
    /// Take `user@[192.0.2.1]` in MAIL and RCPT.
    pub allow_address_literal: bool,
    /// Blanks in commands that are dropped instead of being refused.
    pub blanks: Blanks,
    /// Which addresses are taken.
    pub addresses: AddressRules,
    /// What becomes of lines that RFC 5322 forbids.
    pub lines: LineRules,
    /// Completes a reverse-path that is a local-part alone.
    pub reverse_path_domain: Option<Box<str>>,
    /// Completes a forward-path that is a local-part alone.
    pub forward_path_domain: Option<Box<str>>,
    /// How much.
    pub limits: Limits,
    /// How long.
    pub timeouts: Timeouts,
}

impl ServerOptions {
    /// The defaults, under a name.
    pub fn named(hostname: &str) -> Self {
        Self {
            hostname: hostname.into(),
            banner: format!("{hostname} ESMTP").into(),
            extensions: Extensions::default(),
            require_ehlo: false,
            require_tls: false,
            injection: Injection::default(),
            allow_null_reverse_path: true,
            allow_address_literal: true,
            blanks: Blanks::default(),
            addresses: AddressRules::Pedantic,
            lines: LineRules::default(),
            reverse_path_domain: None,
            forward_path_domain: None,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// EHLO keywords offered. A parameter of one that is not offered is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions {
    /// RFC 2920. Pipelined commands are taken either way; this only tells the client.
    pub pipelining: bool,
    /// RFC 1870.
    pub size: bool,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 2034. Replies carry the codes either way; this only tells the client.
    pub enhanced_status_codes: bool,
    /// RFC 3207. Until TLS is in effect.
    pub starttls: bool,
}

/// What becomes of commands that stand behind STARTTLS in the same packet (CVE-2011-0411). Closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Injection {
    /// The session ends.
    #[default]
    Reject,
    /// They are thrown away.
    Ignore,
}

impl Default for Extensions {
    /// All that need nothing but this crate.
    fn default() -> Self {
        Self { pipelining: true, size: true, eight_bit_mime: true, enhanced_status_codes: true, starttls: false }
    }
}

/// Sizes and counts (RFC 5321 4.5.3.1). Counts are per session unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a message, counted as RFC 1870 does.
    pub message_octets_max: u64,
    /// Accepted recipients of one message.
    pub message_recipients_max: usize,
    /// Accepted recipients of all messages.
    pub session_recipients_max: u64,
    /// Messages.
    pub session_messages_max: u64,
    /// Commands refused for their form or order.
    pub bad_commands_max: u32,
    /// Commands and messages refused for what they ask between two accepted messages, of a client that is not trusted;
    /// recipients over a limit from the thousand and first on.
    pub refusals_max: u32,
    /// Commands between two accepted messages that further none (NOOP, RSET, EHLO …); each one more is a bad command.
    pub idle_commands_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_octets_max: 26_214_400,
            message_recipients_max: 1000,
            session_recipients_max: u64::MAX,
            session_messages_max: u64::MAX,
            bad_commands_max: 20,
            refusals_max: 100,
            idle_commands_max: 1000,
        }
    }
}

/// How long a session waits for its client (RFC 5321 4.5.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the next whole command: octets that do not complete one do not extend it (RFC 5321 4.5.3.2.7).
    pub command: Duration,
    /// For the next octets of a message (RFC 5321 4.5.3.2.5).
    pub data_block: Duration,
    /// For all of a message.
    pub data: Duration,
    /// For all of a session; reached, it ends before the next message.
    pub session: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            command: Duration::from_secs(300),
            data_block: Duration::from_secs(180),
            data: Duration::from_secs(3600),
            session: Duration::from_secs(86_400),
        }
    }
}
