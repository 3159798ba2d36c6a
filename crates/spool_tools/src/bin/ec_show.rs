//! Shows what a spool holds, off line.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use message::{MessageId, wire};
use regex::Regex;
use spool::archive::Entry;
use spool_tools::show::{self, Wanted};
use spool_tools::{CLEAN, FAILURES, arguments, end, place};

/// Shows the messages of a spool. The daemon must be stopped.
///
/// Exit codes: 0 shown, 1 some could not be read or -m names none, 2 the spool could not be opened.
#[derive(clap::Parser)]
#[command(name = "ec_show", version, disable_help_subcommand = true)]
struct Arguments {
    /// Configuration that names the spool.
    #[arg(short = 'c', value_name = "FILE", default_value = place::CONFIGURATION)]
    configuration: PathBuf,
    /// The spool's directory, with or without its back end: DIR or KIND:DIR.
    #[arg(short = 'd', value_name = "SPOOL")]
    directory: Option<String>,
    /// `all`: every field of each message, and not one line.
    #[arg(short = 's', value_name = "all", value_parser = ["all"])]
    style: Option<String>,
    /// Show so many messages at most.
    #[arg(short = 'n', value_name = "COUNT")]
    count: Option<usize>,
    /// One message, in full and with its text.
    #[arg(short = 'm', value_name = "MID")]
    id: Option<MessageId>,
    /// Reverse-paths that match this regular expression.
    #[arg(long, value_name = "REGEX")]
    sender: Option<Regex>,
    /// Forward-paths that match this regular expression.
    #[arg(long, value_name = "REGEX")]
    recipient: Option<Regex>,
    /// Received at or after: 2026-11-20, "2026-11-20 13:45:00" (UTC), or seconds since 1970.
    #[arg(long = "start_date", value_name = "DATE", value_parser = show::parse_date)]
    start_date: Option<u64>,
    /// Received at or before.
    #[arg(long = "end_date", value_name = "DATE", value_parser = show::parse_date)]
    end_date: Option<u64>,
}

fn main() -> ExitCode {
    match arguments() {
        Ok(arguments) => end("ec_show", run(arguments)),
        Err(code) => code,
    }
}

fn run(arguments: Arguments) -> Result<u8, String> {
    let archive = Arc::new(place::open(arguments.directory.as_deref(), &arguments.configuration)?);
    let chain = place::chain(archive.clone());
    let Arguments { style, count, id, sender, recipient, start_date: from, end_date: to, .. } = arguments;
    let wanted = Wanted { id, sender, recipient, from, to };
    let (mut shown, mut code) = (0, CLEAN);
    let mut entries: Vec<&Entry> = match id {
        Some(id) => vec![archive.entry(id).ok_or_else(|| format!("the spool holds no message {id}"))?],
        None => archive.entries().iter().collect(),
    };
    entries.sort_by_key(|entry| entry.id);
    for entry in entries {
        if count.is_some_and(|count| count <= shown) {
            break;
        }
        match chain.read_headers(entry.id).wait() {
            Ok(envelope) if wanted.takes(&envelope) => {
                shown += 1;
                match (&style, id) {
                    (None, None) => println!("{}", show::line(&envelope)),
                    _ => println!("{}", show::details(&envelope)),
                }
            }
            Ok(_) => {}
            Err(error) => {
                eprintln!("FAIL {}: {error}", entry.id);
                code = FAILURES;
            }
        }
    }
    if let Some(id) = id {
        let (envelope, body) = chain.read(id).wait().map_err(|error| error.to_string())?;
        let body = message::rendered(&body, envelope.edits.as_deref()).into_bytes();
        // Line by line: a second copy of a large message would be a large one.
        let mut out = std::io::stdout().lock();
        for line in wire::lines(&body) {
            writeln!(out, "{}\r", String::from_utf8_lossy(line)).map_err(|error| format!("cannot write: {error}"))?;
        }
    }
    Ok(code)
}
