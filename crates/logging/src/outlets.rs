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
use crate::hook::LogReopen;
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
    files: Vec<LogFile>,
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
        opened.files.push(file.clone());
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
        let provider: Provider<LogReopen> = Arc::new(move |()| {
            for failure in reopen(&opened.files) {
                tracing::error!(target: "LOG1", "{failure}");
            }
            Answer::Cont
        });
        hooks.last::<LogReopen>(self.module, provider);
    }

    /// Carries out the console command of a logger: `reopen`.
    pub fn control(&self, instance: &str, words: &[&str]) -> Result<String, String> {
        let ["reopen"] = words else {
            return Err(format!("{}: unknown command {:?}; known is reopen", self.module, words.join(" ")));
        };
        let files = self.files(instance);
        let failures = reopen(&files);
        match files.as_slice() {
            _ if !failures.is_empty() => Err(failures.join("\n")),
            [] => Err("no log is open".to_owned()),
            [file] => Ok(format!("{} reopened", file.path())),
            files => Ok(format!("{} logs reopened", files.len())),
        }
    }

    /// What an instance writes to now, each file once.
    fn files(&self, instance: &str) -> Vec<LogFile> {
        let opened = lock(&self.opened);
        let of_instance = opened.iter().filter(|(name, _)| name == instance).filter_map(|(_, opened)| opened.upgrade());
        let mut files: Vec<LogFile> = of_instance.flat_map(|opened| opened.files.clone()).collect();
        files.sort_by(|one, other| one.path().cmp(other.path()));
        files.dedup_by(|one, other| one.path() == other.path());
        files
    }
}

impl Opened {
    /// Has a heartbeat line written to a log for as long as these are open.
    pub fn heartbeat(&mut self, file: &LogFile, every: Seconds, stamp: Stamp, line: HeartbeatLine) {
        self.heartbeats.push(file.heartbeat(Duration::from_secs(every.0), stamp, line));
    }
}

/// Opens every file again; what went wrong.
fn reopen(files: &[LogFile]) -> Vec<String> {
    let failure = |file: &LogFile| {
        let error = file.reopen().err()?;
        Some(format!("cannot open {} again: {error}; still writing to the old file", file.path()))
    };
    files.iter().filter_map(failure).collect()
}
