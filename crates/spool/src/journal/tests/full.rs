//! A full disk, failing writes and failing syncs.

use super::*;

#[test]
fn a_full_disk_refuses_mail_and_still_records_deliveries() {
    let disk = FaultyDisk::seeded(1);
    disk.set_capacity(20 * SEGMENT);
    let mut run = Run::open(&disk).unwrap();
    run.recover();
    run.keep_up();
    let mut stored = Vec::new();
    let refused = loop {
        let mail = Mail::new(1000 + stored.len() as u64, 1, 5000);
        match run.store(&mail) {
            Ok(()) => stored.push(mail.batch),
            Err(error) => break error,
        }
        run.keep_up();
    };
    assert!(matches!(refused, SpoolError::Full { .. }), "{refused}");
    assert!(100 < stored.len(), "full after {}", stored.len());
    disk.set_capacity(disk.files(Path::new("/")).iter().map(|(_, contents)| contents.len() as u64).sum());
    let gone = stored.split_off(stored.len() / 2);
    for some in gone.chunks(10) {
        run.commit(some.iter().map(|&id| Op::Unlink(id)).collect());
    }
    assert!(!run.committer.owes(), "deliveries could not be recorded");
    let copy = disk.duplicate(1);
    assert_eq!(ids(&Run::open(&copy).unwrap().recover()), stored.iter().copied().collect());
    run.keep_up();
    run.store(&Mail::new(9000, 1, 5000)).expect("room has come back");
}

#[test]
fn a_failed_sync_refuses_its_batch_and_the_segment_is_abandoned() {
    for seed in 0..50 {
        let disk = FaultyDisk::seeded(seed);
        let mut run = Run::open(&disk).unwrap();
        run.store(&Mail::new(1, 1, 100)).unwrap();
        disk.arm(Fault::SyncError(1));
        let refused = run.store(&Mail::new(2, 1, 100));
        assert!(matches!(refused, Err(SpoolError::Io { doing: "sync", .. })), "{refused:?}");
        run.store(&Mail::new(3, 1, 100)).unwrap();
        run.store(&Mail::new(4, 1, 100)).unwrap();
        assert!(2 <= run.segments());
        disk.crash();
        let mut run = Run::open(&disk).unwrap();
        assert_eq!(ids(&run.recover()), BTreeSet::from([1, 3, 4]), "seed {seed}");
        run.keep_up();
        disk.crash();
        assert_eq!(ids(&Run::open(&disk).unwrap().recover()), BTreeSet::from([1, 3, 4]), "seed {seed}");
    }
}

#[test]
fn a_refused_rewrite_leaves_the_headers_that_were() {
    let disk = FaultyDisk::seeded(4);
    let mut run = Run::open(&disk).unwrap();
    run.store(&Mail::new(1, 1, 100)).unwrap();
    disk.arm(Fault::SyncError(1));
    let (op, ticket) = rewrite(1, 1, b"new".to_vec());
    run.commit(vec![op]);
    assert!(ticket.wait().is_err());
    run.store(&Mail::new(3, 1, 100)).unwrap();
    assert_eq!(run.shared.fetch_headers(1).unwrap(), b"envelope of 1");
    disk.crash();
    assert_eq!(Run::open(&disk).unwrap().recover()[&1], b"envelope of 1");
}

#[test]
fn an_unlink_whose_sync_failed_goes_with_the_next_commit() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    run.store(&Mail::new(1, 1, 100)).unwrap();
    disk.arm(Fault::SyncError(1));
    run.unlink(1);
    assert!(run.committer.owes());
    run.store(&Mail::new(2, 1, 100)).unwrap();
    assert!(!run.committer.owes());
    disk.crash();
    assert_eq!(ids(&Run::open(&disk).unwrap().recover()), BTreeSet::from([2]));
}

#[test]
fn a_short_write_is_continued() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    disk.arm(Fault::WriteShort(1));
    run.store(&Mail::new(1, 1, 9000)).unwrap();
    disk.crash();
    let mut run = Run::open(&disk).unwrap();
    run.recover();
    assert_eq!(run.shared.fetch_body(1).unwrap(), Mail::new(1, 1, 9000).body);
}

#[test]
fn a_rewrite_of_a_finished_message_is_refused() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    run.store(&Mail::new(1, 1, 100)).unwrap();
    let (op, ticket) = rewrite(1, 1, b"late".to_vec());
    run.commit(vec![Op::Unlink(1), op]);
    assert!(matches!(ticket.wait(), Err(SpoolError::Missing { .. })));
}

#[test]
fn a_device_that_failed_for_a_minute_takes_mail_again() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    run.store(&Mail::new(1, 1, 100)).unwrap();
    run.keep_up();
    (1..=150).for_each(|nth| disk.arm(Fault::SyncError(nth)));
    let tries = (0..400).take_while(|n| {
        let refused = run.store(&Mail::new(100 + n, 1, 100)).is_err();
        run.keep_up();
        refused
    });
    let tries = tries.count() as u64;
    assert!(tries < 400, "mail is refused for ever");
    assert!(run.segments() <= 3, "{} segments for two messages", run.segments());
    disk.crash();
    assert_eq!(ids(&Run::open(&disk).unwrap().recover()), BTreeSet::from([1, 100 + tries]));
}

#[test]
fn abandoned_segments_that_could_not_be_scrubbed_are_scrubbed_when_the_device_works_again() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    run.store(&Mail::new(1, 1, 100)).unwrap();
    // Without upkeep, until there is room for no more.
    let mut abandoned = 0;
    while run.segments() < 57 {
        // A segment is begun with a note, which is synced first.
        disk.arm(Fault::SyncError(if abandoned == 0 { 1 } else { 2 }));
        run.store(&Mail::new(100 + abandoned, 1, 100)).unwrap_err();
        abandoned += 1;
    }
    disk.outage(true);
    run.keep_up();
    assert_eq!(run.segments(), 57);
    disk.outage(false);
    let refused = run.store(&Mail::new(2, 1, 100)).unwrap_err();
    assert!(refused.to_string().contains("too many abandoned segments"), "{refused}");
    run.keep_up();
    run.store(&Mail::new(3, 1, 100)).expect("the device is well again");
    run.keep_up();
    assert!(run.segments() <= 3, "{} segments for two messages", run.segments());
    disk.crash();
    assert_eq!(ids(&Run::open(&disk).unwrap().recover()), BTreeSet::from([1, 3]));
}

#[test]
fn a_spare_is_not_lost_when_no_mark_can_be_drawn() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    run.store(&Mail::new(1, 1, 9000)).unwrap();
    run.keep_up();
    let before = run.shared.spares.count();
    disk.outage(true);
    run.store(&Mail::new(2, 1, 55_000)).unwrap_err();
    disk.outage(false);
    assert_eq!(run.shared.spares.count(), before);
}

/// A spool on a device with room for `segments` of 1 MiB, filled with mail of so many octets, so many to a commit; and
/// others have taken what was left of the device.
fn filled(segments: u64, body_bytes: usize, per_commit: u64) -> (FaultyDisk, Run, Vec<u64>) {
    filled_device(segments * MIB, body_bytes, per_commit)
}

/// As [`filled`], on a device of so many octets.
fn filled_device(octets: u64, body_bytes: usize, per_commit: u64) -> (FaultyDisk, Run, Vec<u64>) {
    let disk = FaultyDisk::seeded(1);
    disk.set_capacity(octets);
    let mut run = Run::open_with(&disk, MIB).unwrap();
    run.recover();
    run.keep_up();
    let mut stored = Vec::new();
    loop {
        let next = 1000 + stored.len() as u64;
        let (ops, tickets): (Vec<Op>, Vec<_>) =
            (next..next + per_commit).map(|id| Mail::new(id, 1, body_bytes).store()).unzip();
        run.commit(ops);
        let outcomes: Vec<bool> = tickets.into_iter().map(|ticket| ticket.wait().is_ok()).collect();
        stored.extend((next..).zip(&outcomes).filter(|(_, stored)| **stored).map(|(id, _)| id));
        if outcomes.contains(&false) {
            break;
        }
        if (stored.len() as u64 / per_commit).is_multiple_of(20) {
            run.keep_up();
        }
    }
    run.keep_up();
    disk.set_capacity(disk.files(Path::new("/")).iter().map(|(_, contents)| contents.len() as u64).sum());
    (disk, run, stored)
}

/// Unlinks all of `order`, so many to a commit, and sees to it that each is recorded at once.
fn drain(run: &mut Run, order: &[u64], per_commit: usize) {
    let mut done = 0;
    for some in order.chunks(per_commit) {
        run.commit(some.iter().map(|&id| Op::Unlink(id)).collect());
        run.keep_up();
        done += some.len();
        assert!(!run.committer.owes(), "after {done} of {} no delivery could be recorded", order.len());
    }
    run.store(&Mail::new(1, 1, 5000)).expect("room has come back");
}

fn shuffled(mut order: Vec<u64>) -> Vec<u64> {
    let mut random = Seeded(5);
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last as u64 + 1) as usize);
    }
    order
}

#[test]
fn thousands_of_small_mails_leave_a_full_disk_one_by_one_in_order() {
    let (disk, mut run, stored) = filled(20, 1200, 1);
    assert!(4000 < stored.len(), "full after {}", stored.len());
    drain(&mut run, &stored, 1);
    disk.kill();
    assert_eq!(ids(&Run::open(&disk).unwrap().recover()), BTreeSet::from([1]));
}

#[test]
fn mail_leaves_a_full_disk_in_any_order() {
    for (body_bytes, stored_at_once, unlinked_at_once) in [(5000, 1, 50), (1200, 50, 1), (60_000, 3, 1)] {
        let (disk, mut run, stored) = filled(18, body_bytes, stored_at_once);
        let order = shuffled(stored);
        let (first, rest) = order.split_at(order.len() / 2);
        drain(&mut run, first, unlinked_at_once);
        let copy = disk.duplicate(1);
        let left: BTreeSet<u64> = rest.iter().copied().chain([1]).collect();
        assert_eq!(ids(&Run::open(&copy).unwrap().recover()), left);
        run.unlink(1);
        drain(&mut run, rest, unlinked_at_once);
    }
}

/// What is left of a device beside whole segments is not given to mail: mail in a short segment would leave no file behind in
/// which others could be gathered. Whether others take it or it stays free, all mail can leave.
#[test]
fn mail_leaves_a_full_disk_that_is_no_multiple_of_a_segment() {
    for (eighths, others) in [(1, true), (2, false), (4, false), (6, false), (7, false)] {
        let (disk, mut run, stored) = filled_device(18 * MIB + eighths * MIB / 8, 1200, 50);
        let short = |segment: &super::super::index::Segment| u64::from(segment.capacity) < MIB;
        assert!(!run.shared.index().segments.values().any(short), "mail stands in a short segment");
        assert!(run.shared.mail_room() == 0);
        if !others {
            let used: u64 = disk.files(Path::new("/")).iter().map(|(_, contents)| contents.len() as u64).sum();
            disk.set_capacity(used + eighths * MIB / 8);
        }
        drain(&mut run, &shuffled(stored), 10);
    }
}

#[test]
fn unlinks_share_their_commits_only_while_room_is_scarce() {
    let (disk, mut run, stored) = filled(18, 5000, 1);
    assert!(!run.committer.is_short(), "mail was being written");
    let mut order = stored.into_iter();
    for id in order.by_ref() {
        run.unlink(id);
        run.keep_up();
        if run.committer.is_short() {
            break;
        }
    }
    assert!(run.committer.is_short(), "a full disk has no other segment than a reserve");
    disk.set_capacity(u64::MAX / 4);
    order.for_each(|id| run.unlink(id));
    run.keep_up();
    (0..40).for_each(|n| run.store(&Mail::new(9000 + n, 1, 60_000)).unwrap());
    assert!(!run.committer.is_short(), "space has come back");
}

#[test]
fn moving_mail_leaves_the_reserves_to_unlinks() {
    let (_, mut run, stored) = filled(18, 5000, 1);
    // Of every segment some, so that all of them are worth moving.
    for id in stored.iter().filter(|&id| id % 5 < 3) {
        run.unlink(*id);
        run.keep_up();
        assert!(run.shared.spares.count().reserves != 0);
    }
    assert!(run.shared.gauges.compacted.get() != 0);
}

#[test]
fn survivors_are_moved_in_portions() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open_with(&disk, 1 << 20).unwrap();
    for id in 1000..3000 {
        run.store(&Mail::new(id, 1, 3000)).unwrap();
    }
    (1000..3000).filter(|id| id % 5 < 3).for_each(|id| run.unlink(id));
    let Run { shared, committer, .. } = &mut run;
    let mut portions = 0;
    let mut submit = |copies: Vec<Copied>| {
        let octets: usize =
            copies.iter().map(|copy| if let Copied::Body { payload, .. } = copy { payload.len() } else { 0 }).sum();
        assert!(octets <= 256 << 10, "{octets} octets of mail held at once");
        portions += 1;
        commit_copies(committer, copies)
    };
    for _ in 0..40 {
        upkeep::step(shared, &mut submit);
    }
    assert!(shared.gauges.compacted.get() != 0 && portions != 0);
}

#[test]
fn restarts_on_a_full_disk_do_not_use_its_reserves_up() {
    let (disk, mut run, stored) = filled(18, 5000, 1);
    let (first, rest) = stored.split_at(stored.len() / 4);
    for some in shuffled(first.to_vec()).chunks(20) {
        drop(run);
        disk.kill();
        run = Run::open_with(&disk, 1 << 20).unwrap();
        run.recover();
        for &id in some {
            run.unlink(id);
            run.keep_up();
            assert!(!run.committer.owes(), "{id} could not be recorded");
        }
    }
    disk.kill();
    assert_eq!(ids(&Run::open(&disk).unwrap().recover()), rest.iter().copied().collect());
}

/// Mail delayed for days beside mail that comes and goes: one message in each segment stays.
#[test]
fn long_delayed_mail_pins_no_space() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    let mut delayed = BTreeSet::new();
    for id in 1000..2000 {
        run.store(&Mail::new(id, 1, 4000)).unwrap();
        // A segment holds about seven.
        if id % 7 == 0 {
            delayed.insert(id);
        } else {
            run.unlink(id);
        }
        if id % 20 == 0 {
            run.keep_up();
        }
    }
    run.keep_up();
    let (used, live) = run.shared.index().space();
    assert!(used <= 2 * live + SEGMENT, "{used} octets for {live} alive");
    let on_disk: u64 = disk.files(Path::new(SEGMENTS)).iter().map(|(_, octets)| octets.len() as u64).sum();
    // One being written, two spares and two of headroom, reserves, summaries.
    assert!(on_disk <= 2 * live + 8 * SEGMENT, "{on_disk} octets on disk for {live} alive");
    disk.kill();
    assert_eq!(ids(&Run::open(&disk).unwrap().recover()), delayed);
}

const MIB: u64 = 1 << 20;
