//! Storage of the timer wheel: entries addressed by number, in blocks that never move.
//!
//! Growing allocates one more block instead of copying everything into a larger vector, so that ten million delayed
//! messages cost neither a long pause nor twice their memory. Freed entries are reused; the memory goes back when all
//! of them are free.

/// Entries by number.
pub(crate) struct Slab<T> {
    blocks: Vec<Vec<Entry<T>>>,
    free: u32,
    len: u32,
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

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { blocks: Vec::new(), free: NIL, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Octets of memory that the entries take up.
    pub(crate) fn held(&self) -> usize {
        let of_first = self.blocks.first().map_or(0, Vec::capacity);
        (of_first + self.blocks.len().saturating_sub(1) * BLOCK) * size_of::<Entry<T>>()
    }

    pub(crate) fn insert(&mut self, at: u32, value: T) -> u32 {
        self.len += 1;
        let entry = Entry { at, next: NIL, previous: NIL, value: Some(value) };
        if self.free != NIL {
            let number = self.free;
            let freed = self.entry(number);
            let next_free = freed.next;
            *freed = entry;
            self.free = next_free;
            return number;
        }
        if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
            // The first block grows as it fills: most wheels are small.
            self.blocks.push(if self.blocks.is_empty() { Vec::new() } else { Vec::with_capacity(BLOCK) });
        }
        let block = self.blocks.len() - 1;
        let place = self.blocks[block].len();
        self.blocks[block].push(entry);
        let number = (block << BLOCK_BITS) + place;
        // Four thousand million timers are more memory than any machine has; going on would mix up entries.
        u32::try_from(number).ok().filter(|&number| number != NIL).expect("fewer than 2^32 - 1 timers")
    }

    /// The value, if the number is in use.
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.blocks.get((number >> BLOCK_BITS) as usize)?.get(number as usize % BLOCK)?.value.as_ref()
    }

    /// An entry that exists, in use or free.
    pub(crate) fn entry(&mut self, number: u32) -> &mut Entry<T> {
        &mut self.blocks[(number >> BLOCK_BITS) as usize][number as usize % BLOCK]
    }

    /// Frees an entry in use. The caller has unlinked it.
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let free = self.free;
        let entry = self.entry(number);
        let value = entry.value.take()?;
        entry.next = free;
        self.free = number;
        self.len -= 1;
        if self.len == 0 {
            self.blocks.truncate(1);
            self.blocks.iter_mut().for_each(Vec::clear);
            self.free = NIL;
        }
        Some(value)
    }
}
