//! URL-addressed IO drivers modelled on POSIX open, read, write, seek and close.
//!
//! An option that names a file (a log, an include, a list) names it by URL, so that where bytes come from and go to
//! is the operator's choice: `scheme://rest` picks the [`Driver`] registered for the scheme, a plain path is a file.
//!
//! Every call may block, by contract: whoever runs on an event loop makes them in a thread pool. A stream over somebody
//! who may never read again (a program, a socket) does not wait for him: it takes what it can, and answers
//! [`std::io::ErrorKind::WouldBlock`] when that is nothing, so that who writes decides what to keep and what to drop. Knows
//! nothing of mail.

mod driver;
mod error;
mod file;
mod memory;
mod query;
mod registry;
mod replace;

pub use driver::{Driver, Entry, Flags, Seek, Stream};
pub use error::Error;
pub use file::{FileDriver, is_standard_stream, open_regular};
pub use memory::MemoryDriver;
pub use query::parameters;
pub use registry::{IoWrappers, is_file};
pub use replace::{make_folders, real_path, replace};
