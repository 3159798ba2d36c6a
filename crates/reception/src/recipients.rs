//! The phases of each recipient of a message, and what a refusal there comes to.
//!
//! A transient refusal, one that closes the connection, or that of every recipient refuses the whole message: the client hears of
//! it and still has it. A permanent refusal of some does not keep the others from being delivered (reference: operations.md
//! section 3): their messages are stored in order to fail, so that the sender is told even if the daemon dies first.
//!
//! Invariant: of every recipient of an acknowledged message, either a message is stored or the rejectlog says that it was dropped.

use std::sync::Arc;
use std::time::Duration;

use config::{Opt, scopes};
use message::{Body, Envelope, FailedHere};
use policy::{Content, Phase, Side, ValidationContext};
use smtp::Reply;

use crate::bindings::EpochBindings;
use crate::epoch::Epoch;
use crate::phases::{FinalVerdict, Phases, RecipientArgs};
use crate::refusal;
use crate::store::Bringing;
use crate::validation::{self, Rejected};

/// See its doc.
pub const GENERATE_BOUNCES_FOR_MULTI_RECIPIENT_POLICY_REJECTIONS: Opt<bool> = Opt::new(
    "generate_bounces_for_multi_recipient_policy_rejections",
    "true",
    scopes::PATHWAY,
    "Tell the sender, by a delivery status notification, of recipients that policy refused after the message had come while it \
     took others; else they are dropped with a line in the rejectlog. If all are refused, the client gets the reply.",
);

impl Bringing<'_> {
    /// Brings each recipient to policy. What comes back is to be stored: all of `envelopes`, less what is dropped, and the body
    /// of each that policy has changed; no bodies if it was not asked.
    pub(crate) async fn decide_recipients(
        &mut self,
        mut envelopes: Vec<Envelope>,
        content: &Content,
    ) -> Result<(Vec<Envelope>, Vec<Option<Body>>), Rejected> {
        if self.epoch.phases.recipients_idle() {
            return Ok((envelopes, Vec::new()));
        }
        let mut bodies = vec![None; envelopes.len()];
        let mut dropped = vec![false; envelopes.len()];
        // What is set for one recipient is not set for the next.
        let common = self.context.variables.clone();
        let (recipients, patience) = (envelopes.len(), self.options.policy_timeout);
        let mut refused = Vec::new();
        for (place, envelope) in envelopes.iter_mut().enumerate() {
            self.context.variables.clone_from(&common);
            let mut own = Content { body: content.body.clone(), edits: envelope.edits.take() };
            let mut side = Side::default();
            let decided = in_time(patience, self.recipient_phases(envelope, &mut own, &mut side)).await;
            self.keep_content(envelope, own, content, &mut bodies[place]);
            envelope.context = self.context.variables.clone();
            match decided {
                Ok(()) => {
                    if let Some(reason) = side.discarded() {
                        dropped[place] = true;
                        self.log_refused(envelope, &discarded(reason), "");
                    }
                }
                Err(rejected) if rejected.disconnect || !rejected.reply.is_permanent() => return Err(rejected),
                Err(rejected) => refused.push((place, rejected)),
            }
            if refused.len() == recipients {
                return Err(refused.swap_remove(0).1);
            }
        }
        for (place, rejected) in &refused {
            self.refuse_recipient(&mut envelopes[*place], rejected);
        }
        let stays = |(envelope, dropped): (&Envelope, &bool)| {
            !dropped && (self.options.bounces_policy_refusals || envelope.delivery.failed.is_none())
        };
        let stays: Vec<bool> = envelopes.iter().zip(&dropped).map(stays).collect();
        let mut of_envelopes = stays.iter().copied();
        envelopes.retain(|_| of_envelopes.next().unwrap_or(true));
        let mut of_bodies = stays.into_iter();
        bodies.retain(|_| of_bodies.next().unwrap_or(true));
        Ok((envelopes, bodies))
    }

    /// What policy has made of the content: edits go into the envelope, another body beside it.
    fn keep_content(&self, envelope: &mut Envelope, own: Content, common: &Content, body: &mut Option<Body>) {
        envelope.edits = own.edits;
        if !common.shares_body(&own.body) {
            envelope.body_bytes = own.body.len() as u64;
            envelope.eight_bit = !own.body.is_ascii();
            *body = Some(message::charged(Vec::from(own.body), &self.shop.owners.bodies));
        }
    }

    async fn recipient_phases(
        &mut self,
        envelope: &mut Envelope,
        content: &mut Content,
        side: &mut Side,
    ) -> Result<(), Rejected> {
        let phases = &self.epoch.phases;
        let recipient = envelope.forward_path.clone();
        validation::set_address(self.context, "rcptto", "RCPT TO", recipient.as_str(), Some(recipient.mailbox()));
        let mut args = RecipientArgs {
            phase: Phase::EachRcpt,
            session: self.facts,
            envelope,
            content,
            context: &mut *self.context,
            side,
            bindings: EpochBindings(self.epoch),
        };
        phases.pre_msg.call(&mut args).await;
        let module = phases.each_rcpt.call(&mut args).await.map(|(_, module)| module);
        phases.core_each_rcpt.call(&mut args).await;
        phases.post_each_rcpt.call(&mut args).await;
        refused(args.context, module)?;

        args.phase = Phase::SetBinding;
        set_binding(phases, &mut args);
        route_again(self.epoch, args.envelope);

        args.phase = Phase::FinalValidation2;
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
        args.phase = Phase::FinalValidation;
        phases.finalize.call(&mut args).await;
        args.phase = Phase::PostFinalValidation;
        phases.post_final.call(&mut args).await;
        phases.post_msg.call(&mut args).await;
        Ok(())
    }

    /// Marks a recipient's message as failed, and tells the rejectlog.
    fn refuse_recipient(&self, envelope: &mut Envelope, rejected: &Rejected) {
        let Rejected { reply, module, .. } = rejected;
        self.shop.meter.recipients_refused.add(1);
        envelope.delivery.failed = Some(Box::new(FailedHere { reply: reply.to_string().into(), quiet: false }));
        self.log_refused(envelope, reply, module.as_deref().unwrap_or(""));
    }

    /// A line of the rejectlog about one recipient of a message that is taken otherwise.
    pub(crate) fn log_refused(&self, envelope: &Envelope, reply: &Reply, module: &str) {
        if self.epoch.logs.rejection.is_empty() {
            return;
        }
        let mut context = ValidationContext { variables: envelope.context.clone(), ..ValidationContext::default() };
        let recipient = &envelope.forward_path;
        validation::set_address(&mut context, "rcptto", "RCPT TO", recipient.as_str(), Some(recipient.mailbox()));
        let text = reply.to_string();
        self.epoch.logs.rejection(&logging::RejectionRecord {
            at: self.shop.clock.unix(),
            remote: refusal::shown(self.facts.peer),
            local: refusal::shown(self.facts.local),
            connection: self.facts.connection,
            phase: smtp::server::ReceptionState::SendingBodyResponse.as_str(),
            code: reply.code,
            module,
            context: &context.variables,
            text: text.get(4..).unwrap_or(""),
        });
    }
}

/// Chooses binding and binding group; whoever wants to know is told only of a change.
fn set_binding(phases: &Phases, args: &mut RecipientArgs<'_>) {
    let queue = &args.envelope.queue;
    let before = (!phases.post_set_binding.is_empty()).then(|| (queue.binding_group.clone(), queue.binding.clone()));
    phases.set_binding.call_now(args);
    let queue = &args.envelope.queue;
    if before.is_some_and(|before| (&before.0, &before.1) != (&queue.binding_group, &queue.binding)) {
        phases.post_set_binding.call_now(args);
    }
}

/// The gateway of another binding may be another, and policy may have changed the recipient, or chosen the domain itself.
fn route_again(epoch: &Epoch, envelope: &mut Envelope) {
    let chosen = envelope.particulars.as_ref().and_then(|particulars| particulars.routing_domain.clone());
    let queue = &envelope.queue;
    let domain = envelope.forward_path.mailbox().domain();
    envelope.queue.domain = chosen
        .unwrap_or_else(|| queue::routing_domain(&epoch.generation, &queue.binding_group, &queue.binding, domain));
}

/// The reply that the rejectlog has of a message that policy drops; the client gets none. A reason without a code, or with one
/// that refuses nothing, is 550 5.7.1.
pub(crate) fn discarded(reason: &str) -> Reply {
    let says_code =
        reason.get(..3).and_then(|code| code.parse::<u16>().ok()).is_some_and(|code| (400..600).contains(&code));
    match reason {
        "" => Reply::new(550, (5, 7, 0), "[internal] discarded by policy"),
        _ if says_code => Reply::parse(reason, 550),
        _ => Reply::with_text(550, Some((5, 7, 1)), format!("[internal] {}", reason.replace(char::is_control, " "))),
    }
}

/// The phases of a message or of one recipient, or the refusal of both if policy takes too long.
pub(crate) async fn in_time(
    patience: Duration,
    phases: impl Future<Output = Result<(), Rejected>>,
) -> Result<(), Rejected> {
    let answered = tokio::time::timeout(patience, phases).await;
    answered.unwrap_or_else(|_| Err(Rejected::by_us(refusal::POLICY_TIMED_OUT)))
}

/// The refusal that policy has set.
pub(crate) fn refused(context: &mut ValidationContext, module: Option<Arc<str>>) -> Result<(), Rejected> {
    match context.take_refusal() {
        Some((reply, disconnect)) => Err(Rejected { reply, disconnect, module }),
        None => Ok(()),
    }
}
