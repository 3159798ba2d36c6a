//! Values and names that the language allows and nobody means: relaying for everybody, names that no host or domain has, a
//! most below its least, the same stanza or option twice.
//!
//! In: a generation without errors. Out: warnings with the likely intention, where each slip stands. Pure: what only this
//! machine can tell is in `here`. Each is about options that are declared; a build without them says nothing.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::parse_ip;
use crate::advice::{Advice, declared, nodes};
use crate::diagnostics::{Fault, Reports};
use crate::generation::Generation;
use crate::merge::title_of;
use crate::registry::NameId;
use crate::scope::bits;
use crate::stanza::{Node, NodeId, ROOT, Setting};
use crate::tree::{Scalar, Span, Value};
use crate::types::OptionType as _;

/// Every slip that is looked for.
pub(crate) const ALL: [Advice; 8] = [
    relaying_for_everybody,
    names_of_no_domain,
    patterns_with_backslashes,
    stanzas_written_twice,
    options_set_twice,
    words_in_one_string,
    names_of_no_host,
    bounds_out_of_order,
];

/// Every setting of some declared options, outermost scope first.
fn settings<'g>(
    generation: &'g Generation,
    names: &'g [&'static str],
) -> impl Iterator<Item = (&'g Node, &'static str, &'g Setting)> {
    let options = names.iter().filter_map(|name| declared(generation, name).map(|id| (*name, id)));
    options.flat_map(|(name, id)| {
        generation.arena().iter().filter_map(move |(_, node)| node.setting(id).map(|setting| (node, name, setting)))
    })
}

fn elements(value: &Value) -> Cow<'_, [Scalar]> {
    value.elements().unwrap_or_default()
}

/// A list that holds every client, or every domain, is an open relay by another name.
fn relaying_for_everybody(generation: &Generation, reports: &mut Reports) {
    for (node, name, setting) in settings(generation, &["relay_hosts"]) {
        // In a peer stanza the list is about its clients only.
        let nets: Vec<IpNet> = elements(&setting.value).iter().filter_map(|one| net(&one.text())).collect();
        if node.bit != bits::PEER && holds_everybody(&nets) {
            let message = format!("{name} holds every address: anybody may send to any domain through this host");
            let help = "list the networks whose mail is to go out, for example ( \"127.0.0.0/8\" \"192.0.2.0/24\" )";
            reports.push(Fault::warning(setting.value.span, message).help(help).grave());
        }
    }
    for (node, name, setting) in settings(generation, &["open_relay"]) {
        // In a peer stanza it is about its clients only, unless that is every client.
        let of_some = node.bit == bits::PEER && !net(&node.name_text()).is_some_and(|net| holds_everybody(&[net]));
        if !of_some && bool::parse(&setting.value) == Ok(true) {
            let message = format!("{name} is true: anybody may send to any domain through this host");
            let help = "list who may in relay_hosts, for example ( \"127.0.0.0/8\" \"192.0.2.0/24\" ), or write it into their peer stanza";
            reports.push(Fault::warning(setting.value.span, message).help(help).grave());
        }
    }
    for (_, name, setting) in settings(generation, &["relay_domains"]) {
        if let Some(every) = elements(&setting.value).iter().find(|one| ["*", "*."].contains(&&*one.text())) {
            let message = format!("{name} holds every domain: anybody may send to any domain through this host");
            let help = "list the domains that mail is taken for, for example ( \"example.com\" \"*.example.com\" )";
            reports.push(Fault::warning(every.span(), message).help(help).grave());
        }
    }
}

/// A block, an address as a block of one, or `*`.
fn net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| parse_ip(text).ok().map(IpNet::from))
}

/// Whether blocks come together to all of IPv4 or all of IPv6.
fn holds_everybody(nets: &[IpNet]) -> bool {
    let as_ipv4 = |net: &IpNet| match (net.network(), net.prefix_len()) {
        // An IPv4 client of a socket for both families: ::ffff:0:0/96 is all of them.
        (IpAddr::V6(ip), bits) if 96 <= bits => {
            ip.to_ipv4_mapped().and_then(|ip| IpNet::new(ip.into(), bits - 96).ok())
        }
        _ => None,
    };
    let nets: Vec<IpNet> = nets.iter().map(|net| as_ipv4(net).unwrap_or(*net)).collect();
    IpNet::aggregate(&nets).iter().any(|net| net.prefix_len() == 0)
}

/// A stanza that no domain and no host can be named like stands for nothing.
fn names_of_no_domain(generation: &Generation, reports: &mut Reports) {
    for (node, name) in named(generation).filter(|(_, name)| !is_pattern(name)) {
        // A gateway may be the name of a stanza.
        let own = name.strip_prefix('#').filter(|own| !own.is_empty() && node.bit == bits::DOMAIN);
        let Some(why) = own.map_or_else(|| no_domain(&name), no_host_name) else { continue };
        let word = generation.arena().word_text(node.word);
        let message = format!("no {word} is called \"{name}\": {why}");
        let help = match name.strip_prefix('*') {
            // Nothing is asked of the name.
            Some(rest) if rest.trim_start_matches('.').is_empty() => {
                format!("settings for every {word} stand outside, in the global scope or in a binding")
            }
            Some(rest) => {
                let rest = regex::escape(rest.trim_start_matches('.'));
                format!("a pattern stands between slashes: {word} \"/(^|\\.){rest}$/\"")
            }
            None if name.contains(PATTERN_SIGNS) => {
                let inner = name.trim_start_matches('~').trim_matches('/');
                format!("a pattern stands between slashes: {word} \"/{inner}/\"")
            }
            None => "correct the name, or remove the stanza; its settings hold for nothing".to_owned(),
        };
        reports.push(Fault::warning(span_of(node), message).help(help));
    }
}

/// Two backslashes in a pattern ask for one in the name, and there is none.
fn patterns_with_backslashes(generation: &Generation, reports: &mut Reports) {
    for (node, _) in named(generation) {
        let Some(pattern) = node.name.as_ref().map(Scalar::pattern_text).filter(|name| is_pattern(name)) else {
            continue;
        };
        if pattern.contains("\\\\") {
            let word = generation.arena().word_text(node.word);
            let message = format!("no {word} is matched by \"{pattern}\": it asks for a backslash");
            let help = format!("in a pattern one backslash is enough: {word} \"{}\"", pattern.replace("\\\\", "\\"));
            reports.push(Fault::warning(span_of(node), message).help(help));
        }
    }
}

/// The domains and hosts, with their names as written.
fn named(generation: &Generation) -> impl Iterator<Item = (&Node, String)> {
    let both = nodes(generation, bits::DOMAIN).chain(nodes(generation, bits::HOST));
    both.map(|(_, node)| (node, node.name_text().into_owned()))
}

fn span_of(node: &Node) -> Span {
    node.name.as_ref().map_or(node.span, Scalar::span)
}

pub(crate) fn is_pattern(name: &str) -> bool {
    1 < name.len() && name.starts_with('/') && name.ends_with('/')
}

/// What keeps a text from being a domain or host name, or an address.
fn no_domain(name: &str) -> Option<String> {
    // A gateway with its port names a queue too.
    let host = match name.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse::<u16>() {
            Ok(_) => host,
            Err(_) => name,
        },
        _ => name,
    };
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let bare = literal.get(..5).filter(|tag| tag.eq_ignore_ascii_case("ipv6:")).map_or(literal, |_| &literal[5..]);
    if parse_ip(host).is_ok() || parse_ip(bare).is_ok() { None } else { no_host_name(host) }
}

/// What keeps a text from being a host name: RFC 1123 2.1, with the underscores that the DNS has.
fn no_host_name(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if let Some(odd) = name.chars().find(|c| !(c.is_alphanumeric() || "-_.".contains(*c))) {
        return Some(format!("`{odd}` cannot stand in a name"));
    }
    let longest = name.split('.').map(str::len).max().unwrap_or(0);
    if name.split('.').any(str::is_empty) {
        return Some("a part between dots is empty".to_owned());
    }
    if name.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Some("no part begins or ends with a hyphen".to_owned());
    }
    if 63 < longest && name.is_ascii() {
        return Some("a part has at most 63 characters".to_owned());
    }
    (255 < name.len()).then(|| "a name has at most 255 characters".to_owned())
}

/// A stanza of the same name further down in one file is more often a slip than a wish.
fn stanzas_written_twice(generation: &Generation, reports: &mut Reports) {
    let kinds = [bits::DOMAIN, bits::HOST, bits::BINDING, bits::PATHWAY];
    for (id, node) in kinds.into_iter().flat_map(|bit| nodes(generation, bit)) {
        let mut first_of_file: HashMap<u32, Span> = HashMap::new();
        for part in node.parts().filter(|part| !is_from_the_console(generation, part.word.file)) {
            let first = *first_of_file.entry(part.word.file).or_insert(part.word);
            if first.start == part.word.start || !reports.wants_warnings() {
                continue;
            }
            let (_, line) = generation.sources.line_in_text(first);
            let message = format!("{} is written in line {line} already", title_of(generation.arena(), id));
            let help = "the two are merged, and what stands further down wins; put them together, or correct a name";
            reports.push(Fault::warning(part.word, message).label("a second time").help(help));
        }
    }
}

/// Of two settings of one option between one pair of braces, or in the global scope of one file, the first is without effect.
fn options_set_twice(generation: &Generation, reports: &mut Reports) {
    for (_, node) in generation.arena().iter() {
        for (name, earlier) in node.shadowed() {
            let Some(setting) = node.setting(*name).filter(|_| reports.wants_warnings()) else { continue };
            let inside = |span: &Span| {
                node.parts().position(|part| {
                    part.braces.file == span.file && (part.braces.start..part.braces.end).contains(&span.start)
                })
            };
            let apart = earlier.file != setting.span.file || inside(earlier) != inside(&setting.span);
            if apart || earlier.start == setting.span.start || is_from_the_console(generation, earlier.file) {
                continue;
            }
            let text = generation.sources.file(setting.span.file).map_or("", |file| file.text());
            let word = text.get(setting.span.start as usize..setting.span.end as usize).unwrap_or_default();
            let (_, line) = generation.sources.line_in_text(*earlier);
            let message = format!("{word} is set in line {line} already, and what stands further down wins");
            let help = "take one of the two out";
            reports.push(Fault::warning(setting.span, message).label("a second time").help(help));
        }
    }
}

fn is_from_the_console(generation: &Generation, file: u32) -> bool {
    [generation.sources.local_changes, generation.sources.homeless].contains(&Some(file))
}

/// Several words between one pair of quotes are one word, which nothing is called like.
fn words_in_one_string(generation: &Generation, reports: &mut Reports) {
    for (_, name, setting) in settings(generation, LISTS) {
        for element in elements(&setting.value).iter() {
            let text = element.text();
            let words: Vec<&str> =
                text.split([' ', '\t', ',', ';']).map(str::trim).filter(|word| !word.is_empty()).collect();
            if 1 < words.len() {
                let message = format!("{name}: \"{}\" is one word, with a blank or a comma in it", text.trim());
                let list: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                let help = format!("quote each by itself: {name} = ( {} )", list.join(" "));
                reports.push(Fault::warning(element.span(), message).help(help));
            }
        }
    }
}

/// A name that this host gives itself and no host has is refused by others.
fn names_of_no_host(generation: &Generation, reports: &mut Reports) {
    for (_, name, setting) in settings(generation, HOST_NAMES) {
        let Some(text) = setting.value.scalar().map(|text| text.text().into_owned()) else { continue };
        let fault = match no_domain(&text) {
            _ if text.is_empty() => {
                Fault::warning(setting.value.span, format!("{name} is empty, which is as good as unset")).help(format!(
                    "write a name that the DNS has, for example {name} = \"mx.example.com\", or remove the line"
                ))
            }
            Some(why) => Fault::warning(setting.value.span, format!("{name}: no host is called \"{text}\": {why}"))
                .help("other servers refuse who greets them by such a name; write one that the DNS has"),
            None => continue,
        };
        reports.push(fault);
    }
    for (_, name, setting) in settings(generation, DOMAIN_LISTS) {
        for element in elements(&setting.value).iter() {
            let text = element.text();
            let ending = text.trim_start_matches('*').trim_start_matches('.');
            if let Some(why) = no_domain(ending).filter(|_| !ending.is_empty()) {
                let message = format!("{name}: no domain is called \"{text}\": {why}");
                reports.push(Fault::warning(element.span(), message).help("correct the name, or remove it"));
            }
        }
    }
}

/// The larger of a pair is below the smaller.
fn bounds_out_of_order(generation: &Generation, reports: &mut Reports) {
    for (least, most, then) in PAIRS {
        let (Some(least_id), Some(most_id)) = (declared(generation, least), declared(generation, most)) else {
            continue;
        };
        for (id, node) in generation.arena().iter() {
            let Some(later) = node.setting(most_id).or_else(|| node.setting(least_id)) else { continue };
            // Whoever sets only how long mail lives may well mean it to be tried once.
            if *most == EXPIRATION && generation.arena().iter().all(|(_, node)| node.setting(least_id).is_none()) {
                break;
            }
            let value = |option| number_at(generation, id, option);
            let (Some(low), Some(high)) = (value(least_id), value(most_id)) else { continue };
            if high != 0 && high < low {
                let message = format!("{least} = {low} is above {most} = {high}: {then}");
                let help = format!("make {least} the smaller of the two, or leave one of them out");
                reports.push(Fault::warning(later.span, message).help(help));
            }
        }
    }
}

/// What an option comes to in a scope: its own, that of the scopes around it, or the default.
fn number_at(generation: &Generation, mut at: NodeId, option: NameId) -> Option<u64> {
    let arena = generation.arena();
    loop {
        if let Some(setting) = arena.node(at).setting(option) {
            return setting.value.scalar()?.text().trim().parse().ok();
        }
        if at == ROOT {
            let info = generation.registry().info(option)?;
            return info.declared.first()?.option.default_text().trim_matches('"').parse().ok();
        }
        at = arena.node(at).parent;
    }
}

/// What makes a name look like a pattern.
const PATTERN_SIGNS: [char; 12] = ['~', '^', '$', '\\', '*', '+', '?', '(', ')', '|', '{', '/'];
/// Lists of names, each of which is a word.
const LISTS: &[&str] = &["routes"];
/// Lists of domains, perhaps with a star in front.
const DOMAIN_LISTS: &[&str] = &["relay_domains", "bounce_domains"];
/// Names that this host gives itself, or appends.
const HOST_NAMES: &[&str] = &[
    "hostname",
    "ehlo_hostname",
    "banner_hostname",
    "received_hostname",
    "domain_for_unqualified_sender_address",
    "domain_for_unqualified_recipient_addresses",
];
const EXPIRATION: &str = "message_expiration";
/// The smaller, the larger, and what comes of it the other way round; a larger of 0 is none.
const PAIRS: &[(&str, &str, &str)] = &[
    ("retry_interval", "max_retry_interval", "the first retry comes after the longest wait there is to be"),
    ("retry_interval", EXPIRATION, "mail expires before it is tried a second time"),
    ("min_dns_ttl", "max_dns_ttl", "no answer of the DNS can be kept so long and so short"),
    ("memory_goal", "memory_hwm", "mail is refused before anything has been done about memory"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_come_to_everything_are_everything() {
        let everybody = |nets: &[&str]| {
            let nets: Vec<IpNet> = nets.iter().filter_map(|one| net(one)).collect();
            holds_everybody(&nets)
        };
        for all in [
            &["0.0.0.0/0"][..],
            &["::/0"],
            &["0.0.0.0/1", "128.0.0.0/1"],
            &["10.0.0.0/8", "0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/2"],
            &["::/1", "8000::/1"],
            &["::ffff:0:0/96"],
            &["::ffff:0:0/97", "128.0.0.0/1"],
        ] {
            assert!(everybody(all), "{all:?}");
        }
        for some in [&["0.0.0.0/1"][..], &["127.0.0.0/8", "::1"], &[], &["0.0.0.0/1", "128.0.0.0/2"], &["0.0.0.0"]] {
            assert!(!everybody(some), "{some:?}");
        }
    }

    #[test]
    fn an_option_that_is_set_twice_in_one_stanza_is_told() {
        use crate::{Configuration, Declared, Opt, Registry, scopes};
        static RETRY: Opt<u64> = Opt::new("retry_interval", "1200", scopes::QUEUE, "For this test.");
        static OPTIONS: &[&dyn Declared] = &[&RETRY];
        let told = |text: &str| -> Vec<String> {
            let mut registry = Registry::new();
            registry.add_all(OPTIONS);
            let loaded = Configuration::of_text(registry, text).expect("valid").current();
            loaded.warnings().iter().map(|one| format!("{}: {}", one.line, one.message)).collect()
        };
        let twice = |line: u32| {
            format!("{line}: retry_interval is set in line {} already, and what stands further down wins", line - 1)
        };
        assert_eq!(told("retry_interval = 1\nretry_interval = 2\n"), [twice(2)]);
        assert_eq!(told("domain \"a.example\" {\n retry_interval = 1\n retry_interval = 2\n}\n"), [twice(3)]);
        let once = "retry_interval = 1\ndomain \"a.example\" {\n retry_interval = 2\n}\n";
        assert_eq!(told(once), Vec::<String>::new());
        let parts = "domain \"a.example\" {\n retry_interval = 1\n}\ndomain \"a.example\" {\n retry_interval = 2\n}\n";
        assert!(
            told(parts).iter().all(|one| !one.contains("is set in line")),
            "that the stanza is there twice is told"
        );
    }

    #[test]
    fn names_that_no_domain_has() {
        for fine in [
            "example.com",
            "Example.COM.",
            "under_score.example",
            "xn--bcher-kva.example",
            "b\u{fc}cher.example",
            "[192.0.2.1]",
            "192.0.2.1",
            "[IPv6:2001:db8::1]",
            "2001:db8::1",
            "smart.test:2525",
            "[2001:db8::1]:26",
            "localhost",
        ] {
            assert_eq!(no_domain(fine), None, "{fine}");
        }
        for odd in ["no such domain!", "~^d", "a..b", "-bad-", ".a", "*.example.com", "user@example.com", "a/b"] {
            assert!(no_domain(odd).is_some(), "{odd}");
        }
        assert!(no_domain(&format!("{}.test", "a".repeat(64))).is_some());
    }
}
