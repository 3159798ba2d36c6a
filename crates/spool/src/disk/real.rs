//! The machine's file system. The only file of the spool that names `std::fs`.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::{Disk, DiskFile, Lock, Space};
use crate::error::OpenError;

/// The real disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// Opens what is there already: never through a link, and without waiting should a FIFO stand in its place.
fn existing() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.read(true).write(true).custom_flags(flags.bits().cast_signed());
    options
}

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o750).create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(existing().open(path)?)))
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        Ok(Arc::new(RealFile(options.read(true).write(true).create_new(true).mode(mode).open(path)?)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    /// The folder is locked, and the file in it: one that was removed, and made anew by another process, is not the same
    /// file, but the folder stays what it is. Earlier releases look at the file alone.
    fn lock(&self, path: &Path, mode: u32) -> io::Result<Lock> {
        let folder = path.parent().map(File::open).transpose()?;
        if folder.as_ref().is_some_and(|folder| is_taken(folder.try_lock())) {
            return Ok(Lock::Taken(owner(path)));
        }
        let mut file = existing().create(true).truncate(false).mode(mode).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Lock::Taken(owner(path))),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Lock::Held(Box::new((folder, file))))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(path)?;
        // A file system that makes inodes as it needs them says that it has none at all.
        let free_files = if found.f_files == 0 { u64::MAX } else { found.f_favail };
        let (free_bytes, total_bytes) = (found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize);
        Ok(Space { free_bytes, total_bytes, free_files })
    }

    fn random(&self) -> io::Result<u64> {
        let mut octets = [0; 8];
        File::open("/dev/urandom")?.read_exact(&mut octets)?;
        Ok(u64::from_le_bytes(octets))
    }
}

/// Whether a folder's lock is another's. Some file systems of a network lock no folders; there the file has to do.
fn is_taken(locked: Result<(), TryLockError>) -> bool {
    matches!(locked, Err(TryLockError::WouldBlock))
}

/// The number that the owner of a lock left in its file.
fn owner(path: &Path) -> Option<u32> {
    let mut text = String::new();
    let file = existing().write(false).open(path).ok()?;
    file.take(OWNER_OCTETS_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Refuses a spool that another process has. Makes nothing and keeps nothing: for a start that wants to know before it begins.
pub fn check_free(base: &Path) -> Result<(), OpenError> {
    let path = base.join("lock");
    let file = existing().write(false).open(&path);
    let held = |file: io::Result<File>| file.is_ok_and(|file| is_taken(file.try_lock_shared()));
    match held(File::open(base)) || held(file) {
        true => Err(OpenError::Locked { base: base.to_owned(), owner: owner(&path) }),
        false => Ok(()),
    }
}

/// Removes what is in a spool that this process has begun and given up again: of use for a start that fails, since the spool was
/// missing or empty before and no mail has been taken. What another process has, or has had since, stays as it is.
pub fn abandon(base: &Path) {
    let path = base.join("lock");
    let (Ok(folder), Ok(file)) = (File::open(base), existing().open(&path)) else { return };
    // Held until all is gone: who comes meanwhile is refused. The owner is read under the lock, so that it is the last one.
    if is_taken(folder.try_lock()) || file.try_lock().is_err() || owner(&path) != Some(std::process::id()) {
        return;
    }
    empty(base, DEPTH_MAX);
}

fn empty(folder: &Path, depth: usize) {
    for name in RealDisk.list(folder).unwrap_or_default() {
        let path = folder.join(name);
        // A link is removed and not followed. What cannot be removed stays.
        if RealDisk.remove(&path).is_err() && depth != 0 && path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            empty(&path, depth - 1);
            let _ = RealDisk.remove_dir(&path);
        }
    }
}

/// Folders in folders of a spool: there are fewer.
const DEPTH_MAX: usize = 8;
const OWNER_OCTETS_MAX: u64 = 32;

struct RealFile(File);

impl DiskFile for RealFile {
    fn pwritev(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.0, slices, offset)?)
    }

    fn pread(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn fdatasync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
