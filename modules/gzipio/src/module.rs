//! The module `gzipio`: a stanza without options.

use config::Generation;
use hooks::HookSetBuilder;
use module::{Module, Setup, Stage};

/// The module's `.ecm` file, for the catalogue of a daemon it is linked into.
pub const ECM: &str = include_str!("../gzipio.ecm");

/// The module.
#[derive(Clone, Copy, Debug, Default)]
pub struct GzipIo;

impl Module for GzipIo {
    fn name(&self) -> &str {
        "gzipio"
    }

    fn description(&self) -> &str {
        "gzip://: another name's octets, compressed"
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn singleton(&self) -> bool {
        true
    }

    fn conf_setup(&self, _setup: &mut Setup<'_>) -> Result<(), String> {
        Ok(())
    }

    fn ext_init(&self, _: Stage, _: &str, _: &Generation, _: &mut HookSetBuilder) -> Result<(), String> {
        Ok(())
    }
}
