//! The fuzz target without a fuzzer: the same function over seeded mutations of a corpus, the same in every run.
//!
//! `POSTRIDER_FUZZ_ROUNDS` asks for more rounds; a failure names the round, and its text is in the message.

mod common;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use common::exercise::{exercise, ground};

/// Pieces that are put into a text.
const PIECES: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "=",
    ",",
    "\"",
    "'",
    "$\"",
    "${",
    "${A}",
    "${N:-5}",
    "${LIST...}",
    "${file:key}",
    "${file:",
    "$",
    "\\",
    "\\\"",
    "#",
    "/*",
    "*/",
    "\n",
    "\n\n",
    " ",
    "\t",
    "\r\n",
    "\u{201c}",
    "\u{a0}",
    "\u{0}",
    "if_env \"A\" { ",
    "if_env \"!A=x\" {",
    "include part.conf ",
    "include \"ecelerity.conf\"",
    "domain \"/(/\" { }",
    "domain ",
    "binding b { ",
    "binding_group \"g\" {",
    "Peer 10.0.0.0/8 { }",
    "Listen \":25\" { ",
    "host \"/a/\" { max_outbound_connections = 1 }",
    "message_expiration = ",
    "relay_hosts = ( ",
    "hostname = ${A} ",
    "gateway = ${file:key}\n",
    "opendkim { x = ",
    "5",
    "\"600/60\"",
    "::1",
    "é",
];

/// Statements that are valid together, so that what follows parsing is tried as well.
const STATEMENTS: &[&str] = &[
    "hostname = $\"mx.${A}\"  # of this node\n",
    "message_expiration = ${N}\n\n\n",
    "relay_hosts = ( \"127.0.0.1\" ${LIST...}, 10.0.0.0/8 )\n",
    "relay_domains = ( a # one\n b\n\n c ) /* two */ retry_interval = 7\n",
    "gateway = $\"u:${file:key}@${A}\"\n",
    "context = [ a = ${ODD} \"b c\" = 'd' A = $\"\\t\\$\" ]\n",
    "if_env \"A=/^a\\./\" { binding \"b\" { message_expiration = 1 include \"part.conf\" } }\n",
    "if_env \"EMPTY\" { hostname = ${UNSET} include \"nowhere\" domain \"x\" { } }\n",
    "binding_group \"g\" { message_expiration = 2 binding \"b\" { domain ${A} { message_expiration = 3 } } }\n",
    "domain \"/a\\./\" { message_expiration = 4 routes = ( x, y ) } domain \"[IPv6:2001:db8::1]\" { }\n",
    "ESMTP_Listener { Listen $\":${PORT}\" { pathway = p Peer 10.0.0.0/8 { relay_hosts = () } } Idle_Time = 6 }\n",
    "pathway_group \"pg\" { open_relay = 1 pathway p { context = [ ] } }\n",
    "host \"a.example\" { max_outbound_connections = -1 outbound_throttle_messages = \"600/60\" }\n",
    "opendkim 'q\"q' { anything { goes = ( \"here\" ) } } ec_logger { mainlog = \"/x\" }\n",
];

/// A generator of the same numbers in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> =
        fs::read_dir(root.join("tests/mistakes")).expect("cases").flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    paths.push(root.join("../../etc/ecelerity.conf"));
    let mut texts: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).expect("a text")).collect();
    let manual = include_str!("../../../doc/manual/configuration-language.md");
    texts.extend(manual.split("```ecelerity\n").skip(1).map(|rest| rest.split("```").next().unwrap_or("").into()));
    texts
}

/// A text with up to four changes.
fn mutated(texts: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let (mut text, changes) = match numbers.below(3) {
        0 => (texts[numbers.below(texts.len())].clone(), 1 + numbers.below(4)),
        _ => {
            let picked =
                (0..=numbers.below(6)).map(|_| STATEMENTS[numbers.below(STATEMENTS.len())]).collect::<String>();
            (picked.into_bytes(), numbers.below(3))
        }
    };
    for _ in 0..changes {
        let at = numbers.below(text.len() + 1);
        let end = (at + 1 + numbers.below(40)).min(text.len());
        match numbers.below(6) {
            0 => drop(text.drain(at.min(end)..end)),
            1 => text.extend_from_within(at.min(end)..end),
            2 if at < text.len() => text[at] = numbers.below(256) as u8,
            3 => {
                let other = &texts[numbers.below(texts.len())];
                let from = numbers.below(other.len());
                let to = (from + numbers.below(120)).min(other.len());
                text.splice(at..at, other[from..to].iter().copied());
            }
            _ => drop(text.splice(at..at, PIECES[numbers.below(PIECES.len())].bytes())),
        }
    }
    text
}

#[test]
fn no_mutation_of_the_corpus_breaks_a_promise() {
    let rounds = std::env::var("POSTRIDER_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(400);
    let (etc, texts, mut numbers) = (ground(), corpus(), Numbers(0x5eed_1e55));
    let mut valid = 0;
    for round in 0..rounds {
        let text = mutated(&texts, &mut numbers);
        match catch_unwind(AssertUnwindSafe(|| exercise(&etc, &text))) {
            Ok(was_valid) => valid += usize::from(was_valid),
            Err(_) => panic!("round {round}:\n{}", String::from_utf8_lossy(&text)),
        }
    }
    assert!(valid * 20 > rounds, "only {valid} of {rounds} texts were valid: too few to test what follows");
}
