//! A spool written in format 1, in which each group's records stand side by side, is opened, recovered and carried on.

use std::io::IoSlice;

use super::*;
use crate::disk::Disk;

/// Writes format 1 octet by octet, as its documentation says; nothing of today's writing code is used.
struct FormatOne {
    octets: Vec<u8>,
    mark: u64,
    commit: u64,
    /// Where the last record's header stands.
    last: usize,
}

impl FormatOne {
    fn segment(sequence: u32, mark: u64, newest: u64, previous: (u32, u32)) -> Self {
        let mut header = vec![0; 512];
        header[..8].copy_from_slice(b"PRSPOOL\n");
        for (at, value) in [(8, 1), (12, sequence), (16, 1), (20, 0), (40, previous.0), (44, previous.1)] {
            header[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
        }
        header[24..32].copy_from_slice(&mark.to_le_bytes());
        header[32..40].copy_from_slice(&newest.to_le_bytes());
        let crc = crc32c::crc32c(&header[..508]);
        header[508..].copy_from_slice(&crc.to_le_bytes());
        let mut octets = header.repeat(2);
        octets.resize(4096, 0);
        Self { octets, mark, commit: 1, last: 0 }
    }

    fn record(&mut self, kind: u8, (start, place, size): (u32, u32, u32), (id, link): (u64, u64), payload: &[u8]) {
        self.last = self.octets.len();
        let mut header = vec![0; 64];
        header[..8].copy_from_slice(&self.mark.to_le_bytes());
        header[20] = kind;
        let words = [(12, crc32c::crc32c(payload)), (16, payload.len() as u32), (24, start), (28, place), (32, size)];
        words.iter().for_each(|(at, value)| header[*at..*at + 4].copy_from_slice(&value.to_le_bytes()));
        let longs = [(40, self.commit), (48, id), (56, link)];
        longs.iter().for_each(|(at, value)| header[*at..*at + 8].copy_from_slice(&value.to_le_bytes()));
        self.octets.extend_from_slice(&header);
        self.octets.extend_from_slice(payload);
        self.octets.resize(self.octets.len().next_multiple_of(8), 0);
        self.check(self.last);
    }

    fn check(&mut self, at: usize) {
        let crc = crc32c::crc32c(&self.octets[at + 12..at + 64]);
        self.octets[at + 8..at + 12].copy_from_slice(&crc.to_le_bytes());
    }

    fn mail(&mut self, mail: &Mail) {
        let (start, size) = (self.octets.len() as u32, mail.headers.len() as u32 + 1);
        self.record(1, (start, 0, size), (mail.batch, mail.batch), &mail.body);
        for (place, (id, payload)) in (1..).zip(&mail.headers) {
            self.record(2, (start, place, size), (*id, mail.batch), payload);
        }
    }

    fn unlink(&mut self, id: u64, segment: u64) {
        self.record(3, (self.octets.len() as u32, 0, 1), (id, segment << 32 | segment), &[]);
    }

    fn end_commit(&mut self) {
        self.octets[self.last + 21] = 1;
        self.check(self.last);
        self.octets.resize(self.octets.len().next_multiple_of(4096), 0);
        self.commit += 1;
    }

    fn write(mut self, disk: &FaultyDisk, slot: u32) {
        self.octets.resize(SEGMENT as usize, 0);
        let file = disk.create(&Path::new(SEGMENTS).join(format!("{slot:08}.segment")), 0o640).unwrap();
        file.write_all(&mut [IoSlice::new(&self.octets)], 0).unwrap();
        file.fdatasync().unwrap();
        disk.sync_dir(Path::new(SEGMENTS)).unwrap();
    }
}

/// Two segments: mail with one and with several recipients, an unlink, and a last commit that was torn by a power loss.
fn old_spool() -> FaultyDisk {
    let disk = FaultyDisk::seeded(1);
    disk.create_dir(Path::new(SEGMENTS)).unwrap();
    let mut first = FormatOne::segment(1, 0x1234_5678_9ABC_DEF0, 0, (0, 0));
    for batch in [100, 110, 120] {
        first.mail(&Mail::new(batch, 3, 3000));
    }
    first.end_commit();
    first.mail(&Mail::new(200, 1, 5000));
    first.unlink(111, 1);
    first.end_commit();
    let (end, commit) = (first.octets.len() as u32, first.commit);
    first.write(&disk, 0);
    let mut second = FormatOne::segment(2, 0x0FED_CBA9_8765_4321, 200, (1, end));
    second.commit = commit;
    second.mail(&Mail::new(300, 2, 1000));
    second.end_commit();
    second.mail(&Mail::new(400, 1, 1000));
    let whole = second.octets.len();
    second.mail(&Mail::new(410, 2, 1000));
    // Of the last group the second headers never reached the disk.
    second.octets.truncate(whole + 64 + 1000 + 64 + 16);
    second.write(&disk, 1);
    disk
}

fn alive() -> BTreeSet<u64> {
    BTreeSet::from([100, 101, 102, 110, 112, 120, 121, 122, 200, 300, 301, 400])
}

#[test]
fn a_spool_of_the_former_format_is_recovered_and_carried_on() {
    let disk = old_spool();
    let mut run = Run::open(&disk).unwrap();
    let found = run.recover();
    assert_eq!(ids(&found), alive());
    assert_eq!(found[&112], b"envelope of 112");
    assert_eq!(run.shared.fetch_body(112).unwrap(), Mail::new(110, 3, 3000).body);
    for id in (1000..1200).step_by(2) {
        run.store(&Mail::new(id, 2, 3000)).unwrap();
        run.unlink(id);
        run.unlink(id + 1);
    }
    run.keep_up();
    disk.crash();
    let mut run = Run::open(&disk).unwrap();
    assert_eq!(ids(&run.recover()), alive());
    assert_eq!(run.shared.fetch_body(400).unwrap(), Mail::new(400, 1, 1000).body);
    // Nothing of the former format stays for ever: its segments are recycled like any other.
    alive().into_iter().for_each(|id| run.unlink(id));
    run.keep_up();
    run.store(&Mail::new(5000, 1, 100)).unwrap();
    run.keep_up();
    let formats: BTreeSet<u8> = segments(&disk).iter().map(|(_, octets)| octets[8]).collect();
    assert!(!formats.contains(&1), "{formats:?}");
}

/// A file that a former release prepared, or used for a while and scrubbed: a page of zeros, and behind it what it held.
fn old_spares(disk: &FaultyDisk) {
    for (slot, left) in [(7, false), (8, true)] {
        let mut spare = FormatOne::segment(9, 0x5151_5151_5151_5151, 0, (0, 0));
        if left {
            spare.mail(&Mail::new(900, 2, 3000));
            spare.end_commit();
        }
        spare.octets[..4096].fill(0);
        spare.write(disk, slot);
    }
}

#[test]
fn the_spares_of_a_former_release_are_taken_for_spares_once_and_marked() {
    for lost_at in 0..60 {
        let disk = old_spool();
        old_spares(&disk);
        if lost_at != 0 {
            disk.arm(Fault::PowerLoss(lost_at));
            // The first start ends somewhere in the midst.
            if let Ok(mut run) = Run::open(&disk) {
                run.recover();
            }
            disk.crash();
        }
        let mut run = Run::open(&disk).unwrap();
        assert_eq!(ids(&run.recover()), alive(), "power lost at {lost_at}");
        assert_eq!(run.shared.gauges.damaged.get(), 0, "power lost at {lost_at}");
        drop(run);
        disk.kill();
        let blank = segments(&disk).iter().filter(|(_, octets)| octets[..512].iter().all(|&octet| octet == 0)).count();
        assert_eq!(blank, 0, "power lost at {lost_at}: a spare without a mark");
        // From now on zeros are damage.
        let (path, mut octets) = segments(&disk).pop().unwrap();
        octets[..4096].fill(0);
        disk.overwrite(&path, octets);
        let mut run = Run::open(&disk).unwrap();
        assert_eq!(ids(&run.recover()), alive(), "power lost at {lost_at}");
        assert_eq!(run.shared.gauges.damaged.get(), 1, "power lost at {lost_at}");
    }
}

#[test]
fn what_this_release_writes_is_named_so_that_the_former_one_refuses_it() {
    let disk = FaultyDisk::seeded(1);
    Run::open(&disk).unwrap().store(&Mail::new(1, 1, 100)).unwrap();
    assert_eq!(first_segment(&disk).1[8..12], 4_u32.to_le_bytes());
}

#[test]
fn the_headers_of_a_commit_stand_behind_its_bodies() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    let (ops, tickets): (Vec<Op>, Vec<_>) = (0..10).map(|n| Mail::new(100 + 10 * n, 2, 1000).store()).unzip();
    run.commit(ops);
    assert!(tickets.into_iter().all(|ticket| ticket.wait().is_ok()));
    let (_, octets) = first_segment(&disk);
    let find = |words: &[u8]| octets.windows(words.len()).position(|found| found == words).unwrap();
    assert!(find(b"line of message 190\r\n") < find(b"envelope of 100"));
    disk.crash();
    let mut run = Run::open(&disk).unwrap();
    assert_eq!(run.recover().len(), 20);
    assert_eq!(run.shared.fetch_body(151).unwrap(), Mail::new(150, 2, 1000).body);
}
