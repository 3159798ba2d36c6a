//! Mail under the names of gateways: where that of a recipient domain waits, and whose mail a gateway's queue holds.

use std::collections::{BTreeMap, BTreeSet};

use config::{Generation, Lookup};
use console::shapes::RecipientDomains;
use delivery::Selection;

use crate::house::House;

/// The gateway of a domain's mail in each binding that has one.
pub fn of_domain(generation: &Generation, domain: &str) -> Vec<(String, String)> {
    let bindings: BTreeSet<String> =
        generation.stanzas("binding").map(|stanza| stanza.name()).chain([DEFAULT.to_owned()]).collect();
    let gateway = |binding: String| {
        let lookup = Lookup::Queue { binding_group: "", binding: &binding, domain };
        let gateway = generation.gateway(&lookup)?;
        Some((binding, gateway.name))
    };
    bindings.into_iter().filter_map(gateway).collect()
}

/// Where a domain's mail goes, as a sentence behind its name; none where it goes under that name in every binding.
pub fn sentence(gateways: &[(String, String)]) -> Option<String> {
    let of_default = gateways.iter().find(|(binding, _)| binding == DEFAULT);
    let differing: Vec<String> = gateways
        .iter()
        .filter(|(binding, gateway)| binding != DEFAULT && of_default.is_none_or(|(_, default)| default != gateway))
        .take(BINDINGS_TOLD)
        .map(|(binding, gateway)| format!("binding {binding}: {gateway}"))
        .collect();
    let default =
        of_default.map(|(_, gateway)| format!("has the gateway {gateway}, its mail is under: domain {gateway}"));
    match (default, differing.join(", ")) {
        (None, bindings) if bindings.is_empty() => None,
        (Some(default), bindings) if bindings.is_empty() => Some(default),
        (Some(default), bindings) => Some(format!("{default}; {bindings}")),
        (None, bindings) => Some(format!("has gateways in some bindings, its mail is under them ({bindings})")),
    }
}

/// Whose mail waits in a queue, if its name is a gateway's.
pub async fn recipient_domains(house: &House, binding: Option<&str>, domain: &str) -> Option<RecipientDomains> {
    if !house.configuration.current().is_gateway(domain) {
        return None;
    }
    let selection = Selection { binding: binding.map(str::to_owned), domain: Some(domain.to_owned()) };
    let listing = house.engine.listing(&selection, 0, LOOKED_AT).await;
    let is_partial = LOOKED_AT < listing.total;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for message in &listing.messages {
        *counts.entry(message.envelope.forward_path.mailbox().domain().to_ascii_lowercase()).or_default() += 1;
    }
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    (!counts.is_empty()).then_some(RecipientDomains { counts, is_partial })
}

/// The binding of mail that no policy gives one.
const DEFAULT: &str = "default";
/// Bindings that a sentence names.
const BINDINGS_TOLD: usize = 8;
/// Messages of a queue whose recipients are looked at: envelopes that are not in memory are read from the spool.
const LOOKED_AT: usize = 1000;
