//! Journaled logs by name: `jlog://folder=>subscriber`.

use std::io::ErrorKind;
use std::sync::Arc;

use io_wrapper::{Error, Flags, IoWrappers, Seek};
use jlog::{Folder, JlogDriver};

fn wrappers() -> IoWrappers {
    let wrappers = IoWrappers::new();
    for driver in JlogDriver::both() {
        wrappers.register(Arc::new(driver)).unwrap();
    }
    wrappers
}

#[test]
fn lines_written_are_records_read_and_acknowledged_by_sync() {
    let scratch = tempfile::tempdir().unwrap();
    let url = format!("jlog://{}/main.rt=>stats", scratch.path().display());
    let wrappers = wrappers();
    let mut log = wrappers.mkpath_and_open(&url, Flags::APPEND, 0o640).unwrap();
    log.write_all(b"one\ntwo\nthr").unwrap();
    log.flush().unwrap();
    log.write_all(b"ee\n").unwrap();
    log.reopen().unwrap();
    let mut lines = wrappers.open(&url, Flags::READ, 0).unwrap();
    assert_eq!(lines.read_to_end(100).unwrap(), b"one\ntwo\nthree\n");
    lines.reopen().unwrap();
    assert_eq!(lines.read_to_end(100).unwrap(), b"one\ntwo\nthree\n", "nothing was acknowledged");
    lines.sync().unwrap();
    log.write_all(b"without LF").unwrap();
    log.close().unwrap();
    lines.close().unwrap();
    let mut again = wrappers.open(&url, Flags::READ, 0).unwrap();
    let mut some = [0; 4];
    assert_eq!(again.read(&mut some).unwrap(), 4);
    again.sync().unwrap();
    again.reopen().unwrap();
    assert_eq!(again.read_to_end(100).unwrap(), b"without LF\n", "half a record is not acknowledged");
    assert!(0 < again.size().unwrap());
}

#[test]
fn two_names_of_one_log_share_its_writer_and_cluster_has_a_subscriber_of_its_own() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("main.rt");
    let wrappers = wrappers();
    let mut one = wrappers.open(&format!("jlog://{}=>a", path.display()), Flags::APPEND, 0o640).unwrap();
    let mut two = wrappers.open(&format!("cluster://{}/", path.display()), Flags::APPEND, 0o640).unwrap();
    one.write_all(b"1\n").unwrap();
    two.write_all(b"2\n").unwrap();
    two.close().unwrap();
    drop(one);
    assert_eq!(Folder::new(&path).subscribers().unwrap(), ["a", "master"]);
    let mut lines = wrappers.open(&format!("jlog://{}=>master", path.display()), Flags::READ, 0).unwrap();
    assert_eq!(lines.read_to_end(100).unwrap(), b"1\n2\n");
}

#[test]
fn what_cannot_be_done_is_refused_clearly() {
    let scratch = tempfile::tempdir().unwrap();
    let at = scratch.path().display();
    let wrappers = wrappers();
    let kind = |url: &str, flags| match wrappers.open(url, flags, 0o640).unwrap_err() {
        Error::Io { source, .. } => source.kind(),
        other => panic!("{other}"),
    };
    assert_eq!(kind("jlog://relative=>a", Flags::APPEND), ErrorKind::InvalidInput);
    assert_eq!(kind(&format!("jlog://{at}/x"), Flags::READ), ErrorKind::InvalidInput);
    assert_eq!(kind(&format!("jlog://{at}/x=>a"), Flags::READ), ErrorKind::NotFound);
    assert_eq!(kind(&format!("jlog://{at}/x=>a"), Flags::REPLACE), ErrorKind::Unsupported);
    let mut log = wrappers.open(&format!("jlog://{at}/x=>a"), Flags::APPEND, 0o640).unwrap();
    assert_eq!(log.seek(Seek::Start(0)).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(log.read(&mut [0]).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_log_with_a_bound_drops_the_oldest_records_of_a_subscriber_that_never_reads() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("main.rt");
    let (wrappers, folder) = (wrappers(), Folder::new(&path));
    let refused = wrappers.open(&format!("jlog://{}=>slow?max_bytes=100", path.display()), Flags::APPEND, 0o640);
    assert!(refused.err().unwrap().to_string().contains("at least 8388608"));
    let url = format!("jlog://{}=>slow?max_bytes=12000000", path.display());
    let mut log = wrappers.mkpath_and_open(&url, Flags::APPEND, 0o640).unwrap();
    folder.subscribe("quick", jlog::Start::Oldest).unwrap();
    let mut quick = wrappers.open(&format!("jlog://{}=>quick", path.display()), Flags::READ, 0).unwrap();
    for number in 0..40 {
        log.write_all(format!("{number} {}\n", "x".repeat(1_000_000)).as_bytes()).unwrap();
        log.flush().unwrap();
        assert!(quick.read_to_end(2_000_000).unwrap().starts_with(format!("{number} ").as_bytes()));
        quick.sync().unwrap();
        assert!(folder.octets().unwrap() <= 12_000_000 + jlog::SEGMENT_OCTETS + 1_000_000, "{number}");
    }
    let mut slow = wrappers.open(&format!("jlog://{}=>slow", path.display()), Flags::READ, 0).unwrap();
    let text = String::from_utf8(slow.read_to_end(50_000_000).unwrap()).unwrap();
    let told: Vec<u32> = text.lines().map(|line| line.split_once(' ').unwrap().0.parse().unwrap()).collect();
    assert_eq!(told, (told[0]..40).collect::<Vec<u32>>(), "what is left comes in order, to the end");
    let lost = u64::from(told[0]);
    assert!((20..39).contains(&lost), "{lost}");
    let dropped = folder.dropped_octets().unwrap();
    assert!(lost * 1_000_000 < dropped && dropped < (lost + 1) * 1_000_100, "{dropped} for {lost}");
    slow.sync().unwrap();
    let behind = folder.checkpoints().unwrap().into_iter().map(|(_, at)| folder.octets_behind(at).unwrap());
    assert_eq!(behind.collect::<Vec<u64>>(), [0, 0]);
}

#[test]
fn the_tool_shows_who_is_behind_and_looks_after_subscribers() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("main.rt");
    let mut log =
        wrappers().mkpath_and_open(&format!("jlog://{}=>stats", path.display()), Flags::APPEND, 0o640).unwrap();
    log.write_all(b"one\ntwo\nthree\n").unwrap();
    log.flush().unwrap();
    let tool = |arguments: &[&str]| {
        let ran =
            std::process::Command::new(env!("CARGO_BIN_EXE_ec_jlog")).arg(&path).args(arguments).output().unwrap();
        (ran.status.success(), String::from_utf8(ran.stdout).unwrap() + &String::from_utf8(ran.stderr).unwrap())
    };
    assert_eq!(tool(&[]), (true, "1 segments, 51 octets\nstats: at 0:0, 35 octets not acknowledged\n".to_owned()));
    assert_eq!(tool(&["-r", "stats", "-n", "2"]), (true, "one\ntwo\n".to_owned()));
    assert_eq!(tool(&["-r", "stats", "-n", "2", "--acknowledge"]), (true, "one\ntwo\n".to_owned()));
    assert_eq!(tool(&["-r", "stats"]), (true, "three\n".to_owned()));
    assert_eq!(tool(&["-a", "late", "--newest"]), (true, "added\n".to_owned()));
    assert!(
        tool(&[]).1.contains("late: at 1:51, 0 octets not acknowledged\nstats: at 1:38, 13 octets"),
        "{:?}",
        tool(&[])
    );
    assert_eq!(tool(&["-e", "late"]), (true, "removed\n".to_owned()));
    let (success, told) = tool(&["-e", "late"]);
    assert!(!success && told.contains("there is no subscriber late"), "{told}");
}
