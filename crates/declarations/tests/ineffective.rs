//! What is documented and not in effect, held to its class: each word that protects or says where mail goes is refused where
//! it asks for something, in every scope it may stand in, and nothing else is. The lists that operators read are made from
//! the same table.
//!
//! After changing the table, run `POSTRIDER_BLESS=1 cargo test -p declarations --test ineffective` once: it writes
//! `doc/manual/not-there-yet.md` anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use config::{Class, Configuration, Description, Ineffective, OptionState, Registry, Severity, Shape};
use declarations::Declarations;

static REGISTRY: LazyLock<Arc<Registry>> =
    LazyLock::new(|| Arc::new(Declarations::offline().expect("sound declarations").registry));

/// Every word without effect, and what is known of it.
fn without_effect() -> Vec<(Description, Ineffective)> {
    REGISTRY.describe().into_iter().filter_map(|one| one.ineffective.map(|own| (one, own))).collect()
}

/// Whether a text is refused, and what is said.
fn told(text: &str) -> (bool, Vec<String>) {
    let (refused, diagnostics) = match Configuration::of_text(REGISTRY.clone(), text) {
        Ok(configuration) => (false, configuration.current().warnings().clone()),
        Err(diagnostics) => (true, diagnostics),
    };
    let errors = diagnostics.iter().filter(|one| !refused || one.severity == Severity::Error);
    (refused, errors.map(|one| format!("{} ({})", one.message, one.help)).collect())
}

/// The listeners that exist.
const LISTENERS: [&str; 2] = ["esmtp_listener", "control_listener"];

/// A text with `line` in a scope of an option, as descriptions name scopes; none for the socket of a listener that does not
/// exist.
fn in_scope(one: &Description, scope: &str, line: &str) -> Option<String> {
    let mut listeners = one.scopes.iter().filter(|scope| scope.ends_with("_listener")).peekable();
    let is_for_any = listeners.peek().is_none();
    let of_socket = listeners.find(|word| LISTENERS.contains(&word.as_str()));
    let socket = of_socket.map(String::as_str).or(is_for_any.then_some(LISTENERS[0]));
    if ["listen", "peer"].contains(&scope) && socket.is_none() {
        return None;
    }
    let listener = |word: &str, inner: &str| format!("{word} {{ {inner} }}\n");
    let socket = |inner: &str| {
        let word = socket.unwrap_or_default();
        let name = if word == "control_listener" { "/run/control" } else { ":25" };
        listener(word, &format!("listen \"{name}\" {{ {inner} }}"))
    };
    Some(in_stanza(scope, line, &listener, &socket))
}

fn in_stanza(
    scope: &str,
    line: &str,
    listener: &dyn Fn(&str, &str) -> String,
    socket: &dyn Fn(&str) -> String,
) -> String {
    match scope.split_once(" in ") {
        Some((word, outer)) if outer.ends_with("_listener") => {
            let name = if word == "listen" { ":25" } else { "192.0.2.1" };
            listener(outer, &format!("{word} \"{name}\" {{ {line} }}"))
        }
        Some((word, outer)) => format!("{outer} {{ {word} \"name\" {{ {line} }} }}\n"),
        None => match scope {
            "global" => format!("{line}\n"),
            "listen" => socket(line),
            "peer" => socket(&format!("peer \"192.0.2.1\" {{ {line} }}")),
            word if word.ends_with("_listener") => listener(word, line),
            "security" => format!("security {{ {line} }}\n"),
            word => format!("{word} \"name\" {{ {line} }}\n"),
        },
    }
}

/// A value that asks for something, and those that ask for nothing.
fn values(one: &Description, own: &Ineffective) -> (&'static str, Vec<String>) {
    let nothing: Vec<String> = own.asks_nothing.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let asks = match one.shape {
        Shape::Boolean if nothing.iter().any(|word| word == "true") => "false",
        Shape::Dictionary => "[ key = value ]",
        Shape::Array => "( \"one\" )",
        Shape::Boolean => "true",
        _ => "\"7\"",
    };
    let empty = match one.shape {
        Shape::Array => Some("( )"),
        Shape::Dictionary => Some("[ ]"),
        Shape::Text | Shape::Words => Some("\"\""),
        _ => None,
    };
    let nothing = nothing.iter().map(|word| format!("\"{word}\"")).chain(empty.map(str::to_owned)).collect();
    (asks, nothing)
}

/// Whether a scope is one that somebody reads, so that what stands in it is told by itself.
fn is_read(scope: &str, stanzas: &BTreeSet<String>) -> bool {
    let outer = scope.rsplit(" in ").next().unwrap_or(scope);
    !stanzas.contains(outer)
}

#[test]
fn what_asks_for_protection_or_a_route_is_refused_in_every_scope_and_nothing_else_is() {
    let all = without_effect();
    let stanzas: BTreeSet<String> =
        all.iter().filter(|(one, _)| !one.is_option()).map(|(one, _)| one.name.to_owned()).collect();
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for (one, own) in all.iter().filter(|(one, _)| one.is_option()) {
        for scope in one.scopes.iter().filter(|scope| *scope != "every module" && is_read(scope, &stanzas)) {
            let (asks, nothing) = values(one, own);
            let place = format!("{} of {} in {scope}", one.name, one.owner);
            let text_with = |value: &str| in_scope(one, scope, &format!("{} = {value}", one.name));
            let Some(text) = text_with(asks) else { continue };
            tried += 1;
            let (refused, said) = told(&text);
            let is_told = said.len() == 1 && said[0].contains(own.instead) && said[0].contains(one.name);
            let should_be = own.class != Class::Harmless;
            if refused != should_be || should_be && !is_told {
                wrong.push(format!("{place}: {text}{said:?}"));
            }
            for quiet in nothing {
                let (refused, said) = told(&text_with(&quiet).unwrap_or_default());
                if refused {
                    wrong.push(format!("{place} asks for nothing with {quiet}: {said:?}"));
                }
            }
            let (refused, said) = told(&format!("accept_ineffective = ( \"{}\" )\n{text}", one.name.to_uppercase()));
            if refused || should_be && !said.iter().any(|told| told.contains(own.instead)) {
                wrong.push(format!("{place} is accepted, and told so: {said:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(100 < tried, "{tried}");
}

#[test]
fn a_stanza_that_protects_or_routes_is_refused_unless_it_is_switched_off() {
    let all = without_effect();
    let mut wrong = Vec::new();
    for (one, own) in all.iter().filter(|(one, _)| !one.is_option() && one.scopes.iter().any(|scope| scope == "global"))
    {
        let stanza = |inner: &str| match one.name.ends_with("_listener") {
            true => format!("{} {{ {inner} }}\n", one.name),
            false => format!("{} \"name\" {{ {inner} }}\n", one.name),
        };
        let should_be = own.class != Class::Harmless;
        let (refused, said) = told(&stanza(""));
        if refused != should_be || should_be && !(said.len() == 1 && said[0].contains(own.instead)) {
            wrong.push(format!("{}: {said:?}", one.name));
        }
        let switch = if one.kind == "module" { "enabled = false" } else { "enable = false" };
        let (refused, said) = told(&stanza(switch));
        if refused {
            wrong.push(format!("{} is switched off: {said:?}", one.name));
        }
        let (refused, said) = told(&format!("accept_ineffective = ( \"{}\" )\n{}", one.name, stanza("")));
        if refused || should_be && !said.iter().any(|told| told.contains("accept_ineffective accepts")) {
            wrong.push(format!("{} is accepted: {said:?}", one.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_stands_in_a_stanza_has_its_class_and_every_refusal_says_what_happens_instead() {
    let all = without_effect();
    let class_of =
        |word: &str| all.iter().find(|(one, _)| !one.is_option() && one.name == word).map(|(_, own)| own.class);
    for (one, own) in &all {
        let outer: BTreeSet<&str> =
            one.scopes.iter().map(|scope| scope.rsplit(" in ").next().unwrap_or(scope)).collect();
        let inner: Vec<Option<Class>> = outer.iter().map(|word| class_of(word)).collect();
        let alone = inner.iter().all(Option::is_some);
        let is_listener = outer.iter().any(|word| word.ends_with("_listener"));
        if alone && !is_listener {
            assert!(inner.iter().all(|class| *class == Some(own.class)), "{} in {outer:?}", one.name);
        } else if own.class != Class::Harmless {
            assert!(!own.instead.is_empty(), "{} of {} says not what happens instead", one.name, one.owner);
        }
        if own.class == Class::Harmless {
            assert!(own.instead.is_empty() && own.asks_nothing.is_empty(), "{}", one.name);
        }
    }
}

/// The first lines of the README, before anybody starts anything.
fn first_screen() -> &'static str {
    README.split("\n## Try it").next().expect("a first screen")
}

/// Words between backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_ascii_lowercase).collect()
}

#[test]
fn the_first_screen_of_the_readme_names_what_is_not_there_yet_and_nothing_that_is() {
    let named = first_screen().split("Not there yet").nth(1).map(quoted).expect("a paragraph on what is not there yet");
    let all = without_effect();
    let is_coming = |one: &Description| one.state == OptionState::NotYet;
    for name in &named {
        let is_own = |(one, own): &&(Description, Ineffective)| one.name == name && own.class != Class::Harmless;
        let is_tool = ["validate_config", "accept_ineffective"].contains(&name.as_str());
        assert!(is_tool || all.iter().any(|row| is_own(&row)), "`{name}` is in effect or harmless: mend the README");
    }
    let modules =
        all.iter().filter(|(one, own)| one.kind == "module" && own.class != Class::Harmless && is_coming(one));
    let switches = ["tls", "enable_authentication", "enable_authorization", "use_mta_sts"];
    let switches = all.iter().filter(|(one, _)| switches.contains(&one.name));
    let missing: BTreeSet<&str> =
        modules.chain(switches).map(|(one, _)| one.name).filter(|name| !named.contains(*name)).collect();
    assert!(missing.is_empty(), "not there yet, and not on the README's first screen: {missing:?}");
    assert!(first_screen().lines().count() < 40, "the first screen has grown");
}

#[test]
fn the_manual_lists_what_is_refused() {
    let mut page = String::from(HEADING);
    let all = without_effect();
    for (class, title) in [
        (Class::Protective, "## What protects: it restricts, verifies, signs, encrypts, authenticates, denies or caps"),
        (Class::Routing, "## What says where mail goes, or as whom"),
    ] {
        let _ = writeln!(page, "\n{title}\n\n| word | | without it | |\n|---|---|---|---|");
        let told: BTreeSet<(&str, String, &str, &str)> = all
            .iter()
            .filter(|(_, own)| own.class == class && !own.instead.is_empty())
            .map(|(one, own)| {
                let kind = if one.kind == "scope" { "stanza" } else { one.kind };
                // A word that is in effect elsewhere is missing only where this description says.
                let elsewhere = |other: &Description| other.name == one.name && other.ineffective.is_none();
                let kind = match REGISTRY.describe().iter().any(elsewhere) {
                    true => format!("{kind} in {}", one.scopes.join(", ")),
                    false => kind.to_owned(),
                };
                (one.name, kind, own.instead, one.state.word())
            })
            .collect();
        for (name, kind, instead, state) in told {
            let _ = writeln!(page, "| `{name}` | {kind} | {instead} | {state} |");
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../doc/manual/not-there-yet.md");
    if std::env::var_os("POSTRIDER_BLESS").is_some() {
        std::fs::write(path, &page).expect("the page can be written");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == written, "doc/manual/not-there-yet.md is not what the table says; run with POSTRIDER_BLESS=1");
}

const HEADING: &str = "# What is not there yet\n\n\
    Made from the table that the daemon reads (`crates/config/src/documented.tsv`); a test holds it to it.\n\n\
    A file that asks for one of these words is refused, by the daemon at its start, at a reload and at a change from the console, and\n\
    by `validate_config`, because mail would go on without the protection, or on another way, than the file says. A value that\n\
    asks for nothing (`tls = \"no\"`, `Enable_Authentication = false`, an empty list, a module with `enabled = false`) is taken. So is\n\
    what a listener that does not exist is told. `tls = \"ifavailable\"` asks: mail that could be encrypted would not be.\n\n\
    Whoever can do without writes so in the global scope, by the name of the option, the stanza or its module:\n\n\
    \x20   accept_ineffective = ( \"tls\" \"opendkim\" )\n\n\
    Each start and reload then warns, in the log too, of what is accepted and what happens instead; `config options accepted` lists\n\
    it. A name in the list that is in effect by now, or that nobody knows, is warned about. The options of a module stand inside its\n\
    stanza unless they are listed here. Everything else that is documented and not in effect is harmless: it is accepted with a\n\
    warning, and `config options harmless` lists it. In `smtp_extensions`, the keyword `AUTH` asks for protection too.\n";
const README: &str = include_str!("../../../README.md");
