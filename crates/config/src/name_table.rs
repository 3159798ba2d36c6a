//! From the hash of an option's name to its index, for reads on the hot path.
//!
//! Made once for a generation. The hashes are good ones already, so a table four times as large as their number, searched
//! from where a hash points, finds nearly every name at its first place.

use crate::registry::{NameId, Registry};
use crate::scope::name_hash;

#[derive(Debug)]
pub(crate) struct NameTable {
    /// Hash and index; a power of two of them, the free ones without an index.
    places: Box<[(u64, Option<NameId>)]>,
}

impl NameTable {
    pub fn of(registry: &Registry) -> Self {
        let size = (registry.len().max(1) * 4).next_power_of_two();
        let mut table = NameTable { places: vec![(0, None); size].into() };
        for name in registry.all_names() {
            let hash = name_hash(name);
            if let Some(id) = registry.id_of_hash(hash) {
                let mut at = table.first(hash);
                while table.places[at].1.is_some() {
                    at = (at + 1) % table.places.len();
                }
                table.places[at] = (hash, Some(id));
            }
        }
        table
    }

    fn first(&self, hash: u64) -> usize {
        hash as usize & (self.places.len() - 1)
    }

    /// The index of a name by its hash.
    #[inline]
    pub fn get(&self, hash: u64) -> Option<NameId> {
        let mut at = self.first(hash);
        loop {
            match self.places[at & (self.places.len() - 1)] {
                (_, None) => return None,
                (found, id) if found == hash => return id,
                _ => at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        let registry = Registry::new();
        let table = NameTable::of(&registry);
        for name in registry.all_names() {
            assert_eq!(table.get(name_hash(name)), registry.name_id(name), "{name}");
        }
        assert_eq!(table.get(name_hash("no such option")), None);
    }
}
