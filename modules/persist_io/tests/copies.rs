//! What `persist://` serves when the origin answers, and when it does not.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use io_wrapper::{Driver, Flags, IoWrappers, MemoryDriver, Stream};
use persist_io::{PersistDriver, Place};

/// An origin that answers what it is told to.
#[derive(Clone, Default)]
struct Origin(Arc<Mutex<Option<&'static [u8]>>>);

impl Driver for Origin {
    fn scheme(&self) -> &str {
        "origin"
    }

    fn open(&self, _: &str, _: Flags, _: u32) -> io::Result<Box<dyn Stream>> {
        let answer = self.0.lock().unwrap().ok_or_else(|| io::Error::other("it is down"))?;
        Ok(MemoryDriver::over(answer))
    }
}

impl Origin {
    fn answers(&self, answer: Option<&'static [u8]>) {
        *self.0.lock().unwrap() = answer;
    }
}

fn place(folder: &Path) -> Place {
    Place { folder: folder.join("persist"), folder_mode: 0o700, file_mode: 0o600 }
}

fn scene(folder: &Path) -> (IoWrappers, Origin, PersistDriver) {
    let (wrappers, origin) = (IoWrappers::new(), Origin::default());
    let persist = PersistDriver::new(wrappers.clone(), place(folder));
    wrappers.register(Arc::new(origin.clone())).unwrap();
    wrappers.register(Arc::new(persist.clone())).unwrap();
    (wrappers, origin, persist)
}

fn read(wrappers: &IoWrappers) -> Result<String, String> {
    wrappers.read_text("persist://origin://list/a b", 100).map_err(|error| error.to_string())
}

#[test]
fn the_last_answer_is_served_while_the_origin_is_down_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (wrappers, origin, _) = scene(folder.path());
    origin.answers(Some(b"one"));
    assert_eq!(read(&wrappers).unwrap(), "one");
    origin.answers(Some(b"two"));
    assert_eq!(read(&wrappers).unwrap(), "two");
    origin.answers(None);
    assert_eq!(read(&wrappers).unwrap(), "two");
    let (restarted, ..) = scene(folder.path());
    assert_eq!(read(&restarted).unwrap(), "two");
}

#[test]
fn without_a_copy_both_troubles_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (wrappers, ..) = scene(folder.path());
    let told = read(&wrappers).unwrap_err();
    assert!(told.contains("origin://list/a b: it is down; and no copy of an earlier answer is in"), "{told}");
}

#[test]
fn an_empty_answer_or_an_empty_copy_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let (wrappers, origin, _) = scene(folder.path());
    origin.answers(Some(b""));
    assert!(read(&wrappers).unwrap_err().contains("is empty"));
    origin.answers(Some(b"one"));
    read(&wrappers).unwrap();
    origin.answers(Some(b""));
    assert_eq!(read(&wrappers).unwrap(), "one");
    std::fs::write(folder.path().join("persist/origin%3A%2F%2Flist%2Fa%20b.copy"), "").unwrap();
    assert!(read(&wrappers).is_err());
}

#[test]
fn copies_are_private_and_are_found_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (wrappers, origin, _) = scene(folder.path());
    origin.answers(Some(b"one"));
    read(&wrappers).unwrap();
    let mode = |path: &str| folder.path().join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("persist"), 0o700);
    assert_eq!(mode("persist/origin%3A%2F%2Flist%2Fa%20b.copy"), 0o600);
    let long = format!("persist://origin://{}", "x/".repeat(500));
    assert_eq!(wrappers.read_text(&long, 100).unwrap(), "one");
    origin.answers(None);
    assert_eq!(wrappers.read_text(&long, 100).unwrap(), "one");
    assert!(wrappers.read_text(&long[..long.len() - 2], 100).is_err(), "another URL has another copy");
}

#[test]
fn a_folder_that_cannot_be_written_does_not_keep_an_answer_from_its_reader() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("persist"), "a file in the way").unwrap();
    let (wrappers, origin, _) = scene(folder.path());
    origin.answers(Some(b"one"));
    assert_eq!(read(&wrappers).unwrap(), "one");
}

#[test]
fn a_folder_configured_later_holds_copies_beside_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let (wrappers, origin, persist) = scene(folder.path());
    persist.configure(Place { folder: folder.path().join("other"), ..place(folder.path()) });
    origin.answers(Some(b"one"));
    read(&wrappers).unwrap();
    origin.answers(None);
    for kept in ["persist", "other"] {
        assert_eq!(std::fs::read_dir(folder.path().join(kept)).unwrap().count(), 1);
    }
    std::fs::remove_dir_all(folder.path().join("persist")).unwrap();
    assert_eq!(read(&wrappers).unwrap(), "one");
}

#[test]
fn what_is_written_goes_to_the_origin() {
    let folder = tempfile::tempdir().unwrap();
    let (wrappers, ..) = scene(folder.path());
    let path = folder.path().join("local.conf");
    let url = format!("persist://{}", path.display());
    let mut stream = wrappers.open(&url, Flags::REPLACE, 0o644).unwrap();
    stream.write_all(b"x = 1").unwrap();
    stream.close().unwrap();
    assert_eq!(wrappers.read_text(&url, 100).unwrap(), "x = 1");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(wrappers.read_text(&url, 100).unwrap(), "x = 1");
    assert!(wrappers.open("persist://persist://x", Flags::READ, 0).is_err());
}
