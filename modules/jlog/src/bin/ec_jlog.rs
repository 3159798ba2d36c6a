//! `ec_jlog`: shows who reads a journaled log and how far, adds and removes subscribers, and reads for one. The daemon may run.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use jlog::{Folder, Reader, Start};

/// Looks after a journaled log.
///
/// Without an option: its segments, its subscribers, and the octets each has not acknowledged.
#[derive(clap::Parser)]
#[command(name = "ec_jlog", version, disable_help_subcommand = true)]
struct Arguments {
    /// The log's folder.
    folder: PathBuf,
    /// Add a subscriber, which begins with the oldest record that is kept.
    #[arg(short = 'a', long, value_name = "NAME", group = "what")]
    add: Option<String>,
    /// The subscriber that is added begins with what is written from now on.
    #[arg(long, requires = "add")]
    newest: bool,
    /// Forget a subscriber, and the records that were kept for it alone.
    #[arg(short = 'e', long, value_name = "NAME", group = "what")]
    remove: Option<String>,
    /// Print the records a subscriber has not acknowledged, a line each.
    #[arg(short = 'r', long, value_name = "NAME", group = "what")]
    read: Option<String>,
    /// At most so many.
    #[arg(short = 'n', long, value_name = "COUNT", requires = "read", default_value_t = u64::MAX, hide_default_value = true)]
    count: u64,
    /// Acknowledge what was printed: it is not told again.
    #[arg(long, requires = "read")]
    acknowledge: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads what is printed has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ec_jlog: {}: {error}", arguments.folder.display());
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    let folder = Folder::new(&arguments.folder);
    if let Some(name) = &arguments.add {
        let start = if arguments.newest { Start::Newest } else { Start::Oldest };
        let is_new = folder.subscribe(name, start)?;
        return say(if is_new { "added" } else { "it is there already, and stays where it is" });
    }
    if let Some(name) = &arguments.remove {
        return match folder.unsubscribe(name)? {
            true => say("removed"),
            false => Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no subscriber {name}"))),
        };
    }
    match &arguments.read {
        Some(name) => read(folder, name, arguments),
        None => say(&report(&folder)?),
    }
}

fn report(folder: &Folder) -> io::Result<String> {
    let mut text = format!("{} segments, {} octets", folder.segment_count()?, folder.octets()?);
    let dropped = folder.dropped_octets()?;
    if dropped != 0 {
        text.push_str(&format!("; {dropped} octets were dropped unread"));
    }
    for (subscriber, checkpoint) in folder.checkpoints()? {
        let behind = folder.octets_behind(checkpoint)?;
        text.push_str(&format!("\n{subscriber}: at {checkpoint}, {behind} octets not acknowledged"));
    }
    Ok(text)
}

fn read(folder: Folder, name: &str, arguments: &Arguments) -> io::Result<()> {
    let mut reader = Reader::open(folder, name)?;
    let (mut out, mut last) = (io::stdout().lock(), None);
    for _ in 0..arguments.count {
        let Some(record) = reader.next_record()? else { break };
        out.write_all(&record.octets)?;
        out.write_all(b"\n")?;
        last = Some(record.end);
    }
    out.flush()?;
    match last.filter(|_| arguments.acknowledge) {
        Some(position) => reader.acknowledge(position),
        None => Ok(()),
    }
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}
