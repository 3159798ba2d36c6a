//! Replacing a small file as a whole, and making the folder it is to lie in.
//!
//! Invariant: at every moment, also after a crash, the name stands for the old content or the new, never for a part.

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Puts `bytes` under `path`, durably; `mode` holds the permission bits of the new file, less the process's umask. The
/// folder must exist. Blocks.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = beside(path)?;
    let result = write(&new, bytes, mode).and_then(|()| std::fs::rename(&new, path));
    if result.is_err() {
        // What is left of a failed try is only clutter.
        let _ = std::fs::remove_file(&new);
        return result;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Makes a folder and what is missing above it, durably, with this mode less the process's umask. Blocks.
pub fn make_folders(folder: &Path, mode: u32) -> io::Result<()> {
    let made: Vec<&Path> = folder.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(mode).create(folder)?;
    // One that an earlier process made and did not live to sync looks like any other.
    for path in folder.ancestors() {
        let Some(above) = path.parent() else { break };
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        let synced = File::open(above).and_then(|above| above.sync_all());
        // Those that are not ours to open were not made by us.
        if made.contains(&path) {
            synced?;
        }
    }
    Ok(())
}

/// The path that a path leads to, links followed; none where nothing is.
pub fn real_path(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

/// A name of this process's own in the same folder.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidFilename)?;
    let try_number = TRIES.fetch_add(1, Ordering::Relaxed);
    Ok(path.with_file_name(format!(".{name}.{}-{try_number}.new", std::process::id())))
}

fn write(new: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // Left by an earlier process of the same number.
    match std::fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(mode).open(new)?;
    file.write_all(bytes)?;
    file.sync_all()
}

static TRIES: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        replace(&path, b"old", 0o600).unwrap();
        let reader = std::fs::read(&path).unwrap();
        replace(&path, b"newer", 0o640).unwrap();
        assert_eq!((reader.as_slice(), std::fs::read(&path).unwrap().as_slice()), (&b"old"[..], &b"newer"[..]));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        std::fs::create_dir_all(path.join("by a folder")).unwrap();
        assert!(replace(&path, b"new", 0o600).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(&folder.path().join("no/folder"), b"new", 0o600).is_err());
    }
}
