//! Policy's variables: keys and values, in the order they were first set. Cloning shares them; whoever changes one copies first.

use std::ops::Deref;
use std::sync::Arc;

/// One variable.
pub type Variable = (Box<str>, Box<str>);

/// Keys and values. An empty one costs nothing but its 8 octets.
#[derive(Clone, Debug, Default)]
pub struct Dictionary(Option<Arc<Vec<Variable>>>);

impl Dictionary {
    /// The value of a key.
    pub fn find(&self, key: &str) -> Option<&str> {
        self.iter().find(|(name, _)| &**name == key).map(|(_, value)| &**value)
    }

    /// Sets a key; one that is there keeps its place.
    pub fn set(&mut self, key: &str, value: &str) {
        match self.iter().position(|(name, _)| &**name == key) {
            Some(place) if *self[place].1 == *value => {}
            Some(place) => self.entries()[place].1 = value.into(),
            None => self.push((key.into(), value.into())),
        }
    }

    /// Removes a key; whether it was there.
    pub fn unset(&mut self, key: &str) -> bool {
        let Some(place) = self.iter().position(|(name, _)| &**name == key) else { return false };
        self.entries().remove(place);
        true
    }

    /// Appends a variable, whatever its key.
    pub fn push(&mut self, variable: Variable) {
        self.entries().push(variable);
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.0 = None;
    }

    /// Octets of memory that hang on it, shared or not.
    pub fn held(&self) -> usize {
        let Some(entries) = &self.0 else { return 0 };
        let texts: usize = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        entries.capacity() * size_of::<Variable>() + texts
    }

    fn entries(&mut self) -> &mut Vec<Variable> {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl Deref for Dictionary {
    type Target = [Variable];

    fn deref(&self) -> &[Variable] {
        self.0.as_ref().map_or(&[], |entries| entries)
    }
}

impl PartialEq for Dictionary {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Dictionary {}

impl FromIterator<Variable> for Dictionary {
    fn from_iter<I: IntoIterator<Item = Variable>>(variables: I) -> Self {
        let entries: Vec<Variable> = variables.into_iter().collect();
        Self((!entries.is_empty()).then(|| Arc::new(entries)))
    }
}

impl Extend<Variable> for Dictionary {
    fn extend<I: IntoIterator<Item = Variable>>(&mut self, variables: I) {
        variables.into_iter().for_each(|variable| self.push(variable));
    }
}

impl<'a> IntoIterator for &'a Dictionary {
    type Item = &'a Variable;
    type IntoIter = std::slice::Iter<'a, Variable>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_by_nobody_who_shared_it_before() {
        let mut one = Dictionary::default();
        one.set("a", "1");
        one.set("b", "2");
        let mut other = one.clone();
        assert!(std::ptr::eq(&*one, &*other), "nothing is copied to share");
        other.set("a", "1");
        assert!(std::ptr::eq(&*one, &*other), "nor to say the same again");
        other.set("a", "3");
        assert!(other.unset("b") && !other.unset("b"));
        assert_eq!(
            (one.find("a"), one.find("b"), other.find("a"), other.find("b")),
            (Some("1"), Some("2"), Some("3"), None)
        );
        other.unset("a");
        assert_eq!(other, Dictionary::default());
    }
}
