//! One ESMTP session: the shell around `smtp::ServerSession`. Moves octets, brings questions to where they are decided,
//! tells the loggers what was refused; decides nothing about the protocol.
//!
//! A transaction keeps the configuration generation it began with. Between transactions a session goes over to a newer
//! generation if its own options are the same there; if they are not, it ends with 421 at the next MAIL or RSET.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use message::MessageId;
use message::trace::{Trace, With};
use netlistener::{Accepted, Client, Seat};
use policy::{Scope, ValidationContext};
use queue::Batch;
use scheduler::{MemoryCharge, Pressure};
use smtp::server::{About, ReceptionState};
use smtp::{Mailbox, Phase, Received, Refusal, Refused, Reply, ReversePath, ServerSession, Step, Verdict, replies};
use tls::TlsContexts;

use crate::epoch::Epoch;
use crate::front::Front;
use crate::link::{Event, Link};
use crate::listener::Shop;
use crate::options::ListenerOptions;
use crate::refusal::{BLACKHOLED, POLICY_TIMED_OUT, RELAYING_DENIED, STORAGE_FULL, TOO_MANY_MESSAGES_NOW, shown};
use crate::session_hooks::SessionHooks;
use crate::sessions::Presence;
use crate::store::{Bringing, Kept};
use crate::validation;
use crate::{bounces, relay, tls_door};

/// Serves a connection until it ends.
pub(crate) async fn serve(shop: Rc<Shop>, accepted: Accepted) {
    shop.meter.sessions_entered.add(1);
    let _charge = shop.owners.sessions.charge(shop.session_held.get());
    let meter = shop.meter.clone();
    let (mut session, mut link) = Session::new(shop, accepted);
    SessionHooks::tell(&session.epoch.hooks.begins, &session.facts);
    if session.begin(&mut link).await && session.converse(&mut link).await {
        link.close().await;
    } else {
        SessionHooks::tell(&session.epoch.hooks.aborted, &session.facts);
    }
    SessionHooks::tell(&session.epoch.hooks.ends, &session.facts);
    meter.sessions_left.add(1);
}

struct Session {
    shop: Rc<Shop>,
    epoch: Rc<Epoch>,
    options: Rc<ListenerOptions>,
    core: ServerSession,
    facts: policy::Session,
    context: ValidationContext,
    can_relay: bool,
    /// Of the session's TLS.
    cipher: Option<&'static str>,
    /// The transaction's id, from DATA on.
    batch: MessageId,
    /// What stands in front of the message, from DATA on.
    front: Front,
    /// Who decided on the refusal that the core is about to report, and as what the rejectlog knows it.
    decided: Decided,
    /// Of the message being stored, for the log should it be refused.
    stored_from: Option<ReversePath>,
    /// Of the message being received.
    receiving: MemoryCharge,
    presence: Presence,
    _seat: Seat,
}

#[derive(Default)]
struct Decided {
    module: Option<Arc<str>>,
    /// Relay control did; these are the variables of that moment.
    relaying_denied: Option<ValidationContext>,
}

impl Session {
    fn new(shop: Rc<Shop>, accepted: Accepted) -> (Self, Link) {
        let Accepted { stream, client: Client { peer, local, listen }, stop, seat } = accepted;
        let now = shop.clock.now();
        let epoch = shop.epoch();
        let peer_ip = peer.map(|peer| peer.ip().to_canonical());
        let options = epoch.options(&listen, peer_ip, now);
        let shown = peer.map_or_else(|| "a local client".to_owned(), |peer| peer.to_string());
        let core = ServerSession::new(options.server.clone(), &shown, now);
        let connection = shop.ids.next();
        let presence = shop.sessions.enter(connection, stream.descriptor(), (listen.clone(), peer), now);
        let link = Link::new(stream, shop.buffers.clone(), stop, core.deadline());
        let mut facts = policy::Session::new(peer, local, connection, listen);
        let mut context = ValidationContext::default();
        context.variables.connection.clone_from(&options.context);
        let can_relay = relay::client_may_relay(&options, peer_ip);
        facts.can_relay = can_relay;
        let (batch, front, decided) = (MessageId::NULL, Front::default(), Decided::default());
        let receiving = shop.owners.receiving.charge(0);
        let mut session = Self {
            shop,
            epoch,
            options,
            core,
            facts,
            context,
            can_relay,
            cipher: None,
            batch,
            front,
            decided,
            stored_from: None,
            receiving,
            presence,
            _seat: seat,
        };
        if can_relay && !session.epoch.phases.idle {
            session.context.set(Scope::Connection, "can_relay", "true");
        }
        (session, link)
    }

    /// Where sessions begin with TLS, the handshake; whether there is somebody to greet.
    async fn begin(&mut self, link: &mut Link) -> bool {
        !self.options.implicit_tls || self.secure(link).await
    }

    /// Shakes hands; false if the connection is lost over it.
    async fn secure(&mut self, link: &mut Link) -> bool {
        let contexts = self.epoch.generation.extension::<TlsContexts>();
        let context = self.options.tls.as_ref().and_then(|setup| contexts.as_ref()?.server(setup).cloned());
        let secured = match context {
            Some(context) => link.secure(context, self.options.server.timeouts.command.min(HANDSHAKE_MAX)).await,
            None => Err(io::Error::other("there is no certificate for this client")),
        };
        if let Err(error) = secured {
            self.not_secured(&error);
            return false;
        }
        self.shop.meter.tls_handshakes.add(1);
        self.core.secured(self.shop.clock.now());
        // What the client said in the clear is forgotten, by policy and the logs too.
        self.facts.helo = "".into();
        for name in ["ehlo_string", "ehlo_domain"] {
            self.context.unset(Scope::Connection, name);
        }
        if let Some(facts) = link.tls() {
            self.cipher = Some(facts.cipher);
            self.can_relay |= facts.is_verified && self.options.verified_peer_can_relay;
            self.facts.can_relay = self.can_relay;
            self.core.set_trusted(self.is_trusted());
            if !self.epoch.phases.idle {
                tls_door::set_variables(facts, &mut self.context);
            }
        }
        true
    }

    /// The client is gone with the handshake: there is nobody to reply to.
    fn not_secured(&mut self, error: &io::Error) {
        self.shop.meter.tls_failed.add(1);
        let reply = Reply::with_text(421, Some((4, 7, 0)), format!("TLS handshake failed: {error}"));
        let (state, refused, about) = (ReceptionState::StartingTls, Refused::Other, About::default());
        self.log(&Refusal { state, reply, refused, about, repeated: false });
    }

    /// The dialogue; whether its end is ours to close.
    async fn converse(&mut self, link: &mut Link) -> bool {
        let mut now = self.shop.clock.now();
        loop {
            self.ask_for_memory(link.input.len());
            match self.core.advance(&mut link.input, now) {
                Step::NeedBytes => {
                    if !self.wait(link).await {
                        return false;
                    }
                    now = self.shop.clock.now();
                }
                Step::Ask(phase) => {
                    let verdict = self.decide(phase).await;
                    now = self.shop.clock.now();
                    self.core.set_trusted(self.is_trusted());
                    self.core.answer(verdict, now);
                }
                Step::Store(received) => {
                    self.receiving.set(0);
                    let waiting = self.store(*received).await;
                    if !waiting.is_empty() && !self.hand_over(waiting, link).await {
                        return false;
                    }
                    now = self.shop.clock.now();
                }
                Step::StartTls => {
                    if !self.flush(link).await || !self.secure(link).await {
                        return false;
                    }
                    now = self.shop.clock.now();
                }
                Step::Refused(refusal) => self.log(&refusal),
                Step::Hangup => return self.flush(link).await,
            }
        }
    }

    /// So much has come: the memory it takes, should it be of a message, is asked for before the message grows. A message
    /// that may not grow is refused at its end, and nothing of it is kept until then.
    fn ask_for_memory(&mut self, octets: usize) {
        if !self.receiving.grow(self.core.message_held_with(octets)) {
            self.shop.meter.no_memory.add(1);
            self.core.no_memory();
            self.receiving.set(0);
        }
    }

    /// Sends what there is to send, then waits for the client; false if it is gone.
    async fn wait(&mut self, link: &mut Link) -> bool {
        self.receiving.set(self.core.message_held());
        if !self.flush(link).await {
            return false;
        }
        self.presence.is_at(self.core.reception_state(), self.shop.clock.now());
        match link.wait(self.core.deadline()).await {
            Event::Bytes => self.look_for_newer_generation(),
            Event::Closed => return false,
            Event::Deadline => {
                self.shop.meter.timed_out.add(1);
                self.core.timed_out();
            }
            Event::Stop => self.core.shutdown(),
        }
        true
    }

    async fn flush(&mut self, link: &mut Link) -> bool {
        let patience = self.options.server.timeouts.command;
        link.send(self.core.output(), patience).await.is_ok()
    }

    fn look_for_newer_generation(&mut self) {
        if self.core.transaction().is_some() {
            return;
        }
        let epoch = self.shop.epoch();
        if Rc::ptr_eq(&epoch, &self.epoch) {
            return;
        }
        let peer = self.facts.peer.map(|peer| peer.ip().to_canonical());
        let options = epoch.options(&self.facts.listen, peer, self.shop.clock.now());
        if *options == *self.options {
            (self.epoch, self.options) = (epoch, options);
        } else {
            self.shop.meter.reconfigured.add(1);
            self.core.reconfigured(options.reconfigured.clone());
        }
    }

    async fn decide(&mut self, phase: Phase) -> Verdict {
        match phase {
            Phase::Ehlo => {
                let helo = self.core.helo();
                self.facts.helo = helo.map_or("", |helo| &*helo.name).into();
                self.facts.extended = helo.is_some_and(|helo| helo.extended);
            }
            Phase::MailFrom => {
                if let Some(reply) = self.no_room() {
                    return Verdict::Refuse(reply);
                }
                self.context.variables.message.clear();
            }
            Phase::RcptTo if !self.may_relay() => {
                self.decided.relaying_denied = Some(self.context_with(&[Phase::Ehlo, Phase::MailFrom, Phase::RcptTo]));
                return Verdict::Refuse(RELAYING_DENIED);
            }
            Phase::RcptTo if self.is_blackholed() => return Verdict::Refuse(BLACKHOLED),
            Phase::Connect | Phase::RcptTo => {}
            Phase::Data => {
                if self.shop.pressure.get() == Pressure::HighWater {
                    return Verdict::Refuse(replies::NO_MEMORY);
                }
                if !self.epoch.phases.rcptto_list_final.is_empty() {
                    let verdict = self.ask(phase).await;
                    if !matches!(verdict, Verdict::Accept) {
                        return verdict;
                    }
                }
                // Counted here, where a message is sure to come: a MAIL may lead to none.
                let throttle = self.options.throttle.as_ref();
                if throttle.is_some_and(|throttle| !throttle.take(self.shop.clock.now())) {
                    return Verdict::Refuse(TOO_MANY_MESSAGES_NOW);
                }
                return self.take_data();
            }
        }
        (self.facts.messages, self.facts.recipients) = (self.core.messages(), self.core.recipients());
        self.ask(phase).await
    }

    /// Policy's verdict on a phase before the message.
    async fn ask(&mut self, phase: Phase) -> Verdict {
        let asked = validation::ask(&self.epoch.phases, phase, &self.core, &self.facts, &mut self.context);
        match tokio::time::timeout(self.options.policy_timeout, asked).await {
            Ok((verdict, module)) => {
                self.decided.module = module;
                let tarpit = self.context.take_tarpit();
                if !tarpit.is_zero() {
                    self.shop.meter.tarpitted.add(1);
                    tokio::time::sleep(tarpit).await;
                }
                verdict
            }
            Err(_) => {
                self.policy_timed_out(phase_name(phase));
                Verdict::Refuse(POLICY_TIMED_OUT)
            }
        }
    }

    /// A provider is given up; whatever it had set by then is not acted upon.
    fn policy_timed_out(&mut self, phase: &str) {
        self.shop.meter.policy_timed_out.add(1);
        self.context.take_refusal();
        tracing::error!(target: "VALIDATE", "a provider of {phase} did not answer within policy_timeout ({} s): \
            451 for connection {}", self.options.policy_timeout.as_secs(), self.facts.connection);
    }

    /// The reply to a MAIL that no message could follow now.
    fn no_room(&self) -> Option<Reply> {
        let declared = self.core.transaction().and_then(|transaction| transaction.declared_octets).unwrap_or(0);
        let declared = declared.min(self.options.server.limits.message_octets_max);
        if self.shop.pressure.get() == Pressure::HighWater || !self.shop.owners.receiving.has_room(declared) {
            return Some(replies::NO_MEMORY);
        }
        if !self.shop.spool.has_room(declared) {
            return Some(STORAGE_FULL);
        }
        let throttle = self.options.throttle.as_ref();
        throttle.is_some_and(|throttle| !throttle.has_room(self.shop.clock.now())).then_some(TOO_MANY_MESSAGES_NOW)
    }

    fn may_relay(&self) -> bool {
        let (Some(transaction), Some(forward_path)) = (self.core.transaction(), self.core.forward_path()) else {
            return false;
        };
        self.is_trusted()
            || self.takes_for(&transaction.reverse_path, forward_path.mailbox())
            || bounces::is_bounce_address(&self.options, &self.epoch.generation, forward_path.mailbox())
    }

    fn is_blackholed(&self) -> bool {
        let domain = self.core.forward_path().map_or("", |forward_path| forward_path.mailbox().domain());
        self.epoch.refuses_as_blackholed(&self.options.assigned, domain)
    }

    /// Whether a client that may not relay may name this recipient all the same: policy's word goes before the configuration's.
    fn takes_for(&self, reverse_path: &ReversePath, recipient: &Mailbox) -> bool {
        let by_policy = self.epoch.hooks.may_relay_to(recipient.domain());
        by_policy.unwrap_or_else(|| relay::recipient_is_ours(&self.options, reverse_path, recipient))
    }

    /// Whether the client may relay to anyone.
    fn is_trusted(&self) -> bool {
        self.can_relay || self.context.get(Scope::Connection, "can_relay") == "true"
    }

    /// The message may come: here it gets its id and the header fields in front of it.
    fn take_data(&mut self) -> Verdict {
        self.batch = self.shop.ids.next();
        let Some(transaction) = self.core.transaction() else {
            return Verdict::Accept;
        };
        let helo = self.core.helo();
        let trace = Trace {
            reverse_path: &transaction.reverse_path,
            peer: shown(self.facts.peer),
            helo: helo.map_or("", |helo| &*helo.name),
            host: &self.options.received_hostname,
            with: match helo.is_some_and(|helo| helo.extended) {
                true if self.core.is_secured() => With::Esmtps,
                true => With::Esmtp,
                false => With::Smtp,
            },
            cipher: self.cipher,
            id: self.batch,
            date: &self.shop.date(),
        };
        let mut fields = Vec::with_capacity(448);
        self.front = Front::write(&mut fields, &trace, self.options.trace_headers, self.options.headers);
        Verdict::AcceptWithTrace(fields)
    }

    /// What is stored, but has found no room in its queues yet, is returned.
    async fn store(&mut self, received: Received) -> Vec<Batch> {
        self.stored_from = Some(received.transaction.reverse_path.clone());
        let mut bringing = Bringing {
            shop: &self.shop,
            epoch: &self.epoch,
            options: &self.options,
            facts: &self.facts,
            context: &mut self.context,
            batch: self.batch,
            front: self.front,
        };
        let stored = bringing.store(received).await;
        let now = self.shop.clock.now();
        match stored {
            Ok(Kept { reply, waiting }) => {
                self.core.stored(reply, now);
                waiting
            }
            Err(rejected) => {
                if rejected.reply == POLICY_TIMED_OUT {
                    self.policy_timed_out("a message");
                }
                self.decided.module = rejected.module;
                self.core.stored(rejected.reply, now);
                if rejected.disconnect {
                    self.core.close();
                }
                Vec::new()
            }
        }
    }

    /// Replies first, then waits until the delivery loops take the messages, and with that until the session reads on. They
    /// are given even if the client is gone; whether it is not.
    async fn hand_over(&mut self, waiting: Vec<Batch>, link: &mut Link) -> bool {
        let replied = self.flush(link).await;
        for batch in waiting {
            self.shop.intake.give(batch).await;
        }
        replied
    }

    fn log(&mut self, refusal: &Refusal) {
        let Decided { module, relaying_denied } = std::mem::take(&mut self.decided);
        let meter = &self.shop.meter;
        if refusal.reply.is_permanent() { &meter.refused_permanent } else { &meter.refused_transient }.add(1);
        if refusal.refused == Refused::Mail {
            meter.rejected.add(1);
        }
        meter.count_end(&refusal.reply);
        if refusal.repeated || self.epoch.logs.rejection.is_empty() {
            return;
        }
        let phase = if relaying_denied.is_some() { "relaying denied" } else { refusal.state.as_str() };
        let context = relaying_denied.unwrap_or_else(|| self.context_about(refusal));
        self.epoch.logs.rejection(&logging::RejectionRecord {
            at: self.shop.clock.unix(),
            remote: shown(self.facts.peer),
            local: shown(self.facts.local),
            connection: self.facts.connection,
            phase,
            code: refusal.reply.code,
            module: module.as_deref().unwrap_or(""),
            context: &context.variables,
            text: &log_text(refusal),
        });
    }

    /// Policy's variables, with those of the addresses that a refusal is about.
    fn context_about(&self, refusal: &Refusal) -> ValidationContext {
        let mut context = self.context_with(&[Phase::Ehlo]);
        let is_stored = refusal.state == ReceptionState::SendingBodyResponse;
        let stored_from = self.stored_from.as_ref().filter(|_| is_stored).map(ReversePath::as_str);
        if let Some(path) = refusal.about.reverse_path.as_deref().or(stored_from) {
            let mailbox = Mailbox::parse(path).ok();
            validation::set_address(&mut context, "mailfrom", "MAIL FROM", path, mailbox.as_ref());
        }
        if let Some(path) = &refusal.about.forward_path {
            let mailbox = Mailbox::parse(path).ok();
            validation::set_address(&mut context, "rcptto", "RCPT TO", path, mailbox.as_ref());
        }
        context
    }

    /// Policy's variables, with those of these phases that were not set because no policy would have read them.
    fn context_with(&self, phases: &[Phase]) -> ValidationContext {
        let mut context = self.context.clone();
        for &phase in phases.iter().filter(|_| self.epoch.phases.idle) {
            let known = match phase {
                Phase::Ehlo => !self.facts.helo.is_empty(),
                _ => self.core.transaction().is_some(),
            };
            if known {
                validation::set_variables(phase, &self.core, &self.facts, &mut context);
            }
        }
        context
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Connect => "validate_connect",
        Phase::Ehlo => "validate_ehlo",
        Phase::MailFrom => "validate_mailfrom",
        Phase::RcptTo => "validate_rcptto",
        Phase::Data => "validate_rcptto_list_final",
    }
}

/// The reply without its code, which has a field of its own.
fn log_text(refusal: &Refusal) -> String {
    let reply = refusal.reply.to_string();
    reply.get(4..).unwrap_or("").to_owned()
}

/// How long a handshake may take, at most.
const HANDSHAKE_MAX: Duration = Duration::from_secs(60);
