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
        // Found out when the first logs are open.
        ("bounce_logger \"two\" { bouncelog = \"@dir@/daemon.conf/log\" }\n".to_owned(), 78, "bouncelog"),
        ("delivery_pool = \"none\"\n".to_owned(), 78, "names no event loop pool"),
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
