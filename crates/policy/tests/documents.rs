//! The table of what may be changed when, held to the documents and to the manual's page.

use policy::{Field, Phase};

fn field(name: &str) -> Field {
    Field::ALL.into_iter().find(|field| field.as_str() == name).unwrap_or_else(|| panic!("no field {name}"))
}

fn phase(name: &str) -> Phase {
    Phase::ALL.into_iter().find(|phase| phase.as_str() == name).unwrap_or_else(|| panic!("no phase {name}"))
}

#[test]
fn what_the_documents_allow_the_table_allows_or_a_reason_says_why_not() {
    let mut seen = Vec::new();
    for row in include_str!("documented.tsv").lines().filter(|line| !line.starts_with('#')) {
        let [name, of, phases, reason] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row:?}") };
        let of = field(of);
        let differs = phases.split_whitespace().any(|name| !of.phases().contains(&phase(name)));
        assert_eq!(differs, !reason.is_empty(), "{name}: a difference has a reason, and only a difference");
        assert!(!seen.contains(&name), "{name} stands twice");
        seen.push(name);
    }
    for of in Field::ALL {
        let rows = include_str!("documented.tsv").lines();
        assert!(
            rows.into_iter().any(|row| row.split('\t').nth(1) == Some(of.as_str())),
            "nothing documented changes {of}"
        );
    }
}

#[test]
fn the_manual_has_the_table() {
    let page = include_str!("../../../doc/manual/policy.md");
    let mut table = String::from("| field | may be changed in |\n|---|---|\n");
    for of in Field::ALL {
        let phases: Vec<&str> = of.phases().iter().map(|phase| phase.as_str()).collect();
        table.push_str(&format!("| `{of}` | {} |\n", phases.join(", ")));
    }
    assert!(page.contains(&table), "the page has another table than this:\n{table}");
    for (scope, name, meaning) in policy::variables::STANDARD {
        let scope = if *scope == policy::Scope::Connection { "connection" } else { "message" };
        let row = format!("| {scope} | `{name}` | {meaning} |\n");
        assert!(page.contains(&row), "the page lacks {row}");
    }
}
