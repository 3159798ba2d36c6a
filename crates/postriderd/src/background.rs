//! Going into the background: the parent starts the real daemon as a new session and stays until it listens or fails.
//!
//! Readiness is one byte on the child's standard output, an inherited pipe; everything the child has to say before
//! that goes to the parent's standard error, so a failed start looks the same in the background and in front.

use std::io::{self, Read as _, Write as _};
use std::process::{Command, ExitCode, Stdio};

use crate::arguments::Arguments;

/// Starts the background process and waits for its word. The exit code of the parent.
pub fn launch(arguments: &Arguments) -> ExitCode {
    let started = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.arg("--background-child").arg("-c").arg(&arguments.configuration);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
    });
    let mut child = match started {
        Ok(child) => child,
        Err(problem) => {
            eprintln!("postriderd: cannot start the background process: {problem}");
            return ExitCode::from(71);
        }
    };
    let mut ready = [0];
    let spoken = child.stdout.take().map(|mut pipe| pipe.read(&mut ready)).transpose();
    if matches!(spoken, Ok(Some(1))) {
        return ExitCode::SUCCESS;
    }
    // The pipe closed without a word: the child has said why on standard error.
    match child.wait().ok().and_then(|status| status.code()) {
        Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(70)),
        None => ExitCode::from(70),
    }
}

/// In the background process, before anything else: leave the caller's terminal.
pub fn detach() -> io::Result<()> {
    rustix::process::setsid().map(drop).map_err(io::Error::from)
}

/// In the background process, once it listens: lets the parent go, and points the standard streams away from its
/// terminal.
pub fn report_ready() -> io::Result<()> {
    io::stdout().write_all(b"!")?;
    io::stdout().flush()?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
