//! A defect that one message calls up in what reads its content: that message fails, and nothing else, also after a restart.
//!
//! The daemon under test is a build with debug assertions, in which a marked message makes the readers of MIME panic.

use std::time::Duration;

use e2e::{SOON, accept, ask, bouncelog, log_lines, relay_with, wait, wait_for_lines};
use testkit::Sink;

const MARKED: &str = "X-Postrider-Defect: panic\r\nSubject: x\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\r\nA long enough line about one caf\u{e9}.\r\n";

#[test]
fn a_message_that_cannot_be_converted_for_a_defect_fails_and_its_sender_is_told() {
    let sink = Sink::start();
    sink.offer(&["PIPELINING", "SIZE"]);
    let more = "bounces_inline_original = \"all\"\nsuspend_delivery = true\n";
    let mut daemon = relay_with(&sink, more).start();
    accept(&daemon, "ann@client.test", &["bob@shop.test", "cy@shop.test"], MARKED);
    // The spool now holds what would end the daemon after each start.
    daemon.terminate(Duration::from_secs(20));
    daemon.restart();
    let pid = daemon.pid();
    ask(&daemon, &["config", "set", "suspend_delivery", "false"]);
    for failed in wait_for_lines(&daemon, "P", 2) {
        assert!(failed[13].starts_with("554 5.6.5 [internal] conversion to 7-bit"), "{failed:?}");
    }
    for notification in sink.wait_for(2, SOON) {
        assert_eq!(notification.forward_paths, ["ann@client.test"]);
        assert!(notification.body.is_ascii() && !notification.text().contains("caf"), "{}", notification.text());
    }
    // All else goes on in the same process.
    accept(&daemon, "ann@client.test", &["bob@shop.test"], "Subject: plain\r\n\r\nhi\r\n");
    sink.wait_for(3, SOON);
    assert!(daemon.is_running() && daemon.pid() == pid);
    wait(&daemon, "the log tells where the defect is", || {
        let told = log_lines(&daemon, "paniclog.ec").concat().concat();
        told.contains("internal error over the content of one message") && told.contains("defect.rs")
    });
}

#[test]
fn a_bounce_that_cannot_be_read_for_a_defect_is_taken_and_logged_without_recipient() {
    let sink = Sink::start();
    let mut daemon = relay_with(&sink, "bounce_domains = ( \"bounces.test\" )\n").start();
    accept(&daemon, "", &["b-17@bounces.test"], MARKED);
    wait(&daemon, "the bounce is logged", || bouncelog(&daemon, "B").len() == 1);
    let line = bouncelog(&daemon, "B").remove(0);
    assert_eq!((&*line[5], &*line[12], &*line[15]), ("", "1", "the bounce could not be read"));
    sink.wait_for(1, SOON);
    assert!(daemon.is_running());
}
