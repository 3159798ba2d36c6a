//! Makes files and folders that root has made belong to the user the daemon becomes.
//!
//! Everything is changed by descriptor, of what was looked at: never by a name, which another user could make mean something
//! else meanwhile. Never follows a symbolic link inside a folder, and leaves a folder alone that belongs to the user already:
//! so a large spool is walked once in its life, and not at every start.
//!
//! Invariant: what is in a folder changes hands before the folder does, so that while root walks it nobody else can write there.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, chownat, fchown, fstat, lstat, mkdir, open, openat, statat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

/// Whom things are to belong to.
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// A file that the daemon writes, in a folder that is told beside it.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name there.
    pub name: OsString,
    /// Whether it is opened by that name, so that an empty one has to be there where the user may make none.
    pub made: bool,
}

impl Owner {
    /// The folder of a spool and everything in it; made if it is missing. A folder that holds other things is refused, for
    /// it may be anybody's.
    pub fn spool(&self, path: &Path) -> Result<(), String> {
        match self.made(path)? {
            Found::Ours => self.tree_of(path, false),
            Found::Others => {
                let names = names(path)?;
                let is_spool = names.is_empty() || MARKS.iter().any(|mark| names.iter().any(|name| name == mark));
                match is_spool {
                    true => self.tree_of(path, true),
                    false => Err(format!(
                        "{} is to become the spool of the user of security {{ }}, but belongs to somebody else and holds other things; \
                         name a folder of its own in spoolbase",
                        path.display()
                    )),
                }
            }
        }
    }

    /// Files in one folder: those that are there, and the folder itself when nothing is in it but what is `ours`, as when it has
    /// just been made for them. A folder that holds other things stays whose it is, and gets the files that are to be made.
    pub fn folder(&self, folder: &Path, files: &[File], ours: &BTreeSet<PathBuf>) -> Result<(), String> {
        let found = self.made(folder)?;
        let paths = |file: &File| folder.join(&file.name);
        for file in files.iter().filter(|file| lstat(paths(file)).is_ok_and(|found| is(&found, FileType::RegularFile)))
        {
            self.file(&paths(file))?;
        }
        if matches!(found, Found::Ours) {
            return Ok(());
        }
        if names(folder)?.iter().all(|name| ours.contains(&folder.join(name))) {
            let opened = open_folder(folder)?;
            return self.take(folder, &opened);
        }
        files.iter().filter(|file| file.made).try_for_each(|file| self.file(&paths(file)))
    }

    /// Makes a folder if it is missing, and tells whose it is.
    fn made(&self, path: &Path) -> Result<Found, String> {
        if make(path)? {
            let folder = open_folder(path)?;
            self.take(path, &folder)?;
        }
        let found = lstat(path).map_err(|error| told("look at", path, error))?;
        Ok(if found.st_uid == self.uid { Found::Ours } else { Found::Others })
    }

    /// A file; made, empty, if it is missing.
    fn file(&self, path: &Path) -> Result<(), String> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW;
        let file = io_wrapper::open_regular(path, flags, Mode::from_raw_mode(0o644))
            .map_err(|error| format!("cannot make {} for the user of security {{ }}: {error}", path.display()))?;
        let found = fstat(&file).map_err(|error| told("look at", path, error))?;
        if found.st_uid != self.uid && 1 < found.st_nlink {
            return Err(two_names(path, found.st_uid));
        }
        self.take(path, &file)
    }

    /// A folder with what is in it, and `itself` last.
    fn tree_of(&self, path: &Path, itself: bool) -> Result<(), String> {
        let folder = open_folder(path)?;
        self.inside(path, &folder, DEPTH_MAX)?;
        if itself { self.take(path, &folder) } else { Ok(()) }
    }

    fn inside(&self, path: &Path, folder: &OwnedFd, depth: usize) -> Result<(), String> {
        let found = fstat(folder).map_err(|error| told("look at", path, error))?;
        // Nobody but root can have put a second name of something of root's into it.
        let is_closed = found.st_uid == 0 && found.st_mode & 0o022 == 0;
        for name in entries(path, folder)? {
            let inner = path.join(OsStr::from_bytes(name.to_bytes()));
            self.entry(&inner, folder, &name, is_closed, depth)?;
        }
        Ok(())
    }

    fn entry(&self, path: &Path, folder: &OwnedFd, name: &CStr, is_closed: bool, depth: usize) -> Result<(), String> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = match openat(folder, name, flags, Mode::empty()) {
            Ok(held) => held,
            // Gone meanwhile is as good.
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(told("open", path, error)),
        };
        let found = fstat(&held).map_err(|error| told("look at", path, error))?;
        if is(&found, FileType::Directory) {
            if found.st_uid == self.uid || depth == 0 {
                return Ok(());
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inner = openat(folder, name, flags, Mode::empty()).map_err(|error| told("open", path, error))?;
            self.inside(path, &inner, depth - 1)?;
            return self.take(path, &inner);
        }
        if found.st_uid == self.uid {
            return Ok(());
        }
        if !is_closed {
            // In one look: the name is that of what is held, and its only one. So it is nothing that lies elsewhere too.
            let Ok(now) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
            if (now.st_dev, now.st_ino) != (found.st_dev, found.st_ino) || now.st_nlink != 1 {
                return Err(two_names(path, found.st_uid));
            }
        }
        self.take(path, &held)
    }

    /// Gives away what a descriptor holds.
    fn take(&self, path: &Path, held: impl AsFd) -> Result<(), String> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let taken = match fchown(&held, Some(uid), Some(gid)) {
            // A descriptor that only holds its place has no other way.
            Err(Errno::BADF) => chownat(&held, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH),
            taken => taken,
        };
        taken.map_err(|error| told("change the owner of", path, error))
    }
}

fn two_names(path: &Path, owner: u32) -> String {
    // Its other name may be a file of somebody else's.
    format!("{} has another name too, and belongs to user {owner}; move it away", path.display())
}

fn is(found: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(found.st_mode) == kind
}

/// Whose a folder is.
enum Found {
    Ours,
    Others,
}

/// What is in a folder.
fn names(path: &Path) -> Result<Vec<OsString>, String> {
    let names = entries(path, &open_folder(path)?)?;
    Ok(names.into_iter().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned()).collect())
}

fn entries(path: &Path, folder: &OwnedFd) -> Result<Vec<CString>, String> {
    let entries = Dir::read_from(folder).map_err(|error| told("read", path, error))?;
    let names: Result<Vec<CString>, Errno> = entries.map(|entry| Ok(entry?.file_name().to_owned())).collect();
    let mut names = names.map_err(|error| told("read", path, error))?;
    names.retain(|name| name.to_bytes() != b"." && name.to_bytes() != b"..");
    Ok(names)
}

fn open_folder(path: &Path) -> Result<OwnedFd, String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).map_err(|error| told("open", path, error))
}

/// Makes a folder, with the mode that the daemon itself gives those of its spool, logs and sockets, and what is missing above
/// it, which everybody may pass through. Whether it made the folder.
fn make(path: &Path) -> Result<bool, String> {
    let mut missing: Vec<&Path> = path.ancestors().take_while(|folder| lstat(*folder).is_err()).collect();
    missing.retain(|folder| !folder.as_os_str().is_empty());
    while let Some(folder) = missing.pop() {
        let mode = if folder == path { 0o750 } else { 0o755 };
        mkdir(folder, Mode::from_raw_mode(mode)).map_err(|error| told("make", folder, error))?;
        if folder == path {
            return Ok(true);
        }
    }
    Ok(false)
}

fn told(doing: &str, path: &Path, error: Errno) -> String {
    let error = std::io::Error::from(error);
    format!("cannot {doing} {} for the user of security {{ }}: {error}", path.display())
}

/// What the folder of a spool holds, whatever its back end.
const MARKS: [&str; 3] = ["lock", "backend", "journal"];

/// Folders in folders: the spool and the logs have far fewer.
const DEPTH_MAX: usize = 16;
