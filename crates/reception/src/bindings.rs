//! The bindings of one generation, as policy chooses among them.

use std::collections::HashMap;
use std::sync::Arc;

use config::Generation;
use message::Envelope;

use crate::epoch::Epoch;

/// What bindings there are.
#[derive(Debug, Default)]
pub(crate) struct BindingNames {
    /// The group of each.
    groups: HashMap<Arc<str>, Arc<str>>,
    /// The members of each group, in the order of the configuration.
    members: HashMap<Arc<str>, Vec<Arc<str>>>,
}

impl BindingNames {
    /// Those of a generation, and the default one.
    pub(crate) fn of(generation: &Generation) -> Self {
        let mut names = Self::default();
        for stanza in generation.instances("binding") {
            let group: Arc<str> = stanza.parent().map_or(DEFAULT.into(), |group| group.name().into());
            names.add(stanza.name().into(), group);
        }
        if !names.groups.contains_key(DEFAULT) {
            names.add(DEFAULT.into(), DEFAULT.into());
        }
        names
    }

    fn add(&mut self, binding: Arc<str>, group: Arc<str>) {
        self.members.entry(group.clone()).or_default().push(binding.clone());
        self.groups.insert(binding, group);
    }
}

/// The bindings as [`policy::Message`] asks for them.
pub(crate) struct EpochBindings<'a>(pub(crate) &'a Epoch);

impl policy::Bindings for EpochBindings<'_> {
    fn group_of(&self, binding: &str) -> Option<Arc<str>> {
        self.0.bindings().groups.get(binding).cloned()
    }

    /// Messages are spread by their id. Whether a binding is suspended is known where its queues are, not here.
    fn choose(&self, binding_group: &str, envelope: &Envelope) -> Option<Arc<str>> {
        let members = self.0.bindings().members.get(binding_group)?;
        let spread = envelope.id.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        members.get(spread as usize % members.len()).cloned()
    }
}

const DEFAULT: &str = "default";

#[cfg(test)]
mod tests {
    use config::{Configuration, Registry};

    use super::*;

    #[test]
    fn bindings_are_known_by_group_and_the_default_one_always() {
        let mut registry = Registry::new();
        registry.add_all(crate::OPTIONS);
        registry.add_all(queue::OPTIONS);
        let text = "binding_group \"bulk\" { binding \"b1\" { } binding \"b2\" { } }\nbinding \"own\" { }\n";
        let names = BindingNames::of(&Configuration::of_text(registry, text).expect("it is valid").current());
        let group = |name: &str| names.groups.get(name).map(|group| group.to_string());
        assert_eq!(
            (group("b2").as_deref(), group("own").as_deref(), group("x")),
            (Some("bulk"), Some("default"), None)
        );
        assert_eq!(group("default").as_deref(), Some("default"));
        let members: Vec<&str> = names.members["bulk"].iter().map(|name| &**name).collect();
        assert_eq!(members, ["b1", "b2"]);
    }
}
