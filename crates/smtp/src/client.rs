//! The client half of SMTP as a plain value: octets and time in, octets to send and events out (RFC 5321 3, 4.2, 4.5.4).
//!
//! The shell feeds [`ClientSession::input`], sends what [`ClientSession::outbox`] holds, takes every
//! [`ClientSession::event`], and gives a transaction whenever [`ClientSession::accepts_transaction`] says so. Under
//! PIPELINING the body of one message and MAIL, RCPT and DATA of the next leave in one group (RFC 2920 3.1 lets message
//! content open a group), so that a busy session costs one write and one read a message.
//!
//! LMTP (RFC 2033) is the same dialogue with two differences: it begins with LHLO, and each recipient that was taken gets a reply
//! of its own to the end of data.
//!
//! Invariants: `expected` is, in order, exactly the replies the server still owes; those of MAIL, RCPT, DATA and the end
//! of data all belong to the oldest transaction, because a transaction's last reply precedes the next one's first. A reply
//! answers what had been sent whole before its first octet came, and nothing else: a message counts as delivered only by a
//! reply to the dot that ended it.

mod answers;
mod extensions;
mod failures;
mod outbox;
mod reply_reader;
mod size;
mod stage;
mod transaction;
mod verdict;

#[cfg(test)]
mod pair_tests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use extensions::Extensions;
pub use failures::{Cause, MESSAGE_TOO_LARGE};
pub use outbox::Outbox;
pub use reply_reader::{Garbage, REPLY_OCTETS_MAX, ReplyReader, TEXT_OCTETS_MAX};
pub use size::content_octets;
pub(crate) use size::octets_of_lines;
pub use stage::Stage;
pub use transaction::{Done, Failure, Outcome};

use crate::address::{ForwardPath, ReversePath};
use crate::pieces::Pieces;
use transaction::Transaction;

/// How long each stage may take (RFC 5321 4.5.3.2), counted from the last whole reply or the last octet sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the greeting.
    pub banner: Duration,
    /// For the reply to EHLO or HELO.
    pub ehlo: Duration,
    /// For the reply to MAIL.
    pub mail_from: Duration,
    /// For the reply to RCPT.
    pub rcpt_to: Duration,
    /// For the replies to DATA and to the end of data, and for each step in sending the body.
    pub body: Duration,
    /// For the reply to RSET.
    pub rset: Duration,
    /// With nothing to do, and for the reply to QUIT.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            banner: seconds(300),
            ehlo: seconds(300),
            mail_from: seconds(300),
            rcpt_to: seconds(300),
            body: seconds(600),
            rset: seconds(30),
            idle: seconds(5),
        }
    }
}

/// What a session is told at its start.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The name given with EHLO.
    pub ehlo_name: Arc<str>,
    /// How long each stage may take.
    pub timeouts: Timeouts,
    /// Use PIPELINING where it is offered.
    pub pipelining: bool,
    /// Speak LMTP.
    pub lmtp: bool,
}

/// What a session tells its shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The greeting and EHLO are done; a transaction is welcome.
    Open,
    /// The oldest submitted transaction is over.
    Done(Done),
    /// The session is over: close the connection.
    Over(End),
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With QUIT, between two messages, or because we could not go on: nobody is to blame.
    Quiet,
    /// The server gave no session, or ended it, by this reply (421, or a refusal of what a session needs).
    Refused(Failure),
    /// The server closed without a word, or was silent for too long.
    Broken(Failure),
    /// The server did not keep to the protocol.
    OutOfStep(Failure),
}

impl End {
    /// What is to be said of it, unless it was quiet.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Quiet => None,
            Self::Refused(failure) | Self::Broken(failure) | Self::OutOfStep(failure) => Some(failure),
        }
    }
}

/// What MAIL says beside the reverse-path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct MailParameters {
    /// SIZE (RFC 1870): octets of the content.
    size: Option<u64>,
    /// BODY=8BITMIME (RFC 6152).
    eight_bit: bool,
}

/// A reply the server owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Greeting,
    Ehlo,
    Helo,
    Rset,
    Mail(MailParameters),
    Recipient(usize),
    Data,
    EndOfData,
    /// The end of data, for one recipient of LMTP.
    EndOfDataFor(usize),
    Quit,
}

/// A reply the server owes, and where in the octets of the session begins and ends what it is to answer.
#[derive(Clone, Copy, Debug)]
struct Owed {
    what: Expected,
    begins: u64,
    ends: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Up to the reply to EHLO or HELO.
    Opening,
    Open,
    /// No more transactions; QUIT when those submitted are over.
    Quitting,
    Over,
}

/// An outbound SMTP session.
#[derive(Debug)]
pub struct ClientSession {
    options: ClientOptions,
    extensions: Extensions,
    phase: Phase,
    reader: ReplyReader,
    outbox: Outbox,
    /// Octets that had been sent when the reply that is being read began.
    heard_at: u64,
    expected: VecDeque<Owed>,
    /// Commands of the newest transaction that wait for the reply to the one before; empty under PIPELINING.
    held: VecDeque<(Expected, String)>,
    transactions: VecDeque<Transaction>,
    /// The last transaction ended before its data did, so the server may still have it open.
    needs_rset: bool,
    /// The server did not take the parameters of MAIL that it offers.
    refuses_parameters: bool,
    /// The next transaction begins when nothing is owed any more: a MAIL that was said in advance was refused.
    in_turn: bool,
    /// That refusal, until the server answers what stands behind it.
    refused_in_advance: Option<Failure>,
    events: VecDeque<Event>,
    progressed_at: Instant,
}

impl ClientSession {
    /// A session on a connection that was just made.
    pub fn new(options: ClientOptions, now: Instant) -> Self {
        Self {
            options,
            extensions: Extensions::default(),
            phase: Phase::Opening,
            reader: ReplyReader::default(),
            outbox: Outbox::default(),
            heard_at: 0,
            expected: VecDeque::from([Owed { what: Expected::Greeting, begins: 0, ends: 0 }]),
            held: VecDeque::new(),
            transactions: VecDeque::new(),
            needs_rset: false,
            refuses_parameters: false,
            in_turn: false,
            refused_in_advance: None,
            events: VecDeque::new(),
            progressed_at: now,
        }
    }

    /// What the server offers; nothing before [`Event::Open`].
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Whether a transaction may be submitted now. Under PIPELINING one is welcome as soon as the body of the last is on
    /// its way, so that both leave in one write; otherwise when the last one is over.
    pub fn accepts_transaction(&self) -> bool {
        let ready = match (self.transactions.len(), self.transactions.back()) {
            (0, _) => true,
            (1, Some(last)) => last.complete || (last.ended_data && self.pipelines() && !self.in_turn),
            _ => false,
        };
        self.phase == Phase::Open && ready
    }

    /// Whether the session is open and has nothing to do.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Open && self.transactions.is_empty() && self.expected.is_empty()
    }

    /// Whether it takes no more transactions: QUIT is said or to be said, or it is over.
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Quitting | Phase::Over)
    }

    /// Starts a transaction. `body` is in wire form with its terminator; it is sent as it stands. Call only when
    /// [`ClientSession::accepts_transaction`].
    pub fn submit<'a>(
        &mut self,
        reverse_path: &ReversePath,
        forward_paths: impl IntoIterator<Item = &'a ForwardPath, IntoIter: ExactSizeIterator>,
        body: impl Into<Pieces>,
        eight_bit: bool,
    ) {
        debug_assert!(self.accepts_transaction());
        let forward_paths = forward_paths.into_iter();
        let body = body.into();
        let size = self.extensions.size.map(|_| body.content_octets());
        let mut transaction = Transaction::new(forward_paths.len(), body, size);
        transaction.in_advance = !self.transactions.is_empty();
        if size.is_some_and(|octets| self.extensions.refuses_size(octets)) {
            let failure = Failure { stage: Stage::DuringMailFrom, reply: MESSAGE_TOO_LARGE, internal: true };
            transaction.decide_rest(&Outcome::Failed(failure));
            transaction.complete = true;
            self.transactions.push_back(transaction);
            return self.settle();
        }
        self.transactions.push_back(transaction);
        if std::mem::take(&mut self.needs_rset) {
            self.command(Expected::Rset, |text| text.extend_from_slice(b"RSET\r\n"));
        }
        let parameters = self.parameters(size, eight_bit);
        self.command(Expected::Mail(parameters), |text| mail(text, reverse_path, parameters));
        for (recipient, forward_path) in forward_paths.enumerate() {
            self.command(Expected::Recipient(recipient), |text| {
                text.extend_from_slice(b"RCPT TO:<");
                text.extend_from_slice(forward_path.as_str().as_bytes());
                text.extend_from_slice(b">\r\n");
            });
        }
        self.command(Expected::Data, |text| text.extend_from_slice(b"DATA\r\n"));
    }

    /// Ends the session politely: no more transactions, QUIT after those submitted.
    pub fn quit(&mut self) {
        match self.phase {
            Phase::Opening => self.over(End::Quiet),
            Phase::Open => {
                self.phase = Phase::Quitting;
                self.settle();
            }
            Phase::Quitting | Phase::Over => {}
        }
    }

    /// What is to be sent. After sending, tell [`ClientSession::sent`].
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The first `octets` of the outbox were sent.
    pub fn sent(&mut self, octets: usize, now: Instant) {
        self.outbox.advance(octets);
        if 0 < octets {
            self.progressed_at = now;
        }
    }

    /// Octets came from the server.
    pub fn input(&mut self, mut octets: &[u8], now: Instant) {
        while self.phase != Phase::Over {
            if !octets.is_empty() && !self.reader.is_within_reply() {
                self.heard_at = self.outbox.sent();
            }
            match self.reader.next(&mut octets) {
                Ok(Some(code)) => {
                    self.progressed_at = now;
                    self.reply(code);
                }
                Ok(None) => return,
                Err(Garbage) => return self.abort(Cause::Garbage),
            }
        }
    }

    /// The connection was closed by the peer, or broke.
    pub fn closed(&mut self) {
        self.abort(Cause::Closed);
    }

    /// When [`ClientSession::deadline_passed`] is to be called, unless something happens before.
    pub fn deadline(&self) -> Instant {
        self.progressed_at + self.timeout()
    }

    /// The stage took too long. An idle session says QUIT; any other is over.
    pub fn deadline_passed(&mut self) {
        if self.is_idle() { self.quit() } else { self.abort(Cause::Deadline) }
    }

    /// The next thing to tell the shell.
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Where the session stands.
    pub fn stage(&self) -> Stage {
        let Some(owed) = self.expected.front() else { return Stage::Idle };
        let sending = self.outbox.sent() < owed.ends;
        match (owed.what, sending) {
            (Expected::Greeting, _) => Stage::ReadingBanner,
            (Expected::Ehlo | Expected::Helo, true) => Stage::DuringEhlo,
            (Expected::Ehlo | Expected::Helo, false) => Stage::AfterEhlo,
            (Expected::Mail(_), true) => Stage::DuringMailFrom,
            (Expected::Mail(_), false) => Stage::AfterMailFrom,
            (Expected::Recipient(_), true) => Stage::DuringRcptTo,
            (Expected::Recipient(_), false) => Stage::AfterRcptTo,
            (Expected::Data, true) => Stage::DuringData,
            (Expected::Data, false) => Stage::AfterData,
            (Expected::EndOfData | Expected::EndOfDataFor(_), true) => Stage::SendingBody,
            (Expected::EndOfData | Expected::EndOfDataFor(_), false) => Stage::ReadingConfirmation,
            (Expected::Rset, true) => Stage::DuringRset,
            (Expected::Rset, false) => Stage::AfterRset,
            (Expected::Quit, _) => Stage::Idle,
        }
    }

    fn timeout(&self) -> Duration {
        let timeouts = &self.options.timeouts;
        match self.expected.front().map(|owed| owed.what) {
            Some(Expected::Greeting) => timeouts.banner,
            Some(Expected::Ehlo | Expected::Helo) => timeouts.ehlo,
            Some(Expected::Mail(_)) => timeouts.mail_from,
            Some(Expected::Recipient(_)) => timeouts.rcpt_to,
            Some(Expected::Data | Expected::EndOfData | Expected::EndOfDataFor(_)) => timeouts.body,
            Some(Expected::Rset) => timeouts.rset,
            Some(Expected::Quit) | None => timeouts.idle,
        }
    }

    fn pipelines(&self) -> bool {
        self.extensions.pipelining && self.options.pipelining
    }

    /// What MAIL says beside the reverse-path, as far as the server's offers allow.
    fn parameters(&self, size: Option<u64>, eight_bit: bool) -> MailParameters {
        if self.refuses_parameters {
            return MailParameters::default();
        }
        MailParameters { size, eight_bit: eight_bit && self.extensions.eight_bit_mime }
    }

    /// Sends a command of a transaction now, or holds it until those before it are answered.
    fn command(&mut self, expected: Expected, write: impl FnOnce(&mut Vec<u8>)) {
        if self.pipelines() || (self.expected.is_empty() && self.held.is_empty()) {
            let octets = self.say(expected, write);
            self.count(octets);
        } else {
            let mut text = Vec::new();
            write(&mut text);
            self.held.push_back((expected, String::from_utf8_lossy(&text).into_owned()));
        }
    }

    /// Sends command text that is to be answered; how many octets it is.
    fn say(&mut self, what: Expected, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let begins = self.outbox.queued();
        let octets = self.outbox.commands(write);
        self.expected.push_back(Owed { what, begins, ends: self.outbox.queued() });
        octets
    }

    fn count(&mut self, octets: usize) {
        if let Some(newest) = self.transactions.back_mut() {
            newest.bytes += octets as u64;
        }
    }
}

/// `MAIL FROM:<path>` with its parameters.
fn mail(text: &mut Vec<u8>, path: &ReversePath, parameters: MailParameters) {
    use std::io::Write as _;
    text.extend_from_slice(b"MAIL FROM:<");
    text.extend_from_slice(path.as_str().as_bytes());
    text.push(b'>');
    if let Some(octets) = parameters.size {
        let written = write!(text, " SIZE={octets}");
        debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
    }
    if parameters.eight_bit {
        text.extend_from_slice(b" BODY=8BITMIME");
    }
    text.extend_from_slice(b"\r\n");
}
