//! Where a loop's messages lie: fixed blocks that never move, numbered slots, free ones reused.
//!
//! Growing by blocks keeps a million messages from being copied, and a reader from paying for that copy. A block goes back
//! when all its slots are free; new values go to the lowest block with room, so that a few left over from a burst do not
//! keep all of them.

use std::collections::BTreeSet;

/// Slots by number.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    blocks: Vec<Block<T>>,
    /// The blocks with room: those without memory among them.
    open: BTreeSet<u32>,
    len: usize,
    /// The most that were held at once.
    peak: usize,
    /// Blocks there is memory for.
    allocated: usize,
}

#[derive(Debug)]
struct Block<T> {
    slots: Vec<Option<T>>,
    free: Vec<u16>,
}

const BLOCK_SLOTS: usize = 1024;

impl<T> Block<T> {
    fn is_full(&self) -> bool {
        self.slots.len() == BLOCK_SLOTS && self.free.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }
}

impl<T> Arena<T> {
    pub(crate) fn new() -> Self {
        Self { blocks: Vec::new(), open: BTreeSet::new(), len: 0, peak: 0, allocated: 0 }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        self.peak = self.peak.max(self.len);
        let number = self.open.first().copied().unwrap_or_else(|| {
            let number = self.blocks.len() as u32;
            self.blocks.push(Block { slots: Vec::new(), free: Vec::new() });
            self.open.insert(number);
            number
        });
        let block = &mut self.blocks[number as usize];
        if block.slots.capacity() == 0 {
            block.slots.reserve_exact(BLOCK_SLOTS);
            self.allocated += 1;
        }
        let slot = match block.free.pop() {
            Some(slot) => {
                block.slots[usize::from(slot)] = Some(value);
                usize::from(slot)
            }
            None => {
                block.slots.push(Some(value));
                block.slots.len() - 1
            }
        };
        if block.is_full() {
            self.open.remove(&number);
        }
        number * BLOCK_SLOTS as u32 + slot as u32
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let (at, slot) = place(number);
        let block = self.blocks.get_mut(at)?;
        let value = block.slots.get_mut(slot)?.take()?;
        self.len -= 1;
        if block.is_full() {
            self.open.insert(at as u32);
        }
        block.free.push(slot as u16);
        if block.is_empty() {
            *block = Block { slots: Vec::new(), free: Vec::new() };
            self.allocated -= 1;
        }
        Some(value)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        let (block, slot) = place(number);
        self.blocks.get(block)?.slots.get(slot)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (block, slot) = place(number);
        self.blocks.get_mut(block)?.slots.get_mut(slot)?.as_mut()
    }

    /// The most values that were held at once.
    pub(crate) fn peak(&self) -> usize {
        self.peak
    }

    /// Octets of memory that the slots take up.
    pub(crate) fn held(&self) -> usize {
        self.slots_allocated() * size_of::<Option<T>>() + self.blocks.capacity() * size_of::<Block<T>>()
    }

    /// Slots there is memory for.
    pub(crate) fn slots_allocated(&self) -> usize {
        self.allocated * BLOCK_SLOTS
    }

    /// Every value, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.blocks.iter_mut().flat_map(|block| block.slots.iter_mut().flatten())
    }

    /// Every value, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let numbered = |(at, block)| {
            let first = at as u32 * BLOCK_SLOTS as u32;
            let slots: &Vec<Option<T>> = block;
            slots.iter().enumerate().filter_map(move |(slot, value)| Some((first + slot as u32, value.as_ref()?)))
        };
        self.blocks.iter().map(|block| &block.slots).enumerate().flat_map(numbered)
    }
}

fn place(number: u32) -> (usize, usize) {
    (number as usize / BLOCK_SLOTS, number as usize % BLOCK_SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_numbered_kept_and_reused() {
        let mut arena = Arena::new();
        let numbers: Vec<u32> = (0..3000).map(|n| arena.insert(n)).collect();
        assert_eq!(arena.remove(numbers[1500]), Some(1500));
        assert_eq!((arena.remove(numbers[1500]), arena.len()), (None, 2999));
        assert_eq!(arena.insert(7), numbers[1500]);
        assert_eq!(arena.get(numbers[1500]), Some(&7));
        assert_eq!(arena.iter().count(), 3000);
        assert_eq!((arena.peak(), arena.slots_allocated()), (3000, 3072));
        // One that stays keeps its own block, and those of the others go back.
        for &number in numbers.iter().filter(|&&number| number != numbers[2500]) {
            arena.remove(number);
        }
        assert_eq!((arena.len(), arena.slots_allocated(), arena.get(numbers[2500])), (1, 1024, Some(&2500)));
        assert!(arena.insert(8) < 1024 && arena.iter().count() == 2, "the lowest blocks are used again first");
        arena.remove(0);
        arena.remove(numbers[2500]);
        assert_eq!((arena.len(), arena.peak(), arena.slots_allocated()), (0, 3000, 0), "the memory is given back");
        assert_eq!((arena.insert(5), arena.get(0)), (0, Some(&5)));
    }
}
