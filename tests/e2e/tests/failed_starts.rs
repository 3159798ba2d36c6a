//! A start that fails leaves nothing that was not there before, and nothing of another daemon's changed; and says what is so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use e2e::{SOON, ask, binary, configuration, daemon, testimony, wait};
use testkit::{Daemon, Sink, run};

/// Every path below a folder.
fn tree(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            found.extend(tree(&path));
        }
        found.insert(path);
    }
    found
}

/// What a start that ended has left, but for what it said and the harness.
fn traces(daemon: &Daemon) -> Vec<String> {
    let ours = |path: &PathBuf| path.strip_prefix(daemon.dir()).expect("below it").display().to_string();
    let names = tree(daemon.dir()).iter().map(ours).collect::<Vec<_>>();
    names.into_iter().filter(|name| !name.starts_with("std") && name != "daemon.conf").collect()
}

fn ends(daemon: &mut Daemon) -> (Option<i32>, String) {
    let ended = daemon.start_or_end();
    let config = daemon.read("daemon.conf");
    let status = ended.err().unwrap_or_else(|| panic!("it runs with {config}"));
    (status.code(), daemon.stderr())
}

#[test]
fn whatever_keeps_it_from_starting_nothing_is_left() {
    let taken = Sink::start();
    let root = "security {\n user = \"nobody\"\n group = \"nogroup\"\n}\n";
    let cases = [
        (format!("ESMTP_Listener {{ Listen \"{}\" {{ }} }}\n", taken.addr()), 71, "another process listens"),
        ("ESMTP_Listener { Listen \"192.0.2.77:2525\" { } }\n".to_owned(), 71, "this host has no such address"),
        (
            "ESMTP_Listener { Listen \"@listen@\" { } Listen \"0.0.0.0:1\" { } Listen \"127.0.0.1:1\" { } }\n".into(),
            78,
            "same port",
        ),
        ("Control_Listener { Listen \"127.0.0.1:2025\" { } }\n".to_owned(), 78, "no authentication over TCP"),
        ("ec_logger \"two\" { mainlog = \"@dir@/pid\" }\n".to_owned(), 78, "are the same file"),
        ("bounce_logger \"two\" { bouncelog = \"@dir@/daemon.conf/log\" }\n".to_owned(), 78, "bouncelog"),
        ("delivery_pool = \"none\"\n".to_owned(), 78, "names no event loop pool"),
        // Found out when the spool is open.
        ("Control_Listener { Listen \"/proc/control\" { } }\n".to_owned(), 71, "/proc/control"),
    ];
    for security in ["", root] {
        for (more, code, told) in &cases {
            let mut daemon = daemon(&format!("{security}{more}")).prepare();
            if !security.is_empty() {
                for path in [daemon.dir().to_owned(), daemon.dir().join("daemon.conf")] {
                    std::os::unix::fs::chown(path, Some(65534), Some(65534)).expect("these tests run as root");
                }
            }
            let (ended, said) = ends(&mut daemon);
            assert_eq!(ended, Some(*code), "{more}: {said}");
            assert!(
                said.contains(told) && !said.contains("another process") || told.contains("another"),
                "{more}: {said}"
            );
            assert_eq!(traces(&daemon), Vec::<String>::new(), "{security}{more}: {said}");
        }
    }
}

#[test]
fn a_daemon_that_cannot_start_beside_another_leaves_that_one_alone() {
    let first = daemon("").start();
    let before = tree(first.dir());
    let pid = first.read("pid");
    let mut second = daemon("").prepare();
    let of_first = |text: &str| text.replace("@dir@", &first.dir().display().to_string());
    // The same in everything.
    let same = of_first(&configuration("", "")).replace("@listen@", first.value("listen"));
    second.write_config(&same.replace("@control@", first.value("control")));
    let (code, said) = ends(&mut second);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains(&format!("is in use by process {}", pid.trim())), "{said}");
    // The same but for the spool, and then for the port too.
    let elsewhere = same.replace(&format!("{}/spool", first.dir().display()), "@dir@/spool");
    for (text, told) in [
        (elsewhere.replace("@control@", "@dir@/other"), "another process listens"),
        (
            elsewhere.replace(first.value("listen"), "@listen@").replace("@control@", first.value("control")),
            "another process listens",
        ),
    ] {
        second.write_config(&text);
        let (code, said) = ends(&mut second);
        assert_eq!(code, Some(71), "{said}");
        assert!(said.contains(told), "{said}");
        assert_eq!(traces(&second), Vec::<String>::new());
    }
    assert_eq!(first.read("pid"), pid, "the pidfile is the first one's");
    assert_eq!(ask(&first, &["pid"]), pid);
    let names = |paths: BTreeSet<PathBuf>| -> BTreeSet<PathBuf> {
        // The journal makes and removes files of its own.
        paths.into_iter().filter(|path| !path.starts_with(first.dir().join("spool/journal"))).collect()
    };
    assert_eq!(names(tree(first.dir())), names(before));
}

#[test]
fn what_a_start_refuses_is_no_valid_configuration_and_no_reload() {
    let running = daemon("").start();
    let mut starting = daemon("").prepare();
    let dir = starting.dir().to_owned();
    let open = dir.join("open");
    std::fs::create_dir(&open).expect("a folder");
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("its mode");
    std::fs::write(dir.join("garbage"), "nameserver nowhere\n").expect("a file");
    let whole = configuration("", "");
    let spool = |path: &str| whole.replace("@dir@/spool", path);
    let resolv = |path: &str| whole.replace("@resolv_conf@", path);
    let pidfile = |path: &str| whole.replace("@dir@/pid", path);
    let here = dir.display();
    let cases = [
        (resolv("/no/such"), 78, "/no/such"),
        (resolv(&format!("{here}/garbage")), 78, "garbage"),
        (spool(&format!("{here}/garbage")), 69, "is no directory"),
        (spool(&format!("{here}/garbage/spool")), 69, "is no directory"),
        (spool(&format!("{here}/open/spool")), 69, "may be written by everyone"),
        (pidfile(&format!("{here}/open")), 78, "is a directory"),
        (pidfile(&format!("{here}/garbage/pid")), 78, "is no directory"),
        (format!("{whole}ec_logger \"b\" {{ mainlog = \"/etc/passwd/x\" }}\n"), 78, "/etc/passwd is no directory"),
        (format!("{whole}ec_logger \"b\" {{ mainlog = \"{here}/open\" }}\n"), 78, "is a directory"),
        (format!("{whole}ec_logger \"b\" {{ mainlog = \"pipe:///no/such\" }}\n"), 78, "there is no program /no/such"),
        (format!("{whole}ec_logger \"b\" {{ mainlog = \"pipe://{here}/garbage\" }}\n"), 78, "nobody may execute"),
    ];
    for (text, code, told) in cases {
        starting.write_config(&text);
        let mut validate = std::process::Command::new(binary("validate_config"));
        let validated = run(validate.arg(dir.join("daemon.conf")));
        let said = format!("{}{}", validated.stdout, validated.stderr);
        assert!(!validated.status.success() && said.contains(told), "validate_config, {told}: {said}");
        let (ended, said) = ends(&mut starting);
        assert!(ended == Some(code) && said.contains(told), "start, {told}: {ended:?} {said}");
        running.write_config(&text);
        for words in [&["config", "reload", "--dry-run"][..], &["config", "reload"]] {
            let ended = running.console(words);
            assert!(!ended.status.success() && ended.stderr.contains(told), "{words:?} {told}: {}", ended.stderr);
        }
    }
}

#[test]
fn a_spool_that_was_there_outlives_a_start_that_fails() {
    let mut daemon = daemon("").start();
    assert!(daemon.terminate(SOON).success(), "{}", testimony(&daemon));
    let spool = daemon.dir().join("spool");
    let before = tree(&spool);
    let whole = daemon.read("daemon.conf");
    daemon.write_config(&format!("{whole}Control_Listener {{ Listen \"/proc/control\" {{ }} }}\n"));
    let (code, said) = ends(&mut daemon);
    assert_eq!(code, Some(71), "{said}");
    assert!(before.is_subset(&tree(&spool)), "{before:?}: {:?}", tree(&spool));
}

#[test]
fn a_pidfile_that_names_a_daemon_that_runs_is_refused() {
    let first = daemon("").start();
    let pid = first.read("pid");
    let pidfile = first.dir().join("pid");
    let mut second = daemon("").prepare();
    second.write_config(&configuration("", "").replace("@dir@/pid", &pidfile.display().to_string()));
    let (code, said) = ends(&mut second);
    assert_eq!(code, Some(71), "{said}");
    assert!(said.contains(&format!("names process {}, a postriderd that runs", pid.trim())), "{said}");
    assert_eq!(traces(&second), Vec::<String>::new(), "{said}");
    assert_eq!(first.read("pid"), pid);
    // A number of nobody's, or of another program, is in nobody's way.
    for left in ["1\n", "4194305\n", "\n"] {
        let mut third = daemon("").prepare();
        std::fs::write(third.dir().join("pid"), left).expect("a file that was left");
        third.start();
        assert_ne!(third.read("pid"), left);
    }
}

#[test]
fn a_lock_that_was_removed_lets_no_second_daemon_in() {
    let first = daemon("").start();
    let spool = first.dir().join("spool");
    for name in ["lock", "lock"] {
        std::fs::remove_file(spool.join(name)).expect("it is there");
        let mut second = daemon("").prepare();
        second.write_config(&configuration("", "").replace("@dir@/spool", &spool.display().to_string()));
        let (code, said) = ends(&mut second);
        assert_eq!(code, Some(69), "{said}");
        assert!(said.contains("is in use by another process"), "{said}");
        std::fs::write(spool.join(name), "").expect("a file of the same name");
    }
}

#[test]
fn a_daemon_that_stops_takes_its_socket_and_pidfile_with_it() {
    let mut daemon = daemon("").start();
    assert!(Path::new(daemon.value("control")).exists());
    assert!(daemon.terminate(SOON).success(), "{}", testimony(&daemon));
    assert!(!Path::new(daemon.value("control")).exists() && !daemon.dir().join("pid").exists());
    // One that was killed leaves them, and the next start takes their place.
    daemon.start();
    daemon.kill();
    assert!(Path::new(daemon.value("control")).exists());
    daemon.start();
    ask(&daemon, &["pid"]);
    // A socket that a reload no longer wants goes too.
    let moved = configuration("", "").replace("@control@", "@dir@/moved");
    daemon.write_config(&moved);
    ask(&daemon, &["config", "reload"]);
    wait(&daemon, "the old socket is gone", || !Path::new(daemon.value("control")).exists());
    assert!(daemon.dir().join("moved").exists());
}

#[test]
fn in_front_it_says_where_it_listens() {
    let daemon = daemon("").start();
    let expected =
        format!("process {}, listens: control_listener on {}, ", daemon.read("pid").trim(), daemon.value("control"));
    let expected = format!("{expected}esmtp_listener on {}\n", daemon.value("listen"));
    wait(&daemon, &expected, || daemon.stderr().contains(&expected));
}

#[test]
fn a_reload_and_its_dry_run_refuse_what_the_next_start_would() {
    let daemon = daemon("").start();
    let (port, taken) = (daemon.addr().port(), Sink::start());
    let whole = configuration("", "");
    for (text, told) in [
        (
            whole.replace("@listen@", &format!("0.0.0.0:{port}")),
            format!("this daemon itself listens on 127.0.0.1:{port}"),
        ),
        (
            format!("{whole}ESMTP_Listener {{ Listen \"{}\" {{ }} }}\n", taken.addr()),
            "another process listens".to_owned(),
        ),
        (format!("{whole}ESMTP_Listener {{ Listen \"192.0.2.77:25\" {{ }} }}\n"), "no such address".to_owned()),
        (format!("{whole}ESMTP_Listener {{ Listen \"*:{port}\" {{ }} }}\n"), "has the same port".to_owned()),
        (format!("{whole}ec_logger \"b\" {{ mainlog = \"jlog:///a=>b c\" }}\n"), "cannot be a subscriber".to_owned()),
        (format!("{whole}ec_logger \"b\" {{ mainlog = \"@dir@/pid\" }}\n"), "are the same file".to_owned()),
        (format!("{whole}security {{ user = \"nobody-there\" }}\n"), "no user nobody-there".to_owned()),
        (format!("{whole}suppress_spool {{ }}\n"), "_unsafe_spool".to_owned()),
    ] {
        daemon.write_config(&text);
        for words in [&["config", "reload", "--dry-run"][..], &["config", "reload"]] {
            let ended = daemon.console(words);
            assert!(!ended.status.success() && ended.stderr.contains(&told), "{words:?} {told}: {}", ended.stderr);
        }
    }
    daemon.write_config(&whole);
    ask(&daemon, &["config", "reload"]);
}

#[test]
fn whoever_names_no_endpoint_is_told_which_daemon_a_change_goes_to() {
    let daemon = daemon("").set("control", "run/control").start();
    let console = |words: &[&str]| {
        let mut command = std::process::Command::new(binary("ec_console"));
        run(command.args(words).current_dir(daemon.dir()))
    };
    let told = |ended: &testkit::Ended| {
        let line = format!("process {}, at ./run/control\n", daemon.read("pid").trim());
        ended.stderr.starts_with("ec_console: to Postrider ") && ended.stderr.ends_with(&line)
    };
    assert!(told(&console(&["flush", "domain", "all"])));
    assert!(told(&console(&["--json", "config", "set", "retry_interval", "61"])));
    for words in [&["summary"][..], &["config", "eval", "retry_interval"], &["./run/control", "flush", "domain", "all"]]
    {
        assert_eq!(console(words).stderr, "", "{words:?}");
    }
}
