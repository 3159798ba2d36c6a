//! Comparing a text with the one that was once looked at and found good.

use std::path::Path;

/// Panics at the first line in which `text` differs from the file. With `UPDATE_GOLDEN=1` in the environment the file is
/// written instead; look at the difference before keeping it.
pub fn golden(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        }
        std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let wanted = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 writes it. The text is:\n{text}", path.display()));
    if let Some(problem) = difference(&wanted, text) {
        panic!("{}: {problem}\nthe whole text is:\n{text}", path.display());
    }
}

fn difference(wanted: &str, text: &str) -> Option<String> {
    if wanted == text {
        return None;
    }
    let mut lines = wanted.lines().zip(text.lines()).enumerate();
    Some(match lines.find(|(_, (wanted, line))| wanted != line) {
        Some((index, (wanted, line))) => format!("line {}\n  wanted: {wanted}\n  is:     {line}", index + 1),
        None => format!("{} lines wanted, {} are there", wanted.lines().count(), text.lines().count()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_different_line_is_shown() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(difference("a\nb\n", "a\nc\n").unwrap(), "line 2\n  wanted: b\n  is:     c");
        assert_eq!(difference("a\n", "a\nb\n").unwrap(), "1 lines wanted, 2 are there");
    }

    #[test]
    fn a_golden_file_that_agrees_says_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "text\n").unwrap();
        golden(file.path(), "text\n");
    }
}
