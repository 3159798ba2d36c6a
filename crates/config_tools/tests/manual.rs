//! The reference of the configuration misses nothing, in any of its forms.

use std::io::Write as _;
use std::process::{Command, Stdio};

use config::{Description, OptionState};
use declarations::Declarations;
use serde_json::Value as Json;

fn described() -> Vec<Description> {
    Declarations::offline().expect("sound declarations").registry.describe()
}

fn made(kind: &str) -> String {
    let outcome = config_tools::manual(["ec_config_manual", kind].map(Into::into));
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
    outcome.out
}

#[test]
fn every_word_has_a_meaning_and_scopes() {
    for one in described() {
        assert!(one.meaning.len() > 3, "{} of {} says nothing", one.name, one.owner);
        assert!(!one.scopes.is_empty(), "{} of {} may stand nowhere", one.name, one.owner);
        assert!(!one.is_option() || !one.value.is_empty(), "{} of {} has no type", one.name, one.owner);
    }
}

/// Each form names each word with its scopes in the chapter of its state.
#[test]
fn each_form_names_every_word_with_its_state_and_scopes() {
    type Finds = fn(&Description) -> String;
    let forms: [(&str, [&str; 2], Finds, Finds); 3] = [
        (
            "man",
            ["ACCEPTED, NOT YET IN EFFECT", "NOT SUPPORTED"],
            |one| format!(".TP\n.B {}\n", one.name.replace('-', "\\-")),
            |one| format!(".BR {} \" ({}; {})\"", one.name.replace('-', "\\-"), one.owner, one.scopes.join(", ")),
        ),
        (
            "markdown",
            ["## Accepted, not yet in effect", "## Not supported"],
            |one| format!("### `{}`\n", one.name),
            |one| format!("| `{}` | {} | {} |", one.name, one.owner, one.scopes.join(", ")),
        ),
        (
            "html",
            ["<h2>Accepted, not yet in effect</h2>", "<h2>Not supported</h2>"],
            |one| format!("\">{}</h3>", one.name),
            |one| format!("<tr><td>{}</td><td>{}</td><td>{}</td>", one.name, one.owner, one.scopes.join(", ")),
        ),
    ];
    for (kind, [awaited, unsupported], in_effect, in_table) in forms {
        let text = made(kind);
        let (head, rest) = text.split_once(awaited).expect("a chapter for what is not yet");
        // The chapter's own heading, not a word of the text.
        let (middle, tail) = rest.rsplit_once(unsupported).expect("a chapter for what is not supported");
        for one in described() {
            let (chapter, needle) = match one.state {
                OptionState::InEffect => (head, in_effect(&one)),
                OptionState::NotYet => (middle, in_table(&one)),
                OptionState::NotSupported(_) => (tail, in_table(&one)),
            };
            assert!(chapter.contains(&needle), "{kind}: {needle} is missing");
            let plain = chapter.replace("\\_", "_");
            assert!(plain.contains(&one.scopes.join(", ")), "{kind}: the scopes of {} are missing", one.name);
        }
    }
}

/// An option whose value means another thing in one scope, such as max_outbound_connections in a host stanza, is told under
/// one heading.
#[test]
fn no_form_has_two_headings_for_one_name() {
    for (kind, before, after) in [("man", ".TP\n.B ", "\n"), ("markdown", "### `", "`\n"), ("html", "\">", "</h3>")] {
        let text = made(kind);
        for name in ["max_outbound_connections", "pathway", "concurrency"] {
            let heading = format!("{before}{}{after}", name.replace('-', "\\-"));
            assert_eq!(text.matches(&heading).count(), 1, "{kind}: {heading}");
        }
        let of_hosts = text.replace("\\_", "_");
        assert!(of_hosts.contains("In host: In a host stanza: most connections to one host"), "{kind}");
    }
}

#[test]
fn the_schema_has_every_option_in_every_scope() {
    let schema: Json = serde_json::from_str(&made("schema")).expect("JSON");
    for one in described().iter().filter(|one| one.is_option()) {
        for scope in &one.scopes {
            let property = &schema["$defs"][scope]["properties"][one.name];
            assert!(property["description"].is_string(), "{} in {scope}", one.name);
            assert!(
                one.state != OptionState::InEffect || property["x-state"] == "in effect",
                "{} in {scope}",
                one.name
            );
        }
    }
    let words = schema["x-words"].as_array().expect("a list");
    for one in described().iter().filter(|one| !one.is_option()) {
        let is_told = |own: &Json| own["word"] == one.name && own["x-state"] == one.state.word();
        assert!(words.iter().any(is_told), "{}", one.name);
    }
}

#[test]
fn the_manual_page_is_well_formed() {
    let page = made("man");
    let known = [".TH", ".SH", ".SS", ".TP", ".B", ".BR", ".br"];
    for line in page.lines() {
        let word = line.split(' ').next().unwrap_or_default();
        assert!(!line.starts_with('.') || known.contains(&word), "{line}");
        assert!(!line.starts_with('\'') && !line.is_empty() && !line.ends_with('\\'), "{line:?}");
    }
    // Where there is a formatter, it has nothing to complain of.
    let mut command = Command::new("groff");
    command.args(["-man", "-ww", "-Tutf8", "-z"]);
    let Ok(mut groff) = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn() else { return };
    groff.stdin.take().expect("a pipe").write_all(page.as_bytes()).expect("the page is read");
    let said = groff.wait_with_output().expect("an end");
    assert_eq!(String::from_utf8_lossy(&said.stderr), "");
}

#[test]
fn all_forms_are_written_into_a_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().to_str().expect("a path");
    let outcome = config_tools::manual(["ec_config_manual", "all", "-o", out].map(Into::into));
    assert_eq!((outcome.code, outcome.out.lines().count()), (0, 4));
    for name in
        ["ecelerity.conf.5", "configuration-options.md", "configuration-options.html", "ecelerity.conf.schema.json"]
    {
        assert!(std::fs::metadata(directory.path().join(name)).expect("a file").len() > 10_000, "{name}");
    }
}
