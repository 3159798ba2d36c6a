//! The console client: sends commands to a control listener and shows the answers.
//!
//! Knows the wire protocol (`console::wire`) and nothing of the daemon. With command words, or with lines on a standard
//! input that is no terminal, it runs them and exits: 0 when every command completed, 1 when one failed, 2 when the
//! listener could not be reached or the command line makes no sense. Otherwise it is interactive.

mod arguments;
mod batch;
mod changing;
mod client;
mod endpoint;
mod interactive;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use arguments::{Action, HELP, Run};
use client::{Client, Unreachable};

/// Every command completed.
const COMPLETED: u8 = 0;
/// A command failed.
const FAILED: u8 = 1;
/// No command could be sent, or the connection was lost.
const UNREACHABLE: u8 = 2;

fn main() -> ExitCode {
    let code = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Action::Help) => say(HELP),
        Ok(Action::Version) => say(concat!("ec_console (Postrider) ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Action::Run(run)) => carry_out(run).unwrap_or_else(|Unreachable(why)| complain(&why)),
        Err(why) => complain(&format!("{why}\nTry: ec_console -h")),
    };
    ExitCode::from(code)
}

fn carry_out(run: Run) -> Result<u8, Unreachable> {
    if let Some(note) = &run.note {
        let _ = writeln!(std::io::stderr(), "ec_console: {note}");
    }
    let mut client = Client::connect(run.endpoint)?;
    if !run.is_named {
        client.say_where();
    }
    if let Some(command) = run.command {
        return batch::one(&mut client, &command, run.json);
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return interactive::run(client, run.json);
    }
    batch::lines(&mut client, &mut stdin.lock(), run.json)
}

/// A reader that has gone away is no failure: there is nobody left to tell.
fn say(text: &str) -> u8 {
    let _ = std::io::stdout().write_all(text.as_bytes());
    COMPLETED
}

fn complain(why: &str) -> u8 {
    let _ = writeln!(std::io::stderr(), "ec_console: {why}");
    UNREACHABLE
}
