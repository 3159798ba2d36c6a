//! Debug_Flags: which events of which subsystem at which level reach the paniclog (reference: log-formats.md section 4).
//!
//! An event's subsystem is its `tracing` target in capitals (`target: "SMTP"`); an event with any other target belongs
//! to `ERROR`, the generic subsystem. Its level follows from the macro: `trace!` is DEBUG, `debug!` INFO, `info!`
//! NOTICE, `warn!` WARNING, `error!` ERROR, and `error!` with a field `critical = true` CRITICAL.

use tracing::Metadata;

/// How grave an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// For who changes the code.
    Debug = 0,
    /// Each step.
    Info = 1,
    /// Milestones: start, stop, reload.
    Notice = 2,
    /// Something to look at.
    Warning = 3,
    /// Something failed.
    Error = 4,
    /// The daemon cannot do its work.
    Critical = 5,
}

impl Level {
    /// Every level, by number.
    pub const ALL: [Self; 6] = [Self::Debug, Self::Info, Self::Notice, Self::Warning, Self::Error, Self::Critical];

    /// The word Debug_Flags and the console use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }

    /// The level of an event.
    pub fn of(metadata: &Metadata<'_>) -> Self {
        match *metadata.level() {
            tracing::Level::TRACE => Self::Debug,
            tracing::Level::DEBUG => Self::Info,
            tracing::Level::INFO => Self::Notice,
            tracing::Level::WARN => Self::Warning,
            tracing::Level::ERROR if metadata.fields().field("critical").is_some() => Self::Critical,
            tracing::Level::ERROR => Self::Error,
        }
    }
}

/// Which subsystems are heard at each level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugFlags {
    levels: [Vec<Box<str>>; 6],
}

impl Default for DebugFlags {
    /// Everything at ERROR and CRITICAL; hosts that cannot be reached, which are told at NOTICE, and domains whose lookup fails,
    /// at WARNING.
    fn default() -> Self {
        let mut flags = Self::none();
        flags.set(Level::Notice, ["HOST"]);
        flags.set(Level::Warning, ["DNS"]);
        flags.set(Level::Error, ["ALL"]);
        flags.set(Level::Critical, ["ALL"]);
        flags
    }
}

impl DebugFlags {
    /// Nothing is heard.
    pub fn none() -> Self {
        Self { levels: Default::default() }
    }

    /// Replaces the subsystems of one level; case does not matter, and `ALL` stands for every one.
    pub fn set<'a>(&mut self, level: Level, subsystems: impl IntoIterator<Item = &'a str>) {
        self.levels[level as usize] = subsystems.into_iter().map(|name| name.to_ascii_uppercase().into()).collect();
    }

    /// Whether an event of this level and target is heard.
    pub fn hears(&self, level: Level, target: &str) -> bool {
        let subsystems = &self.levels[level as usize];
        let subsystem = if is_subsystem(target) { target } else { GENERIC };
        subsystems.iter().any(|name| **name == *"ALL" || **name == *subsystem)
    }
}

fn is_subsystem(target: &str) -> bool {
    !target.is_empty()
        && target.bytes().all(|octet| octet.is_ascii_uppercase() || octet.is_ascii_digit() || octet == b'_')
}

const GENERIC: &str = "ERROR";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_errors_are_heard_and_below_them_only_hosts_that_cannot_be_reached_and_lookups_that_fail() {
        let flags = DebugFlags::default();
        assert!(flags.hears(Level::Error, "SMTP") && flags.hears(Level::Critical, "spool::journal"));
        assert!(Level::ALL[..4].iter().all(|&level| !flags.hears(level, "SMTP")));
        assert!(flags.hears(Level::Notice, "HOST") && !flags.hears(Level::Info, "HOST"));
        assert!(flags.hears(Level::Warning, "DNS") && !flags.hears(Level::Notice, "DNS"));
    }

    #[test]
    fn a_level_lists_its_subsystems_and_module_paths_are_generic() {
        let mut flags = DebugFlags::none();
        flags.set(Level::Debug, ["dns", "Error"]);
        assert!(flags.hears(Level::Debug, "DNS") && !flags.hears(Level::Debug, "SMTP"));
        assert!(flags.hears(Level::Debug, "hickory_resolver::cache"));
        assert!(!flags.hears(Level::Info, "DNS"));
    }
}
