//! The store: the current generation behind one atomic pointer, and the way a new one takes its place.
//!
//! A reload reads and checks every file, lets the daemon prepare what hangs on the new generation, and swaps. Any error
//! before the swap leaves the running generation untouched. Reloads wait for each other; readers never wait.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::advice::advise;
use crate::changes::Author;
use crate::diagnostics::{Diagnostics, Fault, Reports, Severity};
use crate::fixed::FixedSettings;
use crate::generation::Generation;
use crate::include::{self, Loaded};
use crate::merge::{Merged, merge};
use crate::registry::Registry;
use crate::scope::bits;
use crate::source::Environment;
use crate::texts::Texts;
use crate::transaction::Transaction;

/// The current configuration; clones share it.
#[derive(Clone)]
pub struct Configuration {
    shared: Arc<Shared>,
}

struct Shared {
    current: ArcSwap<Generation>,
    registry: Arc<Registry>,
    environment: Environment,
    /// The main file.
    path: Mutex<PathBuf>,
    /// Held for the length of a reload, a commit or a writeback.
    reloading: Mutex<()>,
    /// Texts written back since the last reload, by the one spelling of their file's name.
    written: Mutex<HashMap<PathBuf, Arc<str>>>,
}

impl std::fmt::Debug for Configuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Configuration({:?})", self.current())
    }
}

/// A generation that has passed its checks and is not in effect yet: the time to hang extensions on it.
#[derive(Debug)]
pub struct NewGeneration {
    generation: Generation,
}

impl NewGeneration {
    /// Hangs a value on the generation, found again by its type.
    pub fn extend<E: Any + Send + Sync>(&mut self, extension: Arc<E>) {
        self.generation.extensions.insert(TypeId::of::<E>(), extension);
    }
}

impl Deref for NewGeneration {
    type Target = Generation;
    fn deref(&self) -> &Generation {
        &self.generation
    }
}

/// Prepares what hangs on a new generation; an error refuses it, with a text for the operator.
type Prepare<'p> = &'p mut dyn FnMut(&mut NewGeneration) -> Result<(), String>;

impl Configuration {
    /// Loads the first generation.
    pub fn load(
        registry: impl Into<Arc<Registry>>,
        path: impl AsRef<Path>,
        environment: Environment,
    ) -> Result<Self, Diagnostics> {
        Configuration::load_with(registry, path, environment, &mut |_| Ok(()))
    }

    /// Loads the first generation and prepares what hangs on it.
    pub fn load_with(
        registry: impl Into<Arc<Registry>>,
        path: impl AsRef<Path>,
        environment: Environment,
        prepare: Prepare<'_>,
    ) -> Result<Self, Diagnostics> {
        let (registry, path) = (registry.into(), path.as_ref());
        let generation = Reading::of_file(path, &environment).generation(&registry, 1, None)?;
        Ok(Configuration::starting_with(prepared(generation, prepare)?, path, environment))
    }

    /// A configuration from a text instead of a file: for tests and for checking what is not saved yet.
    ///
    /// Relative includes start from the working directory; a reload looks for a file of that name and finds none.
    pub fn of_text(registry: impl Into<Arc<Registry>>, text: &str) -> Result<Self, Diagnostics> {
        let (path, environment) = (Path::new("(text)"), Environment::default());
        let generation = Reading::of_text(path, text, &environment).generation(&registry.into(), 1, None)?;
        Ok(Configuration::starting_with(generation, path, environment))
    }

    fn starting_with(generation: Generation, path: &Path, environment: Environment) -> Self {
        let registry = generation.registry.clone();
        let current = ArcSwap::from_pointee(generation);
        let (path, reloading, written) = (Mutex::new(path.to_owned()), Mutex::new(()), Mutex::default());
        Configuration { shared: Arc::new(Shared { current, registry, environment, path, reloading, written }) }
    }

    /// The generation in effect.
    pub fn current(&self) -> Arc<Generation> {
        self.shared.current.load_full()
    }

    /// The options it is checked against.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.shared.registry
    }

    /// The main file.
    pub fn path(&self) -> PathBuf {
        self.shared.path.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads and checks the main file again, prepares and swaps. Warnings are on the new generation.
    pub fn reload(&self, prepare: Prepare<'_>) -> Result<Arc<Generation>, Diagnostics> {
        self.reload_from(None, prepare)
    }

    /// Like [`Configuration::reload`], from another main file, which stays the main file when it is accepted.
    pub fn reload_from(&self, path: Option<&Path>, prepare: Prepare<'_>) -> Result<Arc<Generation>, Diagnostics> {
        let _alone = self.alone();
        let path = path.map_or_else(|| self.path(), Path::to_owned);
        let old = self.current();
        let reading = Reading::of_file(&path, &self.shared.environment);
        let generation = reading.generation(&self.shared.registry, old.number() + 1, Some(&old))?;
        let generation = Arc::new(prepared(generation, prepare)?);
        self.shared.current.store(generation.clone());
        *self.shared.path.lock().unwrap_or_else(PoisonError::into_inner) = path;
        self.shared.written.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(generation)
    }

    /// Begins a transaction on the running generation, or on an empty configuration.
    ///
    /// Predefined thread pools, debug flags and the timestamp format are built in: an empty configuration has them too.
    pub fn begin(&self, from_scratch: bool) -> Transaction {
        Transaction::begin(self, from_scratch)
    }

    /// Puts a transaction into effect. Refused when another change came first; the transaction then can only be dropped.
    /// Any other refusal leaves it as it was.
    pub fn commit(&self, transaction: &mut Transaction, prepare: Prepare<'_>) -> Result<Arc<Generation>, Diagnostics> {
        let _alone = self.alone();
        let current = self.current();
        if current.number() != transaction.base().number() {
            let by = current.extension::<Author>();
            let by = by.map_or_else(String::new, |author| format!(" by {} at {}", author.who, author.when));
            return Err(Diagnostics::refused(format!(
                "the configuration was changed{by} since this transaction began (it began from generation {}, now runs {}); roll it back and begin again",
                transaction.base().number(),
                current.number()
            )));
        }
        if transaction.is_empty() {
            return Ok(current);
        }
        let mut generation = prepared(transaction.build()?, prepare)?;
        let author = generation.extension::<Author>();
        generation.changes = transaction.changes_by(author.as_deref()).into();
        let generation = Arc::new(generation);
        self.shared.current.store(generation.clone());
        Ok(generation)
    }

    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        self.shared.reloading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.shared.environment
    }

    /// What was written back since the last reload.
    pub(crate) fn written(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<str>>> {
        self.shared.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file as a generation that is not in effect, as a reload would read it now.
    pub fn candidate(&self, path: Option<&Path>) -> Result<Generation, Diagnostics> {
        let (path, current) = (path.map_or_else(|| self.path(), Path::to_owned), self.current());
        let reading = Reading::of_file(&path, &self.shared.environment);
        reading.generation(&self.shared.registry, current.number() + 1, Some(&current))
    }

    /// Reads and checks a file without putting it into effect; returns the warnings a reload would give.
    pub fn check(&self, path: &Path) -> Result<Diagnostics, Diagnostics> {
        let reading = Reading::of_file(path, &self.shared.environment);
        reading.generation(&self.shared.registry, 0, Some(&self.current())).map(|generation| generation.warnings)
    }
}

/// Reads and checks a file; returns the warnings. For tools without a running daemon.
pub fn check(registry: &Arc<Registry>, path: &Path, environment: &Environment) -> Result<Diagnostics, Diagnostics> {
    Reading::of_file(path, environment).generation(registry, 0, None).map(|generation| generation.warnings)
}

/// Files read and parsed, words not checked yet.
pub(crate) struct Reading {
    loaded: Loaded,
    reports: Reports,
}

impl Reading {
    fn of_file(path: &Path, environment: &Environment) -> Self {
        Reading::of_texts(path, &Texts::default(), environment)
    }

    /// The main file and all it includes; where `held` has a text, that one counts and not the one on disk.
    pub fn of_texts(path: &Path, held: &Texts, environment: &Environment) -> Self {
        let mut reports = Reports::default();
        Reading { loaded: include::load(path, held, environment, &mut reports), reports }
    }

    fn of_text(path: &Path, text: &str, environment: &Environment) -> Self {
        let mut reports = Reports::default();
        Reading { loaded: include::load_text(path, text, environment, &mut reports), reports }
    }

    /// Checks every word. Beside a running generation, changes that wait for the next start are warned of.
    pub fn generation(
        self,
        registry: &Arc<Registry>,
        number: u64,
        running: Option<&Generation>,
    ) -> Result<Generation, Diagnostics> {
        let Reading { mut loaded, mut reports } = self;
        let merged = merge(&mut loaded, registry, &mut reports);
        if let Some(running) = running.filter(|_| !reports.has_errors()) {
            running.started.warn(&merged, registry, &mut reports);
            warn_of_a_closed_console(&running.merged, &merged, &mut reports);
        }
        if reports.has_errors() {
            return Err(reports.finish(&loaded.sources));
        }
        let started = running.map(|running| running.started.clone());
        let started = started.unwrap_or_else(|| Arc::new(FixedSettings::of(&merged, registry)));
        let mut generation = Generation::new(number, registry.clone(), merged, loaded.sources, started);
        advise(&generation, &mut reports);
        if reports.has_errors() {
            return Err(reports.finish(&generation.sources));
        }
        generation.warnings = reports.finish(&generation.sources);
        Ok(generation)
    }
}

/// Whether some Listen stanza leads to the console.
fn has_console(merged: &Merged) -> bool {
    let word = merged.stanzas.word_id("control_listener");
    word.is_some() && merged.stanzas.iter().any(|(_, node)| node.bit == bits::LISTEN && node.listener == word)
}

/// A change from the console that closes it cannot be taken back there.
fn warn_of_a_closed_console(old: &Merged, new: &Merged, reports: &mut Reports) {
    if has_console(old) && !has_console(new) {
        let message = "no Control_Listener is left: the console is out of reach once this is in effect";
        let help = "add Control_Listener { Listen \"/path/of/socket\" { } } to the main file; SIGHUP loads it";
        reports.push(Fault { severity: Severity::Warning, ..Fault::nowhere(message).help(help) });
    }
}

fn prepared(generation: Generation, prepare: Prepare<'_>) -> Result<Generation, Diagnostics> {
    let mut new = NewGeneration { generation };
    match prepare(&mut new) {
        Ok(()) => Ok(new.generation),
        Err(problem) => Err(Diagnostics::refused(problem)),
    }
}
