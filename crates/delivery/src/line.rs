//! What a queue waits for while limits on connections are full: a slot, or a session that is open already (`siblings`).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::limits::LimitName;
use crate::slots::{Grant, Need, Slot, Waiting};

/// A queue's places.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// Any of these will do.
    waiting: Vec<Waiting>,
    /// Slots of narrower limits, taken already.
    held: Vec<Slot>,
    /// Since when it waits.
    since: Option<Instant>,
    /// Its route is being looked up.
    pub(crate) scouting: bool,
    /// Addresses whose sessions it is listed for.
    pub(crate) listed: Vec<SocketAddr>,
}

impl Line {
    /// Whether a slot, or its route, is waited for.
    pub(crate) fn waits(&self) -> bool {
        self.scouting || !self.waiting.is_empty()
    }

    /// The limit it waits for a slot of.
    pub(crate) fn waits_for(&self) -> Option<&LimitName> {
        self.waiting.iter().find_map(Waiting::name)
    }

    /// For how long it has waited, if it does.
    pub(crate) fn waits_since(&self, now: Instant) -> Option<Duration> {
        self.since.map(|since| now.saturating_duration_since(since))
    }

    /// For how long.
    pub(crate) fn waited(&mut self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.since.get_or_insert(now))
    }

    /// It waits for these, and holds those.
    pub(crate) fn join(&mut self, waiting: Vec<Waiting>, held: Vec<Slot>) {
        (self.waiting, self.held) = (waiting, held);
    }

    /// What it holds, with what was granted, if it waited for that.
    pub(crate) fn granted(&mut self, grant: Grant) -> Option<Vec<Slot>> {
        if !self.waiting.iter().any(|waiting| waiting.is_met_by(&grant)) {
            return None;
        }
        self.waiting.clear();
        let mut held = std::mem::take(&mut self.held);
        held.push(grant.slot);
        Some(held)
    }

    /// Whether it has waited for so long that it is to be served whatever sessions there are.
    pub(crate) fn is_long(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| OVERDUE <= now.saturating_duration_since(since))
    }

    /// Whether it has waited so long and is in line like one that has a connection.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.is_long(now) && self.waiting.iter().any(|waiting| waiting.need() == Need::More)
    }

    /// Gives up its places, to take others.
    pub(crate) fn leave_places(&mut self) -> (Vec<Waiting>, Vec<Slot>) {
        (std::mem::take(&mut self.waiting), std::mem::take(&mut self.held))
    }

    /// Waits no longer; what is to be let go of. Listings stay: who finds them asks.
    pub(crate) fn leave(&mut self) -> (Vec<Waiting>, Vec<Slot>) {
        self.since = None;
        self.leave_places()
    }
}

/// How long the sessions of its loop may leave a queue unserved.
const OVERDUE: Duration = Duration::from_secs(5);
