//! Memory marks, descriptors and room in the spool, on the real daemon.

use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use e2e::{
    MAILDIR, Names, SOON, accept, ask, binary, block_on, configuration, letter, mainlog, program, testimony, wait,
    wait_for_mail,
};
use testkit::{Daemon, DaemonSetup, Dialogue, Load, Sink};

/// A daemon started under these limits of prlimit(1).
fn under(limits: &[&str], more: &str) -> DaemonSetup {
    let daemon = binary("postriderd").display().to_string();
    let arguments = [limits, &[&daemon, "-d", "-c", "@config@"]].concat();
    let text = configuration(&format!("{MAILDIR}{more}"), "");
    DaemonSetup::new(program("prlimit", "util-linux"), &text)
        .console(binary("ec_console"))
        .set("resolv_conf", "/dev/null")
        .arguments(&arguments)
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

/// A counter of the `meters` command.
fn counter(daemon: &Daemon, name: &str) -> u64 {
    let meters = ask(daemon, &["meters"]);
    let line = meters.lines().find(|line| line.split_whitespace().next() == Some(name));
    let value = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in:\n{meters}"))
}

#[test]
fn with_128_descriptors_300_idle_clients_are_all_answered_and_the_console_and_deliveries_go_on() {
    let sink = Sink::start();
    let more = format!("domain \"sink.test\" {{ gateway = \"{}\" }}\n", sink.addr());
    let daemon = under(&["--nofile=128:128"], &more).start();
    for option in ["service_sessions = 20000", "server_max_outbound_connections = 75000"] {
        wait(&daemon, "the start warns", || daemon.stderr().contains(&format!("{option} cannot be met")));
    }

    let mut crowd: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect(daemon.addr()).expect("the backlog takes connections")).collect();
    let (mut greeted, mut refused) = (Vec::new(), 0);
    for mut client in crowd.drain(..) {
        client.set_read_timeout(Some(SOON)).expect("a time limit");
        let mut answer = [0; 4];
        client
            .read_exact(&mut answer)
            .unwrap_or_else(|error| panic!("a client in silence: {error}\n{}", testimony(&daemon)));
        match &answer {
            b"220 " => greeted.push(client),
            b"421 " => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(10 <= greeted.len(), "only {} were let in", greeted.len());
    assert_eq!(counter(&daemon, "netlistener.esmtp_listener.out_of_descriptors"), refused, "each refusal is counted");
    wait(&daemon, "the refusals in the paniclog", || {
        daemon.read("log/paniclog.ec").contains("turned away: connections have all the descriptors they may have")
    });
    // One of those inside sends, and the mail leaves while the crowd stays.
    block_on(async {
        drop(greeted.pop());
        let let_in = async {
            loop {
                let mut client = Dialogue::connect(daemon.addr()).await;
                if client.reply().await.is_some_and(|reply| reply.starts_with("220")) {
                    return client;
                }
            }
        };
        let mut client = tokio::time::timeout(SOON, let_in).await.expect("who leaves makes room");
        client.ask("EHLO client.test", "250").await;
        assert!(client.mail("ann@client.test", &["bob@sink.test"], &letter("out")).await.starts_with("250"));
    });
    sink.wait_for(1, SOON);
    assert!(!greeted.is_empty());
}

#[test]
fn a_crowd_at_the_console_takes_no_descriptor_that_mail_needs() {
    let sink = Sink::start();
    let more = format!("domain \"sink.test\" {{ gateway = \"{}\" }}\n", sink.addr());
    let daemon = under(&["--nofile=128:128"], &more).start();
    let path = daemon.value("control").to_owned();
    let crowd: Vec<UnixStream> = (0..100).map(|_| UnixStream::connect(&path).expect("the backlog takes it")).collect();
    // Those over the bound are closed; the others are greeted.
    let mut served = 0;
    for mut client in &crowd {
        client.set_read_timeout(Some(SOON)).expect("a time limit");
        served += usize::from(client.read(&mut [0; 1]).is_ok_and(|octets| octets != 0));
    }
    assert!((2..=6).contains(&served), "{served} were served");
    accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("out"));
    sink.wait_for(1, SOON);
    drop(crowd);
    wait(&daemon, "the console serves again", || daemon.console(&["pid"]).status.success());
    assert_eq!(counter(&daemon, "netlistener.control_listener.out_of_descriptors"), 100 - served as u64);
}

#[test]
fn a_mailbox_that_cannot_be_opened_for_want_of_descriptors_is_no_failure_of_the_mail() {
    let daemon = under(&["--nofile=1000:1000"], "").start();
    accept(&daemon, "ann@client.test", &["bob@here.test"], &letter("the spool has its first segment open"));
    wait_for_mail(&daemon, "bob@here.test", 1);
    let pid = daemon.read("pid").trim().to_owned();
    let limit = |most: &str| {
        let nofile = format!("--nofile={most}:1000");
        let set = std::process::Command::new("prlimit").args(["--pid", &pid, &nofile]).status().expect("prlimit runs");
        assert!(set.success());
    };
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        client.ask("EHLO client.test", "250").await;
        limit("8");
        assert!(client.mail("ann@client.test", &["bob@here.test"], &letter("in")).await.starts_with("250"));
        wait(&daemon, "it is told", || daemon.read("log/paniclog.ec").contains("no descriptor for it"));
        limit("1000");
    });
    wait_for_mail(&daemon, "bob@here.test", 2);
    assert!(mainlog(&daemon, "T").is_empty(), "{}", testimony(&daemon));
}

#[test]
fn with_few_descriptors_mail_for_many_domains_leaves_without_a_pause() {
    const DOMAINS: usize = 300;
    let sink = Sink::start();
    let zone: Vec<String> = (0..DOMAINS).map(|n| format!("d{n}.test MX 10 mx.test")).collect();
    let names = Names::start(&format!("mx.test A 127.0.0.1\n{}", zone.join("\n")));
    // A session stays open behind its message, so that each domain's takes a descriptor from the others.
    let more = format!("remote_smtp_port = {}\nidle_timeout = 1\n", sink.addr().port());
    let daemon = under(&["--nofile=128:128"], &more).set("resolv_conf", names.resolv_conf()).start();
    let load = Load { messages: DOMAINS, forward_paths: vec!["bob@d{n}.test".to_owned()], ..Load::default() };
    assert_eq!(load.run(daemon.addr()).acknowledged.len(), DOMAINS);
    sink.wait_for(DOMAINS, SOON);
    wait(&daemon, "every message logged", || DOMAINS <= mainlog(&daemon, "D").len());
    assert!(mainlog(&daemon, "T").is_empty(), "{}", testimony(&daemon));
    assert_eq!(counter(&daemon, "delivery.connections.failed"), 0, "no host was held to account");
}

#[test]
fn a_bind_address_that_is_not_there_holds_the_mail_and_is_told() {
    let sink = Sink::start();
    let more = format!(
        "gateway = \"{}\"
         bind_address = \"192.0.2.77\"\n",
        sink.addr()
    );
    let daemon = under(&["--nofile=1024:1024"], &more).start();
    accept(&daemon, "ann@client.test", &["bob@sink.test"], &letter("held"));
    wait(&daemon, "the operator is told", || daemon.read("log/paniclog.ec").contains("does not have the bind_address"));
    assert!(mainlog(&daemon, "T").is_empty(), "{}", testimony(&daemon));
    assert_eq!(counter(&daemon, "delivery.connections.failed"), 0);
    assert!(1 <= counter(&daemon, "delivery.lacks.own_address"));
}
