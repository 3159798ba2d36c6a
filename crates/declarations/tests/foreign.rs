//! Words of other mail transfer agents are answered with what to write here, and what that names is there.

use std::collections::BTreeSet;
use std::sync::Arc;

use config::{Configuration, Registry};
use declarations::Declarations;

fn registry() -> Arc<Registry> {
    Arc::new(Declarations::offline().expect("sound declarations").registry)
}

fn words() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    FOREIGN.lines().filter(|line| !line.starts_with('#')).map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
        [word, product, here] => (word, product, here),
        _ => panic!("foreign.tsv: {line:?}"),
    })
}

#[test]
fn each_word_is_refused_with_its_translation_as_an_option_and_as_a_stanza() {
    let registry = registry();
    for (word, product, here) in words() {
        let word = &word.replace('*', "of_a_family");
        for text in [format!("{word} = \"x\"\n"), format!("{word} \"x\" {{ }}\n")] {
            let refused = Configuration::of_text(registry.clone(), &text).expect_err(word);
            let told = refused.iter().next().map(|one| one.help.clone()).unwrap_or_default();
            let meant = here.strip_prefix("nothing").unwrap_or(here);
            assert!(told.contains(&format!("a word of {product}")) && told.contains(meant), "{text}{told}");
        }
    }
}

#[test]
fn what_a_translation_names_is_there() {
    let names: BTreeSet<&str> = registry().describe().iter().map(|one| one.name).collect();
    let is_name = |word: &&str| {
        word.contains('_') && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && 2 < word.len()
    };
    let mut unknown = BTreeSet::new();
    for (word, _, here) in words() {
        let all = here.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let own = all.filter(is_name).filter(|name| {
            !names.contains(name) && !["__mx__", "ec_console", "ec_logger", "bounce_logger"].contains(name)
        });
        unknown.extend(own.map(|name| format!("{word}: {name}")));
        // `name = value`: one word without an underscore is an option as well.
        for before in here.rsplit(" = ").skip(1) {
            let name = before.rsplit(' ').next().unwrap_or_default().to_ascii_lowercase();
            if !names.contains(name.as_str()) && !name.is_empty() {
                unknown.insert(format!("{word}: {name}"));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}

const FOREIGN: &str = include_str!("../../config/src/foreign.tsv");
