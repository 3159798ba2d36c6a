//! Upkeep: dead segments become spares, spares are prepared in advance, and the survivors of mostly dead segments are
//! copied forward, so that the journal takes at most twice what is alive plus one segment (and its spares).
//!
//! Runs on a thread of its own and may block; the commit path never waits for it. Tests drive it directly.
//!
//! Invariants: a segment is scrubbed only when nothing in it is needed and a later segment's header is on disk, because the
//! newest header says which segments were abandoned. Unlink records are kept until what they kill is scrubbed.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;

use super::inbox::Copied;
use super::index::{Alive, Place, Segment};
use super::record::{Kind, PAGE};
use super::scan::{Found, Scanner};
use super::shared::Shared;
use super::spares::Spare;
use crate::error::SpoolError;

/// Hands records to the committer and waits until they are durable.
pub type Submit<'a> = dyn FnMut(Vec<Copied>) -> Result<(), SpoolError> + 'a;

/// Does the most pressing piece of work. False when there is none, or none that can be done now.
pub(super) fn step(shared: &Shared, submit: &mut Submit<'_>) -> bool {
    if let Some((sequence, spare)) = dead_segment(shared) {
        recycle(shared, sequence, spare);
        return true;
    }
    if let Some((size, reserve)) = wanted_spare(shared) {
        match prepare(shared, size) {
            Ok(spare) if reserve => drop_surplus(shared, shared.spares.put_reserve(spare)),
            Ok(spare) => shared.spares.put(spare),
            Err(error) => {
                tracing::warn!(target: "SPOOL", "cannot prepare a segment of {size} bytes: {error}");
                return false;
            }
        }
        return true;
    }
    match victim(shared) {
        Some(sequence) => compact(shared, sequence, submit),
        None => false,
    }
}

/// A segment of which nothing is needed.
fn dead_segment(shared: &Shared) -> Option<(u32, Spare)> {
    let index = shared.index();
    let newest = index.segments.iter().rev().find(|(_, segment)| segment.durable).map(|(&sequence, _)| sequence)?;
    let dead = |segment: &Segment| segment.sealed && segment.counted && segment.live == 0;
    let (&sequence, segment) = index.segments.range(..newest).find(|(_, segment)| dead(segment))?;
    let spare = Spare { slot: segment.slot, file: Arc::clone(&segment.file), capacity: segment.capacity };
    Some((sequence, spare))
}

/// Scrubs a dead segment, so that nothing of it can be found again, and keeps the file if it is of use.
fn recycle(shared: &Shared, sequence: u32, spare: Spare) {
    shared.crash.pass("recycle");
    let scrubbed = scrub(&spare);
    let usable = match &scrubbed {
        Ok(()) => keep(shared, &spare),
        Err(error) => {
            tracing::warn!(target: "SPOOL", "cannot scrub segment {sequence}: {error}; removing its file");
            false
        }
    };
    let removed = if usable { Ok(()) } else { shared.spares.remove(spare.slot) };
    if scrubbed.is_err() && removed.is_err() {
        // Neither scrubbed nor removed: its records may come back, so what kills them must stay.
        if let Some(segment) = shared.index().segments.get_mut(&sequence) {
            segment.counted = false;
        }
        return;
    }
    shared.index().gone(sequence);
    shared.gauges.recycled.add(1);
    if usable {
        let reserve = u64::from(spare.capacity) < shared.segment_bytes;
        if reserve { drop_surplus(shared, shared.spares.put_reserve(spare)) } else { shared.spares.put(spare) }
    }
}

fn scrub(spare: &Spare) -> io::Result<()> {
    spare.file.write_all(&mut [IoSlice::new(&[0; PAGE])], 0)?;
    spare.file.fdatasync()
}

/// A file is kept if it is written through to its capacity and another spare is wanted.
fn keep(shared: &Shared, spare: &Spare) -> bool {
    let whole = spare.file.len().is_ok_and(|length| u64::from(spare.capacity) <= length);
    let (ordinary, reserve) = shared.spares.count();
    let size = u64::from(spare.capacity);
    let ordinary_wanted = size == shared.segment_bytes && ordinary < SPARES_KEPT;
    let reserve_wanted = size == shared.reserve_bytes() && !reserve;
    whole && (ordinary_wanted || reserve_wanted)
}

fn drop_surplus(shared: &Shared, surplus: Option<Spare>) {
    if let Some(spare) = surplus
        && let Err(error) = shared.spares.remove(spare.slot)
    {
        tracing::warn!(target: "SPOOL", "cannot remove a spare segment: {error}");
    }
}

/// The size of a spare that should be prepared now, and whether it is the reserve.
fn wanted_spare(shared: &Shared) -> Option<(u64, bool)> {
    let (ordinary, reserve) = shared.spares.count();
    let free = shared.free_bytes();
    if !reserve && shared.reserve_bytes() + shared.margin() <= free {
        return Some((shared.reserve_bytes(), true));
    }
    // An idle daemon prepares nothing.
    let in_use = shared.segment_bytes <= 8 * shared.index().space().0;
    let room = shared.segment_bytes + shared.margin() <= free;
    (in_use && ordinary == 0 && room).then_some((shared.segment_bytes, false))
}

/// A file filled with zeros, so that later commits change no file system structure.
fn prepare(shared: &Shared, size: u64) -> io::Result<Spare> {
    shared.crash.pass("prewrite");
    let spare = shared.spares.create(u32::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?)?;
    match fill(&spare, size) {
        Ok(()) => Ok(spare),
        Err(error) => {
            let _ = shared.spares.remove(spare.slot);
            Err(error)
        }
    }
}

fn fill(spare: &Spare, size: u64) -> io::Result<()> {
    let zeros = vec![0; FILL.min(size as usize)];
    let mut at = 0;
    while at < size {
        let piece = &zeros[..zeros.len().min((size - at) as usize)];
        spare.file.write_all(&mut [IoSlice::new(piece)], at)?;
        at += piece.len() as u64;
        // In small doses, so that commits need not queue behind a large one.
        spare.file.fdatasync()?;
    }
    Ok(())
}

/// The segment whose survivors should be copied forward.
fn victim(shared: &Shared) -> Option<u32> {
    let index = shared.index();
    let movable = |segment: &Segment| segment.sealed && segment.counted && segment.live != 0 && !segment.stuck;
    let candidates = || index.segments.iter().filter(|(_, segment)| movable(segment));
    if let Some((&abandoned, _)) = candidates().find(|(_, segment)| segment.abandoned) {
        return Some(abandoned);
    }
    let (used, live) = index.space();
    if used <= 2 * live + shared.segment_bytes {
        return None;
    }
    let emptiest = candidates().min_by_key(|(_, segment)| segment.live * 1000 / u64::from(segment.end.max(1)));
    emptiest.map(|(&sequence, _)| sequence)
}

/// Copies what is alive in a segment forward.
fn compact(shared: &Shared, sequence: u32, submit: &mut Submit<'_>) -> bool {
    shared.crash.pass("compact");
    let moved = survivors(shared, sequence).and_then(|alive| {
        for chunk in alive {
            submit(chunk)?;
        }
        move_tombs(shared, sequence, submit)
    });
    if let Err(error) = &moved {
        tracing::warn!(target: "SPOOL", "cannot move the mail of segment {sequence}: {error}");
    }
    shared.gauges.compacted.add(1);
    let transient = moved.as_ref().err().is_some_and(SpoolError::is_transient);
    let mut index = shared.index();
    let Some(segment) = index.segments.get_mut(&sequence) else { return true };
    if segment.live != 0 && !transient {
        segment.stuck = true;
    }
    moved.is_ok()
}

/// What is alive in a segment, read back in portions.
fn survivors(shared: &Shared, sequence: u32) -> Result<Vec<Vec<Copied>>, SpoolError> {
    let alive = shared.index().live_in(sequence);
    let mut chunks = Vec::new();
    let mut octets = 0;
    for (place, what) in alive {
        let Some(copied) = read_survivor(shared, place, what)? else { continue };
        if chunks.is_empty() || COPY_BYTES < octets + place.stored() {
            chunks.push(Vec::new());
            octets = 0;
        }
        octets += place.stored();
        chunks.last_mut().into_iter().for_each(|chunk| chunk.push(copied.clone()));
    }
    Ok(chunks)
}

fn read_survivor(shared: &Shared, from: Place, what: Alive) -> Result<Option<Copied>, SpoolError> {
    let read = match what {
        Alive::Headers(id) => shared.read_record(from, id, Kind::Headers),
        Alive::Body(_) => shared.read_record_at(from, Kind::Body),
    };
    match read {
        Ok((record, payload)) => {
            let (batch, payload) = (record.link, Bytes::from(payload));
            Ok(Some(match what {
                Alive::Headers(id) => Copied::Headers { id, batch, from, payload },
                Alive::Body(number) => Copied::Body { number, batch, from, payload },
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
    let (file, mark, end) = {
        let index = shared.index();
        let Some(segment) = index.segments.get(&sequence).filter(|segment| segment.live != 0) else { return Ok(()) };
        (Arc::clone(&segment.file), segment.mark, segment.end)
    };
    let failed = |error| SpoolError::from_io("read a segment", shared.spares.directory(), error, (0, 0));
    let mut scanner = Scanner::new(file.as_ref(), mark, Some(end)).map_err(failed)?;
    let mut tombs = Vec::new();
    while let Some(found) = scanner.step().map_err(failed)? {
        let Found::Record(_, record) = found else { continue };
        let range = ((record.link >> 32) as u32, record.link as u32);
        if record.kind == Kind::Unlink && shared.index().tomb_is_needed(range, sequence) {
            tombs.push(Copied::Unlink { id: record.id, range, from: Some(sequence) });
        }
    }
    for chunk in tombs.chunks(TOMBS_PER_COMMIT) {
        submit(chunk.to_vec())?;
    }
    Ok(())
}

const SPARES_KEPT: usize = 2;
const FILL: usize = 1 << 20;
const COPY_BYTES: u64 = 1 << 20;
const TOMBS_PER_COMMIT: usize = 4096;
