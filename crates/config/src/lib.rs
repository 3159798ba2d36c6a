//! The ecelerity.conf language: parsing, scopes and fallback, typed options, generations and transactions.
//!
//! In: a configuration file with everything it includes, and the options every crate declares ([`Opt`], collected in a
//! [`Registry`]). Out: immutable [`Generation`]s behind one atomic pointer ([`Configuration`]), or [`Diagnostics`] an
//! operator can act on. The walk: `source` reads, `lexer` and `parser` make a `tree`, `substitute` finds what its
//! references and conditions mean, `include` splices, `merge` checks every word and builds the `stanza` arena, `lookup`
//! walks a fallback chain through it, `show` prints it. [`format()`] lays a text out anew.
//!
//! Threads: loading runs wherever it is called and may block on files; a `Generation` is read from any thread without a
//! lock. Invariant: a generation that exists has passed every check; a file with an error changes nothing.
//!
//! An option is one constant beside the code that reads it:
//! ```
//! use config::{Configuration, Declared, Lookup, Opt, Registry, Seconds, scopes};
//!
//! pub const RETRY_INTERVAL: Opt<Seconds> =
//!     Opt::new("retry_interval", "1200", scopes::QUEUE, "Delay before the first retry.").check(|seconds| match seconds.0 {
//!         0 => Err("must be at least 1 second".to_owned()),
//!         _ => Ok(()),
//!     });
//! pub const OPTIONS: &[&dyn Declared] = &[&RETRY_INTERVAL];
//!
//! let mut registry = Registry::new();
//! registry.add_all(OPTIONS);
//! let text = r#"retry_interval = 900 domain "slow.example" { retry_interval = 3600 }"#;
//! let generation = Configuration::of_text(registry, text).expect("a valid text").current();
//! let queue = Lookup::Queue { binding_group: "", binding: "", domain: "slow.example" };
//! assert_eq!(generation.get(&RETRY_INTERVAL, &queue), Seconds(3600));
//! assert_eq!(generation.get(&RETRY_INTERVAL, &Lookup::Global), Seconds(900));
//! ```
//!
//! # Where the documented language is silent
//! The operator's page is `doc/manual/configuration-language.md`, section 11; each of these has a test.
//! - `'single quotes'` delimit a string without escapes; a quoted string may span lines. No heredocs, no continuation marks.
//! - In double quotes `\r \n \t \" \\` are decoded and any other pair stays; a pattern decodes `\"` only.
//! - A bare word may hold `/` only as a CIDR block; elsewhere the slash asks for quotes. `//` begins no comment.
//! - Commas separate inside `( )` and `[ ]`; elsewhere they belong to the word. Lists do not nest.
//! - A repeated dictionary key, option, array or dictionary replaces the earlier one; repeated stanzas merge.
//! - BG stands before D; bindings outside every group belong to group `default`; a pathway ranks below its listener and
//!   above the global scope (`lookup`). A binding or pathway in two groups is warned about and belongs to the first.
//! - A missing include target, an include cycle, includes or scopes nested more than 32 deep, more than 10 000 files, a
//!   file over 64 MiB or a load over 256 MiB are errors; so are more than 500 000 scopes, 2 000 000 options, 262 144
//!   elements of a list and 1 048 576 of all lists, 4 096 patterns or 256 MiB of them, 20 000 names and 1 000 scope words that
//!   nobody declares.
//! - As root, a file that everyone may write is refused, and a directory in which others could replace it (`ways`).
//! - A writeback of several files is all or nothing, over a crash too (`staging`).
//! - A single value counts as an array of one. Domain patterns ignore case and know no look-around.
//! - A `listen` name with a slash anywhere is a Unix socket, relative to the working directory.
//! - A second `listen` of the same socket merges, with a warning; in another listener it draws a warning too.
//! - Names are not empty; bindings have neither blanks nor colons, groups and pathways no blanks.
//! - The search path is the including file's directory, then `conf/global`, `conf/NODENAME`, `conf/SUBCLUSTER` and
//!   `conf/default` below the etc directory; never the working directory, so that a daemon and a tool find the same files.
//! - A URL other than `file://` is read only, and a relative include in it stays on its host; `persist://` before a file is
//!   as writable as the file.
//! - A change from the console edits a text in memory: the value of the last definition where its file takes changes; else
//!   the first later place of the same scope; else `local_changes_file`; else the main file; else a text without a file. An
//!   unset removes every definition in the scope, and is refused when one of them stands in a closed file.
//! - An empty configuration (`begin from scratch`) has the built-in thread pools, debug flags and timestamp format, because
//!   they are built in.
//! - Beyond the documented language, and never part of it by accident: `${NAME}`, `$"..."`, `${file:path}`, `if_env`.

mod address;
mod advice;
mod assignment;
mod bindings;
mod bounds;
mod changes;
pub mod checks;
mod conditions;
mod configuration;
mod console;
mod description;
mod diagnostics;
mod diff;
mod disk_lines;
mod documented;
mod edit;
mod fallback;
mod fixed;
mod foreign;
mod format;
mod gateways;
mod generation;
mod held;
mod here;
mod include;
mod ineffective;
mod kinds;
mod lexer;
mod locate;
mod lookup;
mod merge;
mod name_table;
mod names;
mod nets;
mod options;
mod parser;
mod patterns;
mod pending;
mod piece;
mod placing;
#[cfg(test)]
mod properties;
mod references;
mod registry;
mod remote;
mod scope;
mod secret;
mod show;
mod slips;
mod source;
mod staging;
mod stanza;
mod substitute;
mod suggest;
mod texts;
mod transaction;
mod tree;
mod types;
mod usage;
mod variables;
mod ways;
mod words;
mod writeback;

pub use address::{Address, ListenAddress};
pub use changes::{Author, ConsoleChange, LOCAL_CHANGES_FILE, LOCAL_CHANGES_ONLY, OPTIONS, dropped_changes};
pub use configuration::{Configuration, NewGeneration, check};
pub use console::{Answer, ScopePath};
pub use description::{Description, Ineffective, OptionState};
pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use diff::{Difference, differences, differences_json, differences_text};
pub use documented::{Class, Unsupported};
pub use format::format;
pub use gateways::Gateway;
pub use generation::{Generation, Origin, ScopeRef, StanzaRef};
pub use ineffective::{ACCEPT_INEFFECTIVE, Idle};
pub use lookup::{Chain, Lookup};
pub use nets::IpNets;
pub use options::{Declared, Opt};
pub use registry::Registry;
pub use scope::{Scope, ScopeId, scopes};
pub use source::Environment;
pub use transaction::Transaction;
pub use tree::{Quote, Scalar, Span, Value, ValueKind};
pub use types::{Dict, OptionType, Pattern, Perms, Seconds, Shape, Throttle, one_of};
pub use variables::Variables;
pub use writeback::Written;
