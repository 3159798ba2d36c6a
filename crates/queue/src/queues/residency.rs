//! Which bodies stay in memory: those of active mail first, those of delayed mail while there is room to spare, and fewer when
//! memory is short. What is let go is read from the spool when its turn comes.
//!
//! Invariant: `resident` and `resident_octets` count the messages of the table that have their body, `waiting` the delayed
//! ones among them; a queue's own count is of its active ones.

use std::collections::VecDeque;

use super::{QueueId, Queues, State};
use crate::options::ResidentLimits;
use crate::resident::{Arrival, Resident};

/// Names a delayed message, until the table changes.
#[derive(Debug)]
pub struct DelayedPlace(pub(super) u32);

/// The messages in memory of one table.
#[derive(Debug, Default)]
pub(super) struct Residency {
    /// Messages with their body.
    pub(super) resident: usize,
    /// Octets of those bodies.
    pub(super) octets: u64,
    /// Delayed messages with their body.
    waiting: usize,
    /// Where they are, the longest there first, and places that were left since.
    places: VecDeque<u32>,
    /// Envelopes stay when bodies go.
    keep_envelopes: bool,
}

impl Queues {
    /// Leaves a delayed message in memory if it has not failed too often and there is room to spare.
    pub fn keep(&mut self, place: DelayedPlace, mut arrival: Arrival, limits: &ResidentLimits) {
        arrival.recharge();
        let Some(queued) = self.messages.get(place.0) else { return };
        self.residency.keep_envelopes = limits.keep_envelopes;
        let stays = limits.keeps_after(queued.retries) && octets(&arrival) <= limits.large;
        let arrival = if stays && self.fits(&arrival, limits) { Some(arrival) } else { self.stripped(arrival) };
        if arrival.as_deref().is_some_and(has_body) {
            self.residency.waiting += 1;
            self.residency.places.push_back(place.0);
            self.forget_places();
        }
        self.put_in(place.0, arrival);
    }

    /// Lets bodies go until at most `octets` of them are left: those of delayed mail, then those of active mail, in the queue
    /// first whose turn is longest ago, and there those whose turn comes last. How many went.
    pub fn trim(&mut self, octets: u64) -> usize {
        let before = self.residency.resident;
        while octets < self.residency.octets && self.evict_waiting() {}
        if octets < self.residency.octets {
            let mut coldest: Vec<(u64, QueueId)> =
                self.queues.iter().map(|(number, queue)| (queue.last_taken, QueueId(number))).collect();
            coldest.sort_unstable();
            for (_, queue) in coldest {
                self.trim_queue(queue, octets);
            }
        }
        let gone = before - self.residency.resident;
        self.meter.dropped.add(gone as u64);
        gone
    }

    /// Octets of the bodies in memory, those of messages in flight not counted.
    pub fn resident_octets(&self) -> u64 {
        self.residency.octets
    }

    /// Messages in memory, those in flight not counted.
    pub fn totals_resident(&self) -> usize {
        self.residency.resident
    }

    fn trim_queue(&mut self, queue: QueueId, octets: u64) {
        for place in (0..self.at(queue).active.len()).rev() {
            if self.residency.octets <= octets || self.at(queue).resident == 0 {
                return;
            }
            let number = self.at(queue).active[place];
            self.at_mut(queue).resident -= usize::from(self.drop_body(number));
        }
    }

    /// What stays in memory of a message that becomes active, when its queue and the table have room: all of it or not.
    pub(super) fn admitted(&mut self, queue: QueueId, arrival: Arrival, limits: &ResidentLimits) -> Option<Arrival> {
        self.residency.keep_envelopes = limits.keep_envelopes;
        let wanted = self.at(queue).resident < limits.active_queue
            && limits.keeps_after(arrival.envelope.delivery.retries)
            // Read back at once, the body of the next one would only go and come.
            && (octets(&arrival) <= limits.large || self.at(queue).active.is_empty())
            && has_body(&arrival);
        if wanted && self.make_room(&arrival, limits) {
            return Some(arrival);
        }
        self.meter.not_kept_resident.add(1);
        self.stripped(arrival)
    }

    /// Active mail comes before delayed mail.
    fn make_room(&mut self, arrival: &Resident, limits: &ResidentLimits) -> bool {
        while !self.fits(arrival, limits) {
            if !self.evict_waiting() {
                return false;
            }
        }
        true
    }

    fn fits(&self, arrival: &Resident, limits: &ResidentLimits) -> bool {
        let with_it = self.residency.octets.saturating_add(octets(arrival));
        let within_limits = has_body(arrival) && self.residency.resident < limits.total && with_it <= limits.octets;
        // The account has this body already, and those in flight. The last quarter is for mail that is read.
        within_limits && self.bodies.octets() <= self.bodies.most() / 4 * 3 && self.bodies.waiting() == 0
    }

    /// Without its body.
    fn stripped(&self, mut arrival: Arrival) -> Option<Arrival> {
        arrival.body = None;
        self.residency.keep_envelopes.then_some(arrival)
    }

    /// Lets the body of the delayed message go that has waited longest; `false` if none has one.
    fn evict_waiting(&mut self) -> bool {
        while let Some(number) = self.residency.places.pop_front() {
            let is_waiting = |queued: &super::Queued| matches!(queued.state, State::Delayed(_));
            if self.messages.get(number).is_some_and(is_waiting) && self.drop_body(number) {
                self.residency.waiting -= 1;
                return true;
            }
        }
        false
    }

    /// Whether there was one.
    fn drop_body(&mut self, number: u32) -> bool {
        let held = self.messages.get(number).and_then(|queued| queued.resident.as_deref()).is_some_and(has_body);
        if held && let Some(arrival) = self.take_out(number) {
            let stripped = self.stripped(arrival);
            self.put_in(number, stripped);
        }
        held
    }

    /// A delayed message leaves the delayed queue, with its body or without.
    pub(super) fn left_waiting(&mut self, number: u32) {
        let resident = self.messages.get(number).and_then(|queued| queued.resident.as_deref());
        self.residency.waiting -= usize::from(resident.is_some_and(has_body));
    }

    pub(super) fn put_in(&mut self, number: u32, arrival: Option<Arrival>) {
        if let Some(arrival) = arrival.as_deref().filter(|arrival| has_body(arrival)) {
            self.residency.resident += 1;
            self.residency.octets += octets(arrival);
        }
        if let Some(queued) = self.messages.get_mut(number) {
            queued.resident = arrival;
        }
    }

    pub(super) fn take_out(&mut self, number: u32) -> Option<Arrival> {
        let arrival = self.messages.get_mut(number)?.resident.take()?;
        if has_body(&arrival) {
            self.residency.resident -= 1;
            self.residency.octets -= octets(&arrival);
        }
        Some(arrival)
    }

    /// Keeps the list of places from growing with every message that ever waited.
    fn forget_places(&mut self) {
        let Residency { waiting, places, .. } = &mut self.residency;
        if *waiting * 2 + PLACES_SPARE < places.len() {
            let mut seen = std::collections::HashSet::new();
            let is_waiting = |number: &u32| {
                let queued = self.messages.get(*number);
                queued.is_some_and(|queued| matches!(queued.state, State::Delayed(_)) && queued.resident.is_some())
            };
            places.retain(|number| is_waiting(number) && seen.insert(*number));
        }
    }
}

pub(super) fn has_body(resident: &Resident) -> bool {
    resident.body.is_some()
}

/// What a message's body takes up. Siblings share one, which is counted for each: the budget errs on the safe side.
fn octets(resident: &Resident) -> u64 {
    resident.body.as_ref().map_or(0, |body| body.len() as u64)
}

/// Places left behind that are not worth looking for.
const PLACES_SPARE: usize = 1024;
