//! Advice on a configuration that is valid and yet does not do what it seems to say: stanzas no mail can reach, options that
//! hold for no queue, names of pathways nobody wrote.
//!
//! In: a generation without errors. Out: warnings with their places, and errors where a name leads nowhere. Runs once a load, after the merge, because it asks
//! what options come to. Pure. Each piece of advice is about options that are declared; a build without them gives none.

use std::collections::HashSet;

use crate::bindings::{empty_groups, names_of_no_binding, unreachable_bindings};
use crate::diagnostics::{Fault, Reports};
use crate::gateways::{gateways_without_routes, options_without_a_queue};
use crate::generation::Generation;
use crate::here;
use crate::registry::NameId;
use crate::scope::bits;
use crate::slips;
use crate::stanza::{Node, NodeId, ROOT};

/// One piece of advice.
pub(crate) type Advice = fn(&Generation, &mut Reports);

/// Looks for names that lead nowhere, which are errors, and for what does not do what it says.
pub(crate) fn advise(generation: &Generation, reports: &mut Reports) {
    names_of_no_binding(generation, reports);
    let own: [Advice; 5] =
        [unreachable_bindings, empty_groups, options_without_a_queue, gateways_without_routes, unknown_pathways];
    for advice in own.into_iter().chain(slips::ALL).chain(here::ALL) {
        if !reports.wants_warnings() {
            return;
        }
        advice(generation, reports);
    }
}

/// A pathway that nobody wrote has nothing to say.
fn unknown_pathways(generation: &Generation, reports: &mut Reports) {
    let Some(option) = declared(generation, PATHWAY) else { return };
    let arena = generation.arena();
    let known: HashSet<String> =
        nodes(generation, bits::PATHWAY).map(|(_, node)| node.name_text().into_owned()).collect();
    for (_, node) in arena.iter() {
        let Some(setting) = node.setting(option) else { continue };
        let Some(named) = setting.value.scalar().map(|named| named.text().into_owned()) else { continue };
        if !named.is_empty() && !known.contains(&named) {
            let message = format!("there is no pathway \"{named}\", so this has no effect");
            let help = format!("write pathway \"{named}\" {{ }}, or correct the name; case counts");
            reports.push(Fault::warning(setting.span, message).help(help));
        }
    }
}

/// The stanzas of one kind, in file order.
pub(crate) fn nodes(generation: &Generation, bit: u32) -> impl Iterator<Item = (NodeId, &Node)> {
    generation.arena().iter().filter(move |(id, node)| *id != ROOT && node.bit == bit)
}

/// An option, if somebody declares it.
pub(crate) fn declared(generation: &Generation, name: &str) -> Option<NameId> {
    let id = generation.name_id(name)?;
    generation.registry().info(id).is_some_and(|info| !info.declared.is_empty()).then_some(id)
}

const PATHWAY: &str = "pathway";

#[cfg(test)]
mod tests {
    use crate::{Configuration, Declared, Opt, Registry, Scope};

    static PATHWAY: Opt<String> =
        Opt::new("pathway", "", &[Scope::Listener("esmtp_listener"), Scope::Listen], "For this test.");
    static OPTIONS: &[&dyn Declared] = &[&PATHWAY];

    /// `LINE:COLUMN: message` of each warning.
    fn told(text: &str) -> Vec<String> {
        let mut registry = Registry::new();
        registry.add_all(OPTIONS);
        let generation = Configuration::of_text(registry, text).expect("valid").current();
        generation.warnings().iter().map(|one| format!("{}:{}: {}", one.line, one.column, one.message)).collect()
    }

    #[test]
    fn a_pathway_that_nobody_wrote_is_told() {
        let text = "pathway \"p\" { }\nesmtp_listener {\n  pathway = p\n  listen \":25\" { pathway = P }\n}\n";
        assert_eq!(told(text), ["4:18: there is no pathway \"P\", so this has no effect"]);
    }
}
