//! Who is in a session now, and what was done last: for the operator's eyes. Shared by all loops; a session writes its own line.
//!
//! Invariant: a session is listed from its first to its last octet, for its [`Presence`] ends with it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use message::MessageId;
use smtp::server::ReceptionState;

/// The sessions there are. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Sessions(Arc<Mutex<HashMap<MessageId, Arc<Seen>>>>);

/// One session, as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionReport {
    /// Its file descriptor.
    pub descriptor: i32,
    /// The name of its Listen stanza.
    pub listen: Arc<str>,
    /// The client; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// When it began.
    pub begun: Instant,
    /// What it is doing.
    pub state: ReceptionState,
    /// Since when.
    pub since: Instant,
}

#[derive(Debug)]
struct Seen(Mutex<SessionReport>);

/// One session's line in the list, until it is dropped.
#[derive(Debug)]
pub(crate) struct Presence {
    sessions: Sessions,
    connection: MessageId,
    seen: Arc<Seen>,
    state: ReceptionState,
}

impl Sessions {
    /// All of them, the oldest first.
    pub fn list(&self) -> Vec<SessionReport> {
        let mut all: Vec<SessionReport> = self.lock().values().map(|seen| lock(&seen.0).clone()).collect();
        all.sort_by_key(|session| session.begun);
        all
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// A session begins.
    pub(crate) fn enter(
        &self,
        connection: MessageId,
        descriptor: RawFd,
        (listen, peer): (Arc<str>, Option<SocketAddr>),
        now: Instant,
    ) -> Presence {
        let state = ReceptionState::JustConnected;
        let report = SessionReport { descriptor, listen, peer, begun: now, state, since: now };
        let seen = Arc::new(Seen(Mutex::new(report)));
        self.lock().insert(connection, seen.clone());
        Presence { sessions: self.clone(), connection, seen, state }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MessageId, Arc<Seen>>> {
        lock(&self.0)
    }
}

impl Presence {
    /// What the session is doing now.
    pub(crate) fn is_at(&mut self, state: ReceptionState, now: Instant) {
        if self.state != state {
            self.state = state;
            let mut seen = lock(&self.seen.0);
            (seen.state, seen.since) = (state, now);
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.connection);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
