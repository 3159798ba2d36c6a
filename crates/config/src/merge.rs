//! From the tree to checked stanzas: every word is looked up, every value read by its type, same stanzas are merged.
//!
//! In: the tree of a load and the registry. Out: the arena, and a report for each unknown word, option in a wrong
//! scope, value of a wrong type. Later settings replace earlier ones; the text order of the includes decides.

use std::collections::HashMap;

use crate::diagnostics::{Fault, Reports};
use crate::foreign::translation;
use crate::include::Loaded;
use crate::ineffective::{self, IdlePart};
use crate::kinds::{FREE, Kind, NameRule, Naming};
use crate::lexer::brief;
use crate::names::{Key, key_of, listen_key};
use crate::options::Declared;
use crate::patterns::{Patterns, pattern_advice};
use crate::registry::{NameId, Place, Registry};
use crate::scope::{ScopeId, bits};
use crate::stanza::{NewNode, Node, NodeId, Part, ROOT, Setting, Stanzas};
use crate::suggest::{alternatives, nearest};
use crate::tree::{Assignment, Item, Scalar, Span, Stanza, Value, ValueKind, Word};
use crate::types::Pattern;

/// The checked configuration.
#[derive(Debug)]
pub(crate) struct Merged {
    pub stanzas: Stanzas,
    /// Names that only content nobody declares uses, numbered after the registry's.
    pub extra_names: Vec<Box<str>>,
    /// First-seen spelling of each name.
    pub spellings: HashMap<NameId, Box<str>>,
}

/// Merges and checks; `reports` tells whether the result may be used.
pub(crate) fn merge(loaded: &mut Loaded, registry: &Registry, reports: &mut Reports) -> Merged {
    // The tree goes as the arena grows: a large configuration is never held twice.
    let items = std::mem::take(&mut loaded.items);
    let merged = Merged { stanzas: Stanzas::new(), extra_names: Vec::new(), spellings: HashMap::new() };
    let mut merger = Merger {
        registry,
        loaded,
        reports,
        merged,
        extra_ids: HashMap::new(),
        idle: Vec::new(),
        patterns: Patterns::default(),
        sockets: HashMap::new(),
        rehearsing: 0,
    };
    merger.items(ROOT, items);
    merger.check_homes();
    let Merger { mut merged, idle, .. } = merger;
    ineffective::report(&merged, registry, idle, reports);
    merged.stanzas.finish();
    merged
}

/// Most different names in content that nobody declares.
const EXTRA_NAMES_MAX: usize = 20_000;

/// Most different words for scopes.
const WORDS_MAX: usize = 1_000;

struct Merger<'m> {
    registry: &'m Registry,
    loaded: &'m Loaded,
    reports: &'m mut Reports,
    merged: Merged,
    extra_ids: HashMap<Box<str>, NameId>,
    /// Parts of values that have no effect.
    idle: Vec<IdlePart>,
    patterns: Patterns,
    /// The first `listen` stanza of each socket.
    sockets: HashMap<String, NodeId>,
    /// How many stanzas around us are only checked: conditional ones that do not hold, and those with a wrong name.
    rehearsing: usize,
}

impl Merger<'_> {
    fn items(&mut self, at: NodeId, items: Vec<Item>) {
        for item in items {
            if self.reports.is_full() {
                return;
            }
            match item {
                Item::Option(assignment) => self.option(at, assignment),
                Item::Stanza(stanza) => self.stanza(at, stanza),
                Item::Include(include) => self.items(at, include.items),
                Item::Conditional(conditional) if conditional.holds => self.items(at, conditional.body),
                Item::Conditional(conditional) => self.rehearse(|merger| merger.items(at, conditional.body)),
            }
        }
    }

    /// Checks what shall set nothing, in scopes that are thrown away.
    fn rehearse(&mut self, check: impl FnOnce(&mut Self)) {
        let kept = self.merged.stanzas.len();
        self.rehearsing += 1;
        check(self);
        self.rehearsing -= 1;
        self.merged.stanzas.forget_from(kept);
    }

    fn node(&self, id: NodeId) -> &Node {
        self.merged.stanzas.node(id)
    }

    fn place(&self, id: NodeId) -> Place<'_> {
        place_of(&self.merged.stanzas, id)
    }

    /// "domain \"a.example\"", or "the global scope".
    fn title(&self, id: NodeId) -> String {
        title_of(&self.merged.stanzas, id)
    }

    /// Whether nesting in this file is only a guess, so that a wrong scope may be an innocent one.
    fn nesting_is_a_guess(&self, span: Span) -> bool {
        self.loaded.unpaired.contains(&span.file)
    }

    fn option(&mut self, at: NodeId, assignment: Assignment) {
        let Assignment { name, value } = &assignment;
        let free = self.node(at).free;
        let known = self.registry.name_id(&name.text);
        let id = match known {
            Some(id) => id,
            None if free && self.rehearsing > 0 => return,
            None if free => match self.extra(name) {
                Some(id) => id,
                None => return,
            },
            None => return self.unknown_option(at, name),
        };
        let typed = match (free, self.registry.info(id)) {
            (false, Some(info)) => {
                let place = place_of(&self.merged.stanzas, at);
                match info.declaration_at(&place) {
                    // What a reference stands for is not known here, or its fault has been told.
                    Some(_) if value.scalars().into_iter().any(Scalar::is_unresolved) => None,
                    Some(declaration) => match declaration.option.parse_any(value, self.node(at).id) {
                        Ok(typed) => {
                            let pattern = typed.downcast_ref::<Pattern>();
                            if let Some(Err((problem, help))) = pattern.map(|own| self.patterns.admit(own.bytes)) {
                                return self.reports.push(Fault::error(value.span, problem).help(help));
                            }
                            if let Some(idle) = declaration.option.idle_part(&*typed).filter(|_| self.rehearsing == 0) {
                                self.idle.push(IdlePart { option: declaration.option.name(), span: value.span, idle });
                            }
                            Some(typed)
                        }
                        Err(problem) => {
                            return self.wrong_value(at, &assignment, problem, declaration.option);
                        }
                    },
                    None if info.documented_at(&place).is_none() => {
                        return self.wrong_scope(at, name, &info.valid_scopes());
                    }
                    None => None,
                }
            }
            _ => None,
        };
        if self.rehearsing > 0 {
            return;
        }
        self.merged.spellings.entry(id).or_insert_with(|| (*name.text).into());
        let setting = Setting { name: id, span: name.span, value: assignment.value, typed };
        self.merged.stanzas.node_mut(at).set(setting);
    }

    /// The id of a name that nobody declares; `None` when there are too many of them.
    fn extra(&mut self, name: &Word) -> Option<NameId> {
        let lower = name.text.to_ascii_lowercase().into_boxed_str();
        if let Some(id) = self.extra_ids.get(&lower) {
            return Some(*id);
        }
        if self.merged.extra_names.len() >= EXTRA_NAMES_MAX {
            let message = format!("more than {EXTRA_NAMES_MAX} different names that no room and no module declares");
            self.reports.push(Fault::error(name.span, message).help("this is no configuration; remove the stanza"));
            return None;
        }
        let next = (self.registry.len() + self.merged.extra_names.len()) as NameId;
        self.merged.extra_names.push(lower.clone());
        self.extra_ids.insert(lower, next);
        Some(next)
    }

    fn wrong_value(&mut self, at: NodeId, assignment: &Assignment, problem: String, option: &dyn Declared) {
        let Assignment { name, value } = assignment;
        if value.is_secret() {
            let message = format!("{}: the content of the secret is not {}", name.text, option.expected());
            let help = format!("correct the file that {} names; its content is never shown", value.source());
            return self.reports.push(Fault::error(value.span, message).help(help));
        }
        let elements = value.elements().unwrap_or_default();
        let wrong = match &value.kind {
            ValueKind::Array(_) => wrong_elements(&elements, option, self.node(at).id),
            _ => elements.iter().filter(|one| quotes(&problem, one)).map(|one| (problem.clone(), one)).collect(),
        };
        for (problem, element) in &wrong {
            self.wrong_part(assignment, problem, Some(element), option);
        }
        if wrong.is_empty() {
            self.wrong_part(assignment, &problem, None, option);
        }
    }

    /// Reports a value that its type refuses; of a list, only the element that the sentence quotes is underlined.
    fn wrong_part(&mut self, assignment: &Assignment, problem: &str, culprit: Option<&Scalar>, option: &dyn Declared) {
        let Assignment { name, value } = assignment;
        let expected = option.expected();
        let span = culprit.map_or(value.span, Scalar::span);
        let mut fault = Fault::error(span, format!("{}: {problem}", name.text));
        if value.has_references() {
            let written = culprit.map_or_else(|| value.source(), |element| element.source().into_owned());
            let stands =
                culprit.map_or_else(|| value.resolved_source(), |element| element.resolved_source().into_owned());
            fault = fault.label(format!("{} stands for {}", brief(&written), brief(&stands)));
        }
        let element = culprit.is_some() && value.scalar().is_none();
        let told = element || problem.contains(expected) || problem.starts_with("expected");
        self.reports.push(match option.default_text() {
            _ if problem.contains("regular expression") => fault.help(pattern_advice(problem)),
            "" | "()" | "[]" if told => fault,
            // A string it is already: what a fitting one means is in its sentence.
            "" if expected == "a string" => fault.help(format!("{}: {}", option.name(), option.doc())),
            "" | "()" | "[]" => fault.help(format!("the value is {expected}")),
            _ if element || problem.contains("units are") => fault,
            default => fault.help(format!("for example `{} = {default}`, which is the default", name.text)),
        });
    }

    fn unknown_option(&mut self, at: NodeId, name: &Word) {
        let here = nearest(&name.text, self.registry.names_at(self.place(at)));
        let elsewhere = nearest(&name.text, self.registry.all_names());
        let help = match (here.as_slice(), elsewhere.first()) {
            ([_, ..], _) => format!("did you mean {}?", alternatives(&here)),
            ([], Some(other)) => {
                let scopes =
                    self.registry.name_id(other).and_then(|id| self.registry.info(id)).map(|info| info.valid_scopes());
                format!("did you mean `{other}`? It is valid in: {}", scopes.unwrap_or_default())
            }
            ([], None) if self.registry.kind(&name.text.to_ascii_lowercase()).is_some() => {
                format!("`{}` is a scope: write `{0} {{ ... }}`, without =", name.text)
            }
            ([], None) => "no option has a name like it; remove the line or correct the name".to_owned(),
        };
        let help = translation(&name.text).unwrap_or(help);
        let message = format!("unknown option `{}` in {}", name.text, self.title(at));
        self.reports.push(Fault::error(name.span, message).help(help));
    }

    fn wrong_scope(&mut self, at: NodeId, name: &Word, valid: &str) {
        if self.nesting_is_a_guess(name.span) {
            return;
        }
        let nested = self.node(at).parent != ROOT && at != ROOT;
        let around = if nested { format!(" in {}", self.title(self.node(at).parent)) } else { String::new() };
        let message = format!("option `{}` is not valid in {}{around}", name.text, self.title(at));
        let advice = if nested { "; inside another scope only where the option is valid in both" } else { "" };
        let help = match valid {
            "" => "no scope takes it; remove the line".to_owned(),
            "global" => "move it out of every stanza: it is valid in the global scope only".to_owned(),
            _ => format!("move it to where it is valid: {valid}{advice}"),
        };
        self.reports.push(Fault::error(name.span, message).label("not valid here").help(help));
    }

    fn stanza(&mut self, at: NodeId, stanza: Stanza) {
        let word = stanza.word.text.to_ascii_lowercase();
        let parent_free = self.node(at).free;
        let kind = match self.registry.kind(&word) {
            Some(kind) if !parent_free => kind,
            _ if parent_free => Kind { word: "", ..FREE },
            _ => return self.unknown_stanza(at, &stanza),
        };
        if !parent_free {
            let place_bit = self.node(at).bit;
            if !self.registry.stanza_fits(&kind, &self.place(at), place_bit) {
                return self.misplaced_stanza(at, &stanza, &kind);
            }
        }
        let free = parent_free || !self.registry.is_live(&word);
        let Some(key) = self.key_of(&stanza, &kind) else {
            // Its name is wrong; its content may hold further mistakes.
            return self.rehearse(|merger| merger.filled(at, stanza, &kind, Key::Exact("".into()), free));
        };
        self.filled(at, stanza, &kind, key, free);
    }

    fn filled(&mut self, at: NodeId, mut stanza: Stanza, kind: &Kind, key: Key, free: bool) {
        let body = std::mem::take(&mut stanza.body);
        if let Some(id) = self.instance(at, &stanza, kind, key, free) {
            self.items(id, body);
        }
    }

    /// The instance a stanza belongs to: a new one, or an earlier one of the same name.
    fn instance(&mut self, at: NodeId, stanza: &Stanza, kind: &Kind, key: Key, free: bool) -> Option<NodeId> {
        let word = self.merged.stanzas.word(&stanza.word.text.to_ascii_lowercase(), &stanza.word.text);
        if word as usize > WORDS_MAX {
            let message = format!("more than {WORDS_MAX} different words for scopes");
            self.reports
                .push(Fault::error(stanza.word.span, message).help("this is no configuration; remove the stanza"));
            return None;
        }
        let parent = self.node(at);
        let listener = if kind.bit == bits::LISTENER { Some(word) } else { parent.listener };
        let (name, span) = (stanza.name.clone(), stanza.word.span);
        let make = NewNode { name, bit: kind.bit, requires: requires(parent, kind.bit), listener, free, span };
        if self.rehearsing > 0 {
            return Some(self.merged.stanzas.rehearsal(at, word, make));
        }
        let (id, new) = self.merged.stanzas.child_or_insert(at, word, key, make);
        self.merged.stanzas.node_mut(id).add_part(Part { word: span, braces: stanza.braces });
        if kind.names == NameRule::Listen {
            self.check_listen(id, new, stanza);
        }
        Some(id)
    }

    /// Two `listen` stanzas that mean one socket are more often a slip than a wish.
    fn check_listen(&mut self, id: NodeId, new: bool, stanza: &Stanza) {
        let name = stanza.name.as_ref().map_or("".into(), |name| listen_key(&name.text()).into_owned());
        let first = match new {
            true => *self.sockets.entry(name).or_insert(id),
            false => id,
        };
        if (first == id && new) || !self.reports.wants_warnings() || self.is_from_the_console(stanza.word.span) {
            return;
        }
        let place = self.place_from(self.node(first).span, stanza.word.span);
        let span = stanza.name.as_ref().map_or(stanza.word.span, Scalar::span);
        let (title, holder) = (self.title(first), self.title(self.node(first).parent));
        let fault = match first == id {
            true => Fault::warning(span, format!("this is the same socket as {title} in {place}"))
                .help("the two stanzas are merged into one; remove one, or correct its address"),
            false => Fault::warning(span, format!("this socket is also that of {title} of {holder}, in {place}")).help(
                "only one listener can have it; correct the address of one, or set `enable = false` in a listener",
            ),
        };
        self.reports.push(fault.label("a second time"));
    }

    /// What the console wrote may well come back to a stanza of another file.
    fn is_from_the_console(&self, span: Span) -> bool {
        let sources = &self.loaded.sources;
        [sources.local_changes, sources.homeless].contains(&Some(span.file))
    }

    /// "line 3", or "other.conf:3" for a place in another file than `near`.
    fn place_from(&self, span: Span, near: Span) -> String {
        let (file, line) = self.loaded.sources.line_in_text(span);
        if span.file == near.file { format!("line {line}") } else { format!("{}:{line}", file.display()) }
    }

    /// A binding or pathway belongs to one group; one that stands in two is found in the first.
    fn check_homes(&mut self) {
        let stanzas = &self.merged.stanzas;
        let is_member = |node: &Node| {
            node.bit & (bits::BINDING | bits::PATHWAY) != 0
                && stanzas.node(node.parent).bit & (bits::BINDING_GROUP | bits::PATHWAY_GROUP) != 0
        };
        let mut homes: HashMap<(u32, String), NodeId> = HashMap::new();
        let mut faults = Vec::new();
        for (id, node) in stanzas.iter().filter(|(_, node)| is_member(node)) {
            let first = *homes.entry((node.word, node.name_text().into_owned())).or_insert(id);
            if first == id || !self.reports.wants_warnings() {
                continue;
            }
            let group = |id: NodeId| self.title(stanzas.node(id).parent);
            let (title, place) = (self.title(id), self.place_from(stanzas.node(first).span, node.span));
            let message = format!("{title} stands in {} and, in {place}, in {}", group(id), group(first));
            let word = stanzas.word_text(node.word);
            let help =
                format!("a {word} belongs to one group; it is taken to be in {}: rename or remove one", group(first));
            faults.push(Fault::warning(node.span, message).label("a second time").help(help));
        }
        faults.into_iter().for_each(|fault| self.reports.push(fault));
    }

    /// The key of a stanza, when its name is what its kind asks for.
    fn key_of(&mut self, stanza: &Stanza, kind: &Kind) -> Option<Key> {
        match (kind.naming, &stanza.name) {
            (Naming::Anonymous, Some(name)) => {
                let help = format!("write `{} {{ ... }}`", stanza.word.text);
                self.reports
                    .push(Fault::error(name.span(), format!("`{}` takes no name", stanza.word.text)).help(help));
                None
            }
            (Naming::Named, None) => {
                let help = format!("write `{} \"name\" {{ ... }}`", stanza.word.text);
                self.reports
                    .push(Fault::error(stanza.word.span, format!("`{}` needs a name", stanza.word.text)).help(help));
                None
            }
            (_, None) => Some(Key::Exact("".into())),
            (_, Some(name)) if name.is_unresolved() => Some(Key::Exact(name.source().into())),
            (_, Some(name)) => match key_of(kind.names, name, &mut self.patterns) {
                Ok(key) => Some(key),
                Err((problem, help)) => {
                    let mut fault = Fault::error(name.span(), problem).help(help);
                    if name.has_references() {
                        fault = fault.label(format!("{} stands for {}", brief(&name.source()), brief(&name.text())));
                    }
                    self.reports.push(fault);
                    None
                }
            },
        }
    }

    fn unknown_stanza(&mut self, at: NodeId, stanza: &Stanza) {
        let word = &stanza.word;
        let close = nearest(&word.text, self.registry.all_stanzas());
        let help = match close.as_slice() {
            [] if self.registry.name_id(&word.text).is_some() => {
                format!("`{}` is an option: write `{0} = value`", word.text)
            }
            [] => "no scope or module has a name like it".to_owned(),
            _ => format!("did you mean {}?", alternatives(&close)),
        };
        let help = translation(&word.text).unwrap_or(help);
        let message = format!("unknown scope `{}` in {}", word.text, self.title(at));
        self.reports.push(Fault::error(word.span, message).help(help));
    }

    fn misplaced_stanza(&mut self, at: NodeId, stanza: &Stanza, kind: &Kind) {
        if self.nesting_is_a_guess(stanza.word.span) {
            return;
        }
        let message = format!("`{}` cannot stand in {}", stanza.word.text, self.title(at));
        let mut help = format!("it belongs in {}", self.registry.stanza_places(kind));
        if kind.names == NameRule::Listen {
            help.push_str(": `ESMTP_Listener { Listen \":25\" { ... } }`");
        }
        self.reports.push(Fault::error(stanza.word.span, message).label("not valid here").help(help));
    }
}

/// The elements of a list that are refused by themselves, each with the sentence that quotes it.
fn wrong_elements<'e>(elements: &'e [Scalar], option: &dyn Declared, scope: ScopeId) -> Vec<(String, &'e Scalar)> {
    let refusal = |element: &'e Scalar| {
        let alone = Value { kind: ValueKind::Array(vec![element.clone()]), span: element.span() };
        let problem = option.parse_any(&alone, scope).err()?;
        quotes(&problem, element).then_some((problem, element))
    };
    elements.iter().filter_map(refusal).take(ELEMENTS_TOLD_MAX).collect()
}

/// Most wrong elements of one list that are told.
const ELEMENTS_TOLD_MAX: usize = 100;

/// Whether a sentence is about this element.
fn quotes(problem: &str, element: &Scalar) -> bool {
    problem.contains(&format!("`{}`", element.text()))
}

/// Bits an option needs to be valid in a child of class `bit`.
///
/// A domain in a binding asks for both, because the chain of an option that knows no bindings never looks there. The
/// binding or pathway keeps its own bit wherever it stands.
fn requires(parent: &Node, bit: u32) -> u32 {
    match bit {
        bits::DOMAIN if parent.bit == bits::GLOBAL => bit,
        bits::DOMAIN => bit | parent.bit,
        _ => bit,
    }
}

/// The place of a node, as option scopes see it.
pub(crate) fn place_of(stanzas: &Stanzas, id: NodeId) -> Place<'_> {
    let node = stanzas.node(id);
    Place {
        requires: node.requires,
        listener: node.listener.map(|word| stanzas.word_text(word)),
        word: stanzas.word_text(node.word),
        parent: stanzas.word_text(stanzas.node(node.parent).word),
    }
}

/// How a scope is called in messages.
pub(crate) fn title_of(stanzas: &Stanzas, id: NodeId) -> String {
    if id == ROOT {
        return "the global scope".to_owned();
    }
    let node = stanzas.node(id);
    let word = stanzas.word_text(node.word);
    match &node.name {
        Some(name) => format!("{word} \"{}\"", brief(&name.text())),
        None => word.to_owned(),
    }
}
