//! Which bindings mail can reach: `default`, those that a module gives it, and those that the configuration names, in
//! `default_binding` and in the context of listeners, pathways and peers.
//!
//! A name that nobody wrote is an error, for mail would leave as somebody else; a binding that no mail can reach is a warning.
//! Pure.

use std::collections::HashSet;

use crate::advice::{declared, nodes};
use crate::diagnostics::{Fault, Reports};
use crate::generation::Generation;
use crate::lookup::DEFAULT_GROUP;
use crate::merge::title_of;
use crate::scope::bits;
use crate::stanza::{NodeId, ROOT};
use crate::suggest::hint;
use crate::tree::{Scalar, Span, ValueKind};

/// A binding or a group that the configuration gives mail to.
struct Named {
    name: String,
    is_group: bool,
    span: Span,
}

/// Each name of a binding or a group is that of one.
pub(crate) fn names_of_no_binding(generation: &Generation, reports: &mut Reports) {
    for Named { name, is_group, span } in named(generation) {
        let (word, bit) = if is_group { ("binding_group", bits::BINDING_GROUP) } else { ("binding", bits::BINDING) };
        let known: Vec<String> = nodes(generation, bit).map(|(_, node)| node.name_text().into_owned()).collect();
        if known.contains(&name) || name == DEFAULT_GROUP {
            continue;
        }
        let hint = hint(&name, known.iter().map(String::as_str).chain(DEFAULT_WORDS));
        let message = format!("there is no {word} \"{name}\"{hint}");
        let help = format!("write {word} \"{name}\" {{ }}, or correct the name; case counts");
        reports.push(Fault::error(span, message).help(help));
    }
}

/// Mail leaves by binding default unless something says otherwise.
pub(crate) fn unreachable_bindings(generation: &Generation, reports: &mut Reports) {
    let assigns = |word: &&str| generation.registry().is_live(word) && generation.stanzas(word).next().is_some();
    if declared(generation, GATEWAY).is_none() || ASSIGNING.iter().any(assigns) {
        return;
    }
    let arena = generation.arena();
    let named = named(generation);
    let is_named = |name: &str, group: bool| named.iter().any(|one| one.is_group == group && one.name == *name);
    let is_reached = |id: NodeId, name: &str| {
        let group = arena.path(id).into_iter().find(|outer| arena.node(*outer).bit == bits::BINDING_GROUP);
        is_named(name, false) || group.is_some_and(|group| is_named(&arena.node(group).name_text(), true))
    };
    let mut unreached = nodes(generation, bits::BINDING).filter(|(id, node)| {
        let name = node.name_text();
        name != DEFAULT_GROUP && !is_reached(*id, &name)
    });
    let Some((first, node)) = unreached.next() else { return };
    let others = match unreached.count() {
        0 => String::new(),
        1 => ", nor one other".to_owned(),
        more => format!(", nor {more} others"),
    };
    let title = title_of(arena, first);
    let message = format!("no mail can reach {title}{others}");
    let help = format!(
        "mail leaves by binding \"default\" unless default_binding, or the context of a listener, pathway or peer, names another: \
         context = [ binding = \"{}\" ]",
        node.name_text()
    );
    reports.push(Fault::warning(node.span, message).help(help));
}

/// A group is nothing without bindings.
pub(crate) fn empty_groups(generation: &Generation, reports: &mut Reports) {
    let with_bindings: HashSet<NodeId> = nodes(generation, bits::BINDING).map(|(_, node)| node.parent).collect();
    for (id, node) in nodes(generation, bits::BINDING_GROUP) {
        if declared(generation, GATEWAY).is_some() && node.name_text() != DEFAULT_GROUP && !with_bindings.contains(&id)
        {
            let message = format!("no mail can reach {}: no binding stands in it", title_of(generation.arena(), id));
            reports.push(Fault::warning(node.span, message).help("write binding \"name\" { } inside it, or remove it"));
        }
    }
}

/// The bindings and groups that options name.
fn named(generation: &Generation) -> Vec<Named> {
    let arena = generation.arena();
    let mut all = Vec::new();
    if let Some(setting) = declared(generation, DEFAULT_BINDING).and_then(|option| arena.node(ROOT).setting(option)) {
        let name = setting.value.scalar().map(|name| name.text().into_owned()).unwrap_or_default();
        if !name.is_empty() && !DEFAULT_WORDS.iter().any(|word| word.eq_ignore_ascii_case(&name)) {
            all.push(Named { name, is_group: false, span: setting.value.span });
        }
    }
    let Some(context) = declared(generation, CONTEXT) else { return all };
    for (_, node) in arena.iter() {
        let Some(ValueKind::Dict(pairs)) = node.setting(context).map(|setting| &setting.value.kind) else { continue };
        all.extend(pairs.iter().filter_map(|(key, value)| of_context(key, value)));
    }
    all
}

fn of_context(key: &Scalar, value: &Scalar) -> Option<Named> {
    let is_group = match key.text().to_ascii_lowercase().as_str() {
        "binding" => false,
        "binding_group" => true,
        _ => return None,
    };
    let name = value.text().into_owned();
    (!name.is_empty()).then(|| Named { name, is_group, span: value.span() })
}

const GATEWAY: &str = "gateway";
const DEFAULT_BINDING: &str = "default_binding";
/// Its values that are no names.
const DEFAULT_WORDS: [&str; 3] = ["normal", "suspended", "none"];
const CONTEXT: &str = "context";
/// Modules that give mail a binding.
const ASSIGNING: &[&str] = &["scriptlet"];

#[cfg(test)]
mod tests {
    use crate::{Configuration, Declared, Dict, Opt, Registry, Scope, scopes};

    static GATEWAY: Opt<String> = Opt::new("gateway", "", scopes::QUEUE, "For this test.");
    static BINDING: Opt<String> = Opt::new("default_binding", "normal", scopes::GLOBAL, "For this test.");
    static CONTEXT: Opt<Dict> =
        Opt::new("context", "", &[Scope::Listener("esmtp_listener"), Scope::Listen, Scope::Peer], "For this test.");
    static OPTIONS: &[&dyn Declared] = &[&GATEWAY, &BINDING, &CONTEXT];

    /// `LINE:COLUMN: message` of each warning, or of each error.
    fn told(text: &str) -> Result<Vec<String>, String> {
        let mut registry = Registry::new();
        registry.add_all(OPTIONS);
        let shown = |one: &crate::Diagnostic| format!("{}:{}: {}", one.line, one.column, one.message);
        match Configuration::of_text(registry, text) {
            Ok(configuration) => Ok(configuration.current().warnings().iter().map(shown).collect()),
            Err(refused) => Err(refused.iter().map(shown).collect::<Vec<_>>().join("; ")),
        }
    }

    #[test]
    fn bindings_that_nothing_gives_mail_to_are_told_at_the_first() {
        let default = "binding \"default\" { }\nbinding_group \"default\" { binding \"default\" { } }\n";
        assert_eq!(told(default).unwrap(), [""; 0]);
        assert_eq!(told("binding \"a\" { }\n").unwrap(), ["1:1: no mail can reach binding \"a\""]);
        let text = "binding_group \"g\" {\n  binding \"a\" { }\n  binding \"b\" { }\n}\nbinding \"c\" { }\n";
        assert_eq!(told(text).unwrap(), ["2:3: no mail can reach binding \"a\", nor 2 others"]);
        let group = format!("{text}esmtp_listener {{ listen \":25\" {{ context = [ binding_group = \"g\" ] }} }}\n");
        assert_eq!(told(&group).unwrap(), ["5:1: no mail can reach binding \"c\""]);
        let all = format!("default_binding = \"c\"\n{group}");
        assert_eq!(told(&all).unwrap(), [""; 0]);
        let peer = format!("{text}esmtp_listener {{ peer \"192.0.2.0/24\" {{ context = [ Binding = \"b\" ] }} }}\n");
        assert_eq!(told(&peer).unwrap(), ["2:3: no mail can reach binding \"a\", nor one other"]);
    }

    #[test]
    fn a_group_without_a_binding_is_told() {
        let told = told("\nbinding_group \"g\" { }\n").unwrap();
        assert_eq!(told, ["2:1: no mail can reach binding_group \"g\": no binding stands in it"]);
    }

    #[test]
    fn a_name_of_no_binding_is_an_error_where_it_stands() {
        let refused = |text: &str| told(text).unwrap_err();
        let typo = "binding \"bulk\" { }\ndefault_binding = \"bulc\"\n";
        assert!(refused(typo).contains("2:19: there is no binding \"bulc\""), "{}", refused(typo));
        assert!(
            refused("default_binding = suspnded\n").contains("suspended"),
            "{}",
            refused("default_binding = suspnded\n")
        );
        let context = "binding \"bulk\" { }\nesmtp_listener { context = [ binding_group = \"bulk\" ] }\n";
        assert!(refused(context).contains("there is no binding_group \"bulk\""), "{}", refused(context));
        assert_eq!(told("default_binding = None\n").unwrap(), [""; 0]);
        assert_eq!(told("esmtp_listener { context = [ binding = \"default\" color = \"red\" ] }\n").unwrap(), [""; 0]);
    }
}
