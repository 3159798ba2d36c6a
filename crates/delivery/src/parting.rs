//! Who pays when a session ends by itself: nobody, the number of connections, or the host. Never mail that waits.
//!
//! A message that the end was the answer to was charged when it came (`smtp::client`); the others are back in their queue.
//! What is left to decide is where the next attempt goes. A host that turned a session away while others with it live is not
//! to be left alone, it has no room for more. One that broke off is tried after all others; if nothing else is left and it
//! does so again, it is left alone like one that cannot be reached, lest it is called for ever.

use std::rc::Rc;
use std::time::Duration;

use smtp::client::{End, Failure, Outcome, Stage};

use crate::maintainer::Maintainer;
use crate::opening::{NoSession, host_failed};
use crate::options::QueueSettings;
use crate::record::{DomainRecord, Status};
use crate::replies::SESSION_ENDED;
use crate::route::Candidate;
use crate::standing::Dial;
use crate::unreachable::NotOpened;

/// A session that has ended, not by our will.
pub(crate) struct Parting<'a> {
    pub(crate) maintainer: &'a Rc<Maintainer>,
    pub(crate) record: &'a Rc<DomainRecord>,
    /// What led to it.
    pub(crate) settings: &'a Rc<QueueSettings>,
    pub(crate) status: &'a Status,
    pub(crate) candidate: &'a Candidate,
    pub(crate) dial: &'a Dial,
    pub(crate) end: End,
    /// The host has answered for a message, other than by ending the session.
    pub(crate) has_served: bool,
    /// The end was charged to a message, which waits so long for its next attempt.
    pub(crate) charged: Option<Duration>,
    /// There is mail for it.
    pub(crate) has_mail: bool,
}

/// What an end is to be paid with. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cost {
    Nothing,
    /// One connection.
    Room,
    /// The host's turn: others are tried before it.
    Turn,
    /// The host is left alone.
    Host,
}

/// The rule.
fn cost(end: &End, has_served: bool, others: usize, is_charged: bool, has_mail: bool) -> Cost {
    let within_message = end.failure().is_some_and(|failure| is_within_message(failure.stage));
    match end {
        End::Quiet | End::Refused(_) | End::Broken(_) if !has_served && 0 < others => Cost::Room,
        End::Quiet | End::Refused(_) | End::Broken(_) if has_served && !is_charged && !within_message => Cost::Nothing,
        End::OutOfStep(_) if has_served || 0 < others => Cost::Turn,
        _ if has_served || is_charged => Cost::Turn,
        _ if has_mail => Cost::Host,
        _ => Cost::Nothing,
    }
}

/// Behind the reply to MAIL: the host has begun to deal with a message.
fn is_within_message(stage: Stage) -> bool {
    use Stage::{AfterData, AfterRcptTo, DuringData, DuringRcptTo, ReadingConfirmation, SendingBody};
    matches!(stage, DuringRcptTo | AfterRcptTo | DuringData | AfterData | SendingBody | ReadingConfirmation)
}

impl Parting<'_> {
    /// Has whoever pays pay. Says so if there is nowhere to go now.
    pub(crate) fn settle(self) -> Option<NotOpened> {
        let now = self.maintainer.deps.clock.now();
        match cost(&self.end, self.has_served, self.dial.others(), self.charged.is_some(), self.has_mail) {
            Cost::Nothing => None,
            Cost::Room => {
                one_too_many(self.maintainer, self.record, self.candidate, self.dial, &self.why());
                None
            }
            Cost::Turn => {
                let pause = self.charged.unwrap_or_default().max(self.settings.host_failure_retry.into());
                let times = self.dial.standing.doubted(now, pause + TURN_SLACK, self.why().to_string().into());
                self.maintainer.meter.broken_off.add(1);
                let (host, remote, domain) = (&self.candidate.host, self.candidate.remote, &self.record.name.domain);
                let why = self.why();
                tracing::warn!(target: "SMTP", "{host} ({remote}) broke off a session for {domain}, others go before it \
                    for now: {why}");
                let again = TURNS_MAX <= times && self.dial.others() == 0;
                if again { self.left_alone() } else { None }
            }
            Cost::Host => self.left_alone(),
        }
    }

    fn failure(&self) -> Failure {
        let unsaid = || Failure { stage: Stage::Idle, reply: SESSION_ENDED, internal: true };
        self.end.failure().cloned().unwrap_or_else(unsaid)
    }

    fn why(&self) -> NoSession {
        NoSession::Refused(self.failure())
    }

    /// That is as good as no session.
    fn left_alone(self) -> Option<NotOpened> {
        let failure = self.failure();
        let refused = NoSession::Refused(failure.clone());
        let mut retry_at = host_failed(self.maintainer, self.record, self.settings, self.candidate, &refused);
        if !self.has_mail {
            return None;
        }
        let (now, hosts) = (self.maintainer.deps.clock.now(), self.maintainer.hosts.borrow());
        let is_other = |candidate: &&Candidate| candidate.remote != self.candidate.remote;
        for candidate in self.record.route.borrow().iter().filter(is_other) {
            // Another address may do better, at once.
            retry_at = retry_at.min(hosts.avoided_until(&self.record.peer(candidate.remote), now)?);
        }
        // Once is enough for a message to bear it.
        let refusal = self.charged.is_none().then(|| Box::new((self.candidate.clone(), failure)));
        let connection = self.status.id;
        Some(NotOpened::Unreachable { retry_at, refusal, for_good: false, tried: true, lack: None, connection })
    }
}

/// The host refused a session while others with it live: fewer connections are its due, and nothing else has happened.
pub(crate) fn one_too_many(
    maintainer: &Maintainer,
    record: &DomainRecord,
    candidate: &Candidate,
    dial: &Dial,
    why: &NoSession,
) {
    dial.is_one_too_many(maintainer.deps.clock.now());
    maintainer.meter.one_too_many.add(1);
    let (host, remote, domain, living) = (&candidate.host, candidate.remote, &record.name.domain, dial.others());
    tracing::info!(target: "SMTP", "{host} ({remote}) takes no more than {living} sessions for {domain} now: {why}");
}

/// Whether the host has answered for a recipient.
pub(crate) fn is_answer(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Delivered(_) => true,
        Outcome::Failed(failure) => !failure.internal && !ends_session(failure),
        Outcome::Untried => false,
    }
}

/// Whether a message failed because the session ended: by the server's word, or behind the dot.
pub(crate) fn ends_session(failure: &Failure) -> bool {
    let by_word = !failure.internal && failure.reply.code == SERVICE_CLOSING;
    by_word || (failure.internal && failure.stage == Stage::ReadingConfirmation)
}

/// RFC 5321 3.8.
const SERVICE_CLOSING: u16 = 421;
/// Beyond the time after which a message that was charged is due, so that it still finds the host in its place.
const TURN_SLACK: Duration = Duration::from_secs(60);
/// Sessions in a row that a host may break off before it is left alone.
const TURNS_MAX: u32 = 2;

#[cfg(test)]
mod tests {
    use smtp::Reply;

    use super::*;

    #[test]
    fn each_end_has_its_price() {
        let failure = |stage| Failure { stage, reply: Reply::plain(421, "bye"), internal: false };
        let (refused, broken) = (|stage| End::Refused(failure(stage)), |stage| End::Broken(failure(stage)));
        let (banner, mail, rcpt, dot) =
            (Stage::ReadingBanner, Stage::AfterMailFrom, Stage::AfterRcptTo, Stage::ReadingConfirmation);
        let out_of_step = || End::OutOfStep(failure(rcpt));
        // What ended it, whether the host had served, others with it, whether a message was charged, whether there is mail.
        for (end, has_served, others, is_charged, has_mail, expected) in [
            (End::Quiet, true, 0, false, true, Cost::Nothing),
            (refused(mail), true, 0, false, true, Cost::Nothing),
            (broken(mail), true, 3, false, true, Cost::Nothing),
            (End::Quiet, false, 0, false, false, Cost::Nothing),
            (End::Quiet, false, 0, false, true, Cost::Host),
            (refused(mail), false, 0, false, true, Cost::Host),
            (broken(rcpt), false, 0, false, true, Cost::Host),
            (refused(banner), false, 2, false, true, Cost::Room),
            (refused(mail), false, 2, false, true, Cost::Room),
            (End::Quiet, false, 1, false, true, Cost::Room),
            (refused(rcpt), false, 0, true, false, Cost::Turn),
            (refused(dot), true, 0, true, true, Cost::Turn),
            (broken(dot), false, 0, true, true, Cost::Turn),
            (broken(rcpt), true, 0, false, true, Cost::Turn),
            (out_of_step(), true, 0, false, true, Cost::Turn),
            (out_of_step(), false, 1, false, true, Cost::Turn),
            (out_of_step(), false, 0, false, true, Cost::Host),
        ] {
            let price = cost(&end, has_served, others, is_charged, has_mail);
            assert_eq!(price, expected, "{end:?} served={has_served} others={others} charged={is_charged}");
        }
    }
}
