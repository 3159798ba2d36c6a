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
