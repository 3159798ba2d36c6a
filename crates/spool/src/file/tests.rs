//! The file store against a disk that forgets, fails and fills up, driven without threads from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use message::MessageId;
use scheduler::{Clock, Meters};

use super::committer::Committer;
use super::files::Files;
use super::{Opened, open};
use crate::chain::{Staged, StagedHeaders};
use crate::disk::faulty::{Fault, FaultyDisk};
use crate::error::{OpenError, SpoolError};
use crate::journal::JournalOptions;
use crate::ticket::Ticket;
use crate::writer::Op;

/// One run of a store, without threads.
struct Run {
    files: Arc<Files>,
    committer: Committer,
    found: Vec<MessageId>,
    _lock: Box<dyn Send + Sync>,
}

impl Run {
    fn open(disk: &FaultyDisk) -> Result<Self, OpenError> {
        let options = JournalOptions { unlink_backlog: 3, ..JournalOptions::new("/spool") };
        let Opened { files, committer, listing, lock } =
            open(&options, Arc::new(disk.clone()), Clock::system(), &Meters::new(), 1)?;
        Ok(Self { files, committer, found: listing.messages, _lock: lock })
    }

    fn store(&mut self, mail: &Mail) -> Result<(), SpoolError> {
        let (op, ticket) = mail.store();
        self.committer.commit(vec![op]);
        ticket.wait()
    }

    fn unlink(&mut self, id: u64) {
        self.committer.commit(vec![Op::Unlink(MessageId::from_bits(id), None)]);
    }

    fn read(&self, id: u64) -> Result<(Vec<u8>, Vec<u8>), SpoolError> {
        let id = MessageId::from_bits(id);
        let meta = self.files.meta(id)?;
        let body = self.files.body_of(id, meta.body)?;
        Ok((meta.encoded, body))
    }
}

#[derive(Clone, Debug)]
struct Mail {
    batch: u64,
    body: Bytes,
    headers: Vec<(u64, Vec<u8>)>,
    /// The body of those from this id on, if it is another.
    second: Option<(u64, Bytes)>,
}

impl Mail {
    fn new(batch: u64, recipients: u64, octets: usize) -> Self {
        let line = format!("line of message {batch}\r\n");
        let mut body = line.repeat(octets / line.len() + 1).into_bytes();
        body.truncate(octets);
        let headers = (batch..batch + recipients).map(|id| (id, format!("envelope of {id}").into_bytes())).collect();
        Self { batch, body: Bytes::from(body), headers, second: None }
    }

    /// The same with another body for the recipients from the `place`-th on.
    fn with_second_body(mut self, place: u64) -> Self {
        let body = Bytes::from([&self.body[..], b"changed\r\n"].concat());
        self.second = Some((self.batch + place, body));
        self
    }

    /// What the body of a message is stored under, and that body.
    fn body_of(&self, id: u64) -> (u64, &Bytes) {
        match &self.second {
            Some((first, body)) if *first <= id => (*first, body),
            _ => (self.batch, &self.body),
        }
    }

    fn store(&self) -> (Op, Ticket<()>) {
        let bodies = [(self.batch, &self.body)].into_iter().chain(self.second.iter().map(|(id, body)| (*id, body)));
        let bodies = bodies.map(|(id, body)| (MessageId::from_bits(id), body.clone())).collect();
        staged(Staged { bodies, ..Staged::default() }, |id| self.body_of(id).0, &self.headers)
    }
}

fn rewrite(id: u64, batch: u64, payload: &[u8]) -> (Op, Ticket<()>) {
    staged(Staged::default(), |_| batch, &[(id, payload.to_vec())])
}

fn staged(mut staged: Staged, body: impl Fn(u64) -> u64, headers: &[(u64, Vec<u8>)]) -> (Op, Ticket<()>) {
    for (id, payload) in headers {
        staged.encoded.extend_from_slice(payload);
        let (id, batch) = (MessageId::from_bits(*id), MessageId::from_bits(body(*id)));
        staged.headers.push(StagedHeaders { id, batch, end: staged.encoded.len() });
    }
    let (promise, ticket) = Ticket::new();
    (Op::Store(staged, promise), ticket)
}

/// SplitMix64.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }
}

fn names(disk: &FaultyDisk) -> Vec<String> {
    let files = disk.files(Path::new("/spool")).into_iter();
    files.map(|(path, _)| path.strip_prefix("/spool").unwrap().display().to_string()).collect()
}

#[test]
fn a_message_is_two_files_and_siblings_share_a_body() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    let first: MessageId = "71/A0-03127-08B31BA6".parse().unwrap();
    let mail = Mail::new(first.to_bits(), 2, 100);
    run.store(&mail).unwrap();
    assert_eq!(
        names(&disk),
        [
            "6AB13/71/A0-03127-08B31BA6.body",
            "6AB13/71/A0-03127-08B31BA6.meta",
            "6AB13/81/A0-03127-08B31BA6.body",
            "6AB13/81/A0-03127-08B31BA6.meta"
        ]
    );
    run.unlink(first.to_bits());
    assert_eq!(run.read(first.to_bits() + 1).unwrap().1, mail.body);
    run.unlink(first.to_bits() + 1);
    assert!(names(&disk).is_empty());
    run.unlink(first.to_bits());
}

#[test]
fn metadata_without_a_body_goes_and_a_body_without_metadata_stays() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    (1..=3).for_each(|id| run.store(&Mail::new(id, 1, 100)).unwrap());
    run.files.remove_file(&run.files.path(MessageId::from_bits(1), ".body")).unwrap();
    run.files.remove_file(&run.files.path(MessageId::from_bits(2), ".meta")).unwrap();
    disk.kill();
    let run = Run::open(&disk).unwrap();
    assert_eq!(run.found, [MessageId::from_bits(3)]);
    let stem = "00-00000-00000000";
    let expected = [format!("00000/20/{stem}.body"), format!("00000/30/{stem}.body"), format!("00000/30/{stem}.meta")];
    assert_eq!(names(&disk), expected);
}

#[test]
fn a_rewrite_keeps_the_body_and_a_flipped_bit_is_noticed() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    let mail = Mail::new(1, 1, 3000);
    run.store(&mail).unwrap();
    let (op, ticket) = rewrite(1, 1, b"tried once");
    run.committer.commit(vec![op]);
    ticket.wait().unwrap();
    assert_eq!(run.read(1).unwrap(), (b"tried once".to_vec(), mail.body.to_vec()));
    let (op, ticket) = rewrite(2, 2, b"never stored");
    run.committer.commit(vec![op]);
    assert!(matches!(ticket.wait(), Err(SpoolError::Missing { .. })));
    let (path, mut contents) = disk.files(Path::new("/spool")).remove(0);
    contents[2000] ^= 4;
    disk.overwrite(&path, contents);
    let Err(SpoolError::Damaged { why, .. }) = run.read(1) else { panic!("damage is not noticed") };
    assert_eq!(why, "its body does not match its checksum");
}

#[test]
fn a_full_disk_refuses_mail_and_removes_it() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    run.store(&Mail::new(1, 1, 100)).unwrap();
    disk.set_capacity(4000);
    assert!(matches!(run.store(&Mail::new(2, 3, 8000)), Err(SpoolError::Full { .. })));
    assert_eq!(names(&disk).len(), 2);
    run.unlink(1);
    assert!(names(&disk).is_empty());
    run.store(&Mail::new(4, 1, 100)).unwrap();
}

#[test]
fn directories_of_old_windows_go_when_they_are_empty() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    let (old, new) = (5u64 << 32, 9000u64 << 32);
    run.store(&Mail::new(old, 1, 10)).unwrap();
    run.unlink(old);
    run.store(&Mail::new(new, 1, 10)).unwrap();
    use crate::disk::Disk as _;
    assert_eq!(disk.list(Path::new("/spool")).unwrap(), ["00002"]);
    run.store(&Mail::new(old + 1, 1, 10)).unwrap();
    disk.crash();
    assert_eq!(Run::open(&disk).unwrap().found.len(), 2);
}

/// What the outside knows.
#[derive(Default)]
struct Model {
    /// Acknowledged, and not unlinked: must be there, with one of these headers.
    alive: BTreeMap<u64, Vec<Vec<u8>>>,
    /// Not acknowledged, or unlinked without knowing that it is durable: may be there.
    open: BTreeSet<u64>,
    /// Must not be there.
    gone: BTreeSet<u64>,
    /// Groups not acknowledged: all or nothing.
    unacknowledged: Vec<Mail>,
    mail: BTreeMap<u64, Mail>,
    next: u64,
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_finished_returns() {
    let seeds = std::env::var("SPOOL_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(150);
    let first = std::env::var("SPOOL_FIRST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    for seed in first..first + seeds {
        let outcome = std::panic::catch_unwind(|| live_through(seed));
        assert!(outcome.is_ok(), "seed {seed}: run again with SPOOL_FIRST_SEED={seed} SPOOL_SEEDS=1");
    }
}

fn live_through(seed: u64) {
    let (disk, mut random) = (FaultyDisk::seeded(seed), Seeded(seed));
    let mut model = Model { next: 1 << 20, ..Model::default() };
    if random.below(3) == 0 {
        disk.set_capacity(20_000 + random.below(60_000));
    }
    for _ in 0..3 + random.below(4) {
        if random.below(4) != 0 {
            disk.arm(Fault::PowerLoss(1 + random.below(400)));
        }
        if let Ok(mut run) = Run::open(&disk) {
            model.check(&run);
            for _ in 0..random.below(40) {
                model.act(&disk, &mut run, &mut random);
            }
        }
        // After a kill the next run starts on what was written and not synced.
        if random.below(3) == 0 { disk.kill() } else { disk.crash() }
    }
    disk.crash();
    let mut run = Run::open(&disk).expect("opens when nothing fails");
    model.check(&run);
    model.alive.keys().for_each(|&id| run.unlink(id));
    run.committer.commit(vec![Op::Close(Ticket::new().0)]);
    disk.crash();
    assert!(Run::open(&disk).expect("opens").found.is_empty());
}

impl Model {
    fn act(&mut self, disk: &FaultyDisk, run: &mut Run, random: &mut Seeded) {
        if random.below(40) == 0 {
            let nth = 1 + random.below(6);
            disk.arm(match random.below(4) {
                0 => Fault::WriteError(nth),
                1 => Fault::WriteFull(nth),
                2 => Fault::WriteShort(nth),
                _ => Fault::SyncError(nth),
            });
        }
        let (mut ops, mut stores, mut rewrites, mut unlinks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..1 + random.below(4) {
            let victims: Vec<u64> = self.alive.keys().copied().collect();
            let victim = victims.get(random.below(victims.len().max(1) as u64) as usize).copied();
            match (random.below(10), victim) {
                (0..3, Some(id)) => {
                    self.alive.remove(&id);
                    self.open.insert(id);
                    unlinks.push(id);
                    ops.push(Op::Unlink(MessageId::from_bits(id), None));
                }
                (3 | 4, Some(id)) => {
                    let payload = format!("envelope of {id}, again {}", random.below(1000)).into_bytes();
                    let (op, ticket) = rewrite(id, id, &payload);
                    ops.push(op);
                    rewrites.push((id, payload, ticket));
                }
                _ => {
                    let recipients = if random.below(4) == 0 { 1 + random.below(6) } else { 1 };
                    let mail = Mail::new(self.next, recipients, random.below(5000) as usize);
                    let mail = match recipients {
                        1 => mail,
                        several => mail.with_second_body(1 + random.below(several - 1)),
                    };
                    self.next += recipients;
                    let (op, ticket) = mail.store();
                    self.mail.extend(mail.headers.iter().map(|(id, _)| (*id, mail.clone())));
                    ops.push(op);
                    stores.push((mail, ticket));
                }
            }
        }
        run.committer.commit(ops);
        for (mail, ticket) in stores {
            if ticket.wait().is_ok() {
                self.alive.extend(mail.headers.iter().map(|(id, payload)| (*id, vec![payload.clone()])));
            } else {
                self.open.extend(mail.headers.iter().map(|(id, _)| *id));
                self.unacknowledged.push(mail);
            }
        }
        for (id, payload, ticket) in rewrites {
            let stored = ticket.wait().is_ok();
            let Some(versions) = self.alive.get_mut(&id) else { continue };
            if stored {
                versions.clear();
            }
            versions.push(payload);
        }
        if !run.committer.owes() {
            self.gone.extend(unlinks.iter().copied());
        }
        for (id, versions) in &self.alive {
            let (headers, _) = run.read(*id).expect("what is alive can be read");
            assert!(versions.contains(&headers), "wrong headers of {id}");
        }
    }

    /// What a start finds is what must or may be there, octet for octet.
    fn check(&mut self, run: &Run) {
        let found: BTreeSet<u64> = run.found.iter().map(|id| id.to_bits()).collect();
        for (id, versions) in &self.alive {
            assert!(found.contains(id), "{id} is lost");
            let (headers, body) = run.read(*id).expect("a message that was found");
            assert!(versions.contains(&headers), "wrong headers of {id}");
            assert_eq!(&body, self.mail[id].body_of(*id).1, "wrong body of {id}");
        }
        for mail in self.unacknowledged.drain(..) {
            let there = mail.headers.iter().filter(|(id, _)| found.contains(id)).count();
            assert!(there == 0 || there == mail.headers.len(), "{there} of {:?}", mail.headers.len());
        }
        for id in found.iter().filter(|id| !self.alive.contains_key(id)) {
            assert!(!self.gone.contains(id), "{id} came back");
            assert!(self.open.contains(id), "{id} is nobody's");
            let (_, body) = run.read(*id).expect("a message that was found");
            assert_eq!(&body, self.mail[id].body_of(*id).1, "wrong body of {id}");
        }
        // From here on all of it is mail; which headers it has is known from reading.
        let read = |id: &u64| (*id, vec![run.read(*id).expect("a message that was found").0]);
        self.alive = found.iter().map(read).collect();
        self.gone.extend(self.open.iter().filter(|id| !found.contains(id)));
        self.open.clear();
    }
}

/// A marker is synced before anything of its transaction has a name: zeros in its place are no empty marker.
#[test]
fn a_damaged_marker_is_told_and_what_it_named_is_kept() {
    let stored = || {
        let disk = FaultyDisk::seeded(1);
        let mut run = Run::open(&disk).unwrap();
        let mail = Mail::new(1000, 3, 100);
        // The process dies where the messages have their names and the marker is still there.
        let calls = (1..200).find(|&calls| {
            let trial = disk.duplicate(calls);
            let mut run = Run::open(&trial).unwrap();
            trial.arm(Fault::PowerLoss(calls));
            let _ = run.store(&mail);
            trial.kill();
            let files = trial.files(Path::new("/spool"));
            let ending =
                |suffix: &str| files.iter().filter(|(path, _)| path.to_string_lossy().ends_with(suffix)).count();
            ending(".meta") == 3 && ending(".L") == 1
        });
        disk.arm(Fault::PowerLoss(calls.expect("such a moment")));
        let _ = run.store(&mail);
        drop(run);
        disk.kill();
        let marker =
            disk.files(Path::new("/spool")).into_iter().find(|(path, _)| path.to_string_lossy().ends_with(".L"));
        (disk, marker.unwrap())
    };
    let (disk, _) = stored();
    assert_eq!(Run::open(&disk).unwrap().found, [], "a whole one takes its messages with it");
    for damage in [
        |octets: &mut Vec<u8>| octets.fill(0),
        |octets: &mut Vec<u8>| octets.clear(),
        |octets: &mut Vec<u8>| octets[3] = 0,
    ] {
        let (disk, (path, mut octets)) = stored();
        damage(&mut octets);
        disk.overwrite(&path, octets);
        let run = Run::open(&disk).unwrap();
        assert_eq!(run.found.len(), 3, "nothing is removed");
        assert_eq!(run.files.ledger.gauges.damaged.get(), 1);
        assert!(disk.files(Path::new("/spool/damaged")).len() == 1, "the marker is set aside");
        drop(run);
        assert_eq!(Run::open(&disk).unwrap().files.ledger.gauges.damaged.get(), 0, "it is told once");
    }
}
