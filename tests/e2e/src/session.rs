//! A console session that stays open: several commands over one control connection, in step with the test.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use testkit::Daemon;

use crate::binary;

/// One `ec_console` with the test at its standard input. Ends when dropped.
pub struct ConsoleSession {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl ConsoleSession {
    /// Connects to the daemon.
    pub fn open(daemon: &Daemon) -> Self {
        let mut command = Command::new(binary("ec_console"));
        command.arg(daemon.value("control")).current_dir(daemon.dir());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("ec_console runs");
        let (commands, answers) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        Self { child, commands, answers: BufReader::new(answers) }
    }

    /// Runs one command and returns its answer as JSON, which is one line also when it failed.
    pub fn ask(&mut self, command: &str) -> serde_json::Value {
        writeln!(self.commands, "{command} --json").expect("ec_console reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("ec_console answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{command}: {error}: {line:?}"))
    }

    /// As [`ConsoleSession::ask`] for a command that must fail; its error text.
    pub fn refused(&mut self, command: &str) -> String {
        let answer = self.ask(command);
        answer["error"].as_str().unwrap_or_else(|| panic!("{command} was done: {answer}")).to_owned()
    }
}

impl Drop for ConsoleSession {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
