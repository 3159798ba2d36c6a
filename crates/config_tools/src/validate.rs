//! `validate_config`: every diagnostic of a file, or of every file of a tree.
//!
//! A file is checked with all it includes, as the daemon would at its start (`declarations::fitness`), but for what only a
//! start can tell: that ports are free, logs opened and the spool read. In a tree each `ecelerity.conf` is a main file; a file that no
//! main file reaches is a fragment, of which only the syntax can be judged, since nobody knows the scope it is meant for.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use config::{Configuration, Diagnostics, Environment, Registry};
use declarations::fitness::{self, Purpose};
use declarations::{Declarations, Schemes};
use module::Modules;
use serde_json::{Value as Json, json};

use crate::files;
use crate::outcome::{Outcome, ended_by};

/// Checks configuration files without a daemon.
#[derive(Debug, Parser)]
#[command(name = "validate_config", version)]
#[command(
    after_help = "Prints `Configuration valid`, or what is wrong and where. Exit codes: 0 valid, 1 invalid, 2 nothing to \
                  check or not readable."
)]
pub struct Validate {
    /// A configuration file, or a directory whose files are all checked. May be given several times.
    #[arg(short = 'c', value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// The same without -c.
    #[arg(value_name = "FILE|DIR")]
    more: Vec<PathBuf>,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
    /// The node whose directory conf/NODE is searched for includes; this machine's name unless given.
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// The files are for another host: users, groups and addresses are not looked for on this one. Implied by --node.
    #[arg(long)]
    elsewhere: bool,
}

/// What files are checked against.
struct Checker {
    registry: Arc<Registry>,
    modules: Modules,
    purpose: Purpose,
}

/// What is known of one file.
struct Checked {
    path: PathBuf,
    /// Checked for its syntax only.
    fragment: bool,
    diagnostics: Diagnostics,
}

/// Runs the tool.
pub fn validate(command_line: impl IntoIterator<Item = OsString>) -> Outcome {
    let asked = match Validate::try_parse_from(command_line) {
        Ok(asked) => asked,
        Err(error) => return ended_by(&error),
    };
    let mut paths = [asked.files, asked.more].concat();
    if paths.is_empty() {
        paths.push(DEFAULT_PATH.into());
    }
    let purpose = if asked.elsewhere || asked.node.is_some() { Purpose::StartElsewhere } else { Purpose::Start };
    let checker = match Declarations::offline() {
        Ok(Declarations { registry, modules }) => Checker { registry: Arc::new(registry), modules, purpose },
        Err(problem) => return Outcome::failed(Outcome::UNREADABLE, problem),
    };
    let environment = match surroundings(asked.node) {
        Ok(environment) => environment,
        Err(problem) => return Outcome::failed(Outcome::UNREADABLE, problem),
    };
    let mut checked = Vec::new();
    for path in &paths {
        match checker.path(path, &environment) {
            Ok(found) => checked.extend(found),
            Err(problem) => return unreadable(asked.json, &problem),
        }
    }
    if checked.is_empty() {
        return unreadable(asked.json, "there is no file in the directory");
    }
    if asked.json { as_json(&checked) } else { as_text(&checked) }
}

/// What a load depends on besides its files, as the daemon has it: a file that includes a URL is as valid here as there.
pub(crate) fn surroundings(node: Option<String>) -> Result<Environment, String> {
    let io_wrappers = Schemes::for_includes().map_err(|error| error.to_string())?;
    Ok(Environment { node_name: node.or_else(own_name), io_wrappers, ..Environment::default() })
}

/// What the daemon calls this machine.
fn own_name() -> Option<String> {
    Some(rustix::system::uname().nodename().to_string_lossy().into_owned())
}

impl Checker {
    fn path(&self, path: &Path, environment: &Environment) -> Result<Vec<Checked>, String> {
        if !files::exists(path) {
            return Err(format!("there is no {}", path.display()));
        }
        if files::is_directory(path) {
            return self.tree(path, environment);
        }
        // Told apart from a file that is wrong; a FIFO would be waited for.
        if !files::is_file(path) {
            return Err(format!("{} is not a regular file", path.display()));
        }
        files::read(path)?;
        Ok(vec![self.main(path, environment).0])
    }

    /// A main file with all it includes, and the files it was read from if it is valid.
    fn main(&self, path: &Path, environment: &Environment) -> (Checked, Vec<PathBuf>) {
        let checked = |diagnostics| Checked { path: path.to_owned(), fragment: false, diagnostics };
        let mut read = Vec::new();
        let loaded = Configuration::load_with(self.registry.clone(), path, environment.clone(), &mut |new| {
            read = new.files().into_iter().map(|(path, _)| files::canonical(&path)).collect();
            fitness::verdict(&fitness::faults(new, &self.modules, &environment.io_wrappers, self.purpose))
        });
        match loaded {
            Ok(configuration) => (checked(configuration.current().warnings().clone()), read),
            Err(diagnostics) => {
                read.extend(diagnostics.iter().map(|one| files::canonical(&one.file)));
                (checked(diagnostics), read)
            }
        }
    }

    fn tree(&self, directory: &Path, environment: &Environment) -> Result<Vec<Checked>, String> {
        let (main, rest): (Vec<_>, Vec<_>) = files::tree(directory)?
            .into_iter()
            .partition(|path| path.file_name().is_some_and(|name| name == MAIN_NAME));
        let (mut checked, mut reached) = (Vec::new(), BTreeSet::new());
        for path in main {
            let (one, read) = self.main(&path, environment);
            checked.push(one);
            reached.extend(read);
        }
        let is_configuration = |path: &&PathBuf| path.extension().is_none_or(|extension| extension == "conf");
        for path in rest.iter().filter(is_configuration).filter(|path| !reached.contains(&files::canonical(path))) {
            let diagnostics = config::format(&files::read(path)?).err().unwrap_or_default();
            checked.push(Checked { path: path.clone(), fragment: true, diagnostics });
        }
        Ok(checked)
    }
}

fn unreadable(json: bool, problem: &str) -> Outcome {
    let out = match json {
        true => format!("{}\n", json!({ "valid": false, "error": problem, "files": [] })),
        false => "No configuration found\n".to_owned(),
    };
    Outcome { out, err: format!("validate_config: {problem}\n"), code: Outcome::UNREADABLE }
}

fn code_of(checked: &[Checked]) -> u8 {
    let invalid = checked.iter().any(|one| one.diagnostics.has_errors());
    if invalid { Outcome::BAD } else { Outcome::GOOD }
}

fn as_text(checked: &[Checked]) -> Outcome {
    let mut outcome = Outcome { code: code_of(checked), ..Outcome::default() };
    for one in checked {
        outcome.err += &one.diagnostics.render(std::io::IsTerminal::is_terminal(&std::io::stderr()));
        let errors = one.diagnostics.iter().filter(|found| found.severity == config::Severity::Error).count();
        let verdict = match errors {
            0 => "Configuration valid".to_owned(),
            1 => "Configuration invalid: 1 error".to_owned(),
            _ => format!("Configuration invalid: {errors} errors"),
        };
        let path = if checked.len() > 1 { format!("{}: ", one.path.display()) } else { String::new() };
        let how = if one.fragment { " (a fragment that no main file here includes: syntax only)" } else { "" };
        outcome.out += &format!("{path}{verdict}{how}\n");
    }
    outcome
}

fn as_json(checked: &[Checked]) -> Outcome {
    let one = |one: &Checked| -> Json {
        let mut json = one.diagnostics.to_json();
        json["file"] = one.path.display().to_string().into();
        json["checked"] = if one.fragment { "syntax" } else { "everything" }.into();
        json
    };
    let code = code_of(checked);
    let files: Vec<Json> = checked.iter().map(one).collect();
    let out = format!("{:#}\n", json!({ "valid": code == Outcome::GOOD, "files": files }));
    Outcome { out, err: String::new(), code }
}

/// What the daemon reads when it is given no file.
pub(crate) const DEFAULT_PATH: &str = "/etc/postrider/ecelerity.conf";
/// What a main file of a tree is called.
const MAIN_NAME: &str = "ecelerity.conf";
