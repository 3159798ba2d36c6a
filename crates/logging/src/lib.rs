//! Log streams and outlets, and the mainlog, bouncelog, rejectlog and paniclog formats.
//!
//! What happened to a message is a record ([`ReceptionRecord`] …), handed to the log hooks ([`LogHooks`]); loggers are
//! modules that provide those hooks, format a line ([`mainlog`], [`bouncelog`], [`rejectlog`]) and append it to a
//! [`LogFile`], which a writer thread brings to disk. What happened to the daemon is a `tracing` event, which
//! [`Paniclog`] turns into a paniclog line.
//!
//! Knows no session and no queue. Nothing here makes a caller wait for a disk.

pub mod acctlog;
#[cfg(test)]
mod any_octets_tests;
pub mod bouncelog;
pub mod debug_flags;
pub mod file;
pub mod hook;
pub mod importlog;
pub mod line;
pub mod mainlog;
pub mod options;
mod outlet;
mod outlets;
pub mod paniclog;
pub mod record;
pub mod rejectlog;
mod writer;

pub use debug_flags::{DebugFlags, Level};
pub use file::{Heartbeat, LogFile};
pub use hook::{
    LogAccounting, LogDelivery, LogError, LogHooks, LogImport, LogOutOfBandBounce, LogPermanentFailure, LogReception,
    LogRejection, LogReopen, LogTransientFailure, Reopened, Reopening,
};
pub use line::Stamp;
pub use options::OPTIONS;
pub use outlets::{Opened, Outlets};
pub use paniclog::{Paniclog, PaniclogEntry};
pub use record::{
    AccountingEvent, AccountingRecord, AuthorizationVerdict, DeliveryRecord, ErrorRecord, FailureRecord, ImportRecord,
    ImportResult, OutOfBandRecord, ReceptionRecord, RejectionRecord,
};
pub use smtp::client::Stage;
pub use writer::LogWriter;
pub use writer::MEASURES;
