//! The documented arguments of the queue commands, read into plain values.
//!
//! In: the words after a command's own. Out: what was asked for, or a usage error. Nothing here knows a queue.

pub use crate::bulk::{DelayArguments, FailArguments, Filter, RerouteArguments};
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

/// `showqueue [binding NAME|binding all] DOMAIN|all [limit,offset]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShowqueueArguments {
    /// The binding; none for all.
    pub binding: Option<String>,
    /// The routing domain; none for all.
    pub domain: Option<String>,
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
        let domain = Some(domain.to_lowercase()).filter(|domain| domain != "all");
        // Whoever asks for all queues means those of all bindings.
        let binding = if domain.is_none() && rest.len() == args.len() { None } else { binding };
        Ok(Self { binding, domain, limit, offset })
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
        [_, _, surplus, ..] => Err(usage(format!("'{surplus}' is one argument too many"))),
        [part, _] => Err(usage(format!("'{part}' is not full or body"))),
    }
}

/// `BINDING N` of `binding active` and `binding delayed`.
pub fn binding_threshold(args: &[String]) -> Result<(String, u64), CommandError> {
    match args {
        [binding, only] => Ok((binding.clone(), number(only)? as u64)),
        [] => Err(usage("a binding and a number are missing")),
        [_] => Err(usage("behind the binding a number is missing")),
        [_, _, surplus, ..] => Err(usage(format!("'{surplus}' is one argument too many"))),
    }
}

/// `BINDING NAME|all` of `binding flush domain`: none for `all`.
pub fn binding_and_domain(args: &[String]) -> Result<(String, Option<String>), CommandError> {
    match args {
        [] => Err(usage("a binding and a domain, or 'all', are missing")),
        [binding] => Err(usage(format!("behind the binding '{binding}' a domain, or 'all', is missing"))),
        [binding, domain @ ..] => Ok((binding.clone(), domain_or_all(domain)?)),
    }
}

/// `[quiet] MID` of `message fail`: whether senders are told nothing, and the id as text.
pub fn message_fail(args: &[String]) -> Result<(bool, &str), CommandError> {
    match args {
        [id] if id == "quiet" => Err(usage("a message id is missing behind 'quiet'")),
        [id] => Ok((false, id)),
        [quiet, id] if quiet == "quiet" => Ok((true, id)),
        [] => Err(usage("a message id is missing")),
        [_, quiet] if quiet == "quiet" => Err(usage("'quiet' stands before the id; nothing was done")),
        [_, surplus, ..] => Err(usage(format!("'{surplus}' is one argument too many; nothing was done"))),
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
        let expected = ShowqueueArguments {
            binding: Some("default".into()),
            domain: Some("a.example".into()),
            limit: 100,
            offset: 0,
        };
        assert_eq!(parsed, expected);
        let parsed = ShowqueueArguments::parse(&words("binding all a.example 10,30")).unwrap();
        assert_eq!((parsed.binding, parsed.limit, parsed.offset), (None, 10, 30));
        let parsed = ShowqueueArguments::parse(&words("binding out1 a.example 7")).unwrap();
        assert_eq!((parsed.binding.as_deref(), parsed.limit, parsed.offset), (Some("out1"), 7, 0));
        let parsed = ShowqueueArguments::parse(&words("all 10")).unwrap();
        assert_eq!((parsed.binding, parsed.domain, parsed.limit), (None, None, 10));
        let parsed = ShowqueueArguments::parse(&words("binding out1 all")).unwrap();
        assert_eq!((parsed.binding.as_deref(), parsed.domain), (Some("out1"), None));
        assert_eq!(refusal(ShowqueueArguments::parse(&words("binding out1"))), "a domain is missing");
        assert_eq!(refusal(ShowqueueArguments::parse(&words("a.example 1,x"))), "'x' is not a whole number");
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
