//! The ESMTP listener type: what it is made of, and the part of it that serves one loop.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use config::Configuration;
use message::{Date, IdGenerator};
use netlistener::{Accepted, NetlistenerType, Service, Turned};
use queue::Intake;
use scheduler::{Clock, Counter, LoopHandle, Measure, MemoryOwner, MemoryPressure, Meters, Pressure};
use smtp::server::ReceptionState;
use smtp::{Reply, replies};
use spool::Spool;

use crate::bounces::BounceReader;
use crate::door_log::{self, DoorLog, Turning};
use crate::epoch::{Epoch, WORD};
use crate::link::Buffers;
use crate::session;
use crate::sessions::Sessions;
use crate::throttle::Throttles;

/// What reception is built from.
#[derive(Clone)]
pub struct Parts {
    /// The time.
    pub clock: Clock,
    /// The configuration; a generation's hooks are its `hooks::HookSet` extension.
    pub configuration: Configuration,
    /// Ids of messages and connections.
    pub ids: Arc<IdGenerator>,
    /// Where messages are made safe.
    pub spool: Spool,
    /// Where they go then.
    pub intake: Intake,
    /// How short memory is: above the high-water mark no mail is taken.
    pub pressure: MemoryPressure,
    /// Reads bounces that come as mail.
    pub bounces: Arc<dyn BounceReader>,
    /// What the operating system calls this host; the `hostname` option goes before it.
    pub system_hostname: Arc<str>,
}

/// Serves the Listen stanzas of `esmtp_listener`.
pub struct EsmtpListener {
    parts: Parts,
    throttles: Arc<Throttles>,
    meter: ReceptionMeter,
    owners: Owners,
    door_log: Arc<DoorLog>,
    sessions: Sessions,
}

impl EsmtpListener {
    /// Ready to be registered with `netlistener`.
    pub fn new(parts: Parts, meters: &Meters) -> Self {
        let (meter, owners) = (ReceptionMeter::new(meters), Owners::new(meters));
        let (throttles, door_log, sessions) = Default::default();
        Self { parts, throttles, meter, owners, door_log, sessions }
    }

    /// The sessions it serves, for the operator.
    pub fn sessions(&self) -> Sessions {
        self.sessions.clone()
    }
}

impl NetlistenerType for EsmtpListener {
    fn word(&self) -> &'static str {
        WORD
    }

    fn start(&self, _: &LoopHandle) -> Rc<dyn Service> {
        let shared = (self.throttles.clone(), self.sessions.clone());
        Rc::new(Shop::new(self.parts.clone(), shared, self.meter.clone(), self.owners.clone()))
    }

    fn is_overloaded(&self) -> bool {
        self.parts.pressure.get() == Pressure::HighWater
    }

    fn farewell(&self, turned: Turned) -> &'static [u8] {
        match turned {
            Turned::ConcurrencyLimit => b"421 4.4.5 Service unavailable, concurrency limit reached\r\n",
            Turned::OutOfDescriptors => b"421 4.3.4 allocated resources exceeded\r\n",
            Turned::Denied => b"554 5.7.1 access denied\r\n",
            Turned::Overloaded => b"421 4.3.1 insufficient system memory\r\n",
        }
    }

    /// A refusal like any other: it is counted, and has its line.
    fn turned_away(&self, turned: Turned, peer: Option<SocketAddr>, local: Option<SocketAddr>) {
        self.meter.turned_away.add(1);
        let said = String::from_utf8_lossy(self.farewell(turned));
        let reply = Reply::parse(said.trim_end(), 421);
        if reply.is_permanent() { &self.meter.refused_permanent } else { &self.meter.refused_transient }.add(1);
        let phase = match turned {
            Turned::ConcurrencyLimit => "concurrency limit",
            _ => ReceptionState::JustConnected.as_str(),
        };
        let text = said.trim_end().get(4..).unwrap_or("").to_owned();
        let parts = self.parts.clone();
        let turning = Turning { peer, local, phase, code: reply.code, text };
        self.door_log.tell(turning, move |turning| door_log::write(&parts, turning));
    }
}

/// `reception.…`
#[derive(Clone)]
pub(crate) struct ReceptionMeter {
    pub(crate) sessions_entered: Counter,
    pub(crate) sessions_left: Counter,
    /// Transactions that were answered 250: one each, however many recipients it has.
    pub(crate) messages: Counter,
    /// Their recipients: the messages that were queued.
    pub(crate) recipients: Counter,
    /// Their sizes as RFC 1870 counts, trace fields among them: once each, however many recipients.
    pub(crate) octets: Counter,
    /// MAIL, RCPT and DATA refused, and messages: by policy, relay control, a limit or the spool.
    pub(crate) rejected: Counter,
    pub(crate) store_failures: Counter,
    pub(crate) refused_transient: Counter,
    pub(crate) refused_permanent: Counter,
    pub(crate) timed_out: Counter,
    /// Handshakes of TLS that came to an end, and those that failed, each with its connection.
    pub(crate) tls_handshakes: Counter,
    pub(crate) tls_failed: Counter,
    /// Connections that did not become sessions, because of a cap, a denial, or want of memory or descriptors.
    turned_away: Counter,
    /// Messages that were refused while they came, for want of memory.
    pub(crate) no_memory: Counter,
    pub(crate) reconfigured: Counter,
    pub(crate) policy_timed_out: Counter,
    /// Replies that a provider delayed.
    pub(crate) tarpitted: Counter,
    /// Sessions ended for too many commands that were none, for too many refusals, and for speaking another protocol.
    too_many_errors: Counter,
    too_many_refusals: Counter,
    foreign: Counter,
    /// Recipients that policy refused beside others that it took.
    pub(crate) recipients_refused: Counter,
    /// Bounces that came as mail, those of them that were discarded, and those refused because they could not be read.
    pub(crate) bounces: Counter,
    pub(crate) bounces_discarded: Counter,
    pub(crate) bounces_unread: Counter,
}

impl ReceptionMeter {
    fn new(meters: &Meters) -> Self {
        let counter = |name: &str| meters.counter(&format!("reception.{name}"));
        Self {
            sessions_entered: counter("sessions.entered"),
            sessions_left: counter("sessions.left"),
            messages: counter("messages.accepted"),
            recipients: counter("recipients.accepted"),
            octets: counter("octets.accepted"),
            rejected: counter("messages.rejected"),
            store_failures: counter("messages.store_failed"),
            refused_transient: counter("replies.refused_transient"),
            refused_permanent: counter("replies.refused_permanent"),
            timed_out: counter("sessions.timed_out"),
            tls_handshakes: counter("tls.handshakes"),
            tls_failed: counter("tls.failed"),
            turned_away: counter("sessions.turned_away"),
            no_memory: counter("messages.without_memory"),
            reconfigured: counter("sessions.reconfigured"),
            policy_timed_out: counter("policy.timed_out"),
            tarpitted: counter("policy.tarpitted"),
            too_many_errors: counter("sessions.too_many_errors"),
            too_many_refusals: counter("sessions.too_many_refusals"),
            foreign: counter("sessions.foreign_protocol"),
            recipients_refused: counter("recipients.refused_by_policy"),
            bounces: counter("bounces.accepted"),
            bounces_discarded: counter("bounces.discarded"),
            bounces_unread: counter("bounces.unread"),
        }
    }
}

impl ReceptionMeter {
    /// Counts the end of a session that the client brought upon itself.
    pub(crate) fn count_end(&self, reply: &Reply) {
        match reply {
            reply if *reply == replies::TOO_MANY_ERRORS => self.too_many_errors.add(1),
            reply if *reply == replies::TOO_MANY_REFUSALS => self.too_many_refusals.add(1),
            reply if *reply == replies::HTTP_NOT_SPOKEN || *reply == replies::TLS_NOT_SPOKEN => self.foreign.add(1),
            _ => {}
        }
    }
}

/// What the memory of reception is charged to.
#[derive(Clone)]
pub(crate) struct Owners {
    pub(crate) sessions: MemoryOwner,
    pub(crate) buffers: MemoryOwner,
    /// Messages being received.
    pub(crate) receiving: MemoryOwner,
    /// Those received.
    pub(crate) bodies: MemoryOwner,
}

impl Owners {
    fn new(meters: &Meters) -> Self {
        Self {
            sessions: meters.memory("reception:sessions"),
            buffers: meters.memory("reception:buffers"),
            receiving: meters.memory(RECEIVING),
            bodies: meters.memory(message::BODIES),
        }
    }
}

/// What messages being received are charged to.
pub const RECEIVING: &str = "reception:messages";

/// Everything the sessions of one loop share.
pub(crate) struct Shop {
    pub(crate) clock: Clock,
    pub(crate) ids: Arc<IdGenerator>,
    pub(crate) spool: Spool,
    pub(crate) intake: Intake,
    pub(crate) pressure: MemoryPressure,
    pub(crate) bounces: Arc<dyn BounceReader>,
    pub(crate) meter: ReceptionMeter,
    pub(crate) buffers: Rc<Buffers>,
    pub(crate) owners: Owners,
    /// Octets of the task that serves a session.
    pub(crate) session_held: Cell<usize>,
    configuration: Configuration,
    system_hostname: Arc<str>,
    throttles: Arc<Throttles>,
    pub(crate) sessions: Sessions,
    epoch: RefCell<Rc<Epoch>>,
    date: Cell<Option<Date>>,
}

impl Shop {
    fn new(
        parts: Parts,
        (throttles, sessions): (Arc<Throttles>, Sessions),
        meter: ReceptionMeter,
        owners: Owners,
    ) -> Self {
        let Parts { clock, configuration, ids, spool, intake, pressure, bounces, system_hostname } = parts;
        let epoch = Epoch::new(configuration.current(), system_hostname.clone(), throttles.clone());
        let epoch = RefCell::new(Rc::new(epoch));
        let (buffers, date) = (Rc::new(Buffers::new(&owners.buffers)), Cell::default());
        Self {
            clock,
            ids,
            spool,
            intake,
            pressure,
            bounces,
            meter,
            buffers,
            owners,
            session_held: Cell::default(),
            configuration,
            system_hostname,
            throttles,
            sessions,
            epoch,
            date,
        }
    }

    /// What this loop has made of the current generation.
    pub(crate) fn epoch(&self) -> Rc<Epoch> {
        let current = self.configuration.current();
        let mut epoch = self.epoch.borrow_mut();
        if epoch.generation.number() != current.number() {
            *epoch = Rc::new(Epoch::new(current, self.system_hostname.clone(), self.throttles.clone()));
        }
        epoch.clone()
    }

    /// The date for trace fields, made once a second.
    pub(crate) fn date(&self) -> Date {
        let now = self.clock.unix();
        match self.date.get().filter(|date| date.is_of(now)) {
            Some(date) => date,
            None => {
                let date = Date::new(now);
                self.date.set(Some(date));
                date
            }
        }
    }
}

impl Service for Shop {
    fn serve(self: Rc<Self>, accepted: Accepted) -> Pin<Box<dyn Future<Output = ()>>> {
        let shop = self.clone();
        let session = session::serve(self, accepted);
        // It is all alike, and looks only when it begins.
        shop.session_held.set(size_of_val(&session));
        Box::pin(session)
    }
}

/// What this room counts.
pub const MEASURES: &[Measure] = &[
    Measure::counter(
        "reception.policy.tarpitted",
        "replies",
        "Replies that policy has held back for a while (tarpit).",
    ),
    Measure::counter("reception.tls.handshakes", "handshakes", "TLS handshakes with clients that came to an end."),
    Measure::counter(
        "reception.tls.failed",
        "handshakes",
        "TLS handshakes with clients that failed or took too long, each with its connection.",
    ),
    Measure::counter(
        "reception.sessions.entered",
        "sessions",
        "ESMTP sessions that were begun: connections that came past the door.",
    ),
    Measure::counter(
        "reception.sessions.left",
        "sessions",
        "Those of them that ended, however. The difference is how many are open.",
    ),
    Measure::counter(
        "reception.sessions.timed_out",
        "sessions",
        "Sessions ended with 421 because the client sent nothing for too long.",
    ),
    Measure::counter(
        "reception.sessions.turned_away",
        "connections",
        "Connections that did not become sessions, because of a cap, a denial, or want of memory or descriptors.",
    ),
    Measure::counter(
        "reception.sessions.reconfigured",
        "times",
        "Times that a session between two messages went over to a newer configuration.",
    ),
    Measure::counter(
        "reception.sessions.too_many_errors",
        "sessions",
        "Sessions ended for too many commands that were none.",
    ),
    Measure::counter(
        "reception.sessions.too_many_refusals",
        "sessions",
        "Sessions ended for too many refusals between two accepted messages (max_refusals).",
    ),
    Measure::counter(
        "reception.sessions.foreign_protocol",
        "sessions",
        "Sessions closed because HTTP or TLS was spoken in the place of a command.",
    ),
    Measure::counter(
        "reception.messages.accepted",
        "messages",
        "Messages that were stored and acknowledged with 250, each once, however many recipients it has.",
    ),
    Measure::counter(
        "reception.messages.rejected",
        "refusals",
        "Refusals of mail: of MAIL, RCPT, DATA and of whole messages. A bad command is none.",
    ),
    Measure::counter(
        "reception.messages.store_failed",
        "messages",
        "Messages that were refused because the spool could not store them.",
    ),
    Measure::counter(
        "reception.messages.without_memory",
        "messages",
        "Messages refused with 452 4.3.1 at their end, because there was no memory to receive them in.",
    ),
    Measure::counter(
        "reception.recipients.accepted",
        "recipients",
        "Recipients of accepted messages: as many as R lines.",
    ),
    Measure::counter(
        "reception.recipients.refused_by_policy",
        "recipients",
        "Recipients that policy refused after the message, beside others of it that were taken.",
    ),
    Measure::counter(
        "reception.octets.accepted",
        "octets",
        "Sizes of accepted messages as RFC 1870 counts them, each once: without the dots of the transparency procedure and the final line.",
    ),
    Measure::counter(
        "reception.replies.refused_transient",
        "replies",
        "Refusals with a 4yz reply, of whatever command.",
    ),
    Measure::counter(
        "reception.replies.refused_permanent",
        "replies",
        "Refusals with a 5yz reply, of whatever command.",
    ),
    Measure::counter("reception.policy.timed_out", "times", "Times that a provider of policy did not answer in time."),
    Measure::counter(
        "reception.bounces.accepted",
        "recipients",
        "Recipients of accepted messages whose address is in bounce_domains: bounces that came as mail.",
    ),
    Measure::counter(
        "reception.bounces.discarded",
        "recipients",
        "Those of them that were discarded (bounce_behavior = blackhole).",
    ),
    Measure::counter(
        "reception.bounces.unread",
        "messages",
        "Messages to a bounce address that were refused with 451 4.3.2, because the CPU pool took no more work.",
    ),
];
