//! How much memory a generation takes up, about: for whoever accounts for it.
//!
//! Counts the stanzas, their settings and the texts they were read from. What a compiled pattern takes up cannot be asked,
//! so each is taken for an average one. The registry, which every generation shares, is not counted.

use crate::generation::Generation;
use crate::tree::{Scalar, Value, ValueKind};

impl Generation {
    /// Octets of memory, about.
    pub fn held(&self) -> usize {
        let stanzas: usize = self.arena().iter().map(|(_, node)| node.held()).sum();
        let texts: usize =
            self.sources.iter().map(|(_, file)| file.text().len() + file.text().len() / LINE_OCTETS).sum();
        stanzas + texts
    }
}

/// Octets that hang on a value beside itself, about.
pub(crate) fn of_value(value: &Value) -> usize {
    let of = |scalar: &Scalar| size_of::<Scalar>() + scalar.text().len();
    match &value.kind {
        ValueKind::Scalar(scalar) => scalar.text().len(),
        ValueKind::Array(scalars) => scalars.iter().map(of).sum(),
        ValueKind::Dict(pairs) => pairs.iter().map(|(key, value)| of(key) + of(value)).sum(),
    }
}

/// A compiled pattern, on average, with its part of the set it is matched in.
pub(crate) const PATTERN_OCTETS: usize = 16 << 10;
/// Octets of text for each one that remembers where lines begin.
const LINE_OCTETS: usize = 8;

#[cfg(test)]
mod tests {
    use crate::{Configuration, Registry};

    #[test]
    fn a_larger_configuration_takes_up_more() {
        let held = |text: &str| Configuration::of_text(Registry::new(), text).expect("it is valid").current().held();
        let large: String = (0..1000).map(|n| format!("domain \"d{n}.test\" {{ }}\n")).collect();
        let (none, large) = (held(""), held(&large));
        assert!(none < 10_000 && 100_000 < large && large < 2_000_000, "{none}, {large}");
    }
}
