//! Which program, with what: `/path words?arg1=…&env1=NAME=value&clear_env=1&reinvoke=0`. Pure.

use std::io;

/// A program to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub path: String,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Whether it gets only that environment.
    pub clear_environment: bool,
    /// Whether it is started again when it ends.
    pub reinvoke: bool,
}

impl Address {
    /// The path and arguments without blanks stand before a `?`, other parameters behind it, percent-encoded; there
    /// `arg1`, `arg2` … follow the words, by number.
    pub(crate) fn parse(rest: &str) -> io::Result<Self> {
        let (words, parameters) = io_wrapper::parameters(rest)?;
        let mut words = words.split_ascii_whitespace().map(str::to_owned);
        let path = words.next().filter(|path| path.starts_with('/'));
        let path =
            path.ok_or_else(|| wrong("a pipe needs the full path of a program, as in pipe:///usr/bin/logger"))?;
        let (mut arguments, mut environment) = (Vec::new(), Vec::new());
        let mut address = Self {
            path,
            arguments: words.collect(),
            environment: Vec::new(),
            clear_environment: false,
            reinvoke: true,
        };
        for (key, value) in parameters {
            match (key.as_str(), number(&key, "arg"), number(&key, "env")) {
                ("clear_env", ..) => address.clear_environment = truth(&key, &value)?,
                ("reinvoke", ..) => address.reinvoke = truth(&key, &value)?,
                ("shutdown_on_failure", ..) if !truth(&key, &value)? => {}
                ("shutdown_on_failure", ..) => {
                    return Err(wrong(
                        "shutdown_on_failure=1 is not supported: mail goes on when a log's program fails",
                    ));
                }
                (_, Some(place), _) => arguments.push((place, value)),
                (_, _, Some(place)) => {
                    let (name, value) = value.split_once('=').ok_or_else(|| wrong("env needs NAME=value"))?;
                    environment.push((place, (name.to_owned(), value.to_owned())));
                }
                _ => return Err(wrong(&format!("unknown parameter {key}; known are {KNOWN}"))),
            }
        }
        arguments.sort_by_key(|&(place, _)| place);
        environment.sort_by_key(|&(place, _)| place);
        address.arguments.extend(arguments.into_iter().map(|(_, argument)| argument));
        address.environment.extend(environment.into_iter().map(|(_, variable)| variable));
        Ok(address)
    }
}

fn number(key: &str, word: &str) -> Option<u32> {
    key.strip_prefix(word)?.parse().ok()
}

fn truth(key: &str, value: &str) -> io::Result<bool> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(wrong(&format!("{key} must be 0 or 1, not {value:?}"))),
    }
}

fn wrong(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

const KNOWN: &str = "arg1, arg2 and so on, env1 and so on, clear_env, reinvoke and shutdown_on_failure";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_first_and_numbered_arguments_after_them_in_order() {
        let address = Address::parse("/bin/x -a b?arg2=last&arg1=c%20d&env1=A=b=c&clear_env=1&reinvoke=0").unwrap();
        assert_eq!(address.path, "/bin/x");
        assert_eq!(address.arguments, ["-a", "b", "c d", "last"]);
        assert_eq!(address.environment, [("A".to_owned(), "b=c".to_owned())]);
        assert!(address.clear_environment && !address.reinvoke);
        let plain = Address::parse("/bin/x?shutdown_on_failure=0").unwrap();
        assert!(plain.arguments.is_empty() && !plain.clear_environment && plain.reinvoke);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "full path"),
            ("logger -t x", "full path"),
            ("/bin/x?arg=1", "unknown parameter arg"),
            ("/bin/x?env1=A", "NAME=value"),
            ("/bin/x?reinvoke=maybe", "0 or 1"),
            ("/bin/x?shutdown_on_failure=1", "not supported"),
        ] {
            let told = Address::parse(text).unwrap_err().to_string();
            assert!(told.contains(reason), "{text}: {told}");
        }
    }
}
