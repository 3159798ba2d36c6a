//! `reopen logs`: which files were opened again, and which could not be.

use serde_json::{Value, json};

use super::{Shape, line};

/// `reopen logs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogsReopened {
    /// Each log that was to be opened again.
    pub logs: Vec<ReopenedLog>,
}

/// One log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReopenedLog {
    /// `module`, or `module:instance`.
    pub logger: String,
    /// The option that names it: `mainlog`.
    pub log: String,
    /// Its file.
    pub path: String,
    /// Why it could not be opened again; lines still go to the old file then.
    pub error: Option<String>,
}

impl LogsReopened {
    /// Whether one could not be opened.
    pub fn has_failed(&self) -> bool {
        self.logs.iter().any(|log| log.error.is_some())
    }
}

impl Shape for LogsReopened {
    fn text(&self) -> String {
        let mut text = String::new();
        for log in &self.logs {
            if let Some(error) = &log.error {
                line!(text, "Not reopened: {} ({}): {error}; lines still go to the old file.", log.log, log.path);
            }
        }
        let done = self.logs.iter().filter(|log| log.error.is_none());
        let done: Vec<String> = done.map(|log| format!("{} ({})", log.log, log.path)).collect();
        match done.as_slice() {
            [] if self.logs.is_empty() => line!(text, "No log is open."),
            [] => {}
            done => line!(text, "Reopened {}.", done.join(", ")),
        }
        text
    }

    fn json(&self) -> Value {
        let of = |failed: bool| -> Value {
            let log = |log: &ReopenedLog| json!({ "logger": log.logger, "log": log.log, "path": log.path, "error": log.error });
            self.logs.iter().filter(|log| log.error.is_some() == failed).map(log).collect()
        };
        json!({ "reopened": of(false), "failed": of(true) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_opened_is_told_from_what_was() {
        let log = |name: &str, error: Option<&str>| ReopenedLog {
            logger: "ec_logger".into(),
            log: name.into(),
            path: format!("/log/{name}.ec"),
            error: error.map(str::to_owned),
        };
        let both = LogsReopened { logs: vec![log("mainlog", None), log("paniclog", Some("Permission denied"))] };
        assert_eq!(
            both.text(),
            "Not reopened: paniclog (/log/paniclog.ec): Permission denied; lines still go to the old file.\n\
             Reopened mainlog (/log/mainlog.ec).\n"
        );
        assert_eq!(
            (&both.json()["reopened"][0]["log"], &both.json()["failed"][0]["log"]),
            (&"mainlog".into(), &"paniclog".into())
        );
        assert!(both.has_failed() && LogsReopened::default().text() == "No log is open.\n");
    }
}
