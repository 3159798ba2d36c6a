//! `persist://URL`: a local copy in front of another URL, so that a daemon starts although a web server is down.
//!
//! `driver` keeps the copies; the module brings the options that say where.

mod driver;
mod module;
mod place;

pub use driver::PersistDriver;
pub use module::{DIRMODE, ECM, FILEMODE, OPTIONS, PERSIST_PATH, PersistIo};
pub use place::Place;
