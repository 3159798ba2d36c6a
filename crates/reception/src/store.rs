//! Takes a whole message over: checks its header section, runs the phases of the message and of each recipient, makes it
//! safe, logs it and gives it to its queues.
//!
//! Invariant: a positive reply is made only after the spool has said that body and envelopes are safe, and waits for nothing
//! else: what a delivery loop has no room for is handed over once the client has its reply. A message stored whose session
//! then dies is delivered all the same.
//!
//! One message is stored for each RCPT: a recipient named twice gets two, as with Momentum. A recipient that policy
//! refuses here refuses the whole message, so that the client knows of everything that was not accepted.

use std::time::Duration;

use bytes::BytesMut;
use message::header::{self, Survey};
use message::wire;
use message::{Body, Envelope, MessageId, Origin, Protocol};
use queue::Arrival;
use smtp::{ForwardPath, Mailbox, Received, Reply, Transaction, replies};
use spool::SpoolError;
use tracing::error;

use crate::conformance::{DateHeader, MissingHeaders};
use crate::context::{Scope, ValidationContext};
use crate::epoch::Epoch;
use crate::front::{Front, Needed};
use crate::listener::Shop;
use crate::options::ListenerOptions;
use crate::phases::{FinalVerdict, MessageArgs, RecipientArgs, SessionFacts};
use crate::refusal;
use crate::validation::Rejected;

/// A line of a header section at most, so that one cut short is seen to be.
const LINE_OCTETS: usize = 1000;

/// What a session brings.
pub(crate) struct Bringing<'a> {
    pub(crate) shop: &'a Shop,
    pub(crate) epoch: &'a Epoch,
    pub(crate) options: &'a ListenerOptions,
    pub(crate) facts: &'a SessionFacts,
    pub(crate) context: &'a mut ValidationContext,
    /// The id of the transaction, as the trace fields have it.
    pub(crate) batch: MessageId,
    /// What the body begins with.
    pub(crate) front: Front,
}

/// A message that is safe.
pub(crate) struct Kept {
    pub(crate) reply: Reply,
    /// Messages still to be given to their queues, which is not to hold up the reply.
    pub(crate) waiting: Vec<Arrival>,
}

impl Bringing<'_> {
    /// What to tell the client, and what is left to do then.
    pub(crate) async fn store(&mut self, received: Received) -> Result<Kept, Rejected> {
        let Received { mut transaction, body, .. } = received;
        let mut body = self.checked(body).map_err(rejected)?;
        let patience = self.options.policy_timeout;
        in_time(patience, self.message_phases(&mut transaction, &mut body)).await?;
        if transaction.forward_paths.is_empty() {
            return Err(rejected(refusal::NO_RECIPIENTS));
        }
        let mut envelopes = self.envelopes(transaction, &body);
        if !self.epoch.phases.recipients_idle() {
            for envelope in &mut envelopes {
                in_time(patience, self.recipient_phases(envelope, &body)).await?;
            }
        }
        if envelopes.iter().any(|envelope| self.epoch.default_binding.refuses(&envelope.queue)) {
            return Err(rejected(refusal::NO_BINDING));
        }
        if let Err(error) = self.shop.spool.store(&body, &envelopes).await {
            error!(target: "SPOOL", "message {} is refused: {error}", self.batch);
            self.shop.meter.store_failures.add(1);
            if matches!(error, SpoolError::Full { .. }) {
                self.shop.spool.was_full();
            }
            return Err(rejected(refusal::reply_to(&error)));
        }
        let waiting = self.hand_over(envelopes, body);
        Ok(Kept { reply: Reply::with_text(250, Some((2, 0, 0)), format!("OK {}", self.batch)), waiting })
    }

    /// The body with the header fields it needs in front and no other Return-Path.
    fn checked(&mut self, mut body: BytesMut) -> Result<Body, Reply> {
        let (begin, rules) = (self.front.octets(), self.options.headers);
        let message = &body[begin..];
        let looked_at = message.len().min(self.options.header_octets_max.saturating_add(LINE_OCTETS));
        let survey = Survey::of(&message[..looked_at]);
        if self.options.header_octets_max < survey.octets {
            return Err(replies::HEADER_TOO_LARGE);
        }
        if self.options.hops_max < survey.received {
            return Err(replies::TOO_MANY_HOPS);
        }
        let headerless = survey.octets == 0;
        if headerless && rules.missing == MissingHeaders::Reject {
            return Err(replies::HEADERS_MISSING);
        }
        if !survey.has_date && rules.date == DateHeader::Pedantic {
            return Err(replies::DATE_MISSING);
        }
        if !survey.has_date && !self.epoch.phases.idle {
            self.context.set(Scope::Message, "rfc2822_date_missing", "true");
        }
        let needed = Needed {
            date: !survey.has_date,
            message_id: !survey.has_message_id,
            // Without it the first lines of the content could be taken for fields; an empty message has none.
            empty_line: headerless && !message.starts_with(b"\r\n") && message != wire::TERMINATOR,
        };
        let replaced = self.options.trace_headers && survey.return_paths != 0;
        let removed = if replaced { header::remove(&mut body[begin..], "Return-Path") } else { 0 };
        self.front.settle(&mut body, needed, removed);
        Ok(message::charged(body, &self.shop.owners.bodies))
    }

    async fn message_phases(&mut self, transaction: &mut Transaction, body: &mut Body) -> Result<(), Rejected> {
        let phases = &self.epoch.phases;
        let (session, context) = (self.facts, &mut *self.context);
        if !phases.data.is_empty() {
            let mut args = MessageArgs { session, transaction, body, context };
            let module = phases.data.call(&mut args).await.map(|(_, module)| module);
            refused(context, module)?;
        }
        if !phases.data_spool.is_empty() {
            let mut args = MessageArgs { session, transaction, body, context };
            let module = phases.data_spool.call(&mut args).await.map(|(_, module)| module);
            refused(context, module)?;
        }
        Ok(())
    }

    async fn recipient_phases(&mut self, envelope: &mut Envelope, body: &Body) -> Result<(), Rejected> {
        let phases = &self.epoch.phases;
        let session = self.facts;
        let mut args = RecipientArgs { session, envelope, body, context: &mut *self.context };
        let module = phases.each_rcpt.call(&mut args).await.map(|(_, module)| module);
        phases.core_each_rcpt.call(&mut args).await;
        phases.post_each_rcpt.call(&mut args).await;
        refused(args.context, module)?;

        phases.set_binding.call_now(&mut args);
        self.route_again(envelope);

        let mut args = RecipientArgs { session, envelope, body, context: &mut *self.context };
        let verdict = phases.final2.call(&mut args).await;
        let module = verdict.as_ref().map(|(_, module)| module.clone());
        refused(args.context, module.clone())?;
        if let Some((verdict, _)) = verdict {
            let reply = match verdict {
                FinalVerdict::Reject => refusal::REJECTED,
                FinalVerdict::Defer => refusal::DEFERRED,
            };
            return Err(Rejected { reply, disconnect: false, module });
        }
        phases.finalize.call(&mut args).await;
        phases.post_final.call(&mut args).await;
        let variables = args.context.variables.clone();
        envelope.context = variables;
        Ok(())
    }

    /// The gateway of another binding may be another, and policy may have changed the recipient.
    fn route_again(&self, envelope: &mut Envelope) {
        let queue = &envelope.queue;
        let domain = envelope.forward_path.mailbox().domain();
        let domain = queue::routing_domain(&self.epoch.generation, &queue.binding_group, &queue.binding, domain);
        envelope.queue.domain = domain;
    }

    /// One envelope for each recipient; the first has the batch's id.
    fn envelopes(&self, transaction: Transaction, body: &Body) -> Vec<Envelope> {
        let created = self.shop.clock.unix();
        let eight_bit = transaction.eight_bit || !body.is_ascii();
        let origin = Origin { protocol: Protocol::Esmtp, peer: self.facts.peer, connection: self.facts.connection };
        let reverse_path = transaction.reverse_path;
        let mut id = Some(self.batch);
        let envelope = |forward_path: ForwardPath| {
            let forward_path = self.with_domain(forward_path);
            Envelope {
                id: id.take().unwrap_or_else(|| self.shop.ids.next()),
                batch: self.batch,
                reverse_path: reverse_path.clone(),
                queue: self.epoch.default_queue(forward_path.mailbox().domain()),
                forward_path,
                created,
                body_bytes: body.len() as u64,
                eight_bit,
                origin: origin.clone(),
                delivery: Default::default(),
                context: self.context.variables.clone(),
            }
        };
        transaction.forward_paths.into_iter().map(envelope).collect()
    }

    /// The bare `postmaster` is this host's.
    fn with_domain(&self, forward_path: ForwardPath) -> ForwardPath {
        if !forward_path.mailbox().domain().is_empty() {
            return forward_path;
        }
        let qualified = format!("{}@{}", forward_path.as_str(), self.options.server.hostname);
        Mailbox::parse(&qualified).map_or(forward_path, ForwardPath)
    }

    /// Gives the messages to their queues; those whose delivery loop is behind are returned.
    fn hand_over(&self, envelopes: Vec<Envelope>, body: Body) -> Vec<Arrival> {
        let at = self.shop.clock.unix();
        self.shop.meter.messages.add(1);
        self.shop.meter.recipients.add(envelopes.len() as u64);
        self.shop.meter.octets.add(body.len() as u64);
        let mut waiting = Vec::new();
        for envelope in envelopes {
            self.epoch.logs.reception(&logging::ReceptionRecord { at, envelope: &envelope });
            // Where delivery has ended, the message waits on disk for the next start.
            waiting.extend(self.shop.intake.offer(envelope, body.clone()).err());
        }
        waiting
    }
}

/// The phases of a message or of one recipient, or the refusal of both if policy takes too long.
async fn in_time(patience: Duration, phases: impl Future<Output = Result<(), Rejected>>) -> Result<(), Rejected> {
    let answered = tokio::time::timeout(patience, phases).await;
    answered.unwrap_or_else(|_| Err(rejected(refusal::POLICY_TIMED_OUT)))
}

fn rejected(reply: Reply) -> Rejected {
    Rejected { reply, disconnect: false, module: None }
}

fn refused(context: &mut ValidationContext, module: Option<std::sync::Arc<str>>) -> Result<(), Rejected> {
    match context.take_refusal() {
        Some((reply, disconnect)) => Err(Rejected { reply, disconnect, module }),
        None => Ok(()),
    }
}
