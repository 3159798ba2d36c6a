//! The reference as one page of HTML that needs nothing else.

use std::fmt::Write as _;

use config::{Description, OptionState};

use super::chapters::{
    AWAITED, AWAITED_TEXT, Chapters, INTRODUCTION, UNSUPPORTED, UNSUPPORTED_TEXT, apart, facts, is_first, title,
};
use crate::xml::escaped;

/// The page.
pub(super) fn document(chapters: &Chapters) -> String {
    let mut out = format!("{HEAD}<h1>Configuration options</h1>\n<p>Postrider {}. ", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(out, "{}</p>", escaped(INTRODUCTION));
    for (owner, options) in &chapters.in_effect {
        let _ = writeln!(out, "<h2>{}</h2>", escaped(&title(owner)));
        options.iter().for_each(|one| entry(&mut out, owner, options, one));
    }
    table(&mut out, AWAITED, AWAITED_TEXT, &chapters.awaited);
    table(&mut out, UNSUPPORTED, UNSUPPORTED_TEXT, &chapters.unsupported);
    out.push_str("</body>\n</html>\n");
    out
}

fn entry(out: &mut String, owner: &str, all: &[Description], one: &Description) {
    let name = escaped(one.name);
    if is_first(all, one) {
        let _ = writeln!(out, "<h3 id=\"{owner}.{name}\">{name}</h3>");
    }
    let meaning = format!("{}{}", apart(all, one).unwrap_or_default(), one.meaning);
    let _ = writeln!(out, "<p>{}</p>\n<dl>", escaped(&meaning));
    for (what, how) in facts(one) {
        let _ = writeln!(out, "<dt>{what}</dt><dd>{}</dd>", escaped(&how));
    }
    out.push_str("</dl>\n");
}

fn table(out: &mut String, heading: &str, text: &str, list: &[Description]) {
    let _ = writeln!(out, "<h2>{heading}</h2>\n<p>{}</p>\n<table>", escaped(text));
    out.push_str("<tr><th>name</th><th>owner</th><th>scopes</th><th>meaning</th></tr>\n");
    for one in list {
        let reason = match one.state {
            OptionState::NotSupported(reason) => format!("; {reason}"),
            _ => String::new(),
        };
        let cells = [one.name, one.owner, &one.scopes.join(", "), &format!("{}{reason}", one.meaning)];
        let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
        let _ = writeln!(out, "<tr>{cells}</tr>");
    }
    out.push_str("</table>\n");
}

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
                    content=\"width=device-width\">\n<title>Configuration options</title>\n<style>\nbody { font-family: \
                    sans-serif; max-width: 60em; margin: auto; padding: 1em }\nh3 { font-family: monospace; margin: 1.5em 0 \
                    0.3em }\ndt { float: left; clear: left; width: 11em; color: #555 }\ndd { margin: 0 0 0.2em 11em }\ntd \
                    { vertical-align: top; padding: 0.2em 1em 0.2em 0 }\n</style>\n</head>\n<body>\n";
