//! Changes made from the console that no file has yet: what they are, who made them, and the options that say where they are
//! kept. A reload drops them, a writeback makes them part of the files.

use std::fmt;

use crate::console::ScopePath;
use crate::generation::Generation;
use crate::ineffective::ACCEPT_INEFFECTIVE;
use crate::options::{Declared, Opt};
use crate::scope::scopes;

/// A file for changes from the console.
pub const LOCAL_CHANGES_FILE: Opt<String> = Opt::new(
    "local_changes_file",
    "",
    scopes::GLOBAL,
    "File that takes changes made from the console which no other file takes. It is read after everything, so what it says \
     wins; it need not exist, and must be neither the main file nor an included one. A relative name starts from the \
     directory of the main file.",
);

/// Whether all changes go there.
pub const LOCAL_CHANGES_ONLY: Opt<bool> = Opt::new(
    "local_changes_only",
    "false",
    scopes::GLOBAL,
    "Keep every change made from the console in local_changes_file, which must then be set, and leave all other files alone.",
);

/// Options of this crate.
pub const OPTIONS: &[&dyn Declared] = &[&LOCAL_CHANGES_FILE, &LOCAL_CHANGES_ONLY, &ACCEPT_INEFFECTIVE];

/// Who put a generation into effect, hung on it as an extension by whoever knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    /// The person or thing, such as `root (uid 0, pid 17)`.
    pub who: String,
    /// When, as text for the operator.
    pub when: String,
}

/// A change made from the console that no file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleChange {
    pub(crate) path: ScopePath,
    /// The scope as a file writes it, outermost first; empty for the global scope.
    pub scope: String,
    /// The option; none if a scope was removed.
    pub option: Option<String>,
    /// The value as it would stand in a file; none if it was removed.
    pub value: Option<String>,
    /// What the file says instead: the value, and its place.
    pub instead_of: Option<String>,
    /// Who made it; none while its transaction is open.
    pub author: Option<Author>,
}

impl ConsoleChange {
    /// When and by whom.
    pub fn by(&self) -> String {
        match &self.author {
            Some(Author { who, when }) => format!("from the console at {when} by {who}"),
            None => "from the console, in this transaction".to_owned(),
        }
    }

    fn is_about(&self, other: &Self) -> bool {
        self.path.key() == other.path.key()
            && match (&self.option, &other.option) {
                (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
                (one, other) => one.is_none() && other.is_none(),
            }
    }

    /// Whether a configuration says the same without it.
    fn is_part_of(&self, generation: &Generation) -> bool {
        let node = generation.node_at(&self.path);
        let Some(option) = &self.option else { return node.is_none() };
        let id = generation.name_id(option);
        let setting = node.zip(id).and_then(|(node, id)| generation.arena().node(node).setting(id));
        setting.map(|setting| setting.value.source()) == self.value
    }
}

/// `domain "x" retry_interval = 7, set from the console at … by …`.
impl fmt::Display for ConsoleChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = format!("{} {}", self.scope, self.option.as_deref().unwrap_or_default());
        match &self.value {
            Some(value) => write!(f, "{} = {value}, set {}", what.trim(), self.by()),
            None => write!(f, "{}, removed {}", what.trim(), self.by()),
        }
    }
}

/// Adds a change to others; one of the same option in the same scope takes the place of the earlier, and the removal of a scope
/// that of all in it.
pub(crate) fn note(changes: &mut Vec<ConsoleChange>, mut change: ConsoleChange) {
    if change.option.is_none() {
        let removed = change.path.key();
        changes.retain(|other| !other.path.key().starts_with(&removed));
    }
    if let Some(at) = changes.iter().position(|other| other.is_about(&change)) {
        change.instead_of = changes.remove(at).instead_of;
    }
    changes.push(change);
}

/// The changes made from the console that `new` does not have: what a reload to it drops.
pub fn dropped_changes(old: &Generation, new: &Generation) -> Vec<ConsoleChange> {
    let mut changes = old.console_changes();
    changes.retain(|change| change.is_part_of(old) && !change.is_part_of(new));
    changes
}
