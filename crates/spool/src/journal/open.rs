//! Opening a journal: the lock, the first page of every segment file, and what follows from them.
//!
//! Reads one page of each file, and the record headers of the segment used last for the newest id, so it takes no time
//! however large the spool is; the records are recovery's. A file the device cannot read is left alone.
//!
//! Invariant: a file counts as free only when it is durably so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use message::MessageId;
use scheduler::{Clock, Meters};

use super::JournalOptions;
use super::committer::Committer;
use super::hold::Hold;
use super::inbox::Inbox;
use super::index::{Index, Segment, Summarised};
use super::record::{Kind, PAGE};
use super::recovery::Recovery;
use super::scan::{Found, Scanner};
use super::segment::{DATA, FORMAT, FirstPage, SegmentHeader};
use super::shared::{Shared, Work, reserve_bytes};
use super::spares::{Role, Spare, Spares, slot_of};
use super::summary;
use crate::disk::{Disk, Lock};
use crate::error::OpenError;
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
    let Files { files, mut summaries, unreadable, next_slot } = read_first_pages(disk.as_ref(), &directory)?;
    let space = disk.space(&directory).map_err(failed("measure", &directory))?;
    let segment_bytes = fitting(options.segment_bytes, space.total_bytes);
    if !options.force_fsync {
        tracing::warn!(target: "SPOOL", "force_fsync is off: mail that was acknowledged is lost when power fails");
    }
    let (used, free) = sort(disk.as_ref(), &directory, &damaged, files)?;
    let highest = |of: fn(&SegmentHeader) -> u64| used.values().map(|(header, _)| of(header)).max().unwrap_or(0);
    let (sequence, epoch) =
        (highest(|header| header.sequence.into()) as u32, highest(|header| header.epoch.into()) as u32);
    // Unreadable segments may have been used last: their numbers stay theirs.
    let unread = unreadable.len() as u32;
    let (sequence, epoch) =
        (sequence.saturating_add(unread.saturating_mul(SEQUENCES_OF_UNREADABLE)), epoch.saturating_add(unread));
    let last = used.values().next_back().map_or(0, |(header, spare)| newest_in(header, spare));
    let newest = highest(|header| header.newest).max(last);
    let ends = known_ends(&used);
    make_durable(disk.as_ref(), &directory, &free)?;
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
    remove_orphans(disk.as_ref(), &directory, summaries.difference(&unreadable));
    let shared = Arc::new(Shared {
        segment_bytes,
        newest: Some(newest).filter(|&newest| newest != 0).map(MessageId::from_bits),
        spares: Spares::new(disk, directory, options.mode, next_slot),
        inbox: Inbox::new(options.waiting_bytes, options.unlink_backlog),
        gauges: Gauges::new(meters),
        hold: Hold::default(),
        clock,
        crash: options.crash_points.clone(),
        damaged,
        index: Mutex::new(index),
        work: Mutex::new(Work::default()),
        kicked: Condvar::new(),
        options,
    });
    store_free(&shared, free);
    shared.kick();
    let committer = Committer::new(Arc::clone(&shared), epoch + 1, sequence + 1, newest);
    Ok(Opened { shared, committer, recovery: Recovery { old }, lock })
}

/// The files of the journal's directory.
pub(super) struct Files {
    pub files: Vec<(u32, Spare, FirstPage)>,
    /// The slots of those that have a summary.
    pub summaries: BTreeSet<u32>,
    /// The slots of those that could not be read.
    pub unreadable: BTreeSet<u32>,
    pub next_slot: u32,
}

pub(super) type Used = BTreeMap<u32, (SegmentHeader, Spare)>;

fn take_lock(disk: &dyn Disk, options: &JournalOptions) -> Result<Box<dyn Send + Sync>, OpenError> {
    let path = options.base.join("lock");
    match disk.lock(&path, options.mode).map_err(failed("lock", &path))? {
        Lock::Held(guard) => Ok(guard),
        Lock::Taken(owner) => Err(OpenError::Locked { base: options.base.clone(), owner }),
    }
}

pub(super) fn read_first_pages(disk: &dyn Disk, directory: &Path) -> Result<Files, OpenError> {
    let (mut files, mut summaries, mut unreadable, mut next_slot) = (Vec::new(), BTreeSet::new(), BTreeSet::new(), 0);
    for name in disk.list(directory).map_err(failed("list", directory))? {
        let path = directory.join(&name);
        if let Some(slot) = summary::slot_of(&name) {
            summaries.insert(slot);
            continue;
        }
        let Some(slot) = slot_of(&name) else {
            tracing::warn!(target: "SPOOL", "{} is not a segment; left alone", path.display());
            continue;
        };
        next_slot = next_slot.max(slot + 1);
        let file = disk.open(&path).map_err(failed("open", &path))?;
        let page = match SegmentHeader::read(file.as_ref()) {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(target: "SPOOL", "cannot read {}: {error}; left for the next start, everything else is kept", path.display());
                unreadable.insert(slot);
                continue;
            }
        };
        let capacity =
            file.len().map_err(failed("measure", &path))?.min(u64::from(u32::MAX) / PAGE as u64 * PAGE as u64);
        files.push((slot, Spare { slot, file, capacity: capacity as u32 }, page));
    }
    Ok(Files { files, summaries, unreadable, next_slot })
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

/// Tells segments in use from free files; files whose first page cannot be read are set aside whole.
fn sort(
    disk: &dyn Disk,
    directory: &Path,
    damaged: &Path,
    files: Vec<(u32, Spare, FirstPage)>,
) -> Result<(Used, Vec<Spare>), OpenError> {
    let (mut used, mut free) = (BTreeMap::new(), Vec::new());
    for (slot, spare, page) in files {
        let path = directory.join(super::spares::name_of(slot));
        match page {
            FirstPage::Free => free.push(spare),
            FirstPage::Newer(found) => return Err(OpenError::Version { path, found, known: FORMAT }),
            FirstPage::Header(header) => {
                used.insert(header.sequence, (header, spare));
            }
            FirstPage::Damaged => {
                let aside = aside_name(disk, damaged, slot)?;
                tracing::error!(target: "SPOOL", "{}: neither copy of its header can be read; set aside as {}", path.display(), aside.display());
                disk.rename(&path, &aside).map_err(failed("set aside", &path))?;
                for directory in [directory, damaged] {
                    disk.sync_dir(directory).map_err(failed("sync", directory))?;
                }
            }
        }
    }
    Ok((used, free))
}

fn aside_name(disk: &dyn Disk, damaged: &Path, slot: u32) -> Result<PathBuf, OpenError> {
    let taken = disk.list(damaged).map_err(failed("list", damaged))?;
    let name = |number: usize| format!("{slot:08}.segment.{number}");
    let number = (0..=taken.len()).find(|&number| !taken.contains(&name(number))).unwrap_or(taken.len());
    Ok(damaged.join(name(number)))
}

/// Where the records of segments end, as later headers say; and whether they were abandoned there.
pub(super) fn known_ends(used: &Used) -> BTreeMap<u32, (u32, bool)> {
    let mut ends = BTreeMap::new();
    for (header, _) in used.values() {
        let former = header.previous.iter().map(|cut| (cut.sequence, (cut.end, false)));
        for (sequence, end) in former.chain(header.cuts.iter().map(|cut| (cut.sequence, (cut.end, true)))) {
            let known = ends.entry(sequence).or_insert(end);
            known.1 |= end.1;
        }
    }
    ends
}

/// What a killed run changed and did not sync is seen by this run, in the page cache, and undone when power is lost. A file
/// that looks scrubbed is scrubbed again: it might become a segment again when nothing remembers what in it is dead. A sync
/// alone would not do, because of one that failed nothing is left to sync. Recovery does the same for records.
fn make_durable(disk: &dyn Disk, directory: &Path, free: &[Spare]) -> Result<(), OpenError> {
    disk.sync_dir(directory).map_err(failed("sync", directory))?;
    for spare in free.iter().filter(|spare| spare.capacity != 0) {
        let path = directory.join(super::spares::name_of(spare.slot));
        spare.scrub().map_err(failed("scrub", &path))?;
    }
    Ok(())
}

/// Removes summaries whose segment is gone: a crash came between the two. One that stays is passed over.
fn remove_orphans<'a>(disk: &dyn Disk, directory: &Path, slots: impl Iterator<Item = &'a u32>) {
    for &slot in slots {
        let path = directory.join(summary::name_of(slot));
        if let Err(error) = disk.remove(&path) {
            tracing::warn!(target: "SPOOL", "cannot remove {}, the summary of no segment: {error}", path.display());
        }
    }
}

fn old_segment(header: &SegmentHeader, spare: Spare, end: Option<u32>, abandoned: bool) -> Segment {
    Segment {
        file: spare.file,
        slot: spare.slot,
        mark: header.mark,
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
            let headroom = shared.spares.count().headroom.is_some();
            shared.spares.put(spare, if headroom { Role::Ordinary } else { Role::Headroom })
        } else if size == shared.reserve_bytes() {
            shared.spares.put(spare, Role::Reserve)
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
