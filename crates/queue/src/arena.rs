//! Where a loop's messages lie: fixed blocks that never move, numbered slots, free ones reused.
//!
//! Growing by blocks keeps a million messages from being copied, and a reader from paying for that copy.

/// Slots by number.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    blocks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
}

const BLOCK_SLOTS: usize = 1024;

impl<T> Arena<T> {
    pub(crate) fn new() -> Self {
        Self { blocks: Vec::new(), free: Vec::new() }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.iter().count()
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
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
        self.free.push(number);
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

    /// Slots that ever held a value: as many values were held at once.
    pub(crate) fn slots_used(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK_SLOTS + last.len())
    }

    /// Slots there is memory for.
    pub(crate) fn slots_allocated(&self) -> usize {
        self.blocks.len() * BLOCK_SLOTS
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
        assert_eq!((arena.slots_used(), arena.slots_allocated()), (3000, 3072));
    }
}
