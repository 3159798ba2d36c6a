//! Reads the logs for a person: `ec_log trace` joins the lines of one message into sentences.
//!
//! `files` finds a log with its rotated and compressed files and gives their lines; `event` understands a line; `trace` joins
//! what belongs together. Needs no daemon, and changes nothing. A line that is damaged or of another program is passed over.

mod event;
mod files;
mod sentence;
mod trace;

pub use event::{Event, Layout};
pub use files::{Log, Source, configured};
pub use trace::{Trace, trace};
