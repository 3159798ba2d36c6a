//! The program's own command line: options, then an endpoint, then the words of one command.

use std::ffi::OsString;

use crate::endpoint::{Endpoint, Socket};

/// What `-h` prints.
pub const HELP: &str = "\
usage: ec_console [-h] [-V] [--json] [ENDPOINT] [COMMAND ...]

Sends commands to the control listener of a running postriderd and shows the answers.

ENDPOINT is one of
  PATH            a Unix socket; a path holds a '/': ./run/control, /tmp/2025
  HOST:PORT       a TCP listener: 127.0.0.1:2025
  [V6ADDR]:PORT   the same by IPv6 address: [::1]:2025
A first word that holds none of '/', ':' and '@' is the command's. Without an
endpoint it is the first that somebody listens on of ./run/control,
/run/postrider/control and /tmp/2025; if several are there, it is said which. Before every
command that changes something, standard error says which daemon it goes to.

COMMAND is one console command. Without one, commands are read from standard input,
one a line (empty lines and lines that begin with # are skipped), or, when that is a
terminal, asked for with history, completion (Tab) and the commands 'help', 'quit' and
'\\pager'. A single COMMAND word is sent as it is; of several, those that hold blanks
are quoted: ec_console ./run/control fail domain a.example '554 closed'

  --json   asks for every answer as JSON (on a command's own line it does so for that one)
  -h       shows this text
  -V       shows the version

Answers go to standard output; why a command failed goes to standard error, except as
JSON. Exit codes: 0 all commands completed, 1 one failed, 2 the listener cannot be
reached or the connection was lost.

  ec_console summary
  ec_console ./run/control summary
  echo 'mailq --limit 5' | ec_console
";

/// What the program was started for.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// `-h`.
    Help,
    /// `-V`.
    Version,
    /// Talk to a listener.
    Run(Run),
}

/// Whom to talk to, and how.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    /// The listener.
    pub endpoint: Endpoint,
    /// Whether it was given, and not found.
    pub is_named: bool,
    /// Which of several daemons that is, if nobody said.
    pub note: Option<String>,
    /// The command line, if one was given.
    pub command: Option<String>,
    /// Whether `--json` stood before the endpoint.
    pub json: bool,
}

/// Reads the arguments without the program's name. The error is a sentence.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Action, String> {
    let mut words = Vec::new();
    for argument in arguments {
        words.push(argument.into_string().map_err(|bad| format!("'{}' is not UTF-8", bad.to_string_lossy()))?);
    }
    let mut json = false;
    let mut words = words.into_iter().peekable();
    while let Some(option) = words.next_if(|word| word.starts_with('-')) {
        match option.as_str() {
            "-h" | "--help" => return Ok(Action::Help),
            "-V" | "--version" => return Ok(Action::Version),
            "--json" => json = true,
            "--" => break,
            "--man" => return Err("there is no --man; -h has the whole text".to_owned()),
            other => return Err(format!("unknown option '{other}'")),
        }
    }
    // No endpoint is without these, and no command's first word has one.
    let named = words.next_if(|word| word.contains(['/', ':', '@']));
    let is_named = named.is_some();
    let (endpoint, note) = match named {
        Some(endpoint) => (endpoint.parse()?, None),
        None => {
            let endpoint = Endpoint::default_of(Socket::at);
            let note = endpoint.default_note(Socket::at);
            (endpoint, note)
        }
    };
    Ok(Action::Run(Run { endpoint, is_named, note, command: command_line(words), json }))
}

/// One line of the words. A single word may be a whole command line and stays as it is.
fn command_line(mut words: impl Iterator<Item = String>) -> Option<String> {
    let mut line = words.next()?;
    for word in words {
        line.push(' ');
        if word.is_empty() || word.contains(char::is_whitespace) || word.starts_with(['"', '\'']) {
            line.push_str(&format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")));
        } else {
            line.push_str(&word);
        }
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Action, String> {
        parse(words.iter().map(OsString::from))
    }

    fn run(words: &[&str]) -> Run {
        match parsed(words) {
            Ok(Action::Run(run)) => run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_come_before_the_endpoint_and_the_rest_is_the_command() {
        let with_all = run(&["--json", "/tmp/2025", "mailq", "-d", "a.example", "--json"]);
        assert!(with_all.json);
        assert_eq!(with_all.endpoint, Endpoint::Unix("/tmp/2025".into()));
        assert_eq!(with_all.command.as_deref(), Some("mailq -d a.example --json"));
        assert_eq!(run(&["/tmp/2025"]).command, None);
        assert_eq!(parsed(&["-h"]), Ok(Action::Help));
        assert_eq!(parsed(&["--json", "-V"]), Ok(Action::Version));
        assert_eq!(parsed(&["-e"]), Err("unknown option '-e'".into()));
    }

    #[test]
    fn a_command_may_stand_without_an_endpoint() {
        let default = Endpoint::default_of(Socket::at);
        for (words, command) in [
            (&["summary"][..], "summary"),
            (&["--json", "mailq", "-d", "a.example"], "mailq -d a.example"),
            (&["flush domain all"], "flush domain all"),
            (&["config", "get", "a/b"], "config get a/b"),
        ] {
            let run = run(words);
            assert_eq!((run.endpoint, run.command.as_deref()), (default.clone(), Some(command)), "{words:?}");
        }
        assert!(parsed(&["me@host:2025", "summary"]).is_err_and(|why| why.contains("names a user")));
    }

    #[test]
    fn words_with_blanks_are_quoted_unless_one_word_is_the_whole_command() {
        let command = |words: &[&str]| run(&[&["/s"], words].concat()).command.unwrap();
        assert_eq!(command(&["flush domain all"]), "flush domain all");
        assert_eq!(command(&["fail", "domain", "a", "554 no \"x\" \\"]), r#"fail domain a "554 no \"x\" \\""#);
        assert_eq!(command(&["x", "", "'y"]), r#"x "" "'y""#);
    }
}
