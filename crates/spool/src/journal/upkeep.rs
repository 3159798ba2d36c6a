//! Upkeep: dead segments become spares, spares are prepared in advance, and the survivors of mostly dead segments are
//! copied forward, so that the journal takes at most twice what is alive plus one segment (and its spares). On a device with
//! no room for another spare it copies sooner: whatever frees more than it takes.
//!
//! Runs on a thread of its own and may block; the commit path never waits for it. Tests drive it directly.
//!
//! Invariants: a segment is scrubbed only when nothing in it is needed and a later segment's header is on disk, because the
//! newest header says which segments were abandoned; or when its own header never got there, so that nothing in it was ever
//! acknowledged. Unlink records are kept until what they kill is scrubbed. While there is a hold nothing is scrubbed, moved or
//! summarised; only spares are prepared.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;

use super::hold::Void;
use super::inbox::Copied;
use super::index::{Alive, Index, Place, Segment, Summarised};
use super::record::{HEADER, Kind, PAGE};
use super::scan::{Found, Scanner};
use super::segment::{DATA, Retired, Use};
use super::shared::Shared;
use super::spares::{HEADROOMS, Role, Spare};
use super::summary::Summary;
use crate::disk::DiskFile;
use crate::error::SpoolError;

/// Hands records to the committer and waits until they are durable.
pub type Submit<'a> = dyn FnMut(Vec<Copied>) -> Result<(), SpoolError> + 'a;

/// Does the most pressing piece of work. False when there is none, or none that can be done now.
pub(super) fn step(shared: &Shared, submit: &mut Submit<'_>) -> bool {
    let _work = shared.hold.work();
    let mut held = shared.hold.is_in_effect(shared.clock.now());
    if held && is_short(shared) {
        shared.hold.void(Void::Short);
        held = false;
    }
    if let Some((sequence, spare)) = dead_segment(shared).filter(|_| !held) {
        recycle(shared, sequence, spare);
        return true;
    }
    if let Some((size, role)) = wanted_spare(shared) {
        match prepare(shared, size) {
            Ok(spare) => {
                shared.spares.put(spare, role);
                return true;
            }
            Err(error) => tracing::warn!(target: "SPOOL", "cannot prepare a segment of {size} bytes: {error}"),
        }
    }
    if held {
        return false;
    }
    if let Some(surplus) = surplus_reserve(shared) {
        remove(shared, &surplus);
        return true;
    }
    let short = is_short(shared);
    if short && if comes_back(shared) { shared.spares.lend(shared.segment_bytes) } else { shared.spares.promote() } {
        return true;
    }
    if !short && summarise(shared) {
        return true;
    }
    match merged(shared).or_else(|| victim(shared, short)) {
        Some(sequence) => compact(shared, sequence, submit),
        None if short && is_pressed(shared, &shared.index()) && shared.spares.release_headroom() => {
            tracing::warn!(target: "SPOOL", "device full and nothing to gain by copying: recording deliveries in the last segment");
            true
        }
        None => false,
    }
}

/// A segment of which nothing is needed.
fn dead_segment(shared: &Shared) -> Option<(u32, Spare)> {
    let index = shared.index();
    let newest = index.segments.iter().rev().find(|(_, segment)| segment.durable).map(|(&sequence, _)| sequence);
    let dead = |segment: &Segment| segment.sealed && segment.counted && segment.live == 0 && !segment.unscrubbed;
    let reclaimable = |sequence: u32, segment: &Segment| Some(sequence) < newest || !segment.durable;
    let mut segments = index.segments.iter();
    let (&sequence, segment) = segments.find(|&(&number, segment)| dead(segment) && reclaimable(number, segment))?;
    let retired = Retired { sequence, mark: segment.mark };
    let spare = Spare { slot: segment.slot, file: Arc::clone(&segment.file), capacity: segment.capacity, retired };
    Some((sequence, spare))
}

/// Whether the segment written last is dead too: its file is free once another is begun. Where there is no inode for that one
/// headroom may begin it, for the file that comes back takes its place.
fn comes_back(shared: &Shared) -> bool {
    let index = shared.index();
    let newest = index.segments.values().rev().find(|segment| segment.durable);
    newest.is_some_and(|segment| {
        let whole = shared.segment_bytes <= segment.capacity.into();
        segment.sealed && segment.counted && segment.live == 0 && !segment.unscrubbed && whole
    })
}

/// Scrubs a dead segment, so that nothing of it can be found again, and keeps the file if it is of use.
fn recycle(shared: &Shared, sequence: u32, spare: Spare) {
    shared.crash.pass("recycle");
    if let Err(error) = shared.leaves(sequence) {
        tracing::warn!(target: "SPOOL", "segment {sequence} is dead and stays, for it cannot be noted that it goes: {error}");
        if let Some(segment) = shared.index().segments.get_mut(&sequence) {
            segment.unscrubbed = true;
        }
        return;
    }
    let scrubbed = spare.scrub();
    let usable = match &scrubbed {
        Ok(()) => usable(shared, spare.clone()),
        Err(error) => {
            tracing::warn!(target: "SPOOL", "cannot scrub segment {sequence}: {error}; removing its file");
            None
        }
    };
    if shared.index().segments.get(&sequence).is_some_and(|segment| segment.summarised == Summarised::Yes) {
        // One that stays is of an earlier use of the file, and counts for nothing.
        let _ = shared.disk().remove(&shared.spares.summary_path(spare.slot));
    }
    let removed = if usable.is_some() { Ok(()) } else { shared.spares.remove(spare.slot) };
    if scrubbed.is_err() && removed.is_err() {
        // Neither scrubbed nor removed: its records may come back, so what kills them must stay.
        if let Some(segment) = shared.index().segments.get_mut(&sequence) {
            segment.unscrubbed = true;
        }
        return;
    }
    shared.index().gone(sequence);
    shared.gauges.recycled.add(1);
    if let Some((spare, role)) = usable {
        shared.spares.put(spare, role);
    }
}

/// Summarises the oldest segment that needs it, so that the next start need not read it. The newest ones are left for a
/// while: most mail is gone before a summary could be of use. Not so the last one of an earlier run: only this start,
/// which made it durable, knows that its last commit is whole, and the next would take damage to it for a torn write.
/// False if there is none, or no room.
fn summarise(shared: &Shared) -> bool {
    let candidate = {
        let index = shared.index();
        let wanted = |segment: &&Segment| segment.sealed && segment.durable && segment.counted && segment.live != 0;
        let found = index.segments.iter().rev().filter(|(_, segment)| wanted(segment)).enumerate();
        let young = unsummarised(shared);
        let old = found.filter(|(newer, (_, segment))| young <= *newer || segment.open_ended).map(|(_, found)| found);
        let eligible = |segment: &Segment| !segment.abandoned && !segment.stuck && segment.summarised == Summarised::No;
        let oldest = old.filter(|(_, segment)| eligible(segment)).last();
        oldest.map(|(&sequence, segment)| (sequence, Arc::clone(&segment.file), segment.use_of(sequence), segment.end))
    };
    let Some((sequence, file, Use { mark, slot, epoch, .. }, end)) = candidate else { return false };
    shared.crash.pass("summary");
    let written = Summary::of(file.as_ref(), sequence, mark, end).and_then(|summary| match summary {
        Some(summary) if room_for(shared, summary.file_bytes()) => {
            summary.write(shared.disk().as_ref(), &shared.spares.summary_path(slot), epoch, shared.options.mode)?;
            shared.gauges.summaries_written.add(1);
            Ok(Summarised::Yes)
        }
        Some(_) => Err(io::ErrorKind::StorageFull.into()),
        None => Ok(Summarised::Never),
    });
    let outcome = written.unwrap_or_else(|error| {
        tracing::warn!(target: "SPOOL", "cannot summarise segment {sequence}: {error}; the next start reads it whole");
        Summarised::Failed
    });
    if let Some(segment) = shared.index().segments.get_mut(&sequence) {
        segment.summarised = outcome;
    }
    true
}

/// How many of the newest sealed segments are left to be read whole by the next start.
fn unsummarised(shared: &Shared) -> usize {
    (UNSUMMARISED_BYTES / shared.segment_bytes).clamp(0, 2) as usize
}

/// A file is kept, as far as it is written through, if another spare of its size is wanted.
fn usable(shared: &Shared, spare: Spare) -> Option<(Spare, Role)> {
    let written = spare.file.len().ok()?.min(u64::from(spare.capacity)) / PAGE as u64 * PAGE as u64;
    let spare = Spare { capacity: written as u32, ..spare };
    let (spares, segment) = (shared.spares.count(), shared.segment_bytes);
    // With no room to prepare a better one, headroom may be somewhat smaller.
    let enough = if room_for(shared, segment) { segment } else { segment / 4 * 3 };
    let role = if spares.headrooms < HEADROOMS && (enough..=segment).contains(&written) {
        Role::Headroom
    } else if written == segment && spares.ordinary < SPARES_KEPT {
        Role::Ordinary
    } else if written == shared.reserve_bytes() {
        Role::Reserve
    } else {
        return None;
    };
    Some((spare, role))
}

fn remove(shared: &Shared, spare: &Spare) {
    if let Err(error) = shared.spares.remove(spare.slot) {
        tracing::warn!(target: "SPOOL", "cannot remove a spare segment: {error}");
    }
}

/// A reserve that there is no longer a message for.
fn surplus_reserve(shared: &Shared) -> Option<Spare> {
    let reserves = shared.reserves(&shared.index());
    let recovered = shared.gauges.index_complete.get() != 0;
    if recovered && reserves.are_too_many() { shared.spares.take_reserve(0, 2) } else { None }
}

/// The size of a spare that should be prepared now, and what for.
fn wanted_spare(shared: &Shared) -> Option<(u64, Role)> {
    let reserves = shared.reserves(&shared.index());
    if reserves.missing(reserves.ahead()) != 0 && room_for(shared, shared.reserve_bytes()) {
        return Some((shared.reserve_bytes(), Role::Reserve));
    }
    // An idle daemon prepares no more than that.
    let in_use = shared.segment_bytes <= 8 * shared.index().space().0;
    let spares = shared.spares.count();
    let role = if spares.headrooms < HEADROOMS { Role::Headroom } else { Role::Ordinary };
    let wanted = in_use && (spares.headrooms < HEADROOMS || spares.ordinary == 0);
    let room = match role {
        Role::Headroom => room_for(shared, shared.segment_bytes),
        _ => room_for_mail(shared),
    };
    (wanted && room).then_some((shared.segment_bytes, role))
}

fn room_for(shared: &Shared, octets: u64) -> bool {
    let space = shared.disk().space(shared.spares.directory());
    space.is_ok_and(|space| octets + shared.margin() <= space.free_bytes && space.free_files != 0)
}

/// Whether the device has room for one more segment of mail beside what is to be kept for a full one.
fn room_for_mail(shared: &Shared) -> bool {
    let reserves = shared.reserves(&shared.index());
    let (octets, files) = shared.left(&reserves, reserves.ahead());
    shared.segment_bytes <= octets && files != 0
}

/// Whether the device has no room for the next segment of new mail.
fn is_short(shared: &Shared) -> bool {
    let spares = shared.spares.count();
    (spares.ordinary == 0 || spares.headrooms < HEADROOMS) && !room_for_mail(shared)
}

/// Whether there is next to no room for unlinks left.
fn is_pressed(shared: &Shared, index: &Index) -> bool {
    shared.spares.count().reserves == 0 && index.current().is_none_or(|(room, _)| room < ROOM_FOR_UNLINKS)
}

/// A file filled with zeros, so that later commits change no file system structure.
fn prepare(shared: &Shared, size: u64) -> io::Result<Spare> {
    shared.crash.pass("prewrite");
    let capacity = u32::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
    shared.spares.make(capacity, |file| fill(file, size))
}

fn fill(file: &dyn DiskFile, size: u64) -> io::Result<()> {
    let zeros = vec![0; FILL.min(size as usize)];
    let mut at = 0;
    while at < size {
        let piece = &zeros[..zeros.len().min((size - at) as usize)];
        file.write_all(&mut [IoSlice::new(piece)], at)?;
        at += piece.len() as u64;
        // In small doses, so that commits need not queue behind a large one.
        file.fdatasync()?;
    }
    Ok(())
}

/// The reserve in use that should be merged with another, when few are free (see [`super::owed`]): it fits into what is being
/// written, or with the next into one that is free.
fn merged(shared: &Shared) -> Option<u32> {
    let index = shared.index();
    let spares = shared.spares.count();
    if FREE_RESERVES <= spares.reserves {
        return None;
    }
    let in_use = |segment: &Segment| segment.role == Role::Reserve && segment.live != 0 && !segment.stuck;
    let mut sparse: Vec<(u64, u32)> = index
        .segments
        .iter()
        .filter(|(_, segment)| in_use(segment) && segment.sealed && segment.counted)
        .map(|(&sequence, segment)| (cost_of_merging(shared, segment.live), sequence))
        .collect();
    sparse.sort_unstable();
    let &(least, sequence) = sparse.first()?;
    let (room, role) = index.current().unwrap_or((0, Role::Ordinary));
    let padding = if role == Role::Reserve { 0 } else { PAGE as u64 * (1 + least / shared.few_bytes()) };
    let each = shared.reserve_bytes() - u64::from(DATA);
    let both = sparse.get(1).is_some_and(|(next, _)| least + next <= each) && spares.reserves != 0;
    (least + padding <= room || both).then_some(sequence)
}

/// Octets that moving what is needed in a reserve takes: portions end on sectors.
fn cost_of_merging(shared: &Shared, live: u64) -> u64 {
    (live + (live / shared.few_bytes() + 2) * SECTOR).next_multiple_of(SECTOR)
}

/// The segment whose survivors should be copied forward.
fn victim(shared: &Shared, short: bool) -> Option<u32> {
    let index = shared.index();
    let movable = |segment: &Segment| segment.sealed && segment.counted && segment.live != 0 && !segment.stuck;
    let room = room_for_copies(shared, &index);
    let fits = |segment: &Segment| {
        let room = match segment.role {
            Role::Reserve => room.current,
            _ if segment.live <= shared.few_bytes() => room.for_few,
            _ => room.for_many,
        };
        !short || cost_of_copying(shared, segment) <= room
    };
    let candidates = || index.segments.iter().filter(|(_, segment)| movable(segment) && fits(segment));
    if let Some((&abandoned, _)) = candidates().find(|(_, segment)| segment.abandoned) {
        return Some(abandoned);
    }
    let (used, live) = index.space();
    let twice = 2 * live + shared.segment_bytes < used;
    let pressed = short && is_pressed(shared, &index);
    let worthwhile = |segment: &Segment| {
        if short && segment.role == Role::Reserve {
            return false;
        }
        // What an earlier run left part filled frees its whole file; once in each run, or this would never end.
        let left = short && segment.epoch != shared.epoch;
        let end = u64::from(if left { segment.capacity } else { segment.end });
        // What it takes is less than what it frees, or this would never end.
        let gains = cost_of_copying(shared, segment) + ROOM_FOR_UNLINKS <= end;
        twice || (short && segment.live * 4 <= end * 3 && gains) || (pressed && gains)
    };
    let emptiest = candidates()
        .filter(|(_, segment)| worthwhile(segment))
        .min_by_key(|(_, segment)| segment.live * 1000 / u64::from(segment.end.max(1)));
    emptiest.map(|(&sequence, _)| sequence)
}

/// Octets that survivors may take on a device that is full.
struct Room {
    /// In the segment that is being written.
    current: u64,
    /// For those of a segment.
    for_many: u64,
    /// For those of a segment that has only a few.
    for_few: u64,
}

fn room_for_copies(shared: &Shared, index: &Index) -> Room {
    let spares = shared.spares.count();
    let inside = |capacity: u64| capacity.saturating_sub(DATA.into());
    let headroom = spares.headroom.map_or(0, |capacity| inside(capacity.into()));
    let spared = shared.reserves(index).spare(shared.few_bytes() + PAGE as u64);
    let reserve = if FREE_RESERVES <= spares.reserves && spared { inside(shared.reserve_bytes()) } else { 0 };
    let (current, role) = index.current().unwrap_or((0, Role::Reserve));
    let for_many = if role == Role::Reserve { headroom } else { headroom.max(current) };
    Room { current, for_many, for_few: for_many.max(reserve).max(current) }
}

/// Octets that copying a segment's survivors takes at most: each portion ends on a page.
fn cost_of_copying(shared: &Shared, segment: &Segment) -> u64 {
    segment.live + (2 * segment.live / portion_bytes(shared) + 1) * PAGE as u64
}

/// Octets of survivors that are read and written at once.
fn portion_bytes(shared: &Shared) -> u64 {
    (shared.segment_bytes / 4).clamp(COPY_BYTES_MIN, COPY_BYTES_MAX)
}

/// Copies what is alive in a segment forward.
fn compact(shared: &Shared, sequence: u32, submit: &mut Submit<'_>) -> bool {
    shared.crash.pass("compact");
    let moved = move_survivors(shared, sequence, submit).and_then(|()| move_tombs(shared, sequence, submit));
    if let Err(error) = &moved {
        tracing::warn!(target: "SPOOL", "cannot move the mail of segment {sequence}: {error}");
    }
    shared.gauges.compacted.add(u64::from(moved.is_ok()));
    let transient = moved.as_ref().err().is_some_and(SpoolError::is_transient);
    let mut index = shared.index();
    let Some(segment) = index.segments.get_mut(&sequence) else { return true };
    if segment.live != 0 && !transient {
        segment.stuck = true;
    }
    moved.is_ok()
}

/// Copies the messages and bodies of a segment, in portions, so that it is never in memory as a whole.
fn move_survivors(shared: &Shared, sequence: u32, submit: &mut Submit<'_>) -> Result<(), SpoolError> {
    let alive = alive_in(shared, sequence);
    let (mut portion, mut octets) = (Vec::new(), 0);
    let reserve = shared.index().segments.get(&sequence).is_some_and(|segment| segment.role == Role::Reserve);
    let portion_max = if reserve { shared.few_bytes() } else { portion_bytes(shared) };
    for (place, what) in alive {
        if !portion.is_empty() && portion_max < octets + place.stored() {
            submit(std::mem::take(&mut portion))?;
            octets = 0;
        }
        octets += place.stored();
        portion.extend(read_survivor(shared, place, what, reserve)?);
    }
    if portion.is_empty() { Ok(()) } else { submit(portion) }
}

/// What is alive in a segment, in order. It is sealed, so that nothing can come to live in it meanwhile; what dies is noticed
/// when it would be written anew.
fn alive_in(shared: &Shared, sequence: u32) -> Vec<(Place, Alive)> {
    let (mut alive, mut from) = (Vec::new(), Some(0));
    while let Some(next) = from {
        from = shared.index().live_in(sequence, next, &mut alive);
    }
    alive.sort_unstable_by_key(|(place, _)| *place);
    alive
}

fn read_survivor(shared: &Shared, from: Place, what: Alive, reserve: bool) -> Result<Option<Copied>, SpoolError> {
    let read = match what {
        Alive::Headers(id) => shared.read_record(from, id, Kind::Headers),
        Alive::Body(_) => shared.read_record_at(from, Kind::Body),
    };
    match read {
        Ok((record, payload)) => {
            let (batch, payload) = (record.link, Bytes::from(payload));
            Ok(Some(match what {
                Alive::Headers(id) => Copied::Headers { id, batch, from, payload, reserve },
                Alive::Body(number) => Copied::Body { number, batch, from, payload, reserve },
            }))
        }
        Err(SpoolError::Damaged { id, why }) => {
            shared.report_damage(from, id, &why);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Unlink records that are still needed go forward too, or what they killed would come back.
fn move_tombs(shared: &Shared, sequence: u32, submit: &mut Submit<'_>) -> Result<(), SpoolError> {
    let (file, mark, end, reserve) = {
        let index = shared.index();
        let Some(segment) = index.segments.get(&sequence).filter(|segment| segment.live != 0) else { return Ok(()) };
        (Arc::clone(&segment.file), segment.mark, segment.end, segment.role == Role::Reserve)
    };
    let failed = |error| SpoolError::from_io("read a segment", shared.spares.directory(), error, (0, 0));
    let mut scanner = Scanner::new(file.as_ref(), mark, Some(end)).map_err(failed)?;
    let mut tombs = Vec::new();
    while let Some(found) = scanner.step().map_err(failed)? {
        let Found::Record(_, record) = found else { continue };
        let range = ((record.link >> 32) as u32, record.link as u32);
        if record.kind == Kind::Unlink && shared.index().tomb_is_needed(range, sequence) {
            tombs.push(Copied::Unlink { id: record.id, range, from: Some(sequence), reserve });
        }
    }
    // Those of a reserve go to a reserve, in small portions. Many of another segment would fill the reserves: in portions too
    // large for them they go to the headroom, as its mail does.
    let octets = if reserve { shared.few_bytes() } else { portion_bytes(shared) };
    let portion = octets as usize / HEADER;
    if scanner.met_unreadable() {
        // Those that were not found stay needed, and the segment with them.
        tracing::warn!(target: "SPOOL", "segment {sequence} cannot be read in full");
    }
    for chunk in tombs.chunks(portion.clamp(1, TOMBS_PER_COMMIT)) {
        submit(chunk.to_vec())?;
    }
    Ok(())
}

/// So many reserves are to be free at any time.
const FREE_RESERVES: usize = 2;
const SECTOR: u64 = 512;
const SPARES_KEPT: usize = 2;
/// A start reads so much in a moment.
const UNSUMMARISED_BYTES: u64 = 128 << 20;
const FILL: usize = 1 << 20;
const COPY_BYTES_MIN: u64 = 16 << 10;
const COPY_BYTES_MAX: u64 = 4 << 20;
const ROOM_FOR_UNLINKS: u64 = 2 * PAGE as u64;
const TOMBS_PER_COMMIT: usize = 4096;
