//! Recovery: what an earlier run left, read back while new mail is already being accepted.
//!
//! Reads the old segments in order, by their summaries where there are good ones, adds what is alive to the index, and hands
//! every message over. Runs on a thread of its own, once. It changes nothing in an old segment: what it decides against is
//! unlinked by a new record, so a crash in the middle of it changes nothing.
//!
//! Live mail is handed over whatever else goes wrong: a correction that cannot be written is decided again by the next
//! recovery, and a segment that cannot be read in full stays where it is, never reclaimed, for a start that can.
//!
//! Checksums: segments without a summary are verified in full, bodies included. Upkeep leaves only a few of those, the newest,
//! so this is bounded, and the last commit of a run, the only one that can be torn, is always among them. Summarised
//! segments were verified when the summary was written; a record of theirs is verified again whenever it is read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use message::MessageId;

use super::handover::hand_over;
use super::inbox::Copied;
use super::index::{Place, Summarised};
use super::reached::Reached;
use super::record::Kind;
use super::scan::{Found, Scanner};
use super::segment::{DATA, SegmentHeader, Use};
use super::shared::Shared;
use super::sorting::Head;
use super::summary::Summary;
use super::tally::{Correction, Damage, Decided, SYNCED, Standing, Tally};
use super::upkeep::Submit;
use crate::disk::DiskFile;

/// The old segments of a spool, still to be read.
pub struct Recovery {
    /// Their headers by sequence number, each with the end of its records if that is known.
    pub old: BTreeMap<u32, (SegmentHeader, Option<u32>)>,
    /// What the last run noted of itself.
    pub reached: Option<Reached>,
    /// What stands in the place of a header that is gone.
    pub heads: Vec<Head>,
}

impl Recovery {
    /// Reads everything and hands the encoded headers of each live message to `each`. Corrections go out through `submit`.
    /// False if the device did not let what was found be made durable: then nothing is reclaimed before the next start.
    pub fn run(self, shared: &Shared, submit: &mut Submit<'_>, each: &mut dyn FnMut(MessageId, Vec<u8>)) -> bool {
        shared.gauges.recovery_total.set(self.old.len() as u64);
        self.report_heads(shared);
        let mut decided = self.read(shared).decide();
        let durable = self.make_durable(shared);
        decided.damage.iter().for_each(|damage| report_damage(shared, damage));
        decided.lost.iter().for_each(|lost| report_lost(shared, lost));
        let corrections = corrections(shared, &decided.corrections);
        let kept = if durable { std::mem::take(&mut decided.kept) } else { self.old.keys().copied().collect() };
        let mut evidence = self.evidence(&corrections);
        evidence.retain(|sequence| !kept.contains(sequence));
        let counted = self.old.keys().filter(|sequence| !kept.contains(sequence) && !evidence.contains(sequence));
        let counted = counted.copied().collect();
        let alive = std::mem::take(&mut decided.alive);
        shared.gauges.recovered.set(alive.len() as u64);
        let mut indexing = Indexing::of(&mut decided);
        // Some at once: deliveries begin while the rest is being put in order.
        let first = alive.len().min(FIRST);
        let at_once = indexing.add(shared, &mut decided, &alive[..first]);
        indexing.hold(shared);
        hand_over(shared, &at_once, each);
        let rest = indexing.add(shared, &mut decided, &alive[first..]);
        indexing.release(shared);
        drop(alive);
        shared.gauges.recovered.set((at_once.len() + rest.len()) as u64);
        drop(at_once);
        report_doubles(shared, &indexing.doubles);
        add_tombs(shared, decided);
        count(shared, &counted);
        shared.gauges.index_complete.set(1);
        hand_over(shared, &rest, each);
        let mut written = true;
        for chunk in corrections.chunks(CHUNK) {
            if let Err(error) = submit(chunk.to_vec()) {
                tracing::error!(target: "SPOOL", "what recovery decided is not written, the next will decide it again: {error}");
                written = false;
            }
        }
        if written {
            count(shared, &evidence);
        }
        shared.crash.pass("recovered");
        durable
    }

    /// What a killed run wrote and did not sync is seen by this run, in the page cache, and lost when power is. Nothing may
    /// rest on it before it is durable: it may hold the only copy of what stood in a segment that is now dead. Only the last
    /// commit of a segment whose end nobody knows can be such, and the page before it; both are written once more as they
    /// are, because after a sync that failed another one alone does nothing.
    fn make_durable(&self, shared: &Shared) -> bool {
        let open_ended = self.old.iter().filter(|(_, (_, end))| end.is_none());
        open_ended.fold(true, |durable, (&sequence, (header, _))| match rewrite_last_commit(shared, sequence, header) {
            Ok(()) => durable,
            Err(error) => {
                tracing::error!(target: "SPOOL", "segment {sequence}: what the last run wrote cannot be made durable: {error}; nothing is reclaimed before the next start");
                false
            }
        })
    }

    /// Sets aside what stands in the place of a segment's header, says so, and writes the header anew from what is known.
    fn report_heads(&self, shared: &Shared) {
        for head in &self.heads {
            let Some((sequence, (header, _))) = head.sequence.and_then(|found| self.old.get_key_value(&found)) else {
                continue;
            };
            shared.gauges.damaged.add(1);
            let aside = shared.set_aside(*sequence, 0..DATA);
            let path = shared.spares.path(head.slot);
            tracing::error!(target: "SPOOL", "segment {sequence}: bytes {:?} of {} are damaged: {} in the place of its header; set aside in {}; what it is was known from {}, what else is in it is kept", 0..DATA, path.display(), head.what, aside.display(), head.known_from);
            let file = shared.index().segments.get(sequence).map(|found| Arc::clone(&found.file));
            let written = file.map_or(Ok(()), |file| {
                file.write_all(&mut [IoSlice::new(&header.page())], 0).and_then(|()| file.fdatasync())
            });
            if let Err(error) = written {
                tracing::warn!(target: "SPOOL", "{}: its header cannot be written anew: {error}", path.display());
            }
        }
    }

    fn read(&self, shared: &Shared) -> Tally {
        let mut tally = Tally::default();
        if let Some(Reached { of, commit, closed, .. }) = self.reached {
            tally.synced(of.epoch, commit, closed);
        }
        for (&sequence, (header, end)) in &self.old {
            if !summarised(shared, sequence, header, *end, &mut tally)
                && let Some(why) = walk(shared, sequence, header, self.certainty(sequence, *end), &mut tally)
            {
                shared.gauges.damaged.add(1);
                tracing::error!(target: "SPOOL", "segment {sequence} cannot be read in full: {why}; kept for the next start, everything else is recovered");
                tally.unreadable(sequence, header.epoch);
            }
            shared.gauges.recovery_done.add(1);
        }
        tally
    }

    fn certainty(&self, sequence: u32, end: Option<u32>) -> Certainty {
        Certainty::of(sequence, end, self.reached.as_ref())
    }

    /// The segments that must stay until the corrections are written: that a damaged group was whole once is known from
    /// later commits of its epoch.
    fn evidence(&self, corrections: &[Copied]) -> BTreeSet<u32> {
        let damaged = corrections.iter().filter_map(|copy| match copy {
            Copied::Headers { from, .. } => self.old.get(&from.segment),
            _ => None,
        });
        let epochs: BTreeSet<u32> = damaged.map(|(header, _)| header.epoch).collect();
        let of_epochs = self.old.iter().filter(|(_, (header, _))| epochs.contains(&header.epoch));
        of_epochs.map(|(&sequence, _)| sequence).collect()
    }
}

/// Takes a segment from its summary, if there is a good one. A known end counts more than what a summary says.
fn summarised(shared: &Shared, sequence: u32, header: &SegmentHeader, end: Option<u32>, tally: &mut Tally) -> bool {
    let slot = match shared.index().segments.get(&sequence) {
        Some(segment) if segment.summarised == Summarised::Yes && !segment.abandoned => segment.slot,
        _ => return false,
    };
    let path = shared.spares.summary_path(slot);
    let summary = Summary::read(shared.disk().as_ref(), &path, sequence, header.mark);
    if summary.is_none() && Summary::is_damaged(shared.disk().as_ref(), &path, header.mark) {
        shared.gauges.damaged.add(1);
        tracing::error!(target: "SPOOL", "{} is damaged; segment {sequence} is read instead, nothing is lost by it", path.display());
    }
    let good = summary.filter(|summary| end.is_none_or(|end| end == summary.end));
    let mut index = shared.index();
    let Some(segment) = index.segments.get_mut(&sequence) else { return false };
    match &good {
        Some(summary) => segment.end = summary.end,
        None => segment.summarised = Summarised::No,
    }
    drop(index);
    if let Some(summary) = &good {
        tally.take_summary(header.epoch, sequence, summary);
        shared.gauges.summaries_read.add(1);
    }
    good.is_some()
}

/// What is known of where a segment's records end.
#[derive(Clone, Copy)]
pub(super) struct Certainty {
    /// They end there.
    pub end: Option<u32>,
    /// Up to there everything had been synced.
    pub synced: u32,
}

impl Certainty {
    /// From what other segments and the last run's note say.
    pub fn of(sequence: u32, end: Option<u32>, reached: Option<&Reached>) -> Self {
        let noted = reached.map_or(0, |reached| reached.synced_in(sequence));
        // What stands before an end that a later segment names had been synced.
        Self { end, synced: end.unwrap_or(noted) }
    }

    /// A scanner of that segment.
    pub fn scanner<'a>(&self, file: &'a dyn DiskFile, mark: u64) -> io::Result<Scanner<'a>> {
        Ok(Scanner::new(file, mark, self.end)?.certain_to(self.synced))
    }
}

/// Reads one segment into the tally; why not all of it, if so.
fn walk(
    shared: &Shared,
    sequence: u32,
    header: &SegmentHeader,
    certainty: Certainty,
    tally: &mut Tally,
) -> Option<io::Error> {
    let file = shared.index().segments.get(&sequence).map(|segment| Arc::clone(&segment.file))?;
    let mut reached = DATA;
    let failure = match certainty.scanner(file.as_ref(), header.mark) {
        Ok(scanner) => scan_into(tally, scanner, certainty, header.use_of(0), &mut reached),
        Err(error) => Some(error),
    };
    let reached = reached.max(certainty.synced);
    if failure.is_none()
        && let Some(segment) = shared.index().segments.get_mut(&sequence)
    {
        segment.end = certainty.end.unwrap_or(reached);
    }
    failure
}

/// Writes the first page and the last commit of a segment again, octet for octet, and syncs.
fn rewrite_last_commit(shared: &Shared, sequence: u32, header: &SegmentHeader) -> io::Result<()> {
    let found = shared.index().segments.get(&sequence).map(|segment| (Arc::clone(&segment.file), segment.end));
    let Some((file, end)) = found else { return Ok(()) };
    let mut scanner = Scanner::new(file.as_ref(), header.mark, Some(end))?.headers_only();
    let (mut commit, mut start) = (0, DATA);
    while let Some(found) = scanner.step()? {
        if let Found::Record(offset, record) = found
            && record.commit != commit
        {
            (commit, start) = (record.commit, offset);
        }
    }
    for range in [0..DATA, start..end] {
        let mut octets = vec![0; range.len()];
        let read = file.read_full(&mut octets, range.start.into())?;
        if read != 0 {
            file.write_all(&mut [IoSlice::new(&octets[..read])], range.start.into())?;
        }
    }
    file.fdatasync()
}

/// Takes what a scanner finds; `reached` becomes the end of the last record. Why not all could be read, if so.
pub(super) fn scan_into(
    tally: &mut Tally,
    mut scanner: Scanner<'_>,
    certainty: Certainty,
    of: Use,
    reached: &mut u32,
) -> Option<io::Error> {
    let first_damage = tally.damages();
    let mut last = 0;
    loop {
        match scanner.step() {
            Ok(Some(Found::Record(offset, record))) => {
                last = record.commit.max(last);
                *reached = record.ends_commit.next(u64::from(offset) + record.stored() as u64) as u32;
                let place = Place { segment: of.sequence, offset, payload: record.payload };
                tally.take(of.epoch, place, &record);
                tally.bound_damage(first_damage, record.commit);
            }
            Ok(Some(Found::Damage(range, record))) => {
                let commit = match record {
                    _ if range.start < certainty.synced => SYNCED,
                    record => record.map_or(u64::MAX, |record| record.commit),
                };
                tally.damaged(of.epoch, of.sequence, range, commit);
            }
            Ok(None) if certainty.end.is_some() && last != 0 && !scanner.met_unreadable() => {
                tally.synced(of.epoch, last, false);
                return None;
            }
            Ok(None) => return scanner.met_unreadable().then(|| io::Error::other("unreadable pages")),
            Err(error) => return Some(error),
        }
    }
}

/// Corrections as records: what is decided against is unlinked, what is left of a damaged group is written anew, so that the
/// next recovery need not decide again.
fn corrections(shared: &Shared, decided: &[Correction]) -> Vec<Copied> {
    let copied = |correction: &Correction| match *correction {
        Correction::Torn(Standing { id, headers, .. }) => {
            Some(Copied::Unlink { id, range: (headers.segment, headers.segment), from: None, reserve: false })
        }
        Correction::Left(Standing { id, batch, headers: from, .. }) => {
            let (_, payload) = shared.read_record(from, id, Kind::Headers).ok()?;
            Some(Copied::Headers { id, batch, from, payload: Bytes::from(payload), reserve: false })
        }
    };
    decided.iter().filter_map(copied).collect()
}

/// Adds what is alive to the index, piece by piece.
struct Indexing {
    /// The numbers of bodies in the index, by their place in the order of batches.
    numbers: Vec<u32>,
    doubles: Vec<(u64, Place, Option<Place>)>,
    /// Bodies kept for siblings that are still to be added.
    held: Vec<u32>,
}

impl Indexing {
    fn of(decided: &mut Decided) -> Self {
        let numbers = vec![UNNUMBERED; decided.bodies.len()];
        Self { numbers, doubles: std::mem::take(&mut decided.doubles), held: Vec::new() }
    }

    /// Whoever is handed over may be delivered before its siblings are added: the bodies added so far must stay.
    fn hold(&mut self, shared: &Shared) {
        self.held = self.numbers.iter().copied().filter(|&number| number != UNNUMBERED).collect();
        let mut index = shared.index();
        self.held.iter().for_each(|&body| index.hold_body(body));
    }

    fn release(&mut self, shared: &Shared) {
        let mut index = shared.index();
        self.held.drain(..).for_each(|body| index.release_body(body));
    }

    /// Those that were added. A message whose id this run has given again is not: never its envelope with the other's body.
    fn add(&mut self, shared: &Shared, decided: &mut Decided, alive: &[Standing]) -> Vec<Standing> {
        let mut added = Vec::with_capacity(alive.len());
        for chunk in alive.chunks(CHUNK) {
            let mut index = shared.index();
            for found in chunk {
                let Some((position, place)) = decided.bodies.find(found.batch) else { continue };
                if index.contains(found.id) {
                    self.doubles.push((found.id, found.headers, Some(place)));
                    continue;
                }
                let number = &mut self.numbers[position];
                if *number == UNNUMBERED {
                    *number = index.add_body(place);
                }
                index.add_message(found.id, found.headers, found.first, *number);
                added.push(*found);
            }
        }
        added
    }
}

fn add_tombs(shared: &Shared, decided: Decided) {
    let mut index = shared.index();
    for ((range, segment), count) in decided.tombs {
        index.add_tombs(range, segment, count);
    }
}

/// From now on upkeep may reclaim these segments.
fn count(shared: &Shared, segments: &BTreeSet<u32>) {
    let mut index = shared.index();
    for sequence in segments {
        if let Some(segment) = index.segments.get_mut(sequence) {
            segment.counted = true;
        }
    }
    drop(index);
    shared.kick();
}

/// Sets aside what could not be read, and says so.
fn report_damage(shared: &Shared, damage: &Damage) {
    let (segment, range) = (damage.segment, damage.range.clone());
    let aside = shared.set_aside(segment, range.clone());
    if damage.torn {
        tracing::warn!(target: "SPOOL", "segment {segment}: bytes {range:?} were being written when the last run ended; not acknowledged, dropped; copy in {}", aside.display());
    } else {
        shared.gauges.damaged.add(1);
        tracing::error!(target: "SPOOL", "segment {segment}: bytes {range:?} are damaged; set aside in {}, everything else is kept", aside.display());
    }
}

/// Sets the envelope of a message aside whose body is not there.
fn report_lost(shared: &Shared, lost: &Standing) {
    shared.gauges.damaged.add(1);
    let aside = set_aside(shared, lost.headers);
    let id = MessageId::from_bits(lost.id);
    tracing::error!(target: "SPOOL", "message {id}: its body is damaged and cannot be delivered; envelope set aside in {}", aside.display());
}

/// Sets messages aside whose id belongs to a newer one.
fn report_doubles(shared: &Shared, doubles: &[(u64, Place, Option<Place>)]) {
    for &(id, headers, body) in doubles {
        shared.gauges.damaged.add(1);
        let envelope = set_aside(shared, headers);
        body.map(|body| set_aside(shared, body));
        let id = MessageId::from_bits(id);
        tracing::error!(target: "SPOOL", "message {id}: a newer message has the same id; the older is not delivered, set aside in {}", envelope.display());
    }
}

fn set_aside(shared: &Shared, place: Place) -> std::path::PathBuf {
    shared.set_aside(place.segment, place.offset..place.offset + place.stored() as u32)
}

/// Messages per hold of the index lock, and records per correcting commit.
const CHUNK: usize = 1000;
/// Messages handed over before the rest is put in order.
const FIRST: usize = 500;
const UNNUMBERED: u32 = u32::MAX;
