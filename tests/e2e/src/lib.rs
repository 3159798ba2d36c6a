//! What the end-to-end scenarios share: a configuration to start from, ways to send, and ways to look.
//!
//! Each file of `tests/` is one behaviour of the real daemon process. Nothing here has a fixed port or waits without a
//! limit; every daemon has a scratch directory of its own and ends with its test.

mod postfix;
mod programs;
mod session;

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use testkit::{Daemon, DaemonSetup, Dialogue, Ended, Sink, ZoneServer, wait_until};

pub use postfix::Postfix;
pub use programs::{binary, feed, program, succeed};
pub use session::ConsoleSession;

/// The longest wait for anything that should happen at once. Generous, because the whole suite runs in parallel.
pub const SOON: Duration = Duration::from_secs(30);

/// The configuration all scenarios start from, with more lines at its end and more in its SMTP `Listen` stanza. The hosts of
/// the Internet are addresses of the loopback network there, so those are not prohibited.
pub fn configuration(more: &str, in_listen: &str) -> String {
    format!(
        r#"hostname = "relay.test"
spoolbase = "@dir@/spool"
pidfile = "@dir@/pid"
resolv_conf = "@resolv_conf@"
prohibited_hosts = ( )

ESMTP_Listener {{
  Listen "@listen@" {{ {in_listen} }}
}}

Control_Listener {{
  Listen "@control@" {{ }}
}}

ec_logger "ec_logger" {{
  mainlog = "@dir@/log/mainlog.ec"
  rejectlog = "@dir@/log/rejectlog.ec"
  paniclog = "@dir@/log/paniclog.ec"
  acctlog = "@dir@/log/acctlog.ec"
  heartbeat = 0
}}

bounce_logger "bounce_logger" {{
  bouncelog = "@dir@/log/bouncelog.ec"
  heartbeat = 0
}}
{more}
"#
    )
}

/// A daemon with these lines at the end of its configuration. It asks no DNS server unless `resolv_conf` is set to
/// [`Names::resolv_conf`].
pub fn daemon(more: &str) -> DaemonSetup {
    daemon_listening(more, "")
}

/// As [`daemon`], with lines in the SMTP `Listen` stanza too.
pub fn daemon_listening(more: &str, in_listen: &str) -> DaemonSetup {
    DaemonSetup::new(binary("postriderd"), &configuration(more, in_listen))
        .console(binary("ec_console"))
        .set("resolv_conf", "/dev/null")
}

/// A daemon that sends everything to `sink`.
pub fn relay(sink: &Sink) -> DaemonSetup {
    relay_with(sink, "")
}

/// As [`relay`], with more lines at the end of the configuration.
pub fn relay_with(sink: &Sink, more: &str) -> DaemonSetup {
    daemon(&format!("gateway = \"{}\"\n{more}", sink.addr()))
}

/// Configuration lines: mail for `here.test` ends in `@dir@/maildir/here.test/LOCALPART`.
pub const MAILDIR: &str = "relay_domains = ( \"here.test\" )
domain \"here.test\" {
  delivery_method = \"maildir\"
  maildir_path = \"@dir@/maildir/%{domain}/%{localpart}\"
}
";

/// A daemon with small segments that sends mail for `sink.test` to one sink and mail for `done.test` to another, under the
/// domains' own names: what one daemon has queued another can send elsewhere.
pub fn relay_of_two(sink: &Sink, done: &Sink) -> DaemonSetup {
    let route = |domain, hop: &Sink| {
        format!("domain \"{domain}\" {{ routes = ( \"smtp://127.0.0.1?port={}\" ) }}\n", hop.addr().port())
    };
    daemon(&format!(
        "spool_segment_bytes = 262144\nhost_failure_retry = 1\nmx_failures_to_delay = 0\n{}{}",
        route("sink.test", sink),
        route("done.test", done)
    ))
}

/// A daemon that delivers `here.test` into Maildirs and nothing else anywhere.
pub fn maildir_relay() -> DaemonSetup {
    daemon(MAILDIR)
}

/// A DNS server of the test's own, and the file that leads a daemon to it.
pub struct Names {
    /// The server.
    pub server: ZoneServer,
    dir: TempDir,
}

impl Names {
    /// Serves these zone lines.
    pub fn start(zone: &str) -> Self {
        let names = Self { server: ZoneServer::start(zone), dir: tempfile::tempdir().expect("a scratch directory") };
        names.server.write_resolv_conf(&names.path()).expect("the scratch directory takes files");
        names
    }

    /// The value for `@resolv_conf@`.
    pub fn resolv_conf(&self) -> String {
        self.path().display().to_string()
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("resolv.conf")
    }
}

/// Runs SMTP dialogues, which are asynchronous, in a blocking test.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a tokio runtime").block_on(future)
}

/// A short message with this subject.
pub fn letter(subject: &str) -> String {
    format!(
        "From: <ann@client.test>\nSubject: {subject}\nDate: Mon, 21 Sep 2026 14:13:20 +0000\n\nDear reader,\n.dots stay\n"
    )
}

/// Sends one message to the daemon and returns the reply to its final dot.
pub fn send(daemon: &Daemon, reverse_path: &str, forward_paths: &[&str], text: &str) -> String {
    block_on(async {
        let mut client = Dialogue::greeted(daemon.addr()).await;
        let reply = client.mail(reverse_path, forward_paths, text).await;
        client.ask("QUIT", "221").await;
        reply
    })
}

/// Sends one message that must be accepted.
pub fn accept(daemon: &Daemon, reverse_path: &str, forward_paths: &[&str], text: &str) {
    let reply = send(daemon, reverse_path, forward_paths, text);
    assert!(reply.starts_with("250 "), "not accepted: {reply}");
}

/// Asks the console and expects success; what it printed.
pub fn ask(daemon: &Daemon, words: &[&str]) -> String {
    let Ended { status, stdout, stderr } = daemon.console(words);
    assert!(status.success(), "{words:?} failed ({status}):\n{stdout}{stderr}\nthe daemon said:\n{}", daemon.stderr());
    stdout
}

/// Asks the console for JSON.
pub fn ask_json(daemon: &Daemon, words: &[&str]) -> serde_json::Value {
    let text = ask(daemon, &[words, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?} printed no JSON ({error}):\n{text}"))
}

/// The value of one line `LABEL: VALUE` of a console answer.
pub fn figure(text: &str, label: &str) -> String {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(label)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no line {label:?} in:\n{text}")).trim().to_owned()
}

/// Blocks until `done` holds; panics with `what` and everything the daemon wrote if it does not.
pub fn wait(daemon: &Daemon, what: &str, done: impl FnMut() -> bool) {
    assert!(wait_until(SOON, done), "{what}: not within {SOON:?}\n{}", testimony(daemon));
}

/// Everything the daemon wrote, for the message of a failed test.
pub fn testimony(daemon: &Daemon) -> String {
    let log = |name: &str| format!("--- {name}\n{}", daemon.read(&format!("log/{name}")));
    let logs = ["mainlog.ec", "bouncelog.ec", "rejectlog.ec", "paniclog.ec"].map(log).concat();
    format!("{logs}--- stderr\n{}", daemon.stderr())
}

/// Lines of a log of `@dir@/log`, split at `separator`; only whole lines.
pub fn log_lines(daemon: &Daemon, name: &str) -> Vec<Vec<String>> {
    let text = daemon.read(&format!("log/{name}"));
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| line.split('@').map(str::to_owned).collect()).collect()
}

/// The mainlog's lines of one type, fields split.
pub fn mainlog(daemon: &Daemon, kind: &str) -> Vec<Vec<String>> {
    of_kind(log_lines(daemon, "mainlog.ec"), kind)
}

/// The bouncelog's lines of one type, fields split.
pub fn bouncelog(daemon: &Daemon, kind: &str) -> Vec<Vec<String>> {
    of_kind(log_lines(daemon, "bouncelog.ec"), kind)
}

fn of_kind(lines: Vec<Vec<String>>, kind: &str) -> Vec<Vec<String>> {
    lines.into_iter().filter(|fields| fields.get(4).is_some_and(|field| field == kind)).collect()
}

/// Waits until the mainlog has `n` lines of a type, and returns those.
pub fn wait_for_lines(daemon: &Daemon, kind: &str, n: usize) -> Vec<Vec<String>> {
    wait(daemon, &format!("{n} lines {kind} in the mainlog"), || n <= mainlog(daemon, kind).len());
    mainlog(daemon, kind)
}

/// The messages in a mailbox under `@dir@/maildir`, in no order.
pub fn mailbox(daemon: &Daemon, address: &str) -> Vec<String> {
    let (local_part, domain) = address.split_once('@').expect("an address");
    let folder = daemon.dir().join("maildir").join(domain).join(local_part).join("new");
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let text = |entry: std::io::Result<std::fs::DirEntry>| {
        let bytes = std::fs::read(entry.expect("a readable folder").path()).expect("a readable message");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    entries.map(text).collect()
}

/// Waits until a mailbox has `n` messages, and returns those.
pub fn wait_for_mail(daemon: &Daemon, address: &str, n: usize) -> Vec<String> {
    wait(daemon, &format!("{n} messages for {address}"), || n <= mailbox(daemon, address).len());
    mailbox(daemon, address)
}
