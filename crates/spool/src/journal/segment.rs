//! The segment header: the first page of a segment file, and what makes its records count.
//!
//! The header is 512 octets, one disk sector, written twice in the page. A file whose header is all zero is free: prepared
//! in advance, or scrubbed after its last record died.
//!
//! Layout, little-endian: magic 8 | format 4 | sequence 4 | epoch 4 | number of cuts 4 | mark 8 | newest id 8 | previous
//! sequence 4, its end 4 | cuts 8 each | … | checksum 4.

use super::record::{PAGE, u32_at, u64_at};
use crate::disk::DiskFile;

/// Octets before the first record.
pub const DATA: u32 = PAGE as u32;
/// The format this release writes, and the newest it reads. In format 1 the records of a group stand side by side; since
/// format 2 the headers of a commit's new messages stand behind all its bodies; since format 3 the checksum of a record's
/// header covers its mark. All are read.
pub const FORMAT: u32 = 3;
/// Abandoned segments the header has room for.
pub const CUTS_MAX: usize = (HEADER - 4 - FIXED) / 8;

/// What a segment says of itself and of those before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Counts uses of segment files, over all runs.
    pub sequence: u32,
    /// Counts runs of the daemon that wrote.
    pub epoch: u32,
    /// The format it was written in.
    pub format: u32,
    /// What its records bear (see [`super::record`]).
    pub mark: u64,
    /// The newest id stored before this segment was begun.
    pub newest: u64,
    /// The segment before it in the same epoch, and where its records end.
    pub previous: Option<Cut>,
    /// Segments abandoned after a failed write or sync: what stands behind the end was refused and does not count.
    pub cuts: Vec<Cut>,
}

/// The end of a segment's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub sequence: u32,
    /// Where its records end.
    pub end: u32,
}

/// What the first page of a file turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstPage {
    /// Prepared or scrubbed.
    Free,
    /// In use.
    Header(SegmentHeader),
    /// Of a later release.
    Newer(u32),
    /// Neither copy can be read.
    Damaged,
}

impl SegmentHeader {
    /// The first page of the segment.
    pub fn page(&self) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        let header = &mut page[..HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&self.format.to_le_bytes());
        header[12..16].copy_from_slice(&self.sequence.to_le_bytes());
        header[16..20].copy_from_slice(&self.epoch.to_le_bytes());
        header[20..24].copy_from_slice(&(self.cuts.len() as u32).to_le_bytes());
        header[24..32].copy_from_slice(&self.mark.to_le_bytes());
        header[32..40].copy_from_slice(&self.newest.to_le_bytes());
        let previous = self.previous.unwrap_or(Cut { sequence: 0, end: 0 });
        for (place, cut) in std::iter::once(&previous).chain(&self.cuts).enumerate() {
            let at = 40 + place * 8;
            header[at..at + 4].copy_from_slice(&cut.sequence.to_le_bytes());
            header[at + 4..at + 8].copy_from_slice(&cut.end.to_le_bytes());
        }
        let crc = crc32c::crc32c(&header[..HEADER - 4]);
        header[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
        page.copy_within(..HEADER, HEADER);
        page
    }

    /// Reads the first page. Of two good copies the later use counts: the other is left from before a crash.
    pub fn read(file: &dyn DiskFile) -> std::io::Result<FirstPage> {
        let mut octets = [0; 2 * HEADER];
        let read = file.read_full(&mut octets, 0)?;
        let (first, second) = octets[..read].split_at(read.min(HEADER));
        if octets[..read].iter().all(|&octet| octet == 0) {
            return Ok(FirstPage::Free);
        }
        Ok(match (parse(first), parse(second)) {
            (FirstPage::Newer(format), _) | (_, FirstPage::Newer(format)) => FirstPage::Newer(format),
            (FirstPage::Header(a), FirstPage::Header(b)) if a.sequence < b.sequence => FirstPage::Header(b),
            (FirstPage::Header(header), _) | (_, FirstPage::Header(header)) => FirstPage::Header(header),
            _ => FirstPage::Damaged,
        })
    }
}

fn parse(header: &[u8]) -> FirstPage {
    if header.len() != HEADER
        || &header[..8] != MAGIC
        || u32_at(header, HEADER - 4) != crc32c::crc32c(&header[..HEADER - 4])
    {
        return FirstPage::Damaged;
    }
    let format = u32_at(header, 8);
    if FORMAT < format {
        return FirstPage::Newer(format);
    }
    let cut = |place: usize| Cut { sequence: u32_at(header, 40 + place * 8), end: u32_at(header, 44 + place * 8) };
    let count = (u32_at(header, 20) as usize).min(CUTS_MAX);
    FirstPage::Header(SegmentHeader {
        sequence: u32_at(header, 12),
        epoch: u32_at(header, 16),
        format,
        mark: u64_at(header, 24),
        newest: u64_at(header, 32),
        previous: Some(cut(0)).filter(|previous| previous.sequence != 0),
        cuts: (1..=count).map(cut).collect(),
    })
}

const MAGIC: &[u8; 8] = b"PRSPOOL\n";
const HEADER: usize = 512;
const FIXED: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, faulty::FaultyDisk};
    use std::io::IoSlice;
    use std::path::Path;

    fn read_back(page: &[u8]) -> FirstPage {
        let disk = FaultyDisk::seeded(0);
        disk.create_dir(Path::new("/s")).unwrap();
        let file = disk.create(Path::new("/s/a"), 0o640).unwrap();
        file.write_all(&mut [IoSlice::new(page)], 0).unwrap();
        SegmentHeader::read(file.as_ref()).unwrap()
    }

    fn header() -> SegmentHeader {
        let cuts = vec![Cut { sequence: 3, end: 8192 }; CUTS_MAX];
        let previous = Some(Cut { sequence: 6, end: 12_288 });
        SegmentHeader { sequence: 7, epoch: 2, format: FORMAT, mark: 99, newest: 5, previous, cuts }
    }

    #[test]
    fn a_header_reads_back_as_written_with_any_one_bit_flipped() {
        let page = header().page();
        assert_eq!(read_back(&page), FirstPage::Header(header()));
        for bit in 0..2 * HEADER * 8 {
            let mut flipped = page.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_back(&flipped), FirstPage::Header(header()), "bit {bit}");
        }
    }

    #[test]
    fn zero_is_free_and_a_later_format_is_named() {
        assert_eq!(read_back(&[0; PAGE]), FirstPage::Free);
        let mut page = header().page();
        page[8] = 4;
        let crc = crc32c::crc32c(&page[..HEADER - 4]);
        page[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(read_back(&page), FirstPage::Newer(4));
        page[..2 * HEADER].fill(7);
        assert_eq!(read_back(&page), FirstPage::Damaged);
    }
}
