//! An option is in effect only if something reads it: every declared constant is named by code other than its declaration,
//! the `OPTIONS` lists, comments and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use config::OptionState;
use declarations::Declarations;
use regex::Regex;

/// The code of one crate, without what does not count as reading.
struct Code {
    name: String,
    declarations: Vec<(String, String)>,
    text: String,
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            sources(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

fn code(folder: &Path) -> Code {
    let constant =
        Regex::new(r#"(?s)(?:const|static) ([A-Z0-9_]+): Opt<[^=]+>\s*=\s*[\w:]+\(\s*"([a-z0-9_]+)""#).unwrap();
    let row = Regex::new(r#"(?m)^\s+([A-Z0-9_]+): [^=\n]+ = "([a-z0-9_]+)","#).unwrap();
    let list = Regex::new(r"(?s)OPTIONS: &\[&dyn Declared\] =\s*&\[.*?\];").unwrap();
    let comment = Regex::new(r"(?m)//.*$").unwrap();
    let mut files = Vec::new();
    sources(&folder.join("src"), &mut files);
    let (mut declarations, mut text) = (Vec::new(), String::new());
    for file in files {
        let file = std::fs::read_to_string(file).unwrap();
        let own = file.split("#[cfg(test)]\nmod tests").next().unwrap_or("");
        let own = comment.replace_all(own, "");
        let own = list.replace_all(&own, "");
        for pattern in [&constant, &row] {
            declarations.extend(pattern.captures_iter(&own).map(|found| (found[2].to_owned(), found[1].to_owned())));
        }
        let own = constant.replace_all(&own, "");
        text.push_str(&row.replace_all(&own, ""));
    }
    Code { name: folder.file_name().unwrap().to_string_lossy().replace('-', "_"), declarations, text }
}

#[test]
fn every_option_in_effect_is_read_by_code_beside_its_declaration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut all = Vec::new();
    for rooms in ["crates", "modules"] {
        all.extend(std::fs::read_dir(root.join(rooms)).unwrap().map(|entry| code(&entry.unwrap().path())));
    }
    let mut constants: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unread = Vec::new();
    for room in &all {
        for (word, constant) in &room.declarations {
            *constants.entry(word).or_default() += 1;
            let named = Regex::new(&format!(r"\b{constant}\b")).unwrap();
            // Another crate names the one that declares it.
            let reads = |other: &&Code| other.name == room.name || other.text.contains(&format!("{}::", room.name));
            if !ONLY_VALUE.contains(&word.as_str())
                && !all.iter().filter(reads).any(|other| named.is_match(&other.text))
            {
                unread.push(format!("{word} ({constant} of {})", room.name));
            }
        }
    }
    assert!(
        unread.is_empty(),
        "declared, and read by nothing; read them, or return them to documented.tsv: {unread:#?}"
    );
    // The search has seen every declaration there is.
    let described = Declarations::offline().expect("sound declarations").registry.describe();
    let in_effect: BTreeSet<&str> = described
        .iter()
        .filter(|one| one.state == OptionState::InEffect && one.kind == "option")
        .map(|one| one.name)
        .collect();
    let unseen: Vec<_> =
        in_effect.iter().filter(|word| !OF_EVERY_MODULE.contains(*word) && !constants.contains_key(**word)).collect();
    assert!(unseen.is_empty(), "declared in a way that this test does not know: {unseen:?}");
}

/// Options with one legal value, which their check holds them to: there is nothing to read.
const ONLY_VALUE: [&str; 1] = ["compress"];
/// Made for each module when it is added, and read in the same place.
const OF_EVERY_MODULE: [&str; 2] = ["enabled", "debug_level"];
