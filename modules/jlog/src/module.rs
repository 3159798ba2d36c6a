//! The module `jlog`: a stanza without options.

use module::Module;

/// The module's `.ecm` file, for the catalogue of a daemon it is linked into.
pub const ECM: &str = include_str!("../jlog.ecm");

/// The module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jlog;

impl Module for Jlog {
    fn name(&self) -> &str {
        "jlog"
    }

    fn description(&self) -> &str {
        "jlog://: journaled logs with named subscribers"
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn singleton(&self) -> bool {
        true
    }
}
