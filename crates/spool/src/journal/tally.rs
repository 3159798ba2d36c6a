//! The tally: what the records of all segments, taken together, say is alive.
//!
//! Takes records in the order of the segments, from a scan or from a summary, and decides once all are in. Pure: no disk, no
//! clock, no thread; recovery carries out what it decides, offline tools only look.
//!
//! Flat tables, sorted, and no hash tables: ten million messages take 56 octets each while they are decided about, and the
//! order of the disk is nearly the order of the ids, so that sorting is cheap.
//!
//! Invariant: a group that is not whole was never acknowledged if it belongs to the last commit of its epoch; none of it
//! counts. In an earlier commit, or in an epoch that cannot be read in full, it was whole once and has been damaged since;
//! what is left of it counts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use super::groups::Groups;
use super::index::Place;
use super::record::{Kind, Record};
use super::summary::Summary;

/// What has been found so far.
#[derive(Default)]
pub struct Tally {
    /// Headers and unlinks, one after the other as they stand on disk.
    events: Vec<Standing>,
    bodies: Vec<(u64, Place)>,
    tombs: BTreeMap<((u32, u32), u32), u32>,
    /// The last commit seen of each epoch; the highest number there is for one that was closed in order.
    last_commit: HashMap<u32, u64>,
    groups: Groups,
    damage: Vec<Damage>,
    /// Segments that must stay for the next recovery, of which this one has read only part.
    kept: BTreeSet<u32>,
}

/// A message, and where its headers stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The message.
    pub id: u64,
    /// The id its body is stored under.
    pub batch: u64,
    /// Its headers.
    pub headers: Place,
    /// The oldest segment that may hold headers of it.
    pub first: u32,
}

/// Octets that should be records and are not.
#[derive(Clone, Debug)]
pub struct Damage {
    /// Its segment's run.
    pub epoch: u32,
    /// The segment.
    pub segment: u32,
    /// The octets.
    pub range: Range<u32>,
    /// It was written by this commit or an earlier one.
    pub commit: u64,
    /// It was being written when the run ended: nothing in it was acknowledged.
    pub torn: bool,
}

/// What follows from all records.
pub struct Decided {
    /// Messages alive whose body was found, in the order their headers stand on disk.
    pub alive: Vec<Standing>,
    /// Where bodies stand, by batch, in order.
    pub bodies: Bodies,
    /// Unlink records: the range they guard, the segment they stand in, and how many.
    pub tombs: BTreeMap<((u32, u32), u32), u32>,
    /// What the next recovery should not have to decide again.
    pub corrections: Vec<Correction>,
    /// Messages whose body is not there.
    pub lost: Vec<Standing>,
    /// Older messages whose id was given again: their headers and bodies.
    pub doubles: Vec<(u64, Place, Option<Place>)>,
    /// What could not be read.
    pub damage: Vec<Damage>,
    /// Segments of which only part was read.
    pub kept: BTreeSet<u32>,
}

/// One thing a recovery has decided against what the records say.
#[derive(Clone, Copy, Debug)]
pub enum Correction {
    /// The headers belong to a group that was never whole: the message does not exist.
    Torn(Standing),
    /// The headers are left of a group that was whole once: the message exists.
    Left(Standing),
}

impl Tally {
    /// Takes one record of a scanned segment.
    pub fn take(&mut self, epoch: u32, place: Place, record: &Record) {
        let last = self.last_commit.entry(epoch).or_default();
        *last = record.commit.max(*last);
        self.groups.take(epoch, place.segment, record);
        self.note(record.kind, record.id, record.link, place);
        if record.kind == Kind::Close {
            // Written only when everything before was synced: whatever is broken was whole once.
            self.last_commit.insert(epoch, u64::MAX);
        }
    }

    /// Takes a whole segment from its summary, which exists only where all groups are whole.
    pub fn take_summary(&mut self, epoch: u32, sequence: u32, summary: &Summary) {
        let last = self.last_commit.entry(epoch).or_default();
        *last = if summary.closed { u64::MAX } else { summary.last_commit.max(*last) };
        for entry in summary.entries() {
            let place = Place { segment: sequence, offset: entry.offset, payload: entry.payload };
            self.note(entry.kind, entry.id, entry.link, place);
        }
    }

    /// The run is known to have synced its commits up to this one, all of them if it closed in order.
    pub fn synced(&mut self, epoch: u32, commit: u64, closed: bool) {
        let last = self.last_commit.entry(epoch).or_default();
        *last = if closed { u64::MAX } else { (*last).max(commit.saturating_add(1)) };
    }

    /// Notes octets of a segment that are no records, written by this commit or an earlier one, or [`SYNCED`].
    pub fn damaged(&mut self, epoch: u32, segment: u32, range: Range<u32>, commit: u64) {
        self.damage.push(Damage { epoch, segment, range, commit, torn: false });
    }

    /// Damage noted so far.
    pub fn damages(&self) -> usize {
        self.damage.len()
    }

    /// A good record of `commit` follows the damage noted since `from`.
    pub fn bound_damage(&mut self, from: usize, commit: u64) {
        for damage in self.damage[from..].iter_mut().rev().take_while(|damage| damage.commit == u64::MAX) {
            damage.commit = commit;
        }
    }

    /// Of that segment only part was read: nothing is known about the end of its epoch, and it must stay.
    pub fn unreadable(&mut self, sequence: u32, epoch: u32) {
        self.last_commit.insert(epoch, u64::MAX);
        self.kept.insert(sequence);
    }

    fn note(&mut self, kind: Kind, id: u64, link: u64, place: Place) {
        match kind {
            Kind::Body => self.bodies.push((id, place)),
            Kind::Headers => {
                self.events.push(Standing { id, batch: link, headers: place, first: place.segment });
            }
            Kind::Unlink => {
                let headers = Place { payload: UNLINKED, ..place };
                self.events.push(Standing { id, batch: 0, headers, first: place.segment });
                *self.tombs.entry((((link >> 32) as u32, link as u32), place.segment)).or_default() += 1;
            }
            Kind::Close => {}
        }
    }

    /// Everything is in: what is alive.
    pub fn decide(mut self) -> Decided {
        let mut bodies = Bodies::new(std::mem::take(&mut self.bodies));
        let (mut alive, doubles) = newest_of(std::mem::take(&mut self.events), &mut bodies);
        let corrections = self.settle(&mut alive);
        let mut lost = Vec::new();
        alive.retain(|standing| {
            let found = !standing.is_unlinked() && bodies.find(standing.batch).is_some();
            if !found && !standing.is_unlinked() {
                lost.push(*standing);
            }
            found
        });
        if !self.kept.is_empty() {
            // Their bodies may stand where nothing could be read.
            self.kept.extend(lost.iter().map(|standing| standing.headers.segment));
        }
        alive.sort_by_key(|standing| standing.headers);
        for damage in &mut self.damage {
            let last = self.last_commit.get(&damage.epoch).copied().unwrap_or(0);
            damage.torn = damage.commit != SYNCED && last <= damage.commit && last != u64::MAX;
        }
        let Self { tombs, damage, kept, .. } = self;
        Decided { alive, bodies, tombs, corrections, lost, doubles, damage, kept }
    }

    /// Decides about broken groups. `alive` is sorted by id; what is decided against is marked unlinked.
    fn settle(&mut self, alive: &mut [Standing]) -> Vec<Correction> {
        let mut corrections = Vec::new();
        for group in std::mem::take(&mut self.groups).broken() {
            let torn = self.last_commit.get(&group.epoch).is_none_or(|&last| last <= group.commit && last != u64::MAX);
            for id in group.ids {
                let Ok(position) = alive.binary_search_by_key(&id, |standing| standing.id) else { continue };
                let found = &mut alive[position];
                let stands_here = found.headers.segment == group.segment && group.start <= found.headers.offset;
                if !stands_here || found.is_unlinked() {
                    continue;
                }
                if torn {
                    corrections.push(Correction::Torn(*found));
                    found.headers.payload = UNLINKED;
                } else {
                    corrections.push(Correction::Left(*found));
                }
            }
        }
        corrections
    }
}

impl Standing {
    const fn is_unlinked(&self) -> bool {
        self.headers.payload == UNLINKED
    }
}

/// Where bodies stand, by batch. A copy that stands later takes the place of what it was copied from.
pub struct Bodies {
    sorted: Vec<(u64, Place)>,
    /// Where the last one was found: the next is likely beside it.
    hint: usize,
}

impl Bodies {
    fn new(mut sorted: Vec<(u64, Place)>) -> Self {
        sorted.sort();
        // Of several copies the last is kept.
        sorted.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = later.1;
            }
            same
        });
        Self { sorted, hint: 0 }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The number of a batch's body, in order of batches, and where it stands.
    pub fn find(&mut self, batch: u64) -> Option<(usize, Place)> {
        let near = (self.hint..self.hint + 2).find(|&at| self.sorted.get(at).is_some_and(|body| body.0 == batch));
        let at = match near {
            Some(at) => at,
            None => self.sorted.binary_search_by_key(&batch, |body| body.0).ok()?,
        };
        self.hint = at;
        Some((at, self.sorted[at].1))
    }
}

type Doubles = Vec<(u64, Place, Option<Place>)>;

/// Of all that is said about a message the last word; sorted by id.
fn newest_of(mut events: Vec<Standing>, bodies: &mut Bodies) -> (Vec<Standing>, Doubles) {
    events.sort_by_key(|event| (event.id, event.headers.segment, event.headers.offset));
    let mut doubles = Doubles::new();
    let (mut kept, mut at) = (0, 0);
    while at < events.len() {
        let id = events[at].id;
        let mut last: Option<Standing> = None;
        while at < events.len() && events[at].id == id {
            let event = events[at];
            at += 1;
            last = match last {
                _ if event.is_unlinked() => None,
                Some(found) if found.batch == event.batch => Some(Standing { first: found.first, ..event }),
                former => {
                    let mut body = |found: Standing| bodies.find(found.batch).map(|(_, place)| place);
                    doubles.extend(former.map(|found| (id, found.headers, body(found))));
                    Some(event)
                }
            };
        }
        if let Some(last) = last {
            events[kept] = last;
            kept += 1;
        }
    }
    events.truncate(kept);
    (events, doubles)
}

/// Of damage: it had been synced, whatever commit it was. Commits are numbered from one.
pub const SYNCED: u64 = 0;
/// No record's payload is this long: it marks an unlink.
const UNLINKED: u32 = u32::MAX;
