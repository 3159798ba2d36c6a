//! The reference as Markdown.

use std::fmt::Write as _;

use config::{Description, OptionState};

use super::chapters::{
    AWAITED, AWAITED_TEXT, Chapters, INTRODUCTION, UNSUPPORTED, UNSUPPORTED_TEXT, apart, facts, is_first, title,
};

/// The document.
pub(super) fn document(chapters: &Chapters) -> String {
    let mut out = format!("# Configuration options\n\nPostrider {}. {INTRODUCTION}\n", env!("CARGO_PKG_VERSION"));
    for (owner, options) in &chapters.in_effect {
        let _ = write!(out, "\n## {}\n", title(owner));
        for one in options {
            if is_first(options, one) {
                let _ = write!(out, "\n### {}\n", code(one.name));
            }
            let _ = write!(out, "\n{}{}\n\n", text(&apart(options, one).unwrap_or_default()), text(one.meaning));
            for (what, how) in facts(one) {
                let how = if what == "Default" && how != "unset" { code(&how) } else { text(&how) };
                let _ = writeln!(out, "- {what}: {how}");
            }
        }
    }
    table(&mut out, AWAITED, AWAITED_TEXT, &chapters.awaited, &|one| text(one.meaning));
    table(&mut out, UNSUPPORTED, UNSUPPORTED_TEXT, &chapters.unsupported, &|one| match one.state {
        OptionState::NotSupported(reason) => format!("{}; {}", text(one.meaning), text(&reason.to_string())),
        _ => text(one.meaning),
    });
    out
}

fn table(out: &mut String, heading: &str, words: &str, list: &[Description], says: &dyn Fn(&Description) -> String) {
    let _ = write!(out, "\n## {heading}\n\n{words}\n\n| name | owner | scopes | meaning |\n|---|---|---|---|\n");
    for one in list {
        let _ = writeln!(out, "| {} | {} | {} | {} |", code(one.name), one.owner, one.scopes.join(", "), says(one));
    }
}

/// A text without meaning to Markdown, in a paragraph or a table.
fn text(words: &str) -> String {
    let mut out = String::new();
    for c in words.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Words as code. A bar would end the cell of a table.
fn code(words: &str) -> String {
    let fence = if words.contains('`') { "``" } else { "`" };
    format!("{fence}{}{fence}", words.replace('|', "\\|"))
}
