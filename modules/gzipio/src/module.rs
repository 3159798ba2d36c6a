//! The module `gzipio`: a stanza without options.

use module::Module;

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
}
