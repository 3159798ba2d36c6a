//! SMTP clients for tests: one raw dialogue that a test leads line by line, and a load of many sessions.

mod dialogue;
mod load;

pub use dialogue::Dialogue;
pub use load::{Load, LoadReport, RunningLoad};
