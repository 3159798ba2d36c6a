//! What the machine does to a spool: quotas, descriptors, a file system that turns read-only, copies taken while it runs.

use super::*;

fn holds(disk: &FaultyDisk, expected: impl IntoIterator<Item = u64>) {
    let copy = disk.duplicate(9);
    let found = Run::open(&copy).expect("opens").recover();
    assert_eq!(ids(&found), expected.into_iter().collect());
}

#[test]
fn an_exceeded_quota_is_a_full_disk() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    run.store(&Mail::new(1, 1, 100)).unwrap();
    disk.arm(Fault::WriteQuota(1));
    let refused = run.store(&Mail::new(2, 1, 100));
    assert!(matches!(refused, Err(SpoolError::Full { .. })), "{refused:?}");
    run.store(&Mail::new(3, 1, 100)).expect("below the quota again");
    run.unlink(1);
    holds(&disk, [3]);
}

#[test]
fn without_descriptors_mail_is_refused_until_there_are_some_again() {
    let disk = FaultyDisk::seeded(2);
    let mut run = Run::open(&disk).unwrap();
    run.recover();
    run.keep_up();
    disk.arm(Fault::NoDescriptors(1, 8));
    let (mut stored, mut refused) = (BTreeSet::new(), 0);
    for batch in 1..200 {
        match run.store(&Mail::new(batch, 1, 3000)) {
            Ok(()) => {
                stored.insert(batch);
            }
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                refused += 1;
            }
        }
        run.keep_up();
    }
    assert!(refused < 20, "{refused} refused though descriptors came back");
    assert!(180 < stored.len());
    holds(&disk, stored);
}

#[test]
fn a_spool_that_turns_read_only_refuses_mail_and_loses_none() {
    for seed in 0..20 {
        let disk = FaultyDisk::seeded(seed);
        let mut run = Run::open(&disk).unwrap();
        run.recover();
        (1..=30).for_each(|batch| run.store(&Mail::new(batch, 1, 3000)).unwrap());
        disk.read_only(true);
        for batch in 31..=40 {
            let refused = run.store(&Mail::new(batch, 1, 3000)).expect_err("nothing can be written");
            assert!(refused.is_transient(), "{refused}");
        }
        // Deliveries go on; what they ended is written when that is possible.
        (1..=10).for_each(|id| run.unlink(id));
        run.keep_up();
        let kept = disk.duplicate(seed);
        assert_eq!(ids(&Run::open(&kept).unwrap().recover()), (1..=30).collect(), "seed {seed}");

        disk.read_only(false);
        run.store(&Mail::new(41, 1, 3000)).expect("writable again");
        run.keep_up();
        run.commit(Vec::new());
        assert!(!run.committer.owes(), "the deliveries of the outage are written");
        disk.crash();
        assert_eq!(ids(&Run::open(&disk).unwrap().recover()), (11..=30).chain([41]).collect(), "seed {seed}");
    }
}

#[test]
fn a_spool_that_is_read_only_at_the_start_is_not_opened() {
    let disk = FaultyDisk::seeded(3);
    let mut run = Run::open(&disk).unwrap();
    run.store(&Mail::new(1, 1, 100)).unwrap();
    drop(run);
    disk.read_only(true);
    let Err(refused) = Run::open(&disk) else { panic!("opened on a file system that takes nothing") };
    assert!(refused.to_string().contains("/spool"), "{refused}");
    disk.read_only(false);
    holds(&disk, [1]);
}
