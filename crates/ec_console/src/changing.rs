//! Which commands only look. Before any other, whoever named no endpoint is told which daemon it goes to.
//!
//! A command that is not known here counts as one that changes something: to be told once too often does no harm.

/// Whether a command line changes nothing, whatever else it says.
pub fn only_looks(line: &str) -> bool {
    let words: Vec<String> = line.split_whitespace().map(str::to_ascii_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "--json").collect();
    if CHANGES_ALL_THE_SAME.iter().any(|begins| words.starts_with(begins)) {
        return false;
    }
    words.contains(&"--dry-run") || LOOKS.iter().any(|begins| words.starts_with(begins))
}

/// Beginnings of commands that look.
const LOOKS: &[&[&str]] = &[
    &["?"],
    &["active"],
    &["delayed"],
    &["domains"],
    &["meters"],
    &["paniclog"],
    &["dns_cache", "lookup"],
    &["binding", "active"],
    &["binding", "delayed"],
    &["binding", "summary"],
    &["complete"],
    &["config", "diff"],
    &["config", "eval"],
    &["config", "get"],
    &["config", "locate"],
    &["config", "options"],
    &["config", "show"],
    &["config", "showrecurse"],
    &["count"],
    &["dig"],
    &["domain"],
    &["help"],
    &["inbound"],
    &["mailq"],
    &["memory"],
    &["message", "details"],
    &["metrics"],
    &["module", "list"],
    &["pid"],
    &["show"],
    &["showqueue"],
    &["spool", "import_poll"],
    &["spool", "stats"],
    &["summary"],
    &["sysinfo"],
    &["thread"],
    &["threads"],
    &["throttle", "show"],
    &["uptime"],
    &["version"],
    &["why"],
];

/// Commands that begin like one of those and change something.
const CHANGES_ALL_THE_SAME: &[&[&str]] =
    &[&["summary", "reset"], &["binding", "summary", "reset"], &["dns_cache", "flush"], &["memory", "trim"]];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_change_something_is_known_from_what_only_looks() {
        for line in [
            "summary",
            "MailQ --json",
            "config  eval --why a",
            "show outbound",
            "config reload --dry-run",
            "domain all",
        ] {
            assert!(only_looks(line), "{line}");
        }
        for line in
            ["fail domain all", "summary reset", "config set a b", "shutdown", "a command to come", "flush domain all"]
        {
            assert!(!only_looks(line), "{line}");
        }
    }
}
