//! What a configuration makes use of, for those that load modules on demand.
//!
//! Both questions walk every stanza of a generation; they are asked while one is prepared, never while mail is handled.

use crate::generation::Generation;
use crate::stanza::{NodeId, Setting};
use crate::tree::{Scalar, ValueKind};

impl Generation {
    /// Whether some stanza with exactly these words around it, outermost first, sets the option. No words ask for the
    /// global scope.
    pub fn sets(&self, stanzas: &[&str], option: &str) -> bool {
        let Some(name) = self.name_id(option) else { return false };
        let arena = self.arena();
        let fits = |id: NodeId| {
            let path = arena.path(id);
            path.len() == stanzas.len()
                && path
                    .iter()
                    .zip(stanzas)
                    .all(|(id, word)| arena.word_text(arena.node(*id).word).eq_ignore_ascii_case(word))
        };
        arena.iter().any(|(id, node)| node.setting(name).is_some() && fits(id))
    }

    /// Whether some value names a URL of that scheme, alone or behind another: `persist://http://host/file`.
    pub fn names_scheme(&self, scheme: &str) -> bool {
        let start = format!("{}://", scheme.to_ascii_lowercase());
        let in_text = |scalar: &Scalar| begins_in(&scalar.text().to_ascii_lowercase(), &start);
        let in_value = |setting: &Setting| match &setting.value.kind {
            ValueKind::Scalar(scalar) => in_text(scalar),
            ValueKind::Array(items) => items.iter().any(in_text),
            ValueKind::Dict(pairs) => pairs.iter().any(|(_, value)| in_text(value)),
        };
        self.arena().iter().any(|(_, node)| node.settings().iter().any(in_value))
    }
}

/// Whether `start` stands in `text` as a word of its own: at the beginning, or behind what cannot be part of a scheme.
fn begins_in(text: &str, start: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    text.match_indices(start).any(|(at, _)| !text[..at].ends_with(is_part))
}

#[cfg(test)]
mod tests {
    use crate::{Configuration, Declared, Opt, Registry, scopes};

    static DESTINATION: Opt<Vec<String>> = Opt::new("destination_for_tests", "", scopes::QUEUE, "For this test.");
    static OPTIONS: &[&dyn Declared] = &[&DESTINATION];

    fn configuration(text: &str) -> Configuration {
        let mut registry = Registry::new();
        registry.add_all(OPTIONS);
        Configuration::of_text(registry, text).expect("a valid text")
    }

    #[test]
    fn an_option_is_set_in_its_very_stanzas() {
        let generation = configuration("binding \"b\" { Domain \"d\" { Destination_For_Tests = x } }").current();
        assert!(generation.sets(&["binding", "domain"], "destination_for_tests"));
        assert!(generation.sets(&["Binding", "Domain"], "DESTINATION_FOR_TESTS"));
        for stanzas in [&["domain"][..], &["binding"], &[], &["binding_group", "binding", "domain"]] {
            assert!(!generation.sets(stanzas, "destination_for_tests"), "{stanzas:?}");
        }
        assert!(!generation.sets(&[], "no_such_option"));
    }

    #[test]
    fn a_scheme_is_named_by_a_url_and_by_no_other_word() {
        let text = "destination_for_tests = ( \"persist://jlog:///a\" \"xhttp://h\" \"pipe\" )";
        let generation = configuration(text).current();
        for (scheme, named) in [("persist", true), ("JLOG", true), ("http", false), ("pipe", false), ("xhttp", true)] {
            assert_eq!(generation.names_scheme(scheme), named, "{scheme}");
        }
    }
}
