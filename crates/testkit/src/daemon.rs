//! A real child daemon for end-to-end tests: its own scratch directory, its own ports, and an end in every case.
//!
//! The configuration is a template in which `@name@` is replaced: `@dir@` (the scratch directory), `@listen@` (a free
//! `127.0.0.1:port`), `@control@` (a socket path in the directory), `@config@` (the configuration's own path) and whatever
//! the test sets. Blocking; every wait has a limit. Invariant: no child outlives its `Daemon`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::ports::free_addr;
use crate::wait::wait_until;

/// How to run a daemon. Start with [`DaemonSetup::new`].
#[derive(Clone, Debug)]
pub struct DaemonSetup {
    binary: PathBuf,
    console: Option<PathBuf>,
    template: String,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    values: BTreeMap<String, String>,
    ready_limit: Duration,
}

impl DaemonSetup {
    /// A daemon run as `binary -d -c @config@` with this configuration template.
    pub fn new(binary: impl Into<PathBuf>, template: &str) -> Self {
        Self {
            binary: binary.into(),
            console: None,
            template: template.to_owned(),
            arguments: ["-d", "-c", "@config@"].map(str::to_owned).into(),
            environment: BTreeMap::new(),
            values: BTreeMap::new(),
            ready_limit: Duration::from_secs(30),
        }
    }

    /// The console program, for [`Daemon::console`].
    pub fn console(mut self, binary: impl Into<PathBuf>) -> Self {
        self.console = Some(binary.into());
        self
    }

    /// Replaces the arguments.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self
    }

    /// Sets `@name@` in the template, the arguments and the environment.
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.values.insert(name.to_owned(), value.to_string());
        self
    }

    /// Sets an environment variable of the child.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Changes the longest wait for the first greeting from 30 seconds.
    pub fn ready_limit(mut self, limit: Duration) -> Self {
        self.ready_limit = limit;
        self
    }

    /// Starts it in a fresh directory and waits for its greeting on `@listen@`. Panics with its stderr if none comes.
    pub fn start(&self) -> Daemon {
        let mut daemon = self.prepare();
        daemon.start();
        daemon
    }

    /// Makes the directory and writes the configuration without starting anything.
    pub fn prepare(&self) -> Daemon {
        let dir = tempfile::Builder::new().prefix("postrider-").tempdir().expect("a scratch directory");
        let mut setup = self.clone();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let own = [
            ("dir", dir.path().display().to_string()),
            ("listen", free_addr().to_string()),
            ("control", path("control.sock")),
            ("config", path("daemon.conf")),
        ];
        for (name, value) in own {
            setup.values.entry(name.to_owned()).or_insert(value);
        }
        let daemon = Daemon { setup, dir, child: None, starts: 0 };
        daemon.write_config(&self.template);
        daemon
    }

    fn fill(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
    }
}

/// A child daemon with its directory. Killed when dropped.
pub struct Daemon {
    setup: DaemonSetup,
    dir: TempDir,
    child: Option<Child>,
    starts: u32,
}

/// How a program ended and what it said.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Daemon {
    /// The scratch directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The value of a template name.
    pub fn value(&self, name: &str) -> &str {
        self.setup.values.get(name).unwrap_or_else(|| panic!("nothing sets @{name}@"))
    }

    /// Where it listens for SMTP.
    pub fn addr(&self) -> SocketAddr {
        self.value("listen").parse().expect("@listen@ is an address")
    }

    /// Replaces the configuration file, filling in the template names; the daemon is not told.
    pub fn write_config(&self, template: &str) {
        std::fs::write(self.value("config"), self.setup.fill(template)).expect("the scratch directory takes files");
    }

    /// Sets an environment variable for later starts.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.setup.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Removes an environment variable for later starts.
    pub fn unset_environment(&mut self, name: &str) {
        self.setup.environment.remove(name);
    }

    /// Starts the child on the directory as it is, and waits for its greeting.
    pub fn start(&mut self) {
        if let Err(status) = self.start_or_end() {
            panic!("the daemon ended ({status}) before it listened; its stderr:\n{}", self.stderr());
        }
    }

    /// Starts the child and waits until it greets or ends by itself.
    pub fn start_or_end(&mut self) -> Result<(), ExitStatus> {
        self.spawn();
        let addr = self.addr();
        let limit = self.setup.ready_limit;
        let mut gone = None;
        let ready = wait_until(limit, || {
            gone = self.exited();
            gone.is_some() || greets(addr)
        });
        if let Some(status) = gone {
            self.child = None;
            return Err(status);
        }
        assert!(ready, "no greeting on {addr} within {limit:?}; stderr:\n{}", self.stderr());
        Ok(())
    }

    /// Starts the child without waiting for anything: for starts that are expected to fail.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the daemon already runs");
        self.starts += 1;
        let output = |name: &str| File::create(self.output_path(name)).expect("the scratch directory takes files");
        let fill = |text: &String| self.setup.fill(text);
        let child = Command::new(&self.setup.binary)
            .args(self.setup.arguments.iter().map(fill))
            .envs(self.setup.environment.iter().map(|(name, value)| (name, fill(value))))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("cannot run {}: {error}", self.setup.binary.display())));
    }

    /// Kills it as a power cut would: no warning, no clean-up.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to stop with SIGTERM and waits. Panics after `limit`.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(limit).unwrap_or_else(|| panic!("still running {limit:?} after SIGTERM; stderr:\n{}", self.stderr()))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the daemon runs");
    }

    /// Waits for the child's own end; `None` if it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut ended = None;
        wait_until(limit, || {
            ended = self.exited();
            ended.is_some()
        });
        if ended.is_some() {
            self.child = None;
        }
        ended
    }

    /// Kills it and starts it again on the same directory.
    pub fn restart(&mut self) {
        self.kill();
        self.start();
    }

    /// Whether the child runs.
    pub fn is_running(&mut self) -> bool {
        self.child.is_some() && self.exited().is_none()
    }

    /// A file of the scratch directory; empty if it is not there.
    pub fn read(&self, name: &str) -> String {
        let text = std::fs::read(self.dir.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// What the latest child wrote to stderr.
    pub fn stderr(&self) -> String {
        self.read(&self.output_path("stderr").display().to_string())
    }

    /// What the latest child wrote to stdout.
    pub fn stdout(&self) -> String {
        self.read(&self.output_path("stdout").display().to_string())
    }

    /// Runs the console program on this daemon's control socket.
    pub fn console(&self, arguments: &[&str]) -> Ended {
        let console = self.setup.console.as_ref().expect("DaemonSetup::console was called");
        run(Command::new(console).arg(self.value("control")).args(arguments).current_dir(self.dir.path()))
    }

    /// CPU time used so far, user and system together, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // Fields 14 and 15, counted after the command name, which may hold anything.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split_ascii_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// Resident memory now and at its peak, in bytes.
    pub fn memory_bytes(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
            kib.unwrap_or_default() * 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("the daemon runs"))
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().expect("a child of ours can be waited for")
    }

    fn output_path(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.{}", self.starts))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether an SMTP server greets there.
fn greets(addr: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&addr, Duration::from_secs(1)) else { return false };
    let mut start = [0; 3];
    let limited = stream.set_read_timeout(Some(Duration::from_secs(5)));
    limited.is_ok() && stream.read_exact(&mut start).is_ok() && start == *b"220"
}

/// The program of that name that cargo built beside the running test or benchmark (or in `POSTRIDER_BIN_DIR`). Panics with
/// the command that builds it.
pub fn built_binary(name: &str) -> PathBuf {
    let folder = match std::env::var_os("POSTRIDER_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let own = std::env::current_exe().expect("a running program has a path");
            let folder = own.parent().expect("a program lies in a folder");
            if folder.ends_with("deps") { folder.join("..") } else { folder.to_owned() }
        }
    };
    let path = folder.join(name);
    assert!(path.is_file(), "{} is not built; run: cargo build -p {name}", path.display());
    path
}

/// Runs a program to its end, at most a minute, without input.
pub fn run(command: &mut Command) -> Ended {
    let output = || tempfile::tempfile().expect("a scratch file");
    let (mut stdout, mut stderr) = (output(), output());
    let shared = |file: &File| file.try_clone().expect("a file descriptor more");
    let child = command.stdin(Stdio::null()).stdout(shared(&stdout)).stderr(shared(&stderr)).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let mut status = None;
    wait_until(Duration::from_secs(60), || {
        status = child.try_wait().expect("a child of ours can be waited for");
        status.is_some()
    });
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
        panic!("{command:?} did not end within a minute; it said:\n{}{}", text(&mut stdout), text(&mut stderr));
    }
    let status = status.expect("checked above");
    Ended { status, stdout: text(&mut stdout), stderr: text(&mut stderr) }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let read = io::Seek::rewind(file).and_then(|()| file.read_to_end(&mut bytes));
    read.expect("our own scratch file can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}
