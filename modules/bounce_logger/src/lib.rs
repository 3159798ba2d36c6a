//! The bouncelog: every bounce and transient failure, with its class.
//!
//! Provides the log hooks of failures, and of bounces that came as mail, whose class has been found already. Each reply is classified on the caller's loop, in time linear in the reply, and the
//! line appended to the file's buffer; the log writer's thread brings it to disk.

use std::sync::Arc;

use bounce::{BounceClass, Classifier};
use config::{Declared, Generation, Lookup, Opt, Perms, Scope, Seconds};
use hooks::{Answer, HookSetBuilder, Provider};
use logging::{
    FailureRecord, LogFile, LogOutOfBandBounce, LogPermanentFailure, LogTransientFailure, LogWriter, Opened, Outlets,
    Stage, Stamp, bouncelog, line,
};
use module::{Module, Setup};

const BOUNCE_LOGGER: &[Scope] = &[Scope::Module("bounce_logger")];

/// Where the lines go.
pub const BOUNCELOG: Opt<String> = Opt::new(
    "bouncelog",
    "\"/var/log/ecelerity/bouncelog.ec\"",
    BOUNCE_LOGGER,
    "Where bounces and transient failures are logged.",
);
/// Mode of the bouncelog.
pub const BOUNCELOG_MODE: Opt<Perms> =
    Opt::new("bouncelog_mode", "0644", BOUNCE_LOGGER, "The mode of that log when it is made.");
/// Whether failures of our own attempts are logged.
pub const LOG_INBAND_BOUNCES: Opt<bool> =
    Opt::new("log_inband_bounces", "true", BOUNCE_LOGGER, "Log bounces given in the SMTP session as B lines.");
/// Whether bounces that came as mail are logged.
pub const LOG_OUTOFBAND_BOUNCES: Opt<bool> =
    Opt::new("log_outofband_bounces", "true", BOUNCE_LOGGER, "Log bounces that came as mail as B lines.");
/// Whether transient failures are logged.
pub const LOG_TRANSIENT_FAILURES: Opt<bool> =
    Opt::new("log_transient_failures", "true", BOUNCE_LOGGER, "Log transient failures as T lines.");
/// How often a heartbeat line is written.
pub const HEARTBEAT: Opt<Seconds> =
    Opt::new("heartbeat", "60", BOUNCE_LOGGER, "The period of heartbeat lines; 0 for none.");

/// All of them.
pub const OPTIONS: &[&dyn Declared] =
    &[&BOUNCELOG, &BOUNCELOG_MODE, &LOG_INBAND_BOUNCES, &LOG_OUTOFBAND_BOUNCES, &LOG_TRANSIENT_FAILURES, &HEARTBEAT];

/// The module's `.ecm` file, for the catalogue of a daemon it is linked into.
pub const ECM: &str = include_str!("../bounce_logger.ecm");

/// The module.
pub struct BounceLogger {
    outlets: Outlets,
    classifier: Arc<Classifier>,
}

impl BounceLogger {
    /// The module, writing through `writer`.
    pub fn new(writer: LogWriter) -> Self {
        Self { outlets: Outlets::new(NAME, writer), classifier: Arc::new(Classifier::new()) }
    }
}

impl Module for BounceLogger {
    fn name(&self) -> &str {
        NAME
    }

    fn description(&self) -> &str {
        "bouncelog"
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn conf_setup(&self, setup: &mut Setup<'_>) -> Result<(), String> {
        setup.options(OPTIONS);
        Ok(())
    }

    fn check(&self, instance: &str, generation: &Generation) -> Result<(), String> {
        self.outlets.check(generation, &Lookup::Module { module: NAME, instance }, &BOUNCELOG)
    }

    fn ext_init(
        &self,
        stage: module::Stage,
        instance: &str,
        generation: &Generation,
        hooks: &mut HookSetBuilder,
    ) -> Result<(), String> {
        if !stage.registers() {
            return Ok(());
        }
        let lookup = Lookup::Module { module: NAME, instance };
        let (mut opened, stamp) = (Opened::default(), Stamp::of(generation));
        let file = self.outlets.open(&mut opened, generation, &lookup, (&BOUNCELOG, &BOUNCELOG_MODE))?;
        opened.heartbeat(&file, generation.get(&HEARTBEAT, &lookup), stamp, line::heartbeat);
        let logger = Arc::new(Logger { file, stamp, classifier: self.classifier.clone() });
        if generation.get(&LOG_INBAND_BOUNCES, &lookup) {
            logger.clone().provide_in_band(hooks);
        }
        if generation.get(&LOG_OUTOFBAND_BOUNCES, &lookup) {
            logger.clone().provide_out_of_band(hooks);
        }
        if generation.get(&LOG_TRANSIENT_FAILURES, &lookup) {
            logger.provide_transient(hooks);
        }
        self.outlets.keep(instance, opened, hooks);
        Ok(())
    }

    fn control(&self, instance: &str, words: &[&str]) -> Result<String, String> {
        self.outlets.control(instance, words)
    }
}

/// One instance of one generation.
struct Logger {
    file: LogFile,
    stamp: Stamp,
    classifier: Arc<Classifier>,
}

impl Logger {
    fn provide_in_band(self: Arc<Self>, hooks: &mut HookSetBuilder) {
        let provider: Provider<LogPermanentFailure> = Arc::new(move |record| {
            self.bounce(record);
            Answer::Cont
        });
        hooks.last::<LogPermanentFailure>(NAME, provider);
    }

    fn provide_out_of_band(self: Arc<Self>, hooks: &mut HookSetBuilder) {
        let provider: Provider<LogOutOfBandBounce> = Arc::new(move |record| {
            if record.class != BounceClass::SUBSCRIBE.code() {
                self.file.append(|out| bouncelog::out_of_band(out, self.stamp, record));
            }
            Answer::Cont
        });
        hooks.last::<LogOutOfBandBounce>(NAME, provider);
    }

    fn provide_transient(self: Arc<Self>, hooks: &mut HookSetBuilder) {
        let provider: Provider<LogTransientFailure> = Arc::new(move |record| {
            let class = self.class(record).code();
            self.file.append(|out| bouncelog::transient_failure(out, self.stamp, record, class));
            Answer::Cont
        });
        hooks.last::<LogTransientFailure>(NAME, provider);
    }

    fn bounce(&self, record: &FailureRecord<'_>) {
        // What is discarded quietly has not bounced.
        let is_discarded = record.envelope.delivery.failed.as_ref().is_some_and(|failed| failed.quiet);
        if !record.is_bounce || is_discarded {
            return;
        }
        let class = self.class(record);
        // A request to subscribe is no bounce.
        if class != BounceClass::SUBSCRIBE {
            self.file.append(|out| bouncelog::bounce(out, self.stamp, record, class.code()));
        }
    }

    /// Without a connection no host has said it, but this daemon, its operator or its policy, in whatever words.
    fn class(&self, record: &FailureRecord<'_>) -> BounceClass {
        match record.remote.is_none() && record.stage == Stage::NotConnected {
            true => self.classifier.classify_local(record.reply),
            false => self.classifier.classify(record.reply),
        }
    }
}

/// The stanza's word.
const NAME: &str = "bounce_logger";

#[cfg(test)]
mod tests;
