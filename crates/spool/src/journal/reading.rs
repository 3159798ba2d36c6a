//! Reading one record back from its place, and verifying it.

use std::io;

use super::index::Place;
use super::record::{HEADER, Kind, Record};
use crate::disk::DiskFile;

/// Why a record was not read.
pub enum Unread {
    /// The device refused.
    Io(io::Error),
    /// It is not what should stand there.
    Damaged(&'static str),
}

/// The record of `kind` at `place` of a file whose records bear `mark`, with its payload.
pub fn read_record(file: &dyn DiskFile, mark: u64, place: Place, kind: Kind) -> Result<(Record, Vec<u8>), Unread> {
    let mut octets = vec![0; HEADER + place.payload as usize];
    let read = file.read_full(&mut octets, u64::from(place.offset)).map_err(Unread::Io)?;
    octets.truncate(read);
    let record = Record::parse(&octets, mark).filter(|record| record.kind == kind && record.payload == place.payload);
    let record = record.ok_or(Unread::Damaged("its record's header does not match its checksum"))?;
    // In place: a second buffer would double what a large body takes while it is read.
    octets.drain(..HEADER);
    let payload = octets;
    if payload.len() != place.payload as usize || crc32c::crc32c(&payload) != record.payload_crc {
        return Err(Unread::Damaged("its record does not match its checksum"));
    }
    Ok((record, payload))
}
