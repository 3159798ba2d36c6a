//! One outbound SMTP connection: carries message after message of its queue to the host that answered (`opening`).
//!
//! The shell around `smtp::client::ClientSession`: moves octets, takes messages, settles outcomes, decides nothing about
//! SMTP. In steady state a message costs one vectored write and one read. Runs on its queue's loop.
//!
//! Invariant: every message taken is settled or given back before the task ends.

mod progress;
mod taking;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use smtp::client::{ClientOptions, ClientSession, Done, End, Event, Failure, Outcome, Stage};
use smtp::{Pieces, Reply};
use tokio::task::JoinSet;

use self::taking::Upcoming;
use crate::alarm::Alarm;
use crate::disposition::{Attempt, Failed, Rest};
use crate::gathering::Siblings;
use crate::held::{InHand, Tokens};
use crate::limits::{Awaits, HostLimits};
use crate::maintainer::Maintainer;
use crate::opening::{self, NoSession};
use crate::options::{DeliveryMethod, QueueSettings, Transform8BitMime};
use crate::parting::{Parting, ends_session, is_answer};
use crate::place::Turn;
use crate::record::{DomainRecord, Status};
use crate::replies::TLS_REQUIRED;
use crate::route::Candidate;
use crate::seams::{ConnectError, Stream};
use crate::seven_bit::Form;
use crate::standing::Dial;
use crate::unreachable::NotOpened;

/// Opens a connection for the queue and works on it until it ends.
pub(crate) async fn run(maintainer: &Rc<Maintainer>, record: &Rc<DomainRecord>, status: &Rc<Status>) {
    let mut settings = record.settings();
    let opened = opening::open(maintainer, record, &settings, status).await;
    let mut record = record.clone();
    status.opening.set(false);
    match opened {
        Ok(mut connection) => {
            maintainer.maintain(&record, false);
            let Some(not_opened) = connection.work().await else { return };
            (record, settings) = (connection.record, connection.opened_under);
            maintainer.not_opened(&record, &settings, not_opened).await;
        }
        Err(not_opened) => maintainer.not_opened(&record, &settings, not_opened).await,
    }
}

/// A message, or several siblings of one, in a transaction.
struct Job {
    messages: Siblings,
    /// What its outcomes are settled under, whatever a reload brings meanwhile.
    settings: Rc<QueueSettings>,
    submitted: Instant,
}

pub(crate) struct Connection {
    maintainer: Rc<Maintainer>,
    record: Rc<DomainRecord>,
    status: Rc<Status>,
    /// Of the job last settled.
    attempt: Attempt,
    candidate: Candidate,
    /// Its place among the connections of the address.
    dial: Rc<Dial>,
    /// The name it was opened with.
    ehlo_name: Arc<str>,
    /// What led here.
    opened_under: Rc<QueueSettings>,
    /// The limits of the host, and the settings they belong to.
    host: (Rc<QueueSettings>, Option<Rc<HostLimits>>),
    /// What the throttles gave for the first message, until that is taken.
    first: Option<Tokens>,
    turn: Turn,
    stream: Box<dyn Stream>,
    session: ClientSession,
    buffer: Box<[u8; READ_OCTETS]>,
    alarm: Alarm,
    /// Submitted and not over, oldest first.
    jobs: VecDeque<Job>,
    /// The jobs to come, in their order: one in memory, or several that are being read.
    upcoming: VecDeque<Upcoming>,
    /// How many are read ahead: one until it is known how large bodies are, fewer when they are large.
    ahead: usize,
    /// What outcomes still wait for: notifications.
    settling: JoinSet<()>,
    /// Unlinks that the spool has not yet taken, each a message that a crash would deliver twice.
    unlinking: JoinSet<()>,
    delivered: u64,
    /// Recipients named to the server.
    named: u64,
    /// The host has answered for a message, other than by ending the session.
    has_served: bool,
    /// A body is sent, or about to be.
    has_sent_body: bool,
    /// A message was charged with the session's end, and waits so long.
    charged: Option<Duration>,
    over: Option<End>,
}

impl Connection {
    /// Connects to one address and goes through greeting and EHLO.
    pub(crate) async fn open(
        maintainer: &Rc<Maintainer>,
        record: &Rc<DomainRecord>,
        settings: &Rc<QueueSettings>,
        status: &Rc<Status>,
        candidate: &Candidate,
        dial: &Rc<Dial>,
    ) -> Result<Self, NoSession> {
        let remote = candidate.remote;
        record.passed_throttle(Awaits::Connection);
        let stream = connect(maintainer, settings, status, candidate).await?;
        let tracers = &maintainer.shared.tracers;
        let stream = tracers.watch(stream, &record.name, (status.id, remote), maintainer.deps.clock);
        let ehlo_name = maintainer.ehlo_name(record, settings).await;
        let options = ClientOptions {
            ehlo_name: ehlo_name.clone(),
            timeouts: settings.timeouts,
            pipelining: true,
            lmtp: settings.method == DeliveryMethod::Lmtp,
        };
        let session = ClientSession::new(options, maintainer.deps.clock.now());
        let mut connection = Self {
            maintainer: maintainer.clone(),
            record: record.clone(),
            status: status.clone(),
            attempt: Attempt {
                settings: settings.clone(),
                connection: status.id,
                remote: Some((candidate.host.clone(), remote.ip())),
            },
            candidate: candidate.clone(),
            dial: dial.clone(),
            ehlo_name,
            opened_under: settings.clone(),
            host: (settings.clone(), settings.host_limits(&maintainer.shared.limits, &record.name, &candidate.host)),
            first: None,
            turn: Turn::new(maintainer.deps.clock.now()),
            stream,
            alarm: Alarm::new(session.deadline()),
            session,
            buffer: Box::new([0; READ_OCTETS]),
            jobs: VecDeque::new(),
            upcoming: VecDeque::new(),
            ahead: 1,
            settling: JoinSet::new(),
            unlinking: JoinSet::new(),
            delivered: 0,
            named: 0,
            has_served: false,
            has_sent_body: false,
            charged: None,
            over: None,
        };
        loop {
            match connection.session.event() {
                Some(Event::Open) => return Ok(connection),
                Some(Event::Over(end)) => {
                    let closed = || NoSession::Network(io::ErrorKind::ConnectionAborted.into());
                    return Err(end.failure().cloned().map_or_else(closed, NoSession::Refused));
                }
                Some(Event::Done(_)) => {}
                None => {
                    connection.progress().await;
                    if !connection.session.is_ending() && connection.session.stage() != Stage::ReadingBanner {
                        dial.greeted(maintainer.deps.clock.now());
                    }
                }
            }
        }
    }

    /// What was taken for its first message in the throttles of queue and host.
    pub(crate) fn admitted(&mut self, first: Tokens) {
        self.first = Some(first);
    }

    /// Carries messages until the session is over, then waits for what the outcomes still need. Says so if there is no host to
    /// go on with.
    async fn work(&mut self) -> Option<NotOpened> {
        loop {
            self.settle();
            if self.over.is_some() {
                break;
            }
            self.fill();
            self.status.ending.set(self.session.is_ending());
            if !self.has_sent_body && self.session.stage() == Stage::SendingBody {
                // Lets the loop see what has come by now, once a session: a host that thanks ahead does so the first time.
                self.has_sent_body = true;
                tokio::task::yield_now().await;
            }
            self.progress().await;
        }
        let ended_by_us = self.status.ending.replace(true);
        self.status.carries.borrow_mut().clear();
        self.maintainer.put_back(self.jobs.drain(..).flat_map(|job| job.messages).collect::<Vec<_>>().into_iter());
        let not_opened = if ended_by_us { None } else { self.parted() };
        self.give_back_upcoming().await;
        while self.unlinking.join_next().await.is_some() {}
        self.status.unlinking.set(false);
        while self.settling.join_next().await.is_some() {}
        not_opened
    }

    /// The session has ended, not by our will: somebody pays.
    fn parted(&mut self) -> Option<NotOpened> {
        let has_mail = !self.upcoming.is_empty() || self.maintainer.queues.borrow().active(self.record.queue) != 0;
        // A host that was kept waiting because there is no memory to send from has a right to end the session.
        let kept_waiting =
            |upcoming: &Upcoming| matches!(upcoming, Upcoming::Reading(gathering) if gathering.awaits_memory());
        if !self.has_served && self.upcoming.iter().any(kept_waiting) {
            return None;
        }
        let parting = Parting {
            maintainer: &self.maintainer,
            record: &self.record,
            settings: &self.opened_under,
            status: &self.status,
            candidate: &self.candidate,
            dial: &self.dial,
            end: self.over.take()?,
            has_served: self.has_served,
            charged: self.charged,
            has_mail,
        };
        parting.settle()
    }

    /// Takes the session's events: outcomes go to the maintainer.
    fn settle(&mut self) {
        while let Some(event) = self.session.event() {
            match event {
                Event::Open => {}
                Event::Done(done) => self.done(done),
                Event::Over(end) => self.over = Some(end),
            }
        }
    }

    fn done(&mut self, done: Done) {
        let Some(job) = self.jobs.pop_front() else { return };
        {
            let mut carries = self.status.carries.borrow_mut();
            let over = job.messages.len().min(carries.len());
            carries.drain(..over);
        }
        self.attempt.settings = job.settings;
        let now = self.maintainer.deps.clock.now();
        if done.outcomes.iter().any(is_answer) {
            self.dial.standing.served();
            if !std::mem::replace(&mut self.has_served, true) {
                self.record.reached();
            }
        }
        if done.outcomes.iter().any(|outcome| matches!(outcome, Outcome::Delivered(_))) {
            self.delivered += 1;
            self.dial.standing.delivered(now.saturating_duration_since(job.submitted));
        }
        if let Some(most) = done.recipients_max {
            self.dial.standing.takes_recipients(most, now);
        }
        let mut untried: SmallVec<[InHand; 1]> = SmallVec::new();
        for (message, outcome) in job.messages.into_iter().zip(done.outcomes) {
            match outcome {
                Outcome::Untried => untried.push(message),
                Outcome::Delivered(_) => {
                    if let Some(unlinked) = self.maintainer.delivered(&self.attempt, message, done.bytes) {
                        self.status.unlinking.set(true);
                        self.unlinking.spawn_local(unlinked);
                    }
                }
                Outcome::Failed(failure) => {
                    if let Some(rest) = self.failed(message, failure, done.bytes) {
                        self.settling.spawn_local(rest);
                    }
                }
            }
        }
        self.maintainer.put_back(untried.into_iter());
    }

    fn failed(&mut self, message: InHand, failure: Failure, bytes: u64) -> Rest {
        if failure.internal && failure.stage == Stage::ReadingConfirmation {
            // The server may have taken it: trying again can deliver it twice, not trying could lose it.
            self.maintainer.meter.lost_after_dot.add(1);
        }
        if ends_session(&failure) {
            let failures = message.envelope().delivery.retries.saturating_add(1);
            let wait = Duration::from_secs(self.attempt.settings.retry.delay(failures));
            self.charged = Some(self.charged.map_or(wait, |longest| longest.max(wait)));
        }
        let failed = Failed { stage: failure.stage, bytes, reply: failure.reply, quiet: false };
        self.maintainer.attempt_failed(&self.attempt, message, failed)
    }

    /// Gives the session the next messages it takes; ends it when there is a reason to.
    fn fill(&mut self) {
        self.follow();
        self.end_turn();
        let mut settings = self.record.settings();
        if self.maintainer.stopping.get() || self.used_up(&settings) || self.status.gives_way() {
            return self.session.quit();
        }
        while self.may_take_more() && !self.is_full(&settings) {
            let accepts = self.session.accepts_transaction();
            match self.upcoming.pop_front() {
                Some(Upcoming::Ready(messages)) if accepts => self.submit(messages, &settings),
                Some(Upcoming::Converted { messages, form }) if accepts => self.submit_as(messages, form, &settings),
                None if accepts && self.take_next(&settings) => {}
                None if accepts && !self.session.is_ending() && self.maintainer.lead_on(&self.status) => {
                    self.follow();
                    settings = self.record.settings();
                }
                other => {
                    if let Some(other) = other {
                        self.upcoming.push_front(other);
                    }
                    return self.read_ahead(&settings);
                }
            }
        }
    }

    /// Goes where it was led: to another queue.
    fn follow(&mut self) {
        let record = self.status.record.borrow().clone();
        if Rc::ptr_eq(&record, &self.record) {
            return;
        }
        (self.first, self.charged) = (None, None);
        self.opened_under = record.settings();
        let left = std::mem::replace(&mut self.record, record);
        self.maintainer.maintain(&left, false);
    }

    /// After a turn others may have the connection: those who wait for a slot of its, or the siblings that wait for a session.
    fn end_turn(&mut self) {
        let now = self.maintainer.deps.clock.now();
        if !self.upcoming.is_empty() || !self.turn.ends(now, self.named) {
            return;
        }
        if !self.status.is_claimed() && self.session.accepts_transaction() && self.maintainer.lead_on(&self.status) {
            self.follow();
        }
    }

    /// Whether what was done so far is settled enough. An unlink that waits at the spool's door holds everything up: more
    /// deliveries would be more that a crash repeats.
    fn may_take_more(&self) -> bool {
        self.unlinking.is_empty() && self.settling.len() < SETTLING_MAX
    }

    /// One transaction, once the body has a form that the server takes.
    fn submit(&mut self, messages: Siblings, settings: &Rc<QueueSettings>) {
        let first = &messages[0];
        if !settings.ehlo_name.fits(&self.ehlo_name, &first.envelope().reverse_path) {
            self.maintainer.put_back(messages.into_iter());
            return self.session.quit();
        }
        let Some(body) = first.rendered() else { return self.maintainer.put_back(messages.into_iter()) };
        let envelope = first.envelope();
        if envelope.particulars.as_ref().is_some_and(|particulars| particulars.requiretls) {
            return self.refuse(messages, &TLS_REQUIRED, settings);
        }
        let (whose, eight_bit) = ((envelope.body_id(), envelope.edits.clone()), envelope.eight_bit);
        if !eight_bit || self.session.extensions().eight_bit_mime || settings.transform == Transform8BitMime::No {
            return self.transact(messages, body, settings);
        }
        if let Some(form) = self.maintainer.forms.known(&whose) {
            return self.submit_as(messages, form, settings);
        }
        let (maintainer, pool) = (self.maintainer.clone(), self.maintainer.deps.pools.get("CPU"));
        let form = Box::pin(async move {
            let form = Form::of(body, pool, maintainer.owners.bodies.clone()).await;
            if matches!(form, Form::Defect) {
                tracing::error!(target: "SMTP", "converting the content of {} to 7 bits met a defect: it fails", whose.0);
            }
            maintainer.forms.remember(whose, &form);
            form
        });
        self.upcoming.push_front(Upcoming::Converting { messages, form });
    }

    /// One transaction with the body in another form, or the failure of messages that have none.
    fn submit_as(&mut self, messages: Siblings, form: Form, settings: &Rc<QueueSettings>) {
        let Some(body) = messages[0].rendered() else { return self.maintainer.put_back(messages.into_iter()) };
        match form.body(body) {
            Ok(body) => self.transact(messages, body, settings),
            Err(reply) => self.refuse(messages, &reply, settings),
        }
    }

    /// The failure of messages that this server cannot be given.
    fn refuse(&mut self, messages: Siblings, reply: &Reply, settings: &Rc<QueueSettings>) {
        self.attempt.settings = settings.clone();
        for message in messages {
            let failure = Failure { stage: Stage::DuringMailFrom, reply: reply.clone(), internal: true };
            if let Some(rest) = self.failed(message, failure, 0) {
                self.settling.spawn_local(rest);
            }
        }
    }

    /// One transaction of messages that are the same but for the recipient.
    fn transact(&mut self, messages: Siblings, body: Pieces, settings: &Rc<QueueSettings>) {
        let declared = messages[0].envelope().eight_bit && settings.declares_eight_bit;
        let forward_paths = messages.iter().map(|message| &message.envelope().forward_path);
        self.session.submit(&messages[0].envelope().reverse_path, forward_paths, body, declared);
        self.named += messages.len() as u64;
        self.status.carries.borrow_mut().extend(messages.iter().map(|message| message.resident.envelope.id));
        self.jobs.push_back(Job { messages, settings: settings.clone(), submitted: self.maintainer.deps.clock.now() });
        self.settle();
    }
}

async fn connect(
    maintainer: &Maintainer,
    settings: &QueueSettings,
    status: &Status,
    candidate: &Candidate,
) -> Result<Box<dyn Stream>, ConnectError> {
    let remote: SocketAddr = candidate.remote;
    *status.remote.borrow_mut() = Some((candidate.host.clone(), remote));
    status.enter(Stage::NotConnected, maintainer.deps.clock.now());
    let connecting = maintainer.deps.connector.connect(settings.bind_address, remote);
    let connected = tokio::time::timeout(settings.connect_timeout.into(), connecting)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    status.descriptor.set(connected.descriptor);
    status.enter(Stage::ReadingBanner, maintainer.deps.clock.now());
    Ok(connected.stream)
}

/// Octets of memory that a connection takes up, about: itself, its task, and what it reads replies into.
pub(crate) const OCTETS: usize = 2 * size_of::<Connection>() + READ_OCTETS;
/// Octets of replies read at once.
const READ_OCTETS: usize = 4096;
/// Outcomes a connection leaves unsettled before it takes more mail.
const SETTLING_MAX: usize = 16;
