//! A limit on connections: who holds its slots, who waits for one, and who has one and nothing to do with it.
//!
//! Those who wait are served in the order in which they came, those that have no connection at all before those that want
//! one more; nobody takes a free slot past them. For each of them one holder is asked to give way: an idle one at once, the
//! longest idle first, else one that has had its turn ([`Slot::claim`]). Loops share a count; a slot that is free goes to the
//! loop of the first in line by its channel. A lock is held for a few steps, and never while anybody is woken.
//!
//! Invariant: `open` is the number of slots in the world, those on their way included, and whoever was given one found it
//! below the limit of its own generation.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use queue::QueueId;
use smallvec::SmallVec;
use tokio::sync::mpsc::UnboundedSender;

use crate::limits::LimitName;

/// A limit, as one generation sets it.
#[derive(Clone, Debug)]
pub(crate) struct Cap {
    count: Arc<Count>,
    most: u64,
    /// Beyond `most`, for those that have no connection.
    reserve: u64,
    name: Option<Arc<LimitName>>,
}

/// What is counted under a limit.
#[derive(Debug, Default)]
pub(crate) struct Count {
    state: Mutex<State>,
    /// Those without a connection for whom nobody is giving way.
    wanted: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    open: u64,
    /// Slots whose holders are giving way.
    leaving: usize,
    /// Numbers given so far, to those who wait and those who are idle.
    numbers: u64,
    /// By [`Need`], in the order in which they came.
    waiting: [BTreeMap<u64, Waiter>; 2],
    /// The longest idle first.
    idle: BTreeMap<u64, Waker>,
}

#[derive(Debug)]
struct Waiter {
    queue: QueueId,
    most: u64,
    door: UnboundedSender<Grant>,
}

/// Why a slot is wanted. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The queue has no connection.
    First,
    /// It has some.
    More,
}

/// A connection's place under a limit, while it is held.
#[derive(Debug)]
pub(crate) struct Slot {
    count: Arc<Count>,
    idle: Option<u64>,
    leaving: bool,
}

/// A place in the line for a slot, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    count: Arc<Count>,
    number: u64,
    need: Need,
    name: Option<Arc<LimitName>>,
}

/// A slot for a queue that waited.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) queue: QueueId,
    number: u64,
    pub(crate) slot: Slot,
}

impl Cap {
    pub(crate) fn new(count: Arc<Count>, most: u64, reserve: u64) -> Self {
        Self { count, most, reserve, name: None }
    }

    /// The same under a name.
    pub(crate) fn named(self, name: LimitName) -> Self {
        Self { name: Some(Arc::new(name)), ..self }
    }

    /// A slot, if there is one that nobody waits for.
    pub(crate) fn take(&self, need: Need) -> Option<Slot> {
        let most = self.most_for(need);
        let taken = self.count.change(|state| {
            let is_free = state.open < most && state.waiting[..=need as usize].iter().all(BTreeMap::is_empty);
            state.open += u64::from(is_free);
            is_free
        });
        taken.then(|| Slot::of(self.count.clone()))
    }

    /// A place in the line of those who wait. What is granted comes through the door.
    pub(crate) fn join(&self, need: Need, queue: QueueId, door: &UnboundedSender<Grant>) -> Waiting {
        let waiter = Waiter { queue, most: self.most_for(need), door: door.clone() };
        let number = self.count.change(|state| {
            let number = state.number();
            state.waiting[need as usize].insert(number, waiter);
            number
        });
        Waiting { count: self.count.clone(), number, need, name: self.name.clone() }
    }

    /// Whether a slot is one of this limit.
    pub(crate) fn counts(&self, slot: &Slot) -> bool {
        Arc::ptr_eq(&self.count, &slot.count)
    }

    fn most_for(&self, need: Need) -> u64 {
        self.most.saturating_add(if need == Need::First { self.reserve } else { 0 })
    }
}

/// Makes of the slots held those that `caps` ask for: takes what is missing, then lets go of what is not needed. The limit
/// that has no room, if one has none; then nothing has changed.
pub(crate) fn fit(slots: &mut Vec<Slot>, caps: &[&Cap], need: Need) -> Result<(), Cap> {
    let mut more = Vec::new();
    for cap in caps {
        if !slots.iter().any(|slot| cap.counts(slot)) {
            more.push(cap.take(need).ok_or_else(|| (*cap).clone())?);
        }
    }
    slots.retain(|slot| caps.iter().any(|cap| cap.counts(slot)));
    slots.append(&mut more);
    Ok(())
}

impl Slot {
    fn of(count: Arc<Count>) -> Self {
        Self { count, idle: None, leaving: false }
    }

    /// Its holder is idle, and woken by `waker` if somebody wants the slot. `false` if somebody does already: the holder is to
    /// give way.
    pub(crate) fn offer(&mut self, waker: &Waker) -> bool {
        self.idle = self.count.change(|state| {
            if state.leaving < state.in_line() {
                state.leaving += 1;
                return None;
            }
            let number = state.number();
            state.idle.insert(number, waker.clone());
            Some(number)
        });
        self.leaving |= self.idle.is_none();
        !self.leaving
    }

    /// Its holder is idle no longer. `false` if it is to give way.
    pub(crate) fn withdraw(&mut self) -> bool {
        if let Some(number) = self.idle.take() {
            self.leaving |= self.count.change(|state| {
                let was_asked = state.idle.remove(&number).is_none();
                let is_wanted = state.leaving <= state.in_line();
                state.leaving -= usize::from(was_asked && !is_wanted);
                was_asked && is_wanted
            });
        }
        !self.leaving
    }

    /// Its holder has had its turn: whether it is to give way to somebody who has no connection.
    pub(crate) fn claim(&mut self) -> bool {
        if !self.leaving && self.count.wanted.load(Ordering::Relaxed) != 0 {
            self.leaving = self.count.change(|state| {
                let is_wanted = state.leaving < state.waiting[Need::First as usize].len();
                state.leaving += usize::from(is_wanted);
                is_wanted
            });
        }
        self.leaving
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.withdraw();
        let leaving = self.leaving;
        self.count.change(|state| {
            state.open -= 1;
            state.leaving -= usize::from(leaving);
        });
    }
}

impl Waiting {
    /// Whether that is what it waited for.
    pub(crate) fn is_met_by(&self, grant: &Grant) -> bool {
        self.number == grant.number && Arc::ptr_eq(&self.count, &grant.slot.count)
    }

    /// What the limit is called.
    pub(crate) fn name(&self) -> Option<&LimitName> {
        self.name.as_deref()
    }

    pub(crate) fn need(&self) -> Need {
        self.need
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Granted meanwhile, it is gone already, and the slot goes to the next when it comes to nobody.
        self.count.change(|state| state.waiting[self.need as usize].remove(&self.number));
    }
}

impl Count {
    /// Changes the state, then gives what is free to those who wait, and asks as many holders to give way as still do.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = change(&mut state);
        let mut grants: SmallVec<[_; 1]> = SmallVec::new();
        while let Some((number, waiter)) = state.next_in_line() {
            state.open += 1;
            grants.push((waiter.door, Grant { queue: waiter.queue, number, slot: Slot::of(self.clone()) }));
        }
        let mut asked: SmallVec<[Waker; 1]> = SmallVec::new();
        while state.leaving < state.in_line()
            && let Some((_, waker)) = state.idle.pop_first()
        {
            state.leaving += 1;
            asked.push(waker);
        }
        self.wanted.store(state.waiting[Need::First as usize].len().saturating_sub(state.leaving), Ordering::Relaxed);
        drop(state);
        for (door, grant) in grants {
            // A loop that has ended drops it, and the next is served.
            let _ = door.send(grant);
        }
        asked.into_iter().for_each(Waker::wake);
        outcome
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn in_line(&self) -> usize {
        self.waiting.iter().map(BTreeMap::len).sum()
    }

    fn next_in_line(&mut self) -> Option<(u64, Waiter)> {
        let line = self.waiting.iter_mut().find(|line| !line.is_empty())?;
        let first = line.first_entry().filter(|first| self.open < first.get().most)?;
        Some(first.remove_entry())
    }
}

#[cfg(test)]
mod tests;
