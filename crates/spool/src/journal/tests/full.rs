//! A full disk, failing writes and failing syncs.

use super::*;

#[test]
fn a_full_disk_refuses_mail_and_still_records_deliveries() {
    let disk = FaultyDisk::seeded(1);
    disk.set_capacity(20 * SEGMENT);
    let mut run = Run::open(&disk).unwrap();
    run.recover().unwrap();
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
    assert_eq!(ids(&Run::open(&copy).unwrap().recover().unwrap()), stored.iter().copied().collect());
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
        assert_eq!(ids(&run.recover().unwrap()), BTreeSet::from([1, 3, 4]), "seed {seed}");
        run.keep_up();
        disk.crash();
        assert_eq!(ids(&Run::open(&disk).unwrap().recover().unwrap()), BTreeSet::from([1, 3, 4]), "seed {seed}");
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
    assert_eq!(Run::open(&disk).unwrap().recover().unwrap()[&1], b"envelope of 1");
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
    assert_eq!(ids(&Run::open(&disk).unwrap().recover().unwrap()), BTreeSet::from([2]));
}

#[test]
fn a_short_write_is_continued() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    disk.arm(Fault::WriteShort(1));
    run.store(&Mail::new(1, 1, 9000)).unwrap();
    disk.crash();
    let mut run = Run::open(&disk).unwrap();
    run.recover().unwrap();
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
