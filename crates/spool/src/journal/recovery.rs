//! Recovery: what an earlier run left, read back while new mail is already being accepted.
//!
//! Walks the old segments in order, decides what is alive, adds it to the index, and hands every message over. Runs on a
//! thread of its own, once. It writes nothing to an old segment: what it decides against is unlinked by a new record, so a
//! crash in the middle of it changes nothing.
//!
//! Live mail is handed over whatever else goes wrong: a correction that cannot be written is decided again by the next
//! recovery, and a segment that cannot be read in full stays where it is, never reclaimed, for a start that can.
//!
//! Invariant: a group that is not whole was never acknowledged if it belongs to the last commit of its epoch; none of it
//! counts. In an earlier commit, or in an epoch that cannot be read in full, it was whole once and has been damaged since;
//! what is left of it counts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::Range;

use bytes::Bytes;
use message::MessageId;

use super::inbox::Copied;
use super::index::Place;
use super::record::{Kind, Record};
use super::scan::{Found, Scanner};
use super::segment::{DATA, SegmentHeader};
use super::shared::Shared;
use super::upkeep::Submit;
use crate::error::SpoolError;

/// The old segments of a spool, still to be read.
pub struct Recovery {
    /// Their headers by sequence number, each with the end of its records if that is known.
    pub old: BTreeMap<u32, (SegmentHeader, Option<u32>)>,
}

/// What the walk has found so far.
#[derive(Default)]
struct Tally {
    messages: HashMap<u64, Candidate>,
    bodies: HashMap<u64, Place>,
    tombs: Vec<((u32, u32), u32)>,
    /// The last commit seen of each epoch; the highest number there is for one that was closed in order.
    last_commit: HashMap<u32, u64>,
    /// Groups that are not whole.
    broken: Vec<Group>,
    damage: Vec<Damage>,
    /// Segments that must stay for the next recovery, of which this one has read only part.
    kept: BTreeSet<u32>,
    /// Older messages whose id was given again: where their headers and bodies stand.
    doubles: Vec<(u64, Place, Option<Place>)>,
}

struct Candidate {
    headers: Place,
    batch: u64,
    first: u32,
}

#[derive(Clone, Default)]
struct Group {
    epoch: u32,
    commit: u64,
    segment: u32,
    start: u32,
    seen: u32,
    size: u32,
    ids: Vec<u64>,
}

struct Damage {
    epoch: u32,
    segment: u32,
    range: Range<u32>,
    /// It was written by this commit or an earlier one.
    commit: u64,
}

impl Recovery {
    /// Reads everything and hands the encoded headers of each live message to `each`. Corrections go out through `submit`.
    pub fn run(self, shared: &Shared, submit: &mut Submit<'_>, each: &mut dyn FnMut(MessageId, Vec<u8>)) {
        shared.gauges.recovery_total.set(self.old.len() as u64);
        let mut tally = Tally::default();
        for (&sequence, (header, end)) in &self.old {
            if let Some(why) = self.walk(shared, sequence, header, *end, &mut tally) {
                shared.gauges.damaged.add(1);
                tracing::error!(target: "SPOOL", "segment {sequence} cannot be read in full: {why}; kept for the next start, everything else is recovered");
                tally.unreadable(sequence, header.epoch);
            }
            shared.gauges.recovery_done.add(1);
        }
        tally.report(shared);
        let corrections = tally.settle(shared);
        let mut evidence = self.evidence(&corrections);
        evidence.retain(|sequence| !tally.kept.contains(sequence));
        let counted = self.old.keys().copied().filter(|sequence| !tally.kept.contains(sequence));
        let counted = counted.filter(|sequence| !evidence.contains(sequence)).collect();
        let recovered = tally.index(shared);
        count(shared, &counted);
        for id in recovered {
            match shared.fetch_headers(id) {
                Ok(encoded) => each(MessageId::from_bits(id), encoded),
                // Unlinked meanwhile: nobody's loss.
                Err(SpoolError::Missing { .. }) => {}
                Err(error) => tracing::error!(target: "SPOOL", "left in the spool, not delivered: {error}"),
            }
            shared.gauges.handed_over.add(1);
        }
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

    /// Reads one segment into the tally; why not all of it, if so.
    fn walk(
        &self,
        shared: &Shared,
        sequence: u32,
        header: &SegmentHeader,
        end: Option<u32>,
        tally: &mut Tally,
    ) -> Option<io::Error> {
        let file = shared.index().segments.get(&sequence).map(|segment| std::sync::Arc::clone(&segment.file))?;
        let mut scanner = match Scanner::new(file.as_ref(), header.mark, end) {
            Ok(scanner) => scanner,
            Err(error) => return Some(error),
        };
        let mut group = Group::default();
        let (mut reached, first_damage) = (DATA, tally.damage.len());
        let failure = loop {
            let found = match scanner.step() {
                Ok(Some(found)) => found,
                Ok(None) => break scanner.met_unreadable().then(|| io::Error::other("unreadable pages")),
                Err(error) => break Some(error),
            };
            match found {
                Found::Record(offset, record) => {
                    reached = record.ends_commit.next(u64::from(offset) + record.stored() as u64) as u32;
                    let place = Place { segment: sequence, offset, payload: record.payload };
                    tally.take(header.epoch, place, &record, &mut group);
                    tally.bound_damage(first_damage, record.commit);
                }
                Found::Damage(range, record) => {
                    let commit = record.map_or(u64::MAX, |record| record.commit);
                    tally.damage.push(Damage { epoch: header.epoch, segment: sequence, range, commit });
                }
            }
        };
        tally.end_group(&mut group);
        if failure.is_none()
            && let Some(segment) = shared.index().segments.get_mut(&sequence)
        {
            segment.end = end.unwrap_or(reached);
        }
        failure
    }
}

impl Tally {
    fn take(&mut self, epoch: u32, place: Place, record: &Record, group: &mut Group) {
        let last = self.last_commit.entry(epoch).or_default();
        *last = record.commit.max(*last);
        if group.segment != place.segment || group.start != record.group_start {
            self.end_group(group);
            let (segment, start, size) = (place.segment, record.group_start, record.group_size);
            *group = Group { epoch, commit: record.commit, segment, start, seen: 0, size, ids: Vec::new() };
        }
        group.seen += 1;
        match record.kind {
            Kind::Body => {
                self.bodies.insert(record.id, place);
            }
            Kind::Headers => {
                group.ids.push(record.id);
                let candidate = Candidate { headers: place, batch: record.link, first: place.segment };
                match self.messages.get_mut(&record.id) {
                    Some(found) if found.batch == record.link => found.headers = place,
                    _ => {
                        let former = self.messages.insert(record.id, candidate);
                        let double =
                            former.map(|found| (record.id, found.headers, self.bodies.get(&found.batch).copied()));
                        self.doubles.extend(double);
                    }
                }
            }
            Kind::Unlink => {
                self.messages.remove(&record.id);
                self.tombs.push((((record.link >> 32) as u32, record.link as u32), place.segment));
            }
            // Written only when everything before was synced: whatever is broken was whole once.
            Kind::Close => *self.last_commit.entry(epoch).or_default() = u64::MAX,
        }
    }

    /// Of that segment only part was read: nothing is known about the end of its epoch, and it must stay.
    fn unreadable(&mut self, sequence: u32, epoch: u32) {
        self.last_commit.insert(epoch, u64::MAX);
        self.kept.insert(sequence);
    }

    fn end_group(&mut self, group: &mut Group) {
        let group = std::mem::take(group);
        if group.seen < group.size {
            self.broken.push(group);
        }
    }

    /// A good record of `commit` follows the damage found since `from`.
    fn bound_damage(&mut self, from: usize, commit: u64) {
        for damage in self.damage[from..].iter_mut().rev().take_while(|damage| damage.commit == u64::MAX) {
            damage.commit = commit;
        }
    }

    /// Sets aside what could not be read, and says so.
    fn report(&self, shared: &Shared) {
        for damage in &self.damage {
            let last = self.last_commit.get(&damage.epoch).copied().unwrap_or(0);
            let (segment, range) = (damage.segment, damage.range.clone());
            let aside = shared.set_aside(segment, range.clone());
            if last <= damage.commit {
                tracing::warn!(target: "SPOOL", "segment {segment}: bytes {range:?} were being written when the last run ended; not acknowledged, dropped; copy in {}", aside.display());
            } else {
                shared.gauges.damaged.add(1);
                tracing::error!(target: "SPOOL", "segment {segment}: bytes {range:?} are damaged; set aside in {}, everything else is kept", aside.display());
            }
        }
    }

    /// Decides about broken groups and lost bodies. What is decided against is unlinked, what is left of a damaged group
    /// is written anew, so that the next recovery need not decide again.
    fn settle(&mut self, shared: &Shared) -> Vec<Copied> {
        let mut corrections = Vec::new();
        for group in std::mem::take(&mut self.broken) {
            let torn = self.last_commit.get(&group.epoch).is_none_or(|&last| last <= group.commit);
            for &id in &group.ids {
                let stands_here =
                    |found: &&Candidate| found.headers.segment == group.segment && group.start <= found.headers.offset;
                let Some(found) = self.messages.get(&id).filter(stands_here) else { continue };
                if torn {
                    self.messages.remove(&id);
                    corrections.push(Copied::Unlink {
                        id,
                        range: (group.segment, group.segment),
                        from: None,
                        reserve: true,
                    });
                } else if let Ok((_, payload)) = shared.read_record(found.headers, id, Kind::Headers) {
                    let (batch, from) = (found.batch, found.headers);
                    corrections.push(Copied::Headers { id, batch, from, payload: Bytes::from(payload) });
                }
            }
        }
        let bodies = &self.bodies;
        let lost = self.messages.extract_if(|_, found| !bodies.contains_key(&found.batch));
        for (id, found) in lost {
            shared.gauges.damaged.add(1);
            if !self.kept.is_empty() {
                // Its body may stand where nothing could be read.
                self.kept.insert(found.headers.segment);
            }
            let from = found.headers.offset;
            let aside = shared.set_aside(found.headers.segment, from..from + found.headers.stored() as u32);
            let id = MessageId::from_bits(id);
            tracing::error!(target: "SPOOL", "message {id}: its body is damaged and cannot be delivered; envelope set aside in {}", aside.display());
        }
        corrections
    }

    /// Adds what is alive to the index; the ids in the order they stand on disk. A message whose id this run has given
    /// again is set aside: never its envelope with the other's body.
    fn index(mut self, shared: &Shared) -> Vec<u64> {
        let mut alive: Vec<(u64, Candidate)> = self.messages.drain().collect();
        alive.sort_unstable_by_key(|(_, found)| found.headers);
        let mut numbers: HashMap<u64, u32> = HashMap::new();
        let mut recovered = Vec::with_capacity(alive.len());
        for chunk in alive.chunks(CHUNK) {
            let mut index = shared.index();
            for (id, found) in chunk {
                let Some(&place) = self.bodies.get(&found.batch) else { continue };
                if index.contains(*id) {
                    self.doubles.push((*id, found.headers, Some(place)));
                    continue;
                }
                let body = *numbers.entry(found.batch).or_insert_with(|| index.add_body(place));
                index.add_message(*id, found.headers, found.first, body);
                recovered.push(*id);
            }
        }
        report_doubles(shared, &self.doubles);
        let mut index = shared.index();
        for (range, segment) in self.tombs {
            index.add_tomb(range, segment);
        }
        drop(index);
        shared.gauges.recovered.set(recovered.len() as u64);
        recovered
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

/// Sets messages aside whose id belongs to a newer one.
fn report_doubles(shared: &Shared, doubles: &[(u64, Place, Option<Place>)]) {
    for &(id, headers, body) in doubles {
        shared.gauges.damaged.add(1);
        let aside = |place: Place| shared.set_aside(place.segment, place.offset..place.offset + place.stored() as u32);
        let envelope = aside(headers);
        body.map(aside);
        let id = MessageId::from_bits(id);
        tracing::error!(target: "SPOOL", "message {id}: a newer message has the same id; the older is not delivered, set aside in {}", envelope.display());
    }
}

/// Messages per hold of the index lock, and records per correcting commit.
const CHUNK: usize = 1000;
