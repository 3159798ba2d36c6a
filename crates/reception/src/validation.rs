//! Brings a session's questions to policy, and policy's answers back.
//!
//! A phase nobody provides costs one branch. The variables policy reads are set only where some phase has a provider.

use std::sync::Arc;

use hooks::{Hook, HookPoint};
use policy::{Scope, Session, ValidationContext};
use smtp::{Phase, Reply, ServerSession, Verdict};

use crate::phases::{Phases, SessionArgs};

/// Policy's answer, and the module that gave it.
pub(crate) type Answered = (Verdict, Option<Arc<str>>);

/// Asks the providers of a phase before the message.
pub(crate) async fn ask(
    phases: &Phases,
    phase: Phase,
    core: &ServerSession,
    facts: &Session,
    context: &mut ValidationContext,
) -> Answered {
    if phases.idle {
        return (Verdict::Accept, None);
    }
    set_variables(phase, core, facts, context);
    let mut args = SessionArgs {
        session: facts,
        transaction: core.transaction(),
        forward_path: core.forward_path(),
        context: &mut *context,
    };
    let module = match phase {
        Phase::Connect => connect(phases, &mut args).await,
        Phase::Ehlo => call(&phases.ehlo, &mut args).await,
        Phase::MailFrom => call(&phases.mailfrom, &mut args).await,
        Phase::RcptTo => recipient(phases, &mut args).await,
        // validate_data runs once the message is there.
        Phase::Data => call(&phases.rcptto_list_final, &mut args).await,
    };
    match context.take_refusal() {
        Some((reply, true)) => (Verdict::Disconnect(reply), module),
        Some((reply, false)) => (Verdict::Refuse(reply), module),
        None => (Verdict::Accept, None),
    }
}

async fn connect(phases: &Phases, args: &mut SessionArgs<'_>) -> Option<Arc<str>> {
    let mut module = call(&phases.accept, args).await;
    if !args.context.refuses() {
        module = call(&phases.connect, args).await;
    }
    if !args.context.refuses() {
        module = call(&phases.core_connect, args).await;
    }
    module
}

async fn recipient(phases: &Phases, args: &mut SessionArgs<'_>) -> Option<Arc<str>> {
    let module = call(&phases.rcptto, args).await;
    if args.context.refuses() { module } else { call(&phases.rcptto_list, args).await }
}

async fn call<H>(point: &HookPoint<H>, args: &mut SessionArgs<'_>) -> Option<Arc<str>>
where
    H: for<'a> Hook<Args<'a> = SessionArgs<'a>>,
{
    if point.is_empty() { None } else { point.call(args).await.map(|(_, module)| module) }
}

/// The documented variables of each phase (reference: extending.md section 2).
pub(crate) fn set_variables(phase: Phase, core: &ServerSession, facts: &Session, context: &mut ValidationContext) {
    match phase {
        Phase::Connect | Phase::Data => {}
        Phase::Ehlo => {
            let verb = if core.helo().is_some_and(|helo| helo.extended) { "EHLO" } else { "HELO" };
            context.set(Scope::Connection, "ehlo_string", &format!("{verb} {}", facts.helo));
            context.set(Scope::Connection, "ehlo_domain", &facts.helo);
        }
        Phase::MailFrom => {
            let reverse_path = core.transaction().map(|transaction| &transaction.reverse_path);
            let text = reverse_path.map_or("", |path| path.as_str());
            let mailbox = reverse_path.and_then(|path| path.mailbox());
            set_address(context, "mailfrom", "MAIL FROM", text, mailbox);
        }
        Phase::RcptTo => {
            if let Some(forward_path) = core.forward_path() {
                set_address(context, "rcptto", "RCPT TO", forward_path.as_str(), Some(forward_path.mailbox()));
            }
        }
    }
}

pub(crate) fn set_address(
    context: &mut ValidationContext,
    what: &str,
    verb: &str,
    text: &str,
    mailbox: Option<&smtp::Mailbox>,
) {
    let (local_part, domain) = mailbox.map_or(("", ""), |mailbox| (mailbox.local_part(), mailbox.domain()));
    context.set(Scope::Message, &format!("{what}_string"), &format!("{verb}:<{text}>"));
    context.set(Scope::Message, &format!("{what}_localpart"), local_part);
    context.set(Scope::Message, &format!("{what}_domain"), domain);
}

/// What policy refused the whole message with.
pub(crate) struct Rejected {
    pub(crate) reply: Reply,
    pub(crate) disconnect: bool,
    pub(crate) module: Option<Arc<str>>,
}

impl Rejected {
    /// Refused by no module.
    pub(crate) fn by_us(reply: Reply) -> Self {
        Self { reply, disconnect: false, module: None }
    }
}
