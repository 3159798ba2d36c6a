//! The addresses that bounces come to: reception asks whether a recipient is one, delivery whether a reverse-path is.
//!
//! Pure. Which domains they are in is a list (`bounce_domains`), read with the other options of a session.

use config::{Generation, Lookup};

use crate::options::BOUNCE_PATTERN;

/// Whether `bounce_pattern` takes an address; the null reverse-path is an empty one. The option is looked up in the domain of the
/// address itself, so that a domain stanza says which of its own addresses bounces come to.
pub fn is_bounce_address(generation: &Generation, address: &str) -> bool {
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase();
    let lookup = match domain.is_empty() {
        true => Lookup::Global,
        false => Lookup::Queue { binding_group: "default", binding: "default", domain: &domain },
    };
    let pattern = generation.get(&BOUNCE_PATTERN, &lookup);
    pattern.regex().is_none_or(|regex| regex.is_match(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::{Configuration, Registry};

    #[test]
    fn the_domain_of_the_address_says_which_of_its_addresses_are_meant() {
        let text = "bounce_pattern = \"^b-\"\ndomain \"x.test\" { bounce_pattern = \"^(?i)return\" }\n";
        let mut registry = Registry::new();
        registry.add_all(crate::OPTIONS);
        let generation = Configuration::of_text(registry, text).unwrap().current();
        let takes = |address: &str| is_bounce_address(&generation, address);
        assert!(takes("b-1@y.test") && takes("Return-1@X.test"));
        assert!(!takes("ann@y.test") && !takes("b-1@x.test") && !takes(""));
        let all = Configuration::of_text(Registry::new(), "").unwrap().current();
        assert!(is_bounce_address(&all, ""), "unset takes all");
    }
}
