//! What is remembered of addresses, by each binding for itself, for a host may deal with one otherwise than with another: which
//! failed lately, to be left alone for host_failure_retry whatever domain asks for them, and the [`Standing`] of each.
//!
//! Invariant: a failure is dropped once its time is over, and no table holds more than [`HOSTS_MAX`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use message::QueueName;

use crate::standing::Standing;
use crate::telling::Telling;

/// Addresses remembered; beyond that the ones that may be tried soonest are forgotten.
pub(crate) const HOSTS_MAX: usize = 8192;

/// An address, and the binding that deals with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    binding_group: Arc<str>,
    binding: Arc<str>,
    remote: SocketAddr,
}

/// The addresses of one delivery loop.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    failed: HashMap<Peer, Failed>,
    telling: Telling,
    standings: HashMap<Peer, Rc<Standing>>,
}

#[derive(Clone, Debug)]
struct Failed {
    at: Instant,
    until: Instant,
    why: Arc<str>,
    /// It said that it never takes mail.
    takes_no_mail: bool,
}

impl Peer {
    /// An address as the binding of a queue sees it.
    pub(crate) fn of(queue: &QueueName, remote: SocketAddr) -> Self {
        Self { binding_group: queue.binding_group.clone(), binding: queue.binding.clone(), remote }
    }
}

impl Hosts {
    /// A connection to that address could not be made. If it is the first time since one could be: how many others were like
    /// that since the last time somebody was told; `None` if nobody is to be told.
    pub(crate) fn failed(&mut self, peer: Peer, now: Instant, retry: Duration, why: Arc<str>) -> Option<usize> {
        if HOSTS_MAX <= self.failed.len() {
            self.failed.retain(|_, failed| now < failed.until);
        }
        if HOSTS_MAX <= self.failed.len()
            && let Some(soonest) =
                self.failed.iter().min_by_key(|(_, failed)| failed.until).map(|(peer, _)| peer.clone())
        {
            self.failed.remove(&soonest);
        }
        let failed = Failed { at: now, until: now + retry, why, takes_no_mail: false };
        let known = self.failed.insert(peer, failed);
        if known.is_some() {
            return None;
        }
        self.telling.tell(now)
    }

    /// What it said when it failed was that it never takes mail.
    pub(crate) fn takes_no_mail(&mut self, peer: &Peer) {
        if let Some(failed) = self.failed.get_mut(peer) {
            failed.takes_no_mail = true;
        }
    }

    /// Whether it said so, and is being left alone for it.
    pub(crate) fn said_no_mail(&self, peer: &Peer, now: Instant) -> bool {
        self.failed.get(peer).is_some_and(|failed| failed.takes_no_mail && now < failed.until)
    }

    /// A session with that address opened.
    pub(crate) fn works(&mut self, peer: &Peer) {
        if !self.failed.is_empty() {
            self.failed.remove(peer);
        }
    }

    /// The operator wants it tried, whatever happened there.
    pub(crate) fn forget(&mut self, peer: &Peer) {
        self.works(peer);
        if let Some(standing) = self.standings.get(peer) {
            standing.served();
        }
    }

    /// Until when the address is left alone; `None` if it may be tried.
    pub(crate) fn avoided_until(&self, peer: &Peer, now: Instant) -> Option<Instant> {
        self.failed.get(peer).map(|failed| failed.until).filter(|until| now < *until)
    }

    /// Whether others are to be tried before it.
    pub(crate) fn is_doubted(&self, peer: &Peer, now: Instant) -> bool {
        self.standings.get(peer).is_some_and(|standing| standing.is_doubted(now))
    }

    /// The standing of an address. Beyond [`HOSTS_MAX`] the addresses without a connection are forgotten, those of which
    /// nothing but their pace is known first.
    pub(crate) fn standing(&mut self, peer: Peer, now: Instant) -> Rc<Standing> {
        if HOSTS_MAX <= self.standings.len() && !self.standings.contains_key(&peer) {
            self.standings.retain(|_, standing| 1 < Rc::strong_count(standing) || standing.is_of_use(now));
        }
        if HOSTS_MAX <= self.standings.len() && !self.standings.contains_key(&peer) {
            self.standings.retain(|_, standing| 1 < Rc::strong_count(standing));
        }
        if HOSTS_MAX <= self.standings.len() {
            return self.standings.get(&peer).cloned().unwrap_or_default();
        }
        self.standings.entry(peer).or_default().clone()
    }

    /// Average times to connect and to deliver, as far as they were measured.
    pub(crate) fn averages(&self, peer: &Peer) -> (Option<Duration>, Option<Duration>) {
        self.standings.get(peer).map_or((None, None), |standing| (standing.connect.get(), standing.deliver.get()))
    }

    /// When it last failed or broke off, and why, if that is still remembered.
    pub(crate) fn failed_at(&self, peer: &Peer, now: Instant) -> Option<(Instant, Arc<str>)> {
        let failed = self.failed.get(peer).map(|failed| (failed.at, failed.why.clone()));
        failed.or_else(|| self.standings.get(peer)?.broke_off(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(binding: &str, remote: impl Into<SocketAddr>) -> Peer {
        Peer { binding_group: "default".into(), binding: binding.into(), remote: remote.into() }
    }

    #[test]
    fn a_host_that_fails_is_told_once_and_many_at_once_in_one_word() {
        let mut hosts = Hosts::default();
        let start = scheduler::Clock::system().now();
        let mut fails = |last: u8, milliseconds| {
            let now = start + Duration::from_millis(milliseconds);
            hosts.failed(
                peer("default", ([192, 0, 2, last], 25)),
                now,
                Duration::from_secs(120),
                "Connection refused (os error 111)".into(),
            )
        };
        assert_eq!((fails(1, 0), fails(2, 1), fails(3, 999)), (Some(0), None, None));
        assert_eq!((fails(1, 2000), fails(4, 2001)), (None, Some(2)), "the first is known to fail");
        let remote = peer("default", ([192, 0, 2, 1], 25));
        assert!(hosts.avoided_until(&remote, start + Duration::from_secs(3)).is_some());
        let other = peer("other", ([192, 0, 2, 1], 25));
        assert!(hosts.avoided_until(&other, start + Duration::from_secs(3)).is_none(), "each binding for itself");
        assert_eq!(
            hosts.failed_at(&remote, start).expect("remembered").1.as_ref(),
            "Connection refused (os error 111)"
        );
        hosts.works(&remote);
        let again = hosts.failed(remote, start + Duration::from_secs(9), Duration::from_secs(120), "timed out".into());
        assert_eq!(again, Some(0), "it worked in between");
    }

    #[test]
    fn averages_follow_what_is_measured() {
        let (mut hosts, now) = (Hosts::default(), scheduler::Clock::system().now());
        let remote = peer("default", ([192, 0, 2, 1], 25));
        assert_eq!(hosts.averages(&remote), (None, None));
        let pace = hosts.standing(remote.clone(), now);
        pace.connected(Duration::from_millis(80));
        assert_eq!(hosts.averages(&remote), (Some(Duration::from_millis(80)), None));
        pace.connected(Duration::from_millis(160));
        hosts.standing(remote.clone(), now).delivered(Duration::from_millis(8));
        assert_eq!(hosts.averages(&remote), (Some(Duration::from_millis(90)), Some(Duration::from_millis(8))));
    }

    #[test]
    fn addresses_without_a_connection_are_forgotten_first_and_those_in_doubt_last() {
        let (mut hosts, now) = (Hosts::default(), scheduler::Clock::system().now());
        let remote = |number: u32| peer("default", (std::net::Ipv4Addr::from(number), 25));
        let kept = hosts.standing(remote(0), now);
        kept.connected(Duration::from_secs(1));
        for number in 1..=HOSTS_MAX as u32 {
            hosts.standing(remote(number), now).connected(Duration::from_secs(1));
            if number == 1 {
                hosts.standing(remote(number), now).doubted(now, Duration::from_secs(1), "x".into());
            }
        }
        assert_eq!(hosts.standings.len(), 3);
        assert!(hosts.averages(&remote(0)).0.is_some() && hosts.averages(&remote(2)).0.is_none());
        assert!(hosts.is_doubted(&remote(1), now));
    }
}
