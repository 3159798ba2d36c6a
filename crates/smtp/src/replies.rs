//! Every reply the server gives on its own account, by name. Policy and storage bring their own.
//!
//! Texts follow Momentum's where it documents one; codes follow RFC 5321 4.2.3 and RFC 3463.

use crate::address::AddressError;
use crate::command::CommandError;
use crate::data::Fault;
use crate::reply::Reply;

/// To STARTTLS; the handshake follows.
pub const START_TLS: Reply = Reply::new(220, (2, 0, 0), "ready to start TLS");
/// STARTTLS where it is not offered.
pub const NO_STARTTLS: Reply = Reply::new(502, (5, 5, 1), "STARTTLS is not offered");
/// STARTTLS under TLS.
pub const TLS_ACTIVE: Reply = Reply::new(503, (5, 5, 1), "TLS is already in effect");
/// STARTTLS between MAIL and the end of a message.
pub const STARTTLS_IN_TRANSACTION: Reply = Reply::new(503, (5, 5, 1), "STARTTLS within a mail transaction");
/// Anything about mail without TLS where it is required (RFC 3207 4).
pub const TLS_NEEDED: Reply = Reply::new(530, (5, 7, 0), "must issue a STARTTLS command first");
/// MAIL was taken.
pub const MAIL_OK: Reply = Reply::new(250, (2, 1, 0), "MAIL FROM accepted");
/// RCPT was taken.
pub const RCPT_OK: Reply = Reply::new(250, (2, 1, 5), "RCPT TO accepted");
/// RSET or NOOP was taken.
pub const OK: Reply = Reply::new(250, (2, 0, 0), "OK");
/// DATA was taken.
pub const SEND_DATA: Reply = Reply::plain(354, "send the message; end it with <CRLF>.<CRLF>");
/// HELP.
pub const HELP: Reply = Reply::new(214, (2, 0, 0), "EHLO HELO MAIL RCPT DATA RSET NOOP QUIT VRFY HELP (RFC 5321)");
/// VRFY: neither confirms nor denies (RFC 5321 7.3).
pub const CANNOT_VRFY: Reply = Reply::new(252, (2, 0, 0), "cannot VRFY user, send some mail and see");
/// EXPN: not offered (RFC 5321 7.3).
pub const NO_EXPN: Reply = Reply::new(502, (5, 5, 1), "EXPN is not offered");

/// The verb is not known.
pub const UNRECOGNIZED: Reply = Reply::new(500, (5, 5, 2), "unrecognized command");
/// The line holds NUL, another control octet, or octets over 127.
pub const BAD_OCTETS: Reply = Reply::new(500, (5, 5, 2), "control or 8-bit octets in command");
/// The line does not end in CRLF, or holds a CR or LF of its own.
pub const LONE_CR_OR_LF: Reply = Reply::new(500, (5, 5, 2), "lone CR or LF in command, lines end with CRLF");
/// The line is over 512 octets (RFC 5321 4.5.3.1.4).
pub const COMMAND_TOO_LONG: Reply = Reply::new(500, (5, 5, 2), "command line too long");
/// EHLO without a name.
pub const INVALID_EHLO: Reply = Reply::new(501, (5, 5, 2), "invalid EHLO");
/// HELO without a name.
pub const INVALID_HELO: Reply = Reply::new(501, (5, 5, 2), "invalid HELO");
/// MAIL with a malformed argument or address.
pub const MAIL_SYNTAX: Reply =
    Reply::new(501, (5, 5, 2), "MAIL FROM syntax error: expected MAIL FROM:<local-part@domain>");
/// RCPT with a malformed argument or address.
pub const RCPT_SYNTAX: Reply = Reply::new(501, (5, 5, 2), "RCPT TO syntax error: expected RCPT TO:<local-part@domain>");
/// MAIL with a path over 256 octets (RFC 5321 4.5.3.1.3).
pub const REVERSE_PATH_TOO_LONG: Reply = Reply::new(501, (5, 1, 7), "MAIL FROM path too long");
/// RCPT with a path over 256 octets (RFC 5321 4.5.3.1.3).
pub const FORWARD_PATH_TOO_LONG: Reply = Reply::new(501, (5, 1, 3), "RCPT TO path too long");
/// A malformed or repeated parameter, or a bad value.
pub const BAD_PARAMETER: Reply = Reply::new(501, (5, 5, 4), "invalid parameter");
/// A parameter of an extension that is not offered (RFC 5321 4.1.1.11).
pub const UNKNOWN_PARAMETER: Reply = Reply::new(555, (5, 5, 4), "parameter not recognized");
/// An argument to RSET.
pub const RSET_ARGUMENT: Reply = Reply::new(501, (5, 5, 4), "invalid arguments to RSET");
/// An argument to DATA.
pub const DATA_ARGUMENT: Reply = Reply::new(501, (5, 5, 4), "unexpected argument to DATA");
/// An argument to a verb that takes none.
pub const NO_ARGUMENT: Reply = Reply::new(501, (5, 5, 4), "Syntax error (no parameters allowed)");

/// MAIL before EHLO, where the listener requires one.
pub const EHLO_NEEDED: Reply = Reply::new(550, (5, 5, 1), "RFC2821 HELO/EHLO needed");
/// MAIL inside a transaction.
pub const NESTED_MAIL: Reply = Reply::new(503, (5, 5, 1), "MAIL FROM already established");
/// RCPT outside a transaction.
pub const RCPT_WITHOUT_MAIL: Reply = Reply::new(503, (5, 5, 1), "RCPT TO without MAIL FROM");
/// DATA outside a transaction.
pub const DATA_WITHOUT_MAIL: Reply = Reply::new(503, (5, 5, 1), "DATA without MAIL FROM");
/// DATA without an accepted recipient.
pub const DATA_WITHOUT_RCPT: Reply = Reply::new(503, (5, 5, 1), "DATA without RCPT TO");
/// Octets arrived before the reply that had to be awaited (RFC 2920 3.1).
pub const PIPELINING: Reply = Reply::new(554, (5, 5, 0), "improper command pipelining, closing connection");

/// `MAIL FROM:<>` where the listener does not take it.
pub const NO_NULL_REVERSE_PATH: Reply = Reply::new(550, (5, 7, 1), "null envelope sender not accepted");
/// An address literal where the listener does not take one.
pub const NO_ADDRESS_LITERAL: Reply = Reply::new(550, (5, 7, 1), "address literals not accepted");
/// One recipient more than a message may have; the accepted ones stand (RFC 5321 4.5.3.1.10).
pub const TOO_MANY_RECIPIENTS: Reply =
    Reply::new(452, (4, 5, 3), "Service unavailable, recipients per message limit reached");
/// One recipient more than a connection may name.
pub const TOO_MANY_SESSION_RECIPIENTS: Reply =
    Reply::new(452, (4, 5, 3), "Service unavailable, recipients per connection limit reached");
/// One message more than a connection may carry.
pub const TOO_MANY_MESSAGES: Reply = Reply::new(421, (4, 5, 3), "Service unavailable, batch limit reached");
/// MAIL when the connection has named as many recipients as it may.
pub const NO_SESSION_RECIPIENTS_LEFT: Reply =
    Reply::new(421, (4, 5, 3), "Service unavailable, recipients per connection limit reached");
/// Too many NOOP, RSET, EHLO … without a message.
pub const TOO_MANY_IDLE_COMMANDS: Reply = Reply::new(450, (4, 7, 0), "too many commands without a message");
/// Too many commands that were none.
pub const TOO_MANY_ERRORS: Reply = Reply::new(421, (4, 7, 0), "too many errors, closing connection");
/// Too much of what the client asked for was refused.
pub const TOO_MANY_REFUSALS: Reply = Reply::new(421, (4, 7, 0), "too many refusals, closing connection");
/// A request of HTTP at the place of a command.
pub const HTTP_NOT_SPOKEN: Reply = Reply::new(554, (5, 5, 1), "HTTP is not spoken here, closing connection");
/// The beginning of TLS at the place of a command.
pub const TLS_NOT_SPOKEN: Reply = Reply::new(554, (5, 5, 1), "TLS where a command was expected, closing connection");
/// The client was silent, or slow, for too long (RFC 5321 4.5.3.2.7).
pub const TIMED_OUT: Reply = Reply::new(421, (4, 4, 2), "timed out waiting for the client, closing connection");
/// The session has lasted as long as one may.
pub const SESSION_TOO_LONG: Reply = Reply::new(421, (4, 4, 2), "session lifetime reached, closing connection");
/// The daemon is stopping.
pub const SHUTTING_DOWN: Reply = Reply::new(421, (4, 3, 2), "Service shutting down, closing connection");
/// The session's configuration has been replaced.
pub const RECONFIGURED: Reply = Reply::new(421, (4, 3, 2), "Reconfiguration in progress");

/// The message is over the size limit (RFC 1870 6.1).
pub const TOO_LARGE: Reply = Reply::new(552, (5, 3, 4), "message size limit exceeded");
/// The header section is over its limit.
pub const HEADER_TOO_LARGE: Reply = Reply::new(552, (5, 3, 4), "header section size limit exceeded");
/// The message holds a CR or LF that is not part of a CRLF (RFC 5321 2.3.8).
pub const LONE_CR_OR_LF_IN_DATA: Reply = Reply::new(550, (5, 6, 0), "lone CR or LF in message");
/// A line of the message is over the limit, 998 octets if no other is set (RFC 5321 4.5.3.1.6).
pub const TEXT_LINE_TOO_LONG: Reply = Reply::new(550, (5, 6, 0), "line too long in message");
/// There is no memory for the message, or for more of it.
pub const NO_MEMORY: Reply = Reply::new(452, (4, 3, 1), "insufficient system memory");
/// The message has no header section.
pub const HEADERS_MISSING: Reply = Reply::new(550, (5, 6, 0), "required headers missing");
/// The message has no Date field (RFC 5322 3.6).
pub const DATE_MISSING: Reply = Reply::new(550, (5, 6, 0), "required Date header missing");
/// The message has passed through too many hosts (RFC 5321 6.3).
pub const TOO_MANY_HOPS: Reply = Reply::new(554, (5, 4, 6), "too many hops, mail loop suspected");

impl CommandError {
    /// The reply to a line that is no command.
    pub fn reply(self) -> Reply {
        match self {
            Self::Octets => BAD_OCTETS,
            Self::Empty => UNRECOGNIZED,
            Self::Ehlo => INVALID_EHLO,
            Self::Helo => INVALID_HELO,
            Self::MailSyntax => MAIL_SYNTAX,
            Self::RcptSyntax => RCPT_SYNTAX,
            Self::ReversePathTooLong => REVERSE_PATH_TOO_LONG,
            Self::ForwardPathTooLong => FORWARD_PATH_TOO_LONG,
            Self::Parameter => BAD_PARAMETER,
            Self::DataArgument => DATA_ARGUMENT,
            Self::RsetArgument => RSET_ARGUMENT,
            Self::NoArgument => NO_ARGUMENT,
        }
    }
}

impl AddressError {
    /// The reply to a MAIL with this reverse-path.
    pub(crate) fn reply_to_mail(self, path: &str) -> Reply {
        if self == Self::PathTooLong { REVERSE_PATH_TOO_LONG } else { self.syntax("MAIL FROM", path) }
    }

    /// The reply to a RCPT with this forward-path.
    pub(crate) fn reply_to_rcpt(self, path: &str) -> Reply {
        if self == Self::PathTooLong { FORWARD_PATH_TOO_LONG } else { self.syntax("RCPT TO", path) }
    }

    fn syntax(self, command: &str, path: &str) -> Reply {
        Reply::with_text(501, Some((5, 5, 2)), format!("{command} syntax error in <{path}>: {self}"))
    }
}

impl Fault {
    /// The reply at the end of a message that cannot be taken.
    pub fn reply(self) -> Reply {
        match self {
            Self::TooLarge => TOO_LARGE,
            Self::LoneCrOrLf => LONE_CR_OR_LF_IN_DATA,
            Self::LineTooLong => TEXT_LINE_TOO_LONG,
            Self::NoMemory => NO_MEMORY,
        }
    }
}
