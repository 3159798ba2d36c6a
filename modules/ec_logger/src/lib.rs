//! The default loggers: mainlog, rejectlog, paniclog and acctlog.
//!
//! Provides the log hooks. A provider formats its line into the file's buffer on the caller's loop; the log writer's
//! thread brings it to disk. The files belong to the providers, and so to a generation; a path that the next generation
//! names too stays open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::{Generation, Lookup, Opt, Perms};
use hooks::{Answer, Hook, HookSetBuilder};
use logging::{
    LogAccounting, LogDelivery, LogError, LogFile, LogPermanentFailure, LogReception, LogRejection, LogReopen,
    LogTransientFailure, LogWriter, Stamp,
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
    /// The files of each instance's newest generation, for `reopen` by control.
    files: Mutex<BTreeMap<String, Vec<LogFile>>>,
}

impl EcLogger {
    /// The module, writing through `writer`.
    pub fn new(writer: LogWriter) -> Self {
        Self { writer, files: Mutex::default() }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Vec<LogFile>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut loggers = Loggers { writer: &self.writer, generation, lookup, files: Vec::new(), hooks };
        loggers.mainlog()?;
        loggers.rejectlog()?;
        loggers.paniclog()?;
        loggers.acctlog()?;
        let files = loggers.files;
        provide_reopen(hooks, files.clone());
        self.files().insert(instance.to_owned(), files);
        Ok(())
    }

    fn control(&self, instance: &str, words: &[&str]) -> Result<String, String> {
        match words {
            ["reopen"] => {
                let files = self.files().get(instance).cloned().unwrap_or_default();
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
    files: Vec<LogFile>,
    hooks: &'a mut HookSetBuilder,
}

impl Loggers<'_> {
    fn mainlog(&mut self) -> Result<(), String> {
        let (file, stamp) = self.open(&MAINLOG, &MAINLOG_MODE)?;
        file.set_heartbeat(self.heartbeat(), stamp, line::heartbeat);
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
            file.set_heartbeat(self.heartbeat(), stamp, rejectlog::heartbeat);
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
        self.files.push(file.clone());
        Ok((file, Stamp::of(self.generation)))
    }

    fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.get(&HEARTBEAT).0)
    }

    fn get<T: config::OptionType>(&self, option: &Opt<T>) -> T {
        self.generation.get(option, &self.lookup)
    }
}

fn provide_reopen(hooks: &mut HookSetBuilder, files: Vec<LogFile>) {
    let provider: hooks::Provider<LogReopen> = Arc::new(move |()| {
        for failure in reopen(&files) {
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
