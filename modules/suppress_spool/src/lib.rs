//! Mail is delivered before it is stored, knowingly: a link of the IO chain before the store.
//!
//! Until a message has failed `num_retries` times it is in memory only; then, and whenever the chain forces it (a graceful
//! stop, too much of it in memory), it is stored with its siblings. `kill -9`, a crash and a power loss lose what was
//! acknowledged and is in memory only. That gives up the first law of the house and RFC 5321 4.2.5, so the configuration is
//! refused unless it says `_unsafe_spool = true`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use config::{Declared, Generation, Lookup, Opt, Scope, scopes};
use hooks::HookSetBuilder;
use message::Envelope;
use module::{Module, Setup, Stage};
use spool::chain::{BodyOut, CommitSet, HeadersOut};
use spool::{IoCaller, IoModule, IoResult};

/// The module's `.ecm` file, for the catalogue of a daemon it is linked into.
pub const ECM: &str = include_str!("../suppress_spool.ecm");

/// The switch.
pub const UNSAFE_SPOOL: Opt<bool> = Opt::new(
    "_unsafe_spool",
    "false",
    scopes::GLOBAL,
    "Lets suppress_spool acknowledge mail that is not on disk. A crash loses such mail.",
);
/// How long.
pub const NUM_RETRIES: Opt<u64> = Opt::new(
    "num_retries",
    "1",
    &[Scope::Module(NAME)],
    "Failed attempts after which a message is stored; 0 stores every message at once.",
);

/// All of them.
pub const OPTIONS: &[&dyn Declared] = &[&UNSAFE_SPOOL, &NUM_RETRIES];

/// The module.
#[derive(Default)]
pub struct SuppressSpool {
    link: Arc<Suppress>,
}

/// Its link: passes everything on until it is told for how many attempts not to.
#[derive(Default)]
pub struct Suppress {
    retries: AtomicU32,
    suppressed: AtomicU64,
}

impl Module for SuppressSpool {
    fn name(&self) -> &str {
        NAME
    }

    fn description(&self) -> &str {
        "delivers mail before it is stored; a crash loses it"
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn singleton(&self) -> bool {
        true
    }

    fn conf_setup(&self, setup: &mut Setup<'_>) -> Result<(), String> {
        setup.options(OPTIONS);
        Ok(())
    }

    fn check(&self, _: &str, generation: &Generation) -> Result<(), String> {
        generation.get(&UNSAFE_SPOOL, &Lookup::Global).then_some(()).ok_or_else(|| REFUSAL.to_owned())
    }

    fn ext_init(
        &self,
        stage: Stage,
        instance: &str,
        generation: &Generation,
        _: &mut HookSetBuilder,
    ) -> Result<(), String> {
        self.check(instance, generation)?;
        let retries = generation.get(&NUM_RETRIES, &Lookup::Module { module: NAME, instance });
        self.link.until(u32::try_from(retries).unwrap_or(u32::MAX));
        if stage.registers() && retries != 0 {
            // An error, so that no choice of debug_flags hides it.
            tracing::error!(
                target: "SPOOL",
                "suppress_spool is on: MAIL IS ACKNOWLEDGED BEFORE IT IS ON DISK. Until a message has failed {retries} times, a \
                 crash, kill -9 or power loss loses it and nobody is told"
            );
        }
        Ok(())
    }

    fn io_module(&self) -> Option<Arc<dyn IoModule>> {
        Some(self.link.clone())
    }

    fn control(&self, _: &str, words: &[&str]) -> Result<String, String> {
        match words {
            ["stats"] => Ok(format!("{} messages kept from the disk", self.link.suppressed.load(Ordering::Relaxed))),
            _ => Err(format!("{NAME}: unknown command {:?}; known is stats", words.join(" "))),
        }
    }
}

impl Suppress {
    /// Messages that have failed less often are kept from the store from now on.
    pub fn until(&self, retries: u32) {
        self.retries.store(retries, Ordering::Relaxed);
    }

    fn answer(&self, set: &mut CommitSet, envelopes: &[Envelope], force: bool) -> IoResult {
        let retries = self.retries.load(Ordering::Relaxed);
        if force || envelopes.iter().any(|envelope| retries <= envelope.delivery.retries) {
            return IoResult::Cont;
        }
        set.hold();
        IoResult::Done
    }
}

impl IoModule for Suppress {
    fn name(&self) -> &str {
        NAME
    }

    fn write_headers(&self, _: IoCaller, set: &mut CommitSet, headers: &mut HeadersOut<'_>, force: bool) -> IoResult {
        let answer = self.answer(set, std::slice::from_ref(headers.envelope), force);
        if matches!(answer, IoResult::Done) && headers.envelope.delivery.retries == 0 {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    fn write_body(&self, _: IoCaller, set: &mut CommitSet, body: &mut BodyOut<'_>, force: bool) -> IoResult {
        self.answer(set, body.envelopes, force)
    }
}

const REFUSAL: &str = "acknowledges mail before it is on disk, so that a crash, kill -9 or power loss loses mail that the sender \
                       no longer has; write _unsafe_spool = true at the top level if that is what you want, or remove the \
                       suppress_spool stanza";

/// The stanza's word.
const NAME: &str = "suppress_spool";
