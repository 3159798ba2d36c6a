//! Segment files that somebody removed: told at the start and by the offline check, and counted; and what goes by itself is
//! never missed, whenever power is lost.

use super::*;
use crate::disk::Disk;
use crate::journal::inspect::Inspection;
use crate::journal::sorting::Sorted;

/// Segments that a start would miss.
pub fn missing(disk: &FaultyDisk) -> Option<(usize, Option<u32>)> {
    Sorted::look(disk, Path::new(SEGMENTS)).unwrap().missing()
}

/// Five segments with mail in each, left by a process that was killed.
fn killed() -> (FaultyDisk, BTreeMap<u32, PathBuf>) {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    run.recover();
    run.keep_up();
    let mut id = 1000;
    while run.segments() < 5 {
        run.store(&Mail::new(id, 1, 5000)).unwrap();
        id += 1;
    }
    let index = run.shared.index();
    let paths = index.segments.iter().map(|(&number, found)| (number, run.shared.spares.path(found.slot)));
    let paths = paths.collect();
    drop(index);
    disk.kill();
    (disk, paths)
}

#[test]
fn any_segment_that_was_removed_is_missed_by_its_number() {
    let (disk, paths) = killed();
    assert_eq!(missing(&disk), None);
    for (number, path) in paths {
        let disk = disk.duplicate(1);
        disk.remove(&path).unwrap();
        let seam: Arc<dyn Disk> = Arc::new(disk.clone());
        let said = Inspection::open(Path::new("/spool"), &seam).unwrap().missing().map(str::to_owned);
        let wanted = format!("segment {number} is missing");
        assert!(said.as_ref().is_some_and(|said| said.contains(&wanted)), "{wanted}: {said:?}");
        let mut run = Run::open(&disk).unwrap();
        run.recover();
        assert!(run.shared.gauges.damaged.get() != 0, "{number} is gone and not counted");
    }
}

#[test]
fn several_that_were_removed_are_counted() {
    let (disk, paths) = killed();
    for path in paths.values().take(3) {
        disk.remove(path).unwrap();
    }
    assert_eq!(missing(&disk), Some((3, None)));
    drop(Run::open(&disk).unwrap());
    disk.kill();
    assert_eq!(missing(&disk), None, "told once");
}

/// Power is lost at every operation of upkeep that scrubs and removes files.
#[test]
fn a_segment_that_was_recycled_is_never_missed() {
    for operation in 1..120 {
        let disk = FaultyDisk::seeded(operation);
        disk.lose_pages();
        let mut run = Run::open(&disk).unwrap();
        run.recover();
        for id in 1000..1040 {
            run.store(&Mail::new(id, 1, 5000)).unwrap();
        }
        (1000..1030).for_each(|id| run.unlink(id));
        run.store(&Mail::new(1, 1, 100)).unwrap();
        disk.arm(Fault::PowerLoss(operation));
        run.keep_up();
        drop(run);
        disk.kill();
        assert_eq!(missing(&disk), None, "operation {operation}, killed");
        disk.crash();
        assert_eq!(missing(&disk), None, "operation {operation}");
    }
}

/// A process that is killed leaves a witness of its last commit, however short before it was made.
#[test]
fn the_last_commit_before_a_kill_is_missed() {
    for zeroed in [8192..8704, 8192..12_288, 12_288..16_384, 8192..65_536] {
        let disk = FaultyDisk::seeded(1);
        let mut run = Run::open(&disk).unwrap();
        (1..=3).for_each(|id| run.store(&Mail::new(id, 1, 1000)).unwrap());
        disk.kill();
        let (path, mut contents) = first_segment(&disk);
        let end = contents.len();
        contents[zeroed.start..zeroed.end.min(end)].fill(0);
        disk.overwrite(&path, contents);
        let mut run = Run::open(&disk).unwrap();
        let found = run.recover();
        assert!(found.len() < 3, "{zeroed:?}");
        assert!(run.shared.gauges.damaged.get() != 0, "{zeroed:?}: {} are lost and nothing is told", 3 - found.len());
    }
}
