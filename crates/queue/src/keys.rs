//! Which queue a message belongs to under one generation: what reception decided, said again for mail that a restart or a
//! reload finds in a queue.
//!
//! The binding stays while the configuration has it; mail of a binding that is gone falls to the default one. The routing
//! domain follows the gateways, unless policy chose it. One value belongs to one loop or thread.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use config::{Generation, Lookup};
use message::{Envelope, QueueName};

use crate::options::GATEWAY;
use crate::routing_domain::{plain_domain, routing_domain};

/// The keys of one generation.
#[derive(Debug)]
pub struct Keys {
    generation: Arc<Generation>,
    /// The group of each binding.
    bindings: HashMap<String, Arc<str>>,
    /// By binding group, binding and recipient domain.
    known: HashMap<(Arc<str>, Arc<str>, String), Arc<str>>,
    default: Arc<str>,
}

impl Keys {
    /// Those of a generation.
    pub fn new(generation: Arc<Generation>) -> Self {
        let stanzas = generation.instances("binding");
        let group_of =
            |stanza: &config::ScopeRef<'_>| stanza.parent().map_or(DEFAULT.into(), |group| group.name().into());
        let bindings = stanzas.iter().map(|stanza| (stanza.name(), group_of(stanza))).collect();
        Self { generation, bindings, known: HashMap::new(), default: DEFAULT.into() }
    }

    /// The generation they belong to.
    pub fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// The queue a message belongs to.
    pub fn queue(&mut self, envelope: &Envelope) -> QueueName {
        let QueueName { binding_group, binding, .. } = &envelope.queue;
        let (binding_group, binding) = self.binding(binding_group, binding);
        if let Some(domain) = envelope.particulars.as_ref().and_then(|particulars| particulars.routing_domain.clone()) {
            return QueueName { binding_group, binding, domain };
        }
        let recipient_domain = envelope.forward_path.mailbox().domain();
        let key = (binding_group, binding, recipient_domain.to_ascii_lowercase());
        if let Some(domain) = self.known.get(&key) {
            return QueueName { binding_group: key.0, binding: key.1, domain: domain.clone() };
        }
        if self.known.len() == KNOWN_MAX {
            self.known.clear();
        }
        let domain = routing_domain(&self.generation, &key.0, &key.1, recipient_domain);
        self.known.insert(key.clone(), domain.clone());
        QueueName { binding_group: key.0, binding: key.1, domain }
    }

    /// Whether all mail of a queue surely belongs there, if every message of it goes by its recipient's own domain.
    pub fn keeps(&self, queue: &QueueName) -> bool {
        let (binding_group, binding) = self.binding(&queue.binding_group, &queue.binding);
        binding_group == queue.binding_group
            && binding == queue.binding
            && routing_domain(&self.generation, &binding_group, &binding, plain_domain(&queue.domain)) == queue.domain
    }

    /// A number that changes when a gateway or a binding does.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut bindings: Vec<_> = self.bindings.iter().collect();
        bindings.sort();
        bindings.hash(&mut hasher);
        self.generation.get(&GATEWAY, &Lookup::Global).hash(&mut hasher);
        for word in ["domain", "binding", "binding_group"] {
            for stanza in self.generation.stanzas(word) {
                if let Some(gateway) = stanza.find(&GATEWAY) {
                    (stanza.scope_id().0, gateway).hash(&mut hasher);
                }
            }
        }
        hasher.finish()
    }

    fn binding(&self, binding_group: &Arc<str>, binding: &Arc<str>) -> (Arc<str>, Arc<str>) {
        match self.bindings.get(&**binding) {
            _ if **binding == *DEFAULT => (binding_group.clone(), binding.clone()),
            Some(group) if *group == *binding_group => (binding_group.clone(), binding.clone()),
            Some(group) => (group.clone(), binding.clone()),
            None => (self.default.clone(), self.default.clone()),
        }
    }
}

/// The binding, and the group, that exist without being written.
const DEFAULT: &str = "default";
/// Domains remembered.
const KNOWN_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::tests::envelope;
    use config::{Configuration, Registry};

    fn keys(text: &str) -> Keys {
        let mut registry = Registry::new();
        registry.add_all(crate::OPTIONS);
        Keys::new(Configuration::of_text(registry, text).unwrap().current())
    }

    fn queue(keys: &mut Keys, (binding_group, binding, domain): (&str, &str, &str), recipient: &str) -> String {
        let mut envelope = envelope(1, recipient);
        envelope.queue =
            QueueName { binding_group: binding_group.into(), binding: binding.into(), domain: domain.into() };
        for _ in 0..2 {
            let queue = keys.queue(&envelope);
            envelope.queue = queue;
        }
        format!("{}:{}:{}", envelope.queue.binding_group, envelope.queue.binding, envelope.queue.domain)
    }

    #[test]
    fn mail_follows_gateways_and_falls_to_the_default_binding_when_its_own_is_gone() {
        let text = "binding_group \"g\" { binding \"b\" { gateway = \"new.test\" } }\n\
                    binding \"c\" { }\ndomain \"x.test\" { gateway = \"10.0.0.5\" }\n";
        let mut keys = keys(text);
        assert_eq!(queue(&mut keys, ("g", "b", "old.test"), "x.test"), "g:b:new.test");
        assert_eq!(queue(&mut keys, ("default", "b", "old.test"), "y.test"), "g:b:new.test", "it moved into a group");
        assert_eq!(queue(&mut keys, ("default", "c", "old.test"), "x.test"), "default:c:10.0.0.5");
        assert_eq!(queue(&mut keys, ("g", "gone", "old.test"), "Y.test"), "default:default:y.test");
        assert_eq!(queue(&mut keys, ("default", "default", "old.test"), "10.0.0.5"), "default:default:10.0.0.5.");
    }

    #[test]
    fn a_routing_domain_that_policy_chose_stays() {
        let mut keys = keys("binding \"c\" { }\ndomain \"x.test\" { gateway = \"10.0.0.5\" }\n");
        let mut envelope = envelope(1, "x.test");
        envelope.queue.binding = "gone".into();
        envelope.particulars_mut().routing_domain = Some("relay.test".into());
        let queue = keys.queue(&envelope);
        assert_eq!((&*queue.binding, &*queue.domain), ("default", "relay.test"));
    }

    #[test]
    fn a_queue_that_keeps_its_mail_is_told_from_one_that_may_not() {
        let keys = keys("binding \"c\" { }\ndomain \"x.test\" { gateway = \"new.test\" }\n");
        let keeps = |binding: &str, domain: &str| {
            keys.keeps(&QueueName { binding_group: "default".into(), binding: binding.into(), domain: domain.into() })
        };
        assert!(keeps("c", "y.test") && keeps("default", "y.test") && keeps("c", "10.0.0.5."));
        assert!(!keeps("c", "x.test") && !keeps("gone", "y.test"));
    }

    #[test]
    fn only_gateways_and_bindings_change_the_fingerprint() {
        let text = "binding \"c\" { gateway = \"a.test\" }\ndomain \"x.test\" { }\n";
        let same = format!("retry_interval = 7\n{text}");
        assert_eq!(keys(text).fingerprint(), keys(&same).fingerprint());
        for other in ["", "gateway = \"a.test\"\n", "binding \"c\" { gateway = \"b.test\" }\n", "binding \"c\" { }\n"] {
            assert_ne!(keys(text).fingerprint(), keys(other).fingerprint(), "{other}");
        }
    }
}
