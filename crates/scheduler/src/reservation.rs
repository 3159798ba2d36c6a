//! Memory that is asked for before it is taken: granted at once, or in turn.
//!
//! An owner lends up to its limit, and while the sum of all owners stays below `memory_goal`. What is small, at most a 64th
//! of the limit, has a quarter of the limit for itself beyond that, so that it never waits behind what is large. Whoever
//! already holds as much as is still free waits, and those behind are served before: one that does not give back what it
//! has keeps nobody else out. Of the others, turns come in the order they asked.
//!
//! Invariant: where nothing of its kind is lent, the first in line is served however large it is, so that everything that
//! asks is served in the end as long as everything lent is given back. So whoever holds a loan asks the same owner for no
//! second one that it would wait for.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::memory::{MemoryCharge, MemoryOwner};

/// Counts the octets lent to one of those who ask, over all kinds. Cloning shares it; each default one is somebody else.
#[derive(Clone, Debug, Default)]
pub struct MemoryShare(Arc<AtomicU64>);

impl MemoryShare {
    fn octets(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A place in the line of an owner, until it resolves with the charge. Dropping it gives the place up.
#[derive(Debug)]
#[must_use = "nothing is charged before a reservation resolves"]
pub struct Reservation {
    owner: MemoryOwner,
    place: Arc<Place>,
}

/// Those who wait for memory of one owner.
#[derive(Debug, Default)]
pub(crate) struct Line {
    kinds: [Mutex<Kind>; 2],
    /// How many stand in it: looked at with each charge that ends.
    waiting: AtomicUsize,
}

/// Of small or of large things.
#[derive(Debug, Default)]
struct Kind {
    places: VecDeque<Arc<Place>>,
    lent: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Place {
    octets: u64,
    share: MemoryShare,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Granted(MemoryCharge),
    /// Nobody waits any more.
    Left,
}

/// What a charge that was asked for is noted in, until it ends.
#[derive(Debug)]
pub(crate) struct Loan {
    octets: u64,
    lent: Arc<AtomicU64>,
    share: MemoryShare,
}

impl Drop for Loan {
    fn drop(&mut self) {
        for noted in [&self.lent, &self.share.0] {
            noted.fetch_sub(self.octets, Ordering::Relaxed);
        }
    }
}

/// What can be said to one who asks. Closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Granted,
    /// There is room, but for others first.
    HasItsShare,
    NoRoom,
}

impl Line {
    pub(crate) fn ask(&self, owner: &MemoryOwner, octets: u64, share: &MemoryShare) -> Option<MemoryCharge> {
        let kind = self.kind(owner, octets);
        (kind.places.is_empty() && kind.answer(owner, octets, share) == Answer::Granted)
            .then(|| kind.lend(owner, octets, share))
    }

    /// Serves whoever can be served now.
    pub(crate) fn serve(&self, owner: &MemoryOwner) {
        if self.waiting() == 0 {
            return;
        }
        for kind in &self.kinds {
            let mut woken = Vec::new();
            lock(kind).serve(owner, &mut woken);
            self.waiting.fetch_sub(woken.len(), Ordering::SeqCst);
            woken.into_iter().flatten().for_each(Waker::wake);
        }
    }

    /// A charge has ended or shrunk. That another thread has come to wait just now may go unseen; whoever watches looks
    /// again in a while.
    pub(crate) fn freed(&self, owner: &MemoryOwner) {
        self.serve(owner);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    fn kind(&self, owner: &MemoryOwner, octets: u64) -> MutexGuard<'_, Kind> {
        lock(&self.kinds[usize::from(is_small(owner, octets))])
    }
}

impl Kind {
    /// Those served leave; their wakers are to be woken once the lock is gone.
    fn serve(&mut self, owner: &MemoryOwner, woken: &mut Vec<Option<Waker>>) {
        let mut at = 0;
        while let Some(place) = self.places.get(at).cloned() {
            let mut state = lock(&place.state);
            match &mut *state {
                State::Waiting(waker) => match self.answer(owner, place.octets, &place.share) {
                    Answer::Granted => {
                        let waker = waker.take();
                        *state = State::Granted(self.lend(owner, place.octets, &place.share));
                        woken.push(waker);
                    }
                    Answer::HasItsShare => {
                        at += 1;
                        continue;
                    }
                    Answer::NoRoom => return,
                },
                State::Granted(_) | State::Left => woken.push(None),
            }
            drop(state);
            self.places.remove(at);
        }
    }

    fn answer(&self, owner: &MemoryOwner, octets: u64, share: &MemoryShare) -> Answer {
        let (most, lent, marks) = (owner.most(), self.lent.load(Ordering::Relaxed), &owner.account().marks);
        if lent == 0 {
            return Answer::Granted;
        }
        let (free, below_mark) = if is_small(owner, octets) {
            ((most / SMALL_SHARE).saturating_sub(lent), marks.has_room_below_high_water(octets))
        } else {
            (most.saturating_sub(owner.octets()), marks.has_room_below_goal(octets))
        };
        let held = share.octets();
        if held != 0 && free <= held {
            Answer::HasItsShare
        } else if octets <= free && below_mark {
            Answer::Granted
        } else {
            Answer::NoRoom
        }
    }

    fn lend(&self, owner: &MemoryOwner, octets: u64, share: &MemoryShare) -> MemoryCharge {
        let (lent, share) = (self.lent.clone(), share.clone());
        for noted in [&lent, &share.0] {
            noted.fetch_add(octets, Ordering::Relaxed);
        }
        MemoryCharge::lent(owner, octets, Loan { octets, lent, share })
    }
}

impl Reservation {
    pub(crate) fn new(owner: &MemoryOwner, octets: u64, share: &MemoryShare) -> Self {
        let (share, line) = (share.clone(), &owner.account().line);
        let place = Arc::new(Place { octets, share, state: Mutex::new(State::Waiting(None)) });
        line.kind(owner, octets).places.push_back(place.clone());
        line.waiting.fetch_add(1, Ordering::SeqCst);
        line.serve(owner);
        let reservation = Self { owner: owner.clone(), place };
        if reservation.is_waiting() && line.waiting() == 1 {
            // Copies of what is on disk can make room. For those behind, the next look is soon enough.
            owner.account().marks.wake();
        }
        reservation
    }

    fn is_waiting(&self) -> bool {
        matches!(*lock(&self.place.state), State::Waiting(_))
    }
}

impl Future for Reservation {
    type Output = MemoryCharge;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<MemoryCharge> {
        let mut state = lock(&self.place.state);
        match &mut *state {
            State::Waiting(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            // One that is polled again after its end waits for ever.
            State::Left => Poll::Pending,
            State::Granted(_) => match std::mem::replace(&mut *state, State::Left) {
                State::Granted(charge) => Poll::Ready(charge),
                State::Waiting(_) | State::Left => Poll::Pending,
            },
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // A charge that was granted meanwhile ends after the lock.
        let before = std::mem::replace(&mut *lock(&self.place.state), State::Left);
        if matches!(before, State::Waiting(_)) {
            self.owner.look_again();
        }
        drop(before);
    }
}

fn is_small(owner: &MemoryOwner, octets: u64) -> bool {
    octets <= owner.most() / SMALL
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is at most such a part of the limit is small.
const SMALL: u64 = 64;
/// The part of the limit that small things have for themselves.
const SMALL_SHARE: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Meters;

    const MIB: u64 = 1 << 20;

    fn owner(most: u64) -> (Meters, MemoryOwner) {
        let meters = Meters::new();
        let owner = meters.memory("bodies");
        owner.limit(most);
        (meters, owner)
    }

    fn granted(reservation: &mut Reservation) -> Option<MemoryCharge> {
        match Pin::new(reservation).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(charge) => Some(charge),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_fits_is_granted_at_once_and_the_rest_in_turn() {
        let (_meters, owner) = owner(64 * MIB);
        let ask = |octets| owner.reserve(octets, &MemoryShare::default());
        let first = granted(&mut ask(24 * MIB)).expect("there is room");
        let second = granted(&mut ask(24 * MIB)).expect("there is room");
        let (mut third, mut fourth) = (ask(24 * MIB), ask(8 * MIB));
        assert!(granted(&mut third).is_none() && granted(&mut fourth).is_none(), "nobody overtakes");
        assert_eq!(
            (owner.octets(), owner.waiting(), owner.ask(2 * MIB, &MemoryShare::default()).is_none()),
            (48 * MIB, 2, true)
        );
        drop(first);
        let third = granted(&mut third).expect("its turn");
        let fourth = granted(&mut fourth).expect("and the next one's");
        assert_eq!((owner.octets(), owner.waiting()), (56 * MIB, 0));
        drop((second, third, fourth));
        assert_eq!(owner.octets(), 0);
    }

    #[test]
    fn one_at_a_time_is_served_however_large() {
        let (_meters, owner) = owner(MIB);
        let _resident = owner.charge(MIB as usize);
        let ask = || owner.reserve(100 * MIB, &MemoryShare::default());
        let charge = granted(&mut ask()).expect("nothing is lent");
        let mut next = ask();
        assert!(granted(&mut next).is_none());
        drop(charge);
        assert!(granted(&mut next).is_some());
    }

    #[test]
    fn small_things_do_not_wait_behind_large_ones() {
        let (_meters, owner) = owner(64 * MIB);
        let ask = |octets| owner.reserve(octets, &MemoryShare::default());
        let _large = granted(&mut ask(100 * MIB)).expect("nothing is lent");
        let mut waits = ask(100 * MIB);
        let small: Vec<_> =
            (0..16).map(|_| granted(&mut ask(MIB)).expect("a quarter of the limit is theirs")).collect();
        let mut beyond = ask(MIB);
        assert!(granted(&mut waits).is_none() && granted(&mut beyond).is_none());
        drop(small);
        assert!(granted(&mut beyond).is_some());
    }

    #[test]
    fn one_that_gives_nothing_back_leaves_room_for_others() {
        let (_meters, owner) = owner(64 * MIB);
        let (stalled, other) = (MemoryShare::default(), MemoryShare::default());
        let mut held: Vec<Reservation> = (0..10).map(|_| owner.reserve(8 * MIB, &stalled)).collect();
        let charges: Vec<_> = held.iter_mut().filter_map(granted).collect();
        assert_eq!(charges.len(), 4, "as much as is left then");
        assert!(granted(&mut owner.reserve(8 * MIB, &other)).is_some(), "served before the six that wait");
        drop(held);
        assert!(owner.ask(8 * MIB, &other).is_some());
    }

    #[test]
    fn above_memory_goal_only_one_is_served_until_there_is_room_again() {
        let (meters, owner) = owner(64 * MIB);
        meters.memory_marks().set(10 * MIB, 20 * MIB);
        let other = meters.memory("other").charge(10 * MIB as usize);
        let ask = || owner.reserve(2 * MIB, &MemoryShare::default());
        let _one = granted(&mut ask()).expect("one always");
        let mut second = ask();
        assert!(granted(&mut second).is_none());
        drop(other);
        owner.look_again();
        assert!(granted(&mut second).is_some());
    }

    #[test]
    fn whoever_leaves_the_line_holds_nobody_up() {
        let (_meters, owner) = owner(64 * MIB);
        let ask = |octets| owner.reserve(octets, &MemoryShare::default());
        let _held = granted(&mut ask(60 * MIB)).expect("nothing is lent");
        let (gone, mut next) = (ask(30 * MIB), ask(4 * MIB));
        assert!(granted(&mut next).is_none());
        drop(gone);
        assert!(granted(&mut next).is_some());
        assert_eq!((owner.octets(), owner.waiting()), (60 * MIB, 0));
    }

    #[test]
    fn everybody_is_served_in_the_end_whatever_threads_ask() {
        let (_meters, owner) = owner(64);
        let served = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (owner, served) = (owner.clone(), &served);
                scope.spawn(move || {
                    let share = MemoryShare::default();
                    for round in 0..500 {
                        let mut reservation = owner.reserve(1 + (thread * 31 + round) % 90, &share);
                        while granted(&mut reservation).is_none() {
                            std::thread::yield_now();
                        }
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!((served.into_inner(), owner.octets(), owner.waiting()), (2000, 0, 0));
    }
}
