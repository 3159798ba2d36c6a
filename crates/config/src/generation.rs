//! One immutable configuration: checked stanzas, typed values, and what other rooms hung on it.
//!
//! A session, a delivery attempt or a command keeps the `Arc` it started with. Reading takes no lock and never fails:
//! an option that nothing sets has its default.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value as Json, json};

use crate::changes::ConsoleChange;
use crate::console::ScopePath;
use crate::diagnostics::Diagnostics;
use crate::fixed::FixedSettings;
use crate::lookup::{Chain, HOST_FALLS_BACK, Lookup, Step};
use crate::merge::{Merged, title_of};
use crate::name_table::NameTable;
use crate::options::{Declared, Opt};
use crate::registry::{NameId, Registry};
use crate::scope::ScopeId;
use crate::source::{Sources, WHEN_READ};
use crate::stanza::{NodeId, ROOT, Setting, Stanzas, name_bit};
use crate::tree::Span;
use crate::types::OptionType;

/// An immutable configuration.
pub struct Generation {
    pub(crate) number: u64,
    pub(crate) registry: Arc<Registry>,
    pub(crate) merged: Merged,
    pub(crate) sources: Sources,
    pub(crate) warnings: Diagnostics,
    pub(crate) extensions: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    /// What start-only options were set to when the process started: what it runs with.
    pub(crate) started: Arc<FixedSettings>,
    /// Changes made from the console that no file has.
    pub(crate) changes: Mutex<Vec<ConsoleChange>>,
    pathway_name: Option<NameId>,
    names: NameTable,
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Generation({}, {} files)", self.number, self.sources.len())
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The value as source text, references resolved and secrets redacted.
    pub value: String,
    /// The scope in words, such as `domain "a.example"`; `default` when nothing sets the option.
    pub scope: String,
    /// The file; empty for a default.
    pub file: PathBuf,
    /// Line, from 1; 0 for a default.
    pub line: usize,
    /// Column, from 1; 0 for a default.
    pub column: usize,
    /// It was set from the console, and no file has it: then neither file nor line do.
    pub change: Option<ConsoleChange>,
    /// The file said so when it was read, and does not any more.
    pub is_gone: bool,
}

impl Origin {
    /// `file:line`, or when and by whom it was set from the console.
    pub fn place(&self) -> String {
        match (&self.change, self.line) {
            (Some(change), _) => change.by(),
            (None, 0) if self.file.as_os_str().is_empty() => "from the console".to_owned(),
            (None, 0) => format!("{}, a line that is not on disk", self.file.display()),
            (None, line) if self.is_gone => format!("{}:{line}{WHEN_READ}", self.file.display()),
            (None, line) => format!("{}:{line}", self.file.display()),
        }
    }

    pub(crate) fn console_json(&self) -> Json {
        self.change.as_ref().map_or(Json::Null, |change| {
            let author = change.author.as_ref();
            json!({
                "who": author.map(|author| &author.who),
                "when": author.map(|author| &author.when),
                "instead_of": change.instead_of,
            })
        })
    }
}

impl Generation {
    pub(crate) fn new(
        number: u64,
        registry: Arc<Registry>,
        merged: Merged,
        sources: Sources,
        started: Arc<FixedSettings>,
    ) -> Self {
        let (pathway_name, names) = (registry.name_id("pathway"), NameTable::of(&registry));
        let (extensions, changes, warnings) = (HashMap::new(), Mutex::default(), Diagnostics::default());
        Generation { number, registry, merged, sources, warnings, extensions, started, changes, pathway_name, names }
    }

    /// Changes made from the console that no file has, in the order they were made.
    pub fn console_changes(&self) -> Vec<ConsoleChange> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was changed from the console stands in files now, but for what no file takes.
    pub(crate) fn changes_were_written(&self) {
        let is_homeless = |change: &ConsoleChange| {
            let option = change.option.as_ref().and_then(|option| self.name_id(option));
            let setting = self.node_at(&change.path).zip(option);
            let setting = setting.and_then(|(node, option)| self.arena().node(node).setting(option));
            setting.is_some_and(|setting| Some(setting.span.file) == self.sources.homeless)
        };
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).retain(is_homeless);
    }

    /// The change from the console that a setting is, if its file does not have it.
    fn change_of(&self, node: NodeId, setting: &Setting) -> Option<ConsoleChange> {
        let is_homeless = Some(setting.span.file) == self.sources.homeless;
        let file = self.sources.file(setting.span.file)?;
        if !is_homeless && !file.differs_from_disk() {
            return None;
        }
        let is_it = |change: &&ConsoleChange| {
            change.option.as_ref().is_some_and(|option| self.name_id(option) == Some(setting.name))
                && self.node_at(&change.path) == Some(node)
        };
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).iter().find(is_it).cloned()
    }

    /// The change from the console that made a scope, if no file has it.
    pub(crate) fn change_that_made(&self, node: NodeId) -> Option<ConsoleChange> {
        if !self.is_of_console(node) {
            return None;
        }
        let own = self.arena().path(node);
        let leads_through =
            |path: &ScopePath| self.nodes_along(path).get(1..).is_some_and(|nodes| nodes.starts_with(&own));
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.iter().find(|change| change.option.is_some() && leads_through(&change.path)).cloned()
    }

    /// Whether a scope was made from the console: no line of a file begins it.
    pub(crate) fn is_of_console(&self, node: NodeId) -> bool {
        let mut parts = self.arena().node(node).parts();
        let is_new = |span: Span| {
            let differs = self.sources.file(span.file).is_some_and(|file| file.differs_from_disk());
            Some(span.file) == self.sources.homeless || differs && self.sources.line_of(span).1 == 0
        };
        node != ROOT && parts.all(|part| is_new(part.word))
    }

    /// Counts from 1; a later generation has a higher number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What the load found that did not refuse it.
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    /// The options this generation was checked against.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The files it was read from, in reading order, and whether each is closed to changes from the console: reached by
    /// `readonly_include`, not writable, or included more than once.
    pub fn files(&self) -> Vec<(PathBuf, bool)> {
        let all = self.sources.iter().filter(|(index, _)| Some(*index) != self.sources.homeless);
        all.map(|(index, file)| (file.path().to_owned(), !self.sources.takes_changes(index))).collect()
    }

    pub(crate) fn arena(&self) -> &Stanzas {
        &self.merged.stanzas
    }

    pub(crate) fn pathway_name(&self) -> Option<NameId> {
        self.pathway_name
    }

    /// The value of an option for whoever asks: the most specific setting, else the default.
    pub fn get<T: OptionType>(&self, option: &Opt<T>, lookup: &Lookup<'_>) -> T {
        self.find(option, lookup).unwrap_or_else(|| self.default_of(option))
    }

    /// The most specific setting; `None` when nothing along the chain sets the option.
    pub fn find<T: OptionType>(&self, option: &Opt<T>, lookup: &Lookup<'_>) -> Option<T> {
        let name = self.names.get(option.hash())?;
        let (node, setting) = self.find_setting(name, option.mask(), lookup)?;
        self.typed(option, node, setting)
    }

    /// The most specific setting, and the scope it stands in: whoever counts or limits by the scope that set a value wants
    /// both. `None` when nothing along the chain sets the option.
    pub fn find_scope<T: OptionType>(&self, option: &Opt<T>, lookup: &Lookup<'_>) -> Option<(T, ScopeId)> {
        let name = self.names.get(option.hash())?;
        let (node, setting) = self.find_setting(name, option.mask(), lookup)?;
        Some((self.typed(option, node, setting)?, self.arena().node(node).id))
    }

    /// Resolves a lookup once, to read many options along it with [`Generation::read`].
    pub fn chain(&self, lookup: &Lookup<'_>) -> Chain {
        let mut chain = Chain { generation: self.number, steps: Vec::new() };
        self.walk(lookup, None, &mut |node, requires| {
            chain.steps.push(Step { node, requires, set_names: self.arena().node(node).set_names });
            ControlFlow::Continue(())
        });
        chain
    }

    /// The value of an option along a chain of this generation.
    pub fn read<T: OptionType>(&self, option: &Opt<T>, chain: &Chain) -> T {
        debug_assert_eq!(chain.generation, self.number, "a chain belongs to the generation it came from");
        let Some(name) = self.names.get(option.hash()) else { return self.default_of(option) };
        let bit = name_bit(name);
        for step in &chain.steps {
            if step.set_names & bit != 0
                && option.mask() & step.requires == step.requires
                && let Some(setting) = self.arena().node(step.node).setting(name)
                && let Some(value) = self.typed(option, step.node, setting)
            {
                return value;
            }
        }
        self.default_of(option)
    }

    /// The typed value of a setting; read again when it was checked by another declaration of the name.
    fn typed<T: OptionType>(&self, option: &Opt<T>, node: NodeId, setting: &Setting) -> Option<T> {
        match setting.typed.as_ref().and_then(|typed| typed.downcast_ref::<T>()) {
            Some(typed) => Some(typed.clone()),
            None => option.parse(&setting.value, self.arena().node(node).id).ok(),
        }
    }

    /// The default, from the registry when the option is declared there.
    fn default_of<T: OptionType>(&self, option: &Opt<T>) -> T {
        let info = self.registry.id_of_hash(option.hash()).and_then(|id| self.registry.info(id));
        let mut same = info.into_iter().flat_map(|info| &info.declared);
        let declared = same.find(|declaration| declaration.option.default_text() == option.default_text());
        match declared.and_then(|declaration| declaration.default.downcast_ref::<T>()) {
            Some(default) => default.clone(),
            // Registering an option proves its default; one that nobody registered is a mistake of the program.
            None => option.default_value().unwrap_or_else(|problem| panic!("{problem}")),
        }
    }

    /// Every stanza of a word, at any depth, in file order.
    pub fn stanzas<'g>(&'g self, word: &str) -> impl Iterator<Item = ScopeRef<'g>> {
        let word = self.arena().word_id(&word.to_ascii_lowercase());
        self.arena()
            .iter()
            .filter(move |(id, node)| *id != ROOT && Some(node.word) == word)
            .map(|(id, _)| ScopeRef { generation: self, id })
    }

    /// Every stanza of a word, as a list.
    pub fn instances(&self, word: &str) -> Vec<ScopeRef<'_>> {
        self.stanzas(word).collect()
    }

    /// The outermost stanzas in the order the files write them, includes where they stand; a stanza written several times
    /// has the place of the first.
    pub fn outermost(&self) -> impl Iterator<Item = ScopeRef<'_>> {
        self.arena().node(ROOT).children().iter().map(|id| ScopeRef { generation: self, id: *id })
    }

    /// The group a binding belongs to: `default` outside every group.
    pub fn group_of(&self, binding: &str) -> String {
        let stanzas = self.arena();
        let home = stanzas.word_id("binding").and_then(|word| stanzas.home(word, binding));
        home.map_or_else(|| crate::lookup::DEFAULT_GROUP.to_owned(), |node| stanzas.node(node).name_text().into_owned())
    }

    /// What was hung on this generation before it took effect.
    pub fn extension<E: Any + Send + Sync>(&self) -> Option<Arc<E>> {
        self.extensions.get(&TypeId::of::<E>()).cloned().and_then(|extension| extension.downcast().ok())
    }

    /// Why an option has its value: the setting in effect first, then those it beat, then the default.
    pub fn eval_why(&self, name: &str, lookup: &Lookup<'_>) -> Vec<Origin> {
        let Some(id) = self.name_id(name) else { return Vec::new() };
        let mut origins = Vec::new();
        let mask = self.mask_of(id);
        self.walk(lookup, Some(id), &mut |node, requires| {
            if mask & requires == requires {
                origins.extend(self.arena().node(node).setting(id).map(|setting| self.origin(node, setting)));
                origins.extend(self.replaced(node, id));
            }
            ControlFlow::Continue(())
        });
        origins.extend(self.default_text(id, lookup).map(|value| Origin {
            value: value.to_owned(),
            scope: "default".to_owned(),
            file: PathBuf::new(),
            line: 0,
            column: 0,
            change: None,
            is_gone: false,
        }));
        origins
    }

    /// What stood for an option in this very scope before a later line set it again, the latest first.
    fn replaced(&self, node: NodeId, id: NameId) -> impl Iterator<Item = Origin> + '_ {
        let earlier = self.arena().node(node).shadowed().iter().rev().filter(move |(name, _)| *name == id);
        earlier.map(move |(_, span)| {
            let (file, line, column) = self.sources.line_of(*span);
            let text =
                self.sources.file(span.file).and_then(|file| file.text().get(span.start as usize..span.end as usize));
            let value = text.and_then(|text| text.split_once('=')).map_or("", |(_, value)| value.trim());
            let (scope, is_gone) = (title_of(self.arena(), node), self.sources.is_gone(*span));
            Origin { value: value.to_owned(), scope, file, line, column, change: None, is_gone }
        })
    }

    pub(crate) fn origin(&self, node: NodeId, setting: &Setting) -> Origin {
        let change = self.change_of(node, setting);
        let (file, line, column) =
            if change.is_some() { Default::default() } else { self.sources.line_of(setting.span) };
        let (value, scope) = (setting.value.resolved_source(), title_of(self.arena(), node));
        let is_gone = change.is_none() && self.sources.is_gone(setting.span);
        Origin { value, scope, file, line, column, change, is_gone }
    }

    pub(crate) fn name_id(&self, name: &str) -> Option<NameId> {
        let extra = || {
            let at = self.merged.extra_names.iter().position(|extra| extra.eq_ignore_ascii_case(name))?;
            Some((self.registry.len() + at) as NameId)
        };
        self.registry.name_id(name).or_else(extra)
    }

    /// The scopes of all declarations of a name; of the documented ones when there are none.
    pub(crate) fn mask_of(&self, id: NameId) -> u32 {
        let Some(info) = self.registry.info(id) else { return u32::MAX };
        let declared = info
            .declared
            .iter()
            .fold(0, |mask, declaration| mask | declaration.places.mask | declaration.option.extra_mask());
        match declared {
            0 => info.documented.iter().fold(0, |mask, awaited| mask | awaited.places.mask) | HOST_FALLS_BACK,
            mask => mask,
        }
    }

    /// The default of a name as source text, of the declaration the lookup would read.
    pub(crate) fn default_text(&self, id: NameId, lookup: &Lookup<'_>) -> Option<&'static str> {
        let info = self.registry.info(id)?;
        let mut bits = 0;
        self.walk(lookup, None, &mut |_, requires| {
            bits |= requires;
            ControlFlow::Continue(())
        });
        let fits = |declaration: &&crate::registry::Declaration| declaration.places.mask & bits != 0;
        let declaration = info.declared.iter().find(fits).or(info.declared.first())?;
        Some(declaration.option.default_text()).filter(|text| !text.is_empty())
    }

    /// The spelling of a name as the file has it first, else in the manner of the manual.
    pub(crate) fn spelling(&self, id: NameId, name: &str) -> String {
        match self.merged.spellings.get(&id) {
            Some(seen) => seen.to_string(),
            None => capitalised(name),
        }
    }
}

/// `retry_interval` as `Retry_Interval`.
pub(crate) fn capitalised(name: &str) -> String {
    let capital = |part: &str| {
        let mut chars = part.chars();
        chars.next().map_or(String::new(), |first| first.to_ascii_uppercase().to_string() + chars.as_str())
    };
    name.to_ascii_lowercase().split('_').map(capital).collect::<Vec<_>>().join("_")
}

/// A stanza of a generation.
#[derive(Clone, Copy)]
pub struct ScopeRef<'g> {
    generation: &'g Generation,
    id: NodeId,
}

/// The same under its other name.
pub type StanzaRef<'g> = ScopeRef<'g>;

impl std::fmt::Debug for ScopeRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&title_of(self.generation.arena(), self.id))
    }
}

impl<'g> ScopeRef<'g> {
    /// The word in lower case.
    pub fn word(&self) -> &'g str {
        let stanzas = self.generation.arena();
        stanzas.word_text(stanzas.node(self.id).word)
    }

    /// The name as written; empty when it has none.
    pub fn name(&self) -> String {
        self.generation.arena().node(self.id).name_text().into_owned()
    }

    /// Its identity across reloads.
    pub fn scope_id(&self) -> ScopeId {
        self.generation.arena().node(self.id).id
    }

    /// The stanza it stands in; `None` at the outermost level.
    pub fn parent(&self) -> Option<ScopeRef<'g>> {
        let parent = self.generation.arena().node(self.id).parent;
        (parent != ROOT).then_some(ScopeRef { generation: self.generation, id: parent })
    }

    /// The stanzas it stands in, outermost first, as word and name.
    pub fn parents(&self) -> Vec<(String, String)> {
        let path = self.generation.arena().path(self.id);
        let outer =
            path.iter().filter(|id| **id != self.id).map(|id| ScopeRef { generation: self.generation, id: *id });
        outer.map(|scope| (scope.word().to_owned(), scope.name())).collect()
    }

    /// The stanzas of a word directly inside it, in file order.
    pub fn children(&self, word: &str) -> Vec<ScopeRef<'g>> {
        let word = word.to_ascii_lowercase();
        let all = self.generation.arena().node(self.id).children().iter();
        all.map(|id| ScopeRef { generation: self.generation, id: *id }).filter(|child| child.word() == word).collect()
    }

    /// The value set in this very stanza, else the default; no fallback.
    pub fn get<T: OptionType>(&self, option: &Opt<T>) -> T {
        self.find(option).unwrap_or_else(|| self.generation.default_of(option))
    }

    /// The value set in this very stanza.
    pub fn find<T: OptionType>(&self, option: &Opt<T>) -> Option<T> {
        let name = self.generation.registry.id_of_hash(option.hash())?;
        let setting = self.generation.arena().node(self.id).setting(name)?;
        self.generation.typed(option, self.id, setting)
    }

    /// `file:line` of its first line.
    pub fn place(&self) -> String {
        self.generation.sources.place_of(self.generation.arena().node(self.id).span)
    }
}
