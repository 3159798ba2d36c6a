//! Exports messages of a spool as files, off line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use message::MessageId;
use spool::disk::{Disk as _, RealDisk};
use spool::export;
use spool_tools::{CLEAN, FAILURES, arguments, end, place};

/// Writes messages of a spool as RFC 5322 files, each with its envelope beside it as JSON. The daemon must be stopped; the
/// spool is not changed. `spool import DIR` on the console takes the files back in.
///
/// Exit codes: 0 all exported, 1 some could not be read, 2 nothing could be done.
#[derive(clap::Parser)]
#[command(name = "ec_spool_export", version, disable_help_subcommand = true)]
struct Arguments {
    /// Configuration that names the spool.
    #[arg(short = 'c', value_name = "FILE", default_value = place::CONFIGURATION)]
    configuration: PathBuf,
    /// The spool's directory, with or without its back end: DIR or KIND:DIR.
    #[arg(short = 'd', value_name = "SPOOL")]
    directory: Option<String>,
    /// One message; all if left out.
    #[arg(short = 'm', value_name = "MID")]
    id: Option<MessageId>,
    /// Where the files go; made if it is not there.
    #[arg(value_name = "DIR")]
    target: PathBuf,
}

fn main() -> ExitCode {
    match arguments() {
        Ok(arguments) => end("ec_spool_export", run(&arguments)),
        Err(code) => code,
    }
}

fn run(arguments: &Arguments) -> Result<u8, String> {
    let archive = Arc::new(place::open(arguments.directory.as_deref(), &arguments.configuration)?);
    let chain = place::chain(archive.clone());
    let target = &arguments.target;
    RealDisk.create_dir(target).map_err(|error| format!("cannot make {}: {error}", target.display()))?;
    let ids: Vec<MessageId> = match arguments.id {
        Some(id) if archive.entry(id).is_none() => return Err(format!("the spool holds no message {id}")),
        Some(id) => vec![id],
        None => archive.entries().iter().map(|entry| entry.id).collect(),
    };
    let (mut written, mut code) = (0, CLEAN);
    for id in ids {
        match chain.read(id).wait() {
            Ok((envelope, body)) => {
                let result = export::write(&RealDisk, target, &envelope, &body, 0o640);
                result.map_err(|error| format!("cannot write {id} into {}: {error}", target.display()))?;
                written += 1;
            }
            Err(error) => {
                eprintln!("FAIL {id}: {error}");
                code = FAILURES;
            }
        }
    }
    println!("Exported: {written}");
    Ok(code)
}
