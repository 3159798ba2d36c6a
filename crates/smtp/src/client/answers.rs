//! What each reply, or its absence, does to a client session.
//!
//! Invariant: whatever a server says, every transaction that was submitted is reported once, in order, and the session's
//! end once, last.
//!
//! A session's end is no verdict on mail. A message is charged with it only if the end was the answer to a command that names
//! or carries this message (RCPT, DATA, the end of data), or if its dot was sent and nothing says what became of it.
//!
//! MAIL is said in advance, in one group with the body before it, so what stands in the place of its reply may well have been
//! said before the server read it: of the session, or of the message before. A refusal there judges no message. MAIL is said
//! again when nothing else is owed, here or in another session, and then its answer holds.

use super::verdict::{Place, Verdict, verdict};
use super::{Cause, ClientSession, End, Event, Expected, Extensions, Failure, Outcome, Owed, Phase, failures};

use super::stage::Stage;
use crate::reply::Reply;

impl ClientSession {
    /// One whole reply came.
    pub(super) fn reply(&mut self, code: u16) {
        let stage = self.stage();
        self.refused_in_advance = None;
        let Some(&owed) = self.expected.front() else { return self.unasked(code, stage) };
        if self.heard_at < owed.ends {
            return self.ahead(owed, code, stage);
        }
        let place = self.place(owed.what);
        let meaning = verdict(place, code);
        if meaning == Verdict::OutOfStep && code < 400 {
            return self.abort(Cause::Garbage);
        }
        self.expected.pop_front();
        match meaning {
            Verdict::Yes => self.yes(owed.what, code),
            Verdict::Follows => self.followed(owed.what),
            Verdict::No if self.is_in_advance(owed.what) => self.refused_too_soon(stage, code),
            Verdict::TryHelo => self.hello(Expected::Helo, "HELO"),
            Verdict::No => self.no(owed.what, stage, code),
            Verdict::NoAndEnd => {
                self.no(owed.what, stage, code);
                return self.over(End::Quiet);
            }
            Verdict::TooMany | Verdict::Plainer => self.not_like_this(owed.what),
            Verdict::Over if owed.what == Expected::Quit => return self.over(End::Quiet),
            Verdict::Over => return self.ended_by(owed.what, stage, code),
            Verdict::OutOfStep => return self.lost_its_place(owed.what, stage, code),
        }
        self.release();
        self.settle();
    }

    fn place(&self, expected: Expected) -> Place {
        let oldest = self.transactions.front();
        match expected {
            Expected::Greeting => Place::Greeting,
            Expected::Ehlo if self.options.lmtp => Place::Helo,
            Expected::Ehlo => Place::Ehlo,
            Expected::Helo => Place::Helo,
            Expected::Rset => Place::Rset,
            Expected::Mail(parameters) => Place::Mail { parameters: parameters != Default::default() },
            Expected::Recipient(recipient) if oldest.is_some_and(|oldest| oldest.is_decided(recipient)) => {
                Place::BehindRefused { data: false }
            }
            Expected::Recipient(_) => {
                Place::Recipient { others_taken: oldest.is_some_and(|oldest| oldest.has_taken()) }
            }
            Expected::Data if oldest.is_some_and(|oldest| !oldest.has_undecided()) => {
                Place::BehindRefused { data: true }
            }
            Expected::Data => Place::Data,
            Expected::EndOfData | Expected::EndOfDataFor(_) => Place::EndOfData,
            Expected::Quit => Place::Quit,
        }
    }

    /// A reply came while none was owed. A server that closes for having waited says so with some 4yz or 5yz.
    fn unasked(&mut self, code: u16, stage: Stage) {
        match code {
            SERVICE_CLOSING => self.over(End::Quiet),
            400..=599 => self.over(End::Refused(self.refusal(stage, code))),
            _ => self.abort(Cause::Garbage),
        }
    }

    /// A reply began before that was sent whole which it would be the answer to. Good news of that kind is none. A refusal of a
    /// body of which the server has seen a part is one; the rest of the body can no longer be told from commands, so the
    /// session ends with it. Whatever else ends the session was said of the session.
    fn ahead(&mut self, owed: Owed, code: u16, stage: Stage) {
        let has_begun = owed.begins < self.heard_at;
        match (owed.what, code) {
            (_, SERVICE_CLOSING) => self.over(End::Refused(self.refusal(stage, code))),
            (Expected::EndOfData | Expected::EndOfDataFor(_), 400..=599) if has_begun => {
                self.expected.pop_front();
                self.no(owed.what, stage, code);
                self.over(End::Quiet);
            }
            (_, 400..=599) if !has_begun => self.over(End::Refused(self.refusal(stage, code))),
            _ => self.abort(Cause::Ahead),
        }
    }

    fn yes(&mut self, answered: Expected, code: u16) {
        match answered {
            Expected::Greeting => self.hello(Expected::Ehlo, if self.options.lmtp { "LHLO" } else { "EHLO" }),
            Expected::Ehlo => {
                self.extensions = Extensions::parse(&self.reader.whole_lines());
                self.open();
            }
            Expected::Helo => self.open(),
            Expected::Recipient(recipient) => {
                if let Some(transaction) = self.transactions.front_mut() {
                    transaction.take(recipient);
                }
            }
            Expected::Data => self.send_data(),
            Expected::EndOfData => {
                let delivered = Outcome::Delivered(self.reader.reply(code));
                self.ended(&delivered);
            }
            Expected::EndOfDataFor(recipient) => {
                let delivered = Outcome::Delivered(self.reader.reply(code));
                self.ended_for(recipient, delivered);
            }
            Expected::Mail(_) => self.in_turn &= self.is_in_advance(answered),
            Expected::Rset | Expected::Quit => {}
        }
    }

    /// Whether a command is a MAIL that was said before the message before it was answered.
    fn is_in_advance(&self, what: Expected) -> bool {
        matches!(what, Expected::Mail(_)) && self.transactions.front().is_some_and(|oldest| oldest.in_advance)
    }

    /// A refusal in the place of the reply to a MAIL that was said in advance.
    fn refused_too_soon(&mut self, stage: Stage, code: u16) {
        self.in_turn = true;
        self.refused_in_advance = Some(self.refusal(stage, code));
        if let Some(transaction) = self.transactions.front_mut() {
            transaction.decide_rest(&Outcome::Untried);
        }
    }

    fn hello(&mut self, expected: Expected, verb: &str) {
        let name = self.options.ehlo_name.clone();
        self.say(expected, |text| {
            for part in [verb, " ", &*name, "\r\n"] {
                text.extend_from_slice(part.as_bytes());
            }
        });
    }

    fn open(&mut self) {
        self.phase = Phase::Open;
        self.events.push_back(Event::Open);
    }

    /// DATA was answered with 354: sends the body, or the lone dot that ends it where no recipient was taken (RFC 2920 3.1). In
    /// LMTP each recipient that was taken has a reply to come; none has one if none was taken, though DATA should have been
    /// refused then (RFC 2033 4.2).
    fn send_data(&mut self) {
        let Some(transaction) = self.transactions.front_mut() else { return };
        let waiting: Vec<usize> = if self.options.lmtp { transaction.undecided().collect() } else { Vec::new() };
        let begins = self.outbox.queued();
        if transaction.has_undecided() {
            self.outbox.body(transaction.take_body());
        } else {
            transaction.ended_data = true;
            transaction.complete = self.options.lmtp;
            self.outbox.commands(|text| text.extend_from_slice(b".\r\n"));
        }
        let owed = |what| Owed { what, begins, ends: self.outbox.queued() };
        if self.options.lmtp {
            self.expected.extend(waiting.into_iter().map(Expected::EndOfDataFor).map(owed));
        } else {
            self.expected.push_back(owed(Expected::EndOfData));
        }
    }

    /// LMTP: the end of data was answered for one recipient.
    fn ended_for(&mut self, recipient: usize, outcome: Outcome) {
        let Some(transaction) = self.transactions.front_mut() else { return };
        transaction.decide(recipient, outcome);
        transaction.complete = !transaction.has_undecided();
    }

    /// A 4yz or 5yz to a command of the oldest transaction, of those whom the command stands for.
    fn no(&mut self, asked: Expected, stage: Stage, code: u16) {
        let failed = Outcome::Failed(self.refusal(stage, code));
        let Some(transaction) = self.transactions.front_mut() else { return };
        match asked {
            Expected::Recipient(recipient) => transaction.decide(recipient, failed),
            Expected::EndOfDataFor(recipient) => return self.ended_for(recipient, failed),
            Expected::EndOfData => return self.ended(&failed),
            _ => transaction.decide_rest(&failed),
        }
        self.in_turn &= !matches!(asked, Expected::Mail(_));
        self.followed(asked);
    }

    /// A recipient too many, or parameters too many: nothing has failed. Those whom the command stands for go again.
    fn not_like_this(&mut self, asked: Expected) {
        let is_mailbox = self.reader.reply(0).enhanced.is_some_and(|(_, subject, _)| subject == MAILBOX_STATUS);
        let Some(transaction) = self.transactions.front_mut() else { return };
        if let Expected::Recipient(recipient) = asked {
            transaction.decide(recipient, Outcome::Untried);
            if !is_mailbox {
                transaction.is_full();
            }
        } else {
            transaction.decide_rest(&Outcome::Untried);
            self.refuses_parameters = true;
            self.extensions.eight_bit_mime = false;
        }
        self.followed(asked);
    }

    /// A command of the oldest transaction was not taken: whether the transaction is over with it.
    fn followed(&mut self, asked: Expected) {
        let Some(transaction) = self.transactions.front_mut() else { return };
        match asked {
            Expected::Data => {
                self.needs_rset = true;
                transaction.complete = true;
            }
            // With nobody left to send to, what is held back of the transaction need not be said.
            Expected::Mail(_) | Expected::Recipient(_) if !self.held.is_empty() && !transaction.has_undecided() => {
                self.needs_rset = matches!(asked, Expected::Recipient(_));
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
        }
    }

    /// The server ends the session, or gives none. That is the answer to a recipient, or to all that DATA or the dot stand for.
    fn ended_by(&mut self, asked: Expected, stage: Stage, code: u16) {
        let failure = self.refusal(stage, code);
        if let (true, Some(transaction)) = (code == SERVICE_CLOSING, self.transactions.front_mut()) {
            let failed = Outcome::Failed(failure.clone());
            match asked {
                Expected::Recipient(recipient) | Expected::EndOfDataFor(recipient) => {
                    transaction.decide(recipient, failed);
                }
                Expected::Data | Expected::EndOfData => transaction.decide_rest(&failed),
                _ => {}
            }
        }
        self.over(End::Refused(failure));
    }

    /// The server finds a command out of sequence that is not. It has not taken what is in the middle of its data, if it was the
    /// dot that it answered; but it may not have known it for one, so that is no verdict on the content.
    fn lost_its_place(&mut self, asked: Expected, stage: Stage, code: u16) {
        let failure = self.refusal(stage, code);
        if matches!(asked, Expected::EndOfData | Expected::EndOfDataFor(_)) {
            let invalid = failures::reply(stage, Cause::Garbage);
            let text = format!("{}: {}", invalid.text, failure.reply);
            let reply = Reply::with_text(invalid.code, invalid.enhanced, text);
            self.ended(&Outcome::Failed(Failure { stage, reply, internal: true }));
        }
        self.over(End::OutOfStep(failure));
    }

    /// What the server said, as a failure.
    fn refusal(&self, stage: Stage, code: u16) -> Failure {
        Failure { stage, reply: self.reader.reply(code), internal: false }
    }

    /// Without PIPELINING: says the next command once the one before is answered.
    fn release(&mut self) {
        if !self.expected.is_empty() {
            return;
        }
        if let Some((expected, text)) = self.held.pop_front() {
            let octets = self.say(expected, |commands| commands.extend_from_slice(text.as_bytes()));
            self.count(octets);
        }
    }

    /// Reports what is complete, and says QUIT when that was the last.
    pub(super) fn settle(&mut self) {
        while self.transactions.front().is_some_and(|transaction| transaction.complete) {
            self.events.extend(self.transactions.pop_front().map(|transaction| Event::Done(transaction.into_done())));
        }
        if self.phase == Phase::Quitting && self.transactions.is_empty() && self.expected.is_empty() {
            self.say(Expected::Quit, |text| text.extend_from_slice(b"QUIT\r\n"));
        }
    }

    /// Ends the session for a cause that is no reply.
    pub(super) fn abort(&mut self, cause: Cause) {
        if self.phase == Phase::Over {
            return;
        }
        let stage = self.stage();
        let failure = Failure { stage, reply: failures::reply(stage, cause), internal: true };
        let last_word = self.refused_in_advance.take();
        let is_idle = self.expected.front().is_none_or(|owed| owed.what == Expected::Quit);
        self.over(match cause {
            Cause::Garbage | Cause::Ahead => End::OutOfStep(failure),
            Cause::Closed | Cause::Deadline if is_idle => End::Quiet,
            // What nothing was answered behind was the server's last word on the session.
            Cause::Closed | Cause::Deadline => last_word.map_or(End::Broken(failure), End::Refused),
        });
    }

    /// Nothing more will be said: reports every transaction, then the end. Recipients whose dot was sent whole may have been
    /// taken, so they fail for now; all others that are undecided are untried.
    pub(super) fn over(&mut self, end: End) {
        let is_dot = |owed: &&Owed| matches!(owed.what, Expected::EndOfData | Expected::EndOfDataFor(_));
        let dot = self.expected.front().filter(is_dot).is_some_and(|owed| owed.ends <= self.outbox.sent());
        if let (true, Some(transaction)) = (dot, self.transactions.front_mut()) {
            let stage = Stage::ReadingConfirmation;
            let closed = || Failure { stage, reply: failures::reply(stage, Cause::Closed), internal: true };
            let failure = end.failure().filter(|failure| failure.internal).cloned().unwrap_or_else(closed);
            transaction.decide_rest(&Outcome::Failed(failure));
        }
        self.phase = Phase::Over;
        self.expected.clear();
        self.held.clear();
        self.outbox.clear();
        let rest = self.transactions.drain(..).map(|transaction| Event::Done(transaction.into_done()));
        self.events.extend(rest);
        self.events.push_back(Event::Over(end));
    }
}

/// The server is closing the channel, whatever was asked (RFC 5321 3.8).
const SERVICE_CLOSING: u16 = 421;
/// The subject of enhanced status codes that speak of one mailbox (RFC 3463 3.3).
const MAILBOX_STATUS: u16 = 2;
