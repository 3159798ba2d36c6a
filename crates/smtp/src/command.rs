//! The grammar of commands (RFC 5321 4.1): one line, without its CRLF, taken apart into a verb and its arguments.
//!
//! Comes in: a line of octets. Goes out: a [`Command`] borrowing from it, or a [`CommandError`] whose reply is in
//! `replies`. Verbs and parameters nobody knows are kept as they came: whether one is offered is the session's business.
//!
//! Invariant: whatever a command borrows is printable ASCII, so it can stand in a log line or a header field.

use smallvec::SmallVec;

use crate::address::{AddressError, AddressRules, ForwardPath, Mailbox, PATH_OCTETS_MAX, ReversePath};

/// One command of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// EHLO with the client's name.
    Ehlo(&'a str),
    /// HELO with the client's name.
    Helo(&'a str),
    /// MAIL FROM.
    Mail(PathArgument<'a>),
    /// RCPT TO.
    Rcpt(PathArgument<'a>),
    /// DATA.
    Data,
    /// RSET.
    Rset,
    /// STARTTLS.
    StartTls,
    /// NOOP, whatever its argument.
    Noop,
    /// QUIT.
    Quit,
    /// VRFY.
    Vrfy(&'a str),
    /// EXPN.
    Expn(&'a str),
    /// HELP, whatever its argument.
    Help,
    /// Any other verb.
    Unknown {
        /// The first word.
        verb: &'a str,
        /// What follows it.
        argument: &'a str,
    },
}

/// The argument of MAIL or RCPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathArgument<'a> {
    /// What stands between the angle brackets.
    pub path: &'a str,
    /// The ESMTP parameters, in the order they came; no keyword twice.
    pub parameters: Parameters<'a>,
}

/// Blanks that are dropped instead of being refused. The default drops none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blanks {
    /// Spaces at the end of any command.
    pub trailing: bool,
    /// Spaces and tabs at the end of MAIL and RCPT, and spaces inside the angle brackets around the address.
    pub in_envelope: bool,
}

/// ESMTP parameters of MAIL or RCPT.
pub type Parameters<'a> = SmallVec<[Parameter<'a>; 4]>;

/// `keyword[=value]` (RFC 5321 4.1.2 `esmtp-param`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// The keyword, as it was spelled.
    pub keyword: &'a str,
    /// The value, if there is one; never empty.
    pub value: Option<&'a str>,
}

/// Most parameters one command may carry.
const PARAMETERS_MAX: usize = 16;

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// NUL, another control octet, or one over 127.
    Octets,
    /// No verb at all.
    Empty,
    /// EHLO without a usable name.
    Ehlo,
    /// HELO without a usable name.
    Helo,
    /// MAIL without `FROM:<path>`.
    MailSyntax,
    /// RCPT without `TO:<path>`.
    RcptSyntax,
    /// MAIL with a path over 256 octets.
    ReversePathTooLong,
    /// RCPT with a path over 256 octets.
    ForwardPathTooLong,
    /// A parameter that is not `keyword[=value]`, comes twice, or one of too many.
    Parameter,
    /// An argument to DATA.
    DataArgument,
    /// An argument to RSET.
    RsetArgument,
    /// An argument to a verb that takes none.
    NoArgument,
}

impl<'a> Command<'a> {
    /// Takes a line apart.
    pub fn parse(line: &'a [u8], blanks: Blanks) -> Result<Self, CommandError> {
        let line = if blanks.in_envelope && is_envelope(line) { line.trim_ascii_end() } else { line };
        if !line.iter().all(|octet| (32..=126).contains(octet)) {
            return Err(CommandError::Octets);
        }
        let mut text = std::str::from_utf8(line).map_err(|_| CommandError::Octets)?;
        if blanks.trailing {
            text = text.trim_end_matches(' ');
        }
        let (verb, argument) = text.split_once(' ').unwrap_or((text, ""));
        let Some(known) = Verb::of(verb) else {
            return if verb.is_empty() { Err(CommandError::Empty) } else { Ok(Self::Unknown { verb, argument }) };
        };
        // A blank after a verb that has no argument is an argument to those who take none.
        let has_argument = verb.len() < text.len();
        match known {
            Verb::Ehlo => client_name(argument).map(Self::Ehlo).ok_or(CommandError::Ehlo),
            Verb::Helo => client_name(argument).map(Self::Helo).ok_or(CommandError::Helo),
            Verb::Mail => path_argument(argument, "FROM:", blanks).map(Self::Mail).map_err(PathError::of_mail),
            Verb::Rcpt => path_argument(argument, "TO:", blanks).map(Self::Rcpt).map_err(PathError::of_rcpt),
            Verb::Data if has_argument => Err(CommandError::DataArgument),
            Verb::Data => Ok(Self::Data),
            Verb::Rset if has_argument => Err(CommandError::RsetArgument),
            Verb::Rset => Ok(Self::Rset),
            Verb::StartTls if has_argument => Err(CommandError::NoArgument),
            Verb::StartTls => Ok(Self::StartTls),
            Verb::Quit if has_argument => Err(CommandError::NoArgument),
            Verb::Quit => Ok(Self::Quit),
            Verb::Noop => Ok(Self::Noop),
            Verb::Vrfy => Ok(Self::Vrfy(argument)),
            Verb::Expn => Ok(Self::Expn(argument)),
            Verb::Help => Ok(Self::Help),
        }
    }
}

/// The verbs this grammar knows.
#[derive(Clone, Copy)]
enum Verb {
    Ehlo,
    Helo,
    Mail,
    Rcpt,
    Data,
    Rset,
    StartTls,
    Noop,
    Quit,
    Vrfy,
    Expn,
    Help,
}

impl Verb {
    fn of(word: &str) -> Option<Self> {
        if word.eq_ignore_ascii_case("STARTTLS") {
            return Some(Self::StartTls);
        }
        let mut verb: [u8; 4] = word.as_bytes().try_into().ok()?;
        verb.make_ascii_uppercase();
        Some(match &verb {
            b"EHLO" => Self::Ehlo,
            b"HELO" => Self::Helo,
            b"MAIL" => Self::Mail,
            b"RCPT" => Self::Rcpt,
            b"DATA" => Self::Data,
            b"RSET" => Self::Rset,
            b"NOOP" => Self::Noop,
            b"QUIT" => Self::Quit,
            b"VRFY" => Self::Vrfy,
            b"EXPN" => Self::Expn,
            b"HELP" => Self::Help,
            _ => return None,
        })
    }
}

impl<'a> Parameter<'a> {
    /// Whether the keyword is `keyword`, in any case.
    pub fn is(&self, keyword: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(keyword)
    }

    fn parse(text: &'a str) -> Option<Self> {
        let (keyword, value) = match text.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (text, None),
        };
        let keyword_valid = keyword.starts_with(|c: char| c.is_ascii_alphanumeric())
            && keyword.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
        let value_valid = value.is_none_or(|value| !value.is_empty() && !value.contains('='));
        (keyword_valid && value_valid).then_some(Self { keyword, value })
    }
}

/// A client's name as it will be accepted: of what domains and address literals are made, wrong ones included, because
/// a client must not be turned away for a name that does not match it (RFC 5321 4.1.4). Never more than 255 octets.
fn client_name(argument: &str) -> Option<&str> {
    let name = argument.trim_matches(' ');
    let valid = (1..=255).contains(&name.len())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-_:[]".contains(&octet));
    valid.then_some(name)
}

/// Why the argument of MAIL or RCPT is none.
enum PathError {
    Syntax,
    TooLong,
    Parameter,
}

impl PathError {
    fn of_mail(self) -> CommandError {
        match self {
            Self::Syntax => CommandError::MailSyntax,
            Self::TooLong => CommandError::ReversePathTooLong,
            Self::Parameter => CommandError::Parameter,
        }
    }

    fn of_rcpt(self) -> CommandError {
        match self {
            Self::Syntax => CommandError::RcptSyntax,
            Self::TooLong => CommandError::ForwardPathTooLong,
            Self::Parameter => CommandError::Parameter,
        }
    }
}

fn is_envelope(line: &[u8]) -> bool {
    line.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"MAIL ") || verb.eq_ignore_ascii_case(b"RCPT "))
}

/// `FROM:<path> [parameters]`. Blanks after the colon are tolerated, because clients send them and nothing depends on it.
fn path_argument<'a>(argument: &'a str, word: &str, blanks: Blanks) -> Result<PathArgument<'a>, PathError> {
    let after_word = argument
        .get(..word.len())
        .filter(|prefix| prefix.eq_ignore_ascii_case(word))
        .map(|prefix| argument[prefix.len()..].trim_start_matches(' '))
        .ok_or(PathError::Syntax)?;
    let bracketed = after_word.strip_prefix('<').ok_or(PathError::Syntax)?;
    let end = closing_bracket(bracketed).ok_or(PathError::Syntax)?;
    if PATH_OCTETS_MAX < end + "<>".len() {
        return Err(PathError::TooLong);
    }
    let rest = &bracketed[end + 1..];
    if !rest.is_empty() && (!rest.starts_with(' ') || rest.ends_with(' ')) {
        return Err(PathError::Syntax);
    }
    let path = &bracketed[..end];
    let path = if blanks.in_envelope { path.trim_matches(' ') } else { path };
    Ok(PathArgument { path: without_source_route(path), parameters: parameters(rest)? })
}

/// Where the path ends: the first `>` outside a quoted local-part.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// `@a,@b:c@d` is taken as `c@d` (RFC 5321 appendix C: source routes are accepted and ignored).
fn without_source_route(path: &str) -> &str {
    match path.starts_with('@').then(|| path.split_once(':')).flatten() {
        Some((_, mailbox)) => mailbox,
        None => path,
    }
}

fn parameters(rest: &str) -> Result<Parameters<'_>, PathError> {
    let mut parameters = Parameters::new();
    for word in rest.split(' ').filter(|word| !word.is_empty()) {
        let parameter = Parameter::parse(word).ok_or(PathError::Parameter)?;
        if parameters.len() == PARAMETERS_MAX || parameters.iter().any(|other| other.is(parameter.keyword)) {
            return Err(PathError::Parameter);
        }
        parameters.push(parameter);
    }
    Ok(parameters)
}

/// A reverse-path; a local-part alone gets `domain` if there is one.
pub fn reverse_path(path: &str, domain: Option<&str>, rules: AddressRules) -> Result<ReversePath, AddressError> {
    if path.is_empty() {
        return Ok(ReversePath::Null);
    }
    qualified(path, domain, rules).map(ReversePath::Mailbox)
}

/// A forward-path; a local-part alone gets `domain` if there is one. `<postmaster>` needs none (RFC 5321 4.5.1).
pub fn forward_path(path: &str, domain: Option<&str>, rules: AddressRules) -> Result<ForwardPath, AddressError> {
    match qualified(path, domain, rules) {
        Err(_) if path.eq_ignore_ascii_case("postmaster") => Ok(ForwardPath(Mailbox::postmaster())),
        mailbox => mailbox.map(ForwardPath),
    }
}

fn qualified(path: &str, domain: Option<&str>, rules: AddressRules) -> Result<Mailbox, AddressError> {
    let mailbox = match (Mailbox::parse_under(rules, path), domain) {
        (Err(AddressError::Syntax | AddressError::NoDomain), Some(domain)) => {
            Mailbox::parse_under(rules, &format!("{path}@{domain}"))?
        }
        (mailbox, _) => mailbox?,
    };
    if PATH_OCTETS_MAX < mailbox.as_str().len() + "<>".len() {
        return Err(AddressError::PathTooLong);
    }
    Ok(mailbox)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEDANTIC: AddressRules = AddressRules::Pedantic;

    fn parse(line: &str) -> Result<Command<'_>, CommandError> {
        Command::parse(line.as_bytes(), Blanks::default())
    }

    fn path<'a>(path: &'a str, parameters: &[(&'a str, Option<&'a str>)]) -> PathArgument<'a> {
        let parameters = parameters.iter().map(|&(keyword, value)| Parameter { keyword, value }).collect();
        PathArgument { path, parameters }
    }

    #[test]
    fn verbs_are_known_in_any_case() {
        assert_eq!(parse("eHLo pc.example"), Ok(Command::Ehlo("pc.example")));
        assert_eq!(parse("HELO [192.0.2.1]"), Ok(Command::Helo("[192.0.2.1]")));
        assert_eq!(parse("data"), Ok(Command::Data));
        assert_eq!(parse("NOOP whatever"), Ok(Command::Noop));
        assert_eq!(parse("VRFY ann"), Ok(Command::Vrfy("ann")));
        assert_eq!(parse("XFOO a b"), Ok(Command::Unknown { verb: "XFOO", argument: "a b" }));
    }

    #[test]
    fn paths_and_parameters_are_taken_apart() {
        assert_eq!(
            parse("MAIL FROM:<a@x.example> SIZE=10 BODY=8BITMIME XNEW"),
            Ok(Command::Mail(path("a@x.example", &[("SIZE", Some("10")), ("BODY", Some("8BITMIME")), ("XNEW", None)])))
        );
        assert_eq!(parse("mail from:<>"), Ok(Command::Mail(path("", &[]))));
        assert_eq!(parse("RCPT TO: <@r1,@r2:b@y.example>"), Ok(Command::Rcpt(path("b@y.example", &[]))));
        assert_eq!(parse("RCPT TO:<\"a>b\"@y.example>"), Ok(Command::Rcpt(path("\"a>b\"@y.example", &[]))));
    }

    #[test]
    fn what_is_no_command_says_why() {
        for (line, error) in [
            ("", CommandError::Empty),
            (" NOOP", CommandError::Empty),
            ("EHLO", CommandError::Ehlo),
            ("HELO a b", CommandError::Helo),
            ("MAIL", CommandError::MailSyntax),
            ("MAIL FROM:a@x", CommandError::MailSyntax),
            ("MAIL FROM:<a@x", CommandError::MailSyntax),
            ("MAIL FROM:<a@x>SIZE=1", CommandError::MailSyntax),
            ("RCPT FROM:<a@x>", CommandError::RcptSyntax),
            ("MAIL FROM:<a@x> SIZE=1 size=2", CommandError::Parameter),
            ("MAIL FROM:<a@x> =1", CommandError::Parameter),
            ("MAIL FROM:<a@x> SIZE=", CommandError::Parameter),
            ("DATA now", CommandError::DataArgument),
            ("RSET ", CommandError::RsetArgument),
            ("QUIT please", CommandError::NoArgument),
            ("NOOP \u{7f}", CommandError::Octets),
            ("NOOP \0", CommandError::Octets),
            ("NOOP é", CommandError::Octets),
        ] {
            assert_eq!(parse(line), Err(error), "{line:?}");
        }
        let trailing = Blanks { trailing: true, in_envelope: false };
        assert_eq!(Command::parse(b"RSET  ", trailing), Ok(Command::Rset));
    }

    #[test]
    fn blanks_around_a_path_are_refused_unless_the_envelope_may_hold_them() {
        let blanks = Blanks { trailing: false, in_envelope: true };
        for line in ["RCPT TO:<b@y.example> ", "RCPT TO:<b@y.example>\t \t", "rcpt TO:< b@y.example  >"] {
            let argument = Command::parse(line.as_bytes(), blanks);
            assert_eq!(argument, Ok(Command::Rcpt(path("b@y.example", &[]))), "{line:?}");
        }
        assert_eq!(parse("RCPT TO:<b@y.example> "), Err(CommandError::RcptSyntax));
        assert_eq!(parse("MAIL FROM:<b@y.example> SIZE=1 "), Err(CommandError::MailSyntax));
        assert_eq!(parse("RCPT TO:<b@y.example>\t"), Err(CommandError::Octets));
        assert_eq!(Command::parse(b"RSET ", blanks), Err(CommandError::RsetArgument));
        assert_eq!(Command::parse(b"RCPT TO:<b\t@y.example>", blanks), Err(CommandError::Octets));
    }

    #[test]
    fn a_source_route_counts_towards_the_length_of_a_path() {
        let route = "@relay.example,".repeat(16);
        assert!(parse(&format!("MAIL FROM:<{}@r.test:a@x.test>", &route[..15 * 15])).is_ok());
        assert_eq!(parse(&format!("MAIL FROM:<{route}@r.test:a@x.test>")), Err(CommandError::ReversePathTooLong));
        assert_eq!(parse(&format!("RCPT TO:<{route}@r.test:a@x.test>")), Err(CommandError::ForwardPathTooLong));
    }

    #[test]
    fn a_path_with_its_brackets_has_at_most_256_octets() {
        let of_octets = |octets: usize| format!("a@{}b", "b.".repeat((octets - "<a@b>".len()) / 2));
        assert!(reverse_path(&of_octets(255), None, PEDANTIC).is_ok());
        assert!(forward_path(&format!("a{}", of_octets(255)), None, PEDANTIC).is_ok());
        assert_eq!(forward_path(&of_octets(257), None, PEDANTIC), Err(AddressError::PathTooLong));
        let domain = &of_octets(255)["a@".len()..];
        assert_eq!(
            reverse_path("ann", Some(domain), PEDANTIC),
            Err(AddressError::PathTooLong),
            "completed, it is too long"
        );
    }

    #[test]
    fn a_local_part_alone_gets_the_configured_domain() {
        assert_eq!(reverse_path("", Some("here.test"), PEDANTIC), Ok(ReversePath::Null));
        assert_eq!(reverse_path("ann", Some("here.test"), PEDANTIC).unwrap().as_str(), "ann@here.test");
        assert_eq!(forward_path("ann", None, PEDANTIC), Err(AddressError::NoDomain));
        assert_eq!(forward_path("PostMaster", None, PEDANTIC).unwrap().as_str(), "postmaster");
        assert_eq!(forward_path("Postmaster", Some("here.test"), PEDANTIC).unwrap().as_str(), "Postmaster@here.test");
    }
}
