//! Checks a spool off line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use spool_tools::check::{self, Checks};
use spool_tools::{CLEAN, FAILURES, arguments, end, place};

/// Reads every message of a spool, verifies every checksum, and changes nothing. The daemon must be stopped.
///
/// Exit codes: 0 nothing is wrong, 1 failures, 2 the check could not be made.
#[derive(clap::Parser)]
#[command(name = "ec_spool_check", version, disable_help_subcommand = true)]
struct Arguments {
    /// Configuration that names the spool.
    #[arg(short = 'c', value_name = "FILE", default_value = place::CONFIGURATION)]
    configuration: PathBuf,
    /// The spool's directory, with or without its back end: DIR or KIND:DIR.
    #[arg(short = 'd', value_name = "SPOOL")]
    directory: Option<String>,
    /// End at the first failure.
    #[arg(short = 'e')]
    end_early: bool,
    /// Examine metadata only; bodies are not read.
    #[arg(short = 'x')]
    metadata_only: bool,
}

fn main() -> ExitCode {
    match arguments() {
        Ok(arguments) => end("ec_spool_check", run(&arguments)),
        Err(code) => code,
    }
}

fn run(arguments: &Arguments) -> Result<u8, String> {
    let archive = Arc::new(place::open(arguments.directory.as_deref(), &arguments.configuration)?);
    let checks = Checks { end_early: arguments.end_early, metadata_only: arguments.metadata_only };
    let counts = check::check(&archive, checks, &mut |line| eprintln!("{line}"));
    println!("{counts}");
    Ok(if counts.is_clean() { CLEAN } else { FAILURES })
}
