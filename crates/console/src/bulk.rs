//! The arguments that commands over many messages share: `--dry-run`, one filter, and what stands behind them.
//!
//! In: the words after a command's own. Out: what was asked for, or a usage error; a word that could have more mail fail than
//! was meant is refused.

use crate::commands::CommandError;

/// Which messages of the chosen queues. Closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `--meta KEY VALUE`: those whose context has this value; the connection's counts where the message's lacks the key.
    Meta {
        /// The key.
        key: String,
        /// The whole value.
        value: String,
    },
    /// `--header NAME LINE`: those with a header field of this name that has one line of exactly this text.
    Header {
        /// The name of the field.
        name: String,
        /// A line as it stands, folded ones by themselves with their blanks; the first without the blank behind the colon.
        line: String,
    },
}

/// `fail domain`, `binding fail domain`, `fail all`, each also with `quiet`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailArguments {
    /// The binding; none for all.
    pub binding: Option<String>,
    /// The routing domain in lower case; none for all.
    pub domain: Option<String>,
    /// Senders are not told.
    pub quiet: bool,
    /// Nothing is done, only told.
    pub dry_run: bool,
    /// Only these messages.
    pub filter: Option<Filter>,
    /// What the operator adds to the reply the messages fail with; empty for nothing.
    pub note: String,
}

impl FailArguments {
    /// `fail domain [quiet] [--dry-run] [FILTER] NAME [NOTE]`.
    pub fn domain(args: &[String]) -> Result<Self, CommandError> {
        let (parsed, rest) = Self::begin(args)?;
        match rest.as_slice() {
            [] => Err(usage("a domain is missing")),
            [all, ..] if all == "all" => {
                Err(usage("'all' is not taken here: name a domain, or use fail all with a filter"))
            }
            [domain, note @ ..] => parsed.with(None, Some(domain), note),
        }
    }

    /// `binding fail domain [quiet] [--dry-run] [FILTER] BINDING NAME|all [NOTE]`.
    pub fn binding(args: &[String]) -> Result<Self, CommandError> {
        let (parsed, rest) = Self::begin(args)?;
        match rest.as_slice() {
            [] => Err(usage("a binding and a domain, or 'all', are missing")),
            [binding] => Err(usage(format!("behind the binding '{binding}' a domain, or 'all', is missing"))),
            [binding, domain, note @ ..] => {
                parsed.with(Some(binding), Some(domain).filter(|domain| *domain != "all"), note)
            }
        }
    }

    /// `fail all [quiet] [--dry-run] FILTER [NOTE]`.
    pub fn all(args: &[String]) -> Result<Self, CommandError> {
        let (parsed, rest) = Self::begin(args)?;
        if parsed.filter.is_none() {
            return Err(usage(
                "a filter is missing: --meta KEY VALUE or --header NAME LINE says which mail of all queues fails",
            ));
        }
        parsed.with(None, None, &rest)
    }

    fn begin(args: &[String]) -> Result<(Self, Vec<String>), CommandError> {
        let Selected { quiet, dry_run, filter, rest } = Selected::parse(args)?;
        Ok((Self { quiet, dry_run, filter, ..Self::default() }, rest))
    }

    fn with(self, binding: Option<&String>, domain: Option<&String>, note: &[String]) -> Result<Self, CommandError> {
        if note.first().is_some_and(|word| word.eq_ignore_ascii_case("quiet")) {
            return Err(usage("'quiet' stands before the names, and would be the note here; nothing was done"));
        }
        let (binding, domain) = (binding.cloned(), domain.map(|domain| domain.to_lowercase()));
        Ok(Self { binding, domain, note: note.join(" "), ..self })
    }
}

/// `reroute queue [--dry-run] [FILTER] SRC|all DST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RerouteArguments {
    /// Nothing is done, only told.
    pub dry_run: bool,
    /// Only these messages.
    pub filter: Option<Filter>,
    /// The routing domain they leave, in lower case; none for all.
    pub from: Option<String>,
    /// The routing domain they go to, in lower case.
    pub to: String,
}

impl RerouteArguments {
    /// Reads the arguments.
    pub fn parse(args: &[String]) -> Result<Self, CommandError> {
        let Selected { dry_run, filter, rest, .. } = Selected::parse(args)?;
        match rest.as_slice() {
            [from, to] if to == "all" => Err(usage(format!("mail of {from} cannot go to 'all': name one domain"))),
            [from, to] if from.eq_ignore_ascii_case(to) => {
                Err(usage(format!("{from} is both where the mail is and where it goes")))
            }
            [_, to] if !is_routing_domain(to) => {
                Err(usage(format!("'{to}' is no name that mail can go to: a domain, #NAME or [ADDRESS] belongs here")))
            }
            [from, to] => {
                let from = Some(from.to_lowercase()).filter(|from| from != "all");
                Ok(Self { dry_run, filter, from, to: to.to_lowercase() })
            }
            [] | [_] => Err(usage("the domain that mail leaves, or 'all', and the domain it goes to belong here")),
            [_, _, surplus, ..] => Err(usage(format!("'{surplus}' is one argument too many"))),
        }
    }
}

/// `delay SECONDS [--domain D] [--binding B] [FILTER]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayArguments {
    /// How long, from now; not zero.
    pub seconds: u64,
    /// Nothing is done, only told.
    pub dry_run: bool,
    /// Only this binding.
    pub binding: Option<String>,
    /// Only this routing domain, in lower case.
    pub domain: Option<String>,
    /// Only these messages.
    pub filter: Option<Filter>,
}

impl DelayArguments {
    /// Reads the arguments; at least one selector is wanted, lest all mail be delayed by a slip.
    pub fn parse(args: &[String]) -> Result<Self, CommandError> {
        let (seconds, args) = args.split_first().ok_or_else(|| usage("the seconds are missing"))?;
        let whole = seconds.parse().ok().filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
        let seconds = whole
            .ok_or_else(|| usage(format!("'{seconds}' is not a whole number of seconds from 1 to {SECONDS_MAX}")))?;
        let (mut binding, mut domain, mut left) = (None, None, Vec::new());
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let place = match word.as_str() {
                "--domain" | "-d" => &mut domain,
                "--binding" | "-b" => &mut binding,
                _ => {
                    left.push(word.clone());
                    continue;
                }
            };
            let value: String = words.next().ok_or_else(|| usage(format!("{word} wants a value")))?.clone();
            if place.replace(value).is_some() {
                return Err(usage(format!("{word} stands here twice")));
            }
        }
        let Selected { dry_run, filter, rest, .. } = Selected::parse(&left)?;
        if let Some(surplus) = rest.first() {
            return Err(usage(format!("'{surplus}' is not an option of delay")));
        }
        if binding.is_none() && domain.is_none() && filter.is_none() {
            return Err(usage("say which mail: --domain, --binding, --meta or --header"));
        }
        Ok(Self { seconds, dry_run, binding, domain: domain.map(|domain| domain.to_lowercase()), filter })
    }
}

/// What all of them share.
struct Selected {
    quiet: bool,
    dry_run: bool,
    filter: Option<Filter>,
    rest: Vec<String>,
}

impl Selected {
    fn parse(args: &[String]) -> Result<Self, CommandError> {
        let (dry, mut rest): (Vec<_>, Vec<_>) = args.iter().cloned().partition(|word| word == "--dry-run");
        let mut quiet = take_quiet(&mut rest);
        let filter = match rest.as_slice() {
            [option, key, value, ..] if option == "--meta" => {
                Some(Filter::Meta { key: key.clone(), value: value.clone() })
            }
            [option, name, line, ..] if option == "--header" => {
                Some(Filter::Header { name: name.clone(), line: line.clone() })
            }
            [option, ..] if option == "--meta" => return Err(usage("--meta wants a KEY and a VALUE")),
            [option, ..] if option == "--header" => return Err(usage("--header wants a NAME and a LINE")),
            [option, ..] if option.starts_with("--") => {
                return Err(usage(format!("'{option}' is not an option of this command; nothing was done")));
            }
            _ => None,
        };
        if filter.is_some() {
            rest.drain(..3);
        }
        quiet |= take_quiet(&mut rest);
        if let Some(option) = rest.iter().find(|word| matches!(word.as_str(), "--meta" | "--header")) {
            let why = match filter {
                Some(_) => "there is one filter at most",
                None => "it stands before the binding and the domain",
            };
            return Err(usage(format!("'{option}' cannot stand there: {why}; nothing was done")));
        }
        Ok(Self { quiet, dry_run: !dry.is_empty(), filter, rest })
    }
}

/// `quiet`, if something stands behind it: alone it would be a name.
fn take_quiet(words: &mut Vec<String>) -> bool {
    let is_quiet = 1 < words.len() && words[0] == "quiet";
    if is_quiet {
        words.remove(0);
    }
    is_quiet
}

/// Whether a queue may have this name: a domain, the name of a stanza with `#` in front, or an address in brackets.
fn is_routing_domain(text: &str) -> bool {
    let is_printed =
        text.bytes().all(|octet| octet.is_ascii_graphic() && !b"@,;\"'/".contains(&octet) || !octet.is_ascii());
    let is_literal = text.len() > 2 && text.starts_with('[') && text.ends_with(']');
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_name = name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len()));
    is_printed && (is_literal || is_name)
}

fn usage(why: impl Into<String>) -> CommandError {
    CommandError::Usage(why.into())
}

/// A leap year.
const SECONDS_MAX: u64 = 366 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn refusal<T: std::fmt::Debug>(result: Result<T, CommandError>) -> String {
        match result {
            Err(CommandError::Usage(why)) => why,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn fail_takes_names_a_note_and_one_selection_in_front() {
        let parsed = FailArguments::domain(&words("A.example 554 Closed today")).unwrap();
        assert_eq!((parsed.domain.as_deref(), parsed.note.as_str()), (Some("a.example"), "554 Closed today"));
        let parsed = FailArguments::domain(&words("a.example gone --dry-run")).unwrap();
        assert!(parsed.dry_run && parsed.note == "gone" && !parsed.quiet);
        let meta = Some(Filter::Meta { key: "job".into(), value: "7".into() });
        for line in ["--dry-run quiet --meta job 7 a.example", "--meta job 7 quiet a.example --dry-run"] {
            let parsed = FailArguments::domain(&words(line)).unwrap();
            assert!(parsed.quiet && parsed.dry_run && parsed.domain.as_deref() == Some("a.example"), "{line}");
            assert_eq!(parsed.filter, meta, "{line}");
        }
        let parsed = FailArguments::binding(&words("--header X-Job 7 out1 all by jan")).unwrap();
        assert_eq!((parsed.binding.as_deref(), parsed.domain, parsed.note.as_str()), (Some("out1"), None, "by jan"));
        let parsed = FailArguments::all(&words("quiet --meta job 7 by jan")).unwrap();
        assert_eq!((parsed.quiet, parsed.binding, parsed.domain, parsed.note.as_str()), (true, None, None, "by jan"));
    }

    #[test]
    fn what_could_fail_more_than_was_meant_is_refused() {
        for line in ["a.example quiet", "a.example quiet gone", "a.example Quiet"] {
            assert!(refusal(FailArguments::domain(&words(line))).contains("'quiet' stands before"), "{line}");
        }
        assert!(refusal(FailArguments::domain(&words("all"))).contains("name a domain"));
        assert_eq!(refusal(FailArguments::domain(&[])), "a domain is missing");
        assert!(refusal(FailArguments::domain(&words("a.example --meta k v"))).contains("stands before the binding"));
        assert!(refusal(FailArguments::domain(&words("--meta k v --header n l a"))).contains("one filter at most"));
        assert!(refusal(FailArguments::domain(&words("--meta k"))).contains("wants a KEY and a VALUE"));
        assert!(refusal(FailArguments::domain(&words("--mta k v a"))).contains("'--mta' is not an option"));
        assert!(refusal(FailArguments::all(&words("gone"))).contains("a filter is missing"));
        assert!(refusal(FailArguments::binding(&words("out1"))).contains("behind the binding 'out1'"));
    }

    #[test]
    fn mail_goes_to_no_name_that_is_none() {
        for to in ["bad..name", ".x", "", "a@x.test", "x test"] {
            for dry in [&["--dry-run".to_owned()][..], &[]] {
                let words = [dry, &["nx.test".to_owned(), to.to_owned()]].concat();
                assert!(refusal(RerouteArguments::parse(&words)).contains("no name that mail can go to"), "{to}");
            }
        }
        for to in ["x.test", "x.test.", "#nowhere", "[192.0.2.1]", "[IPv6:2001:db8::1]"] {
            assert!(RerouteArguments::parse(&words(&format!("nx.test {to}"))).is_ok(), "{to}");
        }
    }

    #[test]
    fn reroute_and_delay_say_what_they_want() {
        let parsed = RerouteArguments::parse(&words("--dry-run A.example b.example")).unwrap();
        assert_eq!((parsed.dry_run, parsed.from.as_deref(), &*parsed.to), (true, Some("a.example"), "b.example"));
        assert_eq!(RerouteArguments::parse(&words("all b.example")).unwrap().from, None);
        assert!(refusal(RerouteArguments::parse(&words("a.example all"))).contains("name one domain"));
        assert!(refusal(RerouteArguments::parse(&words("a.example A.example"))).contains("both where"));
        assert!(refusal(RerouteArguments::parse(&words("a.example"))).contains("belong here"));
        let parsed = DelayArguments::parse(&words("60 --binding b --meta k v -d X.example")).unwrap();
        assert_eq!((parsed.seconds, parsed.binding.as_deref()), (60, Some("b")));
        assert_eq!((parsed.domain.as_deref(), parsed.filter.is_some()), (Some("x.example"), true));
        for (line, said) in [
            ("0 -d x", "'0' is not a whole number of seconds"),
            ("1.5 -d x", "'1.5' is not a whole number"),
            ("60", "say which mail"),
            ("60 x.example", "'x.example' is not an option of delay"),
            ("60 -d", "-d wants a value"),
            ("60 -d x -d y", "twice"),
        ] {
            assert!(refusal(DelayArguments::parse(&words(line))).contains(said), "{line}");
        }
    }
}
