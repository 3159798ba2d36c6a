//! `http://` and `https://` as names of what is read: an include, a list, a key.
//!
//! The drivers stand in `driver`; the module only makes `http_io { }` a known stanza, for there is nothing to set. The
//! daemon registers the drivers before it reads its configuration, so that the configuration may include a URL.

mod driver;
mod module;

pub use driver::{HttpDriver, Limits, Roots};
pub use module::{ECM, HttpIo};
