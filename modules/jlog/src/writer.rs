//! The one writer of a journaled log. Blocks.
//!
//! Records gather in memory until [`Writer::flush`], which writes them with one call and one sync. If that fails, they
//! are kept and written again by the next flush: to the same segment when its end could be cut back to what was there
//! before, else to a new one, so that nothing is built upon octets of which nobody knows whether they were kept.
//!
//! Invariant: when `flush` has returned, every record appended before it survives a crash.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::time::Duration;

use crate::folder::{Dropped, Folder};
use crate::segment::{self, HEAD_OCTETS, RECORD_OCTETS_MAX};

/// Appends to a log; held by one process at a time.
#[derive(Debug)]
pub struct Writer {
    folder: Folder,
    mode: u32,
    /// What all segments may have together, give or take one.
    octets_max: u64,
    /// Number of the segment being written, or of the last one.
    number: u64,
    segment: Option<Segment>,
    /// Each with its length before it.
    pending: Vec<u8>,
    _lock: File,
}

#[derive(Debug)]
struct Segment {
    file: File,
    /// Octets known to be kept.
    octets: u64,
}

impl Writer {
    /// Opens the log for writing, makes its folder if it is missing, and cuts off a last record that an earlier writer
    /// did not finish. `mode` is that of new segments, less the umask. An error if another process writes to it.
    pub fn open(folder: Folder, mode: u32) -> io::Result<Self> {
        io_wrapper::make_folders(folder.path(), 0o750)?;
        let lock = File::options().create(true).write(true).truncate(false).mode(0o640).open(folder.lock())?;
        take(&lock, &folder)?;
        repair(&folder)?;
        let segments = folder.segments()?;
        let mut number = segments.last().copied().unwrap_or(0);
        for subscriber in folder.subscribers()? {
            // A checkpoint may be all that is left of a segment; its number must not come again.
            number = number.max(folder.checkpoint_of(&subscriber)?.map_or(0, |checkpoint| checkpoint.segment));
        }
        let octets_max = u64::MAX;
        Ok(Self { folder, mode, octets_max, number, segment: None, pending: Vec::new(), _lock: lock })
    }

    /// Takes one record, at most [`RECORD_OCTETS_MAX`] octets, into memory.
    pub fn append(&mut self, record: &[u8]) -> io::Result<()> {
        if RECORD_OCTETS_MAX < record.len() {
            let text = format!("a record of {} octets; {RECORD_OCTETS_MAX} is the most", record.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.pending.extend_from_slice(&(record.len() as u32).to_le_bytes());
        self.pending.extend_from_slice(record);
        Ok(())
    }

    /// Octets taken and not flushed.
    pub fn pending_octets(&self) -> usize {
        self.pending.len()
    }

    /// Returns when every record taken is durable. On an error they are kept for the next call.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut segment = match self.segment.take() {
            Some(segment) => segment,
            None => self.begin()?,
        };
        let octets = self.encoded(segment.octets);
        if let Err(error) = segment.file.write_all_at(&octets, segment.octets) {
            if segment.file.set_len(segment.octets).is_ok() {
                self.segment = Some(segment);
            }
            return Err(error);
        }
        // After a failed sync nobody knows what was kept: the segment is left as it is.
        segment.file.sync_data()?;
        segment.octets += octets.len() as u64;
        self.pending.clear();
        self.pending.shrink_to(PENDING_KEPT_OCTETS);
        if segment.octets < SEGMENT_OCTETS {
            self.segment = Some(segment);
        } else {
            self.clear_up();
        }
        Ok(())
    }

    /// Keeps the log within so many octets from now on, or a smaller bound it has already: past it the oldest records go,
    /// read or not. A segment may be too much, and the newest always stays.
    pub fn bound(&mut self, octets_max: u64) {
        self.octets_max = self.octets_max.min(octets_max);
        self.clear_up();
    }

    /// Removes what was read, and what there is no room for.
    fn clear_up(&self) {
        let path = self.folder.path().display();
        if let Err(error) = self.folder.remove_read_segments() {
            tracing::warn!(target: "IO", "{path}: segments that were read are not removed: {error}");
        }
        if self.octets_max == u64::MAX {
            return;
        }
        match self.folder.bound(self.octets_max) {
            Ok(None) => {}
            Ok(Some(Dropped { octets, subscribers })) => {
                let (max, who) = (self.octets_max, subscribers.join(", "));
                tracing::error!(
                    target: "IO",
                    "{path}: {octets} octets are dropped that {who} has not read: max_bytes is {max}; let it read, or remove it \
                     with ec_jlog --remove"
                );
            }
            Err(error) => tracing::warn!(target: "IO", "{path}: the log cannot be kept within max_bytes: {error}"),
        }
    }

    /// The log.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The pending records as they will stand from `offset` on.
    fn encoded(&self, offset: u64) -> Vec<u8> {
        let mut octets = Vec::with_capacity(self.pending.len() * 2);
        let mut left = self.pending.as_slice();
        while let Some((length, behind)) = left.split_first_chunk::<4>() {
            let (record, next) = behind.split_at(u32::from_le_bytes(*length) as usize);
            let place = offset + octets.len() as u64;
            segment::encode(&mut octets, self.number, place, record);
            left = next;
        }
        octets
    }

    /// Makes the next segment, durable with its name.
    fn begin(&mut self) -> io::Result<Segment> {
        self.number += 1;
        let number = self.number;
        let path = self.folder.segment(number);
        let mut file = File::options().write(true).create_new(true).mode(self.mode).open(&path)?;
        let made = file.write_all(&segment::head(number)).and_then(|()| file.sync_all());
        let made = made.and_then(|()| File::open(self.folder.path())?.sync_all());
        if let Err(error) = made {
            // Nothing is lost with it, and the next one has another number.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Segment { file, octets: HEAD_OCTETS })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Whoever wants to know how it went flushes.
        let _ = self.flush();
    }
}

/// Takes the lock of a log. A program that is being started has our descriptors, and with them the lock of a log that was
/// closed meanwhile, until it becomes another program: so somebody who has it is given a moment to let go.
fn take(lock: &File, folder: &Folder) -> io::Result<()> {
    for _ in 0..TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(BETWEEN_TRIES),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    let text = format!("another process writes to the journaled log {}", folder.path().display());
    Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
}

const TRIES: usize = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// Cuts an unfinished record off the newest segment, and removes one that holds nothing.
fn repair(folder: &Folder) -> io::Result<()> {
    let Some(&number) = folder.segments()?.last() else { return Ok(()) };
    let path = folder.segment(number);
    let octets = fs::read(&path)?;
    let records = octets.get(HEAD_OCTETS as usize..).unwrap_or_default();
    let (valid, others_behind) = segment::valid_octets(records, number, HEAD_OCTETS);
    // Damage with records behind it is not an unfinished end: the reader skips it.
    if others_behind || valid == records.len() && !records.is_empty() {
        return Ok(());
    }
    let rest = records.len() - valid;
    if rest != 0 {
        // Its writer ended while it wrote, or what it had written is damaged: nothing behind it shows which.
        tracing::warn!(target: "IO", "{}: {rest} octets at {} are no whole record and cut off: unfinished, or damaged", path.display(), HEAD_OCTETS as usize + valid);
    }
    if valid == 0 {
        return fs::remove_file(&path);
    }
    let kept = HEAD_OCTETS + valid as u64;
    let file = File::options().write(true).open(&path)?;
    file.set_len(kept)?;
    file.sync_all()
}

/// How large a segment grows before the next one is begun.
pub const SEGMENT_OCTETS: u64 = 4 << 20;
const PENDING_KEPT_OCTETS: usize = 1 << 20;
