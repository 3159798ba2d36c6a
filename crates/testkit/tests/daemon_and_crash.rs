//! The child runner and the crash runner, tried on daemons that this test program itself plays: a proxy that acknowledges
//! what the sink has, and a liar that acknowledges what nobody has.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use testkit::{CRASH_POINT, CrashRunner, DaemonSetup, Dialogue, Kill, Load, Sink, run, wait_until};

const LIMIT: Duration = Duration::from_secs(30);

/// This program as a daemon: the test harness runs only `played_daemon`, which the environment turns into one.
fn setup(role: &str, sink: &Sink) -> DaemonSetup {
    DaemonSetup::new(std::env::current_exe().unwrap(), "role @role@\nlisten @listen@\nsink @sink@\n")
        .arguments(&["--exact", "played_daemon", "--nocapture"])
        .environment("PLAYED_DAEMON", "@config@")
        .set("role", role)
        .set("sink", sink.addr())
}

#[test]
fn played_daemon() {
    let Some(config) = std::env::var_os("PLAYED_DAEMON") else { return };
    let config = std::fs::read_to_string(config).unwrap();
    let value = |name: &str| config.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
    let (listen, sink) = (value("listen").parse().unwrap(), value("sink").parse().unwrap());
    eprintln!("playing a {} on {listen}", value("role"));
    match value("role") {
        "proxy" => proxy(listen, sink),
        "liar" => {
            let _taking = Sink::start_at(listen).unwrap();
            std::thread::sleep(Duration::from_secs(3600));
        }
        role => panic!("cannot play a {role}"),
    }
}

fn proxy(listen: SocketAddr, sink: SocketAddr) {
    let dies = std::env::var(CRASH_POINT).is_ok_and(|point| point == "connected");
    for (number, client) in TcpListener::bind(listen).unwrap().incoming().enumerate() {
        let (client, server) = (client.unwrap(), TcpStream::connect(sink).unwrap());
        if dies && number == 3 {
            std::process::exit(9);
        }
        for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
        }
    }
}

#[tokio::test]
async fn a_daemon_starts_serves_and_is_killed_with_its_handle() {
    let sink = Sink::start();
    let mut daemon = setup("proxy", &sink).start();
    assert!(daemon.stderr().contains("playing a proxy"));
    assert!(daemon.read("daemon.conf").contains(&format!("listen {}", daemon.addr())));
    let mut client = Dialogue::greeted(daemon.addr()).await;
    client.mail("a@b", &["c@d"], "x").await;
    assert!(0 < daemon.memory_bytes().0 && 0.0 <= daemon.cpu_seconds());
    daemon.restart();
    assert!(daemon.is_running());
    assert!(!daemon.terminate(LIMIT).success());
    assert!(!daemon.is_running());
    daemon.start();
    let addr = daemon.addr();
    drop(daemon);
    assert!(wait_until(LIMIT, || TcpStream::connect(addr).is_err()));
}

#[test]
#[should_panic(expected = "cannot play a ghost")]
fn a_daemon_that_ends_at_once_shows_its_stderr() {
    setup("ghost", &Sink::start()).start();
}

#[test]
fn nothing_is_lost_through_a_proxy() {
    let sink = Sink::start();
    let kill = Kill::AtRandom { times: 4, within: Duration::from_millis(60) };
    let load = Load { messages: 100_000, sessions: 8, bytes: 500, prefix: "crash".to_owned(), ..Load::default() };
    let report = CrashRunner { setup: setup("proxy", &sink), load, kill, seed: 11, drain_limit: LIMIT }.run(&sink);
    assert_eq!((report.kills, report.duplicates, report.lost.len()), (4, 0, 0));
    assert!(report.acknowledged <= report.received && report.received <= report.acknowledged + report.doubtful);
}

#[test]
fn a_daemon_can_be_ended_at_a_named_point() {
    let sink = Sink::start();
    let kill = Kill::AtPoints(vec!["connected".to_owned()]);
    let load =
        Load { messages: 100, messages_per_session: 10, sessions: 1, prefix: "point".to_owned(), ..Load::default() };
    let report = CrashRunner { setup: setup("proxy", &sink), load, kill, seed: 12, drain_limit: LIMIT }.run(&sink);
    assert_eq!((report.unreached.len(), report.lost.len(), report.kills), (0, 0, 1));
    assert!(0 < report.acknowledged && report.acknowledged < 100);
}

#[test]
fn a_liar_is_found_out() {
    let sink = Sink::start();
    let kill = Kill::AtRandom { times: 1, within: Duration::from_millis(1) };
    let load = Load { messages: 50, sessions: 1, prefix: "lie".to_owned(), ..Load::default() };
    let runner =
        CrashRunner { setup: setup("liar", &sink), load, kill, seed: 13, drain_limit: Duration::from_millis(10) };
    // The random moment may come before the first message.
    let lost =
        (0..50).map(|seed| CrashRunner { seed, ..runner.clone() }.run(&sink)).find(|report| 0 < report.acknowledged);
    let report = lost.expect("one of fifty rounds acknowledges something");
    assert_eq!(report.lost.len(), report.acknowledged);
}

#[test]
fn a_program_is_run_to_its_end() {
    let ended = run(std::process::Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]));
    assert_eq!((ended.status.code(), ended.stdout.as_str(), ended.stderr.as_str()), (Some(3), "out\n", "err\n"));
}
