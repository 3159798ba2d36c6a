//! Tells what became of a message, from the logs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use jiff::tz::TimeZone;
use log_tools::{Source, configured, trace};

/// Reads the logs of the daemon, rotated and compressed ones too. Needs no daemon and changes nothing.
///
/// Exit codes: 0 found, 1 nothing has that id, 2 the logs could not be read.
#[derive(Parser)]
#[command(name = "ec_log", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What became of a message, in sentences, the oldest first.
    Trace {
        /// A message id, as the 250 of its reception and every log line has it; or the id of a transaction or of a session.
        #[arg(value_name = "ID")]
        id: String,
        /// Configuration that names the logs.
        #[arg(short = 'c', value_name = "FILE", default_value = "/etc/postrider/ecelerity.conf")]
        configuration: PathBuf,
        /// A log in place of the configuration's; may be given several times. Its rotated files are found beside it.
        #[arg(short = 'l', value_name = "LOG")]
        logs: Vec<PathBuf>,
        /// Times in UTC and not in this machine's zone.
        #[arg(long)]
        utc: bool,
        /// Below each sentence the line it was made from.
        #[arg(long)]
        lines: bool,
    },
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { FATAL } else { FOUND });
        }
    };
    match run(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(problem) => {
            eprintln!("ec_log: {problem}");
            ExitCode::from(FATAL)
        }
    }
}

fn run(Arguments { what: What::Trace { id, configuration, logs, utc, lines } }: Arguments) -> Result<u8, String> {
    let source = if logs.is_empty() { configured(&configuration)? } else { Source::named(&logs)? };
    let found = trace(&source, &id);
    let zone = if utc { TimeZone::UTC } else { TimeZone::system() };
    let mut text = String::new();
    for event in &found.events {
        text += &format!("{}\n", event.told(&zone));
        if lines {
            text += &format!("    {}\n", event.line);
        }
    }
    // A reader that has gone away is no failure.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    for trouble in &found.troubles {
        eprintln!("ec_log: {trouble}");
    }
    if found.left_out != 0 {
        eprintln!("ec_log: {} more lines have this id; a message's own id has fewer", found.left_out);
    }
    match (found.events.is_empty(), found.files) {
        (true, 0) => Err("there is no log to read; name one with -l".to_owned()),
        (true, files) => {
            eprintln!("ec_log: nothing in {files} files has the id {id}");
            Ok(if found.troubles.is_empty() { NOT_FOUND } else { FATAL })
        }
        _ => Ok(FOUND),
    }
}

const FOUND: u8 = 0;
const NOT_FOUND: u8 = 1;
const FATAL: u8 = 2;
