//! Where an option may stand: the scopes of a declaration, and the identity of a scope instance.
//!
//! A declaration names scopes ([`Scope`]); a stanza of the file stands at a place. Whether the one admits the other is
//! decided by a small bit set, so the fallback walk pays one `and` per step.

/// A kind of stanza an option may be set in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Outside every stanza.
    Global,
    /// `binding_group "name" { }`.
    BindingGroup,
    /// `binding "name" { }`, in a group or not.
    Binding,
    /// `domain "name" { }`; nested in a binding or group when the option is valid there too.
    Domain,
    /// `host "name" { }`.
    Host,
    /// `pathway_group "name" { }`.
    PathwayGroup,
    /// `pathway "name" { }`.
    Pathway,
    /// A listener stanza by its word, such as `esmtp_listener`.
    Listener(&'static str),
    /// `listen "address" { }` inside a listener the option is valid in.
    Listen,
    /// `peer "cidr" { }` inside a listener or listen stanza.
    Peer,
    /// `security { }`.
    Security,
    /// `threadpool "name" { }`.
    ThreadPool,
    /// `eventloop "name" { }`.
    EventLoop,
    /// `debug_flags { }`.
    DebugFlags,
    /// The stanza of a module, `module "instance" { }`, or any other stanza known by its word.
    Module(&'static str),
    /// A stanza inside the stanza of a module: `Within("scriptlet", "script")`.
    Within(&'static str, &'static str),
}

impl Scope {
    /// The bit of this scope in a mask.
    pub(crate) const fn bit(self) -> u32 {
        match self {
            Scope::Global => bits::GLOBAL,
            Scope::BindingGroup => bits::BINDING_GROUP,
            Scope::Binding => bits::BINDING,
            Scope::Domain => bits::DOMAIN,
            Scope::Host => bits::HOST,
            Scope::PathwayGroup => bits::PATHWAY_GROUP,
            Scope::Pathway => bits::PATHWAY,
            Scope::Listener(_) => bits::LISTENER,
            Scope::Listen => bits::LISTEN,
            Scope::Peer => bits::PEER,
            _ => bits::STANZA,
        }
    }

    /// The word an operator writes for this scope; `global` for the outermost.
    pub fn word(self) -> &'static str {
        match self {
            Scope::Global => "global",
            Scope::BindingGroup => "binding_group",
            Scope::Binding => "binding",
            Scope::Domain => "domain",
            Scope::Host => "host",
            Scope::PathwayGroup => "pathway_group",
            Scope::Pathway => "pathway",
            Scope::Listener(word) | Scope::Module(word) | Scope::Within(_, word) => word,
            Scope::Listen => "listen",
            Scope::Peer => "peer",
            Scope::Security => "security",
            Scope::ThreadPool => "threadpool",
            Scope::EventLoop => "eventloop",
            Scope::DebugFlags => "debug_flags",
        }
    }
}

/// One bit per class of scope. Stanzas known only by their word share `STANZA` and are told apart by the word.
pub(crate) mod bits {
    pub const GLOBAL: u32 = 1;
    pub const BINDING_GROUP: u32 = 1 << 1;
    pub const BINDING: u32 = 1 << 2;
    pub const DOMAIN: u32 = 1 << 3;
    pub const HOST: u32 = 1 << 4;
    pub const PATHWAY_GROUP: u32 = 1 << 5;
    pub const PATHWAY: u32 = 1 << 6;
    pub const LISTENER: u32 = 1 << 7;
    pub const LISTEN: u32 = 1 << 8;
    pub const PEER: u32 = 1 << 9;
    pub const STANZA: u32 = 1 << 10;
}

/// The usual sets of scopes, one per option family of the reference.
pub mod scopes {
    use super::Scope::{self, *};

    /// Set outside every stanza.
    pub const GLOBAL: &[Scope] = &[Global];
    /// Outbound options: group, binding and domain in every combination, then global.
    pub const QUEUE: &[Scope] = &[Global, Domain, Binding, BindingGroup];
    /// Routing options of a domain that no binding can change.
    pub const DOMAIN: &[Scope] = &[Global, Domain];
    /// Options of the outbound identity itself.
    pub const BINDING: &[Scope] = &[Global, Binding, BindingGroup];
    /// Limits for one remote host; they have no global value.
    pub const HOST: &[Scope] = &[Host];
    /// Outbound options that a host stanza may set as well.
    pub const QUEUE_AND_HOST: &[Scope] = &[Global, Domain, Binding, BindingGroup, Host];
    /// Options of an ESMTP session: listen, peer, listener, the session's pathway, global.
    pub const LISTENER: &[Scope] = &[Listener("esmtp_listener"), Listen, Peer, Pathway, PathwayGroup, Global];
    /// Options of an ESMTP session that have no global value.
    pub const LISTENER_ONLY: &[Scope] = &[Listener("esmtp_listener"), Listen, Peer, Pathway, PathwayGroup];
    /// Options of a bound socket, whatever listener it belongs to. A room that serves another listener adds its word.
    pub const LISTEN: &[Scope] = &[Listener("esmtp_listener"), Listener("control_listener"), Listen];
    /// Options of the control listener.
    pub const CONTROL_LISTENER: &[Scope] = &[Listener("control_listener"), Listen, Peer];
    /// Inbound options of a pathway.
    pub const PATHWAY: &[Scope] = &[Global, Pathway, PathwayGroup];
    /// `security { }`.
    pub const SECURITY: &[Scope] = &[Security];
    /// `threadpool "name" { }`.
    pub const THREAD_POOL: &[Scope] = &[ThreadPool];
    /// `eventloop "name" { }`.
    pub const EVENT_LOOP: &[Scope] = &[EventLoop];
    /// `debug_flags { }`.
    pub const DEBUG_FLAGS: &[Scope] = &[DebugFlags];
}

/// Identity of one scope instance, made from its path; the same stanza keeps it across reloads.
///
/// Consumers of values by reference (throttles) key their shared state by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopeId(pub u64);

impl ScopeId {
    /// The global scope.
    pub const GLOBAL: ScopeId = ScopeId(FNV_OFFSET);

    /// The identity of the child `word "key"` of this scope.
    pub(crate) fn child(self, word: &str, key: &str) -> ScopeId {
        let hash = fnv(fnv(self.0, word.as_bytes()), b"\x1f");
        ScopeId(fnv(fnv(hash, key.as_bytes()), b"\x1e"))
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// A number that tells one text from another, the same in every run. It is no defence against somebody who wants two texts
/// to have one number.
pub(crate) fn text_hash(text: &str) -> u64 {
    fnv(FNV_OFFSET, text.as_bytes())
}

/// FNV-1a, 64 bits, continued from `hash`.
fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// Hash of an option name, without regard to case; `const`, so that an option carries its own.
pub(crate) const fn name_hash(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash = FNV_OFFSET;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i].to_ascii_lowercase() as u64).wrapping_mul(FNV_PRIME);
        i += 1;
    }
    hash
}
