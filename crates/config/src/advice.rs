//! Advice on a configuration that is valid and yet does not do what it seems to say: stanzas no mail can reach, limits that
//! hold for no queue, names of pathways nobody wrote.
//!
//! In: a generation without errors. Out: warnings with their places. Runs once a load, after the merge, because it asks
//! what options come to. Pure. Each piece of advice is about options that are declared; a build without them gives none.

use std::collections::HashSet;

use crate::diagnostics::{Fault, Reports};
use crate::generation::Generation;
use crate::here;
use crate::lookup::{DEFAULT_GROUP, Lookup};
use crate::merge::title_of;
use crate::registry::NameId;
use crate::scope::bits;
use crate::slips;
use crate::stanza::{Node, NodeId, ROOT};

/// One piece of advice.
pub(crate) type Advice = fn(&Generation, &mut Reports);

/// Looks for what does not do what it says.
pub(crate) fn advise(generation: &Generation, reports: &mut Reports) {
    let own: [Advice; 4] = [unreachable_bindings, empty_groups, limits_without_a_queue, unknown_pathways];
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

/// The queue of mail that has a gateway is named by the gateway, and so are its limits.
fn limits_without_a_queue(generation: &Generation, reports: &mut Reports) {
    let Some(gateway) = declared(generation, GATEWAY) else { return };
    let limits: Vec<NameId> = LIMITS.iter().filter_map(|name| declared(generation, name)).collect();
    let arena = generation.arena();
    for (id, node) in nodes(generation, bits::DOMAIN).filter(|(_, node)| !node.name_text().starts_with('/')) {
        let Some(limit) = limits.iter().find_map(|limit| node.setting(*limit)) else { continue };
        let around = |bit: u32| {
            let outer = arena.path(id).into_iter().find(|outer| arena.node(*outer).bit == bit);
            outer.map_or(String::new(), |outer| arena.node(outer).name_text().into_owned())
        };
        let (group, domain) = (around(bits::BINDING_GROUP), node.name_text());
        let binding =
            Some(around(bits::BINDING)).filter(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT_GROUP.to_owned());
        let lookup = Lookup::Queue { binding_group: &group, binding: &binding, domain: &domain };
        let mask = generation.mask_of(gateway);
        let Some((_, setting)) = generation.find_setting(gateway, mask, &lookup) else { continue };
        let hop =
            setting.value.scalar().map_or(String::new(), |hop| hop.text().trim_end_matches('.').to_ascii_lowercase());
        if hop.is_empty() || hop == domain.to_ascii_lowercase() {
            continue;
        }
        let place = generation.sources.place_of(setting.span);
        let name = generation.registry().info(limit.name).map_or("", |info| info.name);
        let message = format!(
            "{name} holds for no queue here: the mail of {} waits in that of its gateway {hop}",
            title_of(arena, id)
        );
        let help = format!("write it into domain \"{hop}\" {{ }}, or into a binding (the gateway: {place})");
        reports.push(Fault::warning(limit.span, message).help(help));
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
/// What is counted for a queue.
const LIMITS: &[&str] = &[
    "outbound_throttle_messages",
    "outbound_throttle_connections",
    "max_outbound_connections",
    "scope_max_outbound_connections",
];

#[cfg(test)]
mod tests {
    use crate::{Configuration, Declared, Opt, Registry, Scope, scopes};

    static GATEWAY: Opt<String> = Opt::new("gateway", "", scopes::QUEUE, "For this test.");
    static THROTTLE: Opt<String> = Opt::new("outbound_throttle_messages", "", scopes::QUEUE, "For this test.");
    static PATHWAY: Opt<String> =
        Opt::new("pathway", "", &[Scope::Listener("esmtp_listener"), Scope::Listen], "For this test.");
    static OPTIONS: &[&dyn Declared] = &[&GATEWAY, &THROTTLE, &PATHWAY];

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
    fn a_limit_of_a_domain_whose_mail_has_a_gateway_is_told_where_it_stands() {
        let holds_not = |place: &str, hop: &str| {
            format!(
                "{place}: outbound_throttle_messages holds for no queue here: the mail of domain \"x.test\" waits in that of its gateway {hop}"
            )
        };
        let own = "domain \"x.test\" {\n  gateway = \"Smart.test:25\"\n  outbound_throttle_messages = 5\n}\n";
        assert_eq!(told(own), [holds_not("3:3", "smart.test:25")]);
        let of_all = "gateway = smart.test\ndomain \"x.test\" { outbound_throttle_messages = 5 }\n";
        assert_eq!(told(of_all), [holds_not("2:19", "smart.test")]);
        for fine in [
            "domain \"x.test\" { outbound_throttle_messages = 5 }\n",
            "gateway = smart.test\ndomain \"smart.test\" { outbound_throttle_messages = 5 }\n",
            "gateway = smart.test\noutbound_throttle_messages = 5\n",
            "gateway = smart.test\ndomain \"x.test\" { gateway = \"\"  outbound_throttle_messages = 5 }\n",
        ] {
            assert_eq!(told(fine), [""; 0], "{fine}");
        }
    }

    #[test]
    fn a_pathway_that_nobody_wrote_is_told() {
        let text = "pathway \"p\" { }\nesmtp_listener {\n  pathway = p\n  listen \":25\" { pathway = P }\n}\n";
        assert_eq!(told(text), ["4:18: there is no pathway \"P\", so this has no effect"]);
    }
}
