//! The Postrider daemon: wiring and nothing else.
//!
//! `boot` builds every room in order, `life` runs them until a signal or a command ends it, `house` is what commands and
//! reload reach across, `commands` is what an operator can type.

mod accounting;
mod allocator;
mod arguments;
mod background;
mod boot;
mod commands;
mod descriptors;
mod exit;
mod footprint;
mod generation;
mod house;
mod inherited;
mod life;
mod loops;
mod memory;
mod notifications;
mod ownership;
mod pidfile;
mod security;
mod signals;
mod statistics;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::Arguments;
use exit::Failure;
use signals::Signals;

/// What the daemon calls itself.
const PRODUCT: &str = "Postrider";
/// Its version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    // First of all, while no descriptor is ours.
    inherited::close();
    // Until then a signal ends the process.
    let signals = Signals::catch();
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
    match run(&arguments, signals) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("postriderd: {failure}");
            failure.code()
        }
    }
}

/// A defect that panics ends the process, on whatever thread: mail that was accepted is in the journal and starting again
/// is the tested way back, while going on could leave a queue or a session stranded without a word. Only a contained job is
/// spared, whose panic is a failure of the one message it worked on.
fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        if scheduler::is_contained() {
            tracing::error!(target: "THREADS", "internal error over the content of one message: {panic}");
            return;
        }
        eprintln!("postriderd: internal error, aborting (accepted mail is in the spool): {panic}");
        std::process::abort();
    }));
}

fn run(arguments: &Arguments, signals: Result<Signals, Failure>) -> Result<(), Failure> {
    abort_on_panic();
    let signals = signals?;
    security::renounce()?;
    if arguments.background_child {
        background::detach().map_err(|error| Failure::System(format!("cannot start a session: {error}")))?;
    }
    let booted = boot::boot(arguments)?;
    life::live(booted, signals, arguments.background_child)
}
