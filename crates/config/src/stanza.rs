//! The stanzas of a generation: one arena of scope instances, merged and indexed.
//!
//! Node 0 is the global scope. Children are found by word and name through a hash map, by address through a
//! longest-prefix map, or by regular expression in file order.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use regex::{Regex, RegexSet, RegexSetBuilder};

use crate::held;
use crate::names::Key;
use crate::nets::NetMap;
use crate::options::Typed;
use crate::registry::NameId;
use crate::scope::{ScopeId, bits};
use crate::tree::{Scalar, Span, Value};

/// Index of a node.
pub(crate) type NodeId = u32;
/// Index of a stanza word.
pub(crate) type WordId = u32;

/// The global scope.
pub(crate) const ROOT: NodeId = 0;

/// With at least this many patterns in one scope they are matched together.
const REGEX_SET_MIN: usize = 5;

/// Patterns in one set: the time to build one grows faster than their number.
const REGEX_SET_MAX: usize = 128;

/// Most patterns in all sets of a generation, which bounds the time to build them.
const SET_PATTERNS_MAX: usize = 8192;

/// A setting, its place in the index, and its value as a type.
const SETTING_OCTETS: usize = size_of::<Setting>() + 2 * size_of::<(NameId, u32)>() + 32;

/// An option as set in one scope.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub name: NameId,
    pub value: Value,
    /// The value in the type of its declaration; absent while nobody declares it.
    pub typed: Option<Typed>,
    /// The option's name in the file.
    pub span: Span,
}

impl Setting {
    /// From the name to the end of the value.
    pub fn whole_span(&self) -> Span {
        self.span.to(self.value.span)
    }
}

/// The bit of a name in [`Node::set_names`].
pub(crate) fn name_bit(name: NameId) -> u64 {
    1 << (name % 64)
}

/// One place a stanza is written at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Its word.
    pub word: Span,
    /// From the opening brace to the closing one.
    pub braces: Span,
}

/// One scope instance.
#[derive(Debug)]
pub(crate) struct Node {
    pub word: WordId,
    pub name: Option<Scalar>,
    pub parent: NodeId,
    /// The class of the scope.
    pub bit: u32,
    /// Bits an option must have to be valid here; see `lookup`.
    pub requires: u32,
    /// The listener this stanza belongs to.
    pub listener: Option<WordId>,
    /// Content of a module nobody declares is accepted unread.
    pub free: bool,
    pub id: ScopeId,
    /// Its word, where it is written first.
    pub span: Span,
    /// Its braces, where it is written first; none for the global scope, which every file may write.
    braces: Option<Span>,
    settings: Vec<Setting>,
    /// A bit for each name that is set, shared by names 64 apart: most reads end here, without a look at the settings.
    pub set_names: u64,
    more: Option<Box<More>>,
}

/// What most scopes of a large file have nothing of: they are written once, hold an option or two and no other scope.
#[derive(Debug, Default)]
struct More {
    /// The places it is written at after the first.
    parts: Vec<Part>,
    /// Settings that a later one replaced: name, and from the name to the end of the value.
    shadowed: Vec<(NameId, Span)>,
    /// Where the setting of each name is, by name, once there are more than a few.
    index: Vec<(NameId, u32)>,
    containers: Vec<(WordId, Container)>,
    children: Vec<NodeId>,
}

impl More {
    fn held(&self) -> usize {
        let places = self.parts.len() * size_of::<Part>() + self.shadowed.len() * size_of::<(NameId, Span)>();
        let containers: usize = self.containers.iter().map(|(_, container)| container.held()).sum();
        let children = self.children.len() * size_of::<NodeId>() + self.index.len() * size_of::<(NameId, u32)>();
        size_of::<Self>() + places + containers + children
    }
}

impl Node {
    fn new(word: WordId, parent: NodeId, id: ScopeId, made: NewNode) -> Self {
        let NewNode { name, bit, requires, listener, free, span } = made;
        let (braces, settings, set_names, more) = (None, Vec::new(), 0, None);
        Node { word, name, parent, bit, requires, listener, free, id, span, braces, settings, set_names, more }
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    fn place_of(&self, name: NameId) -> Option<usize> {
        match self.more.as_ref().filter(|more| !more.index.is_empty()) {
            Some(more) => {
                let at = more.index.binary_search_by_key(&name, |(id, _)| *id).ok()?;
                Some(more.index[at].1 as usize)
            }
            None => self.settings.iter().position(|setting| setting.name == name),
        }
    }

    /// Octets of memory it takes up, about.
    pub fn held(&self) -> usize {
        let settings: usize = self.settings.iter().map(|setting| SETTING_OCTETS + held::of_value(&setting.value)).sum();
        size_of::<Self>() + settings + self.more.as_ref().map_or(0, |more| more.held())
    }

    pub fn setting(&self, name: NameId) -> Option<&Setting> {
        self.settings.get(self.place_of(name)?)
    }

    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Sets an option; a second setting replaces the first.
    pub fn set(&mut self, setting: Setting) {
        self.set_names |= name_bit(setting.name);
        if let Some(at) = self.place_of(setting.name) {
            let earlier = std::mem::replace(&mut self.settings[at], setting);
            return self.more().shadowed.push((earlier.name, earlier.whole_span()));
        }
        make_room(&mut self.settings);
        let (name, at) = (setting.name, self.settings.len());
        self.settings.push(setting);
        if at < INDEX_MIN {
            return;
        }
        let index = match self.more().index.is_empty() {
            true => self.settings.iter().enumerate().map(|(at, setting)| (setting.name, at as u32)).collect(),
            false => {
                let mut index = std::mem::take(&mut self.more().index);
                index.insert(index.partition_point(|(id, _)| *id < name), (name, at as u32));
                index
            }
        };
        let more = self.more();
        more.index = index;
        if at == INDEX_MIN {
            more.index.sort_unstable();
        }
    }

    /// Notes another place the stanza is written at.
    pub fn add_part(&mut self, part: Part) {
        match self.braces {
            None => (self.span, self.braces) = (part.word, Some(part.braces)),
            Some(_) => self.more().parts.push(part),
        }
    }

    /// Every place the files write it at, in reading order.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        let first = self.braces.map(|braces| Part { word: self.span, braces });
        first.into_iter().chain(self.more.iter().flat_map(|more| more.parts.iter().copied()))
    }

    /// Settings that a later one replaced: name, and from the name to the end of the value.
    pub fn shadowed(&self) -> &[(NameId, Span)] {
        self.more.as_ref().map_or(&[], |more| &more.shadowed)
    }

    /// The scopes in it, in reading order.
    pub fn children(&self) -> &[NodeId] {
        self.more.as_ref().map_or(&[], |more| &more.children)
    }

    pub fn container(&self, word: WordId) -> Option<&Container> {
        let containers = self.more.as_ref().map_or(&[][..], |more| &more.containers);
        containers.iter().find(|(id, _)| *id == word).map(|(_, container)| container)
    }

    pub fn name_text(&self) -> std::borrow::Cow<'_, str> {
        self.name.as_ref().map_or("".into(), |name| name.text())
    }
}

/// With more settings than this in one scope they are found by an index.
const INDEX_MIN: usize = 8;

/// Lets a list grow one by one while it is short: large files are many scopes that hold one or two things, and a list
/// grows to four at once by itself.
fn make_room<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() && list.len() < 4 {
        list.reserve_exact(1);
    }
}

/// The children of one word.
#[derive(Debug, Default)]
pub(crate) struct Container {
    exact: Exact,
    /// The children whose name stands for many; none in most scopes.
    wide: Option<Box<Wide>>,
}

/// Children found by their very name.
#[derive(Debug)]
enum Exact {
    /// A list, while it is short.
    Few(Vec<(Box<str>, NodeId)>),
    Many(HashMap<Box<str>, NodeId>),
}

impl Default for Exact {
    fn default() -> Self {
        Exact::Few(Vec::new())
    }
}

impl Exact {
    fn get(&self, key: &str) -> Option<NodeId> {
        match self {
            Exact::Few(list) => list.iter().find(|(own, _)| **own == *key).map(|(_, node)| *node),
            Exact::Many(map) => map.get(key).copied(),
        }
    }

    fn held(&self) -> usize {
        let of = |key: &str| key.len() + size_of::<(Box<str>, NodeId)>();
        match self {
            Exact::Few(list) => list.iter().map(|(key, _)| of(key)).sum(),
            Exact::Many(map) => map.keys().map(|key| of(key)).sum(),
        }
    }

    /// Adds a name that is not there yet.
    fn insert(&mut self, key: Box<str>, node: NodeId) {
        match self {
            Exact::Few(list) if list.len() < FEW_MAX => {
                make_room(list);
                list.push((key, node));
            }
            Exact::Few(list) => {
                let all = std::mem::take(list).into_iter().chain([(key, node)]);
                *self = Exact::Many(all.collect());
            }
            Exact::Many(map) => {
                map.insert(key, node);
            }
        }
    }
}

/// Most children of one word that are found by comparing one name after the other.
const FEW_MAX: usize = 4;

/// Children found by a pattern or an address block.
#[derive(Debug, Default)]
struct Wide {
    regexes: Vec<(Regex, NodeId)>,
    /// The patterns again, in file order, to be matched together; none when there are few of them.
    regex_sets: Vec<RegexSet>,
    /// Options that some regex instance sets: for all others the patterns need no look.
    regex_names: HashSet<NameId>,
    nets: NetMap<NodeId>,
}

impl Container {
    fn held(&self) -> usize {
        let patterns = self.wide.as_ref().map_or(0, |wide| wide.regexes.len());
        size_of::<Self>() + self.exact.held() + patterns * held::PATTERN_OCTETS
    }

    pub fn exact(&self, key: &str) -> Option<NodeId> {
        self.exact.get(key)
    }

    /// Visits the instances that match, exact before regex in file order, until `visit` says stop (true).
    ///
    /// With `only`, patterns are tried when some pattern instance sets that option.
    pub fn visit(&self, key: &str, only: Option<NameId>, visit: &mut dyn FnMut(NodeId) -> bool) -> bool {
        if self.exact(key).is_some_and(&mut *visit) {
            return true;
        }
        let Some(wide) = self.wide.as_ref().filter(|wide| !wide.regexes.is_empty()) else { return false };
        if only.is_some_and(|name| !wide.regex_names.contains(&name)) {
            return false;
        }
        match wide.regex_sets.is_empty() {
            false => wide
                .regex_sets
                .iter()
                .zip(wide.regexes.chunks(REGEX_SET_MAX))
                .any(|(set, chunk)| set.matches(key).into_iter().any(|at| visit(chunk[at].1))),
            true => wide.regexes.iter().any(|(regex, node)| regex.is_match(key) && visit(*node)),
        }
    }
}

/// Sets made while a generation is built; scopes with the same patterns share theirs.
#[derive(Default)]
struct RegexSets {
    made: HashMap<String, RegexSet>,
    patterns: usize,
}

impl RegexSets {
    /// The sets of these patterns; `None` when so many were made that the patterns are better tried one by one.
    fn of(&mut self, regexes: &[(Regex, NodeId)]) -> Option<Vec<RegexSet>> {
        regexes.chunks(REGEX_SET_MAX).map(|chunk| self.set(chunk)).collect()
    }

    fn set(&mut self, chunk: &[(Regex, NodeId)]) -> Option<RegexSet> {
        let patterns = || chunk.iter().map(|(regex, _)| regex.as_str());
        let key = patterns().collect::<Vec<_>>().join("\n");
        if let Some(made) = self.made.get(&key) {
            return Some(made.clone());
        }
        self.patterns += chunk.len();
        if self.patterns > SET_PATTERNS_MAX {
            return None;
        }
        let mut builder = RegexSetBuilder::new(patterns());
        let set = builder.case_insensitive(true).size_limit(64 << 20).dfa_size_limit(16 << 20).build().ok()?;
        self.made.insert(key, set.clone());
        Some(set)
    }
}

/// All scope instances of a generation.
#[derive(Debug)]
pub(crate) struct Stanzas {
    nodes: Vec<Node>,
    words: Vec<Box<str>>,
    word_ids: HashMap<Box<str>, WordId>,
    /// First-seen spelling of each word.
    spellings: Vec<Box<str>>,
    /// Groups that hold a binding or pathway of a name.
    homes: HashMap<(WordId, Box<str>), NodeId>,
}

impl Stanzas {
    pub fn new() -> Self {
        let mut stanzas = Stanzas {
            nodes: Vec::new(),
            words: Vec::new(),
            word_ids: HashMap::new(),
            spellings: Vec::new(),
            homes: HashMap::new(),
        };
        let word = stanzas.word("global", "global");
        let (bit, span) = (bits::GLOBAL, Span::default());
        let global = NewNode { name: None, bit, requires: bit, listener: None, free: false, span };
        stanzas.nodes.push(Node::new(word, ROOT, ScopeId::GLOBAL, global));
        stanzas
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(id, node)| (id as NodeId, node))
    }

    /// The id of a stanza word in lower case, made if new.
    pub fn word(&mut self, word: &str, spelling: &str) -> WordId {
        if let Some(id) = self.word_ids.get(word) {
            return *id;
        }
        let id = self.words.len() as WordId;
        self.words.push(word.into());
        self.spellings.push(spelling.into());
        self.word_ids.insert(word.into(), id);
        id
    }

    pub fn word_id(&self, word: &str) -> Option<WordId> {
        self.word_ids.get(word).copied()
    }

    pub fn word_text(&self, id: WordId) -> &str {
        &self.words[id as usize]
    }

    pub fn spelling(&self, id: WordId) -> &str {
        &self.spellings[id as usize]
    }

    /// The child with this word and exact key.
    pub fn child(&self, parent: NodeId, word: WordId, key: &str) -> Option<NodeId> {
        self.node(parent).container(word)?.exact(key)
    }

    /// The child with this word and key, or a new one made by `make`; true when new.
    pub fn child_or_insert(&mut self, parent: NodeId, word: WordId, key: Key, make: NewNode) -> (NodeId, bool) {
        let next = self.nodes.len() as NodeId;
        let (outer, more) = {
            let node = &mut self.nodes[parent as usize];
            (node.id, node.more())
        };
        let at = more.containers.iter().position(|(id, _)| *id == word).unwrap_or_else(|| {
            make_room(&mut more.containers);
            more.containers.push((word, Container::default()));
            more.containers.len() - 1
        });
        let container = &mut more.containers[at].1;
        // Addresses and patterns are exact among themselves too: the same text is the same instance.
        let text: Box<str> = match &key {
            Key::Exact(text) => text.clone(),
            Key::Regex(regex) => format!("/{}/", regex.as_str()).into(),
            Key::Net(net) => net.to_string().into(),
        };
        if let Some(found) = container.exact.get(&text) {
            return (found, false);
        }
        match key {
            Key::Exact(_) => {}
            Key::Regex(regex) => container.wide.get_or_insert_default().regexes.push((regex, next)),
            Key::Net(net) => container.wide.get_or_insert_default().nets.insert(net, next),
        }
        let id = outer.child(&self.words[word as usize], &text);
        container.exact.insert(text, next);
        make_room(&mut more.children);
        more.children.push(next);
        self.nodes.push(Node::new(word, parent, id, make));
        (next, true)
    }

    /// A node that no lookup finds and that is forgotten again: a place to check what shall set nothing.
    pub fn rehearsal(&mut self, parent: NodeId, word: WordId, make: NewNode) -> NodeId {
        self.nodes.push(Node::new(word, parent, ScopeId::default(), make));
        self.nodes.len() as NodeId - 1
    }

    /// Forgets the nodes made by `rehearsal` since there were `count`.
    pub fn forget_from(&mut self, count: usize) {
        self.nodes.truncate(count);
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Builds what lookups need once every stanza is in.
    pub fn finish(&mut self) {
        let mut sets = RegexSets::default();
        for id in 0..self.nodes.len() {
            let mut more = self.nodes[id].more.take();
            let containers = more.iter_mut().flat_map(|more| &mut more.containers);
            for wide in containers.filter_map(|(_, container)| container.wide.as_mut()) {
                let setters = wide.regexes.iter().flat_map(|(_, node)| self.nodes[*node as usize].settings());
                wide.regex_names = setters.map(|setting| setting.name).collect();
                if wide.regexes.len() >= REGEX_SET_MIN {
                    wide.regex_sets = sets.of(&wide.regexes).unwrap_or_default();
                }
            }
            self.nodes[id].more = more;
            let node = &self.nodes[id];
            let parent = &self.nodes[node.parent as usize];
            if parent.bit & (bits::BINDING_GROUP | bits::PATHWAY_GROUP) != 0
                && node.bit & (bits::BINDING | bits::PATHWAY) != 0
            {
                self.homes.entry((node.word, node.name_text().into())).or_insert(node.parent);
            }
        }
    }

    /// The group that holds the binding or pathway `name`.
    pub fn home(&self, word: WordId, name: &str) -> Option<NodeId> {
        match self.homes.is_empty() {
            true => None,
            false => self.homes.get(&(word, name.into())).copied(),
        }
    }

    /// The word path and names from the outermost stanza to `id`.
    pub fn path(&self, mut id: NodeId) -> Vec<NodeId> {
        let mut path = Vec::new();
        while id != ROOT {
            path.push(id);
            id = self.node(id).parent;
        }
        path.reverse();
        path
    }

    /// Peers of a node that hold `ip`, longest prefix first.
    pub fn peers(&self, parent: NodeId, word: WordId, ip: IpAddr) -> impl Iterator<Item = NodeId> {
        let wide = self.node(parent).container(word).and_then(|container| container.wide.as_ref());
        wide.into_iter().flat_map(move |wide| wide.nets.matches(ip).copied())
    }
}

/// What a new node is made of besides its place.
pub(crate) struct NewNode {
    pub name: Option<Scalar>,
    pub bit: u32,
    pub requires: u32,
    pub listener: Option<WordId>,
    pub free: bool,
    pub span: Span,
}
