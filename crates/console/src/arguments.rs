//! The documented arguments of the queue commands, read into plain values.
//!
//! In: the words after a command's own. Out: what was asked for, or a usage error. Nothing here knows a queue.

use crate::commands::CommandError;
use crate::shapes::DetailsPart;

/// `mailq [-d|--domain D]... [-b|--binding B]... [-l|--limit N]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailqArguments {
    /// Only these domains; empty for all.
    pub domains: Vec<String>,
    /// Only these bindings; empty for all.
    pub bindings: Vec<String>,
    /// Rows to show.
    pub limit: usize,
}

impl MailqArguments {
    /// Reads the arguments.
    pub fn parse(args: &[String]) -> Result<Self, CommandError> {
        let mut parsed = Self { domains: Vec::new(), bindings: Vec::new(), limit: MAILQ_ROWS };
        let mut args = args.iter();
        while let Some(option) = args.next() {
            let mut value = || args.next().ok_or_else(|| usage(format!("{option} wants a value")));
            match option.as_str() {
                "-d" | "--domain" => parsed.domains.push(value()?.to_lowercase()),
                "-b" | "--binding" => parsed.bindings.push(value()?.clone()),
                "-l" | "--limit" => parsed.limit = number(value()?)?,
                other => return Err(usage(format!("'{other}' is not an option of mailq"))),
            }
        }
        Ok(parsed)
    }
}

/// `showqueue [binding NAME|binding all] DOMAIN [limit,offset]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShowqueueArguments {
    /// The binding; none for all.
    pub binding: Option<String>,
    /// The routing domain.
    pub domain: String,
    /// Messages to show.
    pub limit: usize,
    /// Messages to pass over first.
    pub offset: usize,
}

impl ShowqueueArguments {
    /// Reads the arguments.
    pub fn parse(args: &[String]) -> Result<Self, CommandError> {
        let (binding, rest) = match args {
            [word, name, rest @ ..] if word == "binding" => (Some(name.clone()).filter(|name| name != "all"), rest),
            rest => (Some("default".to_owned()), rest),
        };
        let (domain, window) = match rest {
            [domain] => (domain, None),
            [domain, window] => (domain, Some(window)),
            [] => return Err(usage("a domain is missing")),
            [_, _, surplus, ..] => return Err(usage(format!("'{surplus}' is one argument too many"))),
        };
        let (limit, offset) = match window.map(|window| window.split_once(',').unwrap_or((window, "0"))) {
            None => (SHOWQUEUE_MESSAGES, 0),
            Some((limit, offset)) => (number(limit)?, number(offset)?),
        };
        Ok(Self { binding, domain: domain.to_lowercase(), limit, offset })
    }
}

/// `fail domain NAME [NOTE]`, also with `quiet`, which is a command of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailArguments {
    /// The routing domain.
    pub domain: String,
    /// What the operator adds to the reply the messages fail with; empty for nothing.
    pub note: String,
}

impl FailArguments {
    /// Reads the arguments. The documented `--dry-run`, `--meta` and `--header` are refused wherever they stand: taken for a
    /// name or a note, they would have more mail fail than was meant.
    pub fn parse(args: &[String]) -> Result<Self, CommandError> {
        if let Some(option) = args.iter().find(|arg| matches!(arg.as_str(), "--dry-run" | "--meta" | "--header")) {
            return Err(CommandError::Failed(format!("{option} is not offered yet; nothing was done")));
        }
        match args {
            [] => Err(usage("a domain is missing")),
            [all, ..] if all == "all" => Err(usage("'all' is not taken here: name a domain")),
            [domain, note @ ..] => Ok(Self { domain: domain.to_lowercase(), note: note.join(" ") }),
        }
    }
}

/// `NAME|all`: the lower-case name; none for `all`.
pub fn domain_or_all(args: &[String]) -> Result<Option<String>, CommandError> {
    match args {
        [name] => Ok((name != "all").then(|| name.to_lowercase())),
        [] => Err(usage("a domain is missing")),
        [_, surplus, ..] => Err(usage(format!("'{surplus}' is one argument too many"))),
    }
}

/// What `binding summary [NAME|group:NAME]` is about. Closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingsWanted {
    /// Every binding.
    All,
    /// The bindings of this name, in whatever group.
    Named(String),
    /// The members of this binding group, and their sum.
    Group(String),
}

/// `binding summary [NAME|group:NAME]`.
pub fn binding_summary(args: &[String]) -> Result<BindingsWanted, CommandError> {
    match args {
        [] => Ok(BindingsWanted::All),
        [name] => Ok(match name.strip_prefix("group:") {
            Some(group) => BindingsWanted::Group(group.to_owned()),
            None => BindingsWanted::Named(name.clone()),
        }),
        [_, surplus, ..] => Err(usage(format!("'{surplus}' is one argument too many"))),
    }
}

/// `active N`, `delayed N`: domains with more than this many.
pub fn threshold(args: &[String]) -> Result<u64, CommandError> {
    match args {
        [only] => number(only).map(|number| number as u64),
        [] => Err(usage("a number is missing")),
        [_, surplus, ..] => Err(usage(format!("'{surplus}' is one argument too many"))),
    }
}

/// `message details [full|body] MID`: the part and the id as text.
pub fn message_details(args: &[String]) -> Result<(DetailsPart, &str), CommandError> {
    match args {
        [id] => Ok((DetailsPart::Metadata, id)),
        [part, id] if part == "full" => Ok((DetailsPart::Full, id)),
        [part, id] if part == "body" => Ok((DetailsPart::Body, id)),
        [] => Err(usage("a message id is missing")),
        [part, ..] => Err(usage(format!("'{part}' is not full or body"))),
    }
}

fn number(text: &str) -> Result<usize, CommandError> {
    text.parse().map_err(|_| usage(format!("'{text}' is not a whole number")))
}

fn usage(why: impl Into<String>) -> CommandError {
    CommandError::Usage(why.into())
}

const MAILQ_ROWS: usize = 20;
const SHOWQUEUE_MESSAGES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn refusal<T>(result: Result<T, CommandError>) -> String {
        match result {
            Err(CommandError::Usage(why)) => why,
            _ => panic!("not refused"),
        }
    }

    #[test]
    fn mailq_takes_options_in_any_number_and_shows_20_rows() {
        let all = MailqArguments::parse(&[]).unwrap();
        assert_eq!(all, MailqArguments { domains: vec![], bindings: vec![], limit: 20 });
        let some = MailqArguments::parse(&words("-d A.example --domain b.example -b out1 -l 5")).unwrap();
        assert_eq!(some.domains, ["a.example", "b.example"]);
        assert_eq!((some.bindings, some.limit), (vec!["out1".to_owned()], 5));
        assert_eq!(refusal(MailqArguments::parse(&words("-l many"))), "'many' is not a whole number");
        assert_eq!(refusal(MailqArguments::parse(&words("-d"))), "-d wants a value");
        assert_eq!(refusal(MailqArguments::parse(&words("a.example"))), "'a.example' is not an option of mailq");
    }

    #[test]
    fn showqueue_is_for_the_default_binding_and_the_first_100_messages() {
        let parsed = ShowqueueArguments::parse(&words("A.example")).unwrap();
        let expected =
            ShowqueueArguments { binding: Some("default".into()), domain: "a.example".into(), limit: 100, offset: 0 };
        assert_eq!(parsed, expected);
        let parsed = ShowqueueArguments::parse(&words("binding all a.example 10,30")).unwrap();
        assert_eq!((parsed.binding, parsed.limit, parsed.offset), (None, 10, 30));
        let parsed = ShowqueueArguments::parse(&words("binding out1 a.example 7")).unwrap();
        assert_eq!((parsed.binding.as_deref(), parsed.limit, parsed.offset), (Some("out1"), 7, 0));
        assert_eq!(refusal(ShowqueueArguments::parse(&words("binding out1"))), "a domain is missing");
        assert_eq!(refusal(ShowqueueArguments::parse(&words("a.example 1,x"))), "'x' is not a whole number");
    }

    #[test]
    fn fail_takes_a_domain_and_a_note_and_no_selection() {
        let parsed = FailArguments::parse(&words("A.example")).unwrap();
        assert_eq!(parsed, FailArguments { domain: "a.example".into(), note: String::new() });
        assert_eq!(FailArguments::parse(&words("a.example 554 Closed today")).unwrap().note, "554 Closed today");
        assert_eq!(refusal(FailArguments::parse(&words("all"))), "'all' is not taken here: name a domain");
        assert_eq!(refusal(FailArguments::parse(&[])), "a domain is missing");
        for line in
            ["--dry-run a.example", "a.example note --dry-run", "--meta a b c.example", "--header a b c.example"]
        {
            let refused = FailArguments::parse(&words(line));
            assert!(
                matches!(&refused, Err(CommandError::Failed(why)) if why.ends_with("nothing was done")),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn binding_summary_takes_a_binding_a_group_or_nothing() {
        assert_eq!(binding_summary(&[]).unwrap(), BindingsWanted::All);
        assert_eq!(binding_summary(&words("out1")).unwrap(), BindingsWanted::Named("out1".into()));
        assert_eq!(binding_summary(&words("group:bulk")).unwrap(), BindingsWanted::Group("bulk".into()));
        assert_eq!(refusal(binding_summary(&words("out1 out2"))), "'out2' is one argument too many");
    }

    #[test]
    fn the_short_ones() {
        assert_eq!(domain_or_all(&words("All.example")).unwrap(), Some("all.example".into()));
        assert_eq!(domain_or_all(&words("all")).unwrap(), None);
        assert_eq!(threshold(&words("10")).unwrap(), 10);
        assert_eq!(refusal(threshold(&words("-1"))), "'-1' is not a whole number");
        assert_eq!(message_details(&words("body ID")).unwrap(), (DetailsPart::Body, "ID"));
        assert_eq!(message_details(&words("ID")).unwrap(), (DetailsPart::Metadata, "ID"));
        assert_eq!(refusal(message_details(&words("half ID"))), "'half' is not full or body");
    }
}
