//! Under which queue a domain's mail goes: the gateway that applies to it names the queue, and the options of that name hold.
//!
//! One answer for the console, which evaluates there, and for the warning about what stands beside a gateway and holds for
//! nothing. A gateway `#name` is no host but the name of a stanza, whose routes lead on. Pure.

use crate::advice::{declared, nodes};
use crate::diagnostics::{Fault, Reports};
use crate::generation::Generation;
use crate::lookup::{DEFAULT_GROUP, Lookup};
use crate::merge::{place_of, title_of};
use crate::names::domain_key;
use crate::scope::bits;
use crate::slips::is_pattern;
use crate::stanza::{Node, NodeId, ROOT, Setting};
use crate::tree::Span;

/// The next hop whose name a domain's mail goes under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// The routing domain, in lower case.
    pub name: String,
    /// Where it is set: `FILE:LINE`, or from the console.
    pub place: String,
}

impl Generation {
    /// The gateway that names the queue of a recipient domain's mail; none where its own name does.
    pub fn gateway(&self, lookup: &Lookup<'_>) -> Option<Gateway> {
        let domain = match lookup {
            Lookup::Queue { domain, .. } | Lookup::Host { domain, .. } => domain_key(domain).into_owned(),
            _ => return None,
        };
        let option = declared(self, GATEWAY)?;
        let queue = match *lookup {
            Lookup::Host { binding_group, binding, domain, .. } => Lookup::Queue { binding_group, binding, domain },
            other => other,
        };
        let (_, setting) = self.find_setting(option, self.mask_of(option), &queue)?;
        self.as_gateway(setting).filter(|gateway| domain_key(&gateway.name) != domain)
    }

    /// Whether a routing domain is the name of a gateway that is set somewhere.
    pub fn is_gateway(&self, routing_domain: &str) -> bool {
        let Some(option) = declared(self, GATEWAY) else { return false };
        let settings = self.arena().iter().filter_map(|(_, node)| node.setting(option));
        settings
            .filter_map(|setting| self.as_gateway(setting))
            .any(|gateway| gateway.name == domain_key(routing_domain))
    }

    fn as_gateway(&self, setting: &Setting) -> Option<Gateway> {
        let name = setting.value.scalar()?.text().trim_end_matches('.').to_ascii_lowercase();
        (!name.is_empty()).then(|| Gateway { name, place: self.sources.place_of(setting.span) })
    }
}

/// Whether an option is looked up by the domain of an address, and not by that of the queue.
pub(crate) fn is_of_addresses(option: &str) -> bool {
    OF_ADDRESSES.iter().any(|own| own.eq_ignore_ascii_case(option))
}

/// What stands in a domain stanza whose mail is in the queue of a gateway holds for no mail, unless it is about addresses.
pub(crate) fn options_without_a_queue(generation: &Generation, reports: &mut Reports) {
    if declared(generation, GATEWAY).is_none() {
        return;
    }
    let arena = generation.arena();
    for (id, node) in nodes(generation, bits::DOMAIN) {
        let place = place_of(arena, id);
        let in_effect = |setting: &&Setting| {
            let info = generation.registry().info(setting.name);
            info.is_some_and(|info| !is_of_addresses(info.name) && info.declaration_at(&place).is_some())
        };
        let mut settings: Vec<&Setting> = node.settings().iter().filter(in_effect).collect();
        if settings.is_empty() {
            continue;
        }
        let around = Around::of(generation, id);
        let Some(gateway) = around.gateway(generation, node) else { continue };
        let hop = around.lookup(&gateway.name);
        settings.retain(|setting| {
            let found = generation.find_setting(setting.name, generation.mask_of(setting.name), &hop);
            found.is_none_or(|(at, held)| at != id && !held.value.means_the_same(&setting.value))
        });
        settings.sort_by_key(|setting| (setting.span.file, setting.span.start));
        let Some(first) = settings.first() else { continue };
        let name = |setting: &&Setting| generation.registry().info(setting.name).map_or("", |info| info.name);
        let names: Vec<&str> = settings.iter().map(name).collect();
        let (names, verb) = match names.as_slice() {
            [one] => ((*one).to_owned(), "holds"),
            [some @ .., last] => (format!("{} and {last}", some.join(", ")), "hold"),
            [] => continue,
        };
        let message = format!(
            "{names} {verb} for no queue here: the mail of {} waits in that of its gateway {}",
            title_of(arena, id),
            gateway.name
        );
        let lines: Vec<String> =
            settings.iter().map(|setting| format!("{} = {}", name(setting), setting.value.source())).collect();
        let stanza = around.wrapped(&format!("domain \"{}\" {{ {} }}", gateway.name, lines.join("  ")));
        let help = format!("write {stanza} (the gateway: {})", gateway.place);
        reports.push(Fault::warning(first.span, message).help(help));
    }
}

/// A gateway that is the name of a stanza leads nowhere unless that stanza has routes.
pub(crate) fn gateways_without_routes(generation: &Generation, reports: &mut Reports) {
    let (Some(gateway), Some(routes)) = (declared(generation, GATEWAY), declared(generation, ROUTES)) else { return };
    for (id, node) in generation.arena().iter() {
        let Some(setting) = node.setting(gateway) else { continue };
        let Some(name) = setting.value.scalar().map(|name| domain_key(&name.text()).into_owned()) else { continue };
        if !name.starts_with('#') {
            continue;
        }
        let lookup = Around::of(generation, id);
        let found = generation.find_setting(routes, generation.mask_of(routes), &lookup.lookup(&name));
        let elements = found.and_then(|(_, setting)| setting.value.elements()).unwrap_or_default();
        let own_hosts = elements.iter().find(|element| element.text().eq_ignore_ascii_case("__mx__"));
        let (span, message): (Span, String) = match own_hosts {
            None if elements.is_empty() => (
                setting.value.span,
                format!("gateway \"{name}\" leads nowhere: there is no domain \"{name}\" with routes"),
            ),
            Some(element) => (element.span(), format!("__mx__ leads nowhere here: the DNS knows no domain \"{name}\"")),
            None => continue,
        };
        let help = format!("write domain \"{name}\" {{ routes = ( \"smtp://host?pref=10\" ) }}");
        reports.push(Fault::warning(span, message).help(help));
    }
}

/// The binding and the group that a stanza stands in.
struct Around {
    group: String,
    binding: String,
    /// The same as they are written; empty outside.
    written: Vec<String>,
}

impl Around {
    fn of(generation: &Generation, id: NodeId) -> Self {
        let arena = generation.arena();
        let path = arena.path(id);
        let around = |bit: u32| {
            let outer = path.iter().find(|outer| arena.node(**outer).bit == bit);
            outer.map_or(String::new(), |outer| arena.node(*outer).name_text().into_owned())
        };
        let is_outer = |one: &&NodeId| [bits::BINDING, bits::BINDING_GROUP].contains(&arena.node(**one).bit);
        let mut written: Vec<(NodeId, String)> =
            path.iter().filter(is_outer).map(|one| (*one, title_of(arena, *one))).collect();
        written.sort_by_key(|(node, _)| arena.path(*node).len());
        let binding = Some(around(bits::BINDING)).filter(|name| !name.is_empty());
        Self {
            group: around(bits::BINDING_GROUP),
            binding: binding.unwrap_or_else(|| DEFAULT_GROUP.to_owned()),
            written: written.into_iter().map(|(_, title)| title).collect(),
        }
    }

    fn lookup<'a>(&'a self, domain: &'a str) -> Lookup<'a> {
        Lookup::Queue { binding_group: &self.group, binding: &self.binding, domain }
    }

    /// The gateway of the mail that a domain stanza is about. A pattern's is its own, or that of the scopes around it: which
    /// other stanza knows one of its domains better cannot be told.
    fn gateway(&self, generation: &Generation, node: &Node) -> Option<Gateway> {
        let name = node.name_text();
        if !is_pattern(&name) {
            return generation.gateway(&self.lookup(&name));
        }
        let option = declared(generation, GATEWAY)?;
        let around = generation.find_setting(option, generation.mask_of(option), &self.lookup(""));
        // A binding's value beats one that a domain stanza outside it has.
        let beaten = self.written.is_empty() && around.is_some_and(|(at, _)| at != ROOT);
        let own = node.setting(option).filter(|_| !beaten);
        generation.as_gateway(own.or_else(|| around.map(|(_, setting)| setting))?)
    }

    fn wrapped(&self, stanza: &str) -> String {
        self.written.iter().rev().fold(stanza.to_owned(), |inner, outer| format!("{outer} {{ {inner} }}"))
    }
}

const GATEWAY: &str = "gateway";
const ROUTES: &str = "routes";
/// Options of domain stanzas that are looked up by the domain of a recipient or sender: whose mail goes there, whether it is
/// taken at all, and what of it is a bounce.
const OF_ADDRESSES: [&str; 4] = ["gateway", "blackhole", "bounce_pattern", "bounce_behavior"];

#[cfg(test)]
mod tests {
    use crate::{Configuration, Declared, Lookup, Opt, Registry, Seconds, scopes};

    static GATEWAY: Opt<String> = Opt::new("gateway", "", scopes::QUEUE, "For this test.");
    static ROUTES: Opt<Vec<String>> = Opt::new("routes", "()", scopes::DOMAIN, "For this test.");
    static THROTTLE: Opt<String> = Opt::new("outbound_throttle_messages", "", scopes::QUEUE, "For this test.");
    static METHOD: Opt<String> = Opt::new("delivery_method", "esmtp", scopes::QUEUE, "For this test.");
    static RETRY: Opt<Seconds> = Opt::new("retry_interval", "1200", scopes::QUEUE, "For this test.");
    static BEHAVIOR: Opt<String> = Opt::new("bounce_behavior", "pass", scopes::DOMAIN, "For this test.");
    static OPTIONS: &[&dyn Declared] = &[&GATEWAY, &ROUTES, &THROTTLE, &METHOD, &RETRY, &BEHAVIOR];

    fn generation(text: &str) -> std::sync::Arc<crate::Generation> {
        let mut registry = Registry::new();
        registry.add_all(OPTIONS);
        Configuration::of_text(registry, text).expect("valid").current()
    }

    /// `LINE:COLUMN: message; help` of each warning.
    fn told(text: &str) -> Vec<String> {
        let generation = generation(text);
        let shown = |one: &crate::Diagnostic| format!("{}:{}: {}; {}", one.line, one.column, one.message, one.help);
        generation.warnings().iter().map(shown).collect()
    }

    #[test]
    fn what_stands_beside_a_gateway_is_told_with_the_stanza_to_use_instead() {
        let text = "domain \"x.test\" {\n  gateway = \"Smart.test:25\"\n  outbound_throttle_messages = 5\n}\n";
        let all = told(text);
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].starts_with("3:3: outbound_throttle_messages holds for no queue here: the mail of domain \"x.test\" waits in that of its gateway smart.test:25; write domain \"smart.test:25\" { outbound_throttle_messages = 5 } (the gateway: "), "{all:?}");
        let several = "domain \"x.test\" { gateway = \"s.test\" delivery_method = \"lmtp\" retry_interval = 60 outbound_throttle_messages = 5 }\n";
        let all = told(several);
        assert!(
            all.len() == 1
                && all[0]
                    .contains("delivery_method, retry_interval and outbound_throttle_messages hold for no queue here"),
            "{all:?}"
        );
        assert!(all[0].contains("write domain \"s.test\" { delivery_method = \"lmtp\"  retry_interval = 60  outbound_throttle_messages = 5 } ("), "{all:?}");
        let pattern = "domain \"/\\.x\\.test$/\" { gateway = \"s.test\" retry_interval = 60 }\n";
        assert!(told(pattern)[0].contains("the mail of domain \"/"), "{:?}", told(pattern));
        let of_all =
            "gateway = s.test\ndomain \"/^x/\" { retry_interval = 60 }\ndomain \"y.test\" { retry_interval = 60 }\n";
        assert_eq!(told(of_all).len(), 2, "{:?}", told(of_all));
        let inside = "binding_group \"g\" { binding \"b\" { gateway = \"s.test\" domain \"x.test\" { retry_interval = 60 } } }\n";
        let all = told(inside);
        assert!(
            all.iter().any(|one| one.contains(
                "write binding_group \"g\" { binding \"b\" { domain \"s.test\" { retry_interval = 60 } } } ("
            )),
            "{all:?}"
        );
        let beaten = "binding \"default\" { gateway = \"b.test\" }\ndomain \"/^x/\" { gateway = \"s.test\" retry_interval = 60 }\n";
        assert!(told(beaten)[0].contains("its gateway b.test"), "{:?}", told(beaten));
    }

    #[test]
    fn what_holds_all_the_same_is_not_told() {
        for fine in [
            "domain \"x.test\" { outbound_throttle_messages = 5 }\n",
            "gateway = smart.test\ndomain \"smart.test\" { outbound_throttle_messages = 5 }\n",
            "gateway = smart.test\noutbound_throttle_messages = 5\n",
            "gateway = smart.test\ndomain \"x.test\" { gateway = \"\"  outbound_throttle_messages = 5 }\n",
            "domain \"x.test\" { gateway = \"s.test\" bounce_behavior = \"pass\" }\n",
            "domain \"/test/\" { gateway = \"s.test\" retry_interval = 60 }\n",
            "retry_interval = 60\ndomain \"x.test\" { gateway = \"s.test\" retry_interval = 60 }\n",
            "domain \"x.test\" { gateway = \"s.test\" retry_interval = 60 }\ndomain \"s.test\" { retry_interval = 60 }\n",
        ] {
            assert_eq!(told(fine), [""; 0], "{fine}");
        }
    }

    #[test]
    fn a_gateway_that_names_a_stanza_needs_its_routes() {
        let with = |routes: &str| format!("domain \"x.test\" {{ gateway = \"#Smart\" }}\n{routes}");
        assert_eq!(told(&with("domain \"#smart\" { routes = ( \"a.test\" ) retry_interval = 60 }\n")), [""; 0]);
        for nowhere in ["", "domain \"#smart\" { retry_interval = 60 }\n"] {
            let all = told(&with(nowhere));
            assert!(all.len() == 1 && all[0].contains("gateway \"#smart\" leads nowhere"), "{all:?}");
        }
        let all = told(&with("domain \"#smart\" { routes = ( \"a.test\" \"__mx__\" ) }\n"));
        assert!(all.len() == 1 && all[0].contains("the DNS knows no domain \"#smart\""), "{all:?}");
    }

    #[test]
    fn an_option_is_evaluated_where_the_mail_waits() {
        let text = "domain \"x.test\" { gateway = \"S.test\" retry_interval = 60 bounce_behavior = \"pass\" }\n\
                    domain \"s.test\" { retry_interval = 90 }\n";
        let generation = generation(text);
        let eval = |words: &[&str]| generation.eval_text(words).expect("known").text;
        let told = eval(&["domain", "X.test", "retry_interval"]);
        assert!(
            told.starts_with(
                "retry_interval = 90\n  of domain \"s.test\": the mail of X.test goes under its gateway ("
            ),
            "{told}"
        );
        assert_eq!(eval(&["domain", "s.test", "retry_interval"]), "retry_interval = 90");
        assert_eq!(eval(&["domain", "x.test", "bounce_behavior"]), "bounce_behavior = \"pass\"");
        assert_eq!(eval(&["domain", "x.test", "gateway"]), "gateway = \"S.test\"");
        let why = generation.why_text(&["domain", "x.test", "retry_interval"]).expect("known").text;
        assert!(
            why.starts_with("retry_interval = 90\n  from domain \"s.test\"") && why.contains("under its gateway"),
            "{why}"
        );
        let lookup = Lookup::Queue { binding_group: "", binding: "default", domain: "s.test" };
        assert_eq!(generation.gateway(&lookup), None);
    }
}
