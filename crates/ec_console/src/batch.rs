//! Commands without a person: run, print, and say by the exit code how it went.

use std::io::{self, BufRead, Write};

use console::wire::{Answer, Status};

use crate::client::{Client, Unreachable};
use crate::{COMPLETED, FAILED};

/// Runs one command.
pub fn one(client: &mut Client, command: &str, json: bool) -> Result<u8, Unreachable> {
    if is_quit(command.trim()) {
        return Ok(COMPLETED);
    }
    let answer = client.carry_out(command, json)?;
    match print(&answer, command, &mut io::stdout(), &mut io::stderr()) {
        Ok(()) => Ok(code_of(&answer)),
        Err(error) => Ok(unwritable(&error)),
    }
}

/// Runs each line, those after a failed one too; `quit` ends.
pub fn lines(client: &mut Client, input: &mut impl BufRead, json: bool) -> Result<u8, Unreachable> {
    let mut worst = COMPLETED;
    for line in input.lines() {
        let line = line.map_err(|error| Unreachable(format!("cannot read standard input: {error}")))?;
        let command = line.trim();
        if command.is_empty() || command.starts_with('#') {
            continue;
        }
        if is_quit(command) {
            break;
        }
        let answer = client.carry_out(command, json)?;
        if let Err(error) = print(&answer, command, &mut io::stdout(), &mut io::stderr()) {
            return Ok(unwritable(&error));
        }
        worst = worst.max(code_of(&answer));
    }
    Ok(worst)
}

pub fn is_quit(command: &str) -> bool {
    matches!(command, "quit" | "exit")
}

fn code_of(answer: &Answer) -> u8 {
    if answer.status == Status::Completed { COMPLETED } else { FAILED }
}

/// A failure as text is for a person and goes to `err`, under the command it belongs to; everything else goes to `out`.
fn print(answer: &Answer, command: &str, out: &mut impl Write, err: &mut impl Write) -> io::Result<()> {
    if answer.status != Status::Completed && !answer.json {
        return err.write_all(lined(&format!("ec_console: {command}: {}", answer.body)).as_bytes());
    }
    out.write_all(lined(&answer.body).as_bytes())?;
    out.flush()
}

/// The text with a newline at its end, if there is any text.
pub fn lined(text: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}")
}

/// A reader that has gone (`| head`) is no failure; a full disk is.
fn unwritable(error: &io::Error) -> u8 {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return COMPLETED;
    }
    let _ = writeln!(io::stderr(), "ec_console: cannot write the answer: {error}");
    FAILED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(status: Status, json: bool, body: &str) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        print(&Answer { status, json, body: body.into() }, "pid", &mut out, &mut err).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn answers_go_to_standard_output_and_failures_to_standard_error_unless_json() {
        assert_eq!(printed(Status::Completed, false, "4817"), ("4817\n".into(), String::new()));
        assert_eq!(printed(Status::Completed, false, ""), (String::new(), String::new()));
        assert_eq!(printed(Status::Failed, false, "no"), (String::new(), "ec_console: pid: no\n".into()));
        assert_eq!(printed(Status::Failed, true, "{}"), ("{}\n".into(), String::new()));
    }
}
