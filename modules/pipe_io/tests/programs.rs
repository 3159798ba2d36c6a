//! Writing to programs that read, that die, and that do neither.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use io_wrapper::{Flags, IoWrappers, Stream};
use pipe_io::{PipeDriver, Settings};
use scheduler::Clock;

fn wrappers(settings: Settings) -> IoWrappers {
    let driver = PipeDriver::new(Clock::system());
    driver.configure(settings);
    let wrappers = IoWrappers::new();
    wrappers.register(Arc::new(driver)).unwrap();
    wrappers
}

/// `sh -c script`, with its folder as `$D`.
fn shell(wrappers: &IoWrappers, folder: &Path, script: &str, more: &str) -> Box<dyn Stream> {
    let script = script.replace('%', "%25").replace('&', "%26");
    let url = format!("pipe:///bin/sh?arg1=-c&arg2={script}&env1=D={}{more}", folder.display());
    wrappers.open(&url, Flags::APPEND, 0).unwrap()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Writes all of it, asking again for as long as the program needs.
fn write(stream: &mut dyn Stream, mut bytes: &[u8]) {
    loop {
        match stream.write(bytes) {
            Ok(count) if count == bytes.len() => return,
            Ok(count) => bytes = &bytes[count..],
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn finish(mut stream: Box<dyn Stream>) {
    while stream.flush().is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    stream.close().unwrap();
}

#[test]
fn lines_reach_the_program_and_closing_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut stream = shell(&wrappers(Settings::default()), folder.path(), "cat > $D/out", "");
    let lines: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    write(&mut *stream, lines.as_bytes());
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::Unsupported);
    finish(stream);
    assert_eq!(read(&folder.path().join("out")), lines);
}

#[test]
fn a_program_that_dies_is_started_again_and_a_line_is_never_given_to_it_in_half() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { first_delay: Duration::ZERO, ..Settings::default() };
    // Each program takes one line and is gone.
    let mut stream = shell(&wrappers(settings), folder.path(), "read -r line; echo \"$line\" >> $D/out", "");
    let long = "x".repeat(3000);
    for number in 0..200 {
        write(&mut *stream, format!("{number} {long}\n").as_bytes());
    }
    finish(stream);
    let out = read(&folder.path().join("out"));
    assert!(1 < out.lines().count(), "only one program was started");
    for line in out.lines() {
        let number: usize = line.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(line, format!("{number} {long}"));
    }
}

#[test]
fn a_program_that_does_not_read_blocks_nobody_and_is_killed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { timeout: Duration::from_millis(50), ..Settings::default() };
    let mut stream = shell(&wrappers(settings), folder.path(), "exec sleep 1000", "");
    let line = [b'x'; 999].into_iter().chain([b'\n']).collect::<Vec<u8>>();
    let refused = (0..1000).find_map(|_| stream.write(&line).err()).expect("what is kept has a bound");
    assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(stream.flush().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert!(stream.close().is_err());
}

#[test]
fn without_reinvoke_the_end_is_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut stream = shell(&wrappers(Settings::default()), folder.path(), "exit 3", "&reinvoke=0");
    let told = loop {
        let answer = stream.write(b"x\n");
        match answer {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break error.to_string(),
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    assert!(told.contains("/bin/sh: ") && told.contains("reinvoke=0"), "{told}");
}

#[test]
fn the_end_of_a_program_and_when_it_starts_again_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { first_delay: Duration::from_secs(50), ..Settings::default() };
    let mut stream = shell(&wrappers(settings), folder.path(), "exit 3", "");
    let told = loop {
        match stream.write(b"x\n") {
            Err(error) => break error.to_string(),
            Ok(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    assert!(told.contains("started again in") && told.contains("50 s"), "{told}");
}

#[test]
fn reopening_gives_a_new_program_and_the_old_one_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut stream = shell(&wrappers(Settings::default()), folder.path(), "cat > $D/out.$$", "");
    write(&mut *stream, b"one\n");
    stream.flush().unwrap();
    stream.reopen().unwrap();
    write(&mut *stream, b"two\n");
    finish(stream);
    let files = std::fs::read_dir(folder.path()).unwrap().flatten();
    let mut texts: Vec<String> = files.map(|file| read(&file.path())).collect();
    texts.sort();
    assert_eq!(texts, ["one\n", "two\n"]);
}

#[test]
fn output_goes_where_the_options_say_and_the_environment_can_be_empty() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let settings = Settings { output_file: file("out"), error_file: file("err"), ..Settings::default() };
    let stream = shell(&wrappers(settings), folder.path(), "echo [$HOME]; echo trouble >&2; cat", "&clear_env=1");
    finish(stream);
    assert_eq!(
        (read(&folder.path().join("out")), read(&folder.path().join("err"))),
        ("[]\n".into(), "trouble\n".into())
    );
}

#[test]
fn a_program_that_is_not_there_is_told_at_once_and_reading_is_refused() {
    let wrappers = wrappers(Settings::default());
    let told = wrappers.open("pipe:///no/such/program", Flags::APPEND, 0).unwrap_err().to_string();
    assert!(told.starts_with("opening pipe:///no/such/program: No such file"), "{told}");
    assert!(wrappers.open("pipe:///bin/cat", Flags::READ, 0).is_err());
}
