//! Compressed streams, and what is left of them after a crash.

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use gzipio::GzipDriver;
use io_wrapper::{Flags, IoWrappers, MemoryDriver, Seek};

fn wrappers() -> IoWrappers {
    let wrappers = IoWrappers::new();
    wrappers.register(Arc::new(GzipDriver::new(wrappers.clone()))).unwrap();
    wrappers.register(Arc::new(MemoryDriver::new())).unwrap();
    wrappers
}

fn url(path: &Path) -> String {
    format!("gzip://{}", path.display())
}

/// As any gzip would read it.
fn plain(path: &Path) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn after_each_flush_any_gzip_reads_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/log.gz");
    let wrappers = wrappers();
    let mut log = wrappers.mkpath_and_open(&url(&path), Flags::APPEND, 0o640).unwrap();
    for (text, all) in [("one\n", "one\n"), ("two\n", "one\ntwo\n")] {
        log.write_all(text.as_bytes()).unwrap();
        log.flush().unwrap();
        // As after kill -9: the stream is neither closed nor dropped.
        assert_eq!(plain(&path), all);
    }
    log.flush().unwrap();
    log.sync().unwrap();
    assert_eq!(log.size().unwrap(), path.metadata().unwrap().len());
    log.write_all(b"three\n").unwrap();
    log.close().unwrap();
    let mut appended = wrappers.open(&url(&path), Flags::APPEND, 0o640).unwrap();
    appended.write_all(b"four\n").unwrap();
    drop(appended);
    assert_eq!(plain(&path), "one\ntwo\nthree\nfour\n");
    assert_eq!(wrappers.read_text(&url(&path), 100).unwrap(), "one\ntwo\nthree\nfour\n");
}

#[test]
fn rotation_splits_between_members() {
    let folder = tempfile::tempdir().unwrap();
    let (path, rotated) = (folder.path().join("log.gz"), folder.path().join("log.gz.1"));
    let mut log = wrappers().open(&url(&path), Flags::APPEND, 0o640).unwrap();
    log.write_all(b"one\n").unwrap();
    std::fs::rename(&path, &rotated).unwrap();
    log.reopen().unwrap();
    log.write_all(b"two\n").unwrap();
    log.close().unwrap();
    assert_eq!((plain(&rotated).as_str(), plain(&path).as_str()), ("one\n", "two\n"));
}

#[test]
fn an_end_cut_anywhere_is_repaired_when_it_is_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.gz");
    let wrappers = wrappers();
    let append = |text: &[u8]| {
        let mut log = wrappers.open(&url(&path), Flags::APPEND, 0o640).unwrap();
        log.write_all(text).unwrap();
        log.close().unwrap();
    };
    append(b"one\n");
    let first = path.metadata().unwrap().len() as usize;
    append(b"two\n");
    let octets = std::fs::read(&path).unwrap();
    for cut in first..octets.len() {
        std::fs::write(&path, &octets[..cut]).unwrap();
        append(b"next\n");
        assert_eq!(plain(&path), "one\nnext\n", "cut at {cut}");
    }
    let mut zeroed = octets.clone();
    zeroed[octets.len() - 9..].fill(0);
    std::fs::write(&path, &zeroed).unwrap();
    append(b"next\n");
    assert_eq!(plain(&path), "one\nnext\n", "an end that never reached the disk");
}

#[test]
fn files_of_other_programs_and_plain_ones_are_read_and_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let wrappers = wrappers();
    for text in ["", "x", "plain text"] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(wrappers.read_text(&url(&path), 100).unwrap(), text);
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(b"theirs\n").unwrap();
    std::fs::write(&path, encoder.finish().unwrap()).unwrap();
    assert_eq!(wrappers.read_text(&url(&path), 100).unwrap(), "theirs\n");
    let mut log = wrappers.open(&url(&path), Flags::APPEND, 0o640).unwrap();
    log.write_all(b"ours\n").unwrap();
    log.close().unwrap();
    assert_eq!(plain(&path), "theirs\nours\n");
}

#[test]
fn what_is_unpacked_has_a_bound_and_a_cut_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.gz");
    let wrappers = wrappers();
    let mut file = wrappers.open(&url(&path), Flags::REPLACE, 0o640).unwrap();
    file.write_all(&vec![0; 10 << 20]).unwrap();
    file.close().unwrap();
    assert!(path.metadata().unwrap().len() < 1 << 20);
    assert!(wrappers.read_text(&url(&path), 1 << 20).unwrap_err().to_string().contains("more than 1048576 bytes"));
    let octets = std::fs::read(&path).unwrap();
    std::fs::write(&path, &octets[..octets.len() - 1]).unwrap();
    assert!(wrappers.read_text(&url(&path), 20 << 20).is_err());
}

#[test]
fn it_stands_before_any_other_name_and_refuses_what_it_cannot_do() {
    let wrappers = wrappers();
    let mut log = wrappers.open("gzip://memory://a", Flags::APPEND, 0).unwrap();
    log.write_all(b"text").unwrap();
    assert_eq!(log.seek(Seek::Start(0)).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(log.read(&mut [0]).unwrap_err().kind(), ErrorKind::Unsupported);
    log.close().unwrap();
    let mut text = wrappers.open("gzip://memory://a", Flags::READ, 0).unwrap();
    assert_eq!(text.read_to_end(9).unwrap(), b"text");
    text.reopen().unwrap();
    assert_eq!(text.read_to_end(9).unwrap(), b"text");
    let both = Flags { read: true, ..Flags::REPLACE };
    assert!(wrappers.open("gzip://memory://a", both, 0).unwrap_err().to_string().contains("either read or written"));
    assert!(wrappers.open("gzip://gopher://a", Flags::READ, 0).unwrap_err().to_string().contains("no such kind"));
}
