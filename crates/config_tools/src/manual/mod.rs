//! `ec_config_manual`: the reference of the configuration, made from the declarations: a manual page, Markdown, HTML, and
//! a machine description for editors.
//!
//! Nothing of it is kept in the repository: it says what the build it comes from does.

mod chapters;
mod html;
mod man;
mod markdown;
mod schema;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use declarations::Declarations;

use crate::files;
use crate::outcome::{Outcome, ended_by};
use chapters::Chapters;

/// Makes the reference of the configuration from what this build declares.
#[derive(Debug, Parser)]
#[command(name = "ec_config_manual", version)]
#[command(after_help = "The schema holds one JSON Schema object for each scope. Exit codes: 0 made, 2 not written.")]
struct Manual {
    /// What to make.
    kind: ManualKind,
    /// A file to write, or with `all` the directory; standard output unless given.
    #[arg(short = 'o', value_name = "OUT")]
    out: Option<PathBuf>,
}

/// A form of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ManualKind {
    /// ecelerity.conf(5), for man.
    Man,
    /// Markdown.
    Markdown,
    /// One page of HTML.
    Html,
    /// JSON for editors.
    Schema,
    /// All of them into the directory that -o names.
    All,
}

/// The files of `all`.
const FILES: [(ManualKind, &str); 4] = [
    (ManualKind::Man, "ecelerity.conf.5"),
    (ManualKind::Markdown, "configuration-options.md"),
    (ManualKind::Html, "configuration-options.html"),
    (ManualKind::Schema, "ecelerity.conf.schema.json"),
];

/// Runs the tool.
pub fn manual(command_line: impl IntoIterator<Item = OsString>) -> Outcome {
    let asked = match Manual::try_parse_from(command_line) {
        Ok(asked) => asked,
        Err(error) => return ended_by(&error),
    };
    let chapters = match Declarations::offline() {
        Ok(declared) => Chapters::of(declared.registry.describe()),
        Err(problem) => return Outcome::failed(Outcome::UNREADABLE, problem),
    };
    match (asked.kind, &asked.out) {
        (ManualKind::All, None) => Outcome::failed(Outcome::UNREADABLE, "ec_config_manual: all needs -o DIRECTORY"),
        (ManualKind::All, Some(directory)) => {
            let mut whole = Outcome::default();
            FILES.iter().for_each(|(kind, name)| whole.add(written(&directory.join(name), &text(*kind, &chapters))));
            whole
        }
        (kind, Some(path)) => written(path, &text(kind, &chapters)),
        (kind, None) => Outcome::good(text(kind, &chapters)),
    }
}

fn text(kind: ManualKind, chapters: &Chapters) -> String {
    match kind {
        ManualKind::Man => man::page(chapters),
        ManualKind::Markdown => markdown::document(chapters),
        ManualKind::Html => html::document(chapters),
        ManualKind::Schema | ManualKind::All => schema::document(chapters),
    }
}

fn written(path: &Path, text: &str) -> Outcome {
    match files::write(path, text) {
        Ok(()) => Outcome::good(format!("{}\n", path.display())),
        Err(problem) => Outcome::failed(Outcome::UNREADABLE, format!("ec_config_manual: {problem}")),
    }
}
