//! What a hook is: name, C prototype, arguments, how answers combine, where it runs. One constant beside the code that
//! calls it.
//!
//! Everything that is told of a hook comes from here: registration by name, `module hooks`, the manual's reference of
//! hooks.

use std::fmt;

use crate::provider::Returned;
use crate::value::Kind;

/// The declaration of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// Who owns it: `core`, `validate`, or a module.
    pub scope: &'static str,
    /// Its name within the scope.
    pub name: &'static str,
    /// What a C provider returns: `void`, `int`, `const char *`.
    pub returns: &'static str,
    /// What a provider is handed, after the closure.
    pub parameters: &'static [Parameter],
    /// How the answers of several providers combine.
    pub rule: Rule,
    /// What becomes of the call when a provider fails.
    pub failing: Failing,
    /// On which thread.
    pub runs: Runs,
    /// What providers need of a message, which is there before they are called.
    pub needs: Needs,
    /// Whether a provider may suspend the call.
    pub suspends: bool,
    /// How much it is asked for.
    pub tier: Tier,
    /// When it is called, and what an answer does. A sentence.
    pub meaning: &'static str,
}

impl Declaration {
    /// `scope_name`, as modules and scripts call it.
    pub fn title(&self) -> String {
        title(self.scope, self.name)
    }

    /// The C prototype of a provider.
    pub fn prototype(&self) -> String {
        let mut text = self.returns.to_owned();
        if !text.ends_with('*') {
            text.push(' ');
        }
        text.push_str(&self.title());
        text.push_str("(void *closure");
        for parameter in self.parameters {
            text.push_str(&format!(", {parameter}"));
        }
        text.push(')');
        text
    }

    /// The types of a provider's parameters as C's macros write them: `(void *, ec_message *)`.
    pub fn types(&self) -> String {
        let types: Vec<&str> =
            std::iter::once("void *").chain(self.parameters.iter().map(|parameter| parameter.c_type)).collect();
        format!("({})", types.join(", "))
    }

    /// Whether a provider with these parameter types, as C's macros write them, is one of this hook.
    pub fn takes(&self, types: &str) -> bool {
        let plain = |text: &str| text.chars().filter(|one| !one.is_whitespace()).collect::<String>();
        plain(types) == plain(&self.types())
    }
}

/// `scope_name`.
pub(crate) fn title(scope: &str, name: &str) -> String {
    format!("{scope}_{name}")
}

/// One parameter of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its type in C, `ec_message *`.
    pub c_type: &'static str,
    /// Its name in the documented prototype.
    pub name: &'static str,
    /// What comes through it.
    pub kind: Kind,
}

impl Parameter {
    /// A parameter.
    pub const fn new(c_type: &'static str, name: &'static str, kind: Kind) -> Self {
        Self { c_type, name, kind }
    }

    /// `ec_message *`.
    pub const fn message(name: &'static str) -> Self {
        Self::new("ec_message *", name, Kind::Message)
    }

    /// `accept_construct *`.
    pub const fn session(name: &'static str) -> Self {
        Self::new("accept_construct *", name, Kind::Session)
    }

    /// `validate_context *`.
    pub const fn context(name: &'static str) -> Self {
        Self::new("validate_context *", name, Kind::ValidationContext)
    }

    /// `domain_record *`.
    pub const fn domain(name: &'static str) -> Self {
        Self::new("domain_record *", name, Kind::DomainRecord)
    }

    /// `struct timeval *`: now.
    pub const fn now() -> Self {
        Self::new("struct timeval *", "now", Kind::Time)
    }

    /// `const char *`: a text to read.
    pub const fn text(name: &'static str) -> Self {
        Self::new("const char *", name, Kind::Text)
    }

    /// `ec_string *`: a text to read.
    pub const fn string(name: &'static str) -> Self {
        Self::new("ec_string *", name, Kind::Text)
    }

    /// `int`.
    pub const fn number(name: &'static str) -> Self {
        Self::new("int", name, Kind::Number)
    }

    /// `int *`: a number to write.
    pub const fn number_place(name: &'static str) -> Self {
        Self::new("int *", name, Kind::NumberPlace)
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.c_type.ends_with('*') { "" } else { " " };
        write!(f, "{}{space}{}", self.c_type, self.name)
    }
}

/// How the answers of several providers combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Every provider runs, and what it returns is nobody's business.
    Every,
    /// `goes_on` leaves it to the next provider; each of `ends` decides, and ends the chain. Nothing else is legal.
    Chain {
        /// The answer that decides nothing.
        goes_on: Meaning,
        /// The answers that decide.
        ends: &'static [Meaning],
    },
    /// 0 leaves it to the next provider; any other number decides, and ends the chain.
    NonZeroEnds,
    /// 0 decides, and ends the chain; any other number leaves it to the next provider.
    ZeroEnds,
    /// NULL leaves it to the next provider; a text decides, and ends the chain.
    TextEnds,
}

/// A number that is an answer, and what C calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning(pub i64, pub &'static str);

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            "" => write!(f, "{}", self.0),
            name => write!(f, "{name} ({})", self.0),
        }
    }
}

/// What an answer does to the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weighed {
    GoesOn,
    Ends,
    Illegal,
}

impl Rule {
    /// The documented rule of a validation phase.
    pub const VALIDATE: Self =
        Rule::Chain { goes_on: Meaning(0, "VALIDATE_CONT"), ends: &[Meaning(1, "VALIDATE_DONE")] };

    pub(crate) fn weigh(self, returned: &Returned) -> Weighed {
        match (self, returned) {
            (Rule::Every, _) => Weighed::GoesOn,
            (Rule::Chain { goes_on, .. }, Returned::Number(number)) if goes_on.0 == *number => Weighed::GoesOn,
            (Rule::Chain { ends, .. }, Returned::Number(number)) => {
                if ends.iter().any(|end| end.0 == *number) {
                    Weighed::Ends
                } else {
                    Weighed::Illegal
                }
            }
            (Rule::NonZeroEnds, Returned::Number(0)) => Weighed::GoesOn,
            (Rule::NonZeroEnds, Returned::Number(_)) => Weighed::Ends,
            (Rule::ZeroEnds, Returned::Number(0)) => Weighed::Ends,
            (Rule::ZeroEnds, Returned::Number(_)) => Weighed::GoesOn,
            (Rule::TextEnds, Returned::Nothing) => Weighed::GoesOn,
            (Rule::TextEnds, Returned::Text(_)) => Weighed::Ends,
            _ => Weighed::Illegal,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Every => f.write_str("every provider is called"),
            Rule::Chain { goes_on, ends } => {
                let ends: Vec<String> = ends.iter().map(ToString::to_string).collect();
                let plural = if ends.len() == 1 { "ends" } else { "end" };
                write!(f, "{} {plural} the chain, {goes_on} goes on", ends.join(" and "))
            }
            Rule::NonZeroEnds => f.write_str("the first that is not 0 ends the chain"),
            Rule::ZeroEnds => f.write_str("the first 0 ends the chain"),
            Rule::TextEnds => f.write_str("the first that is not NULL ends the chain"),
        }
    }
}

/// What becomes of a call when a provider fails: gives an answer that means nothing, an error, or suspends where it may
/// not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// The call goes on as if the provider was not there.
    PassedOver,
    /// The chain ends, and what was asked is put off: policy that cannot be asked lets nothing in and loses nothing.
    Defers,
}

impl Failing {
    /// In a few words.
    pub fn word(self) -> &'static str {
        match self {
            Failing::PassedOver => "passed over",
            Failing::Defers => "deferred",
        }
    }
}

/// On which thread providers are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// The event loop of the session.
    Session,
    /// The event loop of the queue.
    Queue,
    /// The master scheduler.
    Master,
    /// A thread of the CPU pool.
    CpuPool,
    /// A thread that may block, other than a loop's.
    Worker,
    /// Whatever thread had something to tell.
    Any,
}

impl Runs {
    /// In a few words.
    pub fn word(self) -> &'static str {
        match self {
            Runs::Session => "the session's loop",
            Runs::Queue => "the queue's loop",
            Runs::Master => "the master scheduler",
            Runs::CpuPool => "a thread of the CPU pool",
            Runs::Worker => "a thread that may block",
            Runs::Any => "any thread",
        }
    }
}

/// What of a message is there when providers are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// No message is concerned.
    Nothing,
    /// Its id.
    Id,
    /// Its envelope.
    Envelope,
    /// Its envelope and its body.
    Body,
}

impl Needs {
    /// In a few words.
    pub fn word(self) -> &'static str {
        match self {
            Needs::Nothing => "nothing",
            Needs::Id => "the id",
            Needs::Envelope => "the envelope",
            Needs::Body => "envelope and body",
        }
    }
}

/// How much a hook is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// By everybody.
    A,
    /// By some.
    B,
    /// Of a module, or obsolete.
    C,
}

impl Tier {
    /// Its letter.
    pub fn word(self) -> &'static str {
        match self {
            Tier::A => "A",
            Tier::B => "B",
            Tier::C => "C",
        }
    }
}
