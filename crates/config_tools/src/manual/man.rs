//! The reference as a manual page, ecelerity.conf(5), in the macros of man(7).

use std::fmt::Write as _;

use config::{Description, OptionState};

use super::chapters::{
    AWAITED, AWAITED_TEXT, Chapters, INTRODUCTION, UNSUPPORTED, UNSUPPORTED_TEXT, apart, facts, is_first, title,
};

/// The page.
pub(super) fn page(chapters: &Chapters) -> String {
    let mut out = String::new();
    let _ = writeln!(out, ".TH ECELERITY.CONF 5 \"\" \"Postrider {}\" \"Postrider\"", env!("CARGO_PKG_VERSION"));
    out.push_str(".SH NAME\necelerity.conf \\- configuration of the Postrider mail transfer agent\n");
    out.push_str(".SH DESCRIPTION\n");
    line(&mut out, INTRODUCTION);
    out.push_str(".SH OPTIONS\n");
    for (owner, options) in &chapters.in_effect {
        let _ = writeln!(out, ".SS \"{}\"", roff(&title(owner)));
        options.iter().for_each(|one| entry(&mut out, options, one));
    }
    for (heading, text, list) in
        [(AWAITED, AWAITED_TEXT, &chapters.awaited), (UNSUPPORTED, UNSUPPORTED_TEXT, &chapters.unsupported)]
    {
        let _ = writeln!(out, ".SH \"{}\"", roff(&heading.to_uppercase()));
        line(&mut out, text);
        list.iter().for_each(|one| short_entry(&mut out, one));
    }
    out.push_str(".SH \"SEE ALSO\"\n.BR validate_config (1),\n.BR ec_fmt_config (1),\n.BR ec_console (1)\n");
    out
}

fn entry(out: &mut String, all: &[Description], one: &Description) {
    match is_first(all, one) {
        true => drop(writeln!(out, ".TP\n.B {}", roff(one.name))),
        false => out.push_str(".br\n"),
    }
    line(out, &format!("{}{}", apart(all, one).unwrap_or_default(), one.meaning));
    for (what, how) in facts(one) {
        out.push_str(".br\n");
        line(out, &format!("{what}: {how}"));
    }
}

fn short_entry(out: &mut String, one: &Description) {
    let _ = writeln!(out, ".TP\n.BR {} \" ({}; {})\"", roff(one.name), roff(one.owner), roff(&one.scopes.join(", ")));
    line(out, one.meaning);
    if let OptionState::NotSupported(reason) = one.state {
        out.push_str(".br\n");
        line(out, &reason.to_string());
    }
}

/// One input line of text.
fn line(out: &mut String, text: &str) {
    let _ = writeln!(out, "{}", roff(text));
}

/// A text that means itself to roff, within a line or a quoted argument.
fn roff(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('"', "\\(dq")
        .replace('\'', "\\(aq")
        .replace('`', "\\(ga")
        .replace('^', "\\(ha")
        .replace('~', "\\(ti");
    if escaped.starts_with('.') { format!("\\&{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_a_request() {
        assert_eq!(roff(".br"), "\\&.br");
        assert_eq!(roff("'\\n' -1 \"a\""), "\\(aq\\en\\(aq \\-1 \\(dqa\\(dq");
    }
}
