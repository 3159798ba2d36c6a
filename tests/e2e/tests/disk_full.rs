//! A spool device with no room: mail is refused for now, nothing that was acknowledged is lost, deliveries still count, and
//! mail is taken again when there is room.
//!
//! Mounts a small tmpfs, so it runs as root.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{SOON, ask, block_on, daemon, figure, letter, log_lines, mainlog, succeed, testimony, wait};
use testkit::{Daemon, Dialogue, Sink};

/// A small file system of our own; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf, options: &str) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test mounts a tmpfs ({options}) and needs to be root; CI runs it as root"
        );
        std::fs::create_dir_all(&path).expect("a directory to mount on");
        succeed(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("{options},mode=700"), "tmpfs"]).arg(&path));
        Self(path)
    }

    /// Takes all the room that is left.
    fn fill_up(&self) {
        let ballast = std::fs::File::options().append(true).create(true).open(self.ballast()).expect("a file more");
        for portion in [65_536, 4096, 512, 1] {
            let octets = vec![b'b'; portion];
            while std::io::Write::write_all(&mut &ballast, &octets).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast can be thrown out");
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

fn unmount(path: &Path) {
    let _ = Command::new("umount").arg("--lazy").arg(path).status();
}

/// A daemon whose spool is the small disk, and whose next hop is `sink`.
fn house(sink: &Sink) -> (Daemon, SmallDisk) {
    house_on(sink, "size=8m", "")
}

fn house_on(sink: &Sink, options: &str, more: &str) -> (Daemon, SmallDisk) {
    let more = format!(
        "gateway = \"{}\"\nhost_failure_retry = 1\nmx_failures_to_delay = 0\nconnect_timeout_to_delay = 1000\n{more}",
        sink.addr()
    );
    let daemon = daemon(&more).prepare();
    let disk = SmallDisk::mount(daemon.dir().join("spool"), options);
    (daemon, disk)
}

/// Offers one message; whether it was taken. Every refusal must be the documented one.
async fn offered(client: &mut Dialogue, subject: &str, text: &str) -> bool {
    for (command, good) in [("MAIL FROM:<ann@client.test>", "250"), ("RCPT TO:<bob@sink.test>", "250"), ("DATA", "354")]
    {
        client.send(command).await;
        let reply = client.reply().await.unwrap_or_default();
        if !reply.starts_with(good) {
            assert!(reply.starts_with("452 4.3.1"), "{command}: {reply}");
            client.ask("RSET", "250").await;
            return false;
        }
    }
    client.send_raw(format!("Subject: {subject}\r\n\r\n{text}\r\n.\r\n").as_bytes()).await;
    let reply = client.reply().await.unwrap_or_default();
    assert!(reply.starts_with("250 2.0.0") || reply.starts_with("452 4.3.1"), "{reply}");
    reply.starts_with("250")
}

fn subjects(sink: &Sink) -> Vec<String> {
    sink.messages().iter().map(|message| message.header("Subject").unwrap_or_default()).collect()
}

#[test]
fn a_full_spool_refuses_mail_for_now_delivers_what_it_has_and_takes_mail_again() {
    let sink = Sink::start();
    sink.refuse_connections();
    let (mut daemon, disk) = house(&sink);
    daemon.start();
    let text = "some line of a message of twenty thousand octets\r\n".repeat(400);
    let acknowledged: BTreeSet<String> = block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        let mut taken = BTreeSet::new();
        for number in 0.. {
            let subject = format!("message {number}");
            if !offered(&mut client, &subject, &text).await {
                break;
            }
            taken.insert(subject);
            assert!(number < 1000, "a disk of 8 MB holds a thousand messages of 20 KB");
        }
        taken
    });
    println!("{} messages were taken before the disk was full", acknowledged.len());
    assert!(50 < acknowledged.len(), "{}", testimony(&daemon));
    disk.fill_up();
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        for _ in 0..20 {
            assert!(!offered(&mut client, "too much", &text).await, "taken by a disk with no room");
        }
    });

    // The way is free: what is there goes out, and that is recorded although the disk is full.
    sink.accept_connections();
    sink.wait_for(acknowledged.len(), SOON);
    wait(&daemon, "every delivery in the log", || acknowledged.len() <= mainlog(&daemon, "D").len());
    assert_eq!(subjects(&sink).into_iter().collect::<BTreeSet<_>>(), acknowledged);

    // What was delivered has left room in the spool's own files, and there is more when somebody clears the disk.
    let again =
        |subject: &str| block_on(async { offered(&mut Dialogue::greeted(daemon.addr()).await, subject, &text).await });
    wait(&daemon, "mail is taken again", || again("again"));
    disk.make_room();
    wait(&daemon, "mail is taken again on a cleared disk", || again("and again"));
    sink.wait_for(acknowledged.len() + 2, SOON);
    assert!(daemon.terminate(SOON).success());
    daemon.start();
    e2e::accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("after the restart"));
    sink.wait_for(acknowledged.len() + 3, SOON);
    wait(&daemon, "empty queues", || figure(&ask(&daemon, &["summary"]), "Active Queue Size") == "0");
    assert_eq!(sink.count(), acknowledged.len() + 3, "delivered again: {:?}", subjects(&sink));
}

/// Small segments leave small rooms for the ends of messages, and a device may lack files and not octets.
#[test]
fn deliveries_go_on_whatever_the_segments_and_the_device() {
    for (segment, options) in [(65_536, "size=9m"), (262_144, "size=40m"), (65_536, "size=9m,nr_inodes=64")] {
        let sink = Sink::start();
        sink.refuse_connections();
        let (mut daemon, disk) = house_on(&sink, options, &format!("spool_segment_bytes = {segment}\n"));
        daemon.start();
        let text = "some line of a message of eight thousand octets\r\n".repeat(160);
        let acknowledged: BTreeSet<String> = block_on(async {
            let mut client = Dialogue::greeted(daemon.addr()).await;
            let mut taken = BTreeSet::new();
            for number in 0..10_000 {
                let subject = format!("message {number}");
                if !offered(&mut client, &subject, &text).await {
                    break;
                }
                taken.insert(subject);
            }
            taken
        });
        println!("{options}, segments of {segment}: {} messages", acknowledged.len());
        assert!((50..10_000).contains(&acknowledged.len()), "{options}: {} were taken", acknowledged.len());
        disk.fill_up();
        sink.accept_connections();
        sink.wait_for(acknowledged.len(), SOON);
        wait(&daemon, "every delivery in the log", || acknowledged.len() <= mainlog(&daemon, "D").len());
        assert!(daemon.terminate(SOON).success());
        // Still full: nothing is left to do.
        daemon.start();
        wait(&daemon, "the daemon answers", || daemon.console(&["version"]).status.success());
        wait(&daemon, "empty queues", || figure(&ask(&daemon, &["summary"]), "Active Queue Size") == "0");
        assert_eq!(subjects(&sink).into_iter().collect::<BTreeSet<_>>(), acknowledged, "{options}");
        disk.make_room();
        let again = || block_on(async { offered(&mut Dialogue::greeted(daemon.addr()).await, "again", "short").await });
        wait(&daemon, "mail is taken again", again);
        sink.wait_for(acknowledged.len() + 1, SOON);
        assert_eq!(sink.count(), acknowledged.len() + 1, "{options}: delivered again");
    }
}

#[test]
fn deliveries_on_a_full_disk_are_not_repeated_after_a_restart() {
    let sink = Sink::start();
    sink.refuse_connections();
    let (mut daemon, disk) = house(&sink);
    daemon.start();
    let count = 60;
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        for number in 0..count {
            assert!(offered(&mut client, &format!("message {number}"), "short").await);
        }
    });
    disk.fill_up();
    sink.accept_connections();
    sink.wait_for(count, SOON);
    wait(&daemon, "every delivery in the log", || count <= mainlog(&daemon, "D").len());
    assert!(daemon.terminate(SOON).success());
    // Still full: it must come up, and have nothing left to do.
    daemon.start();
    wait(&daemon, "the daemon answers", || daemon.console(&["version"]).status.success());
    disk.make_room();
    e2e::accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("the last"));
    sink.wait_for(count + 1, SOON);
    wait(&daemon, "empty queues", || figure(&ask(&daemon, &["summary"]), "Active Queue Size") == "0");
    assert_eq!(sink.count(), count + 1, "delivered again: {:?}", subjects(&sink));
}

#[test]
fn a_daemon_killed_on_a_full_disk_comes_up_on_it_and_delivers_all_it_acknowledged() {
    let sink = Sink::start();
    sink.refuse_connections();
    let (mut daemon, disk) = house(&sink);
    daemon.start();
    let text = "some line of a message of fifty thousand octets\r\n".repeat(1000);
    let acknowledged: BTreeSet<String> = block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        let mut taken = BTreeSet::new();
        for number in 0..1000 {
            let subject = format!("message {number}");
            if !offered(&mut client, &subject, &text).await {
                break;
            }
            taken.insert(subject);
        }
        taken
    });
    assert!((20..1000).contains(&acknowledged.len()), "{} messages were taken", acknowledged.len());
    disk.fill_up();
    sink.accept_connections();
    // In the midst of the deliveries.
    sink.wait_for(acknowledged.len() / 2, SOON);
    daemon.kill();
    daemon.start();
    let arrived = || subjects(&sink).into_iter().collect::<BTreeSet<_>>();
    wait(&daemon, "everything arrives", || acknowledged.is_subset(&arrived()));
    assert_eq!(arrived(), acknowledged);
}

#[test]
fn mail_flows_while_the_log_disk_is_full_and_lines_are_written_again_when_there_is_room() {
    let sink = Sink::start();
    let mut daemon = daemon(&format!("gateway = \"{}\"\n", sink.addr())).prepare();
    let disk = SmallDisk::mount(daemon.dir().join("log"), "size=256k");
    daemon.start();
    e2e::accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("before"));
    wait(&daemon, "a delivery in the log", || mainlog(&daemon, "D").len() == 1);
    disk.fill_up();
    for number in 0..50 {
        e2e::accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter(&format!("unlogged {number}")));
    }
    sink.wait_for(51, SOON);
    disk.make_room();
    wait(&daemon, "deliveries in the log again", || {
        e2e::accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("after"));
        1 < mainlog(&daemon, "D").len()
    });
    assert!(daemon.terminate(SOON).success());
    for fields in log_lines(&daemon, "mainlog.ec") {
        let whole = matches!((fields.get(4).map(String::as_str), fields.len()), (Some("R"), 14) | (Some("D"), 12));
        assert!(whole, "not a whole line: {fields:?}");
    }
}
