//! The client half of SMTP as a plain value: octets and time in, octets to send and events out (RFC 5321 3, 4.2, 4.5.4).
//!
//! The shell feeds [`ClientSession::input`], sends what [`ClientSession::outbox`] holds, takes every
//! [`ClientSession::event`], and gives a transaction whenever [`ClientSession::accepts_transaction`] says so. Under
//! PIPELINING the body of one message and MAIL, RCPT and DATA of the next leave in one group (RFC 2920 3.1 lets message
//! content open a group), so that a busy session costs one write and one read a message.
//!
//! Invariant: `expected` is, in order, exactly the replies the server still owes; those of MAIL, RCPT, DATA and the end
//! of data all belong to the oldest transaction, because a transaction's last reply precedes the next one's first.

mod extensions;
mod failures;
mod outbox;
mod reply_reader;
mod stage;
mod transaction;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use extensions::Extensions;
pub use failures::{Cause, MESSAGE_TOO_LARGE};
pub use outbox::Outbox;
pub use reply_reader::{Garbage, LINE_OCTETS_MAX, LINES_MAX, ReplyReader, TEXT_OCTETS_MAX};
pub use stage::Stage;
pub use transaction::{Done, Failure, Outcome};

use crate::address::{ForwardPath, ReversePath};
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
}

/// What a session tells its shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The greeting and EHLO are done; a transaction is welcome.
    Open,
    /// The oldest submitted transaction is over.
    Done(Done),
    /// The session is over: close the connection. The failure is there unless QUIT or an idle close ended it.
    Over(Option<Failure>),
}

/// A reply the server owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Greeting,
    Ehlo,
    Helo,
    Rset,
    Mail,
    Recipient(usize),
    Data,
    EndOfData,
    Quit,
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
    expected: VecDeque<Expected>,
    /// Commands of the newest transaction that wait for the reply to the one before; empty under PIPELINING.
    held: VecDeque<(Expected, String)>,
    transactions: VecDeque<Transaction>,
    /// The last transaction ended before its data did, so the server may still have it open.
    needs_rset: bool,
    completed: u64,
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
            expected: VecDeque::from([Expected::Greeting]),
            held: VecDeque::new(),
            transactions: VecDeque::new(),
            needs_rset: false,
            completed: 0,
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
            (1, Some(last)) => last.complete || (last.ended_data && self.pipelines()),
            _ => false,
        };
        self.phase == Phase::Open && ready
    }

    /// Whether the session is open and has nothing to do.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Open && self.transactions.is_empty() && self.expected.is_empty()
    }

    /// Transactions that brought their message through, whatever the server said to it.
    pub fn completed(&self) -> u64 {
        self.completed
    }

    /// Starts a transaction. `body` is in wire form with its terminator; it is sent as it stands. Call only when
    /// [`ClientSession::accepts_transaction`].
    pub fn submit<'a>(
        &mut self,
        reverse_path: &ReversePath,
        forward_paths: impl IntoIterator<Item = &'a ForwardPath, IntoIter: ExactSizeIterator>,
        body: Bytes,
        eight_bit: bool,
    ) {
        debug_assert!(self.accepts_transaction());
        let forward_paths = forward_paths.into_iter();
        let content_octets = (body.len() as u64).saturating_sub(TERMINATOR_OCTETS);
        let mut transaction = Transaction::new(forward_paths.len(), body);
        if self.extensions.refuses_size(content_octets) {
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
        let extensions = self.extensions;
        self.command(Expected::Mail, |text| mail(text, reverse_path, &extensions, content_octets, eight_bit));
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
            Phase::Opening => self.over(None),
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
        let sending = !self.outbox.is_empty();
        match (self.expected.front(), sending) {
            (Some(Expected::Greeting), _) => Stage::ReadingBanner,
            (Some(Expected::Ehlo | Expected::Helo), true) => Stage::DuringEhlo,
            (Some(Expected::Ehlo | Expected::Helo), false) => Stage::AfterEhlo,
            (Some(Expected::Mail), true) => Stage::DuringMailFrom,
            (Some(Expected::Mail), false) => Stage::AfterMailFrom,
            (Some(Expected::Recipient(_)), true) => Stage::DuringRcptTo,
            (Some(Expected::Recipient(_)), false) => Stage::AfterRcptTo,
            (Some(Expected::Data), true) => Stage::DuringData,
            (Some(Expected::Data), false) => Stage::AfterData,
            (Some(Expected::EndOfData), true) => Stage::SendingBody,
            (Some(Expected::EndOfData), false) => Stage::ReadingConfirmation,
            (Some(Expected::Rset), true) => Stage::DuringRset,
            (Some(Expected::Rset), false) => Stage::AfterRset,
            (Some(Expected::Quit) | None, _) => Stage::Idle,
        }
    }

    fn timeout(&self) -> Duration {
        let timeouts = &self.options.timeouts;
        match self.expected.front() {
            Some(Expected::Greeting) => timeouts.banner,
            Some(Expected::Ehlo | Expected::Helo) => timeouts.ehlo,
            Some(Expected::Mail) => timeouts.mail_from,
            Some(Expected::Recipient(_)) => timeouts.rcpt_to,
            Some(Expected::Data | Expected::EndOfData) => timeouts.body,
            Some(Expected::Rset) => timeouts.rset,
            Some(Expected::Quit) | None => timeouts.idle,
        }
    }

    fn pipelines(&self) -> bool {
        self.extensions.pipelining && self.options.pipelining
    }

    /// Sends a command of a transaction now, or holds it until those before it are answered.
    fn command(&mut self, expected: Expected, write: impl FnOnce(&mut Vec<u8>)) {
        if self.pipelines() || (self.expected.is_empty() && self.held.is_empty()) {
            let octets = self.outbox.commands(write);
            self.expected.push_back(expected);
            self.count(octets);
        } else {
            let mut text = Vec::new();
            write(&mut text);
            self.held.push_back((expected, String::from_utf8_lossy(&text).into_owned()));
        }
    }

    fn count(&mut self, octets: usize) {
        if let Some(newest) = self.transactions.back_mut() {
            newest.bytes += octets as u64;
        }
    }

    /// One whole reply came.
    fn reply(&mut self, code: u16) {
        let stage = self.stage();
        let answered = self.expected.pop_front();
        match (answered, code) {
            (None, _) => {
                let failure = Failure { stage, reply: self.reader.reply(code), internal: false };
                return self.over((code != SERVICE_CLOSING).then_some(failure));
            }
            (Some(Expected::Greeting), 220) => self.hello(Expected::Ehlo, "EHLO"),
            (Some(Expected::Ehlo), 250) => {
                self.extensions = Extensions::parse(&self.reader.text());
                self.open();
            }
            (Some(Expected::Ehlo), 500..=599) => self.hello(Expected::Helo, "HELO"),
            (Some(Expected::Helo), 250) => self.open(),
            (Some(Expected::Greeting | Expected::Ehlo | Expected::Helo), 400..=599)
            | (Some(Expected::Rset), 400..=599) => {
                let failure = Failure { stage, reply: self.reader.reply(code), internal: false };
                return self.over(Some(failure));
            }
            (Some(Expected::Quit), _) => return self.over(None),
            (Some(Expected::Rset | Expected::Mail | Expected::Recipient(_)), 200..=299)
            | (Some(Expected::Data), 354) => self.went_well(answered),
            (Some(Expected::EndOfData), 200..=299) => {
                let delivered = Outcome::Delivered(self.reader.reply(code));
                self.ended(&delivered);
            }
            (Some(asked), 400..=599) => self.refused(asked, stage, code),
            // A positive reply of the wrong kind: the two sides no longer agree on what was said.
            (Some(asked), _) => {
                self.expected.push_front(asked);
                return self.abort(Cause::Garbage);
            }
        }
        if code == SERVICE_CLOSING && self.phase != Phase::Over {
            return self.over(None);
        }
        self.release();
        self.settle();
    }

    fn hello(&mut self, expected: Expected, verb: &str) {
        let name = self.options.ehlo_name.clone();
        self.outbox.commands(|text| {
            for part in [verb, " ", &*name, "\r\n"] {
                text.extend_from_slice(part.as_bytes());
            }
        });
        self.expected.push_back(expected);
    }

    fn open(&mut self) {
        self.phase = Phase::Open;
        self.events.push_back(Event::Open);
    }

    /// RSET, MAIL or RCPT was taken, or DATA was answered with 354.
    fn went_well(&mut self, answered: Option<Expected>) {
        let (Some(Expected::Data), Some(transaction)) = (answered, self.transactions.front_mut()) else { return };
        if transaction.has_undecided() {
            self.outbox.body(transaction.take_body());
        } else {
            // No recipient was taken, yet DATA was: a lone dot ends it (RFC 2920 3.1).
            transaction.ended_data = true;
            self.outbox.commands(|text| text.extend_from_slice(b".\r\n"));
        }
        self.expected.push_back(Expected::EndOfData);
    }

    /// A 4yz or 5yz to a command of the oldest transaction.
    fn refused(&mut self, asked: Expected, stage: Stage, code: u16) {
        let Some(transaction) = self.transactions.front_mut() else { return };
        let needed = transaction.has_undecided();
        let failed =
            |reader: &ReplyReader| Outcome::Failed(Failure { stage, reply: reader.reply(code), internal: false });
        match asked {
            Expected::Recipient(recipient) if code != SERVICE_CLOSING => {
                transaction.decide(recipient, failed(&self.reader));
            }
            _ if needed => transaction.decide_rest(&failed(&self.reader)),
            _ => {}
        }
        match asked {
            Expected::Data => {
                self.needs_rset = true;
                transaction.complete = true;
            }
            Expected::EndOfData => self.ended(&Outcome::Untried),
            // With nobody left to send to, what is held back of the transaction need not be said.
            Expected::Mail | Expected::Recipient(_) if !self.held.is_empty() && !transaction.has_undecided() => {
                self.needs_rset = asked != Expected::Mail;
                transaction.complete = true;
                self.held.clear();
            }
            _ => {}
        }
    }

    /// The end of data was answered: the transaction is over on both sides.
    fn ended(&mut self, outcome: &Outcome) {
        if let Some(transaction) = self.transactions.front_mut() {
            transaction.decide_rest(outcome);
            transaction.complete = true;
            self.completed += 1;
        }
    }

    /// Without PIPELINING: says the next command once the one before is answered.
    fn release(&mut self) {
        if !self.expected.is_empty() {
            return;
        }
        if let Some((expected, text)) = self.held.pop_front() {
            let octets = self.outbox.commands(|commands| commands.extend_from_slice(text.as_bytes()));
            self.expected.push_back(expected);
            self.count(octets);
        }
    }

    /// Reports what is complete, and says QUIT when that was the last.
    fn settle(&mut self) {
        while self.transactions.front().is_some_and(|transaction| transaction.complete) {
            self.events.extend(self.transactions.pop_front().map(|transaction| Event::Done(transaction.into_done())));
        }
        if self.phase == Phase::Quitting && self.transactions.is_empty() && self.expected.is_empty() {
            self.outbox.commands(|text| text.extend_from_slice(b"QUIT\r\n"));
            self.expected.push_back(Expected::Quit);
        }
    }

    /// Ends the session for a cause that is no reply. The transaction whose reply was due fails; a later one is untried,
    /// and so is one that met only a reused connection's close.
    fn abort(&mut self, cause: Cause) {
        if self.phase == Phase::Over {
            return;
        }
        let stage = self.stage();
        let failure = Failure { stage, reply: failures::reply(stage, cause), internal: true };
        let unanswered_on_reuse =
            self.expected.front() == Some(&Expected::Mail) && 0 < self.completed && cause == Cause::Closed;
        let at_fault = matches!(
            self.expected.front(),
            Some(Expected::Mail | Expected::Recipient(_) | Expected::Data | Expected::EndOfData)
        );
        if let (true, false, Some(transaction)) = (at_fault, unanswered_on_reuse, self.transactions.front_mut()) {
            transaction.decide_rest(&Outcome::Failed(failure.clone()));
        }
        let quiet = matches!(self.expected.front(), Some(Expected::Quit) | None) && cause != Cause::Garbage;
        self.over((!quiet).then_some(failure));
    }

    /// Nothing more will be said: reports every transaction, the undecided recipients as untried, then the end.
    fn over(&mut self, failure: Option<Failure>) {
        self.phase = Phase::Over;
        self.expected.clear();
        self.held.clear();
        self.outbox.clear();
        let rest = self.transactions.drain(..).map(|transaction| Event::Done(transaction.into_done()));
        self.events.extend(rest);
        self.events.push_back(Event::Over(failure));
    }
}

/// The `.` line that ends a body in wire form.
const TERMINATOR_OCTETS: u64 = 3;

/// The server is closing the channel, whatever was asked (RFC 5321 3.8).
const SERVICE_CLOSING: u16 = 421;

/// `MAIL FROM:<path>` with the parameters that the server's offers allow.
fn mail(text: &mut Vec<u8>, path: &ReversePath, extensions: &Extensions, content_octets: u64, eight_bit: bool) {
    use std::io::Write as _;
    text.extend_from_slice(b"MAIL FROM:<");
    text.extend_from_slice(path.as_str().as_bytes());
    text.push(b'>');
    if extensions.size.is_some() {
        let written = write!(text, " SIZE={content_octets}");
        debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
    }
    if eight_bit && extensions.eight_bit_mime {
        text.extend_from_slice(b" BODY=8BITMIME");
    }
    text.extend_from_slice(b"\r\n");
}

