//! The index: which messages are alive, where their records stand, and what each segment is still good for.
//!
//! Held in memory under one short lock. Only the committer changes what is alive, after the sync that made it so; recovery
//! adds what an earlier run left; upkeep takes segments out that are gone from disk. A message with one recipient takes 52
//! octets in two slabs and 6 to 12 in the hash table.
//!
//! Invariant: `live` of a segment is the sum of its records that a live message needs, plus its unlink records whose
//! target may still stand in an older segment. A segment may be reused when that is zero.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hashbrown::HashTable;
use message::MessageId;
use smallvec::SmallVec;

use super::record;
use super::segment::{Cut, ENDS_MAX, Use};
use super::slab::Slab;
use super::spares::Role;
use crate::disk::DiskFile;

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The segment's sequence number.
    pub segment: u32,
    /// The offset of the record's header.
    pub offset: u32,
    /// Octets of payload.
    pub payload: u32,
}

impl Place {
    /// Octets on disk.
    pub const fn stored(&self) -> u64 {
        record::stored(self.payload) as u64
    }
}

/// Everything known about what is alive.
#[derive(Default)]
pub struct Index {
    shards: Vec<HashTable<u32>>,
    messages: Slab<Message>,
    bodies: Slab<StoredBody>,
    /// Segments on disk, by sequence number.
    pub segments: BTreeMap<u32, Segment>,
    tombs: BTreeMap<(u32, u32), HashMap<u32, u64>>,
    /// Messages alive by the time they were made, so that the oldest is known without a walk.
    ages: BTreeMap<u32, u32>,
    /// A sealed segment has lost its last live record.
    dead: bool,
}

#[derive(Clone, Copy)]
struct Message {
    id: [u32; 2],
    headers: Place,
    /// The oldest segment that may hold headers of this message.
    first: u32,
    body: u32,
}

#[derive(Clone, Copy)]
struct StoredBody {
    place: Place,
    siblings: u32,
}

/// One segment on disk.
pub struct Segment {
    /// Its file.
    pub file: Arc<dyn DiskFile>,
    /// Its file's number.
    pub slot: u32,
    /// What its records bear.
    pub mark: u64,
    /// The run that wrote it.
    pub epoch: u32,
    /// Octets the file may hold.
    pub capacity: u32,
    /// Where its records end.
    pub end: u32,
    /// Octets of records that are needed.
    pub live: u64,
    /// Its header is on disk.
    pub durable: bool,
    /// Nothing is written to it any more.
    pub sealed: bool,
    /// All its records have been counted (those of an earlier run: by recovery).
    pub counted: bool,
    /// A live record of it cannot be read; it stays where it is.
    pub stuck: bool,
    /// It was abandoned after a failed write or sync.
    pub abandoned: bool,
    /// No header says where its records end: it was the last of an earlier run.
    pub open_ended: bool,
    /// It could be neither scrubbed nor removed; not tried again before the device works.
    pub unscrubbed: bool,
    /// Whether its summary is on disk.
    pub summarised: Summarised,
    /// What it may be used for.
    pub role: Role,
}

impl Segment {
    /// This use of its file.
    pub fn use_of(&self, sequence: u32) -> Use {
        Use { sequence, epoch: self.epoch, slot: self.slot, mark: self.mark }
    }
}

/// Whether a segment's summary is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summarised {
    /// Not yet.
    No,
    /// It is.
    Yes,
    /// It cannot be summarised: something in it is not as it should be.
    Never,
    /// The device did not let it; tried again when it works.
    Failed,
}

/// What becomes free when a message is unlinked, and what its unlink record must say.
#[derive(Clone, Debug)]
pub struct Killed {
    /// The message.
    pub id: u64,
    /// The oldest segment with headers of it.
    pub first: u32,
    /// The newest one.
    pub last: u32,
    /// Octets no longer needed, by segment.
    pub freed: SmallVec<[(u32, u64); 2]>,
}

impl Index {
    /// An empty index.
    pub fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| HashTable::new()).collect(), ..Self::default() }
    }

    /// Messages alive.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Octets of memory the index of messages takes (without segments).
    pub fn memory(&self) -> usize {
        let tables: usize = self.shards.iter().map(|shard| shard.allocation_size()).sum();
        tables + self.messages.memory() + self.bodies.memory()
    }

    /// Where the headers and the body of a message stand.
    pub fn find(&self, id: u64) -> Option<(Place, Place)> {
        let message = self.messages.get(self.slot(id)?);
        Some((message.headers, self.bodies.get(message.body).place))
    }

    /// Whether the message is alive.
    pub fn contains(&self, id: u64) -> bool {
        self.slot(id).is_some()
    }

    /// A new body, wanted by nobody yet.
    pub fn add_body(&mut self, place: Place) -> u32 {
        self.bodies.insert(StoredBody { place, siblings: 0 })
    }

    /// Keeps a wanted body although all who want it so far may go: others are still to be added.
    pub fn hold_body(&mut self, body: u32) {
        self.bodies.get_mut(body).siblings += 1;
    }

    /// All who want it have been added.
    pub fn release_body(&mut self, body: u32) {
        let held = self.bodies.get_mut(body);
        held.siblings -= 1;
        if held.siblings == 0 {
            let place = self.bodies.remove(body).place;
            self.debit(place.segment, place.stored());
        }
    }

    /// A body nobody came to want.
    pub fn drop_unwanted_body(&mut self, body: u32) {
        if self.bodies.get(body).siblings == 0 {
            self.bodies.remove(body);
        }
    }

    /// A new message; `first` is the oldest segment with headers of it. A former one of the same id gives way, whole: never
    /// the headers of one with the body of the other.
    pub fn add_message(&mut self, id: u64, headers: Place, first: u32, body: u32) {
        if let Some(former) = self.kill(id) {
            former.freed.iter().for_each(|&(segment, octets)| self.debit(segment, octets));
        }
        let wanted = self.bodies.get_mut(body);
        wanted.siblings += 1;
        let (siblings, place) = (wanted.siblings, wanted.place);
        if siblings == 1 {
            self.credit(place.segment, place.stored());
        }
        self.credit(headers.segment, headers.stored());
        *self.ages.entry(age_of(id)).or_default() += 1;
        let slot = self.messages.insert(Message { id: halves(id), headers, first, body });
        let messages = &self.messages;
        let shard = &mut self.shards[shard_of(id)];
        shard.insert_unique(hash(id), slot, |&slot| hash(whole(messages.get(slot).id)));
    }

    /// The message's headers stand elsewhere now.
    pub fn move_headers(&mut self, id: u64, headers: Place) {
        let Some(slot) = self.slot(id) else { return };
        let message = self.messages.get_mut(slot);
        let before = std::mem::replace(&mut message.headers, headers);
        self.debit(before.segment, before.stored());
        self.credit(headers.segment, headers.stored());
    }

    /// The body stands elsewhere now.
    pub fn move_body(&mut self, body: u32, place: Place) {
        let before = std::mem::replace(&mut self.bodies.get_mut(body).place, place);
        self.debit(before.segment, before.stored());
        self.credit(place.segment, place.stored());
    }

    /// Whether a body still stands there.
    pub fn body_is_at(&self, body: u32, place: Place) -> bool {
        self.bodies.try_get(body).is_some_and(|found| found.place == place && found.siblings != 0)
    }

    /// Takes a message out. What it held is free only when its unlink record is durable (see [`Index::bury`]).
    pub fn kill(&mut self, id: u64) -> Option<Killed> {
        let messages = &self.messages;
        let found = self.shards[shard_of(id)].find_entry(hash(id), |&slot| messages.get(slot).id == halves(id)).ok()?;
        let (slot, _) = found.remove();
        let shard = &mut self.shards[shard_of(id)];
        if shard.len() * SHARD_SLACK + SHARD_KEPT < shard.capacity() {
            shard.shrink_to(shard.len() * 2, |&slot| hash(whole(messages.get(slot).id)));
        }
        let message = self.messages.remove(slot);
        if let Entry::Occupied(mut age) = self.ages.entry(age_of(id)) {
            *age.get_mut() -= 1;
            if *age.get() == 0 {
                age.remove();
            }
        }
        let mut freed = SmallVec::new();
        freed.push((message.headers.segment, message.headers.stored()));
        let body = self.bodies.get_mut(message.body);
        body.siblings -= 1;
        if body.siblings == 0 {
            freed.push((body.place.segment, body.place.stored()));
            self.bodies.remove(message.body);
        }
        Some(Killed { id, first: message.first, last: message.headers.segment, freed })
    }

    /// The unlink record of a killed message is durable in `segment`.
    pub fn bury(&mut self, killed: &Killed, segment: u32) {
        for &(freed, octets) in &killed.freed {
            self.debit(freed, octets);
        }
        self.add_tomb((killed.first, killed.last), segment);
    }

    /// Counts an unlink record in `segment` as needed while a segment of `range` is on disk.
    pub fn add_tomb(&mut self, range: (u32, u32), segment: u32) {
        self.add_tombs(range, segment, 1);
    }

    /// As [`Index::add_tomb`], for so many of the same range.
    pub fn add_tombs(&mut self, range: (u32, u32), segment: u32, count: u32) {
        if !self.tomb_is_needed(range, segment) {
            return;
        }
        let octets = TOMB * u64::from(count);
        *self.tombs.entry(range).or_default().entry(segment).or_default() += octets;
        self.credit(segment, octets);
    }

    /// An unlink record has been copied from one segment to another.
    pub fn move_tomb(&mut self, range: (u32, u32), from: u32, to: u32) {
        let Some(octets) = self.tombs.get_mut(&range).and_then(|holders| holders.get_mut(&from)) else { return };
        *octets -= TOMB;
        if *octets == 0
            && let Some(holders) = self.tombs.get_mut(&range)
        {
            holders.remove(&from);
        }
        self.debit(from, TOMB);
        self.add_tomb(range, to);
    }

    /// Whether headers that an unlink record in `holder` kills may still be on disk. Those in `holder` itself go when it
    /// goes.
    pub fn tomb_is_needed(&self, (first, last): (u32, u32), holder: u32) -> bool {
        first <= last && self.segments.range(first..=last).any(|(&segment, _)| segment != holder)
    }

    /// A segment's records can no longer be found on disk: unlink records that were kept for its sake are free.
    pub fn gone(&mut self, segment: u32) {
        self.segments.remove(&segment);
        let segments = &self.segments;
        let mut released = Vec::new();
        self.tombs.retain(|&(first, last), holders| {
            if segment < first || last < segment {
                return true;
            }
            let mut left = segments.range(first..=last).map(|(&left, _)| left);
            match (left.next(), left.next()) {
                (None, _) => released.extend(holders.drain()),
                // Guards only against its own segment.
                (Some(only), None) => released.extend(holders.remove(&only).map(|octets| (only, octets))),
                _ => {}
            }
            !holders.is_empty()
        });
        for (holder, octets) in released {
            self.debit(holder, octets);
        }
    }

    /// What of a sealed segment is alive among [`PART`] messages and bodies from number `from` on; the next number, if there
    /// are more. In parts, because the whole of a large index takes longer to walk than a commit may wait.
    pub fn live_in(&self, segment: u32, from: u32, alive: &mut Vec<(Place, Alive)>) -> Option<u32> {
        let messages = self.messages.range(from, PART).filter(|(_, message)| message.headers.segment == segment);
        alive.extend(messages.map(|(_, message)| (message.headers, Alive::Headers(whole(message.id)))));
        let bodies = self.bodies.range(from, PART).filter(|(_, body)| body.place.segment == segment);
        alive.extend(bodies.map(|(number, body)| (body.place, Alive::Body(number))));
        let next = from + PART;
        (next < self.messages.end().max(self.bodies.end())).then_some(next)
    }

    /// When the oldest message alive was made, in seconds since 1970, to within [`AGE_SECONDS`].
    pub fn oldest_seconds(&self) -> Option<u64> {
        let (&window, _) = self.ages.first_key_value()?;
        Some(u64::from(window) * u64::from(AGE_SECONDS))
    }

    /// Whether a sealed segment has died since this was last asked.
    pub fn take_dead(&mut self) -> bool {
        std::mem::take(&mut self.dead)
    }

    /// Abandoned segments that are still on disk.
    pub fn cuts(&self) -> Vec<Cut> {
        let abandoned = self.segments.iter().filter(|(_, segment)| segment.abandoned);
        abandoned.map(|(&sequence, segment)| Cut { sequence, end: segment.end }).collect()
    }

    /// The segments that are there, durably.
    pub fn durable_segments(&self) -> Vec<u32> {
        self.segments.iter().filter(|(_, segment)| segment.durable).map(|(&sequence, _)| sequence).collect()
    }

    /// The newest segments of this epoch whose end nothing else says: those without a summary.
    pub fn ends(&self, epoch: u32) -> Vec<(Use, u32)> {
        let unsaid = |segment: &Segment| {
            segment.epoch == epoch && segment.sealed && segment.durable && segment.summarised != Summarised::Yes
        };
        let newest = self.segments.iter().rev().filter(|(_, segment)| unsaid(segment)).take(ENDS_MAX);
        newest.map(|(&sequence, segment)| (segment.use_of(sequence), segment.end)).collect()
    }

    /// The device works again: what could not be scrubbed or summarised may be tried once more.
    pub fn retry_scrubs(&mut self) {
        for segment in self.segments.values_mut() {
            segment.unscrubbed = false;
            if segment.summarised == Summarised::Failed {
                segment.summarised = Summarised::No;
            }
        }
    }

    /// Octets left in the segment that is being written, and what it may be used for.
    pub fn current(&self) -> Option<(u64, Role)> {
        let current = self.segments.values().rev().find(|segment| !segment.sealed)?;
        Some((u64::from(current.capacity.saturating_sub(current.end)), current.role))
    }

    /// Octets used and octets needed, over all segments.
    pub fn space(&self) -> (u64, u64) {
        self.segments
            .values()
            .fold((0, 0), |(used, live), segment| (used + u64::from(segment.end), live + segment.live))
    }

    fn slot(&self, id: u64) -> Option<u32> {
        self.shards[shard_of(id)].find(hash(id), |&slot| self.messages.get(slot).id == halves(id)).copied()
    }

    fn credit(&mut self, segment: u32, octets: u64) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.live += octets;
        }
    }

    fn debit(&mut self, segment: u32, octets: u64) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            debug_assert!(octets <= segment.live, "more freed than was alive");
            segment.live = segment.live.saturating_sub(octets);
            self.dead |= segment.live == 0 && segment.sealed;
        }
    }
}

/// What is alive at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alive {
    /// Headers of that message.
    Headers(u64),
    /// The body of that number.
    Body(u32),
}

const fn halves(id: u64) -> [u32; 2] {
    [(id >> 32) as u32, id as u32]
}

const fn whole([high, low]: [u32; 2]) -> u64 {
    (high as u64) << 32 | low as u64
}

/// Ids are our own, so no sender chooses them; a multiplication spreads them well enough.
const fn hash(id: u64) -> u64 {
    let mixed = (id ^ (id >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}

const fn shard_of(id: u64) -> usize {
    (hash(id) >> 20) as usize % SHARDS
}

fn age_of(id: u64) -> u32 {
    MessageId::from_bits(id).seconds() / AGE_SECONDS
}

/// Messages and bodies looked at in one hold of the lock: a third of a millisecond.
const PART: u32 = 1 << 16;
/// Messages made within so many seconds count as of one age.
const AGE_SECONDS: u32 = 8;
/// Growing one table of 64 moves a sixty-fourth of the messages at once.
const SHARDS: usize = 64;
/// A shard with room for so many times what it holds, and a few beyond, gives the rest back.
const SHARD_SLACK: usize = 8;
const SHARD_KEPT: usize = 1024;
const TOMB: u64 = record::HEADER as u64;
