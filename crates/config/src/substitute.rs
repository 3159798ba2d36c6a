//! What the tree of a file refers to: variables, secret files, and conditions, each found out once in a load.
//!
//! In: the tree as parsed. Out: the same tree, in which a scalar with references knows its text and a conditional stanza
//! knows whether it holds. What stands in one that does not hold is left alone: its variables may be missing and its
//! secrets unreadable. Reads secret files; runs where a load runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::conditions::Condition;
use crate::diagnostics::{Fault, Reports};
use crate::references::{Part, Reference, parts, reference};
use crate::secret;
use crate::tree::{Conditional, Item, Meaning, Quote, Scalar, Span, ValueKind, unescape_interpolated};
use crate::variables::Variables;

/// Most bytes that the references of one load may stand for.
const SUBSTITUTED_BYTES_MAX: usize = 16 << 20;

/// Resolves the references of a load.
#[derive(Debug)]
pub(crate) struct Substitution {
    variables: Variables,
    bytes: usize,
    /// Secrets read in this load.
    secrets: HashMap<PathBuf, Result<String, (String, String)>>,
}

/// What may stand where a scalar stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// An element of an array, where one reference can be several words.
    Element,
    Value,
    /// A name or an include target; it is shown everywhere, so it cannot be a secret.
    Name,
}

impl Substitution {
    pub fn new(variables: Variables) -> Self {
        Substitution { variables, bytes: 0, secrets: HashMap::new() }
    }

    /// The secret files that were read, in the order of their names.
    pub fn secrets_read(&self) -> Vec<PathBuf> {
        let mut read: Vec<_> =
            self.secrets.iter().filter(|(_, found)| found.is_ok()).map(|(path, _)| path.clone()).collect();
        read.sort();
        read
    }

    /// Resolves a file's tree; relative secrets start from `directory`.
    pub fn resolve(&mut self, items: &mut [Item], directory: &Path, reports: &mut Reports) {
        Resolver { load: self, directory, reports }.items(items, true);
    }
}

struct Resolver<'s, 'r> {
    load: &'s mut Substitution,
    directory: &'s Path,
    reports: &'r mut Reports,
}

/// A text put together from references and what stands between them.
#[derive(Default)]
struct Assembled {
    text: String,
    pattern: String,
    secret: bool,
}

impl Resolver<'_, '_> {
    /// `live` while every conditional stanza around holds.
    fn items(&mut self, items: &mut [Item], live: bool) {
        for item in items {
            match item {
                Item::Option(_) | Item::Include(_) if !live => {}
                Item::Option(assignment) => match &mut assignment.value.kind {
                    ValueKind::Scalar(one) => self.scalar(one, Place::Value),
                    ValueKind::Array(all) => all.iter_mut().for_each(|one| self.scalar(one, Place::Element)),
                    ValueKind::Dict(pairs) => pairs.iter_mut().for_each(|(key, value)| {
                        self.scalar(key, Place::Name);
                        self.scalar(value, Place::Value);
                    }),
                },
                Item::Include(include) => self.scalar(&mut include.target, Place::Name),
                Item::Stanza(stanza) => {
                    if let Some(name) = stanza.name.as_mut().filter(|_| live) {
                        self.scalar(name, Place::Name);
                    }
                    self.items(&mut stanza.body, live);
                }
                Item::Conditional(conditional) => self.conditional(conditional, live),
            }
        }
    }

    fn conditional(&mut self, conditional: &mut Conditional, live: bool) {
        // One that the parser refused has been told about.
        if !conditional.condition.has_references() {
            conditional.holds = self.holds(&conditional.condition) && live;
        }
        self.items(&mut conditional.body, conditional.holds);
    }

    fn holds(&mut self, condition: &Scalar) -> bool {
        let asked = Condition::parse(condition).and_then(|asked| {
            let value = self.load.variables.get(asked.variable());
            let value = value.map_err(|problem| (problem, "correct the variable, or the condition".to_owned()))?;
            Ok(asked.holds(value.as_deref().unwrap_or_default()))
        });
        asked.unwrap_or_else(|(problem, help)| {
            self.reports.push(Fault::error(condition.span(), problem).help(help));
            false
        })
    }

    fn scalar(&mut self, scalar: &mut Scalar, place: Place) {
        if !matches!(scalar.quote(), Quote::Interpolated | Quote::Reference) {
            return;
        }
        let meaning = match scalar.quote() {
            Quote::Interpolated => self.interpolated(scalar, place),
            _ => self.alone(scalar, place),
        };
        if let Some(meaning) = meaning {
            scalar.resolve(meaning);
        }
    }

    /// The meaning of `$"..."`; `None` when it has been reported.
    fn interpolated(&mut self, scalar: &Scalar, place: Place) -> Option<Meaning> {
        let span = scalar.span();
        // The lexer has told what cannot be read.
        let parts = parts(scalar.raw()).ok()?;
        let mut whole = Assembled::default();
        for part in parts {
            match part {
                Part::Text(raw) => {
                    let (text, pattern) = unescape_interpolated(raw);
                    whole.text.push_str(&text);
                    whole.pattern.push_str(&pattern);
                }
                Part::Reference(reference, at) => {
                    // Behind the opening `$"`.
                    let (start, end) = (span.start + 2 + at.start as u32, span.start + 2 + at.end as u32);
                    let found = self.found(reference, Span { start, end, ..span }, place, true)?;
                    whole.secret |= matches!(reference, Reference::File(_));
                    whole.text.push_str(&found);
                    whole.pattern.push_str(&found);
                }
            }
        }
        let Assembled { text, pattern, secret } = whole;
        Some(Meaning::Text { text: text.into(), pattern: pattern.into(), secret })
    }

    /// The meaning of `${...}`; `None` when it has been reported.
    fn alone(&mut self, scalar: &Scalar, place: Place) -> Option<Meaning> {
        let span = scalar.span();
        let reference = reference(scalar.raw()).ok()?;
        if let Reference::Variable { name, words: true, .. } = reference
            && place != Place::Element
        {
            let fault = Fault::error(span, format!("`{}` stands for the elements of an array", scalar.source()));
            self.reports.push(fault.help(format!("write ( {} ), or ${{{name}}} for one value", scalar.source())));
            return None;
        }
        let text = self.found(reference, span, place, false)?;
        if let Reference::Variable { words: true, .. } = reference {
            let each = text.split([' ', '\t', '\r', '\n', ',']).filter(|word| !word.is_empty());
            let word = |word: &str| {
                let mut own = scalar.clone();
                own.resolve(Meaning::Text { text: word.into(), pattern: word.into(), secret: false });
                own
            };
            return Some(Meaning::Words(each.map(word).collect()));
        }
        let secret = matches!(reference, Reference::File(_));
        Some(Meaning::Text { pattern: text.clone().into(), text: text.into(), secret })
    }

    /// The text one reference stands for. Inside a string its default has the escapes of the string.
    fn found(&mut self, reference: Reference<'_>, span: Span, place: Place, in_string: bool) -> Option<String> {
        let found = match reference {
            Reference::Variable { name, default, words } => self.variable((name, words), default, in_string),
            Reference::File(_) if place == Place::Name => Err((
                "the name of a stanza or file is shown to everyone and cannot be a secret".to_owned(),
                "write it out, or use a variable".to_owned(),
            )),
            Reference::File(path) => self.secret(path),
        };
        let found = found.and_then(|text| self.admitted(text));
        found.map_err(|(problem, help)| self.reports.push(Fault::error(span, problem).help(help))).ok()
    }

    fn variable(
        &mut self,
        (name, words): (&str, bool),
        default: Option<&str>,
        in_string: bool,
    ) -> Result<String, (String, String)> {
        let value = self.load.variables.get(name);
        let value = value.map_err(|problem| (problem, format!("set {name} to UTF-8 text")))?;
        let default = default.map(|raw| if in_string { unescape_interpolated(raw).0 } else { raw.to_owned() });
        match (value.filter(|value| default.is_none() || !value.is_empty()), default) {
            (Some(value), _) => match value.chars().find(|c| c.is_control() && !matches!(c, '\t' | '\r' | '\n')) {
                None => Ok(value),
                Some(control) => Err((
                    format!("the value of the variable `{name}` holds the control character 0x{:02x}", control as u32),
                    format!("set {name} without it"),
                )),
            },
            (None, Some(default)) => Ok(default),
            (None, None) => Err((
                format!("the variable `{name}` is not set"),
                match words {
                    true => format!(
                        "set {name} in the environment of the daemon, or give a default: ${{{name}...:-a b}}, \
                         or ${{{name}...:-}} for no elements"
                    ),
                    false => {
                        format!("set {name} in the environment of the daemon, or give a default: ${{{name}:-value}}")
                    }
                },
            )),
        }
    }

    fn secret(&mut self, path: &str) -> Result<String, (String, String)> {
        let path = self.directory.join(path);
        let read = self.load.secrets.entry(path.clone()).or_insert_with(|| secret::read(&path));
        read.clone().map_err(|(problem, help)| (format!("cannot use the secret {}: {problem}", path.display()), help))
    }

    fn admitted(&mut self, text: String) -> Result<String, (String, String)> {
        self.load.bytes += text.len();
        match self.load.bytes > SUBSTITUTED_BYTES_MAX {
            false => Ok(text),
            true => Err((
                format!("the references of this configuration stand for more than {} MiB", SUBSTITUTED_BYTES_MAX >> 20),
                "use a large variable once, in an outer scope".to_owned(),
            )),
        }
    }
}
