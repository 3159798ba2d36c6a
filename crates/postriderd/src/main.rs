//! The Postrider daemon: wiring and nothing else.
//!
//! `boot` builds every room in order, `life` runs them until a signal or a command ends it, `house` is what commands and
//! reload reach across, `commands` is what an operator can type.

mod arguments;
mod background;
mod boot;
mod commands;
mod exit;
mod generation;
mod house;
mod life;
mod loops;
mod notifications;
mod options;
mod pidfile;
mod statistics;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::Arguments;
use exit::Failure;

/// What the daemon calls itself.
const PRODUCT: &str = "Postrider";
/// Its version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    if !arguments.foreground && !arguments.background_child {
        return background::launch(&arguments);
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("postriderd: {failure}");
            failure.code()
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.background_child {
        background::detach().map_err(|error| Failure::System(format!("cannot start a session: {error}")))?;
    }
    let booted = boot::boot(arguments)?;
    life::live(booted, arguments.background_child)
}
