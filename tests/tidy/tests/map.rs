//! The map of the house is true: floors, names, seams.

use std::collections::BTreeSet;

#[test]
fn dependencies_go_down_only() {
    let floors = tidy::floors();
    let mut wrong = Vec::new();
    for room in tidy::rooms() {
        let floor = floors.get(&room.name).unwrap_or_else(|| panic!("ARCHITECTURE.md gives {} no floor", room.name));
        for dependency in &room.dependencies {
            if floors.get(dependency).is_some_and(|below| floor <= below) {
                wrong.push(format!("{} (floor {floor}) depends on {dependency}, which is not below it", room.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_map_names_every_crate_and_no_other() {
    let mapped: BTreeSet<String> = tidy::floors().into_keys().collect();
    let standing: BTreeSet<String> = tidy::rooms().into_iter().map(|room| room.name).collect();
    assert_eq!(mapped, standing, "the floor table of ARCHITECTURE.md and the folders of crates/ and modules/ differ");
}

#[test]
fn the_map_gives_every_crate_a_paragraph() {
    let text = tidy::read("ARCHITECTURE.md");
    for room in tidy::rooms() {
        let heading = format!("### {}", room.folder.display());
        assert!(text.contains(&heading), "ARCHITECTURE.md has no paragraph `{heading}`");
    }
}

/// What may be touched only inside its seam, and the files that are the seam.
const SEAMS: [(&str, &[&str], &[&str]); 3] = [
    ("the clock", &["Instant::now(", "SystemTime::now("], &["crates/scheduler/src/clock.rs"]),
    ("random numbers", &["/dev/urandom", "getrandom", "RandomState"], RANDOM_SEAM),
    ("the file system", &["std::fs::", "fs::File", "File::open(", "File::create(", "OpenOptions"], FILE_SEAM),
];

/// A disk brings its own random marks, so that a simulated one is the same from the same seed.
const RANDOM_SEAM: &[&str] = &["crates/scheduler/src/random.rs", "crates/spool/src/disk/"];

const FILE_SEAM: &[&str] = &[
    "crates/config/src/secret.rs",
    "crates/config/src/source.rs",
    "crates/config/src/staging.rs",
    "crates/config_tools/src/files.rs",
    "crates/delivery/src/maildir.rs",
    "crates/ec_console/src/",
    "crates/io-wrapper/src/",
    "crates/spool/src/disk/",
    "crates/testkit/src/",
    "modules/jlog/src/folder.rs",
    "modules/jlog/src/reader.rs",
    "modules/jlog/src/writer.rs",
];

#[test]
fn clock_files_and_random_numbers_are_used_only_in_their_seams() {
    let mut wrong = Vec::new();
    for (path, text) in tidy::sources() {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (what, words, seam) in SEAMS {
            let exempt = path.starts_with("crates/testkit/") || path.ends_with("tests.rs");
            if exempt || seam.iter().any(|file| path.starts_with(file)) {
                continue;
            }
            for (number, line) in code.lines().enumerate() {
                if words.iter().any(|word| line.contains(word)) && !line.trim_start().starts_with("//") {
                    wrong.push(format!("{path}:{}: {what} outside its seam: {}", number + 1, line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_only_where_the_map_says() {
    for (path, text) in tidy::sources() {
        let found = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        });
        assert!(!found || UNSAFE.contains(&&*path), "{path} uses unsafe code");
    }
}

const UNSAFE: &[&str] = &[];
