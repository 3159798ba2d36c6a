//! Memory by owner: how many octets each room of the house holds, by its own account.
//!
//! An owner is taken by name from [`Meters`](crate::Meters), in the constructor of what allocates. Whoever allocates keeps a
//! [`MemoryCharge`] beside what it allocated; dropping both ends the charge, so no account can drift. What is shared is
//! charged once, by whoever made it, and not again by those who hold it too. Charges count what was asked of the allocator,
//! not what that adds to it; whoever compares the sum with the resident set sees the rest.
//!
//! Any thread; a charge costs a few relaxed atomic additions.

use std::sync::Arc;

use crate::meters::Counter;

/// Who memory is held for. Cloning shares it; the default one belongs to nobody and is counted nowhere.
#[derive(Clone, Debug, Default)]
pub struct MemoryOwner(Arc<Account>);

#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) octets: Counter,
    pub(crate) peak: Counter,
}

impl MemoryOwner {
    pub(crate) fn new(octets: Counter, peak: Counter) -> Self {
        Self(Arc::new(Account { octets, peak }))
    }

    /// Charges it with so many octets, until the charge is dropped.
    pub fn charge(&self, octets: usize) -> MemoryCharge {
        let mut charge = MemoryCharge { owner: self.clone(), octets: 0 };
        charge.set(octets);
        charge
    }

    /// Octets it is charged with now.
    pub fn octets(&self) -> u64 {
        self.0.octets.get()
    }

    /// The most it was ever charged with at once.
    pub fn peak(&self) -> u64 {
        self.0.peak.get()
    }
}

/// So many octets of one owner, for as long as this is kept.
#[derive(Debug, Default)]
#[must_use = "dropping a charge ends it"]
pub struct MemoryCharge {
    owner: MemoryOwner,
    octets: u64,
}

impl MemoryCharge {
    /// What is held has grown or shrunk to so many octets.
    pub fn set(&mut self, octets: usize) {
        let (before, octets) = (self.octets, octets as u64);
        let Account { octets: all, peak } = &*self.owner.0;
        if before < octets {
            let now = all.raise(octets - before);
            if peak.get() < now {
                peak.set_at_least(now);
            }
        } else if octets < before {
            all.sub(before - octets);
        }
        self.octets = octets;
    }

    /// Octets charged.
    pub fn octets(&self) -> u64 {
        self.octets
    }
}

impl Drop for MemoryCharge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use crate::Meters;

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
        assert_eq!(sessions.octets(), 0);
        assert!(999 <= sessions.peak());
        assert_eq!(meters.memory_owners().into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["sessions"]);
    }
}
