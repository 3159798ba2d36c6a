//! The octets of a segment. Pure.
//!
//! Invariant: what is given out as a record was written as one, whole, at this place of this segment.

/// The longest record.
pub const RECORD_OCTETS_MAX: usize = 16 << 20;

/// What stands before the first record.
pub(crate) const HEAD_OCTETS: u64 = 16;

/// Length and checksum.
pub(crate) const RECORD_HEAD_OCTETS: usize = 8;

const MAGIC: &[u8; 8] = b"PRJLOG1\n";

/// The head of a segment.
pub(crate) fn head(segment: u64) -> [u8; HEAD_OCTETS as usize] {
    let mut head = [0; HEAD_OCTETS as usize];
    head[..8].copy_from_slice(MAGIC);
    head[8..].copy_from_slice(&segment.to_le_bytes());
    head
}

/// Appends a record that will stand at `offset`.
pub(crate) fn encode(out: &mut Vec<u8>, segment: u64, offset: u64, octets: &[u8]) {
    let length = octets.len() as u32;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(segment, offset, octets).to_le_bytes());
    out.extend_from_slice(octets);
}

/// What begins at the start of some octets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'o> {
    Record(&'o [u8]),
    /// Not yet or not any more: this many octets would show what it is.
    Needs(usize),
    /// No record.
    Nothing,
}

/// Looks at `octets`, which stand at `offset`.
pub(crate) fn decode(octets: &[u8], segment: u64, offset: u64) -> Found<'_> {
    let Some((head, behind)) = octets.split_first_chunk::<RECORD_HEAD_OCTETS>() else {
        return Found::Needs(RECORD_HEAD_OCTETS);
    };
    let [a, b, c, d, e, f, g, h] = *head;
    let (length, crc) = (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]));
    if RECORD_OCTETS_MAX < length {
        return Found::Nothing;
    }
    match behind.get(..length) {
        None => Found::Needs(RECORD_HEAD_OCTETS + length),
        Some(record) if checksum(segment, offset, record) == crc => Found::Record(record),
        Some(_) => Found::Nothing,
    }
}

/// How far behind the start of `octets`, which stand at `offset`, the next record begins.
pub(crate) fn next_record(octets: &[u8], segment: u64, offset: u64) -> Option<usize> {
    (1..octets.len()).find(|&at| matches!(decode(&octets[at..], segment, offset + at as u64), Found::Record(_)))
}

/// The length of the records at the start of `octets`, and whether others stand behind something damaged.
pub(crate) fn valid_octets(octets: &[u8], segment: u64, offset: u64) -> (usize, bool) {
    let mut at = 0;
    while let Found::Record(record) = decode(&octets[at..], segment, offset + at as u64) {
        at += RECORD_HEAD_OCTETS + record.len();
    }
    (at, next_record(&octets[at..], segment, offset + at as u64).is_some())
}

fn checksum(segment: u64, offset: u64, octets: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&segment.to_le_bytes()), &offset.to_le_bytes());
    let length = crc32c::crc32c_append(place, &(octets.len() as u32).to_le_bytes());
    crc32c::crc32c_append(length, octets)
}
