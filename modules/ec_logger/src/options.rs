//! The options of `ec_logger { }`.

use config::{Declared, Opt, Perms, Scope, Seconds};

const EC_LOGGER: &[Scope] = &[Scope::Module("ec_logger")];

const fn path(name: &'static str, default: &'static str, doc: &'static str) -> Opt<String> {
    Opt::new(name, default, EC_LOGGER, doc)
}

const fn mode(name: &'static str) -> Opt<Perms> {
    Opt::new(name, "0644", EC_LOGGER, "The mode of that log when it is made.")
}

const fn switch(name: &'static str, doc: &'static str) -> Opt<bool> {
    Opt::new(name, "true", EC_LOGGER, doc)
}

/// Where R, D, T and P lines go.
pub const MAINLOG: Opt<String> =
    path("mainlog", "\"/var/log/ecelerity/mainlog.ec\"", "Where receptions, deliveries and failures are logged.");
/// Where rejections go.
pub const REJECTLOG: Opt<String> =
    path("rejectlog", "\"/var/log/ecelerity/rejectlog.ec\"", "Where refused clients are logged.");
/// Where the daemon's own lines go.
pub const PANICLOG: Opt<String> =
    path("paniclog", "\"/var/log/ecelerity/paniclog.ec\"", "Where the daemon's own errors and notices are logged.");
/// Where authentication and authorization go.
pub const ACCTLOG: Opt<String> =
    path("acctlog", "\"/var/log/ecelerity/acctlog.ec\"", "Where authentication and authorization are logged.");
/// Where imports go.
pub const IMPORTLOG: Opt<String> =
    path("importlog", "", "Where messages taken in by spool import are logged; unset, nowhere.");
/// Mode of the mainlog.
pub const MAINLOG_MODE: Opt<Perms> = mode("mainlog_mode");
/// Mode of the rejectlog.
pub const REJECTLOG_MODE: Opt<Perms> = mode("rejectlog_mode");
/// Mode of the paniclog.
pub const PANICLOG_MODE: Opt<Perms> = mode("paniclog_mode");
/// Mode of the acctlog; its name has always been irregular.
pub const ACCTLOG_LOG_MODE: Opt<Perms> = mode("acctlog_log_mode");
/// Mode of the importlog.
pub const IMPORTLOG_MODE: Opt<Perms> = mode("importlog_mode");
/// Whether R lines are written.
pub const LOG_RECEPTIONS: Opt<bool> = switch("log_receptions", "Log receptions in the mainlog.");
/// Whether D lines are written.
pub const LOG_DELIVERIES: Opt<bool> = switch("log_deliveries", "Log deliveries in the mainlog.");
/// Whether T lines are written.
pub const LOG_TRANSIENT_FAILURES: Opt<bool> =
    switch("log_transient_failures", "Log transient failures in the mainlog.");
/// Whether P lines are written.
pub const LOG_PERMANENT_FAILURES: Opt<bool> =
    switch("log_permanent_failures", "Log permanent failures in the mainlog.");
/// Whether the rejectlog is written.
pub const LOG_REJECTIONS: Opt<bool> = switch("log_rejections", "Write the rejectlog.");
/// Whether the paniclog is written.
pub const LOG_ERRORS: Opt<bool> = switch("log_errors", "Write the paniclog.");
/// How often a heartbeat line is written.
pub const HEARTBEAT: Opt<Seconds> =
    Opt::new("heartbeat", "60", EC_LOGGER, "The period of heartbeat lines in mainlog and rejectlog; 0 for none.");

/// All of them.
pub const OPTIONS: &[&dyn Declared] = &[
    &MAINLOG,
    &REJECTLOG,
    &PANICLOG,
    &ACCTLOG,
    &IMPORTLOG,
    &MAINLOG_MODE,
    &REJECTLOG_MODE,
    &PANICLOG_MODE,
    &ACCTLOG_LOG_MODE,
    &IMPORTLOG_MODE,
    &LOG_RECEPTIONS,
    &LOG_DELIVERIES,
    &LOG_TRANSIENT_FAILURES,
    &LOG_PERMANENT_FAILURES,
    &LOG_REJECTIONS,
    &LOG_ERRORS,
    &HEARTBEAT,
];
