//! What the tidy tests read: the crates of the tree with their dependencies, and the source files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One crate of the workspace.
pub struct Room {
    /// Package name.
    pub name: String,
    /// Its folder, from the root.
    pub folder: PathBuf,
    /// Names under `[dependencies]`.
    pub dependencies: Vec<String>,
}

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The text of a file below the root.
pub fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every crate in `crates/` and `modules/`.
pub fn rooms() -> Vec<Room> {
    let mut rooms = Vec::new();
    for parent in ["crates", "modules"] {
        for folder in folders(&root().join(parent)) {
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("every folder here is a crate");
            let name = manifest.lines().find_map(|line| line.strip_prefix("name = ")).expect("a name");
            let below = folder.strip_prefix(root()).expect("below the root").to_path_buf();
            rooms.push(Room {
                name: name.trim_matches('"').to_owned(),
                folder: below,
                dependencies: dependencies(&manifest),
            });
        }
    }
    rooms
}

/// Floors by crate name, from the table in ARCHITECTURE.md (`| floor | crate | …`, crates in backquotes).
pub fn floors() -> BTreeMap<String, u32> {
    let mut floors = BTreeMap::new();
    for line in read("ARCHITECTURE.md").lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [_, floor, names, ..] = cells[..]
            && let Ok(floor) = floor.parse::<u32>()
        {
            for name in names.split('`').skip(1).step_by(2) {
                floors.insert(name.to_owned(), floor);
            }
        }
    }
    floors
}

/// Rust sources below `src/` of every crate: path from the root, and text.
pub fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for room in rooms() {
        collect(&root().join(&room.folder).join("src"), &mut files);
    }
    files.sort();
    files
}

fn dependencies(manifest: &str) -> Vec<String> {
    let section = manifest.split("\n[").find(|section| section.starts_with("dependencies]")).unwrap_or("");
    let names = section.lines().skip(1).filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| !name.is_empty() && !name.starts_with('#')).map(str::to_owned).collect()
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).unwrap_or_else(|e| panic!("{}: {e}", parent.display()));
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn collect(folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("source is UTF-8");
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            files.push((name, text));
        }
    }
}
