//! The default loggers: mainlog, rejectlog, paniclog, acctlog and importlog.
//!
//! Provides the log hooks. A provider formats its line into the file's buffer on the caller's loop; the log writer's
//! thread brings it to disk. Files and heartbeats belong to the providers, and so to a generation: a refused one leaves
//! nothing behind, and a path that the next one names too stays open.

use std::sync::Arc;

use config::{Generation, Lookup, Opt, Perms};
use hooks::{Answer, Hook, HookSetBuilder};
use logging::file::HeartbeatLine;
use logging::{
    LogAccounting, LogDelivery, LogError, LogFile, LogImport, LogPermanentFailure, LogReception, LogRejection,
    LogTransientFailure, LogWriter, Opened, Outlets, Stamp,
};
use logging::{acctlog, importlog, line, mainlog, paniclog, rejectlog};
use module::{Module, Setup, Stage};

mod options;

pub use options::*;

/// The module's `.ecm` file, for the catalogue of a daemon it is linked into.
pub const ECM: &str = include_str!("../ec_logger.ecm");

/// The module.
pub struct EcLogger(Outlets);

impl EcLogger {
    /// The module, writing through `writer`.
    pub fn new(writer: LogWriter) -> Self {
        Self(Outlets::new(NAME, writer))
    }
}

impl Module for EcLogger {
    fn name(&self) -> &str {
        NAME
    }

    fn description(&self) -> &str {
        "mainlog, rejectlog, paniclog, acctlog and importlog"
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn conf_setup(&self, setup: &mut Setup<'_>) -> Result<(), String> {
        setup.options(OPTIONS);
        Ok(())
    }

    fn check(&self, instance: &str, generation: &Generation) -> Result<(), String> {
        let lookup = Lookup::Module { module: NAME, instance };
        let importlog = (!generation.get(&IMPORTLOG, &lookup).is_empty()).then_some(&IMPORTLOG);
        let rejectlog = generation.get(&LOG_REJECTIONS, &lookup).then_some(&REJECTLOG);
        let paniclog = generation.get(&LOG_ERRORS, &lookup).then_some(&PANICLOG);
        let written = [Some(&MAINLOG), rejectlog, paniclog, Some(&ACCTLOG), importlog];
        written.into_iter().flatten().try_for_each(|log| self.0.check(generation, &lookup, log))
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
        let mut loggers = Loggers { outlets: &self.0, generation, lookup, opened: Opened::default(), hooks };
        loggers.mainlog()?;
        loggers.rejectlog()?;
        loggers.paniclog()?;
        loggers.acctlog()?;
        loggers.importlog()?;
        let opened = loggers.opened;
        self.0.keep(instance, opened, hooks);
        Ok(())
    }

    fn control(&self, instance: &str, words: &[&str]) -> Result<String, String> {
        self.0.control(instance, words)
    }
}

/// One instance of one generation being prepared.
struct Loggers<'a> {
    outlets: &'a Outlets,
    generation: &'a Generation,
    lookup: Lookup<'a>,
    opened: Opened,
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

    /// Written only if it is asked for.
    fn importlog(&mut self) -> Result<(), String> {
        if self.get(&IMPORTLOG).is_empty() {
            return Ok(());
        }
        let (file, stamp) = self.open(&IMPORTLOG, &IMPORTLOG_MODE)?;
        let provider: hooks::Provider<LogImport> = Arc::new(move |record| {
            file.append(|out| importlog::import(out, stamp, record));
            Answer::Cont
        });
        self.hooks.last::<LogImport>(NAME, provider);
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
        let file = self.outlets.open(&mut self.opened, self.generation, &self.lookup, (path, mode))?;
        Ok((file, Stamp::of(self.generation)))
    }

    fn heartbeat(&mut self, file: &LogFile, stamp: Stamp, line: HeartbeatLine) {
        let every = self.get(&HEARTBEAT);
        self.opened.heartbeat(file, every, stamp, line);
    }

    fn get<T: config::OptionType>(&self, option: &Opt<T>) -> T {
        self.generation.get(option, &self.lookup)
    }
}

/// The stanza's word.
const NAME: &str = "ec_logger";

#[cfg(test)]
mod tests;
