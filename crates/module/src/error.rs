//! Why modules cannot be used as they are installed or configured. For the operator.

use std::fmt;

/// A fault, with the file and line or the module it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    place: String,
    problem: String,
}

impl Error {
    pub(crate) fn at(place: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self { place: place.to_string(), problem: problem.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl std::error::Error for Error {}
