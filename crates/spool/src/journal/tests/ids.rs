//! Ids: never given twice, and if they were, never one message's envelope with another's body.

use super::*;

fn mail(batch: u64, id: u64, words: &str) -> Mail {
    let headers = vec![(id, format!("envelope: {words}").into_bytes())];
    Mail { batch, body: Bytes::from(format!("body: {words}\r\n")), headers, second: None }
}

fn restarted(disk: &FaultyDisk) -> Run {
    disk.kill();
    Run::open(disk).unwrap()
}

fn newest(run: &Run) -> Option<u64> {
    run.shared.newest.map(MessageId::to_bits)
}

#[test]
fn the_newest_id_is_known_before_the_disk_queue_is_read() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    assert_eq!(newest(&run), None);
    for id in [70, 90, 80] {
        run.store(&Mail::new(id, 1, 3000)).unwrap();
    }
    run.unlink(90);
    let mut run = restarted(&disk);
    assert_eq!(newest(&run), Some(90));
    // Thousands later, over many segments, of which the last has fewest.
    for id in (100..300).step_by(2) {
        run.store(&Mail::new(id, 2, 3000)).unwrap();
        assert!(id % 20 != 0 || newest(&Run::open(&disk.duplicate(1)).unwrap()) == Some(id + 1));
    }
}

#[test]
fn an_id_given_again_while_recovery_runs_sets_the_older_message_aside() {
    let disk = FaultyDisk::seeded(1);
    Run::open(&disk).unwrap().store(&mail(7, 7, "old, to ann")).unwrap();
    let mut run = restarted(&disk);
    run.store(&mail(7, 7, "new, to bob")).unwrap();
    assert!(run.recover().is_empty(), "neither twice nor the old one");
    assert_eq!(run.shared.fetch_headers(7).unwrap(), b"envelope: new, to bob");
    assert_eq!(run.shared.fetch_body(7).unwrap(), b"body: new, to bob\r\n");
    assert_eq!(run.shared.gauges.damaged.get(), 1);
    let aside: Vec<u8> = disk.files(Path::new("/spool/damaged")).into_iter().flat_map(|(_, octets)| octets).collect();
    assert!(String::from_utf8_lossy(&aside).contains("body: old, to ann"));
    assert!(String::from_utf8_lossy(&aside).contains("envelope: old, to ann"));
}

#[test]
fn of_two_old_messages_with_one_id_the_newer_is_whole() {
    let disk = FaultyDisk::seeded(1);
    Run::open(&disk).unwrap().store(&mail(7, 7, "old")).unwrap();
    restarted(&disk).store(&mail(6, 7, "new")).unwrap();
    let mut run = restarted(&disk);
    assert_eq!(run.recover()[&7], b"envelope: new");
    assert_eq!(run.shared.fetch_body(7).unwrap(), b"body: new\r\n");
    assert_eq!(run.shared.gauges.damaged.get(), 1);
}

#[test]
fn a_message_whose_id_is_in_the_spool_is_refused() {
    let disk = FaultyDisk::seeded(1);
    let mut run = Run::open(&disk).unwrap();
    run.store(&mail(7, 7, "first")).unwrap();
    let refused = run.store(&mail(7, 7, "second")).unwrap_err();
    assert!(refused.to_string().contains("in the spool already"), "{refused}");
    assert_eq!(run.shared.fetch_headers(7).unwrap(), b"envelope: first");
    assert_eq!(run.shared.fetch_body(7).unwrap(), b"body: first\r\n");
}
