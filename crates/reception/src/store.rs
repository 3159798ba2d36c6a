//! Takes a whole message over: checks its header section, runs the phases of the message and of each recipient, makes it
//! safe, logs it and gives it to its queues.
//!
//! Invariant: a positive reply is made only after the spool has said that body and envelopes are safe, and waits for nothing
//! else: what a delivery loop has no room for is handed over once the client has its reply. A message stored whose session
//! then dies is delivered all the same.
//!
//! One message is stored for each RCPT: a recipient named twice gets two, as with Momentum.

use std::time::Duration;

use bytes::BytesMut;
use message::header::{self, Survey};
use message::wire;
use message::{Body, Envelope, MessageId, Origin, Protocol};
use policy::{Content, Phase, Scope, Side, ValidationContext};
use queue::Batch;
use smtp::{ForwardPath, Mailbox, Received, Reply, Transaction, replies};
use spool::SpoolError;
use tracing::error;

use crate::bindings::EpochBindings;
use crate::bounces::{self, BouncedRecipient, Bounces, TooBusy};
use crate::conformance::{DateHeader, MissingHeaders};
use crate::epoch::Epoch;
use crate::front::{Front, Needed};
use crate::listener::Shop;
use crate::options::ListenerOptions;
use crate::parts::{Part, Parts};
use crate::phases::MessageArgs;
use crate::recipients::{discarded, in_time, refused};
use crate::refusal;
use crate::validation::Rejected;

/// A line of a header section at most, so that one cut short is seen to be.
const LINE_OCTETS: usize = 1000;

/// What a session brings.
pub(crate) struct Bringing<'a> {
    pub(crate) shop: &'a Shop,
    pub(crate) epoch: &'a Epoch,
    pub(crate) options: &'a ListenerOptions,
    pub(crate) facts: &'a policy::Session,
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
    pub(crate) waiting: Vec<Batch>,
}

impl Bringing<'_> {
    /// What to tell the client, and what is left to do then.
    pub(crate) async fn store(&mut self, received: Received) -> Result<Kept, Rejected> {
        let Received { mut transaction, body, .. } = received;
        let mut content = Content::from(self.checked(body).map_err(Rejected::by_us)?);
        let received = content.body.clone();
        let (patience, mut side) = (self.options.policy_timeout, Side::default());
        in_time(patience, self.message_phases(&mut transaction, &mut content, &mut side)).await?;
        if !content.shares_body(&received) {
            content.body = message::charged(Vec::from(content.body), &self.shop.owners.bodies);
        }
        drop(received);
        if let Some(reason) = side.discarded() {
            let envelopes = self.envelopes(transaction, &content);
            envelopes.iter().for_each(|envelope| self.log_refused(envelope, &discarded(reason), ""));
            return Ok(self.taken(Vec::new()));
        }
        if transaction.forward_paths.is_empty() {
            return Err(Rejected::by_us(refusal::NO_RECIPIENTS));
        }
        let envelopes = self.envelopes(transaction, &content);
        let (mut envelopes, bodies) = self.decide_recipients(envelopes, &content).await?;
        let body = content.body;
        let mut to_be_sent = envelopes.iter().filter(|envelope| envelope.delivery.failed.is_none());
        if to_be_sent.any(|envelope| self.epoch.default_binding.refuses(&envelope.queue)) {
            return Err(Rejected::by_us(refusal::NO_BINDING));
        }
        let bounces = Bounces::among(&mut envelopes, &body, self.epoch, self.options, &*self.shop.bounces).await;
        let bounces = bounces.map_err(|TooBusy| {
            self.shop.meter.bounces_unread.add(1);
            Rejected::by_us(refusal::OVERLOADED)
        })?;
        let parts = Parts::of(envelopes, bodies, body, bounces.places);
        if let Err(error) = self.shop.spool.store_parts(&parts.borrowed()).await {
            error!(target: "SPOOL", "message {} is refused: {error}", self.batch);
            self.shop.meter.store_failures.add(1);
            if matches!(error, SpoolError::Full { .. }) {
                self.shop.spool.was_full();
            }
            return Err(Rejected::by_us(refusal::reply_to(&error)));
        }
        let waiting = self.hand_over(parts, &bounces.bounced);
        Ok(self.taken(waiting))
    }

    fn taken(&self, waiting: Vec<Batch>) -> Kept {
        Kept { reply: Reply::with_text(250, Some((2, 0, 0)), format!("OK {}", self.batch)), waiting }
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

    async fn message_phases(
        &mut self,
        transaction: &mut Transaction,
        content: &mut Content,
        side: &mut Side,
    ) -> Result<(), Rejected> {
        let phases = &self.epoch.phases;
        let mut args = MessageArgs {
            phase: Phase::Data,
            session: self.facts,
            batch: self.batch,
            transaction,
            content,
            context: &mut *self.context,
            side,
            bindings: EpochBindings(self.epoch),
        };
        if !phases.data.is_empty() {
            let module = phases.data.call(&mut args).await.map(|(_, module)| module);
            refused(args.context, module)?;
        }
        if !phases.data_spool.is_empty() {
            args.phase = Phase::DataSpool;
            let module = phases.data_spool.call(&mut args).await.map(|(_, module)| module);
            refused(args.context, module)?;
        }
        Ok(())
    }

    /// One envelope for each recipient; the first has the batch's id.
    fn envelopes(&self, transaction: Transaction, content: &Content) -> Vec<Envelope> {
        let created = self.shop.clock.unix();
        let eight_bit = transaction.eight_bit || !content.body.is_ascii();
        let origin = Origin { protocol: Protocol::Esmtp, peer: self.facts.peer, connection: self.facts.connection };
        let reverse_path = transaction.reverse_path;
        let binding = self.epoch.next_binding(&self.options.assigned);
        let mut id = Some(self.batch);
        let envelope = |forward_path: ForwardPath| {
            let forward_path = self.with_domain(forward_path);
            Envelope {
                id: id.take().unwrap_or_else(|| self.shop.ids.next()),
                batch: self.batch,
                reverse_path: reverse_path.clone(),
                queue: self.epoch.queue(binding, forward_path.mailbox().domain()),
                forward_path,
                created,
                body_bytes: content.body.len() as u64,
                eight_bit,
                origin: origin.clone(),
                delivery: Default::default(),
                context: self.context.variables.clone(),
                edits: content.edits.clone(),
                particulars: None,
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
    fn hand_over(&self, parts: Parts, bounced: &[BouncedRecipient]) -> Vec<Batch> {
        let at = self.shop.clock.unix();
        self.shop.meter.messages.add(1);
        let mut waiting = Vec::new();
        for (place, Part { body, envelopes, bounces }) in parts.0.into_iter().enumerate() {
            let plain = smtp::client::content_octets(&body);
            // What came is counted, not what policy made of it.
            self.shop.meter.octets.add(if place == 0 { plain } else { 0 });
            self.shop.meter.recipients.add(envelopes.len() as u64);
            for (envelope, is_bounce) in envelopes.iter().zip(bounces) {
                let edits = envelope.edits.as_deref();
                let size = edits.map_or(plain, |edits| edits.render(&body).content_octets());
                self.epoch.logs.reception(&logging::ReceptionRecord { at, envelope, size });
                if is_bounce {
                    self.log_bounce(envelope, size, at, bounced);
                }
            }
            // Where delivery has ended, the message waits on disk for the next start.
            waiting.extend(self.shop.intake.offer(envelopes, &body));
        }
        waiting
    }

    fn log_bounce(&self, envelope: &Envelope, size: u64, at: Duration, bounced: &[BouncedRecipient]) {
        self.shop.meter.bounces.add(1);
        for BouncedRecipient { recipient, class, reply } in bounced {
            let recipient = recipient.as_ref();
            self.epoch.logs.out_of_band(&logging::OutOfBandRecord {
                at,
                envelope,
                size,
                recipient,
                class: *class,
                reply,
            });
        }
        if envelope.delivery.failed.is_some() {
            self.shop.meter.bounces_discarded.add(1);
            self.log_refused(envelope, &bounces::DISCARDED, "");
        }
    }
}
