//! Commands with a person: banner, prompt with the time, history, completion from the server, pager.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;

use console::wire::Status;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use scheduler::Clock;

use crate::batch::{is_quit, lined};
use crate::client::{Client, Unreachable};
use crate::{COMPLETED, UNREACHABLE};

/// Talks until `quit` or end of input.
pub fn run(client: Client, json: bool) -> Result<u8, Unreachable> {
    print(&banner(&client), false);
    let client = Rc::new(RefCell::new(client));
    let editor = editor(Rc::clone(&client));
    let mut editor = editor.map_err(|error| Unreachable(format!("cannot use this terminal: {error}")))?;
    let history = history_file();
    if let Some(history) = &history {
        // There is none yet on the first start.
        let _ = editor.load_history(history);
    }
    let code = converse(&mut editor, &client, json);
    if let Some(history) = &history {
        // A history that cannot be written is off; that is no reason to fail.
        let _ = editor.save_history(history);
    }
    Ok(code)
}

fn converse(editor: &mut Editor<Words, DefaultHistory>, client: &RefCell<Client>, json: bool) -> u8 {
    let endpoint = client.borrow().endpoint().to_string();
    let mut pager = false;
    loop {
        let line = match editor.readline(&prompt(&endpoint)) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return COMPLETED,
            Err(error) => {
                eprintln!("ec_console: cannot read from the terminal: {error}");
                return UNREACHABLE;
            }
        };
        let command = line.trim();
        if !command.is_empty() {
            let _ = editor.add_history_entry(command); // kept in memory: cannot fail
        }
        match command {
            "" => {}
            "\\pager" => {
                pager = !pager;
                print(if pager { "Pager is on.\n" } else { "Pager is off.\n" }, false);
            }
            quit if is_quit(quit) => return COMPLETED,
            _ => answer(&mut client.borrow_mut(), command, json, pager),
        }
    }
}

/// Asks and shows. A lost connection is told; the next command tries to connect again.
fn answer(client: &mut Client, command: &str, json: bool, pager: bool) {
    match client.carry_out(command, json) {
        Ok(answer) => {
            let mut text = lined(&answer.body);
            if answer.status != Status::Completed && !answer.json {
                text = format!("{}: {text}", answer.status);
            }
            if command == "help" && !answer.json {
                text.push_str(CLIENT_HELP);
            }
            print(&text, pager);
        }
        Err(Unreachable(why)) => eprintln!("ec_console: {why}"),
    }
}

const CLIENT_HELP: &str = "\nOf this client:\n\
    quit                          Leaves; so does the end of input (Ctrl-D).\n\
    \\pager                        Shows long answers through $PAGER, or no longer.\n";

fn banner(client: &Client) -> String {
    let server = client.server();
    let lines = [
        format!("Postrider console {}", env!("CARGO_PKG_VERSION")),
        format!("Connected to {} {} at {}", server.product, server.version, client.endpoint()),
        "'help' lists the commands, 'quit' leaves.".to_owned(),
    ];
    boxed(&lines)
}

fn boxed(lines: &[String]) -> String {
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
    let ruler = "#".repeat(width + 4);
    let body: String = lines.iter().map(|line| format!("# {line:<width$} #\n")).collect();
    format!("{ruler}\n{body}{ruler}\n")
}

fn prompt(endpoint: &str) -> String {
    let now = Timestamp::try_from(Clock::system().wall()).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{} {endpoint}> ", now.to_zoned(TimeZone::system()).strftime("%H:%M:%S"))
}

/// Writes to the terminal, through the pager when it is on and the text is higher than the window.
fn print(text: &str, pager: bool) {
    let rows = rustix::termios::tcgetwinsize(io::stdout()).map_or(24, |size| usize::from(size.ws_row));
    if pager && io::stdout().is_terminal() && rows.max(2) - 1 < text.lines().count() && page(text).is_ok() {
        return;
    }
    let mut out = io::stdout();
    // Nobody is there to be told when the terminal has gone; the next prompt finds out.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn page(text: &str) -> io::Result<()> {
    let pager = std::env::var("PAGER").ok().filter(|pager| !pager.is_empty()).unwrap_or_else(|| "more".to_owned());
    let mut child = Command::new("sh").arg("-c").arg(pager).stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A pager may be left before it has read everything.
        let _ = stdin.write_all(text.as_bytes());
    }
    child.wait().map(drop)
}

/// `$XDG_STATE_HOME/postrider/ec_console_history`, by default under `~/.local/state`; none when there is no such place.
fn history_file() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    let folder = state.join("postrider");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("ec_console_history"))
}

fn editor(client: Rc<RefCell<Client>>) -> rustyline::Result<Editor<Words, DefaultHistory>> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .history_ignore_dups(true)?
        .max_history_size(HISTORY_LINES_MAX)?
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Words { client }));
    Ok(editor)
}

const HISTORY_LINES_MAX: usize = 1000;

/// Completion by asking the server.
struct Words {
    client: Rc<RefCell<Client>>,
}

impl Helper for Words {}
impl Highlighter for Words {}
impl Validator for Words {}
impl Hinter for Words {
    type Hint = String;
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..pos];
        let start = typed.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        let answer = self.client.borrow_mut().ask(&format!("complete {typed}"), true);
        // What cannot be completed, because the line has an open quote or the server is gone, is left as it is.
        let candidates = answer.ok().map(|answer| candidates(&answer.body)).unwrap_or_default();
        Ok((start, candidates))
    }
}

/// The candidates of a `complete` answer, ready to type on after.
fn candidates(json: &str) -> Vec<String> {
    let answer: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    let mut words: Vec<String> = Vec::new();
    for word in answer["candidates"].as_array().into_iter().flatten().filter_map(|word| word.as_str()) {
        words.push(word.to_owned());
    }
    if let [only] = words.as_mut_slice() {
        only.push(' ');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_is_a_box_as_wide_as_its_longest_line() {
        assert_eq!(boxed(&["ab".into(), "abcd".into()]), "########\n# ab   #\n# abcd #\n########\n");
    }

    #[test]
    fn a_single_candidate_gets_a_blank_to_type_on_after() {
        assert_eq!(candidates("{\"candidates\":[\"flush\"]}"), ["flush "]);
        assert_eq!(candidates("{\"candidates\":[\"fail\",\"flush\"]}"), ["fail", "flush"]);
        assert!(candidates("nonsense").is_empty());
    }
}
