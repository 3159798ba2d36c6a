//! Whatever is set or unset, everything else stands as it stood, byte for byte, and the change counts.

mod common;

use common::*;
use proptest::prelude::*;

/// Pieces a file is put together from: layout, comments, stanzas on one line and on several.
const PIECES: &[&str] = &[
    "# a comment { with = braces }\n",
    "/* block } */ ",
    "retry_interval = 5 # five\n",
    "Message_Expiration=\t86400\n\n",
    "binding \"b\" { retry_interval = 7 }\n",
    "binding \"b\" {\n    message_expiration = 8 # eight }\n}\n",
    "Binding_Group \"g\" {\n\tbinding \"b2\" {\n\t\tdomain \"x.example\" { }\n\t}\n}\n",
    "binding_group \"g\" {}\r\n",
    "domain \"x.example\" {\n  # nothing yet\n}\n",
    "domain \"/x\\.(example|test)$/\" { retry_interval = 9 } ",
    "\n\n",
];

const SCOPES: &[&str] = &[
    "",
    "binding b ",
    "binding_group g ",
    "binding_group g binding b2 ",
    "binding_group g binding b2 domain x.example ",
    "domain X.example ",
    "domain '/x\\.(example|test)$/' ",
    "binding new domain y.example ",
];

fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..12).prop_map(|pieces| pieces.concat())
}

/// How many bytes of `old` are left out between the longest common beginning and end.
fn lost(old: &str, new: &str) -> usize {
    let same = |a: &mut dyn Iterator<Item = (u8, u8)>| a.take_while(|(a, b)| a == b).count();
    let before = same(&mut old.bytes().zip(new.bytes()));
    let after = same(&mut old.as_bytes()[before..].iter().rev().copied().zip(new.bytes().rev()));
    old.len() - before - after
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn set_changes_one_place_and_counts(
        text in pieces(),
        scope in prop::sample::select(SCOPES),
        option in prop::sample::select(&["retry_interval", "message_expiration"][..]),
    ) {
        let etc = Etc::new(&[("ecelerity.conf", &text)]);
        let configuration = etc.load().expect("every piece is valid");
        change(&configuration, &[&format!("set {scope}{option} = 4711")]);
        let words = format!("{scope}{option}").replace('\'', "");
        let words: Vec<&str> = words.split(' ').collect();
        let answer = configuration.current().get_text(&words).expect("a known option");
        prop_assert_eq!(&answer.json["value"], 4711);
        configuration.writeback().expect("written");
        let new = etc.read("ecelerity.conf");
        prop_assert!(lost(&text, &new) <= "86400".len(), "{text:?} became {new:?}");
        let read = etc.load().expect("what was written is valid").current();
        prop_assert_eq!(read.show(&[], true), configuration.current().show(&[], true));

        change(&configuration, &[&format!("unset {}", words.join(" "))]);
        configuration.writeback().expect("written again");
        let answer = etc.load().expect("valid").current().get_text(&words).expect("a known option");
        prop_assert!(answer.json["value"].is_null());
    }

    #[test]
    fn many_settings_at_once_are_what_they_are_one_after_the_other(
        text in pieces(),
        lines in prop::collection::vec((0..SCOPES.len(), prop::bool::ANY, 1..50), 1..12),
    ) {
        let etc = Etc::new(&[("ecelerity.conf", &text)]);
        let made = |look_between: bool| {
            etc.write("ecelerity.conf", &text);
            let configuration = etc.load().expect("every piece is valid");
            let mut transaction = configuration.begin(false);
            for (scope, retry, value) in &lines {
                let option = if *retry { "retry_interval" } else { "message_expiration" };
                transaction.set(&format!("{}{option} = {value}", SCOPES[*scope])).expect("valid");
                if look_between {
                    transaction.generation().expect("valid");
                }
            }
            configuration.commit(&mut transaction, &mut |_| Ok(())).expect("valid");
            configuration.writeback().expect("written");
            (configuration, etc.read("ecelerity.conf"))
        };
        let ((slow, slow_text), (fast, fast_text)) = (made(true), made(false));
        prop_assert_eq!(config::differences(&slow.current(), &fast.current()), vec![], "{}", fast_text);
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        prop_assert_eq!(sorted(&slow_text), sorted(&fast_text), "the same lines, a new scope inside a new one later");
    }
}
