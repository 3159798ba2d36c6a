//! What an operator is told: each `mistakes/NAME.conf` beside the text it must draw, `NAME.txt`.
//!
//! A line `#### FILE` begins another file of the case; the text before the first is the main file.
//!
//! After changing a message on purpose, run with `POSTRIDER_BLESS=1` and read the difference.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::*;

fn cases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let entries = fs::read_dir(dir).expect("the folder of cases");
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    paths
}

#[test]
fn each_mistake_is_answered_with_what_to_change() {
    for case in cases() {
        let text = fs::read_to_string(&case).expect("a case");
        let mut files = text.split("#### ");
        let etc = Etc::new(&[("ecelerity.conf", files.next().unwrap_or_default())]);
        for (name, text) in files.filter_map(|file| file.split_once('\n')) {
            etc.write(name, text);
        }
        let said = match etc.load() {
            Ok(configuration) => etc.tidy(configuration.current().warnings()),
            Err(diagnostics) => etc.tidy(&diagnostics),
        };
        let golden = case.with_extension("txt");
        if std::env::var_os("POSTRIDER_BLESS").is_some() {
            fs::write(&golden, &said).expect("write the golden text");
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(said, expected, "{}", case.display());
    }
}

#[test]
fn machines_get_the_same_as_json() {
    let etc = Etc::new(&[("ecelerity.conf", "hostname = \"mx\"\n  Retry_Intervall = 900\n")]);
    let json = etc.load().expect_err("misspelt").to_json();
    let mut first = json["diagnostics"][0].clone();
    first["file"] = "ecelerity.conf".into();
    assert_eq!(
        first,
        serde_json::json!({
            "severity": "error", "file": "ecelerity.conf", "line": 2, "column": 3, "text": "Retry_Intervall",
            "message": "unknown option `Retry_Intervall` in the global scope", "label": "",
            "help": "did you mean `retry_interval`?", "included_from": [],
        })
    );
    assert_eq!((&json["valid"], &json["not_shown"]), (&false.into(), &0.into()));
}

#[test]
fn a_file_full_of_errors_is_given_up_in_time() {
    let diagnostics = Etc::new(&[("ecelerity.conf", &"nonsense = 1\n".repeat(100_000))]).load().expect_err("nonsense");
    assert_eq!(diagnostics.iter().count(), 100);
}

#[test]
fn what_is_documented_but_not_built_warns_once() {
    let said = warnings("tls = no\ndomain \"a\" { tls = off }\n");
    assert_eq!(said.matches("Warning").count(), 1);
    assert!(said.contains("option `tls` is accepted, not yet in effect (set 2 times)"));
    let said = refusal("tls = no\ndomain \"a\" { tls = ifavailable }\n");
    assert_eq!((said.matches("Warning").count(), said.matches("Error").count()), (0, 1), "{said}");
    assert!(said.contains("option `tls` is not in effect yet: mail leaves in the clear"), "{said}");
}
