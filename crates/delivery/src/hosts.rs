//! Which addresses failed lately: they are left alone for host_failure_retry, whatever domain asks for them.
//!
//! Invariant: an entry is dropped once its time is over, and the table never holds more than [`HOSTS_MAX`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Addresses remembered; beyond that the ones that may be tried soonest are forgotten.
pub(crate) const HOSTS_MAX: usize = 8192;

/// The failed addresses of one delivery loop.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    failed: HashMap<SocketAddr, Failed>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    at: Instant,
    until: Instant,
}

impl Hosts {
    /// A connection to that address could not be made.
    pub(crate) fn failed(&mut self, remote: SocketAddr, now: Instant, retry: Duration) {
        if HOSTS_MAX <= self.failed.len() {
            self.failed.retain(|_, failed| now < failed.until);
        }
        if HOSTS_MAX <= self.failed.len()
            && let Some(soonest) = self.failed.iter().min_by_key(|(_, failed)| failed.until).map(|(remote, _)| *remote)
        {
            self.failed.remove(&soonest);
        }
        self.failed.insert(remote, Failed { at: now, until: now + retry });
    }

    /// A session with that address opened.
    pub(crate) fn works(&mut self, remote: &SocketAddr) {
        if !self.failed.is_empty() {
            self.failed.remove(remote);
        }
    }

    /// Until when the address is left alone; `None` if it may be tried.
    pub(crate) fn avoided_until(&self, remote: &SocketAddr, now: Instant) -> Option<Instant> {
        self.failed.get(remote).map(|failed| failed.until).filter(|until| now < *until)
    }

    /// When it last failed, if that is still remembered.
    pub(crate) fn failed_at(&self, remote: &SocketAddr) -> Option<Instant> {
        self.failed.get(remote).map(|failed| failed.at)
    }
}
