//! What every back end owes the chain, asked of all four on a real disk.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use message::{Body, Context, DeliveryState, Envelope, MessageId, Origin, Protocol, QueueName};
use scheduler::{Clock, Meters};
use spool::archive::Fault;
use spool::disk::RealDisk;
use spool::{Archive, Job, JournalOptions, Kind, OpenError, ReadPool, Spool, SpoolError, Store};

struct Inline;

impl ReadPool for Inline {
    fn submit(&self, job: Job) {
        job();
    }
}

fn envelope(id: u64, batch: u64) -> Envelope {
    let (id, batch) = (MessageId::from_bits(id), MessageId::from_bits(batch));
    Envelope {
        id,
        batch,
        reverse_path: smtp::ReversePath::Null,
        forward_path: smtp::ForwardPath(smtp::Mailbox::postmaster()),
        created: Duration::from_secs(7),
        body_bytes: 5,
        eight_bit: false,
        origin: Origin { protocol: Protocol::Esmtp, peer: None, connection: batch },
        queue: QueueName { binding_group: "default".into(), binding: "default".into(), domain: "b.example".into() },
        delivery: DeliveryState::default(),
        context: Context::default(),
        edits: None,
        particulars: None,
    }
}

fn body(number: u64) -> Body {
    format!("Subject: {number}\r\n\r\n{}.\r\n", "hello\r\n".repeat(number as usize % 50)).into()
}

const fn id(bits: u64) -> MessageId {
    MessageId::from_bits(bits)
}

fn store(kind: Kind, base: &Path) -> Result<Store, OpenError> {
    let options = JournalOptions { segment_bytes: 1 << 20, ..JournalOptions::new(base) };
    Store::open(kind, options, Arc::new(RealDisk), Clock::system(), &Meters::new())
}

fn spool(store: &Store) -> Spool {
    Spool::new(vec![store.module()], Arc::new(Inline))
}

/// Runs a test on an empty spool of every kind.
fn each(test: impl Fn(Kind, &Path, &Spool)) {
    for kind in Kind::ALL {
        let base = tempfile::tempdir().unwrap();
        let store = store(kind, base.path()).unwrap();
        test(kind, base.path(), &spool(&store));
    }
}

/// The same for those that outlive the process.
fn each_on_disk(test: impl Fn(Kind, &Path, Spool)) {
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Memory) {
        let base = tempfile::tempdir().unwrap();
        let spool = spool(&store(kind, base.path()).unwrap());
        test(kind, base.path(), spool);
    }
}

fn handed_over(spool: &Spool) -> Vec<Envelope> {
    let found = Arc::new(Mutex::new(Vec::new()));
    let seen = found.clone();
    spool.process_disk_queue(Box::new(move |envelope| seen.lock().unwrap().push(envelope))).wait().unwrap();
    let mut found = std::mem::take(&mut *found.lock().unwrap());
    found.sort_by_key(|envelope| envelope.id);
    found
}

#[test]
fn what_is_stored_is_read_back() {
    each(|kind, _, spool| {
        spool.store_and_wait(&body(1), &[envelope(1, 1)]).unwrap();
        assert_eq!(spool.read(id(1)).wait().unwrap(), (envelope(1, 1), body(1)), "{kind}");
        assert_eq!(spool.read_headers(id(1)).wait().unwrap(), envelope(1, 1), "{kind}");
    });
}

#[test]
fn a_rewrite_changes_the_headers_and_not_the_body() {
    each(|kind, _, spool| {
        spool.store_and_wait(&body(3), &[envelope(1, 1)]).unwrap();
        let mut changed = envelope(1, 1);
        changed.delivery.retries = 3;
        changed.context.message.push(("key".into(), "value\r\ncrc: 0".into()));
        spool.rewrite(&changed).wait().unwrap();
        assert_eq!(spool.read(id(1)).wait().unwrap(), (changed, body(3)), "{kind}");
    });
}

#[test]
fn siblings_share_a_body_that_goes_with_the_last() {
    each(|kind, _, spool| {
        spool.store_and_wait(&body(1), &[envelope(1, 1), envelope(2, 1), envelope(3, 1)]).unwrap();
        for gone in [1, 3] {
            spool.unlink(id(gone)).wait().unwrap();
        }
        // Whatever is stored now is stored after the unlinks.
        spool.store_and_wait(&body(9), &[envelope(9, 9)]).unwrap();
        assert_eq!(spool.read(id(2)).wait().unwrap().1, body(1), "{kind}");
        for gone in [1, 3] {
            assert!(matches!(spool.read(id(gone)).wait(), Err(SpoolError::Missing { .. })), "{kind}");
        }
    });
}

/// Two messages share a body, one has its own.
fn of_two_bodies() -> Vec<(Body, Vec<Envelope>)> {
    let mut own = envelope(3, 1);
    own.particulars_mut().body = Some(id(3));
    vec![(body(1), vec![envelope(1, 1), envelope(2, 1)]), (body(2), vec![own])]
}

fn store_parts(spool: &Spool, parts: &[(Body, Vec<Envelope>)]) -> Result<(), SpoolError> {
    let parts: Vec<spool::Part<'_>> = parts.iter().map(|(body, envelopes)| (body, &envelopes[..])).collect();
    spool.store_parts(&parts).wait()
}

#[test]
fn several_bodies_go_in_one_commit_and_each_with_the_last_of_its_messages() {
    each(|kind, _, spool| {
        let parts = of_two_bodies();
        store_parts(spool, &parts).unwrap();
        let read = |number: u64| spool.read(id(number)).wait().unwrap();
        assert_eq!([read(1).1, read(2).1, read(3).1], [body(1), body(1), body(2)], "{kind}");
        assert_eq!(read(3).0, parts[1].1[0], "{kind}");
        let mut changed = parts[1].1[0].clone();
        changed.delivery.retries = 7;
        spool.rewrite(&changed).wait().unwrap();
        spool.unlink(id(1)).wait().unwrap();
        spool.unlink(id(2)).wait().unwrap();
        spool.store_and_wait(&body(9), &[envelope(9, 9)]).unwrap();
        assert_eq!(read(3), (changed, body(2)), "{kind}");
        assert!(matches!(spool.read(id(2)).wait(), Err(SpoolError::Missing { .. })), "{kind}");
    });
}

#[test]
fn several_bodies_survive_a_restart() {
    each_on_disk(|kind, base, before| {
        store_parts(&before, &of_two_bodies()).unwrap();
        before.close();
        let spool = spool(&store(kind, base).unwrap());
        let found: Vec<(MessageId, Body)> =
            handed_over(&spool).into_iter().map(|of| (of.id, spool.read(of.id).wait().unwrap().1)).collect();
        assert_eq!(found, [(id(1), body(1)), (id(2), body(1)), (id(3), body(2))], "{kind}");
    });
}

#[test]
fn a_message_whose_edits_are_of_another_body_is_damaged() {
    each(|kind, _, spool| {
        let change = message::edits::Change { at: 3, removed: 4, inserted: 0 };
        let mut odd = envelope(1, 1);
        odd.edits = Some(Arc::new(message::Edits::of_parts(vec![change], "").unwrap()));
        spool.store_and_wait(&body(1), &[odd]).unwrap();
        let error = spool.read(id(1)).wait().unwrap_err();
        assert!(matches!(error, SpoolError::Damaged { .. }), "{kind}: {error}");
    });
}

#[test]
fn unlinking_again_or_what_never_was_is_no_error() {
    each(|kind, _, spool| {
        spool.store_and_wait(&body(1), &[envelope(1, 1)]).unwrap();
        for gone in [1, 1, 5] {
            assert!(spool.unlink(id(gone)).wait().is_ok(), "{kind}");
        }
    });
}

#[test]
fn a_restart_hands_over_what_is_alive_once_and_nothing_new() {
    each_on_disk(|kind, base, before| {
        before.store_and_wait(&body(1), &[envelope(1, 1), envelope(2, 1), envelope(3, 1)]).unwrap();
        let mut changed = envelope(2, 1);
        changed.delivery.retries = 3;
        before.rewrite(&changed).wait().unwrap();
        before.unlink(id(1)).wait().unwrap();
        before.close();
        assert!(matches!(before.store_and_wait(&body(9), &[envelope(9, 9)]), Err(SpoolError::Closed)), "{kind}");
        drop(before);
        let opened = store(kind, base).unwrap();
        assert_eq!(opened.newest(), Some(id(3)), "{kind}");
        let after = spool(&opened);
        after.store_and_wait(&body(7), &[envelope(7, 7)]).unwrap();
        assert_eq!(handed_over(&after), [changed, envelope(3, 1)], "{kind}");
        assert_eq!(after.read(id(3)).wait().unwrap().1, body(1), "{kind}");
        assert!(after.read(id(1)).wait().is_err(), "{kind}");
    });
}

#[test]
fn a_second_daemon_is_refused_and_may_come_later() {
    each_on_disk(|kind, base, first| {
        let Err(OpenError::Locked { owner, .. }) = store(kind, base) else { panic!("{kind} was opened twice") };
        assert_eq!(owner, Some(std::process::id()));
        first.close();
        assert!(store(kind, base).is_ok(), "{kind}");
    });
}

#[test]
fn many_threads_store_and_unlink_at_once() {
    each_on_disk(|kind, base, spool_of_all| {
        let writer = |writer: u64| {
            for number in 0..20 {
                let new = writer << 32 | number | 1 << 20;
                spool_of_all.store_and_wait(&body(number), &[envelope(new, new)]).unwrap();
                if number % 2 == 0 {
                    spool_of_all.unlink(id(new)).wait().unwrap();
                }
            }
        };
        std::thread::scope(|scope| (0..8).for_each(|number| drop(scope.spawn(move || writer(number)))));
        spool_of_all.close();
        let found: BTreeSet<u64> =
            handed_over(&spool(&store(kind, base).unwrap())).iter().map(|envelope| envelope.id.to_bits()).collect();
        let odd = (0..8u64).flat_map(|writer| (0..20).map(move |number| writer << 32 | number | 1 << 20));
        let expected: BTreeSet<u64> = odd.filter(|id| id % 2 == 1).collect();
        assert_eq!(found, expected, "{kind}");
    });
}

#[test]
fn a_damaged_body_is_told_and_not_delivered() {
    each_on_disk(|kind, base, before| {
        if kind == Kind::Journal {
            return; // Its own tests flip bits in every place.
        }
        before.store_and_wait(&body(20), &[envelope(1, 1)]).unwrap();
        let file = find(base, ".body").expect("a body file");
        let mut octets = std::fs::read(&file).unwrap();
        octets[20] ^= 1;
        std::fs::write(&file, octets).unwrap();
        assert!(matches!(before.read(id(1)).wait(), Err(SpoolError::Damaged { .. })), "{kind}");
        std::fs::remove_file(&file).unwrap();
        assert!(before.read(id(1)).wait().is_err(), "{kind}");
    });
}

#[test]
fn memory_does_not_pass_over_the_mail_of_another_store() {
    each(|kind, base, _| {
        if kind == Kind::Memory {
            return;
        }
        let base = base.join("another");
        store(kind, &base).unwrap();
        let Err(refused) = store(Kind::Memory, &base) else { panic!("{kind} is passed over") };
        assert!(refused.to_string().contains(&format!("holds a {kind} store")), "{refused}");
    });
}

#[test]
fn every_store_tells_its_messages_their_age_and_its_syncs() {
    each(|kind, base, _| {
        if kind == Kind::Memory {
            return;
        }
        let base = base.join("another");
        let of = |seconds: u64| seconds << 32 | 1;
        let opened = store(kind, &base).unwrap();
        let before = spool(&opened);
        before.store_and_wait(&body(30), &[envelope(of(1000), of(1000)), envelope(of(1008), of(1000))]).unwrap();
        before.store_and_wait(&body(2), &[envelope(of(2000), of(2000))]).unwrap();
        let stats = opened.stats();
        let oldest = stats.oldest.map(|age| age.as_secs() / 8);
        assert_eq!((stats.messages, oldest), (3, Some(125)), "{kind}");
        assert!(body(30).len() as u64 <= stats.live_bytes && stats.live_bytes <= stats.used_bytes, "{kind}: {stats:?}");
        assert!(stats.sync_micros.p999 != 0 && stats.batch.p50 == 1 && stats.free_bytes != 0, "{kind}: {stats:?}");
        before.unlink(id(of(1000))).wait().unwrap();
        before.close();
        drop((before, opened));
        let opened = store(kind, &base).unwrap();
        let after = spool(&opened);
        assert_eq!(handed_over(&after).len(), 2, "{kind}");
        let stats = opened.stats();
        assert_eq!((stats.messages, stats.recovered, stats.handed_over), (2, 2, 2), "{kind}");
        assert!(stats.index_complete && stats.live_bytes != 0, "{kind}: {stats:?}");
        for gone in [1008, 2000] {
            after.unlink(id(of(gone))).wait().unwrap();
        }
        after.store_and_wait(&body(2), &[envelope(of(3000), of(3000))]).unwrap();
        let stats = opened.stats();
        assert_eq!((stats.messages, stats.oldest.map(|age| age.as_secs() / 8)), (1, Some(375)), "{kind}");
    });
}

#[test]
fn a_damaged_body_is_set_aside_once() {
    for kind in [Kind::File, Kind::Sqlite] {
        let base = tempfile::tempdir().unwrap();
        let opened = store(kind, base.path()).unwrap();
        let spool = spool(&opened);
        spool.store_and_wait(&body(20), &[envelope(1, 1)]).unwrap();
        let file = find(base.path(), ".body").expect("a body file");
        let mut octets = std::fs::read(&file).unwrap();
        octets[20] ^= 1;
        std::fs::write(&file, &octets).unwrap();
        for _ in 0..3 {
            assert!(spool.read(id(1)).wait().is_err());
        }
        let aside = std::fs::read(base.path().join("damaged/10-00-00000-00000000.body"));
        assert_eq!(aside.unwrap(), octets, "{kind}");
        let stats = opened.stats();
        assert_eq!((stats.damaged, stats.set_aside), (3, 1), "{kind}");
    }
}

#[test]
fn what_a_later_release_wrote_is_left_as_it_is() {
    let base = tempfile::tempdir().unwrap();
    let opened = store(Kind::File, base.path()).unwrap();
    let before = spool(&opened);
    [1, 2].into_iter().for_each(|new| before.store_and_wait(&body(new), &[envelope(new, new)]).unwrap());
    before.close();
    let file = base.path().join("00000/10/00-00000-00000000.meta");
    let newer = std::fs::read_to_string(&file).unwrap().replace("postrider message 1", "postrider message 2");
    std::fs::write(&file, &newer).unwrap();
    drop((before, opened));
    let after = spool(&store(Kind::File, base.path()).unwrap());
    assert_eq!(handed_over(&after), [envelope(2, 2)]);
    assert!(after.read(id(1)).wait().unwrap_err().to_string().contains("written by a later release"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), newer);

    let base = tempfile::tempdir().unwrap();
    drop(store(Kind::Sqlite, base.path()).unwrap());
    let table = rusqlite::Connection::open(base.path().join("sqlite/headers.db")).unwrap();
    table.pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(store(Kind::Sqlite, base.path()), Err(OpenError::Version { found: 99, .. })));
}

#[test]
fn a_clock_that_jumps_back_loses_nothing() {
    each_on_disk(|kind, base, mut now| {
        let mut expected = Vec::new();
        for (boot, hours) in [500, 400, 450, 100, 500].into_iter().enumerate() {
            for number in 0..3 {
                let new = (hours * 3600) << 32 | (boot as u64) << 8 | number;
                now.store_and_wait(&body(number), &[envelope(new, new)]).unwrap();
                expected.push(new);
            }
            // The first of each boot goes, and with the last boots its window too.
            let gone = expected.remove(boot * 2);
            now.unlink(id(gone)).wait().unwrap();
            now.close();
            now = spool(&store(kind, base).unwrap());
            let mut found: Vec<u64> = handed_over(&now).iter().map(|envelope| envelope.id.to_bits()).collect();
            let mut sorted = expected.clone();
            found.sort_unstable();
            sorted.sort_unstable();
            assert_eq!(found, sorted, "{kind}, boot {boot}");
        }
        for new in expected {
            assert_eq!(now.read(id(new)).wait().unwrap().1, body(new & 0xFF), "{kind}");
        }
    });
}

#[test]
fn a_start_after_a_crash_removes_bodies_without_a_row_and_no_others() {
    let base = tempfile::tempdir().unwrap();
    let opened = store(Kind::Sqlite, base.path()).unwrap();
    spool(&opened).store_and_wait(&body(20), &[envelope(1, 1), envelope(2, 1)]).unwrap();
    spool(&opened).close();
    drop(opened);
    let wanted = find(base.path(), ".body").expect("a body file");
    let orphan = wanted.with_file_name("10-00001-00000000.body");
    let unfinished = wanted.with_file_name("10-00002-00000000.body.tmp");
    for path in [&orphan, &unfinished] {
        std::fs::write(path, "left by a crash").unwrap();
    }
    // A start after an orderly end does not look.
    drop(store(Kind::Sqlite, base.path()).unwrap());
    assert!(orphan.exists());
    std::fs::write(base.path().join("sqlite/running"), "").unwrap();
    let opened = store(Kind::Sqlite, base.path()).unwrap();
    assert!(!orphan.exists() && !unfinished.exists() && wanted.exists());
    assert_eq!(spool(&opened).read(id(2)).wait().unwrap().1, body(20));
    spool(&opened).close();
    assert!(!base.path().join("sqlite/running").exists());
}

#[test]
fn directories_of_past_windows_go_when_they_are_empty() {
    for (kind, below) in [(Kind::File, ""), (Kind::Sqlite, "sqlite")] {
        let base = tempfile::tempdir().unwrap();
        let spool = spool(&store(kind, base.path()).unwrap());
        let (old, new) = (5 << 32, 9000 << 32);
        spool.store_and_wait(&body(1), &[envelope(old, old)]).unwrap();
        spool.unlink(id(old)).wait().unwrap();
        spool.store_and_wait(&body(1), &[envelope(new - 1, new - 1)]).unwrap();
        spool.store_and_wait(&body(1), &[envelope(new, new)]).unwrap();
        let window = |name: &str| base.path().join(below).join(name).exists();
        assert!(!window("00000") && window("00002"), "{kind}");
    }
}

fn find(directory: &Path, suffix: &str) -> Option<std::path::PathBuf> {
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.into_iter().find_map(|path| {
        let found = path.to_str().is_some_and(|name| name.ends_with(suffix));
        if path.is_dir() { find(&path, suffix) } else { found.then_some(path) }
    })
}

/// As after `kill -9` at this moment.
fn killed(base: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let copied = tempfile::tempdir().unwrap();
    copy(base, copied.path());
    copied
}

fn ids(found: &[Envelope]) -> BTreeSet<u64> {
    found.iter().map(|envelope| envelope.id.to_bits()).collect()
}

/// What stands in `damaged`.
fn aside(base: &Path) -> BTreeSet<String> {
    let Ok(found) = std::fs::read_dir(base.join("damaged")) else { return BTreeSet::new() };
    found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn an_empty_or_zeroed_file_of_a_message_is_told_and_set_aside_and_the_others_are_kept() {
    for (kind, suffix) in [(Kind::File, ".meta"), (Kind::File, ".body"), (Kind::Sqlite, ".body")] {
        let base = tempfile::tempdir().unwrap();
        let opened = store(kind, base.path()).unwrap();
        for number in 1..=3 {
            spool(&opened).store_and_wait(&body(20), &[envelope(number, number)]).unwrap();
        }
        spool(&opened).close();
        drop(opened);
        for octets in [0, 1] {
            let killed = killed(base.path());
            let file = find(killed.path(), suffix).expect("one of the files");
            let len = std::fs::metadata(&file).unwrap().len();
            std::fs::write(&file, vec![0; octets * len as usize]).unwrap();
            let opened = store(kind, killed.path()).unwrap();
            let spool = spool(&opened);
            let whole = handed_over(&spool).iter().filter(|found| spool.read(found.id).wait().is_ok()).count();
            let stats = opened.stats();
            assert_eq!((whole, stats.damaged, stats.set_aside), (2, 1, 1), "{kind} {suffix} {octets}");
            let name = file.file_name().unwrap().to_str().unwrap();
            assert!(aside(killed.path()).iter().any(|found| found.ends_with(suffix)), "{kind}: {name}");
        }
    }
}

#[test]
fn a_database_that_is_empty_or_gone_beside_mail_is_refused_and_nothing_is_removed() {
    let base = tempfile::tempdir().unwrap();
    let opened = store(Kind::Sqlite, base.path()).unwrap();
    spool(&opened).store_and_wait(&body(20), &[envelope(1, 1)]).unwrap();
    for remove in [true, false] {
        let killed = killed(base.path());
        let database = killed.path().join("sqlite/headers.db");
        let whole = std::fs::read(&database).unwrap();
        if remove {
            std::fs::remove_file(&database).unwrap();
        } else {
            std::fs::write(&database, "").unwrap();
        }
        let Err(refused) = store(Kind::Sqlite, killed.path()) else { panic!("a database without mail is made") };
        assert!(refused.to_string().contains("it is empty or gone"), "{refused}");
        std::fs::write(&database, whole).unwrap();
        let opened = store(Kind::Sqlite, killed.path()).unwrap();
        assert_eq!(spool(&opened).read(id(1)).wait().unwrap().1, body(20));
    }
}

/// SQLite forgets what stands behind damage in its log, and says nothing.
#[test]
fn where_the_log_of_the_database_is_damaged_no_body_is_removed_and_it_is_told() {
    let base = tempfile::tempdir().unwrap();
    let opened = store(Kind::Sqlite, base.path()).unwrap();
    let before = spool(&opened);
    for number in 1..=12 {
        before.store_and_wait(&body(number), &[envelope(number << 32, number << 32)]).unwrap();
    }
    before.unlink(id(3 << 32)).wait().unwrap();
    before.store_and_wait(&body(13), &[envelope(13 << 32, 13 << 32)]).unwrap();
    let alive: BTreeSet<u64> = (1..=13).filter(|number| *number != 3).map(|number| number << 32).collect();
    let log = std::fs::read(base.path().join("sqlite/headers.db-wal")).unwrap();
    let forgotten = Cell::new(0);
    let start = |damaged: Option<&[u8]>, what: &str| {
        let killed = killed(base.path());
        let path = killed.path().join("sqlite/headers.db-wal");
        match damaged {
            Some(octets) => std::fs::write(&path, octets).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let is_told = match Archive::open(Some(Kind::Sqlite), killed.path(), Arc::new(RealDisk)) {
            Ok(checked) => checked.faults().iter().any(|fault| matches!(fault, Fault::Damage(_))),
            Err(error) => error.to_string().contains("headers.db"),
        };
        let opened = store(Kind::Sqlite, killed.path()).unwrap();
        let after = spool(&opened);
        let found = ids(&handed_over(&after));
        let kept = aside(killed.path());
        for lost in alive.difference(&found) {
            let name = format!("{}.body", id(*lost).to_string().replace('/', "-"));
            assert!(kept.contains(&name), "{what}: the body of {} is gone", id(*lost));
            forgotten.set(forgotten.get() + 1);
        }
        let stats = opened.stats();
        assert_eq!(is_told, stats.damaged != 0, "{what}: the check and the start differ");
        assert!(found == alive || is_told, "{what}: not told");
        // What is told is told once.
        after.close();
        drop((after, opened));
        let opened = store(Kind::Sqlite, killed.path()).unwrap();
        assert_eq!((opened.stats().damaged, ids(&handed_over(&spool(&opened)))), (0, found), "{what}");
        is_told
    };
    assert!(!start(Some(&log), "as it is"));
    assert!(start(None, "removed"));
    assert!(start(Some(&[]), "emptied"));
    assert!(start(Some(&vec![0; log.len()]), "all zeros"));
    for at in (0..log.len()).step_by(4096) {
        let mut damaged = log.clone();
        let end = log.len().min(at + 4096);
        damaged[at..end].fill(0);
        assert!(start(Some(&damaged), &format!("zeros at {at}")) || damaged == log, "zeros at {at}: not told");
    }
    assert!(20 < forgotten.get(), "only {} messages were forgotten", forgotten.get());
}
