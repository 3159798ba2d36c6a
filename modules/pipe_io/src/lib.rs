//! `pipe:///program arguments`: lines written to the standard input of a program, which is started again when it ends.
//!
//! `stream` feeds it and never waits for it; `program` starts and ends it; the module brings the options.

mod address;
mod driver;
mod module;
mod program;
mod stream;

pub use driver::PipeDriver;
pub use module::{ECM, ERROR_FILE, ERROR_MODE, OPTIONS, OUTPUT_FILE, OUTPUT_MODE, PipeIo, TIMEOUT};
pub use program::Settings;
