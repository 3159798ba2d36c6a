//! Fallback: which scopes answer for an option, most specific first.
//!
//! | lookup | walk |
//! |---|---|
//! | Queue | BG:B:D > B:D > BG:D > BG:B > B > BG > D > Global |
//! | Host | BG:B:Host > BG:Host > B:Host > Host, then (options that ask for it) B:D > B > D > Global |
//! | Listener | Listen:Peer > Listener:Peer > Listen > Listener > PG:Pathway > Pathway > PG > Global |
//! | Pathway | PG:Pathway > Pathway > PG > Global |
//! | Module, Stanza | the instance |
//!
//! The walk is per option: a scope that does not set it is passed over. Within a step the exact instance comes before
//! the patterns in file order, and peers come from the longest prefix down. The pathway of a session is found first, by
//! its own walk over the same listener scopes and then the global one; it ranks below the listener because a Listen
//! stanza is the more specific statement about a socket. A binding outside every group belongs to group `default`.

use std::net::IpAddr;
use std::ops::ControlFlow;

use crate::generation::Generation;
use crate::kinds::core_kind;
use crate::names::{domain_key, listen_key, text_key};
use crate::registry::NameId;
use crate::scope::bits;
use crate::stanza::{NodeId, ROOT, Setting};

/// Name of the group of bindings that stand in no group.
pub(crate) const DEFAULT_GROUP: &str = "default";

/// Bit of options whose host value falls back to the queue's.
pub(crate) const HOST_FALLS_BACK: u32 = 1 << 31;

/// Who asks: the keys that select scopes. Give the most specific set you have; an empty name selects nothing.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'a> {
    /// The global scope.
    Global,
    /// Outbound mail of a binding to a routing domain. An empty group means the binding's own.
    Queue {
        /// Name of the binding group.
        binding_group: &'a str,
        /// Name of the binding.
        binding: &'a str,
        /// The routing domain.
        domain: &'a str,
    },
    /// An inbound session.
    Listener {
        /// Word of the listener stanza.
        kind: &'a str,
        /// Name of the listen stanza, in any spelling.
        listen: &'a str,
        /// Address of the peer, once there is one.
        peer: Option<IpAddr>,
    },
    /// A connection to one remote host.
    Host {
        /// Name of the binding group.
        binding_group: &'a str,
        /// Name of the binding.
        binding: &'a str,
        /// The routing domain, for options that fall back to it.
        domain: &'a str,
        /// The remote host.
        host: &'a str,
    },
    /// A pathway chosen otherwise than by a listener.
    Pathway {
        /// Name of the pathway.
        pathway: &'a str,
    },
    /// An instance of a module; never falls back to the global scope.
    Module {
        /// Word of the module.
        module: &'a str,
        /// Name of the instance; empty for a singleton.
        instance: &'a str,
    },
    /// Any outermost stanza by word and name, such as a thread pool; never falls back to the global scope.
    Stanza {
        /// Word of the stanza.
        word: &'a str,
        /// Its name; empty when it has none.
        name: &'a str,
    },
}

/// The scopes of a lookup, resolved once: reading many options along it costs little more than the options.
///
/// Belongs to the generation it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Chain {
    pub(crate) generation: u64,
    pub(crate) steps: Vec<Step>,
}

/// One scope of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Step {
    pub node: NodeId,
    /// Bits an option must have to be read there.
    pub requires: u32,
    /// What may be set there; see [`crate::stanza::Node::set_names`].
    pub set_names: u64,
}

/// A walk's receiver: node and required bits; breaks to stop.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(NodeId, u32) -> ControlFlow<()>;

impl Generation {
    /// Visits the scopes of a lookup in order. With `only`, scopes found by pattern that cannot set it may be left out.
    pub(crate) fn walk(&self, lookup: &Lookup<'_>, only: Option<NameId>, visit: Visit<'_>) {
        let walker = Walker { generation: self, only };
        // The verdict only says whether the walk was cut short.
        let _ = match *lookup {
            Lookup::Global => visit(ROOT, bits::GLOBAL),
            Lookup::Queue { binding_group, binding, domain } => walker.queue(binding_group, binding, domain, visit),
            Lookup::Host { binding_group, binding, domain, host } => {
                walker.host(binding_group, binding, domain, host, visit)
            }
            Lookup::Listener { kind, listen, peer } => walker.listener(kind, listen, peer, visit),
            Lookup::Pathway { pathway } => walker.pathway_then_global(pathway, visit),
            Lookup::Module { module: word, instance: name } | Lookup::Stanza { word, name } => {
                walker.stanza(word, name, visit)
            }
        };
    }

    /// The first setting of option `name` along a lookup, for an option valid where `mask` says.
    pub(crate) fn find_setting(&self, name: NameId, mask: u32, lookup: &Lookup<'_>) -> Option<(NodeId, &Setting)> {
        let mut found = None;
        self.walk(lookup, Some(name), &mut |node, requires| {
            if mask & requires != requires {
                return ControlFlow::Continue(());
            }
            match self.arena().node(node).setting(name) {
                Some(setting) => {
                    found = Some((node, setting));
                    ControlFlow::Break(())
                }
                None => ControlFlow::Continue(()),
            }
        });
        found
    }
}

struct Walker<'g> {
    generation: &'g Generation,
    only: Option<NameId>,
}

impl Walker<'_> {
    fn child(&self, parent: Option<NodeId>, word: &str, name: &str) -> Option<NodeId> {
        let stanzas = self.generation.arena();
        stanzas.child(parent?, stanzas.word_id(word)?, name)
    }

    /// Visits `parent`'s instances of `word` that match `key`, exact first, then patterns.
    fn matching(
        &self,
        parent: Option<NodeId>,
        word: &str,
        key: &str,
        fallback: u32,
        visit: Visit<'_>,
    ) -> ControlFlow<()> {
        let stanzas = self.generation.arena();
        let container = parent.and_then(|parent| stanzas.node(parent).container(stanzas.word_id(word)?));
        let stopped = container.filter(|_| !key.is_empty()).is_some_and(|container| {
            container.visit(key, self.only, &mut |node| visit(node, stanzas.node(node).requires | fallback).is_break())
        });
        if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn one(&self, node: Option<NodeId>, fallback: u32, visit: Visit<'_>) -> ControlFlow<()> {
        match node {
            Some(node) => visit(node, self.generation.arena().node(node).requires | fallback),
            None => ControlFlow::Continue(()),
        }
    }

    /// The stanzas of a group, of a binding in it, and of a binding outside all groups.
    fn outbound(&self, group: &str, binding: &str) -> (Option<NodeId>, Option<NodeId>, Option<NodeId>) {
        let stanzas = self.generation.arena();
        let group = match (group, binding) {
            ("", "") => None,
            ("", binding) => stanzas
                .word_id("binding")
                .and_then(|word| stanzas.home(word, binding))
                .or_else(|| self.child(Some(ROOT), "binding_group", DEFAULT_GROUP)),
            (group, _) => self.child(Some(ROOT), "binding_group", group),
        };
        let inner = self.child(group, "binding", binding);
        (group, inner, self.child(Some(ROOT), "binding", binding))
    }

    fn queue(&self, group: &str, binding: &str, domain: &str, visit: Visit<'_>) -> ControlFlow<()> {
        let domain = domain_key(domain);
        let (group, inner, outer) = self.outbound(group, binding);
        self.matching(inner, "domain", &domain, 0, visit)?;
        self.matching(outer, "domain", &domain, 0, visit)?;
        self.matching(group, "domain", &domain, 0, visit)?;
        self.one(inner, 0, visit)?;
        self.one(outer, 0, visit)?;
        self.one(group, 0, visit)?;
        self.matching(Some(ROOT), "domain", &domain, 0, visit)?;
        visit(ROOT, bits::GLOBAL)
    }

    fn host(&self, group: &str, binding: &str, domain: &str, host: &str, visit: Visit<'_>) -> ControlFlow<()> {
        let (host, domain) = (domain_key(host), domain_key(domain));
        let (group, inner, outer) = self.outbound(group, binding);
        for parent in [inner, group, outer, Some(ROOT)] {
            self.matching(parent, "host", &host, 0, visit)?;
        }
        let also = HOST_FALLS_BACK;
        self.matching(outer, "domain", &domain, also, visit)?;
        self.one(outer, also, visit)?;
        self.matching(Some(ROOT), "domain", &domain, also, visit)?;
        visit(ROOT, bits::GLOBAL | also)
    }

    fn listener(&self, kind: &str, listen: &str, peer: Option<IpAddr>, visit: Visit<'_>) -> ControlFlow<()> {
        let mut session: Vec<NodeId> = Vec::with_capacity(8);
        let stanzas = self.generation.arena();
        let listener = self.child(Some(ROOT), kind, "");
        let listen = listener.and_then(|_| self.child(listener, "listen", &listen_key(listen)));
        if let (Some(peer), Some(word)) = (peer, stanzas.word_id("peer")) {
            for parent in [listen, listener].into_iter().flatten() {
                session.extend(stanzas.peers(parent, word, peer));
            }
        }
        session.extend([listen, listener].into_iter().flatten());
        for node in &session {
            self.one(Some(*node), 0, visit)?;
        }
        let name = self.generation.pathway_name();
        let chosen = session.iter().chain([&ROOT]).find_map(|node| stanzas.node(*node).setting(name?));
        if let Some(pathway) = chosen.and_then(|setting| setting.value.scalar()) {
            self.pathway(&pathway.text(), visit)?;
        }
        visit(ROOT, bits::GLOBAL)
    }

    fn pathway(&self, pathway: &str, visit: Visit<'_>) -> ControlFlow<()> {
        let stanzas = self.generation.arena();
        let group = stanzas.word_id("pathway").and_then(|word| stanzas.home(word, pathway));
        self.one(self.child(group, "pathway", pathway), 0, visit)?;
        self.one(self.child(Some(ROOT), "pathway", pathway), 0, visit)?;
        self.one(group, 0, visit)
    }

    fn pathway_then_global(&self, pathway: &str, visit: Visit<'_>) -> ControlFlow<()> {
        self.pathway(pathway, visit)?;
        visit(ROOT, bits::GLOBAL)
    }

    fn stanza(&self, word: &str, name: &str, visit: Visit<'_>) -> ControlFlow<()> {
        let word = word.to_ascii_lowercase();
        let key = core_kind(&word).map_or(name.into(), |kind| text_key(kind.names, name));
        self.one(self.child(Some(ROOT), &word, &key), 0, visit)
    }
}
