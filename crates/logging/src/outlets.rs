//! What a logger module has open: the frame that every logger stands in.
//!
//! A module opens its logs for one instance of one generation ([`Opened`]), registers its providers, and hands the logs
//! over ([`Outlets::keep`]). They are then open for as long as the generation is in use, are opened again on
//! `reopen logs` or on the module's own console command, and what goes wrong with that is told in the paniclog. A refused
//! generation leaves nothing behind, and a name that the next one uses too stays open.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use config::{Generation, Lookup, Opt, Perms, Seconds};
use hooks::{Answer, HookSetBuilder, Provider};

use crate::file::{Heartbeat, HeartbeatLine, LogFile, lock};
use crate::hook::{LogReopen, Reopened, Reopening};
use crate::line::Stamp;
use crate::writer::LogWriter;

/// The open logs of one module, by instance and generation.
pub struct Outlets {
    module: &'static str,
    writer: LogWriter,
    /// Those that are still in use, oldest first.
    opened: Mutex<Vec<(String, Weak<Opened>)>>,
}

/// The open logs of one instance of one generation.
#[derive(Default)]
pub struct Opened {
    files: Vec<(&'static str, LogFile)>,
    heartbeats: Vec<Heartbeat>,
}

impl Outlets {
    /// For the module of this name, writing through `writer`.
    pub fn new(module: &'static str, writer: LogWriter) -> Self {
        Self { module, writer, opened: Mutex::default() }
    }

    /// Opens the log that an option names, and adds it to `opened`. The error names the option. May block.
    pub fn open(
        &self,
        opened: &mut Opened,
        generation: &Generation,
        lookup: &Lookup<'_>,
        (path, mode): (&Opt<String>, &Opt<Perms>),
    ) -> Result<LogFile, String> {
        let (url, mode) = (generation.get(path, lookup), generation.get(mode, lookup).0);
        let file = self.writer.open(&url, mode).map_err(|error| format!("{}: {error}", path.name()))?;
        opened.files.push((path.name(), file.clone()));
        Ok(file)
    }

    /// Whether [`Outlets::open`] would take what the option names, as far as the name tells. Opens nothing.
    pub fn check(&self, generation: &Generation, lookup: &Lookup<'_>, path: &Opt<String>) -> Result<(), String> {
        self.writer.check(&generation.get(path, lookup)).map_err(|error| format!("{}: {error}", path.name()))
    }

    /// Keeps the logs open while the generation of `hooks` lives, and has them opened again when that is asked for.
    pub fn keep(&self, instance: &str, opened: Opened, hooks: &mut HookSetBuilder) {
        let opened = Arc::new(opened);
        let mut known = lock(&self.opened);
        known.retain(|(_, opened)| 0 < opened.strong_count());
        known.push((instance.to_owned(), Arc::downgrade(&opened)));
        let (module, instance) = (self.module, instance.to_owned());
        let provider: Provider<LogReopen> = Arc::new(move |order| {
            let names = Names { module, instance: &instance };
            names.reopen(&opened.files, order);
            Answer::Cont
        });
        hooks.last::<LogReopen>(self.module, provider);
    }

    /// Carries out the console command of a logger: `reopen logs`.
    pub fn control(&self, instance: &str, words: &[&str]) -> Result<String, String> {
        let (["reopen"] | ["reopen", "logs"]) = words else {
            return Err(format!("{}: unknown command {:?}; known is: reopen logs", self.module, words.join(" ")));
        };
        let mut order = Reopening::default();
        Names { module: self.module, instance }.reopen(&self.files(instance), &mut order);
        let failed: Vec<String> = order.done.iter().filter_map(failure).collect();
        match order.done.as_slice() {
            _ if !failed.is_empty() => Err(failed.join("\n")),
            [] => Err("no log is open".to_owned()),
            [log] => Ok(format!("{} reopened", log.path)),
            logs => Ok(format!("{} logs reopened", logs.len())),
        }
    }

    /// What an instance writes to now, each file once.
    fn files(&self, instance: &str) -> Vec<(&'static str, LogFile)> {
        let opened = lock(&self.opened);
        let of_instance = opened.iter().filter(|(name, _)| name == instance).filter_map(|(_, opened)| opened.upgrade());
        let mut files: Vec<(&'static str, LogFile)> = of_instance.flat_map(|opened| opened.files.clone()).collect();
        files.sort_by(|(_, one), (_, other)| one.path().cmp(other.path()));
        files.dedup_by(|(_, one), (_, other)| one.path() == other.path());
        files
    }
}

impl Opened {
    /// Has a heartbeat line written to a log for as long as these are open.
    pub fn heartbeat(&mut self, file: &LogFile, every: Seconds, stamp: Stamp, line: HeartbeatLine) {
        self.heartbeats.push(file.heartbeat(Duration::from_secs(every.0), stamp, line));
    }
}

/// What a log may be called.
struct Names<'a> {
    module: &'static str,
    instance: &'a str,
}

impl Names<'_> {
    fn logger(&self) -> String {
        match self.instance {
            "" => self.module.to_owned(),
            instance if instance == self.module => self.module.to_owned(),
            instance => format!("{}:{instance}", self.module),
        }
    }

    fn mean(&self, name: &str, log: &str, path: &str) -> bool {
        let with_instance =
            || name.split_once(':').is_some_and(|(module, own)| module == self.module && own == self.instance);
        [self.module, self.instance, log, path].contains(&name) || with_instance()
    }

    /// Opens those files again that are meant, each once; what goes wrong is in the paniclog too.
    fn reopen(&self, files: &[(&'static str, LogFile)], order: &mut Reopening<'_>) {
        for (log, file) in files {
            let path = file.path().to_owned();
            let known = format!("{log} of {} ({path})", self.logger());
            if !order.known.contains(&known) {
                order.known.push(known);
            }
            let is_meant = order.only.is_none_or(|name| self.mean(name, log, &path));
            if !is_meant || order.done.iter().any(|done| done.path == path) {
                continue;
            }
            let error = file.reopen().err().map(|error| error.to_string());
            let done = Reopened { logger: self.logger(), log, path, error };
            if let Some(failure) = failure(&done) {
                tracing::error!(target: "LOG1", "{failure}");
            }
            order.done.push(done);
        }
    }
}

fn failure(done: &Reopened) -> Option<String> {
    let error = done.error.as_ref()?;
    Some(format!("cannot open {} again: {error}; still writing to the old file", done.path))
}
