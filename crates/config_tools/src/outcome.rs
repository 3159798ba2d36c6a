//! What a tool has to say, and the code it ends with.

use std::io::Write as _;
use std::process::ExitCode;

/// The result of a tool. Nothing is printed before it is complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub err: String,
    /// 0: as it should be; 1: the configuration is not; 2: it cannot be read, or the command line is wrong.
    pub code: u8,
}

impl Outcome {
    /// All is well.
    pub const GOOD: u8 = 0;
    /// The configuration is invalid, or not in the house's layout.
    pub const BAD: u8 = 1;
    /// There is nothing to judge: no such file, no permission.
    pub const UNREADABLE: u8 = 2;

    /// A result that is only a text.
    pub fn good(out: impl Into<String>) -> Self {
        Self { out: out.into(), err: String::new(), code: Self::GOOD }
    }

    /// A failure with a sentence for the operator.
    pub fn failed(code: u8, sentence: impl Into<String>) -> Self {
        Self { out: String::new(), err: sentence.into() + "\n", code }
    }

    /// Takes in what another file gave; the worse code stays.
    pub(crate) fn add(&mut self, other: Outcome) {
        self.out += &other.out;
        self.err += &other.err;
        self.code = self.code.max(other.code);
    }

    /// Prints it. A reader that has gone away is no failure of the tool.
    pub fn print(self) -> ExitCode {
        let _ = std::io::stderr().write_all(self.err.as_bytes());
        let _ = std::io::stdout().write_all(self.out.as_bytes());
        ExitCode::from(self.code)
    }
}

/// Reads a command line, or ends with its help or its fault.
pub(crate) fn ended_by(error: &clap::Error) -> Outcome {
    let text = error.render().to_string();
    match error.use_stderr() {
        true => Outcome { out: String::new(), err: text, code: Outcome::UNREADABLE },
        false => Outcome::good(text),
    }
}
