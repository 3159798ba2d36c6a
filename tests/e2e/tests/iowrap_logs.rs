//! Logs that are not files: compressed, journaled, sent to the system log or given to a program.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use e2e::{
    MAILDIR, SOON, accept, ask, block_on, configuration, daemon, letter, program, succeed, testimony, wait,
    wait_for_mail,
};
use io_wrapper::{Flags, IoWrappers};
use testkit::{Daemon, Dialogue};

/// A daemon whose log of that name goes somewhere else.
fn logging(log: &str, url: impl Fn(&Path) -> String) -> Daemon {
    let mut daemon = daemon("").prepare();
    // Nobody here is trusted to relay.
    let text = configuration(MAILDIR, "relay_hosts = ( \"192.0.2.0/24\" )");
    let usual = format!("{log} = \"@dir@/log/{log}.ec\"");
    assert!(text.contains(&usual));
    let url = url(daemon.dir());
    daemon.write_config(&text.replace(&usual, &format!("{log} = \"{url}\"")));
    daemon.start();
    daemon
}

fn unpacked(path: &Path) -> String {
    // gzip takes an empty file for a broken one.
    if path.metadata().is_ok_and(|file| 0 < file.len()) {
        succeed(Command::new(program("gzip", "gzip")).arg("-dc").arg(path))
    } else {
        String::new()
    }
}

#[test]
fn a_compressed_mainlog_is_readable_while_it_is_written_and_is_rotated_like_any() {
    let daemon = logging("mainlog", |dir| format!("gzip://{}/log/mainlog.gz", dir.display()));
    let path = daemon.dir().join("log/mainlog.gz");
    accept(&daemon, "ann@client.test", &["bob@here.test"], &letter("one"));
    wait(&daemon, "a delivery", || unpacked(&path).contains("@D@"));
    std::fs::rename(&path, path.with_extension("gz.1")).unwrap();
    ask(&daemon, &["reopen", "logs"]);
    accept(&daemon, "ann@client.test", &["carl@here.test"], &letter("two"));
    wait(&daemon, "a delivery after the rotation", || unpacked(&path).contains("@D@"));
    let before = unpacked(&path.with_extension("gz.1"));
    assert!(before.contains("bob@here.test") && !before.contains("carl@here.test"), "{before}");
}

#[test]
fn a_journaled_mainlog_is_read_by_its_subscriber_while_the_daemon_writes_it() {
    let daemon = logging("mainlog", |dir| format!("jlog://{}/log/mainlog.rt=>stats", dir.display()));
    let wrappers = IoWrappers::new();
    for driver in jlog::JlogDriver::both() {
        wrappers.register(std::sync::Arc::new(driver)).unwrap();
    }
    let url = format!("jlog://{}/log/mainlog.rt=>stats", daemon.dir().display());
    let mut log = wrappers.open(&url, Flags::READ, 0).unwrap();
    for (number, subject) in ["one", "two"].into_iter().enumerate() {
        accept(&daemon, "ann@client.test", &["bob@here.test"], &letter(subject));
        wait_for_mail(&daemon, "bob@here.test", number + 1);
        let mut text = String::new();
        wait(&daemon, "a reception and a delivery", || {
            text += &String::from_utf8(log.read_to_end(1 << 20).unwrap()).unwrap();
            text.contains("@R@") && text.contains("@D@")
        });
        assert_eq!(text.lines().count(), 2, "{text}");
        log.sync().unwrap();
        log.reopen().unwrap();
    }
}

#[test]
fn a_rejectlog_can_be_the_system_log() {
    let daemon = logging("rejectlog", |dir| format!("syslog://mail/notice?socket={}/syslog", dir.display()));
    // The receiver comes after the daemon: that keeps no daemon from starting.
    let receiver = UnixDatagram::bind(daemon.dir().join("syslog")).unwrap();
    receiver.set_read_timeout(Some(SOON)).unwrap();
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.ask("MAIL FROM:<ann@client.test>", "250").await;
        client.ask("RCPT TO:<bob@elsewhere.test>", "550").await;
        client.ask("QUIT", "221").await;
    });
    let mut datagram = vec![0; 8192];
    let length = receiver.recv(&mut datagram).unwrap();
    let line = String::from_utf8_lossy(&datagram[..length]).into_owned();
    assert!(line.starts_with("<21>") && line.contains("]: ") && line.contains("E=550"), "{line}");
}

#[test]
fn a_program_that_always_dies_slows_no_mail_and_is_told_once() {
    let daemon = logging("mainlog", |_| "pipe:///bin/false".to_owned());
    for number in 1..=50 {
        accept(&daemon, "ann@client.test", &["bob@here.test"], &letter(&number.to_string()));
    }
    wait_for_mail(&daemon, "bob@here.test", 50);
    let told = |daemon: &Daemon| daemon.read("log/paniclog.ec").matches("cannot write pipe:///bin/false").count();
    wait(&daemon, "the program's end in the paniclog", || 0 < told(&daemon));
    assert_eq!(told(&daemon), 1, "{}", testimony(&daemon));
}

#[test]
fn a_program_gets_every_line_of_the_mainlog() {
    let daemon =
        logging("mainlog", |dir| format!("pipe:///bin/sh?arg1=-c&arg2=exec%20cat%20%3E%3E%20{}/taken", dir.display()));
    accept(&daemon, "ann@client.test", &["bob@here.test"], &letter("one"));
    wait(&daemon, "both lines", || {
        let taken = daemon.read("taken");
        taken.contains("@R@") && taken.contains("@D@") && taken.ends_with('\n')
    });
}

#[test]
fn options_of_the_modules_are_known_and_the_modules_listed() {
    let daemon = daemon(&format!(
        "{MAILDIR}\nsyslog_io {{ ident = \"here\"\n default_facility = \"local3\" }}\npipe_io {{ timeout = 2 }}\n\
         persist_io {{ persist_path = \"@dir@/persist\" }}\nhttp_io {{ }}\ngzipio {{ }}\njlog {{ }}\n"
    ))
    .start();
    let listed = ask(&daemon, &["module", "list"]);
    for module in ["syslog_io", "pipe_io", "persist_io", "http_io", "gzipio", "jlog"] {
        assert!(listed.contains(module), "{module} in\n{listed}");
    }
}
