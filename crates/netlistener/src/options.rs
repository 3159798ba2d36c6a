//! The options of sockets and doors, and what the Listen stanzas of a generation come to.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use config::{Declared, Generation, ListenAddress, Lookup, Opt, Perms, Scope, Seconds, scopes};
use smallvec::SmallVec;

use crate::error::{ListenError, Problem};
use crate::occupancy::{Admission, Cap, CapKey};

/// Every option of this crate.
pub const OPTIONS: &[&dyn Declared] = &[
    &ENABLE,
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
    DOOR,
    "Most sessions of one listen stanza, or of the clients of the peer stanza that sets it; 0: no cap.",
);
/// Sessions of all Listen stanzas.
pub const SERVICE_SESSIONS: Opt<u64> = Opt::new(
    "service_sessions",
    "20000",
    DOOR,
    "Most sessions of all listen stanzas together, or of the clients of the peer stanza that sets it; 0: no cap.",
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
}

/// The Listen stanzas of the given listener types that are switched on, in file order.
pub fn listen_specs(generation: &Generation, words: &[&'static str]) -> Result<Vec<ListenSpec>, ListenError> {
    let mut specs: Vec<ListenSpec> = Vec::new();
    for &word in words {
        for listener in generation.instances(word) {
            for stanza in listener.children("listen") {
                let spec = listen_spec(generation, word, &stanza.name())?;
                let listed = |other: &ListenSpec| other.word == word && other.address == spec.address;
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
    })
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
    Admission { denied: false, caps, proxy_timeout, waiting_max }
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
