//! One outbound SMTP connection: carries message after message of its queue to the host that answered (`opening`).
//!
//! The shell around `smtp::client::ClientSession`: moves octets, takes messages, settles outcomes, decides nothing about
//! SMTP. In steady state a message costs one vectored write and one read. Runs on its queue's loop.
//!
//! Invariant: every message taken is settled or given back before the task ends.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use message::Body;
use queue::Resident;
use smallvec::SmallVec;
use smtp::client::{ClientOptions, ClientSession, Done, End, Event, Failure, Outcome, Stage};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::task::JoinSet;

use crate::alarm::Alarm;
use crate::disposition::{Attempt, Failed, Rest};
use crate::gathering::{Gathering, Siblings};
use crate::held::{InHand, Taken, Tokens};
use crate::limits::{Awaits, HostLimits, Saturated};
use crate::maintainer::Maintainer;
use crate::opening::{self, NoSession};
use crate::options::{DeliveryMethod, QueueSettings, Transform8BitMime};
use crate::parting::{Parting, ends_session, is_answer};
use crate::place::Turn;
use crate::record::{DomainRecord, Status};
use crate::route::Candidate;
use crate::seams::{ConnectError, Local, Stream};
use crate::seven_bit::Form;
use crate::standing::Dial;
use crate::throttle::Token;
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

/// A transaction taken and not yet submitted.
enum Upcoming {
    Reading(Box<Gathering>),
    Ready(Siblings),
    /// Its body is being made into one of 7 bits.
    Converting {
        messages: Siblings,
        form: Local<'static, Form>,
    },
    /// That is done.
    Converted {
        messages: Siblings,
        form: Form,
    },
}

impl Upcoming {
    fn recipients(&self) -> usize {
        match self {
            Self::Reading(gathering) => gathering.len(),
            Self::Ready(messages) | Self::Converting { messages, .. } | Self::Converted { messages, .. } => {
                messages.len()
            }
        }
    }
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
        let stream = connect(maintainer, settings, status, candidate).await?;
        let options = ClientOptions {
            ehlo_name: settings.ehlo_name.clone(),
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

    /// What is being read is waited for, so that the next connection need not begin again with it.
    async fn give_back_upcoming(&mut self) {
        for upcoming in std::mem::take(&mut self.upcoming).into_iter().rev() {
            match upcoming {
                Upcoming::Ready(messages)
                | Upcoming::Converting { messages, .. }
                | Upcoming::Converted { messages, .. } => self.maintainer.put_back(messages.into_iter()),
                Upcoming::Reading(gathering) if !self.maintainer.stopping.get() && !gathering.awaits_memory() => {
                    gathering.give_back(&self.maintainer).await;
                }
                Upcoming::Reading(_) => {}
            }
        }
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
                    self.delivered += 1;
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
        while self.may_take_more() && !self.used_up(&settings) {
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

    /// Has what comes next read while the session is busy, so that it need not wait for the disk. What would take memory that
    /// others wait for is read when its turn comes.
    fn read_ahead(&mut self, settings: &Rc<QueueSettings>) {
        if self.maintainer.owners.bodies.is_scarce() {
            return;
        }
        while self.upcoming.len() < self.ahead && self.next_is_on_disk() && !self.used_up_soon(settings) {
            if !self.take_next(settings) {
                return;
            }
        }
    }

    /// Whether the connection may carry no more than it has at hand.
    fn used_up_soon(&self, settings: &QueueSettings) -> bool {
        self.may_carry(settings) == 0
    }

    /// Recipients it may still take, besides those it has at hand.
    fn may_carry(&self, settings: &QueueSettings) -> u64 {
        let taken: usize = self.upcoming.iter().map(Upcoming::recipients).sum();
        let left = |most: u64, used: u64| if most == 0 { u64::MAX } else { most.saturating_sub(used) };
        let (carried, named) = (self.carried() + taken as u64, self.named + taken as u64);
        left(settings.deliveries_max, carried).min(left(settings.recipients_max, named))
    }

    /// Messages delivered, and those that may yet be.
    fn carried(&self) -> u64 {
        self.delivered + self.jobs.iter().map(|job| job.messages.len() as u64).sum::<u64>()
    }

    /// Takes the next message of the queue, if there is one and the throttles have a place for it.
    fn take_next(&mut self, settings: &Rc<QueueSettings>) -> bool {
        if self.maintainer.queues.borrow().active(self.record.queue) == 0 {
            return false;
        }
        let now = self.maintainer.deps.clock.now();
        let begin = |token: Option<Token>| token.map(|token| token.begin(now)).transpose();
        // What was kept for the first message while the session opened counts from now on.
        let first = self.first.take().and_then(|[own, of_host]| Some([begin(own).ok()?, begin(of_host).ok()?]));
        let Some(tokens) = first.or_else(|| self.tokens(settings)) else { return false };
        match self.maintainer.next(&self.record, settings) {
            Some(mut taken) => {
                taken.held.pay(tokens);
                let upcoming = self.upcoming(taken, settings);
                self.upcoming.push_back(upcoming);
                true
            }
            None => false,
        }
    }

    /// Places for one more message. Without one in the queue's own throttle the session stays, idle, for its turn; without
    /// one in the host's it ends, for another host may have room.
    fn tokens(&mut self, settings: &Rc<QueueSettings>) -> Option<Tokens> {
        if !Rc::ptr_eq(&self.host.0, settings) {
            let limits = &self.maintainer.shared.limits;
            self.host = (settings.clone(), settings.host_limits(limits, &self.record.name, &self.candidate.host));
        }
        if settings.limits.messages.is_none() && self.host.1.is_none() {
            return Some(Tokens::default());
        }
        let now = self.maintainer.deps.clock.now();
        let own = settings
            .limits
            .message(now)
            .map_err(|busy| self.maintainer.saturated(&self.record, Awaits::Message, busy))
            .ok()?;
        match self.host_tokens(now) {
            Ok(of_host) => Some([own, of_host]),
            Err(_) => {
                self.session.quit();
                None
            }
        }
    }

    fn host_tokens(&self, now: Instant) -> Result<Option<Token>, Saturated> {
        self.host.1.as_ref().map_or(Ok(None), |host| host.message(now))
    }

    /// Whether the connection has carried all it may: its number, or all there was before a reload changed the way.
    fn used_up(&self, settings: &QueueSettings) -> bool {
        let is_full =
            is_reached(settings.deliveries_max, self.carried()) || is_reached(settings.recipients_max, self.named);
        is_full || !settings.leads_as(&self.opened_under)
    }

    fn next_is_on_disk(&self) -> bool {
        let queues = self.maintainer.queues.borrow();
        let has_body = |head: &Resident| head.body.is_some();
        queues.active(self.record.queue) != 0 && !queues.head(self.record.queue).is_some_and(has_body)
    }

    /// Whether what was done so far is settled enough. An unlink that waits at the spool's door holds everything up: more
    /// deliveries would be more that a crash repeats.
    fn may_take_more(&self) -> bool {
        self.unlinking.is_empty() && self.settling.len() < SETTLING_MAX
    }

    /// A message that was taken, and the siblings that can share its transaction.
    fn upcoming(&self, taken: Taken, settings: &QueueSettings) -> Upcoming {
        let now = self.maintainer.deps.clock.now();
        let most = settings.batch_max.min(self.dial.standing.recipients_max(now));
        let most = usize::try_from(self.may_carry(settings)).unwrap_or(usize::MAX).min(most);
        let pay = || Some([settings.limits.message(now).ok()?, self.host_tokens(now).ok()?]);
        match self.maintainer.gather(&self.record, taken, most, pay) {
            Ok(messages) => Upcoming::Ready(messages),
            Err(gathering) => Upcoming::Reading(gathering),
        }
    }

    /// One transaction, once the body has a form that the server takes.
    fn submit(&mut self, messages: Siblings, settings: &Rc<QueueSettings>) {
        let first = &messages[0];
        let Some(body) = first.body().cloned() else { return self.maintainer.put_back(messages.into_iter()) };
        let (batch, eight_bit) = (first.envelope().batch, first.envelope().eight_bit);
        if !eight_bit || self.session.extensions().eight_bit_mime || settings.transform == Transform8BitMime::No {
            return self.transact(messages, body, settings);
        }
        if let Some(form) = self.maintainer.forms.known(batch) {
            return self.submit_as(messages, form, settings);
        }
        let (maintainer, pool) = (self.maintainer.clone(), self.maintainer.deps.pools.get("CPU"));
        let form = Box::pin(async move {
            let form = Form::of(body, pool, maintainer.owners.bodies.clone()).await;
            maintainer.forms.remember(batch, &form);
            form
        });
        self.upcoming.push_front(Upcoming::Converting { messages, form });
    }

    /// One transaction with the body in another form, or the failure of messages that have none.
    fn submit_as(&mut self, messages: Siblings, form: Form, settings: &Rc<QueueSettings>) {
        let Some(body) = messages[0].body().cloned() else { return self.maintainer.put_back(messages.into_iter()) };
        match form.body(body) {
            Ok(body) => self.transact(messages, body, settings),
            Err(reply) => {
                self.attempt.settings = settings.clone();
                for message in messages {
                    let failure = Failure { stage: Stage::DuringMailFrom, reply: reply.clone(), internal: true };
                    if let Some(rest) = self.failed(message, failure, 0) {
                        self.settling.spawn_local(rest);
                    }
                }
            }
        }
    }

    /// One transaction of messages that share the body.
    fn transact(&mut self, messages: Siblings, body: Body, settings: &Rc<QueueSettings>) {
        let declared = messages[0].envelope().eight_bit && settings.declares_eight_bit;
        let forward_paths = messages.iter().map(|message| &message.envelope().forward_path);
        self.session.submit(&messages[0].envelope().reverse_path, forward_paths, body, declared);
        self.named += messages.len() as u64;
        self.status.carries.borrow_mut().extend(messages.iter().map(|message| message.resident.envelope.id));
        self.jobs.push_back(Job { messages, settings: settings.clone(), submitted: self.maintainer.deps.clock.now() });
        self.settle();
    }

    /// Waits until something has happened, and tells the session.
    async fn progress(&mut self) {
        let idle = self.session.is_idle() && self.upcoming.is_empty() && self.may_take_more();
        let mut parked = false;
        std::future::poll_fn(|context| {
            if std::mem::take(&mut parked) && self.unpark() {
                return Poll::Ready(());
            }
            if self.poll(context).is_ready() {
                return Poll::Ready(());
            }
            if idle && !self.maintainer.park(&self.status, context.waker()) {
                return Poll::Ready(());
            }
            parked = idle;
            Poll::Pending
        })
        .await;
    }

    /// No longer offers itself for work; whether somebody took the offer, or wants one of its slots.
    fn unpark(&self) -> bool {
        let is_taken = self.status.parked.take().is_none();
        !self.maintainer.unpark(&self.status) || is_taken
    }

    /// What has come is read before anything is written: a reply that was there before its command was is no answer to it, and the
    /// session must not learn of it too late to know.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.poll_read(context).is_ready() {
            return Poll::Ready(());
        }
        if self.poll_write(context) {
            if self.poll_read(context).is_pending() {
                self.session.closed();
            }
            return Poll::Ready(());
        }
        if self.poll_upcoming(context).is_ready() {
            return Poll::Ready(());
        }
        if self.poll_settling(context).is_ready() {
            return Poll::Ready(());
        }
        // A session that is idle only because the disk is slow is not to end for that.
        let waits_for_spool = self.session.is_idle() && !self.upcoming.is_empty();
        if !waits_for_spool && self.alarm.poll(self.session.deadline(), context).is_ready() {
            self.session.deadline_passed();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Sends what there is to send; `true` if the connection no longer takes it. What the server said before it closed may
    /// still be there to read, so that comes first.
    fn poll_write(&mut self, context: &mut Context<'_>) -> bool {
        while !self.session.outbox().is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            let filled = self.session.outbox().slices(&mut slices);
            match Pin::new(&mut self.stream).poll_write_vectored(context, &slices[..filled]) {
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(octets)) => {
                    let now = self.maintainer.deps.clock.now();
                    self.session.sent(octets, now);
                    self.status.enter(self.session.stage(), now);
                }
                Poll::Pending => return false,
            }
        }
        false
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut buffer = ReadBuf::new(&mut self.buffer[..]);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                let now = self.maintainer.deps.clock.now();
                self.session.input(buffer.filled(), now);
                self.status.enter(self.session.stage(), now);
            }
            Poll::Ready(_) => self.session.closed(),
        }
        Poll::Ready(())
    }

    fn poll_settling(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut settled = false;
        while let Poll::Ready(Some(_)) = self.unlinking.poll_join_next(context) {
            settled = true;
        }
        self.status.unlinking.set(!self.unlinking.is_empty());
        while let Poll::Ready(Some(_)) = self.settling.poll_join_next(context) {
            settled = true;
        }
        if settled { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_upcoming(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut read_any = Poll::Pending;
        for place in (0..self.upcoming.len()).rev() {
            match &mut self.upcoming[place] {
                Upcoming::Converting { form, .. } => {
                    let Poll::Ready(form) = form.as_mut().poll(context) else { continue };
                    if let Some(Upcoming::Converting { messages, .. }) = self.upcoming.remove(place) {
                        self.upcoming.insert(place, Upcoming::Converted { messages, form });
                    }
                }
                Upcoming::Reading(gathering) => {
                    let Poll::Ready(messages) = gathering.poll(&self.maintainer, context) else { continue };
                    self.upcoming.remove(place);
                    if let Some(first) = messages.first() {
                        self.ahead = read_ahead(first.envelope().body_bytes);
                        self.upcoming.insert(place, Upcoming::Ready(messages));
                    }
                }
                Upcoming::Ready(_) | Upcoming::Converted { .. } => continue,
            }
            read_any = Poll::Ready(());
        }
        read_any
    }
}

/// Whether a limit, if it is one, is reached.
fn is_reached(limit: u64, number: u64) -> bool {
    limit != 0 && limit <= number
}

/// How many bodies of such a size are read ahead.
fn read_ahead(octets: u64) -> usize {
    usize::try_from(READ_AHEAD_OCTETS / octets.max(1)).unwrap_or(usize::MAX).clamp(1, READ_AHEAD)
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
/// Slices of one vectored write: a body between two groups of commands, and room for a cut one.
const WRITE_SLICES: usize = 8;
/// Messages one connection has read before their turn, at most.
const READ_AHEAD: usize = 8;
/// Octets they may have together.
const READ_AHEAD_OCTETS: u64 = 1 << 20;
/// Outcomes a connection leaves unsettled before it takes more mail.
const SETTLING_MAX: usize = 16;
