//! Journaled logs: a folder of segments, one writer, and any number of named subscribers that read at their own pace.
//!
//! A record is kept until every subscriber has acknowledged it, and is durable when [`Writer::flush`] returns. Each
//! subscriber is told every record in order, and told again after a crash what it had not acknowledged (at least once).
//! Writer and readers may be different processes on one machine; not for network file systems.
//!
//! On disk (version 1), all numbers little-endian:
//!
//! ```text
//! FOLDER/lock                      held by the writer
//! FOLDER/0000000000000001.jlog     a segment: "PRJLOG1\n", its number as u64, then records
//!        record                    length u32, CRC-32C u32, the octets
//!                                  the CRC is over segment number u64, offset u64, length u32 and the octets, so that
//!                                  a record counts only where it was written
//! FOLDER/dropped                   octets that a bound has removed unread, as text
//! FOLDER/NAME.subscriber           "postrider jlog 1 SEGMENT OFFSET\n": everything before is acknowledged
//! ```
//!
//! The writer begins a new segment whenever it opens the log, and when one has grown to [`SEGMENT_OCTETS`]; numbers only
//! grow. Damaged octets are skipped, told and counted; every record around them is still read.

mod driver;
mod folder;
mod module;
mod reader;
mod segment;
mod writer;

pub use driver::JlogDriver;
pub use folder::{Dropped, Folder, Position, Start};
pub use module::{ECM, Jlog};
pub use reader::{Reader, Record};
pub use segment::RECORD_OCTETS_MAX;
pub use writer::{SEGMENT_OCTETS, Writer};
