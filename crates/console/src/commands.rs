//! The command registry: which words exist, what they mean to a reader, and who carries them out.
//!
//! Commands come from every room and module at boot, and may be added and taken away later (a module's life). A line goes
//! to the command whose words are its longest beginning; the words after it are arguments. Every command answers in two
//! shapes, text and JSON, and the line chooses.
//!
//! Lives on the master scheduler (`Rc`, not `Send`). No borrow of the table is held while a handler runs, so a handler may
//! itself register or remove commands.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;

use serde_json::{Value, json};
use smtp::text;

use crate::line::Line;
use crate::peer::Peer;
use crate::session::SessionState;
use crate::wire::{Answer, Status};

/// A boxed future that stays on its thread.
pub type LocalBoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;
/// Carries a command out. Must be safe to drop at any await: a command that outlasts its limit is abandoned there.
pub type Handler = Box<dyn Fn(Invocation) -> LocalBoxFuture<Result<Reply, CommandError>>>;
/// Names what may follow: the complete words after the command's own, and the beginning of the word being typed.
/// Need not filter by that beginning.
pub type Completer = Box<dyn Fn(&[&str], &str) -> LocalBoxFuture<Vec<String>>>;
/// Says whether a peer may use a command line.
pub type Guard = Box<dyn Fn(&Peer, &str) -> bool>;

/// One command as its owner declares it.
pub struct Command {
    /// The words that call it, separated by one blank: `flush domain`.
    pub words: String,
    /// How it is written: `flush domain NAME|all`.
    pub usage: String,
    /// One line for the list.
    pub summary: String,
    /// What `help COMMAND` adds below; may be empty.
    pub help: String,
    /// Carries it out.
    pub run: Handler,
    /// Names what may follow the words.
    pub complete: Option<Completer>,
}

impl Command {
    /// A command from its usage: the words are the leading ones that are written in lower case.
    pub fn new<F, Fut>(usage: &str, summary: &str, run: F) -> Self
    where
        F: Fn(Invocation) -> Fut + 'static,
        Fut: Future<Output = Result<Reply, CommandError>> + 'static,
    {
        let own = |word: &&str| {
            !word.starts_with(['[', '-', '{']) && !word.contains(|c: char| c.is_ascii_uppercase() || c == '|')
        };
        Self {
            words: usage.split(' ').take_while(own).collect::<Vec<_>>().join(" "),
            usage: usage.to_owned(),
            summary: summary.to_owned(),
            help: String::new(),
            run: Box::new(move |invocation| Box::pin(run(invocation))),
            complete: None,
        }
    }

    /// Adds the text of `help COMMAND`.
    pub fn help(mut self, help: &str) -> Self {
        self.help = help.to_owned();
        self
    }

    /// Adds completion of arguments.
    pub fn complete(self, complete: impl Fn(&[&str], &str) -> Vec<String> + 'static) -> Self {
        self.complete_later(move |before, typed| std::future::ready(complete(before, typed)))
    }

    /// As [`Command::complete`], by whoever has to ask others first.
    pub fn complete_later<Found: Future<Output = Vec<String>> + 'static>(
        mut self,
        complete: impl Fn(&[&str], &str) -> Found + 'static,
    ) -> Self {
        self.complete = Some(Box::new(move |before, typed| Box::pin(complete(before, typed))));
        self
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({})", self.usage)
    }
}

/// What a handler is given.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The words after the command's own, without quotes.
    pub args: Vec<String>,
    /// The same as typed, quotes and inner blanks included; blanks at the end are kept.
    pub rest: String,
    /// Whether JSON was asked for: a handler may then leave the text empty, or the JSON null otherwise.
    pub json: bool,
    /// Who asks.
    pub peer: Rc<Peer>,
    /// What this connection's commands keep between each other.
    pub session: SessionState,
}

impl Invocation {
    /// The argument at `index` as text.
    pub fn arg(&self, index: usize) -> Option<&str> {
        self.args.get(index).map(String::as_str)
    }

    /// The only argument; a usage error when there is another number of them.
    pub fn only_arg(&self) -> Result<&str, CommandError> {
        match self.args.as_slice() {
            [only] => Ok(only),
            [] => Err(CommandError::Usage("an argument is missing".to_owned())),
            [_, surplus, ..] => Err(CommandError::Usage(format!("'{surplus}' is one argument too many"))),
        }
    }

    /// A usage error when there are arguments.
    pub fn no_args(&self) -> Result<(), CommandError> {
        self.args
            .first()
            .map_or(Ok(()), |arg| Err(CommandError::Usage(format!("it takes no argument, '{arg}' was given"))))
    }
}

/// The answer of a command that was carried out, in both shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// For a person.
    pub text: String,
    /// For a program.
    pub json: Value,
}

impl Reply {
    /// Both shapes.
    pub fn new(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json }
    }

    /// A sentence; its JSON is `{"message": …}`.
    pub fn message(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { json: json!({ "message": text.trim_end_matches('.') }), text }
    }
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// It was tried and failed, or cannot be done; a sentence for the operator.
    Failed(String),
    /// It was tried and refused, and machines are told more than the sentence: `details` is an object whose members join
    /// `status` and `error` in the JSON answer.
    Refused {
        /// A sentence for the operator.
        why: String,
        /// What machines are told besides.
        details: serde_json::Value,
    },
    /// It was written wrongly; the usage line is added below this sentence.
    Usage(String),
    /// The peer may not.
    NotAuthorized,
}

impl CommandError {
    /// A failure from anything that can say what happened.
    pub fn failed(why: impl fmt::Display) -> Self {
        Self::Failed(why.to_string())
    }
}

/// How a line ended: status and body in the chosen shape.
pub type Outcome = Answer;

/// A command with those words exists already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate(pub String);

impl fmt::Display for Duplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the console command '{}' is registered already", self.0)
    }
}

impl std::error::Error for Duplicate {}

/// All commands of the process, ordered by their words.
#[derive(Default)]
pub struct Commands {
    table: RefCell<Vec<Rc<Command>>>,
    guard: RefCell<Option<Rc<Guard>>>,
}

impl Commands {
    /// A registry that knows `help` and `complete`.
    pub fn new() -> Rc<Self> {
        let commands = Rc::new(Self::default());
        crate::help::register(&commands);
        commands
    }

    /// Adds a command; its words must be new.
    pub fn register(&self, command: Command) -> Result<(), Duplicate> {
        let mut table = self.table.borrow_mut();
        match table.binary_search_by(|known| known.words.cmp(&command.words)) {
            Ok(_) => Err(Duplicate(command.words)),
            Err(at) => {
                table.insert(at, Rc::new(command));
                Ok(())
            }
        }
    }

    /// Takes a command away; false if there is none with exactly these words.
    pub fn remove(&self, words: &str) -> bool {
        let mut table = self.table.borrow_mut();
        let found = table.binary_search_by(|known| known.words.as_str().cmp(words));
        found.map(|at| table.remove(at)).is_ok()
    }

    /// Sets who may use what. Without a guard every peer that reached the listener may use every command.
    pub fn set_guard(&self, guard: impl Fn(&Peer, &str) -> bool + 'static) {
        *self.guard.borrow_mut() = Some(Rc::new(Box::new(guard)));
    }

    /// Runs one line, in a session of its own.
    pub async fn run(&self, text: &str, json: bool, peer: Rc<Peer>) -> Outcome {
        self.run_decided(text, json, (peer, SessionState::default()), &|_, _| {}).await
    }

    /// Runs one line; `decided` hears the line and whether the peer may use it, before it is carried out.
    pub(crate) async fn run_decided(
        &self,
        text: &str,
        json: bool,
        caller: (Rc<Peer>, SessionState),
        decided: &dyn Fn(&str, bool),
    ) -> Outcome {
        match Line::parse(text) {
            Ok(line) => {
                let json = json || line.json;
                let allowed = self.allows(&caller.0, line.rest_after(0));
                decided(line.rest_after(0).trim_end(), allowed);
                let result =
                    if allowed { self.run_line(line, json, caller).await } else { Err(CommandError::NotAuthorized) };
                outcome(result, json)
            }
            Err(why) => outcome(Err(CommandError::Failed(why)), json),
        }
    }

    async fn run_line(
        &self,
        line: Line,
        json: bool,
        (peer, session): (Rc<Peer>, SessionState),
    ) -> Result<Reply, CommandError> {
        let words: Vec<&str> = line.words().collect();
        let Some((command, taken)) = self.find(&words) else {
            return Err(CommandError::Failed(crate::help::unknown(&self.all(), &words)));
        };
        let args = words[taken..].iter().map(|&word| word.to_owned()).collect();
        let rest = line.rest_after(taken).to_owned();
        match (command.run)(Invocation { args, rest, json, peer, session }).await {
            Err(CommandError::Usage(why)) => Err(CommandError::Failed(format!("{why}\nusage: {}", command.usage))),
            result => result,
        }
    }

    fn allows(&self, peer: &Peer, text: &str) -> bool {
        let guard = self.guard.borrow().clone();
        guard.is_none_or(|guard| guard(peer, text.trim_end()))
    }

    /// The command with the most words that `words` begin with, and how many those are. Case does not count.
    pub(crate) fn find(&self, words: &[&str]) -> Option<(Rc<Command>, usize)> {
        let table = self.table.borrow();
        let matching = table.iter().filter_map(|command| Some((command, begins_with(words, &command.words)?)));
        matching.max_by_key(|(_, taken)| *taken).map(|(command, taken)| (Rc::clone(command), taken))
    }

    /// All commands in the order of their words.
    pub(crate) fn all(&self) -> Vec<Rc<Command>> {
        self.table.borrow().clone()
    }
}

/// How many words `command` has, if `words` begin with them.
fn begins_with(words: &[&str], command: &str) -> Option<usize> {
    let mut taken = 0;
    for wanted in command.split(' ') {
        if !words.get(taken)?.eq_ignore_ascii_case(wanted) {
            return None;
        }
        taken += 1;
    }
    Some(taken)
}

fn outcome(result: Result<Reply, CommandError>, json: bool) -> Outcome {
    let (status, text, details) = match result {
        Ok(reply) => {
            let body = if json { text::json_line(reply.json.to_string()) } else { text::lines(reply.text) };
            return Answer { status: Status::Completed, json, body };
        }
        Err(CommandError::Failed(why) | CommandError::Usage(why)) => (Status::Failed, why, json!({})),
        Err(CommandError::Refused { why, details }) => (Status::Failed, why, details),
        Err(CommandError::NotAuthorized) => (Status::NotAuthz, NOT_AUTHORIZED.to_owned(), json!({})),
    };
    if !json {
        return Answer { status, json, body: text::lines(text) };
    }
    let mut body = json!({ "status": status.to_string(), "error": text });
    if let (Some(body), Some(details)) = (body.as_object_mut(), details.as_object()) {
        for (member, value) in details {
            body.entry(member).or_insert_with(|| value.clone());
        }
    }
    Answer { status, json, body: text::json_line(body.to_string()) }
}

/// The documented refusal.
const NOT_AUTHORIZED: &str = "Not Authorized for this command";

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Rc<Peer> {
        Rc::new(Peer::Unix { uid: 1000, pid: 1, user: "jan".into() })
    }

    /// Answers with its words and what it was given.
    fn echo(usage: &str) -> Command {
        let words = usage.to_owned();
        Command::new(usage, "Says what it heard.", move |invocation| {
            let text = format!("{words}: {:?} rest '{}'", invocation.args, invocation.rest);
            async move { Ok(Reply::message(text)) }
        })
    }

    fn registry(usages: &[&str]) -> Rc<Commands> {
        let commands = Commands::new();
        for usage in usages {
            commands.register(echo(usage)).unwrap();
        }
        commands
    }

    async fn run(commands: &Commands, text: &str) -> String {
        let answer = commands.run(text, false, peer()).await;
        format!("{} {}", answer.status, answer.body)
    }

    #[test]
    fn the_words_of_a_command_are_the_lower_case_ones_its_usage_begins_with() {
        assert_eq!(echo("flush domain NAME|all").words, "flush domain");
        assert_eq!(echo("mailq [-d DOMAIN]").words, "mailq");
        assert_eq!(echo("fail domain quiet NAME").words, "fail domain quiet");
        assert_eq!(echo("refresh domain all|none").words, "refresh domain");
        assert_eq!(echo("ec_logger:main reopen logs").words, "ec_logger:main reopen logs");
    }

    #[tokio::test]
    async fn the_longest_beginning_wins() {
        let commands = registry(&["domain NAME", "domain all"]);
        assert_eq!(run(&commands, "domain a.example").await, "COMPLETED domain NAME: [\"a.example\"] rest 'a.example'");
        assert_eq!(run(&commands, "domain all").await, "COMPLETED domain all: [] rest ''");
        assert_eq!(run(&commands, "DOMAIN All").await, "COMPLETED domain all: [] rest ''");
    }

    #[tokio::test]
    async fn a_handler_gets_words_without_quotes_and_the_text_as_typed() {
        let commands = registry(&["fail domain NAME [NOTE]"]);
        let said = run(&commands, "fail domain a.example \"554 go  away\" now --json").await;
        assert!(said.starts_with("COMPLETED {\"message\":"), "{said}");
        let said = run(&commands, "fail domain a.example \"554 go  away\" now").await;
        assert_eq!(
            said,
            "COMPLETED fail domain NAME [NOTE]: [\"a.example\", \"554 go  away\", \"now\"] rest 'a.example \"554 go  away\" now'"
        );
    }

    #[tokio::test]
    async fn errors_have_two_shapes_too() {
        let commands = Commands::new();
        let wants_one = Command::new("pid", "Process id.", |invocation| async move {
            invocation.no_args()?;
            Ok(Reply::new("4817", json!({ "pid": 4817 })))
        });
        commands.register(wants_one).unwrap();
        assert_eq!(run(&commands, "pid").await, "COMPLETED 4817");
        assert_eq!(run(&commands, "pid --json").await, "COMPLETED {\"pid\":4817}");
        assert_eq!(run(&commands, "pid x").await, "FAILED it takes no argument, 'x' was given\nusage: pid");
        let answer = commands.run("pid x", true, peer()).await;
        assert!(answer.json);
        assert_eq!(
            answer.body,
            "{\"error\":\"it takes no argument, 'x' was given\\nusage: pid\",\"status\":\"FAILED\"}"
        );
    }

    #[tokio::test]
    async fn a_guard_refuses_with_the_documented_text() {
        let commands = registry(&["shutdown", "summary"]);
        commands.set_guard(|peer, text| peer.user() == Some("jan") && text == "summary");
        assert_eq!(run(&commands, "summary ").await, "COMPLETED summary: [] rest ''");
        assert_eq!(run(&commands, "shutdown").await, "NOT_AUTHZ Not Authorized for this command");
    }

    #[test]
    fn words_are_registered_once_and_can_be_taken_away() {
        let commands = registry(&["pid"]);
        assert_eq!(commands.register(echo("pid")), Err(Duplicate("pid".into())));
        assert!(commands.remove("pid"));
        assert!(!commands.remove("pid"));
        assert!(commands.find(&["pid"]).is_none());
    }
}
