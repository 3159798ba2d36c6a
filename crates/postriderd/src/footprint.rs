//! What a start leaves behind when it fails: nothing that was not there before.
//!
//! Notes, before anything is made, which of the files and folders that a generation names are missing. Dropped without having
//! been told to keep them, it removes those that have come since: files, and folders that are empty then. Sockets go with
//! their listeners, and a spool that has been begun stays, for nobody but its own tools removes one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, lstat, unlinkat};

/// What was not there. Empty until [`Footprint::note`].
#[derive(Debug, Default)]
pub struct Footprint {
    /// Folders before what is in them.
    missing: BTreeSet<PathBuf>,
}

impl Footprint {
    /// Notes which of these paths, and of the folders above them, are missing.
    pub fn note(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        for path in paths {
            let missing = path.ancestors().take_while(|path| lstat(*path).is_err());
            self.missing.extend(missing.filter(|path| !path.as_os_str().is_empty()).map(Path::to_owned));
        }
    }

    /// The start succeeded: what it made is of use.
    pub fn keep(&mut self) {
        self.missing.clear();
    }
}

impl Drop for Footprint {
    fn drop(&mut self) {
        for path in self.missing.iter().rev() {
            let kind = lstat(path).map(|found| FileType::from_raw_mode(found.st_mode));
            // What cannot be removed, such as a folder that holds something by now, stays.
            let _ = match kind {
                Ok(FileType::RegularFile) => unlinkat(CWD, path, AtFlags::empty()),
                Ok(FileType::Directory) => unlinkat(CWD, path, AtFlags::REMOVEDIR),
                _ => Ok(()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_goes_again_and_what_was_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("made/deep/new"));
        std::fs::write(&old, "old").unwrap();
        let mut footprint = Footprint::default();
        footprint.note([old.clone(), new.clone(), dir.path().join("never/was")]);
        std::fs::create_dir_all(new.parent().unwrap()).unwrap();
        std::fs::write(&new, "").unwrap();
        drop(footprint);
        assert!(old.exists() && !dir.path().join("made").exists());

        let mut footprint = Footprint::default();
        footprint.note([new.clone()]);
        std::fs::create_dir_all(new.parent().unwrap()).unwrap();
        std::fs::write(new.with_file_name("somebody's"), "").unwrap();
        std::fs::write(&new, "").unwrap();
        drop(footprint);
        assert!(!new.exists() && new.with_file_name("somebody's").exists());

        let mut footprint = Footprint::default();
        footprint.note([new.clone()]);
        std::fs::write(&new, "").unwrap();
        footprint.keep();
        drop(footprint);
        assert!(new.exists());
    }
}
