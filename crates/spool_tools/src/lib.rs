//! What the offline spool tools share: which spool, opened how, and how to end.
//!
//! `check`, `show`, `export` and `convert` are one file each; the programs in `bin` read arguments and print. A tool takes
//! the spool's lock first, so it never works beside a daemon. Exit codes: 0 all well, 1 something is wrong with the mail, 2 the
//! tool could not do its work.

pub mod check;
pub mod place;
pub mod show;

use std::process::ExitCode;

/// All well.
pub const CLEAN: u8 = 0;
/// Something is wrong with the mail.
pub const FAILURES: u8 = 1;
/// The tool could not do its work.
pub const FATAL: u8 = 2;

/// Parses the command line; `Err` is the exit code after help or a refusal was printed.
pub fn arguments<A: clap::Parser>() -> Result<A, ExitCode> {
    A::try_parse().map_err(|error| {
        let _ = error.print();
        ExitCode::from(if error.use_stderr() { FATAL } else { CLEAN })
    })
}

/// Ends a tool: its exit code, or the problem on standard error and 2.
pub fn end(tool: &str, result: Result<u8, String>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(problem) => {
            eprintln!("{tool}: {problem}");
            ExitCode::from(FATAL)
        }
    }
}
