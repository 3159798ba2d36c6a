//! The disk seam: every octet the spool reads or writes passes here.
//!
//! [`real`] is the machine's file system, [`faulty`] its stricter twin in memory, which forgets what was not synced.
//! Calls block; they are made on the spool's own threads and in pools, never on an event loop.

pub mod crash_points;
pub mod faulty;
pub mod keeping;
pub mod real;

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

pub use crash_points::CrashPoints;
pub use keeping::Keeping;
pub use real::{RealDisk, abandon, check_free};

/// A file system, as far as the spool needs one.
pub trait Disk: Send + Sync {
    /// Makes a directory and its parents; not an error if it is there. Durable after [`Disk::sync_dir`] on its parent.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a new file; an error if it is there. Durable after [`Disk::sync_dir`] on its directory.
    fn create(&self, path: &Path, mode: u32) -> io::Result<Arc<dyn DiskFile>>;
    /// Removes a file. Durable after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Renames a file. Durable after [`Disk::sync_dir`] on both directories.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file one more name. Durable after [`Disk::sync_dir`] on the new name's directory.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a directory that is empty; an error if it is not.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, files and directories, in order.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes the entries of a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes the lock file, or says who has it.
    fn lock(&self, path: &Path, mode: u32) -> io::Result<Lock>;
    /// Room on the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Sixty-four bits that a sender of mail cannot guess.
    fn random(&self) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Writes the slices one after the other at `offset`; may take fewer octets than given.
    fn pwritev(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Reads at `offset`; zero octets at the end of the file.
    fn pread(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes every completed write durable, with the file's length. After an error nothing may be assumed of them.
    fn fdatasync(&self) -> io::Result<()>;
    /// The file's length.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no octets.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Outcome of [`Disk::lock`].
pub enum Lock {
    /// Ours until the guard is dropped.
    Held(Box<dyn Send + Sync>),
    /// Another's; its process number if it could be read.
    Taken(Option<u32>),
}

/// Room on a file system.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// Octets left for us.
    pub free_bytes: u64,
    /// Octets altogether.
    pub total_bytes: u64,
    /// Files that can still be made.
    pub free_files: u64,
}

impl dyn DiskFile + '_ {
    /// Writes all slices at `offset`. Continues after a short write; one that takes nothing is an error.
    pub fn write_all(&self, mut slices: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        while !slices.is_empty() {
            let window = slices.len().min(SLICES_MAX);
            let written = match self.pwritev(&slices[..window], offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            offset += written as u64;
            IoSlice::advance_slices(&mut slices, written);
        }
        Ok(())
    }

    /// Fills `buffer` from `offset`; fewer octets only at the end of the file.
    pub fn read_full(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.pread(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// IOV_MAX on Linux.
const SLICES_MAX: usize = 1024;
