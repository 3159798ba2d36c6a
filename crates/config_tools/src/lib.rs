//! Configuration tools that need no daemon: `validate_config`, `ec_dump_config`, `ec_fmt_config`, `ec_config_manual`.
//!
//! Each program is a command line around one function here, which takes what was asked and gives texts and an exit code;
//! `files` alone touches the disk beside the configuration loader. All read the declarations that the daemon reads, so a
//! file that is valid here is one that the daemon loads, if the addresses, logs and spool it names can be had.

mod dump;
mod files;
mod format;
mod manual;
mod outcome;
mod validate;
mod xml;

pub use dump::{Dump, Shape, dump};
pub use files::write;
pub use format::{Format, format};
pub use manual::{ManualKind, manual};
pub use outcome::Outcome;
pub use validate::{Validate, validate};
