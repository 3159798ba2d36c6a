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

/// Which messages a bulk command is for. Closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `--meta KEY VALUE`: the context of the message, or of its connection where the message has no such key.
    Meta {
        /// The key.
        key: String,
        /// The whole value.
        value: String,
    },
    /// `--header NAME LINE`: a field of the first MIME part, one physical line of which equals LINE.
    Header {
        /// The field name.
        name: String,
        /// The whole line.
        line: String,
    },
}

/// `fail domain [--dry-run] [FILTER] NAME [NOTE]`, and with the binding before the name
/// `binding fail domain [--dry-run] [FILTER] BINDING NAME|all [NOTE]`; both also with `quiet`, which is a command of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailArguments {
    /// Only say what would fail.
    pub dry_run: bool,
    /// Only messages that match.
    pub filter: Option<Filter>,
    /// The binding, in the binding form.
    pub binding: Option<String>,
    /// The routing domain; none for `all` in the binding form.
    pub domain: Option<String>,
    /// What the operator adds to the reply the messages fail with; empty for nothing.
    pub note: String,
}

impl FailArguments {
    /// Reads the arguments of `fail domain`.
    pub fn parse(args: &[String]) -> Result<Self, CommandError> {
        let parsed = Self::read(args, false)?;
        if parsed.domain.is_none() {
            return Err(usage("'all' is not taken here: name a domain"));
        }
        Ok(parsed)
    }

    /// Reads the arguments of `binding fail domain`.
    pub fn parse_with_binding(args: &[String]) -> Result<Self, CommandError> {
        Self::read(args, true)
    }

    fn read(args: &[String], with_binding: bool) -> Result<Self, CommandError> {
        let dry_run = args.iter().any(|arg| arg == "--dry-run");
        let args: Vec<&str> = args.iter().map(String::as_str).filter(|&arg| arg != "--dry-run").collect();
        let (filter, mut rest) = filter(&args)?;
        let mut name = |what: &str| {
            let (first, others) = rest.split_first().ok_or_else(|| usage(format!("{what} is missing")))?;
            rest = others;
            if first.starts_with("--") { Err(usage(format!("{first} is not taken here"))) } else { Ok(*first) }
        };
        let binding = if with_binding { Some(name("a binding")?.to_owned()) } else { None };
        let domain = Some(name("a domain")?).filter(|&domain| domain != "all").map(str::to_lowercase);
        Ok(Self { dry_run, filter, binding, domain, note: rest.join(" ") })
    }
}

fn filter<'a, 'w>(args: &'a [&'w str]) -> Result<(Option<Filter>, &'a [&'w str]), CommandError> {
    match args {
        ["--meta", key, value, rest @ ..] => {
            Ok((Some(Filter::Meta { key: (*key).to_owned(), value: (*value).to_owned() }), rest))
        }
        ["--header", name, line, rest @ ..] => {
            Ok((Some(Filter::Header { name: (*name).to_owned(), line: (*line).to_owned() }), rest))
        }
        [option @ ("--meta" | "--header"), ..] => Err(usage(format!("{option} wants a name and a value"))),
        rest => Ok((None, rest)),
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
    fn fail_takes_a_filter_before_the_domain_and_a_note_after_it() {
        let parsed = FailArguments::parse(&words("a.example")).unwrap();
        assert_eq!(parsed.note, "");
        assert_eq!((parsed.dry_run, parsed.filter, parsed.binding), (false, None, None));
        let parsed = FailArguments::parse(&words("--meta job 42 a.example 554 Closed --dry-run today")).unwrap();
        assert!(parsed.dry_run);
        assert_eq!(parsed.filter, Some(Filter::Meta { key: "job".into(), value: "42".into() }));
        assert_eq!((parsed.domain.as_deref(), parsed.note.as_str()), (Some("a.example"), "554 Closed today"));
        let both = refusal(FailArguments::parse(&words("--meta a b --header c d e.example")));
        assert_eq!(both, "--header is not taken here");
        assert_eq!(refusal(FailArguments::parse(&words("--header c"))), "--header wants a name and a value");
        assert_eq!(refusal(FailArguments::parse(&words("all"))), "'all' is not taken here: name a domain");
        assert_eq!(refusal(FailArguments::parse(&words("--dry-run"))), "a domain is missing");
    }

    #[test]
    fn the_binding_form_takes_all() {
        let parsed = FailArguments::parse_with_binding(&words("out1 all 554 Closed")).unwrap();
        assert_eq!(
            (parsed.binding.as_deref(), parsed.domain, parsed.note.as_str()),
            (Some("out1"), None, "554 Closed")
        );
        assert_eq!(refusal(FailArguments::parse_with_binding(&words("out1"))), "a domain is missing");
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
