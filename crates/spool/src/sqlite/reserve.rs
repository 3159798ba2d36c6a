//! Room for what must be written on a full device: that a finished message is finished, and what a start needs.
//!
//! A file of zeros beside the database. Given up when there is no room otherwise, taken again when there is plenty.

use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::OpenError;

/// The file.
pub struct Reserve {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    mode: u32,
}

impl Reserve {
    /// The reserve of the store in `base`, which may be taken or not.
    pub fn new(disk: Arc<dyn Disk>, base: &Path, mode: u32) -> Self {
        Self { disk, path: base.join(NAME), mode }
    }

    /// Does something that may need room, and once more without the reserve if there was none.
    pub fn with_room<T>(&self, act: impl Fn() -> Result<T, OpenError>) -> Result<T, OpenError> {
        match act() {
            Err(OpenError::Io { source, .. }) if source.kind() == ErrorKind::StorageFull && self.give_up() => act(),
            other => other,
        }
    }

    /// Makes its octets free; whether there were any.
    pub fn give_up(&self) -> bool {
        self.disk.remove(&self.path).is_ok()
    }

    /// Takes it, unless it is taken or the device is nearly full; whether it is there then. It is no fault if not: there is a
    /// next time.
    pub fn take(&self) -> bool {
        let base = self.path.parent().unwrap_or(Path::new("."));
        if self.disk.space(base).is_ok_and(|space| space.free_bytes < PLENTY * OCTETS as u64) {
            return self.disk.open(&self.path).is_ok();
        }
        match self.disk.create(&self.path, self.mode) {
            Ok(file) => {
                let whole = file.write_all(&mut [IoSlice::new(&vec![0; OCTETS])], 0).is_ok();
                if !whole {
                    self.give_up();
                }
                whole
            }
            Err(error) => error.kind() == ErrorKind::AlreadyExists,
        }
    }
}

const NAME: &str = "reserve";
/// Enough for the index of the log and a few commits.
const OCTETS: usize = 1 << 20;
const PLENTY: u64 = 2;
