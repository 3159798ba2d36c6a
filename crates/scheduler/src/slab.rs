//! Storage of the timer wheel: entries addressed by number, in blocks that never move.
//!
//! Growing allocates one more block instead of copying everything into a larger vector, so that ten million delayed
//! messages cost neither a long pause nor twice their memory. Freed entries are reused, those of the lowest block with room
//! first, so that a few left over from a burst gather there; a block goes back when all its entries are free.

use std::collections::BTreeSet;

/// Entries by number.
pub(crate) struct Slab<T> {
    blocks: Vec<Block<T>>,
    /// The blocks with room.
    open: BTreeSet<u32>,
    len: u32,
}

/// Entries that come and go together.
struct Block<T> {
    entries: Vec<Entry<T>>,
    /// The first of its free entries.
    free: u32,
    used: u32,
}

/// An entry: its moment, its neighbours in the wheel's slot, and what it holds. 12 bytes of overhead if `Option<T>` is
/// no larger than `T`.
pub(crate) struct Entry<T> {
    pub(crate) at: u32,
    pub(crate) next: u32,
    pub(crate) previous: u32,
    value: Option<T>,
}

/// No entry.
pub(crate) const NIL: u32 = u32::MAX;
const BLOCK_BITS: u32 = 12;
const BLOCK: usize = 1 << BLOCK_BITS;

impl<T> Block<T> {
    const fn new() -> Self {
        Self { entries: Vec::new(), free: NIL, used: 0 }
    }
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { blocks: Vec::new(), open: BTreeSet::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Octets of memory that the entries take up.
    pub(crate) fn held(&self) -> usize {
        let entries: usize = self.blocks.iter().map(|block| block.entries.capacity()).sum();
        entries * size_of::<Entry<T>>()
    }

    pub(crate) fn insert(&mut self, at: u32, value: T) -> u32 {
        self.len += 1;
        let entry = Entry { at, next: NIL, previous: NIL, value: Some(value) };
        let number = self.open.first().copied().unwrap_or_else(|| {
            self.blocks.push(Block::new());
            let number = self.blocks.len() as u32 - 1;
            self.open.insert(number);
            number
        });
        let block = &mut self.blocks[number as usize];
        block.used += 1;
        let first = number << BLOCK_BITS;
        let place = if block.free == NIL {
            if number != 0 && block.entries.capacity() == 0 {
                // The first block grows as it fills: most wheels are small.
                block.entries.reserve_exact(BLOCK);
            }
            block.entries.push(entry);
            block.entries.len() - 1
        } else {
            let place = (block.free - first) as usize;
            block.free = std::mem::replace(&mut block.entries[place], entry).next;
            place
        };
        if block.used as usize == BLOCK {
            self.open.remove(&number);
        }
        // Four thousand million timers are more memory than any machine has; going on would mix up entries.
        let whole = (number as usize) << BLOCK_BITS | place;
        u32::try_from(whole).ok().filter(|&number| number != NIL).expect("fewer than 2^32 - 1 timers")
    }

    /// The value, if the number is in use.
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.blocks.get((number >> BLOCK_BITS) as usize)?.entries.get(number as usize % BLOCK)?.value.as_ref()
    }

    /// An entry in use.
    pub(crate) fn entry(&mut self, number: u32) -> &mut Entry<T> {
        &mut self.blocks[(number >> BLOCK_BITS) as usize].entries[number as usize % BLOCK]
    }

    /// Frees an entry in use. The caller has unlinked it.
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let at = number >> BLOCK_BITS;
        let block = &mut self.blocks[at as usize];
        let entry = &mut block.entries[number as usize % BLOCK];
        let value = entry.value.take()?;
        entry.next = std::mem::replace(&mut block.free, number);
        if block.used as usize == BLOCK {
            self.open.insert(at);
        }
        block.used -= 1;
        self.len -= 1;
        if block.used == 0 {
            // A small one stays: a wheel that is empty every other moment asks the allocator for nothing.
            let kept = if block.entries.capacity() <= KEPT { std::mem::take(&mut block.entries) } else { Vec::new() };
            *block = Block::new();
            block.entries = kept;
            block.entries.clear();
            while self.blocks.last().is_some_and(|block| block.entries.capacity() == 0) {
                self.blocks.pop();
                self.open.remove(&(self.blocks.len() as u32));
            }
        }
        Some(value)
    }
}

/// Entries of a block that stays although all are free.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_that_are_left_of_a_burst_keep_a_block_each_at_most_and_gather_in_the_lowest() {
        let mut slab = Slab::new();
        let numbers: Vec<u32> = (0..20 * BLOCK as u32).map(|value| slab.insert(0, value)).collect();
        assert_eq!(slab.held(), 20 * BLOCK * size_of::<Entry<u32>>());
        // Every seventh block keeps one.
        for &number in numbers.iter().filter(|&number| number % (7 * BLOCK as u32) != 5) {
            assert_eq!(slab.remove(number), Some(number), "numbers are given in order");
        }
        assert_eq!((slab.len(), slab.held()), (3, 3 * BLOCK * size_of::<Entry<u32>>()));
        assert_eq!(slab.get(numbers[5]), Some(&5));
        assert_eq!(slab.get(numbers[BLOCK]), None, "of a block that went back");
        assert!((slab.insert(0, 9) as usize) < BLOCK, "the lowest has room");
        let others: Vec<u32> = numbers.iter().copied().filter(|&number| slab.get(number).is_some()).collect();
        for number in others {
            slab.remove(number);
        }
        assert_eq!((slab.len(), slab.held()), (0, 0));
    }

    #[test]
    fn a_number_is_given_again_only_when_it_is_free() {
        let mut slab = Slab::new();
        let mut held = std::collections::BTreeMap::new();
        for round in 0..30_000_u32 {
            let number = slab.insert(round, round);
            assert_eq!(held.insert(number, round), None, "{number} was given twice");
            if round % 3 == 2 {
                let (&number, &value) = held.iter().nth(round as usize % held.len().min(50)).expect("one");
                held.remove(&number);
                assert_eq!(slab.remove(number), Some(value));
                assert_eq!(slab.remove(held.keys().copied().last().unwrap_or(0)).is_some(), held.pop_last().is_some());
            }
        }
        assert_eq!(slab.len(), held.len());
        assert!(held.iter().all(|(&number, value)| slab.get(number) == Some(value)));
    }
}
