//! The options that say where changes made from the console are kept, and who made a change.

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The person or thing, such as `root (uid 0, pid 17)`.
    pub who: String,
    /// When, as text for the operator.
    pub when: String,
}
