//! Power is lost, or the process killed, at any write, sync or change of an entry, again and again, also during recovery; every
//! third disk is small enough to fill up.

use super::*;

/// What the outside knows.
#[derive(Default)]
struct Model {
    /// Acknowledged, and not unlinked: must be there. Value: batch, and the versions of headers that may be found.
    alive: BTreeMap<u64, (u64, Vec<Vec<u8>>)>,
    /// Not acknowledged, or unlinked without knowing that it is durable: may be there.
    open: BTreeMap<u64, (u64, Vec<Vec<u8>>)>,
    /// Must not be there.
    gone: BTreeSet<u64>,
    /// Groups not acknowledged: all or nothing.
    unacknowledged: Vec<Mail>,
    bodies: BTreeMap<u64, Bytes>,
    next: u64,
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_finished_returns() {
    let seeds = std::env::var("SPOOL_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(500);
    let first = std::env::var("SPOOL_FIRST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let read = std::cell::Cell::new(0);
    for seed in first..first + seeds {
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read.set(read.get() + live_through(seed))));
        assert!(outcome.is_ok(), "seed {seed}: run again with SPOOL_FIRST_SEED={seed} SPOOL_SEEDS=1");
    }
    assert!(seeds < 100 || seeds <= read.get(), "starts believed only {} summaries", read.get());
}

/// The mark of a spare stands in the last page too, where records may be.
#[test]
fn power_lost_while_a_segment_is_scrubbed_brings_nothing_back_that_its_last_page_finished() {
    let pages = SEGMENT / 4096 - 2;
    for (seed, operation) in (0..40).flat_map(|seed| (1..=6).map(move |operation| (seed, operation))) {
        let disk = FaultyDisk::seeded(seed);
        disk.lose_pages();
        let mut run = Run::open(&disk).unwrap();
        run.recover();
        // A page for each, the last one for their unlinks.
        (1..=pages).for_each(|id| run.store(&Mail::new(id, 1, 2000)).unwrap());
        run.commit((1..=pages).map(Op::Unlink).collect());
        run.store(&Mail::new(1000, 1, 2000)).unwrap();
        assert_eq!(run.shared.index().segments.keys().copied().collect::<Vec<_>>(), [1, 2]);
        disk.arm(Fault::PowerLoss(operation));
        run.keep_up();
        drop(run);
        disk.crash();
        let found = ids(&Run::open(&disk).unwrap().recover());
        assert_eq!(found, BTreeSet::from([1000]), "seed {seed}, operation {operation}");
    }
}

/// The summaries its starts believed.
fn live_through(seed: u64) -> u64 {
    let mut read = 0;
    let disk = FaultyDisk::seeded(seed);
    let mut random = Seeded(seed);
    let mut model = Model { next: 1 << 20, ..Model::default() };
    if random.one_in(3) {
        disk.set_capacity((6 + random.below(14)) * SEGMENT);
    }
    if random.one_in(2) {
        disk.lose_pages();
    }
    for _ in 0..3 + random.below(4) {
        if !random.one_in(4) {
            disk.arm(Fault::PowerLoss(1 + random.below(120)));
        }
        if let Ok(run) = Run::open(&disk) {
            read += one_boot(&disk, run, &mut random, &mut model);
        }
        if random.one_in(3) {
            disk.kill()
        } else {
            disk.crash()
        }
        assert_eq!(missing::missing(&disk), None);
    }
    disk.crash();
    let mut run = Run::open(&disk).expect("opens when nothing fails");
    let found = run.recover();
    model.check(&run, &found);
    model.settle(&found, u64::MAX);
    let rest: Vec<u64> = model.alive.keys().copied().collect();
    rest.into_iter().for_each(|id| run.unlink(id));
    // What a full disk had no room for is written when there is some.
    disk.set_capacity(u64::MAX / 4);
    run.keep_up();
    run.commit(Vec::new());
    run.keep_up();
    assert!(!run.committer.owes(), "unlinks cannot be recorded");
    assert_eq!(run.shared.index().len(), 0);
    assert!(run.segments() <= 2, "{} segments for no message", run.segments());
    read
}

fn one_boot(disk: &FaultyDisk, mut run: Run, random: &mut Seeded, model: &mut Model) -> u64 {
    let (before, earlier) = (random.below(3), model.next);
    for _ in 0..before {
        model.act(&mut run, random, false);
    }
    let found = run.recover();
    model.check(&run, &found);
    if run.settled {
        model.settle(&found, earlier);
    }
    for _ in 0..random.below(60) {
        if random.one_in(40) {
            let nth = 1 + random.below(3);
            disk.arm(match random.below(4) {
                0 => Fault::WriteError(nth),
                1 => Fault::WriteFull(nth),
                2 => Fault::WriteShort(nth),
                _ => Fault::SyncError(nth),
            });
        }
        model.act(&mut run, random, true);
        if random.one_in(3) {
            run.keep_up();
        }
    }
    if random.one_in(6) {
        let (promise, _ticket) = Ticket::new();
        run.commit(vec![Op::Close(promise)]);
    }
    run.shared.gauges.summaries_read.get()
}

impl Model {
    /// One commit of a few operations.
    fn act(&mut self, run: &mut Run, random: &mut Seeded, old_known: bool) {
        let (mut ops, mut stores, mut unlinks) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..1 + random.below(4) {
            let victim = self.some_alive(random).filter(|_| old_known);
            match (random.below(10), victim) {
                (0..3, Some(id)) => {
                    unlinks.push(id);
                    let unlinked = self.alive.remove(&id).expect("alive");
                    self.open.insert(id, unlinked);
                    ops.push(Op::Unlink(id));
                }
                (3, Some(id)) => ops.push(self.rewrite(id, random)),
                _ => {
                    let mail = self.mail(random);
                    let (op, ticket) = mail.store();
                    ops.push(op);
                    stores.push((mail, ticket));
                }
            }
        }
        run.commit(ops);
        for (mail, ticket) in stores {
            let acknowledged = ticket.wait().is_ok();
            let versions = mail.headers.iter().map(|(id, payload)| (*id, (mail.body_of(*id).0, vec![payload.clone()])));
            if acknowledged {
                self.alive.extend(versions);
            } else {
                self.open.extend(versions);
                self.unacknowledged.push(mail);
            }
        }
        if !run.committer.owes() {
            for id in unlinks {
                self.open.remove(&id);
                self.gone.insert(id);
            }
        }
    }

    fn mail(&mut self, random: &mut Seeded) -> Mail {
        let recipients = if random.one_in(4) { 1 + random.below(6) } else { 1 };
        let size = if random.one_in(30) { 70_000 } else { random.below(5000) };
        let mail = Mail::new(self.next, recipients, size as usize);
        self.next += recipients;
        let mail = if 1 < recipients && random.one_in(2) {
            mail.with_second_body(1 + random.below(recipients - 1))
        } else {
            mail
        };
        self.bodies.insert(mail.batch, mail.body.clone());
        self.bodies.extend(mail.second.clone());
        mail
    }

    fn rewrite(&mut self, id: u64, random: &mut Seeded) -> Op {
        let (batch, versions) = self.alive.get_mut(&id).expect("alive");
        let payload = vec![random.below(256) as u8; random.below(300) as usize];
        versions.push(payload.clone());
        let (op, _) = super::rewrite(id, *batch, payload);
        op
    }

    fn some_alive(&self, random: &mut Seeded) -> Option<u64> {
        let from = self.alive.keys().next()? + random.below(self.next - self.alive.keys().next()?);
        self.alive.range(from..).next().or(self.alive.iter().next()).map(|(&id, _)| id)
    }

    fn check(&self, run: &Run, found: &HandedOver) {
        for (id, (batch, versions)) in &self.alive {
            let live_now = run.shared.index().contains(*id);
            assert!(live_now, "{id} was acknowledged and is lost");
            if let Some(encoded) = found.get(id) {
                assert!(versions.contains(encoded), "{id} has other headers");
            }
            assert_eq!(run.shared.fetch_body(*id).expect("a body"), self.bodies[batch], "{id} has another body");
        }
        for id in found.keys() {
            assert!(!self.gone.contains(id), "{id} was finished and is back");
            let known = self.alive.contains_key(id) || self.open.contains_key(id);
            assert!(known, "{id} was never stored");
            assert!(run.shared.fetch_body(*id).is_ok(), "{id} has no body");
        }
        for mail in &self.unacknowledged {
            let here = mail.headers.iter().filter(|(id, _)| found.contains_key(id)).count();
            assert!(here == 0 || here == mail.headers.len(), "half of {} is there", mail.batch);
        }
    }

    /// After a recovery that went through, everything from `earlier` runs is decided.
    fn settle(&mut self, found: &HandedOver, earlier: u64) {
        let undecided = self.open.split_off(&earlier);
        for (id, (batch, _)) in std::mem::replace(&mut self.open, undecided) {
            match found.get(&id) {
                Some(encoded) => {
                    self.alive.insert(id, (batch, vec![encoded.clone()]));
                }
                None => {
                    self.gone.insert(id);
                }
            }
        }
        for (id, encoded) in found {
            if let Some((_, versions)) = self.alive.get_mut(id) {
                *versions = vec![encoded.clone()];
            }
        }
        self.unacknowledged.retain(|mail| earlier <= mail.batch);
    }
}
