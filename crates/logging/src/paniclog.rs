//! The paniclog: what the daemon says of itself.
//!
//! A `tracing` layer. Takes events from any thread, filters them by [`DebugFlags`], keeps the last
//! `ENTRIES_PER_LEVEL` of each level in memory for the console, and hands them to the loggers of the generation in
//! effect (`core_log_error`), which append `ts: message` lines to their files. They go to standard error, under
//! `timestampformat`, in the foreground, while there is no logger, and whenever none could keep the line.
//!
//! An event that is not heard costs its caller one load: the verdict is cached at its call site.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use hooks::HookPoint;
use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use scheduler::Clock;
use tracing::field::{Field, Visit};
use tracing::subscriber::{Interest, SetGlobalDefaultError};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::debug_flags::{DebugFlags, Level};
use crate::file::{LogFile, lock};
use crate::hook::{LogError, LogHooks};
use crate::line::{Stamp, put_text};
use crate::record::ErrorRecord;

/// The daemon's own log. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Paniclog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    stderr: LogFile,
    flags: RwLock<DebugFlags>,
    loggers: Mutex<HookPoint<LogError>>,
    foreground: AtomicBool,
    timestamp_format: Mutex<String>,
    recent: Mutex<[VecDeque<PaniclogEntry>; 6]>,
    /// Lines from before there were loggers, for the first that come; none once they have.
    early: Mutex<Option<Vec<PaniclogEntry>>>,
}

/// One line, as kept in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaniclogEntry {
    /// When, since 1970.
    pub at: Duration,
    /// How grave.
    pub level: Level,
    /// What, on one line.
    pub message: String,
}

impl Paniclog {
    /// A log that speaks to `stderr` until it is given a file.
    pub fn new(clock: Clock, stderr: LogFile) -> Self {
        Self(Arc::new(Inner {
            clock,
            stderr,
            flags: RwLock::default(),
            loggers: Mutex::default(),
            foreground: AtomicBool::new(false),
            timestamp_format: Mutex::new(TIMESTAMP_FORMAT.to_owned()),
            recent: Mutex::default(),
            early: Mutex::new(Some(Vec::new())),
        }))
    }

    /// Makes it the process's listener for `tracing` events. Once per process.
    pub fn install(&self) -> Result<(), SetGlobalDefaultError> {
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(self.clone()))
    }

    /// Replaces what is heard.
    pub fn set_flags(&self, flags: DebugFlags) {
        *self.0.flags.write().unwrap_or_else(PoisonError::into_inner) = flags;
        tracing::callsite::rebuild_interest_cache();
    }

    /// Hands lines to the loggers of another generation.
    pub fn set_hooks(&self, hooks: &LogHooks) {
        *lock(&self.0.loggers) = hooks.error.clone();
        for PaniclogEntry { at, level, message } in lock(&self.0.early).take().unwrap_or_default() {
            hooks.error.call_now(&mut ErrorRecord { at, level, message: &message, kept: false });
        }
    }

    /// In the foreground lines go to standard error too.
    pub fn set_foreground(&self, foreground: bool) {
        self.0.foreground.store(foreground, Ordering::Relaxed);
    }

    /// The strftime format of lines on standard error (`timestampformat`).
    pub fn set_timestamp_format(&self, format: &str) {
        *lock(&self.0.timestamp_format) = format.to_owned();
    }

    /// The last lines of one level, oldest first.
    pub fn recent(&self, level: Level) -> Vec<PaniclogEntry> {
        lock(&self.0.recent)[level as usize].iter().cloned().collect()
    }

    /// Logs one line, whatever Debug_Flags say. Events come here when they are heard.
    pub fn log(&self, level: Level, message: &str) {
        let at = self.0.clock.unix();
        let mut line = Vec::with_capacity(message.len());
        put_text(&mut line, message);
        let message = String::from_utf8_lossy(&line).into_owned();
        let loggers = lock(&self.0.loggers).clone();
        let mut record = ErrorRecord { at, level, message: &message, kept: false };
        loggers.call_now(&mut record);
        if !record.kept || self.0.foreground.load(Ordering::Relaxed) {
            self.to_stderr(at, &message);
        }
        if !record.kept
            && let Some(early) = lock(&self.0.early).as_mut().filter(|early| early.len() < EARLY_MAX)
        {
            early.push(PaniclogEntry { at, level, message: message.clone() });
        }
        let mut recent = lock(&self.0.recent);
        let entries = &mut recent[level as usize];
        if entries.len() == ENTRIES_PER_LEVEL {
            entries.pop_front();
        }
        entries.push_back(PaniclogEntry { at, level, message });
    }

    fn to_stderr(&self, at: Duration, message: &str) {
        let stamp = self.local_time(at);
        self.0.stderr.append(|out| {
            put_text(out, &stamp);
            put_text(out, message);
            out.push(b'\n');
        });
    }

    fn local_time(&self, at: Duration) -> String {
        let timestamp = i64::try_from(at.as_secs())
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .unwrap_or_default();
        let format = lock(&self.0.timestamp_format);
        let text = strtime::format(&*format, &timestamp.to_zoned(TimeZone::system()));
        text.unwrap_or_else(|_| format!("{}: ", at.as_secs()))
    }

    fn hears(&self, metadata: &Metadata<'_>) -> bool {
        let flags = self.0.flags.read().unwrap_or_else(PoisonError::into_inner);
        metadata.is_event() && flags.hears(Level::of(metadata), metadata.target())
    }
}

impl<S: Subscriber> Layer<S> for Paniclog {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.hears(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.hears(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.log(Level::of(event.metadata()), &(text.message + &text.fields));
    }
}

/// An event's message, and its other fields as ` name=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "critical" => Ok(()),
            name => write!(self.fields, " {name}={value:?}"),
        };
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Appends `ts: message`.
pub fn line(out: &mut Vec<u8>, stamp: Stamp, record: &ErrorRecord<'_>) {
    stamp.put(out, record.at);
    out.extend_from_slice(b": ");
    put_text(out, record.message);
    out.push(b'\n');
}

/// How many lines of each level stay in memory.
pub const EARLY_MAX: usize = 64;
const ENTRIES_PER_LEVEL: usize = 10;

/// Default of `timestampformat`.
pub const TIMESTAMP_FORMAT: &str = "[%a %d %b %Y %H:%M:%S] ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::LogWriter;
    use hooks::{Answer, HookSetBuilder};
    use io_wrapper::IoWrappers;
    use scheduler::Meters;

    fn with_paniclog(events: impl FnOnce(&Paniclog)) -> (Paniclog, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paniclog.ec");
        let writer = LogWriter::start(Clock::system(), &Meters::new(), IoWrappers::new()).unwrap();
        let paniclog = Paniclog::new(Clock::system(), writer.stderr());
        let file = writer.open(path.to_str().unwrap(), 0o644).unwrap();
        let mut builder = HookSetBuilder::new();
        builder.last::<LogError>(
            "test",
            Arc::new(move |record: &mut ErrorRecord<'_>| {
                record.kept = file.append(|out| line(out, Stamp::Seconds, record));
                Answer::Cont
            }),
        );
        paniclog.set_hooks(&LogHooks::of(&builder.finish()));
        let subscriber = tracing_subscriber::registry().with(paniclog.clone());
        tracing::subscriber::with_default(subscriber, || events(&paniclog));
        writer.stop();
        (paniclog, std::fs::read_to_string(path).unwrap())
    }

    #[test]
    fn events_become_lines_with_a_stamp_and_their_fields() {
        let (_, text) = with_paniclog(|_| {
            tracing::error!(target: "SPOOL", path = "/x", errno = 28, "cannot write\nsegment");
            tracing::info!(target: "START", "milestone");
        });
        let (stamp, message) = text.split_once(": ").unwrap();
        assert!(stamp.bytes().all(|octet| octet.is_ascii_digit()));
        assert_eq!(message, "cannot write segment path=/x errno=28\n");
    }

    #[test]
    fn debug_flags_are_obeyed_from_the_next_event_on() {
        let say = || tracing::info!(target: "START", "milestone");
        let (_, text) = with_paniclog(|paniclog| {
            say();
            let mut flags = DebugFlags::default();
            flags.set(Level::Notice, ["START"]);
            paniclog.set_flags(flags);
            say();
            tracing::info!(target: "SMTP", "not this");
        });
        assert_eq!(text.matches("milestone").count(), 1);
        assert!(!text.contains("not this"));
    }

    #[test]
    fn the_last_ten_lines_of_each_level_are_kept() {
        let (paniclog, _) = with_paniclog(|_| {
            for n in 0..12 {
                tracing::error!(target: "SMTP", "number {n}");
            }
            tracing::error!(target: "SMTP", critical = true, "grave");
        });
        let messages: Vec<String> = paniclog.recent(Level::Error).into_iter().map(|entry| entry.message).collect();
        assert_eq!(messages, (2..12).map(|n| format!("number {n}")).collect::<Vec<_>>());
        assert_eq!(paniclog.recent(Level::Critical)[0].message, "grave");
    }

    #[test]
    fn standard_error_has_the_documented_stamp() {
        let writer = LogWriter::start(Clock::system(), &Meters::new(), IoWrappers::new()).unwrap();
        let paniclog = Paniclog::new(Clock::system(), writer.stderr());
        let stamp = paniclog.local_time(Duration::from_secs(1_790_000_000));
        assert!(stamp.starts_with("[Mon 21 Sep 2026 ") || stamp.starts_with("[Tue 22 Sep 2026 "), "{stamp}");
        paniclog.set_timestamp_format("%Q%");
        assert_eq!(paniclog.local_time(Duration::from_secs(5)), "5: ");
    }
}
