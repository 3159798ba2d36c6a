//! `gzip://NAME`: what goes to another name, compressed (RFC 1952), and what comes from it, as it was.
//!
//! `writing` makes a member of every flush, so that a file is readable up to its last one by any gzip; `reading`
//! takes any gzip file, and a plain one as it is.

mod driver;
mod member;
mod module;
mod reading;
mod writing;

pub use driver::GzipDriver;
pub use module::{ECM, GzipIo};
