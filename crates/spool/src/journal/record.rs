//! The record: what a segment is made of. A header of 64 octets, a payload, and padding to eight octets.
//!
//! Every record bears its segment's mark, 64 random bits drawn anew each time a file is used, so neither what an earlier use
//! left in the file nor what a sender wrote into a body can pass for a record. Header and payload have checksums of their
//! own (CRC32C), so that a damaged payload does not hide where the next record begins.
//!
//! Layout, little-endian: mark 8 | header checksum 4 | payload checksum 4 | payload length 4 | kind 1, flags 1, epoch's low
//! half 2 | group: start 4, place 4, size 4 | segment 4 | commit 8 | id 8 | link 8. Epoch and segment are zero before format 4.

/// Octets of a record's header.
pub const HEADER: usize = 64;
/// Every record begins at a multiple of this.
pub const ALIGN: usize = 8;
/// Commits begin at multiples of this, and segments are multiples of it long.
pub const PAGE: usize = 4096;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A body; `id` and `link` are its batch.
    Body,
    /// One message's envelope; `id` is the message, `link` its batch.
    Headers,
    /// The message `id` is finished. `link` holds the first (high half) and last segment its headers may stand in.
    Unlink,
    /// The spool was closed in order.
    Close,
}

impl Kind {
    /// The number on disk, below eight.
    pub const fn code(self) -> u8 {
        match self {
            Self::Body => 1,
            Self::Headers => 2,
            Self::Unlink => 3,
            Self::Close => 4,
        }
    }

    /// What a number on disk stands for.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Body),
            2 => Some(Self::Headers),
            3 => Some(Self::Unlink),
            4 => Some(Self::Close),
            _ => None,
        }
    }
}

/// Whether a record is the last of its commit, and where the next commit begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitEnd {
    /// More of the commit follows.
    No = 0,
    /// The next commit begins on the next page: what was synced is never written again, not even the rest of its page.
    Page = 1,
    /// The next commit begins on the next disk sector: in the reserve, where room counts most.
    Sector = 2,
}

impl CommitEnd {
    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::No),
            1 => Some(Self::Page),
            2 => Some(Self::Sector),
            _ => None,
        }
    }

    /// Where what follows a record that ends at `end` begins.
    pub const fn next(self, end: u64) -> u64 {
        match self {
            Self::No => end,
            Self::Page => end.next_multiple_of(PAGE as u64),
            Self::Sector => end.next_multiple_of(SECTOR),
        }
    }
}

const SECTOR: u64 = 512;

/// A record's header, without the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it says.
    pub kind: Kind,
    /// Whether it is the last record of its commit.
    pub ends_commit: CommitEnd,
    /// Octets of payload.
    pub payload: u32,
    /// Their checksum.
    pub payload_crc: u32,
    /// Where its group begins in the segment. A group is stored as a whole or not at all.
    pub group_start: u32,
    /// Its place in the group, from zero.
    pub group_place: u32,
    /// Records in the group.
    pub group_size: u32,
    /// The sequence number of its segment; zero before format 4.
    pub segment: u32,
    /// The low half of its epoch; zero before format 4.
    pub epoch: u16,
    /// Number of the commit, from one within an epoch.
    pub commit: u64,
    /// What it is about.
    pub id: u64,
    /// What it belongs to (see [`Kind`]).
    pub link: u64,
}

impl Record {
    /// A record that is a group of its own.
    pub fn alone(kind: Kind, id: u64, link: u64, payload: &[u8]) -> Self {
        Self {
            kind,
            ends_commit: CommitEnd::No,
            payload: payload.len() as u32,
            payload_crc: crc32c::crc32c(payload),
            group_start: 0,
            group_place: 0,
            group_size: 1,
            segment: 0,
            epoch: 0,
            commit: 0,
            id,
            link,
        }
    }

    /// Octets on disk, padding included.
    pub const fn stored(&self) -> usize {
        stored(self.payload)
    }

    /// Writes the header.
    pub fn put(&self, mark: u64, out: &mut [u8; HEADER]) {
        out[..8].copy_from_slice(&mark.to_le_bytes());
        out[12..16].copy_from_slice(&self.payload_crc.to_le_bytes());
        out[16..20].copy_from_slice(&self.payload.to_le_bytes());
        out[20..22].copy_from_slice(&[self.kind.code(), self.ends_commit as u8]);
        out[22..24].copy_from_slice(&self.epoch.to_le_bytes());
        out[24..28].copy_from_slice(&self.group_start.to_le_bytes());
        out[28..32].copy_from_slice(&self.group_place.to_le_bytes());
        out[32..36].copy_from_slice(&self.group_size.to_le_bytes());
        out[36..40].copy_from_slice(&self.segment.to_le_bytes());
        out[40..48].copy_from_slice(&self.commit.to_le_bytes());
        out[48..56].copy_from_slice(&self.id.to_le_bytes());
        out[56..64].copy_from_slice(&self.link.to_le_bytes());
        let crc = checksum(out);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads a header whatever its mark is, from a place where only a record can stand; with its mark.
    pub fn parse_any(octets: &[u8]) -> Option<(u64, Self)> {
        let mark = u64_at(octets.get(..HEADER)?, 0);
        Some((mark, Self::parse(octets, mark)?))
    }

    /// Reads a header; nothing if it is not one, or not of the segment with that mark.
    pub fn parse(octets: &[u8], mark: u64) -> Option<Self> {
        let header = octets.get(..HEADER)?;
        let known = [checksum(header), crc32c::crc32c(&header[12..])];
        if header[..8] != mark.to_le_bytes() || !known.contains(&u32_at(header, 8)) {
            return None;
        }
        Some(Self {
            kind: Kind::from_code(header[20])?,
            ends_commit: CommitEnd::from_code(header[21])?,
            payload: u32_at(header, 16),
            payload_crc: u32_at(header, 12),
            group_start: u32_at(header, 24),
            group_place: u32_at(header, 28),
            group_size: u32_at(header, 32),
            segment: u32_at(header, 36),
            epoch: u16::from_le_bytes([header[22], header[23]]),
            commit: u64_at(header, 40),
            id: u64_at(header, 48),
            link: u64_at(header, 56),
        })
    }
}

/// The checksum of a header covers its mark. Formats 1 and 2 left that out; but where a header lies across two sectors, with
/// its mark alone in the first, a power loss may leave the mark of this use before the rest of a record of an earlier one.
fn checksum(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..8]), &header[12..])
}

/// Octets on disk of a record with that much payload.
pub const fn stored(payload: u32) -> usize {
    HEADER + (payload as usize).next_multiple_of(ALIGN)
}

pub(super) fn u32_at(octets: &[u8], at: usize) -> u32 {
    octets.get(at..at + 4).and_then(|found| found.try_into().ok()).map_or(0, u32::from_le_bytes)
}

pub(super) fn u64_at(octets: &[u8], at: usize) -> u64 {
    octets.get(at..at + 8).and_then(|found| found.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (Record, [u8; HEADER]) {
        let record = Record {
            group_start: 4096,
            commit: 9,
            segment: 3,
            epoch: 2,
            ..Record::alone(Kind::Headers, 17, 18, b"payload")
        };
        let mut octets = [0; HEADER];
        record.put(0xFEED, &mut octets);
        (record, octets)
    }

    #[test]
    fn a_record_reads_back_as_written() {
        let (record, octets) = written();
        assert_eq!(Record::parse(&octets, 0xFEED), Some(record));
        assert_eq!(record.stored(), HEADER + 8);
    }

    #[test]
    fn the_mark_of_one_use_before_the_rest_of_a_record_of_another_does_not_pass() {
        let (_, mut octets) = written();
        octets[..8].copy_from_slice(&0xFEEE_u64.to_le_bytes());
        assert_eq!(Record::parse(&octets, 0xFEEE), None);
    }

    #[test]
    fn a_record_of_a_former_format_is_read() {
        let (record, mut octets) = written();
        let crc = crc32c::crc32c(&octets[12..]);
        octets[8..12].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Record::parse(&octets, 0xFEED), Some(record));
    }

    #[test]
    fn no_single_flipped_bit_and_no_other_mark_passes() {
        let (_, octets) = written();
        assert_eq!(Record::parse(&octets, 0xFEEE), None);
        for bit in 0..HEADER * 8 {
            let mut flipped = octets;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::parse(&flipped, 0xFEED), None, "bit {bit}");
        }
    }
}
