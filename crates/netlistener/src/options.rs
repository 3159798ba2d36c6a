//! The options of sockets and doors, and what the Listen stanzas of a generation come to.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use config::{Declared, Generation, ListenAddress, Lookup, Opt, Perms, Scope, Seconds, scopes};
use smallvec::SmallVec;

use crate::error::{ListenError, Problem, collide};
use crate::occupancy::{Admission, Cap, CapKey};
use crate::socket;

/// Every option of this crate.
pub const OPTIONS: &[&dyn Declared] = &[
    &ENABLE,
    &CONCURRENCY,
    &FILE_MODE,
    &LISTEN_BACKLOG,
    &DISABLE_NAGLE_ALGORITHM,
    &TCP_RECV_BUFFER_SIZE,
    &TCP_SEND_BUFFER_SIZE,
    &EVENT_LOOP,
    &LISTENER_SESSIONS,
    &SERVICE_SESSIONS,
    &PEER_SESSIONS,
    &ALWAYS_DENY,
    &PROXY_PROTOCOL,
    &PROXY_PROTOCOL_TIMEOUT,
    &ACCEPT_QUEUE_BACKLOG,
];

const DOOR: &[Scope] = &[Scope::Listener("esmtp_listener"), Scope::Listen, Scope::Peer];
/// The caps of a service may come with a pathway.
const SESSIONS: &[Scope] =
    &[Scope::Listener("esmtp_listener"), Scope::Listen, Scope::Peer, Scope::Pathway, Scope::PathwayGroup];
const DENIAL: &[Scope] =
    &[Scope::Listener("esmtp_listener"), Scope::Listener("control_listener"), Scope::Listen, Scope::Peer];

const PROXIED: &[Scope] = &[
    Scope::Listener("esmtp_listener"),
    Scope::Listener("control_listener"),
    Scope::Listener("http_listener"),
    Scope::Listener("ecstream_listener"),
    Scope::Listener("xmpp_listener"),
    Scope::Listen,
    Scope::Peer,
];

/// Whether a stanza is listened on at all.
pub const ENABLE: Opt<bool> =
    Opt::new("enable", "true", scopes::LISTEN, "Switches a listener or a listen stanza on or off.");
/// Loops of one listener.
pub const CONCURRENCY: Opt<u64> = Opt::new(
    "concurrency",
    "0",
    scopes::LISTEN,
    "Event loops of its pool that accept and serve the connections of a listen stanza; 0: all of them. A reload moves no \
     session: new ones go to as many loops as it says now.",
);
/// Mode of a Unix socket.
pub const FILE_MODE: Opt<Perms> = Opt::new("file_mode", "0660", scopes::LISTEN, "Mode of a Unix listening socket.");
/// listen(2)'s backlog.
pub const LISTEN_BACKLOG: Opt<u64> =
    Opt::new("listen_backlog", "500", scopes::LISTEN, "Connections the kernel holds until they are accepted.");
/// TCP_NODELAY.
pub const DISABLE_NAGLE_ALGORITHM: Opt<bool> =
    Opt::new("disable_nagle_algorithm", "false", scopes::LISTEN, "Sets TCP_NODELAY on accepted connections.");
/// SO_RCVBUF.
pub const TCP_RECV_BUFFER_SIZE: Opt<u64> =
    Opt::new("tcp_recv_buffer_size", "0", scopes::LISTEN, "Kernel receive buffer in bytes; 0 lets the kernel tune it.");
/// SO_SNDBUF.
pub const TCP_SEND_BUFFER_SIZE: Opt<u64> =
    Opt::new("tcp_send_buffer_size", "0", scopes::LISTEN, "Kernel send buffer in bytes; 0 lets the kernel tune it.");
/// The loops.
pub const EVENT_LOOP: Opt<String> =
    Opt::new("event_loop", "", scopes::LISTEN, "Event loop pool that serves this listener; unset: the default pool.")
        .not_tunable();
/// Sessions of one Listen stanza.
pub const LISTENER_SESSIONS: Opt<u64> = Opt::new(
    "listener_sessions",
    "0",
    SESSIONS,
    "Most sessions of one listen stanza, or of the clients of the peer stanza that sets it; in a pathway, of each listen \
     stanza that takes the pathway. 0: no cap.",
);
/// Sessions of all Listen stanzas.
pub const SERVICE_SESSIONS: Opt<u64> = Opt::new(
    "service_sessions",
    "20000",
    SESSIONS,
    "Most sessions of all listen stanzas together, or of the clients of the peer stanza that sets it; where a listen stanza \
     or its pathway sets another number, that one decides who comes in there, and still all are counted. 0: no cap.",
);
/// Sessions of one client address.
pub const PEER_SESSIONS: Opt<u64> =
    Opt::new("peer_sessions", "5000", DOOR, "Most sessions of one client address; 0: no cap.");
/// Clients that are not let in.
pub const ALWAYS_DENY: Opt<bool> =
    Opt::new("always_deny", "false", DENIAL, "Turns every client away; in a peer stanza, those it matches.");

/// Proxies in front of us.
pub const PROXY_PROTOCOL: Opt<bool> = Opt::new(
    "proxy_protocol",
    "false",
    PROXIED,
    "Requires a PROXY header, version 1 or 2, at the beginning of each connection; in a peer stanza, from the proxies it \
     matches. The address it announces is then the client's, for peer stanzas, caps, relay control and logs. A connection \
     without a header is closed without a word.",
);
/// How long a proxy may take.
pub const PROXY_PROTOCOL_TIMEOUT: Opt<Seconds> =
    Opt::new("proxy_protocol_timeout", "60", PROXIED, "Seconds a connection has to send its whole PROXY header.")
        .check(|seconds| match (1..=3600).contains(&seconds.0) {
            true => Ok(()),
            false => Err("must be from 1 to 3600 seconds".to_owned()),
        });
/// Connections between accept and session.
pub const ACCEPT_QUEUE_BACKLOG: Opt<u64> = Opt::new(
    "accept_queue_backlog",
    "0",
    scopes::LISTEN,
    "Most accepted connections of one socket and event loop that may wait for their PROXY header; one more is closed. 0: \
     4096. Without proxy_protocol no accepted connection waits.",
);

/// What one Listen stanza asks for.
#[derive(Clone, Debug)]
pub struct ListenSpec {
    /// The listener's word.
    pub word: &'static str,
    /// The stanza's name, as spelled.
    pub listen: Arc<str>,
    /// The name, understood.
    pub address: ListenAddress,
    /// listen(2)'s backlog.
    pub backlog: i32,
    /// Mode of a Unix socket.
    pub file_mode: u32,
    /// TCP_NODELAY.
    pub disable_nagle: bool,
    /// SO_RCVBUF, or zero.
    pub recv_buffer_octets: usize,
    /// SO_SNDBUF, or zero.
    pub send_buffer_octets: usize,
    /// The pool that serves it, unless the default one.
    pub event_loop: Option<String>,
    /// Loops of the pool that accept; zero: all of them.
    pub concurrency: usize,
}

/// The Listen stanzas of the given listener types that are switched on, in file order.
pub fn listen_specs(generation: &Generation, words: &[&'static str]) -> Result<Vec<ListenSpec>, ListenError> {
    let mut specs: Vec<ListenSpec> = Vec::new();
    for &word in words {
        for listener in generation.instances(word) {
            for stanza in listener.children("listen") {
                let spec = listen_spec(generation, word, &stanza.name())?;
                let listed = |other: &ListenSpec| other.word == word && other.listen == spec.listen;
                let enabled =
                    generation.get(&ENABLE, &Lookup::Listener { kind: word, listen: &spec.listen, peer: None });
                if enabled && !specs.iter().any(listed) {
                    specs.push(spec);
                }
            }
        }
    }
    Ok(specs)
}

/// Whether the addresses of all these stanzas can be listened on together, and whether this host has them, as far as that
/// can be told without listening. `here` is false for a configuration of another host.
pub fn check(specs: &[ListenSpec], here: bool) -> Vec<ListenError> {
    let faulty = |(place, spec): (usize, &ListenSpec)| {
        let error = |problem| ListenError { word: spec.word, listen: spec.listen.to_string(), problem };
        let earlier = specs[..place].iter().find(|other| match (&other.address, &spec.address) {
            (ListenAddress::Ip(other), ListenAddress::Ip(own)) => collide(*other, *own),
            (other, own) => other == own,
        });
        if let Some(other) = earlier {
            return Some(error(Problem::Twice { other: format!("{} listen \"{}\"", other.word, other.listen) }));
        }
        match &spec.address {
            ListenAddress::Ip(address) if here && !socket::is_here(*address) => {
                Some(error(Problem::Io(spec.address.clone(), std::io::ErrorKind::AddrNotAvailable.into())))
            }
            _ => None,
        }
    };
    specs.iter().enumerate().filter_map(faulty).collect()
}

/// Whether a start could listen on all of these now. Nothing is left of the question.
pub fn probe(specs: &[ListenSpec]) -> Result<(), ListenError> {
    specs.iter().try_for_each(socket::probe)
}

fn listen_spec(generation: &Generation, word: &'static str, listen: &str) -> Result<ListenSpec, ListenError> {
    let address = ListenAddress::parse(listen).map_err(|why| ListenError {
        word,
        listen: listen.to_owned(),
        problem: Problem::Address(why),
    })?;
    let lookup = Lookup::Listener { kind: word, listen, peer: None };
    let event_loop = generation.get(&EVENT_LOOP, &lookup);
    Ok(ListenSpec {
        word,
        listen: listen.into(),
        address,
        backlog: generation.get(&LISTEN_BACKLOG, &lookup).try_into().unwrap_or(i32::MAX),
        file_mode: generation.get(&FILE_MODE, &lookup).0,
        disable_nagle: generation.get(&DISABLE_NAGLE_ALGORITHM, &lookup),
        recv_buffer_octets: octets(generation.get(&TCP_RECV_BUFFER_SIZE, &lookup)),
        send_buffer_octets: octets(generation.get(&TCP_SEND_BUFFER_SIZE, &lookup)),
        event_loop: Some(event_loop).filter(|name| !name.is_empty()),
        concurrency: loops(generation, &lookup),
    })
}

fn loops(generation: &Generation, lookup: &Lookup<'_>) -> usize {
    usize::try_from(generation.get(&CONCURRENCY, lookup)).unwrap_or(usize::MAX)
}

/// A buffer size as the kernel takes it; it bounds it further itself.
fn octets(size: u64) -> usize {
    size.min(1 << 30) as usize
}

/// What a generation thinks of a client at a Listen stanza.
pub fn admission(generation: &Generation, word: &'static str, listen: &Arc<str>, peer: Option<IpAddr>) -> Admission {
    let lookup = Lookup::Listener { kind: word, listen, peer };
    if generation.get(&ALWAYS_DENY, &lookup) {
        return Admission { denied: true, ..Admission::default() };
    }
    let mut caps = SmallVec::new();
    let mut cap = |sessions_max: u64, key: CapKey| {
        if let (1.., Ok(sessions_max)) = (sessions_max, usize::try_from(sessions_max)) {
            caps.push(Cap { key, sessions_max });
        }
    };
    for (option, key) in [(&LISTENER_SESSIONS, Counted::Listener), (&SERVICE_SESSIONS, Counted::Service)] {
        let sessions_max = generation.get(option, &lookup);
        let peer_scope = peer_scope(generation, option, &lookup, sessions_max);
        cap(
            sessions_max,
            match key {
                Counted::Listener => CapKey::Listener { listen: listen.clone(), peer_scope },
                Counted::Service => CapKey::Service { word, peer_scope },
            },
        );
    }
    if let Some(address) = peer {
        cap(generation.get(&PEER_SESSIONS, &lookup), CapKey::Address { word, address });
    }
    let proxied = generation.get(&PROXY_PROTOCOL, &lookup);
    let proxy_timeout = proxied.then(|| generation.get(&PROXY_PROTOCOL_TIMEOUT, &lookup).into());
    let waiting_max = match generation.get(&ACCEPT_QUEUE_BACKLOG, &lookup) {
        _ if !proxied => 0,
        0 => WAITING_MAX,
        connections => usize::try_from(connections).unwrap_or(usize::MAX),
    };
    let loops = loops(generation, &lookup);
    Admission { denied: false, caps, proxy_timeout, waiting_max, loops }
}

/// The most sessions that `service_sessions` lets in at any Listen stanza of a type; `None` without such a stanza, and where it
/// sets no cap.
pub fn sessions_wanted(generation: &Generation, word: &'static str) -> Option<u64> {
    let specs = listen_specs(generation, &[word]).unwrap_or_default();
    let of_service = |spec: &ListenSpec| {
        let lookup = Lookup::Listener { kind: word, listen: &spec.listen, peer: None };
        generation.get(&SERVICE_SESSIONS, &lookup)
    };
    specs.iter().map(of_service).max().filter(|most| *most != 0)
}

/// Connections waiting for their PROXY header where no other bound is set.
const WAITING_MAX: usize = 4096;

#[derive(Clone, Copy)]
enum Counted {
    Listener,
    Service,
}

/// Stands for the Peer stanza that gives this client its cap; zero if none does. One that repeats the cap of everybody
/// counts with everybody.
fn peer_scope(generation: &Generation, option: &Opt<u64>, lookup: &Lookup<'_>, sessions_max: u64) -> u64 {
    let Lookup::Listener { kind, listen, .. } = *lookup else { return 0 };
    if generation.get(option, &Lookup::Listener { kind, listen, peer: None }) == sessions_max {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    if let Some(origin) = generation.eval_why(option.name(), lookup).first() {
        (&origin.file, origin.line, origin.column).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The caps of a client at `:25` and at `:26`.
    fn caps(text: &str, peer: [u8; 4]) -> [Vec<(usize, bool)>; 2] {
        const PATHWAY: Opt<String> = Opt::new("pathway", "", &[Scope::Listen, Scope::Peer], "As reception has it.");
        let mut registry = config::Registry::new();
        registry.add_all(OPTIONS);
        registry.add(&PATHWAY);
        let configuration = config::Configuration::of_text(registry, text).expect("a valid text");
        let at = |listen: &str| {
            let admission = admission(&configuration.current(), "esmtp_listener", &listen.into(), Some(peer.into()));
            let shared = |key: &CapKey| match key {
                CapKey::Listener { peer_scope, .. } | CapKey::Service { peer_scope, .. } => *peer_scope == 0,
                CapKey::Address { .. } => false,
            };
            let of_everyone = admission.caps.iter().filter(|cap| !matches!(cap.key, CapKey::Address { .. }));
            of_everyone.map(|cap| (cap.sessions_max, shared(&cap.key))).collect()
        };
        [at(":25"), at(":26")]
    }

    #[test]
    fn the_session_caps_of_a_pathway_hold_where_it_is_taken_and_below_the_listener() {
        let text = r#"
            pathway_group "g" { service_sessions = 70  pathway "slow" { listener_sessions = 3 } }
            esmtp_listener {
                listen ":25" { pathway = "slow" }
                listen ":26" { listener_sessions = 9  pathway = "slow"  peer "192.0.2.0/24" { service_sessions = 2 } }
            }"#;
        let [slow, own] = caps(text, [198, 51, 100, 1]);
        assert_eq!(slow, [(3, true), (70, true)]);
        assert_eq!(own, [(9, true), (70, true)], "the listen stanza stands before its pathway");
        let [slow, own] = caps(text, [192, 0, 2, 1]);
        assert_eq!(slow, [(3, true), (70, true)]);
        assert_eq!(own, [(9, true), (2, false)], "a peer stanza's cap counts its own clients");
    }

    #[test]
    fn the_clients_of_a_pathway_that_a_peer_stanza_takes_are_counted_by_themselves() {
        let text = r#"
            pathway "partners" { listener_sessions = 5 }
            esmtp_listener { listen ":25" { peer "192.0.2.0/24" { pathway = "partners" } } listen ":26" { } }"#;
        assert_eq!(caps(text, [192, 0, 2, 1]), [vec![(5, false), (20000, true)], vec![(20000, true)]]);
        assert_eq!(caps(text, [198, 51, 100, 1]), [vec![(20000, true)], vec![(20000, true)]]);
    }
}
