//! The journal against a disk that forgets, tears, fails and fills up, driven without threads from one seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use message::MessageId;
use scheduler::{Clock, Meters};

use super::JournalOptions;
use super::committer::Committer;
use super::inbox::{Copied, Op};
use super::open::{Opened, open};
use super::recovery::Recovery;
use super::shared::Shared;
use super::upkeep;
use crate::chain::{Staged, StagedHeaders};
use crate::disk::faulty::{Fault, FaultyDisk};
use crate::error::{OpenError, SpoolError};
use crate::ticket::Ticket;

mod damage;
mod environment;
mod full;
mod hold;
mod ids;
mod missing;
mod power_loss;
mod room;
mod summaries;
mod upgrade;
mod zeros;

/// One run of a journal, without threads.
pub struct Run {
    pub shared: Arc<Shared>,
    pub committer: Committer,
    pub recovery: Option<Recovery>,
    /// Whether recovery could make durable what it found.
    pub settled: bool,
    _lock: Box<dyn Send + Sync>,
}

/// What recovery handed over.
pub type HandedOver = BTreeMap<u64, Vec<u8>>;

impl Run {
    pub fn open(disk: &FaultyDisk) -> Result<Self, OpenError> {
        Self::open_with(disk, SEGMENT)
    }

    pub fn open_with(disk: &FaultyDisk, segment_bytes: u64) -> Result<Self, OpenError> {
        let options = JournalOptions { segment_bytes, ..JournalOptions::new("/spool") };
        let Opened { shared, committer, recovery, lock } =
            open(options, Arc::new(disk.clone()), Clock::system(), &Meters::new())?;
        Ok(Self { shared, committer, recovery: Some(recovery), settled: false, _lock: lock })
    }

    pub fn recover(&mut self) -> HandedOver {
        let mut found = HandedOver::new();
        let recovery = self.recovery.take().expect("recovery runs once");
        let Self { shared, committer, settled, .. } = self;
        let mut submit = |copies| commit_copies(committer, copies);
        *settled = recovery.run(shared, &mut submit, &mut |id, encoded| {
            assert!(found.insert(id.to_bits(), encoded).is_none(), "{id} handed over twice");
        });
        found
    }

    pub fn commit(&mut self, ops: Vec<Op>) {
        self.committer.commit(&mut VecDeque::from(ops));
    }

    pub fn store(&mut self, mail: &Mail) -> Result<(), SpoolError> {
        let (op, ticket) = mail.store();
        self.commit(vec![op]);
        ticket.wait()
    }

    pub fn unlink(&mut self, id: u64) {
        self.commit(vec![Op::Unlink(id)]);
    }

    /// Does all the upkeep there is; the number of steps.
    pub fn keep_up(&mut self) -> usize {
        let Self { shared, committer, .. } = self;
        let steps = (0..200).take_while(|_| upkeep::step(shared, &mut |copies| commit_copies(committer, copies)));
        let steps = steps.count();
        assert!(steps < 200, "upkeep finds no end");
        steps
    }

    pub fn segments(&self) -> usize {
        self.shared.index().segments.len()
    }
}

fn commit_copies(committer: &mut Committer, copies: Vec<Copied>) -> Result<(), SpoolError> {
    let (promise, ticket) = Ticket::new();
    committer.commit(&mut VecDeque::from([Op::Copies(copies, promise)]));
    ticket.wait()
}

/// One transaction's mail.
#[derive(Clone, Debug)]
pub struct Mail {
    pub batch: u64,
    pub body: Bytes,
    pub headers: Vec<(u64, Vec<u8>)>,
    /// The body of those from this id on, if it is another.
    pub second: Option<(u64, Bytes)>,
}

impl Mail {
    pub fn new(batch: u64, recipients: u64, body_bytes: usize) -> Self {
        let line = format!("line of message {batch}\r\n");
        let mut body = line.repeat(body_bytes / line.len() + 1).into_bytes();
        body.truncate(body_bytes);
        let headers = (batch..batch + recipients).map(|id| (id, format!("envelope of {id}").into_bytes())).collect();
        Self { batch, body: Bytes::from(body), headers, second: None }
    }

    /// The same with another body for the recipients from the `place`-th on.
    pub fn with_second_body(mut self, place: u64) -> Self {
        let body = Bytes::from([&self.body[..], b"changed\r\n"].concat());
        self.second = Some((self.batch + place, body));
        self
    }

    /// What the body of a message is stored under, and that body.
    pub fn body_of(&self, id: u64) -> (u64, &Bytes) {
        match &self.second {
            Some((first, body)) if *first <= id => (*first, body),
            _ => (self.batch, &self.body),
        }
    }

    pub fn store(&self) -> (Op, Ticket<()>) {
        let bodies = [(self.batch, &self.body)].into_iter().chain(self.second.iter().map(|(id, body)| (*id, body)));
        let bodies = bodies.map(|(id, body)| (MessageId::from_bits(id), body.clone())).collect();
        staged(Staged { bodies, ..Staged::default() }, |id| self.body_of(id).0, &self.headers)
    }
}

pub fn rewrite(id: u64, batch: u64, payload: Vec<u8>) -> (Op, Ticket<()>) {
    staged(Staged::default(), |_| batch, &[(id, payload)])
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
pub struct Seeded(pub u64);

impl Seeded {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }

    pub fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

pub const SEGMENT: u64 = 64 << 10;
pub const SEGMENTS: &str = "/spool/journal";

#[test]
fn what_was_stored_is_there_after_a_restart_and_what_was_unlinked_is_not() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    assert!(run.recover().is_empty());
    let mail = Mail::new(10, 3, 5000);
    run.store(&mail).unwrap();
    run.unlink(11);
    assert_eq!(run.shared.fetch_body(10).unwrap(), mail.body);
    assert!(matches!(run.shared.fetch_headers(11), Err(SpoolError::Missing { .. })));
    disk.crash();
    let mut run = Run::open(&disk).unwrap();
    assert_eq!(run.recover().into_keys().collect::<Vec<_>>(), [10, 12]);
    assert_eq!(run.shared.fetch_body(12).unwrap(), mail.body);
}

#[test]
fn a_lone_message_costs_one_write_and_one_sync() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    run.store(&Mail::new(1, 1, 100)).unwrap();
    let before = disk.counts();
    run.store(&Mail::new(2, 1, 100)).unwrap();
    let after = disk.counts();
    assert_eq!((after.0 - before.0, after.1 - before.1), (2, 1), "one write, and a note that nothing waits for");
}

#[test]
fn a_file_that_grows_does_so_in_strides() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open_with(&disk, 8 << 20).unwrap();
    let length = || disk.files(Path::new(SEGMENTS)).iter().map(|(_, octets)| octets.len()).sum::<usize>();
    let mut lengths = BTreeSet::new();
    for id in 1..500 {
        run.store(&Mail::new(id, 1, 4000)).unwrap();
        lengths.insert(length());
    }
    assert!(lengths.len() <= 4, "grown {} times for 4 MiB", lengths.len());
    disk.crash();
    assert_eq!(ids(&Run::open(&disk).unwrap().recover()), (1..500).collect());
}

#[test]
fn many_operations_share_one_sync() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    run.store(&Mail::new(1, 1, 100)).unwrap();
    let before = disk.counts().1;
    let (ops, tickets): (Vec<Op>, Vec<Ticket<()>>) = (2..52).map(|id| Mail::new(id, 1, 900).store()).unzip();
    run.commit(ops);
    assert!(tickets.into_iter().all(|ticket| ticket.wait().is_ok()));
    assert_eq!(disk.counts().1 - before, 1);
}

#[test]
fn a_hundred_thousand_recipients_share_one_body() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    let mail = Mail::new(1, 100_000, 4096);
    run.store(&mail).unwrap();
    let (used, _) = run.shared.index().space();
    assert!(used < 100_000 * 100, "{used} octets for 100000 recipients");
    (2..=100_000).for_each(|id| drop(run.shared.index().kill(id)));
    assert_eq!(run.shared.fetch_body(1).unwrap(), mail.body);
    assert!(run.shared.index().kill(1).is_some_and(|killed| killed.freed.len() == 2));
}

#[test]
fn an_indexed_message_takes_at_most_64_octets() {
    let mut index = super::index::Index::new();
    let place = super::index::Place { segment: 1, offset: 4096, payload: 100 };
    for id in 0..200_000 {
        let body = index.add_body(place);
        index.add_message(id << 16 | 7, place, 1, body);
    }
    let each = index.memory() / index.len();
    assert!(each <= 64, "{each} octets a message");
}

#[test]
fn dead_segments_are_used_again_and_their_old_records_stay_dead() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    for id in 0..400 {
        run.store(&Mail::new(1000 + id, 1, 2000)).unwrap();
        if 3 < id {
            run.unlink(1000 + id - 3);
        }
        run.keep_up();
    }
    assert!(10 < run.shared.gauges.recycled.get());
    assert!(run.segments() <= 3, "{} segments for four messages", run.segments());
    assert!(segments(&disk).len() <= 11, "{} files", segments(&disk).len());
    let kept: Vec<u64> = (0..400).map(|id| 1000 + id).filter(|&id| run.shared.index().contains(id)).collect();
    disk.crash();
    assert_eq!(Run::open(&disk).unwrap().recover().into_keys().collect::<Vec<_>>(), kept);
}

#[test]
fn an_unlink_record_outlives_the_segment_it_guards_against() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    // One message stays and keeps its segment; its neighbour is unlinked from a later segment that otherwise dies.
    run.store(&Mail::new(1, 1, 60)).unwrap();
    run.store(&Mail::new(2, 1, 60)).unwrap();
    for id in 100..400 {
        run.store(&Mail::new(id, 1, 4000)).unwrap();
        if id == 150 {
            run.unlink(2);
        }
        run.unlink(id);
        run.keep_up();
        if id % 50 == 0 {
            let copy = disk.duplicate(id);
            let found = Run::open(&copy).unwrap().recover();
            assert!(found.contains_key(&1), "{id}");
            assert!(id < 150 || !found.contains_key(&2), "message 2 came back at {id}");
        }
    }
}

#[test]
fn compaction_keeps_everything_within_its_bound() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    // Every tenth message stays for good.
    for id in 1000..2000 {
        run.store(&Mail::new(id, 1, 1500)).unwrap();
        if id % 10 != 0 {
            run.unlink(id);
        }
        run.keep_up();
        let (used, live) = run.shared.index().space();
        assert!(used <= 2 * live + 2 * SEGMENT, "{used} octets used for {live} alive at {id}");
    }
    assert!(run.shared.gauges.compacted.get() != 0);
    let copy = disk.duplicate(3);
    let mut again = Run::open(&copy).unwrap();
    let found = again.recover();
    assert_eq!(found.len(), 100);
    for id in found.into_keys() {
        assert_eq!(again.shared.fetch_body(id).unwrap(), Mail::new(id, 1, 1500).body);
    }
}

#[test]
fn mail_is_stored_before_and_while_the_old_is_read() {
    let disk = FaultyDisk::seeded(1);
    Run::open(&disk).unwrap().store(&Mail::new(1, 1, 100)).unwrap();
    disk.kill();
    let mut run = Run::open(&disk).unwrap();
    run.store(&Mail::new(2, 1, 100)).unwrap();
    assert_eq!(run.recover().into_keys().collect::<Vec<_>>(), [1]);
    assert!(run.shared.fetch_body(1).is_ok() && run.shared.fetch_body(2).is_ok());
}

#[test]
fn a_second_daemon_is_told_who_has_the_spool() {
    let disk = FaultyDisk::seeded(1);
    let _first = Run::open(&disk).unwrap();
    let Err(refused) = Run::open(&disk) else { panic!("two daemons on one spool") };
    let text = format!("spool /spool is in use by process {}; stop that one first", std::process::id());
    assert_eq!(refused.to_string(), text);
}

#[test]
fn a_spool_of_a_later_release_is_refused() {
    let disk = FaultyDisk::seeded(1);
    Run::open(&disk).unwrap().store(&Mail::new(1, 1, 100)).unwrap();
    disk.kill();
    let (path, mut contents) = first_segment(&disk);
    contents[8] = 9;
    let crc = crc32c::crc32c(&contents[..508]);
    contents[508..512].copy_from_slice(&crc.to_le_bytes());
    disk.overwrite(&path, contents);
    let Err(refused) = Run::open(&disk) else { panic!("a later format was opened") };
    assert!(refused.to_string().contains("is of spool format 9, this release knows formats up to 4"), "{refused}");
}

pub fn first_segment(disk: &FaultyDisk) -> (PathBuf, Vec<u8>) {
    segments(disk).remove(0)
}

pub fn segments(disk: &FaultyDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let files = disk.files(Path::new(SEGMENTS)).into_iter();
    files.filter(|(path, _)| path.extension().is_some_and(|extension| extension == "segment")).collect()
}

pub fn ids(found: &HandedOver) -> BTreeSet<u64> {
    found.keys().copied().collect()
}

/// Runs itself in a child: the committer meets a broken invariant, and the process must end rather than wait for ever.
#[test]
fn a_committer_that_panics_takes_the_process_with_it() {
    const CHILD: &str = "SPOOL_PANICKING_CHILD";
    let name = "journal::tests::a_committer_that_panics_takes_the_process_with_it";
    if std::env::var_os(CHILD).is_none() {
        let program = std::env::current_exe().unwrap();
        let child = std::process::Command::new(program).args(["--exact", name]).env(CHILD, "1").output().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&child.status);
        assert_eq!(signal, Some(6), "{:?}", child.status);
        return;
    }
    let disk = FaultyDisk::seeded(1);
    let options = JournalOptions::new("/spool");
    let journal = super::Journal::open(options, Arc::new(disk.clone()), Clock::system(), &Meters::new()).unwrap();
    let store = |id| {
        let (op, ticket) = Mail::new(id, 1, 100).store();
        journal.shared.inbox.push(op);
        ticket
    };
    store(1).wait().unwrap();
    // The disk panics when a handle is used across a crash.
    disk.crash();
    let _ = store(2).wait();
}
