//! What a journaled log promises its subscribers, whatever happens to its files.

use std::path::Path;

use jlog::{Folder, Reader, Record, SEGMENT_OCTETS, Start, Writer};
use proptest::prelude::*;

fn write(folder: &Folder, records: &[&[u8]]) {
    let mut writer = Writer::open(folder.clone(), 0o640).unwrap();
    for record in records {
        writer.append(record).unwrap();
    }
    writer.flush().unwrap();
}

/// Everything a subscriber has not acknowledged.
fn unread(folder: &Folder, subscriber: &str) -> Vec<Vec<u8>> {
    let mut reader = Reader::open(folder.clone(), subscriber).unwrap();
    std::iter::from_fn(|| reader.next_record().unwrap()).map(|record| record.octets).collect()
}

fn scratch() -> (tempfile::TempDir, Folder) {
    let scratch = tempfile::tempdir().unwrap();
    let folder = Folder::new(scratch.path().join("log"));
    (scratch, folder)
}

fn segments(folder: &Folder) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "jlog")).collect();
    segments.sort();
    segments
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn each_subscriber_reads_everything_in_order_from_its_own_checkpoint() {
    let (_scratch, folder) = scratch();
    write(&folder, &[]);
    for subscriber in ["a", "b"] {
        assert!(folder.subscribe(subscriber, Start::Oldest).unwrap());
    }
    write(&folder, &[b"one", b"", b"three"]);
    let mut reader = Reader::open(folder.clone(), "a").unwrap();
    let first = reader.next_record().unwrap().unwrap();
    reader.next_record().unwrap();
    reader.acknowledge(first.end).unwrap();
    assert_eq!(unread(&folder, "a"), [&b""[..], b"three"]);
    assert_eq!(unread(&folder, "b"), [&b"one"[..], b"", b"three"]);
    assert!(!folder.subscribe("a", Start::Newest).unwrap(), "it stays where it is");
    assert_eq!(unread(&folder, "a").len(), 2);
}

#[test]
fn nothing_is_acknowledged_by_reading_and_acknowledging_never_goes_back() {
    let (_scratch, folder) = scratch();
    write(&folder, &[]);
    folder.subscribe("a", Start::Oldest).unwrap();
    write(&folder, &[b"one", b"two"]);
    let mut reader = Reader::open(folder.clone(), "a").unwrap();
    let records: Vec<Record> = std::iter::from_fn(|| reader.next_record().unwrap()).collect();
    assert_eq!(unread(&folder, "a").len(), 2);
    reader.acknowledge(records[1].end).unwrap();
    reader.acknowledge(records[0].end).unwrap();
    assert!(unread(&folder, "a").is_empty());
    reader.rewind().unwrap();
    assert_eq!(reader.next_record().unwrap(), None);
}

#[test]
fn a_reader_follows_the_writer_record_by_record() {
    let (_scratch, folder) = scratch();
    let mut writer = Writer::open(folder.clone(), 0o640).unwrap();
    folder.subscribe("a", Start::Oldest).unwrap();
    let mut reader = Reader::open(folder.clone(), "a").unwrap();
    for number in 0..100_u32 {
        assert_eq!(reader.next_record().unwrap(), None);
        writer.append(&number.to_le_bytes()).unwrap();
        assert_eq!(reader.next_record().unwrap(), None, "not flushed");
        writer.flush().unwrap();
        assert_eq!(reader.next_record().unwrap().unwrap().octets, number.to_le_bytes());
    }
}

#[test]
fn a_reader_beside_a_busy_writer_misses_nothing_and_takes_nothing_for_damaged() {
    const RECORDS: u32 = 2000;
    let (_scratch, folder) = scratch();
    let mut writer = Writer::open(folder.clone(), 0o640).unwrap();
    folder.subscribe("a", Start::Oldest).unwrap();
    let mut reader = Reader::open(folder, "a").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..RECORDS {
                writer.append(&number.to_le_bytes()).unwrap();
                if number % 3 == 0 {
                    writer.flush().unwrap();
                }
            }
            writer.flush().unwrap();
        });
        let mut expected = 0;
        while expected < RECORDS {
            if let Some(record) = reader.next_record().unwrap() {
                assert_eq!(record.octets, expected.to_le_bytes());
                expected += 1;
            }
        }
    });
    assert_eq!(reader.damaged_octets(), 0);
}

#[test]
fn a_later_subscriber_begins_with_the_oldest_kept_or_with_the_newest() {
    let (_scratch, folder) = scratch();
    write(&folder, &[]);
    folder.subscribe("first", Start::Oldest).unwrap();
    write(&folder, &[b"old"]);
    folder.subscribe("oldest", Start::Oldest).unwrap();
    folder.subscribe("newest", Start::Newest).unwrap();
    write(&folder, &[b"new"]);
    assert_eq!(unread(&folder, "oldest"), [b"old", b"new"]);
    assert_eq!(unread(&folder, "newest"), [b"new"]);
}

#[test]
fn a_segment_goes_when_every_subscriber_has_passed_it() {
    let (_scratch, folder) = scratch();
    let mut writer = Writer::open(folder.clone(), 0o640).unwrap();
    for subscriber in ["a", "b"] {
        folder.subscribe(subscriber, Start::Oldest).unwrap();
    }
    let record = vec![7; SEGMENT_OCTETS as usize / 2];
    for _ in 0..6 {
        writer.append(&record).unwrap();
        writer.flush().unwrap();
    }
    let made = segments(&folder).len();
    assert!(2 < made, "{made}");
    let read_all = |subscriber: &str| {
        let mut reader = Reader::open(folder.clone(), subscriber).unwrap();
        let mut count = 0;
        while let Some(record) = reader.next_record().unwrap() {
            reader.acknowledge(record.end).unwrap();
            count += 1;
        }
        count
    };
    assert_eq!(read_all("a"), 6);
    assert_eq!(segments(&folder).len(), made, "b has read nothing");
    assert_eq!(read_all("b"), 6);
    assert!(segments(&folder).len() < made);
    folder.subscribe("late", Start::Oldest).unwrap();
    assert!(folder.unsubscribe("late").unwrap() && !folder.unsubscribe("late").unwrap());
    assert_eq!(folder.subscribers().unwrap(), ["a", "b"]);
}

#[test]
fn without_a_subscriber_only_the_newest_segments_stay() {
    let (_scratch, folder) = scratch();
    let mut writer = Writer::open(folder.clone(), 0o640).unwrap();
    for _ in 0..5 {
        writer.append(&vec![7; SEGMENT_OCTETS as usize]).unwrap();
        writer.flush().unwrap();
    }
    assert_eq!(segments(&folder).len(), 1);
}

#[test]
fn a_second_writer_is_refused_and_numbers_never_come_again() {
    let (_scratch, folder) = scratch();
    let writer = Writer::open(folder.clone(), 0o640).unwrap();
    let told = Writer::open(folder.clone(), 0o640).unwrap_err().to_string();
    assert!(told.starts_with("another process writes to the journaled log"), "{told}");
    drop(writer);
    folder.subscribe("a", Start::Oldest).unwrap();
    write(&folder, &[b"one"]);
    write(&folder, &[b"two"]);
    let mut reader = Reader::open(folder.clone(), "a").unwrap();
    while let Some(record) = reader.next_record().unwrap() {
        reader.acknowledge(record.end).unwrap();
    }
    segments(&folder).iter().for_each(|segment| std::fs::remove_file(segment).unwrap());
    write(&folder, &[b"three"]);
    assert_eq!(unread(&folder, "a"), [b"three"]);
}

#[test]
fn names_that_could_leave_the_folder_and_unknown_subscribers_are_refused() {
    let (_scratch, folder) = scratch();
    write(&folder, &[]);
    for name in ["", "../x", ".hidden", "a b", "a/b", &"x".repeat(101)] {
        assert!(folder.subscribe(name, Start::Oldest).is_err(), "{name}");
    }
    folder.subscribe("known", Start::Oldest).unwrap();
    let told = Reader::open(folder.clone(), "unknown").unwrap_err().to_string();
    assert!(told.ends_with("has no subscriber unknown; known are: known"), "{told}");
    std::fs::write(folder.path().join("known.subscriber"), "rubbish").unwrap();
    assert!(Reader::open(folder, "known").unwrap_err().to_string().contains("is damaged"));
}

/// Three records in one segment behind one in another; the offset where each of the three ends.
fn example(folder: &Folder) -> (Vec<u8>, [usize; 4]) {
    write(folder, &[b"zero"]);
    folder.subscribe("a", Start::Oldest).unwrap();
    write(folder, &[b"one", b"", b"three"]);
    let last = std::fs::read(segments(folder).pop().unwrap()).unwrap();
    (last, [16, 16 + 11, 16 + 19, 16 + 32])
}

#[test]
fn cut_anywhere_the_whole_records_are_kept_and_new_ones_follow_them() {
    let (scratch, folder) = scratch();
    let (last, ends) = example(&folder);
    assert_eq!(last.len(), ends[3]);
    let records: [&[u8]; 4] = [b"zero", b"one", b"", b"three"];
    for cut in 0..=last.len() {
        let torn = Folder::new(scratch.path().join(format!("cut at {cut}")));
        copy(folder.path(), torn.path());
        std::fs::write(segments(&torn).pop().unwrap(), &last[..cut]).unwrap();
        let whole = 1 + ends[1..].iter().filter(|&&end| end <= cut).count();
        assert_eq!(unread(&torn, "a"), records[..whole], "cut at {cut}, before repair");
        write(&torn, &[]);
        write(&torn, &[b"next", b"last"]);
        let expected = [&records[..whole], &[&b"next"[..], b"last"]].concat();
        assert_eq!(unread(&torn, "a"), expected, "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_costs_the_record_it_is_in_and_no_other() {
    let (scratch, folder) = scratch();
    let (last, ends) = example(&folder);
    let records: [&[u8]; 4] = [b"zero", b"one", b"", b"three"];
    for at in 16..last.len() {
        for bit in [at % 8, (at + 3) % 8] {
            let hurt = Folder::new(scratch.path().join(format!("{at}.{bit}")));
            copy(folder.path(), hurt.path());
            let mut octets = last.clone();
            octets[at] ^= 1 << bit;
            std::fs::write(segments(&hurt).pop().unwrap(), &octets).unwrap();
            write(&hurt, &[b"next"]);
            let lost = 1 + ends[1..].iter().filter(|&&end| end <= at).count();
            let mut expected: Vec<&[u8]> = records.to_vec();
            expected.remove(lost);
            expected.push(b"next");
            assert_eq!(unread(&hurt, "a"), expected, "bit {bit} of octet {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is written, acknowledged and torn in whatever order, a subscriber misses nothing that was flushed and
    /// is told nothing that was not written.
    #[test]
    fn at_least_once_and_in_order(steps in proptest::collection::vec((0u8..5, 0usize..40), 1..40)) {
        let (_scratch, folder) = scratch();
        let mut writer = Some(Writer::open(folder.clone(), 0o640).unwrap());
        folder.subscribe("a", Start::Oldest).unwrap();
        let mut reader = Reader::open(folder.clone(), "a").unwrap();
        let (mut written, mut heard, mut acknowledged) = (0u32, 0u32, 0u32);
        for (step, size) in steps {
            match step {
                0 | 1 => {
                    let writer = writer.as_mut().unwrap();
                    for _ in 0..size {
                        writer.append(format!("{written} {}", "x".repeat(size)).as_bytes()).unwrap();
                        written += 1;
                    }
                    writer.flush().unwrap();
                }
                2 => {
                    let mut end = None;
                    for _ in 0..size {
                        let Some(record) = reader.next_record().unwrap() else { break };
                        let text = String::from_utf8(record.octets).unwrap();
                        prop_assert_eq!(text.split(' ').next().unwrap().parse::<u32>().unwrap(), heard);
                        heard += 1;
                        end = Some(record.end);
                    }
                    if let (Some(end), true) = (end, size % 2 == 0) {
                        reader.acknowledge(end).unwrap();
                        acknowledged = heard;
                    }
                }
                3 => {
                    reader = Reader::open(folder.clone(), "a").unwrap();
                    heard = acknowledged;
                }
                _ => {
                    drop(writer.take());
                    // Half a record at the end, as a crash in the middle of a write leaves it.
                    if let Some(segment) = segments(&folder).pop() {
                        let mut octets = std::fs::read(&segment).unwrap();
                        octets.extend_from_slice(&vec![9; size]);
                        std::fs::write(&segment, octets).unwrap();
                    }
                    writer = Some(Writer::open(folder.clone(), 0o640).unwrap());
                }
            }
        }
        while reader.next_record().unwrap().is_some() {
            heard += 1;
        }
        prop_assert_eq!(heard, written);
    }
}

/// Each writer begins a segment.
#[test]
fn a_segment_that_somebody_removed_is_missed_and_one_of_zeros_is_damage() {
    let (_scratch, folder) = scratch();
    write(&folder, &[]);
    folder.subscribe("a", Start::Oldest).unwrap();
    for record in [b"one", b"two", b"six"] {
        write(&folder, &[record]);
    }
    let read = || {
        let mut reader = Reader::open(folder.clone(), "a").unwrap();
        let records: Vec<_> =
            std::iter::from_fn(|| reader.next_record().unwrap()).map(|record| record.octets).collect();
        (records, reader.missing_segments(), reader.damaged_octets() != 0)
    };
    assert_eq!(read(), (vec![b"one".to_vec(), b"two".to_vec(), b"six".to_vec()], 0, false));
    let second = segments(&folder).remove(1);
    let length = std::fs::metadata(&second).unwrap().len();
    std::fs::write(&second, vec![0; length as usize]).unwrap();
    assert_eq!(read(), (vec![b"one".to_vec(), b"six".to_vec()], 0, true));
    std::fs::remove_file(&second).unwrap();
    assert_eq!(read(), (vec![b"one".to_vec(), b"six".to_vec()], 1, false));
}
