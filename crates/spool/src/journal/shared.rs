//! What the journal's threads share: the index, the spares, the inbox, and reading records back.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use message::MessageId;
use scheduler::Clock;

use super::JournalOptions;
use super::hold::Hold;
use super::inbox::Inbox;
use super::index::{Index, Place};
use super::owed::Reserves;
use super::reached::Witness;
use super::reading::{Unread, read_record};
use super::record::{Kind, PAGE, Record, stored};
use super::spares::{HEADROOMS, Spares};
use crate::disk::{CrashPoints, Disk};
use crate::error::SpoolError;
use crate::stats::{Gauges, SpoolStats};

/// Shared by committer, upkeep, recovery and readers.
pub struct Shared {
    pub options: JournalOptions,
    /// Octets of a segment on this device.
    pub segment_bytes: u64,
    /// Counts runs of the daemon.
    pub epoch: u32,
    /// The newest id there was when the journal was opened.
    pub newest: Option<MessageId>,
    pub spares: Spares,
    pub inbox: Inbox,
    pub gauges: Gauges,
    /// Whether what is on disk must stay where it is.
    pub hold: Hold,
    pub clock: Clock,
    pub crash: CrashPoints,
    pub damaged: PathBuf,
    /// Where it is noted how far this run has got, and which segments there are.
    pub witness: Mutex<Option<Witness>>,
    pub index: Mutex<Index>,
    pub work: Mutex<Work>,
    pub kicked: Condvar,
}

/// Whether upkeep has something to do.
#[derive(Default)]
pub struct Work {
    kicked: bool,
    stopping: bool,
}

impl Shared {
    /// The index, for a short while.
    pub fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The witness, for the time of one note. Never asked for while the index is held.
    pub fn witness(&self) -> MutexGuard<'_, Option<Witness>> {
        self.witness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segment that is being scrubbed, or was last.
    pub fn leaving(&self) -> u32 {
        self.witness().as_ref().map_or(0, Witness::leaving)
    }

    /// A segment is about to be scrubbed: nobody may miss it after that.
    pub fn leaves(&self, sequence: u32) -> std::io::Result<()> {
        let segments = self.index().durable_segments();
        match self.witness().as_mut() {
            Some(witness) if self.options.force_fsync => witness.call(segments.into_iter(), sequence),
            _ => Ok(()),
        }
    }

    /// The disk.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        self.spares.disk()
    }

    /// Room on the device.
    pub fn free_bytes(&self) -> u64 {
        self.disk().space(self.spares.directory()).map_or(0, |space| space.free_bytes)
    }

    /// Room that is left to others on the device.
    pub fn margin(&self) -> u64 {
        self.segment_bytes / 16
    }

    /// Octets of a reserve segment.
    pub fn reserve_bytes(&self) -> u64 {
        reserve_bytes(self.segment_bytes)
    }

    /// Survivors of a segment that take no more than this may go to a reserve: they make room for much more.
    pub fn few_bytes(&self) -> u64 {
        self.reserve_bytes() / 8
    }

    /// The reserves, as they are.
    pub fn reserves(&self, index: &Index) -> Reserves {
        Reserves::of(index, &self.spares.count(), self.reserve_bytes())
    }

    /// What should be kept for a full device and is not there yet, if so many more messages come: octets and files.
    pub fn missing(&self, reserves: &Reserves, more: u64) -> (u64, u64) {
        let missing = reserves.missing(more);
        let headroom = HEADROOMS.saturating_sub(self.spares.count().headrooms) as u64;
        (missing * self.reserve_bytes() + headroom * self.segment_bytes, missing + headroom)
    }

    /// Octets of the device, and files, that nothing of ours is to have first, when so many more messages are to come.
    pub fn left(&self, reserves: &Reserves, more: u64) -> (u64, u64) {
        let Ok(space) = self.disk().space(self.spares.directory()) else { return (0, 0) };
        let (octets, files) = self.missing(reserves, more);
        (space.free_bytes.saturating_sub(self.margin() + octets), space.free_files.saturating_sub(FILES_KEPT + files))
    }

    /// Octets of new mail that a further segment would hold: a prepared one, or whole ones made of what the device has left.
    /// None where the end of what comes could not be recorded.
    pub fn mail_room(&self) -> u64 {
        let reserves = self.reserves(&self.index());
        let prepared = if 0 < self.spares.count().ordinary { self.segment_bytes } else { 0 };
        let (octets, files) = self.left(&reserves, reserves.ahead());
        let room = if octets < self.segment_bytes || files == 0 { 0 } else { octets };
        if room == 0 && !reserves.cover(MESSAGES_AT_ONCE) { 0 } else { prepared.max(room) }
    }

    /// There may be work for upkeep.
    pub fn kick(&self) {
        let mut work = self.work();
        if !work.kicked {
            work.kicked = true;
            self.kicked.notify_one();
        }
    }

    /// Upkeep ends after the piece it is at.
    pub fn stop(&self) {
        self.work().stopping = true;
        self.kicked.notify_one();
    }

    /// Whether upkeep is to end.
    pub fn is_stopping(&self) -> bool {
        self.work().stopping
    }

    /// Blocks until there may be work. False when upkeep is to end.
    pub fn wait_for_work(&self) -> bool {
        let mut work = self.work();
        while !work.kicked && !work.stopping {
            work = self.kicked.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        work.kicked = false;
        !work.stopping
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The encoded headers of a live message.
    pub fn fetch_headers(&self, id: u64) -> Result<Vec<u8>, SpoolError> {
        self.fetch(id, Kind::Headers)
    }

    /// The body of a live message.
    pub fn fetch_body(&self, id: u64) -> Result<Vec<u8>, SpoolError> {
        self.fetch(id, Kind::Body)
    }

    /// Looks a record up and reads it. It may be moved between the two; then it is looked up again.
    fn fetch(&self, id: u64, kind: Kind) -> Result<Vec<u8>, SpoolError> {
        let message = MessageId::from_bits(id);
        let find = || {
            let (headers, body) = self.index().find(id)?;
            Some(if kind == Kind::Body { body } else { headers })
        };
        loop {
            let place = find().ok_or(SpoolError::Missing { id: message })?;
            let read = match kind {
                Kind::Body => self.read_record_at(place, kind),
                _ => self.read_record(place, id, kind),
            };
            match read {
                Ok((_, payload)) => return Ok(payload),
                Err(_) if find() != Some(place) => {}
                Err(SpoolError::Damaged { why, .. }) => {
                    self.report_damage(place, message, &why);
                    return Err(SpoolError::Damaged { id: message, why });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The record of `kind` about `id` at `place`.
    pub fn read_record(&self, place: Place, id: u64, kind: Kind) -> Result<(Record, Vec<u8>), SpoolError> {
        let (record, payload) = self.read_record_at(place, kind)?;
        if record.id != id {
            let why = "another message's record stands in its place".to_owned();
            return Err(SpoolError::Damaged { id: MessageId::from_bits(id), why });
        }
        Ok((record, payload))
    }

    /// The record of `kind` at `place`, with its payload.
    pub fn read_record_at(&self, place: Place, kind: Kind) -> Result<(Record, Vec<u8>), SpoolError> {
        let found =
            self.index().segments.get(&place.segment).map(|found| (Arc::clone(&found.file), found.mark, found.slot));
        let damaged = |why: &str| SpoolError::Damaged { id: MessageId::NULL, why: why.to_owned() };
        let (file, mark, slot) = found.ok_or_else(|| damaged("its segment is gone"))?;
        read_record(file.as_ref(), mark, place, kind).map_err(|unread| match unread {
            Unread::Io(error) => SpoolError::from_io("read", &self.spares.path(slot), error, (0, 0)),
            Unread::Damaged(why) => damaged(why),
        })
    }

    /// Says that a live record cannot be read, and sets a copy aside.
    pub fn report_damage(&self, place: Place, id: MessageId, why: &str) {
        self.gauges.damaged.add(1);
        let aside = self.set_aside(place.segment, place.offset..place.offset + stored(place.payload) as u32);
        tracing::error!(target: "SPOOL", "message {id}: {why}; copy set aside in {}", aside.display());
    }

    /// Copies part of a segment to the directory of damaged records; where it is.
    pub fn set_aside(&self, segment: u32, range: Range<u32>) -> PathBuf {
        let path = self.damaged.join(format!("{segment:08}-{:08x}.record", range.start));
        let file = self.index().segments.get(&segment).map(|found| Arc::clone(&found.file));
        let mut octets = vec![0; range.len().min(SET_ASIDE_MAX)];
        let copied = file.ok_or_else(|| std::io::ErrorKind::NotFound.into()).and_then(|file| {
            let read = file.read_full(&mut octets, u64::from(range.start))?;
            let aside = self.disk().create(&path, self.options.mode)?;
            aside.write_all(&mut [std::io::IoSlice::new(&octets[..read])], 0)?;
            aside.fdatasync()?;
            self.disk().sync_dir(&self.damaged)
        });
        match copied {
            Ok(()) => self.gauges.set_aside.add(1),
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                tracing::warn!(target: "SPOOL", "cannot set aside a copy in {}: {error}", path.display());
            }
            Err(_) => {}
        }
        path
    }

    /// How the journal is doing.
    pub fn stats(&self) -> SpoolStats {
        let (messages, oldest, memory, segments, (used_bytes, live_bytes)) = {
            let index = self.index();
            (index.len(), index.oldest_seconds(), index.memory(), index.segments.len(), index.space())
        };
        let (unlinks_waiting, waiting_bytes) = self.inbox.backlog();
        let spare_segments = self.spares.count().ordinary;
        self.gauges.stats(SpoolStats {
            messages: messages as u64,
            oldest: oldest.map(Duration::from_secs),
            index_bytes: memory as u64,
            segments: segments as u64,
            spare_segments: spare_segments as u64,
            used_bytes,
            live_bytes,
            unlinks_waiting: unlinks_waiting as u64,
            waiting_bytes,
            free_bytes: self.free_bytes(),
            ..SpoolStats::default()
        })
    }
}

/// Octets of a reserve beside segments of that size.
pub fn reserve_bytes(segment_bytes: u64) -> u64 {
    (segment_bytes / 16).next_multiple_of(PAGE as u64).max(4 * PAGE as u64)
}

/// Recipients that mail is expected to have at most, where it is asked for before it comes.
const MESSAGES_AT_ONCE: u64 = 64;
/// Files that are left to others, and to what is written under another name first.
const FILES_KEPT: u64 = 2;
const SET_ASIDE_MAX: usize = 64 << 20;
