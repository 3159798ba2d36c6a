//! The references a scalar may hold: `${NAME}`, `${NAME:-default}`, `${NAME...}` and `${file:/path}`.
//!
//! Reads their text and says what is wrong with it; what they stand for is found by `substitute`. A reference is one
//! scalar of its own, or part of an interpolating string `$"..."`; in `"..."` and `'...'` it is plain text.

use std::ops::Range;

/// One reference, without `${` and `}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference<'r> {
    /// A variable of the environment.
    Variable {
        name: &'r str,
        /// Written `...`: each word of its value is an element of the array around it.
        words: bool,
        default: Option<&'r str>,
    },
    /// The content of a file.
    File(&'r str),
}

/// A piece of an interpolating string, and where it stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part<'r> {
    Text(&'r str),
    Reference(Reference<'r>, Range<usize>),
}

/// What is wrong with a reference, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misread {
    pub message: String,
    pub help: String,
    pub at: Range<usize>,
}

/// Reads what stands between `${` and `}`. The error is a sentence and a piece of advice.
pub(crate) fn reference(inner: &str) -> Result<Reference<'_>, (String, String)> {
    let written = crate::lexer::brief(inner);
    let refuse = |message: String, help: String| Err((message, help));
    if inner.contains("${") {
        return refuse(
            format!("`${{{written}` holds another reference: references do not nest"),
            "end the first one with }, or give it a plain default".to_owned(),
        );
    }
    if let Some(path) = inner.strip_prefix("file:") {
        return match path.is_empty() {
            true => refuse("`${file:}` names no file".to_owned(), "write ${file:/path/of/the/file}".to_owned()),
            false => Ok(Reference::File(path)),
        };
    }
    let length = inner.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    let (name, rest) = inner.split_at(length);
    if !is_name(name) {
        return refuse(
            format!("`${{{written}}}` names no variable"),
            "a name has letters, digits and _, and begins with no digit: ${NAME}".to_owned(),
        );
    }
    let (words, rest) = rest.strip_prefix("...").map_or((false, rest), |rest| (true, rest));
    let default = match rest.strip_prefix(":-") {
        Some(default) => Some(default),
        None if rest.is_empty() => None,
        None => {
            let help = format!("write ${{{name}}}, or ${{{name}:-default}} with a default");
            return refuse(format!("`{}` after `${{{name}` is not understood", crate::lexer::brief(rest)), help);
        }
    };
    let quoted = |text: &str| ['"', '\''].iter().any(|q| text.len() > 1 && text.starts_with(*q) && text.ends_with(*q));
    if let Some(text) = default.filter(|text| quoted(text)) {
        return refuse(
            "the quotes around a default would be part of it".to_owned(),
            format!("write ${{{name}:-{}}}; it reaches to the brace, blanks included", &text[1..text.len() - 1]),
        );
    }
    Ok(Reference::Variable { name, words, default })
}

/// Whether a text can be the name of a variable.
pub(crate) fn is_name(text: &str) -> bool {
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    begins && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The pieces of an interpolating string, given without its quotes. `\$` hides a reference.
pub(crate) fn parts(raw: &str) -> Result<Vec<Part<'_>>, Misread> {
    let (mut parts, mut from, mut at) = (Vec::new(), 0, 0);
    let bytes = raw.as_bytes();
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'\\', Some(_)) => at += 2,
            (b'$', Some(b'{')) => {
                let inner = at + 2;
                let Some(length) = raw[inner..].find('}') else {
                    let message = "this ${ is never closed".to_owned();
                    let help = "end it with }; for the characters themselves write \\${".to_owned();
                    return Err(Misread { message, help, at: at..inner });
                };
                let whole = at..inner + length + 1;
                let found = reference(&raw[inner..inner + length])
                    .and_then(|found| match found {
                        Reference::Variable { name, words: true, .. } => Err((
                            format!("`${{{name}...}}` stands for several words, and this is one string"),
                            format!(
                                "write ${{{name}}} here, or ( ${{{name}...}} ) without quotes as elements of an array"
                            ),
                        )),
                        other => Ok(other),
                    })
                    .map_err(|(message, help)| Misread { message, help, at: whole.clone() })?;
                if from < at {
                    parts.push(Part::Text(&raw[from..at]));
                }
                (from, at) = (whole.end, whole.end);
                parts.push(Part::Reference(found, whole));
            }
            _ => at += 1,
        }
    }
    if from < raw.len() {
        parts.push(Part::Text(&raw[from..]));
    }
    Ok(parts)
}

/// The first thing in a plain string that looks like a reference to a variable: a name in capitals.
pub(crate) fn lookalike(raw: &str) -> Option<&str> {
    raw.match_indices("${").find_map(|(at, _)| {
        let rest = &raw[at + 2..];
        let name = rest.bytes().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_').count();
        let ends = rest[name..].starts_with('}') || rest[name..].starts_with(":-");
        (ends && rest.starts_with(|first: char| first.is_ascii_uppercase() || first == '_')).then(|| &rest[..name])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable<'r>(name: &'r str, words: bool, default: Option<&'r str>) -> Reference<'r> {
        Reference::Variable { name, words, default }
    }

    #[test]
    fn each_form_of_a_reference_is_read() {
        assert_eq!(reference("NAME"), Ok(variable("NAME", false, None)));
        assert_eq!(reference("_n2:-"), Ok(variable("_n2", false, Some(""))));
        assert_eq!(reference("A:-two words # :- ("), Ok(variable("A", false, Some("two words # :- ("))));
        assert_eq!(reference("A..."), Ok(variable("A", true, None)));
        assert_eq!(reference("A...:-x, y"), Ok(variable("A", true, Some("x, y"))));
        assert_eq!(reference("file:/run/key"), Ok(Reference::File("/run/key")));
    }

    #[test]
    fn what_is_no_reference_is_told_what_to_write() {
        let told = |inner: &str| {
            reference(inner).map_or_else(|(message, help)| format!("{message}: {help}"), |_| String::new())
        };
        assert!(told("").contains("names no variable"));
        assert!(told("1A").contains("begins with no digit"));
        assert!(told("A-b").contains("write ${A}, or ${A:-default}"));
        assert!(told("A:?b").contains("`:?b` after `${A` is not understood"));
        assert!(told("A:-${B").contains("do not nest"));
        assert!(told("A:-\"b c\"").contains("write ${A:-b c}"));
        assert!(told("file:").contains("names no file"));
    }

    #[test]
    fn a_string_is_taken_apart() {
        let found = parts(r"a\${B}${C}-${D:-e}f").expect("valid");
        let text: Vec<_> = found
            .iter()
            .map(|part| match part {
                Part::Text(text) => (*text).to_owned(),
                Part::Reference(Reference::Variable { name, .. }, at) => format!("<{name} {}>", at.start),
                Part::Reference(Reference::File(path), _) => format!("<file {path}>"),
            })
            .collect();
        assert_eq!(text, [r"a\${B}", "<C 6>", "-", "<D 11>", "f"]);
        assert_eq!(parts("x${A").map_err(|misread| misread.at), Err(1..3));
        assert!(parts("${A...}").is_err());
    }

    #[test]
    fn a_plain_string_with_a_name_in_capitals_looks_like_a_reference() {
        assert_eq!(lookalike("mx.${DOMAIN}"), Some("DOMAIN"));
        assert_eq!(lookalike("${a} ${1} $X ${} ${A:+b} ${HOST_2:-x}"), Some("HOST_2"));
        assert_eq!(lookalike("%{DOMAIN} ${A"), None);
    }
}
