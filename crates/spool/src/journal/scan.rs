//! Reading a segment from end to end: every record that checks out, and every stretch that does not.
//!
//! A record whose header is good but whose payload is not is stepped over. Where no header is, the next one is looked for
//! by its mark at every multiple of eight octets. Reads in windows, so that memory stays small whatever the segment holds.
//! A page the device cannot read is taken for zeros, hence for damage, and noted; after too many of them the walk fails.

use std::io;
use std::ops::Range;

use super::record::{ALIGN, HEADER, PAGE, Record};
use super::segment::DATA;
use crate::disk::DiskFile;

/// What stands at a place.
#[derive(Debug)]
pub enum Found {
    /// A good record: its offset, and what its header says.
    Record(u32, Record),
    /// Octets that should be records and are not. The header is there if only the payload is bad.
    Damage(Range<u32>, Option<Record>),
}

/// Walks one segment.
pub struct Scanner<'a> {
    file: &'a dyn DiskFile,
    mark: u64,
    offset: u64,
    limit: u64,
    /// The records are known to reach this far.
    certain: u64,
    /// Payloads are not looked at.
    headers_only: bool,
    /// Pages that could not be read.
    unreadable: u32,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> Scanner<'a> {
    /// A scanner of the records with `mark`. With a known `end` everything before it must be records.
    pub fn new(file: &'a dyn DiskFile, mark: u64, end: Option<u32>) -> io::Result<Self> {
        let length = file.len()?.min(u64::from(u32::MAX));
        let limit = end.map_or(length, u64::from);
        let (window, window_start) = (Vec::new(), 0);
        let offset = u64::from(DATA);
        let certain = end.map_or(0, u64::from);
        Ok(Self { file, mark, offset, limit, certain, headers_only: false, unreadable: 0, window, window_start })
    }

    /// The records are known to reach at least `end`.
    pub fn certain_to(self, end: u32) -> Self {
        let certain = self.certain.max(end.into());
        Self { certain, limit: self.limit.max(certain), ..self }
    }

    /// Looks at headers alone.
    pub fn headers_only(self) -> Self {
        Self { headers_only: true, ..self }
    }

    /// Whether there were octets that could not be read.
    pub fn met_unreadable(&self) -> bool {
        self.unreadable != 0
    }

    /// The next thing found; nothing at the end.
    pub fn step(&mut self) -> io::Result<Option<Found>> {
        if self.limit <= self.offset {
            return Ok(None);
        }
        let start = self.offset;
        if let Some(found) = self.record_at(start)? {
            return Ok(Some(found));
        }
        let mark = self.mark.to_le_bytes();
        let torn = self.octets(start, 8)? == mark;
        match self.next_header(start + ALIGN as u64)? {
            Some(next) => self.offset = next,
            None => {
                self.offset = self.limit;
                // What follows the last record of the last commit is nothing, unless it began as a record.
                let end = match torn {
                    true => self.certain.max(self.limit.min(start + PAGE as u64)),
                    false => self.certain,
                };
                return Ok((start < end).then_some(Found::Damage(start as u32..end as u32, None)));
            }
        }
        Ok(Some(Found::Damage(start as u32..self.offset as u32, None)))
    }

    fn record_at(&mut self, start: u64) -> io::Result<Option<Found>> {
        let mark = self.mark;
        let Some(record) = Record::parse(self.octets(start, HEADER)?, mark) else { return Ok(None) };
        let end = start + record.stored() as u64;
        self.offset = record.ends_commit.next(end);
        let good = self.headers_only || {
            let payload = self.octets(start + HEADER as u64, record.payload as usize)?;
            payload.len() == record.payload as usize && crc32c::crc32c(payload) == record.payload_crc
        };
        Ok(Some(match good {
            true => Found::Record(start as u32, record),
            false => Found::Damage(start as u32..end.min(u64::from(u32::MAX)) as u32, Some(record)),
        }))
    }

    /// Where the next good header is, from `start` on.
    fn next_header(&mut self, start: u64) -> io::Result<Option<u64>> {
        let mark = self.mark;
        let mut at = start;
        let limit = if self.headers_only { self.limit.min(start + HUNT_MAX) } else { self.limit };
        while at < limit {
            let window = self.octets(at, WINDOW)?;
            if window.len() < HEADER {
                return Ok(None);
            }
            let starts = window.chunks_exact(ALIGN).enumerate();
            let marked = starts.filter(|(_, octets)| *octets == mark.to_le_bytes()).map(|(place, _)| place * ALIGN);
            let mut complete = marked.clone().filter(|&place| place + HEADER <= window.len());
            if let Some(place) = complete.find(|&place| Record::parse(&window[place..], mark).is_some()) {
                return Ok(Some(at + place as u64));
            }
            // A header may lie across the end of the window.
            at += (window.len() - HEADER + ALIGN) as u64 / ALIGN as u64 * ALIGN as u64;
        }
        Ok(None)
    }

    /// Reads the window again page by page, past what cannot be read.
    fn read_by_page(&mut self, error: io::Error) -> io::Result<()> {
        let (start, size) = (self.window_start, self.window.len());
        let mut at = 0;
        while at < size {
            let to_boundary = PAGE - (start + at as u64) as usize % PAGE;
            let piece = &mut self.window[at..size.min(at + to_boundary)];
            let length = piece.len();
            match self.file.read_full(piece, start + at as u64) {
                Ok(read) if read < length => {
                    self.window.truncate(at + read);
                    return Ok(());
                }
                Ok(_) => {}
                Err(_) if self.unreadable < UNREADABLE_MAX => {
                    piece.fill(0);
                    self.unreadable += 1;
                }
                Err(_) => {
                    self.window.clear();
                    return Err(error);
                }
            }
            at += length;
        }
        Ok(())
    }

    /// Octets from `start`, fewer at the limit.
    fn octets(&mut self, start: u64, wanted: usize) -> io::Result<&[u8]> {
        let wanted = wanted.min(self.limit.saturating_sub(start) as usize);
        let end = self.window_start + self.window.len() as u64;
        if start < self.window_start || end < start + wanted as u64 {
            let size = wanted.max(WINDOW).min((self.limit - start.min(self.limit)) as usize);
            self.window.clear();
            self.window.resize(size, 0);
            self.window_start = start;
            match self.file.read_full(&mut self.window, start) {
                Ok(read) => self.window.truncate(read),
                Err(error) => self.read_by_page(error)?,
            }
        }
        let from = (start - self.window_start) as usize;
        let to = (from + wanted).min(self.window.len());
        Ok(&self.window[from.min(to)..to])
    }
}

const WINDOW: usize = 256 << 10;
/// How far the next header is looked for where only headers count: twice the largest gap one bad commit leaves.
const HUNT_MAX: u64 = 16 << 20;
/// Each may take the device seconds.
const UNREADABLE_MAX: u32 = 64;
