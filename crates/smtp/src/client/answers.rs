//! What each reply, or its absence, does to a client session.
//!
//! Invariant: whatever a server says, every transaction that was submitted is reported once, in order, and the session's
//! end once, last.

use super::{Cause, ClientSession, Event, Expected, Extensions, Failure, Outcome, Phase, ReplyReader, failures};

use super::stage::Stage;

impl ClientSession {
    /// One whole reply came.
    pub(super) fn reply(&mut self, code: u16) {
        let stage = self.stage();
        let answered = self.expected.pop_front();
        match (answered, code) {
            (None, _) => {
                let failure = Failure { stage, reply: self.reader.reply(code), internal: false };
                return self.over((code != SERVICE_CLOSING).then_some(failure));
            }
            (Some(Expected::Greeting), 220) => {
                self.hello(Expected::Ehlo, if self.options.lmtp { "LHLO" } else { "EHLO" });
            }
            (Some(Expected::Ehlo), 250) => {
                self.extensions = Extensions::parse(&self.reader.text());
                self.open();
            }
            (Some(Expected::Ehlo), 500..=599) if !self.options.lmtp => self.hello(Expected::Helo, "HELO"),
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
            (Some(Expected::EndOfDataFor(recipient)), 200..=299) => {
                let delivered = Outcome::Delivered(self.reader.reply(code));
                self.ended_for(recipient, delivered);
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
        if self.options.lmtp {
            return self.send_for_each();
        }
        if transaction.has_undecided() {
            self.outbox.body(transaction.take_body());
        } else {
            // No recipient was taken, yet DATA was: a lone dot ends it (RFC 2920 3.1).
            transaction.ended_data = true;
            self.outbox.commands(|text| text.extend_from_slice(b".\r\n"));
        }
        self.expected.push_back(Expected::EndOfData);
    }

    /// LMTP: each recipient that was taken has a reply to come; none has one if none was taken, though DATA should have been
    /// refused then (RFC 2033 4.2).
    fn send_for_each(&mut self) {
        let Some(transaction) = self.transactions.front_mut() else { return };
        let waiting: Vec<usize> = transaction.undecided().collect();
        if waiting.is_empty() {
            transaction.ended_data = true;
            transaction.complete = true;
            self.outbox.commands(|text| text.extend_from_slice(b".\r\n"));
        } else {
            self.outbox.body(transaction.take_body());
        }
        self.expected.extend(waiting.into_iter().map(Expected::EndOfDataFor));
    }

    /// LMTP: the end of data was answered for one recipient.
    fn ended_for(&mut self, recipient: usize, outcome: Outcome) {
        let Some(transaction) = self.transactions.front_mut() else { return };
        transaction.decide(recipient, outcome);
        if !transaction.has_undecided() {
            transaction.complete = true;
            self.completed += 1;
        }
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
            Expected::EndOfDataFor(recipient) if code != SERVICE_CLOSING => {
                let outcome = failed(&self.reader);
                return self.ended_for(recipient, outcome);
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
    pub(super) fn settle(&mut self) {
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
    pub(super) fn abort(&mut self, cause: Cause) {
        if self.phase == Phase::Over {
            return;
        }
        let stage = self.stage();
        let failure = Failure { stage, reply: failures::reply(stage, cause), internal: true };
        let unanswered_on_reuse =
            self.expected.front() == Some(&Expected::Mail) && 0 < self.completed && cause == Cause::Closed;
        let at_fault = matches!(
            self.expected.front(),
            Some(
                Expected::Mail
                    | Expected::Recipient(_)
                    | Expected::Data
                    | Expected::EndOfData
                    | Expected::EndOfDataFor(_)
            )
        );
        if let (true, false, Some(transaction)) = (at_fault, unanswered_on_reuse, self.transactions.front_mut()) {
            transaction.decide_rest(&Outcome::Failed(failure.clone()));
        }
        let quiet = matches!(self.expected.front(), Some(Expected::Quit) | None) && cause != Cause::Garbage;
        self.over((!quiet).then_some(failure));
    }

    /// Nothing more will be said: reports every transaction, the undecided recipients as untried, then the end.
    pub(super) fn over(&mut self, failure: Option<Failure>) {
        self.phase = Phase::Over;
        self.expected.clear();
        self.held.clear();
        self.outbox.clear();
        let rest = self.transactions.drain(..).map(|transaction| Event::Done(transaction.into_done()));
        self.events.extend(rest);
        self.events.push_back(Event::Over(failure));
    }
}

/// The server is closing the channel, whatever was asked (RFC 5321 3.8).
const SERVICE_CLOSING: u16 = 421;
