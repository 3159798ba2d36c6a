//! Makes files and folders that root has made belong to the user the daemon becomes.
//!
//! Never follows a symbolic link inside a folder, and leaves a folder alone that belongs to the user already: so a large
//! spool is walked once in its life, and not at every start.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chownat, lstat, mkdir, open};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

/// Whom things are to belong to.
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Owner {
    /// A folder and everything in it; made if it is missing.
    pub fn folder(&self, path: &Path) -> Result<(), String> {
        make(path)?;
        match lstat(path) {
            Ok(found) if found.st_uid == self.uid => Ok(()),
            Ok(_) => self.tree(path, DEPTH_MAX),
            Err(error) => Err(told("look at", path, error)),
        }
    }

    /// A file; made, empty, if it is missing.
    pub fn file(&self, path: &Path) -> Result<(), String> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        open(path, flags, Mode::from_raw_mode(0o644)).map_err(|error| told("make", path, error))?;
        self.own(path)
    }

    fn tree(&self, path: &Path, depth: usize) -> Result<(), String> {
        self.own(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match open(path, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(told("open", path, error)),
        };
        for entry in Dir::new(folder).map_err(|error| told("read", path, error))? {
            let entry = entry.map_err(|error| told("read", path, error))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let inner = path.join(OsStr::from_bytes(name));
            // Of file systems that do not tell, every entry is looked at.
            match entry.file_type() {
                FileType::Directory | FileType::Unknown if 0 < depth => self.tree(&inner, depth - 1)?,
                _ => self.own(&inner)?,
            }
        }
        Ok(())
    }

    fn own(&self, path: &Path) -> Result<(), String> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        match chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
            // Gone meanwhile is as good.
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(told("change the owner of", path, error)),
        }
    }
}

fn make(path: &Path) -> Result<(), String> {
    let mut missing: Vec<&Path> = path.ancestors().take_while(|folder| lstat(*folder).is_err()).collect();
    while let Some(folder) = missing.pop() {
        if !folder.as_os_str().is_empty() {
            mkdir(folder, Mode::from_raw_mode(0o755)).map_err(|error| told("make", folder, error))?;
        }
    }
    Ok(())
}

fn told(doing: &str, path: &Path, error: Errno) -> String {
    let error = std::io::Error::from(error);
    format!("cannot {doing} {} for the user of security {{ }}: {error}", path.display())
}

/// Folders in folders: the spool and the logs have far fewer.
const DEPTH_MAX: usize = 16;
