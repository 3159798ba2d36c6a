//! Memory by owner: how many octets each room of the house holds, by its own account, and whether it may have more.
//!
//! An owner is taken by name from [`Meters`](crate::Meters), in the constructor of what allocates. Whoever allocates keeps a
//! [`MemoryCharge`] beside what it allocated; dropping both ends the charge, so no account can drift. What is shared is
//! charged once, by whoever made it, and not again by those who hold it too. Charges count what was asked of the allocator,
//! not what that adds to it; whoever compares the sum with the resident set sees the rest.
//!
//! What is large and can wait asks first: [`MemoryOwner::reserve`] waits its turn (`reservation`), [`MemoryCharge::grow`]
//! is refused. What is small, or is there already, is charged without asking; the sum then passes a mark, and the pressure
//! rises with that very charge (`marks`).
//!
//! Any thread; a charge costs a few relaxed atomic additions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::marks::MemoryMarks;
use crate::measure::Measure;
use crate::meters::Counter;
use crate::reservation::{Line, Loan, MemoryShare, Reservation};

/// Who memory is held for. Cloning shares it; the default one belongs to nobody and is counted nowhere.
#[derive(Clone, Debug, Default)]
pub struct MemoryOwner(Arc<Account>);

#[derive(Debug)]
pub(crate) struct Account {
    octets: Counter,
    peak: Counter,
    /// Octets it may have.
    most: AtomicU64,
    pub(crate) marks: MemoryMarks,
    pub(crate) line: Line,
}

impl Default for Account {
    fn default() -> Self {
        let (octets, peak) = <(Counter, Counter)>::default();
        Self { octets, peak, most: AtomicU64::new(u64::MAX), marks: MemoryMarks::default(), line: Line::default() }
    }
}

impl MemoryOwner {
    pub(crate) fn new(octets: Counter, peak: Counter, marks: MemoryMarks) -> Self {
        Self(Arc::new(Account { octets, peak, marks, ..Account::default() }))
    }

    /// Charges it with so many octets, until the charge is dropped. Nobody is asked.
    pub fn charge(&self, octets: usize) -> MemoryCharge {
        let mut charge = MemoryCharge { owner: self.clone(), octets: 0, loan: None };
        charge.set(octets);
        charge
    }

    /// Asks for so many octets for somebody of whom `share` counts the loans. Resolves with the charge: at once if there is
    /// room and nobody waits, else in its turn. See [`Reservation`].
    pub fn reserve(&self, octets: u64, share: &MemoryShare) -> Reservation {
        Reservation::new(self, octets, share)
    }

    /// As [`MemoryOwner::reserve`], for whoever can do without: `None` if it would have to wait.
    pub fn ask(&self, octets: u64, share: &MemoryShare) -> Option<MemoryCharge> {
        self.0.line.ask(self, octets, share)
    }

    /// Whether something that is to grow to so many octets could begin to: it would fit now, or be alone.
    pub fn has_room(&self, octets: u64) -> bool {
        let with_it = self.octets().saturating_add(octets);
        (with_it <= self.most() || self.octets() == 0) && self.0.marks.has_room_below_high_water(octets)
    }

    /// Octets it may have from now on; what it has already stays.
    pub fn limit(&self, most: u64) {
        self.0.most.store(most, Ordering::Relaxed);
        self.look_again();
    }

    /// Octets it may have.
    pub fn most(&self) -> u64 {
        self.0.most.load(Ordering::Relaxed)
    }

    /// Whether there is so little left that nobody should take memory before it is needed: half is in use, or somebody waits.
    pub fn is_scarce(&self) -> bool {
        self.most() / 2 < self.octets() || self.waiting() != 0
    }

    /// How many wait for their turn.
    pub fn waiting(&self) -> usize {
        self.0.line.waiting()
    }

    /// Something that no charge of this owner tells of may have made room: the sum of all owners, or a mark.
    pub fn look_again(&self) {
        self.0.line.serve(self);
    }

    /// Octets it is charged with now.
    pub fn octets(&self) -> u64 {
        self.0.octets.get()
    }

    /// The most it was ever charged with at once.
    pub fn peak(&self) -> u64 {
        self.0.peak.get()
    }

    pub(crate) fn account(&self) -> &Account {
        &self.0
    }
}

/// So many octets of one owner, for as long as this is kept.
#[derive(Debug, Default)]
#[must_use = "dropping a charge ends it"]
pub struct MemoryCharge {
    owner: MemoryOwner,
    octets: u64,
    /// It was asked for.
    loan: Option<Loan>,
}

impl MemoryCharge {
    pub(crate) fn lent(owner: &MemoryOwner, octets: u64, loan: Loan) -> Self {
        let mut charge = Self { owner: owner.clone(), octets: 0, loan: Some(loan) };
        charge.change(octets);
        charge
    }

    /// What is held has grown or shrunk to so many octets.
    pub fn set(&mut self, octets: usize) {
        let freed = (octets as u64) < self.octets;
        self.change(octets as u64);
        if freed {
            self.owner.0.line.freed(&self.owner);
        }
    }

    /// What is held is to grow to so many octets: charged if the owner may have them and `memory_hwm` is not passed, else
    /// `false` and nothing is changed. What is the owner's only charge may pass the owner's limit, lest a limit below the
    /// largest single thing keep that out for ever.
    pub fn grow(&mut self, octets: usize) -> bool {
        let more = (octets as u64).saturating_sub(self.octets);
        let is_alone = self.owner.octets() <= self.octets;
        if more != 0 && !self.owner.has_room(more) && !(is_alone && self.owner.0.marks.has_room_below_high_water(more))
        {
            return false;
        }
        self.set(octets);
        true
    }

    /// Octets charged.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    fn change(&mut self, octets: u64) {
        let before = std::mem::replace(&mut self.octets, octets);
        let Account { octets: all, peak, marks, .. } = &*self.owner.0;
        if before < octets {
            let now = all.raise(octets - before);
            if peak.get() < now {
                peak.set_at_least(now);
            }
            marks.raise(octets - before);
        } else if octets < before {
            all.sub(before - octets);
            marks.lower(before - octets);
        }
    }
}

impl Drop for MemoryCharge {
    fn drop(&mut self) {
        if self.octets == 0 && self.loan.is_none() {
            return;
        }
        self.change(0);
        drop(self.loan.take());
        self.owner.0.line.freed(&self.owner);
    }
}

/// What is counted of the memory of each owner.
pub const MEASURES: &[Measure] = &[
    Measure::gauge("memory.octets{*}", "octets", "Memory that an owner is charged with now.").by(&["owner"]),
    Measure::gauge("memory.peak_octets{*}", "octets", "The most that an owner was charged with at any time.")
        .by(&["owner"]),
];

#[cfg(test)]
mod tests {
    use crate::{Meters, Pressure};

    #[test]
    fn an_owner_is_charged_for_as_long_as_its_charges_are_kept() {
        let meters = Meters::new();
        let (bodies, same) = (meters.memory("bodies"), meters.memory("bodies"));
        let mut first = bodies.charge(100);
        let second = same.charge(50);
        assert_eq!((bodies.octets(), bodies.peak(), first.octets()), (150, 150, 100));
        first.set(20);
        assert_eq!((bodies.octets(), bodies.peak()), (70, 150));
        first.set(30);
        drop(second);
        assert_eq!(meters.get("memory.octets{bodies}"), 30);
        drop(first);
        assert_eq!((same.octets(), meters.get("memory.peak_octets{bodies}")), (0, 150));
    }

    #[test]
    fn charges_from_many_threads_leave_nothing_behind() {
        let meters = Meters::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let owner = meters.memory("sessions");
                    for octets in 0..1000 {
                        let mut charge = owner.charge(octets);
                        charge.set(octets / 2);
                    }
                });
            }
        });
        let sessions = meters.memory("sessions");
        assert_eq!((sessions.octets(), meters.memory_marks().accounted()), (0, 0));
        assert!(999 <= sessions.peak());
        assert_eq!(meters.memory_owners().into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["sessions"]);
    }

    #[test]
    fn what_grows_is_refused_beyond_the_limit_unless_it_is_alone_and_beyond_memory_hwm_always() {
        let meters = Meters::new();
        let owner = meters.memory("reception:messages");
        owner.limit(100);
        let (mut first, mut second) = (owner.charge(0), owner.charge(0));
        assert!(first.grow(80) && !second.grow(21) && second.grow(20));
        assert!(!first.grow(81) && first.grow(10), "shrinking is never refused");
        drop(second);
        assert!(first.grow(500), "alone");
        meters.memory_marks().set(400, 600);
        assert_eq!(meters.memory_marks().pressure().get(), Pressure::Goal);
        assert!(!first.grow(601));
        assert_eq!((first.octets(), owner.octets()), (500, 500));
    }
}
