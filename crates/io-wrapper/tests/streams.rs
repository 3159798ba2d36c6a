//! What the drivers of files and of memory both promise, and what only one of them does.

use std::io::{ErrorKind, IoSlice};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use io_wrapper::{Error, Flags, IoWrappers, MemoryDriver, Seek};

const UPDATE: Flags = Flags { read: true, ..Flags::REPLACE };

/// Runs a promise against both, with a URL prefix under which nothing exists.
fn on_both(promise: impl Fn(&IoWrappers, &str)) {
    let scratch = tempfile::tempdir().unwrap();
    let wrappers = IoWrappers::new();
    wrappers.register(Arc::new(MemoryDriver::new())).unwrap();
    promise(&wrappers, &format!("file://{}/", scratch.path().display()));
    promise(&wrappers, "memory://");
}

fn kind(error: &Error) -> ErrorKind {
    match error {
        Error::Io { source, .. } => source.kind(),
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_written_is_read_back_from_where_one_seeks() {
    on_both(|wrappers, at| {
        let mut stream = wrappers.open(&format!("{at}a"), UPDATE, 0o600).unwrap();
        stream.write_all(b"one two").unwrap();
        assert_eq!(stream.seek(Seek::Current(-3)).unwrap(), 4);
        stream.write_all(b"2").unwrap();
        assert_eq!(stream.seek(Seek::Start(0)).unwrap(), 0);
        assert_eq!(stream.read_to_end(100).unwrap(), b"one 2wo");
        assert_eq!(stream.size().unwrap(), 7);
        stream.flush().unwrap();
        stream.sync().unwrap();
        stream.close().unwrap();
    });
}

#[test]
fn appending_goes_to_the_end_whoever_else_writes() {
    on_both(|wrappers, at| {
        let url = format!("{at}log");
        let mut first = wrappers.open(&url, Flags::APPEND, 0o600).unwrap();
        let mut second = wrappers.open(&url, Flags::APPEND, 0o600).unwrap();
        first.write_all(b"1").unwrap();
        second.write_all(b"2").unwrap();
        first.write_all(b"3").unwrap();
        let mut lines = wrappers.open(&url, Flags::READ, 0).unwrap();
        assert_eq!(lines.read_to_end(100).unwrap(), b"123");
        assert!(first.read(&mut [0]).is_err(), "opened for writing only");
        assert!(lines.write(b"4").is_err(), "opened for reading only");
    });
}

#[test]
fn buffers_are_written_in_order() {
    on_both(|wrappers, at| {
        let mut stream = wrappers.open(&format!("{at}v"), UPDATE, 0o600).unwrap();
        let (mut written, whole) = (0, b"ab\ncd\n");
        while written < whole.len() {
            let split = written.max(3);
            let buffers = [IoSlice::new(&whole[written..split]), IoSlice::new(&whole[split..])];
            written += stream.writev(&buffers).unwrap();
        }
        stream.seek(Seek::Start(0)).unwrap();
        assert_eq!(stream.read_to_end(100).unwrap(), whole);
    });
}

#[test]
fn a_missing_name_and_an_existing_one_are_told() {
    on_both(|wrappers, at| {
        let url = format!("{at}x");
        assert_eq!(kind(&wrappers.open(&url, Flags::READ, 0).unwrap_err()), ErrorKind::NotFound);
        let exclusive = Flags { exclusive: true, ..Flags::REPLACE };
        wrappers.open(&url, exclusive, 0o600).unwrap();
        let error = wrappers.open(&url, exclusive, 0o600).unwrap_err();
        assert_eq!(kind(&error), ErrorKind::AlreadyExists);
        assert!(error.to_string().starts_with(&format!("opening {url}: ")), "{error}");
    });
}

#[test]
fn reopening_keeps_what_is_there_even_if_opening_emptied_it() {
    on_both(|wrappers, at| {
        let url = format!("{at}r");
        let mut stream = wrappers.open(&url, Flags::REPLACE, 0o600).unwrap();
        stream.write_all(b"kept").unwrap();
        stream.reopen().unwrap();
        assert_eq!(stream.size().unwrap(), 4);
    });
}

#[test]
fn after_rotation_a_reopened_log_is_a_new_file() {
    let scratch = tempfile::tempdir().unwrap();
    let (log, rotated) = (scratch.path().join("mainlog"), scratch.path().join("mainlog.1"));
    let mut stream = IoWrappers::new().open(log.to_str().unwrap(), Flags::APPEND, 0o640).unwrap();
    stream.write_all(b"old\n").unwrap();
    std::fs::rename(&log, &rotated).unwrap();
    stream.write_all(b"late\n").unwrap();
    stream.reopen().unwrap();
    stream.write_all(b"new\n").unwrap();
    assert_eq!(std::fs::read(rotated).unwrap(), b"old\nlate\n");
    assert_eq!(std::fs::read(&log).unwrap(), b"new\n");
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_log_is_never_opened_through_a_symbolic_link_but_a_named_file_is_read_through_one() {
    let scratch = tempfile::tempdir().unwrap();
    let (target, link) = (scratch.path().join("target"), scratch.path().join("link"));
    std::fs::write(&target, "precious").unwrap();
    symlink(&target, &link).unwrap();
    let (wrappers, link) = (IoWrappers::new(), link.to_str().unwrap());
    wrappers.open(link, Flags::APPEND, 0o600).unwrap_err();
    wrappers.open(link, Flags::REPLACE, 0o600).unwrap_err();
    assert_eq!(wrappers.open(link, Flags::READ, 0).unwrap().read_to_end(100).unwrap(), b"precious");
}

#[test]
fn mkpath_and_open_makes_the_directories() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a/b/log");
    let wrappers = IoWrappers::new();
    wrappers.mkpath_and_open(path.to_str().unwrap(), Flags::APPEND, 0o600).unwrap().write_all(b"x").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"x");
    let under_a_file = format!("{}/c/log", path.display());
    let error = wrappers.mkpath_and_open(&under_a_file, Flags::APPEND, 0o600).unwrap_err();
    assert!(error.to_string().starts_with(&format!("making the directories of {under_a_file}: ")), "{error}");
}

#[test]
fn a_directory_is_listed_in_name_order_and_a_text_read_within_its_bound() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("b.ecm"), "[b]\n").unwrap();
    std::fs::write(scratch.path().join("binary"), b"\xff\xfe").unwrap();
    std::fs::create_dir(scratch.path().join("a")).unwrap();
    let (wrappers, at) = (IoWrappers::new(), scratch.path().display());
    let entries = wrappers.list(&at.to_string()).unwrap();
    let seen: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.is_directory)).collect();
    assert_eq!(seen, [("a", true), ("b.ecm", false), ("binary", false)]);
    assert_eq!(wrappers.read_text(&format!("{at}/b.ecm"), 4).unwrap(), "[b]\n");
    let told = |name: &str| kind(&wrappers.read_text(&format!("{at}/{name}"), 3).unwrap_err());
    assert_eq!((told("b.ecm"), told("binary")), (ErrorKind::FileTooLarge, ErrorKind::InvalidData));
    assert_eq!(kind(&wrappers.list(&format!("{at}/none")).unwrap_err()), ErrorKind::NotFound);
}

#[test]
fn a_file_descriptor_can_be_polled_and_is_not_inherited() {
    let stream = IoWrappers::new().open("/dev/null", Flags::READ, 0).unwrap();
    let flags = rustix::io::fcntl_getfd(stream.pollable().unwrap()).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn built_in_memory_is_read_only() {
    let memory = MemoryDriver::new();
    memory.insert("default", b"built in");
    let wrappers = IoWrappers::new();
    wrappers.register(Arc::new(memory)).unwrap();
    let mut stream = wrappers.open("memory://default", Flags::READ, 0).unwrap();
    assert_eq!(stream.read_to_end(8).unwrap(), b"built in");
    let error = wrappers.open("memory://default", Flags::APPEND, 0).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(MemoryDriver::over(b"bare").read_to_end(8).unwrap(), b"bare");
}

#[test]
fn memory_tells_what_a_power_loss_would_have_left() {
    let memory = MemoryDriver::new();
    let wrappers = IoWrappers::new();
    wrappers.register(Arc::new(memory.clone())).unwrap();
    let mut log = wrappers.open("memory://log", Flags::APPEND, 0).unwrap();
    log.write_all(b"safe").unwrap();
    log.sync().unwrap();
    log.write_all(b" lost").unwrap();
    assert_eq!((memory.contents("log").unwrap().len(), memory.synced_bytes("log")), (9, Some(4)));
    assert!(memory.rename("log", "log.1"));
    log.reopen().unwrap();
    assert_eq!(memory.contents("log"), Some(Vec::new()));
}
