//! `ec_dump_config`: a configuration as a program reads it, all includes in place, as XML or JSON.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use config::Configuration;
use declarations::{Declarations, Schemes};
use module::Catalogue;

use crate::outcome::{Outcome, ended_by};
use crate::validate::{DEFAULT_PATH, surroundings};
use crate::{files, xml};

/// Prints a configuration with everything it includes, or why it is invalid.
#[derive(Debug, Parser)]
#[command(name = "ec_dump_config", version)]
#[command(after_help = "Exit codes: 0 printed, 1 the configuration is invalid, 2 it cannot be read or written.")]
pub struct Dump {
    /// The configuration file.
    #[arg(short = 'c', value_name = "FILE", default_value = DEFAULT_PATH)]
    file: PathBuf,
    /// A directory of .ecm files, which are checked as well; the modules of the build are known without it.
    #[arg(short = 'e', value_name = "MODDIR")]
    modules: Option<PathBuf>,
    /// Where to write; standard output unless given.
    #[arg(short = 'f', value_name = "OUT")]
    out: Option<PathBuf>,
    /// JSON and not XML.
    #[arg(long)]
    json: bool,
    /// XML, which is also the default.
    #[arg(long, conflicts_with = "json")]
    xml: bool,
}

/// The shape of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Elements `option` and `scope`.
    Xml,
    /// Objects with `options` and `scopes`.
    Json,
}

/// Runs the tool.
pub fn dump(command_line: impl IntoIterator<Item = OsString>) -> Outcome {
    let asked = match Dump::try_parse_from(command_line) {
        Ok(asked) => asked,
        Err(error) => return ended_by(&error),
    };
    let shape = if asked.json { Shape::Json } else { Shape::Xml };
    let outcome = dumped(&asked, shape);
    match (&asked.out, outcome.code) {
        (Some(path), Outcome::GOOD) => match files::write(path, &outcome.out) {
            Ok(()) => Outcome { out: String::new(), ..outcome },
            Err(problem) => Outcome::failed(Outcome::UNREADABLE, problem),
        },
        _ => outcome,
    }
}

fn dumped(asked: &Dump, shape: Shape) -> Outcome {
    if let Err(problem) = files::read(&asked.file).and_then(|_| check_modules(asked)) {
        return Outcome::failed(Outcome::UNREADABLE, format!("ec_dump_config: {problem}"));
    }
    let registry = match Declarations::offline() {
        Ok(declared) => declared.registry,
        Err(problem) => return Outcome::failed(Outcome::UNREADABLE, problem),
    };
    let environment = match surroundings(None) {
        Ok(environment) => environment,
        Err(problem) => return Outcome::failed(Outcome::UNREADABLE, problem),
    };
    let generation = match Configuration::load(registry, &asked.file, environment) {
        Ok(configuration) => configuration.current(),
        Err(diagnostics) => return Outcome::failed(Outcome::BAD, diagnostics.render(false).trim_end()),
    };
    match generation.show(&[], true) {
        Ok(shown) => Outcome::good(match shape {
            Shape::Xml => xml::document(&shown.json),
            Shape::Json => format!("{:#}\n", shown.json),
        }),
        Err(problem) => Outcome::failed(Outcome::BAD, problem),
    }
}

/// The descriptions of modules installed elsewhere: faults of theirs would keep a daemon from starting.
fn check_modules(asked: &Dump) -> Result<(), String> {
    let Some(directory) = &asked.modules else { return Ok(()) };
    let files = Schemes::files().map_err(|error| error.to_string())?;
    let told = |errors: Vec<module::Error>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    Catalogue::scan(&files, &directory.to_string_lossy()).map(drop).map_err(told)
}
