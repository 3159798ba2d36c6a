//! Segments cut at every octet and with flipped bits: what is hit is set aside, everything else lives.

use super::*;
use crate::disk::Disk;

/// Ten messages, the odd ones unlinked, closed in order.
fn spool() -> FaultyDisk {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    for id in 1..=10 {
        run.store(&Mail::new(id, 1, 700)).unwrap();
    }
    let (op, ticket) = rewrite(4, 4, b"changed".to_vec());
    run.commit(vec![op, Op::Unlink(1), Op::Unlink(3), Op::Unlink(5), Op::Unlink(7), Op::Unlink(9)]);
    ticket.wait().unwrap();
    let (promise, ticket) = Ticket::new();
    run.commit(vec![Op::Close(promise)]);
    ticket.wait().unwrap();
    disk.kill();
    disk
}

fn recovered(disk: &FaultyDisk) -> (Run, HandedOver) {
    let mut run = Run::open(disk).unwrap();
    let found = run.recover();
    (run, found)
}

#[test]
fn a_segment_cut_at_any_octet_keeps_what_is_before_the_cut() {
    let spool = spool();
    let (path, contents) = first_segment(&spool);
    let mut before = 0;
    for cut in (0..contents.len()).step_by(7).chain([contents.len()]) {
        let disk = spool.duplicate(1);
        disk.overwrite(&path, contents[..cut].to_vec());
        let (run, found) = recovered(&disk);
        let whole = (1..=10).filter(|id| found.contains_key(id) || cut == contents.len()).count();
        assert!(before <= whole || 40_000 < cut, "cut at {cut} keeps less than a shorter one");
        before = whole;
        for id in found.keys() {
            assert_eq!(run.shared.fetch_body(*id).unwrap(), Mail::new(*id, 1, 700).body, "cut at {cut}");
        }
    }
    assert_eq!(ids(&recovered(&spool).1), BTreeSet::from([2, 4, 6, 8, 10]));
}

#[test]
fn one_flipped_bit_costs_at_most_the_record_it_hits() {
    let spool = spool();
    let (path, contents) = first_segment(&spool);
    let all = BTreeSet::from([2, 4, 6, 8, 10]);
    for at in (0..contents.len()).step_by(13) {
        let disk = spool.duplicate(1);
        let mut flipped = contents.clone();
        flipped[at] ^= 1 << (at % 8);
        disk.overwrite(&path, flipped);
        let (run, found) = recovered(&disk);
        let lost: Vec<u64> = all.difference(&ids(&found)).copied().collect();
        let returned: Vec<u64> = ids(&found).difference(&all).copied().collect();
        assert!(lost.len() + returned.len() <= 1, "bit {at}: lost {lost:?}, back {returned:?}");
        for id in found.keys() {
            assert_eq!(run.shared.fetch_body(*id).unwrap(), Mail::new(*id, 1, 700).body, "bit {at}");
        }
        if !lost.is_empty() || !returned.is_empty() {
            assert!(run.shared.gauges.damaged.get() != 0, "bit {at}: not reported");
            assert!(!disk.files(Path::new("/spool/damaged")).is_empty(), "bit {at}: not set aside");
        }
    }
}

#[test]
fn recovering_twice_changes_nothing() {
    let spool = spool();
    let (path, mut contents) = first_segment(&spool);
    contents[9000] ^= 1;
    spool.overwrite(&path, contents);
    let first = ids(&recovered(&spool).1);
    for _ in 0..3 {
        spool.crash();
        assert_eq!(ids(&recovered(&spool).1), first);
    }
}

#[test]
fn a_body_that_looks_like_records_is_a_body() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    run.store(&Mail::new(1, 1, 100)).unwrap();
    // A sender has got hold of a segment and sends it.
    let (path, stolen) = first_segment(&disk);
    let mail = Mail { body: Bytes::from(stolen), ..Mail::new(2, 1, 0) };
    run.unlink(1);
    for id in 100..200 {
        run.store(&Mail::new(id, 1, 4000)).unwrap();
        run.unlink(id);
        run.keep_up();
    }
    run.store(&mail).unwrap();
    disk.kill();
    for at in 0..200 {
        let copy = disk.duplicate(1);
        for (segment, mut contents) in copy.files(Path::new(SEGMENTS)) {
            let last = contents.len() - 1;
            contents[(4096 + at * 321).min(last)] ^= 4;
            copy.overwrite(&segment, contents);
        }
        let found = ids(&recovered(&copy).1);
        assert!(!found.contains(&1), "a record sent by a stranger was taken for ours ({})", path.display());
    }
}

#[test]
fn a_segment_without_a_readable_header_is_set_aside_whole_when_nothing_says_what_it_is() {
    let spool = spool();
    let (path, mut contents) = first_segment(&spool);
    contents[..8192].fill(0x55);
    spool.overwrite(&path, contents);
    spool.remove(Path::new("/spool/journal/reached")).unwrap();
    let (run, found) = recovered(&spool);
    assert!(found.is_empty());
    assert_eq!(spool.files(Path::new("/spool/damaged")).len(), 1);
    assert!(run.shared.gauges.damaged.get() != 0);
}

#[test]
fn a_record_damaged_while_running_is_reported_when_it_is_read() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    run.store(&Mail::new(1, 1, 700)).unwrap();
    let (path, mut contents) = first_segment(&disk);
    contents[4096 + 64 + 5] ^= 1;
    disk.overwrite(&path, contents);
    assert!(matches!(run.shared.fetch_body(1), Err(SpoolError::Damaged { .. })));
    assert_eq!(run.shared.gauges.damaged.get(), 1);
}

#[test]
fn a_page_that_cannot_be_read_costs_what_it_holds_and_the_segment_stays_for_another_start() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    for id in 100..140 {
        run.store(&Mail::new(id, 1, 3000)).unwrap();
    }
    disk.kill();
    let (path, _) = first_segment(&disk);
    disk.spoil(&path, 20_480..20_481);
    let (mut run, found) = recovered(&disk);
    let lost: Vec<u64> = (100..140).filter(|id| !found.contains_key(id)).collect();
    assert!((1..=2).contains(&lost.len()), "{lost:?} of forty");
    assert!(run.shared.gauges.damaged.get() != 0);
    found.keys().for_each(|&id| run.unlink(id));
    for id in 200..260 {
        run.store(&Mail::new(id, 1, 3000)).unwrap();
        run.unlink(id);
        run.keep_up();
    }
    disk.kill();
    disk.spoil(&path, 0..0);
    assert_eq!(ids(&recovered(&disk).1), lost.into_iter().collect());
}

#[test]
fn the_end_of_a_segment_that_cannot_be_read_takes_no_acknowledged_mail_for_torn() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    // The headers of the last message stand on a page of their own.
    run.store(&Mail::new(100, 3, 4096)).unwrap();
    disk.kill();
    let (path, _) = first_segment(&disk);
    disk.spoil(&path, 8500..9000);
    recovered(&disk);
    disk.kill();
    disk.spoil(&path, 0..0);
    assert_eq!(ids(&recovered(&disk).1), BTreeSet::from([100, 101, 102]));
}

#[test]
fn a_file_whose_first_page_cannot_be_read_does_not_keep_the_spool_shut() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    for id in 100..140 {
        run.store(&Mail::new(id, 1, 3000)).unwrap();
    }
    disk.kill();
    let files = segments(&disk);
    for (path, _) in [&files[0], &files[files.len() - 1]] {
        disk.spoil(path, 0..1);
        let (mut run, found) = recovered(&disk);
        assert!(5 < found.len(), "{} of the others", found.len());
        run.store(&Mail::new(run.shared.newest.map_or(0, MessageId::to_bits) + 1000, 1, 100)).unwrap();
        disk.kill();
        disk.spoil(path, 0..0);
    }
    assert_eq!(recovered(&disk).1.len(), 42);
}

#[test]
fn live_mail_is_handed_over_when_nothing_can_be_written() {
    for seed in 0..40 {
        let disk = FaultyDisk::seeded(seed);
        let mut run = Run::open(&disk).unwrap();
        for id in 100..120 {
            run.store(&Mail::new(id, 1, 3000)).unwrap();
        }
        disk.arm(Fault::PowerLoss(2));
        run.store(&Mail::new(900, 8, 3000)).unwrap_err();
        disk.crash();
        let mut run = Run::open(&disk).unwrap();
        disk.outage(true);
        let found = ids(&run.recover());
        assert!((100..120).all(|id| found.contains(&id)), "seed {seed}: {found:?}");
        disk.outage(false);
        disk.crash();
        assert_eq!(ids(&recovered(&disk).1), found, "seed {seed}: decided otherwise");
    }
}

/// A group of which one record is damaged, and a segment after it: only that shows that the group was whole once.
fn damaged_group() -> FaultyDisk {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    run.store(&Mail::new(10, 3, 50_000)).unwrap();
    run.store(&Mail::new(20, 1, 30_000)).unwrap();
    disk.kill();
    let (path, mut contents) = first_segment(&disk);
    let at = contents.windows(14).position(|octets| octets == b"envelope of 11").unwrap();
    contents[at] ^= 1;
    disk.overwrite(&path, contents);
    disk
}

#[test]
fn what_shows_that_a_damaged_group_was_whole_stays_until_the_group_is_written_anew() {
    let disk = damaged_group();
    let mut run = Run::open(&disk).unwrap();
    let recovery = run.recovery.take().unwrap();
    let Run { shared, committer, .. } = &mut run;
    let counted = |shared: &Shared| shared.index().segments.values().filter(|segment| segment.counted).count();
    recovery.run(shared, &mut |copies| commit_copies(committer, copies), &mut |_, _| assert_eq!(counted(shared), 0));
    assert_eq!(counted(shared), 3);
}

#[test]
fn what_is_left_of_a_damaged_group_counts_also_when_it_could_not_be_written_anew() {
    let disk = damaged_group();
    let mut run = Run::open(&disk).unwrap();
    disk.outage(true);
    assert_eq!(ids(&run.recover()), BTreeSet::from([10, 12, 20]));
    disk.outage(false);
    run.unlink(20);
    for id in 100..140 {
        run.store(&Mail::new(id, 1, 5000)).unwrap();
        run.unlink(id);
        run.keep_up();
    }
    disk.kill();
    assert_eq!(ids(&recovered(&disk).1), BTreeSet::from([10, 12]));
}
