//! A copy of a spool that runs, file after file, in any order.

use std::ops::Range;
use std::time::Duration;

use super::super::hold::Void;
use super::*;
use crate::disk::Disk;

const HOUR: Duration = Duration::from_secs(3600);

/// Copies one file at a time, a piece at a time, as programs for that do.
struct Copying {
    from: FaultyDisk,
    to: FaultyDisk,
    waiting: Vec<PathBuf>,
    current: Option<(PathBuf, Vec<u8>)>,
}

impl Copying {
    fn begin(from: &FaultyDisk, random: &mut Seeded) -> Self {
        let mut waiting: Vec<PathBuf> = from.files(Path::new("/spool")).into_iter().map(|(path, _)| path).collect();
        for last in (1..waiting.len()).rev() {
            waiting.swap(last, random.below(last as u64 + 1) as usize);
        }
        let to = FaultyDisk::seeded(random.below(1000));
        to.create_dir(Path::new(SEGMENTS)).unwrap();
        Self { from: from.clone(), to, waiting, current: None }
    }

    /// One piece; false when all is copied. A file that is gone is passed over.
    fn go_on(&mut self, random: &mut Seeded) -> bool {
        let Some((path, mut octets)) = self.current.take().or_else(|| Some((self.waiting.pop()?, Vec::new()))) else {
            return false;
        };
        let mut piece = vec![0; 1 + random.below(40_000) as usize];
        let read = match self.from.open(&path) {
            Ok(file) => file.read_full(&mut piece, octets.len() as u64).unwrap(),
            Err(_) => return true,
        };
        octets.extend_from_slice(&piece[..read]);
        if read == piece.len() {
            self.current = Some((path, octets));
        } else {
            self.to.create(&path, 0o640).unwrap();
            self.to.overwrite(&path, octets);
        }
        true
    }
}

/// What a copy lacks and what it has that it should not, after some mail came and went while it was made.
fn copied(seed: u64, held: bool) -> Vec<String> {
    let (disk, mut random) = (FaultyDisk::seeded(seed), Seeded(seed));
    let mut run = Run::open(&disk).unwrap();
    run.recover();
    let mut mail = Vec::new();
    let first = 40 + random.below(60);
    traffic(&mut run, &mut mail, &mut random, 1000..1000 + first);
    if held {
        run.shared.hold.begin(run.shared.clock.now(), HOUR);
    }
    let before: BTreeSet<u64> = mail.iter().map(|mail: &Mail| mail.batch).collect();
    let mut copying = Copying::begin(&disk, &mut random);
    let mut next = 5000;
    while copying.go_on(&mut random) {
        if random.one_in(2) {
            let count = 1 + random.below(6);
            traffic(&mut run, &mut mail, &mut random, next..next + count);
            next += count;
        }
    }
    if held {
        run.shared.hold.end(run.shared.clock.now()).expect("nothing ended the hold");
    }
    let mut wrong = Vec::new();
    let mut restored = Run::open(&copying.to).unwrap();
    let found = restored.recover();
    // Before the copy began, and after it ended.
    for one in mail.iter().filter(|mail| before.contains(&mail.batch)) {
        let headers =
            found.get(&one.batch).is_some_and(|found| found.starts_with(b"envelope of") || found[..] == [9; 80]);
        if !headers || restored.shared.fetch_body(one.batch).ok().as_deref() != Some(&one.body[..]) {
            wrong.push(format!("{} is lost", one.batch));
        }
    }
    for &id in found.keys().filter(|&&id| id < 5000 && !before.contains(&id)) {
        wrong.push(format!("{id} was finished before the copy began, and is back"));
    }
    copying.to.crash();
    let again = Run::open(&copying.to).unwrap().recover();
    if ids(&again) != ids(&found) {
        wrong.push("the second start found other mail than the first".to_owned());
    }
    wrong
}

fn traffic(run: &mut Run, mail: &mut Vec<Mail>, random: &mut Seeded, ids: Range<u64>) {
    for id in ids {
        let one = Mail::new(id, 1, random.below(6000) as usize);
        run.store(&one).unwrap();
        mail.push(one);
        for _ in 0..random.below(3) {
            let victim = mail.swap_remove(random.below(mail.len() as u64) as usize);
            run.unlink(victim.batch);
            if mail.is_empty() {
                break;
            }
        }
        if random.one_in(3) && !mail.is_empty() {
            let changed = &mail[random.below(mail.len() as u64) as usize];
            run.commit(vec![rewrite(changed.batch, changed.batch, vec![9; 80]).0]);
        }
        run.keep_up();
    }
}

#[test]
fn a_copy_of_a_held_spool_has_all_that_was_there_before_and_after() {
    for seed in 0..300 {
        assert_eq!(copied(seed, true), Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn without_a_hold_a_copy_lacks_mail() {
    assert!((0..300).any(|seed| copied(seed, false).iter().any(|wrong| wrong.ends_with("is lost"))));
}

#[test]
fn a_hold_that_was_not_kept_is_told() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    run.recover();
    let (hold, now) = (&run.shared.hold, run.shared.clock.now());
    assert_eq!(hold.end(now), Err(Void::NotHeld));
    hold.begin(now, HOUR);
    assert_eq!(hold.end(now + HOUR), Err(Void::Late));
    hold.begin(now, HOUR);
    assert!(!hold.is_in_effect(now + HOUR));
    assert_eq!(hold.end(now), Err(Void::Late));
    hold.begin(now, HOUR);
    hold.begin(now, HOUR / 60);
    assert_eq!(hold.end(now + HOUR / 2), Ok(HOUR / 2), "a second one does not cut it short");
    run.store(&Mail::new(1, 1, 100)).unwrap();
    let hold = &run.shared.hold;
    hold.begin(now, HOUR);
    disk.arm(Fault::SyncError(1));
    run.store(&Mail::new(2, 1, 100)).unwrap_err();
    assert_eq!(run.shared.hold.end(now), Err(Void::Failed));
}

#[test]
fn a_hold_ends_before_mail_would_be_refused_for_want_of_what_it_keeps() {
    let disk = FaultyDisk::seeded(1);
    disk.set_capacity(30 * SEGMENT);
    let mut run = Run::open(&disk).unwrap();
    run.recover();
    run.keep_up();
    run.shared.hold.begin(run.shared.clock.now(), HOUR);
    for id in 100..2000 {
        run.store(&Mail::new(id, 1, 4000)).expect("the device has room for what is alive");
        run.unlink(id);
        run.keep_up();
    }
    assert_eq!(run.shared.hold.end(run.shared.clock.now()), Err(Void::Short));
}
