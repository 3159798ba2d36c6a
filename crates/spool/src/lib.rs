//! The spool: the IO chain and its backends, durable before the 250.
//!
//! [`Spool`] is the door. [`chain`] is the contract with IO modules, [`journal`] the default store, [`mod@file`] two files
//! a message, [`sqlite`] a table and files, [`memory`] the one for tests, [`disk`] the seam below which the real and the faulty disk live.

pub mod archive;
mod backend;
mod census;
pub mod chain;
pub mod convert;
pub mod disk;
mod distribution;
mod error;
pub mod export;
pub mod file;
mod held;
pub mod import;
pub mod journal;
mod ledger;
pub mod memory;
mod options;
mod read;
mod relay;
mod shelf;
mod spool;
pub mod sqlite;
mod state_file;
mod stats;
mod ticket;
mod writer;

pub use archive::Archive;
pub use backend::{Kind, Store};
pub use chain::{IoCaller, IoModule, IoResult};
pub use disk::{abandon, check_free};
pub use distribution::Quantiles;
pub use error::{OpenError, SpoolError};
pub use file::FileStore;
pub use journal::{Journal, JournalOptions, Void};
pub use memory::Memory;
pub use options::{OPTIONS, SPOOL_BACKEND, SPOOLBASE, UNLINK_ON_SPOOL_IN_FAILURE};
pub use read::Read;
pub use spool::{DiskQueueRead, Job, Part, ReadAllHeaders, ReadHeaders, ReadPool, Spool, Stored, Unlinked};
pub use sqlite::SqliteStore;
pub use state_file::StateFile;
pub use stats::{MEASURES, SpoolStats};
pub use ticket::{Admission, Promise, Ticket};
