//! The configuration system as an operator meets it in a running daemon: files of several kinds, other people's edits,
//! crashes, and the console from an empty page.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use e2e::{ConsoleSession, ask, ask_json, configuration, daemon};
use testkit::{Daemon, Ended};

/// A daemon that is not started yet, with these files beside its configuration.
fn prepared(more: &str, files: &[(&str, &str)]) -> Daemon {
    let daemon = daemon(more).prepare();
    files.iter().for_each(|(name, text)| write(&daemon, name, text));
    daemon
}

fn started(more: &str, files: &[(&str, &str)]) -> Daemon {
    let mut daemon = prepared(more, files);
    daemon.start();
    daemon
}

fn write(daemon: &Daemon, name: &str, text: &str) {
    let path = beside(daemon, name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(path, text).expect("a file");
}

/// A path beside the main file.
fn beside(daemon: &Daemon, name: &str) -> std::path::PathBuf {
    Path::new(daemon.value("config")).parent().expect("a parent").join(name)
}

fn refused(daemon: &Daemon, words: &[&str]) -> String {
    let Ended { status, stdout, stderr } = daemon.console(words);
    assert!(!status.success(), "{words:?} was done: {stdout}");
    stderr
}

fn value(daemon: &Daemon, option: &str) -> serde_json::Value {
    ask_json(daemon, &["config", "eval", option])["value"].clone()
}

fn node() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").expect("a name").trim().to_owned()
}

#[test]
fn each_node_reads_its_own_file_and_the_others_the_default() {
    let node = format!("conf/{}/node.conf", node());
    let files = [(node.as_str(), "retry_interval = 61\n"), ("conf/default/node.conf", "retry_interval = 62\n")];
    let daemon = started("include \"node.conf\"", &files);
    assert_eq!(value(&daemon, "retry_interval"), 61);
    fs::remove_file(beside(&daemon, &node)).expect("there");
    ask(&daemon, &["config", "reload"]);
    assert_eq!(value(&daemon, "retry_interval"), 62);
}

#[test]
fn what_a_closed_file_says_is_overruled_elsewhere_and_not_taken_out() {
    let closed = "domain \"a.test\" {\n  retry_interval = 61\n}\n";
    let daemon = started("readonly_include \"closed.conf\"", &[("closed.conf", closed)]);
    let told = refused(&daemon, &["config", "unset", "domain", "a.test", "retry_interval"]);
    assert!(told.contains("closed.conf:2, which is closed to changes from the console"), "{told}");
    ask(&daemon, &["config", "set", "domain", "a.test", "retry_interval", "77"]);
    let why = ask(&daemon, &["config", "eval", "--why", "domain", "a.test", "retry_interval"]);
    assert!(why.contains("= 77\n") && why.contains("beats 61"), "{why}");
    ask(&daemon, &["config", "writeback"]);
    assert_eq!(fs::read_to_string(beside(&daemon, "closed.conf")).expect("there"), closed);
    assert!(fs::read_to_string(daemon.value("config")).expect("there").contains("= 77"));
}

#[test]
fn changes_go_to_the_local_changes_file_and_outlive_a_restart() {
    let more = "local_changes_file = \"local.conf\"\nlocal_changes_only = true\nretry_interval = 61\n";
    let mut daemon = started(more, &[]);
    let before = fs::read_to_string(daemon.value("config")).expect("there");
    ask(&daemon, &["config", "set", "retry_interval", "77"]);
    let written = ask(&daemon, &["config", "writeback"]);
    assert!(written.contains("local.conf"), "{written}");
    assert_eq!(fs::read_to_string(daemon.value("config")).expect("there"), before);
    daemon.restart();
    assert_eq!(value(&daemon, "retry_interval"), 77);
}

#[test]
fn of_two_changed_files_none_is_written_when_somebody_edited_one() {
    let daemon =
        started("include \"part.conf\"\nmax_retry_interval = 600\n", &[("part.conf", "retry_interval = 61\n")]);
    let before = fs::read_to_string(daemon.value("config")).expect("there");
    ask(&daemon, &["config", "set", "retry_interval", "77"]);
    ask(&daemon, &["config", "set", "max_retry_interval", "700"]);
    write(&daemon, "part.conf", "retry_interval = 62 # mine\n");
    let told = refused(&daemon, &["config", "writeback"]);
    assert!(told.contains("part.conf was changed on disk") && told.contains("nothing was written"), "{told}");
    assert_eq!(fs::read_to_string(beside(&daemon, "part.conf")).expect("there"), "retry_interval = 62 # mine\n");
    assert_eq!(fs::read_to_string(daemon.value("config")).expect("there"), before);
    write(&daemon, "part.conf", "retry_interval = 61\n");
    ask(&daemon, &["config", "writeback"]);
    assert_eq!(fs::read_to_string(beside(&daemon, "part.conf")).expect("there"), "retry_interval = 77\n");
    assert!(fs::read_to_string(daemon.value("config")).expect("there").contains("= 700"));
}

/// As the journal of a writeback tells one text from another.
fn text_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[test]
fn a_writeback_that_a_crash_cut_short_is_finished_by_the_next_start() {
    let mut daemon = prepared("include \"part.conf\"\n", &[("part.conf", "retry_interval = 61\n")]);
    daemon.write_config(&configuration("include \"part.conf\"\nmax_retry_interval = 700\n", ""));
    let main = fs::canonicalize(daemon.value("config")).expect("there");
    let (part, staged) = (main.with_file_name("part.conf"), main.with_file_name(".part.conf.new-1"));
    fs::write(&staged, "retry_interval = 77\n").expect("written");
    let was = text_hash("retry_interval = 61\n").to_string();
    let entry = |file: &Path, new: &Path, was: &str| serde_json::json!({ "file": file, "new": new, "was": was });
    let journal = main.with_file_name(format!(".{}.writeback", main.file_name().expect("a name").to_string_lossy()));
    let entries = [entry(&main, &main.with_file_name(".main.new-1"), "0"), entry(&part, &staged, &was)];
    fs::write(&journal, serde_json::json!({ "files": entries }).to_string()).expect("written");
    daemon.start();
    assert_eq!(value(&daemon, "retry_interval"), 77);
    assert_eq!(fs::read_to_string(&part).expect("there"), "retry_interval = 77\n");
    assert!(!journal.exists() && !staged.exists());
    assert!(daemon.stderr().contains("a writeback of several files was cut short; it has been finished"));
}

#[test]
fn a_url_brings_its_module_and_persist_goes_on_with_the_last_copy() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/part.conf", server.local_addr().expect("an address"));
    let answering = std::thread::spawn(move || {
        let (mut peer, _) = server.accept().expect("a client");
        let mut asked = [0; 4096];
        let _ = peer.read(&mut asked);
        let text = "retry_interval = 61\n";
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
        peer.write_all(format!("{head}{text}").as_bytes()).expect("a client that reads");
    });
    let daemon = started(&format!("include \"{url}\"\n"), &[]);
    answering.join().expect("answered");
    assert_eq!(value(&daemon, "retry_interval"), 61, "no module stanza names http_io");
    let told = refused(&daemon, &["config", "unset", "retry_interval"]);
    assert!(told.contains("closed to changes from the console"), "{told}");
    let told = refused(&daemon, &["config", "reload"]);
    assert!(told.contains(&format!("cannot include {url}")) && told.contains("persist://"), "{told}");
    assert_eq!(value(&daemon, "retry_interval"), 61, "what runs goes on");
}

#[test]
fn one_file_serves_two_roles() {
    let more = "if_env \"LIVE_ROLE=edge\" { retry_interval = 61 }\nif_env \"!LIVE_ROLE\" { retry_interval = 62 }\n";
    let mut daemon = daemon(more).environment("LIVE_ROLE", "edge").start();
    assert_eq!(value(&daemon, "retry_interval"), 61);
    daemon.unset_environment("LIVE_ROLE");
    daemon.restart();
    assert_eq!(value(&daemon, "retry_interval"), 62);
}

#[test]
fn a_secret_that_others_may_read_stops_the_start_and_a_reload_with_the_chmod_to_run() {
    let mut daemon = prepared("hostname = ${file:name}\n", &[("name", "secret.test\n")]);
    let mode = |daemon: &Daemon, mode| {
        fs::set_permissions(beside(daemon, "name"), Permissions::from_mode(mode)).expect("chmod");
    };
    mode(&daemon, 0o644);
    let ended = daemon.start_or_end().expect_err("not with that mode");
    assert_eq!(ended.code(), Some(78));
    assert!(daemon.stderr().contains("run: chmod o-rwx "), "{}", daemon.stderr());
    mode(&daemon, 0o600);
    daemon.start();
    assert_eq!(value(&daemon, "hostname"), "<redacted>");
    mode(&daemon, 0o604);
    let told = refused(&daemon, &["config", "reload"]);
    assert!(told.contains("run: chmod o-rwx "), "{told}");
}

#[test]
fn root_does_not_read_a_configuration_that_others_can_replace() {
    let mut daemon = prepared("include \"open/part.conf\"\n", &[("open/part.conf", "retry_interval = 61\n")]);
    fs::set_permissions(beside(&daemon, "open"), Permissions::from_mode(0o777)).expect("chmod");
    // Anybody else is warned, and may go on.
    if is_root() {
        let ended = daemon.start_or_end().expect_err("not as root");
        assert_eq!(ended.code(), Some(78));
        let stderr = daemon.stderr();
        assert!(stderr.contains("everyone on this machine may put another file in the place of"), "{stderr}");
        assert!(stderr.contains("run: chmod o-w "), "{stderr}");
    }
    fs::set_permissions(beside(&daemon, "open"), Permissions::from_mode(0o755)).expect("chmod");
    daemon.start();
    assert_eq!(value(&daemon, "retry_interval"), 61);
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("there");
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

#[test]
fn a_reload_from_another_session_beats_an_open_transaction() {
    let daemon = started("retry_interval = 61\n", &[]);
    let mut session = ConsoleSession::open(&daemon);
    session.ask("config begin");
    session.ask("config set retry_interval 77");
    ask(&daemon, &["config", "reload"]);
    let told = session.refused("config commit");
    assert!(told.contains("was changed by") && told.contains("roll it back"), "{told}");
    assert_eq!(session.ask("config rollback")["dropped"], 1);
    assert_eq!(session.ask("config set retry_interval 78")["value"], 78);
    assert_eq!(value(&daemon, "retry_interval"), 78);
}

#[test]
fn from_scratch_shows_what_is_built_in_and_is_not_committed_without_a_listener() {
    let daemon = started("", &[]);
    let mut session = ConsoleSession::open(&daemon);
    session.ask("config begin from scratch");
    let shown = session.ask("config show");
    assert_eq!(shown["scopes"].as_array().map(Vec::len), Some(0), "nothing is set: {shown}");
    let built_in = shown["built_in"].to_string();
    for line in ["ThreadPool \\\"CPU\\\" { Concurrency = 4 }", "Debug_Flags { ", "TimestampFormat"] {
        assert!(built_in.to_lowercase().contains(&line.to_lowercase()), "{line}: {built_in}");
    }
    let told = session.refused("config commit");
    assert!(told.contains("while it has no listener") && told.contains("config set control_listener listen"), "{told}");
    let listener = format!("config set esmtp_listener listen {} idle_time 60", daemon.addr());
    session.ask(&listener);
    let diff = session.ask("config diff");
    assert!(diff["warnings"].to_string().contains("no Control_Listener is left"), "told before the commit: {diff}");
    session.ask(&format!("config set control_listener listen {} file_mode 0660", daemon.value("control")));
    assert!(!session.ask("config diff")["warnings"].to_string().contains("no Control_Listener"));
    assert_eq!(session.ask("config commit")["generation"], 2);
    let shown = ask(&daemon, &["config", "show"]);
    assert!(shown.contains("# Built in, because nothing above says otherwise:\n#   ThreadPool"), "{shown}");
    assert!(shown.to_lowercase().contains("esmtp_listener { ... }"), "{shown}");
}

#[test]
fn a_long_transaction_is_committed_as_a_whole() {
    let daemon = started("", &[]);
    let mut session = ConsoleSession::open(&daemon);
    session.ask("config begin");
    for n in 0..500 {
        session.ask(&format!("config set domain d{n}.test retry_interval {}", n + 60));
    }
    assert_eq!(session.ask("config commit")["changes"], 500);
    assert_eq!(ask_json(&daemon, &["config", "eval", "domain", "d499.test", "retry_interval"])["value"], 559);
    ask(&daemon, &["config", "writeback"]);
    let text = fs::read_to_string(daemon.value("config")).expect("there");
    assert_eq!(text.matches("domain \"d").count(), 500);
}
