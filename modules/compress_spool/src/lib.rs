//! Large bodies are stored compressed: a link of the IO chain before the store.
//!
//! [`CompressSpool`] is the module, [`Compress`] its link, which is in the chain whether or not the configuration has a
//! stanza: without one it writes nothing compressed and still reads what an earlier configuration compressed, so that the
//! module can be turned on and off at any queue length.
//!
//! Invariant: what is stored is a gzip member if and only if it begins like one. A body that happens to begin so is wrapped,
//! however small and whatever the configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use config::{Declared, Generation, Lookup, Opt, Scope};
use hooks::HookSetBuilder;
use module::{Module, Setup, Stage};
use spool::IoModule;

mod link;

pub use link::Compress;

/// The module's `.ecm` file, for the catalogue of a daemon it is linked into.
pub const ECM: &str = include_str!("../compress_spool.ecm");

const COMPRESS_SPOOL: &[Scope] = &[Scope::Module(NAME)];

/// Which format.
pub const COMPRESS: Opt<String> =
    Opt::new("compress", "gzip", COMPRESS_SPOOL, "Format of compressed bodies; gzip is the only one.").check(
        |format: &String| match format.as_str() {
            "gzip" => Ok(()),
            _ => Err("must be gzip: it is the only format of this release".to_owned()),
        },
    );
/// The smallest body that is worth it.
pub const MINIMUM_SIZE: Opt<u64> =
    Opt::new("minimum_size", "4096", COMPRESS_SPOOL, "Bodies of fewer octets are stored as they are.");
/// Only reading.
pub const READ_ONLY: Opt<bool> =
    Opt::new("read_only", "false", COMPRESS_SPOOL, "Compress nothing any more; what is compressed is still read.");

/// All of them.
pub const OPTIONS: &[&dyn Declared] = &[&COMPRESS, &MINIMUM_SIZE, &READ_ONLY];

/// The module.
#[derive(Default)]
pub struct CompressSpool {
    link: Arc<Compress>,
}

impl Module for CompressSpool {
    fn name(&self) -> &str {
        NAME
    }

    fn description(&self) -> &str {
        "stores large bodies compressed"
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

    /// A link has nothing that a refused generation could leave half done: it takes the new size at once.
    fn ext_init(
        &self,
        _: Stage,
        instance: &str,
        generation: &Generation,
        _: &mut HookSetBuilder,
    ) -> Result<(), String> {
        let lookup = Lookup::Module { module: NAME, instance };
        let least = generation.get(&MINIMUM_SIZE, &lookup);
        let least = if generation.get(&READ_ONLY, &lookup) { u64::MAX } else { least };
        self.link.compress_from(usize::try_from(least).unwrap_or(usize::MAX));
        Ok(())
    }

    fn io_module(&self) -> Option<Arc<dyn IoModule>> {
        Some(self.link.clone())
    }

    fn control(&self, _: &str, words: &[&str]) -> Result<String, String> {
        match words {
            ["stats"] => Ok(self.link.report()),
            _ => Err(format!("{NAME}: unknown command {:?}; known is stats", words.join(" "))),
        }
    }
}

/// A figure.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn add(&self, n: usize) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The stanza's word.
const NAME: &str = "compress_spool";
