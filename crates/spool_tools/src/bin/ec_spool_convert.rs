//! Moves a spool from one back end to another, off line.

use std::process::ExitCode;
use std::sync::Arc;

use scheduler::{Clock, Meters};
use spool::convert::convert;
use spool::disk::RealDisk;
use spool::{Archive, JournalOptions, Store};
use spool_tools::{CLEAN, FAILURES, arguments, end, place};

/// Copies every message of one spool into another, reads each back and compares it. May be killed and started again. The
/// daemon must be stopped; the source is not changed unless --remove is given and everything was copied.
///
/// Exit codes: 0 all copied and verified, 1 some were not, 2 nothing could be done.
#[derive(clap::Parser)]
#[command(name = "ec_spool_convert", version, disable_help_subcommand = true)]
struct Arguments {
    /// The spool to read: KIND:DIR, or DIR.
    #[arg(long, value_name = "KIND:DIR")]
    from: String,
    /// The spool to write, in another directory: KIND:DIR.
    #[arg(long, value_name = "KIND:DIR")]
    to: String,
    /// Remove the source's messages once all are in the target.
    #[arg(long)]
    remove: bool,
    /// Say nothing of progress.
    #[arg(short = 'q')]
    quiet: bool,
}

fn main() -> ExitCode {
    match arguments() {
        Ok(arguments) => end("ec_spool_convert", run(&arguments)),
        Err(code) => code,
    }
}

fn run(arguments: &Arguments) -> Result<u8, String> {
    let (from_kind, from_base) = place::parse(&arguments.from)?;
    let (Some(to_kind), to_base) = place::parse(&arguments.to)? else {
        return Err("--to needs a back end, as in file:/var/spool/new".to_owned());
    };
    if to_kind == spool::Kind::Memory {
        return Err("a memory store keeps nothing; there is nothing to convert to".to_owned());
    }
    if from_base == to_base {
        return Err("source and target are one directory; convert into another and then swap their names".to_owned());
    }
    let told = |error: spool::OpenError| error.to_string();
    let from = Archive::open(from_kind, &from_base, Arc::new(RealDisk)).map_err(told)?;
    let (options, disk) = (JournalOptions::new(&to_base), Arc::new(RealDisk));
    let to = Store::open(to_kind, options, disk, Clock::system(), &Meters::new()).map_err(told)?;
    let quiet = arguments.quiet;
    let mut progress = |done: usize, total: usize| {
        if !quiet {
            eprintln!("{done} of {total}");
        }
    };
    let done = convert(&from, &to, &mut progress).map_err(|error| error.to_string())?;
    to.module().close();
    for (id, why) in &done.failed {
        eprintln!("FAIL {id}: {why}");
    }
    let lost = from.faults().into_iter().filter(|fault| !matches!(fault, spool::archive::Fault::Notice(_)));
    let lost = lost.map(|fault| eprintln!("FAIL {fault}")).count();
    println!(
        "Total: {}\nCopied: {}\nPresent: {}\nFailed: {}",
        done.total,
        done.copied,
        done.present,
        done.failed.len()
    );
    if !done.failed.is_empty() || lost != 0 {
        if arguments.remove {
            eprintln!("not everything was copied; {} is left as it is", from_base.display());
        }
        return Ok(FAILURES);
    }
    if arguments.remove {
        from.remove_all().map_err(told)?;
        println!("Removed: {}", from_base.display());
    }
    Ok(CLEAN)
}
