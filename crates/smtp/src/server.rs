//! The server half of SMTP as a plain value: octets and time in, replies and questions out.
//!
//! The shell owns the socket. It gives what it read to [`ServerSession::advance`], does what the [`Step`] says, and sends
//! [`ServerSession::output`] when the step is [`Step::NeedBytes`] or [`Step::Hangup`]: so a pipelined group of commands
//! is answered in one write. What needs policy or storage is asked for, one thing at a time.
//!
//! Invariant: replies stand in the output in the order of the commands, one for each (and a last one where the session is
//! ended); octets are parsed once, and behind EHLO and DATA none are accepted before the reply (RFC 2920 3.1).

mod foreign;
mod verbs;

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use memchr::memchr;
use smallvec::SmallVec;

use crate::address::{ForwardPath, ReversePath};
use crate::command::Command;
use crate::data::{DataReader, Fault, Progress};
use crate::limits::ServerOptions;
use crate::replies;
use crate::reply::Reply;

/// Octets of a command line with its CRLF (RFC 5321 4.5.3.1.4).
pub const COMMAND_LINE_OCTETS_MAX: usize = 512;
/// What the offered extensions add to MAIL: SIZE 26 (RFC 1870 3), BODY 17 (RFC 6152 2).
pub const MAIL_PARAMETER_OCTETS: usize = 43;
/// A line of this length without an end is not skipped any further.
const SKIPPED_OCTETS_MAX: usize = 65_536;
/// A message is allowed to be this much over its limit, all of it thrown away, before the connection is closed.
const DISCARDED_OCTETS_MAX: u64 = 67_108_864;

/// What the session needs next.
#[derive(Debug)]
pub enum Step {
    /// Send the output, then bring octets (or the end of the deadline).
    NeedBytes,
    /// Decide, then call [`ServerSession::answer`].
    Ask(Phase),
    /// A message has come. Make it safe or refuse it, then call [`ServerSession::stored`].
    Store(Box<Received>),
    /// The client asked for TLS. Send the output, forget what else has come, shake hands, then call
    /// [`ServerSession::secured`]; where that fails, the session is over.
    StartTls,
    /// Something was refused; its reply is in the output. For the log; go on.
    Refused(Refusal),
    /// Send the output and close the connection.
    Hangup,
}

/// What policy is asked about. The facts are in the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A client has connected; the greeting is not sent.
    Connect,
    /// EHLO or HELO: [`ServerSession::helo`] is the new name.
    Ehlo,
    /// MAIL: [`ServerSession::transaction`] is the one that would begin.
    MailFrom,
    /// RCPT: [`ServerSession::forward_path`] is the one that would be added.
    RcptTo,
    /// DATA: the message may come. The verdict brings the trace header fields to put in front of it.
    Data,
}

/// What the shell answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on with the usual reply.
    Accept,
    /// Go on, and put these header fields, with their CRLFs, in front of the message. For [`Phase::Data`].
    AcceptWithTrace(Vec<u8>),
    /// Refuse this command.
    Refuse(Reply),
    /// Refuse and close the connection.
    Disconnect(Reply),
}

/// A client's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helo {
    /// As it was given; made of letters, digits and `.-_:[]` only.
    pub name: Box<str>,
    /// EHLO, not HELO.
    pub extended: bool,
}

/// Exists from MAIL to the end of the message (RFC 5321 3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// The accepted recipients, in order. One that is named twice stands here twice.
    pub forward_paths: SmallVec<[ForwardPath; 1]>,
    /// SIZE.
    pub declared_octets: Option<u64>,
    /// BODY=8BITMIME.
    pub eight_bit: bool,
}

/// A whole message.
#[derive(Debug)]
pub struct Received {
    /// Its envelope.
    pub transaction: Transaction,
    /// Trace header fields and message, in wire form with the terminator.
    pub body: BytesMut,
    /// Octets of the trace header fields in front.
    pub trace_octets: usize,
}

/// Something the client was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the session was doing.
    pub state: ReceptionState,
    /// The reply given.
    pub reply: Reply,
    /// What did not come about.
    pub refused: Refused,
    /// Whose mail it was about, as far as that was said.
    pub about: About,
    /// This transaction's recipient limit once more: to be counted, not to be logged again, or ten thousand RCPTs would
    /// become as many lines.
    pub repeated: bool,
}

/// The addresses that a refusal is about: what stood between the angle brackets, also where it is no address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Of the refused MAIL, or of the transaction that something was refused in.
    pub reverse_path: Option<Box<str>>,
    /// Of the refused RCPT.
    pub forward_path: Option<Box<str>>,
}

impl About {
    fn mail(path: &str) -> Self {
        Self { reverse_path: Some(path.into()), forward_path: None }
    }

    fn rcpt(path: &str) -> Self {
        Self { reverse_path: None, forward_path: Some(path.into()) }
    }
}

/// What a refusal kept from coming about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Mail: a MAIL, RCPT or DATA in good form, or a message.
    Mail,
    /// Anything else: the connection, a name, a command for its form or order, the rest of the session.
    Other,
}

/// What a session is doing, in the words of the rejectlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceptionState {
    /// No greeting yet.
    JustConnected,
    /// Greeted, no name given.
    AwaitingEhlo,
    /// No transaction.
    AwaitingMailfrom,
    /// The TLS handshake.
    StartingTls,
    /// A transaction without or with recipients.
    AwaitingRcptto,
    /// DATA was given.
    DataPhase,
    /// The message is coming.
    ReadingBody,
    /// The message has come.
    SendingBodyResponse,
}

impl ReceptionState {
    /// The words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JustConnected => "just connected",
            Self::AwaitingEhlo => "awaiting ehlo/helo",
            Self::AwaitingMailfrom => "awaiting mailfrom",
            Self::StartingTls => "starting tls",
            Self::AwaitingRcptto => "awaiting rcptto",
            Self::DataPhase => "data phase",
            Self::ReadingBody => "reading body",
            Self::SendingBodyResponse => "sending body response",
        }
    }
}

/// One session with a client.
pub struct ServerSession {
    options: Arc<ServerOptions>,
    /// The client as EHLO's reply names it.
    peer: Box<str>,
    state: State,
    helo: Option<Helo>,
    output: Vec<u8>,
    refused: SmallVec<[Refusal; 2]>,
    /// An over-long line is being thrown away.
    skipping: Option<Skipping>,
    deadline: Instant,
    ends_at: Instant,
    counts: Counts,
    /// Given at the next MAIL or RSET, before closing.
    farewell: Option<Reply>,
    /// The session ends as soon as it is between commands.
    stopping: bool,
    /// However much is refused, the session goes on.
    trusted: bool,
    /// TLS is in effect.
    secured: bool,
}

/// Each state holds what exists in it only.
enum State {
    Connected,
    Asking(Question),
    Ready,
    Open(Transaction),
    Receiving(Box<Receiving>),
    Storing,
    Securing,
    Closing,
}

enum Question {
    Connect,
    Ehlo,
    MailFrom(Transaction),
    RcptTo(Transaction, ForwardPath),
    Data(Transaction),
}

struct Receiving {
    transaction: Transaction,
    reader: DataReader,
    ends_at: Instant,
}

struct Skipping {
    octets: usize,
    after_cr: bool,
}

#[derive(Default)]
struct Counts {
    messages: u64,
    recipients: u64,
    bad_commands: u32,
    idle_commands: u32,
    /// Refused for what they asked, since the last accepted message.
    refusals: u32,
    /// Recipients over a limit, since the last accepted message.
    over_limit: u32,
    /// Whether this transaction's recipient limit has been reported.
    recipients_over: bool,
}

impl ServerSession {
    /// A session with a client that has just connected; `peer` is how EHLO's reply names it.
    pub fn new(options: Arc<ServerOptions>, peer: &str, now: Instant) -> Self {
        let deadline = now + options.timeouts.command;
        let ends_at = now + options.timeouts.session;
        Self {
            options,
            peer: peer.into(),
            state: State::Connected,
            helo: None,
            output: Vec::new(),
            refused: SmallVec::new(),
            skipping: None,
            deadline,
            ends_at,
            counts: Counts::default(),
            farewell: None,
            stopping: false,
            trusted: false,
            secured: false,
        }
    }

    /// Takes what it can from `input` and says what it needs next.
    ///
    /// # Panics
    /// If a message was handed out and [`ServerSession::stored`] has not been called, or octets are brought in the midst of a
    /// handshake.
    pub fn advance(&mut self, input: &mut BytesMut, now: Instant) -> Step {
        loop {
            if !self.refused.is_empty() {
                return Step::Refused(self.refused.remove(0));
            }
            match &self.state {
                State::Connected => self.state = State::Asking(Question::Connect),
                State::Asking(question) => return Step::Ask(question.phase()),
                State::Ready | State::Open(_) if self.stopping => self.disconnect(replies::SHUTTING_DOWN),
                State::Ready | State::Open(_) => {
                    if !self.take_line(input, now) {
                        return Step::NeedBytes;
                    }
                }
                State::Receiving(_) => match self.receive(input, now) {
                    Some(step) => return step,
                    None => continue,
                },
                State::Storing => panic!("a received message was neither stored nor refused"),
                State::Securing if input.is_empty() => return Step::StartTls,
                State::Securing => panic!("octets that came ahead of TLS were kept"),
                State::Closing => return Step::Hangup,
            }
        }
    }

    /// What is to be sent. The shell empties it by sending it.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Octets of memory that the message being received takes up.
    pub fn message_held(&self) -> usize {
        if let State::Receiving(receiving) = &self.state { receiving.reader.held() } else { 0 }
    }

    /// As [`ServerSession::message_held`], once so many more octets of it have come. To be asked for before
    /// [`ServerSession::advance`] takes them.
    pub fn message_held_with(&self, more: usize) -> usize {
        if let State::Receiving(receiving) = &self.state { receiving.reader.held_with(more) } else { 0 }
    }

    /// There is no memory for more of the message being received: nothing of it is kept, and it is refused at its end.
    pub fn no_memory(&mut self) {
        if let State::Receiving(receiving) = &mut self.state {
            receiving.reader.no_memory();
        }
    }

    /// When waiting for the client ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The deadline has passed.
    pub fn timed_out(&mut self) {
        let reply = match &self.state {
            // A client that waits for the reply to what it took for the end of its message gets the reason.
            State::Receiving(receiving) if receiving.reader.fault() == Some(Fault::LoneCrOrLf) => {
                replies::LONE_CR_OR_LF_IN_DATA
            }
            State::Receiving(receiving) if receiving.reader.holds_imitation_of_end() => replies::LONE_CR_OR_LF_IN_DATA,
            // A client that has nothing more to send was refused nothing.
            State::Ready if 0 < self.counts.messages && self.skipping.is_none() => {
                replies::TIMED_OUT.write(&mut self.output);
                self.state = State::Closing;
                return;
            }
            _ => replies::TIMED_OUT,
        };
        self.disconnect(reply);
    }

    /// The daemon stops: the session ends at the next [`ServerSession::advance`], unless a message is coming or being
    /// stored, which is finished first.
    pub fn shutdown(&mut self) {
        self.stopping = true;
    }

    /// The session's configuration has been replaced: it ends with this reply at the next MAIL or RSET.
    pub fn reconfigured(&mut self, reply: Reply) {
        self.farewell.get_or_insert(reply);
    }

    /// TLS is in effect from now on. What the client said in the clear is forgotten (RFC 3207 4.2).
    pub fn secured(&mut self, now: Instant) {
        self.secured = true;
        self.helo = None;
        self.deadline = now + self.options.timeouts.command;
        if matches!(self.state, State::Securing) {
            self.state = State::Ready;
        }
    }

    /// Whether TLS is in effect.
    pub fn is_secured(&self) -> bool {
        self.secured
    }

    /// Whether the client is trusted, as one that may relay is: its session is not ended for what it is refused.
    pub fn set_trusted(&mut self, trusted: bool) {
        self.trusted = trusted;
    }

    /// The client's name, once given.
    pub fn helo(&self) -> Option<&Helo> {
        self.helo.as_ref()
    }

    /// The transaction, from [`Phase::MailFrom`] until the message is handed out.
    pub fn transaction(&self) -> Option<&Transaction> {
        match &self.state {
            State::Open(transaction) => Some(transaction),
            State::Receiving(receiving) => Some(&receiving.transaction),
            State::Asking(
                Question::MailFrom(transaction) | Question::RcptTo(transaction, _) | Question::Data(transaction),
            ) => Some(transaction),
            _ => None,
        }
    }

    /// The forward-path that [`Phase::RcptTo`] asks about.
    pub fn forward_path(&self) -> Option<&ForwardPath> {
        match &self.state {
            State::Asking(Question::RcptTo(_, forward_path)) => Some(forward_path),
            _ => None,
        }
    }

    /// Messages accepted so far.
    pub fn messages(&self) -> u64 {
        self.counts.messages
    }

    /// Recipients accepted so far.
    pub fn recipients(&self) -> u64 {
        self.counts.recipients
    }

    /// What the session is doing.
    pub fn reception_state(&self) -> ReceptionState {
        match &self.state {
            State::Connected => ReceptionState::JustConnected,
            State::Securing => ReceptionState::StartingTls,
            State::Ready | State::Closing if self.helo.is_none() => ReceptionState::AwaitingEhlo,
            State::Ready | State::Closing => ReceptionState::AwaitingMailfrom,
            State::Open(_) => ReceptionState::AwaitingRcptto,
            State::Asking(question) => question.state(),
            State::Receiving(_) => ReceptionState::ReadingBody,
            State::Storing => ReceptionState::SendingBodyResponse,
        }
    }

    /// Answers [`Step::Ask`].
    ///
    /// # Panics
    /// If nothing was asked.
    pub fn answer(&mut self, verdict: Verdict, now: Instant) {
        let State::Asking(question) = std::mem::replace(&mut self.state, State::Ready) else {
            panic!("answered without having been asked");
        };
        self.deadline = now + self.options.timeouts.command;
        match verdict {
            Verdict::Accept => self.accepted(question, &[], now),
            Verdict::AcceptWithTrace(trace) => self.accepted(question, &trace, now),
            Verdict::Refuse(reply) => self.declined(question, reply),
            Verdict::Disconnect(reply) => {
                self.refuse_question(&question, reply);
                self.state = State::Closing;
            }
        }
    }

    /// Answers [`Step::Store`]: the reply to the client, positive or not.
    pub fn stored(&mut self, reply: Reply, now: Instant) {
        debug_assert!(matches!(self.state, State::Storing), "stored without having been asked");
        if reply.is_positive() {
            self.counts.messages += 1;
            self.counts.idle_commands = 0;
            (self.counts.refusals, self.counts.over_limit) = (0, 0);
            reply.write(&mut self.output);
            self.state = State::Ready;
        } else {
            self.refuse(reply);
            self.state = State::Ready;
            self.count_refusal();
        }
        self.deadline = now + self.options.timeouts.command;
    }

    /// The session ends once the output is sent.
    pub fn close(&mut self) {
        self.state = State::Closing;
    }

    /// One command line out of `input`; false if there is no whole one.
    fn take_line(&mut self, input: &mut BytesMut, now: Instant) -> bool {
        let end = memchr(b'\n', input);
        if let Some(skipping) = self.skipping.take() {
            return self.skip_line(skipping, end, input, now);
        }
        if let Some(farewell) = foreign::farewell(input) {
            input.clear();
            self.disconnect(farewell);
            return true;
        }
        let limit = line_octets_max(input);
        let octets = end.map_or(input.len(), |end| end + 1);
        if limit < octets {
            self.skipping = Some(Skipping { octets: 0, after_cr: false });
            return true;
        }
        let Some(end) = end else { return false };
        let more = end + 1 < input.len();
        match input[..end].strip_suffix(b"\r") {
            Some(line) if !line.contains(&b'\r') => {
                self.deadline = now + self.options.timeouts.command;
                match Command::parse(line, self.options.blanks) {
                    Ok(command) if self.needs_tls(&command) => self.bad_command(replies::TLS_NEEDED),
                    Ok(command) => self.command(command, more, now),
                    Err(error) => self.bad_command(error.reply()),
                }
            }
            // Someone between the client and here may see other line ends than we do: nothing that follows is trusted.
            _ => self.disconnect(replies::LONE_CR_OR_LF),
        }
        input.advance(end + 1);
        if matches!(self.state, State::Securing) {
            // They came in the clear, whoever sent them.
            input.clear();
        }
        true
    }

    fn skip_line(&mut self, skipping: Skipping, end: Option<usize>, input: &mut BytesMut, now: Instant) -> bool {
        let taken = end.unwrap_or(input.len());
        let octets = skipping.octets + taken;
        let after_cr = input[..taken].last().map_or(skipping.after_cr, |&octet| octet == b'\r');
        input.advance(end.map_or(taken, |end| end + 1));
        match end {
            _ if SKIPPED_OCTETS_MAX < octets => self.disconnect(replies::COMMAND_TOO_LONG),
            Some(_) if !after_cr => self.disconnect(replies::LONE_CR_OR_LF),
            Some(_) => {
                self.deadline = now + self.options.timeouts.command;
                self.bad_command(replies::COMMAND_TOO_LONG);
            }
            None => {
                self.skipping = Some(Skipping { octets, after_cr });
                return false;
            }
        }
        true
    }

    /// Octets of a message. None: the session has gone on to another state.
    fn receive(&mut self, input: &mut BytesMut, now: Instant) -> Option<Step> {
        let timeouts = self.options.timeouts;
        let State::Receiving(receiving) = &mut self.state else { return None };
        let arrived = !input.is_empty();
        if receiving.reader.push(input) == Progress::Ended {
            return self.received();
        }
        if arrived {
            self.deadline = receiving.ends_at.min(now + timeouts.data_block);
        }
        if let Some(fault) = receiving.reader.fault() {
            let patience = self.options.limits.message_octets_max.saturating_add(DISCARDED_OCTETS_MAX);
            if patience < receiving.reader.size() {
                self.refuse(fault.reply());
                self.state = State::Closing;
                return None;
            }
        }
        Some(Step::NeedBytes)
    }

    /// The end of a message.
    fn received(&mut self) -> Option<Step> {
        let State::Receiving(receiving) = std::mem::replace(&mut self.state, State::Storing) else { return None };
        let Receiving { transaction, reader, .. } = *receiving;
        let imitation = reader.holds_imitation_of_end();
        match reader.finish() {
            Ok((body, trace_octets)) => Some(Step::Store(Box::new(Received { transaction, body, trace_octets }))),
            Err(fault) => {
                self.refuse_about(About::mail(transaction.reverse_path.as_str()), fault.reply());
                self.state = if imitation { State::Closing } else { State::Ready };
                self.count_refusal();
                None
            }
        }
    }

    /// Refuses mail: gives a negative reply, and keeps it for the counters and the log.
    fn refuse(&mut self, reply: Reply) {
        self.refuse_about(About::default(), reply);
    }

    fn refuse_about(&mut self, about: About, reply: Reply) {
        self.keep(Refusal { state: self.reception_state(), reply, refused: Refused::Mail, about, repeated: false });
    }

    fn refuse_question(&mut self, question: &Question, reply: Reply) {
        let refused = match question {
            Question::Connect | Question::Ehlo => Refused::Other,
            Question::MailFrom(_) | Question::RcptTo(..) | Question::Data(_) => Refused::Mail,
        };
        let about = match question {
            Question::Connect | Question::Ehlo => About::default(),
            Question::MailFrom(transaction) | Question::Data(transaction) => {
                About::mail(transaction.reverse_path.as_str())
            }
            Question::RcptTo(transaction, forward_path) => About {
                reverse_path: Some(transaction.reverse_path.as_str().into()),
                forward_path: Some(forward_path.as_str().into()),
            },
        };
        self.keep(Refusal { state: question.state(), reply, refused, about, repeated: false });
    }

    fn refuse_other(&mut self, reply: Reply) {
        self.refuse_other_about(About::default(), reply);
    }

    fn refuse_other_about(&mut self, about: About, reply: Reply) {
        self.keep(Refusal { state: self.reception_state(), reply, refused: Refused::Other, about, repeated: false });
    }

    fn keep(&mut self, mut refusal: Refusal) {
        if refusal.about.reverse_path.is_none() {
            let reverse_path = self.transaction().map(|transaction| transaction.reverse_path.as_str());
            refusal.about.reverse_path = reverse_path.map(Into::into);
        }
        refusal.reply.write(&mut self.output);
        self.refused.push(refusal);
    }

    /// Gives a last reply and ends the session.
    fn disconnect(&mut self, reply: Reply) {
        self.refuse_other(reply);
        self.state = State::Closing;
    }

    /// Something was refused for what it asked; too many in a row end the session of a client that is not trusted. They are
    /// what those send who try addresses.
    fn count_refusal(&mut self) {
        self.counts.refusals = self.counts.refusals.saturating_add(1);
        let over = self.options.limits.refusals_max <= self.counts.refusals;
        if over && !self.trusted && !matches!(self.state, State::Closing) {
            self.disconnect(replies::TOO_MANY_REFUSALS);
        }
    }

    /// Refuses a command for its form or order; too many of them end the session.
    fn bad_command(&mut self, reply: Reply) {
        self.bad_command_about(About::default(), reply);
    }

    fn bad_command_about(&mut self, about: About, reply: Reply) {
        self.counts.bad_commands += 1;
        self.refuse_other_about(about, reply);
        if self.options.limits.bad_commands_max <= self.counts.bad_commands {
            self.disconnect(replies::TOO_MANY_ERRORS);
        }
    }
}

impl Question {
    fn phase(&self) -> Phase {
        match self {
            Self::Connect => Phase::Connect,
            Self::Ehlo => Phase::Ehlo,
            Self::MailFrom(_) => Phase::MailFrom,
            Self::RcptTo(..) => Phase::RcptTo,
            Self::Data(_) => Phase::Data,
        }
    }

    fn state(&self) -> ReceptionState {
        match self {
            Self::Connect => ReceptionState::JustConnected,
            Self::Ehlo => ReceptionState::AwaitingEhlo,
            Self::MailFrom(_) => ReceptionState::AwaitingMailfrom,
            Self::RcptTo(..) => ReceptionState::AwaitingRcptto,
            Self::Data(_) => ReceptionState::DataPhase,
        }
    }
}

fn line_octets_max(input: &[u8]) -> usize {
    let is_mail = input.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"MAIL"));
    COMMAND_LINE_OCTETS_MAX + if is_mail { MAIL_PARAMETER_OCTETS } else { 0 }
}
