//! The validation phases as call-out points, in the order a message meets them, and what each is shown.
//!
//! A provider refuses by setting a code in the [`ValidationContext`]; answering `Done` ends the phase either way
//! (reference: extending.md section 1.2). Only `core_final_validation2` decides by its answer.

use hooks::{Hook, HookPoint, HookSet, Rule};
use message::{Envelope, MessageId};
use policy::{Content, Message, Phase, Session, Side, Target, ValidationContext};
use smtp::{ForwardPath, Transaction};

use crate::bindings::EpochBindings;

/// What the phases before the message are shown.
pub struct SessionArgs<'a> {
    /// The session.
    pub session: &'a Session,
    /// The transaction, from MAIL on.
    pub transaction: Option<&'a Transaction>,
    /// The recipient that RCPT would add.
    pub forward_path: Option<&'a ForwardPath>,
    /// Policy's variables and verdict.
    pub context: &'a mut ValidationContext,
}

/// What the phases of the whole message are shown. Recipients may be added, removed and changed, and so may the content.
pub struct MessageArgs<'a> {
    /// Which phase.
    pub phase: Phase,
    /// The session.
    pub session: &'a Session,
    /// The id of the transaction.
    pub batch: MessageId,
    /// The envelope of all recipients.
    pub transaction: &'a mut Transaction,
    /// The message in wire form, trace header fields in front.
    pub content: &'a mut Content,
    /// Policy's variables and verdict.
    pub context: &'a mut ValidationContext,
    /// What policy keeps with the message.
    pub side: &'a mut Side,
    pub(crate) bindings: EpochBindings<'a>,
}

/// What the phases of each recipient are shown. The envelope may be changed, and so may the content: it is shared with the other
/// recipients until then.
pub struct RecipientArgs<'a> {
    /// Which phase.
    pub phase: Phase,
    /// The session.
    pub session: &'a Session,
    /// This recipient's message.
    pub envelope: &'a mut Envelope,
    /// The message in wire form.
    pub content: &'a mut Content,
    /// Policy's variables and verdict.
    pub context: &'a mut ValidationContext,
    /// What policy keeps with the message.
    pub side: &'a mut Side,
    pub(crate) bindings: EpochBindings<'a>,
}

impl MessageArgs<'_> {
    /// The message as policy sees it, with every accessor.
    pub fn message(&mut self) -> Message<'_> {
        Message {
            phase: self.phase,
            target: Target::Transaction { id: self.batch, transaction: self.transaction, recipient: None },
            session: Some(self.session),
            content: Some(self.content),
            context: self.context,
            side: self.side,
            bindings: &self.bindings,
        }
    }
}

impl RecipientArgs<'_> {
    /// The message as policy sees it, with every accessor.
    pub fn message(&mut self) -> Message<'_> {
        Message {
            phase: self.phase,
            target: Target::Recipient(self.envelope),
            session: Some(self.session),
            content: Some(self.content),
            context: self.context,
            side: self.side,
            bindings: &self.bindings,
        }
    }
}

/// What `core_final_validation2` can decide beyond going on. The context may bring code and text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalVerdict {
    /// EC_HOOK_DONE.
    Reject,
    /// EC_HOOK_RETRY.
    Defer,
}

macro_rules! phase {
    ($(#[$doc:meta])* $hook:ident, $name:literal, $prototype:literal, $rule:ident, $args:ty, $verdict:ty) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $hook {}

        impl Hook for $hook {
            const NAME: &'static str = $name;
            const PROTOTYPE: &'static str = $prototype;
            const RULE: Rule = Rule::$rule;
            type Args<'a> = $args;
            type Verdict = $verdict;
        }
    };
}

phase!(
    /// A client has connected.
    ValidateConnect,
    "validate_connect",
    "int validate_connect(void *closure, accept_construct *ac, validate_context *ctx)",
    FirstDone,
    SessionArgs<'a>,
    ()
);
phase!(
    /// EHLO or HELO.
    ValidateEhlo,
    "validate_ehlo",
    "int validate_ehlo(void *closure, string *str, accept_construct *ac, validate_context *ctx)",
    FirstDone,
    SessionArgs<'a>,
    ()
);
phase!(
    /// MAIL.
    ValidateMailfrom,
    "validate_mailfrom",
    "int validate_mailfrom(void *closure, string *str, accept_construct *ac, validate_context *ctx)",
    FirstDone,
    SessionArgs<'a>,
    ()
);
phase!(
    /// RCPT, once relaying is allowed.
    ValidateRcptto,
    "validate_rcptto",
    "int validate_rcptto(void *closure, ec_message *msg, string *str, accept_construct *ac, validate_context *ctx)",
    FirstDone,
    SessionArgs<'a>,
    ()
);
phase!(
    /// The message has come.
    ValidateData,
    "validate_data",
    "int validate_data(void *closure, ec_message *msg, accept_construct *ac, validate_context *ctx)",
    FirstDone,
    MessageArgs<'a>,
    ()
);
phase!(
    /// Once before the recipients are told apart.
    ValidateDataSpool,
    "validate_data_spool",
    "int validate_data_spool(void *closure, ec_message *msg, accept_construct *ac, validate_context *ctx)",
    FirstDone,
    MessageArgs<'a>,
    ()
);
phase!(
    /// Once for each recipient.
    ValidateDataSpoolEachRcpt,
    "validate_data_spool_each_rcpt",
    "int validate_data_spool_each_rcpt(void *closure, ec_message *msg, accept_construct *ac, validate_context *ctx)",
    FirstDone,
    RecipientArgs<'a>,
    ()
);
phase!(
    /// After every provider of `validate_data_spool_each_rcpt`.
    CoreValidateDataSpoolEachRcpt,
    "core_validate_data_spool_each_rcpt",
    "void core_validate_data_spool_each_rcpt(void *closure, ec_message *msg, accept_construct *ac, validate_context *ctx)",
    EveryProvider,
    RecipientArgs<'a>,
    ()
);
phase!(
    /// After that.
    PostValidateDataSpoolEachRcpt,
    "core_post_validate_data_spool_each_rcpt_v1",
    "void core_post_validate_data_spool_each_rcpt_v1(void *closure, ec_message *m, accept_construct *ac, validate_context *c)",
    EveryProvider,
    RecipientArgs<'a>,
    ()
);
phase!(
    /// Chooses binding and binding group, in the envelope's queue name. May not suspend.
    ValidateSetBinding,
    "validate_set_binding",
    "int validate_set_binding(void *closure, ec_message *msg)",
    FirstDone,
    RecipientArgs<'a>,
    ()
);
phase!(
    /// The last phase that can refuse.
    FinalValidation2,
    "core_final_validation2",
    "int core_final_validation2(void *closure, ec_message *msg, accept_construct *ac, validate_context *ctx)",
    FirstDone,
    RecipientArgs<'a>,
    FinalVerdict
);
phase!(
    /// Signs; cannot refuse.
    FinalValidation,
    "core_final_validation",
    "void core_final_validation(void *closure, ec_message *msg, accept_construct *ac, validate_context *ctx)",
    EveryProvider,
    RecipientArgs<'a>,
    ()
);
phase!(
    /// The last before the spool.
    PostFinalValidation,
    "core_post_final_validation",
    "int core_post_final_validation(void *closure, ec_message *msg, accept_construct *ac, validate_context *ctx)",
    EveryProvider,
    RecipientArgs<'a>,
    ()
);

/// The phases of one generation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phases {
    pub(crate) connect: HookPoint<ValidateConnect>,
    pub(crate) ehlo: HookPoint<ValidateEhlo>,
    pub(crate) mailfrom: HookPoint<ValidateMailfrom>,
    pub(crate) rcptto: HookPoint<ValidateRcptto>,
    pub(crate) data: HookPoint<ValidateData>,
    pub(crate) data_spool: HookPoint<ValidateDataSpool>,
    pub(crate) each_rcpt: HookPoint<ValidateDataSpoolEachRcpt>,
    pub(crate) core_each_rcpt: HookPoint<CoreValidateDataSpoolEachRcpt>,
    pub(crate) post_each_rcpt: HookPoint<PostValidateDataSpoolEachRcpt>,
    pub(crate) set_binding: HookPoint<ValidateSetBinding>,
    pub(crate) final2: HookPoint<FinalValidation2>,
    pub(crate) finalize: HookPoint<FinalValidation>,
    pub(crate) post_final: HookPoint<PostFinalValidation>,
    /// No phase has a provider: the variables that policy would read need not be set.
    pub(crate) idle: bool,
}

impl Phases {
    pub(crate) fn of(set: &HookSet) -> Self {
        let mut phases = Self {
            connect: set.point(),
            ehlo: set.point(),
            mailfrom: set.point(),
            rcptto: set.point(),
            data: set.point(),
            data_spool: set.point(),
            each_rcpt: set.point(),
            core_each_rcpt: set.point(),
            post_each_rcpt: set.point(),
            set_binding: set.point(),
            final2: set.point(),
            finalize: set.point(),
            post_final: set.point(),
            idle: false,
        };
        phases.idle = phases.connect.is_empty()
            && phases.ehlo.is_empty()
            && phases.mailfrom.is_empty()
            && phases.rcptto.is_empty()
            && phases.data.is_empty()
            && phases.data_spool.is_empty()
            && phases.recipients_idle();
        phases
    }

    /// No phase of the single recipient has a provider.
    pub(crate) fn recipients_idle(&self) -> bool {
        self.each_rcpt.is_empty()
            && self.core_each_rcpt.is_empty()
            && self.post_each_rcpt.is_empty()
            && self.set_binding.is_empty()
            && self.final2.is_empty()
            && self.finalize.is_empty()
            && self.post_final.is_empty()
    }
}
