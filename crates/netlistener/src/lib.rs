//! Listener types by name: bind, accept, peer options and concurrency caps.
//!
//! A protocol registers a [`NetlistenerType`] under the word of its stanza (`esmtp_listener`). [`Netlisteners`] reads the
//! Listen stanzas of a generation, binds what is new, and brings every accepted connection to a [`Service`] on one event
//! loop, where it stays. Knows no protocol: a refused client gets the octets its type gives for that.
//!
//! Walk: `options` turns stanzas into [`ListenSpec`]s, `socket` binds them, `netlisteners` compares them with what runs,
//! `station` is the part that lives on a loop, `accept` takes connections, `proxy` hears who is behind them, `occupancy` counts sessions against the caps,
//! `own` knows which addresses lead here.

mod accept;
mod error;
mod kind;
mod netlisteners;
mod occupancy;
mod options;
mod own;
mod proxy;
mod socket;
mod station;
mod stop;
mod stream;
mod turned_away;

pub use accept::MEASURES;
pub use error::ListenError;
pub use kind::{Accepted, Client, NetlistenerType, Service, Turned};
pub use netlisteners::{Endpoint, Netlisteners, Plan};
pub use occupancy::{Admission, Cap, CapKey, Seat};
pub use options::{ListenSpec, OPTIONS, admission, check, listen_specs, probe, sessions_wanted};
pub use own::OwnAddresses;
pub use stop::StopSignal;
pub use stream::{Socket, Stream};
