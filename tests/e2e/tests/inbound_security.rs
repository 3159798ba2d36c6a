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
    // A thread of a pool that has ended meanwhile has no status any more.
    let value = |task: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel tells it");
        Some(line.trim_start_matches(':').split_whitespace().collect::<Vec<_>>().join(" "))
    };
    tasks.filter_map(value).collect()
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

/// A program for a pipe log that leaves what it may do in a file.
fn confession(daemon: &Daemon) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let program = daemon.dir().join("confess");
    let out = daemon.dir().join("confession");
    let text =
        format!("#!/bin/sh\ncp /proc/self/status {0}.new && mv {0}.new {0}\nexec cat >/dev/null\n", out.display());
    std::fs::write(&program, text).expect("root may");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("root may");
    out
}

#[test]
fn no_thread_and_no_program_of_a_log_can_win_back_what_was_given_up() {
    let more = "security {\n user = \"nobody\"\n group = \"nogroup\"\n}\n\
                ec_logger \"ec_logger\" { rejectlog = \"pipe://@dir@/confess\" }\n\
                bounce_logger \"bounce_logger\" { bouncelog = \"jlog://@dir@/journal=>reader\" }\n";
    let mut daemon = prepared(more);
    let out = confession(&daemon);
    daemon.start();
    e2e::wait(&daemon, "the program has run", || out.exists());
    let told = std::fs::read_to_string(&out).expect("there");
    let of_program = |field: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        line.trim_start_matches(':').split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of_program("Uid"), "65534 65534 65534 65534");
    assert_eq!((of_program("NoNewPrivs"), of_program("CapEff")), ("1".to_owned(), "0000000000000000".to_owned()));
    assert_eq!(of_program("SigBlk"), "0000000000000000", "a program can be ended by a signal");
    // CAP_NET_BIND_SERVICE is bit 10; nothing else is ever to come back.
    let bounding = [vec![of_program("CapBnd")], status(&daemon, "CapBnd")].concat();
    assert!(bounding.iter().all(|set| set == "0000000000000400"), "{bounding:?}");
    let privileges = status(&daemon, "NoNewPrivs");
    assert!(4 < privileges.len() && privileges.iter().all(|own| own == "1"), "{privileges:?}");
    let inherited = [status(&daemon, "CapInh"), status(&daemon, "CapAmb")].concat();
    assert!(inherited.iter().all(|set| set == "0000000000000000"), "{inherited:?}");
}

#[test]
fn whoever_stays_root_gains_no_new_privileges_either() {
    let daemon = daemon("").start();
    assert!(status(&daemon, "NoNewPrivs").iter().all(|own| own == "1"));
}

#[test]
fn a_spool_that_somebody_else_could_change_is_refused_with_the_command_that_closes_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("root may");
    };
    for security in ["", "security {\n user = \"nobody\"\n group = \"nogroup\"\n}\n"] {
        let mut daemon = prepared(security);
        let (spool, inner) = (daemon.dir().join("spool"), daemon.dir().join("spool/journal"));
        std::fs::create_dir_all(&inner).expect("root may");
        for (open, run) in [(&spool, "chmod o-w"), (&inner, "chmod o-w")] {
            mode(open, 0o777);
            assert_eq!(daemon.start_or_end().map_err(|status| status.code()), Err(Some(69)), "{}", daemon.stderr());
            assert!(daemon.stderr().contains(&format!("run: {run} {}", open.display())), "{}", daemon.stderr());
            mode(open, 0o750);
            std::os::unix::fs::chown(open, Some(12345), Some(12345)).expect("root may");
            assert_eq!(daemon.start_or_end().map_err(|status| status.code()), Err(Some(69)), "{}", daemon.stderr());
            let said = daemon.stderr();
            assert!(said.contains("belongs to user 12345") && said.contains("run: chown -R"), "{said}");
            assert_eq!(owner(open), 12345, "it is left as it is");
            std::os::unix::fs::chown(open, Some(0), Some(0)).expect("root may");
        }
        daemon.start();
    }
}

#[test]
fn what_stands_where_a_file_belongs_never_holds_up_the_start() {
    use std::os::unix::fs::symlink;
    let fifo = |path: &Path| {
        let _ = std::fs::remove_file(path);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o666.into(), 0).expect("a fifo");
    };
    for security in ["", "security {\n user = \"nobody\"\n group = \"nogroup\"\n}\n"] {
        for name in ["pid", "log/mainlog.ec", "log/bouncelog.ec", "spool/lock"] {
            let mut daemon = prepared(security);
            let path = daemon.dir().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("root may");
            fifo(&path);
            let ended = daemon.start_or_end();
            assert!(ended.is_err(), "{name} {security}");
            assert!(daemon.stderr().contains(name), "{name}: {}", daemon.stderr());
            std::fs::remove_file(&path).expect("there");
            let kept = daemon.dir().join("kept");
            std::fs::write(&kept, "kept").expect("root may");
            symlink(&kept, &path).expect("root may");
            assert!(daemon.start_or_end().is_err(), "a link at {name} {security}");
            assert_eq!(std::fs::read_to_string(&kept).expect("there"), "kept", "{name}");
            assert_eq!(owner(&kept), 0, "{name}");
        }
    }
}

#[test]
fn a_configuration_that_is_no_file_is_refused_and_not_waited_for() {
    let mut daemon = prepared("include \"fifo.conf\"\n");
    let path = daemon.dir().join("fifo.conf");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a fifo");
    assert_eq!(daemon.start_or_end().map_err(|status| status.code()), Err(Some(78)));
    assert!(daemon.stderr().contains("not a regular file"), "{}", daemon.stderr());
}

#[test]
fn signals_of_the_first_moments_are_obeyed_when_the_daemon_can() {
    use rustix::process::Signal;
    let mut daemon = daemon("Debug_Flags { notice = ( ALL ) info = ( ALL ) }\n").prepare();
    // Caught as soon as the process says so; before that it is not ours yet.
    let is_caught = |daemon: &Daemon| {
        let pid = daemon.pid().as_raw_nonzero();
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let set = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0").trim().to_owned();
        u64::from_str_radix(&set, 16).unwrap_or(0) & 0x4003 == 0x4003
    };
    daemon.spawn();
    e2e::wait(&daemon, "signals are caught", || is_caught(&daemon));
    daemon.signal(Signal::PIPE);
    daemon.signal(Signal::HUP);
    e2e::wait(&daemon, "the reload is done", || daemon.read("log/paniclog.ec").contains("configuration reloaded"));
    assert!(daemon.terminate(SOON).success());
    for signal in [Signal::TERM, Signal::INT] {
        daemon.spawn();
        e2e::wait(&daemon, "signals are caught", || is_caught(&daemon));
        daemon.signal(signal);
        assert!(daemon.wait(SOON).is_some_and(|status| status.success()), "{}", daemon.stderr());
    }
}

#[test]
fn every_folder_that_the_user_writes_in_is_made_for_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let more = "security {\n user = \"nobody\"\n group = \"nogroup\"\n}\n\
                pidfile = \"@dir@/state/run/pid\"\nlocal_changes_file = \"@dir@/state/local.conf\"\n\
                spoolbase = \"@dir@/state/spool\"\nControl_Listener { Listen \"@dir@/state/run/control\" { } }\n\
                ec_logger \"two\" { mainlog = \"@dir@/state/log/mainlog\" }\n";
    let mut daemon = prepared(more);
    // As /var: of root, with other things in it; and what the checkout of somebody else left.
    std::os::unix::fs::chown(daemon.dir(), Some(0), Some(0)).expect("root may");
    std::fs::create_dir(daemon.dir().join("log")).expect("root may");
    std::fs::set_permissions(daemon.dir(), std::fs::Permissions::from_mode(0o755)).expect("root may");
    let control = daemon.value("control").to_owned();
    let text = daemon.read("daemon.conf").replace(&format!("Listen \"{control}\" {{ }}"), "");
    std::fs::write(daemon.dir().join("daemon.conf"), text).expect("root may");
    daemon.start();
    for path in ["state", "state/run", "state/run/pid", "state/run/control", "state/spool", "state/log"] {
        assert_eq!(owner(&daemon.dir().join(path)), NOBODY, "{path}");
    }
    for path in ["state/run", "state/spool", "state/log"] {
        let mode = std::fs::metadata(daemon.dir().join(path)).expect("there").permissions().mode() & 0o7777;
        assert_eq!(mode, 0o750, "{path}: {mode:04o}");
    }
    assert_eq!(owner(daemon.dir()), 0);
    let console = |words: &[&str]| {
        let mut command = std::process::Command::new(e2e::binary("ec_console"));
        let socket = daemon.dir().join("state/run/control");
        e2e::succeed(command.arg(socket).args(words))
    };
    console(&["config", "set", "retry_interval", "61"]);
    console(&["config", "writeback"]);
    assert!(daemon.read("state/local.conf").contains("61"), "{}", daemon.read("state/local.conf"));
    assert!(daemon.terminate(SOON).success());
    assert!(!daemon.dir().join("state/run/pid").exists() && !daemon.dir().join("state/run/control").exists());
}

#[test]
fn a_spool_in_a_folder_that_everyone_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut daemon = prepared("spoolbase = \"@dir@/above/way/spool\"\n");
    let above = daemon.dir().join("above");
    std::fs::create_dir_all(above.join("way")).expect("root may");
    for (mode, starts) in [(0o777, false), (0o1777, true)] {
        std::fs::set_permissions(&above, std::fs::Permissions::from_mode(mode)).expect("root may");
        let started = daemon.start_or_end();
        assert_eq!(started.is_ok(), starts, "{mode:o}: {}", daemon.stderr());
        if !starts {
            assert!(daemon.stderr().contains(&format!("run: chmod o-w {}", above.display())), "{}", daemon.stderr());
        }
    }
}

#[test]
fn what_has_a_second_name_elsewhere_is_not_given_away_with_a_spool() {
    let mut daemon = prepared("security {\n user = \"nobody\"\n group = \"nogroup\"\n}\n");
    let (spool, secret) = (daemon.dir().join("spool"), daemon.dir().join("secret"));
    std::fs::create_dir_all(spool.join("journal")).expect("root may");
    std::os::unix::fs::chown(&spool, Some(NOBODY), Some(NOBODY)).expect("root may");
    std::fs::write(&secret, "secret").expect("root may");
    std::fs::hard_link(&secret, spool.join("planted")).expect("root may");
    assert_eq!(daemon.start_or_end().map_err(|status| status.code()), Err(Some(71)));
    assert!(daemon.stderr().contains("planted has another name too"), "{}", daemon.stderr());
    assert_eq!(owner(&secret), 0);
    std::fs::remove_file(spool.join("planted")).expect("there");
    std::os::unix::fs::symlink(&secret, spool.join("left")).expect("root may");
    assert!(daemon.start_or_end().is_err(), "a link in a spool is refused");
    assert_eq!(owner(&secret), 0);
}

#[test]
fn a_program_of_a_log_has_neither_roots_home_nor_what_the_daemon_inherited() {
    use std::os::fd::AsRawFd as _;
    let more = "security {\n user = \"nobody\"\n group = \"nogroup\"\n}\n\
                ec_logger \"ec_logger\" { rejectlog = \"pipe://@dir@/confess\" }\n";
    let mut daemon = prepared(more);
    let (program, out) = (daemon.dir().join("confess"), daemon.dir().join("confession"));
    let text = format!(
        "#!/bin/sh\n(env; ls /proc/self/fd | sed s/^/fd=/) >{0}.new; mv {0}.new {0}\nexec cat >/dev/null\n",
        out.display()
    );
    std::fs::write(&program, text).expect("root may");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("root may");
    for (name, value) in
        [("HOME", "/root"), ("USER", "root"), ("SUDO_USER", "jan"), ("NOTIFY_SOCKET", "@none"), ("KEPT", "yes")]
    {
        daemon.set_environment(name, value);
    }
    // A descriptor that is inherited, as from a careless shell.
    let held = std::fs::File::open("/etc/passwd").expect("there");
    let held = rustix::io::fcntl_dupfd_cloexec(&held, 60).expect("a descriptor");
    rustix::io::fcntl_setfd(&held, rustix::io::FdFlags::empty()).expect("a flag");
    daemon.start();
    e2e::wait(&daemon, "the program has run", || out.exists());
    let told = std::fs::read_to_string(&out).expect("there");
    let lines: Vec<&str> = told.lines().collect();
    for line in ["HOME=/nonexistent", "USER=nobody", "LOGNAME=nobody", "KEPT=yes"] {
        assert!(lines.contains(&line), "{line} is not in:\n{told}");
    }
    let inherited = format!("fd={}", held.as_raw_fd());
    assert!(
        !told.contains("SUDO_USER") && !told.contains("NOTIFY_SOCKET") && !lines.contains(&inherited.as_str()),
        "{told}"
    );
    let of_daemon = std::fs::read_link(format!("/proc/{}/fd/{}", daemon.read("pid").trim(), held.as_raw_fd()));
    assert!(of_daemon.map_or(true, |path| path != Path::new("/etc/passwd")), "the daemon has closed it");
}
