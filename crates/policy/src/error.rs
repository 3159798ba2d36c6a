//! Why something that policy asked for was not done. Every language shows the same text.

use std::fmt;

use message::edits::Misfit;
use message::field::FieldError;

use crate::phases::{Field, Phase};

/// Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// This may not be changed in this phase, or not any more.
    NotNow {
        /// What.
        field: Field,
        /// When.
        phase: Phase,
    },
    /// There is nothing of the kind at this point.
    Absent {
        /// What was asked for.
        what: &'static str,
        /// When.
        phase: Phase,
    },
    /// The configuration has no such binding.
    NoBinding(String),
    /// The configuration has no such binding group, or none of its bindings may be used.
    NoBindingGroup(String),
    /// Not an address.
    Address(String),
    /// Not a domain that mail can be routed by.
    RoutingDomain(String),
    /// Not a header field.
    Header(FieldError),
    /// More header fields than a message may have.
    TooManyFields,
    /// A reply code that is none: 200 to 599.
    Code(u16),
    /// A context key without a character.
    EmptyKey,
    /// More variables, or longer ones, than a context holds.
    ContextFull,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNow { field, phase } => {
                let allowed: Vec<&str> = field.phases().iter().map(|phase| phase.as_str()).collect();
                write!(f, "{field} cannot be changed in {phase}: change it in {}", allowed.join(", "))
            }
            Self::Absent { what, phase } => write!(f, "there is no {what} in {phase}"),
            Self::NoBinding(name) => write!(f, "the configuration has no binding {name:?}"),
            Self::NoBindingGroup(name) => write!(f, "the configuration has no usable binding group {name:?}"),
            Self::Address(address) => write!(f, "{address:?} is no address"),
            Self::RoutingDomain(domain) => write!(f, "{domain:?} is no domain that mail can be routed by"),
            Self::Header(error) => error.fmt(f),
            Self::TooManyFields => f.write_str("the message would have more header fields than it may"),
            Self::Code(code) => write!(f, "{code} is no reply code: 200 to 599"),
            Self::EmptyKey => f.write_str("a context key has at least one character"),
            Self::ContextFull => f.write_str("the context holds no more: 1024 variables, 64 KiB each"),
        }
    }
}

impl std::error::Error for PolicyError {}

impl From<FieldError> for PolicyError {
    fn from(error: FieldError) -> Self {
        Self::Header(error)
    }
}

impl From<Misfit> for PolicyError {
    fn from(_: Misfit) -> Self {
        Self::TooManyFields
    }
}
