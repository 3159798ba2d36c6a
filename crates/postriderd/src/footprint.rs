//! What a start leaves behind when it fails: nothing that was not there before.
//!
//! Notes, before anything is made, which of the files and folders that a generation names are missing. Dropped without having
//! been told to keep them, it removes those that have come since: files, and folders that are empty then. Sockets go with
//! their listeners. A spool that was there stays as it is; one that was missing or empty is emptied again, under its lock.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, lstat, unlinkat};
use spool::Spool;
use spool::disk::{Disk as _, RealDisk};

/// What was not there. Empty until [`Footprint::note`].
#[derive(Default)]
pub struct Footprint {
    /// Folders before what is in them.
    missing: BTreeSet<PathBuf>,
    /// A spool that was missing or empty.
    new_spool: Option<PathBuf>,
    /// What this start has begun there.
    begun: Option<Spool>,
}

impl Footprint {
    /// Notes which of these paths, and of the folders above them, are missing.
    pub fn note(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        for path in paths {
            let missing = path.ancestors().take_while(|path| lstat(*path).is_err());
            self.missing.extend(missing.filter(|path| !path.as_os_str().is_empty()).map(Path::to_owned));
        }
    }

    /// Notes a spool before it is opened.
    pub fn note_spool(&mut self, base: PathBuf) {
        let is_new = RealDisk
            .list(&base)
            .map_or_else(|error| error.kind() == std::io::ErrorKind::NotFound, |names| names.is_empty());
        self.note([base.clone(), base.join("journal"), base.join("damaged")]);
        self.new_spool = is_new.then_some(base);
    }

    /// The spool has been opened.
    pub fn begun(&mut self, spool: &Spool) {
        self.begun = Some(spool.clone());
    }

    /// The start succeeded: what it made is of use.
    pub fn keep(&mut self) {
        // Field by field: a footprint that is replaced is dropped, and takes all of it back.
        self.missing.clear();
        self.new_spool = None;
        self.begun = None;
    }
}

impl Drop for Footprint {
    fn drop(&mut self) {
        if let (Some(base), Some(spool)) = (&self.new_spool, self.begun.take()) {
            // Nothing writes there any longer, and the lock is free to be taken again.
            spool.close();
            drop(spool);
            spool::abandon(base);
        }
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
