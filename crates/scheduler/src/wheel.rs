//! The timer wheel: which of millions of delayed entries are due, by the second.
//!
//! Six levels of 64 slots: a slot of level 0 is one second, a slot of the next level a whole turn of the one below.
//! An entry sits on the level of the highest 6-bit digit in which its second differs from the wheel's present, and
//! moves down a level when the present enters its slot, at most five times. Inserting, removing and asking are
//! constant time. A plain value for one owner: time comes in as an argument.
//!
//! Invariant: below the level of an entry's slot, nothing of that slot's span is past; every entry is linked in the
//! slot that `place` computes from its second and the present.

use crate::slab::{Entry, NIL, Slab};

/// Entries by the second at which they are due. 12 bytes an entry over `Option<T>`.
pub struct Wheel<T> {
    /// Second 0 of the wheel. Entries count from it in 32 bits: 136 years.
    origin: u64,
    /// The present, in seconds after `origin`.
    present: u32,
    heads: [[u32; SLOTS]; LEVELS],
    /// One bit for each slot that has entries.
    occupied: [u64; LEVELS],
    slab: Slab<T>,
}

/// Names one entry from its insertion until it is due or removed. After that the key may name another entry: the owner
/// forgets it in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u32);

impl<T> Wheel<T> {
    /// Memory of one entry.
    pub const ENTRY_BYTES: usize = size_of::<Entry<T>>();

    /// An empty wheel whose present is `now_secs`, in seconds of whatever clock the owner uses.
    pub fn new(now_secs: u64) -> Self {
        Self { origin: now_secs, present: 0, heads: [[NIL; SLOTS]; LEVELS], occupied: [0; LEVELS], slab: Slab::new() }
    }

    /// Adds an entry. One for the past or the present is due at the next [`Wheel::advance`]; one for more than 136
    /// years ahead is due then.
    pub fn insert(&mut self, at_secs: u64, value: T) -> Key {
        let at = self.since_origin(at_secs).max(self.present);
        let number = self.slab.insert(at, value);
        self.link(number, at);
        Key(number)
    }

    /// Takes an entry out before it is due. `None` if no entry has that key.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        self.unlink(key.0);
        self.slab.remove(key.0)
    }

    /// The value of an entry.
    pub fn get(&self, key: Key) -> Option<&T> {
        self.slab.get(key.0)
    }

    /// Moves the present to `now_secs` and hands out what is due by then, earlier seconds first. A clock that went back
    /// changes nothing.
    pub fn advance(&mut self, now_secs: u64, due: &mut impl FnMut(T)) {
        let now = self.since_origin(now_secs);
        if now_secs < self.origin || now < self.present {
            return;
        }
        while let Some((level, slot, start)) = self.next_slot().filter(|&(_, _, start)| start <= now) {
            self.present = start;
            let mut number = self.take_slot(level, slot);
            while number != NIL {
                let entry = self.slab.entry(number);
                let (at, next) = (entry.at, entry.next);
                if at <= start {
                    self.slab.remove(number).into_iter().for_each(&mut *due);
                } else {
                    self.link(number, at);
                }
                number = next;
            }
        }
        self.present = now;
    }

    /// A second before which nothing is due, for the owner's timer: exact within the minute, earlier than the first
    /// entry beyond. `None` if the wheel is empty.
    pub fn next(&self) -> Option<u64> {
        self.next_slot().map(|(_, _, start)| self.origin + u64::from(start))
    }

    /// How many entries wait.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Octets of memory that entries take up, in use or free.
    pub fn held(&self) -> usize {
        self.slab.held()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn since_origin(&self, secs: u64) -> u32 {
        u32::try_from(secs.saturating_sub(self.origin)).unwrap_or(u32::MAX)
    }

    /// The level and slot of a second that is not past.
    fn place(&self, at: u32) -> (usize, usize) {
        let differing = at ^ self.present;
        let level = if differing == 0 { 0 } else { (differing.ilog2() / DIGIT_BITS) as usize };
        (level, digit(at, level))
    }

    /// The first slot with entries: level, slot, and the second at which it starts. Lower levels come first, since all
    /// they hold is due before the present leaves its slot of the level above.
    fn next_slot(&self) -> Option<(usize, usize, u32)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        let span_bits = DIGIT_BITS * (level as u32 + 1);
        let turn = self.present & u32::MAX.checked_shl(span_bits).unwrap_or(0);
        Some((level, slot, turn | (slot as u32) << (DIGIT_BITS * level as u32)))
    }

    fn link(&mut self, number: u32, at: u32) {
        let (level, slot) = self.place(at);
        let head = self.heads[level][slot];
        let entry = self.slab.entry(number);
        (entry.previous, entry.next) = (NIL, head);
        if head != NIL {
            self.slab.entry(head).previous = number;
        }
        self.heads[level][slot] = number;
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, number: u32) {
        let entry = self.slab.entry(number);
        let (at, previous, next) = (entry.at, entry.previous, entry.next);
        if next != NIL {
            self.slab.entry(next).previous = previous;
        }
        if previous != NIL {
            self.slab.entry(previous).next = next;
            return;
        }
        let (level, slot) = self.place(at);
        self.heads[level][slot] = next;
        if next == NIL {
            self.occupied[level] &= !(1 << slot);
        }
    }

    fn take_slot(&mut self, level: usize, slot: usize) -> u32 {
        self.occupied[level] &= !(1 << slot);
        std::mem::replace(&mut self.heads[level][slot], NIL)
    }
}

impl<T> std::fmt::Debug for Wheel<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wheel").field("len", &self.len()).field("next", &self.next()).finish_non_exhaustive()
    }
}

fn digit(at: u32, level: usize) -> usize {
    (at >> (DIGIT_BITS * level as u32)) as usize % SLOTS
}

const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
/// Six digits of six bits hold any 32-bit second.
const LEVELS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn due(wheel: &mut Wheel<u32>, now: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.advance(now, &mut |value| due.push(value));
        due
    }

    #[test]
    fn entries_are_due_at_their_second_and_not_before() {
        let mut wheel = Wheel::new(1_000);
        for (at, value) in [(1_063, 1), (1_064, 2), (1_000 + 4_096, 3), (1_000 + 86_400, 4)] {
            wheel.insert(at, value);
        }
        assert_eq!(due(&mut wheel, 1_062), []);
        assert_eq!(due(&mut wheel, 1_064), [1, 2]);
        assert_eq!(due(&mut wheel, 1_000 + 86_399), [3]);
        assert_eq!(due(&mut wheel, 1_000 + 86_400), [4]);
        assert_eq!((wheel.len(), wheel.next()), (0, None));
    }

    #[test]
    fn the_past_is_due_at_once_and_a_clock_going_back_changes_nothing() {
        let mut wheel = Wheel::new(500);
        wheel.insert(3, 1);
        assert_eq!(wheel.next(), Some(500));
        assert_eq!(due(&mut wheel, 100), []);
        assert_eq!(due(&mut wheel, 500), [1]);
    }

    #[test]
    fn a_moment_beyond_the_wheels_range_is_held_to_its_end() {
        let mut wheel = Wheel::new(10);
        wheel.insert(u64::MAX, 1);
        assert_eq!(due(&mut wheel, 10 + u64::from(u32::MAX) - 1), []);
        assert_eq!(due(&mut wheel, u64::MAX), [1]);
    }

    #[test]
    fn an_entry_of_a_niche_type_costs_twelve_bytes_more() {
        assert_eq!(size_of::<crate::slab::Entry<std::num::NonZeroU32>>(), 4 + 12);
    }

    /// What the wheel promises, written the slow way.
    #[derive(Default)]
    struct Model {
        entries: BTreeMap<(u64, u32), Key>,
        now: u64,
    }

    impl Model {
        fn due(&mut self, now: u64) -> Vec<(u64, u32)> {
            self.now = self.now.max(now);
            let later = self.entries.split_off(&(self.now + 1, 0));
            std::mem::replace(&mut self.entries, later).into_keys().collect()
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Remove(usize),
        Advance(u64),
        ToNext,
    }

    fn step() -> impl Strategy<Value = Step> {
        // Spans around every level's width, so that slots, turns and cascades are all crossed.
        let span = prop_oneof![4 => 0..200_u64, 3 => 0..10_000_u64, 2 => 0..3_000_000_u64, 1 => 0..3_000_000_000_u64];
        prop_oneof![
            5 => span.clone().prop_map(Step::Insert),
            2 => any::<usize>().prop_map(Step::Remove),
            2 => span.prop_map(Step::Advance),
            3 => Just(Step::ToNext),
        ]
    }

    proptest! {
        #[test]
        fn the_wheel_does_what_a_sorted_map_does(
            start in 0..5_000_000_000_u64,
            steps in prop::collection::vec(step(), 1..200),
        ) {
            let mut wheel = Wheel::new(start);
            let mut model = Model { now: start, ..Model::default() };
            for (value, step) in steps.into_iter().enumerate() {
                let value = value as u32;
                let mut now = model.now;
                match step {
                    // The range of the wheel is another test's subject.
                    Step::Insert(span) | Step::Advance(span) if start + u64::from(u32::MAX) <= model.now + span => {}
                    Step::Insert(span) => {
                        let key = wheel.insert(model.now + span, (model.now + span, value));
                        model.entries.insert((model.now + span, value), key);
                    }
                    Step::Remove(index) if !model.entries.is_empty() => {
                        let (&entry, &key) = model.entries.iter().nth(index % model.entries.len()).unwrap();
                        prop_assert_eq!(wheel.get(key), Some(&entry));
                        prop_assert_eq!(wheel.remove(key), Some(entry));
                        model.entries.remove(&entry);
                    }
                    Step::Remove(_) => {}
                    Step::Advance(span) => now += span,
                    Step::ToNext => now = wheel.next().unwrap_or(now),
                }
                let mut due = Vec::new();
                wheel.advance(now, &mut |entry| due.push(entry));
                prop_assert!(due.is_sorted_by_key(|&(at, _)| at));
                due.sort_unstable();
                prop_assert_eq!(due, model.due(now));
                prop_assert_eq!(wheel.len(), model.entries.len());
                let first = model.entries.keys().next().map(|&(at, _)| at);
                prop_assert_eq!(wheel.next().is_some(), first.is_some());
                if let (Some(next), Some(first)) = (wheel.next(), first) {
                    prop_assert!(model.now < next && next <= first);
                    prop_assert!(first >> 6 != model.now >> 6 || wheel.origin % 64 != 0 || next == first);
                }
            }
        }
    }
}
