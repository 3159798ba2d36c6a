//! The disk, for the tools: reads a text, lists a tree, puts a text in place of a file as a whole.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A file as text; `-` is standard input. The error is a sentence.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    let fail = |error: io::Error| format!("cannot read {}: {error}", path.display());
    if path == Path::new("-") {
        let mut text = String::new();
        return io::stdin().take(BYTES_MAX).read_to_string(&mut text).map(|_| text).map_err(fail);
    }
    let file = fs::File::open(path).map_err(fail)?;
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text).map(|_| text).map_err(fail)
}

/// Puts a text in place of a file, or makes it: whole or not at all, with the mode the old one had. What is there and no
/// file, such as `/dev/stdout` or a FIFO, is written to and stays.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    let fail = |error: io::Error| format!("cannot write {}: {error}", path.display());
    // A link stays one: its target is what is written.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let mut there = fs::OpenOptions::new().write(true).open(path).map_err(fail)?;
        return there.write_all(text.as_bytes()).map_err(fail);
    }
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = target.with_file_name(name);
    let mut file = fs::File::create(&new).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    if let Ok(old) = fs::metadata(&target) {
        fs::set_permissions(&new, fs::Permissions::from_mode(old.permissions().mode())).map_err(fail)?;
    }
    fs::rename(&new, &target).map_err(fail)
}

/// Whether there is a directory of that name.
pub(crate) fn is_directory(path: &Path) -> bool {
    path.is_dir()
}

/// Whether there is anything of that name.
pub(crate) fn exists(path: &Path) -> bool {
    path.exists()
}

/// Whether there is a file of that name, or a link to one.
pub(crate) fn is_file(path: &Path) -> bool {
    path.is_file()
}

/// A path as the file system knows it.
pub(crate) fn canonical(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The files of a tree that are not hidden, by name; links to directories are not followed.
pub(crate) fn tree(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let fail = |error: io::Error| format!("cannot list {}: {error}", directory.display());
    let (mut found, mut waiting) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let kind = entry.file_type().map_err(fail)?;
            match entry.file_name().to_string_lossy().starts_with('.') {
                true => {}
                false if kind.is_dir() => waiting.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found.retain(|path| path.is_file());
    found.sort();
    Ok(found)
}

/// Largest text read.
const BYTES_MAX: u64 = 64 << 20;
