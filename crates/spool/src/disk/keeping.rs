//! A disk that keeps some descriptors for itself: a process that has none left still begins a segment, and takes and removes
//! mail.
//!
//! Connections leave the house a share, but others share the house, and a limit may be lowered while the daemon runs. What is
//! kept is given up, one at a time, where the disk is refused one, and taken again when there is one. Any thread; blocks as the
//! disk beneath does.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Disk, DiskFile, Lock, Space};

/// The disk beneath, and what is kept for it.
pub struct Keeping<D> {
    disk: D,
    kept: Mutex<Vec<OwnedFd>>,
}

impl<D: Disk> Keeping<D> {
    /// Keeps descriptors for `disk` from now on; as many as there are, and all of them later.
    pub fn new(disk: D) -> Self {
        let this = Self { disk, kept: Mutex::default() };
        this.fill();
        this
    }

    fn fill(&self) {
        let mut kept = self.kept();
        while kept.len() < KEPT {
            // Any descriptor will do.
            let Ok(descriptor) = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else {
                return;
            };
            kept.push(descriptor);
        }
    }

    /// Calls, and calls again with a descriptor more as long as one is what is lacking.
    fn with<T>(&self, call: impl Fn(&D) -> io::Result<T>) -> io::Result<T> {
        loop {
            let outcome = call(&self.disk);
            let is_lacking = outcome.as_ref().err().is_some_and(lacks_descriptors);
            if !is_lacking || self.kept().pop().is_none() {
                self.fill();
                return outcome;
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Disk> Disk for Keeping<D> {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.with(|disk| disk.open(path))
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Arc<dyn DiskFile>> {
        self.with(|disk| disk.create(path, mode))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.link(from, to)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.with(|disk| disk.list(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.with(|disk| disk.sync_dir(path))
    }

    fn lock(&self, path: &Path, mode: u32) -> io::Result<Lock> {
        self.with(|disk| disk.lock(path, mode))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }

    fn random(&self) -> io::Result<u64> {
        self.with(D::random)
    }
}

fn lacks_descriptors(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].into_iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// A segment that is begun takes one for good, and one at a time beside it; upkeep as many.
const KEPT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::faulty::{Fault, FaultyDisk};

    #[test]
    fn what_is_kept_is_given_up_one_at_a_time_and_taken_again() {
        let disk = FaultyDisk::seeded(1);
        disk.create_dir(Path::new("/s")).unwrap();
        let keeping = Keeping::new(disk.clone());
        assert_eq!(keeping.kept().len(), KEPT);
        disk.arm(Fault::NoDescriptors(1, 3));
        assert!(keeping.create(Path::new("/s/a"), 0o640).is_ok());
        assert_eq!(keeping.kept().len(), KEPT, "there is room for them again");
        disk.arm(Fault::NoDescriptors(1, 100));
        let Err(error) = keeping.create(Path::new("/s/b"), 0o640) else { panic!("there are none at all") };
        assert!(lacks_descriptors(&error));
        assert!(keeping.create(Path::new("/s/a"), 0o640).is_err_and(|error| !lacks_descriptors(&error)));
    }
}
