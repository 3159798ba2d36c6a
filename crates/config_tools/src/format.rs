//! `ec_fmt_config`: configuration files in the house's layout; only blanks and line ends change.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::files;
use crate::outcome::{Outcome, ended_by};

/// Lays configuration files out anew; words, values and comments stay as they are.
#[derive(Debug, Parser)]
#[command(name = "ec_fmt_config", version)]
#[command(
    after_help = "Without -i or --check the result goes to standard output. Exit codes: 0 done, 1 a file has a mistake, or \
                  with --check another layout; 2 it cannot be read or written."
)]
pub struct Format {
    /// Only say which files have another layout.
    #[arg(long, conflicts_with = "in_place")]
    check: bool,
    /// Write each file again.
    #[arg(short = 'i')]
    in_place: bool,
    /// Configuration files; - is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Runs the tool.
pub fn format(command_line: impl IntoIterator<Item = OsString>) -> Outcome {
    match Format::try_parse_from(command_line) {
        Ok(asked) => {
            let mut whole = Outcome::default();
            asked.files.iter().for_each(|path| whole.add(one(&asked, path)));
            whole
        }
        Err(error) => ended_by(&error),
    }
}

fn one(asked: &Format, path: &Path) -> Outcome {
    let name = path.display();
    let text = match files::read(path) {
        Ok(text) => text,
        Err(problem) => return Outcome::failed(Outcome::UNREADABLE, format!("ec_fmt_config: {problem}")),
    };
    let formatted = match config::format(&text) {
        Ok(formatted) => formatted,
        Err(refused) => {
            return Outcome::failed(Outcome::BAD, format!("{name}:\n{}{name}: not changed", refused.render(false)));
        }
    };
    let is_stdin = path == Path::new("-");
    match (asked.check, asked.in_place && !is_stdin, formatted == text) {
        (true, _, true) | (_, true, true) => Outcome::default(),
        (true, _, false) => Outcome { code: Outcome::BAD, ..Outcome::good(format!("{name}: has another layout\n")) },
        (_, true, false) => match files::write(path, &formatted) {
            Ok(()) => Outcome::good(format!("{name}: formatted\n")),
            Err(problem) => Outcome::failed(Outcome::UNREADABLE, format!("ec_fmt_config: {problem}")),
        },
        _ => Outcome::good(formatted),
    }
}
