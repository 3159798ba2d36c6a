//! The client as scripts use it: a real child process against a real control listener on a temporary socket.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command as Child, Output, Stdio};

use console::shapes::{self, FlushReply, Scope, Shape};
use console::{Caller, Command, CommandError, Commands, Console, Limits, Peer, Reply, UserNames};
use scheduler::{Clock, Meters};

/// A control listener on its own thread; it ends with the test process.
struct Server {
    folder: tempfile::TempDir,
    meters: Meters,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("control")).unwrap();
        let meters = Meters::new();
        let counted = meters.clone();
        std::thread::spawn(move || serve(listener, &counted));
        Self { folder, meters }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    fn client(&self, arguments: &[&str]) -> Child {
        let mut child = Child::new(env!("CARGO_BIN_EXE_ec_console"));
        child.current_dir(self.folder.path()).arg(self.socket()).args(arguments);
        child
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.client(arguments).stdin(Stdio::null()).output().unwrap()
    }
}

fn serve(listener: UnixListener, meters: &Meters) {
    let commands = Commands::new();
    let flush = Command::new("flush domain NAME|all", "Tries delayed messages now.", |invocation| async move {
        let domain = invocation.only_arg()?.to_owned();
        let scope = Scope { domain: (domain != "all").then_some(domain), is_known: true, ..Scope::default() };
        Ok(FlushReply { scope, requeued: 58, ..FlushReply::default() }.reply())
    });
    let say = Command::new("say [WORD...]", "Repeats its arguments.", |invocation| async move {
        Ok(Reply::message(invocation.args.join("|")))
    });
    let whoami = Command::new("whoami", "Who asks.", |invocation| async move {
        let user = invocation.peer.user().map(str::to_owned);
        user.map(Reply::message).ok_or(CommandError::NotAuthorized)
    });
    let long = Command::new("long", "A long answer.", |_| async { Ok(Reply::message("line\n".repeat(200_000))) });
    let pid = Command::new("pid", "Process id.", |_| async { Ok(shapes::pid(4817)) });
    for command in [flush, say, whoami, long, pid] {
        commands.register(command).unwrap();
    }
    let console = Console::new("Postrider", "9.9.9", commands, Clock::system(), meters);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let names = UserNames::parse(&format!("tester:x:{uid}:"));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let peer = Peer::of_unix_socket(&stream, &names).unwrap();
            tokio::task::spawn_local(std::rc::Rc::clone(&console).serve(
                stream,
                Caller { peer, listen: "test".into() },
                Limits::default(),
                std::future::pending(),
            ));
        }
    });
}

#[track_caller]
fn assert_output(output: &Output, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout);
    assert_eq!(String::from_utf8_lossy(&output.stderr), stderr);
    assert_eq!(output.status.code(), Some(code));
}

fn with_input(child: &mut Child, input: &str) -> Output {
    let child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_command_from_arguments_prints_its_answer_and_nothing_else() {
    let server = Server::start();
    assert_output(&server.run(&["flush", "domain", "all"]), 0, "All domains flushed.  58 messages requeued.\n", "");
    assert_output(&server.run(&["flush domain a.example"]), 0, "a.example flushed.  58 messages requeued.\n", "");
    assert_output(&server.run(&["say", "554 gone  away", "x"]), 0, "554 gone  away|x\n", "");
    assert_output(&server.run(&["whoami"]), 0, "tester\n", "");
    assert_eq!(server.meters.get("console.connections"), 4);
    assert_eq!(server.meters.get("console.commands.completed"), 4);
}

#[test]
fn json_may_be_asked_for_before_the_endpoint_or_on_the_line() {
    let server = Server::start();
    assert_output(&server.run(&["pid", "--json"]), 0, "{\"pid\":4817}\n", "");
    let before = Child::new(env!("CARGO_BIN_EXE_ec_console")).arg("--json").arg(server.socket()).arg("pid").output();
    assert_output(&before.unwrap(), 0, "{\"pid\":4817}\n", "");
}

#[test]
fn a_failed_command_is_told_on_standard_error_and_by_code_1() {
    let server = Server::start();
    let text = "ec_console: pidd: unknown command 'pidd'; nearest:\n  pid\n";
    assert_output(&server.run(&["pidd"]), 1, "", text);
    let json = "{\"error\":\"an argument is missing\\nusage: flush domain NAME|all\",\"status\":\"FAILED\"}\n";
    assert_output(&server.run(&["flush", "domain", "--json"]), 1, json, "");
    assert_eq!(server.meters.get("console.commands.failed"), 2);
}

#[test]
fn lines_of_standard_input_run_in_order_over_one_connection_and_a_failure_does_not_stop_them() {
    let server = Server::start();
    let input = "say one\n\n# a comment\n  nonsense-command\nsay 'two  2'\nquit\nsay three\n";
    let output = with_input(&mut server.client(&[]), input);
    let told = "ec_console: nonsense-command: unknown command 'nonsense-command'; try: help\n";
    assert_output(&output, 1, "one\ntwo  2\n", told);
    assert_output(&with_input(&mut server.client(&[]), "say last"), 0, "last\n", "");
    assert_eq!(server.meters.get("console.connections"), 2);
}

#[test]
fn the_socket_of_a_checkout_is_the_default() {
    let server = Server::start();
    std::fs::create_dir(server.folder.path().join("run")).unwrap();
    std::fs::rename(server.socket(), server.folder.path().join("run/control")).unwrap();
    let mut child = Child::new(env!("CARGO_BIN_EXE_ec_console"));
    assert_output(&with_input(child.current_dir(server.folder.path()), "pid\n"), 0, "4817\n", "");
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let server = Server::start();
    let mut child = server.client(&["long"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_output(&output, 0, "", "");
}

#[test]
fn without_a_daemon_the_error_says_what_to_look_at_and_the_code_is_2() {
    let server = Server::start();
    let missing = server.folder.path().join("nothing");
    let run = |endpoint: &str| Child::new(env!("CARGO_BIN_EXE_ec_console")).args([endpoint, "pid"]).output().unwrap();
    let output = run(missing.to_str().unwrap());
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("there is no socket") && text.contains("Is postriderd running?"), "{text}");

    drop(UnixListener::bind(&missing).unwrap());
    let output = run(missing.to_str().unwrap());
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("nobody listens on it"), "{text}");

    let output = run("jan@127.0.0.1:2025");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("names a user"));
}

#[test]
fn something_else_behind_the_socket_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other");
    let listener = UnixListener::bind(&path).unwrap();
    let other = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"220 mx.here.test ESMTP\r\n"));
    let output = Child::new(env!("CARGO_BIN_EXE_ec_console")).arg(&path).arg("pid").output().unwrap();
    other.join().unwrap().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("is no control listener of Postrider"), "{text}");
}

#[test]
fn help_and_version_need_no_daemon() {
    let run = |option: &str| Child::new(env!("CARGO_BIN_EXE_ec_console")).arg(option).output().unwrap();
    assert!(String::from_utf8(run("-h").stdout).unwrap().starts_with("usage: ec_console"));
    let version = format!("ec_console (Postrider) {}\n", env!("CARGO_PKG_VERSION"));
    assert_output(&run("-V"), 0, &version, "");
    assert_eq!(run("-x").status.code(), Some(2));
}
