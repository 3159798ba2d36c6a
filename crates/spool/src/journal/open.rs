//! Opening a journal: the lock, the first page of every segment file, and what follows from them.
//!
//! Reads two pages of each file (see [`super::sorting`]), and the record headers of the segment used last for the newest id,
//! so it takes no time however large the spool is; the records are recovery's. A file the device cannot read is left alone.
//!
//! Invariant: a file counts as free only when it is durably so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use message::MessageId;
use scheduler::{Clock, Meters};

use super::JournalOptions;
use super::committer::Committer;
use super::hold::Hold;
use super::inbox::Inbox;
use super::index::{Index, Segment, Summarised};
use super::reached::{self, Note, Witness};
use super::record::{Kind, PAGE};
use super::recovery::Recovery;
use super::scan::{Found, Scanner};
use super::segment::{DATA, SegmentHeader, Use};
use super::shared::{Shared, Work, reserve_bytes};
use super::sorting::{Sorted, missing_text};
use super::spares::{Role, Spare, Spares};
use super::summary;
use crate::disk::{Disk, Lock};
use crate::error::{OpenError, is_full};
use crate::stats::Gauges;

/// An opened journal, not yet running.
pub struct Opened {
    pub shared: Arc<Shared>,
    pub committer: Committer,
    pub recovery: Recovery,
    pub lock: Box<dyn Send + Sync>,
}

/// Opens the journal in `options.base`.
pub fn open(options: JournalOptions, disk: Arc<dyn Disk>, clock: Clock, meters: &Meters) -> Result<Opened, OpenError> {
    let (directory, damaged) = (options.base.join("journal"), options.base.join("damaged"));
    for path in [&options.base, &directory, &damaged] {
        disk.create_dir(path).map_err(failed("create", path))?;
    }
    let lock = take_lock(disk.as_ref(), &options)?;
    disk.sync_dir(&options.base).map_err(failed("sync", &options.base))?;
    let sorted = Sorted::look(disk.as_ref(), &directory)?;
    let space = disk.space(&directory).map_err(failed("measure", &directory))?;
    let segment_bytes = fitting(options.segment_bytes, space.total_bytes);
    if !options.force_fsync {
        tracing::warn!(target: "SPOOL", "force_fsync is off: mail that was acknowledged is lost when power fails");
    }
    let told = tell(disk.as_ref(), &directory, &damaged, &sorted)?;
    let (sequence, epoch) = used_last(&sorted);
    let newest = newest_in_segments(&sorted);
    let ends = sorted.known_ends();
    make_durable(disk.as_ref(), &directory, &sorted)?;
    remove_unfinished(disk.as_ref(), &directory, &sorted);
    let set_aside = sorted.unknown.len() as u64;
    let Sorted { used, free, heads, unreadable, mut summaries, note, next_slot, .. } = sorted;
    let mut index = Index::new();
    let mut old = BTreeMap::new();
    for (sequence, (header, spare)) in used {
        let abandoned = ends.get(&sequence).is_some_and(|&(_, abandoned)| abandoned);
        let end = ends.get(&sequence).map(|&(end, _)| end);
        let reserve = u64::from(spare.capacity) == reserve_bytes(segment_bytes);
        let role = if reserve { Role::Reserve } else { Role::Ordinary };
        let summarised = if summaries.contains(&spare.slot) { Summarised::Yes } else { Summarised::No };
        let segment = Segment { role, summarised, ..old_segment(&header, spare, end, abandoned) };
        summaries.remove(&segment.slot);
        index.segments.insert(sequence, segment);
        old.insert(sequence, (header, end));
    }
    remove_orphans(disk.as_ref(), &directory, summaries.difference(&unreadable))?;
    // Last of all: from now on a page of zeros is damage.
    let witness = witness(disk.as_ref(), &directory, &options, &index);
    let reached = note.found();
    let shared = Arc::new(Shared {
        segment_bytes,
        epoch: epoch + 1,
        newest: Some(newest).filter(|&newest| newest != 0).map(MessageId::from_bits),
        spares: Spares::new(disk, directory, options.mode, next_slot),
        inbox: Inbox::new(options.waiting_bytes, options.unlink_backlog),
        gauges: Gauges::new(meters),
        hold: Hold::default(),
        clock,
        crash: options.crash_points.clone(),
        damaged,
        witness: Mutex::new(witness),
        index: Mutex::new(index),
        work: Mutex::new(Work::default()),
        kicked: Condvar::new(),
        options,
    });
    shared.gauges.damaged.add(told);
    shared.gauges.set_aside.add(set_aside);
    store_free(&shared, free);
    shared.kick();
    let committer = Committer::new(Arc::clone(&shared), epoch + 1, sequence + 1, newest);
    let heads = heads.into_iter().filter(|head| head.sequence.is_some()).collect();
    Ok(Opened { shared, committer, recovery: Recovery { old, reached, heads }, lock })
}

fn take_lock(disk: &dyn Disk, options: &JournalOptions) -> Result<Box<dyn Send + Sync>, OpenError> {
    let path = options.base.join("lock");
    match disk.lock(&path, options.mode).map_err(failed("lock", &path))? {
        Lock::Held(guard) => Ok(guard),
        Lock::Taken(owner) => Err(OpenError::Locked { base: options.base.clone(), owner }),
    }
}

/// The highest sequence number and the highest epoch that may have been used.
fn used_last(sorted: &Sorted) -> (u32, u32) {
    let noted = sorted.note.found().map_or_else(Use::default, |reached| reached.of);
    let sequence = sorted.used.keys().copied().max().unwrap_or(0).max(noted.sequence);
    let epoch = sorted.used.values().map(|(header, _)| header.epoch).max().unwrap_or(0).max(noted.epoch);
    // Unreadable segments may have been used last: their numbers stay theirs.
    let unread = (sorted.unreadable.len() + sorted.unknown.len()) as u32;
    (sequence.saturating_add(unread.saturating_mul(SEQUENCES_OF_UNREADABLE)), epoch.saturating_add(unread))
}

/// What later notes how far this run has got. The journal works without.
fn witness(disk: &dyn Disk, directory: &Path, options: &JournalOptions, index: &Index) -> Option<Witness> {
    let mut opened = Witness::open(disk, directory, options.mode);
    // What is missing has been told. Where nothing is synced no roster would be right.
    let noted = match &mut opened {
        Ok(witness) if options.force_fsync => witness.call(index.segments.keys().copied(), 0),
        Ok(witness) => witness.forget_roster(),
        Err(_) => Ok(()),
    };
    noted.and(opened)
        .inspect_err(|error| {
            let path = reached::path_in(directory);
            tracing::warn!(target: "SPOOL", "cannot use {}: {error}; the end of the journal has no witness in this run", path.display());
        })
        .ok()
}

/// The newest id that any header knows of, or that is in the segment used last; in all segments where the header of one is
/// gone. A header knows only those before it.
fn newest_in_segments(sorted: &Sorted) -> u64 {
    let known = sorted.used.values().map(|(header, _)| header.newest).max().unwrap_or(0);
    let looked_at = if sorted.headless().next().is_some() { usize::MAX } else { 1 };
    let newest = sorted.used.values().rev().take(looked_at).map(|(header, spare)| newest_in(header, spare));
    newest.max().unwrap_or(0).max(known)
}

/// The newest id in a segment. Its header knows only those before it.
fn newest_in(header: &SegmentHeader, spare: &Spare) -> u64 {
    let mut newest = 0;
    let Ok(scanner) = Scanner::new(spare.file.as_ref(), header.mark, None) else { return newest };
    let mut scanner = scanner.headers_only();
    // What cannot be read here is reported by recovery.
    while let Ok(Some(found)) = scanner.step() {
        if let Found::Record(_, record) = found
            && record.kind == Kind::Headers
        {
            newest = newest.max(record.id);
        }
    }
    newest
}

/// Says which files are not what they should be, and sets those aside of which nothing is known; how many cases were told.
/// What is known again is told by recovery, with what it finds in it.
fn tell(disk: &dyn Disk, directory: &Path, damaged: &Path, sorted: &Sorted) -> Result<u64, OpenError> {
    let mut told = 0;
    if sorted.note == Note::Damaged || sorted.note_is_missing {
        let how = if sorted.note_is_missing { "is missing" } else { "cannot be read" };
        tracing::error!(target: "SPOOL", "{} {how}: whether the last commits of the last run are all there is not known", reached::path_in(directory).display());
        told += 1;
    }
    if let Some(missing) = sorted.missing() {
        tracing::error!(target: "SPOOL", critical = true, "{}: {}", directory.display(), missing_text(missing));
        told += missing.0 as u64;
    }
    for head in sorted.heads.iter().filter(|head| head.sequence.is_none()) {
        told += 1;
        let path = directory.join(super::spares::name_of(head.slot));
        let Some(file) = sorted.unknown.iter().find(|file| file.slot == head.slot) else {
            tracing::error!(target: "SPOOL", "{}: {} in the place of its header; it was a spare, nothing is lost", path.display(), head.what);
            continue;
        };
        let aside = aside_name(disk, damaged, file.slot)?;
        tracing::error!(target: "SPOOL", "{}: octets 0..{}: {} in the place of its header, and nothing says what it held; set aside as {}", path.display(), file.capacity, head.what, aside.display());
        disk.rename(&path, &aside).map_err(failed("set aside", &path))?;
        for directory in [directory, damaged] {
            disk.sync_dir(directory).map_err(failed("sync", directory))?;
        }
    }
    Ok(told)
}

fn aside_name(disk: &dyn Disk, damaged: &Path, slot: u32) -> Result<PathBuf, OpenError> {
    let taken = disk.list(damaged).map_err(failed("list", damaged))?;
    let name = |number: usize| format!("{slot:08}.segment.{number}");
    let number = (0..=taken.len()).find(|&number| !taken.contains(&name(number))).unwrap_or(taken.len());
    Ok(damaged.join(name(number)))
}

/// What a killed run changed and did not sync is seen by this run, in the page cache, and undone when power is lost. A file
/// that looks scrubbed is scrubbed again: it might become a segment again when nothing remembers what in it is dead. A sync
/// alone would not do, because of one that failed nothing is left to sync. Recovery does the same for records.
fn make_durable(disk: &dyn Disk, directory: &Path, sorted: &Sorted) -> Result<(), OpenError> {
    disk.sync_dir(directory).map_err(failed("sync", directory))?;
    for spare in &sorted.free {
        let path = directory.join(super::spares::name_of(spare.slot));
        match spare.scrub() {
            // Of an empty file there is nothing to scrub, and no room to say so.
            Err(error) if spare.capacity == 0 && is_full(&error) => {}
            other => other.map_err(failed("scrub", &path))?,
        }
    }
    Ok(())
}

/// Removes what was being made when a run ended. What stays is passed over.
fn remove_unfinished(disk: &dyn Disk, directory: &Path, sorted: &Sorted) {
    for name in &sorted.unfinished {
        let path = directory.join(name);
        if let Err(error) = disk.remove(&path) {
            tracing::warn!(target: "SPOOL", "cannot remove {}, which was being made: {error}", path.display());
        }
    }
}

/// Removes summaries whose segment is gone, durably: a crash came between the two, and they would bear witness to it.
fn remove_orphans<'a>(
    disk: &dyn Disk,
    directory: &Path,
    slots: impl Iterator<Item = &'a u32>,
) -> Result<(), OpenError> {
    let mut removed = false;
    for &slot in slots {
        let path = directory.join(summary::name_of(slot));
        match disk.remove(&path) {
            Ok(()) => removed = true,
            Err(error) => {
                tracing::warn!(target: "SPOOL", "cannot remove {}, the summary of no segment: {error}", path.display());
            }
        }
    }
    if removed { disk.sync_dir(directory).map_err(failed("sync", directory)) } else { Ok(()) }
}

fn old_segment(header: &SegmentHeader, spare: Spare, end: Option<u32>, abandoned: bool) -> Segment {
    Segment {
        file: spare.file,
        slot: spare.slot,
        mark: header.mark,
        epoch: header.epoch,
        capacity: spare.capacity,
        end: end.unwrap_or(spare.capacity.max(DATA)),
        live: 0,
        durable: true,
        sealed: true,
        counted: false,
        stuck: false,
        abandoned,
        open_ended: end.is_none(),
        unscrubbed: false,
        summarised: Summarised::No,
        role: Role::Ordinary,
    }
}

/// Files prepared or scrubbed by an earlier run: spares, the headroom, the reserves, or of no use.
fn store_free(shared: &Shared, free: Vec<Spare>) {
    for spare in free {
        let size = u64::from(spare.capacity);
        let surplus = if size == shared.segment_bytes {
            shared.spares.put(spare, Role::Headroom);
            None
        } else if size == shared.reserve_bytes() {
            // How many are wanted is known when recovery has counted the mail; upkeep removes the others.
            shared.spares.put(spare, Role::Reserve);
            None
        } else {
            Some(spare)
        };
        if let Some(spare) = surplus
            && let Err(error) = shared.spares.remove(spare.slot)
        {
            tracing::warn!(target: "SPOOL", "cannot remove an unused segment file: {error}");
        }
    }
}

/// A small device gets small segments: a sixteenth of it at most.
fn fitting(wanted: u64, total: u64) -> u64 {
    let page = PAGE as u64;
    let largest = (total / 16).max(SEGMENT_MIN);
    wanted.clamp(SEGMENT_MIN, largest).min(u64::from(u32::MAX)) / page * page
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |source| OpenError::Io { doing, path, source }
}

const SEGMENT_MIN: u64 = 64 << 10;
/// More than a run uses between what can be read and what cannot.
const SEQUENCES_OF_UNREADABLE: u32 = 1 << 16;
