//! What a store that is not the journal keeps books of: its counters, its messages, the room on its device.
//!
//! Shared by the store's one writing thread, by readers and by whoever asks how the spool is doing.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use message::MessageId;
use scheduler::Meters;

use crate::census::{Census, ENTRY_BYTES};
use crate::disk::Disk;
use crate::error::SpoolError;
use crate::journal::JournalOptions;
use crate::stats::{Gauges, SpoolStats};
use crate::writer::Writer;

/// The books.
pub struct Ledger {
    /// The counters, named `spool.KIND.…`.
    pub gauges: Gauges,
    /// The messages.
    pub census: Census,
    /// What waits for the writing thread.
    pub writer: Writer,
    disk: Arc<dyn Disk>,
    base: PathBuf,
}

impl Ledger {
    /// Empty books of a store of this kind.
    pub fn new(meters: &Meters, kind: &str, options: &JournalOptions, disk: Arc<dyn Disk>) -> Self {
        let writer = Writer::new(options.waiting_bytes, options.unlink_backlog);
        let base = options.base.clone();
        Self { gauges: Gauges::of(meters, kind), census: Census::default(), writer, disk, base }
    }

    /// A start has found these messages; none of them is handed over yet.
    pub fn adopt(&self, found: impl ExactSizeIterator<Item = MessageId>) {
        self.gauges.recovered.set(found.len() as u64);
        self.gauges.recovery_total.set(1);
        self.gauges.recovery_done.set(1);
        self.gauges.index_complete.set(1);
        self.census.adopt(found);
    }

    /// One operation was refused.
    pub fn failed(&self, error: &SpoolError) {
        match error {
            SpoolError::Full { .. } => self.gauges.full.add(1),
            _ => self.gauges.failures.add(1),
        }
    }

    /// How the store is doing, when so many octets on its disk serve no message.
    pub fn stats(&self, dead_bytes: u64) -> SpoolStats {
        let (messages, oldest, live_bytes) = self.census.count();
        let (waiting_bytes, unlinks_waiting) = self.writer.depth();
        self.gauges.stats(SpoolStats {
            messages,
            oldest: oldest.map(|id| Duration::from_secs(id.seconds().into())),
            index_bytes: messages * ENTRY_BYTES,
            used_bytes: live_bytes + dead_bytes,
            live_bytes,
            free_bytes: self.disk.space(&self.base).map_or(0, |space| space.free_bytes),
            unlinks_waiting,
            waiting_bytes,
            ..SpoolStats::default()
        })
    }

    /// Octets of new mail the device has room for; none if it has no files left.
    pub fn room(&self) -> u64 {
        let Ok(space) = self.disk.space(&self.base) else { return 0 };
        if space.free_files < FILES_KEPT_FREE { 0 } else { space.free_bytes.saturating_sub(KEPT_FREE) }
    }

    /// A record that cannot be read: `file` gets one more name in `damaged`, for the operator, unless it has it already. Whether
    /// it is there now.
    pub fn set_aside(&self, id: MessageId, file: &Path, why: &SpoolError) -> bool {
        self.gauges.damaged.add(1);
        let aside = self.base.join("damaged");
        let suffix = file.extension().unwrap_or_default().to_string_lossy();
        let name = aside.join(format!("{}.{suffix}", id.to_string().replace('/', "-")));
        let linked = self.disk.create_dir(&aside).and_then(|()| self.disk.link(file, &name));
        match linked.and_then(|()| self.disk.sync_dir(&aside)).and_then(|()| self.disk.sync_dir(&self.base)) {
            Ok(()) => {
                self.gauges.set_aside.add(1);
                tracing::error!(target: "SPOOL", critical = true, "{why}; set aside as {}", name.display());
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                tracing::error!(target: "SPOOL", "{why}; set aside before as {}", name.display());
                true
            }
            Err(error) => {
                tracing::error!(target: "SPOOL", "{why}; it cannot be set aside: {error}");
                false
            }
        }
    }

    /// Puts a copy of octets that are about to be lost into `damaged`, under a name that is free; its path.
    pub fn copy_aside(&self, name: &str, octets: &[u8], mode: u32) -> std::io::Result<PathBuf> {
        let aside = self.base.join("damaged");
        self.disk.create_dir(&aside)?;
        let taken = self.disk.list(&aside)?;
        let numbered = |number: usize| format!("{name}.{number}");
        let number = (0..=taken.len()).find(|&number| !taken.contains(&numbered(number))).unwrap_or(taken.len());
        let path = aside.join(numbered(number));
        let copy = self.disk.create(&path, mode)?;
        let written = copy.write_all(&mut [IoSlice::new(octets)], 0).and_then(|()| copy.fdatasync());
        if let Err(error) = written {
            // A part of it is worth less than the room.
            let _ = self.disk.remove(&path);
            return Err(error);
        }
        self.disk.sync_dir(&aside)?;
        self.disk.sync_dir(&self.base)?;
        Ok(path)
    }
}

/// Octets of the device that new mail leaves to what must be written about old mail.
const KEPT_FREE: u64 = 1 << 20;
/// And files: headers are rewritten under a new name first, and a batch does many at once.
const FILES_KEPT_FREE: u64 = 64;
