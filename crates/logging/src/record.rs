//! Records: what a logger is told of one event. Borrowed from the envelope, cheap to copy.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use message::{Context, Envelope, MessageId};
use smtp::Mailbox;
use smtp::client::Stage;

use crate::debug_flags::Level;

/// A message was accepted and is safe (mainlog R).
#[derive(Clone, Copy, Debug)]
pub struct ReceptionRecord<'a> {
    /// When, since 1970.
    pub at: Duration,
    /// The message.
    pub envelope: &'a Envelope,
    /// Its size as it will be sent, trace fields among it, as RFC 1870 counts: no stuffed dots, no final line.
    pub size: u64,
}

/// A message was delivered (mainlog D).
#[derive(Clone, Copy, Debug)]
pub struct DeliveryRecord<'a> {
    /// When, since 1970.
    pub at: Duration,
    /// The message.
    pub envelope: &'a Envelope,
    /// The outbound connection of this attempt.
    pub connection: MessageId,
    /// The size that was sent, as RFC 1870 counts.
    pub bytes: u64,
    /// The host that took it; none for a delivery on this machine.
    pub remote: Option<IpAddr>,
}

/// An attempt failed, for now (mainlog and bouncelog T) or for good (mainlog P, bouncelog B).
#[derive(Clone, Copy, Debug)]
pub struct FailureRecord<'a> {
    /// When, since 1970.
    pub at: Duration,
    /// The message, as it was during the attempt: its retries do not count this failure.
    pub envelope: &'a Envelope,
    /// The outbound connection of this attempt; null if there was none.
    pub connection: MessageId,
    /// What was sent before the failure: the message's size once its body was, until then octets of commands; zero without a
    /// connection.
    pub bytes: u64,
    /// The message's size, as RFC 1870 counts.
    pub size: u64,
    /// Where the connection stood.
    pub stage: Stage,
    /// The host that refused, if one did.
    pub remote: Option<IpAddr>,
    /// `code [enhanced] text`, remote or local.
    pub reply: &'a str,
    /// `bounce_pattern` takes the reverse-path: a failure for good is to be logged as a bounce.
    pub is_bounce: bool,
}

/// A bounce came as mail (bouncelog B, stage 21). One for each recipient it tells of.
#[derive(Clone, Copy, Debug)]
pub struct OutOfBandRecord<'a> {
    /// When, since 1970.
    pub at: Duration,
    /// The bounce itself, as a message.
    pub envelope: &'a Envelope,
    /// Its size, as RFC 1870 counts.
    pub size: u64,
    /// Who the message that bounced was for; none if the bounce does not say.
    pub recipient: Option<&'a Mailbox>,
    /// The classification code.
    pub class: u8,
    /// What the bounce gives as the reason, on one line.
    pub reply: &'a str,
}

/// A client was refused something (rejectlog).
#[derive(Clone, Copy, Debug)]
pub struct RejectionRecord<'a> {
    /// When, since 1970.
    pub at: Duration,
    /// The client.
    pub remote: SocketAddr,
    /// Where it connected to.
    pub local: SocketAddr,
    /// The inbound connection.
    pub connection: MessageId,
    /// The reception state's text (`smtp::server::ReceptionState::as_str`), or `relaying denied`.
    pub phase: &'a str,
    /// The reply code.
    pub code: u16,
    /// The module that decided; empty if none did.
    pub module: &'a str,
    /// Policy's variables; the pathway is taken from `pathway` and `pathway_group` of the connection's.
    pub context: &'a Context,
    /// The reply's text.
    pub text: &'a str,
}

/// The daemon says something of itself (paniclog).
#[derive(Clone, Copy, Debug)]
pub struct ErrorRecord<'a> {
    /// When, since 1970.
    pub at: Duration,
    /// How grave.
    pub level: Level,
    /// What, on one line.
    pub message: &'a str,
    /// Set by a provider that has kept it; standard error hears what nobody kept.
    pub kept: bool,
}

/// Somebody was, or was not, let in or allowed something (acctlog).
#[derive(Clone, Copy, Debug)]
pub struct AccountingRecord<'a> {
    /// When, since 1970.
    pub at: Duration,
    /// The endpoint, as configured: `*:2025`, `/tmp/2025`.
    pub listener: &'a str,
    /// The client; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Who, as far as known.
    pub user: &'a str,
    /// What it was about.
    pub event: AccountingEvent<'a>,
}

/// What an [`AccountingRecord`] tells. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountingEvent<'a> {
    /// Authentication; whether it succeeded.
    Authentication(bool),
    /// Authentication was not finished in time.
    AuthenticationTimeout,
    /// Authorization of a command.
    Authorization {
        /// The command.
        command: &'a str,
        /// The outcome.
        verdict: AuthorizationVerdict<'a>,
    },
}

/// How an authorization ended. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationVerdict<'a> {
    /// Allowed, by this role.
    Allowed(&'a str),
    /// Refused.
    Refused,
    /// Could not be decided.
    Error,
}

/// A message that came from another spool.
#[derive(Clone, Copy, Debug)]
pub struct ImportRecord<'a> {
    /// When.
    pub at: Duration,
    /// Its id there.
    pub old: MessageId,
    /// Its id here: the same, unless another message had it.
    pub new: MessageId,
    /// What became of it.
    pub result: ImportResult,
    /// The other spool's directory.
    pub directory: &'a str,
}

/// What became of a message that was to be imported. Closed; the numbers are those of the importlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportResult {
    /// It is here.
    Imported = 1,
    /// Its envelope cannot be read.
    MetadataUnreadable = 2,
    /// Its body cannot be read.
    BodyUnreadable = 3,
    /// It cannot be written here.
    WriteFailed = 4,
}
