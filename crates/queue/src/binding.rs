//! Which binding mail has before policy speaks: the one that its door or the configuration as a whole gives it.
//!
//! Policy may give it another (`validate_set_binding`). Resolved once a generation; which bindings of a group are suspended
//! is asked then.

use std::sync::Arc;

use config::{Generation, Lookup};

use crate::options::{DEFAULT_BINDING, DefaultBinding, SUSPEND_DELIVERY};

/// What mail of one door leaves by: a binding, or those of a group in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    binding_group: Arc<str>,
    /// At least one.
    bindings: Vec<Arc<str>>,
}

impl Assigned {
    /// What two names that a door gives come to; empty ones are none. A name that nobody wrote gives nothing, and then what
    /// `default_binding` says holds.
    pub fn resolve(generation: &Generation, binding_group: &str, binding: &str) -> Self {
        let of_binding =
            Some(binding).filter(|binding| !binding.is_empty()).and_then(|name| Self::named(generation, name));
        let of_group = || Self::group(generation, binding_group).filter(|_| !binding_group.is_empty());
        of_binding.or_else(of_group).unwrap_or_else(|| Self::unnamed(generation))
    }

    /// That of mail which nothing gives a binding, such as a notification.
    pub fn unnamed(generation: &Generation) -> Self {
        let named = match generation.get(&DEFAULT_BINDING, &Lookup::Global) {
            DefaultBinding::Named(name) => Self::named(generation, &name),
            DefaultBinding::Normal | DefaultBinding::Suspended | DefaultBinding::None => None,
        };
        named.unwrap_or_else(|| Self { binding_group: DEFAULT.into(), bindings: vec![DEFAULT.into()] })
    }

    /// The group and the binding of the message with that number: those of a group have their turns.
    pub fn of_turn(&self, turn: usize) -> (&Arc<str>, &Arc<str>) {
        (&self.binding_group, &self.bindings[turn % self.bindings.len()])
    }

    fn named(generation: &Generation, name: &str) -> Option<Self> {
        let is_there = name == DEFAULT || generation.stanzas("binding").any(|stanza| stanza.name() == name);
        is_there.then(|| Self { binding_group: generation.group_of(name).into(), bindings: vec![name.into()] })
    }

    /// Its bindings that deliver; all of them if none does.
    fn group(generation: &Generation, group: &str) -> Option<Self> {
        let is_member = |stanza: &config::ScopeRef<'_>| stanza.parent().is_some_and(|parent| parent.name() == group);
        let all: Vec<Arc<str>> =
            generation.stanzas("binding").filter(is_member).map(|stanza| stanza.name().into()).collect();
        let delivers = |binding: &Arc<str>| {
            let lookup = Lookup::Queue { binding_group: group, binding, domain: "" };
            !generation.get(&SUSPEND_DELIVERY, &lookup)
        };
        let delivering: Vec<Arc<str>> = all.iter().filter(|binding| delivers(binding)).cloned().collect();
        let bindings = if delivering.is_empty() { all } else { delivering };
        (!bindings.is_empty()).then(|| Self { binding_group: group.into(), bindings })
    }
}

/// The binding, and the group, that exist without being written.
const DEFAULT: &str = "default";

#[cfg(test)]
mod tests {
    use super::*;
    use config::{Configuration, Registry};

    fn turns(text: &str, binding_group: &str, binding: &str) -> String {
        let mut registry = Registry::new();
        registry.add_all(crate::OPTIONS);
        let generation = Configuration::of_text(registry, text).expect("it is valid").current();
        let assigned = Assigned::resolve(&generation, binding_group, binding);
        let shown = |turn| {
            let (group, binding) = assigned.of_turn(turn);
            format!("{group}/{binding}")
        };
        (0..3).map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_door_gives_a_binding_or_those_of_a_group_in_turn() {
        let text = "binding_group \"g\" { binding \"a\" { } binding \"b\" { } binding \"c\" { suspend_delivery = true } }\n\
                    binding \"d\" { }\nbinding_group \"held\" { suspend_delivery = true binding \"e\" { } }\n";
        assert_eq!(turns(text, "", "d"), "default/d default/d default/d");
        assert_eq!(turns(text, "", "a"), "g/a g/a g/a");
        assert_eq!(turns(text, "held", "a"), "g/a g/a g/a", "a binding is more than a group");
        assert_eq!(turns(text, "g", ""), "g/a g/b g/a", "one that is suspended is passed over");
        assert_eq!(turns(text, "held", ""), "held/e held/e held/e");
        for (group, binding) in [("", ""), ("", "gone"), ("gone", "")] {
            assert_eq!(turns(text, group, binding), "default/default default/default default/default");
        }
    }

    #[test]
    fn mail_that_nothing_gives_a_binding_leaves_by_default_binding() {
        let text = "binding_group \"g\" { binding \"a\" { } }\ndefault_binding = \"a\"\n";
        assert_eq!(turns(text, "", ""), "g/a g/a g/a");
        assert_eq!(turns(text, "", "default"), "default/default default/default default/default");
    }
}
