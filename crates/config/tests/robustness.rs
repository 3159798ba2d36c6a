//! Whatever the words, loading and asking neither panics nor accepts what cannot be read back.

mod common;

use common::*;
use config::{Configuration, Lookup, Registry};
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};

static REGISTRY: LazyLock<Arc<Registry>> = LazyLock::new(|| Arc::new(registry()));

const WORDS: &[&str] = &[
    "binding",
    "binding_group",
    "domain",
    "host",
    "pathway",
    "pathway_group",
    "esmtp_listener",
    "listen",
    "peer",
    "ec_logger",
    "opendkim",
    "threadpool",
    "message_expiration",
    "routes",
    "relay_hosts",
    "outbound_throttle_messages",
    "pathway",
    "mainlog",
    "tls",
    "concurrency",
    " = ",
    " { ",
    " } ",
    " } ",
    "\n",
    "(",
    ")",
    "[",
    "]",
    ",",
    "\"a.example\"",
    "\"/a/\"",
    "\":25\"",
    "\"10.0.0.0/8\"",
    "10",
    "b",
    "\"g\"",
    "\"600/60\"",
    "true",
    "#",
    "include \"x\"",
];

/// Statements that fit most scopes, so that many jumbles are valid.
const STATEMENTS: &[&str] = &[
    "binding \"b\" { message_expiration = 1 domain \"a.example\" { outbound_throttle_messages = \"1/2\" } }",
    "binding_group \"g\" { message_expiration = 2 binding \"g\" { } domain b { message_expiration = 3 } }",
    "domain \"/a/\" { message_expiration = 4 routes = ( x, y ) }",
    "Domain \"A.example\" { message_expiration = 5 tls = no }",
    "esmtp_listener { Listen \":25\" { pathway = \"g\" Peer 10.0.0.0/8 { relay_hosts = ( ) } } }",
    "ESMTP_Listener { idle_time = 6 Peer \"10.0.0.1\" { open_relay = on } }",
    "pathway_group \"g\" { open_relay = 1 pathway g { context = [ a = 'b' c = \"\\\"\" ] } }",
    "host \"a.example\" { max_outbound_connections = -1 }",
    "opendkim 'q\"q' { anything { goes = ( \"here\" ) } }",
    "message_expiration = 7 #",
    "}",
];

proptest! {
    #[test]
    fn a_jumble_of_known_words_is_answered(
        picks in prop::collection::vec(0..WORDS.len(), 0..20),
        statements in prop::collection::vec(0..STATEMENTS.len(), 0..8),
        broken in prop::bool::weighted(0.3),
    ) {
        let words = picks.iter().filter(|_| broken).flat_map(|pick| [WORDS[*pick], " "]);
        let text: String = statements.iter().flat_map(|pick| [STATEMENTS[*pick], "\n"]).chain(words).collect();
        match Configuration::of_text(REGISTRY.clone(), &text) {
            Err(refused) => prop_assert!(refused.has_errors() && !refused.render(false).is_empty()),
            Ok(configuration) => {
                let generation = configuration.current();
                let lookups = [
                    queue("", "b", "a.example"), queue("g", "g", "b"), session(":25", "10.0.0.1"), Lookup::Pathway { pathway: "g" },
                    Lookup::Host { binding_group: "g", binding: "b", domain: "b", host: "a.example" },
                ];
                for lookup in lookups {
                    expiration(&generation, &lookup);
                    generation.get(&THROTTLE, &lookup);
                    generation.eval_why("routes", &lookup);
                }
                let shown = generation.show(&[], true);
                let shown = shown.map_err(TestCaseError::fail)?;
                let again = Configuration::of_text(REGISTRY.clone(), &shown.text);
                let again = again.map_err(|refused| TestCaseError::fail(format!("{}\n{}", shown.text, refused.render(false))))?;
                prop_assert_eq!(again.current().show(&[], true), Ok(shown));
            }
        }
    }

    #[test]
    fn any_bytes_in_a_file_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let etc = Etc::new(&[]);
        std::fs::write(etc.main(), &bytes).expect("write a file");
        if let Err(refused) = etc.load() {
            refused.render(false);
            refused.render(true);
            refused.to_json();
        }
    }
}
