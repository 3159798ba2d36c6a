//! The default loggers: mainlog, rejectlog, paniclog and acctlog.
//!
//! Provides the log hooks. A provider formats its line into the file's buffer on the caller's loop; the log writer's
//! thread brings it to disk. Files and heartbeats belong to the providers, and so to a generation: a refused one leaves
//! nothing behind, and a path that the next one names too stays open.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use config::{Generation, Lookup, Opt, Perms};
use hooks::{Answer, Hook, HookSetBuilder};
use logging::file::HeartbeatLine;
use logging::{
    Heartbeat, LogAccounting, LogDelivery, LogError, LogFile, LogPermanentFailure, LogReception, LogRejection,
    LogReopen, LogTransientFailure, LogWriter, Stamp,
};
use logging::{acctlog, line, mainlog, paniclog, rejectlog};
use module::{Module, Setup, Stage};

mod options;

pub use options::*;

/// The module's `.ecm` file, for the catalogue of a daemon it is linked into.
pub const ECM: &str = include_str!("../ec_logger.ecm");

/// The module.
pub struct EcLogger {
    writer: LogWriter,
    /// What each instance writes to, by generation; those that are still in use.
    outlets: Mutex<Vec<(String, Weak<Outlets>)>>,
}

/// What one instance of one generation writes to.
#[derive(Default)]
struct Outlets {
    files: Vec<LogFile>,
    heartbeats: Vec<Heartbeat>,
}

impl EcLogger {
    /// The module, writing through `writer`.
    pub fn new(writer: LogWriter) -> Self {
        Self { writer, outlets: Mutex::default() }
    }

    fn remember(&self, instance: &str, new: &Arc<Outlets>) {
        let mut outlets = self.outlets.lock().unwrap_or_else(PoisonError::into_inner);
        outlets.retain(|(_, outlets)| 0 < outlets.strong_count());
        outlets.push((instance.to_owned(), Arc::downgrade(new)));
    }

    /// What an instance writes to now, each file once.
    fn files(&self, instance: &str) -> Vec<LogFile> {
        let outlets = self.outlets.lock().unwrap_or_else(PoisonError::into_inner);
        let of_instance =
            outlets.iter().filter(|(name, _)| name == instance).filter_map(|(_, outlets)| outlets.upgrade());
        let mut files: Vec<LogFile> = of_instance.flat_map(|outlets| outlets.files.clone()).collect();
        files.sort_by(|one, other| one.path().cmp(other.path()));
        files.dedup_by(|one, other| one.path() == other.path());
        files
    }
}

impl Module for EcLogger {
    fn name(&self) -> &str {
        NAME
    }

    fn description(&self) -> &str {
        "mainlog, rejectlog, paniclog and acctlog"
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn conf_setup(&self, setup: &mut Setup<'_>) -> Result<(), String> {
        setup.options(OPTIONS);
        Ok(())
    }

    fn ext_init(
        &self,
        stage: Stage,
        instance: &str,
        generation: &Generation,
        hooks: &mut HookSetBuilder,
    ) -> Result<(), String> {
        if !stage.registers() {
            return Ok(());
        }
        let lookup = Lookup::Module { module: NAME, instance };
        let mut loggers = Loggers { writer: &self.writer, generation, lookup, outlets: Outlets::default(), hooks };
        loggers.mainlog()?;
        loggers.rejectlog()?;
        loggers.paniclog()?;
        loggers.acctlog()?;
        let outlets = Arc::new(loggers.outlets);
        self.remember(instance, &outlets);
        provide_reopen(hooks, outlets);
        Ok(())
    }

    fn control(&self, instance: &str, words: &[&str]) -> Result<String, String> {
        match words {
            ["reopen"] => {
                let files = self.files(instance);
                let failures = reopen(&files);
                if failures.is_empty() {
                    Ok(format!("{} logs reopened", files.len()))
                } else {
                    Err(failures.join("\n"))
                }
            }
            _ => Err(format!("{NAME}: unknown command {:?}; known is reopen", words.join(" "))),
        }
    }
}

/// One instance of one generation being prepared.
struct Loggers<'a> {
    writer: &'a LogWriter,
    generation: &'a Generation,
    lookup: Lookup<'a>,
    outlets: Outlets,
    hooks: &'a mut HookSetBuilder,
}

impl Loggers<'_> {
    fn mainlog(&mut self) -> Result<(), String> {
        let (file, stamp) = self.open(&MAINLOG, &MAINLOG_MODE)?;
        self.heartbeat(&file, stamp, line::heartbeat);
        self.provide::<LogReception>(&LOG_RECEPTIONS, &file, move |out, record| mainlog::reception(out, stamp, record));
        self.provide::<LogDelivery>(&LOG_DELIVERIES, &file, move |out, record| mainlog::delivery(out, stamp, record));
        self.provide::<LogTransientFailure>(&LOG_TRANSIENT_FAILURES, &file, move |out, record| {
            mainlog::transient_failure(out, stamp, record);
        });
        self.provide::<LogPermanentFailure>(&LOG_PERMANENT_FAILURES, &file, move |out, record| {
            mainlog::permanent_failure(out, stamp, record);
        });
        Ok(())
    }

    fn rejectlog(&mut self) -> Result<(), String> {
        if self.get(&LOG_REJECTIONS) {
            let (file, stamp) = self.open(&REJECTLOG, &REJECTLOG_MODE)?;
            self.heartbeat(&file, stamp, rejectlog::heartbeat);
            self.provide::<LogRejection>(&LOG_REJECTIONS, &file, move |out, record| {
                rejectlog::rejection(out, stamp, record);
            });
        }
        Ok(())
    }

    fn paniclog(&mut self) -> Result<(), String> {
        if self.get(&LOG_ERRORS) {
            let (file, stamp) = self.open(&PANICLOG, &PANICLOG_MODE)?;
            let provider: hooks::Provider<LogError> = Arc::new(move |record| {
                record.kept |= file.append(|out| paniclog::line(out, stamp, record)) && !file.is_failing();
                Answer::Cont
            });
            self.hooks.last::<LogError>(NAME, provider);
        }
        Ok(())
    }

    fn acctlog(&mut self) -> Result<(), String> {
        let (file, stamp) = self.open(&ACCTLOG, &ACCTLOG_LOG_MODE)?;
        let provider: hooks::Provider<LogAccounting> = Arc::new(move |record| {
            file.append(|out| acctlog::accounting(out, stamp, record));
            Answer::Cont
        });
        self.hooks.last::<LogAccounting>(NAME, provider);
        Ok(())
    }

    /// Registers a provider that appends a line to `file`, if `switch` is on.
    fn provide<H: Hook>(
        &mut self,
        switch: &Opt<bool>,
        file: &LogFile,
        line: impl Fn(&mut Vec<u8>, &mut H::Args<'_>) + Send + Sync + 'static,
    ) {
        if self.get(switch) {
            let file = file.clone();
            let provider: hooks::Provider<H> = Arc::new(move |record| {
                file.append(|out| line(out, record));
                Answer::Cont
            });
            self.hooks.last::<H>(NAME, provider);
        }
    }

    fn open(&mut self, path: &Opt<String>, mode: &Opt<Perms>) -> Result<(LogFile, Stamp), String> {
        let url = self.get(path);
        let file = self.writer.open(&url, self.get(mode).0).map_err(|error| format!("{}: {error}", path.name()))?;
        self.outlets.files.push(file.clone());
        Ok((file, Stamp::of(self.generation)))
    }

    fn heartbeat(&mut self, file: &LogFile, stamp: Stamp, line: HeartbeatLine) {
        let every = Duration::from_secs(self.get(&HEARTBEAT).0);
        self.outlets.heartbeats.push(file.heartbeat(every, stamp, line));
    }

    fn get<T: config::OptionType>(&self, option: &Opt<T>) -> T {
        self.generation.get(option, &self.lookup)
    }
}

/// Registers the provider that also keeps the outlets for as long as the generation lives.
fn provide_reopen(hooks: &mut HookSetBuilder, outlets: Arc<Outlets>) {
    let provider: hooks::Provider<LogReopen> = Arc::new(move |()| {
        for failure in reopen(&outlets.files) {
            tracing::error!(target: "LOG1", "{failure}");
        }
        Answer::Cont
    });
    hooks.last::<LogReopen>(NAME, provider);
}

/// Opens every file again; what went wrong.
fn reopen(files: &[LogFile]) -> Vec<String> {
    let failure = |file: &LogFile| {
        let error = file.reopen().err()?;
        Some(format!("cannot open {} again: {error}; still writing to the old file", file.path()))
    };
    files.iter().filter_map(failure).collect()
}

/// The stanza's word.
const NAME: &str = "ec_logger";

#[cfg(test)]
mod tests;
