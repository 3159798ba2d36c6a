//! The stanzas of the core: their words, where they may stand, and how their names read.
//!
//! A word missing here may still be a stanza: a module, or one the reference documents; `registry` knows those.

use crate::scope::bits;

/// How a stanza is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// `word { }`, one instance.
    Anonymous,
    /// `word "name" { }`.
    Named,
    /// Either; a missing name is the empty name.
    Free,
}

/// What may stand in a name besides letters and marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blanks {
    /// Anything.
    Allowed,
    /// No blanks: commands and logs separate words by them.
    Refused,
    /// Neither blanks nor colons: a binding is named in queue keys, which separate by colons.
    AndColonsRefused,
}

/// How the name of a stanza is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// As written.
    Exact { blanks: Blanks },
    /// A domain or host: without case, addresses canonical, `/pattern/` a regular expression.
    Domain,
    /// A socket address.
    Listen,
    /// A CIDR block.
    Peer,
}

/// One kind of core stanza.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub word: &'static str,
    pub bit: u32,
    pub naming: Naming,
    pub names: NameRule,
    /// Bits of the scopes it may stand in.
    pub parents: u32,
}

const fn kind(word: &'static str, bit: u32, naming: Naming, names: NameRule, parents: u32) -> Kind {
    Kind { word, bit, naming, names, parents }
}

const EXACT: NameRule = NameRule::Exact { blanks: Blanks::Allowed };
const STRICT: NameRule = NameRule::Exact { blanks: Blanks::Refused };
const BINDING: NameRule = NameRule::Exact { blanks: Blanks::AndColonsRefused };

/// The core stanzas.
pub(crate) const KINDS: &[Kind] = &[
    kind("binding_group", bits::BINDING_GROUP, Naming::Named, STRICT, bits::GLOBAL),
    kind("binding", bits::BINDING, Naming::Named, BINDING, bits::GLOBAL | bits::BINDING_GROUP),
    kind("domain", bits::DOMAIN, Naming::Named, NameRule::Domain, bits::GLOBAL | bits::BINDING_GROUP | bits::BINDING),
    kind("host", bits::HOST, Naming::Named, NameRule::Domain, bits::GLOBAL | bits::BINDING_GROUP | bits::BINDING),
    kind("pathway_group", bits::PATHWAY_GROUP, Naming::Named, STRICT, bits::GLOBAL),
    kind("pathway", bits::PATHWAY, Naming::Named, STRICT, bits::GLOBAL | bits::PATHWAY_GROUP),
    kind("esmtp_listener", bits::LISTENER, Naming::Anonymous, EXACT, bits::GLOBAL),
    kind("control_listener", bits::LISTENER, Naming::Anonymous, EXACT, bits::GLOBAL),
    kind("http_listener", bits::LISTENER, Naming::Anonymous, EXACT, bits::GLOBAL),
    kind("ecstream_listener", bits::LISTENER, Naming::Anonymous, EXACT, bits::GLOBAL),
    kind("eccluster_listener", bits::LISTENER, Naming::Anonymous, EXACT, bits::GLOBAL),
    kind("xmpp_listener", bits::LISTENER, Naming::Anonymous, EXACT, bits::GLOBAL),
    kind("msgcserver_listener", bits::LISTENER, Naming::Anonymous, EXACT, bits::GLOBAL),
    kind("listen", bits::LISTEN, Naming::Named, NameRule::Listen, bits::LISTENER),
    kind("peer", bits::PEER, Naming::Named, NameRule::Peer, bits::LISTENER | bits::LISTEN),
    kind("security", bits::STANZA, Naming::Anonymous, EXACT, bits::GLOBAL),
    kind("debug_flags", bits::STANZA, Naming::Anonymous, EXACT, bits::GLOBAL),
    kind("threadpool", bits::STANZA, Naming::Named, EXACT, bits::GLOBAL),
    kind("eventloop", bits::STANZA, Naming::Named, EXACT, bits::GLOBAL),
];

/// Stanzas the core or a module knows by word alone: modules, and what stands inside them.
pub(crate) const FREE: Kind = kind("", bits::STANZA, Naming::Free, EXACT, bits::GLOBAL | bits::STANZA);

/// A module listener registered by declaration.
pub(crate) const LISTENER: Kind = kind("", bits::LISTENER, Naming::Anonymous, EXACT, bits::GLOBAL);

/// The kind of a core word (lower case).
pub(crate) fn core_kind(word: &str) -> Option<Kind> {
    KINDS.iter().copied().find(|kind| kind.word == word)
}

/// The words of the scopes in a mask, for messages.
pub(crate) fn words_of(mask: u32) -> Vec<&'static str> {
    let mut words = Vec::new();
    if mask & bits::GLOBAL != 0 {
        words.push("the global scope");
    }
    if mask & bits::LISTENER != 0 {
        words.push("a listener");
    }
    words.extend(
        KINDS.iter().filter(|kind| mask & kind.bit & !(bits::STANZA | bits::LISTENER) != 0).map(|kind| kind.word),
    );
    words
}
