//! Every word the configuration may contain: declared options, and those documented but not yet built.
//!
//! Filled once at start from each crate's `OPTIONS`; immutable from the first load on. A documented row stands only for
//! what nobody declares; `description` tells the two apart for people.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use crate::documented::{self, CORE, Row};
use crate::kinds::{FREE, Kind, LISTENER, core_kind};
use crate::options::{Declared, Opt, Typed};
use crate::scope::{Scope, bits, name_hash};
use crate::types::OptionType;

/// Index of a name.
pub(crate) type NameId = u32;

/// The scopes of an option in the form checks want.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pub mask: u32,
    /// Listener words; with none, every listener counts.
    listeners: Vec<&'static str>,
    /// Stanzas by their word, with the word they must stand in.
    stanzas: Vec<(Option<&'static str>, &'static str)>,
    /// In every module stanza.
    every_module: bool,
}

/// Where a stanza of the file stands, as far as options care.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'p> {
    /// Bits an option must have.
    pub requires: u32,
    pub listener: Option<&'p str>,
    pub word: &'p str,
    pub parent: &'p str,
}

impl Places {
    fn of(scopes: &[Scope]) -> Self {
        let mut places = Places::default();
        for scope in scopes {
            places.mask |= scope.bit();
            match *scope {
                Scope::Listener(word) => places.listeners.push(word),
                Scope::Within(parent, word) => places.stanzas.push((Some(parent), word)),
                other if other.bit() == bits::STANZA => places.stanzas.push((None, other.word())),
                _ => {}
            }
        }
        places
    }

    pub fn documented(scopes: &'static str) -> Self {
        let mut places = Places::default();
        for word in scopes.split(',') {
            match (word, word.split_once("::"), core_kind(word)) {
                ("global", ..) => places.mask |= bits::GLOBAL,
                ("any", ..) => places.mask = u32::MAX,
                ("module", ..) => places.every_module = true,
                (_, Some((parent, inner)), _) => push_alone(&mut places.stanzas, (Some(parent), inner)),
                (_, None, Some(kind)) if kind.bit == bits::LISTENER => push_alone(&mut places.listeners, kind.word),
                (_, None, Some(kind)) if kind.bit != bits::STANZA => places.mask |= kind.bit,
                _ => push_alone(&mut places.stanzas, (None, word)),
            }
        }
        places.mask |= if places.listeners.is_empty() { 0 } else { bits::LISTENER };
        places.mask |= if places.stanzas.is_empty() { 0 } else { bits::STANZA };
        places
    }

    /// Whether an option of these scopes may stand at `place`.
    pub fn admit(&self, place: &Place<'_>) -> bool {
        if place.requires == bits::STANZA {
            let fits = |(parent, word): &(Option<&str>, &str)| {
                *word == place.word && parent.is_none_or(|parent| parent == place.parent)
            };
            return self.every_module && core_kind(place.word).is_none() || self.stanzas.iter().any(fits);
        }
        let listener = || match place.listener {
            Some(word) if !self.listeners.is_empty() => self.listeners.contains(&word),
            _ => true,
        };
        self.mask & place.requires == place.requires && listener()
    }

    /// The scopes in words: "global, binding, domain".
    pub fn words(&self) -> String {
        self.list().join(", ")
    }

    /// The scopes in words, one each.
    pub fn list(&self) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        if self.mask & bits::GLOBAL != 0 {
            words.push("global".to_owned());
        }
        words.extend(self.listeners.iter().map(|word| (*word).to_owned()));
        let core = crate::kinds::KINDS
            .iter()
            .filter(|kind| kind.bit & (bits::LISTENER | bits::STANZA) == 0 && self.mask & kind.bit != 0);
        words.extend(core.map(|kind| kind.word.to_owned()));
        words.extend(self.stanzas.iter().map(|(parent, word)| match parent {
            Some(parent) => format!("{word} in {parent}"),
            None => (*word).to_owned(),
        }));
        words.extend(self.every_module.then(|| "every module".to_owned()));
        // Several stanzas of one name are one word to the reader.
        let mut seen = HashSet::new();
        words.retain(|word| seen.insert(word.clone()));
        words
    }
}

impl Places {
    /// The scopes in words, one each, and listen and peer stanzas by the listener they stand in: "listen in http_listener".
    pub fn list_by_listener(&self) -> Vec<String> {
        let of_sockets = |scope: &str| ["listen", "peer"].contains(&scope);
        let within = |scope: String| match of_sockets(&scope) && !self.listeners.is_empty() {
            true => self.listeners.iter().map(|listener| format!("{scope} in {listener}")).collect(),
            false => vec![scope],
        };
        self.list().into_iter().flat_map(within).collect()
    }
}

/// A declaration with its default parsed.
pub(crate) struct Declaration {
    /// The module that declares it, or `core`.
    pub owner: &'static str,
    pub option: &'static dyn Declared,
    pub places: Places,
    pub default: Typed,
}

/// A documented row that stands for an option.
pub(crate) struct Awaited {
    pub row: Row,
    pub places: Places,
}

/// What is known about a name.
#[derive(Default)]
pub(crate) struct NameInfo {
    pub name: &'static str,
    pub declared: Vec<Declaration>,
    pub documented: Vec<Awaited>,
}

impl NameInfo {
    pub fn declaration_at(&self, place: &Place<'_>) -> Option<&Declaration> {
        self.declared.iter().find(|declaration| declaration.places.admit(place))
    }

    pub fn documented_at(&self, place: &Place<'_>) -> Option<&Awaited> {
        self.documented.iter().find(|awaited| awaited.places.admit(place))
    }

    /// Every scope the name is valid in, in words.
    pub fn valid_scopes(&self) -> String {
        let mut all = Places::default();
        let documented = self.documented.iter().map(|awaited| &awaited.places);
        for places in self.declared.iter().map(|declaration| &declaration.places).chain(documented) {
            all.mask |= places.mask;
            all.every_module |= places.every_module;
            all.listeners
                .extend(places.listeners.iter().filter(|word| !all.listeners.contains(word)).collect::<Vec<_>>());
            all.stanzas
                .extend(places.stanzas.iter().filter(|stanza| !all.stanzas.contains(stanza)).collect::<Vec<_>>());
        }
        all.words()
    }
}

/// What is known about a stanza word outside the core.
#[derive(Clone, Debug, Default)]
struct StanzaInfo {
    is_module: bool,
    is_listener: bool,
    /// Some option is declared in it, so its content is checked.
    live: bool,
    parents: Places,
}

/// A hasher for keys that are hashes already.
#[derive(Default)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// All options and stanzas this build knows.
pub struct Registry {
    names: Vec<NameInfo>,
    by_hash: HashMap<u64, NameId, BuildHasherDefault<Hashed>>,
    stanzas: HashMap<&'static str, StanzaInfo>,
    /// Rows that stand for stanzas and modules nobody has built.
    awaited_stanzas: Vec<Row>,
}

impl Default for Registry {
    fn default() -> Self {
        Registry::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry({} options, {} stanzas)", self.names.len(), self.stanzas.len())
    }
}

/// Adds to a list that nearly always has one element, and there are thousands of them: room for the next ones would be most of
/// what the registry takes up.
fn push_alone<T>(list: &mut Vec<T>, element: T) {
    list.reserve_exact(1);
    list.push(element);
}

impl Registry {
    /// A registry that knows the documented names and no declaration yet.
    pub fn new() -> Self {
        let (by_hash, stanzas) = (HashMap::default(), HashMap::new());
        let mut registry = Registry { names: Vec::new(), by_hash, stanzas, awaited_stanzas: Vec::new() };
        documented::rows().for_each(|row| registry.add_documented(row));
        registry
    }

    fn add_documented(&mut self, row: Row) {
        let places = Places::documented(row.scopes);
        for (parent, word) in &places.stanzas {
            let outer = parent.unwrap_or(word);
            self.stanzas.entry(outer).or_default().parents.mask |= bits::GLOBAL;
            if parent.is_some() {
                self.stanzas.entry(word).or_default().parents.stanzas.push((None, outer));
            }
        }
        match row.kind {
            "module" => {
                let stanza = self.stanzas.entry(row.name).or_default();
                stanza.is_module = true;
                stanza.parents.mask |= bits::GLOBAL;
                self.awaited_stanzas.push(row);
            }
            "scope" => {
                if core_kind(row.name).is_none() {
                    let stanza = self.stanzas.entry(row.name).or_default();
                    stanza.parents.mask |= places.mask & !bits::STANZA;
                    stanza.parents.stanzas.extend(places.stanzas.iter().map(|(_, word)| (None, *word)));
                }
                self.awaited_stanzas.push(row);
            }
            "directive" => {}
            _ => {
                let id = self.intern(row.name);
                push_alone(&mut self.names[id as usize].documented, Awaited { row, places });
            }
        }
    }

    fn intern(&mut self, name: &'static str) -> NameId {
        let next = self.names.len() as NameId;
        let id = *self.by_hash.entry(name_hash(name)).or_insert(next);
        if id == next {
            self.names.push(NameInfo { name, ..NameInfo::default() });
        }
        assert!(
            self.names[id as usize].name == name,
            "option names {name} and {} share a hash",
            self.names[id as usize].name
        );
        id
    }

    /// Adds a declaration.
    ///
    /// # Panics
    /// When the declaration is faulty: a default its own type refuses, a name not in lower case, or another declaration
    /// of the same name in the same scope with another type or default. These are mistakes of the program.
    pub fn add<T: OptionType>(&mut self, option: &'static Opt<T>) {
        self.add_declared(CORE, option);
    }

    /// Adds the options of a crate; see [`Registry::add`].
    pub fn add_all(&mut self, options: &'static [&'static dyn Declared]) {
        self.add_of(CORE, options);
    }

    /// Adds the options of a module, whose stanza they may stand in and which is their owner; see [`Registry::add`].
    pub fn add_of(&mut self, module: &'static str, options: &[&'static dyn Declared]) {
        options.iter().for_each(|option| self.add_declared(module, *option));
    }

    fn add_declared(&mut self, owner: &'static str, option: &'static dyn Declared) {
        let name = option.name();
        assert!(
            name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')),
            "option name {name:?} must be lower case"
        );
        let default = option.default_any().unwrap_or_else(|problem| panic!("{problem}"));
        let places = Places::of(option.scopes());
        let id = self.intern(name) as usize;
        for other in &self.names[id].declared {
            if !overlap(other.option.scopes(), option.scopes()) {
                continue;
            }
            let agree = other.option.value_type() == option.value_type()
                && other.option.default_text() == option.default_text();
            assert!(agree, "option {name} is declared twice in one scope, with different types or defaults");
        }
        for scope in option.scopes() {
            self.enliven(*scope);
        }
        push_alone(&mut self.names[id].declared, Declaration { owner, option, places, default });
    }

    /// Makes the stanza of a scope known and its content checked.
    fn enliven(&mut self, scope: Scope) {
        match scope {
            Scope::Listener(word) if core_kind(word).is_none() => {
                self.stanzas.entry(word).or_default().is_listener = true
            }
            Scope::Module(word) => {
                let stanza = self.stanzas.entry(word).or_default();
                stanza.live = true;
                stanza.parents.mask |= bits::GLOBAL;
            }
            Scope::Within(parent, word) => {
                self.enliven(Scope::Module(parent));
                let stanza = self.stanzas.entry(word).or_default();
                stanza.live = true;
                stanza.parents.stanzas.push((None, parent));
            }
            _ => {}
        }
    }

    /// Every declared option, by name.
    pub fn declared(&self) -> Vec<&'static dyn Declared> {
        let mut all: Vec<_> =
            self.names.iter().flat_map(|info| info.declared.iter().map(|declaration| declaration.option)).collect();
        all.sort_by_key(|option| option.name());
        all
    }

    /// Test helper: every default parses and passes its own check. Returns the faults.
    pub fn check_defaults(&self) -> Vec<String> {
        self.declared().iter().filter_map(|option| option.default_any().err()).collect()
    }

    pub(crate) fn name_id(&self, name: &str) -> Option<NameId> {
        let id = self.id_of_hash(name_hash(name))?;
        self.names[id as usize].name.eq_ignore_ascii_case(name).then_some(id)
    }

    pub(crate) fn id_of_hash(&self, hash: u64) -> Option<NameId> {
        self.by_hash.get(&hash).copied()
    }

    pub(crate) fn info(&self, id: NameId) -> Option<&NameInfo> {
        self.names.get(id as usize)
    }

    pub(crate) fn infos(&self) -> &[NameInfo] {
        &self.names
    }

    /// The rows of scopes and modules that nobody has built.
    pub(crate) fn awaited_stanzas(&self) -> impl Iterator<Item = &Row> {
        self.awaited_stanzas.iter().filter(|row| !self.stanzas.get(row.name).is_some_and(|info| info.live))
    }

    /// The row of a scope or module that nobody has built, by its word in lower case.
    pub(crate) fn awaited_stanza(&self, word: &str) -> Option<&Row> {
        self.awaited_stanzas().find(|row| row.name == word)
    }

    /// Every row of what is documented and not built.
    pub(crate) fn documented_rows(&self) -> impl Iterator<Item = &Row> {
        let options = self.names.iter().flat_map(|info| info.documented.iter().map(|awaited| &awaited.row));
        options.chain(self.awaited_stanzas())
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Names valid at a place, for suggestions.
    pub(crate) fn names_at<'r>(&'r self, place: Place<'r>) -> impl Iterator<Item = &'static str> + 'r {
        let valid =
            move |info: &&NameInfo| info.declaration_at(&place).is_some() || info.documented_at(&place).is_some();
        self.names.iter().filter(valid).map(|info| info.name)
    }

    /// All names, for suggestions.
    pub(crate) fn all_names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.names.iter().map(|info| info.name)
    }

    /// All stanza words, for suggestions.
    pub(crate) fn all_stanzas(&self) -> impl Iterator<Item = &'static str> + '_ {
        crate::kinds::KINDS.iter().map(|kind| kind.word).chain(self.stanzas.keys().copied())
    }

    /// The kind of a stanza word (lower case).
    pub(crate) fn kind(&self, word: &str) -> Option<Kind> {
        let known = || {
            let (word, info) = self.stanzas.get_key_value(word)?;
            let kind = if info.is_listener { LISTENER } else { FREE };
            Some(Kind { word, ..kind })
        };
        core_kind(word).or_else(known)
    }

    /// Whether the stanza `word` may stand at `place`.
    pub(crate) fn stanza_fits(&self, kind: &Kind, place: &Place<'_>, place_bit: u32) -> bool {
        match self.stanzas.get(kind.word) {
            _ if core_kind(kind.word).is_some() => kind.parents & place_bit != 0,
            Some(info) if info.is_module && place.requires == bits::STANZA => core_kind(place.word).is_none(),
            Some(info) => info.is_listener && place_bit == bits::GLOBAL || info.parents.admit(place),
            None => false,
        }
    }

    /// Where a stanza may stand, in words.
    pub(crate) fn stanza_places(&self, kind: &Kind) -> String {
        match self.stanzas.get(kind.word) {
            Some(info) if core_kind(kind.word).is_none() => info.parents.words(),
            _ => crate::kinds::words_of(kind.parents).join(" or "),
        }
    }

    /// Whether the content of a stanza outside the core is checked: somebody declared an option in it.
    pub(crate) fn is_live(&self, word: &str) -> bool {
        core_kind(word).is_some() || self.stanzas.get(word).is_some_and(|info| info.live || info.is_listener)
    }
}

/// Whether two declarations could both answer for one setting.
fn overlap(a: &[Scope], b: &[Scope]) -> bool {
    let listeners = |scopes: &[Scope]| scopes.iter().any(|scope| matches!(scope, Scope::Listener(_)));
    let shared_listener = a.iter().any(|scope| matches!(scope, Scope::Listener(_)) && b.contains(scope));
    a.iter().filter(|scope| b.contains(scope)).any(|scope| match scope {
        Scope::Listen | Scope::Peer if listeners(a) && listeners(b) => shared_listener,
        _ => true,
    })
}
