//! What the registry says about itself: `help`, `complete`, and the answer to an unknown command.
//!
//! All of it is made from the declarations, so a command that is registered is also explained and completed.

use std::rc::{Rc, Weak};

use serde_json::{Value, json};

use crate::commands::{Command, CommandError, Commands, Invocation, Reply};

/// Adds `help` and `complete`. They hold the registry weakly, because it holds them.
pub(crate) fn register(commands: &Rc<Commands>) {
    let registry = Rc::downgrade(commands);
    let completer = Rc::downgrade(commands);
    let help = Command::new("help [COMMAND]", "Lists the commands, or explains one.", move |invocation| {
        let reply = registry.upgrade().map(|registry| help(&registry.all(), &invocation));
        async move { reply.unwrap_or_else(|| Err(CommandError::failed("the console is closing"))) }
    })
    .help("Without a word: one line for each command. With the words of a command: how it is written and what it does. With\nthe first words of several commands: those. Put --json anywhere on a line to have the answer as JSON.")
    .complete(move |before, _| completer.upgrade().map_or_else(Vec::new, |registry| next_words(&registry.all(), before)));
    let registry = Rc::downgrade(commands);
    let complete = Command::new("complete PARTIAL", "Lists the words that may come next.", move |invocation| {
        let candidates = complete(&registry, &invocation.rest);
        async move {
            let candidates = candidates.await;
            Ok(Reply::new(candidates.join("\n"), json!({ "candidates": candidates })))
        }
    })
    .help("For clients: answers with the words that can stand where the partial line ends, one a line.");
    for command in [help, complete] {
        // An empty registry has no words to collide with.
        commands.register(command).expect("help and complete are the first commands");
    }
}

fn help(all: &[Rc<Command>], invocation: &Invocation) -> Result<Reply, CommandError> {
    let words: Vec<&str> = invocation.args.iter().map(String::as_str).collect();
    let asked = words.join(" ").to_lowercase();
    let beginning: Vec<_> = all.iter().filter(|command| is_beginning(&asked, &command.words)).collect();
    let list = || beginning.iter().map(|command| describe(command)).collect::<Value>();
    match beginning.as_slice() {
        [] => Err(CommandError::Failed(unknown(all, &words))),
        [only] => Ok(Reply::new(explain(only), describe(only))),
        [first, ..] if first.words == asked => {
            let others = table(&beginning[1..]);
            Ok(Reply::new(format!("{}\nsee also:\n{others}", explain(first)), list()))
        }
        several => Ok(Reply::new(table(several), list())),
    }
}

/// Whether `words` are `asked` or go on after it with another word.
fn is_beginning(asked: &str, words: &str) -> bool {
    words.strip_prefix(asked).is_some_and(|more| asked.is_empty() || more.is_empty() || more.starts_with(' '))
}

fn describe(command: &Command) -> Value {
    json!({ "words": command.words, "usage": command.usage, "summary": command.summary, "help": command.help })
}

fn explain(command: &Command) -> String {
    let mut text = format!("usage: {}\n{}\n", command.usage, command.summary);
    if !command.help.is_empty() {
        text.push('\n');
        text.push_str(command.help.trim_end());
        text.push('\n');
    }
    text
}

/// Usage in a column as wide as the widest one that is not too wide, summary beside it.
fn table(commands: &[&Rc<Command>]) -> String {
    let widths = commands.iter().map(|command| command.usage.chars().count());
    let width = widths.filter(|&width| width <= USAGE_COLUMNS_MAX).max().unwrap_or(USAGE_COLUMNS_MAX);
    let mut text = String::new();
    for command in commands {
        let Command { usage, summary, .. } = command.as_ref();
        text.push_str(&match usage.chars().count() {
            long if width < long => format!("{usage}\n{:width$}  {summary}\n", ""),
            _ => format!("{usage:<width$}  {summary}\n"),
        });
    }
    text
}

/// The words that can stand where `partial` ends, sorted, none twice.
fn complete(registry: &Weak<Commands>, partial: &str) -> impl Future<Output = Vec<String>> + use<> {
    let mut words: Vec<&str> = partial.split_whitespace().collect();
    let typed = if partial.ends_with(char::is_whitespace) { "" } else { words.pop().unwrap_or_default() };
    let (mut candidates, mut asked) = (Vec::new(), None);
    if let Some(registry) = registry.upgrade() {
        candidates = next_words(&registry.all(), &words);
        if let Some((command, taken)) = registry.find(&words) {
            asked = command.complete.as_ref().map(|complete| complete(&words[taken..], typed));
        }
    }
    let typed = typed.to_lowercase();
    async move {
        if let Some(asked) = asked {
            candidates.extend(asked.await);
        }
        candidates.retain(|candidate| candidate.to_lowercase().starts_with(&typed));
        candidates.sort();
        candidates.dedup();
        candidates
    }
}

/// The words that follow `before` in the words of some command.
fn next_words(all: &[Rc<Command>], before: &[&str]) -> Vec<String> {
    let next = |command: &Rc<Command>| {
        let mut words = command.words.split(' ');
        let same = before.iter().all(|typed| words.next().is_some_and(|word| word.eq_ignore_ascii_case(typed)));
        same.then(|| words.next().map(str::to_owned)).flatten()
    };
    all.iter().filter_map(next).collect()
}

/// The sentence for words that are no command: what they begin, or what they resemble.
pub(crate) fn unknown(all: &[Rc<Command>], words: &[&str]) -> String {
    let Some(first) = words.first() else { return "no command was given; try: help".to_owned() };
    let typed = words.join(" ").to_lowercase();
    // The longest beginning of the line that some longer command shares: `flush` alone, `config foo`.
    for count in (1..=words.len()).rev() {
        let beginning = words[..count].join(" ").to_lowercase();
        let longer: Vec<_> = all.iter().filter(|command| is_beginning(&beginning, &command.words)).collect();
        if !longer.is_empty() {
            let usages: Vec<_> = longer.iter().map(|command| format!("  {}", command.usage)).collect();
            let what = if count == words.len() { "is incomplete" } else { "is not a command" };
            return format!("'{typed}' {what}; these begin with '{beginning}':\n{}", usages.join("\n"));
        }
    }
    let near = nearest(all, words);
    if near.is_empty() {
        return format!("unknown command '{first}'; try: help");
    }
    format!("unknown command '{typed}'; nearest:\n{}", near.join("\n"))
}

/// The usages of at most three commands whose words are few edits away from the beginning of the line, nearest first. Of a
/// line that is shorter than the command, only as many words are compared.
fn nearest(all: &[Rc<Command>], words: &[&str]) -> Vec<String> {
    let mut near: Vec<(usize, &str)> = Vec::new();
    for command in all {
        let own: Vec<&str> = command.words.split(' ').take(words.len()).collect();
        let typed = words[..own.len()].join(" ").to_lowercase();
        let own = own.join(" ");
        let distance = edits(&typed, &own);
        if typed.len() <= TYPED_BYTES_MAX && distance <= 1 + own.len() / 4 {
            near.push((distance, &command.usage));
        }
    }
    near.sort();
    near.iter().take(3).map(|(_, usage)| format!("  {usage}")).collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one text to the other.
fn edits(from: &str, to: &str) -> usize {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let mut before_last = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for row in 1..=from.len() {
        let mut this = vec![row; to.len() + 1];
        for column in 1..=to.len() {
            let same = from[row - 1] == to[column - 1];
            this[column] = (last[column] + 1).min(this[column - 1] + 1).min(last[column - 1] + usize::from(!same));
            let swapped = 1 < row && 1 < column && from[row - 1] == to[column - 2] && from[row - 2] == to[column - 1];
            if swapped {
                this[column] = this[column].min(before_last[column - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, this);
    }
    last[to.len()]
}

const USAGE_COLUMNS_MAX: usize = 40;
/// Longer words are nobody's typing error, and comparing them would cost time.
const TYPED_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Peer;

    fn registry() -> Rc<Commands> {
        let commands = Commands::new();
        for (usage, summary) in [
            ("flush domain NAME|all", "Tries the delayed messages of a domain now."),
            ("fail domain [--dry-run] [FILTER] NAME [NOTE]", "Fails the messages of a domain."),
            ("fail domain quiet [--dry-run] [FILTER] NAME [NOTE]", "Fails them without a bounce."),
            ("summary", "Counters since the start."),
        ] {
            let command = Command::new(usage, summary, |_| async { Ok(Reply::message("ok")) });
            commands.register(command.help("Longer text.")).unwrap();
        }
        let options =
            Command::new("config get [SCOPE...] OPTION", "Shows a value.", |_| async { Ok(Reply::message("ok")) })
                .complete(
                    |before, _| {
                        if before.is_empty() { vec!["Retry_Interval".into(), "Relay_Hosts".into()] } else { vec![] }
                    },
                );
        commands.register(options).unwrap();
        commands
    }

    async fn say(text: &str) -> String {
        let peer = Rc::new(Peer::Tcp("127.0.0.1:9".parse().unwrap()));
        registry().run(text, false, peer).await.body
    }

    #[tokio::test]
    async fn help_lists_every_command_in_two_columns() {
        assert_eq!(
            say("help").await,
            "complete PARTIAL              Lists the words that may come next.\n\
             config get [SCOPE...] OPTION  Shows a value.\n\
             fail domain [--dry-run] [FILTER] NAME [NOTE]\n\
             \x20                             Fails the messages of a domain.\n\
             fail domain quiet [--dry-run] [FILTER] NAME [NOTE]\n\
             \x20                             Fails them without a bounce.\n\
             flush domain NAME|all         Tries the delayed messages of a domain now.\n\
             help [COMMAND]                Lists the commands, or explains one.\n\
             summary                       Counters since the start.\n"
        );
    }

    #[tokio::test]
    async fn help_explains_one_command_and_names_its_kin() {
        assert_eq!(say("help summary").await, "usage: summary\nCounters since the start.\n\nLonger text.\n");
        let text = say("help Fail Domain").await;
        assert!(text.starts_with("usage: fail domain [--dry-run]"), "{text}");
        assert!(text.contains("see also:\nfail domain quiet"), "{text}");
        assert!(say("help flush").await.starts_with("usage: flush domain NAME|all\n"));
        let json: Value = serde_json::from_str(&say("help summary --json").await).unwrap();
        assert_eq!(json["usage"], "summary");
    }

    #[tokio::test]
    async fn an_unknown_command_is_answered_with_the_nearest() {
        assert_eq!(say("sumary").await, "unknown command 'sumary'; nearest:\n  summary");
        assert_eq!(
            say("flsuh domain x.example").await,
            "unknown command 'flsuh domain x.example'; nearest:\n  flush domain NAME|all"
        );
        assert_eq!(say("flush").await, "'flush' is incomplete; these begin with 'flush':\n  flush domain NAME|all");
        assert_eq!(
            say("flush queue x").await,
            "'flush queue x' is not a command; these begin with 'flush':\n  flush domain NAME|all"
        );
        assert_eq!(say("zzzzzzzz").await, "unknown command 'zzzzzzzz'; try: help");
        assert_eq!(say("").await, "no command was given; try: help");
        assert_eq!(say("help nonsense").await, "unknown command 'nonsense'; try: help");
    }

    #[tokio::test]
    async fn completion_offers_command_words_and_what_their_owner_names() {
        assert_eq!(say("complete ").await, "complete\nconfig\nfail\nflush\nhelp\nsummary");
        assert_eq!(say("complete f").await, "fail\nflush");
        assert_eq!(say("complete fail domain ").await, "quiet");
        assert_eq!(say("complete help fail ").await, "domain");
        assert_eq!(say("complete config get re").await, "Relay_Hosts\nRetry_Interval");
        assert_eq!(say("complete config get x ").await, "");
        assert_eq!(say("complete f --json").await, "{\"candidates\":[\"fail\",\"flush\"]}");
    }

    #[test]
    fn edits_count_swaps_as_one() {
        assert_eq!(edits("flsuh", "flush"), 1);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("mailq", "mailq"), 0);
        assert_eq!(edits("cat", "act"), 1);
    }
}
