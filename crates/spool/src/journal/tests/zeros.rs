//! Pages of zeros, and of an earlier use of the file, where records should be: every message is there, octet for octet, or its
//! loss is told, counted and set aside; and nothing that is over comes back. The offline check sees the same.

use super::*;
use crate::disk::Disk;
use crate::journal::inspect::Inspection;

/// What a spool holds, and the files of it before they were used for that.
struct Spool {
    disk: FaultyDisk,
    alive: BTreeMap<u64, Bytes>,
    /// Finished before the segments were used for what they hold: must not come back.
    over: BTreeSet<u64>,
    before: BTreeMap<PathBuf, Vec<u8>>,
}

/// Files used before, and used again for a few segments of mail.
fn spool(closed: bool) -> Spool {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    run.recover();
    run.keep_up();
    let mut over = BTreeSet::new();
    for id in 100..150 {
        run.store(&Mail::new(id, 1, 3500)).unwrap();
        over.insert(id);
    }
    over.iter().for_each(|&id| run.unlink(id));
    run.store(&Mail::new(200, 1, 50_000)).unwrap();
    run.keep_up();
    run.unlink(200);
    over.insert(200);
    run.store(&Mail::new(201, 1, 60_000)).unwrap();
    run.unlink(201);
    over.insert(201);
    run.keep_up();
    let before: BTreeMap<PathBuf, Vec<u8>> = segments(&disk).into_iter().collect();
    let mut alive = BTreeMap::new();
    let mut next = 1000;
    while run.segments() < 5 {
        let mail = Mail::new(next, 1 + next % 3, 900 + (next as usize * 7) % 5000);
        next += 10;
        run.store(&mail).unwrap();
        alive.extend(mail.headers.iter().map(|(id, _)| (*id, mail.body.clone())));
    }
    run.commit(vec![Op::Unlink(1000), Op::Unlink(1011)]);
    alive.retain(|id, _| ![1000, 1011].contains(id));
    if closed {
        let (promise, ticket) = Ticket::new();
        run.commit(vec![Op::Close(promise)]);
        ticket.wait().unwrap();
    } else {
        run.committer.note();
    }
    disk.kill();
    Spool { disk, alive, over, before }
}

impl Spool {
    /// Starts on a copy with `octets` in that file: what came back, and what was told of what did not.
    fn start_on(&self, path: &Path, octets: Vec<u8>, what: &str) {
        let disk = self.disk.duplicate(1);
        disk.overwrite(path, octets);
        let seam: Arc<dyn Disk> = Arc::new(disk.clone());
        let seen = Inspection::open(Path::new("/spool"), &seam).unwrap();
        let mut run = Run::open(&disk).unwrap();
        let found = run.recover();
        let told = run.shared.gauges.damaged.get();
        let mut lost = 0;
        for (id, body) in &self.alive {
            if !found.contains_key(id) {
                lost += 1;
                continue;
            }
            assert_eq!(found[id], format!("envelope of {id}").into_bytes(), "{what}: wrong headers of {id}");
            match run.shared.fetch_body(*id) {
                Ok(read) => assert_eq!(Bytes::from(read), *body, "{what}: wrong body of {id}"),
                Err(error) => assert!(matches!(error, SpoolError::Damaged { .. }), "{what}: {error}"),
            }
        }
        for id in found.keys() {
            assert!(!self.over.contains(id), "{what}: {id} was over and is back");
            // The unlink may have been hit: told, and delivered again.
            assert!(self.alive.contains_key(id) || told != 0, "{what}: {id} is back and nothing is told");
        }
        assert!(lost == 0 || told != 0, "{what}: {lost} are lost and nothing is told");
        let aside = disk.files(Path::new("/spool/damaged")).len();
        assert!(lost == 0 || aside != 0, "{what}: {lost} are lost and nothing is set aside");
        let sound = seen.damage().iter().all(|damage| damage.torn)
            && seen.without_body().is_empty()
            && seen.heads().is_empty()
            && seen.unnoted().is_none();
        let seen: BTreeSet<u64> = seen.messages().iter().map(|message| message.id.to_bits()).collect();
        assert_eq!(seen, ids(&found), "{what}: the check sees other mail");
        assert!(!sound || lost == 0, "{what}: the check finds it sound");
        // A second start decides the same, and so does one after upkeep and a power loss.
        run.keep_up();
        drop(run);
        disk.crash();
        let again = ids(&Run::open(&disk).unwrap().recover());
        assert_eq!(again, ids(&found), "{what}: the next start finds something else");
    }

    /// Each range of each file in turn becomes what `change` makes of it.
    fn each(&self, ranges: &[(usize, usize)], change: impl Fn(&Path, &mut [u8], usize)) {
        for (path, contents) in segments(&self.disk) {
            for &(step, length) in ranges {
                for at in (0..contents.len()).step_by(step) {
                    let end = contents.len().min(at + length);
                    let mut changed = contents.clone();
                    change(&path, &mut changed[at..end], at);
                    if changed != contents {
                        self.start_on(&path, changed, &format!("{} {at}..{end}", path.display()));
                    }
                }
            }
        }
    }
}

fn zeroed(_: &Path, octets: &mut [u8], _: usize) {
    octets.fill(0);
}

#[test]
fn a_page_of_zeros_anywhere_costs_what_it_hits_and_is_told() {
    for closed in [false, true] {
        spool(closed).each(&[(4096, 4096)], zeroed);
    }
}

#[test]
fn zeros_over_any_sector_and_over_odd_ranges_are_told() {
    spool(false).each(&[(3 * 512, 512), (6151, 2049), (9973, 13_007), (16_384, 65_536)], zeroed);
}

#[test]
fn what_an_earlier_use_of_the_file_held_is_told_where_it_comes_back() {
    let spool = spool(false);
    spool.each(&[(4096, 4096), (12_288, 8192), (16_384, 65_536)], |path, octets, at| {
        if let Some(before) = spool.before.get(path) {
            let end = before.len().min(at + octets.len());
            let length = end.saturating_sub(at);
            octets[..length].copy_from_slice(&before[at.min(end)..end]);
        }
    });
}

#[test]
fn a_file_that_is_empty_short_or_nothing_but_zeros_is_told() {
    for closed in [false, true] {
        let spool = spool(closed);
        for (path, contents) in segments(&spool.disk) {
            for length in [0, 1, 511, 4096, 4097, 8192, 20_000, 40_000] {
                if length < contents.len() {
                    spool.start_on(&path, contents[..length].to_vec(), &format!("{} cut at {length}", path.display()));
                }
            }
            spool.start_on(&path, vec![0; contents.len()], &format!("{} all zeros", path.display()));
        }
    }
}

#[test]
fn a_summary_and_a_note_of_zeros_are_told_and_cost_nothing() {
    let spool = spool(false);
    let mut run = Run::open(&spool.disk).unwrap();
    run.recover();
    run.keep_up();
    spool.disk.kill();
    let others = spool.disk.files(Path::new(SEGMENTS)).into_iter();
    let others: Vec<_> = others.filter(|(path, _)| path.extension().is_none_or(|ext| ext != "segment")).collect();
    assert!(2 <= others.len(), "{} other files", others.len());
    for (path, contents) in others {
        let disk = spool.disk.duplicate(1);
        disk.overwrite(&path, vec![0; contents.len()]);
        let mut run = Run::open(&disk).unwrap();
        assert_eq!(ids(&run.recover()), spool.alive.keys().copied().collect(), "{}", path.display());
        assert!(run.shared.gauges.damaged.get() != 0, "{}: not told", path.display());
    }
}

#[test]
fn the_last_commit_of_a_run_is_missed_once_it_has_been_noted() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    (1..=3).for_each(|id| run.store(&Mail::new(id, 1, 1000)).unwrap());
    assert!(run.committer.unnoted());
    run.committer.note();
    assert!(!run.committer.unnoted());
    disk.kill();
    let (path, mut contents) = first_segment(&disk);
    contents[8192..].fill(0);
    disk.overwrite(&path, contents);
    let mut run = Run::open(&disk).unwrap();
    assert_eq!(ids(&run.recover()), BTreeSet::from([1]));
    assert_eq!(run.shared.gauges.damaged.get(), 1);
    assert_eq!(disk.files(Path::new("/spool/damaged")).len(), 1);
}
