//! Counts sessions against their caps (`listener_sessions`, `service_sessions`, `peer_sessions`).
//!
//! Shared by all loops: one short lock when a connection comes and one when it goes, none in between. Invariant: every
//! [`Seat`] taken is given back exactly once, when it is dropped.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::kind::Turned;

/// Whether a connection may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Not at all.
    pub denied: bool,
    /// While each of these has room.
    pub caps: SmallVec<[Cap; 3]>,
    /// It has to say first for whom it comes (PROXY protocol), within this time.
    pub proxy_timeout: Option<Duration>,
    /// Connections that may wait at this socket to say so.
    pub waiting_max: usize,
    /// Loops of the pool that serve this socket's sessions; zero: all of them.
    pub loops: usize,
}

/// At most `sessions_max` sessions under `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cap {
    /// What is counted together.
    pub key: CapKey,
    /// How many.
    pub sessions_max: usize,
}

/// Sessions that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CapKey {
    /// Those of one Listen stanza; of one Peer stanza's clients if that stanza set the cap (zero: none did).
    Listener {
        /// The Listen stanza.
        listen: Arc<str>,
        /// The Peer stanza.
        peer_scope: u64,
    },
    /// Those of all Listen stanzas of a listener type; of one Peer stanza's clients if that stanza set the cap.
    Service {
        /// The listener's word.
        word: &'static str,
        /// The Peer stanza.
        peer_scope: u64,
    },
    /// Those of one client address with a listener type.
    Address {
        /// The listener's word.
        word: &'static str,
        /// The address.
        address: IpAddr,
    },
}

/// Whose share of the descriptors a session takes. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    /// That of inbound connections.
    Clients,
    /// That of the house: the console.
    House,
}

/// The counts.
#[derive(Default)]
pub(crate) struct Occupancy {
    counts: Mutex<HashMap<CapKey, usize>>,
    /// All sessions, and those of the house among them.
    sessions: AtomicUsize,
    of_the_house: AtomicUsize,
    emptied: Notify,
}

impl Occupancy {
    /// Counts one more session under every key of `caps`, and on `load`; nothing if a cap, or `sessions_max` of all of its
    /// party together, is reached.
    pub(crate) fn take(
        self: &Arc<Self>,
        caps: &[Cap],
        party: Party,
        sessions_max: usize,
        load: &Arc<AtomicUsize>,
    ) -> Result<Seat, Turned> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if caps.iter().any(|cap| cap.sessions_max <= counts.get(&cap.key).copied().unwrap_or(0)) {
            return Err(Turned::ConcurrencyLimit);
        }
        let of_the_house = self.of_the_house.load(Ordering::Relaxed);
        let sessions = match party {
            Party::Clients => self.sessions().saturating_sub(of_the_house),
            Party::House => of_the_house,
        };
        if sessions_max <= sessions {
            return Err(Turned::OutOfDescriptors);
        }
        for cap in caps {
            *counts.entry(cap.key.clone()).or_insert(0) += 1;
        }
        self.sessions.fetch_add(1, Ordering::Relaxed);
        if party == Party::House {
            self.of_the_house.fetch_add(1, Ordering::Relaxed);
        }
        load.fetch_add(1, Ordering::Relaxed);
        let keys = caps.iter().map(|cap| cap.key.clone()).collect();
        Ok(Seat { occupancy: self.clone(), keys, party, load: load.clone() })
    }

    /// Sessions now.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Acquire)
    }

    /// Resolves when there is no session.
    pub(crate) async fn empty(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.sessions() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// One session's place in the counts, for as long as it lives.
pub struct Seat {
    occupancy: Arc<Occupancy>,
    keys: SmallVec<[CapKey; 3]>,
    party: Party,
    load: Arc<AtomicUsize>,
}

impl Seat {
    /// Counts the session on another loop from now on.
    pub(crate) fn move_to(&mut self, load: &Arc<AtomicUsize>) {
        load.fetch_add(1, Ordering::Relaxed);
        std::mem::replace(&mut self.load, load.clone()).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
        if !self.keys.is_empty() {
            let mut counts = self.occupancy.counts.lock().unwrap_or_else(PoisonError::into_inner);
            for key in &self.keys {
                if let Some(count) = counts.get_mut(key) {
                    *count -= 1;
                    if *count == 0 {
                        counts.remove(key);
                    }
                }
            }
        }
        if self.party == Party::House {
            self.occupancy.of_the_house.fetch_sub(1, Ordering::Relaxed);
        }
        if self.occupancy.sessions.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.occupancy.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_counted_under_all_its_keys_until_it_is_left() {
        let (occupancy, load) = (Arc::new(Occupancy::default()), Arc::default());
        let address = |last| CapKey::Address { word: "esmtp_listener", address: [192, 0, 2, last].into() };
        let cap = |key, sessions_max| Cap { key, sessions_max };
        let service = CapKey::Service { word: "esmtp_listener", peer_scope: 0 };
        let caps = |last| [cap(service.clone(), 2), cap(address(last), 1)];

        let take = |last, sessions_max| occupancy.take(&caps(last), Party::Clients, sessions_max, &load);
        let first = take(1, 9).expect("there is room");
        assert_eq!(take(1, 9).err(), Some(Turned::ConcurrencyLimit), "one a client");
        assert_eq!(take(2, 1).err(), Some(Turned::OutOfDescriptors), "one in the process");
        let _second = take(2, 9).expect("there is room");
        assert_eq!(take(3, 9).err(), Some(Turned::ConcurrencyLimit), "two in all");
        assert_eq!((occupancy.sessions(), load.load(Ordering::Relaxed)), (2, 2));
        let house = |sessions_max| occupancy.take(&[], Party::House, sessions_max, &load);
        let console = house(1).expect("clients take nothing of the house's");
        assert_eq!(house(1).err(), Some(Turned::OutOfDescriptors));
        drop(console);
        drop(house(1).expect("there is room again"));
        drop(first);
        let _third = take(3, 9).expect("there is room again");
        assert_eq!(occupancy.counts.lock().unwrap().len(), 3, "an address without sessions is forgotten");
    }
}
