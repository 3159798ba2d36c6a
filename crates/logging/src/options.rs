//! The options of the paniclog and of all logs.

use config::{Declared, Generation, Lookup, Opt, Scope, scopes};

use crate::debug_flags::{DebugFlags, Level};
use crate::line::Stamp;
use crate::paniclog::TIMESTAMP_FORMAT;

const DEBUG_FLAGS: &[Scope] = &[Scope::DebugFlags];

/// `debug_flags { debug = ( … ) }`.
pub const DEBUG: Opt<Vec<String>> = Opt::new("debug", "", DEBUG_FLAGS, "Subsystems logged at DEBUG.");
/// `debug_flags { info = ( … ) }`.
pub const INFO: Opt<Vec<String>> = Opt::new("info", "", DEBUG_FLAGS, "Subsystems logged at INFO.");
/// `debug_flags { notice = ( … ) }`.
pub const NOTICE: Opt<Vec<String>> = Opt::new("notice", "(\"HOST\")", DEBUG_FLAGS, "Subsystems logged at NOTICE.");
/// `debug_flags { warning = ( … ) }`.
pub const WARNING: Opt<Vec<String>> = Opt::new("warning", "(\"DNS\")", DEBUG_FLAGS, "Subsystems logged at WARNING.");
/// `debug_flags { error = ( … ) }`.
pub const ERROR: Opt<Vec<String>> = Opt::new("error", "(\"ALL\")", DEBUG_FLAGS, "Subsystems logged at ERROR.");
/// `debug_flags { critical = ( … ) }`.
pub const CRITICAL: Opt<Vec<String>> = Opt::new("critical", "(\"ALL\")", DEBUG_FLAGS, "Subsystems logged at CRITICAL.");
/// How lines on standard error tell the time.
pub const TIMESTAMPFORMAT: Opt<String> = Opt::new(
    "timestampformat",
    "\"[%a %d %b %Y %H:%M:%S] \"",
    scopes::GLOBAL,
    "The strftime prefix of log lines on standard error.",
);
/// Whether log lines tell microseconds.
pub const LOG_HIRES_TIMESTAMP: Opt<bool> = Opt::new(
    "log_hires_timestamp",
    "false",
    scopes::GLOBAL,
    "Log lines begin with sixteen digits, microseconds since 1970, in the place of ten, seconds.",
)
.not_tunable();

/// Every option of this crate.
pub const OPTIONS: &[&dyn Declared] =
    &[&DEBUG, &INFO, &NOTICE, &WARNING, &ERROR, &CRITICAL, &TIMESTAMPFORMAT, &LOG_HIRES_TIMESTAMP];

impl DebugFlags {
    /// What `debug_flags` says in this generation.
    pub fn of(generation: &Generation) -> Self {
        let lookup = Lookup::Stanza { word: "debug_flags", name: "" };
        let mut flags = Self::none();
        for (level, option) in Level::ALL.into_iter().zip([&DEBUG, &INFO, &NOTICE, &WARNING, &ERROR, &CRITICAL]) {
            let subsystems = generation.get(option, &lookup);
            flags.set(level, subsystems.iter().map(String::as_str));
        }
        flags
    }
}

impl Stamp {
    /// What `log_hires_timestamp` says in this generation.
    pub fn of(generation: &Generation) -> Self {
        if generation.get(&LOG_HIRES_TIMESTAMP, &Lookup::Global) { Self::Microseconds } else { Self::Seconds }
    }
}

impl crate::Paniclog {
    /// Takes `debug_flags` and `timestampformat` from a new generation.
    pub fn configure(&self, generation: &Generation) {
        self.set_flags(DebugFlags::of(generation));
        let format = generation.get(&TIMESTAMPFORMAT, &Lookup::Global);
        self.set_timestamp_format(if format.is_empty() { TIMESTAMP_FORMAT } else { &format });
    }
}
