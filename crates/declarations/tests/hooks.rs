//! The hooks against the reference: every documented one of tiers A and B is called or awaits a named room, none stands
//! twice, and a prototype that differs has its reason in `hooks_departures.tsv`.

use std::collections::{BTreeMap, BTreeSet};

use hooks::{Awaited, Declaration};
use scheduler::{Clock, Meters};

fn declared() -> Vec<&'static Declaration> {
    declarations::hook_registry(Clock::system(), &Meters::new()).declarations()
}

/// Title to return type, parameter types without their names and blanks, tier.
fn reference() -> BTreeMap<String, (String, String, &'static str)> {
    let row = |fields: Vec<&'static str>| match fields[..] {
        [scope, name, returns, parameters, tier] => {
            (format!("{scope}_{name}"), (plain(returns), types(parameters), tier))
        }
        _ => panic!("hooks_reference.tsv: {fields:?}"),
    };
    rows(include_str!("hooks_reference.tsv")).map(row).collect()
}

fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

fn plain(text: &str) -> String {
    text.chars().filter(|one| !one.is_whitespace()).collect()
}

/// The types of documented parameters: each without its last word, which is its name.
fn types(parameters: &str) -> String {
    let without_name = |parameter: &str| {
        let parameter = parameter.split(" (").next().unwrap_or_default().trim();
        plain(parameter.rsplit_once([' ', '*']).map_or(parameter, |(before, _)| {
            let star = parameter.as_bytes().get(before.len()) == Some(&b'*');
            if star { &parameter[..=before.len()] } else { before }
        }))
    };
    match parameters {
        "(none)" => String::new(),
        _ => parameters.split(", ").map(without_name).collect::<Vec<_>>().join(","),
    }
}

fn declared_types(hook: &Declaration) -> String {
    hook.parameters.iter().map(|parameter| plain(parameter.c_type)).collect::<Vec<_>>().join(",")
}

#[test]
fn every_documented_hook_is_called_or_awaits_a_room_and_none_does_both() {
    let documented: BTreeSet<String> = reference().into_keys().collect();
    let titles: Vec<String> = declared().iter().map(|hook| hook.title()).collect();
    let called: BTreeSet<String> = titles.iter().cloned().collect();
    assert_eq!(titles.len(), called.len(), "declared twice");
    let rows: Vec<Awaited> = hooks::awaited().collect();
    let awaited: BTreeSet<String> = rows.iter().map(|row| row.title.to_owned()).collect();
    assert_eq!(rows.len(), awaited.len(), "awaited.tsv has a hook twice");
    assert!(rows.iter().all(|row| !row.room.is_empty() && row.prototype.contains(row.title)), "awaited.tsv: {rows:#?}");
    let both: Vec<_> = called.intersection(&awaited).collect();
    assert!(both.is_empty(), "called, and still in awaited.tsv: {both:?}");
    let known: BTreeSet<String> = called.union(&awaited).cloned().collect();
    let missing: Vec<_> = documented.difference(&known).collect();
    assert!(missing.is_empty(), "neither declared nor in awaited.tsv: {missing:?}");
    let own: BTreeSet<_> =
        departures().filter(|(_, what, _)| *what == "own").map(|(title, ..)| title.to_owned()).collect();
    let unknown: BTreeSet<_> = known.difference(&documented).cloned().collect();
    assert_eq!(unknown, own, "hooks of our own, and the reasons for them in hooks_departures.tsv");
}

#[test]
fn prototypes_and_tiers_are_those_of_the_reference_or_the_difference_has_a_reason() {
    let (reference, mut differing) = (reference(), BTreeSet::new());
    for hook in declared() {
        let Some((returns, parameters, tier)) = reference.get(&hook.title()) else { continue };
        assert_eq!(hook.tier.word(), *tier, "tier of {}", hook.title());
        if (&plain(hook.returns), &declared_types(hook)) != (returns, parameters) {
            differing.insert(hook.title());
        }
    }
    let reasoned = departures().filter(|(_, what, _)| *what == "prototype").map(|(title, ..)| title.to_owned());
    assert_eq!(differing, reasoned.collect(), "prototypes that differ, and those of hooks_departures.tsv");
}

/// Title, what differs, and why.
fn departures() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    rows(include_str!("hooks_departures.tsv")).map(|fields| match fields[..] {
        [title, what, reason] if !reason.is_empty() => (title, what, reason),
        _ => panic!("hooks_departures.tsv: {fields:?}"),
    })
}

#[test]
fn every_hook_says_what_it_means_in_a_sentence() {
    for hook in declared() {
        assert!(hook.meaning.ends_with('.') && !hook.meaning.contains('\n'), "{}: {:?}", hook.title(), hook.meaning);
    }
}

#[test]
fn the_page_of_the_manual_says_what_the_declarations_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../doc/manual/hooks.md");
    let page = page();
    if std::env::var_os("POSTRIDER_BLESS").is_some() {
        std::fs::write(path, page).expect("the manual can be written");
        return;
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == written, "doc/manual/hooks.md is not what the declarations say; run with POSTRIDER_BLESS=1");
}

fn page() -> String {
    let mut page = PREFACE.to_owned();
    for hook in declared() {
        let suspends = if hook.suspends { "may suspend" } else { "may not suspend" };
        let kinds: Vec<String> =
            hook.parameters.iter().map(|parameter| format!("{} ({})", parameter.name, parameter.kind.word())).collect();
        let kinds = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
        page += &format!("\n### {}\n\n{}\n\n    {}\n\n", hook.title(), hook.meaning, hook.prototype());
        page += &format!("- arguments: {kinds}\n- answers: {}\n", hook.rule);
        page += &format!(
            "- runs on {}; a provider {suspends}; one that fails is {}\n",
            hook.runs.word(),
            hook.failing.word()
        );
        page += &format!("- of a message there is: {}\n", hook.needs.word());
    }
    page += AWAITED;
    for awaited in hooks::awaited() {
        page += &format!("| `{}` | {} | {} |\n", awaited.title, awaited.tier, awaited.room);
    }
    page
}

const PREFACE: &str = "\
<!-- Made from the declarations: POSTRIDER_BLESS=1 cargo test -p declarations --test hooks -->

# Hooks

A hook is a point at which the daemon calls the modules that asked for it. `module hooks` on the console lists every one, with
its prototype, its rule, and the modules that provide it in the order in which they are called: that of their stanzas in the
configuration, unless a module asked to come first. `module hooks` with `--json` says the same to programs.

A provider in C or Lua is registered by the hook's name and is refused if its parameters are others than those declared, or if
nothing calls the hook yet. What it returns combines with what others return by the hook's rule. A provider that may suspend
waits without holding the loop; what it keeps of the call is dropped when the call ends, whether it answered, was given up
after `policy_timeout`, or the daemon stops.

A provider fails if it says so, if it returns what means nothing under the rule, or if it suspends where it may not. Each failure
is counted (`hooks.errors`, `hooks.refusals`, both by hook and module) and said in the paniclog the first time, the second, the
fourth and so on. Then the hook's declaration holds: *passed over* goes on as if the provider was not there; *deferred* ends the
chain and answers the client 451 4.3.0, for policy that cannot be asked lets nothing in.

Modules may declare hooks of their own, in a scope of their own, to call each other. The first to name one declares it.

The watchdog names the hook and module that hold a loop; so does the last line of a daemon that a provider brought down.

## Hooks that are called
";

const AWAITED: &str = "
## Hooks that await something

Documented, and not called before there is what the table names.

| hook | tier | awaits |
|---|---|---|
";
