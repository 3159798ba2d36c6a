//! Summaries spare a start the bodies, and are only a cache: without them, or with bad ones, everything is the same.

use super::*;
use crate::disk::Disk;
use crate::journal::inspect::{Inspection, SummaryState};

/// Forty messages over many segments, every third still there, and upkeep done.
fn spool(seed: u64) -> FaultyDisk {
    let disk = FaultyDisk::seeded(seed);
    let mut run = Run::open(&disk).unwrap();
    run.recover();
    for id in 100..180 {
        run.store(&Mail::new(id * 4, 1 + id % 3, 5000)).unwrap();
    }
    (100..180).filter(|id| id % 3 != 0).for_each(|id| run.unlink(id * 4));
    run.keep_up();
    disk.kill();
    disk
}

fn summaries(disk: &FaultyDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let files = disk.files(Path::new(SEGMENTS)).into_iter();
    files.filter(|(path, _)| path.extension().is_some_and(|extension| extension == "summary")).collect()
}

fn without_summaries(disk: &FaultyDisk) -> FaultyDisk {
    let bare = disk.duplicate(1);
    for (path, _) in summaries(disk) {
        bare.remove(&path).unwrap();
    }
    bare
}

/// Everything a recovery says.
fn recovered(disk: &FaultyDisk) -> (HandedOver, Vec<(u32, u32, u64)>, u64) {
    let mut run = Run::open(disk).unwrap();
    let found = run.recover();
    let index = run.shared.index();
    let segments = index.segments.iter().map(|(&sequence, segment)| (sequence, segment.end, segment.live)).collect();
    drop(index);
    (found, segments, run.shared.gauges.summaries_read.get())
}

#[test]
fn a_start_reads_no_body_of_a_summarised_segment() {
    let disk = spool(1);
    let expected = recovered(&without_summaries(&disk.duplicate(1)));
    assert!(3 <= summaries(&disk).len(), "{} summaries", summaries(&disk).len());
    let before = disk.duplicate(2);
    // A body of a summarised segment cannot be read: nobody notices before it is wanted.
    let (path, _) = &summaries(&disk)[0];
    before.spoil(&path.with_extension("segment"), 4096..4097);
    let (found, segments, read) = recovered(&before);
    assert_eq!((&found, &segments), (&expected.0, &expected.1));
    assert_eq!((read, expected.2), (summaries(&disk).len() as u64, 0));
}

#[test]
fn a_summary_that_does_not_check_out_is_passed_over() {
    let disk = spool(1);
    let (expected, segments, all) = recovered(&disk.duplicate(1));
    let (path, contents) = summaries(&disk).remove(1);
    for at in (0..contents.len()).step_by(5) {
        let copy = disk.duplicate(1);
        let mut flipped = contents.clone();
        flipped[at] ^= 1 << (at % 8);
        copy.overwrite(&path, flipped);
        assert_eq!(recovered(&copy), (expected.clone(), segments.clone(), all - 1), "octet {at}");
    }
    for cut in (0..contents.len()).step_by(11) {
        let copy = disk.duplicate(1);
        copy.overwrite(&path, contents[..cut].to_vec());
        assert_eq!(recovered(&copy), (expected.clone(), segments.clone(), all - 1), "cut at {cut}");
    }
}

#[test]
fn a_summary_of_another_use_of_the_file_is_passed_over() {
    let disk = spool(1);
    let (expected, segments, all) = recovered(&disk.duplicate(1));
    let found = summaries(&disk);
    let copy = disk.duplicate(1);
    copy.overwrite(&found[0].0, found[1].1.clone());
    assert_eq!(recovered(&copy), (expected, segments, all - 1));
}

#[test]
fn with_and_without_summaries_a_start_finds_the_same() {
    for seed in 0..60 {
        let disk = FaultyDisk::seeded(seed);
        let mut random = Seeded(seed);
        let mut alive = Vec::new();
        let mut next = 1000;
        for _boot in 0..3 {
            let mut run = Run::open(&disk).unwrap();
            run.recover();
            for _ in 0..40 {
                let mail = Mail::new(next, 1 + random.below(3), random.below(6000) as usize);
                next += 10;
                run.store(&mail).unwrap();
                alive.extend(mail.headers.iter().map(|(id, _)| (*id, mail.batch)));
                if random.one_in(2) {
                    let (id, _) = alive.swap_remove(random.below(alive.len() as u64) as usize);
                    run.unlink(id);
                }
                if let Some(&(id, batch)) = alive.first().filter(|_| random.one_in(4)) {
                    run.commit(vec![rewrite(id, batch, vec![7; random.below(200) as usize]).0]);
                }
                if random.one_in(4) {
                    run.keep_up();
                }
            }
            if random.one_in(2) { disk.crash() } else { disk.kill() }
        }
        let (found, segments, _) = recovered(&disk.duplicate(1));
        let (bare_found, bare_segments, none) = recovered(&without_summaries(&disk));
        assert_eq!(none, 0);
        assert_eq!(ids(&found), alive.iter().map(|(id, _)| *id).collect(), "seed {seed}");
        assert_eq!((found, segments), (bare_found, bare_segments), "seed {seed}");
    }
}

#[test]
fn a_segment_with_damage_is_not_summarised_and_is_reported_at_every_start() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    for id in 100..160 {
        run.store(&Mail::new(id, 1, 5000)).unwrap();
    }
    disk.kill();
    let (path, mut contents) = first_segment(&disk);
    contents[4096 + 100] ^= 1;
    disk.overwrite(&path, contents);
    for _ in 0..3 {
        let mut run = Run::open(&disk).unwrap();
        assert_eq!(run.recover().len(), 59);
        assert!(run.shared.gauges.damaged.get() != 0);
        run.keep_up();
        assert!(!disk.files(Path::new(SEGMENTS)).iter().any(|(file, _)| *file == path.with_extension("summary")));
        disk.kill();
    }
}

#[test]
fn summaries_go_with_their_segments() {
    let disk = spool(1);
    let mut run = Run::open(&disk).unwrap();
    run.recover().into_keys().for_each(|id| run.unlink(id));
    run.store(&Mail::new(9000, 1, 60_000)).unwrap();
    run.keep_up();
    assert_eq!(summaries(&disk).len(), 0);
}

#[test]
fn damage_to_the_last_commit_of_a_killed_run_is_not_taken_for_a_torn_write_once_a_start_has_seen_it_whole() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    (100..104).for_each(|id| run.store(&Mail::new(id, 1, 3000)).unwrap());
    disk.kill();
    let mut run = Run::open(&disk).unwrap();
    assert_eq!(ids(&run.recover()), (100..104).collect());
    run.keep_up();
    disk.kill();
    let (path, mut contents) = first_segment(&disk);
    let body = contents.windows(22).rposition(|octets| octets == b"line of message 103\r\nl").unwrap();
    contents[body] ^= 1;
    disk.overwrite(&path, contents);
    let mut run = Run::open(&disk).unwrap();
    assert_eq!(ids(&run.recover()), (100..104).collect());
    assert!(matches!(run.shared.fetch_body(103), Err(SpoolError::Damaged { .. })));
    assert_eq!(run.shared.gauges.set_aside.get(), 1);
}

#[test]
fn the_summary_of_a_segment_that_is_gone_is_removed_by_the_next_start() {
    let disk = spool(1);
    let (path, contents) = summaries(&disk).remove(0);
    let orphan = path.with_file_name("00009999.summary");
    disk.create(&orphan, 0o640).unwrap();
    disk.overwrite(&orphan, contents);
    let found = recovered(&disk);
    assert!(!summaries(&disk).iter().any(|(path, _)| *path == orphan));
    disk.kill();
    assert_eq!(recovered(&disk).0, found.0);
}

#[test]
fn a_summary_that_cannot_be_written_is_tried_again_when_the_device_works() {
    let disk = spool(1);
    let disk = without_summaries(&disk);
    let mut run = Run::open(&disk).unwrap();
    run.recover();
    disk.arm(Fault::SyncError(1));
    run.keep_up();
    let short = summaries(&disk).len();
    disk.arm(Fault::WriteError(1));
    run.store(&Mail::new(9000, 1, 100)).unwrap_err();
    run.store(&Mail::new(9001, 1, 100)).unwrap();
    run.keep_up();
    assert!(short <= summaries(&disk).len());
    let before = recovered(&disk.duplicate(1));
    assert_eq!(before.0, recovered(&without_summaries(&disk)).0);
}

#[test]
fn siblings_of_a_message_delivered_while_the_rest_is_put_in_order_keep_their_body() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open_with(&disk, 1 << 20).unwrap();
    let mail = Mail::new(10_000, 3000, 5000);
    run.store(&mail).unwrap();
    disk.kill();
    let mut run = Run::open_with(&disk, 1 << 20).unwrap();
    let recovery = run.recovery.take().unwrap();
    let Run { shared, committer, .. } = &mut run;
    let committer = std::cell::RefCell::new(committer);
    let mut count = 0;
    recovery.run(shared, &mut |copies| commit_copies(&mut committer.borrow_mut(), copies), &mut |id, _| {
        count += 1;
        committer.borrow_mut().commit(&mut VecDeque::from([Op::Unlink(id.to_bits())]));
        let last = mail.batch + 2999;
        assert!(count <= 500 || id.to_bits() == last || shared.fetch_body(last).is_ok(), "after {count}");
    });
    assert_eq!((count, shared.index().len()), (3000, 0));
    run.keep_up();
    assert!(run.segments() <= 2, "{} segments for no message", run.segments());
}

#[test]
fn an_inspection_finds_what_a_start_finds_and_changes_nothing() {
    let disk = spool(1);
    let before = disk.files(Path::new("/"));
    let seam: Arc<dyn Disk> = Arc::new(disk.clone());
    let seen = Inspection::open(Path::new("/spool"), &seam).unwrap();
    assert_eq!(disk.files(Path::new("/")), before);
    let states = |wanted| {
        let used = seen.segments().iter().filter_map(|segment| segment.used.as_ref());
        used.filter(|used| used.summary == wanted).count()
    };
    assert_eq!((states(SummaryState::Good), states(SummaryState::Wrong)), (summaries(&disk).len(), 0));
    let mut run = Run::open(&disk).unwrap();
    let found = run.recover();
    assert_eq!(seen.messages().iter().map(|message| message.id.to_bits()).collect::<BTreeSet<_>>(), ids(&found));
    for message in seen.messages() {
        let id = message.id.to_bits();
        assert_eq!(seen.headers(message).unwrap(), found[&id]);
        assert_eq!(seen.body(message).unwrap(), run.shared.fetch_body(id).unwrap());
    }
    assert!(seen.damage().is_empty() && seen.without_body().is_empty() && seen.unreadable().is_empty());
}

#[test]
fn an_inspection_names_damage_and_torn_mail() {
    let disk = FaultyDisk::seeded(3);
    let mut run = Run::open(&disk).unwrap();
    for id in 100..160 {
        run.store(&Mail::new(id, 1, 5000)).unwrap();
    }
    disk.kill();
    let (path, mut contents) = first_segment(&disk);
    contents[4096 + 100] ^= 1;
    disk.overwrite(&path, contents);
    let seam: Arc<dyn Disk> = Arc::new(disk.clone());
    let seen = Inspection::open(Path::new("/spool"), &seam).unwrap();
    assert_eq!(seen.messages().len(), 59);
    assert_eq!(seen.damage().iter().map(|damage| (&damage.path, damage.torn)).collect::<Vec<_>>(), [(&path, false)]);
    assert_eq!(seen.without_body(), [MessageId::from_bits(100)]);
}
