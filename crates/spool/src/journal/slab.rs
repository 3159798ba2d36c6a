//! A slab: values under small numbers, in blocks, so that growing never copies and holes are used again.

/// Values under numbers that stay theirs until removed.
pub struct Slab<T> {
    blocks: Vec<Box<[Option<T>]>>,
    free: Vec<u32>,
    next: u32,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { blocks: Vec::new(), free: Vec::new(), next: 0, len: 0 }
    }
}

impl<T: Copy> Slab<T> {
    /// Values held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Octets taken.
    pub fn memory(&self) -> usize {
        self.blocks.len() * BLOCK * size_of::<Option<T>>() + self.free.capacity() * size_of::<u32>()
    }

    /// Puts a value in; its number.
    pub fn insert(&mut self, value: T) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        if self.blocks.len() * BLOCK <= number as usize {
            self.blocks.push((0..BLOCK).map(|_| None).collect());
        }
        self.blocks[number as usize / BLOCK][number as usize % BLOCK] = Some(value);
        self.len += 1;
        number
    }

    /// The value of a number, if it has one.
    pub fn try_get(&self, number: u32) -> Option<&T> {
        self.blocks.get(number as usize / BLOCK)?[number as usize % BLOCK].as_ref()
    }

    /// The value of a number that is in use.
    pub fn get(&self, number: u32) -> &T {
        self.try_get(number).expect("a slab number in use")
    }

    /// The value of a number that is in use.
    pub fn get_mut(&mut self, number: u32) -> &mut T {
        self.blocks[number as usize / BLOCK][number as usize % BLOCK].as_mut().expect("a slab number in use")
    }

    /// Takes the value of a number that is in use.
    pub fn remove(&mut self, number: u32) -> T {
        let value = self.blocks[number as usize / BLOCK][number as usize % BLOCK].take();
        self.len -= 1;
        self.free.push(number);
        if self.len == 0 {
            *self = Self::default();
        }
        value.expect("a slab number in use")
    }

    /// One more than the highest number there is.
    pub fn end(&self) -> u32 {
        self.next
    }

    /// The values of `count` numbers from `from` on, with their numbers.
    pub fn range(&self, from: u32, count: u32) -> impl Iterator<Item = (u32, &T)> {
        let end = from.saturating_add(count).min(self.next);
        (from..end).filter_map(|number| Some((number, self.try_get(number)?)))
    }
}

const BLOCK: usize = 1024;
