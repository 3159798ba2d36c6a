//! Makes files and folders that root has made belong to the user the daemon becomes.
//!
//! Never follows a symbolic link inside a folder, and leaves a folder alone that belongs to the user already: so a large
//! spool is walked once in its life, and not at every start.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, chownat, fchown, fstat, lstat, mkdir, open, stat};
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
    /// The folder of a spool and everything in it; made if it is missing. A folder that holds other things is refused, for
    /// it may be anybody's.
    pub fn spool(&self, path: &Path) -> Result<(), String> {
        match self.made(path)? {
            Found::Ours => names(path)?.into_iter().map(|name| path.join(name)).try_for_each(|inner| {
                let others = lstat(&inner).is_ok_and(|found| found.st_uid != self.uid);
                if others { self.tree(&inner, DEPTH_MAX) } else { Ok(()) }
            }),
            Found::Others => {
                let names = names(path)?;
                let is_spool = names.is_empty() || MARKS.iter().any(|mark| names.iter().any(|name| name == mark));
                match is_spool {
                    true => self.tree(path, DEPTH_MAX),
                    false => Err(format!(
                        "{} is to become the spool of the user of security {{ }}, but belongs to somebody else and holds other things; \
                         name a folder of its own in spoolbase",
                        path.display()
                    )),
                }
            }
        }
    }

    /// Logs in one folder. The folder is ours too when nothing else is in it, as when it has just been made for them; a
    /// folder that holds other things stays whose it is.
    pub fn logs(&self, folder: &Path, files: &[&OsStr]) -> Result<(), String> {
        if matches!(self.made(folder)?, Found::Ours) {
            return Ok(());
        }
        if names(folder)?.iter().all(|name| files.contains(&OsStr::new(name))) {
            self.own(folder)?;
        }
        files.iter().try_for_each(|file| self.file(&folder.join(file)))
    }

    /// Makes a folder if it is missing, and tells whose it is.
    fn made(&self, path: &Path) -> Result<Found, String> {
        let is_new = lstat(path).is_err();
        make(path)?;
        if is_new {
            self.own(path)?;
        }
        let found = lstat(path).map_err(|error| told("look at", path, error))?;
        Ok(if found.st_uid == self.uid { Found::Ours } else { Found::Others })
    }

    /// A file; made, empty, if it is missing.
    pub fn file(&self, path: &Path) -> Result<(), String> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW;
        let file = io_wrapper::open_regular(path, flags, Mode::from_raw_mode(0o644))
            .map_err(|error| format!("cannot make {} for the user of security {{ }}: {error}", path.display()))?;
        let found = fstat(&file).map_err(|error| told("look at", path, error))?;
        if found.st_uid != self.uid && 1 < found.st_nlink {
            // Its other name may be a file of somebody else's.
            return Err(format!(
                "{} has another name too, and belongs to user {}; move it away",
                path.display(),
                found.st_uid
            ));
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        fchown(&file, Some(uid), Some(gid)).map_err(|error| told("change the owner of", path, error))
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

/// Refuses a spool that somebody else could change: mail would be read, replaced or lost by whoever does. `users` may own it
/// and the folders in it; root may anyway. The error says what to run.
pub fn check_spool(base: &Path, users: &[u32]) -> Result<(), String> {
    let found = match stat(base) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => {
            return Err(format!("cannot look at the spool {}: {}", base.display(), std::io::Error::from(error)));
        }
    };
    check_folder(base, &found, users)?;
    for name in names(base)? {
        let inner = base.join(name);
        let Ok(found) = lstat(&inner) else { continue };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => check_folder(&inner, &found, users)?,
            FileType::Symlink => {
                let shown = inner.display();
                return Err(format!(
                    "{shown} is a symbolic link, and leads out of the spool; mount a device there instead, or name its target in spoolbase"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_folder(path: &Path, found: &Stat, users: &[u32]) -> Result<(), String> {
    let shown = path.display();
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return Err(format!("the spool {shown} is no directory; name another in spoolbase"));
    }
    if found.st_uid != 0 && !users.contains(&found.st_uid) {
        let (owner, wanted) = (found.st_uid, users.last().copied().unwrap_or_default());
        return Err(format!(
            "the spool {shown} belongs to user {owner}, who could change mail in it; if its mail is to be trusted, run: \
             chown -R {wanted} {shown}"
        ));
    }
    if found.st_mode & 0o002 != 0 {
        let mode = found.st_mode & 0o7777;
        return Err(format!(
            "the spool {shown} may be written by everyone (mode {mode:04o}), who could change mail in it; run: chmod o-w {shown}"
        ));
    }
    Ok(())
}

/// Whose a folder is.
enum Found {
    Ours,
    Others,
}

/// What is in a folder.
fn names(path: &Path) -> Result<Vec<String>, String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = open(path, flags, Mode::empty()).map_err(|error| told("open", path, error))?;
    let entries = Dir::new(folder).map_err(|error| told("read", path, error))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Result<Vec<String>, Errno> = names.collect();
    let mut names = names.map_err(|error| told("read", path, error))?;
    names.retain(|name| name != "." && name != "..");
    Ok(names)
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

/// What the folder of a spool holds, whatever its back end.
const MARKS: [&str; 3] = ["lock", "backend", "journal"];

/// Folders in folders: the spool and the logs have far fewer.
const DEPTH_MAX: usize = 16;
