//! Advice on a configuration that is valid and yet does not do what it seems to say: stanzas no mail can reach, options that
//! hold for no queue, names of pathways nobody wrote.
//!
//! In: a generation without errors. Out: warnings with their places. Runs once a load, after the merge, because it asks
//! what options come to. Pure. Each piece of advice is about options that are declared; a build without them gives none.

use std::collections::HashSet;

use crate::diagnostics::{Fault, Reports};
use crate::gateways::{gateways_without_routes, options_without_a_queue};
use crate::generation::Generation;
use crate::here;
use crate::lookup::DEFAULT_GROUP;
use crate::merge::title_of;
use crate::registry::NameId;
use crate::scope::bits;
use crate::slips;
use crate::stanza::{Node, NodeId, ROOT};

/// One piece of advice.
pub(crate) type Advice = fn(&Generation, &mut Reports);

/// Looks for what does not do what it says.
pub(crate) fn advise(generation: &Generation, reports: &mut Reports) {
    let own: [Advice; 5] =
        [unreachable_bindings, empty_groups, options_without_a_queue, gateways_without_routes, unknown_pathways];
    for advice in own.into_iter().chain(slips::ALL).chain(here::ALL) {
        if !reports.wants_warnings() {
            return;
        }
        advice(generation, reports);
    }
}

/// Mail leaves by binding default unless a module says otherwise.
fn unreachable_bindings(generation: &Generation, reports: &mut Reports) {
    let assigns = |word: &&str| generation.registry().is_live(word) && generation.stanzas(word).next().is_some();
    if declared(generation, GATEWAY).is_none() || ASSIGNING.iter().any(assigns) {
        return;
    }
    let mut bindings = nodes(generation, bits::BINDING).filter(|(_, node)| node.name_text() != DEFAULT_GROUP);
    let Some((first, node)) = bindings.next() else { return };
    let others = match bindings.count() {
        0 => String::new(),
        1 => ", nor one other".to_owned(),
        more => format!(", nor {more} others"),
    };
    let message = format!("no mail can reach {}{others}", title_of(generation.arena(), first));
    let help = "mail leaves by binding \"default\" unless a module gives it another, and none that does is in use";
    reports.push(Fault::warning(node.span, message).help(help));
}

/// A group is nothing without bindings.
fn empty_groups(generation: &Generation, reports: &mut Reports) {
    let with_bindings: HashSet<NodeId> = nodes(generation, bits::BINDING).map(|(_, node)| node.parent).collect();
    for (id, node) in nodes(generation, bits::BINDING_GROUP) {
        if declared(generation, GATEWAY).is_some() && node.name_text() != DEFAULT_GROUP && !with_bindings.contains(&id)
        {
            let message = format!("no mail can reach {}: no binding stands in it", title_of(generation.arena(), id));
            reports.push(Fault::warning(node.span, message).help("write binding \"name\" { } inside it, or remove it"));
        }
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

const GATEWAY: &str = "gateway";
const PATHWAY: &str = "pathway";
/// Modules that give mail a binding.
const ASSIGNING: &[&str] = &["scriptlet"];

#[cfg(test)]
mod tests {
    use crate::{Configuration, Declared, Opt, Registry, Scope, scopes};

    static GATEWAY: Opt<String> = Opt::new("gateway", "", scopes::QUEUE, "For this test.");
    static PATHWAY: Opt<String> =
        Opt::new("pathway", "", &[Scope::Listener("esmtp_listener"), Scope::Listen], "For this test.");
    static OPTIONS: &[&dyn Declared] = &[&GATEWAY, &PATHWAY];

    /// `LINE:COLUMN: message` of each warning.
    fn told(text: &str) -> Vec<String> {
        let mut registry = Registry::new();
        registry.add_all(OPTIONS);
        let generation = Configuration::of_text(registry, text).expect("valid").current();
        generation.warnings().iter().map(|one| format!("{}:{}: {}", one.line, one.column, one.message)).collect()
    }

    #[test]
    fn bindings_that_no_module_gives_mail_to_are_told_at_the_first() {
        assert_eq!(told("binding \"default\" { }\nbinding_group \"default\" { binding \"default\" { } }\n"), [""; 0]);
        assert_eq!(told("binding \"a\" { }\n"), ["1:1: no mail can reach binding \"a\""]);
        let text = "binding_group \"g\" {\n  binding \"a\" { }\n  binding \"b\" { }\n}\nbinding \"c\" { }\n";
        assert_eq!(told(text), ["2:3: no mail can reach binding \"a\", nor 2 others"]);
    }

    #[test]
    fn a_group_without_a_binding_is_told() {
        assert_eq!(
            told("\nbinding_group \"g\" { }\n"),
            ["2:1: no mail can reach binding_group \"g\": no binding stands in it"]
        );
    }

    #[test]
    fn a_pathway_that_nobody_wrote_is_told() {
        let text = "pathway \"p\" { }\nesmtp_listener {\n  pathway = p\n  listen \":25\" { pathway = P }\n}\n";
        assert_eq!(told(text), ["4:18: there is no pathway \"P\", so this has no effect"]);
    }
}
