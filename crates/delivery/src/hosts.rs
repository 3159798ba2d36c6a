//! What is remembered of addresses: which failed lately, to be left alone for host_failure_retry whatever domain asks for
//! them, and how long each takes to connect and to deliver.
//!
//! Invariant: a failure is dropped once its time is over, and no table holds more than [`HOSTS_MAX`].

use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::route::Candidate;

/// Addresses remembered; beyond that the ones that may be tried soonest are forgotten.
pub(crate) const HOSTS_MAX: usize = 8192;

/// The least time between two words on hosts that cannot be reached.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// The addresses of one delivery loop.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    failed: HashMap<SocketAddr, Failed>,
    /// When the operator was last told of a host that could not be reached, and of how many not since.
    told_at: Option<Instant>,
    untold: usize,
    paces: HashMap<SocketAddr, Rc<Pace>>,
}

/// How long an address takes, in decaying averages: the last eight or so count. Shared by its connections.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    connect: Cell<Option<Duration>>,
    deliver: Cell<Option<Duration>>,
}

#[derive(Clone, Debug)]
struct Failed {
    at: Instant,
    until: Instant,
    why: Arc<str>,
}

impl Hosts {
    /// A connection to that address could not be made. If it is the first time since one could be: how many others were like
    /// that since the last time somebody was told; `None` if nobody is to be told.
    pub(crate) fn failed(&mut self, remote: SocketAddr, now: Instant, retry: Duration, why: Arc<str>) -> Option<usize> {
        if HOSTS_MAX <= self.failed.len() {
            self.failed.retain(|_, failed| now < failed.until);
        }
        if HOSTS_MAX <= self.failed.len()
            && let Some(soonest) = self.failed.iter().min_by_key(|(_, failed)| failed.until).map(|(remote, _)| *remote)
        {
            self.failed.remove(&soonest);
        }
        let known = self.failed.insert(remote, Failed { at: now, until: now + retry, why });
        if known.is_some() {
            return None;
        }
        if self.told_at.is_some_and(|told_at| now < told_at + TOLD_EVERY) {
            self.untold += 1;
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }

    /// A session with that address opened.
    pub(crate) fn works(&mut self, remote: &SocketAddr) {
        if !self.failed.is_empty() {
            self.failed.remove(remote);
        }
    }

    /// The operator wants these addresses tried, whatever happened there.
    pub(crate) fn forget(&mut self, route: &[Candidate]) {
        for candidate in route {
            self.works(&candidate.remote);
        }
    }

    /// Until when the address is left alone; `None` if it may be tried.
    pub(crate) fn avoided_until(&self, remote: &SocketAddr, now: Instant) -> Option<Instant> {
        self.failed.get(remote).map(|failed| failed.until).filter(|until| now < *until)
    }

    /// The pace of an address. Beyond [`HOSTS_MAX`] the addresses without a connection are forgotten.
    pub(crate) fn pace(&mut self, remote: SocketAddr) -> Rc<Pace> {
        if HOSTS_MAX <= self.paces.len() && !self.paces.contains_key(&remote) {
            self.paces.retain(|_, pace| 1 < Rc::strong_count(pace));
        }
        if HOSTS_MAX <= self.paces.len() {
            return self.paces.get(&remote).cloned().unwrap_or_default();
        }
        self.paces.entry(remote).or_default().clone()
    }

    /// Average times to connect and to deliver, as far as they were measured.
    pub(crate) fn averages(&self, remote: &SocketAddr) -> (Option<Duration>, Option<Duration>) {
        self.paces.get(remote).map_or((None, None), |pace| (pace.connect.get(), pace.deliver.get()))
    }

    /// When it last failed, and why, if that is still remembered.
    pub(crate) fn failed_at(&self, remote: &SocketAddr) -> Option<(Instant, Arc<str>)> {
        self.failed.get(remote).map(|failed| (failed.at, failed.why.clone()))
    }
}

impl Pace {
    /// A session opened, so long after the connection was begun.
    pub(crate) fn connected(&self, took: Duration) {
        self.connect.set(Some(decayed(self.connect.get(), took)));
    }

    /// A message was taken, so long after it was given to the session.
    pub(crate) fn delivered(&self, took: Duration) {
        self.deliver.set(Some(decayed(self.deliver.get(), took)));
    }
}

fn decayed(average: Option<Duration>, latest: Duration) -> Duration {
    average.map_or(latest, |average| (average * 7 + latest) / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_fails_is_told_once_and_many_at_once_in_one_word() {
        let mut hosts = Hosts::default();
        let start = scheduler::Clock::system().now();
        let mut fails = |last: u8, milliseconds| {
            let remote = SocketAddr::from(([192, 0, 2, last], 25));
            let now = start + Duration::from_millis(milliseconds);
            hosts.failed(remote, now, Duration::from_secs(120), "Connection refused (os error 111)".into())
        };
        assert_eq!((fails(1, 0), fails(2, 1), fails(3, 999)), (Some(0), None, None));
        assert_eq!((fails(1, 2000), fails(4, 2001)), (None, Some(2)), "the first is known to fail");
        let remote = SocketAddr::from(([192, 0, 2, 1], 25));
        assert_eq!(hosts.failed_at(&remote).expect("remembered").1.as_ref(), "Connection refused (os error 111)");
        hosts.works(&remote);
        let again = hosts.failed(remote, start + Duration::from_secs(9), Duration::from_secs(120), "timed out".into());
        assert_eq!(again, Some(0), "it worked in between");
    }

    #[test]
    fn averages_follow_what_is_measured() {
        let mut hosts = Hosts::default();
        let remote = SocketAddr::from(([192, 0, 2, 1], 25));
        assert_eq!(hosts.averages(&remote), (None, None));
        let pace = hosts.pace(remote);
        pace.connected(Duration::from_millis(80));
        assert_eq!(hosts.averages(&remote), (Some(Duration::from_millis(80)), None));
        pace.connected(Duration::from_millis(160));
        hosts.pace(remote).delivered(Duration::from_millis(8));
        assert_eq!(hosts.averages(&remote), (Some(Duration::from_millis(90)), Some(Duration::from_millis(8))));
    }

    #[test]
    fn the_paces_of_addresses_without_a_connection_are_forgotten_first() {
        let mut hosts = Hosts::default();
        let remote = |number: u32| SocketAddr::from((std::net::Ipv4Addr::from(number), 25));
        let kept = hosts.pace(remote(0));
        kept.connected(Duration::from_secs(1));
        for number in 1..=HOSTS_MAX as u32 {
            hosts.pace(remote(number)).connected(Duration::from_secs(1));
        }
        assert_eq!(hosts.paces.len(), 2);
        assert!(hosts.averages(&remote(0)).0.is_some() && hosts.averages(&remote(1)).0.is_none());
    }
}
