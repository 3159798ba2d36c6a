//! The log hooks: where reception and delivery tell the loggers what happened.
//!
//! Called on the loop of the session or queue that the record is about, so a provider may not block and may not suspend.
//! Every provider runs; none can decide anything.

use hooks::{Hook, HookPoint, HookSet, Rule};

use crate::record::{
    AccountingRecord, DeliveryRecord, ErrorRecord, FailureRecord, ImportRecord, OutOfBandRecord, ReceptionRecord,
    RejectionRecord,
};

macro_rules! log_hook {
    ($(#[$doc:meta])* $hook:ident, $name:literal, $prototype:literal, $args:ty) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $hook {}

        impl Hook for $hook {
            const NAME: &'static str = $name;
            const PROTOTYPE: &'static str = $prototype;
            const RULE: Rule = Rule::EveryProvider;
            type Args<'a> = $args;
            type Verdict = ();
        }
    };
}

log_hook!(
    /// A message was received.
    LogReception,
    "core_log_reception_v1",
    "void core_log_reception_v1(void *closure, accept_construct *ac, ec_message *msg, struct timeval *now, const char *note, int note_len)",
    ReceptionRecord<'a>
);
log_hook!(
    /// A message was delivered.
    LogDelivery,
    "core_log_delivery_v1",
    "void core_log_delivery_v1(void *closure, ec_message *msg, domain_record *dr, struct timeval *now, const char *note, int note_len)",
    DeliveryRecord<'a>
);
log_hook!(
    /// An attempt failed for now.
    LogTransientFailure,
    "core_log_transient_failure_v1",
    "void core_log_transient_failure_v1(void *closure, ec_message *msg, domain_record *dr, struct timeval *now, const char *note, int note_len)",
    FailureRecord<'a>
);
log_hook!(
    /// A message failed for good.
    LogPermanentFailure,
    "core_log_permanent_failure_v1",
    "void core_log_permanent_failure_v1(void *closure, ec_message *msg, domain_record *dr, struct timeval *now, const char *note, int note_len)",
    FailureRecord<'a>
);
log_hook!(
    /// A bounce came as mail.
    LogOutOfBandBounce,
    "core_log_bounce_outband",
    "void core_log_bounce_outband(void *closure, ec_message *msg, struct timeval *now, const char *recipient, int code, const char *note, int note_len)",
    OutOfBandRecord<'a>
);
log_hook!(
    /// A client was refused something.
    LogRejection,
    "core_log_rejection",
    "void core_log_rejection(void *closure, struct timeval *now, accept_construct *ac, validate_context *ctx, int phase, const char *format, va_list args)",
    RejectionRecord<'a>
);
log_hook!(
    /// The daemon says something of itself. Called on any thread.
    LogError,
    "core_log_error",
    "void core_log_error(void *closure, struct timeval *now, int level, const char *format, va_list arg)",
    ErrorRecord<'a>
);
log_hook!(
    /// Somebody was, or was not, let in or allowed something.
    LogAccounting,
    "core_aaa_log",
    "void core_aaa_log(void *closure, ec_accounting_record *rec)",
    AccountingRecord<'a>
);
log_hook!(
    /// A message was, or was not, taken in from another spool. Called on the import's own thread.
    LogImport,
    "core_log_import",
    "void core_log_import(void *closure, struct timeval *now, message_id *old_id, message_id *new_id, int result, const char *spool_dir)",
    ImportRecord<'a>
);
log_hook!(
    /// `reopen logs` was given: files are to be opened again by their paths.
    LogReopen,
    "core_log_reopen",
    "void core_log_reopen(void *closure)",
    Reopening<'a>
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
