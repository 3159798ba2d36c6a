//! The daemon as a process: how it starts, what it says when it cannot, how it stops, and that nothing is lost between.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use e2e::{
    MAILDIR, SOON, accept, ask, ask_json, binary, block_on, configuration, daemon, letter, mainlog, relay, testimony,
    wait, wait_for_lines, wait_for_mail,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use testkit::{Daemon, Dialogue, Ended, Load, Sink, run, wait_until};

/// Starts it although it cannot run: its exit code and what it said.
fn refused(daemon: &mut Daemon) -> (Option<i32>, String) {
    daemon.spawn();
    let status = daemon.wait(SOON).unwrap_or_else(|| panic!("it runs\n{}", testimony(daemon)));
    (status.code(), daemon.stderr())
}

fn postriderd(arguments: &[&str], dir: &Path) -> Ended {
    run(Command::new(binary("postriderd")).args(arguments).current_dir(dir))
}

/// Ends a daemon that is no child of ours when the test ends, however it ends.
struct Reaper(Pid);

impl Drop for Reaper {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

#[test]
fn help_and_version_are_printed_and_wrong_usage_is_named() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let help = postriderd(&["-h"], dir.path());
    assert_eq!(help.status.code(), Some(0));
    for part in ["-c", "-d", "-h", "-V", "Exit codes:", "SIGHUP"] {
        assert!(help.stdout.contains(part), "{part:?} is missing in:\n{}", help.stdout);
    }
    let version = postriderd(&["-V"], dir.path());
    assert_eq!(
        (version.status.code(), version.stdout.trim()),
        (Some(0), format!("postriderd {}", env!("CARGO_PKG_VERSION")).as_str())
    );
    let wrong = postriderd(&["--nosuch"], dir.path());
    assert_eq!(wrong.status.code(), Some(64));
    assert!(wrong.stderr.contains("--nosuch"), "{}", wrong.stderr);
}

#[test]
fn without_d_it_goes_into_the_background_once_it_listens() {
    let daemon = daemon(MAILDIR).prepare();
    let started = postriderd(&["-c", daemon.value("config")], daemon.dir());
    assert_eq!(started.status.code(), Some(0), "{}", started.stderr);
    // It listens already, and says who it is.
    let pid = daemon.read("pid").trim().parse().ok().and_then(Pid::from_raw).expect("the pidfile names a process");
    let _reaper = Reaper(pid);
    accept(&daemon, "ann@client.test", &["bob@here.test"], &letter("to the background"));
    wait_for_mail(&daemon, "bob@here.test", 1);
    assert_eq!(ask(&daemon, &["pid"]), daemon.read("pid"));
    kill_process(pid, Signal::TERM).expect("it runs");
    assert!(wait_until(SOON, || test_kill_process(pid).is_err()), "SIGTERM ends it");
    assert!(!daemon.dir().join("pid").exists());
}

#[test]
fn a_failed_start_in_the_background_is_reported_in_front() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let missing = postriderd(&["-c", "nosuch.conf"], dir.path());
    assert_eq!(missing.status.code(), Some(78));
    assert!(missing.stderr.contains("nosuch.conf"), "{}", missing.stderr);
}

#[test]
fn a_missing_or_unreadable_configuration_is_named() {
    let mut missing = daemon("").prepare();
    std::fs::remove_file(missing.value("config")).expect("it was written");
    let (code, said) = refused(&mut missing);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains(missing.value("config")) && said.contains("no such file"), "{said}");

    let mut folder = daemon("").prepare();
    std::fs::remove_file(folder.value("config")).expect("it was written");
    std::fs::create_dir(folder.value("config")).expect("the scratch directory takes folders");
    let (code, said) = refused(&mut folder);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains(folder.value("config")), "{said}");

    let mut broken = daemon("spoolbse = \"x\"").prepare();
    let (code, said) = refused(&mut broken);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains(&format!("{}:", broken.value("config"))) && said.contains("spoolbase"), "{said}");
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let taken = Sink::start();
    let mut daemon = daemon("").set("listen", taken.addr()).prepare();
    let (code, said) = refused(&mut daemon);
    assert_eq!(code, Some(71), "{said}");
    let port = taken.addr().port().to_string();
    assert!(said.contains(&taken.addr().to_string()) && said.contains("another process listens"), "{said}");
    assert!(said.contains("ss -ltnp") && said.contains(&port), "{said}");
}

#[test]
fn a_second_daemon_on_the_same_spool_is_refused_and_told_who_has_it() {
    let first = daemon("").start();
    let pid = first.read("pid");
    let spool = first.dir().join("spool");
    let text = configuration("", "").replace("@dir@/spool", &spool.display().to_string());
    let mut second = daemon("").prepare();
    second.write_config(&text);
    let (code, said) = refused(&mut second);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains(&spool.display().to_string()) && said.contains(pid.trim()), "{said}");
    block_on(async { Dialogue::greeted(first.addr()).await.ask("NOOP", "250").await });
}

#[test]
fn a_spool_that_cannot_be_made_is_named() {
    let mut daemon = daemon("").prepare();
    std::fs::write(daemon.dir().join("spool"), "a file where a folder belongs")
        .expect("the scratch directory takes files");
    let (code, said) = refused(&mut daemon);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains(&daemon.dir().join("spool").display().to_string()), "{said}");
}

#[test]
fn sigterm_and_sigint_end_sessions_with_421_and_leave_mail_in_the_spool() {
    for signal in [Signal::TERM, Signal::INT] {
        let sink = Sink::start();
        sink.on("RCPT", "450 4.2.1 later");
        let mut daemon = relay(&sink).start();
        accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("kept"));
        wait_for_lines(&daemon, "T", 1);
        block_on(async {
            let mut idle = Dialogue::greeted(daemon.addr()).await;
            let mut busy = Dialogue::greeted(daemon.addr()).await;
            busy.ask("MAIL FROM:<ann@client.test>", "250").await;
            daemon.signal(signal);
            idle.expect("421").await;
            idle.expect_close().await;
            busy.expect("421").await;
            busy.expect_close().await;
        });
        let status = daemon.wait(SOON).unwrap_or_else(|| panic!("still running\n{}", testimony(&daemon)));
        assert_eq!(status.code(), Some(0), "{}", testimony(&daemon));
        let refused = TcpStream::connect(daemon.addr()).expect_err("nobody listens").kind();
        assert_eq!(refused, ErrorKind::ConnectionRefused);
        assert!(!daemon.dir().join("pid").exists());

        sink.behave();
        daemon.start();
        wait(&daemon, "the spool has been read", || {
            ask_json(&daemon, &["summary"])["TotalQueueSize"] == 1 || sink.count() == 1
        });
        ask(&daemon, &["flush", "domain", "all"]);
        assert_eq!(sink.wait_for(1, SOON)[0].forward_paths, ["bob@shop.test"]);
        let delivered = wait_for_lines(&daemon, "D", 1);
        assert_eq!(delivered[0][1], mainlog(&daemon, "R")[0][1], "the same message");
        assert_eq!(delivered[0][9], "1", "its retries were remembered");
    }
}

#[test]
fn a_delivery_in_flight_finishes_before_the_daemon_ends() {
    let sink = Sink::start();
    // Slow enough that the daemon is asked to stop while the reply is coming.
    sink.on("DOT", testkit::Action::Slow("250 2.0.0 taken".into(), std::time::Duration::from_millis(20)));
    let mut daemon = relay(&sink).start();
    accept(&daemon, "ann@client.test", &["bob@shop.test"], &letter("in flight"));
    sink.wait_for(1, SOON);
    assert_eq!(daemon.terminate(SOON).code(), Some(0));
    assert_eq!(mainlog(&daemon, "D").len(), 1, "{}", testimony(&daemon));
    daemon.start();
    wait(&daemon, "the spool has been read", || daemon.read("log/mainlog.ec").lines().count() == 2);
    assert_eq!(ask_json(&daemon, &["summary"])["TotalQueueSize"], 0);
    assert_eq!(sink.count(), 1, "and it is not sent twice");
}

#[test]
fn a_service_manager_is_told_when_it_is_ready_and_when_it_stops() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a datagram socket");
    socket.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
    let notified = || {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).expect("a notification");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let setup = daemon("").environment("NOTIFY_SOCKET", &path.display().to_string());
    let mut daemon = setup.start();
    assert!(notified().lines().any(|line| line == "READY=1"));
    daemon.signal(Signal::TERM);
    assert!(notified().lines().any(|line| line == "STOPPING=1"));
    assert_eq!(daemon.wait(SOON).and_then(|status| status.code()), Some(0));
}

#[test]
fn logs_are_rotated_by_renaming_and_reopen_logs() {
    let daemon = daemon(MAILDIR).start();
    accept(&daemon, "ann@client.test", &["bob@here.test"], &letter("before"));
    wait_for_lines(&daemon, "D", 1);
    let log = |name: &str| daemon.dir().join("log").join(name);
    std::fs::rename(log("mainlog.ec"), log("mainlog.ec.1")).expect("a log can be renamed");
    // The old file collects until the daemon is told.
    accept(&daemon, "ann@client.test", &["bob@here.test"], &letter("between"));
    wait(&daemon, "the renamed file goes on", || daemon.read("log/mainlog.ec.1").lines().count() == 4);
    let said = ask(&daemon, &["reopen", "logs"]);
    assert!(said.starts_with("Reopened ") && said.contains("mainlog (") && said.contains("bouncelog ("), "{said}");
    accept(&daemon, "ann@client.test", &["bob@here.test"], &letter("after"));
    wait_for_lines(&daemon, "D", 1);
    assert_eq!(mainlog(&daemon, "R").len(), 1);
    assert_eq!(daemon.read("log/mainlog.ec.1").lines().count(), 4, "nothing was lost, nothing written twice");
}

#[test]
fn a_stop_under_load_loses_nothing_and_repeats_nothing() {
    let sink = Sink::start();
    let mut daemon = relay(&sink).start();
    let load = Load { sessions: 8, messages: 100_000, messages_per_session: 10, ..Load::default() };
    let running = load.start(daemon.addr());
    wait(&daemon, "the load is under way", || 500 <= running.acknowledged());
    let status = daemon.terminate(SOON);
    assert_eq!(status.code(), Some(0), "{}", testimony(&daemon));
    running.stop();
    let book = running.join();
    assert!(book.doubtful.is_empty(), "every final dot was answered before the end: {:?}", book.troubles);

    daemon.start();
    let acknowledged: BTreeSet<String> = book.acknowledged.into_iter().collect();
    wait(&daemon, "every acknowledged message arrives", || acknowledged.len() <= sink.ids().len());
    wait(&daemon, "nothing is queued", || ask_json(&daemon, &["summary"])["TotalQueueSize"] == 0);
    let ids = sink.ids();
    assert_eq!(ids.keys().cloned().collect::<BTreeSet<_>>(), acknowledged);
    let twice: Vec<_> = ids.iter().filter(|&(_, &times)| times != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}
