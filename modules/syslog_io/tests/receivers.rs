//! Sending to receivers that are there, come back, are full, or never were.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;

use io_wrapper::{Flags, IoWrappers, Stream};
use scheduler::Clock;
use syslog_io::{Defaults, SyslogDriver};

fn open(rest: &str) -> Box<dyn Stream> {
    let driver = SyslogDriver::new(Clock::system());
    driver.configure(Defaults { ident: "tag".to_owned(), ..Defaults::default() });
    let wrappers = IoWrappers::new();
    wrappers.register(Arc::new(driver)).unwrap();
    wrappers.open(&format!("syslog://{rest}"), Flags::APPEND, 0).unwrap()
}

fn to_socket(path: &Path) -> Box<dyn Stream> {
    open(&format!("mail/error?socket={}", path.display()))
}

fn heard(socket: &UnixDatagram) -> String {
    let mut datagram = vec![0; 16 << 10];
    let length = socket.recv(&mut datagram).unwrap();
    String::from_utf8(datagram[..length].to_vec()).unwrap()
}

#[test]
fn each_line_is_a_message_of_the_wanted_priority() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let receiver = UnixDatagram::bind(&path).unwrap();
    let mut stream = to_socket(&path);
    stream.write_all(b"one\n\ntwo\nthree").unwrap();
    for text in ["one", "two", "three"] {
        let message = heard(&receiver);
        assert!(
            message.starts_with("<19>") && message.ends_with(&format!(" tag[{}]: {text}", std::process::id())),
            "{message}"
        );
    }
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::Unsupported);
    stream.close().unwrap();
}

#[test]
fn a_receiver_that_comes_back_gets_the_next_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut stream = to_socket(&path);
    let told = stream.write(b"nobody\n").unwrap_err().to_string();
    assert!(told.starts_with(&format!("nobody takes messages at {}", path.display())), "{told}");
    for round in ["first", "second"] {
        let receiver = UnixDatagram::bind(&path).unwrap();
        assert_eq!(stream.write(format!("{round}\n").as_bytes()).unwrap(), round.len() + 1);
        assert!(heard(&receiver).ends_with(round));
        drop(receiver);
        std::fs::remove_file(&path).unwrap();
    }
    assert!(stream.write(b"nobody\n").is_err());
    stream.reopen().unwrap();
}

#[test]
fn a_receiver_that_does_not_read_blocks_nobody_and_loses_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let receiver = UnixDatagram::bind(&path).unwrap();
    let mut stream = to_socket(&path);
    let lines: String = (0..100_000).map(|number| format!("{number}\n")).collect();
    let mut taken = stream.write(lines.as_bytes()).unwrap();
    assert!(taken < lines.len(), "a socket has a bound");
    assert_eq!(stream.write(&lines.as_bytes()[taken..]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    for number in 0..2000 {
        if receiver.set_nonblocking(true).is_ok() && number % 3 == 0 {
            taken += stream.write(&lines.as_bytes()[taken..]).unwrap_or(0);
        }
        let message = heard(&receiver);
        assert!(message.ends_with(&format!(" {number}")), "{number}: {message}");
    }
}

#[test]
fn a_line_the_receiver_thinks_too_long_is_cut() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut stream = open(&format!("?host={}", receiver.local_addr().unwrap()));
    stream.write_all(&[b'x'; 100_000]).unwrap();
    let mut datagram = vec![0; 64 << 10];
    let length = receiver.recv(&mut datagram).unwrap();
    assert!((2000..10_000).contains(&length), "{length}");
}

#[test]
fn another_host_gets_rfc_5424_by_udp() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut stream = open(&format!("local0/notice?host={}", receiver.local_addr().unwrap()));
    stream.write_all(b"a line\n").unwrap();
    let mut datagram = [0; 1000];
    let length = receiver.recv(&mut datagram).unwrap();
    let message = String::from_utf8_lossy(&datagram[..length]).into_owned();
    assert!(message.starts_with("<133>1 20") && message.ends_with(" - - a line"), "{message}");
}
