//! Which queue's domain a recipient's mail goes by.

use std::net::IpAddr;
use std::sync::Arc;

use config::{Generation, Lookup};

use crate::options::GATEWAY;

/// The routing domain of a message: the gateway's name if one applies (reference: operations.md section 6), else the
/// recipient's domain; lower case either way. Reception calls it once the binding is known.
///
/// Only an address literal makes an address of a recipient's domain (RFC 5321 4.1.3): four bare numbers are a name like any
/// other. A dot behind says so, as in the DNS, and tells it from a gateway given by its address.
pub fn routing_domain(generation: &Generation, binding_group: &str, binding: &str, recipient_domain: &str) -> Arc<str> {
    let lookup = Lookup::Queue { binding_group, binding, domain: recipient_domain };
    let gateway = generation.get(&GATEWAY, &lookup);
    if !gateway.is_empty() {
        return lower_case(&gateway);
    }
    let domain = lower_case(recipient_domain);
    if domain.parse::<IpAddr>().is_ok() { format!("{domain}.").into() } else { domain }
}

/// The mail domain of a routing domain that is one: without the dot that tells four bare numbers from an address.
pub(crate) fn plain_domain(routing_domain: &str) -> &str {
    routing_domain.strip_suffix('.').unwrap_or(routing_domain)
}

fn lower_case(name: &str) -> Arc<str> {
    let name = name.trim_end_matches('.');
    if name.bytes().any(|octet| octet.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::{Configuration, Registry};

    #[test]
    fn the_gateway_becomes_the_routing_domain() {
        let mut registry = Registry::new();
        registry.add_all(crate::OPTIONS);
        let text = "domain \"a.test\" { gateway = \"Smart.test:2525\" }\nbinding \"b\" { gateway = \"192.0.2.1\" }\n";
        let generation = Configuration::of_text(registry, text).unwrap().current();
        let domain = |binding, recipient| routing_domain(&generation, "default", binding, recipient).to_string();
        assert_eq!(domain("default", "A.Test"), "smart.test:2525");
        assert_eq!(domain("b", "a.test"), "192.0.2.1", "a binding's value beats a domain's");
        assert_eq!(domain("default", "C.Test."), "c.test");
        assert_eq!(domain("default", "10.0.0.5"), "10.0.0.5.", "a name, not an address");
        assert_eq!(domain("default", "[10.0.0.5]"), "[10.0.0.5]");
        assert_eq!(domain("b", "10.0.0.5"), "192.0.2.1");
    }
}
