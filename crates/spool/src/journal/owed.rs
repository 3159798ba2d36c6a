//! What is owed: room for the unlink record of every message alive, whatever becomes of the device.
//!
//! A delivery that cannot be recorded is made again after a restart. So before mail is taken there must be room for its end:
//! not a figure but files, written through, because others use the device too. These are the reserves. Only unlinks have a
//! claim to them; others may use what is left over.
//!
//! The bound. Let there be F reserve files of C octets, N messages alive, and T octets needed in the reserves that are in
//! use. Mail is taken while `2 (T + 64 N) + 4 C <= F C`. An unlink makes N less by one and T more by 64 at most, so once
//! this holds it stays true until more mail comes. It suffices: an unlink takes a sector of 512 octets where 64 are
//! needed, so files fill up sparsely, and upkeep merges two that together need no more than one file holds. When no two are
//! left of which that is true, all but one are more than half needed: of F files m are sealed with `(m - 1) C < 2 T`,
//! one is being written, and by the bound at least two are free. Unlinks leave the last free one to merging.
//!
//! Pure arithmetic over what [`Counts`] and the index say.

use super::index::Index;
use super::record::HEADER;
use super::segment::DATA;
use super::spares::{Counts, Role};

/// The reserves of a spool, at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Reserves {
    /// Octets of records that all of them hold, in use or not.
    held: u64,
    /// Octets needed in those in use.
    needed: u64,
    /// Octets of records that one holds.
    each: u64,
    /// Messages alive.
    messages: u64,
    /// Some are in use.
    pub in_use: bool,
}

impl Reserves {
    /// As they are; a reserve file has so many octets.
    pub fn of(index: &Index, spares: &Counts, reserve_bytes: u64) -> Self {
        let (mut held, mut needed, mut in_use) = (spares.reserve_bytes, 0, false);
        for segment in index.segments.values().filter(|segment| segment.role == Role::Reserve) {
            held += u64::from(segment.capacity.saturating_sub(DATA));
            needed += segment.live;
            in_use = true;
        }
        let each = reserve_bytes - u64::from(DATA);
        Self { held, needed, each, messages: index.len() as u64, in_use }
    }

    /// Whether there is room for the unlinks of so many more messages.
    pub fn cover(&self, more: u64) -> bool {
        self.wanted(more) <= self.held
    }

    /// Whether other records of so many octets may be written to them.
    pub fn spare(&self, octets: u64) -> bool {
        self.wanted(0) + 2 * octets <= self.held
    }

    /// Messages that may be alive.
    pub fn messages_max(&self) -> u64 {
        self.held.saturating_sub(2 * self.needed + SLACK * self.each) / (2 * UNLINK)
    }

    /// Files that are to be made for so many more messages.
    pub fn missing(&self, more: u64) -> u64 {
        self.wanted(more).saturating_sub(self.held).div_ceil(self.each)
    }

    /// Whether there is one more than will be wanted soon.
    pub fn are_too_many(&self) -> bool {
        self.wanted(ahead(self.messages)) * 5 / 4 + 2 * self.each <= self.held
    }

    /// Messages to be prepared for: so that mail need not wait for upkeep.
    pub fn ahead(&self) -> u64 {
        ahead(self.messages)
    }

    fn wanted(&self, more: u64) -> u64 {
        2 * (self.needed + UNLINK * (self.messages + more)) + SLACK * self.each
    }
}

const fn ahead(messages: u64) -> u64 {
    AHEAD + messages / 8
}

const UNLINK: u64 = HEADER as u64;
/// One being written, one that is all but full, one for merging, and one to be free.
const SLACK: u64 = 4;
const AHEAD: u64 = 64;
