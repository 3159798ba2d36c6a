//! Where a change from the console is written: the rules for which file and which stanza takes it.
//!
//! A value whose last definition stands in a file that takes changes is replaced there. Otherwise the change must come
//! after that definition, or it would have no effect: into the first place that writes the same scope in a file that takes
//! changes, else into `local_changes_file`, else into the main file, else into a text without a file. A file takes changes
//! unless it is closed by its permissions or its scheme, reached by `readonly_include`, or included more than once.

use std::collections::HashMap;
use std::ops::Range;

use crate::generation::Generation;
use crate::registry::NameId;
use crate::source::Sources;
use crate::stanza::{NodeId, ROOT};
use crate::tree::Span;

/// A place in reading order: the bytes of the include lines that lead to it, then its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order(Vec<u32>);

impl Order {
    fn of(sources: &Sources, file: u32, at: u32) -> Self {
        let mut steps = match sources.file(file).and_then(|source| source.included_from()) {
            Some(include) => Order::of(sources, include.file, include.start).0,
            None => Vec::new(),
        };
        steps.extend([file, at]);
        Order(steps)
    }
}

/// Where something new goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// Into a file: before the closing brace of a stanza, or at the end; below so many scopes of the wanted path.
    File { file: u32, braces: Option<Range<usize>>, depth: usize },
    /// Into the text that has no file, at its end.
    Homeless,
}

/// A place that writes a scope: a stanza, or a whole file.
struct Place {
    start: Order,
    end: Order,
    file: u32,
    braces: Option<Span>,
}

pub(crate) struct Placing<'g> {
    generation: &'g Generation,
    /// The scope of the text of each file, by its include line.
    scopes: HashMap<(u32, u32), NodeId>,
}

impl<'g> Placing<'g> {
    pub fn new(generation: &'g Generation) -> Self {
        Placing { generation, scopes: HashMap::new() }
    }

    fn sources(&self) -> &'g Sources {
        &self.generation.sources
    }

    /// Whether a change may be written to a file.
    pub fn is_open(&self, file: u32) -> bool {
        let sources = self.sources();
        let only = sources.local_changes_only && sources.local_changes.is_some();
        sources.takes_changes(file) && sources.can_be_replaced(file) && (!only || sources.local_changes == Some(file))
    }

    /// The value of an option in a scope, where it can be replaced.
    pub fn value_to_replace(&self, node: NodeId, option: NameId) -> Option<Span> {
        let setting = self.generation.arena().node(node).setting(option)?;
        Some(setting.value.span).filter(|span| self.is_open(span.file))
    }

    /// Where a new setting goes. `nodes` are the scopes of the wanted path that exist, the global one first; `option` is
    /// what it must come after.
    pub fn home(&mut self, nodes: &[NodeId], path_length: usize, option: NameId) -> Home {
        let innermost = nodes.last().copied().filter(|_| nodes.len() == path_length + 1);
        let beaten = innermost.and_then(|node| self.generation.arena().node(node).setting(option));
        let after = beaten.map(|setting| Order::of(self.sources(), setting.span.file, setting.span.start));
        let follows = |place: &Place| after.as_ref().is_none_or(|after| after < &place.end);
        let mut same = innermost.map_or_else(Vec::new, |node| self.places(node));
        if after.is_none() {
            // With nothing to beat, the place that begins first: the main file before what it includes.
            same.sort_by(|a, b| a.start.cmp(&b.start));
        }
        if let Some(place) = same.iter().find(|place| self.is_open(place.file) && follows(place)) {
            return home_at(place, path_length);
        }
        let file = match (self.sources().local_changes, self.sources().homeless) {
            (Some(file), _) if self.is_open(file) => file,
            _ if self.is_open(0) => 0,
            (_, Some(file)) => file,
            (_, None) => return Home::Homeless,
        };
        for (depth, node) in nodes.iter().enumerate().rev() {
            let places = self.places(*node);
            if let Some(place) = places.iter().rev().find(|place| place.file == file && follows(place)) {
                return home_at(place, depth);
            }
        }
        Home::File { file, braces: None, depth: 0 }
    }

    /// Every place that writes a scope, in the order they end.
    fn places(&mut self, node: NodeId) -> Vec<Place> {
        let sources = self.sources();
        let parts = self.generation.arena().node(node).parts();
        let mut places: Vec<Place> = parts
            .map(|part| {
                let order = |at| Order::of(sources, part.braces.file, at);
                let (start, end) = (order(part.braces.start), order(part.braces.end));
                Place { start, end, file: part.braces.file, braces: Some(part.braces) }
            })
            .collect();
        for (file, source) in sources.iter() {
            if self.scope_of(file) == node {
                let order = |at| Order::of(sources, file, at);
                places.push(Place { start: order(0), end: order(source.text().len() as u32), file, braces: None });
            }
        }
        places.sort_by(|a, b| a.end.cmp(&b.end));
        places
    }

    /// The scope that the text of a file continues.
    fn scope_of(&mut self, file: u32) -> NodeId {
        let include = self.sources().file(file).and_then(|source| source.included_from());
        let Some(include) = include else { return ROOT };
        if let Some(known) = self.scopes.get(&(include.file, include.start)) {
            return *known;
        }
        let around =
            |braces: &Span| braces.file == include.file && braces.start < include.start && include.end <= braces.end;
        let nodes = self.generation.arena().iter();
        let enclosing = nodes.flat_map(|(id, node)| node.parts().map(move |part| (part.braces, id)));
        let innermost = enclosing.filter(|(braces, _)| around(braces)).max_by_key(|(braces, _)| braces.start);
        let scope = match innermost {
            Some((_, node)) => node,
            None => self.scope_of(include.file),
        };
        self.scopes.insert((include.file, include.start), scope);
        scope
    }

    /// Every definition of an option in a scope, those that a later one replaced included.
    pub fn definitions(&self, node: NodeId, option: NameId) -> Vec<Span> {
        let node = self.generation.arena().node(node);
        let shadowed = node.shadowed().iter().filter(|(name, _)| *name == option).map(|(_, span)| *span);
        shadowed.chain(node.setting(option).map(|setting| setting.whole_span())).collect()
    }

    /// Every stanza that writes a scope, from its word to its closing brace.
    pub fn stanzas(&self, node: NodeId) -> Vec<Span> {
        self.generation.arena().node(node).parts().map(|part| part.word.to(part.braces)).collect()
    }
}

fn home_at(place: &Place, depth: usize) -> Home {
    let braces = place.braces.map(|braces| braces.start as usize..braces.end as usize);
    Home::File { file: place.file, braces, depth }
}
