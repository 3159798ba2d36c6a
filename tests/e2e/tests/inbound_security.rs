//! `security { }`: the daemon gives up the rights of root and works all the same. Runs as root, as CI does.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use e2e::{MAILDIR, SOON, accept, ask, block_on, daemon, daemon_listening, letter, wait_for_mail};
use testkit::{Daemon, Dialogue};

const NOBODY: u32 = 65534;

/// A scratch directory that root has made for a service of user nobody.
fn prepared(more: &str) -> Daemon {
    let daemon = daemon_listening(&format!("{MAILDIR}{more}"), "relay_hosts = ( \"127.0.0.0/8\" )").prepare();
    // The configuration as well: its directory may belong to whoever owns it, also in /tmp.
    for path in [daemon.dir().to_owned(), daemon.dir().join("daemon.conf")] {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("these tests run as root");
    }
    daemon
}

/// A field of /proc/PID/status of every thread.
fn status(daemon: &Daemon, field: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.read("pid").trim())).expect("it runs");
    let value = |task: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.expect("a task").path().join("status")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        line.trim_start_matches(':').split_whitespace().collect::<Vec<_>>().join(" ")
    };
    tasks.map(value).collect()
}

fn owner(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).uid()
}

#[test]
fn started_as_root_it_becomes_the_user_on_every_thread_and_owns_what_it_writes() {
    let mut daemon =
        prepared("security {\n user = \"nobody\"\n group = \"nogroup\"\n supplemental_groups = ( \"mail\" )\n}\n");
    // What an earlier life as root has left.
    std::fs::create_dir_all(daemon.dir().join("spool")).expect("a directory");
    std::fs::write(daemon.dir().join("spool/left-by-root"), "").expect("a file");
    std::fs::write(daemon.dir().join("spool/lock"), "").expect("a file");
    daemon.start();
    for ids in status(&daemon, "Uid") {
        assert_eq!(ids, "65534 65534 65534 65534");
    }
    for ids in status(&daemon, "Gid") {
        assert_eq!(ids, "65534 65534 65534 65534");
    }
    assert!(
        status(&daemon, "Groups").iter().all(|groups| groups == "8 65534" || groups == "65534 8"),
        "mail is group 8"
    );
    // CAP_NET_BIND_SERVICE is bit 10; a thread from before has none at all.
    let capabilities = status(&daemon, "CapPrm");
    assert!(capabilities.iter().all(|set| set.ends_with("0400") || set.ends_with("0000")), "{capabilities:?}");
    assert!(1 < capabilities.iter().filter(|set| set.ends_with("0400")).count(), "{capabilities:?}");
    accept(&daemon, "ann@client.test", &["bob@here.test"], &letter("unprivileged"));
    wait_for_mail(&daemon, "bob@here.test", 1);
    for path in ["spool", "spool/left-by-root", "log", "log/mainlog.ec", "pid", "maildir"] {
        assert_eq!(owner(&daemon.dir().join(path)), NOBODY, "{path}");
    }
    // A reload binds a low port with what has been kept.
    let port = (600..1000).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port");
    let path = daemon.dir().join("daemon.conf");
    let text = std::fs::read_to_string(&path).expect("the configuration");
    let more = format!("{text}\nESMTP_Listener {{ Listen \"127.0.0.1:{port}\" {{ }} }}\n");
    std::fs::write(&path, more).expect("root may");
    ask(&daemon, &["config", "reload"]);
    block_on(async {
        Dialogue::greeted(([127, 0, 0, 1], port).into()).await.ask("QUIT", "221").await;
    });
    assert!(daemon.terminate(SOON).success());
    daemon.start();
    accept(&daemon, "ann@client.test", &["bob@here.test"], &letter("again"));
    wait_for_mail(&daemon, "bob@here.test", 2);
}

#[test]
fn a_user_that_does_not_exist_is_refused_with_what_to_do() {
    let mut daemon = daemon("security {\n user = \"no-such-user\"\n}\n").prepare();
    assert_eq!(daemon.start_or_end().map_err(|status| status.code()), Err(Some(78)));
    let said = daemon.stderr();
    assert!(said.contains("there is no user no-such-user") && said.contains("useradd"), "{said}");
}

#[test]
fn what_belongs_to_others_stays_theirs() {
    let mut daemon = prepared("security {\n user = \"nobody\"\n group = \"nogroup\"\n}\nspoolbase = \"{dir}/mine\"\n");
    let (keep, mine) = (daemon.dir().join("keep"), daemon.dir().join("mine"));
    for folder in [&keep, &mine] {
        std::fs::create_dir(folder).expect("a directory");
        std::fs::write(folder.join("other"), "").expect("a file");
    }
    let path = daemon.dir().join("daemon.conf");
    let text = std::fs::read_to_string(&path)
        .expect("the configuration")
        .replace("{dir}", &daemon.dir().display().to_string());
    let log = format!("ec_logger \"ec_logger\" {{ rejectlog = \"{}/rejectlog\" }}\n", keep.display());
    std::fs::write(&path, format!("{text}{log}")).expect("root may");
    assert_eq!(daemon.start_or_end().map_err(|status| status.code()), Err(Some(71)));
    assert!(daemon.stderr().contains("holds other things"), "{}", daemon.stderr());
    std::fs::write(&path, format!("{text}{log}spoolbase = \"{}/spool\"\n", daemon.dir().display())).expect("root may");
    daemon.start();
    let owners =
        ["keep", "keep/other", "keep/rejectlog", "mine", "mine/other"].map(|path| owner(&daemon.dir().join(path)));
    assert_eq!(owners, [0, 0, NOBODY, 0, 0]);
}
