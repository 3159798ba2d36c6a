//! Where a loop's messages lie: fixed blocks that never move, numbered slots, free ones reused.
//!
//! Growing by blocks keeps a million messages from being copied, and a reader from paying for that copy. The memory goes back
//! when all slots are free.

/// Slots by number.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    blocks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
    len: usize,
    /// The most that were held at once.
    peak: usize,
}

const BLOCK_SLOTS: usize = 1024;

impl<T> Arena<T> {
    pub(crate) fn new() -> Self {
        Self { blocks: Vec::new(), free: Vec::new(), len: 0, peak: 0 }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        self.peak = self.peak.max(self.len);
        if let Some(number) = self.free.pop() {
            let (block, slot) = place(number);
            self.blocks[block][slot] = Some(value);
            return number;
        }
        if self.blocks.last().is_none_or(|block| block.len() == BLOCK_SLOTS) {
            self.blocks.push(Vec::with_capacity(BLOCK_SLOTS));
        }
        let block = self.blocks.len() - 1;
        self.blocks[block].push(Some(value));
        (block * BLOCK_SLOTS + self.blocks[block].len() - 1) as u32
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let (block, slot) = place(number);
        let value = self.blocks.get_mut(block)?.get_mut(slot)?.take()?;
        self.len -= 1;
        if self.len == 0 && 1 < self.blocks.len() {
            self.blocks.truncate(1);
            self.blocks[0].clear();
            self.free = Vec::new();
        } else {
            self.free.push(number);
        }
        Some(value)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        let (block, slot) = place(number);
        self.blocks.get(block)?.get(slot)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (block, slot) = place(number);
        self.blocks.get_mut(block)?.get_mut(slot)?.as_mut()
    }

    /// The most values that were held at once.
    pub(crate) fn peak(&self) -> usize {
        self.peak
    }

    /// Octets of memory that the slots take up.
    pub(crate) fn held(&self) -> usize {
        self.slots_allocated() * size_of::<Option<T>>() + self.free.capacity() * size_of::<u32>()
    }

    /// Slots there is memory for.
    pub(crate) fn slots_allocated(&self) -> usize {
        self.blocks.len() * BLOCK_SLOTS
    }

    /// Every value, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.blocks.iter_mut().flatten().flatten()
    }

    /// Every value, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let numbered = self.blocks.iter().flatten().enumerate();
        numbered.filter_map(|(number, slot)| Some((number as u32, slot.as_ref()?)))
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
        for number in numbers {
            arena.remove(number);
        }
        assert_eq!((arena.len(), arena.peak(), arena.slots_allocated()), (0, 3000, 1024), "the memory is given back");
        assert_eq!((arena.insert(5), arena.get(0)), (0, Some(&5)));
    }
}
