//! The log hooks: where reception and delivery tell the loggers what happened.
//!
//! Called on the loop of the session or queue that the record is about, so a provider may not block and may not suspend.
//! Every provider runs; none can decide anything.

use hooks::{
    Declaration, DeclaredHook, Failing, Hook, HookPoint, HookSet, Kind, Listed, Needs, Parameter, Part, Parts,
    Returned, Rule, Runs, Tier, Value,
};
use message::Envelope;
use smtp::Mailbox;

use crate::record::{
    AccountingRecord, DeliveryRecord, ErrorRecord, FailureRecord, ImportRecord, OutOfBandRecord, ReceptionRecord,
    RejectionRecord,
};

macro_rules! log_hook {
    ($(#[doc = $meaning:literal])* $hook:ident, $args:ty, $tier:expr, $runs:expr, $needs:expr, $name:literal, $parameters:expr, $show:expr) => {
        $(#[doc = $meaning])*
        #[derive(Debug)]
        pub enum $hook {}

        impl Hook for $hook {
            const DECLARATION: &'static Declaration = &Declaration {
                scope: "core",
                name: $name,
                returns: "void",
                parameters: $parameters,
                rule: Rule::Every,
                failing: Failing::PassedOver,
                runs: $runs,
                needs: $needs,
                suspends: false,
                tier: $tier,
                meaning: concat!($($meaning),*).trim_ascii(),
            };
            type Args<'a> = $args;
            type Verdict = ();

            fn show(args: &mut Self::Args<'_>, call: &mut dyn FnMut(&mut [Value<'_>])) {
                shown::<Self>(args, call, $show);
            }

            fn verdict(_: Returned) -> Option<()> {
                None
            }
        }
    };
}

/// Shows a record as values.
type Show<H> = fn(&mut <H as Hook>::Args<'_>, &mut dyn FnMut(&mut [Value<'_>]));

/// Calls `show`; it stands for a closure's type, which no annotation can spell.
fn shown<H: Hook>(args: &mut H::Args<'_>, call: &mut dyn FnMut(&mut [Value<'_>]), show: Show<H>) {
    show(args, call);
}

/// A message of which the envelope is there.
fn message(envelope: &Envelope) -> Parts<'_, 1> {
    Parts::new(Kind::Message, [Part::Shown(envelope)])
}

fn show_failure(record: &mut FailureRecord<'_>, call: &mut dyn FnMut(&mut [Value<'_>])) {
    let (mut message, reply) = (message(record.envelope), record.reply);
    let (at, text, length) = (Value::Time(record.at), Value::text(reply), Value::length(reply));
    call(&mut [Value::Object(&mut message), Value::Absent, at, text, length]);
}

/// The number of a reception state, `MC_STATE_START` being the first.
fn rejection_state(phase: &str) -> i64 {
    match phase {
        "awaiting ehlo/helo" => 2,
        "awaiting mailfrom" => 4,
        "awaiting rcptto" => 6,
        "data phase" => 8,
        "reading body" => 9,
        "sending body response" => 10,
        "relaying denied" => 13,
        _ => 0,
    }
}

const OUTBOUND: &[Parameter] = &[
    Parameter::message("msg"),
    Parameter::domain("dr"),
    Parameter::now(),
    Parameter::text("note"),
    Parameter::number("note_len"),
];
const FORMAT: Parameter = Parameter::text("format");
const ARGUMENTS: Parameter = Parameter::new("va_list", "args", Kind::Other);
const ARGUMENTS_OF_ERROR: Parameter = Parameter::new("va_list", "arg", Kind::Other);

log_hook!(
    /// A message was received.
    LogReception, ReceptionRecord<'a>, Tier::A, Runs::Any, Needs::Envelope,
    "log_reception_v1",
    &[
        Parameter::session("ac"),
        Parameter::message("msg"),
        Parameter::now(),
        Parameter::text("note"),
        Parameter::number("note_len"),
    ],
    |record, call| {
        let mut message = message(record.envelope);
        call(&mut [Value::Absent, Value::Object(&mut message), Value::Time(record.at), Value::Absent, Value::Number(0)]);
    }
);
log_hook!(
    /// A message was delivered.
    LogDelivery, DeliveryRecord<'a>, Tier::A, Runs::Any, Needs::Envelope,
    "log_delivery_v1",
    OUTBOUND,
    |record, call| {
        let mut message = message(record.envelope);
        call(&mut [Value::Object(&mut message), Value::Absent, Value::Time(record.at), Value::Absent, Value::Number(0)]);
    }
);
log_hook!(
    /// An attempt failed for now.
    LogTransientFailure, FailureRecord<'a>, Tier::A, Runs::Any, Needs::Envelope,
    "log_transient_failure_v1",
    OUTBOUND,
    show_failure
);
log_hook!(
    /// A message failed for good.
    LogPermanentFailure, FailureRecord<'a>, Tier::A, Runs::Any, Needs::Envelope,
    "log_permanent_failure_v1",
    OUTBOUND,
    show_failure
);
log_hook!(
    /// A bounce came as mail.
    LogOutOfBandBounce, OutOfBandRecord<'a>, Tier::C, Runs::Any, Needs::Envelope,
    "log_bounce_outband",
    &[
        Parameter::message("msg"),
        Parameter::now(),
        Parameter::text("recipient"),
        Parameter::number("code"),
        Parameter::text("note"),
        Parameter::number("note_len"),
    ],
    |record, call| {
        let mut message = message(record.envelope);
        let (recipient, reply) = (record.recipient.map(Mailbox::as_str), record.reply);
        call(&mut [
            Value::Object(&mut message),
            Value::Time(record.at),
            recipient.map_or(Value::Absent, Value::text),
            Value::Number(record.class.into()),
            Value::text(reply),
            Value::length(reply),
        ]);
    }
);
log_hook!(
    /// A client was refused something. The text is given as it is, without arguments.
    LogRejection, RejectionRecord<'a>, Tier::A, Runs::Any, Needs::Nothing,
    "log_rejection",
    &[
        Parameter::now(),
        Parameter::session("ac"),
        Parameter::context("ctx"),
        Parameter::number("phase"),
        FORMAT,
        ARGUMENTS,
    ],
    |record, call| {
        let mut context = Parts::new(Kind::ValidationContext, [Part::Shown(record.context)]);
        call(&mut [
            Value::Time(record.at),
            Value::Absent,
            Value::Object(&mut context),
            Value::Number(rejection_state(record.phase)),
            Value::text(record.text),
            Value::Absent,
        ]);
    }
);
log_hook!(
    /// The daemon says something of itself. The text is given as it is, without arguments.
    LogError, ErrorRecord<'a>, Tier::A, Runs::Any, Needs::Nothing,
    "log_error",
    &[Parameter::now(), Parameter::number("level"), FORMAT, ARGUMENTS_OF_ERROR],
    |record, call| {
        let level = Value::Number(record.level as i64);
        call(&mut [Value::Time(record.at), level, Value::text(record.message), Value::Absent]);
    }
);
log_hook!(
    /// Somebody was, or was not, let in or allowed something.
    LogAccounting, AccountingRecord<'a>, Tier::A, Runs::Any, Needs::Nothing,
    "aaa_log",
    &[Parameter::new("ec_accounting_record *", "rec", Kind::Accounting)],
    |record, call| {
        // The record is a view of what has no life of its own: who wants a part of it takes a copy.
        let user = record.user.to_owned();
        call(&mut [Value::Object(&mut Parts::new(Kind::Accounting, [Part::Shown(&user)]))]);
    }
);
log_hook!(
    /// A message was, or was not, taken in from another spool.
    LogImport, ImportRecord<'a>, Tier::B, Runs::Worker, Needs::Id,
    "log_spool_import",
    &[
        Parameter::message("m"),
        Parameter::new("message_id *", "orig_id", Kind::Text),
        Parameter::now(),
        Parameter::new("ec_spool_ctx *", "ctx", Kind::Other),
        Parameter::number("result"),
    ],
    |record, call| {
        let old = record.old.to_string();
        call(&mut [
            Value::Absent,
            Value::text(&old),
            Value::Time(record.at),
            Value::Absent,
            Value::Number(record.result as i64),
        ]);
    }
);
log_hook!(
    /// `reopen logs` was given: files are to be opened again by their paths.
    LogReopen, Reopening<'a>, Tier::A, Runs::Worker, Needs::Nothing,
    "log_reopen",
    &[],
    |_, call| call(&mut [])
);

/// An order to open log files again.
#[derive(Debug, Default)]
pub struct Reopening<'a> {
    /// Only the logs of this name; all without one. A name is that of a logger, `ec_logger` or `ec_logger:INSTANCE`, of an
    /// instance, of the option that names the log, or its path.
    pub only: Option<&'a str>,
    /// What became of each; a log that was not meant is not here.
    pub done: Vec<Reopened>,
    /// The names of all logs there are, for whoever asked for another.
    pub known: Vec<String>,
}

/// A log file that was to be opened again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reopened {
    /// `module`, or `module:instance`.
    pub logger: String,
    /// The option that names it: `mainlog`.
    pub log: &'static str,
    /// Its file.
    pub path: String,
    /// What went wrong; its lines still go to the old file then.
    pub error: Option<String>,
}

/// The log hooks, for the registry of hooks.
pub const HOOKS: &[&dyn DeclaredHook] = &[
    &Listed::<LogReception>::NEW,
    &Listed::<LogDelivery>::NEW,
    &Listed::<LogTransientFailure>::NEW,
    &Listed::<LogPermanentFailure>::NEW,
    &Listed::<LogOutOfBandBounce>::NEW,
    &Listed::<LogRejection>::NEW,
    &Listed::<LogError>::NEW,
    &Listed::<LogAccounting>::NEW,
    &Listed::<LogImport>::NEW,
    &Listed::<LogReopen>::NEW,
];

/// The log hooks of one generation. A session or queue looks them up once and keeps them.
#[derive(Clone, Debug, Default)]
pub struct LogHooks {
    /// Receptions.
    pub reception: HookPoint<LogReception>,
    /// Deliveries.
    pub delivery: HookPoint<LogDelivery>,
    /// Transient failures.
    pub transient: HookPoint<LogTransientFailure>,
    /// Permanent failures.
    pub permanent: HookPoint<LogPermanentFailure>,
    /// Bounces that came as mail.
    pub out_of_band: HookPoint<LogOutOfBandBounce>,
    /// Rejections.
    pub rejection: HookPoint<LogRejection>,
    /// The daemon's own lines.
    pub error: HookPoint<LogError>,
    /// Authentication and authorization.
    pub accounting: HookPoint<LogAccounting>,
    /// Imports.
    pub import: HookPoint<LogImport>,
    /// Reopening.
    pub reopen: HookPoint<LogReopen>,
}

impl LogHooks {
    /// The log hooks of `set`.
    pub fn of(set: &HookSet) -> Self {
        Self {
            reception: set.point(),
            delivery: set.point(),
            transient: set.point(),
            permanent: set.point(),
            out_of_band: set.point(),
            rejection: set.point(),
            error: set.point(),
            accounting: set.point(),
            import: set.point(),
            reopen: set.point(),
        }
    }

    /// Tells that a message was received.
    pub fn reception(&self, record: &ReceptionRecord<'_>) {
        tell(&self.reception, *record);
    }

    /// Tells that a message was delivered.
    pub fn delivery(&self, record: &DeliveryRecord<'_>) {
        tell(&self.delivery, *record);
    }

    /// Tells that an attempt failed for now.
    pub fn transient(&self, record: &FailureRecord<'_>) {
        tell(&self.transient, *record);
    }

    /// Tells that a message failed for good.
    pub fn permanent(&self, record: &FailureRecord<'_>) {
        tell(&self.permanent, *record);
    }

    /// Tells of a bounce that came as mail.
    pub fn out_of_band(&self, record: &OutOfBandRecord<'_>) {
        tell(&self.out_of_band, *record);
    }

    /// Tells that a client was refused something.
    pub fn rejection(&self, record: &RejectionRecord<'_>) {
        tell(&self.rejection, *record);
    }

    /// Tells of an authentication or authorization.
    pub fn accounting(&self, record: &AccountingRecord<'_>) {
        tell(&self.accounting, *record);
    }

    /// Tells of a message that was to be imported.
    pub fn import(&self, record: &ImportRecord<'_>) {
        tell(&self.import, *record);
    }

    /// Has log files opened again by their paths: those that `only` names, or all. May block.
    pub fn reopen(&self, only: Option<&str>) -> (Vec<Reopened>, Vec<String>) {
        let mut order = Reopening { only, ..Reopening::default() };
        if !self.reopen.is_empty() {
            self.reopen.call_now(&mut order);
        }
        (order.done, order.known)
    }
}

fn tell<H: Hook>(point: &HookPoint<H>, mut args: H::Args<'_>) {
    if !point.is_empty() {
        point.call_now(&mut args);
    }
}
