//! The fallback chain of an option in words, from the scopes it may be set in.
//!
//! Says what `lookup` does; a test holds the two together.

use crate::lookup::HOST_FALLS_BACK;
use crate::scope::bits;

/// One step: the bits an option must have, its name, and what it is in a sentence.
type Step = (u32, &'static str, &'static str);

const QUEUE: &[Step] = &[
    (
        bits::BINDING_GROUP | bits::BINDING | bits::DOMAIN,
        "binding_group:binding:domain",
        "the domain inside the binding inside its group",
    ),
    (bits::BINDING | bits::DOMAIN, "binding:domain", "the domain inside the binding"),
    (bits::BINDING_GROUP | bits::DOMAIN, "binding_group:domain", "the domain inside the binding group"),
    (bits::BINDING_GROUP | bits::BINDING, "binding_group:binding", "the binding inside its group"),
    (bits::BINDING, "binding", "the binding"),
    (bits::BINDING_GROUP, "binding_group", "the binding group"),
    (bits::DOMAIN, "domain", "the domain"),
];

const HOST: &[Step] = &[
    (bits::HOST, "binding_group:binding:host", "the host inside the binding inside its group"),
    (bits::HOST, "binding_group:host", "the host inside the binding group"),
    (bits::HOST, "binding:host", "the host inside the binding"),
    (bits::HOST, "host", "the host"),
];

const SESSION: &[Step] = &[
    (bits::LISTEN | bits::PEER, "listen:peer", "the peer inside the listen stanza"),
    (bits::LISTENER | bits::PEER, "listener:peer", "the peer inside the listener"),
    (bits::LISTEN, "listen", "the listen stanza"),
    (bits::LISTENER, "listener", "the listener"),
];

const PATHWAY: &[Step] = &[
    (bits::PATHWAY_GROUP | bits::PATHWAY, "pathway_group:pathway", "the pathway inside its group"),
    (bits::PATHWAY, "pathway", "the pathway"),
    (bits::PATHWAY_GROUP, "pathway_group", "the pathway group"),
];

const GLOBAL: &[Step] = &[(bits::GLOBAL, "global", "the global scope")];

/// One chain of an option, most specific first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FallbackChain {
    steps: Vec<Step>,
}

impl FallbackChain {
    /// `binding:domain > binding > domain > global`.
    pub fn short(&self) -> String {
        self.steps.iter().map(|(_, short, _)| *short).collect::<Vec<_>>().join(" > ")
    }

    /// Each step as a sentence without a verb.
    pub fn sentences(&self) -> Vec<&'static str> {
        self.steps.iter().map(|(_, _, sentence)| *sentence).collect()
    }
}

/// The chains of an option: one, or several when hosts, queues and sessions ask for it each in their way. None for an
/// option of a stanza that stands alone.
pub(crate) fn chains(mask: u32) -> Vec<FallbackChain> {
    let outbound = mask & (bits::BINDING_GROUP | bits::BINDING | bits::DOMAIN) != 0;
    let session = mask & (bits::LISTENER | bits::LISTEN | bits::PEER) != 0;
    let pathway = mask & (bits::PATHWAY_GROUP | bits::PATHWAY) != 0;
    let mut families: Vec<Vec<&[Step]>> = Vec::new();
    if mask & bits::HOST != 0 {
        let also: &[&[Step]] = if mask & HOST_FALLS_BACK != 0 { &[HOST_THEN_QUEUE, GLOBAL] } else { &[] };
        families.push([&[HOST], also].concat());
    }
    if outbound {
        families.push(vec![QUEUE, GLOBAL]);
    }
    if session || pathway {
        families.push(vec![SESSION, PATHWAY, GLOBAL]);
    }
    if families.is_empty() && mask & bits::GLOBAL != 0 {
        families.push(vec![GLOBAL]);
    }
    let admitted =
        |steps: &[Step]| steps.iter().copied().filter(|(needs, ..)| mask & needs == *needs).collect::<Vec<_>>();
    families
        .into_iter()
        .map(|family| FallbackChain { steps: family.into_iter().flat_map(admitted).collect() })
        .collect()
}

/// What a host falls back to when its option asks for that.
const HOST_THEN_QUEUE: &[Step] = &[
    (bits::BINDING | bits::DOMAIN, "binding:domain", "the domain inside the binding"),
    (bits::BINDING, "binding", "the binding"),
    (bits::DOMAIN, "domain", "the domain"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Configuration, Lookup, Opt, Registry, Scope, scopes};

    fn short(scopes: &[Scope]) -> Vec<String> {
        let mask = scopes.iter().fold(0, |mask, scope| mask | scope.bit());
        chains(mask).iter().map(FallbackChain::short).collect()
    }

    #[test]
    fn each_family_of_options_has_its_chain() {
        let queue = "binding_group:binding:domain > binding:domain > binding_group:domain > binding_group:binding > \
                     binding > binding_group > domain > global";
        assert_eq!(short(scopes::QUEUE), [queue]);
        assert_eq!(short(scopes::DOMAIN), ["domain > global"]);
        let session = "listen:peer > listener:peer > listen > listener > pathway_group:pathway > pathway > \
                       pathway_group > global";
        assert_eq!(short(scopes::LISTENER), [session]);
        assert_eq!(short(scopes::GLOBAL), ["global"]);
        assert!(short(scopes::THREAD_POOL).is_empty());
    }

    static EVERYWHERE: Opt<u64> = Opt::new("everywhere", "0", scopes::QUEUE, "For this test.");

    /// The configuration sets the option in all scopes of the chain to the rank that the chain gives it; the lookup must
    /// find rank 1, then rank 2 when 1 is gone, and so on.
    #[test]
    fn lookups_follow_the_words() {
        let ranked = [
            ("binding_group:binding:domain", "binding_group g { binding b { domain d { everywhere = @ } } }"),
            ("binding_group:domain", "binding_group g { domain d { everywhere = @ } }"),
            ("binding_group:binding", "binding_group g { binding b { everywhere = @ } }"),
            ("binding_group", "binding_group g { everywhere = @ }"),
            ("domain", "domain d { everywhere = @ }"),
            ("global", "everywhere = @"),
        ];
        for from in 0..ranked.len() {
            let said = short(scopes::QUEUE)[0].clone();
            let order = |step: &str| said.split(" > ").position(|own| own == step).expect("a step of the chain");
            assert!(ranked.windows(2).all(|pair| order(pair[0].0) < order(pair[1].0)));
            let text: String = ranked
                .iter()
                .enumerate()
                .skip(from)
                .map(|(rank, (_, text))| text.replace('@', &rank.to_string()) + "\n")
                .collect();
            let mut registry = Registry::new();
            registry.add(&EVERYWHERE);
            let generation = Configuration::of_text(registry, &text).expect("a valid text").current();
            let queue = Lookup::Queue { binding_group: "g", binding: "b", domain: "d" };
            assert_eq!(generation.get(&EVERYWHERE, &queue), from as u64);
        }
    }
}
