//! One outbound SMTP connection: carries message after message of its queue to the host that answered (`opening`).
//!
//! The shell around `smtp::client::ClientSession`: moves octets, takes messages, settles outcomes, decides nothing about
//! SMTP. In steady state a message costs one vectored write and one read. Runs on its queue's loop.
//!
//! Invariant: every message taken is settled or given back before the task ends.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use message::{Body, MessageId};
use queue::Resident;
use smallvec::SmallVec;
use smtp::client::{ClientOptions, ClientSession, Done, Event, Failure, Outcome, Stage};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::task::JoinSet;

use crate::alarm::Alarm;
use crate::disposition::{Attempt, Failed, Rest};
use crate::held::{Held, InHand, Taken, Tokens};
use crate::hosts::Pace;
use crate::limits::{Awaits, HostLimits, Slot};
use crate::maintainer::Maintainer;
use crate::opening::{self, NoSession, host_failed};
use crate::options::{DeliveryMethod, QueueSettings, Transform8BitMime};
use crate::record::{DomainRecord, Status};
use crate::replies::SESSION_ENDED;
use crate::route::Candidate;
use crate::seams::{Local, Stream};
use crate::seven_bit::Form;
use crate::unreachable::NotOpened;

/// Opens a connection for the queue and works on it until it ends.
pub(crate) async fn run(maintainer: &Rc<Maintainer>, record: &Rc<DomainRecord>, status: &Rc<Status>) {
    let settings = record.settings();
    let opened = opening::open(maintainer, record, &settings, status).await;
    status.opening.set(false);
    match opened {
        Ok(mut connection) => {
            maintainer.maintain(record, false);
            if let Some(not_opened) = connection.work().await {
                maintainer.not_opened(record, &settings, not_opened).await;
            }
        }
        Err(not_opened) => maintainer.not_opened(record, &settings, not_opened).await,
    }
}

/// A message, or several siblings of one, in a transaction.
struct Job {
    messages: SmallVec<[InHand; 1]>,
    /// What its outcomes are settled under, whatever a reload brings meanwhile.
    settings: Rc<QueueSettings>,
    submitted: Instant,
}

/// A message taken and not yet submitted.
enum Upcoming {
    Reading {
        held: Held,
        id: MessageId,
        read: Box<spool::Read>,
    },
    Ready(InHand),
    /// Its body is being made into one of 7 bits.
    Converting {
        message: InHand,
        form: Local<'static, Form>,
    },
    /// That is done.
    Converted {
        message: InHand,
        form: Form,
    },
}

pub(crate) struct Connection {
    maintainer: Rc<Maintainer>,
    record: Rc<DomainRecord>,
    status: Rc<Status>,
    /// Of the job last settled.
    attempt: Attempt,
    candidate: Candidate,
    /// How long the address takes.
    pub(crate) pace: Rc<Pace>,
    /// What led here.
    opened_under: Rc<QueueSettings>,
    /// The limits of the host, and the settings they belong to.
    host: (Rc<QueueSettings>, Option<Rc<HostLimits>>),
    /// What the throttles gave for the first message, until that is taken.
    first: Option<Tokens>,
    /// The places under the host's limits.
    slots: [Option<Slot>; 2],
    stream: Box<dyn Stream>,
    session: ClientSession,
    buffer: Box<[u8; READ_OCTETS]>,
    alarm: Alarm,
    /// Submitted and not over, oldest first.
    jobs: VecDeque<Job>,
    /// Taken for the jobs to come, in their order: one in memory, or several that are being read.
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
    /// The host has answered for a message.
    has_served: bool,
    over: Option<Option<Failure>>,
}

impl Connection {
    /// Connects to one address and goes through greeting and EHLO.
    pub(crate) async fn open(
        maintainer: &Rc<Maintainer>,
        record: &Rc<DomainRecord>,
        settings: &Rc<QueueSettings>,
        status: &Rc<Status>,
        candidate: &Candidate,
    ) -> Result<Self, NoSession> {
        let remote = candidate.remote;
        let stream = connect(maintainer, settings, status, candidate).await.map_err(NoSession::Network)?;
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
            pace: maintainer.hosts.borrow_mut().pace(remote),
            opened_under: settings.clone(),
            host: (settings.clone(), settings.host_limits(&maintainer.shared.limits, &record.name, &candidate.host)),
            first: None,
            slots: Default::default(),
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
            over: None,
        };
        loop {
            match connection.session.event() {
                Some(Event::Open) => return Ok(connection),
                Some(Event::Over(failure)) => {
                    let closed = || NoSession::Network(io::ErrorKind::ConnectionAborted.into());
                    return Err(failure.map_or_else(closed, NoSession::Refused));
                }
                Some(Event::Done(_)) => {}
                None => connection.progress().await,
            }
        }
    }

    /// What was taken for it under the limits of queue and host.
    pub(crate) fn admitted(&mut self, first: Tokens, slots: [Option<Slot>; 2]) {
        (self.first, self.slots) = (Some(first), slots);
    }

    /// Carries messages until the session is over, then waits for what the outcomes still need. Says so if the host turned
    /// it away.
    async fn work(&mut self) -> Option<NotOpened> {
        loop {
            self.settle();
            if self.over.is_some() {
                break;
            }
            self.fill();
            self.status.ending.set(self.session.is_ending());
            self.progress().await;
        }
        let ended_by_us = self.status.ending.replace(true);
        self.maintainer.put_back(self.jobs.drain(..).flat_map(|job| job.messages).collect::<Vec<_>>().into_iter());
        let turned_away = if ended_by_us { None } else { self.turned_away() };
        self.give_back_upcoming().await;
        while self.unlinking.join_next().await.is_some() {}
        self.status.unlinking.set(false);
        while self.settling.join_next().await.is_some() {}
        turned_away
    }

    /// What is being read is waited for, so that the next connection need not begin again with it.
    async fn give_back_upcoming(&mut self) {
        let mut messages = Vec::new();
        for upcoming in std::mem::take(&mut self.upcoming) {
            messages.extend(match upcoming {
                Upcoming::Ready(message)
                | Upcoming::Converting { message, .. }
                | Upcoming::Converted { message, .. } => Some(message),
                Upcoming::Reading { held, id, read } if !self.maintainer.stopping.get() && !read.awaits_memory() => {
                    self.maintainer.taken_from_spool(held, id, read.await)
                }
                Upcoming::Reading { .. } => None,
            });
        }
        self.maintainer.put_back(messages.into_iter());
    }

    /// Whether the host ended the session before it had answered for any message, though there is mail for it. That is as
    /// good as no session: the address is left alone, lest a host that greets and closes is called again at once, for ever.
    fn turned_away(&mut self) -> Option<NotOpened> {
        let has_mail = !self.upcoming.is_empty() || self.maintainer.queues.borrow().active(self.record.queue) != 0;
        // A host that was kept waiting because there is no memory to send from has a right to end the session.
        let kept_waiting =
            |upcoming: &Upcoming| matches!(upcoming, Upcoming::Reading { read, .. } if read.awaits_memory());
        if self.has_served || !has_mail || self.upcoming.iter().any(kept_waiting) {
            return None;
        }
        let unsaid = || Failure { stage: Stage::Idle, reply: SESSION_ENDED, internal: true };
        let failure = self.over.take().flatten().unwrap_or_else(unsaid);
        let refused = NoSession::Refused(failure.clone());
        let settings = &self.opened_under;
        let mut retry_at = host_failed(&self.maintainer, &self.record, settings, &self.candidate, &refused);
        let (now, hosts) = (self.maintainer.deps.clock.now(), self.maintainer.hosts.borrow());
        let is_other = |candidate: &&Candidate| candidate.remote != self.candidate.remote;
        for candidate in self.record.route.borrow().iter().filter(is_other) {
            // Another address may do better, at once.
            retry_at = retry_at.min(hosts.avoided_until(&candidate.remote, now)?);
        }
        let refusal = Some(Box::new((self.candidate.clone(), failure)));
        Some(NotOpened::Unreachable { retry_at, refusal, tried: true, connection: self.status.id })
    }

    /// Takes the session's events: outcomes go to the maintainer.
    fn settle(&mut self) {
        while let Some(event) = self.session.event() {
            match event {
                Event::Open => {}
                Event::Done(done) => self.done(done),
                Event::Over(failure) => self.over = Some(failure),
            }
        }
    }

    fn done(&mut self, done: Done) {
        let Some(job) = self.jobs.pop_front() else { return };
        self.attempt.settings = job.settings;
        if !self.has_served && done.outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Untried)) {
            self.has_served = true;
            self.record.reached();
        }
        if done.outcomes.iter().any(|outcome| matches!(outcome, Outcome::Delivered(_))) {
            let now = self.maintainer.deps.clock.now();
            self.pace.delivered(now.saturating_duration_since(job.submitted));
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
        if failure.internal && matches!(failure.stage, Stage::SendingBody | Stage::ReadingConfirmation) {
            // The server may have taken it: trying again can deliver it twice, not trying could lose it.
            self.maintainer.meter.lost_after_dot.add(1);
        }
        let failed = Failed { stage: failure.stage, bytes, reply: failure.reply, quiet: false };
        self.maintainer.attempt_failed(&self.attempt, message, failed)
    }

    /// Gives the session the next messages it takes; ends it when there is a reason to.
    fn fill(&mut self) {
        let settings = self.record.settings();
        if self.maintainer.stopping.get() || self.used_up(&settings) {
            return self.session.quit();
        }
        while self.may_take_more() && !self.used_up(&settings) {
            let accepts = self.session.accepts_transaction();
            match self.upcoming.pop_front() {
                Some(Upcoming::Ready(message)) if accepts => self.submit(message, &settings),
                Some(Upcoming::Converted { message, form }) if accepts => self.submit_as(message, form, &settings),
                None if accepts && self.take_next(&settings) => {}
                other => {
                    if let Some(other) = other {
                        self.upcoming.push_front(other);
                    }
                    return self.read_ahead(&settings);
                }
            }
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
        let at_hand = self.delivered + (self.jobs.len() + self.upcoming.len()) as u64;
        let named = self.named + self.upcoming.len() as u64;
        is_reached(settings.deliveries_max, at_hand) || is_reached(settings.recipients_max, named)
    }

    /// Takes the next message of the queue, if there is one and the throttles have a place for it.
    fn take_next(&mut self, settings: &Rc<QueueSettings>) -> bool {
        let first = self.first.take();
        let is_first = first.is_some();
        let Some(tokens) = first.or_else(|| self.tokens(settings)) else { return false };
        match self.maintainer.next(&self.record, settings) {
            Some(mut taken) => {
                taken.held.pay(tokens);
                self.upcoming.push_back(self.upcoming(taken));
                true
            }
            None => {
                self.first = is_first.then_some(tokens);
                false
            }
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
        if self.maintainer.queues.borrow().active(self.record.queue) == 0 {
            return None;
        }
        let now = self.maintainer.deps.clock.now();
        let own = settings
            .limits
            .message(now)
            .map_err(|busy| self.maintainer.saturated(&self.record, Awaits::Message, busy))
            .ok()?;
        match self.host.1.as_ref().map_or(Ok(None), |host| host.message(now)) {
            Ok(of_host) => Some([own, of_host]),
            Err(_) => {
                self.session.quit();
                None
            }
        }
    }

    /// Whether the connection has carried all it may: its number, or all there was before a reload changed the way.
    fn used_up(&self, settings: &QueueSettings) -> bool {
        let carried = self.delivered + self.jobs.len() as u64;
        let is_full = is_reached(settings.deliveries_max, carried) || is_reached(settings.recipients_max, self.named);
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

    fn upcoming(&self, taken: Taken) -> Upcoming {
        match taken.resident {
            Some(resident) => Upcoming::Ready(InHand { held: taken.held, resident }),
            None => {
                let read = Box::new(self.maintainer.deps.spool.read_for(taken.id, self.record.share()));
                Upcoming::Reading { held: taken.held, id: taken.id, read }
            }
        }
    }

    /// One transaction, once the body has a form that the server takes.
    fn submit(&mut self, first: InHand, settings: &Rc<QueueSettings>) {
        let Some(body) = first.body().cloned() else { return self.read_again(first) };
        let (batch, eight_bit) = (first.envelope().batch, first.envelope().eight_bit);
        if !eight_bit || self.session.extensions().eight_bit_mime || settings.transform == Transform8BitMime::No {
            return self.transact(first, body, settings);
        }
        let minds_header = settings.transform == Transform8BitMime::Strict;
        if let Some(form) = self.maintainer.forms.known(batch, minds_header) {
            return self.submit_as(first, form, settings);
        }
        let (maintainer, pool) = (self.maintainer.clone(), self.maintainer.deps.pools.get("CPU"));
        let form = Box::pin(async move {
            let form = Form::of(body, minds_header, pool, maintainer.owners.bodies.clone()).await;
            maintainer.forms.remember(batch, minds_header, &form);
            form
        });
        self.upcoming.push_front(Upcoming::Converting { message: first, form });
    }

    /// One transaction with the body in another form, or the failure of a message that has none.
    fn submit_as(&mut self, first: InHand, form: Form, settings: &Rc<QueueSettings>) {
        let Some(body) = first.body().cloned() else { return self.read_again(first) };
        match form.body(body) {
            Ok(body) => self.transact(first, body, settings),
            Err(reply) => {
                self.attempt.settings = settings.clone();
                let failure = Failure { stage: Stage::DuringMailFrom, reply, internal: true };
                if let Some(rest) = self.failed(first, failure, 0) {
                    self.settling.spawn_local(rest);
                }
            }
        }
    }

    /// One transaction: the message, and the siblings behind it that can share it.
    fn transact(&mut self, first: InHand, body: Body, settings: &Rc<QueueSettings>) {
        let declared = first.envelope().eight_bit && settings.declares_eight_bit;
        let batch_max = match settings.recipients_max {
            0 => settings.batch_max,
            most => settings.batch_max.min(usize::try_from(most - self.named).unwrap_or(usize::MAX)),
        };
        let mut messages: SmallVec<[InHand; 1]> = SmallVec::new();
        messages.push(first);
        while messages.len() < batch_max && self.is_sibling_next(&messages[0]) {
            let Some(tokens) = self.tokens(settings) else { break };
            let taken = self.maintainer.queues.borrow_mut().take(self.record.queue);
            let Some(Taken { mut held, resident: Some(resident), .. }) =
                taken.map(|taken| self.maintainer.taken(taken))
            else {
                break;
            };
            held.pay(tokens);
            messages.push(InHand { held, resident });
        }
        let forward_paths = messages.iter().map(|message| &message.envelope().forward_path);
        self.session.submit(&messages[0].envelope().reverse_path, forward_paths, body, declared);
        self.named += messages.len() as u64;
        self.jobs.push_back(Job { messages, settings: settings.clone(), submitted: self.maintainer.deps.clock.now() });
        self.settle();
    }

    /// Whether the next message of the queue can share the transaction of this one.
    fn is_sibling_next(&self, first: &InHand) -> bool {
        let (queues, first) = (self.maintainer.queues.borrow(), first.envelope());
        queues.head(self.record.queue).is_some_and(|next| {
            let envelope = &next.envelope;
            envelope.batch == first.batch && envelope.reverse_path == first.reverse_path && next.body.is_some()
        })
    }

    fn read_again(&mut self, message: InHand) {
        let id = message.envelope().id;
        let read = Box::new(self.maintainer.deps.spool.read_for(id, self.record.share()));
        self.upcoming.push_front(Upcoming::Reading { held: message.held, id, read });
    }

    /// Waits until something has happened, and tells the session.
    async fn progress(&mut self) {
        let idle = self.session.is_idle() && self.upcoming.is_empty() && self.may_take_more();
        let mut parked = false;
        std::future::poll_fn(|context| {
            if parked && self.unpark() {
                return Poll::Ready(());
            }
            if self.poll(context).is_ready() {
                self.unpark();
                return Poll::Ready(());
            }
            if idle {
                self.status.parked.set(Some(context.waker().clone()));
                parked = true;
            }
            Poll::Pending
        })
        .await;
    }

    /// No longer offers itself for work; whether somebody took the offer.
    fn unpark(&self) -> bool {
        self.status.parked.take().is_none()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let broken = self.poll_write(context);
        if self.poll_read(context).is_ready() {
            return Poll::Ready(());
        }
        if broken {
            self.session.closed();
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
            if let Upcoming::Converting { form, .. } = &mut self.upcoming[place] {
                let Poll::Ready(form) = form.as_mut().poll(context) else { continue };
                read_any = Poll::Ready(());
                if let Some(Upcoming::Converting { message, .. }) = self.upcoming.remove(place) {
                    self.upcoming.insert(place, Upcoming::Converted { message, form });
                }
                continue;
            }
            let Upcoming::Reading { read, .. } = &mut self.upcoming[place] else { continue };
            let Poll::Ready(result) = Pin::new(read).poll(context) else { continue };
            read_any = Poll::Ready(());
            if let Some(Upcoming::Reading { held, id, .. }) = self.upcoming.remove(place)
                && let Some(message) = self.maintainer.taken_from_spool(held, id, result)
            {
                self.ahead = read_ahead(message.envelope().body_bytes);
                self.upcoming.insert(place, Upcoming::Ready(message));
            }
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
) -> io::Result<Box<dyn Stream>> {
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
