//! A running program: started with our end of its standard input, ended by closing that end.
//!
//! Its output goes to the files of the settings, or nowhere. It has a process group of its own, so that a key pressed at
//! the daemon's terminal does not end it, and ends by itself when the daemon is gone, for then its input is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use nix::unistd::{Uid, User};
use rustix::fs::{Mode, OFlags};

use crate::address::Address;

/// What the options of `pipe_io` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where programs' standard output is appended; nowhere if empty.
    pub output_file: String,
    /// The mode of that file when it is made.
    pub output_mode: u32,
    /// Where their standard error is appended; nowhere if empty.
    pub error_file: String,
    /// The mode of that file when it is made.
    pub error_mode: u32,
    /// How long a program may go on after its input has ended; then it is killed.
    pub timeout: Duration,
    /// How long to wait before a program that ended is started again; doubles up to a minute.
    pub first_delay: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            output_file: String::new(),
            output_mode: 0o666,
            error_file: String::new(),
            error_mode: 0o666,
            timeout: Duration::from_secs(10),
            first_delay: Duration::from_secs(1),
        }
    }
}

/// A program that takes lines.
pub(crate) struct Program {
    child: Child,
    input: ChildStdin,
}

/// A program whose input has ended.
pub(crate) struct Leaving(Child);

impl Program {
    pub(crate) fn start(address: &Address, settings: &Settings) -> io::Result<Self> {
        let mut command = Command::new(&address.path);
        match address.clear_environment {
            true => drop(command.env_clear()),
            false => own_environment(&mut command),
        }
        command.args(&address.arguments).envs(address.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).process_group(0);
        command.stdout(output(&settings.output_file, settings.output_mode)?);
        command.stderr(output(&settings.error_file, settings.error_mode)?);
        let mut child = command.spawn()?;
        let input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        rustix::fs::fcntl_setfl(&input, OFlags::NONBLOCK)?;
        Ok(Self { child, input })
    }

    /// Writes some; `WouldBlock` if the pipe is full, `BrokenPipe` if the program no longer reads.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.input, bytes)?)
    }

    pub(crate) fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    /// Ends its input.
    pub(crate) fn leave(self) -> Leaving {
        drop(self.input);
        Leaving(self.child)
    }
}

impl Leaving {
    /// How it ended, if it has. Without this being asked it would stay in the process table.
    pub(crate) fn ended(&mut self) -> Option<String> {
        match self.0.try_wait() {
            Ok(status) => status.map(|status| status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Waits for its end, and kills it after `timeout`.
    pub(crate) fn wait(mut self, timeout: Duration) {
        let mut left = timeout;
        while self.ended().is_none() {
            if left.is_zero() {
                // Either it is gone already, or this ends it.
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            let step = left.min(STEP);
            std::thread::sleep(step);
            left -= step;
        }
    }
}

/// The daemon's environment, but for what was meant for it alone: its service manager's words, and who started it. A
/// program is told as whom it runs, which is not the user that started a daemon which gave up root's rights.
fn own_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let of_the_start = |text: &str| MEANT_FOR_THE_DAEMON.iter().any(|prefix| text.starts_with(prefix));
        if name.to_str().is_none_or(of_the_start) {
            command.env_remove(name);
        }
    }
    if let Ok(Some(user)) = User::from_uid(Uid::effective()) {
        command.env("HOME", user.dir).env("SHELL", user.shell);
        command.env("USER", &user.name).env("LOGNAME", user.name);
    }
}

/// Variables that say who started the daemon, or speak to it, by the beginning of their names.
const MEANT_FOR_THE_DAEMON: &[&str] = &[
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "MAIL",
    "SUDO_",
    "DOAS_",
    "PKEXEC_",
    "SSH_",
    "XDG_",
    "DBUS_",
    "OLDPWD",
    "TERM",
    "DISPLAY",
    "NOTIFY_SOCKET",
    "LISTEN_",
    "MAINPID",
    "MANAGERPID",
    "WATCHDOG_",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "CREDENTIALS_DIRECTORY",
    "SYSTEMD_",
];

fn output(path: &str, mode: u32) -> io::Result<Stdio> {
    if path.is_empty() {
        return Ok(Stdio::null());
    }
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW;
    let file = io_wrapper::open_regular(Path::new(path), flags, Mode::from_raw_mode(mode))
        .map_err(|error| io::Error::new(error.kind(), format!("opening {path} for its output: {error}")))?;
    Ok(file.into())
}

const STEP: Duration = Duration::from_millis(10);
