//! The files of a `file` store, for whoever reads, writes or removes one: paths, checks, errors that name the file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use message::MessageId;
use scheduler::Clock;

use super::layout::{self, BODY, META};
use super::meta::{BodyMark, Meta};
use crate::disk::{CrashPoints, Disk};
use crate::error::SpoolError;
use crate::ledger::Ledger;

/// Where they are and how they are kept.
pub struct Files {
    pub disk: Arc<dyn Disk>,
    pub base: PathBuf,
    pub mode: u32,
    pub force_fsync: bool,
    pub unlink_backlog: usize,
    /// Threads that write the files of one batch.
    pub threads: usize,
    pub clock: Clock,
    pub crash: CrashPoints,
    pub ledger: Arc<Ledger>,
    /// The window up to which empty directories have been removed.
    pub swept: Mutex<String>,
}

impl Files {
    pub fn path(&self, id: MessageId, suffix: &str) -> PathBuf {
        layout::path(&self.base, id, suffix)
    }

    pub fn directory(&self, id: MessageId) -> PathBuf {
        layout::directory(&self.base, id)
    }

    /// A message's metadata.
    pub fn meta(&self, id: MessageId) -> Result<Meta, SpoolError> {
        read_meta(self.disk.as_ref(), &self.base, id)
    }

    /// A message's body, which is what `mark` says.
    pub fn body_of(&self, id: MessageId, mark: BodyMark) -> Result<Vec<u8>, SpoolError> {
        read_body(self.disk.as_ref(), &self.base, id, mark)
    }

    pub fn sync_dir(&self, directory: &Path) -> Result<(), SpoolError> {
        if !self.force_fsync {
            return Ok(());
        }
        self.disk.sync_dir(directory).map_err(|error| self.failed("sync", directory, error))
    }

    /// Not an error if it is gone.
    pub fn remove_file(&self, path: &Path) -> Result<(), SpoolError> {
        match self.disk.remove(path) {
            Err(error) if !is_missing(&error) => Err(self.failed("remove", path, error)),
            _ => Ok(()),
        }
    }

    /// Body, then metadata.
    pub fn remove_files(&self, id: MessageId) -> Result<(), SpoolError> {
        remove_files(self.disk.as_ref(), &self.base, id)
    }

    /// The window up to which empty directories are gone.
    pub fn swept(&self) -> String {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes the empty directories of windows before `newest`; the paths of those windows.
    pub fn sweep(&self, newest: &str) -> Vec<PathBuf> {
        newest.clone_into(&mut self.swept.lock().unwrap_or_else(PoisonError::into_inner));
        sweep(self.disk.as_ref(), &self.base, newest)
    }

    pub fn failed(&self, doing: &'static str, path: &Path, error: io::Error) -> SpoolError {
        let free = self.disk.space(&self.base).map_or(0, |space| space.free_bytes);
        SpoolError::from_io(doing, path, error, (0, free))
    }
}

/// A message's metadata.
pub fn read_meta(disk: &dyn Disk, base: &Path, id: MessageId) -> Result<Meta, SpoolError> {
    let contents = contents(disk, base, id, META)?;
    if let Some(newer) = Meta::newer_format(&contents) {
        let why = format!("written by a later release: format {newer}; start that release, or convert with its tools");
        let error = io::Error::new(io::ErrorKind::Unsupported, why);
        return Err(SpoolError::from_io("read", &layout::path(base, id, META), error, (0, 0)));
    }
    let meta = Meta::parse(&contents).map_err(|why| SpoolError::Damaged { id, why })?;
    if meta.id != id {
        return Err(SpoolError::Damaged { id, why: format!("its metadata is that of {}", meta.id) });
    }
    Ok(meta)
}

/// A message's body, which is what `mark` says.
pub fn read_body(disk: &dyn Disk, base: &Path, id: MessageId, mark: BodyMark) -> Result<Vec<u8>, SpoolError> {
    let octets = contents(disk, base, id, BODY)?;
    let found = BodyMark::of(&octets);
    if found == mark {
        return Ok(octets);
    }
    let why = if found.octets == mark.octets {
        "its body does not match its checksum".to_owned()
    } else {
        format!("its body has {} octets and not {}", found.octets, mark.octets)
    };
    Err(SpoolError::Damaged { id, why })
}

fn contents(disk: &dyn Disk, base: &Path, id: MessageId, suffix: &str) -> Result<Vec<u8>, SpoolError> {
    let path = layout::path(base, id, suffix);
    read_file(disk, &path).map_err(|error| match is_missing(&error) {
        true => SpoolError::Missing { id },
        false => SpoolError::from_io("read", &path, error, (0, 0)),
    })
}

/// Removes a message's body, then its metadata; not an error if they are gone.
pub fn remove_files(disk: &dyn Disk, base: &Path, id: MessageId) -> Result<(), SpoolError> {
    for suffix in [BODY, META] {
        let path = layout::path(base, id, suffix);
        match disk.remove(&path) {
            Err(error) if !is_missing(&error) => return Err(SpoolError::from_io("remove", &path, error, (0, 0))),
            _ => {}
        }
    }
    Ok(())
}

/// Removes the empty directories of windows before `newest`; the paths of those windows.
pub fn sweep(disk: &dyn Disk, base: &Path, newest: &str) -> Vec<PathBuf> {
    let Ok(names) = disk.list(base) else { return Vec::new() };
    let old = names.into_iter().filter(|name| layout::is_window(name) && name.as_str() < newest);
    let windows: Vec<PathBuf> = old.map(|name| base.join(name)).collect();
    for window in &windows {
        for pair in disk.list(window).unwrap_or_default() {
            // Those that are not empty stay.
            let _ = disk.remove_dir(&window.join(pair));
        }
        let _ = disk.remove_dir(window);
    }
    windows
}

/// All of a file.
pub fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let mut octets = vec![0; usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?];
    let read = file.read_full(&mut octets, 0)?;
    octets.truncate(read);
    Ok(octets)
}

pub fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}
