//! The variables a configuration may refer to: those of the process, or a table.
//!
//! The one place of this crate that reads the environment. A load asks for each reference; a test gives a table. Values
//! may be secrets, so they are never part of a debug text.

use std::collections::BTreeMap;
use std::env::{self, VarError};
use std::fmt;
use std::sync::Arc;

/// Where `${NAME}` and `if_env` find their variables.
#[derive(Clone, Default)]
pub struct Variables {
    /// Instead of the environment of the process.
    table: Option<Arc<BTreeMap<String, String>>>,
}

impl Variables {
    /// The environment of this process, which is also the default.
    pub fn of_process() -> Self {
        Variables::default()
    }

    /// Exactly these variables.
    pub fn of<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let table = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Variables { table: Some(Arc::new(table)) }
    }

    /// The value of a variable; `None` when it is not set. The error is a sentence about a value that is no text.
    pub(crate) fn get(&self, name: &str) -> Result<Option<String>, String> {
        match &self.table {
            Some(table) => Ok(table.get(name).cloned()),
            None => match env::var(name) {
                Ok(value) => Ok(Some(value)),
                Err(VarError::NotPresent) => Ok(None),
                Err(VarError::NotUnicode(_)) => Err(format!("the value of the variable `{name}` is not UTF-8")),
            },
        }
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.table {
            Some(table) => write!(f, "Variables({} of a table)", table.len()),
            None => f.write_str("Variables(of the process)"),
        }
    }
}
