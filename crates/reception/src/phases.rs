//! The validation phases as call-out points, in the order a message meets them, and what each is shown.
//!
//! A provider refuses by setting a code in the [`ValidationContext`]; answering `Done` ends the phase either way
//! (reference: extending.md section 1.2). Only `core_final_validation2` decides by its answer.

use hooks::{
    Declaration, DeclaredHook, Failing, Hook, HookPoint, HookSet, Kind, Listed, Meaning, Needs, Object, Parameter,
    Part, Parts, Returned, Rule, Runs, Tier, Value,
};
use message::{Envelope, MessageId};
use policy::{Content, Message, Phase, Scope, Session, Side, Target, ValidationContext};
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
    ($(#[doc = $meaning:literal])* $hook:ident, ($args:ident, $verdict:ty), $($field:ident: $value:expr,)*) => {
        $(#[doc = $meaning])*
        #[derive(Debug)]
        pub enum $hook {}

        impl Hook for $hook {
            const DECLARATION: &'static Declaration = &Declaration {
                $($field: $value,)*
                runs: Runs::Session,
                meaning: concat!($($meaning),*).trim_ascii(),
            };
            type Args<'a> = $args<'a>;
            type Verdict = $verdict;

            fn show(args: &mut Self::Args<'_>, call: &mut dyn FnMut(&mut [Value<'_>])) {
                args.show(Self::DECLARATION, call);
            }

            fn verdict(returned: Returned) -> Option<$verdict> {
                <$verdict>::returned(returned)
            }

            fn deferred(args: &mut Self::Args<'_>) -> Option<$verdict> {
                args.context.set_code(POLICY_FAILED.0, POLICY_FAILED.1);
                Some(<$verdict>::DEFERRED)
            }
        }
    };
}

/// What a provider can decide, as its numbers.
trait PhaseVerdict: Sized {
    /// Where a provider failed; the context has the code.
    const DEFERRED: Self;
    fn returned(returned: Returned) -> Option<Self>;
}

impl PhaseVerdict for () {
    const DEFERRED: Self = ();

    fn returned(_: Returned) -> Option<Self> {
        Some(())
    }
}

impl PhaseVerdict for FinalVerdict {
    const DEFERRED: Self = FinalVerdict::Defer;

    fn returned(returned: Returned) -> Option<Self> {
        match returned {
            Returned::Number(1) => Some(FinalVerdict::Reject),
            Returned::Number(2) => Some(FinalVerdict::Defer),
            _ => None,
        }
    }
}

impl SessionArgs<'_> {
    fn show(&mut self, declaration: &Declaration, call: &mut dyn FnMut(&mut [Value<'_>])) {
        // The line of the command, as its variable has it.
        let line = match declaration.name {
            "ehlo" => self.context.get(Scope::Connection, "ehlo_string"),
            "mailfrom" => self.context.get(Scope::Message, "mailfrom_string"),
            _ => self.context.get(Scope::Message, "rcptto_string"),
        };
        let line = line.to_owned();
        let mut session = session(self.session);
        let mut context = context(self.context);
        let [session, context] = [Value::Object(&mut session), Value::Object(&mut context)];
        let transaction = |kind| self.transaction.map(|transaction| Parts::new(kind, [Part::Shown(transaction)]));
        match declaration.parameters.len() {
            2 if declaration.parameters[0].kind == Kind::Recipients => {
                let mut recipients = transaction(Kind::Recipients);
                call(&mut [
                    Value::object(recipients.as_mut().map(|recipients| recipients as &mut dyn Object)),
                    context,
                ]);
            }
            2 => call(&mut [session, context]),
            3 => call(&mut [Value::text(&line), session, context]),
            _ => {
                let mut message =
                    self.transaction.map(|transaction| Parts::new(Kind::Message, [Part::Shown(transaction)]));
                let message = Value::object(message.as_mut().map(|message| message as &mut dyn Object));
                call(&mut [message, Value::text(&line), session, context]);
            }
        }
    }
}

impl MessageArgs<'_> {
    fn show(&mut self, _: &Declaration, call: &mut dyn FnMut(&mut [Value<'_>])) {
        let mut message =
            Parts::new(Kind::Message, [Part::Open(&mut *self.transaction), Part::Open(&mut *self.content)]);
        let (mut session, mut context) = (session(self.session), context(self.context));
        call(&mut [Value::Object(&mut message), Value::Object(&mut session), Value::Object(&mut context)]);
    }
}

impl RecipientArgs<'_> {
    fn show(&mut self, declaration: &Declaration, call: &mut dyn FnMut(&mut [Value<'_>])) {
        let mut message = Parts::new(Kind::Message, [Part::Open(&mut *self.envelope), Part::Open(&mut *self.content)]);
        let (mut session, mut context) = (session(self.session), context(self.context));
        let all = &mut [Value::Object(&mut message), Value::Object(&mut session), Value::Object(&mut context)];
        call(&mut all[..declaration.parameters.len()]);
    }
}

/// The session as an object.
fn session(facts: &Session) -> Parts<'_, 1> {
    Parts::new(Kind::Session, [Part::Shown(facts)])
}

/// The validation context as one.
fn context(context: &mut ValidationContext) -> Parts<'_, 1> {
    Parts::new(Kind::ValidationContext, [Part::Open(context)])
}

const LIST: &[Parameter] = &[Parameter::new("list_node *", "list", Kind::Recipients), Parameter::context("vctx")];
const RCPTTO: &[Parameter] =
    &[Parameter::message("msg"), Parameter::string("str"), Parameter::session("ac"), Parameter::context("vctx")];
const FINAL: Rule = Rule::Chain {
    goes_on: Meaning(0, "EC_HOOK_CONT"),
    ends: &[Meaning(1, "EC_HOOK_DONE"), Meaning(2, "EC_HOOK_RETRY")],
};
/// What a client hears when a provider fails: policy that cannot be asked lets nothing in.
const POLICY_FAILED: (u16, &str) = (451, "4.3.0 policy failed");

phase!(
    /// A client has connected. A code set in the context refuses it.
    ValidateConnect, (SessionArgs, ()),
    scope: "validate",
    name: "connect",
    returns: "int",
    parameters: &[Parameter::session("ac"), Parameter::context("vctx")],
    rule: Rule::VALIDATE,
    failing: Failing::Defers,
    needs: Needs::Nothing,
    suspends: true,
    tier: Tier::A,
);
phase!(
    /// EHLO or HELO has come. A code set in the context refuses it.
    ValidateEhlo, (SessionArgs, ()),
    scope: "validate",
    name: "ehlo",
    returns: "int",
    parameters: &[Parameter::string("str"), Parameter::session("ac"), Parameter::context("vctx")],
    rule: Rule::VALIDATE,
    failing: Failing::Defers,
    needs: Needs::Nothing,
    suspends: true,
    tier: Tier::A,
);
phase!(
    /// MAIL has come. A code set in the context refuses it.
    ValidateMailfrom, (SessionArgs, ()),
    scope: "validate",
    name: "mailfrom",
    returns: "int",
    parameters: &[Parameter::string("str"), Parameter::session("ac"), Parameter::context("vctx")],
    rule: Rule::VALIDATE,
    failing: Failing::Defers,
    needs: Needs::Envelope,
    suspends: true,
    tier: Tier::A,
);
phase!(
    /// RCPT has come, and relaying is allowed. A code set in the context refuses the recipient.
    ValidateRcptto, (SessionArgs, ()),
    scope: "validate",
    name: "rcptto",
    returns: "int",
    parameters: RCPTTO,
    rule: Rule::VALIDATE,
    failing: Failing::Defers,
    needs: Needs::Envelope,
    suspends: true,
    tier: Tier::A,
);
phase!(
    /// The message has come. A code set in the context refuses it; body and recipients may be changed.
    ValidateData, (MessageArgs, ()),
    scope: "validate",
    name: "data",
    returns: "int",
    parameters: &[Parameter::message("msg"), Parameter::session("ac"), Parameter::context("vctx")],
    rule: Rule::VALIDATE,
    failing: Failing::Defers,
    needs: Needs::Body,
    suspends: true,
    tier: Tier::A,
);
phase!(
    /// Once before the recipients are told apart. A code set in the context refuses the message.
    ValidateDataSpool, (MessageArgs, ()),
    scope: "validate",
    name: "data_spool",
    returns: "int",
    parameters: &[Parameter::message("msg"), Parameter::session("ac"), Parameter::context("vctx")],
    rule: Rule::VALIDATE,
    failing: Failing::Defers,
    needs: Needs::Body,
    suspends: true,
    tier: Tier::A,
);
phase!(
    /// Once for each recipient. A code set in the context refuses that recipient; the envelope may be changed.
    ValidateDataSpoolEachRcpt, (RecipientArgs, ()),
    scope: "validate",
    name: "data_spool_each_rcpt",
    returns: "int",
    parameters: &[Parameter::message("msg"), Parameter::session("ac"), Parameter::context("vctx")],
    rule: Rule::VALIDATE,
    failing: Failing::Defers,
    needs: Needs::Body,
    suspends: true,
    tier: Tier::A,
);
phase!(
    /// After every provider of validate_data_spool_each_rcpt.
    CoreValidateDataSpoolEachRcpt, (RecipientArgs, ()),
    scope: "core",
    name: "validate_data_spool_each_rcpt",
    returns: "void",
    parameters: &[Parameter::message("msg"), Parameter::session("ac"), Parameter::context("ctx")],
    rule: Rule::Every,
    failing: Failing::Defers,
    needs: Needs::Body,
    suspends: true,
    tier: Tier::A,
);
phase!(
    /// After every provider of core_validate_data_spool_each_rcpt.
    PostValidateDataSpoolEachRcpt, (RecipientArgs, ()),
    scope: "core",
    name: "post_validate_data_spool_each_rcpt_v1",
    returns: "void",
    parameters: &[Parameter::message("m"), Parameter::session("ac"), Parameter::context("c")],
    rule: Rule::Every,
    failing: Failing::Defers,
    needs: Needs::Body,
    suspends: true,
    tier: Tier::B,
);
phase!(
    /// Binding and binding group are chosen, in the envelope's queue name. May not suspend.
    ValidateSetBinding, (RecipientArgs, ()),
    scope: "validate",
    name: "set_binding",
    returns: "int",
    parameters: &[Parameter::message("msg")],
    rule: Rule::VALIDATE,
    failing: Failing::PassedOver,
    needs: Needs::Envelope,
    suspends: false,
    tier: Tier::A,
);
phase!(
    /// The last phase that can refuse a recipient, or put the message off.
    FinalValidation2, (RecipientArgs, FinalVerdict),
    scope: "core",
    name: "final_validation2",
    returns: "int",
    parameters: &[Parameter::message("msg"), Parameter::session("ac"), Parameter::context("ctx")],
    rule: FINAL,
    failing: Failing::Defers,
    needs: Needs::Body,
    suspends: true,
    tier: Tier::A,
);
phase!(
    /// Signs; cannot refuse.
    FinalValidation, (RecipientArgs, ()),
    scope: "core",
    name: "final_validation",
    returns: "void",
    parameters: &[Parameter::message("msg"), Parameter::session("ac"), Parameter::context("ctx")],
    rule: Rule::Every,
    failing: Failing::PassedOver,
    needs: Needs::Body,
    suspends: true,
    tier: Tier::A,
);
phase!(
    /// The last before the spool; what is returned is ignored.
    PostFinalValidation, (RecipientArgs, ()),
    scope: "core",
    name: "post_final_validation",
    returns: "int",
    parameters: &[Parameter::message("msg"), Parameter::session("ac"), Parameter::context("ctx")],
    rule: Rule::Every,
    failing: Failing::PassedOver,
    needs: Needs::Body,
    suspends: true,
    tier: Tier::A,
);
phase!(
    /// A client has been accepted, before any other phase. A code set in the context refuses it.
    ValidateAccept, (SessionArgs, ()),
    scope: "core",
    name: "validate_accept",
    returns: "int",
    parameters: &[Parameter::session("ac"), Parameter::context("c")],
    rule: Rule::VALIDATE,
    failing: Failing::Defers,
    needs: Needs::Nothing,
    suspends: true,
    tier: Tier::A,
);
phase!(
    /// After every provider of validate_connect, unless the client is refused by then.
    CoreValidateConnect, (SessionArgs, ()),
    scope: "core",
    name: "validate_connect",
    returns: "void",
    parameters: &[Parameter::session("ac"), Parameter::context("c")],
    rule: Rule::Every,
    failing: Failing::Defers,
    needs: Needs::Nothing,
    suspends: true,
    tier: Tier::A,
);
phase!(
    /// After validate_rcptto has taken a recipient, which is not yet among those shown. A code set in the context
    /// refuses it.
    ValidateRcpttoList, (SessionArgs, ()),
    scope: "validate",
    name: "rcptto_list",
    returns: "int",
    parameters: LIST,
    rule: Rule::VALIDATE,
    failing: Failing::Defers,
    needs: Needs::Envelope,
    suspends: true,
    tier: Tier::B,
);
phase!(
    /// Once, with DATA. A code set in the context refuses the message before it comes.
    ValidateRcpttoListFinal, (SessionArgs, ()),
    scope: "validate",
    name: "rcptto_list_final",
    returns: "int",
    parameters: &[Parameter::new("list_node *", "node", Kind::Recipients), Parameter::context("vctx")],
    rule: Rule::VALIDATE,
    failing: Failing::Defers,
    needs: Needs::Envelope,
    suspends: true,
    tier: Tier::B,
);
phase!(
    /// The first of the phases of each recipient.
    PreMsgEachRcpt, (RecipientArgs, ()),
    scope: "core",
    name: "pre_msg_each_rcpt",
    returns: "void",
    parameters: &[Parameter::message("msg"), Parameter::session("ac")],
    rule: Rule::Every,
    failing: Failing::PassedOver,
    needs: Needs::Body,
    suspends: true,
    tier: Tier::B,
);
phase!(
    /// The last of the phases of each recipient that was not refused.
    PostMsgEachRcpt, (RecipientArgs, ()),
    scope: "core",
    name: "post_msg_each_rcpt",
    returns: "void",
    parameters: &[Parameter::message("msg"), Parameter::session("ac"), Parameter::context("vctx")],
    rule: Rule::Every,
    failing: Failing::PassedOver,
    needs: Needs::Body,
    suspends: true,
    tier: Tier::A,
);
phase!(
    /// After validate_set_binding, if it has changed binding or binding group.
    PostValidateSetBinding, (RecipientArgs, ()),
    scope: "core",
    name: "post_validate_set_binding",
    returns: "void",
    parameters: &[Parameter::message("m")],
    rule: Rule::Every,
    failing: Failing::PassedOver,
    needs: Needs::Envelope,
    suspends: false,
    tier: Tier::A,
);

/// The phases, for the registry of hooks.
pub(crate) const PHASES: &[&dyn DeclaredHook] = &[
    &Listed::<ValidateConnect>::NEW,
    &Listed::<ValidateEhlo>::NEW,
    &Listed::<ValidateMailfrom>::NEW,
    &Listed::<ValidateRcptto>::NEW,
    &Listed::<ValidateData>::NEW,
    &Listed::<ValidateDataSpool>::NEW,
    &Listed::<ValidateDataSpoolEachRcpt>::NEW,
    &Listed::<CoreValidateDataSpoolEachRcpt>::NEW,
    &Listed::<PostValidateDataSpoolEachRcpt>::NEW,
    &Listed::<ValidateSetBinding>::NEW,
    &Listed::<FinalValidation2>::NEW,
    &Listed::<FinalValidation>::NEW,
    &Listed::<PostFinalValidation>::NEW,
    &Listed::<ValidateAccept>::NEW,
    &Listed::<CoreValidateConnect>::NEW,
    &Listed::<ValidateRcpttoList>::NEW,
    &Listed::<ValidateRcpttoListFinal>::NEW,
    &Listed::<PreMsgEachRcpt>::NEW,
    &Listed::<PostMsgEachRcpt>::NEW,
    &Listed::<PostValidateSetBinding>::NEW,
];

/// The phases of one generation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phases {
    pub(crate) accept: HookPoint<ValidateAccept>,
    pub(crate) connect: HookPoint<ValidateConnect>,
    pub(crate) core_connect: HookPoint<CoreValidateConnect>,
    pub(crate) ehlo: HookPoint<ValidateEhlo>,
    pub(crate) mailfrom: HookPoint<ValidateMailfrom>,
    pub(crate) rcptto: HookPoint<ValidateRcptto>,
    pub(crate) rcptto_list: HookPoint<ValidateRcpttoList>,
    pub(crate) rcptto_list_final: HookPoint<ValidateRcpttoListFinal>,
    pub(crate) data: HookPoint<ValidateData>,
    pub(crate) data_spool: HookPoint<ValidateDataSpool>,
    pub(crate) pre_msg: HookPoint<PreMsgEachRcpt>,
    pub(crate) each_rcpt: HookPoint<ValidateDataSpoolEachRcpt>,
    pub(crate) core_each_rcpt: HookPoint<CoreValidateDataSpoolEachRcpt>,
    pub(crate) post_each_rcpt: HookPoint<PostValidateDataSpoolEachRcpt>,
    pub(crate) set_binding: HookPoint<ValidateSetBinding>,
    pub(crate) post_set_binding: HookPoint<PostValidateSetBinding>,
    pub(crate) final2: HookPoint<FinalValidation2>,
    pub(crate) finalize: HookPoint<FinalValidation>,
    pub(crate) post_final: HookPoint<PostFinalValidation>,
    pub(crate) post_msg: HookPoint<PostMsgEachRcpt>,
    /// No phase has a provider: the variables that policy would read need not be set.
    pub(crate) idle: bool,
}

impl Phases {
    pub(crate) fn of(set: &HookSet) -> Self {
        let mut phases = Self {
            accept: set.point(),
            connect: set.point(),
            core_connect: set.point(),
            ehlo: set.point(),
            mailfrom: set.point(),
            rcptto: set.point(),
            rcptto_list: set.point(),
            rcptto_list_final: set.point(),
            data: set.point(),
            data_spool: set.point(),
            pre_msg: set.point(),
            each_rcpt: set.point(),
            core_each_rcpt: set.point(),
            post_each_rcpt: set.point(),
            set_binding: set.point(),
            post_set_binding: set.point(),
            final2: set.point(),
            finalize: set.point(),
            post_final: set.point(),
            post_msg: set.point(),
            idle: false,
        };
        phases.idle = phases.accept.is_empty()
            && phases.connect.is_empty()
            && phases.core_connect.is_empty()
            && phases.ehlo.is_empty()
            && phases.mailfrom.is_empty()
            && phases.rcptto.is_empty()
            && phases.rcptto_list.is_empty()
            && phases.rcptto_list_final.is_empty()
            && phases.data.is_empty()
            && phases.data_spool.is_empty()
            && phases.recipients_idle();
        phases
    }

    /// No phase of the single recipient has a provider.
    pub(crate) fn recipients_idle(&self) -> bool {
        self.pre_msg.is_empty()
            && self.each_rcpt.is_empty()
            && self.core_each_rcpt.is_empty()
            && self.post_each_rcpt.is_empty()
            && self.set_binding.is_empty()
            && self.post_set_binding.is_empty()
            && self.final2.is_empty()
            && self.finalize.is_empty()
            && self.post_final.is_empty()
            && self.post_msg.is_empty()
    }
}
