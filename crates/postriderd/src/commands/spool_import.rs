//! `spool import`, `spool import_poll`, `spool_in`: mail that comes in by the side door.
//!
//! An import runs on threads of its own and is looked at with `spool import_poll`; it ends when everything is taken in, or
//! with the daemon. Each message is durable here before its source forgets it. What is in the spool already, from an import
//! that was cut off, is passed over; an id that another message bears is rewritten.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use config::Configuration;
use console::{Command, CommandError, Invocation, Reply};
use hooks::HookSet;
use logging::{ImportRecord, ImportResult, LogHooks};
use message::{Body, Date, Envelope, IdGenerator, MessageId};
use queue::Intake;
use scheduler::Clock;
use serde_json::json;
use spool::disk::RealDisk;
use spool::import::{Source, Unit, Unread};
use spool::{Spool, SpoolError};

use super::command;
use super::message::message_id;
use crate::house::House;
use crate::{PRODUCT, VERSION};

/// The imports of this run, by directory.
type Imports = Rc<RefCell<BTreeMap<PathBuf, Arc<Import>>>>;

/// The family.
pub fn commands(house: &Rc<House>) -> Vec<Command> {
    let imports = Imports::default();
    let (started, polled) = (imports.clone(), imports);
    vec![
        command(house, "spool import DIR [CONCURRENCY [suppress_trace_headers]]", "take in another spool's mail", {
            move |house, asked| import(house, started.clone(), asked)
        })
        .help(
            "DIR is the spool directory of a stopped daemon, or holds exported messages (ec_spool_export). Messages are removed \
             from it as they are taken in. Each gets a Received field unless suppress_trace_headers is said.",
        ),
        command(house, "spool import_poll DIR", "how far an import is", move |_, asked| poll(polled.clone(), asked)),
        command(house, "spool_in MID", "queue a message that is in the spool and in no queue", spool_in),
    ]
}

/// An import that runs or has ended.
#[derive(Default)]
struct Import {
    total: usize,
    waiting: Mutex<VecDeque<Unit>>,
    running: AtomicUsize,
    imported: AtomicUsize,
    rewritten: AtomicUsize,
    present: AtomicUsize,
    failed: AtomicUsize,
}

/// What its threads work with.
#[derive(Clone)]
struct Hands {
    source: Arc<Source>,
    import: Arc<Import>,
    spool: Spool,
    intake: Intake,
    ids: Arc<IdGenerator>,
    clock: Clock,
    configuration: Configuration,
    /// The log hooks of the generation that the import began under.
    log: LogHooks,
    /// Who says so in the trace field; none is written without.
    host: Option<Arc<str>>,
}

async fn import(house: Rc<House>, imports: Imports, asked: Invocation) -> Result<Reply, CommandError> {
    let usage = |text: &str| CommandError::Usage(text.to_owned());
    let directory = directory(asked.arg(0).ok_or_else(|| usage("the directory is missing"))?)?;
    let concurrency = match asked.arg(1).map(str::parse) {
        None => 1,
        Some(Ok(concurrency @ 1..=CONCURRENCY_MAX)) => concurrency,
        Some(_) => return Err(usage("the concurrency must be between 1 and 64")),
    };
    let trace = match (asked.arg(2), asked.args.len()) {
        (None, _) => true,
        (Some("suppress_trace_headers"), 3) => false,
        _ => return Err(usage("after the concurrency only suppress_trace_headers may follow")),
    };
    if imports.borrow().get(&directory).is_some_and(|known| known.running.load(Ordering::Acquire) != 0) {
        return Err(CommandError::Failed(format!("{} is being imported", directory.display())));
    }
    let loaded = house.loaded_modules().unwrap_or_default();
    let (modules, path) = (house.modules.io_modules(&loaded), directory.clone());
    let open = move || {
        let source = Source::open(&path, modules, Arc::new(RealDisk)).map_err(|error| error.to_string())?;
        let (units, total) = source.units().map_err(|error| error.to_string())?;
        if total == 0 && !source.is_known() {
            return Err(format!(
                "{} holds neither a spool nor exported messages: each of those is a pair of files, ID.json with the envelope and \
                 ID.eml with the message, as ec_spool_export writes them; nothing was imported",
                path.display()
            ));
        }
        Ok((source, units, total))
    };
    let opened = house.pools.get("IO").run(open).await.map_err(CommandError::failed)?;
    let (source, units, total) = opened.map_err(CommandError::Failed)?;
    let import = Arc::new(Import { total, waiting: Mutex::new(units.into()), ..Import::default() });
    import.running.store(concurrency, Ordering::Release);
    let hands = Hands {
        source: Arc::new(source),
        import: import.clone(),
        spool: house.spool.clone(),
        intake: house.intake.clone(),
        ids: house.ids.clone(),
        clock: house.clock,
        configuration: house.configuration.clone(),
        log: house
            .configuration
            .current()
            .extension::<HookSet>()
            .map_or_else(LogHooks::default, |set| LogHooks::of(&set)),
        host: trace.then(|| crate::boot::hostname(&house.configuration.current())),
    };
    imports.borrow_mut().insert(directory.clone(), import);
    for _ in 0..concurrency {
        let hands = hands.clone();
        let thread = std::thread::Builder::new().name("spool-import".to_owned());
        thread.spawn(move || hands.work()).map_err(CommandError::failed)?;
    }
    let text = format!("Importing {total} messages from {}\n", directory.display());
    Ok(Reply::new(text, json!({ "total": total })))
}

/// One name for a directory, however it is spelled, so that two imports never meet in it.
fn directory(named: &str) -> Result<PathBuf, CommandError> {
    std::path::absolute(named).map(|path| path.components().collect()).map_err(CommandError::failed)
}

async fn poll(imports: Imports, asked: Invocation) -> Result<Reply, CommandError> {
    let directory = directory(asked.only_arg()?)?;
    let import = imports.borrow().get(&directory).cloned();
    let import = import.ok_or_else(|| CommandError::Failed(format!("{} was not imported", directory.display())))?;
    let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
    let (imported, rewritten, present) = (count(&import.imported), count(&import.rewritten), count(&import.present));
    let (failed, running) = (count(&import.failed), import.running.load(Ordering::Acquire) != 0);
    let state = if running { "running" } else { "finished" };
    let text = format!(
        "Import of {}: {state}\nTotal: {}\nImported: {imported}\nIds rewritten: {rewritten}\nPresent: {present}\nFailed: {failed}\n",
        directory.display(),
        import.total,
    );
    let json = json!({
        "state": state, "total": import.total, "imported": imported, "ids_rewritten": rewritten, "present": present,
        "failed": failed,
    });
    Ok(Reply::new(text, json))
}

async fn spool_in(house: Rc<House>, asked: Invocation) -> Result<Reply, CommandError> {
    let id = message_id(asked.only_arg()?)?;
    let was_queued = matches!(house.engine.message(id).await, Ok(Some(_)));
    let text = if was_queued {
        format!("Message {id} is in a queue already\n")
    } else {
        let mut envelope = house.spool.read_headers(id).await.map_err(CommandError::failed)?;
        envelope.queue = queue::Keys::new(house.configuration.current()).queue(&envelope);
        if !house.intake.restore(envelope).await {
            return Err(CommandError::Failed(format!("the daemon is stopping: {id} is queued by the next start")));
        }
        format!("Message {id} queued\n")
    };
    let json = json!({ "notice": text.trim_end(), "queued": !was_queued });
    Ok(Reply::new(text, json))
}

impl Hands {
    fn work(&self) {
        // The other daemon may have had other gateways and bindings.
        let mut keys = queue::Keys::new(self.configuration.current());
        loop {
            let unit = self.import.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(unit) = unit else { break };
            if let Err((result, why)) = self.take_in(&unit, &mut keys) {
                self.import.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(target: "SPOOL", "import: {why}");
                let ids = if let Unit::Batch(ids) = &unit { ids.as_slice() } else { &[MessageId::NULL] };
                ids.iter().for_each(|&id| self.record(id, MessageId::NULL, result));
            }
        }
        // The last one closes the door; a source with failures keeps what it has.
        if self.import.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            let failed = self.import.failed.load(Ordering::Relaxed);
            if failed == 0
                && let Err(why) = self.source.finish()
            {
                tracing::error!(target: "SPOOL", "import: everything is taken in, but the source cannot be removed: {why}");
            }
            let imported = self.import.imported.load(Ordering::Relaxed);
            tracing::info!(target: "SPOOL", "import finished: {imported} of {} taken in, {failed} failed", self.import.total);
        }
    }

    /// One line of the importlog.
    fn record(&self, old: MessageId, new: MessageId, result: ImportResult) {
        let directory = self.source.directory().to_string_lossy();
        self.log.import(&ImportRecord { at: self.clock.unix(), old, new, result, directory: &directory });
    }

    fn take_in(&self, unit: &Unit, keys: &mut queue::Keys) -> Result<(), (ImportResult, String)> {
        let (envelopes, body) = self.source.read(unit).map_err(|unread| match unread {
            Unread::Envelope(why) => (ImportResult::MetadataUnreadable, why),
            Unread::Body(why) => (ImportResult::BodyUnreadable, why),
        })?;
        let failed = |why: String| (ImportResult::WriteFailed, why);
        let (mut new, mut old) = (Vec::new(), Vec::new());
        for mut envelope in envelopes {
            let id = envelope.id;
            match self.spool.read_headers(envelope.id).wait() {
                Err(SpoolError::Missing { .. }) if envelope.id != MessageId::NULL => self.ids.raise_above(envelope.id),
                Err(SpoolError::Missing { .. }) => envelope.id = self.ids.next(),
                Ok(known) if is_same(&known, &envelope) => {
                    self.import.present.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Ok(_) => {
                    let id = self.ids.next();
                    tracing::info!(target: "SPOOL", "import: the id {} is taken, the message becomes {id}", envelope.id);
                    self.import.rewritten.fetch_add(1, Ordering::Relaxed);
                    envelope.id = id;
                }
                Err(error) => return Err(failed(error.to_string())),
            }
            envelope.queue = keys.queue(&envelope);
            old.push(id);
            new.push(envelope);
        }
        // The first message of a transaction bears its id.
        if let Some(batch) = new.first().map(|first| first.id) {
            let stored = body.len();
            let body = self.traced(&body, batch);
            for envelope in &mut new {
                envelope.batch = batch;
                if let Some(particulars) = &mut envelope.particulars {
                    particulars.body = None;
                }
                if let Some(edits) = envelope.edits.take() {
                    let behind = edits.behind(body.len() - stored);
                    let edits = behind.ok_or_else(|| failed("its header section cannot be longer".to_owned()))?;
                    envelope.edits = Some(edits.into());
                }
                envelope.body_bytes = body.len() as u64;
            }
            self.spool.force_and_wait(&body, &new).map_err(|error| failed(error.to_string()))?;
        }
        // Forgotten before anything can be delivered, so that an import that is cut off repeats nothing. What the source keeps
        // against our will is here all the same.
        let forgotten = self.source.forget(unit);
        let mut restorer = self.intake.restorer();
        for (old, envelope) in old.into_iter().zip(new) {
            self.record(old, envelope.id, ImportResult::Imported);
            self.import.imported.fetch_add(1, Ordering::Relaxed);
            restorer.give(envelope);
        }
        forgotten.map_err(failed)
    }

    /// The body with a trace field in front.
    fn traced(&self, body: &Body, batch: MessageId) -> Body {
        let Some(host) = &self.host else { return body.clone() };
        let date = Date::new(self.clock.unix());
        let field = format!("Received: by {host} ({PRODUCT} {VERSION}) with spool-import id {batch};\r\n\t{date}\r\n");
        [field.as_bytes(), body].concat().into()
    }
}

/// From an import that was cut off between the store and the removal.
fn is_same(known: &Envelope, new: &Envelope) -> bool {
    (&known.reverse_path, &known.forward_path, known.created) == (&new.reverse_path, &new.forward_path, new.created)
}

/// Threads of one import.
const CONCURRENCY_MAX: usize = 64;
