//! What is counted is declared: well formed, once, and with a page of the manual that is made from the declarations.
//!
//! After changing one, run `POSTRIDER_BLESS=1 cargo test -p declarations --test measures` once: it writes
//! `doc/manual/metrics.md` anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use console::shapes::family_of;
use scheduler::{Kind, Measure};

#[test]
fn every_declaration_is_whole_and_no_two_are_of_one_thing() {
    let measures = declarations::measures();
    let mut families: BTreeMap<String, &Measure> = BTreeMap::new();
    for measure in &measures {
        let Measure { name, labels, meaning, .. } = measure;
        assert_eq!(name.matches('*').count(), labels.len(), "{name}: a label for each part that is known at run time");
        assert!(meaning.ends_with('.') && meaning.len() > 10, "{name}: {meaning}");
        assert!(
            meaning.starts_with(|first: char| first.is_ascii_uppercase() || first.is_ascii_digit() || first == 'm'),
            "{name}"
        );
        if let Some(other) = families.insert(family_of(measure), measure) {
            panic!("{name} and {} have one name outside", other.name);
        }
        if let Kind::Distribution { sum, count } = measure.kind {
            for part in [sum, count] {
                assert!(measures.iter().any(|other| other.name == part), "{name}: nobody declares {part}");
            }
        }
    }
    let names: BTreeSet<&str> = measures.iter().map(|measure| measure.name).collect();
    assert_eq!(names.len(), measures.len());
}

#[test]
fn the_manual_has_each_with_its_sentence() {
    let mut page = HEADING.to_owned();
    for measure in declarations::measures() {
        let kind = match measure.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Distribution { .. } => "histogram",
        };
        let unit = if measure.unit.is_empty() { "–" } else { measure.unit };
        let labels: Vec<String> = measure.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
        let _ = writeln!(page, "| `{}` | {kind} | {unit} | {labels} | {} |", family_of(measure), measure.meaning);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../doc/manual/metrics.md");
    if std::env::var_os("POSTRIDER_BLESS").is_some() {
        std::fs::write(path, &page).expect("the page can be written");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == written, "doc/manual/metrics.md is not what is declared; run with POSTRIDER_BLESS=1");
}

const HEADING: &str = "# Metrics\n\n\
    Made from the declarations beside what counts; a test holds it to them.\n\n\
    `ec_console metrics` prints these in the text format of Prometheus, with the sentences as HELP. A counter grows from the start of\n\
    the daemon on; a gauge is what was measured last. `meters`, and `metrics --json`, have the same under the daemon's own names, with\n\
    dots and without `_total`. Where two counters are called entered and left, the difference is how many there are now. One appears\n\
    when what it counts is there: the stores of a spool, loops and pools have theirs once they are used.\n\n\
    | metric | kind | unit | labels | what it counts |\n|---|---|---|---|---|\n";
