//! A small file beside the spool in which another room keeps what it wants to know at the next start.
//!
//! Replaced as a whole: a process that is killed leaves the old content or the new one. After a loss of power there may be an
//! older one, or one that the checksum shows to be damaged. Calls block.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::file::read_file;

/// The file. Cloning gives another handle; only one of them may write at a time, under the spool's lock.
#[derive(Clone)]
pub struct StateFile {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    path: PathBuf,
    mode: u32,
}

impl StateFile {
    /// The file `name` in the spool's folder.
    pub fn new(disk: Arc<dyn Disk>, folder: &Path, name: &str, mode: u32) -> Self {
        Self { disk, folder: folder.to_owned(), path: folder.join(name), mode }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was written last; `None` if there is no file.
    ///
    /// # Errors
    ///
    /// Those of the disk; `InvalidData` if the file is not as it was written.
    pub fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let mut octets = match read_file(self.disk.as_ref(), &self.path) {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "its checksum does not agree with it");
        let end = octets.len().checked_sub(SEAL_OCTETS).ok_or_else(damaged)?;
        if octets[end..] != seal(&octets[..end]) {
            return Err(damaged());
        }
        octets.truncate(end);
        Ok(Some(octets))
    }

    /// Replaces the content; `durably`, so that it outlives a loss of power too.
    ///
    /// # Errors
    ///
    /// Those of the disk; then the old content stands.
    pub fn write(&self, content: &[u8], durably: bool) -> io::Result<()> {
        let new = self.path.with_extension("new");
        match self.disk.remove(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.create(&new, self.mode)?;
        file.write_all(&mut [IoSlice::new(content), IoSlice::new(&seal(content))], 0)?;
        if durably {
            file.fdatasync()?;
        }
        self.disk.rename(&new, &self.path)?;
        if durably { self.disk.sync_dir(&self.folder) } else { Ok(()) }
    }
}

impl fmt::Debug for StateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The last line.
fn seal(content: &[u8]) -> [u8; SEAL_OCTETS] {
    let mut seal = *b"crc32c 00000000\n";
    let checksum = format!("{:08x}", crc32c::crc32c(content));
    seal[7..15].copy_from_slice(checksum.as_bytes());
    seal
}

const SEAL_OCTETS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::faulty::FaultyDisk;

    fn file(disk: &FaultyDisk) -> StateFile {
        disk.create_dir(Path::new("/spool")).unwrap();
        StateFile::new(Arc::new(disk.clone()), Path::new("/spool"), "state", 0o600)
    }

    #[test]
    fn what_is_written_is_read_and_replaced_as_a_whole() {
        let disk = FaultyDisk::seeded(1);
        let file = file(&disk);
        assert_eq!(file.read().unwrap(), None);
        for content in [&b"one\n"[..], b"", b"a longer one\n"] {
            file.write(content, false).unwrap();
            assert_eq!(file.read().unwrap().as_deref(), Some(content));
        }
        disk.kill();
        assert_eq!(file.read().unwrap().as_deref(), Some(&b"a longer one\n"[..]), "a killed process leaves it");
    }

    #[test]
    fn damage_anywhere_is_seen() {
        let disk = FaultyDisk::seeded(1);
        let file = file(&disk);
        file.write(b"3 of 4\n", true).unwrap();
        let whole = disk.files(Path::new("/spool")).into_iter().find(|(path, _)| path == file.path()).unwrap().1;
        for place in 0..whole.len() {
            let mut octets = whole.clone();
            octets[place] ^= 1;
            disk.overwrite(file.path(), octets);
            assert!(file.read().is_err(), "octet {place}");
            disk.overwrite(file.path(), whole[..place].to_vec());
            assert!(file.read().is_err(), "cut at {place}");
        }
    }

    #[test]
    fn what_was_written_durably_outlives_a_loss_of_power() {
        for seed in 0..50 {
            let disk = FaultyDisk::seeded(seed);
            let file = file(&disk);
            disk.sync_dir(Path::new("/")).unwrap();
            file.write(b"kept\n", true).unwrap();
            disk.crash();
            assert_eq!(file.read().unwrap().as_deref(), Some(&b"kept\n"[..]), "seed {seed}");
        }
    }
}
