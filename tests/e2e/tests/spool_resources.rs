//! What the machine takes away from a running daemon, for every back end: room, inodes, descriptors, and the right to write.
//! Mail is refused for now, with a reply of its own; what was acknowledged is delivered once, then or after a restart; when
//! the machine gives it back, mail is taken again.
//!
//! Mounts a tmpfs and an ext4 in a file, so it runs as root. A quota cannot be tried this way: the kernel exempts root; the
//! disk in memory of `crates/spool` answers EDQUOT instead.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{SOON, accept, block_on, daemon, letter, succeed, testimony, wait};
use testkit::{Daemon, Dialogue, Sink};

const KINDS: [&str; 3] = ["journal", "file", "sqlite"];

/// A file system of our own; gone when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(path: PathBuf, options: &str) -> Self {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("mode=700,{options}"), "tmpfs"]);
        Self::with(mount, path)
    }

    /// In a file beside it.
    fn ext4(path: PathBuf) -> Self {
        let file = path.with_extension("ext4");
        std::fs::File::create(&file).and_then(|file| file.set_len(64 << 20)).expect("a file of 64 MB");
        succeed(Command::new("mkfs.ext4").arg("-q").arg(&file));
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(&file);
        Self::with(mount, path)
    }

    fn with(mut mount: Command, path: PathBuf) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test mounts file systems and needs to be root; CI runs it as root"
        );
        std::fs::create_dir_all(&path).expect("a directory to mount on");
        succeed(mount.arg(&path));
        Self(path)
    }

    /// Changes the mount alone, which nobody may have files open on for writing.
    fn remount(&self, how: &str) {
        succeed(Command::new("mount").args(["-o", &format!("remount,bind,{how}")]).arg(&self.0));
    }

    /// Takes all the room that is left.
    fn fill_up(&self) {
        let ballast =
            std::fs::File::options().append(true).create(true).open(self.0.join("ballast")).expect("a file more");
        for portion in [65_536, 4096, 512, 1] {
            let octets = vec![b'b'; portion];
            while std::io::Write::write_all(&mut &ballast, &octets).is_ok() {}
        }
    }

    /// Takes all the inodes that are left.
    fn use_all_inodes(&self) {
        let many = self.0.join("ballast");
        std::fs::create_dir(&many).expect("a directory more");
        for number in 0.. {
            if std::fs::File::create(many.join(number.to_string())).is_err() {
                break;
            }
        }
    }

    fn make_room(&self) {
        let ballast = self.0.join("ballast");
        let removed = if ballast.is_dir() { std::fs::remove_dir_all(&ballast) } else { std::fs::remove_file(&ballast) };
        removed.expect("the ballast can be thrown out");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A daemon that is not started yet, and whose next hop is `sink`.
fn house(kind: &str, sink: &Sink) -> Daemon {
    let next_hop = sink.addr();
    let more = format!(
        "spool_backend = \"{kind}\"\nspool_segment_bytes = 262144\ngateway = \"{next_hop}\"\nhost_failure_retry = 1\n\
         mx_failures_to_delay = 0\nconnect_timeout_to_delay = 1000\n"
    );
    daemon(&more).prepare()
}

/// Offers one message; whether it was taken. A refusal begins with one of these.
async fn offered(daemon: &Daemon, client: &mut Dialogue, subject: &str, text: &str, refusals: &[&str]) -> bool {
    let is_refusal = |reply: &str| refusals.iter().any(|refusal| reply.starts_with(refusal));
    for (command, good) in [("MAIL FROM:<ann@client.test>", "250"), ("RCPT TO:<bob@sink.test>", "250"), ("DATA", "354")]
    {
        client.send(command).await;
        let reply = client.reply().await.unwrap_or_default();
        if !reply.starts_with(good) {
            assert!(is_refusal(&reply), "{command}: {reply}\n{}", testimony(daemon));
            client.ask("RSET", "250").await;
            return false;
        }
    }
    client.send_raw(format!("Subject: {subject}\r\n\r\n{text}\r\n.\r\n").as_bytes()).await;
    let reply = client.reply().await.unwrap_or_default();
    assert!(reply.starts_with("250 2.0.0") || is_refusal(&reply), "{reply}\n{}", testimony(daemon));
    reply.starts_with("250")
}

/// A few messages that are taken, in a session of their own.
fn taken(daemon: &Daemon, prefix: &str, count: usize) -> BTreeSet<String> {
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        let mut subjects = BTreeSet::new();
        for number in 0..count {
            let subject = format!("{prefix} {number}");
            assert!(offered(daemon, &mut client, &subject, "short", &[]).await);
            subjects.insert(subject);
        }
        subjects
    })
}

fn subjects(sink: &Sink) -> Vec<String> {
    let mut subjects: Vec<String> =
        sink.messages().iter().map(|message| message.header("Subject").unwrap_or_default()).collect();
    subjects.sort();
    subjects
}

/// Each of these has arrived, once.
fn delivered(daemon: &Daemon, sink: &Sink, expected: &BTreeSet<String>, what: &str) {
    wait(daemon, "every message", || expected.len() <= sink.count());
    let expected: Vec<String> = expected.iter().cloned().collect();
    assert_eq!(subjects(sink), expected, "{what}: {}", testimony(daemon));
}

fn spool(daemon: &Daemon) -> PathBuf {
    daemon.dir().join("spool")
}

#[test]
fn deliveries_from_a_full_device_are_not_repeated_and_mail_is_taken_when_there_is_room() {
    for kind in KINDS {
        let sink = Sink::start();
        sink.refuse_connections();
        let mut daemon = house(kind, &sink);
        let disk = Mounted::tmpfs(spool(&daemon), "size=8m");
        daemon.start();
        let mut expected = taken(&daemon, "before", 40);
        disk.fill_up();
        let text = "some line of a message of twenty thousand octets\r\n".repeat(400);
        block_on(async {
            let mut client = Dialogue::greeted(daemon.addr()).await;
            let mut refused = 0;
            for number in 0..200 {
                let subject = format!("squeezed {number}");
                if offered(&daemon, &mut client, &subject, &text, &["452 4.3.1"]).await {
                    expected.insert(subject);
                } else {
                    refused += 1;
                }
            }
            assert!(100 < refused, "{kind}: a full device took mail");
        });
        sink.accept_connections();
        delivered(&daemon, &sink, &expected, kind);
        assert!(daemon.terminate(SOON).success());
        daemon.start();
        disk.make_room();
        let again = || {
            block_on(async {
                offered(&daemon, &mut Dialogue::greeted(daemon.addr()).await, "again", "short", &["452 4.3.1"]).await
            })
        };
        wait(&daemon, "mail is taken again", again);
        expected.insert("again".to_owned());
        delivered(&daemon, &sink, &expected, kind);
    }
}

#[test]
fn without_inodes_mail_is_refused_before_its_text_is_sent() {
    for kind in ["file", "sqlite"] {
        let sink = Sink::start();
        let mut daemon = house(kind, &sink);
        let disk = Mounted::tmpfs(spool(&daemon), "size=64m,nr_inodes=2000");
        daemon.start();
        let mut expected = taken(&daemon, "before", 5);
        delivered(&daemon, &sink, &expected, kind);
        disk.use_all_inodes();
        block_on(async {
            let mut client = Dialogue::greeted(daemon.addr()).await;
            assert!(!offered(&daemon, &mut client, "refused", "short", &["452 4.3.1"]).await, "{kind}");
        });
        let mail = || {
            block_on(async {
                let mut client = Dialogue::greeted(daemon.addr()).await;
                client.send("MAIL FROM:<ann@client.test>").await;
                client.reply().await.unwrap_or_default()
            })
        };
        wait(&daemon, "a refusal at MAIL", || mail().starts_with("452 4.3.1"));
        disk.make_room();
        wait(&daemon, "mail is taken again", || mail().starts_with("250"));
        expected.extend(taken(&daemon, "after", 5));
        delivered(&daemon, &sink, &expected, kind);
    }
}

/// Changes the soft limit alone; as far as it may go without a number.
fn limit_descriptors(daemon: &Daemon, limit: Option<usize>) {
    let process = process(daemon);
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).expect("its limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("the line");
    let hard = line.split_whitespace().nth(4).expect("a hard limit");
    let limit = limit.map_or(hard.to_owned(), |limit| limit.to_string());
    succeed(Command::new("prlimit").args(["--pid", &process, &format!("--nofile={limit}:")]));
}

/// The spool's lock names it.
fn process(daemon: &Daemon) -> String {
    std::fs::read_to_string(spool(daemon).join("lock")).expect("a lock").trim().to_owned()
}

/// The lowest number that no descriptor has: with it as the limit not one more can be opened.
fn lowest_free_descriptor(daemon: &Daemon) -> usize {
    let open = std::fs::read_dir(format!("/proc/{}/fd", process(daemon))).expect("its descriptors");
    let open: BTreeSet<usize> = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    (0..).find(|number| !open.contains(number)).expect("there is one")
}

/// The first mail since the start begins a segment, and its folder.
#[test]
fn the_first_mail_is_taken_although_no_descriptor_is_free() {
    for kind in KINDS {
        let sink = Sink::start();
        sink.refuse_connections();
        let mut daemon = house(kind, &sink);
        daemon.start();
        let taken = block_on(async {
            let mut client = Dialogue::greeted(daemon.addr()).await;
            limit_descriptors(&daemon, Some(lowest_free_descriptor(&daemon)));
            offered(&daemon, &mut client, "the first", "short", &["451 4.3.0", "452 4.3.1"]).await
        });
        assert!(taken, "{kind}: refused");
        daemon.kill();
        sink.accept_connections();
        daemon.start();
        delivered(&daemon, &sink, &BTreeSet::from(["the first".to_owned()]), kind);
    }
}

#[test]
fn without_descriptors_nothing_acknowledged_is_lost_and_mail_is_taken_when_there_are_some() {
    for kind in KINDS {
        let sink = Sink::start();
        sink.refuse_connections();
        let mut daemon = house(kind, &sink);
        daemon.start();
        let mut expected = taken(&daemon, "before", 10);
        let refused = block_on(async {
            let mut client = Dialogue::greeted(daemon.addr()).await;
            limit_descriptors(&daemon, Some(lowest_free_descriptor(&daemon)));
            let mut refused = 0;
            for number in 0..20 {
                let subject = format!("short of descriptors {number}");
                if offered(&daemon, &mut client, &subject, "short", &["451 4.3.0", "452 4.3.1"]).await {
                    expected.insert(subject);
                } else {
                    refused += 1;
                }
            }
            limit_descriptors(&daemon, None);
            refused
        });
        assert_eq!(refused, 0, "{kind}: the spool keeps descriptors for itself");
        expected.extend(taken(&daemon, "after", 10));
        daemon.kill();
        sink.accept_connections();
        daemon.start();
        delivered(&daemon, &sink, &expected, kind);
    }
}

/// The file system finds an error and goes read-only under the running daemon, as ext4 does by itself.
fn abort(mounted: &Path) {
    succeed(Command::new("mount").args(["-o", "remount,abort"]).arg(mounted));
}

#[test]
fn a_device_that_turns_read_only_refuses_mail_and_keeps_what_it_has() {
    for kind in KINDS {
        let sink = Sink::start();
        sink.refuse_connections();
        let mut daemon = house(kind, &sink);
        let disk = Mounted::ext4(spool(&daemon));
        let image = spool(&daemon).with_extension("ext4");
        daemon.start();
        let mut expected = taken(&daemon, "before", 10);
        abort(&disk.0);
        block_on(async {
            let mut client = Dialogue::greeted(daemon.addr()).await;
            for number in 0..5 {
                let taken =
                    offered(&daemon, &mut client, &format!("refused {number}"), "short", &["451 4.3.0", "452 4.3.1"])
                        .await;
                assert!(!taken, "{kind}: taken by a device that takes nothing");
            }
        });
        daemon.kill();
        drop(disk);
        succeed(Command::new("sh").arg("-c").arg(format!("fsck.ext4 -p {} || [ $? -le 1 ]", image.display())));
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(&image);
        let _disk = Mounted::with(mount, spool(&daemon));
        sink.accept_connections();
        daemon.start();
        delivered(&daemon, &sink, &expected, kind);
        accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("after"));
        expected.insert("after".to_owned());
        delivered(&daemon, &sink, &expected, kind);
    }
}

#[test]
fn a_spool_that_is_read_only_at_the_start_is_refused_and_kept() {
    for kind in KINDS {
        let sink = Sink::start();
        sink.refuse_connections();
        let mut daemon = house(kind, &sink);
        let disk = Mounted::tmpfs(spool(&daemon), "size=64m");
        daemon.start();
        let expected = taken(&daemon, "kept", 3);
        assert!(daemon.terminate(SOON).success());
        disk.remount("ro");
        assert!(daemon.start_or_end().is_err(), "{kind}: started on a spool that takes nothing");
        assert!(daemon.stderr().to_lowercase().contains("read-only"), "{kind}: {}", daemon.stderr());
        disk.remount("rw");
        sink.accept_connections();
        daemon.start();
        delivered(&daemon, &sink, &expected, kind);
    }
}

#[test]
fn a_second_daemon_on_the_spool_ends_and_the_first_goes_on() {
    for kind in KINDS {
        let sink = Sink::start();
        let mut first = house(kind, &sink);
        first.start();
        let mut second = house(kind, &sink);
        let base = format!("spoolbase = \"{}\"\n", spool(&first).display());
        let text = std::fs::read_to_string(second.value("config")).expect("its configuration");
        let other: String =
            text.lines().filter(|line| !line.starts_with("spoolbase")).map(|line| format!("{line}\n")).collect();
        second.write_config(&(other + &base));
        assert!(second.start_or_end().is_err(), "{kind}: two daemons on one spool");
        assert!(second.stderr().contains("is in use by process"), "{kind}: {}", second.stderr());
        let expected = taken(&first, "to the first", 3);
        delivered(&first, &sink, &expected, kind);
    }
}
