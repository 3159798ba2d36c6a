//! What every kind of stream promises, whichever driver it has: it does what it can, says clearly what it cannot, and
//! never half.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;

use gzipio::GzipDriver;
use http_io::{HttpDriver, Limits, Roots};
use io_wrapper::{Error, Flags, IoWrappers, MemoryDriver, Seek};
use jlog::JlogDriver;
use persist_io::{PersistDriver, Place};
use pipe_io::PipeDriver;
use scheduler::Clock;
use syslog_io::SyslogDriver;

/// What one kind can do.
struct Kind {
    url: String,
    /// What stands in it before it is written, if it cannot be.
    given: Option<&'static str>,
    appends: bool,
    reads: bool,
    seeks: bool,
    sized: bool,
    syncs: bool,
}

/// Every kind, with names of its own in `folder`.
fn kinds(folder: &Path) -> Vec<Kind> {
    let at = folder.display();
    let name = |url: String, does: &str| Kind {
        url,
        given: None,
        appends: does.contains('a'),
        reads: does.contains('r'),
        seeks: does.contains('s'),
        sized: does.contains('z'),
        syncs: does.contains('y'),
    };
    let web = web("line\nline\n");
    vec![
        name(format!("{at}/plain"), "arszy"),
        name(format!("file://{at}/file"), "arszy"),
        name("memory://name".to_owned(), "arszy"),
        name(format!("gzip://{at}/file.gz"), "ary"),
        name("gzip://memory://compressed".to_owned(), "ary"),
        name(format!("jlog://{at}/log=>reader"), "arzy"),
        name(format!("cluster://{at}/other log"), "arzy"),
        name(format!("persist://{at}/kept"), "arszy"),
        name(format!("pipe:///bin/sh?arg1=-c&arg2=cat%20%3E%3E%20{at}/piped"), "a"),
        name(format!("syslog://?socket={at}/socket"), "a"),
        Kind { given: Some("line\nline\n"), ..name(format!("http://{web}/list"), "rsz") },
    ]
}

fn web(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            let _ = peer.read(&mut [0; 4096]);
            let _ = write!(peer, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        }
    });
    address
}

fn wrappers(folder: &Path) -> IoWrappers {
    let (wrappers, clock) = (IoWrappers::new(), Clock::system());
    let place = Place { folder: folder.join("copies"), folder_mode: 0o700, file_mode: 0o600 };
    wrappers.register(Arc::new(MemoryDriver::new())).unwrap();
    wrappers.register(Arc::new(GzipDriver::new(wrappers.clone()))).unwrap();
    wrappers.register(Arc::new(PersistDriver::new(wrappers.clone(), place))).unwrap();
    wrappers.register(Arc::new(PipeDriver::new(clock))).unwrap();
    wrappers.register(Arc::new(SyslogDriver::new(clock))).unwrap();
    for driver in JlogDriver::both() {
        wrappers.register(Arc::new(driver)).unwrap();
    }
    for driver in HttpDriver::both(Limits::default(), &Roots::System) {
        wrappers.register(Arc::new(driver)).unwrap();
    }
    wrappers
}

/// Runs a promise for every kind, with two lines in those that can be written.
fn on_all(promise: impl Fn(&IoWrappers, &Kind)) {
    let folder = tempfile::tempdir().unwrap();
    let _receiver = UnixDatagram::bind(folder.path().join("socket")).unwrap();
    let wrappers = wrappers(folder.path());
    for kind in kinds(folder.path()) {
        println!("{}", kind.url);
        if kind.appends {
            let mut stream = wrappers.mkpath_and_open(&kind.url, Flags::APPEND, 0o640).unwrap();
            stream.write_all(b"line\n").unwrap();
            stream.flush().unwrap();
            stream.reopen().unwrap();
            stream.write_all(b"line\n").unwrap();
            stream.close().unwrap();
        }
        promise(&wrappers, &kind);
    }
}

fn refusal(error: Error) -> ErrorKind {
    let text = error.to_string();
    match error {
        Error::Io { source, url, .. } => {
            assert!(text.contains(&url), "the name is not told: {text}");
            source.kind()
        }
        other => panic!("{other}"),
    }
}

/// Whether something is done, or refused as something this kind cannot do.
fn is_done<T>(what: &str, kind: &Kind, answer: std::io::Result<T>) -> bool {
    match answer {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{what} {}: {error}", kind.url);
            assert!(error.to_string().contains("not supported"), "{what} {}: {error}", kind.url);
            false
        }
    }
}

#[test]
fn what_was_written_before_and_after_reopening_is_read_as_a_whole() {
    on_all(|wrappers, kind| {
        if kind.reads {
            let mut stream = wrappers.open(&kind.url, Flags::READ, 0).unwrap();
            assert_eq!(stream.read_to_end(100).unwrap(), b"line\nline\n", "{}", kind.url);
            stream.reopen().unwrap();
            assert_eq!(stream.read_to_end(100).unwrap(), b"line\nline\n", "{} anew", kind.url);
            stream.close().unwrap();
        } else {
            let refused = refusal(wrappers.open(&kind.url, Flags::READ, 0).unwrap_err());
            assert_eq!(refused, ErrorKind::Unsupported, "{}", kind.url);
        }
    });
}

#[test]
fn a_stream_open_for_reading_takes_nothing_and_one_for_writing_gives_nothing() {
    on_all(|wrappers, kind| {
        if kind.reads {
            let mut stream = wrappers.open(&kind.url, Flags::READ, 0).unwrap();
            assert!(!is_done("writing", kind, stream.write(b"x")), "{}", kind.url);
        }
        if kind.appends {
            let mut stream = wrappers.open(&kind.url, Flags::APPEND, 0o640).unwrap();
            assert!(!is_done("reading", kind, stream.read(&mut [0])), "{}", kind.url);
        } else {
            assert!(kind.given.is_some());
            let refused = refusal(wrappers.open(&kind.url, Flags::APPEND, 0o640).unwrap_err());
            assert_eq!(refused, ErrorKind::ReadOnlyFilesystem, "{}", kind.url);
        }
    });
}

#[test]
fn seeking_size_and_sync_are_done_or_clearly_refused() {
    on_all(|wrappers, kind| {
        if kind.reads {
            let mut stream = wrappers.open(&kind.url, Flags::READ, 0).unwrap();
            assert_eq!(is_done("seeking", kind, stream.seek(Seek::Start(5))), kind.seeks, "{}", kind.url);
            if kind.seeks {
                assert_eq!(stream.read_to_end(100).unwrap(), b"line\n");
            }
            assert_eq!(is_done("size", kind, stream.size()), kind.sized, "{}", kind.url);
        }
        if kind.appends {
            let mut stream = wrappers.open(&kind.url, Flags::APPEND, 0o640).unwrap();
            assert_eq!(is_done("syncing", kind, stream.sync()), kind.syncs, "{}", kind.url);
        }
    });
}

#[test]
fn two_streams_of_one_name_each_have_a_position_of_their_own() {
    on_all(|wrappers, kind| {
        if kind.reads {
            let mut one = wrappers.open(&kind.url, Flags::READ, 0).unwrap();
            let mut two = wrappers.open(&kind.url, Flags::READ, 0).unwrap();
            assert_eq!(one.read_to_end(100).unwrap(), two.read_to_end(100).unwrap(), "{}", kind.url);
        }
    });
}
