//! Settings made from the console that are not in the texts yet: found their places together, so that a text is parsed
//! once for many of them and not once for each.
//!
//! In: settings, in the order they were made; then a generation of the texts they change. Out: the edits of each file,
//! and the settings whose place is inside something that these edits create: they wait for the next parse. What the texts
//! become is what they would have become one setting after the other. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use crate::console::ScopePath;
use crate::edit::{Addition, Editing};
use crate::generation::Generation;
use crate::placing::{Home, Placing};

/// A scope however it is spelled: each word and name in the form they are compared in.
type ScopeKey = Vec<(String, String)>;

/// One setting on its way.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub path: ScopePath,
    /// The option as the command named it.
    pub option: String,
    /// `word "name"` of each scope, outermost first.
    pub headings: Vec<String>,
    /// `name = value`.
    pub setting: String,
    /// The value as it stands in a file.
    pub value: String,
}

impl Made {
    fn key(&self) -> ScopeKey {
        self.path.key()
    }

    fn addition(&self, depth: usize) -> Addition {
        Addition { headings: self.headings.get(depth..).unwrap_or_default().to_vec(), setting: self.setting.clone() }
    }
}

/// The settings on their way, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    made: Vec<Made>,
    places: HashMap<(ScopeKey, String), usize>,
}

/// What happens to one text; files by their index in the generation, and the text without a file.
#[derive(Debug, Default)]
struct Changes {
    replaced: Vec<(Range<usize>, String)>,
    inserted: BTreeMap<(usize, usize), Vec<Addition>>,
    appended: Vec<Addition>,
}

impl Changes {
    fn applied(self, text: &str) -> String {
        let mut editing = Editing::new(text);
        self.replaced.into_iter().for_each(|(range, new)| editing.replace(range, &new));
        self.inserted.into_iter().for_each(|((from, to), additions)| editing.insert(from..to, &additions));
        if !self.appended.is_empty() {
            editing.append(&self.appended);
        }
        editing.finish()
    }
}

impl Pending {
    pub fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// Whether one of the scopes on their way is of a word.
    pub fn has(&self, word: &str) -> bool {
        self.made.iter().any(|made| made.path.pairs.iter().any(|(own, _)| own.eq_ignore_ascii_case(word)))
    }

    /// Adds a setting; one of the same option in the same scope is replaced where it stands.
    pub fn push(&mut self, made: Made) {
        let key = (made.key(), made.option.to_ascii_lowercase());
        match self.places.get(&key) {
            Some(&at) => self.made[at] = made,
            None => {
                self.places.insert(key, self.made.len());
                self.made.push(made);
            }
        }
    }

    /// Takes the settings that have a place in `generation`, and gives the text of each file they change: its index, none
    /// for the text without a file. Those that must wait stay.
    pub fn settle(&mut self, generation: &Generation) -> Vec<(Option<u32>, String)> {
        let mut changes: BTreeMap<Option<u32>, Changes> = BTreeMap::new();
        let mut placing = Placing::new(generation);
        // Scopes that an edit of this round creates, where: what goes into them has its place in the next round.
        let mut created: HashSet<(Option<u32>, ScopeKey)> = HashSet::new();
        self.places.clear();
        for made in std::mem::take(&mut self.made) {
            let nodes = generation.nodes_along(&made.path);
            let Ok((option, _)) = generation.option_named(&made.option) else { continue };
            let whole = nodes.len() == made.path.pairs.len() + 1;
            let here = nodes.last().filter(|_| whole);
            if let Some(span) = here.and_then(|node| placing.value_to_replace(*node, option)) {
                let range = span.start as usize..span.end as usize;
                changes.entry(Some(span.file)).or_default().replaced.push((range, made.value));
                continue;
            }
            let (file, braces, depth) = match placing.home(&nodes, made.path.pairs.len(), option) {
                Home::File { file, braces, depth } => (Some(file), braces, depth),
                Home::Homeless => (None, None, 0),
            };
            let key = made.key();
            if depth < key.len() && !created.insert((file, key[..=depth].to_vec())) {
                self.push(made);
                continue;
            }
            let (own, addition) = (changes.entry(file).or_default(), made.addition(depth));
            match braces {
                Some(braces) => own.inserted.entry((braces.start, braces.end)).or_default().push(addition),
                None => own.appended.push(addition),
            }
        }
        let sources = &generation.sources;
        let text_of = |file: Option<u32>| {
            file.or(sources.homeless).and_then(|index| sources.file(index)).map_or("", |file| file.text())
        };
        changes.into_iter().map(|(file, changes)| (file, changes.applied(text_of(file)))).collect()
    }
}
