//! The declarations against the reference: nothing documented is missing, nothing stands twice, and whatever differs has
//! its reason in `departures.tsv`.
//!
//! After declaring options, run `POSTRIDER_PRUNE=1 cargo test -p declarations --test reference` once: it takes what is
//! declared out of `documented.tsv`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use config::{Description, OptionState};
use declarations::Declarations;

/// What the reference says about one name.
struct Reference {
    name: &'static str,
    owner: &'static str,
    kind: &'static str,
    default: &'static str,
    scopes: BTreeSet<String>,
}

fn reference() -> Vec<Reference> {
    rows(include_str!("reference.tsv"))
        .map(|fields| match fields[..] {
            [name, owner, kind, default, scopes] => {
                Reference { name, owner, kind, default, scopes: scopes.split(',').map(in_words).collect() }
            }
            _ => panic!("reference.tsv: {fields:?}"),
        })
        .collect()
}

fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

/// A scope of a data file as descriptions name it.
fn in_words(scope: &str) -> String {
    match (scope, scope.split_once("::")) {
        ("module", _) => "every module".to_owned(),
        ("any", _) => "any scope".to_owned(),
        (_, Some((parent, word))) => format!("{word} in {parent}"),
        _ => scope.to_owned(),
    }
}

fn described() -> Vec<Description> {
    let declared = Declarations::offline().expect("sound declarations");
    declared.registry.describe()
}

fn declared(all: &[Description]) -> impl Iterator<Item = &Description> {
    all.iter().filter(|one| one.state == OptionState::InEffect)
}

/// The scopes in which a name is declared.
fn declared_scopes(all: &[Description], name: &str) -> BTreeSet<String> {
    let mut scopes: BTreeSet<String> =
        declared(all).filter(|one| one.name == name).flat_map(|one| one.scopes.iter().cloned()).collect();
    if declared(all).any(|one| one.name == name && one.owner != "core") {
        scopes.insert("every module".to_owned());
    }
    scopes
}

/// Of the scopes of a row, those that nobody declares. A listen or peer stanza belongs to its listener: it stays as long
/// as one of the listeners does.
fn left_over(row: &BTreeSet<String>, declared: &BTreeSet<String>) -> BTreeSet<String> {
    let mut left: BTreeSet<String> = row.difference(declared).cloned().collect();
    if left.iter().any(|scope| scope.ends_with("_listener")) {
        left.extend(row.iter().filter(|scope| ["listen", "peer"].contains(&scope.as_str())).cloned());
    }
    left
}

#[test]
fn every_row_of_the_reference_is_declared_or_awaited() {
    let all = described();
    let mut missing = Vec::new();
    for row in reference() {
        let known: BTreeSet<String> = match row.kind {
            "scope" | "directive" => {
                let is_named = |one: &&Description| (one.kind, one.name, one.owner) == (row.kind, row.name, row.owner);
                let named: Vec<&Description> = all.iter().filter(is_named).collect();
                assert!(named.len() < 2, "{} is told twice: {named:#?}", row.name);
                // A stanza that is read may still be awaited in a listener that does not exist.
                let in_effect = named.iter().any(|one| one.state == OptionState::InEffect);
                let awaited = row.scopes.iter().filter(|scope| in_effect && scope.ends_with("_listener")).cloned();
                named.iter().flat_map(|one| one.scopes.iter().cloned()).chain(awaited).collect()
            }
            _ => {
                let named = all.iter().filter(|one| one.kind == "option" && one.name == row.name);
                named.flat_map(|one| one.scopes.iter().cloned()).chain(declared_scopes(&all, row.name)).collect()
            }
        };
        let wanted: BTreeSet<String> = row.scopes.iter().filter(|scope| *scope != "?").cloned().collect();
        if known.is_empty() || !wanted.is_subset(&known) {
            missing.push(format!("{} of {}: {:?}", row.name, row.owner, wanted.difference(&known).collect::<Vec<_>>()));
        }
    }
    assert!(missing.is_empty(), "neither declared nor in documented.tsv:\n{}", missing.join("\n"));
}

#[test]
fn nothing_that_is_declared_stands_in_documented_tsv() {
    let all = described();
    let (mut pruned, mut faults) = (String::new(), String::new());
    for line in DOCUMENTED.lines() {
        let mut fields: Vec<&str> = line.split('\t').collect();
        let is_option = fields.get(2).is_some_and(|kind| !["scope", "directive", "module"].contains(kind));
        let is_built = fields.get(2) == Some(&"module") && declared(&all).any(|one| one.owner == fields[1]);
        let is_word = ["scope", "directive"].iter().any(|kind| fields.get(2) == Some(kind))
            && declared(&all).any(|one| one.name == fields[0] && one.kind == fields[2]);
        if is_built || is_word {
            let _ = writeln!(faults, "{}: built, remove the row", fields[0]);
            continue;
        }
        if line.starts_with('#') || !is_option {
            let _ = writeln!(pruned, "{line}");
            continue;
        }
        let row: BTreeSet<String> = fields[4].split(',').map(in_words).collect();
        let left = left_over(&row, &declared_scopes(&all, fields[0]));
        let kept: Vec<&str> = fields[4].split(',').filter(|scope| left.contains(&in_words(scope))).collect();
        let kept = kept.join(",");
        if kept != fields[4] {
            let _ = writeln!(faults, "{}: scopes left are `{kept}`", fields[0]);
        }
        fields[4] = &kept;
        if !kept.is_empty() {
            let _ = writeln!(pruned, "{}", fields.join("\t"));
        }
    }
    if std::env::var_os("POSTRIDER_PRUNE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/src/documented.tsv");
        std::fs::write(path, pruned).expect("documented.tsv can be written");
        return;
    }
    assert!(faults.is_empty(), "declared and still in documented.tsv; run with POSTRIDER_PRUNE=1:\n{faults}");
}

#[test]
fn scopes_and_defaults_are_those_of_the_reference_or_the_difference_has_a_reason() {
    let (all, reference) = (described(), reference());
    let mut differences = BTreeSet::new();
    for one in declared(&all).filter(|one| one.is_option()) {
        let named: Vec<&Reference> =
            reference.iter().filter(|row| row.name == one.name && row.kind != "scope").collect();
        let shares = |row: &&&Reference| {
            one.scopes.iter().any(|scope| row.scopes.contains(scope)) || row.scopes.contains("every module")
        };
        let Some(row) = named.iter().find(shares).or(named.first()) else { continue };
        let extra: Vec<&str> = one
            .scopes
            .iter()
            .filter(|scope| !named.iter().any(|row| row.scopes.contains(*scope) || row.scopes.contains("every module")))
            .map(String::as_str)
            .collect();
        if !extra.is_empty() {
            differences.insert((one.name, "scopes", format!("also {}", extra.join(", "))));
        }
        if plain(one.default) != plain(row.default) {
            differences.insert((one.name, "default", format!("{} and not {}", plain(one.default), plain(row.default))));
        }
    }
    let reasoned: BTreeSet<(&str, &str, String)> = rows(include_str!("departures.tsv"))
        .map(|fields| match fields[..] {
            [name, what, difference, reason] if !reason.is_empty() => (name, what, difference.to_owned()),
            _ => panic!("departures.tsv: {fields:?}"),
        })
        .collect();
    let told = |set: Vec<&(&str, &str, String)>| {
        set.into_iter().map(|(name, what, difference)| format!("{name}\t{what}\t{difference}\n")).collect::<String>()
    };
    let new = told(differences.difference(&reasoned).collect());
    assert!(new.is_empty(), "put right, or give the reason in departures.tsv:\n{new}");
    let gone = told(reasoned.difference(&differences).collect());
    assert!(gone.is_empty(), "no longer different, take out of departures.tsv:\n{gone}");
}

/// A default without quotes, case, the reference's remarks and ways to say nothing.
fn plain(default: &str) -> String {
    let default = default.split(" built in").next().and_then(|value| value.split(" in ").next()).unwrap_or_default();
    let bare = default.trim_matches(['"', '(', ')', ' ']).to_ascii_lowercase();
    match bare.as_str() {
        "" | "none" => "unset".to_owned(),
        "0" | "off" => "false".to_owned(),
        "1" | "on" => "true".to_owned(),
        _ => bare,
    }
}

#[test]
fn every_default_is_a_value_of_its_option() {
    let declared = Declarations::offline().expect("sound declarations");
    let wrong = declared.registry.check_defaults();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const DOCUMENTED: &str = include_str!("../../config/src/documented.tsv");
