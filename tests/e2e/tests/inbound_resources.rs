//! Memory marks, descriptors and room in the spool, on the real daemon.

use e2e::{MAILDIR, accept, binary, block_on, configuration, letter, program, testimony, wait, wait_for_mail};
use testkit::{Daemon, DaemonSetup, Dialogue};

/// A daemon started under these limits of prlimit(1).
fn under(limits: &[&str], more: &str) -> DaemonSetup {
    let daemon = binary("postriderd").display().to_string();
    let arguments = [limits, &[&daemon, "-d", "-c", "@config@"]].concat();
    let text = configuration(&format!("{MAILDIR}{more}"), "");
    DaemonSetup::new(program("prlimit", "util-linux"), &text).set("resolv_conf", "/dev/null").arguments(&arguments)
}

fn limit_of_descriptors(daemon: &Daemon) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.read("pid").trim())).expect("it runs");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    line.split_whitespace().nth(3).unwrap_or_default().to_owned()
}

#[test]
fn above_memory_hwm_mail_and_clients_are_put_off_and_below_it_they_are_taken_again() {
    // What ulimit -m allows is the whole: the kernel does not enforce it, the daemon measures against it.
    let mut daemon = under(&["--rss=100000000"], "").start();
    accept(&daemon, "ann@client.test", &["bob@here.test"], &letter("first"));
    let pid = daemon.read("pid").trim().to_owned();
    let (resident, _) = daemon.memory_bytes();
    assert!(resident < 80_000_000, "{resident} bytes are resident already");
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        assert!(
            std::process::Command::new("prlimit")
                .args(["--pid", &pid, "--rss=100000:100000000"])
                .status()
                .unwrap()
                .success()
        );
        let mut reply = String::new();
        for _ in 0..200 {
            client.send("MAIL FROM:<ann@client.test>").await;
            reply = client.reply().await.unwrap_or_default();
            client.ask("RSET", "250").await;
            if !reply.starts_with("250") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(reply, "452 4.3.1 insufficient system memory", "{}", testimony(&daemon));
        Dialogue::connect(daemon.addr()).await.expect("421 4.3.1 insufficient system memory").await;
    });
    wait(&daemon, "the paniclog tells", || daemon.read("log/paniclog.ec").contains("over memory_hwm (95 %)"));
    assert!(
        std::process::Command::new("prlimit")
            .args(["--pid", &pid, "--rss=100000000:100000000"])
            .status()
            .unwrap()
            .success()
    );
    wait(&daemon, "mail is taken again", || {
        let greeting = block_on(async { Dialogue::connect(daemon.addr()).await.reply().await });
        greeting.is_some_and(|greeting| greeting.starts_with("220"))
    });
    accept(&daemon, "ann@client.test", &["bob@here.test"], &letter("second"));
    wait_for_mail(&daemon, "bob@here.test", 2);
    daemon.kill();
}

#[test]
fn the_limit_of_descriptors_is_raised_as_far_as_it_is_asked_and_allowed() {
    let daemon = under(&["--nofile=200:3000"], "").start();
    assert_eq!(limit_of_descriptors(&daemon), "3000", "unset, the hard limit");
    let daemon = under(&["--nofile=200:3000"], "server_max_file_descriptors = 500\n").start();
    assert_eq!(limit_of_descriptors(&daemon), "500");
    let more = "server_max_file_descriptors = 5000\ndebug_flags {\n warning = ( \"START\" )\n}\n";
    let daemon = under(&["--nofile=200:3000"], more).start();
    // Root may, unless the container it is in may not; then it is told.
    if limit_of_descriptors(&daemon) != "5000" {
        assert_eq!(limit_of_descriptors(&daemon), "3000");
        wait(&daemon, "the paniclog tells", || {
            daemon.read("log/paniclog.ec").contains("server_max_file_descriptors = 5000, but the system gives 3000")
        });
    }
}
