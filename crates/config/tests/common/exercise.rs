//! One text through the whole of this crate: what the fuzz target and its deterministic twin in `tests/fuzz.rs` do.

use config::{Configuration, Generation, Lookup, format};

use super::{Etc, THROTTLE, expiration, queue, session};

/// Variables that texts may refer to.
const VARIABLES: &[(&str, &str)] = &[
    ("A", "a.example"),
    ("N", "5"),
    ("LIST", "10.0.0.0/8, ::1"),
    ("EMPTY", ""),
    ("ODD", "\"${A}\\\n' }"),
    ("PORT", "2525"),
];

/// A directory with something to include and a secret to read.
pub fn ground() -> Etc {
    use std::os::unix::fs::PermissionsExt;
    let etc = Etc::new(&[("part.conf", "message_expiration = 5\n"), ("key", "hunter2\n")]);
    std::fs::set_permissions(etc.path("key"), std::fs::Permissions::from_mode(0o600)).expect("chmod");
    etc
}

/// Loads, asks, shows and formats a text. Panics when a promise of the crate is broken; returns whether it was valid.
pub fn exercise(etc: &Etc, text: &[u8]) -> bool {
    std::fs::write(etc.main(), text).expect("write the main file");
    let loaded = etc.load_with(VARIABLES);
    let shown = match &loaded {
        Ok(configuration) => Some(ask(&configuration.current())),
        Err(refused) => {
            assert!(refused.has_errors() && !refused.render(false).is_empty() && refused.to_json()["valid"] == false);
            None
        }
    };
    if let Some(shown) = &shown {
        std::fs::write(etc.main(), shown).expect("write what was shown");
        let again = reloaded(etc, "what is shown");
        assert_eq!(&ask(&again.current()), shown, "what is shown reads back as the same configuration");
    }
    if let Ok(text) = std::str::from_utf8(text)
        && let Ok(formatted) = format(text)
    {
        assert_eq!(format(&formatted).ok().as_ref(), Some(&formatted), "formatting twice changes nothing");
        if let Some(shown) = &shown {
            std::fs::write(etc.main(), &formatted).expect("write what was formatted");
            let again = reloaded(etc, "what is formatted");
            assert_eq!(&ask(&again.current()), shown, "formatting changes no value: {formatted}");
        }
    }
    shown.is_some()
}

fn reloaded(etc: &Etc, what: &str) -> Configuration {
    etc.load_with(VARIABLES).unwrap_or_else(|refused| panic!("{what} is refused:\n{}", refused.render(false)))
}

/// Evaluates along every kind of chain; returns the whole configuration as it is shown.
fn ask(generation: &Generation) -> String {
    let lookups = [
        Lookup::Global,
        queue("", "b", "a.example"),
        queue("g", "b", "192.0.2.1"),
        session(":25", "10.0.0.1"),
        Lookup::Pathway { pathway: "p" },
        Lookup::Host { binding_group: "g", binding: "b", domain: "d", host: "a.example" },
        Lookup::Module { module: "ec_logger", instance: "" },
    ];
    for lookup in lookups {
        expiration(generation, &lookup);
        generation.get(&THROTTLE, &lookup);
        for name in ["gateway", "relay_hosts", "context", "hostname"] {
            assert!(generation.eval_why(name, &lookup).iter().all(|origin| !origin.value.contains("hunter2")));
        }
    }
    let shown = generation.show(&[], true).expect("the whole configuration");
    assert!(!shown.text.contains("hunter2") && !shown.json.to_string().contains("hunter2"), "a secret is never shown");
    shown.text
}
