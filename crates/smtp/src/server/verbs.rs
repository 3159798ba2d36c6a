//! What each verb does, and what follows from the answers to its questions.

use std::time::Instant;

use super::{About, Helo, Question, Receiving, Refusal, Refused, ServerSession, State, Transaction};
use crate::address::ReversePath;
use crate::command::{self, Command, PathArgument};
use crate::data::DataReader;
use crate::limits::Injection;
use crate::replies;
use crate::reply::Reply;

/// Octets allocated at once for a message that declared its size, at most; more as they come.
const DECLARED_OCTETS_TRUSTED: u64 = 1_048_576;

impl ServerSession {
    /// `more`: octets follow the command in the input.
    pub(super) fn command(&mut self, command: Command<'_>, more: bool, now: Instant) {
        match command {
            Command::Ehlo(_) | Command::Helo(_) | Command::Data if more => self.disconnect(replies::PIPELINING),
            Command::Ehlo(name) => self.ehlo(name, true),
            Command::Helo(name) => self.ehlo(name, false),
            Command::StartTls => self.start_tls(more),
            Command::Mail(argument) => self.mail(&argument, now),
            Command::Rcpt(argument) => self.rcpt(&argument),
            Command::Data => self.data(),
            Command::Rset => self.rset(),
            Command::Noop => self.idle_command(replies::OK),
            Command::Vrfy(_) => self.idle_command(replies::CANNOT_VRFY),
            Command::Help => self.idle_command(replies::HELP),
            Command::Quit => self.quit(),
            Command::Expn(_) => self.bad_command(replies::NO_EXPN),
            Command::Unknown { .. } => self.bad_command(replies::UNRECOGNIZED),
        }
    }

    /// The shell accepts; the command takes effect.
    pub(super) fn accepted(&mut self, question: Question, trace: &[u8], now: Instant) {
        match question {
            Question::Connect => {
                let banner = self.options.banner.to_string();
                Reply::with_text(220, None, banner).write(&mut self.output);
            }
            Question::Ehlo => self.ehlo_accepted(),
            Question::MailFrom(transaction) => {
                replies::MAIL_OK.write(&mut self.output);
                self.counts.recipients_over = false;
                self.state = State::Open(transaction);
            }
            Question::RcptTo(mut transaction, forward_path) => {
                replies::RCPT_OK.write(&mut self.output);
                self.counts.recipients += 1;
                transaction.forward_paths.push(forward_path);
                self.state = State::Open(transaction);
            }
            Question::Data(transaction) => self.data_accepted(transaction, trace, now),
        }
    }

    /// The shell refuses; everything is as before the command.
    pub(super) fn declined(&mut self, question: Question, reply: Reply) {
        self.refuse_question(&question, reply);
        let is_of_mail = !matches!(question, Question::Connect | Question::Ehlo);
        self.state = match question {
            // Nothing can follow a connection that was not greeted.
            Question::Connect => State::Closing,
            Question::MailFrom(_) => State::Ready,
            Question::RcptTo(transaction, _) | Question::Data(transaction) => State::Open(transaction),
            Question::Ehlo => {
                self.helo = None;
                State::Ready
            }
        };
        if is_of_mail {
            self.count_refusal();
        }
    }

    fn ehlo(&mut self, name: &str, extended: bool) {
        if !self.idle_command_allowed() {
            return self.bad_command(replies::TOO_MANY_IDLE_COMMANDS);
        }
        // EHLO ends a transaction as RSET does (RFC 5321 4.1.4).
        self.helo = Some(Helo { name: name.into(), extended });
        self.state = State::Asking(Question::Ehlo);
    }

    fn ehlo_accepted(&mut self) {
        let extended = self.helo.as_ref().is_some_and(|helo| helo.extended);
        let verb = if extended { "EHLO" } else { "HELO" };
        let mut text = format!("{} says {verb} to {}", self.options.hostname, self.peer);
        if extended {
            let offered = self.options.extensions;
            let size = match self.options.limits.message_octets_max {
                u64::MAX => 0, // no fixed limit (RFC 1870 4)
                octets => octets,
            };
            for (offered, line) in [
                (offered.enhanced_status_codes, "\nENHANCEDSTATUSCODES".to_owned()),
                (offered.pipelining, "\nPIPELINING".to_owned()),
                (offered.eight_bit_mime, "\n8BITMIME".to_owned()),
                (offered.size, format!("\nSIZE {size}")),
                (offered.starttls && !self.secured, "\nSTARTTLS".to_owned()),
            ] {
                if offered {
                    text.push_str(&line);
                }
            }
        }
        Reply::with_text(250, None, text).write(&mut self.output);
    }

    /// Whether a command has to wait for TLS (RFC 3207 4).
    pub(super) fn needs_tls(&self, command: &Command<'_>) -> bool {
        let is_free = matches!(
            command,
            Command::Ehlo(_)
                | Command::Helo(_)
                | Command::StartTls
                | Command::Noop
                | Command::Rset
                | Command::Help
                | Command::Quit
        );
        self.options.require_tls && !self.secured && !is_free
    }

    /// What follows the command in the same packet was sent in the clear, maybe by somebody else than the client: with it the
    /// session ends, or it is thrown away.
    fn start_tls(&mut self, more: bool) {
        if !self.options.extensions.starttls {
            self.bad_command(replies::NO_STARTTLS);
        } else if self.secured {
            self.bad_command(replies::TLS_ACTIVE);
        } else if matches!(self.state, State::Open(_)) {
            self.bad_command(replies::STARTTLS_IN_TRANSACTION);
        } else if more && self.options.injection == Injection::Reject {
            self.disconnect(replies::PIPELINING);
        } else if self.idle_command_allowed() {
            replies::START_TLS.write(&mut self.output);
            self.state = State::Securing;
        } else {
            self.bad_command(replies::TOO_MANY_IDLE_COMMANDS);
        }
    }

    fn mail(&mut self, argument: &PathArgument<'_>, now: Instant) {
        if let Some(farewell) = self.farewell.take() {
            return self.disconnect(farewell);
        }
        if let Some(reply) = self.session_limit() {
            self.refuse(reply);
            self.state = State::Closing;
            return;
        }
        if self.ends_at <= now {
            return self.disconnect(replies::SESSION_TOO_LONG);
        }
        if matches!(self.state, State::Open(_)) {
            return self.bad_command(replies::NESTED_MAIL);
        }
        if self.options.require_ehlo && self.helo.is_none() {
            return self.bad_command(replies::EHLO_NEEDED);
        }
        match self.transaction_of(argument) {
            Ok(transaction) => self.state = State::Asking(Question::MailFrom(transaction)),
            // An address that is well-formed and unwanted, or a size, is no mistake of the protocol.
            Err(reply) if matches!(reply.code, 501 | 555) => {
                self.bad_command_about(About::mail(argument.path), reply);
            }
            Err(reply) => {
                self.refuse_about(About::mail(argument.path), reply);
                self.count_refusal();
            }
        }
    }

    /// The reply to a MAIL that a session has no room for.
    fn session_limit(&self) -> Option<Reply> {
        let limits = &self.options.limits;
        if limits.session_messages_max <= self.counts.messages {
            return Some(replies::TOO_MANY_MESSAGES);
        }
        (limits.session_recipients_max <= self.counts.recipients).then_some(replies::NO_SESSION_RECIPIENTS_LEFT)
    }

    fn transaction_of(&self, argument: &PathArgument<'_>) -> Result<Transaction, Reply> {
        let options = &self.options;
        let domain = options.reverse_path_domain.as_deref();
        let reverse_path = command::reverse_path(argument.path, domain, options.addresses)
            .map_err(|error| error.reply_to_mail(argument.path))?;
        match &reverse_path {
            ReversePath::Null if !options.allow_null_reverse_path => return Err(replies::NO_NULL_REVERSE_PATH),
            ReversePath::Mailbox(mailbox) => self.check_literal(mailbox.domain())?,
            ReversePath::Null => {}
        }
        let mut transaction =
            Transaction { reverse_path, forward_paths: Default::default(), declared_octets: None, eight_bit: false };
        for parameter in &argument.parameters {
            if options.extensions.size && parameter.is("SIZE") {
                let octets = parameter.value.and_then(size_value).ok_or(replies::BAD_PARAMETER)?;
                if options.limits.message_octets_max < octets {
                    return Err(replies::TOO_LARGE);
                }
                transaction.declared_octets = Some(octets);
            } else if options.extensions.eight_bit_mime && parameter.is("BODY") {
                transaction.eight_bit = match parameter.value {
                    Some(value) if value.eq_ignore_ascii_case("8BITMIME") => true,
                    Some(value) if value.eq_ignore_ascii_case("7BIT") => false,
                    _ => return Err(replies::BAD_PARAMETER),
                };
            } else {
                return Err(replies::UNKNOWN_PARAMETER);
            }
        }
        Ok(transaction)
    }

    fn rcpt(&mut self, argument: &PathArgument<'_>) {
        let State::Open(transaction) = &self.state else {
            return self.bad_command(replies::RCPT_WITHOUT_MAIL);
        };
        let limits = &self.options.limits;
        if limits.message_recipients_max <= transaction.forward_paths.len() {
            return self.recipient_limit(argument.path, replies::TOO_MANY_RECIPIENTS);
        }
        if limits.session_recipients_max <= self.counts.recipients {
            return self.recipient_limit(argument.path, replies::TOO_MANY_SESSION_RECIPIENTS);
        }
        if !argument.parameters.is_empty() {
            return self.bad_command_about(About::rcpt(argument.path), replies::UNKNOWN_PARAMETER);
        }
        let domain = self.options.forward_path_domain.as_deref();
        let forward_path = match command::forward_path(argument.path, domain, self.options.addresses) {
            Ok(forward_path) => forward_path,
            Err(error) => {
                return self.bad_command_about(About::rcpt(argument.path), error.reply_to_rcpt(argument.path));
            }
        };
        if let Err(reply) = self.check_literal(forward_path.mailbox().domain()) {
            self.refuse_about(About::rcpt(argument.path), reply);
            return self.count_refusal();
        }
        let State::Open(transaction) = std::mem::replace(&mut self.state, State::Ready) else { return };
        self.state = State::Asking(Question::RcptTo(transaction, forward_path));
    }

    /// Told to the client each time, to the log once a transaction. No refusal of what it asked for: a client that names in
    /// one transaction what it may in several has done nothing wrong (RFC 5321 4.5.3.1.10), unless it never comes to an end.
    fn recipient_limit(&mut self, path: &str, reply: Reply) {
        let repeated = std::mem::replace(&mut self.counts.recipients_over, true);
        let (state, about) = (self.reception_state(), About::rcpt(path));
        self.keep(Refusal { state, reply, refused: Refused::Mail, about, repeated });
        self.counts.over_limit = self.counts.over_limit.saturating_add(1);
        if OVER_LIMIT_FREE < self.counts.over_limit {
            self.count_refusal();
        }
    }

    fn data(&mut self) {
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Open(transaction) if !transaction.forward_paths.is_empty() => {
                self.state = State::Asking(Question::Data(transaction));
            }
            State::Open(transaction) => {
                self.state = State::Open(transaction);
                self.bad_command(replies::DATA_WITHOUT_RCPT);
            }
            _ => self.bad_command(replies::DATA_WITHOUT_MAIL),
        }
    }

    fn data_accepted(&mut self, transaction: Transaction, trace: &[u8], now: Instant) {
        // Of a message that declared none, the first chunk makes the room: most messages are one.
        let expected = transaction.declared_octets.map_or(0, |octets| octets.min(DECLARED_OCTETS_TRUSTED) + 64);
        let size_max = self.options.limits.message_octets_max;
        let reader = DataReader::new(trace, size_max, expected as usize, self.options.lines);
        let timeouts = &self.options.timeouts;
        let ends_at = now + timeouts.data;
        self.deadline = ends_at.min(now + timeouts.data_block);
        replies::SEND_DATA.write(&mut self.output);
        self.state = State::Receiving(Box::new(Receiving { transaction, reader, ends_at }));
    }

    fn rset(&mut self) {
        if let Some(farewell) = self.farewell.take() {
            return self.disconnect(farewell);
        }
        self.state = State::Ready;
        self.idle_command(replies::OK);
    }

    fn quit(&mut self) {
        let text = format!("{} closing connection", self.options.hostname);
        Reply::with_text(221, Some((2, 3, 0)), text).write(&mut self.output);
        self.state = State::Closing;
    }

    /// A command that furthers no message; too many of them are bad ones.
    fn idle_command(&mut self, reply: Reply) {
        if self.idle_command_allowed() {
            reply.write(&mut self.output);
        } else {
            self.bad_command(replies::TOO_MANY_IDLE_COMMANDS);
        }
    }

    fn idle_command_allowed(&mut self) -> bool {
        self.counts.idle_commands = self.counts.idle_commands.saturating_add(1);
        self.counts.idle_commands <= self.options.limits.idle_commands_max
    }

    fn check_literal(&self, domain: &str) -> Result<(), Reply> {
        if domain.starts_with('[') && !self.options.allow_address_literal {
            return Err(replies::NO_ADDRESS_LITERAL);
        }
        Ok(())
    }
}

/// Up to 20 digits (RFC 1870 3). A number beyond 64 bits is over every limit.
fn size_value(text: &str) -> Option<u64> {
    let digits = (1..=20).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Recipients over a limit between two accepted messages that are no refusals yet.
const OVER_LIMIT_FREE: u32 = 1000;
