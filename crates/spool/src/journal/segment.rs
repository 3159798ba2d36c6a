//! The first page of a segment file: what it is, and what makes its records count.
//!
//! A file in use bears a header: 512 octets, one disk sector, written twice; and a table of the ends of other segments, twice.
//! A spare bears a header too, with the sequence number zero: it names the use that is over. A page that says neither is
//! damage, never a spare: a power loss and a failing device leave zeros as well. Spares of formats 1 to 3 were pages of
//! zeros; the first start of this release marks them.
//!
//! Layout, little-endian: magic 8 | format 4 | sequence 4 | epoch 4 | number of cuts 4 | mark 8 | newest id 8 | previous
//! sequence 4, its end 4 | cuts 8 each | … | checksum 4. Of a spare the mark and the previous sequence are those of the use
//! that is over. Table, at 1024 and 2560: magic 4 | entries 4 | checksum of all that follows and the segment's mark 4 | zero 4
//! | entries of 32: sequence 4, end 4, slot 4, epoch 4, mark 8, zero 8.

use super::record::{PAGE, u32_at, u64_at};
use crate::disk::DiskFile;

/// Octets before the first record.
pub const DATA: u32 = PAGE as u32;
/// The format this release writes, and the newest it reads. In format 1 the records of a group stand side by side; since
/// format 2 the headers of a commit's new messages stand behind all its bodies; since format 3 the checksum of a record's
/// header covers its mark; since format 4 spares are marked, records name their segment, and headers say where others end
/// and in which file. All are read.
pub const FORMAT: u32 = 4;
/// Abandoned segments the header has room for.
pub const CUTS_MAX: usize = (HEADER - 4 - FIXED) / 8;
/// Ends the table has room for.
pub const ENDS_MAX: usize = (TABLE - 16) / END;

/// One use of a segment file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Counts uses of segment files, over all runs.
    pub sequence: u32,
    /// The run of the daemon.
    pub epoch: u32,
    /// The file.
    pub slot: u32,
    /// What its records bear.
    pub mark: u64,
}

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
    /// Segments of the same epoch that have no summary yet: which files they are, and where their records end.
    pub ends: Vec<(Use, u32)>,
}

/// The end of a segment's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub sequence: u32,
    /// Where its records end.
    pub end: u32,
}

/// The use of a spare that is over: its number and mark; zero if it was never used, or by a release that did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Its number.
    pub sequence: u32,
    /// Its mark.
    pub mark: u64,
}

/// What the first page of a file turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstPage {
    /// Nothing but zeros, or no octets at all: a spare in formats 1 to 3, damage since.
    Blank,
    /// Prepared or scrubbed.
    Spare(Retired),
    /// In use.
    Header(SegmentHeader),
    /// Of a later release.
    Newer(u32),
    /// Neither copy can be read.
    Damaged,
}

impl Retired {
    /// The page that marks a spare.
    pub fn page(self) -> Vec<u8> {
        let previous = Some(Cut { sequence: self.sequence, end: 0 });
        SegmentHeader { format: FORMAT, mark: self.mark, previous, ..SegmentHeader::default() }.page()
    }
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
        let table = self.table();
        page[TABLES[0]..TABLES[1]].copy_from_slice(&table);
        page[TABLES[1]..].copy_from_slice(&table);
        page
    }

    fn table(&self) -> Vec<u8> {
        let mut table = vec![0; TABLE];
        table[..4].copy_from_slice(TABLE_MAGIC);
        table[4..8].copy_from_slice(&(self.ends.len().min(ENDS_MAX) as u32).to_le_bytes());
        for (entry, (of, end)) in table[16..].chunks_exact_mut(END).zip(&self.ends) {
            for (at, word) in [(0, of.sequence), (4, *end), (8, of.slot), (12, of.epoch)] {
                entry[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
            entry[16..24].copy_from_slice(&of.mark.to_le_bytes());
        }
        let crc = table_crc(&table, self.mark);
        table[8..12].copy_from_slice(&crc.to_le_bytes());
        table
    }

    /// Reads the first page. Of two good copies the later use counts: the other is left from before a crash.
    pub fn read(file: &dyn DiskFile) -> std::io::Result<FirstPage> {
        let mut octets = [0; PAGE];
        let read = file.read_full(&mut octets, 0)?;
        Ok(Self::of_page(&octets[..read]))
    }

    /// What a page says.
    pub fn of_page(page: &[u8]) -> FirstPage {
        let copy = |at: usize| parse(page.get(at..at + HEADER).unwrap_or_default());
        if page.iter().all(|&octet| octet == 0) {
            return FirstPage::Blank;
        }
        let use_of = |page: &FirstPage| match page {
            FirstPage::Header(header) => header.sequence,
            FirstPage::Spare(retired) => retired.sequence,
            _ => 0,
        };
        let found = match (copy(0), copy(HEADER)) {
            (FirstPage::Newer(format), _) | (_, FirstPage::Newer(format)) => FirstPage::Newer(format),
            (FirstPage::Damaged, other) | (other, FirstPage::Damaged) => other,
            (a, b) if use_of(&a) < use_of(&b) => b,
            (a, _) => a,
        };
        match found {
            FirstPage::Header(header) if 4 <= header.format => {
                let ends = TABLES.iter().find_map(|&at| ends(page.get(at..at + TABLE)?, header.mark));
                FirstPage::Header(Self { ends: ends.unwrap_or_default(), ..header })
            }
            other => other,
        }
    }

    /// This use of the file with that number.
    pub fn use_of(&self, slot: u32) -> Use {
        Use { sequence: self.sequence, epoch: self.epoch, slot, mark: self.mark }
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
    let (sequence, mark) = (u32_at(header, 12), u64_at(header, 24));
    let cut = |place: usize| Cut { sequence: u32_at(header, 40 + place * 8), end: u32_at(header, 44 + place * 8) };
    if sequence == 0 {
        return FirstPage::Spare(Retired { sequence: cut(0).sequence, mark });
    }
    let count = (u32_at(header, 20) as usize).min(CUTS_MAX);
    FirstPage::Header(SegmentHeader {
        sequence,
        epoch: u32_at(header, 16),
        format,
        mark,
        newest: u64_at(header, 32),
        previous: Some(cut(0)).filter(|previous| previous.sequence != 0),
        cuts: (1..=count).map(cut).collect(),
        ends: Vec::new(),
    })
}

/// The entries of a table that is whole and belongs to the segment with that mark.
fn ends(table: &[u8], mark: u64) -> Option<Vec<(Use, u32)>> {
    if &table[..4] != TABLE_MAGIC || u32_at(table, 8) != table_crc(table, mark) {
        return None;
    }
    let entries = table[16..].chunks_exact(END).take((u32_at(table, 4) as usize).min(ENDS_MAX));
    let entry = |octets: &[u8]| {
        let (sequence, slot, epoch) = (u32_at(octets, 0), u32_at(octets, 8), u32_at(octets, 12));
        (Use { sequence, epoch, slot, mark: u64_at(octets, 16) }, u32_at(octets, 4))
    };
    Some(entries.map(entry).collect())
}

fn table_crc(table: &[u8], mark: u64) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&mark.to_le_bytes()), &table[4..8]);
    crc32c::crc32c_append(crc, &table[12..])
}

const MAGIC: &[u8; 8] = b"PRSPOOL\n";
const HEADER: usize = 512;
const FIXED: usize = 48;
const TABLE_MAGIC: &[u8; 4] = b"ENDS";
const TABLES: [usize; 2] = [1024, 1024 + TABLE];
const TABLE: usize = 1536;
const END: usize = 32;

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
        let of = |sequence| Use { sequence, epoch: 2, slot: sequence * 3, mark: u64::from(sequence) << 33 };
        let ends = (0..ENDS_MAX as u32).map(|sequence| (of(sequence), 4096 * sequence)).collect();
        SegmentHeader { sequence: 7, epoch: 2, format: FORMAT, mark: 99, newest: 5, previous, cuts, ends }
    }

    #[test]
    fn a_header_reads_back_as_written_with_any_one_bit_flipped() {
        let page = header().page();
        assert_eq!(read_back(&page), FirstPage::Header(header()));
        for bit in 0..PAGE * 8 {
            let mut flipped = page.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_back(&flipped), FirstPage::Header(header()), "bit {bit}");
        }
    }

    #[test]
    fn a_spare_says_so_and_zeros_say_nothing() {
        let retired = Retired { sequence: 9, mark: 77 };
        for at in 0..PAGE {
            let mut page = retired.page();
            page[at] ^= 1;
            assert_eq!(read_back(&page), FirstPage::Spare(retired), "octet {at}");
        }
        assert_eq!(read_back(&[0; PAGE]), FirstPage::Blank);
    }

    #[test]
    fn a_later_format_is_named() {
        let mut page = header().page();
        page[8] = 5;
        let crc = crc32c::crc32c(&page[..HEADER - 4]);
        page[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(read_back(&page), FirstPage::Newer(5));
        page[..2 * HEADER].fill(7);
        assert_eq!(read_back(&page), FirstPage::Damaged);
    }

    /// The release before looks at the first two sectors alone; what it cannot read there it would set aside.
    #[test]
    fn the_former_release_sees_a_later_format_in_a_segment_and_in_a_spare() {
        for page in [header().page(), Retired { sequence: 3, mark: 4 }.page()] {
            for sector in [0, HEADER] {
                let copy = &page[sector..sector + HEADER];
                assert_eq!((&copy[..8], u32_at(copy, 8)), (&MAGIC[..], 4));
                assert_eq!(u32_at(copy, HEADER - 4), crc32c::crc32c(&copy[..HEADER - 4]));
            }
        }
    }
}
