//! The module `http_io`: a stanza without options.

use module::Module;

/// The module's `.ecm` file, for the catalogue of a daemon it is linked into.
pub const ECM: &str = include_str!("../http_io.ecm");

/// The module.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpIo;

impl Module for HttpIo {
    fn name(&self) -> &str {
        "http_io"
    }

    fn description(&self) -> &str {
        "http:// and https:// as names of what is read"
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn singleton(&self) -> bool {
        true
    }
}
